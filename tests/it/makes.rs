//! The whole engine through stores of other makes, as source and as destination.
//!
//! Each make is played by a proxy that refuses what it refuses. Ferry is told its name and no more; a client that knows a make
//! meets no refusal.

use ferry_testkit::bucket::Bucket;
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::fixtures::{awkward_keys, body_of};
use ferry_testkit::operation::Operation;
use ferry_testkit::quirks::{Make, QuirkProxy};
use ferry_tests::{Pair, Side, StoreSetup};
use ferry_transfer::{Attributes, StorageClass};

use crate::objects::{bytes, every_attribute, fill_small, make_old, parts, small_key, sync, whole};

const KIB: usize = 1 << 10;

/// The size of parts to copy by, for a destination of this make.
fn part_bytes(make: Make) -> usize {
    if make == Make::CloudflareR2 { 5120 * KIB } else { 128 * KIB }
}

async fn pair(make: Make, side: Side) -> Pair {
    match side {
        Side::Source => Pair::with(StoreSetup::of(make), StoreSetup::default()).await,
        Side::Destination => Pair::with(StoreSetup::default(), StoreSetup::of(make)).await,
    }
}

fn proxy(pair: &Pair, side: Side) -> &QuirkProxy {
    let proxy = match side {
        Side::Source => &pair.source_proxy,
        Side::Destination => &pair.destination_proxy,
    };
    proxy.as_ref().expect("the side has a proxy")
}

/// What objects of this make can have.
fn attributes_of(make: Make) -> Attributes {
    let mut attributes = every_attribute();
    match make {
        Make::AliyunOss | Make::AliyunOssSince2025 => {
            attributes.tags.clear();
            attributes.user_metadata.retain(|name, _| !name.contains(['_', '.']));
        }
        Make::CloudflareR2 => attributes.tags.clear(),
        Make::GoogleStorage | Make::BackblazeB2 => {
            attributes.tags.clear();
            attributes.storage_class = None;
        }
        Make::Ceph => attributes.user_metadata.retain(|name, _| !name.contains('_')),
    }
    attributes
}

/// Keys that every make takes.
fn keys_of(make: Make) -> Vec<String> {
    let mut keys = awkward_keys();
    if make.provider() == "aliyun-oss" {
        keys.retain(|key| key.len() <= 1023 && !key.starts_with(['/', '\\']));
    }
    keys
}

/// Objects of every kind: awkward keys, every attribute, in one piece, in parts of equal and of unequal sizes.
fn fill(bucket: &Bucket, make: Make) -> u64 {
    let keys = keys_of(make);
    for key in &keys {
        bucket.put_object(key, body_of(key));
    }
    fill_small(bucket, 20);
    bucket.put_object_with("dressed", "as they come", attributes_of(make));
    let part = part_bytes(make);
    bucket.put_object_with("large/whole", bytes(2 * part + 1, 1), attributes_of(make));
    bucket.put_object_in_parts("large/usual", parts(&bytes(2 * part, 2), part), attributes_of(make));
    let odd = bytes(2 * part + 2, 3);
    let unequal = [odd.slice(..part), odd.slice(part..=2 * part), odd.slice(2 * part + 1..)];
    bucket.put_object_in_parts("large/unequal", unequal, Attributes::default());
    make_old(bucket);
    keys.len() as u64 + 20 + 4
}

/// Copies everything, copies nothing again, verifies, deletes what is gone: whatever happens, nothing is refused.
async fn assert_passes(make: Make, side: Side) {
    let pair = pair(make, side).await;
    let count = fill(&pair.from(), make);
    let part = part_bytes(make).to_string();
    let args = ["--part-size", part.as_str(), "--multipart-threshold", part.as_str()];
    let report = sync(&pair, &args).await.expect_code(0).report();
    assert_eq!(report["copied"], count, "{make:?} {side:?}: {report}");
    pair.assert_same();

    let again = sync(&pair, &args).await.expect_code(0).report();
    assert_eq!((&again["copied"], &again["up_to_date"]), (&0.into(), &count.into()), "{make:?} {side:?}");
    whole(&pair, "verify").args(["--read", "all"]).run().await.expect_code(0);

    assert!(pair.from().remove(&small_key(3)) && pair.from().remove("large/usual"));
    let report = sync(&pair, &[&args[..], &["--delete"]].concat()).await.expect_code(0).report();
    assert_eq!(report["deleted"], 2, "{make:?} {side:?}: {report}");
    pair.assert_same();
    assert_eq!(proxy(&pair, side).rejected(), [].into(), "{make:?} {side:?}");
}

#[tokio::test]
async fn everything_comes_from_a_store_of_any_make() {
    for make in Make::ALL {
        assert_passes(make, Side::Source).await;
    }
}

#[tokio::test]
async fn everything_goes_to_a_store_of_any_make() {
    for make in Make::ALL {
        assert_passes(make, Side::Destination).await;
    }
}

#[tokio::test]
async fn alibabas_own_checksum_is_held_against_what_arrives() {
    let pair = pair(Make::AliyunOss, Side::Source).await;
    pair.from().put_object_in_parts("k", parts(&bytes(300 * KIB, 1), 100 * KIB), Attributes::default());
    let flip = Rule::on(Operation::GetObject, Action::FlipByte { at: 5 }).first(1);
    let fired = pair.source.faults().add(flip);
    let report = sync(&pair, &[]).await.expect_code(0).report();
    assert_eq!(report["read_checks"]["crc64"], 1, "{report}");
    assert_eq!(pair.source.faults().fired(fired), 1);
    pair.assert_same();
}

#[tokio::test]
async fn alibabas_way_to_ask_for_patience_is_understood() {
    let pair = pair(Make::AliyunOss, Side::Source).await;
    fill_small(&pair.from(), 3);
    let busy = Action::Refuse { status: 503, code: "DownloadTrafficRateLimitExceeded" };
    pair.source.faults().add(Rule::on(Operation::GetObject, busy).first(2));
    let report = sync(&pair, &[]).await.expect_code(0).report();
    assert_eq!(
        (&report["copied"], &report["requests"]["source"]["throttled"]),
        (&3.into(), &2.into()),
        "{report}"
    );
    pair.assert_same();
}

#[tokio::test]
async fn alibaba_is_asked_for_whole_pages() {
    let pair = pair(Make::AliyunOss, Side::Source).await;
    fill_small(&pair.from(), 150);
    sync(&pair, &[]).await.expect_code(0);
    let pages = pair.source.log().count(Operation::ListObjectsV2);
    assert!(pages <= 2, "{pages} pages of 150 keys, one of them to see whether the bucket is there");
}

#[tokio::test]
async fn a_name_of_metadata_that_ceph_would_change_is_refused_dropped_or_kept_beside() {
    let pair = pair(Make::Ceph, Side::Destination).await;
    let metadata = [("cut_by", "hand"), ("plain", "kept")];
    let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let named = Attributes { user_metadata: metadata, ..Attributes::default() };
    pair.from().put_object_with("k", "body", named);
    let ended = sync(&pair, &[]).await.expect_code(1);
    assert!(ended.shows("cannot hold its user metadata cut_by"), "{ended}");
    assert!(pair.to().is_empty());
    sync(&pair, &["--unsupported", "sidecar"]).await.expect_code(0);
    let copy = pair.to().get("k").expect("copied");
    assert_eq!(copy.attributes.user_metadata.keys().collect::<Vec<_>>(), ["plain"]);
    let beside = pair.to().bytes("k.ferry-attributes.json").expect("a sidecar");
    let beside: serde_json::Value = serde_json::from_slice(&beside).expect("a document");
    assert_eq!(beside["user_metadata"]["cut_by"], "hand");
}

#[tokio::test]
async fn a_class_that_the_destination_refuses_is_answered_with_the_flag_that_helps() {
    // Nothing is known of this store's classes, so it is asked for the source's own.
    let unnamed = StoreSetup { yaml: &["region: auto"], ..StoreSetup::of(Make::CloudflareR2) };
    let pair = Pair::with(StoreSetup::default(), unnamed).await;
    let glacier_ir = StorageClass::parse("GLACIER_IR");
    pair.from().put_object_with(
        "k",
        "body",
        Attributes { storage_class: glacier_ir, ..Attributes::default() },
    );
    let ended = sync(&pair, &[]).await.expect_code(1);
    assert!(ended.shows("--storage-class"), "{ended}");
    sync(&pair, &["--storage-class", "STANDARD"]).await.expect_code(0);
}
