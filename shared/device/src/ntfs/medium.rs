//! An export's medium whose file system is NTFS.
//!
//! Owns: the two mounts that it takes, the container's inside and the file system in it, for as long as a medium is written ([`NtfsSink`]) or read
//! ([`NtfsMedium`]); and how large such a file system must be. Does not own: the programs ([`Programs`]) or the process that shows the inside ([`super::inside`]). Invariants: the
//! file system is unmounted before the inside is; a medium counts as written once both unmounts have succeeded.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::inside::{Inside, InsideProgram};
use super::{Access, Mounted, Programs};
use crate::container::Password;
use crate::error::{Error, ErrorKind, Result};
use crate::medium::{Medium, MountedMedium, Take, Visit};
use crate::plan::{Plan, PlanEntry};
use crate::room::Room;
use crate::sink::{DirectorySink, Sink};
use crate::volume::Volume;

/// What Windows puts into the root of a disk it has seen.
const OF_WINDOWS: [&str; 2] = ["System Volume Information", "$RECYCLE.BIN"];

/// Bytes of a volume that NTFS keeps to itself before the first file: its log, which is a two-hundredth of the volume up to 64 MiB, the bitmap of its
/// clusters, a bit for 4 KiB, and 2.5 MB of tables. Measured with mkntfs 2022.10.3: 2.5 MB of 50 MB, 5.9 MB of 1 GiB, 27.5 MB of 5 GiB,
/// 74.1 MB of 200 GiB.
pub fn own_bytes(volume_bytes: u64) -> u64 {
    const LOG_BYTES_MAX: u64 = 68 << 20;
    (3 << 20) + (volume_bytes / 128).min(LOG_BYTES_MAX) + volume_bytes / 16_384
}

/// Bytes of a volume that holds a plan.
pub fn volume_bytes(plan: &Plan) -> Result<u64> {
    let files_bytes = Room::foreign_bytes_for(plan)?;
    let mut bytes = files_bytes + own_bytes(files_bytes);
    while bytes - own_bytes(bytes) < files_bytes {
        bytes += own_bytes(bytes) / 8;
    }
    Ok(bytes.next_multiple_of(1 << 20))
}

/// Whether the file system is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystemState {
    /// It has to be made.
    Missing,
    /// It was made, and perhaps written to.
    Made,
}

/// The view of the inside, and the file system that is mounted upon it. They end in the order of the fields.
#[derive(Debug)]
struct Mounts {
    files: Mounted,
    inside: Inside,
}

impl Mounts {
    fn unmount(self) -> Result<()> {
        self.files.unmount()?;
        self.inside.unmount()
    }
}

/// Files go into an NTFS on a volume.
#[derive(Debug)]
pub struct NtfsSink {
    files: DirectorySink,
    mounts: Option<Mounts>,
    /// On a disk it keeps everybody else from claiming it.
    _claim: Box<dyn Volume>,
}

impl NtfsSink {
    /// Makes the file system where it is missing, and opens it. `claim` is the container as its maker has it open, `scratch` is a directory for its mounts alone.
    ///
    /// # Errors
    /// `MissingProgram` with the package's name, `Io` where FUSE may not be used.
    pub fn open(
        program: &InsideProgram,
        container: &Path,
        password: Option<&Password>,
        claim: Box<dyn Volume>,
        state: FileSystemState,
        label: &str,
        scratch: &Path,
    ) -> Result<Self> {
        let programs = Programs::of_this_machine()?;
        let inside = Inside::show(program, container, password, scratch, Access::Write)?;
        if state == FileSystemState::Missing {
            programs.format(inside.volume(), label)?;
        }
        let files = programs.mount(inside.volume(), inside.files(), Access::Write)?;
        Ok(Self {
            files: DirectorySink::new(files.directory()),
            mounts: Some(Mounts { files, inside }),
            _claim: claim,
        })
    }
}

impl Sink for NtfsSink {
    fn skip(&mut self, entry: &PlanEntry) -> Result<()> {
        self.files.skip(entry)
    }

    fn begin(&mut self, entry: &PlanEntry) -> Result<()> {
        self.files.begin(entry)
    }

    fn go_on(&mut self, entry: &PlanEntry, bytes: u64) -> Result<()> {
        self.files.go_on(entry, bytes)
    }

    fn begin_document(&mut self, path: &str) -> Result<()> {
        self.files.begin_document(path)
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.files.write(data)
    }

    fn read_back(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.files.read_back(offset, buffer)
    }

    fn back_to(&mut self, bytes: u64) -> Result<()> {
        self.files.back_to(bytes)
    }

    fn end(&mut self) -> Result<()> {
        self.files.end()
    }

    fn commit(&mut self) -> Result<()> {
        self.files.commit()
    }

    fn finish(&mut self, plan: &Plan) -> Result<()> {
        self.files.finish(plan)?;
        match self.mounts.take() {
            Some(mounts) => mounts.unmount(),
            None => Err(Error::invalid("the medium is finished")),
        }
    }
}

/// A finished medium with NTFS on a volume.
#[derive(Debug)]
pub struct NtfsMedium {
    files: MountedMedium,
    _mounts: Mounts,
    _scratch: Scratch,
}

impl NtfsMedium {
    /// Whether a volume has an NTFS: its first sector says so.
    pub fn is_on(volume: &dyn Volume) -> Result<bool> {
        let mut sector = [0; crate::volume::SECTOR];
        volume.read_at(0, &mut sector)?;
        Ok(&sector[3..11] == b"NTFS    ")
    }

    /// Opens it for reading.
    ///
    /// # Errors
    /// `MissingProgram` with the package's name, `Io` where FUSE may not be used.
    pub fn open(program: &InsideProgram, container: &Path, password: Option<&Password>) -> Result<Self> {
        let programs = Programs::of_this_machine()?;
        let scratch = Scratch::new()?;
        let inside = Inside::show(program, container, password, &scratch.0, Access::Read)?;
        let files = programs.mount(inside.volume(), inside.files(), Access::Read)?;
        Ok(Self {
            files: MountedMedium::new(files.directory(), &OF_WINDOWS),
            _mounts: Mounts { files, inside },
            _scratch: scratch,
        })
    }
}

impl Medium for NtfsMedium {
    fn read(&self, path: &str, take: Take<'_>) -> Result<bool> {
        self.files.read(path, take)
    }

    fn walk(&self, visit: Visit<'_>) -> Result<()> {
        self.files.walk(visit)
    }
}

/// A directory for mounts that only read, removed with them.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let mut drawn = [0; 8];
        getrandom::fill(&mut drawn)
            .map_err(|e| Error::new(ErrorKind::Io, "the system gives no random bytes").caused_by(e))?;
        let path = std::env::temp_dir().join(format!("ferry-ntfs-{:016x}", u64::from_ne_bytes(drawn)));
        // What is mounted in it anybody could read: ntfs-3g gives every file to everybody.
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(Error::io("make", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Its mounts are gone by now; where one is not, the directory stays as well.
        std::fs::remove_file(self.0.join("lock")).ok();
        std::fs::remove_dir(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures of the measurement.
    #[test]
    fn what_ntfs_keeps_is_less_than_what_is_left_for_it() {
        for (volume, measured) in [
            (50_u64 << 20, 2508_u64 << 10),
            (200 << 20, 2512 << 10),
            (1 << 30, 5728 << 10),
            (5 << 30, 26_828 << 10),
            (20 << 30, 66_632 << 10),
            (200 << 30, 72_392 << 10),
        ] {
            assert!(own_bytes(volume) > measured, "{volume}");
        }
    }
}
