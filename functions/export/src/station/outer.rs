//! A disk that gets a file system of its own, with the container as a file on it.
//!
//! Owns: where it is mounted while a job is written or read back, and that it is made once. Does not own: its programs (`ferry_device::target::outer`) or whether the disk may be erased
//! ([`disk`](super::disk)). Invariants: the file system is made after the disk was noted as the job's; the container is closed before the disk is unmounted; a medium counts as written once the
//! unmount has succeeded.

use std::path::Path;

use ferry_device::durable;
use ferry_device::job::JobRecord;
use ferry_device::naming::FileSystem;
use ferry_device::ntfs::Access;
use ferry_device::plan::{Plan, PlanEntry};
use ferry_device::signature::FILE_NAME;
use ferry_device::sink::Sink;
use ferry_device::target::outer::{OuterFileSystem, OuterMount};
use ferry_device::volume::{RawVolume, Volume as _};
use ferry_device::{Error, Result};

/// Says in the work directory that the disk has its file system.
const MADE: &str = "outer-made";
/// Where in the work directory it is mounted.
const MOUNTED: &str = "outer";

/// Finds the programs, and unmounts what a killed run left.
pub(super) fn ready(file_system: FileSystem, work: &Path) -> Result<OuterFileSystem> {
    let outer = OuterFileSystem::of_this_machine(file_system)?;
    outer.unmount_leftover(&work.join(MOUNTED))?;
    Ok(outer)
}

/// Makes the file system where it is missing, and mounts it. `disk` is the one that was checked: it is let go of, since the programs claim it for themselves.
pub(super) fn enter(
    file_system: FileSystem,
    disk: RawVolume,
    job: &JobRecord,
    work: &Path,
) -> Result<OuterMount> {
    let outer = OuterFileSystem::of_this_machine(file_system)?;
    let (device, disk_bytes) = (disk.path().to_owned(), disk.size_bytes());
    let made = work.join(MADE);
    let is_made = made.exists();
    if !is_made {
        disk.wipe_ends()?;
    }
    drop(disk);
    if !is_made {
        outer.format(&device, disk_bytes, job.id.as_str())?;
        durable::write(&made, b"")?;
    }
    let mount = outer.mount(&device, &work.join(MOUNTED), Access::Write)?;
    let signature = mount.directory().join(FILE_NAME);
    std::fs::write(&signature, job.signature.file_contents()).map_err(Error::io("write", &signature))?;
    Ok(mount)
}

/// Mounts it to be read.
pub(super) fn read(file_system: FileSystem, device: &Path, work: &Path) -> Result<OuterMount> {
    ready(file_system, work)?.mount(device, &work.join(MOUNTED), Access::Read)
}

/// Files go into a container on a mounted disk.
#[derive(Debug)]
pub(super) struct OuterSink {
    /// Closed before the disk is unmounted, whichever way this ends.
    container: Option<Box<dyn Sink>>,
    mount: Option<OuterMount>,
}

impl OuterSink {
    pub(super) fn new(container: Box<dyn Sink>, mount: OuterMount) -> Self {
        Self { container: Some(container), mount: Some(mount) }
    }

    fn container(&mut self) -> Result<&mut Box<dyn Sink>> {
        self.container.as_mut().ok_or_else(|| Error::invalid("the medium is finished"))
    }
}

impl Sink for OuterSink {
    fn skip(&mut self, entry: &PlanEntry) -> Result<()> {
        self.container()?.skip(entry)
    }

    fn begin(&mut self, entry: &PlanEntry) -> Result<()> {
        self.container()?.begin(entry)
    }

    fn go_on(&mut self, entry: &PlanEntry, bytes: u64) -> Result<()> {
        self.container()?.go_on(entry, bytes)
    }

    fn begin_document(&mut self, path: &str) -> Result<()> {
        self.container()?.begin_document(path)
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.container()?.write(data)
    }

    fn read_back(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.container()?.read_back(offset, buffer)
    }

    fn back_to(&mut self, bytes: u64) -> Result<()> {
        self.container()?.back_to(bytes)
    }

    fn end(&mut self) -> Result<()> {
        self.container()?.end()
    }

    fn commit(&mut self) -> Result<()> {
        self.container()?.commit()
    }

    fn finish(&mut self, plan: &Plan) -> Result<()> {
        self.container()?.finish(plan)?;
        drop(self.container.take());
        self.mount.take().map_or(Ok(()), OuterMount::unmount)
    }
}
