//! What is remembered of a pass between its steps: `reconcile/TASK.json`.
//!
//! Owns: the document and the condition under which it is written. Invariant: it is bounded, however many names there are.

use bytes::Bytes;
use ferry_transfer::checkpoint::TaskDigest;
use ferry_transfer::latencies::Latencies;
use ferry_transfer::state::{StateCondition, StateName};
use ferry_transfer::{Clock, Error, ErrorKind, KeyRange, Result, RunId, SharedState};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Divergence, PassReport};

/// Of the document.
const VERSION: u32 = 1;

/// Ranges with extra objects that are told apart; beyond that the last one grows. Some hundred kilobytes at most.
const RANGES_MAX: usize = 1_000;

/// Where a pass stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    version: u32,
    pub(super) task: TaskDigest,
    pub(super) run: RunId,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) began: OffsetDateTime,
    pub(super) phase: Phase,
    pub(super) found: Divergence,
    pub(super) behind: Latencies,
    /// The pass before.
    pub(super) last: Option<PassReport>,
}

/// What the next step is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub(super) enum Phase {
    /// Compare what follows this name.
    Comparing {
        through: Option<String>,
        /// Where extra objects were found.
        extras: Vec<KeyRange>,
        disordered: bool,
    },
    /// Delete what is extra in the first of these.
    Deleting { left: Vec<KeyRange>, planned: u64, at_most: u64 },
}

impl Record {
    pub(super) fn begin(task: TaskDigest, clock: &dyn Clock, last: Option<PassReport>) -> Self {
        Self {
            version: VERSION,
            task,
            run: RunId::new(clock),
            began: clock.now(),
            phase: Phase::Comparing { through: None, extras: Vec::new(), disordered: false },
            found: Divergence::default(),
            behind: Latencies::default(),
            last,
        }
    }
}

/// Adds a range behind all others.
pub(super) fn push_bounded(ranges: &mut Vec<KeyRange>, range: KeyRange) {
    let is_full = ranges.len() >= RANGES_MAX;
    match ranges.last_mut() {
        Some(last) if is_full => last.until = range.until,
        _ => ranges.push(range),
    }
}

/// The document of one task.
#[derive(Debug)]
pub(super) struct Ledger {
    state: SharedState,
    name: StateName,
}

impl Ledger {
    /// A task's name may hold what a name of state may not: such characters are written as their numbers.
    pub(super) fn new(state: SharedState, task: &str) -> Result<Self> {
        let mut name = String::from("reconcile/t-");
        for character in task.chars() {
            match character {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => name.push(character),
                other => name.push_str(&format!("_{:x}.", u32::from(other))),
            }
        }
        let name = StateName::new(format!("{name}.json")).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "the task's name cannot name its state").caused_by(error)
        })?;
        Ok(Self { state, name })
    }

    /// What it says, and the condition of the next writing. `None` where there is none, or it is of another task of that name.
    pub(super) async fn read(&self, task: &TaskDigest) -> Result<(Option<Record>, StateCondition)> {
        let Some(stored) = self.state.read(&self.name).await? else {
            return Ok((None, StateCondition::Absent));
        };
        let record = match serde_json::from_slice::<Record>(&stored.bytes) {
            Ok(record) if record.version == VERSION && record.task == *task => Some(record),
            Ok(_of_another_task) => None,
            Err(error) => {
                tracing::warn!(%error, name = %self.name, "a pass is begun anew, since where the last one stood cannot be read");
                None
            }
        };
        Ok((record, StateCondition::Matches(stored.tag)))
    }

    pub(super) async fn write(&self, record: &Record, condition: StateCondition) -> Result<()> {
        let bytes = serde_json::to_vec(record).map_err(|error| {
            Error::new(ErrorKind::Other, "where the pass stands cannot be written down").caused_by(error)
        })?;
        self.state.write(&self.name, Bytes::from(bytes), condition).await.map(drop)
    }
}
