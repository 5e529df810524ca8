//! `ferry worker` and `ferry run status`: a machine that works for the deployment.

use std::time::{Duration, Instant};

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Ended, Function, Program};
use ferry_transfer::Queue as _;
use ferry_transfer::queue::{OutgoingMessage, QueueDepth};
use serde_json::json;
use tokio::process::Command;

use super::Deployment;
use crate::objects::{fill_awkward, fill_small, small_key};

const FINDER: &str = env!("CARGO_BIN_EXE_finder-under-test");

impl Deployment {
    /// With the task `photos` and the keys it needs.
    async fn with_task() -> Self {
        let deployed = Self::start().await;
        deployed.put_credentials();
        let [task, config] = deployed.write_files(deployed.pair.directory());
        deployed.ferry(["task", "put", &task, "--config", &config]).run().await.expect_code(0);
        deployed
    }

    fn worker(&self, args: &[&str]) -> Program {
        self.ferry(["worker"].iter().chain(args).copied())
    }

    /// The finder as the stack runs it.
    async fn finder(&self) -> Function {
        let queue = |name: &str| self.sqs.queue_url(name);
        let program = self
            .program(FINDER)
            .env("FERRY_TASK", "ssm:/ferry/tasks/")
            .env("FERRY_STORES", "ssm:/ferry/stores/")
            .env("FERRY_STATE", "island://state/state/")
            .env("FERRY_STACK", "ferry")
            .env("FERRY_JOB_QUEUE_URL", &queue("jobs"))
            .env("FERRY_SCAN_QUEUE_URL", &queue("scans"));
        Function::start(program).await
    }

    async fn send(&self, bodies: &[String]) {
        for body in bodies {
            let sent = self.sqs.queue("jobs").send_batch(vec![OutgoingMessage::new(body.as_str())]).await;
            sent.expect("sent").remove(0).expect("sent");
        }
    }

    async fn depth(&self, queue: &str) -> QueueDepth {
        self.sqs.queue(queue).depth().await.expect("depth")
    }
}

fn job(key: &str) -> String {
    json!({ "key": key, "task": "photos" }).to_string()
}

#[tokio::test]
async fn a_run_is_found_worked_off_and_followed() {
    let deployed = Deployment::with_task().await;
    fill_awkward(&deployed.pair.from(), "", 0);
    let finder = deployed.finder().await;
    let answer = finder.invoke(&json!({ "task": "photos" })).await.expect("found");
    let run = answer["run"].as_str().expect("a run").to_owned();
    let status =
        async || -> Ended { deployed.ferry(["run", "status", &run, "--json"]).run().await.expect_code(0) };
    let found = deployed.pair.from().len() as u64;
    let before = status().await.report();
    assert_eq!(
        (&before["task"], &before["scan"]["is_complete"]),
        (&"photos".into(), &true.into()),
        "{before}"
    );
    assert_eq!((&before["left"], &before["ended"]), (&found.into(), &0.into()), "{before}");
    let log = finder.log();
    let line = log.lines().find(|line| line.contains("\"_aws\"")).expect("a line of metrics");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(
        (&line["PairsCompared"], &line["JobsSent"], &line["ScansCompleted"], &line["Stack"]),
        (&found.into(), &found.into(), &1.into(), &"ferry".into()),
        "{line}"
    );

    // Two letters that no worker can do anything about, among the rest.
    deployed.send(&["poison".to_owned(), json!({ "key": "x", "task": "nobody's" }).to_string()]).await;
    deployed.worker(&["--until-idle-secs", "1"]).run().await.expect_code(0);
    deployed.pair.assert_same();
    assert!(deployed.depth("jobs").await.is_empty());
    assert_eq!(deployed.depth("dead").await.visible, 2);
    let after = status().await.report();
    assert_eq!((&after["left"], &after["ended"]), (&0.into(), &found.into()), "{after}");
    let text = deployed.ferry(["run", "status"]).run().await.expect_code(0);
    assert!(text.shows("every name has been compared"), "{text}");
}

#[tokio::test]
async fn what_fails_in_passing_comes_back_and_is_done() {
    let deployed = Deployment::with_task().await;
    fill_small(&deployed.pair.from(), 3);
    let fault = Rule::on(Operation::GetObject, Action::INTERNAL_ERROR).key_contains(small_key(1)).first(6);
    deployed.pair.source.faults().add(fault);
    deployed.send(&(0..3).map(|number| job(&small_key(number))).collect::<Vec<_>>()).await;
    deployed.worker(&["--until-idle-secs", "12"]).run().await.expect_code(0);
    deployed.pair.assert_same();
    assert!(deployed.depth("jobs").await.is_empty() && deployed.depth("dead").await.is_empty());
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_hands_back_what_it_has_not_done() {
    let deployed = Deployment::with_task().await;
    fill_small(&deployed.pair.from(), 2);
    // A store that does not answer for one object.
    let stuck =
        Rule::on(Operation::GetObject, Action::Delay(Duration::from_mins(10))).key_contains(small_key(1));
    let stuck = deployed.pair.source.faults().add(stuck);
    deployed.send(&[job(&small_key(0)), job(&small_key(1))]).await;
    let log = tempfile::NamedTempFile::new().expect("a file");
    let mut worker = deployed
        .ferry(["worker", "--grace-secs", "1", "--batch", "1"])
        .start(log.reopen().expect("the same file"));
    let began = Instant::now();
    while deployed.pair.source.faults().fired(stuck) == 0 || deployed.pair.to().is_empty() {
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "{}",
            std::fs::read_to_string(log.path()).expect("log")
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let id = worker.id().expect("it runs").to_string();
    Command::new("kill").args(["-TERM", &id]).status().await.expect("told");
    let ended =
        tokio::time::timeout(Duration::from_secs(30), worker.wait()).await.expect("in time").expect("ended");
    assert_eq!(ended.code(), Some(0), "{}", std::fs::read_to_string(log.path()).expect("log"));
    let depth = deployed.depth("jobs").await;
    assert_eq!((depth.visible, depth.in_flight), (1, 0), "its message is there for others at once");
    deployed.pair.source.faults().clear();
    deployed.worker(&["--until-idle-secs", "1"]).run().await.expect_code(0);
    deployed.pair.assert_same();
}

#[tokio::test]
async fn a_worker_without_a_queue_says_what_to_name() {
    let deployed = Deployment::start().await;
    let program = deployed.ferry(["worker", "--path", "/elsewhere"]);
    program.run().await.expect_refusal(&["/elsewhere/deployment", "--path"]);
}
