//! From the stores to the disk.
//!
//! Owns: reading the plan's objects ahead, in order, within bounds, and handing their bytes to the thread that writes. Does not own: hashing and the
//! journal ([`Session`]). Invariants: at most [`AHEAD`] small objects of [`SMALL_BYTES`] and a few chunks of a large one are in memory; an object
//! is read in the generation that was planned (If-Match), or given up and told.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use ferry_device::documents::{Arrangement, BagInfo};
use ferry_device::journal::{Attributes, Outcome};
use ferry_device::plan::{Object, Plan};
use ferry_device::session::{Md5Wanted, Session};
use ferry_device::sink::Sink;
use ferry_transfer::checksum::DigestSet;
use ferry_transfer::store::GetRequest;
use ferry_transfer::{Body, ETag, Error, ErrorKind, Key, ObjectHead, SharedStore};
use futures::{StreamExt as _, stream};
use tokio::sync::{mpsc, oneshot};

use super::sources::Sources;
use super::{Run, StationError};

/// Objects asked for ahead of the one that is written.
const AHEAD: usize = 16;
/// Objects up to this size are read into memory while others are written.
const SMALL_BYTES: u64 = 1 << 20;
/// Chunks on their way to the disk.
const CHUNKS: usize = 8;
/// Attempts at one object.
const ATTEMPTS: u32 = 5;

/// An export onto any kind of medium.
type AnySession = Session<Box<dyn Sink>>;

/// What the writing thread is told, file by file in the plan's order.
enum Message {
    Chunk(Bytes),
    Restart,
    End(Box<Attributes>, i64),
    GiveUp(Outcome, String, i64),
}

/// Writes the plan's files, and then the documents.
pub(super) async fn write(
    run: &Run<'_>,
    plan: &Plan,
    sink: Box<dyn Sink>,
    arrangement: Arrangement,
    bag: BagInfo,
) -> Result<(), StationError> {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let (begun, begins) = oneshot::channel();
    let writing = {
        let plan = plan.clone();
        let progress = run.station.progress();
        tokio::task::spawn_blocking(move || {
            let mut session = Session::open(plan, sink)?;
            if begun.send(session.progress()).is_err() {
                // Nobody waits any more: the run was given up.
                return Ok(false);
            }
            let told = |session: &AnySession| {
                let (files, bytes) = session.progress();
                progress.objects_done.store(files, Relaxed);
                progress.bytes_done.store(bytes, Relaxed);
            };
            let whole = copy(&mut session, receiver, &told)?;
            if whole {
                session.finish(arrangement, &bag).map(|_| true)
            } else {
                session.commit().map(|()| false)
            }
        })
    };
    let fed = match begins.await {
        Ok((done_files, _)) => feed(run, plan, done_files, &sender).await,
        // The thread ended before it began; why is in its result.
        Err(_) => Ok(()),
    };
    drop(sender);
    let written =
        writing.await.map_err(|lost| StationError::Job(format!("the writing thread ended: {lost}")))?;
    let is_whole = written?;
    fed?;
    if is_whole { Ok(()) } else { Err(StationError::Canceled(run.id.clone())) }
}

/// Writes what comes. False where the sender went away before the plan was done.
fn copy(
    session: &mut AnySession,
    mut receiver: mpsc::Receiver<Message>,
    told: &impl Fn(&AnySession),
) -> ferry_device::Result<bool> {
    while session.next_file(Md5Wanted::Compute)?.is_some() {
        loop {
            match receiver.blocking_recv() {
                Some(Message::Chunk(bytes)) => session.write(&bytes)?,
                Some(Message::Restart) => session.restart_file()?,
                Some(Message::End(attributes, at)) => {
                    session.end_file(*attributes, at)?;
                    break;
                }
                Some(Message::GiveUp(outcome, why, at)) => {
                    session.give_up_file(outcome, &why, at)?;
                    break;
                }
                None => return Ok(false),
            }
        }
        told(session);
    }
    Ok(true)
}

/// An object on its way: its head and bytes, or why there are none.
type Fetched = (Object, SharedStore, Result<(ObjectHead, Body), Error>);

async fn feed(
    run: &Run<'_>,
    plan: &Plan,
    done_files: u64,
    sender: &mpsc::Sender<Message>,
) -> Result<(), StationError> {
    let sources = Arc::new(Sources::connect(run).await?);
    let files = plan.entries()?.filter(|entry| entry.as_ref().map_or(true, |entry| entry.place.is_file()));
    let skipped = usize::try_from(done_files).unwrap_or(usize::MAX);
    let mut fetches = stream::iter(files.skip(skipped))
        .map(|entry| {
            let sources = Arc::clone(&sources);
            async move {
                let object = entry?.object;
                let store = Arc::clone(sources.of(&object)?);
                let fetched = fetch(&store, &object).await;
                Ok::<Fetched, StationError>((object, store, fetched))
            }
        })
        .buffered(AHEAD);
    while let Some(fetched) = fetches.next().await {
        if run.canceled.load(Relaxed) {
            return Ok(());
        }
        let (object, store, mut fetched) = fetched?;
        let mut attempt = 1;
        loop {
            let tried = match fetched {
                Ok((head, body)) => pass(sender, head, body, now(run)).await,
                Err(error) => Err(error),
            };
            let error = match tried {
                Ok(Passed::Whole) => break,
                // The writing thread has ended; why is in its result.
                Ok(Passed::Nobody) => return Ok(()),
                Err(error) => error,
            };
            if error.is_permanent() || error.kind() == ErrorKind::PreconditionFailed || attempt == ATTEMPTS {
                let message = Message::GiveUp(outcome(&error), error.chain(), now(run));
                if sender.send(message).await.is_err() {
                    return Ok(());
                }
                break;
            }
            attempt += 1;
            if sender.send(Message::Restart).await.is_err() {
                return Ok(());
            }
            run.station.service.parts().clock.sleep(std::time::Duration::from_millis(200)).await;
            fetched = fetch(&store, &object).await;
        }
    }
    Ok(())
}

fn now(run: &Run<'_>) -> i64 {
    run.station.service.now().unix_timestamp()
}

fn outcome(error: &Error) -> Outcome {
    match error.kind() {
        ErrorKind::PreconditionFailed => Outcome::Changed,
        ErrorKind::NotFound => Outcome::Missing,
        ErrorKind::Archived => Outcome::Archived,
        _ => Outcome::Failed,
    }
}

/// Asks for an object in the generation that was planned; a small one with all its bytes.
async fn fetch(store: &SharedStore, object: &Object) -> Result<(ObjectHead, Body), Error> {
    let key = Key::new(object.key.clone())
        .map_err(|empty| Error::new(ErrorKind::InvalidInput, "an object without a key").caused_by(empty))?;
    let if_match = object.etag.as_deref().and_then(ETag::parse);
    let get = GetRequest { key: key.clone(), if_match, version_id: object.version_id.clone(), range: None };
    let response = store.get(get).await?;
    let mut head = response.head;
    if head.size_bytes != object.size_bytes {
        let message =
            format!("the object has {} bytes, and {} were planned", head.size_bytes, object.size_bytes);
        return Err(Error::new(ErrorKind::PreconditionFailed, message).on_key(object.key.as_str()));
    }
    if head.tag_count > 0 {
        head.attributes.tags = store.get_tags(&key, object.version_id.as_deref()).await?;
    }
    let declared = head.checksums.crc64_nvme;
    let (body, _) = response.body.checked(DigestSet::default(), move |digests| match declared {
        Some(declared) if declared != digests.crc64_nvme => {
            Err(Error::new(ErrorKind::Corrupt, "the bytes are not those of the store's checksum"))
        }
        _ => Ok(()),
    })?;
    let body = if object.size_bytes <= SMALL_BYTES { Body::Bytes(body.collect().await?) } else { body };
    Ok((head, body))
}

enum Passed {
    Whole,
    Nobody,
}

async fn pass(
    sender: &mpsc::Sender<Message>,
    head: ObjectHead,
    body: Body,
    now: i64,
) -> Result<Passed, Error> {
    match body {
        Body::Bytes(bytes) => {
            if !bytes.is_empty() && sender.send(Message::Chunk(bytes)).await.is_err() {
                return Ok(Passed::Nobody);
            }
        }
        Body::Stream(mut stream) => {
            while let Some(chunk) = stream.next().await {
                if sender.send(Message::Chunk(chunk?)).await.is_err() {
                    return Ok(Passed::Nobody);
                }
            }
        }
    }
    match sender.send(Message::End(Box::new(attributes(head)), now)).await {
        Ok(()) => Ok(Passed::Whole),
        Err(_) => Ok(Passed::Nobody),
    }
}

/// What the sidecar keeps of an object.
fn attributes(head: ObjectHead) -> Attributes {
    let from = head.attributes;
    let headers = [
        ("content-type", from.content_type),
        ("content-encoding", from.content_encoding),
        ("content-language", from.content_language),
        ("content-disposition", from.content_disposition),
        ("cache-control", from.cache_control),
        ("expires", from.expires),
        ("x-amz-website-redirect-location", from.website_redirect),
    ];
    Attributes {
        headers: headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
        metadata: from.user_metadata,
        tags: from.tags.into_iter().collect(),
    }
}
