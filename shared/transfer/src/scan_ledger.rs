//! How far a run's scan has come, where many invocations work on it.
//!
//! Owns: the one document `runs/RUN/scan.json` that says which names were compared, what the destination was found to have there, and
//! how far its deletes have got. Does not own: listing, nor sending jobs. Invariants: every write is conditional on what was read, so of
//! two invocations one builds on the other; a name counts once, however often its `scan` message was delivered; deletes begin only when
//! every name has been compared by listings that ended cleanly, and never come to more than were counted then.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Covered, TaskDigest};
use crate::state::{SharedState, StateCondition, StateName, StateStore};
use crate::{Clock, Error, ErrorKind, KeyRange, Result, RunId};

/// Of the document, beside its run's others.
const NAME: &str = "scan.json";
/// Of the document.
const VERSION: u32 = 1;
/// Writers that come between a reading and its writing before the invocation gives its message back.
const ROUNDS: u32 = 20;

/// What was found in a range of names, and what was made of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RangeCounts {
    /// Objects at the source.
    pub found: u64,
    /// Objects at the destination.
    pub held: u64,
    /// Of those, without an object at the source.
    pub extra: u64,
    /// Jobs that were sent, deletes not among them.
    pub jobs: u64,
    /// Bytes of the objects that they are to copy.
    pub jobs_bytes: u64,
}

impl std::ops::AddAssign for RangeCounts {
    fn add_assign(&mut self, other: Self) {
        self.found += other.found;
        self.held += other.held;
        self.extra += other.extra;
        self.jobs += other.jobs;
        self.jobs_bytes += other.jobs_bytes;
    }
}

impl std::ops::Sub for RangeCounts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            found: self.found - before.found,
            held: self.held - before.held,
            extra: self.extra - before.extra,
            jobs: self.jobs - before.jobs,
            jobs_bytes: self.jobs_bytes - before.jobs_bytes,
        }
    }
}

/// Names that one invocation compared, and what it found there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stretches(Vec<(KeyRange, RangeCounts)>);

impl Stretches {
    /// Adds names behind those that were added before, or of another range.
    pub fn add(&mut self, range: KeyRange, counts: RangeCounts) {
        let before =
            self.0.iter_mut().find(|(before, _)| before.until.is_some() && before.until == range.after);
        match before {
            Some((before, so_far)) => {
                before.until = range.until;
                *so_far += counts;
            }
            None => self.0.push((range, counts)),
        }
    }
}

/// How far the deletes of a run have got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum DeletePass {
    /// Names are still being compared.
    NotBegun,
    /// They are being enqueued, in the order of names.
    UnderWay(DeletesUnderWay),
    /// All that were to be are on the queue.
    Ended {
        /// How many.
        planned: u64,
        /// Who wrote this: two who mean the same are still two.
        by: Invocation,
    },
}

/// Deletes that are being enqueued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletesUnderWay {
    /// Up to this name; `None` before the first.
    pub through: Option<String>,
    /// How many have been.
    pub planned: u64,
    /// How many may be.
    pub at_most: u64,
    /// Who wrote this: two who mean the same are still two.
    pub by: Invocation,
}

/// Tells invocations apart that work on one run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Invocation(u64);

impl Invocation {
    /// A new one.
    pub fn new(clock: &dyn Clock) -> Self {
        // Of the draw's 53 bits of chance each tells.
        Self(clock.draw().to_bits())
    }
}

/// What the document says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanRecord {
    version: u32,
    task: TaskDigest,
    compared: Covered,
    counts: RangeCounts,
    /// A side was found to list in no order.
    disordered: bool,
    deletes: DeletePass,
}

impl ScanRecord {
    fn begin(task: TaskDigest) -> Self {
        Self {
            version: VERSION,
            task,
            compared: Covered::default(),
            counts: RangeCounts::default(),
            disordered: false,
            deletes: DeletePass::NotBegun,
        }
    }

    /// The names that were compared.
    pub fn compared(&self) -> &Covered {
        &self.compared
    }

    /// What of a range has not been compared.
    pub fn left_of(&self, range: &KeyRange) -> Vec<KeyRange> {
        self.compared.remaining().iter().filter_map(|left| left.intersection(range)).collect()
    }

    /// What was found in all that was compared.
    pub fn counts(&self) -> RangeCounts {
        self.counts
    }

    /// Whether a side was found to list in no order.
    pub fn is_disordered(&self) -> bool {
        self.disordered
    }

    /// How far the deletes have got.
    pub fn deletes(&self) -> &DeletePass {
        &self.deletes
    }

    /// Notes what was compared. What others compared in part meanwhile cannot be counted, so the rest of it is to be compared
    /// again: that is the answer.
    fn note(&mut self, seen: &Stretches, disordered: bool) -> Vec<KeyRange> {
        self.disordered |= disordered;
        let mut again = Vec::new();
        for (range, counts) in &seen.0 {
            let left = self.left_of(range);
            if left == [range.clone()] {
                if self.compared.insert(range.clone()) {
                    self.counts += *counts;
                } else {
                    tracing::warn!("a scan has more ranges than fit into its record: it will delete nothing");
                }
            } else {
                again.extend(left);
            }
        }
        again
    }
}

/// What the ledger of a run says, whatever its task; `None` where it has none.
pub async fn read_record(state: &dyn StateStore, run: &RunId) -> Result<Option<ScanRecord>> {
    let name = run.state_name(NAME)?;
    let Some(stored) = state.read(&name).await? else { return Ok(None) };
    serde_json::from_slice(&stored.bytes).map(Some).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, format!("{name} cannot be read")).caused_by(error)
    })
}

/// The ledger of one run. See the module.
#[derive(Debug)]
pub struct ScanLedger {
    state: SharedState,
    name: StateName,
    task: TaskDigest,
}

impl ScanLedger {
    /// Of a run of this task.
    pub fn new(state: SharedState, run: &RunId, task: TaskDigest) -> Result<Self> {
        Ok(Self { state, name: run.state_name(NAME)?, task })
    }

    /// What it says now. `InvalidInput` where the run is another task's.
    pub async fn read(&self) -> Result<ScanRecord> {
        Ok(self.stored().await?.0)
    }

    /// Notes what was compared; what is to be compared again.
    pub async fn note(&self, seen: &Stretches, disordered: bool) -> Result<(ScanRecord, Vec<KeyRange>)> {
        self.change(|record| record.note(seen, disordered)).await
    }

    /// Takes the deletes from one state to the next. False where another invocation has.
    pub async fn step(&self, from: &DeletePass, to: &DeletePass) -> Result<bool> {
        let step = |record: &mut ScanRecord| {
            if record.deletes == *from {
                record.deletes.clone_from(to);
            }
            // Also where the answer to the first attempt was lost.
            record.deletes == *to
        };
        Ok(self.change(step).await?.1)
    }

    async fn stored(&self) -> Result<(ScanRecord, StateCondition)> {
        let Some(stored) = self.state.read(&self.name).await? else {
            return Ok((ScanRecord::begin(self.task.clone()), StateCondition::Absent));
        };
        let record: ScanRecord = serde_json::from_slice(&stored.bytes).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("{} cannot be read", self.name)).caused_by(error)
        })?;
        if record.version != VERSION || record.task != self.task {
            let message = format!(
                "{} is of another task or version: the task was changed after the run began; begin a new run",
                self.name
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok((record, StateCondition::Matches(stored.tag)))
    }

    async fn change<T>(&self, change: impl Fn(&mut ScanRecord) -> T) -> Result<(ScanRecord, T)> {
        let mut refused = None;
        for _ in 0..ROUNDS {
            let (before, condition) = self.stored().await?;
            let mut record = before.clone();
            let answer = change(&mut record);
            if record == before {
                return Ok((record, answer));
            }
            let bytes = serde_json::to_vec(&record).map_err(|error| {
                Error::new(ErrorKind::Other, "a scan cannot be written down").caused_by(error)
            })?;
            match self.state.write(&self.name, Bytes::from(bytes), condition).await {
                Ok(_) => return Ok((record, answer)),
                Err(error) if error.kind() == ErrorKind::PreconditionFailed => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        let message = format!("{} was written by others {ROUNDS} times in a row", self.name);
        let error = Error::new(ErrorKind::Transient, message);
        Err(match refused {
            Some(refused) => error.caused_by(refused),
            None => error,
        })
    }
}

#[cfg(test)]
mod tests;
