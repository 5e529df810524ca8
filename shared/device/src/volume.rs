//! What a file system is written onto.
//!
//! Owns: the seam between layouts and media ([`Volume`]), and its plain implementation over a file or a block device. Does not
//! own: encryption ([`crate::container`]) or the choice of the medium ([`crate::target`]). Invariant: offsets and lengths are whole
//! sectors, so that a cipher can work on what it is given alone.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

/// The unit of every access, in bytes.
pub const SECTOR_BYTES: u64 = 512;
pub(crate) const SECTOR: usize = 512;

/// A medium of a fixed size, written and read anywhere in whole sectors.
pub trait Volume: Send + Sync + fmt::Debug {
    /// The size, in bytes.
    fn size_bytes(&self) -> u64;

    /// Fills `buffer` from `offset`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// Writes `data` at `offset`. The data may be changed on the way: a cipher works in place.
    fn write_at(&self, offset: u64, data: &mut [u8]) -> Result<()>;

    /// Returns once everything written is on the medium.
    fn sync(&self) -> Result<()>;
}

impl<V: Volume + ?Sized> Volume for Arc<V> {
    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        (**self).read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, data: &mut [u8]) -> Result<()> {
        (**self).write_at(offset, data)
    }

    fn sync(&self) -> Result<()> {
        (**self).sync()
    }
}

/// A file or a block device, as it is.
#[derive(Debug)]
pub struct RawVolume {
    file: File,
    path: PathBuf,
    size_bytes: u64,
}

impl RawVolume {
    /// Makes a file of `size_bytes`, all holes; one that exists keeps its bytes.
    pub fn create(path: &Path, size_bytes: u64) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(Error::io("create", path))?;
        file.set_len(size_bytes).map_err(Error::io("set the size of", path))?;
        Ok(Self { file, path: path.to_owned(), size_bytes })
    }

    /// Opens what is there, for reading only.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, OpenOptions::new().read(true))
    }

    /// Opens a disk for writing, for this process alone: the kernel refuses while anything of it is mounted or built upon (open(2), `O_EXCL`), and keeps
    /// everybody else from doing so until it is closed.
    pub fn open_disk(path: &Path) -> Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let alone = rustix::fs::OFlags::EXCL.bits().cast_signed();
        Self::open_with(path, OpenOptions::new().read(true).write(true).custom_flags(alone))
    }

    /// Opens what is there, for writing.
    pub fn open_for_writing(path: &Path) -> Result<Self> {
        Self::open_with(path, OpenOptions::new().read(true).write(true))
    }

    /// Whoever reads reads from the medium: what the system still has of it in memory is let go of first.
    fn open_with(path: &Path, options: &OpenOptions) -> Result<Self> {
        use std::io::{Seek, SeekFrom};
        let mut file = options.open(path).map_err(Error::io("open", path))?;
        // A block device's metadata says nothing about its size; its end does.
        let size_bytes = file.seek(SeekFrom::End(0)).map_err(Error::io("measure", path))?;
        crate::medium::forget_cached(&file);
        Ok(Self { file, path: path.to_owned(), size_bytes })
    }

    /// Overwrites both ends with zeros: there stand the partition tables and the names of file systems and arrays that were here before, and some
    /// programs offer to put back what they find.
    pub fn wipe_ends(&self) -> Result<()> {
        const END_BYTES: u64 = 1 << 20;
        let end_bytes = END_BYTES.min(self.size_bytes);
        let mut zeros = vec![0; usize::try_from(end_bytes).unwrap_or_default()];
        self.write_at(0, &mut zeros)?;
        self.write_at(self.size_bytes - end_bytes, &mut zeros)?;
        self.sync()
    }

    /// `MAJOR:MINOR` of the disk that is open, whatever its path leads to by now.
    pub fn disk_number(&self) -> Result<String> {
        use std::os::unix::fs::MetadataExt as _;
        let device = self.file.metadata().map_err(Error::io("look at", &self.path))?.rdev();
        Ok(format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn check(&self, offset: u64, length: usize) -> Result<()> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.size_bytes) {
            return Err(Error::new(
                ErrorKind::NoSpace,
                format!("{} ends at byte {}", self.path.display(), self.size_bytes),
            ));
        }
        Ok(())
    }
}

impl Volume for RawVolume {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.check(offset, buffer.len())?;
        self.file.read_exact_at(buffer, offset).map_err(Error::io("read", &self.path))
    }

    fn write_at(&self, offset: u64, data: &mut [u8]) -> Result<()> {
        self.check(offset, data.len())?;
        self.file.write_all_at(data, offset).map_err(Error::io("write", &self.path))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(Error::io("sync", &self.path))
    }
}
