//! What a run has done with for good, so that the next one can leave it out.
//!
//! Owns: the ranges of names that are covered, the document that says so, and which tasks may go on with it. Does not own: when a
//! range is covered ([`Coverage`]), nor where the document lies ([`crate::state`]). Pure. Invariants: covered and remaining ranges are
//! disjoint and together all names; a document that was damaged, is another run's or of another version is refused, never guessed at.

mod coverage;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::deletion::Trash;
use crate::etag::hex;
use crate::large::Large;
use crate::listing::ListingRules;
use crate::pace::Pace;
use crate::server_side::ServerSideRule;
use crate::state::StateName;
use crate::task::{Deletes, Task};
use crate::{Error, ErrorKind, KeyRange, Result, RunId};

pub use coverage::Coverage;

/// Of the document.
const VERSION: u32 = 1;
/// About a megabyte of document. What would need more ranges is left uncovered, which costs a listing and nothing else.
const RANGES_MAX: usize = 10_000;

/// Ranges of names: ascending, disjoint, none of them empty, no two that touch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<KeyRange>", into = "Vec<KeyRange>")]
pub struct Covered(Vec<KeyRange>);

impl Covered {
    /// Adds a range; `false` where there is no room for one more.
    pub(crate) fn insert(&mut self, range: KeyRange) -> bool {
        if range.until.is_some() && range.after >= range.until {
            return true;
        }
        let first = self.0.partition_point(|before| !reaches(before, &range));
        let behind = self.0.partition_point(|other| reaches(&range, other));
        if first == behind && self.0.len() >= RANGES_MAX {
            return false;
        }
        let touched = self.0.splice(first..behind, None).collect::<Vec<_>>();
        let merged = KeyRange::hull(touched.into_iter().chain([range]));
        self.0.splice(first..first, merged);
        true
    }

    /// The ranges.
    pub fn ranges(&self) -> &[KeyRange] {
        &self.0
    }

    /// Every name that is not covered, as ranges in ascending order.
    pub fn remaining(&self) -> Vec<KeyRange> {
        let mut remaining = Vec::new();
        let mut rest = Some(KeyRange::ALL);
        for covered in &self.0 {
            if let Some(rest) = rest.take()
                && covered.after.is_some()
            {
                remaining.push(KeyRange { after: rest.after, until: covered.after.clone() });
            }
            rest = covered.until.as_deref().map(|until| KeyRange::ALL.remaining_after(until));
        }
        remaining.extend(rest);
        remaining
    }
}

/// Whether nothing lies between the end of the one and the beginning of the other, which may overlap.
fn reaches(earlier: &KeyRange, later: &KeyRange) -> bool {
    match (&earlier.until, &later.after) {
        (Some(until), Some(after)) => until >= after,
        _ => true,
    }
}

impl From<Covered> for Vec<KeyRange> {
    fn from(covered: Covered) -> Self {
        covered.0
    }
}

/// Not ranges in the order that [`Covered`] keeps.
#[derive(Debug, thiserror::Error)]
#[error("its ranges overlap or are out of order")]
pub struct BadRanges;

impl TryFrom<Vec<KeyRange>> for Covered {
    type Error = BadRanges;

    fn try_from(ranges: Vec<KeyRange>) -> Result<Self, BadRanges> {
        let mut covered = Self::default();
        let all_fit = ranges.iter().all(|range| covered.insert(range.clone()));
        if all_fit && covered.0 == ranges { Ok(covered) } else { Err(BadRanges) }
    }
}

/// What two tasks have in common that move the same objects to the same names and tell by the same rules which to copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskDigest(String);

impl TaskDigest {
    /// Of a task and of where the stores that it names are. Its name, its schedule, its deletes and what only makes it faster or
    /// slower do not count.
    pub fn of(task: &Task, endpoints: &[&str]) -> Result<Self> {
        let essence = Task {
            name: String::new(),
            deletes: Deletes::default(),
            trash: Option::<Trash>::None,
            server_side: ServerSideRule::default(),
            large: Large::default(),
            listing: ListingRules::default(),
            pace: Pace::default(),
            schedule: None,
            ..task.clone()
        };
        sha256(&(essence, endpoints)).map(Self)
    }
}

/// How far a run has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    version: u32,
    /// The run.
    pub run: RunId,
    /// What it moves.
    pub task: TaskDigest,
    /// Names that were compared and are settled.
    pub covered: Covered,
    /// How many were found there.
    pub names: u64,
}

/// A checkpoint under its own digest: a wrong range would silently leave objects out.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    checkpoint: Checkpoint,
    sha256: String,
}

/// Read before anything else, so that another version's document is not called damaged.
#[derive(Deserialize)]
struct Versioned {
    checkpoint: VersionOnly,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl Checkpoint {
    /// Of a run that has covered nothing yet.
    pub fn begin(run: RunId, task: TaskDigest) -> Self {
        Self { version: VERSION, run, task, covered: Covered::default(), names: 0 }
    }

    /// Where it is kept.
    pub fn state_name(run: &RunId) -> Result<StateName> {
        run.state_name("checkpoint/scan.json")
    }

    /// As it is kept.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let sealed = Sealed { sha256: sha256(self)?, checkpoint: self.clone() };
        serde_json::to_vec(&sealed).map_err(unreadable)
    }

    /// Reads what [`Self::to_bytes`] wrote for this run; `InvalidInput` for anything else. Whoever goes on with it compares
    /// [`Self::task`] first.
    pub fn of_run(bytes: &[u8], run: &RunId) -> Result<Self> {
        let refused = |why: &str| Err(Error::new(ErrorKind::InvalidInput, why.to_owned()));
        let Versioned { checkpoint } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if checkpoint.version != VERSION {
            return refused("it was written by another version of Ferry");
        }
        let Sealed { checkpoint, sha256: seal } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if sha256(&checkpoint)? != seal {
            return refused("it is damaged");
        }
        if checkpoint.run != *run {
            return refused("it is another run's");
        }
        Ok(checkpoint)
    }
}

fn sha256(value: &impl Serialize) -> Result<String> {
    let bytes = serde_json::to_vec(value).map_err(unreadable)?;
    Ok(hex(&Sha256::digest(bytes)))
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::InvalidInput, "it is damaged").caused_by(error)
}

#[cfg(test)]
mod tests;
