//! What each program does when things go wrong, or are called strangely.
//!
//! Owns: three trials: an object overwritten while it is copied, a listing that fails or ends early while extra objects are
//! deleted, and keys that tools lose. Each looks into the stores from behind afterwards.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use ferry_testkit::bucket::Bucket;
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::fixtures::{awkward_keys, body_of};
use ferry_testkit::operation::Operation;
use ferry_testkit::s3::{S3Server, S3ServerConfig};
use ferry_testkit::synthetic::{GeneratedBucket, ListingFault, SinkEtag, SyntheticConfig, SyntheticServer};

use crate::peer::{ACCESS_KEY_ID, FROM, HERE, Job, Lands, Make, Peer, Place, SECRET_ACCESS_KEY, TO, Way};
use crate::speed::run_steps;

/// Objects on both sides in the trial of deletes: one page and a half.
pub(crate) const MIRRORED: u64 = 1_500;
const TORN_KEY: &str = "object";

/// What became of an object that was overwritten while it was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// One generation, whole.
    Whole,
    /// Nothing.
    Nothing,
    /// So many per cent of it are of the old generation, the rest of the new one.
    Torn(u64),
}

/// How the trials of one program ended.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// What arrived of the overwritten object, and the exit code.
    pub overwritten: (Arrived, i32),
    /// Objects deleted though they were at the source, and the exit code, when a page failed.
    pub failing_page: (u64, i32),
    /// The same when a page said that it was the last and was not.
    pub lying_page: (u64, i32),
    /// Awkward keys that arrived with their bytes, and the exit code.
    pub names: (usize, i32),
}

impl Outcome {
    /// Puts a program through all of it.
    pub(crate) async fn of(peer: &Peer, object_bytes: usize) -> Result<Self> {
        Ok(Self {
            overwritten: overwritten(peer, object_bytes).await.context("an object overwritten")?,
            failing_page: mirrored(peer, ListingFault::FailsBehindFirstPage)
                .await
                .context("a failing page")?,
            lying_page: mirrored(peer, ListingFault::EndsEarly).await.context("a lying page")?,
            names: names(peer).await.context("awkward keys")?,
        })
    }
}

/// Two real stores, and a directory.
struct Stores {
    source: S3Server,
    destination: S3Server,
    scratch: tempfile::TempDir,
}

impl Stores {
    async fn start() -> Result<Self> {
        let config = |buckets: &[&str]| S3ServerConfig {
            access_key_id: ACCESS_KEY_ID.to_owned(),
            secret_access_key: SECRET_ACCESS_KEY.to_owned(),
            ..S3ServerConfig::with_buckets(buckets.iter().copied())
        };
        Ok(Self {
            source: S3Server::start(config(&[FROM, HERE])).await?,
            destination: S3Server::start(config(&[TO])).await?,
            scratch: tempfile::tempdir()?,
        })
    }

    /// Does a job in the program's best way; the exit code, and where the result is.
    async fn run(&self, peer: &Peer, job: Job) -> Result<(i32, Arc<Bucket>)> {
        let place = Place {
            source: self.source.endpoint(),
            destination: self.destination.endpoint(),
            scratch: self.scratch.path().to_owned(),
        };
        let way = best(peer, job, &place)?;
        let cost = run_steps(peer, &way, &place).await?;
        // Not an outcome: the program was called wrongly, or the stores are not what it was told.
        ensure!(peer.make != Make::Ferry || cost.code != 2, "{}", String::from_utf8_lossy(&cost.stderr));
        Ok((
            cost.code,
            match way.lands {
                Lands::AtDestination => self.destination.bucket(TO),
                Lands::AtSource => self.source.bucket(HERE),
            },
        ))
    }
}

fn best(peer: &Peer, job: Job, place: &Place) -> Result<Way> {
    peer.ways(job, place).into_iter().next().context("it has no way of doing this")
}

/// The object becomes another one of the same size when its third read arrives.
async fn overwritten(peer: &Peer, object_bytes: usize) -> Result<(Arrived, i32)> {
    let stores = Stores::start().await?;
    let bucket = stores.source.bucket(FROM);
    bucket.put_object(TORN_KEY, Bytes::from(vec![b'o'; object_bytes]));
    let target = Arc::clone(&bucket);
    let overwrite = Action::before(move |_| {
        target.put_object(TORN_KEY, Bytes::from(vec![b'n'; object_bytes]));
    });
    stores.source.faults().add(Rule::on(Operation::GetObject, overwrite).in_bucket(FROM).nth(3));
    let (code, result) = stores.run(peer, Job::One).await?;
    let arrived = match result.get(TORN_KEY) {
        None => Arrived::Nothing,
        Some(object) => {
            let bytes = object.payload.to_bytes();
            let old: u64 = bytes.iter().map(|byte| u64::from(*byte == b'o')).sum();
            let all = bytes.len() as u64;
            if old == 0 || old == all { Arrived::Whole } else { Arrived::Torn(old * 100 / all) }
        }
    };
    Ok((arrived, code))
}

/// Both sides hold the same keys, so every delete is wrong.
async fn mirrored(peer: &Peer, listing_fault: ListingFault) -> Result<(u64, i32)> {
    let sound = GeneratedBucket::new(MIRRORED, 1);
    let faulty = GeneratedBucket { listing_fault, ..sound.clone() };
    let source = SyntheticConfig::default().generated(FROM, faulty).sink(HERE, SinkEtag::Opaque);
    let source = SyntheticServer::start(source).await?;
    let destination = SyntheticServer::start(SyntheticConfig::default().sink(TO, SinkEtag::Opaque)).await?;
    let sinks = [source.sink(HERE), destination.sink(TO)];
    for sink in sinks.iter().flatten() {
        for number in 0..MIRRORED {
            sink.add(&sound.key(number), 1);
        }
    }
    let scratch = tempfile::tempdir()?;
    let place = Place {
        source: source.endpoint(),
        destination: destination.endpoint(),
        scratch: scratch.path().to_owned(),
    };
    let cost = run_steps(peer, &best(peer, Job::Mirror, &place)?, &place).await?;
    let left: u64 = sinks.iter().flatten().map(|sink| sink.len() as u64).sum();
    Ok((2 * MIRRORED - left, cost.code))
}

async fn names(peer: &Peer) -> Result<(usize, i32)> {
    let stores = Stores::start().await?;
    let bucket = stores.source.bucket(FROM);
    let keys = awkward_keys();
    for key in &keys {
        bucket.put_object(key, body_of(key));
    }
    let (code, result) = stores.run(peer, Job::Names).await?;
    let arrived =
        |key: &&String| result.get(key).is_some_and(|object| object.payload.to_bytes() == body_of(key));
    Ok((keys.iter().filter(arrived).count(), code))
}
