//! From the stores to the disk.
//!
//! Owns: asking for the plan's objects ahead, in order, and handing their bytes to the thread that writes. Does not own: the reading of one ([`Reading`]), hashing
//! and the journal ([`Session`]). Invariants: at most [`AHEAD`] small objects and a few pieces of a large one are in memory; an object that cannot be read is
//! given up and told, but for what [`patience`](super::patience) says of its store; one that breaks off is gone on with behind what was committed of it, but where its bytes
//! were wrong.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ferry_device::documents::{Arrangement, BagInfo};
use ferry_device::journal::{Attributes, Outcome};
use ferry_device::plan::{Object, Plan};
use ferry_device::session::Session;
use ferry_device::sink::Sink;
use ferry_transfer::{Body, BodyStream, Error, ErrorKind, ObjectHead};
use futures::{StreamExt as _, stream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};

use super::patience::{Next, Patience};
use super::prefix::{self, Prefix, ReadBack};
use super::reading::{Reading, Source};
use super::sources::Sources;
use super::{Run, StationError};

/// Objects asked for ahead of the one that is written.
const AHEAD: usize = 16;
/// Chunks on their way to the disk.
const CHUNKS: usize = 8;

/// How often it is looked up whether the job is still this run's, while nothing comes of a large object.
const LOOK_UP: Duration = Duration::from_secs(1);

/// An export onto any kind of medium.
type AnySession = Session<Box<dyn Sink>>;

/// What the writing thread is told, file by file in the plan's order.
enum Message {
    Chunk(Bytes),
    /// The object comes again from its beginning.
    Restart,
    /// It comes again from what was committed of it; that is read back.
    GoBack(oneshot::Sender<Option<Prefix>>),
    End(Box<Ended>),
    GiveUp(Outcome, String, i64),
}

/// What is known of an object once its last byte has arrived.
struct Ended {
    attributes: Attributes,
    md5: Option<[u8; 16]>,
    at: i64,
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
            let (back, prefix) = prefix::of_part(session.part());
            if begun.send((session.progress().0, prefix)).is_err() {
                // Nobody waits any more: the run was given up.
                return Ok(false);
            }
            let told = |session: &AnySession| {
                let (files, bytes) = session.progress();
                progress.objects_done.store(files, Relaxed);
                progress.bytes_done.store(bytes, Relaxed);
            };
            let whole = copy(&mut session, back, receiver, &told)?;
            if whole {
                session.finish(arrangement, &bag).map(|_| true)
            } else {
                session.commit().map(|()| false)
            }
        })
    };
    let fed = match begins.await {
        Ok((done_files, prefix)) => feed(run, plan, done_files, prefix, &sender).await,
        // The thread ended before it began; why is in its result.
        Err(_) => Ok(()),
    };
    drop(sender);
    let written =
        writing.await.map_err(|lost| StationError::Stopped(format!("the writing thread ended: {lost}")))?;
    let is_whole = written?;
    fed?;
    if is_whole {
        Ok(())
    } else {
        Err(StationError::Stopped("the writing ended before the plan did".to_owned()))
    }
}

/// Writes what comes. False where the sender went away before the plan was done.
fn copy(
    session: &mut AnySession,
    back: ReadBack,
    mut receiver: mpsc::Receiver<Message>,
    told: &impl Fn(&AnySession),
) -> ferry_device::Result<bool> {
    let mut back = Some(back);
    while session.next_file()?.is_some() {
        told(session);
        // Of the first file a part may be there.
        if let Some(back) = back.take() {
            back.run(session);
        }
        loop {
            match receiver.blocking_recv() {
                Some(Message::Chunk(bytes)) => session.write(&bytes)?,
                Some(Message::Restart) => session.restart_file()?,
                Some(Message::GoBack(reply)) => {
                    session.go_back_in_file()?;
                    let (back, prefix) = prefix::of_part(session.unread_part());
                    if reply.send(prefix).is_ok() {
                        back.run(session);
                    }
                }
                Some(Message::End(ended)) => {
                    session.end_file(ended.attributes, ended.md5, ended.at)?;
                    break;
                }
                Some(Message::GiveUp(outcome, why, at)) => {
                    session.give_up_file(outcome, &why, at)?;
                    break;
                }
                None => return Ok(false),
            }
            told(session);
        }
        told(session);
    }
    Ok(true)
}

/// An object on its way, or why it is not.
type Fetched = (Object, Source, Result<Reading, Error>);

/// A task that ends when nobody waits for it any more.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn feed(
    run: &Run<'_>,
    plan: &Plan,
    done_files: u64,
    mut prefix: Option<Prefix>,
    sender: &mpsc::Sender<Message>,
) -> Result<(), StationError> {
    let sources = Arc::new(Sources::connect(run).await?);
    let files = plan.entries()?.filter(|entry| entry.as_ref().map_or(true, |entry| entry.place.is_file()));
    let skipped = usize::try_from(done_files).unwrap_or(usize::MAX);
    let mut fetches = stream::iter(files.skip(skipped))
        .map(|entry| {
            let (sources, prefix) = (Arc::clone(&sources), prefix.take());
            // Tasks of their own: what is read ahead must get on while another object is waited for, since it may hold the connection that one needs.
            AbortOnDrop(tokio::spawn(async move {
                let object = entry?.object;
                let source = sources.of(&object)?.clone();
                let read = source.read(&object, prefix).await;
                Ok::<Fetched, StationError>((object, source, read))
            }))
        })
        .buffered(AHEAD);
    while let Some(fetched) = fetches.next().await {
        run.standing.check()?;
        let fetched =
            fetched.map_err(|lost| StationError::Stopped(format!("reading ahead ended: {lost}")))?;
        let (object, source, mut read) = fetched?;
        let mut patience = Patience::default();
        loop {
            let tried = match read {
                Ok(reading) => pass(run, sender, reading).await,
                Err(error) => Err(error),
            };
            let error = match tried {
                Ok(Passed::Whole) => break,
                // The writing thread has ended, and why is in its result; or the job is no longer this run's.
                Ok(Passed::Nobody) => return run.standing.check(),
                Err(error) => error,
            };
            let why = error.kind();
            match patience.after(run, plan, &source, &object, error).await? {
                Next::Again => {}
                Next::GiveUp(error) => {
                    let message = Message::GiveUp(outcome(&error), error.chain(), now(run));
                    if sender.send(message).await.is_err() {
                        return Ok(());
                    }
                    break;
                }
            }
            let Some(prefix) = again(sender, why).await else { return Ok(()) };
            read = source.read(&object, prefix).await;
        }
    }
    Ok(())
}

/// Has the writing thread take the object once more: from what was committed of it, or from its beginning where its bytes were wrong. `None` where the thread has ended.
async fn again(sender: &mpsc::Sender<Message>, why: ErrorKind) -> Option<Option<Prefix>> {
    if why == ErrorKind::Corrupt {
        return sender.send(Message::Restart).await.is_ok().then_some(None);
    }
    let (reply, prefix) = oneshot::channel();
    sender.send(Message::GoBack(reply)).await.ok()?;
    prefix.await.ok()
}

fn now(run: &Run<'_>) -> i64 {
    run.station.service.now().unix_timestamp()
}

fn outcome(error: &Error) -> Outcome {
    match error.kind() {
        ErrorKind::PreconditionFailed => Outcome::Changed,
        ErrorKind::NotFound => Outcome::Missing,
        ErrorKind::Archived => Outcome::Archived,
        ErrorKind::PermissionDenied => Outcome::Denied,
        _ => Outcome::Failed,
    }
}

enum Passed {
    Whole,
    Nobody,
}

async fn pass(run: &Run<'_>, sender: &mpsc::Sender<Message>, mut reading: Reading) -> Result<Passed, Error> {
    match &mut reading.body {
        Body::Bytes(bytes) => {
            if !bytes.is_empty() && sender.send(Message::Chunk(bytes.clone())).await.is_err() {
                return Ok(Passed::Nobody);
            }
        }
        Body::Stream(stream) => {
            while let Some(next) = next_or_look_up(stream).await {
                if let Some(chunk) = next
                    && sender.send(Message::Chunk(chunk?)).await.is_err()
                {
                    return Ok(Passed::Nobody);
                }
                if run.standing.check().is_err() {
                    return Ok(Passed::Nobody);
                }
            }
        }
    }
    let ended = Ended { attributes: attributes(&reading.head), md5: reading.md5(), at: now(run) };
    match sender.send(Message::End(Box::new(ended))).await {
        Ok(()) => Ok(Passed::Whole),
        Err(_) => Ok(Passed::Nobody),
    }
}

/// The next chunk; none in a while where a store is slow, or a medium gives back what it has.
async fn next_or_look_up(stream: &mut BodyStream) -> Option<Option<Result<Bytes, Error>>> {
    match tokio::time::timeout(LOOK_UP, stream.next()).await {
        Ok(chunk) => chunk.map(Some),
        Err(_) => Some(None),
    }
}

/// What the sidecar keeps of an object.
fn attributes(head: &ObjectHead) -> Attributes {
    let from = head.attributes.clone();
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
