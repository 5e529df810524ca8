//! A file system over a whole disk, on which the container is a file.
//!
//! Owns: the two that there are, made and mounted by their own programs. Does not own: whether a disk may be erased, nor what is in the container. Invariants: the programs are found before anything
//! is erased; what was mounted is unmounted whatever happens; nothing is believed written before the unmount succeeded.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::naming::FileSystem;
use crate::ntfs::{Access, Mounted, Programs, is_mounted};
use crate::program;

const MEBIBYTE: u64 = 1 << 20;

/// The programs of one file system.
#[derive(Debug)]
pub struct OuterFileSystem {
    programs: Kind,
    umount: PathBuf,
}

#[derive(Debug)]
enum Kind {
    Ntfs(Programs),
    Ext4 { mkfs: PathBuf, mount: PathBuf },
}

impl OuterFileSystem {
    /// Finds the programs on this machine.
    ///
    /// # Errors
    /// `MissingProgram` with the package's name.
    pub fn of_this_machine(file_system: FileSystem) -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let find = |name: &str, package: &str| program::find(&path, name, package);
        let programs = match file_system {
            FileSystem::Ntfs => Kind::Ntfs(Programs::find(&path)?),
            FileSystem::Ext4 => {
                Kind::Ext4 { mkfs: find("mkfs.ext4", "e2fsprogs")?, mount: find("mount", "mount")? }
            }
        };
        Ok(Self { programs, umount: find("umount", "mount")? })
    }

    /// Bytes of a disk that the file system keeps to itself, so that a container of the rest has room.
    pub fn own_bytes(file_system: FileSystem, disk_bytes: u64) -> u64 {
        match file_system {
            FileSystem::Ntfs => crate::ntfs::medium::own_bytes(disk_bytes),
            // The journal; an inode for each 4 MiB; bitmaps, descriptors and the extents of one large file.
            FileSystem::Ext4 => journal_mebibytes(disk_bytes) * MEBIBYTE + disk_bytes / 1000 + 8 * MEBIBYTE,
        }
    }

    /// Makes an empty file system over a disk that nobody has open.
    pub fn format(&self, device: &Path, disk_bytes: u64, label: &str) -> Result<()> {
        let (mkfs, journal) = match &self.programs {
            Kind::Ntfs(programs) => return programs.format(device, label),
            Kind::Ext4 { mkfs, .. } => (mkfs, format!("size={}", journal_mebibytes(disk_bytes))),
        };
        // For one large file: few inodes, nothing kept for root, no room to grow; all of it written now and not behind the user's back.
        let options = ["-q", "-F", "-T", "largefile4", "-m", "0", "-O", "^resize_inode", "-J", &journal];
        let eager = ["-E", "lazy_itable_init=0,lazy_journal_init=0", "-L", label];
        let arguments: Vec<&OsStr> =
            options.into_iter().chain(eager).map(OsStr::new).chain([device.as_os_str()]).collect();
        program::run(mkfs, &arguments, device)
    }

    /// Mounts it at a directory, which is made where it is missing.
    pub fn mount(&self, device: &Path, directory: &Path, access: Access) -> Result<OuterMount> {
        std::fs::create_dir_all(directory).map_err(Error::io("make", directory))?;
        let directory = std::fs::canonicalize(directory).map_err(Error::io("find", directory))?;
        let kept = match &self.programs {
            Kind::Ntfs(programs) => Kept::ByNtfs3g(programs.mount(device, &directory, access)?),
            Kind::Ext4 { mount, .. } => {
                let options = match access {
                    Access::Read => "ro,nosuid,nodev,noexec",
                    Access::Write => "nosuid,nodev,noexec",
                };
                let options = ["-t", "ext4", "-o", options].map(OsStr::new);
                let places = [device.as_os_str(), directory.as_os_str()];
                program::run(mount, &[options.as_slice(), &places].concat(), device)?;
                Kept::ByTheKernel
            }
        };
        Ok(OuterMount { kept: Some(kept), device: device.to_owned(), directory, umount: self.umount.clone() })
    }

    /// Unmounts what a process that was killed left at a directory.
    pub fn unmount_leftover(&self, directory: &Path) -> Result<()> {
        let Ok(directory) = std::fs::canonicalize(directory) else { return Ok(()) };
        while is_mounted(&directory)? {
            program::run(&self.umount, &[directory.as_os_str()], &directory)?;
        }
        Ok(())
    }
}

fn journal_mebibytes(disk_bytes: u64) -> u64 {
    (disk_bytes / MEBIBYTE / 64).clamp(4, 64)
}

#[derive(Debug)]
enum Kept {
    ByNtfs3g(Mounted),
    ByTheKernel,
}

/// A mounted disk. Dropping it unmounts; only [`Self::unmount`] tells whether that went well.
#[derive(Debug)]
pub struct OuterMount {
    kept: Option<Kept>,
    device: PathBuf,
    directory: PathBuf,
    umount: PathBuf,
}

impl OuterMount {
    /// Where the files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Unmounts, and returns once everything is on the disk.
    pub fn unmount(mut self) -> Result<()> {
        self.end()?;
        File::open(&self.device).and_then(|disk| disk.sync_all()).map_err(Error::io("sync", &self.device))
    }

    fn end(&mut self) -> Result<()> {
        match self.kept.take() {
            None => Ok(()),
            Some(Kept::ByNtfs3g(mounted)) => mounted.unmount(),
            Some(Kept::ByTheKernel) => {
                program::run(&self.umount, &[self.directory.as_os_str()], &self.directory)
            }
        }
    }
}

impl Drop for OuterMount {
    fn drop(&mut self) {
        // Nobody is left to be told; a mount that stays is unmounted by the next run.
        drop(self.end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_keeps_little_of_a_disk() {
        for file_system in [FileSystem::Ext4, FileSystem::Ntfs] {
            for disk_bytes in [300_000_000, 4_000_000_000_000, 16_000_000_000_000] {
                let own_bytes = OuterFileSystem::own_bytes(file_system, disk_bytes);
                assert!(own_bytes < disk_bytes / 10, "{file_system:?} of {disk_bytes}: {own_bytes}");
            }
        }
    }
}
