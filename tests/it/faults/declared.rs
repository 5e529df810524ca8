//! Bits that turn over on the way from a source whose ETags say nothing and which declares another checksum: the checksum is what
//! notices, whatever it is over and whichever client reads.

use ferry_testkit::bucket::Declares;
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, StoreSetup};
use ferry_transfer::Attributes;
use ferry_transfer::checksum::Algorithm;

use crate::objects::{bytes, parts, whole};

const KIB: usize = 1 << 10;
const ARGS: [&str; 5] = ["--json", "--part-size", "64KiB", "--multipart-threshold", "128KiB"];
const KEYS: [&str; 3] = ["in-memory", "one-piece", "own-parts"];

const COMPATIBLE: &[&str] = &[
    "profile: {capabilities: {part_bytes_min: 1024, declares_checksums: yes, part_numbers: yes, etag_is_md5: no, multipart_etag_is_md5_of_md5s: no}}",
];
const AMAZON: &[&str] = &[
    "provider: aws",
    "addressing: path",
    "profile: {capabilities: {part_bytes_min: 1024, etag_is_md5: no, multipart_etag_is_md5_of_md5s: no}}",
];

/// One object of each way of reading: at once, in parts that are not its own, and in its own.
async fn pair(declares: Declares, yaml: &'static [&'static str]) -> Pair {
    let mut source = StoreSetup { yaml, ..StoreSetup::with_small_parts() };
    source.settings.declares = declares;
    let pair = Pair::with(source, StoreSetup::with_small_parts()).await;
    let from = pair.from();
    from.put_object("in-memory", bytes(10 * KIB, 1));
    from.put_object("one-piece", bytes(200 * KIB, 2));
    from.put_object_in_parts("own-parts", parts(&bytes(200 * KIB, 3), 37 * KIB), Attributes::default());
    pair
}

fn word(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Crc64Xz => "crc64",
        Algorithm::Crc32c => "crc32c",
        Algorithm::Crc32 => "crc32",
        Algorithm::Sha1 => "sha1",
        Algorithm::Sha256 => "sha256",
    }
}

async fn noticed(declares: Declares, yaml: &'static [&'static str], client: &str) {
    let pair = pair(declares, yaml).await;
    for key in KEYS {
        let flip = Rule::on(Operation::GetObject, Action::FlipByte { at: 1_234 }).key_contains(key);
        pair.source.faults().add(flip.nth(1));
    }
    let ended = whole(&pair, "sync").args(ARGS).env("FERRY_CLIENT", client).run().await.expect_code(0);
    pair.assert_same();
    let (Declares::Whole(algorithm) | Declares::Composite(algorithm)) = declares else {
        panic!("{declares:?} is not about one of the others")
    };
    let report = ended.report();
    let expected = serde_json::json!({ word(algorithm): 3 });
    assert_eq!(report["read_checks"], expected, "{declares:?} {client}: {report}");
}

#[tokio::test]
async fn a_turned_bit_is_noticed_by_every_checksum_of_a_compatible_store() {
    // A SHA of a whole object that was written in parts is nothing that a store declares.
    let cases = [Algorithm::Crc32c, Algorithm::Crc32]
        .map(Declares::Whole)
        .into_iter()
        .chain(Algorithm::ALL.into_iter().filter(|one| *one != Algorithm::Crc64Xz).map(Declares::Composite));
    for declares in cases {
        for client in ["lean", "sdk"] {
            noticed(declares, COMPATIBLE, client).await;
        }
    }
}

#[tokio::test]
async fn a_turned_bit_is_noticed_by_every_checksum_of_amazon() {
    for declares in [
        Declares::Whole(Algorithm::Crc32c),
        Declares::Composite(Algorithm::Crc32),
        Declares::Composite(Algorithm::Sha256),
    ] {
        for client in ["lean", "sdk"] {
            noticed(declares, AMAZON, client).await;
        }
    }
}

/// What a store never tells right is an error that names both values, and no object.
#[tokio::test]
async fn a_checksum_that_never_comes_out_fails_the_object() {
    for (declares, name) in
        [(Declares::Whole(Algorithm::Crc32c), "CRC32C"), (Declares::Composite(Algorithm::Sha256), "SHA-256")]
    {
        let pair = pair(declares, COMPATIBLE).await;
        pair.source.faults().add(Rule::on(Operation::GetObject, Action::FlipByte { at: 1_234 }));
        let report = whole(&pair, "sync").args(ARGS).run().await.expect_code(1).report();
        assert_eq!((&report["copied"], &report["failed"]), (&0.into(), &3.into()), "{report}");
        for failure in report["failures"].as_array().expect("failures") {
            let error = failure["error"].as_str().expect("a text");
            assert!(error.contains(&format!("the source declared {name}")), "{error}");
        }
        assert!(pair.to().is_empty() && pair.to().open_uploads().is_empty());
    }
}

/// Where it is not known to tell them, a store is not asked, and what was read counts as unchecked.
#[tokio::test]
async fn a_store_that_is_not_known_to_declare_is_not_asked() {
    const UNKNOWN: &[&str] = &[
        "profile: {capabilities: {part_bytes_min: 1024, etag_is_md5: no, multipart_etag_is_md5_of_md5s: no}}",
    ];
    let pair = pair(Declares::Whole(Algorithm::Crc32c), UNKNOWN).await;
    let report = whole(&pair, "sync").args(ARGS).run().await.expect_code(0).report();
    assert_eq!(report["read_checks"], serde_json::json!({ "length": 3 }), "{report}");
}
