//! A wrapper over any store that fails as it is told to.
//!
//! Owns: failed calls, lost replies and spoilt bodies at the seam of [`ObjectStore`], without a network. Does not own: faults
//! on a wire, which are [`crate::faults`]. Invariant: what a script lets through reaches the inner store unchanged.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use ferry_transfer::store::{
    CompleteUploadRequest, CopyObjectRequest, CopyPartRequest, CreateUploadRequest, DeleteRequest,
    DeleteResponse, GetRequest, GetResponse, HeadRequest, ListPage, ListPartsRequest, ListRequest,
    ListUploadsRequest, ListVersionsRequest, PartsPage, PutRequest, PutResponse, RestoreAnswer,
    RestoreRequest, UploadId, UploadPartRequest, UploadedPart, UploadsPage, VersionPage, Versioning,
};
use ferry_transfer::{
    Body, Capabilities, DeclaredChecksums, Error, ErrorKind, Key, ObjectHead, ObjectStore, Result,
    SharedStore, StoreName,
};
use futures::StreamExt;

use crate::operation::Operation;

/// One call about to be made.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The operation, by the name AWS gives it.
    pub operation: Operation,
    /// Its key; `None` for a listing.
    pub key: Option<&'a Key>,
    /// Which call of this operation this is, from 1.
    pub number: u64,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// It fails and is not made.
    Fail(ErrorKind),
    /// It is made, and fails all the same.
    LoseReply(ErrorKind),
    /// It is not made and never answered: for callers that are killed while they wait.
    NeverMade,
    /// It is made and never answered.
    NeverAnswered,
    /// One bit of the body that is read is turned over; its length stays.
    CorruptBody,
    /// The body that is read ends after this many bytes, without an error of its own.
    TruncateBody {
        /// Bytes that still come.
        after_bytes: u64,
    },
    /// The page of a listing comes in descending order.
    ReverseListing,
    /// The body that is read fails after this many bytes.
    BreakBody {
        /// Bytes that still come.
        after_bytes: u64,
        /// As what it fails.
        kind: ErrorKind,
    },
}

type Script = Arc<dyn Fn(&Call<'_>) -> Option<StoreFault> + Send + Sync>;

type Pace = Arc<dyn Fn(&Call<'_>) -> [Duration; 2] + Send + Sync>;

/// A store that fails as it is told to. See the module.
pub struct FaultyStore {
    inner: SharedStore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    scripts: Vec<Script>,
    pace: Option<Pace>,
    calls: BTreeMap<Operation, u64>,
    hides_checksums: bool,
    loses_upload_tags: bool,
    hides_tags_in_heads: bool,
}

impl FaultyStore {
    /// Lets everything through until told otherwise.
    pub fn new(inner: SharedStore) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// Asks `script` before each call; the first script with an answer decides.
    pub fn script(&self, script: impl Fn(&Call<'_>) -> Option<StoreFault> + Send + Sync + 'static) {
        self.state().scripts.push(Arc::new(script));
    }

    /// Takes time over each call from now on: so long before it is made, and so long until its answer is there.
    pub fn take_time(&self, pace: impl Fn(&Call<'_>) -> [Duration; 2] + Send + Sync + 'static) {
        self.state().pace = Some(Arc::new(pace));
    }

    /// Fails the first `count` calls of one operation, counted from the store's making.
    pub fn fail_first(&self, operation: Operation, count: u64, kind: ErrorKind) {
        self.script(move |call| {
            (call.operation == operation && call.number <= count).then_some(StoreFault::Fail(kind))
        });
    }

    /// Declares no checksums from now on, as most stores do, whatever the inner store says.
    pub fn hide_checksums(&self) {
        self.state().hides_checksums = true;
    }

    /// Loses the tags that an upload of parts is begun with from now on, as Ceph 16 does.
    pub fn lose_upload_tags(&self) {
        self.state().loses_upload_tags = true;
    }

    /// Says nothing of tags in the answer to a HEAD from now on, only in that to a GET.
    pub fn hide_tags_in_heads(&self) {
        self.state().hides_tags_in_heads = true;
    }

    /// The head as it is told.
    fn told(&self, head: ObjectHead) -> ObjectHead {
        if self.state().hides_checksums {
            ObjectHead { checksums: DeclaredChecksums::default(), ..head }
        } else {
            head
        }
    }

    /// Forgets every script.
    pub fn heal(&self) {
        self.state().scripts.clear();
    }

    /// Calls of one operation so far, failed ones among them.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.state().calls.get(&operation).copied().unwrap_or(0)
    }

    /// Counts the call.
    fn begin<'a>(&self, operation: Operation, key: Option<&'a Key>) -> Call<'a> {
        let mut state = self.state();
        let count = state.calls.entry(operation).or_default();
        *count += 1;
        Call { operation, key, number: *count }
    }

    /// Asks the scripts, outside the lock: a script may look at the store.
    fn judge(&self, call: &Call<'_>) -> Option<StoreFault> {
        let scripts = self.state().scripts.clone();
        scripts.iter().find_map(|script| script(call))
    }

    async fn run<T>(
        &self,
        operation: Operation,
        key: Option<&Key>,
        call: impl Future<Output = Result<T>>,
    ) -> Result<(T, Option<StoreFault>)> {
        let failed = |kind| {
            let error = Error::new(kind, "a fault was asked for")
                .in_operation(operation.name())
                .at_store(&self.inner.name().store)
                .in_bucket(&self.inner.name().bucket);
            match key {
                Some(key) => error.on_key(key.as_str()),
                None => error,
            }
        };
        let begun = self.begin(operation, key);
        let pace = self.state().pace.clone();
        let [before, after] = pace.map(|pace| pace(&begun)).unwrap_or_default();
        wait(before).await;
        let answer = match self.judge(&begun) {
            Some(StoreFault::Fail(kind)) => Err(failed(kind)),
            Some(StoreFault::LoseReply(kind)) => {
                // Whether the call itself succeeded is what the caller never learns.
                drop(call.await);
                Err(failed(kind))
            }
            Some(StoreFault::NeverMade) => std::future::pending().await,
            Some(StoreFault::NeverAnswered) => {
                drop(call.await);
                std::future::pending().await
            }
            fault => call.await.map(|value| (value, fault)),
        };
        wait(after).await;
        answer
    }

    async fn run_plain<T>(
        &self,
        operation: Operation,
        key: &Key,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.run(operation, Some(key), call).await.map(|(value, _)| value)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// The body as the fault leaves it, of the length the store declared.
fn spoilt(body: Body, fault: Option<StoreFault>) -> Body {
    let length_bytes = body.length_bytes();
    let chunks = match body {
        Body::Bytes(bytes) => futures::stream::iter([Ok(bytes)]).boxed(),
        Body::Stream(stream) => stream.boxed(),
    };
    match fault {
        Some(StoreFault::CorruptBody) => {
            let mut passed = false;
            let flipped = chunks.map(move |chunk| {
                let first = !std::mem::replace(&mut passed, true);
                chunk.map(|chunk| if first { flip_first_byte(&chunk) } else { chunk })
            });
            Body::stream(length_bytes, flipped)
        }
        Some(StoreFault::TruncateBody { after_bytes }) => {
            Body::stream(length_bytes, cut(chunks, after_bytes))
        }
        Some(StoreFault::BreakBody { after_bytes, kind }) => {
            let broken = futures::stream::iter([Err(Error::new(kind, "the connection was asked to break"))]);
            Body::stream(length_bytes, cut(chunks, after_bytes).chain(broken))
        }
        _ => Body::stream(length_bytes, chunks),
    }
}

fn cut(
    chunks: impl futures::Stream<Item = Result<Bytes>> + Send + 'static,
    after_bytes: u64,
) -> impl futures::Stream<Item = Result<Bytes>> + Send + 'static {
    chunks.scan(after_bytes, |left, chunk| {
        let item = match chunk {
            Ok(_) if *left == 0 => None,
            Ok(mut chunk) => {
                chunk.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= chunk.len() as u64;
                Some(Ok(chunk))
            }
            Err(error) => Some(Err(error)),
        };
        std::future::ready(item)
    })
}

fn flip_first_byte(chunk: &[u8]) -> Bytes {
    let mut chunk = BytesMut::from(chunk);
    if let Some(byte) = chunk.first_mut() {
        *byte ^= 1;
    }
    chunk.freeze()
}

#[async_trait]
impl ObjectStore for FaultyStore {
    fn name(&self) -> &StoreName {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn list(&self, request: ListRequest) -> Result<ListPage> {
        let call = self.inner.list(request);
        let (mut page, fault) = self.run(Operation::ListObjectsV2, None, call).await?;
        if fault == Some(StoreFault::ReverseListing) {
            page.entries.reverse();
        }
        Ok(page)
    }

    async fn head(&self, request: HeadRequest) -> Result<ObjectHead> {
        let key = request.key.clone();
        let mut head = self.run_plain(Operation::HeadObject, &key, self.inner.head(request)).await?;
        if self.state().hides_tags_in_heads {
            head.tag_count = 0;
        }
        Ok(self.told(head))
    }

    async fn get(&self, request: GetRequest) -> Result<GetResponse> {
        let key = request.key.clone();
        let call = self.inner.get(request);
        let (response, fault) = self.run(Operation::GetObject, Some(&key), call).await?;
        Ok(GetResponse { head: self.told(response.head), body: spoilt(response.body, fault) })
    }

    async fn get_tags(&self, key: &Key, version_id: Option<&str>) -> Result<Vec<(String, String)>> {
        let call = self.inner.get_tags(key, version_id);
        self.run_plain(Operation::GetObjectTagging, key, call).await
    }

    async fn put_tags(&self, key: &Key, version_id: Option<&str>, tags: &[(String, String)]) -> Result<()> {
        let call = self.inner.put_tags(key, version_id, tags);
        self.run_plain(Operation::PutObjectTagging, key, call).await
    }

    async fn put(&self, request: PutRequest) -> Result<PutResponse> {
        let key = request.key.clone();
        let call = self.inner.put(request);
        self.run_plain(Operation::PutObject, &key, call).await
    }

    async fn create_upload(&self, mut request: CreateUploadRequest) -> Result<UploadId> {
        if self.state().loses_upload_tags {
            request.attributes.tags.clear();
        }
        let key = request.key.clone();
        let call = self.inner.create_upload(request);
        self.run_plain(Operation::CreateMultipartUpload, &key, call).await
    }

    async fn upload_part(&self, request: UploadPartRequest) -> Result<UploadedPart> {
        let key = request.key.clone();
        let call = self.inner.upload_part(request);
        self.run_plain(Operation::UploadPart, &key, call).await
    }

    async fn complete_upload(&self, request: CompleteUploadRequest) -> Result<PutResponse> {
        let key = request.key.clone();
        let call = self.inner.complete_upload(request);
        self.run_plain(Operation::CompleteMultipartUpload, &key, call).await
    }

    async fn list_parts(&self, request: ListPartsRequest) -> Result<PartsPage> {
        let key = request.key.clone();
        let call = self.inner.list_parts(request);
        self.run_plain(Operation::ListParts, &key, call).await
    }

    async fn versioning(&self) -> Result<Versioning> {
        let call = self.inner.versioning();
        self.run(Operation::GetBucketVersioning, None, call).await.map(|(versioning, _)| versioning)
    }

    async fn list_versions(&self, request: ListVersionsRequest) -> Result<VersionPage> {
        let call = self.inner.list_versions(request);
        self.run(Operation::ListObjectVersions, None, call).await.map(|(page, _)| page)
    }

    async fn list_uploads(&self, request: ListUploadsRequest) -> Result<UploadsPage> {
        let call = self.inner.list_uploads(request);
        self.run(Operation::ListMultipartUploads, None, call).await.map(|(page, _)| page)
    }

    async fn copy_object(&self, request: CopyObjectRequest) -> Result<PutResponse> {
        let key = request.key.clone();
        let call = self.inner.copy_object(request);
        self.run_plain(Operation::CopyObject, &key, call).await
    }

    async fn copy_part(&self, request: CopyPartRequest) -> Result<UploadedPart> {
        let key = request.key.clone();
        let call = self.inner.copy_part(request);
        self.run_plain(Operation::UploadPartCopy, &key, call).await
    }

    async fn restore(&self, request: RestoreRequest) -> Result<RestoreAnswer> {
        let key = request.key.clone();
        let call = self.inner.restore(request);
        self.run_plain(Operation::RestoreObject, &key, call).await
    }

    async fn abort_upload(&self, key: &Key, upload_id: &UploadId) -> Result<()> {
        let call = self.inner.abort_upload(key, upload_id);
        self.run_plain(Operation::AbortMultipartUpload, key, call).await
    }

    async fn delete(&self, request: DeleteRequest) -> Result<DeleteResponse> {
        let key = request.key.clone();
        self.run_plain(Operation::DeleteObject, &key, self.inner.delete(request)).await
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("FaultyStore")
            .field("inner", &self.inner)
            .field("scripts", &state.scripts.len())
            .field("calls", &state.calls)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;
    use crate::memory_store::MemoryStore;

    fn store() -> (Arc<MemoryStore>, FaultyStore, Key) {
        let memory = Arc::new(MemoryStore::new("memory", "bucket"));
        memory.bucket().put_object("k", "hello world");
        let faulty = FaultyStore::new(Arc::clone(&memory) as SharedStore);
        (memory, faulty, Key::new("k").expect("key"))
    }

    async fn read(store: &FaultyStore, key: &Key) -> Result<Bytes> {
        let request = GetRequest { key: key.clone(), if_match: None, version_id: None, range: None };
        store.get(request).await?.body.collect().await
    }

    #[tokio::test]
    async fn calls_fail_until_they_are_through_and_healing_ends_it() {
        let (_, faulty, key) = store();
        faulty.fail_first(Operation::HeadObject, 2, ErrorKind::Throttled);
        for _ in 0..2 {
            let error = faulty.head(HeadRequest::of(&key)).await.expect_err("asked for");
            assert_eq!(error.kind(), ErrorKind::Throttled);
        }
        faulty.head(HeadRequest::of(&key)).await.expect("third time");
        assert_eq!(faulty.calls(Operation::HeadObject), 3);
        faulty.script(|_| Some(StoreFault::Fail(ErrorKind::Transient)));
        faulty.head(HeadRequest::of(&key)).await.expect_err("asked for");
        faulty.heal();
        faulty.head(HeadRequest::of(&key)).await.expect("healed");
    }

    #[tokio::test]
    async fn a_lost_reply_leaves_the_deed_done() {
        let (memory, faulty, key) = store();
        faulty.script(|call| {
            (call.operation == Operation::DeleteObject).then_some(StoreFault::LoseReply(ErrorKind::Transient))
        });
        faulty.delete(DeleteRequest::of(&key)).await.expect_err("asked for");
        assert!(memory.bucket().is_empty());
    }

    #[tokio::test]
    async fn bodies_are_spoilt_as_asked() {
        let (_, faulty, key) = store();
        let spoil = |fault| {
            faulty.heal();
            faulty.script(move |_| Some(fault));
        };
        spoil(StoreFault::CorruptBody);
        assert_eq!(read(&faulty, &key).await.expect("whole"), "iello world");
        spoil(StoreFault::TruncateBody { after_bytes: 5 });
        let error = read(&faulty, &key).await.expect_err("short");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        spoil(StoreFault::BreakBody { after_bytes: 5, kind: ErrorKind::Transient });
        let error = read(&faulty, &key).await.expect_err("broken");
        assert_eq!(error.kind(), ErrorKind::Transient);
    }

    /// The suite is only worth something if a store that breaks a promise fails it.
    #[tokio::test]
    async fn a_store_that_corrupts_or_forgets_fails_the_conformance_suite() {
        for (fault, operation, broken) in [
            (StoreFault::CorruptBody, Operation::GetObject, "an_object_reads_back_as_written"),
            (
                StoreFault::Fail(ErrorKind::PermissionDenied),
                Operation::HeadObject,
                "what_is_not_there_is_not_found",
            ),
            (StoreFault::ReverseListing, Operation::ListObjectsV2, "pages_lose_and_repeat_nothing"),
            (
                StoreFault::LoseReply(ErrorKind::Transient),
                Operation::AbortMultipartUpload,
                "an_aborted_upload_leaves_nothing",
            ),
        ] {
            let memory = MemoryStore::new("memory", "bucket");
            let faulty = FaultyStore::new(Arc::new(memory));
            faulty.script(move |call| (call.operation == operation).then_some(fault));
            let check = conformance::CHECKS.iter().find(|check| check.name == broken).expect("check");
            check.run(&faulty).await.expect_err(broken);
            faulty.heal();
            check.run(&faulty).await.expect("kept without the fault");
        }
    }
}
