//! Archived objects made readable.
//!
//! Owns: what is asked of a store to restore an object from its archive, and what the store says about that. Does not own: waiting
//! for it ([`crate::task::RestoreRule`] and the hosts). A restored object is a copy that ends by itself; the archived one stays.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Key;

/// How fast a restore is to be. Amazon's words; what they mean in hours depends on the class and the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestoreTier {
    /// Hours.
    Standard,
    /// The cheapest: up to two days.
    Bulk,
    /// Minutes, where the class allows it, and dear.
    Expedited,
}

impl RestoreTier {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "Standard",
            Self::Bulk => "Bulk",
            Self::Expedited => "Expedited",
        }
    }
}

impl fmt::Display for RestoreTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An archived object to restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreRequest {
    /// The key.
    pub key: Key,
    /// Only this version.
    pub version_id: Option<String>,
    /// How many days the readable copy is kept; `None` for classes that keep no copy beside the archived object
    /// (`INTELLIGENT_TIERING`), which refuse a number.
    pub days: Option<u32>,
    /// How fast.
    pub tier: RestoreTier,
}

/// What the store says to a request for a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreAnswer {
    /// It has begun (202).
    Begun,
    /// It had begun before (409 `RestoreAlreadyInProgress`).
    InProgress,
    /// The object can be read already (200).
    Readable,
}

/// What a HEAD says of an object's restore (`x-amz-restore`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestoreState {
    /// None was asked for, or its copy has ended.
    #[default]
    None,
    /// Under way.
    Ongoing,
    /// Done: the object can be read for now.
    Done,
}

impl RestoreState {
    /// Reads `ongoing-request="true"` or `ongoing-request="false", expiry-date="…"`.
    pub fn parse(header: &str) -> Self {
        let header = header.replace(' ', "").to_ascii_lowercase();
        if header.contains("ongoing-request=\"true\"") {
            Self::Ongoing
        } else if header.contains("ongoing-request=\"false\"") {
            Self::Done
        } else {
            Self::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_restore_is_read_from_its_header() {
        for (header, state) in [
            ("ongoing-request=\"true\"", RestoreState::Ongoing),
            ("ongoing-request=\"false\", expiry-date=\"Fri, 23 Dec 2032 00:00:00 GMT\"", RestoreState::Done),
            ("ongoing-request = \"False\"", RestoreState::Done),
            ("", RestoreState::None),
        ] {
            assert_eq!(RestoreState::parse(header), state, "{header}");
        }
    }
}
