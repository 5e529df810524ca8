//! What the state remembers of past runs.
//!
//! Owns: finding runs, and the lines about one key in what they left behind, wherever the state is. Does not own: writing them
//! ([`crate::receipt`], [`crate::state::LineLog`]) or what they mean together, which is a report's. Invariants: memory is one piece of
//! one file and what was found in it; a line that a killed process left half-written is passed over, never an error.

use serde::de::DeserializeOwned;

use crate::deletion::JournalLine;
use crate::receipt::Receipt;
use crate::state::{StateName, StateStore, StoredState};
use crate::{Key, Result, RunId, RunRecord};

/// Reads what past runs left behind.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    state: &'a dyn StateStore,
}

impl<'a> History<'a> {
    /// Of this state.
    pub fn of(state: &'a dyn StateStore) -> Self {
        Self { state }
    }

    /// The names of all runs that left anything, newest first.
    pub async fn runs(&self) -> Result<Vec<RunId>> {
        let mut runs: Vec<RunId> = Vec::new();
        for name in self.state.list("runs/").await? {
            let run = name.as_str().split('/').nth(1).unwrap_or_default();
            if runs.last().is_none_or(|last| last.as_str() != run) {
                runs.push(RunId::from(run.to_owned()));
            }
        }
        // A name of digits begins with its time; events, which belong to no run, come last.
        runs.sort_by(|a, b| (is_dated(b), b).cmp(&(is_dated(a), a)));
        runs.dedup();
        Ok(runs)
    }

    /// What is remembered of a run.
    pub async fn record(&self, run: &RunId) -> Result<Option<RunRecord>> {
        let stored = self.state.read(&RunRecord::state_name(run)?).await?;
        Ok(stored.and_then(|stored| serde_json::from_slice(&stored.bytes).ok()))
    }

    /// The receipts of a run for one key of the source, oldest first.
    pub async fn receipts(&self, run: &RunId, key: &Key) -> Result<Vec<Receipt>> {
        let of_key = |receipt: &Receipt| receipt.key == *key;
        self.lines(run, "receipts", Some(key), of_key).await
    }

    /// What a run's journal says of deletes, oldest first: of one key of the destination, or of all.
    pub async fn deletions(&self, run: &RunId, key: Option<&Key>) -> Result<Vec<JournalLine>> {
        self.lines(run, "deleted", key, |line: &JournalLine| key.is_none_or(|key| line.entry.key == *key))
            .await
    }

    /// Takes away everything that is remembered of a run.
    pub async fn forget(&self, run: &RunId) -> Result<()> {
        for name in self.state.list(&format!("runs/{run}/")).await? {
            self.state.remove(&name).await?;
        }
        Ok(())
    }

    /// Lines of the files that begin so, in the order they were written.
    async fn lines<T: DeserializeOwned>(
        &self,
        run: &RunId,
        stem: &str,
        key: Option<&Key>,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>> {
        let needle = key.map(|key| serde_json::Value::from(key.as_str()).to_string());
        let mut found = Vec::new();
        for name in self.pieces(run, stem).await? {
            let Some(StoredState { bytes, .. }) = self.state.read(&name).await? else { continue };
            // Text is searched many times faster than JSON is read.
            let text = String::from_utf8_lossy(&bytes);
            let lines = text.lines().filter(|line| needle.as_ref().is_none_or(|key| line.contains(key)));
            found
                .extend(lines.filter_map(|line| serde_json::from_str(line).ok()).filter(|line| wanted(line)));
        }
        Ok(found)
    }

    /// `STEM-00001.jsonl`, `STEM.jsonl`, or the blobs under `STEM/`: by name they sort as they were written.
    async fn pieces(&self, run: &RunId, stem: &str) -> Result<Vec<StateName>> {
        let prefix = format!("runs/{run}/{stem}");
        let mut names = self.state.list(&prefix).await?;
        names.retain(|name| {
            name.as_str().strip_prefix(&prefix).is_some_and(|rest| rest.starts_with(['-', '.', '/']))
        });
        Ok(names)
    }
}

fn is_dated(run: &RunId) -> bool {
    run.as_str().starts_with(|first: char| first.is_ascii_digit())
}
