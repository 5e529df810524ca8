//! Whole histories between two buckets that keep versions.

use bytes::Bytes;
use ferry_testkit::bucket::{Bucket, BucketSettings};
use ferry_testkit::operation::Operation;
use ferry_tests::pair::{Pair, SMALL_PART_BYTES, StoreSetup};
use ferry_transfer::store::Versioning;

use crate::objects::{bytes, every_attribute, ferry, parts, sync};

fn keeping_versions() -> StoreSetup {
    let small = StoreSetup::with_small_parts();
    let settings = BucketSettings { versioning: Versioning::Enabled, ..small.settings };
    StoreSetup { settings, ..small }
}

/// A version's bytes and its tags; `None` is a delete marker.
type Held = Option<(Bytes, Vec<(String, String)>)>;

/// Every version of a bucket with its key, oldest first.
fn histories(bucket: &Bucket) -> Vec<(String, Held)> {
    let mut versions = bucket.versions("", None, usize::MAX).versions;
    versions.reverse();
    let told = versions.into_iter().map(|(key, version, _)| {
        let held = version.object.map(|object| {
            let mut tags = object.attributes.tags.clone();
            tags.sort();
            (object.payload.to_bytes(), tags)
        });
        (key, held)
    });
    told.collect()
}

const ALL: &[&str] = &["--versions", "all", "--multipart-threshold", "4KiB", "--part-size", "1KiB"];

#[tokio::test]
async fn histories_travel_whole_and_only_once() {
    let pair = Pair::with(keeping_versions(), keeping_versions()).await;
    let source = pair.from();
    // Three versions, deleted, and made again; one of them in parts, one with all that an object can have.
    source.put_object("a b+%é", "first");
    let large = bytes(5 * usize::try_from(SMALL_PART_BYTES).expect("small"), 7);
    let pieces = parts(&large, usize::try_from(SMALL_PART_BYTES).expect("small"));
    source.put_object_in_parts("a b+%é", pieces, every_attribute());
    source.put_object_with("a b+%é", "third", every_attribute());
    source.delete("a b+%é", None).expect("a delete marker");
    source.put_object("a b+%é", "again");
    // Hidden: no listing of objects has it. And a key that begins with another.
    source.put_object("hidden", bytes(8 * 1024, 3));
    source.delete("hidden", None).expect("a delete marker");
    source.put_object("hidden/child", "x");

    let report = sync(&pair, ALL).await.expect_code(0).report();
    assert_eq!((&report["found"], &report["copied"]), (&3.into(), &3.into()), "{report}");
    let expected = histories(&source);
    assert_eq!(expected.len(), 8);
    assert_eq!(histories(&pair.to()), expected);

    pair.reset_logs();
    let report = sync(&pair, ALL).await.expect_code(0).report();
    assert_eq!((&report["up_to_date"], &report["copied"]), (&3.into(), &0.into()), "{report}");
    assert_eq!(pair.source.log().count(Operation::GetObject), 0);
    assert_eq!(histories(&pair.to()), expected, "nothing was written");

    // Only what is new, and only at the end.
    source.delete("a b+%é", None).expect("a delete marker");
    source.put_object("hidden", "shown again");
    let report = sync(&pair, ALL).await.expect_code(0).report();
    assert_eq!((&report["deleted"], &report["copied"]), (&1.into(), &1.into()), "{report}");
    assert_eq!(histories(&pair.to()), histories(&source));
}

#[tokio::test]
async fn a_destination_with_versions_of_its_own_fails_and_stays() {
    let pair = Pair::with(keeping_versions(), keeping_versions()).await;
    for key in ["a", "b"] {
        pair.from().put_object(key, "first");
        pair.from().put_object(key, "second");
    }
    pair.to().put_object("a", "mine");
    let before = histories(&pair.to());
    let report = sync(&pair, ALL).await.expect_code(1).report();
    assert_eq!((&report["failed"], &report["copied"]), (&1.into(), &1.into()), "{report}");
    let error = report["failures"][0]["error"].as_str().expect("text");
    assert!(error.contains("versions of its own"), "{error}");
    let after: Vec<_> = histories(&pair.to()).into_iter().filter(|(key, _)| key == "a").collect();
    assert_eq!(after, before);
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_before_the_run() {
    let bare = Pair::with(keeping_versions(), StoreSetup::default()).await;
    bare.from().put_object("a", "first");
    sync(&bare, ALL).await.expect_refusal(&["island://beach", "keeps no versions", "--versions latest"]);
    assert!(bare.to().is_empty());

    let pair = Pair::with(keeping_versions(), keeping_versions()).await;
    for (args, named) in [
        (&["--delete"][..], "--delete"),
        (&["--min-size", "1"], "by key alone"),
        (&["--rewrite-prefix", "a=b"], "--rewrite-prefix"),
        (&["--unsupported", "sidecar"], "--unsupported fail"),
        (&["--restore", "bulk"], "leave --restore out"),
    ] {
        sync(&pair, &[ALL, args].concat()).await.expect_refusal(&["--versions all", named]);
    }
}

/// What was deleted where versions are kept comes back with everything it had: from behind its delete marker, or, where somebody took
/// the marker away and something else came and went, out of the version that the journal names.
#[tokio::test]
async fn what_a_run_deleted_comes_back_from_behind_its_marker_or_out_of_its_version() {
    let pair = Pair::with(keeping_versions(), keeping_versions()).await;
    pair.from().put_object("stays", "x");
    pair.to().put_object("stays", "x");
    let large = bytes(5 * usize::try_from(SMALL_PART_BYTES).expect("small"), 7);
    for key in ["marked", "buried", "rewritten"] {
        pair.to().put_object(key, "an older version");
        let pieces = parts(&large, usize::try_from(SMALL_PART_BYTES).expect("small"));
        pair.to().put_object_in_parts(key, pieces, every_attribute());
    }
    let before = pair.to().get("buried").expect("an object");
    let report = sync(&pair, &["--delete", "--max-delete", "100%"]).await.expect_code(0).report();
    assert_eq!(report["deleted"], 3, "{report}");
    assert_eq!(pair.to().keys(), ["stays"]);
    // Somebody else writes and deletes once more: behind the run's marker lies another object now.
    pair.to().put_object("buried", "somebody else's");
    pair.to().delete("buried", None).expect("a delete marker");
    pair.to().put_object("rewritten", "somebody else's");

    let run = report["run"].as_str().expect("a run");
    let text = ferry(&pair, ["undelete", run]).run().await.expect_code(0);
    assert!(text.stdout.contains("2 brought back") && text.stdout.contains("1 there already"), "{text}");
    for key in ["marked", "buried"] {
        let after = pair.to().get(key).expect("back");
        ferry_tests::pair::assert_same_object(key, &before, &after);
    }
    assert_eq!(pair.to().bytes("rewritten").as_deref(), Some(b"somebody else's".as_slice()));
}
