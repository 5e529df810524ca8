//! The inside of a container as a file, for programs that know files only.
//!
//! Owns: a FUSE file system with one file, `volume`. Does not own: who reads or writes it: ntfs-3g makes and mounts its file system in it. Invariant:
//! nothing decrypted reaches a disk; what is not a whole number of sectors is read, changed and written under one lock.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyWrite,
    Request, TimeOrNow, WriteFlags,
};

use crate::error::{Error, Result};
use crate::volume::{SECTOR_BYTES, Volume};

const FILE: INodeNo = INodeNo(2);
/// Nothing changes behind the kernel's back.
const FOR_LONG: Duration = Duration::from_hours(1);

/// A view, for as long as it lives.
#[derive(Debug)]
pub struct DecryptedView {
    session: BackgroundSession,
    path: PathBuf,
    volume: Arc<dyn Volume>,
}

impl DecryptedView {
    /// What the file is called.
    pub const NAME: &str = "volume";

    /// Shows `volume` as a file in `directory`, which exists and is empty.
    ///
    /// # Errors
    /// `Io` where FUSE may not be used: it needs root or a `/dev/fuse` that you may open.
    pub fn mount(volume: Arc<dyn Volume>, directory: &Path) -> Result<Self> {
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("ferry-container".into()),
            MountOption::NoSuid,
            MountOption::NoDev,
            MountOption::NoExec,
        ];
        let view = View { volume: Arc::clone(&volume), lock: Mutex::new(()) };
        let session = fuser::spawn_mount(view, directory, &config)
            .map_err(Error::io("show a container's inside (FUSE) at", directory))?;
        Ok(Self { session, path: directory.join(Self::NAME), volume })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the view and returns once everything written through it is on the medium.
    pub fn unmount(self) -> Result<()> {
        self.session.umount_and_join().map_err(Error::io("unmount", &self.path))?;
        self.volume.sync()
    }
}

#[derive(Debug)]
struct View {
    volume: Arc<dyn Volume>,
    lock: Mutex<()>,
}

impl View {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_file = inode == FILE;
        let size = if is_file { self.volume.size_bytes() } else { 0 };
        FileAttr {
            ino: inode,
            size,
            blocks: size / SECTOR_BYTES,
            atime: SystemTime::UNIX_EPOCH,
            mtime: SystemTime::UNIX_EPOCH,
            ctime: SystemTime::UNIX_EPOCH,
            crtime: SystemTime::UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: if is_file { 0o600 } else { 0o500 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// The whole sectors around a range, and where the range begins in them.
    fn around(&self, offset: u64, length: usize) -> Result<(u64, Vec<u8>, usize)> {
        let start = offset - offset % SECTOR_BYTES;
        let end = (offset + length as u64).next_multiple_of(SECTOR_BYTES);
        let length =
            usize::try_from(end - start).map_err(|e| Error::invalid("too much at once").caused_by(e))?;
        let mut sectors = vec![0; length];
        self.volume.read_at(start, &mut sectors)?;
        Ok((start, sectors, usize::try_from(offset - start).unwrap_or_default()))
    }

    fn change(&self, offset: u64, data: &[u8]) -> Result<()> {
        let _changing = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let is_whole =
            offset.is_multiple_of(SECTOR_BYTES) && (data.len() as u64).is_multiple_of(SECTOR_BYTES);
        if is_whole {
            return self.volume.write_at(offset, &mut data.to_vec());
        }
        let (start, mut sectors, at) = self.around(offset, data.len())?;
        sectors[at..at + data.len()].copy_from_slice(data);
        self.volume.write_at(start, &mut sectors)
    }

    fn show(&self, offset: u64, size: u32) -> Result<Vec<u8>> {
        let left = self.volume.size_bytes().saturating_sub(offset);
        let length = usize::try_from(left.min(u64::from(size))).unwrap_or_default();
        let (_, sectors, at) = self.around(offset, length)?;
        Ok(sectors[at..at + length].to_vec())
    }
}

impl Filesystem for View {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == DecryptedView::NAME {
            reply.entry(&FOR_LONG, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_LONG, &self.attributes(inode));
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        _size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _created: Option<SystemTime>,
        _changed: Option<SystemTime>,
        _backed_up: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.attr(&FOR_LONG, &self.attributes(inode));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.show(offset, size) {
            Ok(data) => reply.data(&data),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match (self.change(offset, data), u32::try_from(data.len())) {
            (Ok(()), Ok(written)) => reply.written(written),
            _ => reply.error(Errno::EIO),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.volume.sync() {
            Ok(()) => reply.ok(),
            Err(_) => reply.error(Errno::EIO),
        }
    }
}
