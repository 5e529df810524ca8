//! Copies one generation of one object.
//!
//! Owns: the loop that repeats a read piped into a write, and the choice between one request and many. Does not own: which
//! generation to copy or whether to copy at all ([`crate::agree`]). Invariants: every read carries `If-Match`, so what arrives is
//! of one generation; digests are computed as bytes pass and checked before the last byte is let through; no body but
//! a small one is ever held in memory, and those only within the byte budget.

pub mod declared;
mod multipart;
mod whole;
mod within;

use std::fmt;
use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::receipt::Copied;
use crate::retry::{Backoff, Retries};
use crate::route::Route;
use crate::state::SharedState;
use crate::store::{BodyChecksum, HeadRequest, PutRequest, WriteCondition};
use crate::task::UnsupportedRule;
use crate::unfit::{Unfit, sidecar_key};
use crate::upload::UploadRecords;
use crate::versions::Versions;
use crate::{
    Attributes, Body, Capabilities, Clock, ETag, Error, ErrorKind, Key, ObjectHead, PartPlan, PartPlanError,
    SharedQueue, StorageClass,
};

const MIB: u64 = 1 << 20;

/// How objects are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySettings {
    /// Objects of at least this size go in parts.
    pub multipart_threshold_bytes: u64,
    /// Size of a part, unless the object's own boundaries are known or it needs larger ones.
    pub part_bytes: u64,
    /// Parts of one object on their way at once.
    pub parts_in_flight: usize,
    /// Objects and parts on their way at once, all together. Those that are streamed are fewer ([`CopySettings::large_streams`]).
    pub streams: usize,
    /// Objects up to this size are held in memory, so that a failed write need not read again.
    pub buffered_object_bytes_max: u32,
    /// All objects held in memory together.
    pub buffer_budget_bytes: u32,
    /// How a read piped into a write is repeated.
    pub backoff: Backoff,
}

impl Default for CopySettings {
    fn default() -> Self {
        Self {
            // Below this a single stream is two requests and keeps the ETag; above it, parallel parts win on any network.
            multipart_threshold_bytes: 32 * MIB,
            part_bytes: 32 * MIB,
            // One object in parts fills eight lanes of the vector unit where its parts are hashed.
            parts_in_flight: 8,
            // Small objects wait for answers most of their time: at 20 ms an answer, 128 of them are 3,200 a second.
            streams: 128,
            buffered_object_bytes_max: 1 << 20,
            buffer_budget_bytes: 16 << 20,
            backoff: Backoff::default(),
        }
    }
}

impl CopySettings {
    /// How many of the streams may be parts, or objects that are not held in memory. Each holds buffers of its sockets' and of its
    /// digests', up to a megabyte together, so they stay at 32 unless far more streams are asked for.
    pub fn large_streams(&self) -> usize {
        self.streams.min(32).max(self.streams / 8).max(1)
    }

    /// The parts an object of this size and source ETag goes in; `None` where it goes in one piece.
    pub fn parts(
        &self,
        size_bytes: u64,
        etag: Option<&ETag>,
        limits: &Capabilities,
    ) -> Option<Result<PartPlan, PartPlanError>> {
        // Made of parts of a usual size: making it of the same parts again keeps its ETag.
        let smallest_usual_part_bytes = 5 * MIB;
        let own_parts = etag
            .filter(|etag| size_bytes > smallest_usual_part_bytes && is_in_parts(etag))
            .and_then(|etag| PartPlan::guess(size_bytes, etag, limits));
        match own_parts {
            Some(plan) => Some(Ok(plan)),
            None if size_bytes >= self.multipart_threshold_bytes.min(limits.put_bytes_max + 1) => {
                let plan = PartPlan::new(size_bytes, self.part_bytes, limits);
                // A single part would cost requests and change the ETag, and win nothing.
                let is_one_part = plan.as_ref().is_ok_and(|plan| plan.len() == 1);
                (!is_one_part || size_bytes > limits.put_bytes_max).then_some(plan)
            }
            None => None,
        }
    }
}

/// One object to copy.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// The source key.
    pub key: Key,
    /// The destination key.
    pub destination_key: Key,
    /// The generation to copy; `None` is whatever is there.
    pub generation: Option<ETag>,
    /// The version to copy, on versioned buckets.
    pub version_id: Option<String>,
    /// Size in bytes, as far as known.
    pub size_hint_bytes: Option<u64>,
    /// The source's storage class, as far as known.
    pub class: KnownClass,
    /// What must hold of the destination.
    pub condition: WriteCondition,
    /// Whose parts they are, should they become jobs of their own; `None` keeps them together.
    pub job: Option<JobName>,
}

impl CopyRequest {
    /// The version that looks and ranged reads name. The latest is named well enough by its ETag: a version id would take a right of
    /// its own (`s3:GetObjectVersion`), and some stores ignore the range of a read that has one.
    fn version_to_name(&self, route: &Route) -> Option<String> {
        match route.task.versions {
            Versions::Latest => None,
            Versions::All => self.version_id.clone(),
        }
    }

    /// A look at what is to be copied.
    fn look(&self, route: &Route) -> HeadRequest {
        HeadRequest { version_id: self.version_to_name(route), ..HeadRequest::of(&self.key) }
    }
}

/// The task and the run that a job belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobName {
    /// The task.
    pub task: Option<String>,
    /// The run.
    pub run: Option<String>,
}

/// What is known of an object's storage class before it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KnownClass {
    /// Nothing.
    #[default]
    Unknown,
    /// This; `None` is the store's standard class.
    Known(Option<StorageClass>),
}

/// Why a copy was not made.
#[derive(Debug)]
pub enum CopyError {
    /// The source is of another generation now.
    SourceChanged,
    /// The source has no such object any more.
    SourceGone,
    /// The object is archived.
    SourceArchived,
    /// The upload was completed or dropped by somebody else: look again at what is there.
    UploadGone(Error),
    /// The destination is not what the condition says, or was just being written by somebody else.
    DestinationChanged(Error),
    /// The destination does not support the write that carries the condition as it was asked.
    WriteUnsupported(Error),
    /// Its parts have become jobs of their own.
    Divided {
        /// How many.
        parts: u32,
    },
    /// Anything else.
    Failed(Error),
}

impl CopyError {
    fn at_source(error: Error, key: &Key) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::SourceGone,
            ErrorKind::PreconditionFailed => Self::SourceChanged,
            ErrorKind::Archived => Self::SourceArchived,
            _ => Self::Failed(error.on_key(key.as_str())),
        }
    }

    fn at_destination(error: Error, key: &Key) -> Self {
        match error.kind() {
            ErrorKind::PreconditionFailed => Self::DestinationChanged(error.on_key(key.as_str())),
            _ => Self::Failed(error.on_key(key.as_str())),
        }
    }

    /// Of the one write of a copy that carries its condition: the PUT, or the completion of an upload.
    fn at_conditional_write(error: Error, key: &Key) -> Self {
        match error.kind() {
            ErrorKind::Unsupported => Self::WriteUnsupported(error.on_key(key.as_str())),
            _ => Self::at_destination(error, key),
        }
    }
}

/// Copies objects within shared bounds. See the module.
pub struct Copier {
    settings: CopySettings,
    clock: Arc<dyn Clock>,
    streams: Semaphore,
    large_streams: Semaphore,
    buffers: Semaphore,
    /// Where uploads are remembered that this process may not live to complete.
    uploads: Option<UploadRecords>,
    /// Where the parts of the largest objects go for any worker to take.
    part_jobs: Option<SharedQueue>,
}

pub use multipart::PartProgress;
pub(crate) use within::parts as parts_within;

/// How a copy in parts ended.
enum InParts {
    Copied(Copied),
    /// Its parts have no boundaries that can be kept, and it is small enough for one piece.
    Small,
}

/// How one attempt in one piece ended.
enum Whole {
    Copied(Copied),
    /// It turned out to be larger than one piece should be.
    TooLarge,
}

impl Copier {
    /// A copier whose bounds all its copies share.
    pub fn new(settings: CopySettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            streams: Semaphore::new(settings.streams.max(1)),
            large_streams: Semaphore::new(settings.large_streams()),
            buffers: Semaphore::new(settings.buffer_budget_bytes as usize),
            clock,
            settings,
            uploads: None,
            part_jobs: None,
        }
    }

    /// Remembers open uploads in this place, and goes on with those it finds there.
    #[must_use]
    pub fn remembering(mut self, state: SharedState) -> Self {
        self.uploads = Some(UploadRecords::new(state));
        self
    }

    /// Shares the largest objects out: their parts become jobs on this queue.
    #[must_use]
    pub fn sharing(mut self, part_jobs: SharedQueue) -> Self {
        self.part_jobs = Some(part_jobs);
        self
    }

    /// Copies one generation of one object.
    pub async fn copy(&self, route: &Arc<Route>, mut request: CopyRequest) -> Result<Copied, CopyError> {
        if let Some(copied) = self.copy_within(route, &request).await? {
            return Ok(copied);
        }
        let limits = route.destination.capabilities();
        let generation = request.generation.as_ref();
        let known_large = |size| self.settings.parts(size, generation, limits).is_some();
        // Written in parts, only their boundaries give the ETag back and prove the reading of it.
        let in_parts = generation.is_some_and(|etag| {
            is_in_parts(etag) && request.size_hint_bytes.is_none_or(|size_bytes| has_room(etag, size_bytes))
        });
        if in_parts && let InParts::Copied(copied) = self.copy_in_parts(route, &request).await? {
            return Ok(copied);
        }
        if !request.size_hint_bytes.is_some_and(known_large) {
            let mut retries = Retries::new(&self.settings.backoff, self.clock.as_ref());
            loop {
                match self.copy_whole(route, &mut request).await {
                    Ok(Whole::Copied(copied)) => return Ok(copied),
                    Ok(Whole::TooLarge) => break,
                    Err(CopyError::Failed(error)) => retries.pause(error).await.map_err(CopyError::Failed)?,
                    Err(error) => return Err(error),
                }
            }
        }
        match self.copy_in_parts(route, &request).await? {
            InParts::Copied(copied) => Ok(copied),
            InParts::Small => Err(CopyError::SourceChanged),
        }
    }

    async fn stream_permit(&self) -> Result<SemaphorePermit<'_>, CopyError> {
        self.streams.acquire().await.map_err(|_closed| cancelled())
    }

    /// For bodies that are streamed: the large one first, so that nobody who waits for it keeps small objects out.
    async fn large_stream_permit(&self) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>), CopyError> {
        let large = self.large_streams.acquire().await.map_err(|_closed| cancelled())?;
        Ok((large, self.stream_permit().await?))
    }

    /// Whether a body of this size is held in memory.
    fn is_buffered(&self, size_bytes: u64) -> bool {
        let most = self.settings.buffered_object_bytes_max.min(self.settings.buffer_budget_bytes);
        size_bytes <= u64::from(most)
    }

    /// What travels with the bytes, tags asked for when the store says there are any.
    async fn attributes(&self, route: &Route, key: &Key, head: &ObjectHead) -> Result<Attributes, CopyError> {
        let mut attributes = head.attributes.clone();
        if head.tag_count > 0 {
            attributes.tags = route
                .source
                .get_tags(key, head.version_id.as_deref())
                .await
                .map_err(|error| CopyError::at_source(error, key))?;
        }
        let fail = |error: Error| CopyError::Failed(error.on_key(key.as_str()));
        let (attributes, unfit) = route.map_attributes(attributes).map_err(fail)?;
        if route.task.unsupported == UnsupportedRule::Sidecar && !unfit.is_empty() {
            write_sidecar(route, key, &unfit).await.map_err(fail)?;
        }
        Ok(attributes)
    }
}

impl fmt::Debug for Copier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copier").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn cancelled() -> CopyError {
    CopyError::Failed(Error::new(ErrorKind::Cancelled, "the copy was cancelled"))
}

/// Keeps beside the copy what the copy cannot hold. Written first, so that no copy is ever without it.
async fn write_sidecar(route: &Route, key: &Key, unfit: &Unfit) -> Result<(), Error> {
    let destination_key = route.destination_key(key)?;
    let sidecar = sidecar_key(&destination_key)
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the copy has no key to put a document beside"))?;
    let document = serde_json::to_vec(unfit).map_err(|error| {
        Error::new(ErrorKind::Other, "the document beside the copy cannot be written").caused_by(error)
    })?;
    let put = PutRequest {
        key: sidecar,
        attributes: Attributes { content_type: Some("application/json".to_owned()), ..Attributes::default() },
        body: Body::Bytes(document.into()),
        condition: WriteCondition::None,
        checksum: BodyChecksum::default(),
    };
    route.destination.put(put).await.map(drop)
}

/// A store that ignores `If-Match` shows itself by what it sends.
fn same_generation(asked: Option<&ETag>, head: &ObjectHead) -> Result<(), CopyError> {
    match (asked, &head.etag) {
        (Some(asked), Some(sent)) if asked != sent => Err(CopyError::SourceChanged),
        _ => Ok(()),
    }
}

/// Whether a tag says that its object was written in several parts.
fn is_in_parts(etag: &ETag) -> bool {
    etag.parts().is_some_and(|parts| parts > 1)
}

/// Whether an object of this size can have been written in as many parts as its tag says. A tag that ends in the object's size, as
/// some stores give them, looks like one of parts and is none: nobody cuts an object into parts of less than this.
fn has_room(etag: &ETag, size_bytes: u64) -> bool {
    let smallest_part_bytes = 1024;
    etag.parts().is_none_or(|parts| size_bytes > u64::from(parts - 1) * smallest_part_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_ends_in_the_size_is_no_tag_of_parts() {
        let tag = |end: &str| ETag::parse(&format!("5d41402abc4b2a76b9719d911017c592{end}")).expect("a tag");
        assert!(!has_room(&tag("-4096"), 4096));
        assert!(has_room(&tag("-4096"), 4096 * 5 * MIB));
        assert!(has_room(&tag("-2"), 1025));
        assert!(has_room(&tag(""), 0));
    }

    #[test]
    fn large_streams_are_bounded_by_all_and_grow_late() {
        for (streams, large) in [(0, 1), (1, 1), (32, 32), (128, 32), (512, 64)] {
            let settings = CopySettings { streams, ..CopySettings::default() };
            assert_eq!(settings.large_streams(), large, "{streams} streams");
        }
    }
}
