//! `ferry verify`: agreement is proven, and every difference is found.

use ferry_testkit::bucket::{BucketSettings, EtagRule};
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Ended, Pair, Side, StoreSetup};
use ferry_transfer::Attributes;
use serde_json::Value;

use crate::objects::{bytes, fill_awkward, fill_small, make_old, parts, small_body, small_key, sync, whole};

const KIB: usize = 1 << 10;

async fn verify(pair: &Pair, args: &[&str]) -> Ended {
    whole(pair, "verify").args(["--json"]).args(args.iter().copied()).run().await
}

/// The differences, each as its kind and key, and the summary behind them.
fn found(ended: &Ended) -> (Vec<(String, String)>, Value) {
    let mut lines = ended.lines();
    let summary = lines.pop().unwrap_or_else(|| panic!("no summary: {ended}"))["summary"].clone();
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_else(|| panic!("{line}")).to_owned();
    let mut differences: Vec<_> =
        lines.iter().map(|line| (text(line, "difference"), text(line, "key"))).collect();
    // What is read is told when it has been.
    differences.sort();
    (differences, summary)
}

fn pairs<const N: usize>(differences: [(&str, &str); N]) -> Vec<(String, String)> {
    differences.map(|(kind, key)| (kind.to_owned(), key.to_owned())).into()
}

#[tokio::test]
async fn what_was_synced_is_in_agreement() {
    let pair = Pair::start().await;
    let count = fill_awkward(&pair.from(), "", 0);
    sync(&pair, &[]).await.expect_code(0);
    let ended = verify(&pair, &[]).await.expect_code(0);
    let (differences, summary) = found(&ended);
    assert_eq!(differences, []);
    assert_eq!(
        (&summary["found"], &summary["same_by_etag"], &summary["in_agreement"]),
        (&count.into(), &count.into(), &true.into()),
        "{ended}"
    );
    let (_, read) = found(&verify(&pair, &["--read", "all"]).await.expect_code(0));
    assert_eq!(read["same_by_content"], count, "{read}");
    let text = whole(&pair, "verify").run().await.expect_code(0);
    assert!(text.stdout.ends_with("In agreement.\n"), "{text}");
}

#[tokio::test]
async fn every_difference_is_named_once_and_nothing_is_changed() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 5);
    sync(&pair, &[]).await.expect_code(0);
    pair.to().put_object(&small_key(1), small_body(1, 1));
    pair.to().put_object(&small_key(2), "another size");
    pair.to().remove(&small_key(3));
    pair.to().put_object("only\nhere", "x");
    pair.reset_logs();
    let ended = verify(&pair, &[]).await.expect_code(3);
    let (differences, summary) = found(&ended);
    let expected = pairs([
        ("different", "small/001"),
        ("different", "small/002"),
        ("extra", "only\nhere"),
        ("missing", "small/003"),
    ]);
    assert_eq!(differences, expected, "{ended}");
    for (name, count) in [("missing", 1), ("different", 2), ("extra", 1), ("same_by_etag", 2)] {
        assert_eq!(summary[name], count, "{name}: {ended}");
    }
    assert_eq!(summary["in_agreement"], false);
    let reads = ["ListObjectsV2", "HeadObject", "GetObject"];
    assert!(
        pair.destination.requests().keys().all(|operation| reads.contains(operation)),
        "nothing is written"
    );

    let text = whole(&pair, "verify").run().await.expect_code(3);
    assert!(
        text.stdout.contains("extra      \"only\\nhere\""),
        "a terminal is spared the line break: {text}"
    );
    assert!(text.stdout.ends_with("Not in agreement.\n"), "{text}");

    let (differences, summary) = found(&verify(&pair, &["--ignore-extra"]).await.expect_code(3));
    assert_eq!((differences.len(), &summary["extra"]), (3, &1.into()), "{summary}");
    pair.to().remove("only\nhere");
    sync(&pair, &[]).await.expect_code(0);
    pair.to().put_object("extra", "x");
    verify(&pair, &["--ignore-extra"]).await.expect_code(0);
    verify(&pair, &[]).await.expect_code(3);
}

#[tokio::test]
async fn a_corruption_behind_equal_sizes_is_found_by_reading_what_is_unproven() {
    let pair = Pair::with(StoreSetup::with_small_parts(), StoreSetup::with_small_parts()).await;
    let body = bytes(100 * KIB, 1);
    let mut corrupt = body.to_vec();
    corrupt[77_777] ^= 1;
    let attributes = Attributes::default;
    // Both of the form that parts leave, of the same number of parts, and of the same size.
    for key in ["sound", "corrupt"] {
        pair.from().put_object_in_parts(key, parts(&body, 60 * KIB), attributes());
    }
    make_old(&pair.from());
    pair.to().put_object_in_parts("sound", parts(&body, 64 * KIB), attributes());
    pair.to().put_object_in_parts("corrupt", parts(&corrupt.into(), 64 * KIB), attributes());

    let ended = verify(&pair, &[]).await.expect_code(0);
    assert_eq!(found(&ended).1["same_by_size_and_time"], 2, "listings cannot tell: {ended}");
    let text = whole(&pair, "verify").run().await.expect_code(0);
    assert!(text.stdout.contains("2 objects have ETags that prove nothing"), "and say so: {text}");

    let ended = verify(&pair, &["--read", "unproven"]).await.expect_code(3);
    let (differences, summary) = found(&ended);
    assert_eq!(differences, pairs([("different", "corrupt")]), "{ended}");
    assert_eq!((&summary["same_by_content"], &summary["different"]), (&1.into(), &1.into()), "{ended}");
}

#[tokio::test]
async fn opaque_etags_prove_nothing_and_are_read() {
    let opaque = || StoreSetup {
        settings: BucketSettings { etag_rule: EtagRule::Opaque, ..BucketSettings::default() },
        ..StoreSetup::default()
    };
    let pair = Pair::with(opaque(), opaque()).await;
    // The tags number the generations, so that equal ones mean nothing.
    pair.from().put_object("k", "one body");
    make_old(&pair.from());
    pair.to().put_object("k", "One body");
    assert_eq!(pair.from().get("k").expect("k").etag, pair.to().get("k").expect("k").etag);
    verify(&pair, &[]).await.expect_code(0);
    verify(&pair, &["--read", "unproven"]).await.expect_code(3);
}

#[tokio::test]
async fn attributes_that_no_listing_shows_are_compared_when_everything_is_read() {
    type Change = fn(&mut Attributes);
    let pair = Pair::start().await;
    let with = |change: Change| {
        let mut attributes = crate::objects::every_attribute();
        change(&mut attributes);
        attributes
    };
    let changes: [(&str, &str, Change); 5] = [
        ("type", "Content-Type", |attributes| attributes.content_type = Some("text/html".into())),
        ("cache", "Cache-Control", |attributes| attributes.cache_control = None),
        ("metadata", "user metadata", |attributes| {
            attributes.user_metadata.insert("plain".into(), "As it is".into());
        }),
        ("tags", "tags", |attributes| attributes.tags[0].1 = "others".into()),
        ("none", "", |_attributes| {}),
    ];
    for (key, _, change) in changes {
        pair.from().put_object_with(key, "the same bytes", with(|_| {}));
        pair.to().put_object_with(key, "the same bytes", with(change));
    }
    verify(&pair, &[]).await.expect_code(0);
    verify(&pair, &["--read", "unproven"]).await.expect_code(0);
    let ended = verify(&pair, &["--read", "all"]).await.expect_code(3);
    let expected = pairs([
        ("different", "cache"),
        ("different", "metadata"),
        ("different", "tags"),
        ("different", "type"),
    ]);
    assert_eq!(found(&ended).0, expected, "{ended}");
    for line in ended.lines().iter().filter(|line| line["difference"] == "different") {
        let (_, name, _) = changes.iter().find(|(key, ..)| line["key"] == *key).expect("a change");
        assert_eq!(line["detail"], format!("{name} differ"), "{line}");
    }
}

#[tokio::test]
async fn bytes_that_rot_behind_their_etag_are_found_by_reading_everything() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 3);
    sync(&pair, &[]).await.expect_code(0);
    let rot = Rule::on(Operation::GetObject, Action::FlipByte { at: 50 }).key_contains(small_key(1));
    pair.destination.faults().add(rot);
    verify(&pair, &["--read", "unproven"]).await.expect_code(0);
    let ended = verify(&pair, &["--read", "all"]).await.expect_code(3);
    assert_eq!(found(&ended).0, pairs([("different", "small/001")]), "{ended}");
}

#[tokio::test]
async fn what_cannot_be_read_is_no_agreement() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 3);
    sync(&pair, &[]).await.expect_code(0);
    pair.destination
        .faults()
        .add(Rule::on(Operation::GetObject, Action::ACCESS_DENIED).key_contains("small/002"));
    let ended = verify(&pair, &["--read", "all"]).await.expect_code(1);
    let (differences, summary) = found(&ended);
    assert_eq!(differences, pairs([("unread", "small/002")]), "{ended}");
    assert_eq!((&summary["unread"], &summary["in_agreement"]), (&1.into(), &false.into()), "{ended}");
}

#[tokio::test]
async fn half_a_listing_is_no_agreement() {
    for side in [Side::Source, Side::Destination] {
        let pair = Pair::start().await;
        for bucket in [pair.from(), pair.to()] {
            for number in 0..1_200 {
                bucket.put_object(&format!("{number:05}"), "x");
            }
        }
        pair.fail_from(side, Operation::ListObjectsV2, 3, 20, &Action::ACCESS_DENIED);
        let ended = verify(&pair, &[]).await.expect_code(1);
        assert!(ended.stderr.contains(side.bucket()) && !ended.stdout.contains("in_agreement"), "{ended}");
    }
}
