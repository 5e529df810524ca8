//! `ferry serve`: one process that stays, and those that come after it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ferry_cloud::Credentials;
use ferry_events::{Secret, sign};
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::web::{Answer, ask_with};
use ferry_tests::{Pair, Program, Side};
use ferry_transfer::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio::process::Child;

use crate::FERRY;
use crate::objects::{bytes, fill_small, small_key};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(1);
const EXPORT_KEY_ID: &str = "AKIAFAKEEXPORT";

/// A running server.
struct Host {
    process: Child,
    url: String,
    state: PathBuf,
    log: PathBuf,
}

impl Host {
    async fn start(pair: &Pair) -> Self {
        let (state, log) = (pair.directory().join("state"), pair.directory().join("log"));
        let program = pair
            .program(FERRY)
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--workers", "4"])
            .args(["--state-dir", &state.display().to_string(), "--export-store", "harbour"])
            .args(["--export-credentials", "env:EXPORT", "-v"])
            .credentials("EXPORT", EXPORT_KEY_ID, "fake-export-secret");
        let process = program.start(fs::File::create(&log).expect("a file"));
        let url = wait(async || {
            let said = fs::read_to_string(&log).expect("read");
            let line = said.lines().find_map(|line| serde_json::from_str::<Value>(line).ok())?;
            line["endpoint"].as_str().map(str::to_owned)
        })
        .await;
        Self { process, url, state, log }
    }

    fn token(&self) -> String {
        fs::read_to_string(self.state.join("token")).expect("a token").trim().to_owned()
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let token = format!("Bearer {}", self.token());
        ask_with(method, &format!("{}{path}", self.url), &[("authorization", &token)], body.as_bytes()).await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, "").await;
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    async fn put_task(&self, task: &Value) {
        let path = format!("/api/tasks/{}", task["name"].as_str().expect("a name"));
        let answer = self.ask("PUT", &path, &task.to_string()).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }

    async fn begin(&self, task: &str) -> String {
        let answer = self.ask("POST", &format!("/api/tasks/{task}/run"), "").await;
        assert_eq!(answer.status, 202, "{}", String::from_utf8_lossy(&answer.body));
        let begun: Value = serde_json::from_slice(&answer.body).expect("JSON");
        begun["run"].as_str().expect("a run").to_owned()
    }

    async fn ended(&self, run: &str) -> Value {
        wait(async || {
            let told = self.get(&format!("/api/runs/{run}")).await;
            // One that an earlier process left is gone on with in a moment.
            let is_over =
                !["running", "unfinished", "interrupted"].iter().any(|state| told["state"] == *state);
            is_over.then_some(told)
        })
        .await
    }

    /// Posts a notification as a sender would that knows the secret.
    async fn notify(&self, task: &str, event: &Value) -> Answer {
        let secret = fs::read_to_string(self.state.join("events-secret")).expect("a secret");
        let body = event.to_string();
        let secret = Secret::new(secret.trim()).expect("a secret");
        let signature = sign(&secret, SystemClock.now().unix_timestamp(), body.as_bytes());
        let url = format!("{}/events/{task}", self.url);
        ask_with("POST", &url, &[("x-ferry-signature", &signature)], body.as_bytes()).await
    }

    async fn kill(mut self) {
        self.process.kill().await.expect("killed");
    }

    /// Tells it to stop, and insists that it ends well.
    async fn stop(mut self) -> String {
        let pid = self.process.id().expect("it runs").to_string();
        let told = tokio::process::Command::new("kill").args(["-TERM", &pid]).status().await;
        assert!(told.expect("told").success());
        let ended = tokio::time::timeout(PATIENCE, self.process.wait()).await.expect("in time");
        let log = fs::read_to_string(&self.log).expect("read");
        assert!(ended.expect("ended").success(), "{log}");
        log
    }
}

async fn wait<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("in time")
}

fn task(name: &str) -> Value {
    json!({
        "name": name,
        "source": { "store": Side::Source.store(), "bucket": Side::Source.bucket() },
        "destination": { "store": Side::Destination.store(), "bucket": Side::Destination.bucket() },
        "deletes": { "mirror": "100%" },
    })
}

fn created(key: &str) -> Value {
    json!({ "Records": [{ "eventName": "ObjectCreated:Put", "s3": {
        "bucket": { "name": Side::Source.bucket() }, "object": { "key": key, "size": 1 } } }] })
}

fn removed(key: &str) -> Value {
    json!({ "Records": [{ "eventName": "ObjectRemoved:Delete", "s3": {
        "bucket": { "name": Side::Source.bucket() }, "object": { "key": key } } }] })
}

#[tokio::test]
async fn a_task_is_put_run_and_told_of() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 30);
    let host = Host::start(&pair).await;
    let refused = host.ask("PUT", "/api/tasks/t", &json!({ "name": "t", "sauce": 1 }).to_string()).await;
    assert_eq!(refused.status, 400);
    let mut elsewhere = task("t");
    elsewhere["source"]["bucket"] = "no-such-bucket".into();
    let refused = host.ask("PUT", "/api/tasks/t", &elsewhere.to_string()).await;
    let why = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(refused.status == 400 && why.contains("no-such-bucket"), "{why}");
    assert_eq!(host.ask("POST", "/api/tasks/t/run", "").await.status, 404);

    host.put_task(&task("t")).await;
    let run = host.begin("t").await;
    let told = host.ended(&run).await;
    assert_eq!((&told["state"], &told["report"]["copied"]), (&json!("done"), &json!(30)), "{told}");
    pair.assert_same();
    assert_eq!(host.get("/api/tasks").await["tasks"][0]["name"], "t");
    assert_eq!(host.get("/api/runs").await["runs"][0]["run"], run.as_str());
    let metrics = host.ask("GET", "/metrics", "").await;
    let metrics = String::from_utf8(metrics.body).expect("text");
    for line in [
        "ferry_objects_copied_total 30",
        "ferry_scans_completed_total 1",
        "ferry_scan_lag_seconds_count 1",
        "ferry_tasks 1",
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line}:\n{metrics}");
    }
    assert_eq!(host.ask("DELETE", "/api/tasks/t", "").await.status, 204);
    assert_eq!(host.ask("GET", "/api/tasks/t", "").await.status, 404);
    host.stop().await;
}

#[tokio::test]
async fn nobody_gets_in_without_the_token_or_by_another_name() {
    let pair = Pair::start().await;
    let host = Host::start(&pair).await;
    let url = |path: &str| format!("{}{path}", host.url);
    for path in ["/metrics", "/api/tasks", "/api/nonsense", "/api/events"] {
        let answer = ask_with("GET", &url(path), &[], b"").await;
        assert_eq!(answer.status, 401, "{path}");
        let answer = ask_with("GET", &url(path), &[("authorization", "Bearer guessed")], b"").await;
        assert_eq!(answer.status, 401, "{path}");
    }
    assert_eq!(ask_with("GET", &url("/healthz"), &[], b"").await.status, 200);
    host.put_task(&task("t")).await;
    assert_eq!(ask_with("POST", &url("/events/t"), &[], b"{}").await.status, 401);
    let rebound = [("host", "evil.example")];
    assert_eq!(ask_with("GET", &url("/healthz"), &rebound, b"").await.status, 421);
    let second = pair
        .program(FERRY)
        .args(["serve", "--listen", "127.0.0.1:0", "--state-dir", &host.state.display().to_string()])
        .run()
        .await;
    second.expect_refusal(&["another `ferry serve`", "--state-dir"]);
    let open =
        pair.program(FERRY).args(["serve", "--listen", "0.0.0.0:0", "--state-dir", "other"]).run().await;
    open.expect_refusal(&["0.0.0.0", "--host"]);
    let token = host.token();
    let log = host.stop().await;
    assert!(!log.contains(&token), "{log}");
}

#[tokio::test]
async fn a_notification_becomes_an_object_and_a_delete_its_end() {
    let pair = Pair::start().await;
    let host = Host::start(&pair).await;
    host.put_task(&task("t")).await;
    pair.from().put_object("a/b c", bytes(100, 1));
    let taken = host.notify("t", &created("a/b+c")).await;
    assert_eq!(taken.status, 200, "{}", String::from_utf8_lossy(&taken.body));
    wait(async || pair.to().get("a/b c")).await;
    pair.assert_same();
    pair.from().remove("a/b c");
    assert_eq!(host.notify("t", &removed("a/b+c")).await.status, 200);
    wait(async || pair.to().keys().is_empty().then_some(())).await;

    let asked =
        ask_with("OPTIONS", &format!("{}/events/t", host.url), &[("webhook-request-origin", "x")], b"").await;
    assert_eq!(asked.status, 200, "CloudEvents ask before they send");

    // Nobody can ever do this one: it says why, and can be tried again once that is mended.
    let mut broken = task("broken");
    broken["source"]["store"] = "nowhere".into();
    fs::write(host.state.join("tasks/broken.yaml"), broken.to_string()).expect("written");
    pair.from().put_object("x", bytes(1, 1));
    assert_eq!(host.notify("broken", &created("x")).await.status, 200);
    let letters = wait(async || {
        let told = host.get("/api/queue/dead").await;
        (told["dead_letters"] != json!([])).then_some(told)
    })
    .await;
    let letter = &letters["dead_letters"][0];
    assert!(letter["reason"].as_str().is_some_and(|why| why.contains("nowhere")), "{letters}");
    assert_eq!((&letter["message"]["key"], pair.to().keys().len()), (&json!("x"), 0));
    host.put_task(&task("broken")).await;
    let redriven = host.ask("POST", "/api/queue/dead/redrive", "").await;
    assert_eq!((redriven.status, redriven.body.as_slice()), (200, b"{\"redriven\":1}".as_slice()));
    wait(async || pair.to().get("x")).await;
    assert_eq!(host.get("/api/queue").await["dead_letters"], 0);
    fs::remove_file(host.state.join("tasks/broken.yaml")).expect("removed");
    assert_eq!(host.notify("broken", &created("y")).await.status, 404, "the task is gone");
    host.stop().await;
}

#[tokio::test]
async fn the_command_line_sends_replays_and_follows() {
    let pair = Pair::start().await;
    let host = Host::start(&pair).await;
    host.put_task(&task("t")).await;
    let (url, secret) = (format!("{}/events/t", host.url), host.state.join("events-secret"));
    let secret = secret.to_str().expect("text");
    let followed = pair.directory().join("followed");
    let state = host.state.to_str().expect("text").to_owned();
    let _tail = pair
        .program(FERRY)
        .args(["events", "tail", "--url", &host.url, "--state-dir", &state])
        .start(fs::File::create(&followed).expect("a file"));
    pair.from().put_object("a b", bytes(10, 1));
    let send = async |args: &[&str]| {
        let args = [&["events", "send", "--to", &url, "--json"], args].concat();
        pair.program(FERRY).args(args).run().await
    };
    let unsigned = send(&["--key", "a b", "--bucket", "docks"]).await.expect_code(1);
    assert_eq!(unsigned.report()["status"], 401);
    // The follower may not be there yet: whoever sends again does no harm.
    let line = wait(async || {
        send(&["--key", "a b", "--bucket", "docks", "--secret-file", secret]).await.expect_code(0);
        fs::read_to_string(&followed).expect("read").lines().next().map(str::to_owned)
    })
    .await;
    let receipt: Value = serde_json::from_str(&line).expect("a receipt");
    assert_eq!((&receipt["key"], &receipt["task"]), (&json!("a b"), &json!("t")), "{receipt}");
    wait(async || pair.to().get("a b")).await;

    let lines = [created("x").to_string(), String::new(), "nonsense".to_owned(), created("y").to_string()];
    let file = pair.directory().join("events.jsonl");
    fs::write(&file, lines.join("\n")).expect("written");
    for key in ["x", "y"] {
        pair.from().put_object(key, bytes(5, 5));
    }
    let replay = ["events", "replay", file.to_str().expect("text"), "--to", &url, "--secret-file", secret];
    let ended = pair.program(FERRY).args(replay).args(["--json"]).run().await.expect_code(1);
    assert_eq!(ended.report(), json!({ "taken": 2, "refused": 1 }));
    assert!(ended.stderr.contains("line 3: 400"), "{ended}");
    wait(async || (pair.to().keys().len() == 3).then_some(())).await;
    host.stop().await;
}

#[tokio::test]
async fn a_listener_tells_what_it_reads() {
    let pair = Pair::start().await;
    let heard = pair.directory().join("heard");
    let _listener = pair
        .program(FERRY)
        .args(["events", "listen", "--listen", "127.0.0.1:0", "--json"])
        .start(fs::File::create(&heard).expect("a file"));
    let lines = || -> Vec<Value> {
        let said = fs::read_to_string(&heard).expect("read");
        said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let url = wait(async || lines().first()?["endpoint"].as_str().map(str::to_owned)).await;
    let listed = pair.program(FERRY).args(["events", "send", "--list"]).run().await.expect_code(0);
    let samples: Vec<&str> = listed.stdout.lines().collect();
    assert!(samples.len() > 60, "{listed}");
    for sample in ["oss-fc-put-object", "s3-test-event", "gcs-pubsub-push-finalize"] {
        assert!(samples.contains(&sample), "{sample}");
        pair.program(FERRY).args(["events", "send", sample, "--to", &url]).run().await.expect_code(0);
    }
    let said = lines();
    assert_eq!(said[1]["events"][0]["change"], "changed", "{said:?}");
    assert_eq!((&said[2]["events"], &said[2]["ignored"][0]["why"]), (&json!([]), &json!("test")), "{said:?}");
    let nowhere = pair.program(FERRY).args(["events", "send", "no-such-sample", "--to", &url]).run().await;
    nowhere.expect_refusal(&["no-such-sample", "--list"]);
}

#[tokio::test]
async fn what_was_taken_is_done_by_the_next_process() {
    let pair = Pair::start().await;
    let host = Host::start(&pair).await;
    host.put_task(&task("t")).await;
    // Whoever reads this object waits until the process is gone.
    pair.from().put_object("slow", bytes(10, 1));
    pair.from().put_object("next", bytes(10, 2));
    let held = Rule::on(Operation::GetObject, Action::Delay(Duration::from_hours(1)));
    pair.source.faults().add(held);
    for key in ["slow", "next"] {
        assert_eq!(host.notify("t", &created(key)).await.status, 200);
    }
    wait(async || (host.get("/api/queue").await["jobs"]["in_flight"] == 2).then_some(())).await;
    host.kill().await;
    pair.source.faults().clear();
    assert!(pair.to().keys().is_empty());
    let host = Host::start(&pair).await;
    wait(async || (pair.to().keys().len() == 2).then_some(())).await;
    pair.assert_same();
    host.stop().await;
}

#[tokio::test]
async fn a_run_that_was_killed_is_gone_on_with() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 200);
    let host = Host::start(&pair).await;
    host.put_task(&task("t")).await;
    // The last ten never arrive while this process lives: few enough that they do not hold every place of a pace that has become careful.
    let held = Rule::on(Operation::PutObject, Action::Delay(Duration::from_hours(1)));
    pair.destination.faults().add(held.key_contains("small/19"));
    let run = host.begin("t").await;
    let twice = host.ask("POST", "/api/tasks/t/run", "").await;
    assert_eq!(twice.status, 409, "one run of a task at a time");
    let most = wait(async || {
        let told = host.get(&format!("/api/runs/{run}")).await;
        (told["progress"]["jobs_left"] == 10 && told["progress"]["jobs"] == 200).then_some(told)
    })
    .await;
    assert_eq!((&most["state"], pair.to().keys().len()), (&json!("running"), 190), "{most}");
    host.kill().await;
    pair.destination.faults().clear();
    let host = Host::start(&pair).await;
    let told = host.ended(&run).await;
    assert_eq!((&told["run"], &told["state"]), (&json!(run), &json!("done")), "{told}");
    pair.assert_same();
    assert!(pair.to().get(&small_key(199)).is_some());
    host.stop().await;
}

#[tokio::test]
async fn a_schedule_is_kept_unless_it_is_paused() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 3);
    let host = Host::start(&pair).await;
    let at = SystemClock.now() + Duration::from_secs(3);
    let at = format!("at({}T{:02}:{:02}:{:02})", at.date(), at.hour(), at.minute(), at.second());
    for name in ["paused", "active"] {
        let mut scheduled = task(name);
        scheduled["schedule"] = at.clone().into();
        host.put_task(&scheduled).await;
    }
    assert_eq!(host.ask("POST", "/api/tasks/paused/pause", "").await.status, 200);
    let told = host.get("/api/tasks/active").await;
    assert!(told["next"].is_string() && told["state"] == "active", "{told}");
    assert!(host.get("/api/tasks/paused").await["next"].is_null());
    let run = wait(async || host.get("/api/runs").await["runs"][0]["run"].as_str().map(str::to_owned)).await;
    assert_eq!(host.ended(&run).await["task"], "active");
    pair.assert_same();
    let runs = host.get("/api/runs").await;
    assert_eq!(runs["runs"].as_array().expect("runs").len(), 1, "{runs}");
    assert!(host.get("/api/tasks/active").await["next"].is_null(), "once is once");
    host.stop().await;
}

#[tokio::test]
async fn told_to_stop_it_finishes_what_is_at_work_and_the_next_one_the_rest() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 60);
    let host = Host::start(&pair).await;
    host.put_task(&task("t")).await;
    pair.destination.faults().add(Rule::on(Operation::PutObject, Action::Delay(Duration::from_millis(300))));
    let run = host.begin("t").await;
    wait(async || (!pair.to().keys().is_empty()).then_some(())).await;
    host.stop().await;
    pair.destination.faults().clear();
    let host = Host::start(&pair).await;
    let told = host.ended(&run).await;
    assert_eq!(told["state"], "done", "{told}");
    pair.assert_same();
    host.stop().await;
}

#[tokio::test]
async fn the_export_api_is_there_and_wants_its_own_keys() {
    let pair = Pair::start().await;
    let host = Host::start(&pair).await;
    let keys = |secret: &str| Credentials {
        access_key_id: EXPORT_KEY_ID.to_owned(),
        secret_access_key: secret.to_owned(),
        session_token: None,
        expires: None,
    };
    let address = host.url.strip_prefix("http://").expect("a URL");
    for (secret, status) in [("fake-export-secret", "200"), ("fake-other-secret", "403")] {
        let answer = crate::export::ask(address, &keys(secret), "Action=ListJobs&Version=2010-06-01").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    host.stop().await;
}

/// A laptop makes the job over HTTP, the machine with the server writes the disk.
#[tokio::test]
async fn a_job_is_made_from_elsewhere_and_run_beside_the_server() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 5);
    let host = Host::start(&pair).await;
    let laptop = pair.directory().join("laptop");
    fs::create_dir_all(laptop.join("device")).expect("directories");
    let manifest = "manifestVersion:2.0\ndeviceId:49382\nfileSystem:EXT4\nlogBucket:docks\nlogPrefix:logs/\n\
                    x-container: none\nx-layout: plain\noperations:\n  - exportBucket:docks\n    prefix:small/\n";
    fs::write(laptop.join("manifest.txt"), manifest).expect("written");
    let remote = async |args: &[&str]| {
        Program::new(FERRY, &laptop)
            .credentials("KEYS", EXPORT_KEY_ID, "fake-export-secret")
            .args(["export", "--endpoint-url", &host.url, "--signed-with", "env:KEYS", "--json"])
            .args(args.iter().copied())
            .run()
            .await
    };
    let made = remote(&["create-job", "Export", "manifest.txt", "device"]).await.expect_code(0).report();
    let id = made["job_id"].as_str().expect("an id").to_owned();
    assert!(laptop.join("device/SIGNATURE").exists());
    let status = async || remote(&["get-status", &id]).await.expect_code(0).report();
    assert_eq!(status().await["progress"], "Pending");
    let device = format!("plain:{}", laptop.join("device").display());
    let state = host.state.display().to_string();
    let run = ["export", "run", &id, "--target", &device, "--store", "harbour", "--state-dir", &state];
    pair.program(FERRY).args(run).run().await.expect_code(0);
    assert_eq!(status().await["progress"], "Complete");
    assert!(laptop.join("device/docks").join(small_key(3)).exists());
    let listed = remote(&["list-jobs"]).await.expect_code(0).report();
    assert!(listed.to_string().contains(&id), "{listed}");
    let late = remote(&["cancel-job", &id]).await;
    assert_ne!(late.code, 0, "what is complete cannot be called off: {late}");
    host.stop().await;
}
