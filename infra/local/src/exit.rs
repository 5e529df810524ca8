//! Exit codes, and the one place where an error is printed.

use std::process::ExitCode;

use ferry_transfer::ErrorKind;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, and in agreement.
    Done,
    /// Some objects failed, or a listing did not end; which is in the report.
    Failed,
    /// Wrong usage or configuration: nothing was tried.
    Usage,
    /// Differences were found (`verify`, `plan --exit-code`) or left (`sync`, archived objects that are being restored).
    Different,
    /// Refused for safety.
    Refused,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Different => 3,
            Self::Refused => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// A mistake of the user or of a configuration: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// A listing that began and did not end: exit code 1, whatever broke it off.
#[derive(Debug, thiserror::Error)]
#[error("the listing broke off: {0}")]
pub struct BrokenListing(String);

impl From<ferry_transfer::Error> for BrokenListing {
    fn from(error: ferry_transfer::Error) -> Self {
        Self(error.chain())
    }
}

/// Prints an error that ended a command, with its causes, and picks the exit code.
pub fn failed(error: &anyhow::Error) -> Exit {
    say(&format!("ferry: {}", ferry_transfer::chain(error.as_ref())));
    let usage = error.chain().any(|cause| {
        cause.is::<UsageError>()
            || cause.downcast_ref::<ferry_transfer::Error>().is_some_and(|error| {
                matches!(
                    error.kind(),
                    ErrorKind::Configuration | ErrorKind::InvalidInput | ErrorKind::PermissionDenied
                )
            })
    });
    if usage { Exit::Usage } else { Exit::Failed }
}

/// One line on stderr.
#[expect(clippy::print_stderr, reason = "the program's voice")]
pub fn say(line: &str) {
    eprintln!("{line}");
}

/// One line on stdout: a command's result. A reader that has gone away (`| head`) is not an error.
pub fn print(line: &str) {
    use std::io::Write as _;
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}
