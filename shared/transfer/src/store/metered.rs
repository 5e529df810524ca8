//! Counts what is asked of a store.
//!
//! Owns: requests by kind, bytes in both directions, and throttles. Sits *under* the retries, so every request that goes out
//! is counted, failed ones included. Does not own: outcomes of objects, which are receipts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::store::{
    CompleteUploadRequest, CopyObjectRequest, CopyPartRequest, CreateUploadRequest, DeleteRequest,
    DeleteResponse, GetRequest, GetResponse, HeadRequest, ListPage, ListPartsRequest, ListRequest,
    ListUploadsRequest, ListVersionsRequest, ObjectStore, PartsPage, PutRequest, PutResponse, RestoreAnswer,
    RestoreRequest, SharedStore, StoreName, UploadId, UploadPartRequest, UploadedPart, UploadsPage,
    VersionPage, Versioning,
};
use crate::{Capabilities, ErrorKind, Key, ObjectHead, Result};

/// A kind of request, as stores price them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// A page of a listing.
    List,
    /// A page of versions, or the question whether there are any.
    ListVersions,
    /// Attributes of an object.
    Head,
    /// An object or a range of it.
    Get,
    /// Tags of an object.
    GetTags,
    /// Tags written apart from their object.
    PutTags,
    /// An object in one piece.
    Put,
    /// The beginning of an upload of parts.
    CreateUpload,
    /// A part.
    UploadPart,
    /// The end of an upload of parts.
    CompleteUpload,
    /// A page of an upload's parts.
    ListParts,
    /// A page of open uploads.
    ListUploads,
    /// An object copied by the store itself.
    Copy,
    /// A part copied by the store itself.
    CopyPart,
    /// A request to make an archived object readable.
    Restore,
    /// The end of an upload that came to nothing.
    AbortUpload,
    /// A deletion.
    Delete,
}

impl RequestKind {
    /// Every kind, in the order reports list them. Its length is counted by the last kind: one left out does not compile.
    pub const ALL: [Self; Self::Delete as usize + 1] = [
        Self::List,
        Self::ListVersions,
        Self::Head,
        Self::Get,
        Self::GetTags,
        Self::PutTags,
        Self::Put,
        Self::CreateUpload,
        Self::UploadPart,
        Self::CompleteUpload,
        Self::ListParts,
        Self::ListUploads,
        Self::Copy,
        Self::CopyPart,
        Self::Restore,
        Self::AbortUpload,
        Self::Delete,
    ];

    /// The word reports use.
    pub fn word(self) -> &'static str {
        match self {
            Self::List => "LIST",
            Self::ListVersions => "LIST versions",
            Self::Head => "HEAD",
            Self::Get => "GET",
            Self::GetTags => "GET tags",
            Self::PutTags => "PUT tags",
            Self::Put => "PUT",
            Self::CreateUpload => "create upload",
            Self::UploadPart => "PUT part",
            Self::CompleteUpload => "complete upload",
            Self::ListParts => "list parts",
            Self::ListUploads => "list uploads",
            Self::Copy => "COPY",
            Self::CopyPart => "COPY part",
            Self::Restore => "restore",
            Self::AbortUpload => "abort upload",
            Self::Delete => "DELETE",
        }
    }
}

/// Running counts. Shared between every clone of a store.
#[derive(Debug, Default)]
pub struct Meter {
    requests: [AtomicU64; RequestKind::ALL.len()],
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    throttled: AtomicU64,
    failed: AtomicU64,
}

/// Counts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterReading {
    /// Requests by kind; kinds that did not occur are left out.
    pub requests: BTreeMap<RequestKind, u64>,
    /// Body bytes received.
    pub read_bytes: u64,
    /// Body bytes sent, of attempts that failed too.
    pub written_bytes: u64,
    /// Requests the store answered with "slow down".
    pub throttled: u64,
    /// Requests that failed otherwise, preconditions and missing objects not counted.
    pub failed: u64,
}

impl Meter {
    /// The counts now.
    pub fn read(&self) -> MeterReading {
        MeterReading {
            requests: RequestKind::ALL
                .into_iter()
                .map(|kind| (kind, self.requests[kind as usize].load(Relaxed)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            read_bytes: self.read_bytes.load(Relaxed),
            written_bytes: self.written_bytes.load(Relaxed),
            throttled: self.throttled.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }

    async fn count<T>(&self, kind: RequestKind, request: impl Future<Output = Result<T>>) -> Result<T> {
        self.requests[kind as usize].fetch_add(1, Relaxed);
        let result = request.await;
        if let Err(error) = &result {
            match error.kind() {
                ErrorKind::NotFound | ErrorKind::PreconditionFailed => {}
                ErrorKind::Throttled => {
                    self.throttled.fetch_add(1, Relaxed);
                }
                _ => {
                    self.failed.fetch_add(1, Relaxed);
                }
            }
        }
        result
    }
}

/// A store whose requests are counted. See the module.
pub struct MeteredStore {
    inner: SharedStore,
    meter: Arc<Meter>,
}

impl MeteredStore {
    /// Wraps a store; the meter may be shared with others.
    pub fn new(inner: SharedStore, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }

    fn on_read(&self) -> impl Fn(u64) + Send + Sync + 'static {
        let meter = Arc::clone(&self.meter);
        move |bytes| {
            meter.read_bytes.fetch_add(bytes, Relaxed);
        }
    }

    fn on_written(&self) -> impl Fn(u64) + Send + Sync + 'static {
        let meter = Arc::clone(&self.meter);
        move |bytes| {
            meter.written_bytes.fetch_add(bytes, Relaxed);
        }
    }
}

impl fmt::Debug for MeteredStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MeteredStore").field(&self.inner).finish()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a defaulted method would silently go uncounted")]
impl ObjectStore for MeteredStore {
    fn name(&self) -> &StoreName {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn list(&self, request: ListRequest) -> Result<ListPage> {
        self.meter.count(RequestKind::List, self.inner.list(request)).await
    }

    async fn head(&self, request: HeadRequest) -> Result<ObjectHead> {
        self.meter.count(RequestKind::Head, self.inner.head(request)).await
    }

    async fn get(&self, request: GetRequest) -> Result<GetResponse> {
        let response = self.meter.count(RequestKind::Get, self.inner.get(request)).await?;
        Ok(GetResponse { body: response.body.observed(self.on_read()), ..response })
    }

    async fn get_tags(&self, key: &Key, version_id: Option<&str>) -> Result<Vec<(String, String)>> {
        self.meter.count(RequestKind::GetTags, self.inner.get_tags(key, version_id)).await
    }

    async fn put_tags(&self, key: &Key, version_id: Option<&str>, tags: &[(String, String)]) -> Result<()> {
        self.meter.count(RequestKind::PutTags, self.inner.put_tags(key, version_id, tags)).await
    }

    async fn put(&self, request: PutRequest) -> Result<PutResponse> {
        let request = PutRequest { body: request.body.observed(self.on_written()), ..request };
        self.meter.count(RequestKind::Put, self.inner.put(request)).await
    }

    async fn create_upload(&self, request: CreateUploadRequest) -> Result<UploadId> {
        self.meter.count(RequestKind::CreateUpload, self.inner.create_upload(request)).await
    }

    async fn upload_part(&self, request: UploadPartRequest) -> Result<UploadedPart> {
        let request = UploadPartRequest { body: request.body.observed(self.on_written()), ..request };
        self.meter.count(RequestKind::UploadPart, self.inner.upload_part(request)).await
    }

    async fn complete_upload(&self, request: CompleteUploadRequest) -> Result<PutResponse> {
        self.meter.count(RequestKind::CompleteUpload, self.inner.complete_upload(request)).await
    }

    async fn list_parts(&self, request: ListPartsRequest) -> Result<PartsPage> {
        self.meter.count(RequestKind::ListParts, self.inner.list_parts(request)).await
    }

    async fn versioning(&self) -> Result<Versioning> {
        self.meter.count(RequestKind::ListVersions, self.inner.versioning()).await
    }

    async fn list_versions(&self, request: ListVersionsRequest) -> Result<VersionPage> {
        self.meter.count(RequestKind::ListVersions, self.inner.list_versions(request)).await
    }

    async fn list_uploads(&self, request: ListUploadsRequest) -> Result<UploadsPage> {
        self.meter.count(RequestKind::ListUploads, self.inner.list_uploads(request)).await
    }

    async fn copy_object(&self, request: CopyObjectRequest) -> Result<PutResponse> {
        self.meter.count(RequestKind::Copy, self.inner.copy_object(request)).await
    }

    async fn copy_part(&self, request: CopyPartRequest) -> Result<UploadedPart> {
        self.meter.count(RequestKind::CopyPart, self.inner.copy_part(request)).await
    }

    async fn restore(&self, request: RestoreRequest) -> Result<RestoreAnswer> {
        self.meter.count(RequestKind::Restore, self.inner.restore(request)).await
    }

    async fn abort_upload(&self, key: &Key, upload_id: &UploadId) -> Result<()> {
        self.meter.count(RequestKind::AbortUpload, self.inner.abort_upload(key, upload_id)).await
    }

    async fn delete(&self, request: DeleteRequest) -> Result<DeleteResponse> {
        self.meter.count(RequestKind::Delete, self.inner.delete(request)).await
    }
}
