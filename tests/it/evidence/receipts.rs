//! The state directory: runs, receipts, and what is left of a run that was killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::Pair;
use serde_json::Value;

use crate::objects::{fill_small, small_body, small_key, sync, whole};

/// The directories of the runs that are remembered, oldest first.
pub(super) fn runs(pair: &Pair) -> Vec<PathBuf> {
    let entries = fs::read_dir(pair.directory().join(".local/state/ferry/runs")).expect("runs");
    let mut runs: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    runs.sort();
    runs
}

/// The JSON documents of a file, one on each line.
pub(super) fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).expect("a file");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn record(run: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(run.join("run.json")).expect("run.json")).expect("JSON")
}

#[tokio::test]
async fn a_run_leaves_its_record_and_a_receipt_for_each_job() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 5);
    pair.to().put_object(&small_key(1), "another size");
    pair.source
        .faults()
        .add(Rule::on(Operation::GetObject, Action::ACCESS_DENIED).key_contains(small_key(3)));
    let report = sync(&pair, &[]).await.expect_code(1).report();

    let [run] = runs(&pair).try_into().expect("one run");
    let record = record(&run);
    assert_eq!(record["run"], report["run"]);
    assert_eq!(record["task"]["source"]["store"], "harbour");
    assert_eq!((&record["outcome"], &record["report"]["copied"]), (&"failed".into(), &4.into()), "{record}");
    assert!(record["ended"].is_string() && record["version"].is_string(), "{record}");

    let receipts = lines(&run.join("receipts.jsonl"));
    assert_eq!(receipts.len(), 5, "{receipts:?}");
    let of = |key: &str| receipts.iter().find(|receipt| receipt["key"] == key).expect("a receipt");
    assert_eq!(
        (&of(&small_key(0))["found"], &of(&small_key(0))["outcome"]),
        (&"missing".into(), &"copied".into())
    );
    assert_eq!(of(&small_key(1))["found"]["different"], "size");
    let failed = of(&small_key(3));
    assert_eq!(
        (&failed["status"], &failed["code"], &failed["last"]),
        (&403.into(), &"AccessDenied".into(), &true.into())
    );
    assert!(failed["request_id"].is_string(), "{failed}");
    assert!(!run.join("deleted.jsonl").exists(), "nothing was deleted");
}

#[tokio::test]
async fn old_runs_are_forgotten() {
    let pair = Pair::start().await;
    for count in 1..=4 {
        fill_small(&pair.from(), count);
        sync(&pair, &["--keep-runs", "2"]).await.expect_code(0);
    }
    let left = runs(&pair);
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.iter().all(|run| run.join("run.json").exists()));
}

#[tokio::test]
async fn a_run_that_was_killed_leaves_the_receipts_of_what_it_did() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 20);
    // Everything but one object is done at once; that one hangs.
    let hang = Action::Delay(Duration::from_mins(1));
    pair.source.faults().add(Rule::on(Operation::GetObject, hang).key_contains(small_key(19)));
    let log = tempfile::tempfile().expect("a file");
    let mut process = whole(&pair, "sync").args(["--json"]).start(log);
    let receipts = || runs(&pair).first().map(|run| run.join("receipts.jsonl")).filter(|file| file.exists());
    let state = pair.directory().join(".local/state/ferry/runs");
    for _ in 0..1000 {
        let written = if state.exists() { receipts().map_or(0, |file| lines(&file).len()) } else { 0 };
        if written == 19 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.kill().await.expect("killed");
    let [run] = runs(&pair).try_into().expect("one run");
    assert_eq!(lines(&run.join("receipts.jsonl")).len(), 19, "all that was done more than a second ago");
    assert_eq!((&record(&run)["outcome"], &record(&run)["ended"]), (&"unfinished".into(), &Value::Null));
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_used_stops_only_who_needs_it() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 1);
    let file = pair.directory().join("file");
    fs::write(&file, "").expect("a file");
    let in_file = file.join("state").display().to_string();
    sync(&pair, &["--state-dir", &in_file]).await.expect_refusal(&["--state-dir"]);
    let homeless = |args: &[&'static str]| {
        whole(&pair, "sync").args(args.iter().copied()).env("HOME", &file.display().to_string())
    };
    let ended = homeless(&["--delete"]).run().await.expect_code(2);
    assert!(ended.stderr.contains("state"), "deletes need a journal: {ended}");
    homeless(&[]).run().await.expect_code(0);
    assert_eq!(pair.to().bytes(&small_key(0)), Some(small_body(0, 0)));
}
