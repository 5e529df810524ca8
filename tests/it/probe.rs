//! `ferry probe`: what it finds out of stores of every make, and how it leaves them.

use std::process::Stdio;
use std::time::Duration;

use ferry_testkit::bucket::{BucketSettings, WriteConditions};
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_testkit::quirks::Make;
use ferry_tests::{Ended, Pair, StoreSetup};
use ferry_transfer::Attributes;
use serde_json::Value;

use crate::objects::{bytes, ferry, fill_small, parts};

const WRITES: [Operation; 6] = [
    Operation::PutObject,
    Operation::CopyObject,
    Operation::CreateMultipartUpload,
    Operation::UploadPart,
    Operation::DeleteObject,
    Operation::PutObjectTagging,
];

/// `ferry probe --json` of the destination.
async fn probe(pair: &Pair, args: &[&str]) -> Ended {
    ferry(pair, ["probe", "--json"]).args(args.iter().copied()).run().await
}

/// The outcome of one check and what was said of it.
fn found<'a>(report: &'a Value, check: &str) -> (&'a str, &'a str) {
    let findings = report["findings"].as_array().expect("findings");
    let finding = findings.iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("nothing was found of {check:?}: {report}"));
    let text = |field: &str| finding[field].as_str().expect("text");
    (text("outcome"), text("detail"))
}

/// What was found of a field that the profile knows otherwise.
fn difference<'a>(report: &'a Value, field: &str) -> Option<&'a Value> {
    let differences = report["differences"].as_array().expect("differences");
    differences.iter().find(|fact| fact["field"] == field).map(|fact| &fact["found"])
}

fn assert_left_as_found(pair: &Pair) {
    assert_eq!(pair.to().keys(), Vec::<String>::new());
    assert!(pair.to().open_uploads().is_empty(), "{:?}", pair.to().open_uploads());
}

#[tokio::test]
async fn an_unknown_store_is_found_out_and_left_as_it_was() {
    let pair = Pair::start().await;
    let report = probe(&pair, &["island://beach/deep/"]).await.expect_code(0).report();
    assert_left_as_found(&pair);
    for check in [
        "reach",
        "clock",
        "region",
        "addressing",
        "list",
        "write",
        "etag",
        "read",
        "range",
        "range beyond",
        "read if",
        "keys",
        "key length",
        "listing",
        "start after",
        "write if",
        "delete if",
        "Content-MD5",
        "CRC64NVME",
        "trailers",
        "tags",
        "metadata names",
        "metadata size",
        "copy within",
        "parts",
        "etag of parts",
        "part numbers",
        "delete",
    ] {
        assert_eq!(found(&report, check).0, "yes", "{check}: {report}");
    }
    for field in
        ["tags", "conditional_writes", "conditional_deletes", "crc64_nvme", "content_md5", "part_numbers"]
    {
        assert_eq!(difference(&report, &format!("capabilities.{field}")), Some(&"yes".into()), "{field}");
    }
    // Amazon's form; Ferry reads it only where a profile says `posture: aws`.
    assert_eq!(found(&report, "metadata values").0, "no", "{report}");
    assert_eq!(difference(&report, "capabilities.equal_parts"), None, "as everybody believes");
    let (sent, bound) = (report["requests"].as_u64(), report["requests_max"].as_u64());
    // One went to `beach.127.0.0.1`, which is nobody's name.
    assert_eq!(sent, Some(pair.destination.log().total() + 1), "every request is counted");
    assert!(sent <= bound, "{report}");
    let elsewhere = pair.destination.recent_requests().into_iter().find(|request| {
        WRITES.contains(&request.target.operation) && !request.target.key.starts_with("deep/.ferry-probe-")
    });
    assert_eq!(elsewhere, None);
}

#[tokio::test]
async fn what_was_found_can_be_pasted_and_is_then_believed() {
    let pair = Pair::start().await;
    let report = probe(&pair, &["island://beach/"]).await.expect_code(0).report();
    let file = pair.directory().join("ferry.yaml");
    let mut yaml = std::fs::read_to_string(&file).expect("ferry.yaml");
    for line in report["overrides"].as_str().expect("lines").lines() {
        yaml.push_str(&format!("    {line}\n"));
    }
    std::fs::write(&file, yaml).expect("written");
    let again = probe(&pair, &["island://beach/"]).await.expect_code(0).report();
    assert_eq!((&again["differences"], &again["overrides"]), (&Vec::<Value>::new().into(), &"".into()));
}

#[tokio::test]
async fn a_store_that_is_known_by_name_is_what_its_profile_says() {
    for make in Make::ALL {
        let pair = Pair::with(StoreSetup::default(), StoreSetup::of(make)).await;
        let report = probe(&pair, &["island://beach/"]).await.expect_code(0).report();
        assert_left_as_found(&pair);
        // What is unknown may be found out, and what a vendor keeps to itself cannot be played.
        let contradictions: Vec<&Value> = report["differences"]
            .as_array()
            .expect("differences")
            .iter()
            .filter(|fact| fact["believed"] != "unknown")
            .filter(|fact| fact["field"] != "capabilities.user_metadata_bytes_max")
            .collect();
        assert!(contradictions.is_empty(), "{make:?}: {contradictions:?}");
    }
}

#[tokio::test]
async fn oddities_of_a_store_that_nobody_named_are_found() {
    let with = |yaml| StoreSetup { yaml, ..StoreSetup::of(Make::CloudflareR2) };
    let pair = Pair::with(StoreSetup::default(), with(&["region: auto"])).await;
    let r2 = probe(&pair, &["island://beach/"]).await.expect_code(0).report();
    assert_eq!(difference(&r2, "capabilities.equal_parts"), Some(&true.into()), "{r2}");
    assert_eq!(difference(&r2, "capabilities.tags"), Some(&"no".into()));
    assert_eq!(difference(&r2, "capabilities.multipart_etag_is_md5_of_md5s"), Some(&"no".into()));
    assert_left_as_found(&pair);

    let google = StoreSetup {
        yaml: &["profile: {capabilities: {part_bytes_min: 102400}}"],
        ..StoreSetup::of(Make::GoogleStorage)
    };
    let pair = Pair::with(StoreSetup::default(), google).await;
    let google = probe(&pair, &["island://beach/"]).await.expect_code(0).report();
    assert_eq!(difference(&google, "capabilities.conditional_writes"), Some(&"no".into()), "{google}");
    assert_eq!(found(&google, "trailers").0, "no");
}

#[tokio::test]
async fn wrong_addressing_is_found_with_the_right_one() {
    let wrong = StoreSetup { yaml: &["region: cn-hangzhou"], ..StoreSetup::of(Make::AliyunOss) };
    let pair = Pair::with(StoreSetup::default(), wrong).await;
    let report = probe(&pair, &["island://beach/"]).await.expect_code(2).report();
    assert_eq!(found(&report, "addressing").0, "broken");
    assert_eq!(report["overrides"], "profile:\n  addressing: virtual\n");
}

#[tokio::test]
async fn a_source_is_only_read() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 12);
    let report = probe(&pair, &["harbour://docks/", "--read-only"]).await.expect_code(0).report();
    for check in ["reach", "list", "read", "range", "range beyond", "read if", "listing", "start after"] {
        assert_eq!(found(&report, check).0, "yes", "{check}: {report}");
    }
    let log = pair.source.log();
    assert!(WRITES.iter().all(|operation| log.count(*operation) == 0), "{:?}", log.counts());
    let empty = probe(&pair, &["island://beach/", "--read-only"]).await.expect_code(0).report();
    assert_eq!(found(&empty, "read").0, "untried");
}

#[tokio::test]
async fn rights_are_found_missing_one_by_one() {
    let pair = Pair::start().await;
    let faults = pair.destination.faults();
    for (operation, check) in [
        (Operation::ListObjectsV2, "list"),
        (Operation::PutObject, "write"),
        (Operation::GetObject, "read"),
        (Operation::CreateMultipartUpload, "parts"),
    ] {
        faults.add(Rule::on(operation, Action::ACCESS_DENIED));
        let report = probe(&pair, &["island://beach/"]).await.expect_code(1).report();
        let (outcome, detail) = found(&report, check);
        assert_eq!(outcome, "broken", "{operation}: {report}");
        assert!(detail.contains("AccessDenied"), "{detail}");
        faults.clear();
        assert_left_as_found(&pair);
    }
    faults.add(Rule::on(Operation::DeleteObject, Action::ACCESS_DENIED));
    let report = probe(&pair, &["island://beach/"]).await.expect_code(0).report();
    assert_eq!(found(&report, "delete").0, "no");
    let left = report["left_behind"].as_array().expect("a list");
    let is_named = |key: &String| {
        left.iter().any(|line| line.as_str().is_some_and(|line| line.starts_with(&format!("{key:?}:"))))
    };
    let unnamed: Vec<String> = pair.to().keys().into_iter().filter(|key| !is_named(key)).collect();
    assert_eq!((pair.to().is_empty(), unnamed), (false, Vec::new()), "{report}");
}

#[tokio::test]
async fn what_is_set_up_wrongly_is_a_mistake_and_no_failure() {
    let pair = Pair::start().await;
    let ended =
        ferry(&pair, ["probe", "island://beach/"]).env("ISLAND_SECRET_ACCESS_KEY", "wrong").run().await;
    let ended = ended.expect_code(2);
    assert!(ended.shows("check the secret access key") && ended.shows("NOT usable"), "{ended}");
    let ended = ferry(&pair, ["probe", "island://nowhere/"]).run().await.expect_code(2);
    assert!(ended.shows("no bucket \"nowhere\""), "{ended}");
    let skewed = Action::Refuse { status: 403, code: "RequestTimeTooSkewed" };
    pair.destination.faults().add(Rule::on_any(skewed));
    let ended = ferry(&pair, ["probe", "island://beach/"]).run().await.expect_code(2);
    assert!(ended.shows("clock"), "{ended}");
    let ended = ferry(&pair, ["probe", "lab://b", "--endpoint", "http://127.0.0.1:9"]);
    let ended = ended.args(["--credentials", "anonymous"]).run().await.expect_code(2);
    assert!(ended.shows("cannot reach"), "{ended}");
}

#[tokio::test]
async fn without_a_bucket_it_says_hello() {
    let pair = Pair::start().await;
    let ended = ferry(&pair, ["probe", "island://"]).run().await.expect_code(0);
    assert!(ended.shows("buckets: beach"), "{ended}");
}

#[tokio::test]
async fn a_pair_says_what_it_will_lose() {
    let pair = Pair::with(StoreSetup::default(), StoreSetup::of(Make::AliyunOss)).await;
    pair.from().put_object_in_parts("k", parts(&bytes(3000, 1), 1000), Attributes::default());
    let args = ["harbour://docks/", "island://beach/"];
    let report = probe(&pair, &args).await.expect_code(0).report();
    let losses = report["losses"].to_string();
    for word in ["tags", "1023 bytes", "begin with"] {
        assert!(losses.contains(word), "{word}: {losses}");
    }
    assert_left_as_found(&pair);
    let ended = ferry(&pair, ["probe", args[0], args[1]]).run().await.expect_code(0);
    assert!(ended.shows("this pair loses"), "{ended}");
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_found_out() {
    let ignoring = BucketSettings { write_conditions: WriteConditions::Ignored, ..BucketSettings::default() };
    let store = StoreSetup { settings: ignoring, yaml: &["provider: minio"], ..StoreSetup::default() };
    let pair = Pair::with(StoreSetup::default(), store).await;
    let report = probe(&pair, &["island://beach/"]).await.expect_code(0).report();
    assert_eq!(found(&report, "write if"), ("no", "If-None-Match: * is ignored"));
    assert_eq!(difference(&report, "capabilities.conditional_writes"), Some(&"no".into()));
    let shown = ferry(&pair, ["probe", "island://beach/"]).run().await.expect_code(0);
    assert!(shown.shows("[the profile says yes]") && shown.shows("conditional_writes: no"), "{shown}");
}

#[tokio::test]
async fn ctrl_c_ends_a_trial_and_leaves_nothing() {
    let pair = Pair::start().await;
    let (reached, mut in_the_middle) = tokio::sync::mpsc::unbounded_channel();
    let faults = pair.destination.faults();
    faults
        .add(Rule::on(Operation::UploadPart, Action::before(move |_| reached.send(()).expect("a listener"))));
    faults.add(Rule::on(Operation::UploadPart, Action::Delay(Duration::from_mins(5))));
    let log = std::fs::File::create(pair.directory().join("log")).expect("file");
    let mut child = ferry(&pair, ["probe", "island://beach/", "--json"]).start(log);
    in_the_middle.recv().await.expect("a part is on its way");
    assert_eq!(pair.to().open_uploads().len(), 1);
    let pid = child.id().expect("running").to_string();
    let interrupted = tokio::process::Command::new("kill").args(["-INT", &pid]).stdin(Stdio::null()).status();
    assert!(interrupted.await.expect("kill").success());
    child.wait().await.expect("ended");
    assert_left_as_found(&pair);
}
