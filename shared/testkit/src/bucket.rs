//! One bucket in memory: what [`crate::MemoryStore`] and [`crate::s3::S3Server`] both serve.
//!
//! Owns: objects with everything a store knows of them, uploads of parts, conditions, listings. Does not own: a wire, nor
//! any fault. Invariants: a condition is evaluated under the same lock as the change it guards, so of racing conditional
//! writers exactly one wins; nothing awaits while the lock is held.

mod archive;
mod condition;
mod encryption;
mod listing;
mod object;
mod payload;
mod refusal;
mod upload;
mod version;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use ferry_transfer::checksum::Algorithm;
use ferry_transfer::store::{Versioning, WriteCondition};
use ferry_transfer::{Attributes, Clock, ETag, Encryption};
use time::OffsetDateTime;

pub use archive::Restore;
pub use condition::{EtagTest, ReadCondition};
pub use encryption::{StoredEncryption, Written};
pub use listing::{ListQuery, PAGE_MAX, Page, Start};
pub(crate) use listing::{borrow, first_bound, roll_up};
pub use object::StoredObject;
pub use payload::{Payload, PayloadBuilder};
pub use refusal::Refusal;
pub use upload::{Completion, NamedPart, OpenUpload, StoredPart};
pub use version::{Deletion, StoredVersion, VersionsPage};

use listing::list;
use upload::Uploads;
use version::Histories;

/// How a bucket names generations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EtagRule {
    /// MD5 for one piece; MD5 of the parts' MD5s, a dash and their number for parts. As Amazon S3 does.
    #[default]
    Md5,
    /// The same digits in upper case.
    UpperCaseMd5,
    /// MD5 for one piece; for parts a word of the same form that does not follow from their MD5s, as on Cloudflare R2.
    OwnMultipart,
    /// The same in upper case, as Alibaba OSS writes them.
    UpperCaseOwnMultipart,
    /// A word that says nothing about the bytes, as encrypted buckets have.
    Opaque,
}

/// What becomes of a `Range` that lies outside the object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BadRange {
    /// 416.
    #[default]
    Refused,
    /// Status 200 and the whole object, as on Alibaba OSS; also where only the end lies outside.
    WholeObject,
}

/// What becomes of the conditions of a write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WriteConditions {
    /// They guard it.
    #[default]
    Honoured,
    /// Nothing, as on Google's XML API and on Garage.
    Ignored,
}

/// What becomes of a checksum in an `x-amz-checksum-*` header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChecksumHeaders {
    /// It is held against the bytes.
    #[default]
    Checked,
    /// Nothing, as on Alibaba OSS.
    Overlooked,
}

/// Which checksum a bucket declares of its objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Declares {
    /// CRC64NVME over the whole object, which Amazon computes where a writer sends none.
    #[default]
    Crc64Nvme,
    /// This one over the whole object.
    Whole(Algorithm),
    /// This one over the checksums of the parts, and over the whole of an object put in one piece.
    Composite(Algorithm),
    /// None.
    Nothing,
}

/// The rules of a bucket.
#[derive(Debug, Clone)]
pub struct BucketSettings {
    /// Smallest part but the last, in bytes. Tests lower it to keep bodies small.
    pub part_bytes_min: u64,
    /// Longest key in UTF-8 bytes.
    pub key_bytes_max: usize,
    /// How generations are named.
    pub etag_rule: EtagRule,
    /// How long a restore from the archive takes.
    pub restore_takes: time::Duration,
    /// Whether the bucket serves a website.
    pub website: Website,
    /// What becomes of a bad range.
    pub bad_range: BadRange,
    /// What becomes of conditions on writes and deletes.
    pub write_conditions: WriteConditions,
    /// What becomes of checksums in headers.
    pub checksum_headers: ChecksumHeaders,
    /// Which checksum it declares, whatever a writer sent.
    pub declares: Declares,
    /// Keys of a page where a listing does not say how many.
    pub page_keys: usize,
    /// Whether versions are kept.
    pub versioning: Versioning,
}

/// Whether a bucket serves a website, which is what redirects of objects are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Website {
    /// `NoSuchWebsiteConfiguration`.
    #[default]
    None,
    /// It has an index document.
    Served,
}

/// Amazon S3's rules.
impl Default for BucketSettings {
    fn default() -> Self {
        Self {
            part_bytes_min: 5 << 20,
            key_bytes_max: 1024,
            etag_rule: EtagRule::Md5,
            restore_takes: time::Duration::hours(4),
            website: Website::None,
            bad_range: BadRange::Refused,
            write_conditions: WriteConditions::Honoured,
            checksum_headers: ChecksumHeaders::Checked,
            declares: Declares::Crc64Nvme,
            page_keys: PAGE_MAX,
            versioning: Versioning::Never,
        }
    }
}

/// One bucket. See the module.
pub struct Bucket {
    name: String,
    settings: BucketSettings,
    clock: Arc<dyn Clock>,
    state: RwLock<State>,
}

/// An object as it was written.
struct Arrival {
    payload: Payload,
    written: Written,
    etag: ETag,
    part_sizes_bytes: Vec<u64>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Arc<StoredObject>>,
    histories: Histories,
    uploads: Uploads,
    generations: u64,
}

impl Bucket {
    /// An empty bucket.
    pub fn new(name: impl Into<String>, settings: BucketSettings, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), settings, clock, state: RwLock::default() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules.
    pub fn settings(&self) -> &BucketSettings {
        &self.settings
    }

    /// Writes an object in one piece.
    pub fn put(
        &self,
        key: &str,
        payload: Payload,
        written: impl Into<Written>,
        condition: &WriteCondition,
    ) -> Result<Arc<StoredObject>, Refusal> {
        self.check_key(key)?;
        let Written { attributes, encryption } = object::normalised(written.into())?;
        let mut state = self.write();
        self.check_write(&state, key, condition)?;
        let etag =
            state.name_generation(self.settings.etag_rule, &encryption, || ETag::from_md5(payload.md5()));
        let part_sizes_bytes = Vec::new();
        let arrival =
            Arrival { payload, written: Written { attributes, encryption }, etag, part_sizes_bytes };
        Ok(self.admit(&mut state, key, arrival))
    }

    /// The object, if its generation is one the condition lets through.
    pub fn read_if(&self, key: &str, condition: &ReadCondition) -> Result<Arc<StoredObject>, Refusal> {
        let object = self.get(key).ok_or(Refusal::NoSuchKey)?;
        condition.check(&object)?;
        Ok(object)
    }

    /// Deletes an object, if it is of the given generation where one is given. A missing one is success, also with a
    /// generation, as on S3 (AWS, `DeleteObject`, `If-Match`).
    pub fn delete(&self, key: &str, if_match: Option<&ETag>) -> Result<Deletion, Refusal> {
        let mut state = self.write();
        if let (Some(object), Some(etag)) = (state.objects.get(key), if_match)
            && object.etag != *etag
            && self.settings.write_conditions == WriteConditions::Honoured
        {
            return Err(Refusal::PreconditionFailed);
        }
        if self.settings.versioning == Versioning::Enabled {
            return Ok(self.mark_deleted(&mut state, key));
        }
        state.objects.remove(key);
        Ok(Deletion::default())
    }

    /// Replaces an object's tags; its generation stays.
    pub fn set_tags(&self, key: &str, tags: Vec<(String, String)>) -> Result<(), Refusal> {
        object::check_tags(&tags)?;
        self.change(key, |object| object.attributes.tags = tags)
    }

    /// One page of keys.
    pub fn list(&self, query: &ListQuery) -> Page<Arc<StoredObject>> {
        list(&self.read().objects, query)
    }

    /// Makes what arrived the current object of its key.
    fn admit(&self, state: &mut State, key: &str, arrival: Arrival) -> Arc<StoredObject> {
        let Arrival { payload, written: Written { attributes, encryption }, etag, part_sizes_bytes } =
            arrival;
        let object = StoredObject {
            checksums: object::declared(self.settings.declares, &payload, &part_sizes_bytes),
            payload,
            attributes,
            encryption,
            etag,
            last_modified: self.now(),
            part_sizes_bytes,
            restore: None,
            version_id: None,
        };
        state.admit(self.settings.versioning, key, object)
    }

    fn check_key(&self, key: &str) -> Result<(), Refusal> {
        if key.is_empty() {
            Err(Refusal::InvalidArgument("the key is empty"))
        } else if key.len() > self.settings.key_bytes_max {
            Err(Refusal::KeyTooLong)
        } else {
            Ok(())
        }
    }

    fn check_write(&self, state: &State, key: &str, condition: &WriteCondition) -> Result<(), Refusal> {
        match self.settings.write_conditions {
            WriteConditions::Honoured => condition::check_write(state.objects.get(key), condition),
            WriteConditions::Ignored => Ok(()),
        }
    }

    fn change(&self, key: &str, change: impl FnOnce(&mut StoredObject)) -> Result<(), Refusal> {
        let mut state = self.write();
        let object = state.objects.get_mut(key).ok_or(Refusal::NoSuchKey)?;
        change(Arc::make_mut(object));
        state.renew(key);
        Ok(())
    }

    /// S3 keeps whole seconds.
    fn now(&self) -> OffsetDateTime {
        whole_seconds(self.clock.now())
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What tests and the demo do to a bucket behind its users' backs.
impl Bucket {
    /// Writes an object without attributes or conditions.
    ///
    /// # Panics
    /// On an empty or over-long key, which is a mistake in the test.
    pub fn put_object(&self, key: &str, bytes: impl Into<Bytes>) -> Arc<StoredObject> {
        self.put_object_with(key, bytes, Attributes::default())
    }

    /// Writes an object with attributes.
    ///
    /// # Panics
    /// On a key or tags that no store takes, which is a mistake in the test.
    pub fn put_object_with(
        &self,
        key: &str,
        bytes: impl Into<Bytes>,
        attributes: Attributes,
    ) -> Arc<StoredObject> {
        match self.put(key, Payload::from(bytes.into()), attributes, &WriteCondition::None) {
            Ok(object) => object,
            Err(refusal) => panic!("bucket {} refused the key {key:?}: {refusal}", self.name),
        }
    }

    /// Writes an object out of parts of any size, so that it has a multipart ETag.
    ///
    /// # Panics
    /// On a key that no store takes, which is a mistake in the test.
    pub fn put_object_in_parts(
        &self,
        key: &str,
        parts: impl IntoIterator<Item = Bytes>,
        attributes: Attributes,
    ) -> Arc<StoredObject> {
        let parts: Vec<Payload> = parts.into_iter().map(Payload::from).collect();
        match self.put_parts(key, parts, attributes, &WriteCondition::None) {
            Ok(object) => object,
            Err(refusal) => panic!("bucket {} refused the key {key:?}: {refusal}", self.name),
        }
    }

    /// The object as it is now.
    pub fn get(&self, key: &str) -> Option<Arc<StoredObject>> {
        self.read().objects.get(key).cloned()
    }

    /// An object's bytes in one piece.
    pub fn bytes(&self, key: &str) -> Option<Bytes> {
        self.get(key).map(|object| object.payload.to_bytes())
    }

    /// All keys in UTF-8 byte order.
    pub fn keys(&self) -> Vec<String> {
        self.read().objects.keys().cloned().collect()
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.read().objects.len()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size of all objects together, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.read().objects.values().map(|object| object.payload.size_bytes()).sum()
    }

    /// Deletes an object; whether there was one.
    pub fn remove(&self, key: &str) -> bool {
        let mut state = self.write();
        state.histories.remove(key);
        state.objects.remove(key).is_some()
    }

    /// Deletes every object and every upload.
    pub fn clear(&self) {
        let mut state = self.write();
        state.objects.clear();
        state.histories.clear();
        state.uploads = Uploads::default();
    }

    /// Says that the object was taken in at `time`, cut to whole seconds. Whether there is such an object.
    pub fn set_last_modified(&self, key: &str, time: OffsetDateTime) -> bool {
        self.change(key, |object| object.last_modified = whole_seconds(time)).is_ok()
    }
}

impl State {
    fn name_generation(
        &mut self,
        rule: EtagRule,
        encryption: &StoredEncryption,
        md5: impl FnOnce() -> ETag,
    ) -> ETag {
        self.generations += 1;
        if encryption.kind() != Encryption::StoreManaged {
            return of_ciphertext(&md5(), encryption, self.generations);
        }
        match rule {
            EtagRule::Md5 => md5(),
            EtagRule::UpperCaseMd5 => upper_case(md5()),
            EtagRule::OwnMultipart => own_multipart(md5(), self.generations),
            EtagRule::UpperCaseOwnMultipart => upper_case(own_multipart(md5(), self.generations)),
            EtagRule::Opaque => opaque_etag(self.generations),
        }
    }
}

fn upper_case(tag: ETag) -> ETag {
    ETag::parse(&tag.as_str().to_ascii_uppercase()).unwrap_or(tag)
}

/// A tag of parts that says how many there are and nothing of their bytes.
fn own_multipart(tag: ETag, number: u64) -> ETag {
    let Some(parts) = tag.parts() else { return tag };
    ETag::parse(&format!("{:032x}-{parts}", u128::MAX - u128::from(number))).unwrap_or(tag)
}

/// What an encrypted object has: of the form of an MD5, and none of its bytes.
fn of_ciphertext(tag: &ETag, encryption: &StoredEncryption, number: u64) -> ETag {
    let text = format!("{number} {tag} {encryption:?}");
    let named = Payload::from(Bytes::from(text)).md5();
    let parts = tag.parts().map(|parts| format!("-{parts}")).unwrap_or_default();
    ETag::parse(&format!("{}{parts}", ETag::from_md5(named))).unwrap_or_else(|| tag.clone())
}

fn opaque_etag(number: u64) -> ETag {
    let tag = ETag::from_md5([0; 16]);
    ETag::parse(&format!("generation-{number}")).unwrap_or(tag)
}

fn whole_seconds(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(0).unwrap_or(time)
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.read();
        f.debug_struct("Bucket")
            .field("name", &self.name)
            .field("objects", &state.objects.len())
            .field("uploads", &state.uploads.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ferry_transfer::SystemClock;

    use super::*;

    fn bucket() -> Arc<Bucket> {
        Bucket::new("b", BucketSettings::default(), Arc::new(SystemClock))
    }

    fn put(bucket: &Bucket, bytes: &'static str, condition: &WriteCondition) -> Result<ETag, Refusal> {
        let payload = Payload::from(Bytes::from_static(bytes.as_bytes()));
        bucket.put("k", payload, Attributes::default(), condition).map(|object| object.etag.clone())
    }

    #[test]
    fn a_condition_guards_the_write_it_came_with() {
        let bucket = bucket();
        let first = put(&bucket, "one", &WriteCondition::Absent).expect("absent");
        assert_eq!(put(&bucket, "two", &WriteCondition::Absent), Err(Refusal::PreconditionFailed));
        let second = put(&bucket, "two", &WriteCondition::Matches(first.clone())).expect("matches");
        assert_eq!(
            put(&bucket, "three", &WriteCondition::Matches(first.clone())),
            Err(Refusal::PreconditionFailed)
        );
        assert_eq!(bucket.delete("k", Some(&first)), Err(Refusal::PreconditionFailed));
        assert_eq!(bucket.delete("k", Some(&second)), Ok(Deletion::default()));
        assert_eq!(bucket.delete("k", Some(&second)), Ok(Deletion::default()));
        assert_eq!(put(&bucket, "four", &WriteCondition::Matches(second)), Err(Refusal::NoSuchKey));
    }

    #[test]
    fn of_racing_writers_one_wins() {
        let bucket = bucket();
        let wins: usize = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| usize::from(put(&bucket, "x", &WriteCondition::Absent).is_ok())))
                .collect();
            writers.into_iter().map(|writer| writer.join().expect("writer")).sum()
        });
        assert_eq!(wins, 1);
    }

    #[test]
    fn the_etag_rule_names_generations() {
        let tag = |etag_rule| {
            let settings = BucketSettings { etag_rule, ..BucketSettings::default() };
            let bucket = Bucket::new("b", settings, Arc::new(SystemClock));
            bucket.put_object("k", "hello").etag.as_str().to_owned()
        };
        assert_eq!(tag(EtagRule::Md5), "5d41402abc4b2a76b9719d911017c592");
        assert_eq!(tag(EtagRule::UpperCaseMd5), "5D41402ABC4B2A76B9719D911017C592");
        assert_eq!(tag(EtagRule::Opaque), "generation-1");
        assert_eq!(tag(EtagRule::UpperCaseOwnMultipart), "5D41402ABC4B2A76B9719D911017C592");
        let parts = |etag_rule| {
            let settings = BucketSettings { etag_rule, ..BucketSettings::default() };
            let bucket = Bucket::new("b", settings, Arc::new(SystemClock));
            bucket.put_object_in_parts("k", ["a".into(), "b".into()], Attributes::default()).etag.clone()
        };
        assert_eq!(parts(EtagRule::OwnMultipart).as_str(), "fffffffffffffffffffffffffffffffe-2");
        assert_ne!(parts(EtagRule::OwnMultipart), parts(EtagRule::Md5));
    }

    #[test]
    fn changing_tags_keeps_the_generation() {
        let bucket = bucket();
        let before = bucket.put_object("k", "hello");
        bucket.set_tags("k", vec![("a".into(), "b".into())]).expect("tagged");
        let after = bucket.get("k").expect("object");
        assert_eq!(after.etag, before.etag);
        assert_eq!(after.attributes.tags, [("a".to_owned(), "b".to_owned())]);
        let many: Vec<_> = (0..11).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(bucket.set_tags("k", many), Err(Refusal::InvalidTag));
    }
}
