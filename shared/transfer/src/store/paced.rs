//! Lets requests through at the pace of their endpoint.
//!
//! Owns: taking a slot for each request, keeping it for as long as the request is under way (a read until its body is read or dropped),
//! and telling the endpoint's pace what became of it. Sits under the retries, so that nobody waits for a repetition with a
//! slot in hand, and over the meter. Does not own: the control law and the caps ([`crate::pace`]). Invariant: bytes are
//! counted against the bandwidth where they are read; writing them sends the same bytes at the same rate.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;

use crate::pace::EndpointPace;
use crate::pace::control::Outcome;
use crate::pace::flow::Valve;
use crate::pace::gate::Pass;
use crate::store::metered::RequestKind;
use crate::store::{
    CompleteUploadRequest, CopyObjectRequest, CopyPartRequest, CreateUploadRequest, DeleteRequest,
    DeleteResponse, GetRequest, GetResponse, HeadRequest, ListPage, ListPartsRequest, ListRequest,
    ListUploadsRequest, ListVersionsRequest, ObjectStore, PartsPage, PutRequest, PutResponse, RestoreAnswer,
    RestoreRequest, SharedStore, StoreName, UploadId, UploadPartRequest, UploadedPart, UploadsPage,
    VersionPage, Versioning,
};
use crate::{Body, Capabilities, ErrorKind, Key, ObjectHead, Result};

/// A store at the pace of its endpoint. See the module.
pub struct PacedStore {
    inner: SharedStore,
    pace: Arc<EndpointPace>,
}

/// What an answer's time is compared by.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// So many bytes to move before the answer.
    Fixed(u64),
    /// As much as the store finds to do.
    Unknown,
}

impl PacedStore {
    /// Wraps a store; stores at one endpoint share its pace.
    pub fn new(inner: SharedStore, pace: Arc<EndpointPace>) -> Self {
        Self { inner, pace }
    }

    async fn answered<T>(&self, kind: RequestKind, request: impl Future<Output = Result<T>>) -> Result<T> {
        self.timed(kind, Work::Fixed(0), request).await
    }

    async fn timed<T>(
        &self,
        kind: RequestKind,
        work: Work,
        request: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let pass = self.pace.enter(kind).await?;
        let result = request.await;
        pass.settle(outcome(&result, work, &pass));
        result
    }
}

fn outcome<T>(result: &Result<T>, work: Work, pass: &Pass) -> Outcome {
    match (result, work) {
        (Ok(_), Work::Fixed(bytes)) => Outcome::Answered { latency: pass.elapsed(), bytes },
        (Ok(_), Work::Unknown) => Outcome::Done,
        (Err(error), _) => match error.kind() {
            ErrorKind::Throttled => Outcome::Throttled,
            ErrorKind::Transient | ErrorKind::Corrupt | ErrorKind::Cancelled => Outcome::Failed,
            // The store answered, about this one object, and perhaps before it had seen all of it.
            _ => Outcome::Done,
        },
    }
}

/// The body at the pace of the valve; the slot is given back with its end.
async fn paced(body: Body, pass: Pass, valve: Option<Arc<Valve>>) -> Body {
    match (body, valve) {
        (Body::Bytes(bytes), None) => Body::Bytes(bytes),
        (Body::Bytes(bytes), Some(valve)) => {
            valve.pass(bytes.len() as u64).await;
            Body::Bytes(bytes)
        }
        (Body::Stream(stream), None) => Body::stream(
            stream.length_bytes(),
            stream.inspect(move |_| {
                let _under_way = &pass;
            }),
        ),
        (Body::Stream(stream), Some(valve)) => {
            let limits = Arc::new((pass, valve));
            Body::stream(
                stream.length_bytes(),
                stream.then(move |chunk| {
                    let limits = Arc::clone(&limits);
                    async move {
                        if let Ok(chunk) = &chunk {
                            limits.1.pass(chunk.len() as u64).await;
                        }
                        chunk
                    }
                }),
            )
        }
    }
}

impl fmt::Debug for PacedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PacedStore").field(&self.inner).finish()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a defaulted method would silently go unpaced")]
impl ObjectStore for PacedStore {
    fn name(&self) -> &StoreName {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn list(&self, request: ListRequest) -> Result<ListPage> {
        self.answered(RequestKind::List, self.inner.list(request)).await
    }

    async fn head(&self, request: HeadRequest) -> Result<ObjectHead> {
        self.answered(RequestKind::Head, self.inner.head(request)).await
    }

    async fn get(&self, request: GetRequest) -> Result<GetResponse> {
        let pass = self.pace.enter(RequestKind::Get).await?;
        let result = self.inner.get(request).await;
        pass.settle(outcome(&result, Work::Fixed(0), &pass));
        let response = result?;
        let body = paced(response.body, pass, self.pace.bytes().map(Arc::clone)).await;
        Ok(GetResponse { body, ..response })
    }

    async fn get_tags(&self, key: &Key, version_id: Option<&str>) -> Result<Vec<(String, String)>> {
        self.answered(RequestKind::GetTags, self.inner.get_tags(key, version_id)).await
    }

    async fn put_tags(&self, key: &Key, version_id: Option<&str>, tags: &[(String, String)]) -> Result<()> {
        self.answered(RequestKind::PutTags, self.inner.put_tags(key, version_id, tags)).await
    }

    async fn put(&self, request: PutRequest) -> Result<PutResponse> {
        let work = Work::Fixed(request.body.length_bytes());
        self.timed(RequestKind::Put, work, self.inner.put(request)).await
    }

    async fn create_upload(&self, request: CreateUploadRequest) -> Result<UploadId> {
        self.answered(RequestKind::CreateUpload, self.inner.create_upload(request)).await
    }

    async fn upload_part(&self, request: UploadPartRequest) -> Result<UploadedPart> {
        let work = Work::Fixed(request.body.length_bytes());
        self.timed(RequestKind::UploadPart, work, self.inner.upload_part(request)).await
    }

    async fn complete_upload(&self, request: CompleteUploadRequest) -> Result<PutResponse> {
        self.timed(RequestKind::CompleteUpload, Work::Unknown, self.inner.complete_upload(request)).await
    }

    async fn list_parts(&self, request: ListPartsRequest) -> Result<PartsPage> {
        self.answered(RequestKind::ListParts, self.inner.list_parts(request)).await
    }

    async fn list_uploads(&self, request: ListUploadsRequest) -> Result<UploadsPage> {
        self.answered(RequestKind::ListUploads, self.inner.list_uploads(request)).await
    }

    async fn copy_object(&self, request: CopyObjectRequest) -> Result<PutResponse> {
        self.timed(RequestKind::Copy, Work::Unknown, self.inner.copy_object(request)).await
    }

    async fn copy_part(&self, request: CopyPartRequest) -> Result<UploadedPart> {
        self.timed(RequestKind::CopyPart, Work::Unknown, self.inner.copy_part(request)).await
    }

    async fn versioning(&self) -> Result<Versioning> {
        self.answered(RequestKind::ListVersions, self.inner.versioning()).await
    }

    async fn list_versions(&self, request: ListVersionsRequest) -> Result<VersionPage> {
        self.answered(RequestKind::ListVersions, self.inner.list_versions(request)).await
    }

    async fn restore(&self, request: RestoreRequest) -> Result<RestoreAnswer> {
        self.answered(RequestKind::Restore, self.inner.restore(request)).await
    }

    async fn abort_upload(&self, key: &Key, upload_id: &UploadId) -> Result<()> {
        self.answered(RequestKind::AbortUpload, self.inner.abort_upload(key, upload_id)).await
    }

    async fn delete(&self, request: DeleteRequest) -> Result<DeleteResponse> {
        self.answered(RequestKind::Delete, self.inner.delete(request)).await
    }
}
