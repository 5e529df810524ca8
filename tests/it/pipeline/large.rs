//! Large objects: in parts, streamed, and with the ETag they had.

use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, StoreSetup};
use ferry_transfer::Attributes;

use crate::objects::{bytes, every_attribute, parts, sync};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

#[tokio::test]
async fn an_object_in_parts_keeps_its_etag_and_is_known_again_by_it() {
    let pair = Pair::start().await;
    for (key, size, part) in [("8", 17 * MIB, 8 * MIB), ("5", 11 * MIB, 5 * MIB), ("16", 33 * MIB, 16 * MIB)]
    {
        pair.from().put_object_in_parts(key, parts(&bytes(size, part as u64), part), every_attribute());
    }
    let report = sync(&pair, &[]).await.expect_code(0).report();
    assert_eq!((&report["copied"], &report["read_checks"]["etag"]), (&3.into(), &3.into()), "{report}");
    pair.assert_same();
    for key in ["8", "5", "16"] {
        let tag = |bucket: &ferry_testkit::bucket::Bucket| bucket.get(key).expect("object").etag.clone();
        assert_eq!(tag(&pair.from()), tag(&pair.to()), "{key}");
    }
    pair.reset_logs();
    let again = sync(&pair, &["--compare", "etag"]).await.expect_code(0).report();
    assert_eq!((&again["copied"], &again["up_to_date"]), (&0.into(), &3.into()), "{again}");
    assert_eq!(pair.source.log().count(Operation::GetObject), 0);
}

#[tokio::test]
async fn an_object_in_one_piece_goes_in_parts_of_the_asked_size() {
    let pair = Pair::with(StoreSetup::with_small_parts(), StoreSetup::with_small_parts()).await;
    let body = bytes(300 * KIB + 1, 7);
    pair.from().put_object_with("large", body.clone(), every_attribute());
    pair.from().put_object("just-below", bytes(128 * KIB - 1, 8));
    let args = ["--part-size", "64KiB", "--multipart-threshold", "128KiB"];
    let report = sync(&pair, &args).await.expect_code(0).report();
    assert_eq!(report["copied"], 2, "{report}");
    pair.assert_same();
    let copy = pair.to().get("large").expect("copy");
    let mut expected = vec![64 * KIB as u64; 4];
    expected.push(44 * KIB as u64 + 1);
    assert_eq!(copy.part_sizes_bytes, expected);
    let log = pair.destination.log();
    let written = [
        Operation::CreateMultipartUpload,
        Operation::UploadPart,
        Operation::CompleteMultipartUpload,
        Operation::AbortMultipartUpload,
        Operation::PutObject,
    ];
    assert_eq!(written.map(|operation| log.count(operation)), [1, 5, 1, 0, 1]);
    assert_eq!(pair.source.log().count(Operation::GetObject), 6, "five ranges and one whole object");
    let ranged = pair.source.recent_requests();
    let large = |target: &ferry_testkit::operation::Target| {
        target.operation == Operation::GetObject && target.key == "large"
    };
    assert!(
        ranged
            .iter()
            .filter(|request| large(&request.target))
            .all(|request| request.headers.contains_key("if-match")),
        "every ranged read names the generation"
    );
}

#[tokio::test]
async fn parts_of_no_usual_size_arrive_whole_and_are_not_copied_again() {
    let pair = Pair::with(StoreSetup::with_small_parts(), StoreSetup::with_small_parts()).await;
    let body = bytes(90 * KIB, 3);
    pair.from().put_object_in_parts("odd", parts(&body, 37 * KIB), Attributes::default());
    crate::objects::make_old(&pair.from());
    let args = ["--part-size", "32KiB", "--multipart-threshold", "64KiB"];
    sync(&pair, &args).await.expect_code(0);
    pair.assert_same();
    assert_eq!(sync(&pair, &args).await.expect_code(0).report()["copied"], 0);
}

#[tokio::test]
async fn amazons_posture_checks_large_objects_by_checksum_on_both_sides() {
    let amazon = || StoreSetup {
        yaml: &["provider: aws", "addressing: path", "profile: {capabilities: {part_bytes_min: 1024}}"],
        ..StoreSetup::with_small_parts()
    };
    let pair = Pair::with(amazon(), amazon()).await;
    pair.from().put_object("large", bytes(200 * KIB, 1));
    pair.from().put_object("streamed", bytes(MIB + 1, 2));
    pair.from().put_object("small", bytes(10, 3));
    let args = ["--part-size", "64KiB", "--multipart-threshold", "1100KiB"];
    let report = sync(&pair, &args).await.expect_code(0).report();
    assert_eq!(report["write_checks"]["crc64"], 3, "{report}");
    let args = ["--part-size", "64KiB", "--multipart-threshold", "128KiB", "--compare", "always"];
    let report = sync(&pair, &args).await.expect_code(0).report();
    assert_eq!(report["read_checks"]["length"], serde_json::Value::Null, "{report}");
    assert_eq!(report["write_checks"]["crc64"], 3, "{report}");
    pair.assert_same();
}
