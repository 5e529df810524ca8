//! A certificate of what two places hold: digests of ranges of keys, and every difference.
//!
//! Owns: the format, which `docs/manifest.md` describes for those who recompute it without Ferry. Does not own: listing or comparing.
//! Invariants: a range's digests depend on its objects alone, never on who listed them in which pieces; memory is one range's
//! counters, however many objects there are; the last line proves all lines before it.

mod ranges;
mod reader;
mod writer;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::compare::Evidence;
use crate::{CompareMode, Entry};

pub use ranges::{Cut, Ranges};
pub use reader::{BadManifest, Manifest};
pub use writer::ManifestWriter;

/// Of the format.
pub const FORMAT: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub manifest: u32,
    /// The version of Ferry that wrote it.
    pub ferry: String,
    /// Where the source is.
    pub source: String,
    /// Where the destination is.
    pub destination: String,
    /// How pairs were compared.
    pub compare: CompareMode,
    /// Which objects it is about, and how they are renamed, as a task says it.
    pub rules: serde_json::Value,
    /// When the listings began.
    #[serde(with = "time::serde::rfc3339")]
    pub began: OffsetDateTime,
}

/// What one side holds of a range.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideOfRange {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// SHA-256 of their lines in order of names, in hexadecimal.
    pub sha256: String,
}

/// How many names there are of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The same by equal ETags that are digests.
    pub same_by_etag: u64,
    /// The same: read on both sides and compared.
    pub same_by_content: u64,
    /// The same by size, and the destination is not older.
    pub same_by_size_and_time: u64,
    /// The same by size.
    pub same_by_size: u64,
    /// At the source only.
    pub missing: u64,
    /// On both sides and different.
    pub different: u64,
    /// At the destination only.
    pub extra: u64,
    /// Several at the source that would have one name at the destination.
    pub contested: u64,
    /// Could not be read to be compared.
    pub unread: u64,
}

/// One range of names, and what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeRecord {
    /// From 0.
    pub range: u64,
    /// Names greater than this; `None` is the beginning.
    pub after: Option<String>,
    /// Names up to this one; `None` is the end.
    pub until: Option<String>,
    /// At the source.
    pub source: SideOfRange,
    /// At the destination.
    pub destination: SideOfRange,
    /// Names by kind.
    #[serde(flatten)]
    pub counts: Counts,
    /// The weakest evidence that any pair of it was found the same by; `None` where none was.
    pub evidence: Option<Proof>,
}

/// By what a pair was found the same, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Equal sizes.
    Size,
    /// Equal sizes, and the destination is not older.
    SizeAndTime,
    /// Equal ETags that are digests of the bytes.
    Etag,
    /// Both were read: equal digests of the bytes, equal attributes.
    Content,
}

impl From<Evidence> for Proof {
    fn from(evidence: Evidence) -> Self {
        match evidence {
            Evidence::Etag => Self::Etag,
            Evidence::SizeAndTime => Self::SizeAndTime,
            Evidence::Size => Self::Size,
        }
    }
}

/// What was found of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// On both sides, the same.
    Same(Proof),
    /// At the source only.
    Missing,
    /// On both sides, different.
    Different,
    /// At the destination only.
    Extra,
    /// One of several at the source that would have one name at the destination.
    Contested,
    /// On both sides; could not be read to be compared.
    Unread,
}

/// One name, with what each side has of it.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The name both sides have in common.
    pub name: &'a str,
    /// At the source.
    pub source: Option<&'a Entry>,
    /// At the destination.
    pub destination: Option<&'a Entry>,
    /// What is to be thought of it.
    pub found: Found,
}

impl Counts {
    fn add(&mut self, found: Found) {
        let count = match found {
            Found::Same(Proof::Etag) => &mut self.same_by_etag,
            Found::Same(Proof::Content) => &mut self.same_by_content,
            Found::Same(Proof::SizeAndTime) => &mut self.same_by_size_and_time,
            Found::Same(Proof::Size) => &mut self.same_by_size,
            Found::Missing => &mut self.missing,
            Found::Different => &mut self.different,
            Found::Extra => &mut self.extra,
            Found::Contested => &mut self.contested,
            Found::Unread => &mut self.unread,
        };
        *count += 1;
    }

    /// Names that are not the same on both sides, as far as anybody could tell.
    pub fn differences(&self) -> u64 {
        self.missing + self.different + self.extra + self.contested + self.unread
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            same_by_etag: self.same_by_etag + other.same_by_etag,
            same_by_content: self.same_by_content + other.same_by_content,
            same_by_size_and_time: self.same_by_size_and_time + other.same_by_size_and_time,
            same_by_size: self.same_by_size + other.same_by_size,
            missing: self.missing + other.missing,
            different: self.different + other.different,
            extra: self.extra + other.extra,
            contested: self.contested + other.contested,
            unread: self.unread + other.unread,
        }
    }
}
