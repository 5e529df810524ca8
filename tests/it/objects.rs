//! Objects to move: bodies that do not repeat, attributes of every kind, and where they lie.

use bytes::Bytes;
use ferry_testkit::bucket::Bucket;
use ferry_testkit::fixtures::{awkward_keys, body_of};
use ferry_tests::{Ended, Pair, Program, Side};
use ferry_transfer::attribute_rules::ObjectLock;
use ferry_transfer::{Attributes, StorageClass};
use time::OffsetDateTime;

use crate::FERRY;

/// Longest key of a store, in bytes.
const KEY_BYTES_MAX: usize = 1024;

/// So many bytes in which no two stretches are alike, so that parts that were mixed up or lost show.
pub(crate) fn bytes(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = std::iter::repeat_with(|| {
        // Xorshift64*.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()
    });
    words.take(length.div_ceil(8)).flatten().take(length).collect()
}

/// A body cut into parts of this size.
pub(crate) fn parts(body: &Bytes, part_bytes: usize) -> Vec<Bytes> {
    (0..body.len()).step_by(part_bytes).map(|at| body.slice(at..body.len().min(at + part_bytes))).collect()
}

/// Every awkward key that fits behind a prefix, with a body of its own.
pub(crate) fn fill_awkward(bucket: &Bucket, prefix: &str, longest_prefix: usize) -> u64 {
    let keys: Vec<String> =
        awkward_keys().into_iter().filter(|key| key.len() + longest_prefix <= KEY_BYTES_MAX).collect();
    for key in &keys {
        bucket.put_object(&format!("{prefix}{key}"), body_of(key));
    }
    keys.len() as u64
}

/// So many small objects, `small/000` and on.
pub(crate) fn fill_small(bucket: &Bucket, count: u64) {
    for number in 0..count {
        bucket.put_object(&small_key(number), small_body(number, 0));
    }
}

/// The key of a small object.
pub(crate) fn small_key(number: u64) -> String {
    format!("small/{number:03}")
}

/// One generation of a small object; all generations are of one size.
pub(crate) fn small_body(number: u64, generation: u64) -> Bytes {
    bytes(100 + usize::try_from(number).expect("a small number"), number * 1000 + generation)
}

/// One of each kind of attribute, in forms that have been lost before.
pub(crate) fn every_attribute() -> Attributes {
    Attributes {
        content_type: Some("text/plain; charset=\"utf-8\"".into()),
        content_encoding: Some("gzip".into()),
        content_language: Some("de, zh-Hant".into()),
        content_disposition: Some("attachment; filename=\"a b.txt\"; filename*=UTF-8''%e2%82%ac.txt".into()),
        cache_control: Some("max-age=60, stale-while-revalidate=30".into()),
        expires: Some("Thu, 01 Jan 2037 00:00:00 GMT".into()),
        website_redirect: Some("/elsewhere/%20here".into()),
        user_metadata: [
            ("plain".to_owned(), "as it is".to_owned()),
            ("empty-no".to_owned(), "=".to_owned()),
            ("beyond-ascii".to_owned(), "漢字, Ünal, 😀".to_owned()),
            ("with-dash_and.dot".to_owned(), "a, b; c=\"d\"".to_owned()),
        ]
        .into(),
        storage_class: StorageClass::parse("STANDARD_IA"),
        lock: ObjectLock::default(),
        tags: vec![
            ("team".to_owned(), "harbour & island".to_owned()),
            ("Ünal =+/@".to_owned(), "100 %_:.".to_owned()),
            ("empty".to_owned(), String::new()),
        ],
    }
}

/// Says that everything in a bucket was taken in an hour ago: a comparison by time then knows which side is newer.
pub(crate) fn make_old(bucket: &Bucket) {
    let hour_ago = bucket.put_object("clock", "").last_modified - time::Duration::HOUR;
    bucket.remove("clock");
    for key in bucket.keys() {
        set_time(bucket, &key, hour_ago);
    }
}

/// Says when an object was taken in.
pub(crate) fn set_time(bucket: &Bucket, key: &str, time: OffsetDateTime) {
    assert!(bucket.set_last_modified(key, time), "there is no {key:?}");
}

/// `ferry` with these arguments.
pub(crate) fn ferry<'a>(pair: &Pair, args: impl IntoIterator<Item = &'a str>) -> Program {
    pair.program(FERRY).args(args)
}

/// `ferry VERB` from all of the source to all of the destination.
pub(crate) fn whole(pair: &Pair, verb: &str) -> Program {
    between(pair, verb, "", "")
}

/// `ferry VERB` from a prefix of the source to a prefix of the destination.
pub(crate) fn between(pair: &Pair, verb: &str, source_prefix: &str, destination_prefix: &str) -> Program {
    let (from, to) = (Side::Source.location(source_prefix), Side::Destination.location(destination_prefix));
    ferry(pair, [verb, from.as_str(), to.as_str()])
}

/// `ferry sync --json` of everything, with these arguments.
pub(crate) async fn sync(pair: &Pair, args: &[&str]) -> Ended {
    whole(pair, "sync").args(["--json"]).args(args.iter().copied()).run().await
}
