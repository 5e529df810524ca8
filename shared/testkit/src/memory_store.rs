//! An object store in memory that keeps every promise of [`ObjectStore`].
//!
//! Owns: the trait over a [`Bucket`]. Does not own: faults ([`crate::FaultyStore`]), nor the archive's slow restore.
//! Invariant: bodies leave as streams, as they do from a network store, so that nothing relies on reading one twice.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ferry_transfer::store::{
    BodyChecksum, CarriedAttributes, CompleteUploadRequest, CopyObjectRequest, CopyPartRequest, CopySource,
    CreateUploadRequest, Cursor, DeleteEffect, DeleteRequest, DeleteResponse, GetRequest, GetResponse,
    HeadRequest, ListPage, ListPartsRequest, ListRequest, ListUploadsRequest, ListVersionsRequest,
    ListedPart, OpenUpload, PartsPage, PutRequest, PutResponse, RestoreAnswer, RestoreRequest, UploadId,
    UploadPartRequest, UploadPlace, UploadedPart, UploadsPage, Version, VersionKind, VersionPage, Versioning,
};
use ferry_transfer::{
    Attributes, Body, Capabilities, Clock, Encryption, Entry, Error, ErrorKind, Key, ObjectHead, ObjectStore,
    PartOfObject, Result, StoreName, Support, SystemClock,
};
use futures::StreamExt;

use crate::bucket::{
    Bucket, BucketSettings, Completion, ListQuery, NamedPart, PAGE_MAX, Payload, PayloadBuilder,
    ReadCondition, Refusal, Start, StoredObject, StoredVersion,
};

/// A store in memory. See the module.
#[derive(Debug)]
pub struct MemoryStore {
    name: StoreName,
    capabilities: Capabilities,
    bucket: Arc<Bucket>,
    /// Other buckets of the same store, for copies within it.
    neighbours: Vec<Arc<Bucket>>,
}

impl MemoryStore {
    /// An empty store named `store://bucket`, with Amazon S3's rules and the machine's clock.
    pub fn new(store: &str, bucket: &str) -> Self {
        Self::with_clock(store, bucket, BucketSettings::default(), Arc::new(SystemClock))
    }

    /// An empty store with its own rules and clock.
    pub fn with_clock(store: &str, bucket: &str, settings: BucketSettings, clock: Arc<dyn Clock>) -> Self {
        Self::over(store, Bucket::new(bucket, settings, clock))
    }

    /// A store over a bucket that others may use too.
    pub fn over(store: &str, bucket: Arc<Bucket>) -> Self {
        Self {
            name: StoreName { store: store.to_owned(), bucket: bucket.name().to_owned() },
            capabilities: capabilities(bucket.settings()),
            bucket,
            neighbours: Vec::new(),
        }
    }

    /// Lets copies within the store read another bucket.
    #[must_use]
    pub fn beside(mut self, neighbour: Arc<Bucket>) -> Self {
        self.neighbours.push(neighbour);
        self
    }

    /// Claims other capabilities than it has. The behaviour stays.
    #[must_use]
    pub fn claiming(mut self, change: impl FnOnce(&mut Capabilities)) -> Self {
        change(&mut self.capabilities);
        self
    }

    /// The bucket behind it, for a test to look into or to change.
    pub fn bucket(&self) -> &Arc<Bucket> {
        &self.bucket
    }

    fn error(&self, operation: &'static str, key: &Key, error: impl Into<Error>) -> Error {
        error
            .into()
            .in_operation(operation)
            .at_store(&self.name.store)
            .in_bucket(&self.name.bucket)
            .on_key(key.as_str())
    }

    /// The object that a copy within the store reads.
    fn copy_source(&self, source: &CopySource) -> Result<Arc<StoredObject>, Refusal> {
        let bucket = std::iter::once(&self.bucket)
            .chain(&self.neighbours)
            .find(|bucket| bucket.name() == source.bucket)
            .ok_or(Refusal::NoSuchKey)?;
        let object = bucket.read_version_if(
            source.key.as_str(),
            source.version_id.as_deref(),
            &ReadCondition::generation(source.if_match.clone()),
        )?;
        bucket.check_readable(&object)?;
        Ok(object)
    }

    /// Runs one operation and says of its failure where it was.
    fn on<T>(&self, operation: &'static str, key: &Key, result: Result<T, impl Into<Error>>) -> Result<T> {
        result.map_err(|error| self.error(operation, key, error))
    }
}

/// What a bucket of these rules can hold and do.
fn capabilities(settings: &BucketSettings) -> Capabilities {
    use crate::bucket::{EtagRule, WriteConditions};
    let (md5, multipart) = match settings.etag_rule {
        EtagRule::Md5 | EtagRule::UpperCaseMd5 => (Support::Yes, Support::Yes),
        EtagRule::OwnMultipart | EtagRule::UpperCaseOwnMultipart => (Support::Yes, Support::No),
        EtagRule::Opaque => (Support::No, Support::No),
    };
    let conditions = match settings.write_conditions {
        WriteConditions::Honoured => Support::Yes,
        WriteConditions::Ignored => Support::No,
    };
    Capabilities {
        conditional_writes: conditions,
        conditional_deletes: conditions,
        etag_is_md5: md5,
        multipart_etag_is_md5_of_md5s: multipart,
        crc64_nvme: Support::Yes,
        content_md5: Support::Yes,
        tags: Support::Yes,
        server_copies: Support::Yes,
        part_copies: Support::Yes,
        restore: Support::Yes,
        conditional_copies: Support::Yes,
        website_redirects: Support::Yes,
        part_bytes_min: settings.part_bytes_min,
        key_bytes_max: u32::try_from(settings.key_bytes_max).unwrap_or(u32::MAX),
        storage_classes: ["STANDARD", "STANDARD_IA", "GLACIER", "DEEP_ARCHIVE"].map(str::to_owned).into(),
        ..Capabilities::default()
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    fn name(&self) -> &StoreName {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn list(&self, request: ListRequest) -> Result<ListPage> {
        let refused = |refusal: Refusal| {
            Error::from(refusal)
                .in_operation("ListObjectsV2")
                .at_store(&self.name.store)
                .in_bucket(&self.name.bucket)
        };
        let from = match (request.cursor, request.start_after) {
            (Some(cursor), _) => Start::from_token(&cursor.0).ok_or_else(|| {
                refused(Refusal::InvalidArgument("the continuation token is not one of this store's"))
            })?,
            (None, Some(key)) => Start::AfterKey(key),
            (None, None) => Start::Beginning,
        };
        let page = self.bucket.list(&ListQuery {
            prefix: request.prefix,
            delimiter: request.delimiter.filter(|delimiter| !delimiter.is_empty()),
            from,
            page_size: request.page_size.and_then(|size| usize::try_from(size).ok()).unwrap_or(PAGE_MAX),
        });
        Ok(ListPage {
            entries: page.entries.into_iter().filter_map(|(key, object)| entry(key, &object)).collect(),
            common_prefixes: page.common_prefixes,
            next: page.next.map(|start| Cursor(start.to_token())),
        })
    }

    async fn head(&self, request: HeadRequest) -> Result<ObjectHead> {
        let key = &request.key;
        let object = self.bucket.version(key.as_str(), request.version_id.as_deref());
        let head = object.and_then(|object| {
            let restore = self.bucket.restore_state(&object);
            Ok(ObjectHead { restore, ..head(&object, request.part_number)? })
        });
        self.on("HeadObject", key, head)
    }

    async fn get(&self, request: GetRequest) -> Result<GetResponse> {
        let key = request.key.clone();
        self.on("GetObject", &key, read(&self.bucket, request))
    }

    async fn get_tags(&self, key: &Key, version_id: Option<&str>) -> Result<Vec<(String, String)>> {
        let object = self.bucket.version(key.as_str(), version_id);
        self.on("GetObjectTagging", key, object).map(|object| object.attributes.tags.clone())
    }

    async fn put_tags(&self, key: &Key, version_id: Option<&str>, tags: &[(String, String)]) -> Result<()> {
        let tagged = self.bucket.set_version_tags(key.as_str(), version_id, tags.to_vec());
        self.on("PutObjectTagging", key, tagged)
    }

    async fn put(&self, request: PutRequest) -> Result<PutResponse> {
        let PutRequest { key, attributes, body, condition, checksum } = request;
        let payload = self.on("PutObject", &key, receive(body, checksum).await)?;
        let object = self.bucket.put(key.as_str(), payload, attributes, &condition);
        self.on("PutObject", &key, object).map(|object| written(&object))
    }

    async fn create_upload(&self, request: CreateUploadRequest) -> Result<UploadId> {
        let id = self.bucket.create_upload(request.key.as_str(), request.attributes);
        self.on("CreateMultipartUpload", &request.key, id).map(UploadId)
    }

    async fn upload_part(&self, request: UploadPartRequest) -> Result<UploadedPart> {
        let UploadPartRequest { key, upload_id, part_number, body, checksum } = request;
        let payload = self.on("UploadPart", &key, receive(body, checksum).await)?;
        let part = self.bucket.upload_part(key.as_str(), &upload_id.0, part_number, payload);
        self.on("UploadPart", &key, part).map(|part| UploadedPart {
            part_number,
            etag: part.etag,
            crc64_nvme: Some(part.payload.crc64_nvme()),
        })
    }

    async fn complete_upload(&self, request: CompleteUploadRequest) -> Result<PutResponse> {
        let completion = Completion {
            parts: request
                .parts
                .into_iter()
                .map(|part| NamedPart {
                    number: part.part_number,
                    etag: part.etag,
                    crc64_nvme: part.crc64_nvme,
                })
                .collect(),
            condition: request.condition,
            size_bytes: Some(request.size_bytes),
            crc64_nvme: request.crc64_nvme,
        };
        let object = self.bucket.complete_upload(request.key.as_str(), &request.upload_id.0, &completion);
        self.on("CompleteMultipartUpload", &request.key, object).map(|object| written(&object))
    }

    async fn list_parts(&self, request: ListPartsRequest) -> Result<PartsPage> {
        let parts = self.bucket.parts(request.key.as_str(), &request.upload_id.0);
        let mut left = self
            .on("ListParts", &request.key, parts)?
            .into_iter()
            .filter(|(number, _)| *number > request.after)
            .map(|(part_number, part)| ListedPart {
                part_number,
                size_bytes: part.payload.size_bytes(),
                etag: part.etag,
                crc64_nvme: Some(part.payload.crc64_nvme()),
            });
        let parts: Vec<ListedPart> = left.by_ref().take(page_size(request.page_size)).collect();
        let next = left.next().and(parts.last()).map(|part| part.part_number);
        Ok(PartsPage { parts, next })
    }

    async fn versioning(&self) -> Result<Versioning> {
        Ok(self.bucket.settings().versioning)
    }

    async fn list_versions(&self, request: ListVersionsRequest) -> Result<VersionPage> {
        let cursor: Option<(String, String)> =
            request.cursor.and_then(|cursor| serde_json::from_str(&cursor.0).ok());
        let after = match (&cursor, &request.start_after) {
            (Some((key, id)), _) => Some((key.as_str(), Some(id.as_str()))),
            (None, Some(key)) => Some((key.as_str(), None)),
            (None, None) => None,
        };
        let page = self.bucket.versions(&request.prefix, after, page_size(request.page_size));
        let version = |(key, stored, _): (String, StoredVersion, bool)| {
            let (kind, entry) = match stored.object {
                Some(object) => (VersionKind::Object, entry(key, &object)?),
                None => (
                    VersionKind::DeleteMarker,
                    Entry::marker(Key::new(key).ok()?, Some(stored.last_modified)),
                ),
            };
            Some(Version { entry, version_id: stored.id, kind })
        };
        Ok(VersionPage {
            versions: page.versions.into_iter().filter_map(version).collect(),
            next: page.next.and_then(|next| serde_json::to_string(&next).ok()).map(Cursor),
        })
    }

    async fn list_uploads(&self, request: ListUploadsRequest) -> Result<UploadsPage> {
        let after = request.after.map(|place| (place.key, place.upload_id.map(|id| id.0)));
        let mut left = self
            .bucket
            .open_uploads()
            .into_iter()
            .filter(|upload| upload.key.starts_with(&request.prefix))
            .filter(|upload| match &after {
                None => true,
                Some((key, None)) => upload.key > *key,
                Some((key, Some(id))) => (&upload.key, &upload.upload_id) > (key, id),
            })
            .filter_map(|upload| {
                Some(OpenUpload {
                    key: Key::new(upload.key).ok()?,
                    upload_id: UploadId(upload.upload_id),
                    initiated: Some(upload.initiated),
                })
            });
        let uploads: Vec<OpenUpload> = left.by_ref().take(page_size(request.page_size)).collect();
        let next = left.next().and(uploads.last()).map(|last| UploadPlace {
            key: last.key.as_str().to_owned(),
            upload_id: Some(last.upload_id.clone()),
        });
        Ok(UploadsPage { uploads, next })
    }

    async fn copy_object(&self, request: CopyObjectRequest) -> Result<PutResponse> {
        let CopyObjectRequest { source, key, attributes, condition, size_hint_bytes: _ } = request;
        let copied = self.copy_source(&source).and_then(|object| {
            let attributes = match attributes {
                CarriedAttributes::Kept { storage_class, lock } => {
                    Attributes { storage_class, lock, website_redirect: None, ..object.attributes.clone() }
                }
                CarriedAttributes::Replaced(attributes) => {
                    Attributes { tags: object.attributes.tags.clone(), ..*attributes }
                }
            };
            let whole = object.payload.slice(0..object.size_bytes()).into_iter().collect();
            self.bucket.put(key.as_str(), whole, attributes, &condition)
        });
        self.on("CopyObject", &key, copied).map(|object| written(&object))
    }

    async fn copy_part(&self, request: CopyPartRequest) -> Result<UploadedPart> {
        let CopyPartRequest { source, range, key, upload_id, part_number } = request;
        let copied = self.copy_source(&source).and_then(|object| {
            if range.last() >= object.size_bytes() {
                return Err(Refusal::InvalidArgument("the range to copy lies outside the object"));
            }
            let payload = object.payload.slice(range.first()..range.last() + 1).into_iter().collect();
            self.bucket.upload_part(key.as_str(), &upload_id.0, part_number, payload)
        });
        self.on("UploadPartCopy", &key, copied).map(|part| UploadedPart {
            part_number,
            etag: part.etag,
            crc64_nvme: Some(part.payload.crc64_nvme()),
        })
    }

    async fn restore(&self, request: RestoreRequest) -> Result<RestoreAnswer> {
        let answer = check_version(request.version_id.as_deref())
            .and_then(|()| self.bucket.request_restore(request.key.as_str(), request.days.unwrap_or(1)));
        self.on("RestoreObject", &request.key, answer)
    }

    async fn abort_upload(&self, key: &Key, upload_id: &UploadId) -> Result<()> {
        match self.bucket.abort_upload(key.as_str(), &upload_id.0) {
            Ok(()) | Err(Refusal::NoSuchUpload) => Ok(()),
            Err(refusal) => Err(self.error("AbortMultipartUpload", key, refusal)),
        }
    }

    async fn delete(&self, request: DeleteRequest) -> Result<DeleteResponse> {
        let key = &request.key;
        let (id, generation) = (request.version_id.as_deref(), request.if_match.as_ref());
        let deleted = self.bucket.delete_version(key.as_str(), id, generation);
        let is_removal = id.is_some();
        self.on("DeleteObject", key, deleted).map(|deletion| DeleteResponse {
            version_id: deletion.version_id,
            effect: if deletion.is_marker && !is_removal {
                DeleteEffect::Marked
            } else {
                DeleteEffect::Removed
            },
        })
    }
}

fn page_size(asked: Option<u32>) -> usize {
    asked.and_then(|size| usize::try_from(size).ok()).unwrap_or(PAGE_MAX)
}

/// What a HEAD says. S3 counts the parts of an object only where it was written in parts.
fn head(object: &StoredObject, part_number: Option<u32>) -> Result<ObjectHead, Refusal> {
    let mut head = object.head();
    if let Some(number) = part_number {
        let range = object.part_range(number)?;
        head.part = u32::try_from(object.part_sizes_bytes.len())
            .ok()
            .filter(|parts| *parts > 0)
            .map(|parts| PartOfObject { size_bytes: range.end - range.start, parts });
    }
    Ok(head)
}

fn entry(key: String, object: &StoredObject) -> Option<Entry> {
    Some(Entry {
        // A bucket takes no empty key.
        key: Key::new(key).ok()?,
        size_bytes: object.size_bytes(),
        etag: Some(object.etag.clone()),
        last_modified: Some(object.last_modified),
        storage_class: object.attributes.storage_class.clone(),
    })
}

fn written(object: &StoredObject) -> PutResponse {
    PutResponse {
        etag: Some(object.etag.clone()),
        version_id: object.version_id.clone(),
        encryption: Encryption::StoreManaged,
        crc64_nvme: Some(object.payload.crc64_nvme()),
    }
}

fn check_version(version_id: Option<&str>) -> Result<(), Refusal> {
    match version_id {
        None | Some("null") => Ok(()),
        Some(_) => Err(Refusal::NoSuchKey),
    }
}

fn read(bucket: &Bucket, request: GetRequest) -> Result<GetResponse, Refusal> {
    let condition = ReadCondition::generation(request.if_match);
    let object = bucket.read_version_if(request.key.as_str(), request.version_id.as_deref(), &condition)?;
    bucket.check_readable(&object)?;
    let size = object.size_bytes();
    let range = match request.range {
        None => 0..size,
        // S3 itself would cut the range short; a caller of the trait gets what it asked for or nothing.
        Some(range) if range.last() >= size => return Err(Refusal::InvalidRange),
        Some(range) => range.first()..range.last() + 1,
    };
    let length_bytes = range.end - range.start;
    let chunks: Vec<Result<Bytes>> = object.payload.slice(range).into_iter().map(Ok).collect();
    Ok(GetResponse { head: object.head(), body: Body::stream(length_bytes, futures::stream::iter(chunks)) })
}

/// Takes a body in and checks it against the checksums that came with it.
async fn receive(body: Body, checksum: BodyChecksum) -> Result<Payload> {
    let mut builder = PayloadBuilder::default();
    match body {
        Body::Bytes(bytes) => builder.push(bytes),
        Body::Stream(mut stream) => {
            while let Some(chunk) = stream.next().await {
                builder.push(chunk?);
            }
        }
    }
    let payload = builder.finish();
    let wrong = |what: &str| {
        Error::new(ErrorKind::Corrupt, format!("the {what} given does not match the bytes received"))
            .with_status(400)
            .with_code("BadDigest")
    };
    if checksum.crc64_nvme.is_some_and(|crc| crc != payload.crc64_nvme()) {
        return Err(wrong("CRC64NVME"));
    }
    if checksum.md5.is_some_and(|md5| md5 != payload.md5()) {
        return Err(wrong("Content-MD5"));
    }
    Ok(payload)
}
