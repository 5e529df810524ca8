//! Receipts as blobs of the state, one for each batch.
//!
//! Owns: when a blob is written and what it is called. Does not own: files that grow, which one machine has instead
//! ([`crate::state::LineLog`]). Invariants: receipts wait in memory for the end of their batch and no longer; a state that cannot be
//! written fails no job, since what was moved was moved.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use time::OffsetDateTime;

use super::{Receipt, ReceiptSink};
use crate::state::{SharedState, StateCondition, StateName};
use crate::{Clock, Error, ErrorKind, Result};

/// Keeps receipts of jobs that belong to no run, as those of events.
const NO_RUN: &str = "events";

/// Writes a batch's receipts as one blob of lines, `runs/RUN/receipts/MOMENT-CHANCE-ENDED.jsonl`, ENDED being how many jobs of it
/// ended for good, so that a listing tells how far a run has come ([`crate::run_status`]). At Amazon S3's prices that is $0.50 for a
/// million jobs in batches of ten.
#[derive(Debug)]
pub struct StoredReceipts {
    state: SharedState,
    clock: Arc<dyn Clock>,
    /// Lines that wait, by run.
    waiting: Mutex<BTreeMap<String, Lines>>,
}

/// Lines of one run that wait.
#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    /// Of jobs that ended for good.
    ended: u64,
}

impl StoredReceipts {
    /// Into this state.
    pub fn new(state: SharedState, clock: Arc<dyn Clock>) -> Self {
        Self { state, clock, waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, Lines>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, run: &str, lines: Lines) -> Result<()> {
        let name =
            stored_name(Some(run), "receipts", self.clock.now(), self.clock.draw(), Some(lines.ended))?;
        self.state.write(&name, Bytes::from(lines.text), StateCondition::None).await.map(drop)
    }
}

#[async_trait]
impl ReceiptSink for StoredReceipts {
    fn record(&self, receipt: &Receipt) {
        let run = directory_of(receipt.run.as_deref()).to_owned();
        let mut waiting = self.waiting();
        let lines = waiting.entry(run).or_default();
        match serde_json::to_writer(&mut lines.text, receipt) {
            Ok(()) => {
                lines.text.push(b'\n');
                lines.ended += u64::from(receipt.outcome.is_final());
            }
            Err(error) => tracing::error!(%error, key = ?receipt.key, "a receipt could not be written"),
        }
    }

    async fn keep(&self) {
        let waiting = std::mem::take(&mut *self.waiting());
        for (run, lines) in waiting {
            if let Err(error) = self.write(&run, lines).await {
                tracing::error!(error = %error.chain(), run, "the receipts of a batch could not be written");
            }
        }
    }
}

/// The run comes from a message, so it may be anything.
fn directory_of(run: Option<&str>) -> &str {
    run.filter(|run| !run.contains('/') && StateName::new(*run).is_ok()).unwrap_or(NO_RUN)
}

/// Sorts by time; chance keeps two workers apart.
pub(crate) fn stored_name(
    run: Option<&str>,
    kind: &str,
    now: OffsetDateTime,
    draw: f64,
    ended: Option<u64>,
) -> Result<StateName> {
    let run = directory_of(run);
    let moment_ms = now.unix_timestamp_nanos() / 1_000_000;
    let ended = ended.map(|ended| format!("-{ended}")).unwrap_or_default();
    StateName::new(format!("runs/{run}/{kind}/{moment_ms:014}-{:016x}{ended}.jsonl", draw.to_bits()))
        .map_err(|bad| Error::new(ErrorKind::InvalidInput, "lines of a run need a name").caused_by(bad))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::Outcome;
    use crate::state::MemoryState;
    use crate::{Key, StateStore as _, SystemClock};

    fn receipt(run: Option<&str>, key: &str) -> Receipt {
        Receipt {
            key: Key::new(key).expect("key"),
            task: None,
            run: run.map(str::to_owned),
            at: OffsetDateTime::UNIX_EPOCH,
            event_time: None,
            attempt: 1,
            action: crate::job::Action::Copy,
            found: None,
            outcome: Outcome::UpToDate,
        }
    }

    #[tokio::test]
    async fn a_batch_is_one_blob_of_each_run_it_has_jobs_of() {
        let state = Arc::new(MemoryState::default());
        let sink = StoredReceipts::new(Arc::clone(&state) as _, Arc::new(SystemClock));
        for (run, key) in [(Some("r1"), "a"), (Some("r1"), "b"), (None, "c"), (Some("../up"), "d")] {
            sink.record(&receipt(run, key));
        }
        assert_eq!(state.list("").await.expect("names"), [], "a batch is written at its end");
        sink.keep().await;
        sink.keep().await;
        let names = state.list("runs/").await.expect("names");
        assert_eq!(names.len(), 2, "{names:?}");
        let under =
            |run: &str| names.iter().find(|name| name.as_str().starts_with(&format!("runs/{run}/receipts/")));
        let stored = state.read(under("r1").expect("r1")).await.expect("read").expect("a blob");
        let keys: Vec<String> = stored
            .bytes
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice::<Receipt>(line).ok())
            .map(|receipt| receipt.key.into())
            .collect();
        assert_eq!(keys, ["a", "b"]);
        assert!(under("events").is_some(), "{names:?}");
    }
}
