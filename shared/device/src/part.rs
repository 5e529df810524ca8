//! How much of the file that is being written is on the medium.
//!
//! Owns: the note of it, one beside the journal, and to which file of a plan it belongs ([`Part`]). Does not own: when the medium is synced, and whether the bytes are
//! still there ([`crate::session`]). Invariants: a note is on disk only after the bytes that it counts are on the medium; what cannot be read, or is of another
//! file or another generation of its object, is as good as no note.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::{Error, Result};
use crate::ext4::BLOCK_BYTES;
use crate::plan::PlanEntry;

const NOTE: &str = "part.json";

/// The first bytes of one file of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    sequence: u64,
    bytes: u64,
    sha256: String,
    etag: Option<String>,
    version_id: Option<String>,
}

impl Part {
    /// Notes that the first `bytes` of an entry's file, with this digest in hexadecimal, are on the medium.
    pub(crate) fn note(entry: &PlanEntry, bytes: u64, sha256: String, directory: &Path) -> Result<Self> {
        let object = &entry.object;
        let (etag, version_id) = (object.etag.clone(), object.version_id.clone());
        let part = Self { sequence: entry.sequence, bytes, sha256, etag, version_id };
        let note = serde_json::to_vec(&part)
            .map_err(|e| Error::invalid("a note of a part cannot be written").caused_by(e))?;
        durable::write(&directory.join(NOTE), &note)?;
        Ok(part)
    }

    /// The note in a plan's directory.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>> {
        let note = durable::read(&directory.join(NOTE))?;
        Ok(note.and_then(|note| serde_json::from_slice(&note).ok()))
    }

    /// Removes the note: before the bytes that it counts are overwritten.
    pub(crate) fn forget(directory: &Path) -> Result<()> {
        durable::remove(&directory.join(NOTE))
    }

    /// Whether the file of an entry can be gone on with behind these bytes. An object whose generation has no name cannot: its next bytes may be another's.
    pub fn is_of(&self, entry: &PlanEntry) -> bool {
        let object = &entry.object;
        self.sequence == entry.sequence
            && is_of_one_generation(entry)
            && (&self.etag, &self.version_id) == (&object.etag, &object.version_id)
            && (1..object.size_bytes).contains(&self.bytes)
            && self.bytes.is_multiple_of(BLOCK_BYTES)
    }

    /// The entry of the plan.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many bytes they are: whole blocks.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Their SHA-256, in hexadecimal.
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// Whether whoever reads an entry's object a second time can ask for the same bytes.
pub(crate) fn is_of_one_generation(entry: &PlanEntry) -> bool {
    entry.object.etag.is_some() || entry.object.version_id.is_some()
}
