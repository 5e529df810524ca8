//! `--delete`: what goes, what never goes, and when nothing goes.

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, Side};

use crate::objects::{between, fill_awkward, fill_small, small_key, sync, whole};

/// Ten objects on both sides, and `extra` more at the destination.
async fn with_extra(extra: usize) -> Pair {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 10);
    fill_small(&pair.to(), 10);
    for number in 0..extra {
        pair.to().put_object(&format!("zz-extra/{number:03}"), "left over");
    }
    pair
}

fn deletes(pair: &Pair) -> u64 {
    pair.destination.log().count(Operation::DeleteObject)
}

#[tokio::test]
async fn what_is_gone_at_the_source_goes_and_each_is_proven_gone_first() {
    let pair = with_extra(4).await;
    let report = sync(&pair, &["--delete"]).await.expect_code(0).report();
    assert_eq!((&report["deleted"], &report["extra"]), (&4.into(), &0.into()), "{report}");
    pair.assert_same();
    assert_eq!(deletes(&pair), 4);
    assert!(pair.source.log().count(Operation::HeadObject) >= 4, "each was asked for at the source");
}

#[tokio::test]
async fn awkward_keys_are_deleted_and_only_under_the_prefix() {
    let pair = Pair::start().await;
    fill_awkward(&pair.to(), "mine/", 5);
    pair.to().put_object("yours", "stays");
    pair.from().put_object("keep", "stays");
    let ended = between(&pair, "sync", "", "mine/").args(["--delete", "--max-delete", "100%"]).run().await;
    ended.expect_code(0);
    assert_eq!(pair.to().keys(), ["mine/keep", "yours"]);
}

#[tokio::test]
async fn a_plan_beyond_the_limit_is_refused_before_its_first_delete() {
    for (limit, refused) in [("3", true), ("4", false), ("28%", true), ("29%", false)] {
        let pair = with_extra(4).await;
        pair.from().put_object("new", "new");
        let ended = sync(&pair, &["--delete", "--max-delete", limit]).await;
        let ended = ended.expect_code(if refused { 4 } else { 0 });
        assert_eq!(ended.report()["copied"], 1, "what is new is copied all the same: {ended}");
        assert_eq!(deletes(&pair), if refused { 0 } else { 4 }, "{limit}");
        if refused {
            assert_eq!(pair.to().len(), 15, "{ended}");
            let refusal = &ended.report()["deletes"]["refused"];
            assert_eq!((&refusal["planned"], &refusal["held"]), (&4.into(), &14.into()), "{ended}");
        }
    }
}

#[tokio::test]
async fn a_refusal_says_what_was_planned_and_that_nothing_went() {
    let pair = with_extra(4).await;
    let text = whole(&pair, "sync").args(["--delete", "--max-delete", "20%"]).run().await.expect_code(4);
    let said = "Refused to delete 4 of 14 objects at the destination: more than --max-delete 20%. Nothing was deleted.";
    assert!(text.stdout.contains(said), "{text}");
}

#[tokio::test]
async fn an_empty_source_deletes_nothing_by_default() {
    let pair = Pair::start().await;
    fill_small(&pair.to(), 10);
    sync(&pair, &["--delete"]).await.expect_code(4);
    let ended = between(&pair, "sync", "mistyped/", "").args(["--delete", "--json"]).run().await;
    ended.expect_code(4);
    assert_eq!((pair.to().len(), deletes(&pair)), (10, 0));
}

#[tokio::test]
async fn a_source_that_will_not_say_keeps_its_copies() {
    let pair = with_extra(3).await;
    pair.source
        .faults()
        .add(Rule::on(Operation::HeadObject, Action::ACCESS_DENIED).key_contains("zz-extra/001"));
    let report = sync(&pair, &["--delete"]).await.expect_code(1).report();
    assert_eq!((&report["deleted"], &report["failed"]), (&2.into(), &1.into()), "403 is not 404: {report}");
    assert_eq!(report["failures"][0]["key"], "zz-extra/001");
    assert!(pair.to().get("zz-extra/001").is_some());
}

#[tokio::test]
async fn an_object_that_comes_back_at_the_source_is_not_deleted() {
    let pair = with_extra(3).await;
    let bucket = pair.from();
    let back = Action::before(move |target| drop(bucket.put_object(&target.key, "back again")));
    pair.source.faults().add(Rule::on(Operation::HeadObject, back).key_contains("zz-extra/001"));
    let report = sync(&pair, &["--delete"]).await.expect_code(0).report();
    assert_eq!(report["skipped_by_reason"]["still_at_source"], 1, "{report}");
    assert_eq!(report["deleted"], 2, "{report}");
    assert!(pair.to().get("zz-extra/001").is_some());
}

#[tokio::test]
async fn a_listing_that_breaks_off_deletes_nothing() {
    for (side, page) in [(Side::Source, 1), (Side::Source, 2), (Side::Destination, 1), (Side::Destination, 2)]
    {
        let pair = Pair::start().await;
        for number in 0..1_500 {
            let key = format!("{number:05}");
            pair.to().put_object(&key, "x");
            if number % 10 != 0 {
                pair.from().put_object(&key, "x");
            }
        }
        pair.fail_from(side, Operation::ListObjectsV2, page + 1, 20, &Action::ACCESS_DENIED);
        let ended = sync(&pair, &["--delete"]).await.expect_code(1);
        let error = ended.report()["scan_error"].to_string();
        let location = format!("{}://{}", side.store(), side.bucket());
        assert!(error.contains("ListObjects") && error.contains(&location), "{error}");
        assert_eq!((pair.to().len(), deletes(&pair)), (1_500, 0), "{side:?}, page {page}");
    }
}

#[tokio::test]
async fn a_limit_without_deletes_is_a_mistake() {
    let pair = with_extra(1).await;
    sync(&pair, &["--max-delete", "1"]).await.expect_refusal(&["--delete"]);
    sync(&pair, &["--delete", "--max-delete", "101%"]).await.expect_refusal(&["101%", "is no limit"]);
    assert!(pair.to().get(&small_key(1)).is_some());
}
