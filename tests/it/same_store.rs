//! Source and destination are one store: it copies by itself.

use ferry_testkit::bucket::{Bucket, BucketSettings, Website};
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::fixtures::{awkward_keys, body_of};
use ferry_testkit::operation::Operation;
use ferry_tests::{Ended, Pair, Side, StoreSetup, assert_same_object};
use ferry_transfer::{Attributes, StorageClass};

use crate::objects::{bytes, every_attribute, ferry, parts};

const MIB: usize = 1 << 20;

/// `ferry sync --json` from the source's bucket to another one beside it.
async fn sync_beside(pair: &Pair, args: &[&str]) -> Ended {
    // Made where it is not there yet.
    pair.source.bucket("quay");
    ferry(pair, ["sync", "--json", "harbour://docks/", "harbour://quay/"])
        .args(args.iter().copied())
        .run()
        .await
}

fn count(pair: &Pair, operation: Operation) -> u64 {
    pair.source.log().count(operation)
}

fn assert_copied(pair: &Pair, to: &Bucket) {
    let from = pair.from();
    assert_eq!(from.keys(), to.keys());
    for key in from.keys() {
        assert_same_object(&key, &from.get(&key).expect("original"), &to.get(&key).expect("copy"));
    }
    assert!(to.open_uploads().is_empty());
}

#[tokio::test]
async fn every_awkward_key_takes_one_copy_and_no_byte_passes_by() {
    let pair = Pair::start().await;
    let (from, to) = (pair.from(), pair.source.bucket("quay"));
    for key in awkward_keys() {
        from.put_object(&key, body_of(&key));
    }
    let ended = sync_beside(&pair, &[]).await;
    let ended = ended.expect_code(0);
    assert_copied(&pair, &to);
    let report = ended.report();
    let keys = from.len() as u64;
    assert_eq!(report["copied"], keys, "{ended}");
    assert_eq!(report["read_checks"]["server-side"], keys, "{ended}");
    assert_eq!(count(&pair, Operation::CopyObject), keys);
    for other in [Operation::GetObject, Operation::PutObject, Operation::HeadObject] {
        assert_eq!(count(&pair, other), 0, "{other}");
    }
    // Again: nothing to do.
    let again = sync_beside(&pair, &[]).await;
    assert_eq!((again.report()["copied"].as_u64(), again.code), (Some(0), 0), "{again}");
}

#[tokio::test]
async fn every_attribute_stays_the_class_included() {
    let settings = BucketSettings { website: Website::Served, ..BucketSettings::default() };
    let pair = Pair::with(StoreSetup { settings, ..StoreSetup::default() }, StoreSetup::default()).await;
    pair.from().put_object_with("described", bytes(100, 1), every_attribute());
    let cold = Attributes { storage_class: StorageClass::parse("STANDARD_IA"), ..Attributes::default() };
    pair.from().put_object_with("cold", bytes(100, 2), cold);
    sync_beside(&pair, &[]).await.expect_code(0);
    assert_copied(&pair, &pair.source.bucket("quay"));
    // The bucket serves a website, so that a redirect may be there: each object is looked at.
    assert_eq!((count(&pair, Operation::CopyObject), count(&pair, Operation::HeadObject)), (2, 2));
    assert_eq!(count(&pair, Operation::GetObject), 0);
}

#[tokio::test]
async fn an_object_of_parts_is_copied_in_its_own_parts() {
    let pair = Pair::start().await;
    let body = bytes(12 * MIB, 3);
    let original = pair.from().put_object_in_parts("film", parts(&body, 5 * MIB), every_attribute());
    sync_beside(&pair, &[]).await.expect_code(0);
    let to = pair.source.bucket("quay");
    let copy = to.get("film").expect("copy");
    assert_eq!(copy.etag, original.etag);
    assert_same_object("film", &original, &copy);
    assert_eq!((count(&pair, Operation::UploadPartCopy), count(&pair, Operation::UploadPart)), (3, 0));
    assert!(to.open_uploads().is_empty());
}

#[tokio::test]
async fn a_store_that_refuses_copies_gets_the_bytes() {
    for (status, code) in [(501, "NotImplemented"), (403, "AccessDenied")] {
        let pair = Pair::start().await;
        for number in 0..5 {
            pair.from().put_object(&format!("k{number}"), bytes(50, number));
        }
        pair.source.faults().add(Rule::on(Operation::CopyObject, Action::Refuse { status, code }));
        sync_beside(&pair, &[]).await.expect_code(0);
        assert_copied(&pair, &pair.source.bucket("quay"));
        assert!(count(&pair, Operation::PutObject) == 5, "{code}");
    }
}

#[tokio::test]
async fn never_means_never_and_other_keys_are_another_store() {
    let pair = Pair::start().await;
    pair.from().put_object("k", "body");
    sync_beside(&pair, &["--server-side", "never"]).await.expect_code(0);
    assert_eq!((count(&pair, Operation::CopyObject), count(&pair, Operation::PutObject)), (0, 1));
    let other = Side::Destination.location("");
    ferry(&pair, ["sync", "harbour://docks/", &other]).run().await.expect_code(0);
    assert_eq!(count(&pair, Operation::CopyObject), 0);
}

#[tokio::test]
async fn a_source_that_moves_on_is_copied_as_it_is_then() {
    let pair = Pair::start().await;
    let from = pair.from();
    from.put_object("k", "the first");
    let changing = std::sync::Arc::clone(&from);
    let change = Action::before(move |_| {
        changing.put_object("k", "the second, longer");
    });
    pair.source.faults().add(Rule::on(Operation::CopyObject, change).nth(1));
    sync_beside(&pair, &[]).await.expect_code(0);
    let to = pair.source.bucket("quay");
    assert_eq!(to.bytes("k").expect("copy"), "the second, longer");
}
