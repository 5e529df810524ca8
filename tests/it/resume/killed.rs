//! kill -9 in mid-upload, and the plain run after it.

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, Side, StoreSetup};

use super::{Parts, acknowledged, kill_at, sent};
use crate::objects::{bytes, every_attribute, parts, sync};

const KIB: usize = 1 << 10;
/// Thirty-two parts and a bit.
const SIZE: usize = 32 * 64 * KIB + 7;
const CUT: [&str; 4] = ["--part-size", "64KiB", "--multipart-threshold", "128KiB"];

fn plain() -> StoreSetup {
    StoreSetup::with_small_parts()
}

/// A store that declares, lists and checks CRC64NVME, as Amazon S3 does.
fn amazon() -> StoreSetup {
    StoreSetup {
        yaml: &["provider: aws", "addressing: path", "profile: {capabilities: {part_bytes_min: 1024}}"],
        ..StoreSetup::with_small_parts()
    }
}

/// The number of parts that were there before the run and were sent all the same.
async fn go_on(pair: &Pair, before: &Parts) -> usize {
    pair.reset_logs();
    let report = sync(pair, &CUT).await.expect_code(0).report();
    assert_eq!(report["copied"], 1, "{report}");
    pair.assert_same();
    assert_eq!(
        pair.destination.log().count(Operation::CreateMultipartUpload),
        0,
        "it goes on with the upload"
    );
    sent(pair).iter().filter(|number| before.contains_key(number)).count()
}

#[tokio::test]
async fn what_was_acknowledged_is_not_sent_again() {
    for (source, declares_crc, destination) in [
        (plain(), false, plain()),
        (amazon(), true, amazon()),
        (plain(), false, amazon()),
        (amazon(), true, plain()),
    ] {
        let pair = Pair::with(source, destination).await;
        pair.from().put_object_with("large", bytes(SIZE, 7), every_attribute());
        for nth in [1, 6, 19, 33] {
            kill_at(&pair, Side::Destination, Operation::UploadPart, nth, &CUT).await;
            let before = acknowledged(&pair.to());
            // Eight are on their way at once, so the last seven before it may not be through.
            assert!(before.len() + 8 >= usize::try_from(nth).expect("small"), "{nth}: {before:?}");
            assert_eq!(go_on(&pair, &before).await, 0, "parts were sent twice");
            let read = pair.source.log().count(Operation::GetObject);
            let unread = 33 - before.len() as u64;
            // An MD5 over the whole is only to be had from its beginning; a CRC is combined. Eight parts may have been on their way.
            assert!(read <= if declares_crc { unread + 8 } else { 33 }, "{read} parts were read of {unread}");
            pair.to().remove("large");
        }
    }
}

/// The most parts there may be, so that their listing takes ten pages; one byte more makes the parts larger.
#[tokio::test]
async fn ten_thousand_parts_are_known_again_too() {
    let pair = Pair::with(plain(), plain()).await;
    let cut = ["--part-size", "1KiB", "--multipart-threshold", "1MiB"];
    pair.from().put_object("large", bytes(10_000 * KIB, 7));
    kill_at(&pair, Side::Destination, Operation::UploadPart, 5_000, &cut).await;
    let before = acknowledged(&pair.to());
    assert!(before.len() > 4_900, "{}", before.len());
    pair.reset_logs();
    sync(&pair, &cut).await.expect_code(0);
    pair.assert_same();
    assert_eq!(pair.to().get("large").expect("copy").part_sizes_bytes.len(), 10_000);
    let again = sent(&pair).into_iter().filter(|number| before.contains_key(number)).count();
    assert_eq!((again, sent(&pair).len() + before.len()), (0, 10_000));
    assert_eq!(pair.destination.log().count(Operation::CreateMultipartUpload), 0);

    pair.from().put_object("large", bytes(10_000 * KIB + 1, 8));
    sync(&pair, &cut).await.expect_code(0);
    pair.assert_same();
    let sizes = pair.to().get("large").expect("copy").part_sizes_bytes.clone();
    assert!(sizes.len() <= 10_000 && sizes[0] > KIB as u64, "{} parts of {}", sizes.len(), sizes[0]);
}

#[tokio::test]
async fn several_deaths_in_a_row_lose_nothing_either() {
    let pair = Pair::with(plain(), plain()).await;
    pair.from().put_object_with("large", bytes(SIZE, 9), every_attribute());
    let mut before = Parts::new();
    for nth in [3, 5, 2, 8] {
        pair.reset_logs();
        kill_at(&pair, Side::Destination, Operation::UploadPart, nth, &CUT).await;
        assert!(sent(&pair).iter().all(|number| !before.contains_key(number)));
        before = acknowledged(&pair.to());
    }
    assert_eq!(go_on(&pair, &before).await, 0);
}

#[tokio::test]
async fn a_death_before_or_behind_the_completion_is_survived() {
    for (source, destination) in [(plain(), plain()), (amazon(), amazon())] {
        let pair = Pair::with(source, destination).await;
        pair.from().put_object_in_parts("large", parts(&bytes(SIZE, 3), 64 * KIB), every_attribute());
        kill_at(&pair, Side::Destination, Operation::CompleteMultipartUpload, 1, &CUT).await;
        let before = acknowledged(&pair.to());
        assert_eq!(before.len(), 33);
        assert_eq!(go_on(&pair, &before).await, 0);
        assert_eq!(pair.source.log().count(Operation::GetObject), 0, "every part was there, and known");

        // Carried out, and nobody learns of it: the next run sees the object.
        pair.to().remove("large");
        pair.destination
            .faults()
            .add(Rule::on(Operation::CompleteMultipartUpload, Action::LoseReply).first(1));
        kill_at(&pair, Side::Destination, Operation::CompleteMultipartUpload, 2, &CUT).await;
        pair.reset_logs();
        let report = sync(&pair, &CUT).await.expect_code(0).report();
        assert_eq!(report["copied"], 0, "{report}");
        pair.assert_same();
    }
}

#[tokio::test]
async fn parts_of_a_source_that_changed_are_dropped() {
    let pair = Pair::with(plain(), plain()).await;
    pair.from().put_object("large", bytes(SIZE, 1));
    kill_at(&pair, Side::Destination, Operation::UploadPart, 12, &CUT).await;
    assert!(acknowledged(&pair.to()).len() >= 8);
    // Of the same length: only the generation tells.
    pair.from().put_object("large", bytes(SIZE, 2));
    pair.reset_logs();
    sync(&pair, &CUT).await.expect_code(0);
    pair.assert_same();
    assert_eq!(sent(&pair).len(), 33, "every part is of the new generation");
}

#[tokio::test]
async fn other_attributes_or_another_cut_begin_anew() {
    let pair = Pair::with(plain(), plain()).await;
    let body = bytes(SIZE, 1);
    pair.from().put_object("large", body.clone());
    kill_at(&pair, Side::Destination, Operation::UploadPart, 5, &CUT).await;
    pair.from().put_object_with("large", body, every_attribute());
    pair.reset_logs();
    kill_at(&pair, Side::Destination, Operation::UploadPart, 5, &CUT).await;
    assert_eq!(pair.to().open_uploads().len(), 1, "the one before is dropped");
    let args = ["--part-size", "128KiB", "--multipart-threshold", "128KiB"];
    sync(&pair, &args).await.expect_code(0);
    pair.assert_same();
    assert_eq!(pair.to().get("large").expect("copy").part_sizes_bytes.len(), 17);
}

#[tokio::test]
async fn a_part_whose_acknowledgement_was_lost_is_read_again_and_not_sent() {
    let pair = Pair::with(plain(), plain()).await;
    pair.from().put_object_in_parts("large", parts(&bytes(SIZE, 5), 64 * KIB), every_attribute());
    // The first part is taken and its reply lost; the program dies before it can try again.
    pair.destination.faults().add(Rule::on(Operation::UploadPart, Action::LoseReply).first(1));
    kill_at(&pair, Side::Destination, Operation::UploadPart, 2, &CUT).await;
    let before = acknowledged(&pair.to());
    assert_eq!(before.len(), 1);
    assert_eq!(go_on(&pair, &before).await, 0);
    assert_eq!(pair.source.log().count(Operation::GetObject), 33);
}

#[tokio::test]
async fn without_what_was_remembered_it_begins_anew() {
    let pair = Pair::with(plain(), plain()).await;
    pair.from().put_object_with("large", bytes(SIZE, 7), every_attribute());
    kill_at(&pair, Side::Destination, Operation::UploadPart, 9, &CUT).await;
    let left = pair.to().open_uploads();
    let elsewhere = pair.directory().join("elsewhere");
    let args = [&CUT[..], &["--state-dir", elsewhere.to_str().expect("text")]].concat();
    sync(&pair, &args).await.expect_code(0);
    assert_eq!(pair.to().open_uploads(), left, "what is not remembered is nobody's to drop");
    for upload in left {
        pair.to().abort_upload(&upload.key, &upload.upload_id).expect("open");
    }
    pair.assert_same();
}
