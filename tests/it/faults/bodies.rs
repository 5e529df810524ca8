//! Bodies that break off or change on their way.

use ferry_testkit::bucket::EtagRule;
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, StoreSetup};

use crate::objects::{bytes, fill_small, make_old, sync, whole};

const KIB: usize = 1 << 10;
const IN_PARTS: [&str; 4] = ["--part-size", "32KiB", "--multipart-threshold", "1200KiB"];

/// One object of each way of copying: in memory, streamed, in parts.
async fn three_ways(setup: fn() -> StoreSetup) -> Pair {
    let pair = Pair::with(setup(), setup()).await;
    pair.from().put_object("in-memory", bytes(10 * KIB, 1));
    pair.from().put_object("streamed", bytes(1100 * KIB, 2));
    pair.from().put_object("in-parts", bytes(1300 * KIB, 3));
    pair
}

fn amazon() -> StoreSetup {
    StoreSetup {
        yaml: &["provider: aws", "addressing: path", "profile: {capabilities: {part_bytes_min: 1024}}"],
        ..StoreSetup::with_small_parts()
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_read_again() {
    for setup in [StoreSetup::with_small_parts, amazon] {
        let pair = three_ways(setup).await;
        for key in ["in-memory", "streamed", "in-parts"] {
            for after_bytes in [0, 5_000] {
                let cut = Rule::on(Operation::GetObject, Action::CutBody { after_bytes }).key_contains(key);
                pair.source.faults().add(cut.first(1));
            }
        }
        let report = sync(&pair, &IN_PARTS).await.expect_code(0).report();
        assert_eq!(report["copied"], 3, "{report}");
        pair.assert_same();
    }
}

#[tokio::test]
async fn a_flipped_bit_never_arrives_where_the_source_gives_a_digest() {
    type Setup = fn() -> StoreSetup;
    // Amazon's posture asks for checksums; any other source has the MD5 in its ETag.
    let cases: [(Setup, &[&str]); 2] = [
        (StoreSetup::with_small_parts, &["in-memory", "streamed", "in-parts"]),
        (amazon, &["in-memory", "streamed", "in-parts"]),
    ];
    for (setup, keys) in cases {
        let pair = three_ways(setup).await;
        for key in keys {
            let flip = Rule::on(Operation::GetObject, Action::FlipByte { at: 4_321 }).key_contains(*key);
            pair.source.faults().add(flip.first(1));
        }
        sync(&pair, &IN_PARTS).await.expect_code(0);
        pair.assert_same();
    }
}

/// Where a store's tags are no digests and it declares none, nothing but the length of a body can be checked. Then the report says so,
/// and reading proves.
#[tokio::test]
async fn a_flipped_bit_that_no_digest_covers_is_counted_as_unchecked_and_found_by_reading() {
    let opaque = || {
        let mut setup = StoreSetup::with_small_parts();
        setup.settings.etag_rule = EtagRule::Opaque;
        setup
    };
    let pair = three_ways(opaque).await;
    make_old(&pair.from());
    let flip = Rule::on(Operation::GetObject, Action::FlipByte { at: 4_321 }).key_contains("in-parts");
    pair.source.faults().add(flip.first(1));
    let report = sync(&pair, &IN_PARTS).await.expect_code(0).report();
    assert_eq!(report["read_checks"]["length"], 3, "{report}");
    let ended = whole(&pair, "verify").args(["--json", "--read", "unproven"]).run().await.expect_code(3);
    let found: Vec<_> =
        ended.lines().iter().filter_map(|line| line["key"].as_str().map(str::to_owned)).collect();
    assert_eq!(found, ["in-parts"], "{ended}");
}

#[tokio::test]
async fn a_store_that_ignores_ranges_is_never_believed() {
    let pair = Pair::with(StoreSetup::with_small_parts(), StoreSetup::with_small_parts()).await;
    pair.from().put_object("large", bytes(200 * KIB, 1));
    fill_small(&pair.from(), 5);
    pair.source.faults().add(Rule::on(Operation::GetObject, Action::IgnoreRange));
    let args = ["--part-size", "64KiB", "--multipart-threshold", "128KiB", "--concurrency", "1"];
    let ended = sync(&pair, &args).await.expect_code(1);
    assert_eq!(ended.report()["failures"][0]["key"], "large", "{ended}");
    assert!(
        ended.report()["failures"][0]["error"]
            .as_str()
            .is_some_and(|error| error.contains("ignored the Range header")),
        "{ended}"
    );
    assert_eq!(pair.to().len(), 5);
    assert!(pair.to().open_uploads().is_empty());

    let smalls: Vec<bool> = pair
        .destination
        .recent_requests()
        .iter()
        .filter(|request| request.target.operation == Operation::PutObject)
        .map(|request| request.headers.contains_key("if-none-match"))
        .collect();
    assert_eq!(smalls, [true; 5], "what the source lacks costs the destination none of its conditions");

    sync(&pair, &["--multipart-threshold", "1MiB"]).await.expect_code(0);
    pair.assert_same();
}
