//! The two stores of the demo, and what happens to the source between runs.
//!
//! Owns: the objects, made of their keys so that every run of the demo is the same, and the comparison from behind.

use anyhow::{Result, bail};
use bytes::Bytes;
use ferry_cloud::{Credentials, StoreConfig, connect_with};
use ferry_testkit::bucket::Bucket;
use ferry_testkit::fixtures::{awkward_keys, body_of};
use ferry_testkit::s3::{S3Server, S3ServerConfig};
use ferry_transfer::Attributes;
use ferry_transfer::server_side;
use ferry_transfer::task::{Deletes, Location, Task};

use crate::ends::{Ends, Rules, Side};

const SOURCE_BUCKET: &str = "harbour";
const DESTINATION_BUCKET: &str = "island";
const MIB: usize = 1 << 20;

/// Two running stores.
pub(super) struct Stores {
    source: S3Server,
    destination: S3Server,
}

impl Stores {
    pub(super) async fn start() -> Result<Self> {
        let server = |bucket: &str, side: &str| S3ServerConfig {
            access_key_id: format!("{side}-key-id"),
            secret_access_key: format!("{side}-secret-{:016x}", fastrand::u64(..)),
            ..S3ServerConfig::with_buckets([bucket])
        };
        Ok(Self {
            source: S3Server::start(server(SOURCE_BUCKET, "source")).await?,
            destination: S3Server::start(server(DESTINATION_BUCKET, "destination")).await?,
        })
    }

    pub(super) fn source_endpoint(&self) -> String {
        format!("{}/{SOURCE_BUCKET}", self.source.endpoint())
    }

    pub(super) fn destination_endpoint(&self) -> String {
        format!("{}/{DESTINATION_BUCKET}", self.destination.endpoint())
    }

    /// Connects to both the way a user's stores are connected to.
    pub(super) async fn ends(&self, deletes: Deletes) -> Result<Ends> {
        let location = |store: &str, bucket: &str| Location {
            store: store.to_owned(),
            bucket: bucket.to_owned(),
            prefix: String::new(),
        };
        let (from, to) = (location("source", SOURCE_BUCKET), location("destination", DESTINATION_BUCKET));
        let task = Task { deletes, ..Task::new("demo", from, to) };
        Ends::join(
            task,
            Rules::default().streams,
            &side("source", &self.source).await?,
            &side("destination", &self.destination).await?,
            server_side::Ends::Apart,
        )
    }

    /// Fills the source; how many objects and bytes it has then.
    pub(super) fn fill(&self, small_objects: u32) -> (u64, u64) {
        let bucket = self.bucket();
        for key in awkward_keys() {
            let body = body_of(&key);
            bucket.put_object_with(&key, body, attributes(&key));
        }
        for number in 0..small_objects {
            let key = small_key(number);
            bucket.put_object_with(&key, small_body(number, 0), attributes(&key));
        }
        let large = |mib: usize, seed: u8| pattern(mib * MIB, seed);
        bucket.put_object_with("large/one-piece-20MiB.bin", large(20, 1), attributes("a"));
        bucket.put_object_with("large/one-piece-48MiB.bin", large(48, 2), attributes("b"));
        let parts = |mib: usize, seed: u8| {
            let whole = large(mib, seed);
            let part_bytes = 8 * MIB;
            (0..whole.len())
                .step_by(part_bytes)
                .map(move |at| whole.slice(at..whole.len().min(at + part_bytes)))
        };
        bucket.put_object_in_parts("large/parts-of-8MiB-12MiB.bin", parts(12, 3), attributes("c"));
        bucket.put_object_in_parts("large/parts-of-8MiB-60MiB.bin", parts(60, 4), attributes("d"));
        (bucket.len() as u64, bucket.size_bytes())
    }

    /// Overwrites, adds and removes; what was done, in words.
    pub(super) fn change(&self) -> String {
        let bucket = self.bucket();
        let small: Vec<String> = bucket.keys().into_iter().filter(|key| key.starts_with("small/")).collect();
        let some = |share: usize| small.len().div_ceil(share);
        let (overwritten, removed) = (some(60), some(100));
        for (number, key) in (0..).zip(small.iter().take(overwritten)) {
            bucket.put_object_with(key, small_body(number, 1), attributes(key));
        }
        for key in small.iter().rev().take(removed) {
            bucket.remove(key);
        }
        let added = 30;
        for number in 0..added {
            let key = format!("new/{number:04}");
            bucket.put_object_with(&key, small_body(number, 2), attributes(&key));
        }
        let large = "large/one-piece-48MiB.bin";
        let changed = bucket.put_object_with(large, pattern(48 * MIB + 1, 9), attributes("b"));
        // Its copy goes in parts, so that times tell the two apart, and a copy of the very second of a change is made once more.
        bucket.set_last_modified(large, changed.last_modified - time::Duration::SECOND);
        format!("{} overwritten (one of them large), {added} added, {removed} removed", overwritten + 1)
    }

    /// Compares what the two stores hold in memory; how many objects there are.
    pub(super) fn check_from_behind(&self) -> Result<u64> {
        let (source, destination) = (self.bucket(), self.destination.bucket(DESTINATION_BUCKET));
        let (keys, copied_keys) = (source.keys(), destination.keys());
        if keys != copied_keys {
            bail!("the stores hold different keys: {} and {}", keys.len(), copied_keys.len());
        }
        for key in &keys {
            let (Some(original), Some(copy)) = (source.get(key), destination.get(key)) else {
                bail!("{key:?} went away while it was looked at");
            };
            if original.payload.to_bytes() != copy.payload.to_bytes() {
                bail!("{key:?} has other bytes at the destination");
            }
            if original.attributes != copy.attributes {
                bail!("{key:?} has other attributes: {:?} ≠ {:?}", original.attributes, copy.attributes);
            }
        }
        Ok(keys.len() as u64)
    }

    fn bucket(&self) -> std::sync::Arc<Bucket> {
        self.source.bucket(SOURCE_BUCKET)
    }
}

async fn side(name: &str, server: &S3Server) -> Result<Side> {
    let config = StoreConfig { endpoint: Some(server.endpoint()), ..StoreConfig::default() };
    let keys = Credentials {
        access_key_id: server.access_key_id().to_owned(),
        secret_access_key: server.secret_access_key().to_owned(),
        session_token: None,
        expires: None,
    };
    Ok(Side { account: connect_with(name, &config, keys).await?, provider: config.provider().to_owned() })
}

/// Spread over a few folders, as real buckets are.
fn small_key(number: u32) -> String {
    format!("small/{:02}/object {number:06}.txt", number % 16)
}

fn small_body(number: u32, generation: u8) -> Bytes {
    // 200 bytes to 6 KiB.
    pattern(200 + (number as usize * 37) % 6000, generation.wrapping_add(number.to_le_bytes()[0]))
}

/// Bytes that do not repeat within a part, so that a mixed-up part shows.
fn pattern(length: usize, seed: u8) -> Bytes {
    let mut state = u64::from(seed).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // SplitMix64: a few instructions for eight bytes.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// Different headers for different keys; tags on some, so that they are asked for only there.
fn attributes(key: &str) -> Attributes {
    let sum = key.bytes().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(byte)));
    let mut attributes = Attributes {
        content_type: Some(
            if sum.is_multiple_of(2) { "text/plain; charset=utf-8" } else { "image/png" }.to_owned(),
        ),
        ..Attributes::default()
    };
    if sum.is_multiple_of(3) {
        attributes.cache_control = Some("max-age=3600".to_owned());
        attributes.content_disposition = Some("attachment; filename=\"x y.txt\"".to_owned());
        attributes.content_language = Some("en, zh".to_owned());
        attributes.expires = Some("Thu, 01 Jan 2037 00:00:00 GMT".to_owned());
    }
    if sum.is_multiple_of(5) {
        attributes.user_metadata.insert("origin".to_owned(), format!("demo {sum}"));
        attributes.user_metadata.insert("note".to_owned(), "kept as it is".to_owned());
    }
    if sum.is_multiple_of(50) {
        attributes.tags =
            vec![("team".to_owned(), "harbour & island".to_owned()), ("sum".to_owned(), sum.to_string())];
    }
    attributes
}
