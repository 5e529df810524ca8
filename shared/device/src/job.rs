//! An export job: what it is, where it stands, and which steps it may take.
//!
//! Owns: ids, the record that is stored, the states with the original's codes and words, and the rules of change, all pure: time comes in
//! as an argument. Does not own: storing it, or doing the work. Invariants: a record holds no password and no hash that would let one guess it;
//! an ended job never changes again; only a pending job takes another manifest.
//!
//! Source of codes and words: the AWS Import/Export guide (API 2010-06-03), "Job status codes".

mod id;
mod record;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use id::{BadJobId, JobId};
pub use record::{JobRecord, Lease, NewJob, Refusal, Totals};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its device.
    Pending,
    /// The device was seen and is being checked.
    Validating,
    /// The buckets are being listed.
    Listing,
    /// Archived objects are on their way back.
    Restoring,
    /// Everything has its place on the device.
    Planned,
    /// Objects are being copied.
    Writing,
    /// The device is being read back.
    Verifying,
    /// The log is being written.
    Logging,
    /// All of it is on the device.
    Complete,
    /// Some of it is not; the log says what and why.
    SuccessWithErrors,
    /// Somebody called it off.
    Canceled,
    /// No device came in time.
    Expired,
    /// The device's root has no SIGNATURE.
    MissingSignature,
    /// The device's SIGNATURE is of another job or manifest.
    InvalidSignature,
    /// No device with the job's `deviceId`.
    MissingDevice,
    /// The device failed.
    DeviceError,
    /// Not a device that can be written.
    UnsupportedDeviceType,
    /// A file system that cannot be made here.
    UnsupportedFileFormat,
}

/// Where the device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Location {
    /// No valid SIGNATURE was seen yet.
    NotReceived,
    /// It is held by a station. The original's code is kept for its clients' sake.
    #[serde(rename = "AtAWS")]
    AtAws,
    /// It was let go.
    Returned,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 18] = [
        Self::Pending,
        Self::Validating,
        Self::Listing,
        Self::Restoring,
        Self::Planned,
        Self::Writing,
        Self::Verifying,
        Self::Logging,
        Self::Complete,
        Self::SuccessWithErrors,
        Self::Canceled,
        Self::Expired,
        Self::MissingSignature,
        Self::InvalidSignature,
        Self::MissingDevice,
        Self::DeviceError,
        Self::UnsupportedDeviceType,
        Self::UnsupportedFileFormat,
    ];

    /// The original's progress code.
    pub fn progress_code(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            state if state.is_running() => "InProgress",
            Self::Complete => "Complete",
            Self::SuccessWithErrors => "SuccessWithErrors",
            Self::Canceled => "Canceled",
            Self::Expired => "Expired",
            Self::MissingSignature => "MissingSignature",
            Self::InvalidSignature => "InvalidSignature",
            Self::MissingDevice => "MissingDevice",
            Self::DeviceError => "DeviceError",
            Self::UnsupportedDeviceType => "UnsupportedDeviceType",
            _ => "UnsupportedFileFormat",
        }
    }

    /// What a reader is told.
    pub fn message(self) -> &'static str {
        match self {
            Self::Pending => "The specified job has not started.",
            Self::Validating => "The device is being checked.",
            Self::Listing => "The buckets are being listed.",
            Self::Restoring => "Archived objects are being restored.",
            Self::Planned => "Every object has its place on the device.",
            Self::Writing => "Objects are being copied.",
            Self::Verifying => "The device is being read back.",
            Self::Logging => "The log is being written.",
            Self::Complete => "The specified job has completed.",
            Self::SuccessWithErrors => "The specified job has completed with errors; see its log.",
            Self::Canceled => "The specified job was canceled.",
            Self::Expired => "The specified job has expired.",
            Self::MissingSignature => "The device has no SIGNATURE in its root.",
            Self::InvalidSignature => "The device's SIGNATURE is not this job's.",
            Self::MissingDevice => "There is no device of the manifest's deviceId.",
            Self::DeviceError => "The device failed.",
            Self::UnsupportedDeviceType => "The device is of a kind that cannot be written.",
            Self::UnsupportedFileFormat => "The file system cannot be made here.",
        }
    }

    /// Whether a station is at work.
    pub fn is_running(self) -> bool {
        matches!(
            self,
            Self::Validating
                | Self::Listing
                | Self::Restoring
                | Self::Planned
                | Self::Writing
                | Self::Verifying
                | Self::Logging
        )
    }

    /// Whether nothing follows. A device that was refused or failed is not the end: it may be put right.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::SuccessWithErrors | Self::Canceled | Self::Expired)
    }

    /// Whether the log and its errors are told.
    pub fn has_log(self) -> bool {
        matches!(self, Self::Complete | Self::SuccessWithErrors)
    }

    /// Whether `next` may follow.
    pub fn may_become(self, next: Self) -> bool {
        use JobState as S;
        if self.is_final() {
            return false;
        }
        match next {
            S::Pending => false,
            S::Expired | S::Validating => !self.is_running() || next == S::Validating,
            S::Complete | S::SuccessWithErrors => self == S::Logging,
            // A device is looked at once more right before it is written, hours after the first time perhaps.
            S::MissingSignature
            | S::InvalidSignature
            | S::MissingDevice
            | S::UnsupportedDeviceType
            | S::Canceled => true,
            S::UnsupportedFileFormat | S::DeviceError => self.is_running(),
            S::Listing | S::Restoring | S::Planned | S::Writing | S::Verifying | S::Logging => {
                self.is_running() && step(self) <= step(next)
            }
        }
    }
}

fn step(state: JobState) -> usize {
    JobState::ALL.iter().position(|other| *other == state).unwrap_or_default()
}

impl Location {
    /// The original's code.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotReceived => "NotReceived",
            Self::AtAws => "AtAWS",
            Self::Returned => "Returned",
        }
    }

    /// What a reader is told.
    pub fn message(self) -> &'static str {
        match self {
            Self::NotReceived => "AWS has not received your device.",
            Self::AtAws => "Your device is at the station.",
            Self::Returned => "Your device was let go.",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.progress_code())
    }
}
