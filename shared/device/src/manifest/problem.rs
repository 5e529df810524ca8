//! What is wrong with a manifest.
//!
//! Owns: a problem's code, place and recommended action. Does not own: finding it. Invariants: every problem has a place, and no
//! message repeats the value of a password.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Codes of the original service, as far as a manifest alone can earn them. On the wire each carries the suffix `Exception`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Code {
    /// It cannot be read at all.
    MalformedManifest,
    /// A required option is not there.
    MissingManifestField,
    /// An option's value cannot be meant.
    InvalidManifestField,
    /// The file system is none that can be written.
    InvalidFileSystem,
    /// The return address is not one.
    InvalidAddress,
    /// The customs block is not one.
    InvalidCustoms,
}

impl Code {
    /// The code's word, without the suffix.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedManifest => "MalformedManifest",
            Self::MissingManifestField => "MissingManifestField",
            Self::InvalidManifestField => "InvalidManifestField",
            Self::InvalidFileSystem => "InvalidFileSystem",
            Self::InvalidAddress => "InvalidAddress",
            Self::InvalidCustoms => "InvalidCustoms",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a problem keeps the job from being created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

/// A place in the manifest as it was given, both counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The character of the line.
    pub column: u32,
}

impl Place {
    /// Where a manifest begins.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// One thing that is wrong with a manifest, or that may not be meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Whether it keeps the job from being created.
    pub severity: Severity,
    /// The original's code.
    pub code: Code,
    /// The option's path: `operations[0].exportBucket`. Empty for the manifest as a whole.
    pub option: String,
    /// Where it stands, or where what is missing should.
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub action: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, option, place, message, action, .. } = self;
        if option.is_empty() {
            write!(f, "{place}: {message}. {action} ({code})")
        } else {
            write!(f, "{place}: {option}: {message}. {action} ({code})")
        }
    }
}
