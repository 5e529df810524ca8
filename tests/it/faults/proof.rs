//! Bits that turn over inside a part, on the way from a source that declares no checksum but its ETag.

use bytes::Bytes;
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, StoreSetup};
use ferry_transfer::Attributes;

use crate::objects::{bytes, parts, sync};

const KIB: usize = 1 << 10;
const CUT: [&str; 4] = ["--part-size", "64KiB", "--multipart-threshold", "128KiB"];

async fn pair() -> Pair {
    Pair::with(StoreSetup::with_small_parts(), StoreSetup::with_small_parts()).await
}

/// An object of each kind whose ETag can be checked: put in one piece, and in parts of a size that nobody would guess.
fn put(pair: &Pair, key: &str, body: &Bytes) {
    match key {
        "one-piece" => drop(pair.from().put_object(key, body.clone())),
        _ => drop(pair.from().put_object_in_parts(key, parts(body, 37 * KIB), Attributes::default())),
    }
}

#[tokio::test]
async fn a_bit_that_turned_over_is_noticed_and_its_part_sent_again() {
    for key in ["one-piece", "own-parts"] {
        let pair = pair().await;
        let body = bytes(300 * KIB, 1);
        put(&pair, key, &body);
        pair.source.faults().add(Rule::on(Operation::GetObject, Action::FlipByte { at: 100 }).nth(3));
        let report = sync(&pair, &CUT).await.expect_code(0).report();
        pair.assert_same();
        assert_eq!(report["read_checks"]["etag"], 1, "{key}: {report}");
        let planned = if key == "one-piece" { 5 } else { 9 };
        assert_eq!(
            pair.destination.log().count(Operation::UploadPart),
            planned + 1,
            "one part is sent again"
        );
    }
}
