//! `ferry export`: jobs by hand and by hand-signed requests, onto a directory and into a container.

mod archived;
mod damaged;
mod disk;
mod killed;
mod meanwhile;
mod reading;
mod stores;
mod within;

use std::fs::File;
use std::path::Path;

use ferry_cloud::Credentials;
use ferry_export::{HttpRequest, sign};
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_testkit::sqs::{SqsConfig, SqsServer};
use ferry_tests::{Pair, Program};
use ferry_transfer::Queue as _;
use ferry_transfer::queue::OutgoingMessage;
use ferry_transfer::{Clock as _, SystemClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::killed::kill_at;
use crate::FERRY;

const PASSWORD: &str = "correct-horse-battery";

fn manifest(lines: &str) -> String {
    format!(
        "manifestVersion:2.0\ndeviceId:49382\nfileSystem:EXT4\nlogBucket:docks\nlogPrefix:logs/\n{lines}\
         operations:\n  - exportBucket:docks\n    prefix:data/\n"
    )
}

/// Two stores of which the source holds what is exported, and a directory for the device.
struct World {
    pair: Pair,
}

impl World {
    async fn new(manifest: &str) -> Self {
        Self::over(Pair::start().await, manifest)
    }

    fn over(pair: Pair, manifest: &str) -> Self {
        for number in 0..30_u8 {
            pair.from().put_object(&format!("data/{number:02}.bin"), vec![number; usize::from(number) * 100]);
        }
        for key in ["data/a", "data/a/b", "data//x", "data/grüße"] {
            pair.from().put_object(key, key.to_owned());
        }
        pair.from().put_object("elsewhere", "not exported");
        std::fs::create_dir(pair.directory().join("device")).expect("device");
        std::fs::write(pair.directory().join("manifest.txt"), manifest).expect("manifest");
        Self { pair }
    }

    fn ferry<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Program {
        let state = self.pair.directory().join("state");
        let program = self
            .pair
            .program(FERRY)
            .args(["export"])
            .args(args)
            .args(["--store", "harbour", "--state-dir", &state.display().to_string()])
            .env("MEDIUM_PASSWORD", PASSWORD);
        // The programs of NTFS, and where tests/device-tools has unpacked them.
        ["PATH", "LD_LIBRARY_PATH"]
            .into_iter()
            .fold(program, |program, name| program.env(name, &std::env::var(name).unwrap_or_default()))
    }

    fn device(&self) -> std::path::PathBuf {
        self.pair.directory().join("device")
    }

    async fn create(&self) -> String {
        let ended = self
            .ferry(["CreateJob", "Export", "manifest.txt", "device", "--json"])
            .run()
            .await
            .expect_code(0);
        ended.report()["job_id"].as_str().expect("id").to_owned()
    }
}

/// Every file below a directory that holds the text, but for the manifest and the secrets.
fn files_that_hold(directory: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("directory") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let bytes = std::fs::read(&path).expect("file");
                if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                    found.push(path.display().to_string());
                }
            }
        }
    }
    found.retain(|path| !path.ends_with("manifest.txt") && !path.contains("/secrets/"));
    found
}

#[tokio::test]
async fn a_job_is_created_as_the_original_printed_it_written_and_read_back() {
    let world = World::new(&manifest(&format!("trueCryptPassword:{PASSWORD}\n"))).await;
    let ended = world.ferry(["CreateJob", "Export", "manifest.txt", "device"]).run().await.expect_code(0);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!((lines[0], lines[2]), ("JOB CREATED", "JobType: Export"), "{ended}");
    let id = lines[1].strip_prefix("JobId:   ").expect("id").to_owned();
    assert_eq!(lines[3], "*".repeat(40), "{ended}");
    assert!(lines[4].starts_with("* AwsShippingAddress ") && lines[4].ends_with(" *"), "{ended}");
    assert_eq!(lines.last(), Some(&"Writing SignatureFileContents to device/SIGNATURE"), "{ended}");
    let signature = std::fs::read_to_string(world.device().join("SIGNATURE")).expect("SIGNATURE");
    assert!(
        signature.starts_with(&format!("version:2.0\nsigningMethod:HmacSHA1\njobId:{id}\nsignature:")),
        "{signature}"
    );

    let ended = world.ferry(["run", &id, "--target", "dir:device", "--json"]).run().await.expect_code(0);
    let report = ended.report();
    assert_eq!(
        (&report["progress"], &report["verdict"]["right_files"]),
        (&"Complete".into(), &34.into()),
        "{ended}"
    );
    assert!(world.device().join(format!("{id}.hc")).is_file());
    let log = world.pair.from().bytes(&format!("logs/export-log-{id}")).expect("log");
    assert_eq!(String::from_utf8_lossy(&log).lines().count(), 35);
    let read = ["verify", "dir:device", "--password-env", "MEDIUM_PASSWORD"];
    world.ferry(read).run().await.expect_code(0);
    let open = ["open", "dir:device", "out", "--password-env", "MEDIUM_PASSWORD"];
    world.ferry(open).run().await.expect_code(0);
    let copy = std::fs::read(world.pair.directory().join("out/data/docks/data/29.bin")).expect("copy");
    assert_eq!(copy, vec![29; 2900]);
    assert_eq!(files_that_hold(world.pair.directory(), PASSWORD), [""; 0]);
    let secrets = std::fs::read_dir(world.pair.directory().join("state/secrets")).expect("secrets").flatten();
    let kept = secrets.map(|entry| std::fs::read_to_string(entry.path()).unwrap_or_default());
    assert!(kept.into_iter().all(|secret| secret != PASSWORD), "nobody will ask for it any more");
}

#[tokio::test]
async fn a_device_is_let_go_when_nobody_writes_it() {
    let world = World::new(&manifest("x-container: none\nx-layout: plain\n")).await;
    let id = world.create().await;
    let release = ["release", id.as_str(), "--target", "plain:device", "--json"];
    assert!(world.ferry(release).run().await.expect_code(4).shows("has no device here"));
    kill_at(&world, &["run", &id, "--target", "plain:device"], 5).await;
    assert!(world.ferry(release).run().await.expect_code(4).shows("is at work or was cut off"));
    let report =
        world.ferry(["run", &id, "--target", "plain:device", "--json"]).run().await.expect_code(0).report();
    assert_eq!(report["location"], "AtAWS");
    let detach = [&release[..], &["--detach"]].concat();
    assert!(world.ferry(detach).run().await.expect_code(4).shows("nothing is mounted at"));
    for _ in 0..2 {
        let report = world.ferry(release).run().await.expect_code(0).report();
        assert_eq!((&report["location"], &report["progress"]), (&"Returned".into(), &"Complete".into()));
    }
}

#[tokio::test]
async fn only_the_jobs_own_signature_lets_it_be_written() {
    let world = World::new(&manifest("x-container: none\nx-layout: plain\n")).await;
    let id = world.create().await;
    let signature = world.device().join("SIGNATURE");
    let own = std::fs::read_to_string(&signature).expect("SIGNATURE");
    let run = ["run", id.as_str(), "--target", "plain:device"];
    std::fs::remove_file(&signature).expect("removed");
    assert!(world.ferry(run).run().await.expect_code(4).shows("SIGNATURE"));
    let status = world.ferry(["get-status", &id, "--json"]).run().await.expect_code(0).report();
    assert_eq!(status["progress"], "MissingSignature");
    world.create().await;
    world.ferry(run).run().await.expect_code(4);
    let status = world.ferry(["get-status", &id, "--json"]).run().await.expect_code(0).report();
    assert_eq!(status["progress"], "InvalidSignature");
    assert_eq!(std::fs::read_dir(world.device()).expect("device").count(), 1, "nothing was written");
    std::fs::write(&signature, own).expect("SIGNATURE");
    std::fs::write(world.device().join("holiday.jpg"), "somebody's").expect("file");
    assert!(world.ferry(run).run().await.expect_code(4).shows("holiday.jpg"));
    std::fs::remove_file(world.device().join("holiday.jpg")).expect("removed");
    world.ferry(run).run().await.expect_code(0);
    assert_eq!(std::fs::read(world.device().join("docks/data/07.bin")).expect("file"), vec![7; 700]);
    world.ferry(["verify", "plain:device"]).run().await.expect_code(0);
    std::fs::write(world.device().join("docks/data/07.bin"), vec![8; 700]).expect("damage");
    assert!(world.ferry(["verify", "plain:device"]).run().await.expect_code(3).shows("07.bin"));
}

#[tokio::test]
async fn a_station_takes_its_jobs_off_a_queue() {
    let world = World::new(&manifest(&format!("trueCryptPassword:{PASSWORD}\n"))).await;
    let id = world.create().await;
    let sqs = SqsServer::start(SqsConfig::default()).await.expect("SQS");
    let queue = sqs.queue("disks");
    let job = serde_json::json!({ "jobId": id }).to_string();
    let sent = queue.send_batch(vec![OutgoingMessage::new(job), OutgoingMessage::new("poison")]).await;
    assert!(sent.expect("sent").iter().all(Result::is_ok));
    let url = sqs.queue_url("disks");
    let station = ["station", "--queue", &url, "--target", "dir:device", "--once", "--json"];
    let program = world.ferry(station).env("AWS_ACCESS_KEY_ID", "AKIAFAKE").env("AWS_REGION", "us-east-1");
    let ended = program.env("AWS_SECRET_ACCESS_KEY", "fake-secret").run().await.expect_code(1);
    assert!(ended.stderr.contains("jobId"), "poison is told: {ended}");
    let status = world.ferry(["get-status", &id, "--json"]).run().await.expect_code(0).report();
    assert_eq!(status["progress"], "Complete");
    let depth = queue.depth().await.expect("depth");
    assert_eq!(
        (depth.visible, depth.in_flight),
        (0, 1),
        "the job is off the queue, the poison is the queue's own"
    );
}

#[tokio::test]
async fn only_a_job_that_is_over_leaves_the_queue() {
    let world = World::new(&manifest("x-container: none\nx-layout: plain\n")).await;
    let (canceled, refused) = (world.create().await, world.create().await);
    world.ferry(["CancelJob", &canceled]).run().await.expect_code(0);
    std::fs::remove_file(world.device().join("SIGNATURE")).expect("removed");
    let sqs = SqsServer::start(SqsConfig::default()).await.expect("SQS");
    let queue = sqs.queue("disks");
    let job = |id: &String| OutgoingMessage::new(serde_json::json!({ "jobId": id }).to_string());
    let sent = queue.send_batch(vec![job(&canceled), job(&refused)]).await;
    assert!(sent.expect("sent").iter().all(Result::is_ok));
    let url = sqs.queue_url("disks");
    let station = ["station", "--queue", &url, "--target", "plain:device", "--once", "--json"];
    let program = world.ferry(station).env("AWS_ACCESS_KEY_ID", "AKIAFAKE").env("AWS_REGION", "us-east-1");
    let ended = program.env("AWS_SECRET_ACCESS_KEY", "fake-secret").run().await;
    assert!(ended.shows(&format!("job {canceled} was canceled")), "{ended}");
    assert!(ended.expect_code(4).shows("SIGNATURE is not there"));
    let depth = queue.depth().await.expect("depth");
    assert_eq!((depth.visible, depth.in_flight), (0, 1), "the refused job comes again");
}

#[tokio::test]
async fn what_was_to_be_encrypted_is_never_written_in_the_clear() {
    let world = World::new(&manifest(&format!("trueCryptPassword:{PASSWORD}\n"))).await;
    let id = world.create().await;
    let secrets = world.pair.directory().join("state/secrets");
    let kept = std::fs::read_dir(&secrets).expect("secrets").count();
    assert!(kept > 0, "there is a password to lose");
    std::fs::remove_dir_all(&secrets).expect("lost");
    for target in ["dir:device", "image:device/medium.hc"] {
        let ended = world.ferry(["run", &id, "--target", target]).run().await;
        assert_ne!(ended.code, 0, "{target}: {ended}");
        assert!(ended.stderr.contains("password"), "{target}: {ended}");
    }
    assert_eq!(std::fs::read_dir(world.device()).expect("device").count(), 1, "SIGNATURE and nothing else");
}

/// A topic that hears one message.
async fn topic() -> (String, tokio::task::JoinHandle<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let topic = format!("http://{}", listener.local_addr().expect("an address"));
    let heard = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a call");
        let mut said = Vec::new();
        let mut piece = [0; 4096];
        while !String::from_utf8_lossy(&said).contains("&Message=") {
            let length = socket.read(&mut piece).await.expect("read");
            said.extend_from_slice(&piece[..length]);
        }
        let body =
            "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>";
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        socket.write_all(format!("{head}{body}").as_bytes()).await.expect("answered");
        String::from_utf8(said).expect("text")
    });
    (topic, heard)
}

#[tokio::test]
async fn a_topic_is_told_how_a_job_ended_and_of_no_secret() {
    let world = World::new(&manifest(&format!("trueCryptPassword:{PASSWORD}\n"))).await;
    let id = world.create().await;
    let (topic, heard) = topic().await;
    let arn = "arn:aws:sns:eu-west-1:123456789012:disks";
    let run = ["run", &id, "--target", "dir:device", "--notify-topic", arn];
    let program = world.ferry(run).env("AWS_ENDPOINT_URL_SNS", &topic);
    program
        .env("AWS_ACCESS_KEY_ID", "AKIAFAKE")
        .env("AWS_SECRET_ACCESS_KEY", "fake-secret")
        .run()
        .await
        .expect_code(0);
    let said = heard.await.expect("it was told");
    for words in ["Action=Publish", "Complete", &id, "AWS4-HMAC-SHA256"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains(PASSWORD), "{said}");
}

#[tokio::test]
async fn a_topic_is_told_that_a_store_failed() {
    let world = World::new(&manifest("x-container: none\nx-layout: plain\n")).await;
    let id = world.create().await;
    let (topic, heard) = topic().await;
    world.pair.source.faults().add(Rule::on(Operation::GetObject, Action::ACCESS_DENIED));
    let arn = "arn:aws:sns:eu-west-1:123456789012:disks";
    let run = ["run", &id, "--target", "plain:device", "--notify-topic", arn];
    let program = world.ferry(run).env("AWS_ENDPOINT_URL_SNS", &topic).env("AWS_ACCESS_KEY_ID", "AKIAFAKE");
    program.env("AWS_SECRET_ACCESS_KEY", "fake-secret").run().await.expect_code(1);
    let said = heard.await.expect("it was told");
    assert!(said.contains("stopped") && said.contains("AccessDenied"), "{said}");
}

#[tokio::test]
async fn a_medium_that_is_too_small_ends_in_key_order_and_names_the_next() {
    let world = World::new(&manifest("x-container: none\nx-layout: plain\n")).await;
    let id = world.create().await;
    let run = ["run", id.as_str(), "--target", "plain:device", "--capacity", "300kB", "--json"];
    let report = world.ferry(run).run().await.expect_code(1).report();
    assert_eq!(report["progress"], "SuccessWithErrors");
    let marker = report["report"]["next"]["beginMarker"].as_str().expect("marker").to_owned();
    let last: u8 = marker.trim_start_matches("data/").trim_end_matches(".bin").parse().expect("a number");
    assert!((2..28).contains(&last), "{report}");
    let (last, first_of_next) =
        (format!("docks/data/{last:02}.bin"), format!("docks/data/{:02}.bin", last + 1));
    let next = std::fs::read_to_string(report["next_manifest"].as_str().expect("manifest")).expect("next");
    let status = world.ferry(["get-status", &id, "--json"]).run().await.expect_code(0).report();
    let key = status["next_manifest_key"].as_str().expect("a key");
    assert_eq!(world.pair.from().bytes(key).expect("in the log's bucket"), next.as_bytes());
    assert!(next.contains(&format!("beginMarker: {marker}")), "{next}");
    assert!(world.device().join(&last).exists());
    assert!(!world.device().join(&first_of_next).exists() && !world.device().join("docks/data/a").exists());
    std::fs::create_dir(world.pair.directory().join("second")).expect("second");
    std::fs::write(world.pair.directory().join("next.txt"), next).expect("next");
    let ended =
        world.ferry(["create-job", "Export", "next.txt", "second", "--json"]).run().await.expect_code(0);
    let second = ended.report()["job_id"].as_str().expect("id").to_owned();
    world.ferry(["run", &second, "--target", "plain:second"]).run().await.expect_code(0);
    assert!(world.pair.directory().join("second").join(&first_of_next).exists());
    assert!(!world.pair.directory().join("second").join(&last).exists());
}

#[tokio::test]
async fn commands_that_need_no_medium_say_what_is_so() {
    let world = World::new(&manifest(&format!("trueCryptPassword:{PASSWORD}\n"))).await;
    let id = world.create().await;
    let slip = world.ferry(["GetShippingLabel", &id, "--line", "Jo, 5 Quay"]).run().await.expect_code(0);
    assert!(slip.stdout.contains(&format!("JOBID {id}")) && slip.stdout.contains("5 Quay"), "{slip}");
    let listed = world.ferry(["list-jobs"]).run().await.expect_code(0);
    assert!(listed.stdout.contains("Pending"), "{listed}");
    // A job whose days are over, whether anybody wrote that down or not.
    let late = ["CreateJob", "Export", "manifest.txt", "device", "--json", "--expire-days", "0"];
    let late =
        world.ferry(late).run().await.expect_code(0).report()["job_id"].as_str().expect("id").to_owned();
    let listed = world.ferry(["list-jobs"]).run().await.expect_code(0);
    let line = listed.stdout.lines().find(|line| line.starts_with(&late)).expect("listed");
    assert!(line.contains("Expired"), "{line}");
    let secrets =
        || std::fs::read_dir(world.pair.directory().join("state/secrets/jobs")).expect("secrets").count();
    let kept = secrets();
    world.ferry(["get-status", &late]).run().await.expect_code(0);
    assert_eq!(secrets(), kept - 1, "its password is forgotten");
    // Both are set where a station works for a service elsewhere; a medium is read without either.
    let verify = world.ferry(["verify", "plain:device"]).env("FERRY_STATE", "harbour://docks/jobs/");
    assert!(verify.run().await.shows("no list of digests"));
    let status = world.ferry(["get-status", &id]).env("FERRY_STATE", "harbour://docks/jobs/");
    assert!(status.run().await.expect_code(2).shows("belong together"));
}

#[tokio::test]
async fn a_signature_that_cannot_be_written_does_not_hide_the_job() {
    let world = World::new(&manifest("x-container: none\n")).await;
    let precious = world.pair.directory().join("precious");
    std::fs::write(&precious, "somebody's").expect("written");
    std::os::unix::fs::symlink(&precious, world.device().join("SIGNATURE")).expect("a link");
    for flags in [&["--json"][..], &[]] {
        let create = [&["CreateJob", "Export", "manifest.txt", "device"], flags].concat();
        let ended = world.ferry(create).run().await.expect_code(1);
        assert!(ended.stderr.contains("is a link"), "{ended}");
        assert!(ended.stdout.to_lowercase().contains("job"), "its number is told: {ended}");
    }
    assert_eq!(std::fs::read_to_string(&precious).expect("kept"), "somebody's");
}

#[tokio::test]
async fn a_plan_names_its_disks_and_keeps_to_what_a_station_will_write() {
    let world = World::new(&manifest("x-container: none\nx-layout: plain\n")).await;
    world.pair.from().put_object("data/!large", vec![7; 3 << 20]);
    let plan = ["plan", "manifest.txt", "--device", "2MB", "--device", "64MB", "--out", "plans", "--json"];
    let ended = world.ferry(plan).run().await.expect_code(0);
    assert!(ended.shows("disk 1 stays empty"), "{ended}");
    assert_eq!(ended.report()["disks"][0]["disk"], 2, "{ended}");
    assert!(world.pair.directory().join("plans/manifest-2.txt").exists());
    assert!(!world.pair.directory().join("plans/manifest-1.txt").exists());
    assert!(world.ferry(plan).run().await.expect_code(2).shows("is not overwritten"));
    let text = manifest("x-container: none\nx-layout: plain\nx-maxBytes: 4000000\n");
    std::fs::write(world.pair.directory().join("manifest.txt"), text).expect("manifest");
    let plan = ["plan", "manifest.txt", "--device", "64MB", "--out", "less", "--json"];
    let planned = world.ferry(plan).run().await.report()["disks"][0]["objects"].as_u64().expect("objects");
    let id = world.create().await;
    let report = world.ferry(["run", &id, "--target", "plain:device", "--json"]).run().await.report();
    assert_eq!(report["report"]["written"], planned, "{report}");
    let text = manifest("x-container: none\nx-include: [\"k[5\"]\n");
    std::fs::write(world.pair.directory().join("manifest.txt"), text).expect("manifest");
    assert!(world.ferry(["plan", "manifest.txt", "--device", "4TB"]).run().await.expect_code(2).shows("k[5"));
}

#[tokio::test]
async fn a_data_set_is_split_over_disks() {
    let world = World::new(&manifest(&format!("trueCryptPassword:{PASSWORD}\n"))).await;
    let plan = ["plan", "manifest.txt", "--device", "900kB", "--device", "4TB", "--out", "plans", "--json"];
    let report = world.ferry(plan).run().await.expect_code(0).report();
    let disks = report["disks"].as_array().expect("disks");
    let objects: u64 = disks.iter().filter_map(|disk| disk["objects"].as_u64()).sum();
    assert_eq!(objects, 34, "{report}");
    let first =
        std::fs::read_to_string(world.pair.directory().join("plans/manifest-1.txt")).expect("manifest");
    assert!(first.contains("manifestVersion: 2.0"), "{first}");
}

#[tokio::test]
async fn everything_wrong_with_a_manifest_is_told_at_once_with_its_place() {
    let world =
        World::new("manifestVersion:2.0\ndeviceId:[serial]\nfileSystem:FAT32\noperations:\n  - prefix:a\n")
            .await;
    let ended = world.ferry(["CreateJob", "Export", "manifest.txt", "device", "ValidateOnly"]).run().await;
    ended.expect_refusal(&[
        "line 2, column 10",
        "placeholder",
        "FAT32",
        "logBucket",
        "operations[0].exportBucket",
    ]);
    assert_eq!(std::fs::read_dir(world.device()).expect("device").count(), 0);
}

/// Sends a signed form and reads the answer.
pub(crate) async fn ask(host: &str, keys: &Credentials, form: &str) -> String {
    let mut request = HttpRequest::post("/", form);
    request.set_header("host", host);
    sign(&mut request, keys, SystemClock.now());
    let mut socket = TcpStream::connect(host).await.expect("connected");
    let mut head = "POST / HTTP/1.1\r\nconnection: close\r\n".to_owned();
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n{form}", form.len()));
    socket.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("answer");
    answer
}

#[tokio::test]
async fn the_api_answers_signed_requests_and_no_others() {
    let world = World::new(&manifest(&format!("trueCryptPassword:{PASSWORD}\n"))).await;
    let log = world.pair.directory().join("serve.log");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--credentials", "env:STATION", "--json"];
    let _server = world
        .ferry(serve)
        .credentials("STATION", "STATIONKEY", "station-secret-key")
        .start(File::create(&log).expect("log"));
    let mut said = String::new();
    for _ in 0..600 {
        said = std::fs::read_to_string(&log).expect("log");
        if said.contains('\n') {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let said: serde_json::Value = serde_json::from_str(&said).expect("an endpoint");
    let host =
        said["endpoint"].as_str().and_then(|url| url.strip_prefix("http://")).expect("endpoint").to_owned();
    let keys = |secret: &str| Credentials {
        access_key_id: "STATIONKEY".into(),
        secret_access_key: secret.into(),
        session_token: None,
        expires: None,
    };
    let text = manifest(&format!("trueCryptPassword:{PASSWORD}\n"));
    let encoded: String = text.bytes().fold(String::new(), |form, byte| form + &format!("%{byte:02X}"));
    let form =
        format!("Action=CreateJob&Version=2010-06-01&JobType=Export&ValidateOnly=false&Manifest={encoded}");
    let answer = ask(&host, &keys("station-secret-key"), &form).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("<JobId>"), "{answer}");
    assert!(!answer.contains(PASSWORD));
    let answer = ask(&host, &keys("guess"), &form).await;
    assert!(
        answer.starts_with("HTTP/1.1 403") && answer.contains("<Code>SignatureDoesNotMatch</Code>"),
        "{answer}"
    );
    let answer = ask(&host, &keys("station-secret-key"), "Action=GetStatus&JobId=ZZZZZ").await;
    assert!(answer.contains("<Code>InvalidJobIdException</Code>"), "{answer}");
}
