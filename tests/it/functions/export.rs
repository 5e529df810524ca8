//! The Import/Export API on Lambda: jobs in a bucket, secrets in SSM, and a station elsewhere that runs its jobs.

use ferry_cloud::Credentials;
use ferry_export::{HttpRequest, sign};
use ferry_tests::{Function, Pair, Program, SsmServer};
use ferry_transfer::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::FERRY;

const EXPORT: &str = env!("CARGO_BIN_EXE_export-under-test");
const PASSWORD: &str = "correct-horse-battery";
const HOST: &str = "x.lambda-url.eu-west-1.on.aws";
const STATE: &str = "island://beach/export-state";

struct World {
    pair: Pair,
    ssm: SsmServer,
}

impl World {
    async fn start() -> Self {
        let pair = Pair::start().await;
        pair.from().put_object("data/a.bin", vec![7; 5000]);
        pair.from().put_object("data/b.bin", "b");
        Self { pair, ssm: SsmServer::start().await }
    }

    /// As a deployment sets it up: documents and references, no secret but those that references point at.
    fn program(&self) -> Program {
        let store = |side: ferry_tests::Side| json!({ "endpoint": self.pair.server(side).endpoint(), "credentials": format!("env:{}", side.prefix()) });
        let stores = json!({ "harbour": store(ferry_tests::Side::Source), "island": store(ferry_tests::Side::Destination) });
        self.with_ssm(self.pair.program(EXPORT))
            .env("FERRY_STATE", STATE)
            .env("FERRY_STORES", &stores.to_string())
            .env("FERRY_EXPORT_STORE", "harbour")
            .env("FERRY_EXPORT_SECRETS", "ssm:/ferry/export")
            .env("FERRY_EXPORT_CALLERS", "env:LAPTOP")
            .credentials("LAPTOP", "LAPTOPKEY", "laptop-secret-key")
    }

    fn with_ssm(&self, program: Program) -> Program {
        program.env("AWS_REGION", "eu-west-1").env("AWS_ENDPOINT_URL_SSM", self.ssm.endpoint()).credentials(
            "AWS",
            "FUNCTIONKEY",
            "function-secret-key",
        )
    }
}

/// A signed form as a function URL hands it over.
fn event(form: &str, secret: &str) -> Value {
    let mut request = HttpRequest::post("/", form);
    request.set_header("host", HOST);
    let keys = Credentials {
        access_key_id: "LAPTOPKEY".into(),
        secret_access_key: secret.into(),
        session_token: None,
        expires: None,
    };
    sign(&mut request, &keys, SystemClock.now());
    json!({
        "version": "2.0",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": request.headers,
        "requestContext": { "http": { "method": "POST", "path": "/" } },
        "body": form,
        "isBase64Encoded": false,
    })
}

fn element(answer: &Value, name: &str) -> String {
    let body = answer["body"].as_str().expect("a body");
    let inside = body.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once("</"));
    inside.unwrap_or_else(|| panic!("no {name}: {answer}")).0.to_owned()
}

#[tokio::test]
async fn a_job_is_created_on_lambda_and_written_by_a_station_elsewhere() {
    let world = World::start().await;
    let function = Function::start(world.program()).await;
    let manifest = format!(
        "manifestVersion:2.0\ndeviceId:1\nfileSystem:EXT4\nlogBucket:docks\ntrueCryptPassword:{PASSWORD}\noperations:\n  - \
         exportBucket:docks\n    prefix:data/\n"
    );
    let encoded: String = manifest.bytes().fold(String::new(), |form, byte| form + &format!("%{byte:02X}"));
    let create =
        format!("Action=CreateJob&Version=2010-06-01&JobType=Export&ValidateOnly=false&Manifest={encoded}");
    let refused = function.invoke(&event(&create, "guess")).await.expect("an answer");
    assert_eq!(
        (&refused["statusCode"], element(&refused, "Code")),
        (&json!(403), "SignatureDoesNotMatch".to_owned())
    );
    assert_eq!(world.ssm.secrets().len(), 0, "nothing is kept for a stranger");

    let created = function.invoke(&event(&create, "laptop-secret-key")).await.expect("an answer");
    assert_eq!(created["statusCode"], 200, "{created}");
    let id = element(&created, "JobId");
    let kept = world.ssm.secrets();
    let passwords: Vec<&String> = kept
        .iter()
        .filter_map(|(name, secret)| name.starts_with("/ferry/export/jobs/").then_some(secret))
        .collect();
    assert_eq!(passwords, [PASSWORD], "{:?}", kept.keys());
    assert!(kept.contains_key("/ferry/export/signing-key"));
    let record = world.pair.to().bytes(&format!("export-state/export/jobs/{id}.json")).expect("a record");
    assert!(!String::from_utf8_lossy(&record).contains(PASSWORD));

    let status = format!("Action=GetStatus&JobId={id}");
    let pending = function.invoke(&event(&status, "laptop-secret-key")).await.expect("an answer");
    assert_eq!(element(&pending, "ProgressCode"), "Pending");

    let device = world.pair.directory().join("device");
    std::fs::create_dir(&device).expect("device");
    std::fs::write(device.join("SIGNATURE"), element(&created, "SignatureFileContents")).expect("SIGNATURE");
    let run = ["export", "run", &id, "--target", "dir:device", "--store", "harbour", "--jobs", STATE];
    let station = world.with_ssm(world.pair.program(FERRY)).args(run);
    let state = world.pair.directory().join("state").display().to_string();
    station.args(["--secrets", "ssm:/ferry/export/", "--state-dir", &state]).run().await.expect_code(0);
    assert!(device.join(format!("{id}.hc")).is_file());
    let done = function.invoke(&event(&status, "laptop-secret-key")).await.expect("an answer");
    assert_eq!(element(&done, "ProgressCode"), "Complete");
    assert!(world.pair.from().bytes(&format!("export-log-{id}")).is_some());
    let log = function.log();
    assert!(
        log.contains("CreateJob") && !log.contains(PASSWORD) && !log.contains("laptop-secret-key"),
        "{log}"
    );
}

#[tokio::test]
async fn one_signing_key_serves_all_instances() {
    let world = World::start().await;
    let manifest = "manifestVersion: 2.0%0AdeviceId: 1%0AfileSystem: EXT4%0AlogBucket: docks%0Ax-container: none%0Aoperations:%0A  - exportBucket: docks%0A";
    let create = format!(
        "Action=CreateJob&JobType=Export&ValidateOnly=false&Manifest={}",
        manifest.replace(' ', "%20")
    );
    let (one, other) = (Function::start(world.program()).await, Function::start(world.program()).await);
    let event = event(&create, "laptop-secret-key");
    let (first, second) = tokio::join!(one.invoke(&event), other.invoke(&event));
    let ids: Vec<String> = [first, second].map(|answer| element(&answer.expect("an answer"), "JobId")).into();
    assert_eq!(world.ssm.secrets().keys().filter(|name| name.ends_with("signing-key")).count(), 1);
    for id in ids {
        let ask = |form: &str| super::export::event(form, "laptop-secret-key");
        let status = ask(&format!("Action=GetStatus&JobId={id}"));
        let before = one.invoke(&status).await.expect("an answer");
        let manifest = manifest.replace(' ', "%20");
        let update =
            format!("Action=UpdateJob&JobId={id}&JobType=Export&ValidateOnly=false&Manifest={manifest}");
        let updated = other.invoke(&ask(&update)).await.expect("an answer");
        assert_eq!(updated["statusCode"], 200, "{updated}");
        let after = one.invoke(&status).await.expect("an answer");
        assert_eq!(element(&before, "Signature"), element(&after, "Signature"), "one manifest, one key");
    }
}

#[tokio::test]
async fn a_setting_that_is_missing_is_named_at_the_start() {
    let world = World::start().await;
    for name in ["FERRY_STATE", "FERRY_EXPORT_SECRETS", "FERRY_EXPORT_CALLERS", "LAPTOP_SECRET_ACCESS_KEY"] {
        let ended = world.program().without_env(name).run().await;
        assert!(ended.code != 0 && ended.shows(name), "{name}: {ended}");
    }
}
