//! Deletes under listings that fail and lie, written down before they are made, and undone.

use std::time::Duration;

use ferry_testkit::bucket::Bucket;
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::scripted::list_page;
use ferry_tests::{Pair, Scripted, Side};

use super::receipts::{lines, runs};
use crate::objects::{bytes, every_attribute, ferry, sync, whole};

fn numbered(number: usize) -> String {
    format!("{number:05}")
}

/// So many objects on both sides, the same.
async fn alike(count: usize) -> Pair {
    let pair = Pair::start().await;
    for number in 0..count {
        for bucket in [pair.from(), pair.to()] {
            bucket.put_object(&numbered(number), "x");
        }
    }
    pair
}

#[tokio::test]
async fn a_second_page_that_fails_deletes_nothing() {
    let pair = alike(1_500).await;
    pair.fail_from(Side::Source, Operation::ListObjectsV2, 3, 60, &Action::INTERNAL_ERROR);
    sync(&pair, &["--delete", "--max-delete", "100%"]).await.expect_code(1);
    assert_eq!(pair.to().len(), 1_500);
}

/// A source whose listings are what `listed` says, and whose objects are those of the pair.
async fn lying(pair: &Pair, listed: Vec<String>) -> Scripted {
    let real = pair.from();
    Scripted::start(move |_number, uri| {
        if uri.query().is_some_and(|query| query.contains("list-type")) {
            let keys: Vec<&str> = listed.iter().map(String::as_str).collect();
            return list_page(&keys, None);
        }
        let there = real.get(uri.path().rsplit('/').next().unwrap_or_default()).is_some();
        let (status, code) = if there { (200, "") } else { (404, "<Error><Code>NoSuchKey</Code></Error>") };
        ferry_tests::scripted::Page { status, content_type: "application/xml", body: code.to_owned() }
    })
    .await
}

#[tokio::test]
async fn a_listing_that_claims_to_be_complete_deletes_nothing_that_is_there() {
    let pair = alike(300).await;
    // Behind the last object, so that the lie is about them.
    pair.to().put_object("99999-gone", "x");
    let source = lying(&pair, (0..200).map(numbered).collect()).await;
    let args = ["--source-endpoint", &source.endpoint(), "--delete", "--compare", "size"];
    let report = sync(&pair, &args).await.expect_code(0).report();
    assert_eq!(report["skipped_by_reason"]["still_at_source"], 100, "{report}");
    assert_eq!((&report["deleted"], pair.to().len()), (&1.into(), 300), "only what is gone: {report}");
}

#[tokio::test]
async fn an_empty_source_and_one_of_another_bucket_are_refused_as_a_whole() {
    for listed in [Vec::new(), (0..300).map(|number| format!("other/{number}")).collect()] {
        let pair = alike(300).await;
        let source = lying(&pair, listed).await;
        let ended = sync(&pair, &["--source-endpoint", &source.endpoint(), "--delete"]).await;
        assert!([1, 4].contains(&ended.code), "{ended}");
        assert_eq!(pair.destination.log().count(Operation::DeleteObject), 0, "{ended}");
        // And where the user says that all of it may go, each object still speaks for itself.
        let args = ["--source-endpoint", &source.endpoint(), "--delete", "--max-delete", "100%"];
        sync(&pair, &args).await;
        assert!((0..300).all(|number| pair.to().get(&numbered(number)).is_some()));
    }
}

fn fill_extra(bucket: &Bucket, count: usize) {
    for number in 0..count {
        bucket.put_object_with(&format!("extra/{number}"), bytes(100, number as u64), every_attribute());
    }
}

#[tokio::test]
async fn what_is_in_the_trash_comes_back_with_everything_it_had() {
    let pair = alike(10).await;
    fill_extra(&pair.to(), 4);
    let before = pair.to().get("extra/1").expect("extra/1");
    let delete = ["--delete", "--trash", "bin"];
    let report = sync(&pair, &delete).await.expect_code(0).report();
    assert_eq!(report["deleted"], 4, "{report}");
    let run = report["run"].as_str().expect("a run").to_owned();
    let trashed = |number| format!("bin/{run}/extra/{number}");
    assert!((0..4).all(|number| pair.to().get(&trashed(number)).is_some()), "{:?}", pair.to().keys());

    let again = sync(&pair, &delete).await.expect_code(0).report();
    assert_eq!(
        (&again["deleted"], &again["extra"]),
        (&0.into(), &0.into()),
        "the trash is no extra: {again}"
    );

    pair.to().put_object("extra/3", "somebody else's");
    let text = ferry(&pair, ["undelete", &run]).run().await.expect_code(0);
    assert!(text.stdout.contains("3 brought back") && text.stdout.contains("1 there already"), "{text}");
    let after = pair.to().get("extra/1").expect("back");
    ferry_tests::pair::assert_same_object("extra/1", &before, &after);
    assert_eq!(pair.to().bytes("extra/3").as_deref(), Some(b"somebody else's".as_slice()));
}

#[tokio::test]
async fn what_nobody_kept_is_lost_and_said_so() {
    let pair = alike(10).await;
    fill_extra(&pair.to(), 1);
    let report = sync(&pair, &["--delete"]).await.expect_code(0).report();
    let run = report["run"].as_str().expect("a run");
    let text = ferry(&pair, ["undelete", run]).run().await.expect_code(1);
    assert!(text.stdout.contains("lost") && text.stdout.contains("extra/0"), "{text}");
    ferry(&pair, ["undelete", "no-such-run"]).run().await.expect_refusal(&["no-such-run", "ferry runs"]);
}

#[tokio::test]
async fn a_trash_that_holds_the_destination_is_a_mistake() {
    let pair = alike(1).await;
    let (from, to) = (Side::Source.location(""), Side::Destination.location("bin/mine/"));
    let args = ["sync", &from, &to, "--delete", "--trash", "bin/"];
    ferry(&pair, args).run().await.expect_refusal(&["trash", "prefix of its own"]);
}

#[tokio::test]
async fn a_run_killed_among_its_deletes_leaves_a_journal_that_tells_the_truth() {
    let pair = alike(50).await;
    fill_extra(&pair.to(), 40);
    // Half of the deletes are carried out and never answered.
    for number in 20..40 {
        let hang = Action::Delay(Duration::from_mins(1));
        let rule = Rule::on(Operation::DeleteObject, hang).key_contains(format!("extra/{number}"));
        pair.destination.faults().add(rule);
    }
    let mut process = whole(&pair, "sync").args(["--delete"]).start(tempfile::tempfile().expect("a file"));
    for _ in 0..1000 {
        if pair.to().len() <= 70 && pair.destination.log().count(Operation::DeleteObject) >= 30 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.kill().await.expect("killed");
    let [run] = runs(&pair).try_into().expect("one run");
    let journal = lines(&run.join("deleted.jsonl"));
    let with = |step: &str| -> Vec<String> {
        let of_step = journal.iter().filter(|line| line["step"] == step);
        of_step.map(|line| line["key"].as_str().expect("a key").to_owned()).collect()
    };
    let (intended, deleted) = (with("intended"), with("deleted"));
    let gone = (0..40).map(|number| format!("extra/{number}")).filter(|key| pair.to().get(key).is_none());
    assert!(gone.clone().count() >= 15, "{journal:?}");
    assert!(gone.clone().all(|key| intended.contains(&key)), "nothing went that was not written down");
    assert!(deleted.iter().all(|key| pair.to().get(key).is_none()), "what is said to be gone is gone");
}
