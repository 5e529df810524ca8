//! What a run must remember and the destination cannot show: checkpoints, open uploads, receipts.
//!
//! Owns: small named blobs and the conditions under which they are written. Does not own: what is in them, nor the choice of a
//! place, which is the host's: a directory on one machine ([`DirectoryState`]), objects under a prefix in the cloud
//! ([`ObjectState`]), memory in tests ([`MemoryState`]). Invariant: a write happens whole or not at all, and of two writers with the
//! same condition one is refused.

mod directory;
mod lines;
mod memory;
mod object;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::checksum::{DigestSet, digest};
use crate::{Error, ErrorKind, Result};

pub(crate) use directory::make_private;
pub use directory::{DirectoryState, Held};
pub use lines::{LineLog, Urgency};
pub use memory::MemoryState;
pub use object::ObjectState;

/// A blob's name: segments of letters, digits, `.`, `_` and `-`, joined by `/`. Safe as a file path and as a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateName(String);

/// Not a name of a state blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot name a piece of state: only letters, digits, `.`, `_`, `-` between single slashes")]
pub struct BadStateName(String);

impl StateName {
    /// Takes a name; refuses what could leave the state's own directory.
    pub fn new(name: impl Into<String>) -> Result<Self, BadStateName> {
        let name = name.into();
        let is_plain = |segment: &str| {
            !segment.is_empty()
                && !segment.starts_with('.')
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if name.split('/').all(is_plain) { Ok(Self(name)) } else { Err(BadStateName(name)) }
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which writing of a blob this is; opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateTag(String);

impl StateTag {
    /// Of a place that keeps no tags of its own: two writings of equal bytes have equal tags, which is as good, since a blob is
    /// all there is to it.
    fn of_content(bytes: &[u8]) -> Self {
        let crc = digest(bytes, DigestSet::default()).crc64_nvme;
        Self(format!("{crc:016x}-{}", bytes.len()))
    }
}

/// A blob that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredState {
    /// Its bytes.
    pub bytes: Bytes,
    /// For [`StateCondition::Matches`].
    pub tag: StateTag,
}

/// What must hold of a blob for it to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StateCondition {
    /// Nothing.
    #[default]
    None,
    /// There is none of that name.
    Absent,
    /// It is as it was when this tag was handed out.
    Matches(StateTag),
}

/// Keeps small named blobs.
#[async_trait]
pub trait StateStore: Send + Sync + fmt::Debug {
    /// The blob of that name; `None` where there is none.
    async fn read(&self, name: &StateName) -> Result<Option<StoredState>>;

    /// Writes a blob, if the condition holds; otherwise `PreconditionFailed`.
    async fn write(&self, name: &StateName, bytes: Bytes, condition: StateCondition) -> Result<StateTag>;

    /// Removes a blob. One that is already gone is success.
    async fn remove(&self, name: &StateName) -> Result<()>;

    /// The names that begin so, ascending.
    async fn list(&self, prefix: &str) -> Result<Vec<StateName>>;
}

/// State shared between tasks.
pub type SharedState = Arc<dyn StateStore>;

fn refused(name: &StateName) -> Error {
    Error::new(ErrorKind::PreconditionFailed, format!("somebody else wrote the state {name} meanwhile"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_directory() {
        for good in ["runs/20261123T000000Z-8000/run.json", "a", "uploads/0a_b-c.json"] {
            assert!(StateName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "../a", "a/..", "a/./b", ".hidden", "a b", "a\\b", "é"] {
            assert!(StateName::new(bad).is_err(), "{bad}");
        }
    }
}
