//! Repeats requests that can be repeated as they are.
//!
//! Owns: every retry of a single request: listings, heads, the head of a read, writes whose body is in memory. Does not own:
//! a body that breaks while it is read, or a write fed from one; there the read must be opened again too, which
//! [`crate::copy`] does. Invariant: a one-shot body is never retried here.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::retry::{Backoff, Retries};
use crate::store::{
    CompleteUploadRequest, CopyObjectRequest, CopyPartRequest, CreateUploadRequest, DeleteRequest,
    DeleteResponse, GetRequest, GetResponse, HeadRequest, ListPage, ListPartsRequest, ListRequest,
    ListUploadsRequest, ListVersionsRequest, ObjectStore, PartsPage, PutRequest, PutResponse, RestoreAnswer,
    RestoreRequest, SharedStore, StoreName, UploadId, UploadPartRequest, UploadedPart, UploadsPage,
    VersionPage, Versioning,
};
use crate::{Body, Capabilities, Clock, Key, ObjectHead, Result};

/// A store that tries again. See the module.
pub struct RetryingStore {
    inner: SharedStore,
    backoff: Backoff,
    clock: Arc<dyn Clock>,
}

impl RetryingStore {
    /// Wraps a store.
    pub fn new(inner: SharedStore, backoff: Backoff, clock: Arc<dyn Clock>) -> Self {
        Self { inner, backoff, clock }
    }

    async fn retry<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut retries = Retries::new(&self.backoff, self.clock.as_ref());
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => retries.pause(error).await?,
            }
        }
    }
}

impl fmt::Debug for RetryingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RetryingStore").field(&self.inner).finish()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a defaulted method would silently go round the retries")]
impl ObjectStore for RetryingStore {
    fn name(&self) -> &StoreName {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn list(&self, request: ListRequest) -> Result<ListPage> {
        self.retry(|| self.inner.list(request.clone())).await
    }

    async fn head(&self, request: HeadRequest) -> Result<ObjectHead> {
        self.retry(|| self.inner.head(request.clone())).await
    }

    async fn get(&self, request: GetRequest) -> Result<GetResponse> {
        self.retry(|| self.inner.get(request.clone())).await
    }

    async fn get_tags(&self, key: &Key, version_id: Option<&str>) -> Result<Vec<(String, String)>> {
        self.retry(|| self.inner.get_tags(key, version_id)).await
    }

    async fn put_tags(&self, key: &Key, version_id: Option<&str>, tags: &[(String, String)]) -> Result<()> {
        self.retry(|| self.inner.put_tags(key, version_id, tags)).await
    }

    async fn put(&self, request: PutRequest) -> Result<PutResponse> {
        let PutRequest { key, attributes, body, condition, checksum } = request;
        match body {
            Body::Stream(_) => {
                self.inner.put(PutRequest { key, attributes, body, condition, checksum }).await
            }
            Body::Bytes(bytes) => {
                self.retry(|| {
                    self.inner.put(PutRequest {
                        key: key.clone(),
                        attributes: attributes.clone(),
                        body: Body::Bytes(bytes.clone()),
                        condition: condition.clone(),
                        checksum,
                    })
                })
                .await
            }
        }
    }

    async fn create_upload(&self, request: CreateUploadRequest) -> Result<UploadId> {
        self.retry(|| self.inner.create_upload(request.clone())).await
    }

    async fn upload_part(&self, request: UploadPartRequest) -> Result<UploadedPart> {
        let UploadPartRequest { key, upload_id, part_number, body, checksum } = request;
        match body {
            Body::Stream(_) => {
                self.inner
                    .upload_part(UploadPartRequest { key, upload_id, part_number, body, checksum })
                    .await
            }
            Body::Bytes(bytes) => {
                self.retry(|| {
                    self.inner.upload_part(UploadPartRequest {
                        key: key.clone(),
                        upload_id: upload_id.clone(),
                        part_number,
                        body: Body::Bytes(bytes.clone()),
                        checksum,
                    })
                })
                .await
            }
        }
    }

    async fn complete_upload(&self, request: CompleteUploadRequest) -> Result<PutResponse> {
        self.retry(|| self.inner.complete_upload(request.clone())).await
    }

    async fn list_parts(&self, request: ListPartsRequest) -> Result<PartsPage> {
        self.retry(|| self.inner.list_parts(request.clone())).await
    }

    async fn versioning(&self) -> Result<Versioning> {
        self.retry(|| self.inner.versioning()).await
    }

    async fn list_versions(&self, request: ListVersionsRequest) -> Result<VersionPage> {
        self.retry(|| self.inner.list_versions(request.clone())).await
    }

    async fn list_uploads(&self, request: ListUploadsRequest) -> Result<UploadsPage> {
        self.retry(|| self.inner.list_uploads(request.clone())).await
    }

    async fn copy_object(&self, request: CopyObjectRequest) -> Result<PutResponse> {
        self.retry(|| self.inner.copy_object(request.clone())).await
    }

    async fn copy_part(&self, request: CopyPartRequest) -> Result<UploadedPart> {
        self.retry(|| self.inner.copy_part(request.clone())).await
    }

    async fn restore(&self, request: RestoreRequest) -> Result<RestoreAnswer> {
        self.retry(|| self.inner.restore(request.clone())).await
    }

    async fn abort_upload(&self, key: &Key, upload_id: &UploadId) -> Result<()> {
        self.retry(|| self.inner.abort_upload(key, upload_id)).await
    }

    async fn delete(&self, request: DeleteRequest) -> Result<DeleteResponse> {
        self.retry(|| self.inner.delete(request.clone())).await
    }
}
