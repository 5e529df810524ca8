//! How far a run has come, by what it left in the state.
//!
//! Owns: the counts of a run under way, its pace and what is left of its time. Does not own: the documents ([`crate::scan_ledger`],
//! [`crate::receipt`], `run`). Invariant: a listing and two small documents are read, whatever the run's size; a message that was
//! delivered twice counts twice, so the counts are good for watching and not for proof.

use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use crate::scan_ledger::{self, DeletePass, RangeCounts};
use crate::state::{StateName, StateStore};
use crate::{KeyRange, Result, RunId, RunRecord};

/// The pace is taken from so long before the last receipts: long enough for a retry or two, short enough to follow a change.
const RECENT: Duration = Duration::from_mins(10);

/// How far a run has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunStatus {
    /// The run.
    pub run: RunId,
    /// Its task's name, where that was written down.
    pub task: Option<String>,
    /// When it began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started: Option<OffsetDateTime>,
    /// When it last left receipts.
    #[serde(with = "time::serde::rfc3339::option")]
    pub latest: Option<OffsetDateTime>,
    /// Ranges of names that were compared, and those that were not.
    pub scan: Option<ScanStatus>,
    /// Jobs that ended for good.
    pub ended: u64,
    /// Jobs that were sent and have not, deletes among them; `None` while nobody knows how many were sent.
    pub left: Option<u64>,
    /// Jobs that ended in a second, lately.
    pub per_second: Option<u64>,
    /// Until the jobs that were sent so far have ended, at this pace.
    pub eta_secs: Option<u64>,
}

/// How far its scan has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScanStatus {
    /// Every name has been compared.
    pub is_complete: bool,
    /// Stretches of names that have been.
    pub compared: Vec<KeyRange>,
    /// Stretches that have not.
    pub remaining: Vec<KeyRange>,
    /// What was found, and what was made of it.
    pub counts: RangeCounts,
    /// Deletes that were sent.
    pub deletes: u64,
}

/// Receipts of one batch, as their name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Batch {
    at_ms: i64,
    ended: u64,
}

impl RunStatus {
    /// Reads what a run left so far; `None` where it left nothing.
    pub async fn read(state: &dyn StateStore, run: &RunId) -> Result<Option<Self>> {
        let record = state.read(&RunRecord::state_name(run)?).await?;
        let record: Option<RunRecord> = record.and_then(|stored| serde_json::from_slice(&stored.bytes).ok());
        let scan = scan_ledger::read_record(state, run).await?;
        let names = state.list(&format!("runs/{run}/receipts/")).await?;
        if record.is_none() && scan.is_none() && names.is_empty() {
            return Ok(None);
        }
        let scan = scan.map(|scan| {
            let remaining = scan.compared().remaining();
            ScanStatus {
                is_complete: remaining.is_empty(),
                compared: scan.compared().ranges().to_vec(),
                remaining,
                counts: scan.counts(),
                deletes: match scan.deletes() {
                    DeletePass::NotBegun => 0,
                    DeletePass::UnderWay(under_way) => under_way.planned,
                    DeletePass::Ended { planned, .. } => *planned,
                },
            }
        });
        let batches: Vec<Batch> = names.iter().filter_map(Batch::of).collect();
        Ok(Some(Self::of(run, record.as_ref(), scan, &batches)))
    }

    fn of(run: &RunId, record: Option<&RunRecord>, scan: Option<ScanStatus>, batches: &[Batch]) -> Self {
        let ended = batches.iter().map(|batch| batch.ended).sum();
        let latest = batches.iter().map(|batch| batch.at_ms).max();
        let left = scan.as_ref().map(|scan| (scan.counts.jobs + scan.deletes).saturating_sub(ended));
        let per_second = pace(batches);
        let eta_secs = match (left, per_second) {
            (Some(0), _) => Some(0),
            (Some(left), Some(pace)) if pace > 0 => Some(left.div_ceil(pace)),
            _ => None,
        };
        Self {
            run: run.clone(),
            task: record.map(|record| record.task.name.clone()),
            started: record.map(|record| record.started),
            latest: latest.and_then(|at_ms| {
                OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000).ok()
            }),
            scan,
            ended,
            left,
            per_second,
            eta_secs,
        }
    }
}

impl Batch {
    /// `…/MOMENT-CHANCE-ENDED.jsonl`; `None` for anything else.
    fn of(name: &StateName) -> Option<Self> {
        let file = name.as_str().rsplit('/').next()?.strip_suffix(".jsonl")?;
        let mut words = file.split('-');
        let (at_ms, _chance, ended) =
            (words.next()?.parse().ok()?, words.next()?, words.next()?.parse().ok()?);
        Some(Self { at_ms, ended })
    }
}

/// Jobs that ended in a second of the latest minutes; at least one, where any did.
fn pace(batches: &[Batch]) -> Option<u64> {
    let latest = batches.iter().map(|batch| batch.at_ms).max()?;
    let recent_ms = i64::try_from(RECENT.as_millis()).unwrap_or(i64::MAX);
    let recent = || batches.iter().filter(|batch| batch.at_ms >= latest - recent_ms);
    let first = recent().map(|batch| batch.at_ms).min()?;
    let ended: u64 = recent().map(|batch| batch.ended).sum();
    let span_ms = u64::try_from(latest - first).unwrap_or(0).max(1_000);
    (ended > 0).then(|| (ended * 1_000 / span_ms).max(1))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::checkpoint::TaskDigest;
    use crate::scan_ledger::{ScanLedger, Stretches};
    use crate::state::{MemoryState, StateCondition};
    use crate::task::{Location, Task};

    const RUN: &str = "20261123T000000Z-8000";

    #[tokio::test]
    async fn what_a_run_left_says_how_far_it_has_come() {
        let state = Arc::new(MemoryState::default());
        let run = RunId::from(RUN.to_owned());
        assert_eq!(RunStatus::read(state.as_ref(), &run).await.expect("nothing"), None);
        let end =
            |bucket: &str| Location { store: "s3".into(), bucket: bucket.into(), prefix: String::new() };
        let task = Task::new("photos", end("a"), end("b"));
        let record = RunRecord::begin(run.clone(), task.clone(), "0", OffsetDateTime::UNIX_EPOCH);
        let bytes = serde_json::to_vec(&record).expect("JSON");
        let name = RunRecord::state_name(&run).expect("name");
        state.write(&name, bytes.into(), StateCondition::None).await.expect("written");
        let shared: crate::SharedState = Arc::clone(&state) as _;
        let ledger =
            ScanLedger::new(shared, &run, TaskDigest::of(&task, &[]).expect("digest")).expect("ledger");
        let mut seen = Stretches::default();
        let half = KeyRange { after: None, until: Some("m".into()) };
        seen.add(half.clone(), RangeCounts { found: 5_000, jobs: 1_000, ..RangeCounts::default() });
        ledger.note(&seen, false).await.expect("noted");
        // A hundred jobs in four seconds, after one of an hour ago.
        for (at_ms, ended) in [(1_000, 1), (3_600_000, 50), (3_604_000, 50)] {
            let name = format!("runs/{RUN}/receipts/{at_ms:014}-3fe0000000000000-{ended}.jsonl");
            let name = StateName::new(name).expect("name");
            state.write(&name, bytes::Bytes::new(), StateCondition::None).await.expect("written");
        }
        let status = RunStatus::read(state.as_ref(), &run).await.expect("read").expect("a run");
        let scan = status.scan.as_ref().expect("a scan");
        assert_eq!((scan.is_complete, scan.compared.as_slice()), (false, [half].as_slice()));
        assert_eq!(scan.remaining, [KeyRange { after: Some("m".into()), until: None }]);
        assert_eq!(status.task.as_deref(), Some("photos"));
        assert_eq!((status.ended, status.left, status.per_second), (101, Some(899), Some(25)));
        assert_eq!(status.eta_secs, Some(36));
    }
}
