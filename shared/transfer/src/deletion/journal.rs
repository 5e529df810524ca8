//! What is written down of a delete, before it is made and after.
//!
//! Owns: the lines and where the cloud keeps them. Invariant: a line that says what is about to go is kept before it goes. An intent
//! without a line behind it says that the process ended in between: the object may be there or not, and the destination knows.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::receipt::stored_name;
use crate::state::{SharedState, StateCondition};
use crate::store::DeleteEffect;
use crate::{Clock, ETag, Error, ErrorKind, Key, ObjectHead, Result, StorageClass};

/// One step of one delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The full key at the destination.
    pub key: Key,
    /// The full key at the source.
    pub source_key: Key,
    /// What is about to happen to it, or did.
    #[serde(flatten)]
    pub step: Step,
}

/// A step, and when it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What.
    #[serde(flatten)]
    pub entry: JournalEntry,
}

/// What is about to happen to an object, or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// It is about to be deleted, and this is what it was.
    Intended {
        /// Size in bytes.
        size_bytes: u64,
        /// Generation.
        etag: Option<ETag>,
        /// Version, on versioned buckets.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version_id: Option<String>,
        /// When the destination took it in.
        #[serde(default, with = "time::serde::rfc3339::option")]
        last_modified: Option<OffsetDateTime>,
        /// Storage class; `None` is the standard one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        storage_class: Option<StorageClass>,
    },
    /// A copy of it is in the trash.
    Trashed {
        /// There.
        trash_key: Key,
    },
    /// It is deleted.
    Deleted {
        /// Whether it is gone or hidden.
        effect: DeleteEffect,
        /// The version of the delete marker that hides it, or the one that was removed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version_id: Option<String>,
    },
    /// It was left alone after all.
    Kept {
        /// Why.
        why: String,
    },
}

impl Step {
    /// About to delete what a HEAD has just described.
    pub(super) fn intended(held: &ObjectHead) -> Self {
        Self::Intended {
            size_bytes: held.size_bytes,
            etag: held.etag.clone(),
            version_id: held.version_id.clone(),
            last_modified: held.last_modified,
            storage_class: held.attributes.storage_class.clone(),
        }
    }
}

/// Takes what is written down.
#[async_trait]
pub trait DeleteJournal: Send + Sync + fmt::Debug {
    /// Keeps a line, so that it outlives the process when the call returns. An error keeps the delete from being made.
    async fn write(&self, run: Option<&str>, entry: JournalEntry) -> Result<()>;
}

/// Writes nothing down but the log: for tasks that delete nothing, and for hosts without a state.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoJournal;

#[async_trait]
impl DeleteJournal for NoJournal {
    async fn write(&self, run: Option<&str>, entry: JournalEntry) -> Result<()> {
        tracing::info!(run, key = ?entry.key, step = ?entry.step, "delete");
        Ok(())
    }
}

/// Keeps each line as a blob of the state, `runs/RUN/deleted/MOMENT-CHANCE.jsonl`.
#[derive(Debug)]
pub struct StoredJournal {
    state: SharedState,
    clock: Arc<dyn Clock>,
}

impl StoredJournal {
    /// In this state.
    pub fn new(state: SharedState, clock: Arc<dyn Clock>) -> Self {
        Self { state, clock }
    }
}

#[async_trait]
impl DeleteJournal for StoredJournal {
    async fn write(&self, run: Option<&str>, entry: JournalEntry) -> Result<()> {
        let at = self.clock.now();
        let name = stored_name(run, "deleted", at, self.clock.draw(), None)?;
        let mut line = serde_json::to_vec(&JournalLine { at, entry }).map_err(|error| {
            Error::new(ErrorKind::Other, "a line of the delete journal cannot be written").caused_by(error)
        })?;
        line.push(b'\n');
        self.state.write(&name, Bytes::from(line), StateCondition::None).await.map(drop)
    }
}
