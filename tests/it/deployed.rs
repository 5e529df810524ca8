//! The command line of a deployment on AWS: its parameters, schedules, queues and state, all on loopback.

mod queue;
mod task;
mod worker;

use std::path::Path;

use ferry_testkit::control_plane::ControlPlane;
use ferry_testkit::sqs::{SqsConfig, SqsServer};
use ferry_tests::{Pair, Program, Side, StoreSetup};
use serde_json::{Value, json};

use crate::FERRY;

/// What a stack would have made: parameters, queues, and the two stores that tasks name.
struct Deployment {
    pair: Pair,
    control: ControlPlane,
    sqs: SqsServer,
}

impl Deployment {
    async fn start() -> Self {
        let pair = Pair::with(StoreSetup::default(), StoreSetup::default()).await;
        let control = ControlPlane::start().await.expect("control plane");
        let sqs = SqsServer::start(SqsConfig::default()).await.expect("SQS");
        for queue in ["jobs", "large", "scans", "dead"] {
            sqs.queue(queue);
        }
        // Made here where it is missing.
        pair.destination.bucket("state");
        let deployment = json!({
            "version": 1, "stack": "ferry",
            "job_queue_url": sqs.queue_url("jobs"), "large_queue_url": sqs.queue_url("large"),
            "scan_queue_url": sqs.queue_url("scans"), "dead_letter_queue_url": sqs.queue_url("dead"),
            "finder_arn": "arn:aws:lambda:us-east-1:000000000000:function:finder",
            "scheduler_role_arn": "arn:aws:iam::000000000000:role/scheduler",
            "schedule_group": "ferry-tasks", "state": "island://state/state/", "default_task": "",
        });
        control.put_parameter("/ferry/deployment", &deployment.to_string());
        Self { pair, control, sqs }
    }

    /// `ferry` with the environment of somebody who may ask all of it.
    fn ferry<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Program {
        self.program(FERRY).args(args)
    }

    /// The same for any program.
    fn program(&self, path: &str) -> Program {
        self.pair
            .program(path)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "not-shown-anywhere")
            .env("AWS_ENDPOINT_URL_SSM", &self.control.endpoint())
            .env("AWS_ENDPOINT_URL_SCHEDULER", &self.control.endpoint())
    }

    /// A store as the deployment is told of it: the keys in a parameter.
    fn store(&self, side: Side) -> Value {
        let credentials = format!("ssm:/ferry/credentials/{}", side.store());
        json!({ "endpoint": self.pair.server(side).endpoint(), "credentials": credentials })
    }

    /// The keys of both stores, as somebody put them there.
    fn put_credentials(&self) {
        for side in [Side::Source, Side::Destination] {
            let server = self.pair.server(side);
            let keys = json!({ "access_key_id": server.access_key_id(), "secret_access_key": server.secret_access_key() });
            self.control.put_parameter(&format!("/ferry/credentials/{}", side.store()), &keys.to_string());
        }
    }

    /// Writes a task and the stores' configuration; the two files.
    fn write_files(&self, directory: &Path) -> [String; 2] {
        let stores = json!({ "stores": { "harbour": self.store(Side::Source), "island": self.store(Side::Destination) } });
        let task = "# moved every night\nname: photos\nsource: {store: harbour, bucket: BUCKET_A}\n\
                    destination: {store: island, bucket: BUCKET_B}\n"
            .replace("BUCKET_A", Side::Source.bucket())
            .replace("BUCKET_B", Side::Destination.bucket());
        let files = [("task.yaml", task), ("ferry.yaml", stores.to_string())];
        files.map(|(name, text)| {
            let path = directory.join(name);
            std::fs::write(&path, text).expect("written");
            path.display().to_string()
        })
    }
}
