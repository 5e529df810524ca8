//! What became of a job.
//!
//! Owns: the record of one job's outcome. Does not own: where receipts go, which is the host's [`ReceiptSink`]. Invariant: every job ends in exactly one final receipt: copied, up to date, deleted, skipped (why) or
//! failed (why).

mod stored;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::job::{Action, Found};
use crate::{ETag, Error, ErrorKind, Key};

pub use stored::StoredReceipts;
pub(crate) use stored::stored_name;

/// The record of one job's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The full key at the source.
    pub key: Key,
    /// The task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// When the job ended.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// When what its event tells of happened, by the source's clock.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub event_time: Option<OffsetDateTime>,
    /// Which delivery of the message this was, from 1.
    pub attempt: u32,
    /// What was to be done.
    #[serde(default, skip_serializing_if = "Action::is_copy")]
    pub action: Action,
    /// What the scan thought that made the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
    /// What happened.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Receipt {
    /// How long after its event the destination agreed, where it does now; zero where the two clocks contradict each other.
    pub fn lag(&self) -> Option<Duration> {
        match self.outcome {
            Outcome::Copied(_) | Outcome::HistoryCopied { .. } | Outcome::Deleted => {
                Some(Duration::try_from(self.at - self.event_time?).unwrap_or_default())
            }
            _ => None,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The object is at the destination: whole, of one generation, with its attributes.
    Copied(Copied),
    /// The destination has the source's whole history, of which this was missing.
    HistoryCopied {
        /// The versions, oldest first.
        versions: Vec<Copied>,
        /// The delete markers among them.
        delete_markers: u64,
    },
    /// It already was.
    UpToDate,
    /// It was gone at the source, and is gone at the destination now.
    Deleted,
    /// Its parts have become jobs of their own, the last of which ends in the object's receipt.
    Divided {
        /// How many.
        parts: u32,
    },
    /// One part of it is settled, and others are not.
    Part {
        /// Which, from 1.
        part_number: u32,
        /// How.
        end: PartEnd,
    },
    /// The object is archived; its restore was asked for, and nobody waited until it was done.
    Parked {
        /// When the job first found it archived.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
    },
    /// Nothing was done, on purpose.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
    /// Nothing was done, or not all.
    Failed(Failed),
}

impl Outcome {
    /// Whether it says what became of the object. Each job of an object ends in one outcome that does.
    pub fn is_of_object(&self) -> bool {
        !matches!(self, Self::Divided { .. } | Self::Part { .. })
    }

    /// Whether nothing more will be done about the object by this job: it is settled, or failed for good.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Failed(failed) => failed.last,
            other => other.is_of_object(),
        }
    }
}

/// How the job of one part ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartEnd {
    /// It is at the destination.
    Copied,
    /// Its upload was completed or dropped before.
    Outlived,
}

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Size in bytes.
    pub size_bytes: u64,
    /// The source's generation.
    pub source_etag: Option<ETag>,
    /// The destination's new generation.
    pub destination_etag: Option<ETag>,
    /// The destination's new version, on versioned buckets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// What the reading of it was checked against.
    pub read_check: ReadCheck,
    /// What the writing of it was checked against.
    pub write_check: WriteCheck,
}

/// What the bytes read were checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadCheck {
    /// The source's MD5 ETag.
    Etag,
    /// A CRC-64 over the whole object that the source declared.
    Crc64,
    /// A CRC32C that the source declared, over the whole object or over its parts.
    Crc32c,
    /// The same of a CRC32.
    Crc32,
    /// The same of a SHA-1.
    Sha1,
    /// The same of a SHA-256.
    Sha256,
    /// Nothing: the store copied the object by itself, and the bytes never passed by.
    ServerSide,
    /// The declared length only: the source gave no digest.
    Length,
}

/// What the bytes written were checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteCheck {
    /// The destination's ETag, or those of all its parts.
    Etag,
    /// The CRC64NVME that the destination computed.
    Crc64,
    /// The declared length only: the destination gave no digest.
    Length,
}

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The object was gone at the source when the job ran.
    GoneAtSource,
    /// The object is archived and was not restored.
    Archived,
    /// The task's selection leaves the object out.
    NotSelected,
    /// A deletion was asked for, but the object is at the source.
    StillAtSource,
    /// A deletion was asked for, but the task does not allow them.
    DeletesNotAllowed,
    /// A deletion was asked for, but somebody has written to the destination since.
    ChangedAtDestination,
    /// The event is about an object of another bucket than the task's.
    OtherBucket,
    /// The object was appended to since, of which there is an event of its own.
    Superseded,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GoneAtSource => "gone at the source",
            Self::Archived => "archived, not restored",
            Self::NotSelected => "outside the task's selection",
            Self::StillAtSource => "still at the source",
            Self::DeletesNotAllowed => "the task does not allow deletes",
            Self::ChangedAtDestination => "changed at the destination",
            Self::OtherBucket => "an event of another bucket",
            Self::Superseded => "appended to since",
        })
    }
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// What could be done about it.
    pub kind: ErrorKind,
    /// The whole chain of causes.
    pub error: String,
    /// The HTTP status, where one was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The store's own code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What the store's operators ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Nobody will try again: the message is with the dead letters.
    pub last: bool,
}

impl Failed {
    /// From the error that ended the job.
    pub fn new(error: &Error, last: bool) -> Self {
        Self {
            kind: error.kind(),
            error: error.chain(),
            status: error.status(),
            code: error.code().map(str::to_owned),
            request_id: error.request_id().map(str::to_owned),
            last,
        }
    }
}

/// Takes receipts.
#[async_trait]
pub trait ReceiptSink: Send + Sync + fmt::Debug {
    /// Takes one. Called from many tasks at once; must not block.
    fn record(&self, receipt: &Receipt);

    /// Keeps what it took where a process that is frozen or ended now cannot lose it. Called at the end of every batch.
    async fn keep(&self) {}
}

/// Drops every receipt: for hosts whose log already says it.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoReceipts;

impl ReceiptSink for NoReceipts {
    fn record(&self, _receipt: &Receipt) {}
}

/// Hands every receipt to each of several sinks.
#[derive(Debug, Clone, Default)]
pub struct EachSink(pub Vec<Arc<dyn ReceiptSink>>);

#[async_trait]
impl ReceiptSink for EachSink {
    fn record(&self, receipt: &Receipt) {
        for sink in &self.0 {
            sink.record(receipt);
        }
    }

    async fn keep(&self) {
        for sink in &self.0 {
            sink.keep().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_reads_back_from_its_line() {
        let receipt = Receipt {
            key: Key::new("a\nb").expect("key"),
            task: None,
            run: Some("r1".into()),
            at: OffsetDateTime::UNIX_EPOCH,
            event_time: None,
            attempt: 1,
            action: Action::Delete,
            found: Some(Found::Extra),
            outcome: Outcome::Skipped { reason: SkipReason::Archived },
        };
        let line = serde_json::to_string(&receipt).expect("json");
        assert_eq!(
            line,
            r#"{"key":"a\nb","run":"r1","at":"1970-01-01T00:00:00Z","attempt":1,"action":"delete","found":"extra","outcome":"skipped","reason":"archived"}"#
        );
        assert_eq!(serde_json::from_str::<Receipt>(&line).expect("reads"), receipt);
    }
}
