//! Versions of objects, as a store lists them.
//!
//! Owns: the arguments and answers of the operations on versions. Invariant: what is listed of a key is its whole history, delete
//! markers included.

use super::Cursor;
use crate::Entry;

/// Whether a bucket keeps versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Versioning {
    /// It never has: each key has at most one object.
    #[default]
    Never,
    /// Every write and every delete adds a version.
    Enabled,
    /// It did, and keeps those; new writes replace each other.
    Suspended,
}

/// One page of versions to ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListVersionsRequest {
    /// Only keys that begin so.
    pub prefix: String,
    /// Only keys greater than this full key.
    pub start_after: Option<String>,
    /// Goes on where a page left off; the other fields stay as they were.
    pub cursor: Option<Cursor>,
    /// Most versions to return; `None` is the store's own limit.
    pub page_size: Option<u32>,
}

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// As a listing would say it; a delete marker has no bytes and no generation.
    pub entry: Entry,
    /// Its name; `null` for what was written before versions were kept.
    pub version_id: String,
    /// Bytes or the lack of them.
    pub kind: VersionKind,
}

/// What a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionKind {
    /// An object.
    Object,
    /// A delete that hides what came before.
    DeleteMarker,
}

/// One page of versions: keys ascending in UTF-8 bytes, the versions of a key newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionPage {
    /// The versions.
    pub versions: Vec<Version>,
    /// More to come. `None` only when the store said that the listing is complete.
    pub next: Option<Cursor>,
}
