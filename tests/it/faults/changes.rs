//! Objects that change while they are copied.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use ferry_testkit::bucket::{BucketSettings, EtagRule};
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, StoreSetup};
use ferry_transfer::Attributes;

use crate::objects::{bytes, sync};

const KIB: usize = 1 << 10;
const IN_PARTS: [&str; 4] = ["--part-size", "16KiB", "--multipart-threshold", "64KiB"];

fn generation(number: u64) -> (Bytes, Attributes) {
    let attributes = Attributes {
        user_metadata: [("generation".to_owned(), number.to_string())].into(),
        ..Attributes::default()
    };
    (bytes(100 * KIB, number), attributes)
}

fn opaque() -> StoreSetup {
    let small = StoreSetup::with_small_parts();
    StoreSetup { settings: BucketSettings { etag_rule: EtagRule::Opaque, ..small.settings.clone() }, ..small }
}

/// Writes the next generation of the object that is asked for.
fn overwrite(pair: &Pair) -> Action {
    let (bucket, count) = (pair.from(), AtomicU64::new(1));
    Action::before(move |target| {
        let (body, attributes) = generation(count.fetch_add(1, Ordering::Relaxed));
        bucket.put_object_with(&target.key, body, attributes);
    })
}

#[tokio::test]
async fn an_object_overwritten_between_two_of_its_parts_arrives_as_one_generation() {
    for setup in [StoreSetup::with_small_parts, opaque] {
        for read in 1..=7 {
            let pair = Pair::with(setup(), setup()).await;
            let (body, attributes) = generation(0);
            pair.from().put_object_with("large", body, attributes);
            pair.source.faults().add(Rule::on(Operation::GetObject, overwrite(&pair)).nth(read));
            sync(&pair, &IN_PARTS).await.expect_code(0);
            pair.assert_same();
            assert_eq!(pair.to().get("large").expect("copy").attributes.user_metadata["generation"], "1");
        }
    }
}

#[tokio::test]
async fn an_object_overwritten_after_its_last_part_arrives_as_it_is_now() {
    for (setup, operation) in [
        (StoreSetup::with_small_parts as fn() -> StoreSetup, Operation::CompleteMultipartUpload),
        (opaque, Operation::CompleteMultipartUpload),
        (opaque, Operation::UploadPart),
    ] {
        let pair = Pair::with(setup(), setup()).await;
        let (body, attributes) = generation(0);
        pair.from().put_object_with("large", body, attributes);
        pair.destination.faults().add(Rule::on(operation, overwrite(&pair)).nth(1));
        // The two ETags cannot be compared, and the copy's date hides the change: only this run can see it.
        sync(&pair, &IN_PARTS).await.expect_code(0);
        pair.assert_same();
    }
}

#[tokio::test]
async fn a_small_object_overwritten_after_it_was_listed_arrives_as_it_is_now() {
    let pair = Pair::start().await;
    pair.from().put_object("small", "as it was listed");
    pair.source.faults().add(Rule::on(Operation::GetObject, overwrite(&pair)).nth(1));
    let report = sync(&pair, &[]).await.expect_code(0).report();
    assert_eq!(report["copied"], 1, "{report}");
    pair.assert_same();
}

#[tokio::test]
async fn a_small_object_that_grows_large_goes_in_parts() {
    let pair = Pair::with(StoreSetup::with_small_parts(), StoreSetup::with_small_parts()).await;
    pair.from().put_object("grows", "small");
    pair.source.faults().add(Rule::on(Operation::GetObject, overwrite(&pair)).nth(1));
    sync(&pair, &IN_PARTS).await.expect_code(0);
    pair.assert_same();
    assert_eq!(pair.to().get("grows").expect("copy").part_sizes_bytes.len(), 7);
}

#[tokio::test]
async fn an_object_deleted_in_the_middle_of_its_copy_leaves_nothing_behind() {
    let pair = Pair::with(StoreSetup::with_small_parts(), StoreSetup::with_small_parts()).await;
    pair.from().put_object("large", bytes(100 * KIB, 1));
    pair.from().put_object("other", "stays");
    let bucket = pair.from();
    let remove = Action::before(move |target| assert!(bucket.remove(&target.key)));
    pair.source.faults().add(Rule::on(Operation::GetObject, remove).key_contains("large").nth(3));
    let report = sync(&pair, &IN_PARTS).await.expect_code(0).report();
    assert_eq!(report["skipped_by_reason"]["gone_at_source"], 1, "{report}");
    pair.assert_same();
}
