//! Uploads of parts.
//!
//! Owns: parts until they are completed or dropped, and the checks of completion: order, ETag, size, checksum. Invariant:
//! completion either makes the object and forgets the upload, or changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferry_transfer::store::WriteCondition;
use ferry_transfer::{Attributes, ETag};
use time::OffsetDateTime;

use super::{Arrival, Bucket, Payload, Refusal, StoredEncryption, StoredObject, Written, object};

/// Most parts of one upload (AWS, "Amazon S3 multipart upload limits").
const PARTS_MAX: u32 = 10_000;

/// By key, then by id, as `ListMultipartUploads` orders them.
pub(super) type Uploads = BTreeMap<(String, String), Upload>;

#[derive(Debug)]
pub(super) struct Upload {
    written: Written,
    initiated: OffsetDateTime,
    parts: BTreeMap<u32, StoredPart>,
}

/// A part that was received.
#[derive(Debug, Clone)]
pub struct StoredPart {
    /// Its bytes.
    pub payload: Payload,
    /// Its name, wanted back at completion.
    pub etag: ETag,
    /// When it was received.
    pub last_modified: OffsetDateTime,
}

/// An upload that is neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// The key it will make.
    pub key: String,
    /// Its id.
    pub upload_id: String,
    /// When it was begun.
    pub initiated: OffsetDateTime,
}

/// A part named at completion.
#[derive(Debug, Clone)]
pub struct NamedPart {
    /// From 1 to 10,000.
    pub number: u32,
    /// The ETag its upload answered with.
    pub etag: ETag,
    /// Its CRC64NVME, where given.
    pub crc64_nvme: Option<u64>,
}

/// How an upload is to be completed.
#[derive(Debug, Clone, Default)]
pub struct Completion {
    /// Every part, ascending.
    pub parts: Vec<NamedPart>,
    /// What must hold for the object to appear.
    pub condition: WriteCondition,
    /// The object's size, where given.
    pub size_bytes: Option<u64>,
    /// The object's CRC64NVME, where given.
    pub crc64_nvme: Option<u64>,
}

impl Bucket {
    /// Begins an upload and answers its id. Ids ascend.
    pub fn create_upload(&self, key: &str, written: impl Into<Written>) -> Result<String, Refusal> {
        self.check_key(key)?;
        let written = object::normalised(written.into())?;
        let initiated = self.now();
        let mut state = self.write();
        state.generations += 1;
        let upload_id = format!("upload-{:012}", state.generations);
        state.uploads.insert(
            (key.to_owned(), upload_id.clone()),
            Upload { written, initiated, parts: BTreeMap::new() },
        );
        Ok(upload_id)
    }

    /// How the object of an upload will be encrypted.
    pub fn upload_encryption(&self, key: &str, upload_id: &str) -> Result<StoredEncryption, Refusal> {
        let state = self.read();
        let upload = state.uploads.get(&upload_key(key, upload_id)).ok_or(Refusal::NoSuchUpload)?;
        Ok(upload.written.encryption.clone())
    }

    /// Takes a part; a second one of the same number replaces the first.
    pub fn upload_part(
        &self,
        key: &str,
        upload_id: &str,
        number: u32,
        payload: Payload,
    ) -> Result<StoredPart, Refusal> {
        if !(1..=PARTS_MAX).contains(&number) {
            return Err(Refusal::InvalidArgument("the part number must be between 1 and 10000"));
        }
        let part = StoredPart { etag: ETag::from_md5(payload.md5()), payload, last_modified: self.now() };
        let mut state = self.write();
        let upload = state.uploads.get_mut(&upload_key(key, upload_id)).ok_or(Refusal::NoSuchUpload)?;
        upload.parts.insert(number, part.clone());
        Ok(part)
    }

    /// Makes the object out of the named parts.
    pub fn complete_upload(
        &self,
        key: &str,
        upload_id: &str,
        completion: &Completion,
    ) -> Result<Arc<StoredObject>, Refusal> {
        let id = upload_key(key, upload_id);
        let mut state = self.write();
        let upload = state.uploads.get(&id).ok_or(Refusal::NoSuchUpload)?;
        let parts = self.chosen_parts(upload, completion)?;
        let written = upload.written.clone();
        self.check_write(&state, key, &completion.condition)?;
        let object = self.assemble(&mut state, parts, written, Some(completion))?;
        state.uploads.remove(&id);
        Ok(self.admit(&mut state, key, object))
    }

    /// Writes an object out of parts at once.
    pub(super) fn put_parts(
        &self,
        key: &str,
        parts: Vec<Payload>,
        attributes: Attributes,
        condition: &WriteCondition,
    ) -> Result<Arc<StoredObject>, Refusal> {
        self.check_key(key)?;
        let written = object::normalised(attributes.into())?;
        let mut state = self.write();
        self.check_write(&state, key, condition)?;
        let object = self.assemble(&mut state, parts, written, None)?;
        Ok(self.admit(&mut state, key, object))
    }

    /// Drops an upload and its parts.
    pub fn abort_upload(&self, key: &str, upload_id: &str) -> Result<(), Refusal> {
        self.write().uploads.remove(&upload_key(key, upload_id)).map(drop).ok_or(Refusal::NoSuchUpload)
    }

    /// The parts received so far, ascending.
    pub fn parts(&self, key: &str, upload_id: &str) -> Result<Vec<(u32, StoredPart)>, Refusal> {
        let state = self.read();
        let upload = state.uploads.get(&upload_key(key, upload_id)).ok_or(Refusal::NoSuchUpload)?;
        Ok(upload.parts.iter().map(|(number, part)| (*number, part.clone())).collect())
    }

    /// Every open upload, by key and then by id. What a run that cleans up after itself leaves empty.
    pub fn open_uploads(&self) -> Vec<OpenUpload> {
        self.read()
            .uploads
            .iter()
            .map(|((key, upload_id), upload)| OpenUpload {
                key: key.clone(),
                upload_id: upload_id.clone(),
                initiated: upload.initiated,
            })
            .collect()
    }

    fn chosen_parts(&self, upload: &Upload, completion: &Completion) -> Result<Vec<Payload>, Refusal> {
        let named = &completion.parts;
        if named.is_empty() {
            return Err(Refusal::NoParts);
        }
        if !named.is_sorted_by(|a, b| a.number < b.number) {
            return Err(Refusal::InvalidPartOrder);
        }
        let mut chosen = Vec::with_capacity(named.len());
        for (index, name) in named.iter().enumerate() {
            let part = upload
                .parts
                .get(&name.number)
                .filter(|part| part.etag == name.etag)
                .filter(|part| name.crc64_nvme.is_none_or(|crc| crc == part.payload.crc64_nvme()))
                .ok_or(Refusal::InvalidPart(name.number))?;
            let last = index + 1 == named.len();
            if !last && part.payload.size_bytes() < self.settings().part_bytes_min {
                return Err(Refusal::PartTooSmall(name.number));
            }
            chosen.push(part.payload.clone());
        }
        Ok(chosen)
    }

    fn assemble(
        &self,
        state: &mut super::State,
        parts: Vec<Payload>,
        written: Written,
        declared: Option<&Completion>,
    ) -> Result<Arrival, Refusal> {
        let md5s: Vec<[u8; 16]> = parts.iter().map(Payload::md5).collect();
        let part_sizes_bytes = parts.iter().map(Payload::size_bytes).collect();
        let payload = Payload::concat(parts);
        if let Some(declared) = declared {
            if declared.size_bytes.is_some_and(|size| size != payload.size_bytes()) {
                return Err(Refusal::WrongObjectSize);
            }
            if declared.crc64_nvme.is_some_and(|crc| crc != payload.crc64_nvme()) {
                return Err(Refusal::BadDigest("x-amz-checksum-crc64nvme"));
            }
        }
        let rule = self.settings().etag_rule;
        let etag = state.name_generation(rule, &written.encryption, || ETag::from_part_md5s(&md5s));
        Ok(Arrival { payload, written, etag, part_sizes_bytes })
    }
}

fn upload_key(key: &str, upload_id: &str) -> (String, String) {
    (key.to_owned(), upload_id.to_owned())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ferry_transfer::SystemClock;

    use super::super::BucketSettings;
    use super::*;

    fn bucket() -> Arc<Bucket> {
        let settings = BucketSettings { part_bytes_min: 4, ..BucketSettings::default() };
        Bucket::new("b", settings, Arc::new(SystemClock))
    }

    fn begin(bucket: &Bucket, parts: &[&'static str]) -> (String, Completion) {
        let id = bucket.create_upload("k", Attributes::default()).expect("begun");
        let mut completion = Completion::default();
        for (number, bytes) in (1..).zip(parts) {
            let payload = Payload::from(Bytes::from_static(bytes.as_bytes()));
            let part = bucket.upload_part("k", &id, number, payload).expect("part");
            completion.parts.push(NamedPart {
                number,
                etag: part.etag,
                crc64_nvme: Some(part.payload.crc64_nvme()),
            });
        }
        (id, completion)
    }

    #[test]
    fn parts_become_the_object_and_the_upload_is_gone() {
        let bucket = bucket();
        let (id, mut completion) = begin(&bucket, &["hello ", "world"]);
        completion.size_bytes = Some(11);
        completion.crc64_nvme = Some(Payload::from(Bytes::from_static(b"hello world")).crc64_nvme());
        let object = bucket.complete_upload("k", &id, &completion).expect("completed");
        assert_eq!(object.payload.to_bytes(), "hello world");
        assert_eq!(object.etag.parts(), Some(2));
        assert_eq!(object.part_range(2), Ok(6..11));
        assert_eq!(object.part_range(3), Err(Refusal::InvalidPartNumber));
        assert!(bucket.open_uploads().is_empty());
        assert_eq!(bucket.abort_upload("k", &id), Err(Refusal::NoSuchUpload));
    }

    #[test]
    fn a_completion_that_does_not_fit_changes_nothing() {
        let bucket = bucket();
        let (id, good) = begin(&bucket, &["abc", "defgh"]);
        let refusal = |change: &dyn Fn(&mut Completion)| {
            let mut completion = good.clone();
            change(&mut completion);
            bucket.complete_upload("k", &id, &completion).expect_err("refused")
        };
        assert_eq!(refusal(&|_| {}), Refusal::PartTooSmall(1));
        assert_eq!(refusal(&|c| c.parts.reverse()), Refusal::InvalidPartOrder);
        assert_eq!(refusal(&|c| c.parts.clear()), Refusal::NoParts);
        assert_eq!(refusal(&|c| c.parts[0].etag = c.parts[1].etag.clone()), Refusal::InvalidPart(1));
        let only_second = |c: &mut Completion| c.parts.remove(0);
        assert_eq!(
            refusal(&|c| {
                only_second(c);
                c.crc64_nvme = Some(1);
            }),
            Refusal::BadDigest("x-amz-checksum-crc64nvme")
        );
        assert_eq!(
            refusal(&|c| {
                only_second(c);
                c.size_bytes = Some(1);
            }),
            Refusal::WrongObjectSize
        );
        assert!(bucket.is_empty() && bucket.open_uploads().len() == 1);
    }
}
