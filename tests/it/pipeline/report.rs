//! What is said about a run: the report in both forms, and the receipts.

use std::collections::BTreeSet;

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::Pair;
use ferry_transfer::receipt::{Outcome, Receipt};
use serde_json::Value;

use crate::objects::{ferry, fill_small, sync, whole};

/// Twenty objects at the source: 18 to copy, one of them refused, one up to date; and one at the destination only.
async fn mixed() -> Pair {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 19);
    pair.from().put_object("same", "same");
    pair.to().put_object("same", "same");
    pair.to().put_object("extra", "extra");
    pair.source.faults().add(Rule::on(Operation::GetObject, Action::ACCESS_DENIED).key_contains("small/018"));
    pair
}

#[tokio::test]
async fn the_json_report_accounts_for_every_object() {
    let pair = mixed().await;
    let ended = sync(&pair, &[]).await.expect_code(1);
    let report = ended.report();
    let count = |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("no count {name}: {report}"));
    assert_eq!(report["source"], "harbour://docks/");
    assert_eq!(report["destination"], "island://beach/");
    assert_eq!(count("found"), 20);
    assert_eq!(count("found_bytes"), pair.from().size_bytes());
    assert_eq!(
        count("found"),
        count("copied") + count("up_to_date") + count("skipped") + count("failed"),
        "{report}"
    );
    assert_eq!([count("copied"), count("up_to_date"), count("failed"), count("extra")], [18, 1, 1, 1]);
    assert_eq!(count("copied_bytes"), pair.to().size_bytes() - "sameextra".len() as u64);
    let checks = |name: &str| -> u64 {
        report[name].as_object().expect("checks").values().filter_map(Value::as_u64).sum()
    };
    assert_eq!((checks("read_checks"), checks("write_checks")), (18, 18));
    let source = &report["requests"]["source"];
    assert_eq!(source["requests"]["get"], 19, "refused ones count as well: {report}");
    assert_eq!(source["read_bytes"], count("copied_bytes"));
    assert_eq!(report["requests"]["destination"]["written_bytes"], count("copied_bytes"));
    assert_eq!((count("exit_code"), &report["interrupted"]), (1, &Value::Bool(false)));
    assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{report}");
    assert!(report["run"].as_str().is_some_and(|run| !run.is_empty()), "{report}");
    assert_eq!(ended.stderr, "", "results are on stdout, and nobody watches progress here");
}

#[tokio::test]
async fn the_text_says_what_the_json_says() {
    let pair = mixed().await;
    let ended = whole(&pair, "sync").run().await.expect_code(1);
    for line in [
        "harbour://docks/ → island://beach/",
        "found      20 objects",
        "copied     18 objects",
        "up to date 1",
        "extra      1 at the destination only, left there",
        "failed     1",
        "failed \"small/018\": ",
    ] {
        assert!(ended.stdout.contains(line), "no {line:?} in\n{ended}");
    }
}

#[tokio::test]
async fn every_job_leaves_one_final_receipt() {
    let pair = mixed().await;
    sync(&pair, &["--receipts", "receipts.jsonl", "--delete"]).await.expect_code(1);
    let text = std::fs::read_to_string(pair.directory().join("receipts.jsonl")).expect("receipts");
    let receipts: Vec<Receipt> =
        text.lines().map(|line| serde_json::from_str(line).expect("a receipt on each line")).collect();
    let keys: BTreeSet<&str> = receipts.iter().map(|receipt| receipt.key.as_str()).collect();
    assert_eq!((receipts.len(), keys.len()), (20, 20), "19 to copy and one to delete: {text}");
    let runs: BTreeSet<_> = receipts.iter().map(|receipt| receipt.run.clone()).collect();
    assert_eq!(runs.len(), 1, "all of one run");
    for receipt in &receipts {
        match (&receipt.outcome, receipt.key.as_str()) {
            (Outcome::Failed(failed), "small/018") => assert!(failed.last, "{receipt:?}"),
            (Outcome::Deleted, "extra") => {}
            (Outcome::Copied(copied), key) => {
                let object = pair.to().get(key).expect("what has a receipt is there");
                assert_eq!(copied.size_bytes, object.size_bytes());
                assert_eq!(copied.destination_etag.as_ref(), Some(&object.etag));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn receipts_that_cannot_be_written_are_a_mistake_before_anything_moves() {
    let pair = mixed().await;
    let ended = sync(&pair, &["--receipts", "no-such-directory/receipts.jsonl"]).await;
    ended.expect_refusal(&["no-such-directory/receipts.jsonl"]);
    assert_eq!(pair.destination.log().count(Operation::PutObject), 0);
}

#[tokio::test]
async fn every_command_explains_itself() {
    let pair = Pair::start().await;
    for command in ["sync", "plan", "verify", "demo", "ls", "presign"] {
        let ended = ferry(&pair, [command, "--help"]).run().await.expect_code(0);
        assert!(ended.stdout.contains("Usage:"), "{ended}");
    }
    let help = ferry(&pair, ["--help"]).run().await.expect_code(0);
    assert!(help.stdout.contains("Exit codes: 0 done"), "{help}");
    ferry(&pair, []).run().await.expect_code(2);
    ferry(&pair, ["snyc"]).run().await.expect_refusal(&["snyc"]);
}
