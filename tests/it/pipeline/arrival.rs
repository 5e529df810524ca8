//! What arrives.

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, StoreSetup};
use ferry_transfer::{Attributes, StorageClass};

use crate::objects::{between, bytes, every_attribute, fill_awkward, fill_small, parts, sync, whole};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn awkward_keys_arrive_under_any_prefix_on_either_side() {
    let odd = "from//%20 a+b/";
    let prefixes = [("", ""), (odd, ""), ("", "to/漢字/"), (odd, "to/no-slash-at-the-end")];
    for (from, to) in prefixes {
        let pair = Pair::start().await;
        let count = fill_awkward(&pair.from(), from, from.len().max(to.len()));
        // Beside the prefix, not under it.
        pair.from().put_object("from", "not to be moved");
        let ended = between(&pair, "sync", from, to).args(["--json"]).run().await.expect_code(0);
        let beside = u64::from(from.is_empty());
        assert_eq!(ended.report()["copied"], count + beside, "{from:?} to {to:?}: {ended}");
        pair.assert_same_under(from, to);
        assert_eq!(pair.to().len() as u64, count + beside);
        let again = between(&pair, "sync", from, to).args(["--json"]).run().await.expect_code(0).report();
        assert_eq!(
            (&again["copied"], &again["up_to_date"]),
            (&0.into(), &(count + beside).into()),
            "{again}"
        );
    }
}

#[tokio::test]
async fn a_key_named_like_the_prefix_is_left_out_and_said_so() {
    let pair = Pair::start().await;
    pair.from().put_object("folder/", "");
    pair.from().put_object("folder/a", "a");
    let ended = between(&pair, "sync", "folder/", "").args(["--json"]).run().await.expect_code(0);
    assert_eq!((&ended.report()["copied"], &ended.report()["nameless"]), (&1.into(), &1.into()), "{ended}");
    assert_eq!(pair.to().keys(), ["a"]);
    let text = between(&pair, "sync", "folder/", "").run().await.expect_code(0);
    assert!(text.stdout.contains("1 without a name on the other side"), "{text}");
}

#[tokio::test]
async fn every_attribute_arrives_with_small_and_with_large_objects() {
    let pair = Pair::start().await;
    let from = pair.from();
    let attributes = |storage_class: Option<&str>| Attributes {
        storage_class: storage_class.and_then(StorageClass::parse),
        ..every_attribute()
    };
    from.put_object_with("small", "bytes", attributes(Some("STANDARD_IA")));
    from.put_object_with("small-standard", "bytes", attributes(None));
    from.put_object_with("empty", "", attributes(Some("REDUCED_REDUNDANCY")));
    from.put_object_with("streamed", bytes(3 * MIB, 1), attributes(Some("ONEZONE_IA")));
    from.put_object_in_parts("parts", parts(&bytes(12 * MIB, 2), 8 * MIB), attributes(Some("GLACIER_IR")));
    let bare = Attributes { expires: Some("when it pleases".into()), ..Attributes::default() };
    from.put_object_with("bare", "bytes", bare);
    let report = sync(&pair, &[]).await.expect_code(0).report();
    assert_eq!(report["copied"], 6, "{report}");
    pair.assert_same();
    assert_eq!(pair.source.log().count(Operation::GetObjectTagging), 5, "one for each tagged object");
}

#[tokio::test]
async fn folder_markers_and_empty_objects_are_objects() {
    let pair = Pair::start().await;
    for (key, body) in [("dir/", ""), ("dir/a", "a"), ("empty", ""), ("marker-with-data/", "data"), ("/", "")]
    {
        pair.from().put_object(key, body);
    }
    sync(&pair, &[]).await.expect_code(0);
    pair.assert_same();
}

#[tokio::test]
async fn one_bad_object_is_listed_and_stops_nobody_else() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 40);
    let denied = Rule::on(Operation::GetObject, Action::ACCESS_DENIED).key_contains("small/007");
    pair.source.faults().add(denied);
    let ended = sync(&pair, &[]).await.expect_code(1);
    let report = ended.report();
    assert_eq!((&report["copied"], &report["failed"]), (&39.into(), &1.into()), "{ended}");
    let failure = &report["failures"][0];
    assert_eq!(failure["key"], "small/007");
    let error = failure["error"].as_str().expect("a reason");
    assert!(error.contains("GetObject harbour://docks") && error.contains("403"), "{error}");
    assert_eq!(pair.to().len(), 39);

    let text = whole(&pair, "sync").run().await.expect_code(1);
    assert!(text.stdout.contains("failed \"small/007\": "), "{text}");
    pair.source.faults().clear();
    assert_eq!(sync(&pair, &[]).await.expect_code(0).report()["copied"], 1);
    pair.assert_same();
}

#[tokio::test]
async fn an_archived_object_is_skipped_with_its_reason() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 3);
    assert!(pair.from().set_storage_class("small/001", StorageClass::parse("GLACIER")));
    let ended = sync(&pair, &[]).await.expect_code(0);
    let report = ended.report();
    assert_eq!((&report["copied"], &report["skipped"]), (&2.into(), &1.into()), "{ended}");
    assert_eq!(report["skipped_by_reason"]["archived"], 1, "{ended}");
    assert_eq!(pair.to().keys(), ["small/000", "small/002"]);
    let text = whole(&pair, "sync").run().await.expect_code(0);
    assert!(text.stdout.contains("1 archived, not restored"), "{text}");

    assert!(pair.from().restore("small/001"));
    // It keeps its class: what was archived is archived again.
    assert_eq!(sync(&pair, &[]).await.expect_code(0).report()["copied"], 1);
    pair.assert_same();
}

#[tokio::test]
async fn what_the_destination_cannot_hold_fails_the_object_or_is_dropped() {
    let untagged = StoreSetup { yaml: &["profile: {capabilities: {tags: 'no'}}"], ..StoreSetup::default() };
    let pair = Pair::with(StoreSetup::default(), untagged).await;
    pair.from().put_object_with("tagged", "a", every_attribute());
    pair.from().put_object("plain", "b");
    let ended = sync(&pair, &[]).await.expect_code(1);
    let error = ended.report()["failures"][0]["error"].to_string();
    for word in ["island://beach cannot hold", "3 tags", "--unsupported drop"] {
        assert!(error.contains(word), "{error}");
    }
    assert_eq!(pair.to().keys(), ["plain"]);

    sync(&pair, &["--unsupported", "drop"]).await.expect_code(0);
    assert!(pair.to().get("tagged").expect("copy").attributes.tags.is_empty());
    pair.from().set_tags("tagged", Vec::new()).expect("without tags");
    pair.assert_same();
}

#[tokio::test]
async fn a_storage_class_can_be_asked_for() {
    let pair = Pair::start().await;
    pair.from().put_object_with("a", "a", every_attribute());
    pair.from().put_object("b", "b");
    sync(&pair, &["--storage-class", "ONEZONE_IA"]).await.expect_code(0);
    for key in ["a", "b"] {
        let class = pair.to().get(key).expect("copy").attributes.storage_class.clone();
        assert_eq!(class, StorageClass::parse("ONEZONE_IA"), "{key}");
    }
}

#[tokio::test]
async fn an_object_that_goes_away_before_its_turn_is_skipped_with_its_reason() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 3);
    let bucket = pair.from();
    let gone = Action::before(move |target| assert!(bucket.remove(&target.key)));
    pair.source.faults().add(Rule::on(Operation::GetObject, gone).key_contains("small/001").nth(1));
    let report = sync(&pair, &[]).await.expect_code(0).report();
    assert_eq!(report["skipped_by_reason"]["gone_at_source"], 1, "{report}");
    pair.assert_same();
}
