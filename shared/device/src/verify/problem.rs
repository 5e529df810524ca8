//! What is wrong on a medium.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What is wrong with a file, or with all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    /// It is listed and not there.
    Missing {
        /// Its path.
        path: String,
    },
    /// Its bytes are others.
    Differs {
        /// Its path.
        path: String,
    },
    /// It cannot be read.
    Unreadable {
        /// Its path.
        path: String,
        /// Why.
        message: String,
    },
    /// More files are there than are listed.
    Unlisted {
        /// How many.
        files: u64,
    },
    /// Lines of a list of digests that are none any more; what they named is met as unlisted.
    SpoiltList {
        /// How many.
        lines: u64,
    },
    /// Fewer files are there than are listed.
    Lost {
        /// How many.
        files: u64,
    },
}

impl Problem {
    /// A file or directory that cannot be read.
    pub(crate) fn unreadable(path: &str, error: &Error) -> Self {
        let cause = std::error::Error::source(error).map_or(String::new(), |cause| format!(": {cause}"));
        Self::Unreadable { path: path.to_owned(), message: format!("{error}{cause}") }
    }

    /// The path, where it is of one file.
    pub(crate) fn path(&self) -> Option<&str> {
        match self {
            Self::Missing { path } | Self::Differs { path } | Self::Unreadable { path, .. } => Some(path),
            Self::Unlisted { .. } | Self::SpoiltList { .. } | Self::Lost { .. } => None,
        }
    }
}
