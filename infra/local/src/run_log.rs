//! What a run leaves behind in the state directory: its record, its receipts and its delete journal.
//!
//! Owns: the files `run.json`, `receipts.jsonl`, `deleted.jsonl` and `process` of `runs/RUN`, and taking away those of old runs. Does not own: what
//! the lines say, nor reading them ([`ferry_transfer::history`]). Invariants: receipts are on the disk's side at most a second after
//! their job ended, failures and the journal at once; a run that deletes has a journal or does not begin; one process at a time works on
//! a run.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use ferry_transfer::deletion::{DeleteJournal, JournalEntry, JournalLine};
use ferry_transfer::history::History;
use ferry_transfer::receipt::{Outcome, Receipt, ReceiptSink};
use ferry_transfer::state::{DirectoryState, Held, LineLog, StateCondition, StateStore as _, Urgency};
use ferry_transfer::task::Task;
use ferry_transfer::{Clock as _, Error, ErrorKind, RunId, RunOutcome, RunRecord, SystemClock};

/// The version that records name.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Ends the name of what the notifications of a task left, in the life of one `ferry serve`.
pub const EVENTS_SUFFIX: &str = "-events";

/// What one run leaves behind. See the module.
#[derive(Debug)]
pub struct RunLog {
    state: DirectoryState,
    record: Mutex<RunRecord>,
    receipts: LineLog,
    /// Made by the first delete: most runs have none.
    deleted: OnceLock<LineLog>,
    /// Tells other processes that this one is at work on the run.
    _held: Held,
}

impl RunLog {
    /// Begins a run's files, or goes on with those of a run that an earlier process left, and takes away what was kept of all but the
    /// newest `keep_runs`, this one among them, and those that are still under way. `Configuration` where another process is at work on the run.
    pub async fn open(
        state: DirectoryState,
        run: &RunId,
        task: &Task,
        keep_runs: u16,
    ) -> ferry_transfer::Result<Self> {
        let held = state.hold(&RunRecord::holder_name(run)?)?.ok_or_else(|| {
            let message = format!("run {run} is still under way in another process; wait for its end");
            Error::new(ErrorKind::Configuration, message)
        })?;
        let begun = RunRecord::begin(run.clone(), task.clone(), VERSION, SystemClock.now());
        let record = match History::of(&state).record(run).await? {
            Some(RunRecord { started, .. }) => RunRecord { started, ..begun },
            None => begun,
        };
        write_record(&state, &record).await?;
        let receipts = LineLog::open(directory(&state, run), "receipts").map_err(unwritable)?;
        let history = History::of(&state);
        // This one is kept wherever it stands: runs that begin within one second are in no order.
        // Runs and what notifications left do not take each other's place.
        let is_events = |run: &RunId| run.as_str().ends_with(EVENTS_SUFFIX);
        let is_kin = |old: &RunId| old != run && is_events(old) == is_events(run);
        let others = history.runs().await?.into_iter().filter(is_kin);
        for old in others.skip(usize::from(keep_runs).saturating_sub(1)) {
            // A run that another process is at work on is not old, however many have begun since.
            if let Some(_held) = state.hold(&RunRecord::holder_name(&old)?)? {
                history.forget(&old).await?;
            }
        }
        Ok(Self { state, record: Mutex::new(record), receipts, deleted: OnceLock::new(), _held: held })
    }

    /// Brings the receipts so far to the disk.
    pub fn sync_receipts(&self) -> ferry_transfer::Result<()> {
        self.receipts.sync().map_err(unwritable)
    }

    /// Writes down how the run ended.
    pub async fn end(&self, outcome: RunOutcome, report: serde_json::Value) -> ferry_transfer::Result<()> {
        self.sync_receipts()?;
        if let Some(deleted) = self.deleted.get() {
            deleted.sync().map_err(unwritable)?;
        }
        let record = {
            let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
            record.ended = Some(SystemClock.now());
            record.outcome = outcome;
            record.report = Some(report);
            record.clone()
        };
        write_record(&self.state, &record).await
    }

    fn journal(&self) -> io::Result<&LineLog> {
        if let Some(log) = self.deleted.get() {
            return Ok(log);
        }
        let run = self.record.lock().unwrap_or_else(PoisonError::into_inner).run.clone();
        // Of two first deletes at once, each opens the same file to append to, and one of the two logs stays.
        let log = LineLog::open(directory(&self.state, &run), "deleted")?;
        Ok(self.deleted.get_or_init(|| log))
    }
}

impl ReceiptSink for RunLog {
    fn record(&self, receipt: &Receipt) {
        let urgency = match &receipt.outcome {
            Outcome::Failed(failed) if failed.last => Urgency::Now,
            _ => Urgency::Soon,
        };
        if let Err(error) = self.receipts.append(receipt, urgency) {
            tracing::error!(%error, key = ?receipt.key, "a receipt could not be written");
        }
    }
}

#[async_trait]
impl DeleteJournal for RunLog {
    async fn write(&self, _run: Option<&str>, entry: JournalEntry) -> ferry_transfer::Result<()> {
        let line = JournalLine { at: SystemClock.now(), entry };
        self.journal().and_then(|journal| journal.append(&line, Urgency::Now)).map_err(unwritable)
    }
}

async fn write_record(state: &DirectoryState, record: &RunRecord) -> ferry_transfer::Result<()> {
    let name = RunRecord::state_name(&record.run)?;
    let bytes = serde_json::to_vec(record).map_err(|error| unwritable(error.into()))?;
    state.write(&name, Bytes::from(bytes), StateCondition::None).await.map(drop)
}

fn directory(state: &DirectoryState, run: &RunId) -> std::path::PathBuf {
    state.root().join("runs").join(run.as_str())
}

fn unwritable(error: io::Error) -> Error {
    Error::new(ErrorKind::Configuration, "what the run leaves behind cannot be written").caused_by(error)
}

/// The file of `--receipts`: every receipt of a run, as the user named it.
#[derive(Debug)]
pub struct ReceiptFile(Mutex<BufWriter<File>>);

impl ReceiptFile {
    /// Makes the file, or empties it.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(Mutex::new(BufWriter::new(File::create(path)?))))
    }
}

impl ReceiptSink for ReceiptFile {
    fn record(&self, receipt: &Receipt) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = serde_json::to_writer(&mut *file, receipt).map_err(io::Error::from);
        if let Err(error) = written.and_then(|()| file.write_all(b"\n")) {
            tracing::error!(%error, "a receipt could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_under_way_is_not_taken_away_however_many_begin_after_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = DirectoryState::open(directory.path()).expect("opens");
        let task: Task = serde_json::from_value(serde_json::json!({
            "name": "t", "source": {"store": "a", "bucket": "a"}, "destination": {"store": "b", "bucket": "b"}
        }))
        .expect("a task");
        let open =
            async |run: &str| RunLog::open(state.clone(), &RunId::from(run.to_owned()), &task, 1).await;
        let long = open("20260101T000000Z-0001").await.expect("begins");
        drop(open("20260101T000001Z-0002").await.expect("begins"));
        drop(open("20260101T000002Z-0003").await.expect("begins"));
        let kept = async || History::of(&state).runs().await.expect("runs");
        assert_eq!(kept().await.len(), 2, "the one under way, and the newest");
        long.end(RunOutcome::Done, serde_json::Value::Null).await.expect("its record is there");
        drop(long);
        drop(open("20260101T000003Z-0004").await.expect("begins"));
        assert_eq!(kept().await.len(), 1);
    }
}
