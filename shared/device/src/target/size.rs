//! How large a target is.
//!
//! Owns: the size of a disk, what is free on a mounted one, and the largest device there is. Does not own: what a data set takes of it
//! ([`crate::room`]). Invariant: never more than is there.

use std::path::Path;

use super::Target;
use super::disk::Disk;
use crate::error::{Error, Result};

/// The largest device, 16 TB (AWS Import/Export Developer Guide, "Storage device requirements").
pub const DEVICE_BYTES_MAX: u64 = 16_000_000_000_000;

/// What a mounted file system keeps for its own lists of a large file: one byte in so many.
const OWN_PART: u64 = 1000;

impl Target {
    /// The bytes that can be written to the target now, and never more than [`DEVICE_BYTES_MAX`].
    pub fn size_bytes(&self) -> Result<u64> {
        let bytes = match self {
            Self::Directory(path) | Self::Plain(path) => free_bytes(path)?,
            Self::Image(path) => free_bytes(self.signature_directory().unwrap_or(path))?,
            Self::Block(path) => Disk::of_this_machine(path)?.size_bytes,
        };
        Ok(bytes.min(DEVICE_BYTES_MAX))
    }
}

/// What a user without privileges may still write to the file system of a directory.
fn free_bytes(directory: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(directory)
        .map_err(std::io::Error::from)
        .map_err(Error::io("measure what is free in", directory))?;
    let bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
    Ok(bytes - bytes / OWN_PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_takes_what_is_free_and_never_more_than_the_largest_device() {
        let root = tempfile::tempdir().unwrap();
        for target in [Target::Plain(root.path().into()), Target::Image(root.path().join("x.img"))] {
            let size = target.size_bytes().unwrap();
            assert!(size > 0 && size <= DEVICE_BYTES_MAX, "{size}");
        }
        let error = Target::Plain(root.path().join("gone")).size_bytes().unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
    }
}
