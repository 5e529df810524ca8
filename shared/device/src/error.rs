//! The error of every operation on a medium.
//!
//! Owns: what a caller can *do* about a failure ([`ErrorKind`]). Does not own: the problems of a manifest, which are
//! reported all at once with lines and columns. Invariant: a message says what failed and on what, never repeats its source,
//! and never holds a password or a key.

use std::io;
use std::path::Path;

/// What a caller can do about an error. Small on purpose: one variant for each different reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The medium or the work directory failed (the job's code is `DeviceError`).
    Io,
    /// The request can never succeed: a size, a name or an option that the format cannot hold.
    InvalidInput,
    /// The medium is too small.
    NoSpace,
    /// What was read is not what was written.
    Corrupt,
    /// The password opens no key slot and no header.
    WrongPassword,
    /// Refused for safety: this is not the medium of this job, or somebody uses it.
    Refused,
    /// A program that Ferry runs is not installed; the message names its package.
    MissingProgram,
}

/// A failed operation on a medium.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of an operation on a medium.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A new error; the message is lower case and without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What can never succeed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// A closure for `map_err`: what was being done, to which file.
    pub fn io<'a>(doing: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| {
            let kind =
                if source.kind() == io::ErrorKind::StorageFull { ErrorKind::NoSpace } else { ErrorKind::Io };
            Self::new(kind, format!("cannot {doing} {}", path.display())).caused_by(source)
        }
    }
}
