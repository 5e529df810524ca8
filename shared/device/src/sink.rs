//! Where the files of a plan go.
//!
//! Owns: the seam between an export and its engines ([`Sink`]), and the two engines: an ext4 image on a volume, and a directory of a
//! mounted file system, which is also how NTFS is written. Does not own: hashing and the journal ([`crate::session`]). Invariant: files arrive in the
//! order of the plan, each begun once in a run and ended once; what [`Sink::commit`] returned from survives a power cut.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::durable;
use crate::error::{Error, ErrorKind, Result};
use crate::ext4::{FileFacts, Layout, Writer};
use crate::naming::DevicePath;
use crate::plan::{Place, Plan, PlanEntry};
use crate::volume::Volume;

/// Takes an export's files one after the other.
pub trait Sink: Send + std::fmt::Debug {
    /// Passes over a file that is there already.
    fn skip(&mut self, entry: &PlanEntry) -> Result<()>;

    /// Begins a file of the plan, or makes a directory of it.
    fn begin(&mut self, entry: &PlanEntry) -> Result<()>;

    /// Begins a file of the plan behind its first bytes, whole blocks of [`BLOCK_BYTES`](crate::ext4::BLOCK_BYTES) that an earlier run committed.
    ///
    /// # Errors
    /// `Corrupt` where they cannot be there; nothing is begun then.
    fn go_on(&mut self, entry: &PlanEntry, bytes: u64) -> Result<()>;

    /// Begins a document, after all files.
    fn begin_document(&mut self, path: &str) -> Result<()>;

    /// The next bytes of what was begun.
    fn write(&mut self, data: &[u8]) -> Result<()>;

    /// Reads committed bytes of the begun file back from the medium. `offset` and the buffer are whole blocks.
    fn read_back(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// Forgets the bytes of the begun file behind so many, which are whole blocks: they have to come again.
    fn back_to(&mut self, bytes: u64) -> Result<()>;

    /// Ends what was begun.
    fn end(&mut self) -> Result<()>;

    /// Returns once everything that was ended is on the medium, and of the file that was begun all whole blocks that were written.
    fn commit(&mut self) -> Result<()>;

    /// Finishes the medium; nothing can be written afterwards.
    fn finish(&mut self, plan: &Plan) -> Result<()>;
}

/// An ext4 image.
#[derive(Debug)]
pub struct ImageSink<V>(Option<Writer<V>>);

impl<V: Volume> ImageSink<V> {
    /// Begins an image on a volume.
    pub fn new(layout: Arc<Layout>, volume: V) -> Result<Self> {
        Ok(Self(Some(Writer::new(layout, volume)?)))
    }

    fn writer(&mut self) -> Result<&mut Writer<V>> {
        self.0.as_mut().ok_or_else(|| Error::invalid("the image is finished"))
    }
}

impl<V: Volume> Sink for ImageSink<V> {
    fn skip(&mut self, entry: &PlanEntry) -> Result<()> {
        if entry.place.is_file() { self.writer()?.skip(entry.object.size_bytes) } else { Ok(()) }
    }

    fn begin(&mut self, entry: &PlanEntry) -> Result<()> {
        if entry.place.is_file() { self.writer()?.begin_file(entry.object.size_bytes) } else { Ok(()) }
    }

    fn go_on(&mut self, entry: &PlanEntry, bytes: u64) -> Result<()> {
        self.begin(entry)?;
        self.back_to(bytes)
    }

    fn begin_document(&mut self, _path: &str) -> Result<()> {
        self.writer()?.begin_document()
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.writer()?.write(data)
    }

    fn read_back(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.writer()?.read_back(offset, buffer)
    }

    fn back_to(&mut self, bytes: u64) -> Result<()> {
        self.writer()?.back_to(bytes)
    }

    fn end(&mut self) -> Result<()> {
        self.writer()?.end()
    }

    fn commit(&mut self) -> Result<()> {
        self.writer()?.commit()
    }

    fn finish(&mut self, plan: &Plan) -> Result<()> {
        let Some(writer) = self.0.take() else { return Err(Error::invalid("the image is finished")) };
        let is_file = |entry: &Result<PlanEntry>| entry.as_ref().map_or(true, |e| e.place.is_file());
        let facts = plan.entries()?.filter(is_file).map(|entry| {
            entry.map(|entry| FileFacts {
                size_bytes: entry.object.size_bytes,
                modified_unix_secs: entry.object.modified_unix_secs,
            })
        });
        writer.finish(facts)?;
        Ok(())
    }
}

/// A directory of a file system that is mounted.
#[derive(Debug)]
pub struct DirectorySink {
    root: PathBuf,
    open: Option<OpenFile>,
    /// Written since the last commit.
    unsynced: Vec<(PathBuf, File)>,
    directories: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    path: PathBuf,
    modified_unix_secs: Option<i64>,
}

/// Files kept open until they are synced together.
const UNSYNCED_FILES: usize = 256;
/// Directories that are remembered until then; 256 files of the deepest paths have more, and are synced themselves.
const UNSYNCED_DIRECTORIES: usize = 4096;

impl DirectorySink {
    /// Files go below `root`, which exists.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), open: None, unsynced: Vec::new(), directories: BTreeSet::new() }
    }

    fn make_directory(&mut self, path: &DevicePath) -> Result<PathBuf> {
        let mut directory = self.root.clone();
        for component in path.components() {
            self.directories.insert(directory.clone());
            directory.push(component);
            match std::fs::create_dir(&directory) {
                Ok(()) => {}
                // A link would lead out of the medium.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && is_directory(&directory) => {}
                Err(e) => return Err(Error::io("create the directory", &directory)(e)),
            }
        }
        Ok(directory)
    }

    /// Where a path of the plan is; its directories are made.
    fn place(&mut self, path: &str) -> Result<PathBuf> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = if parent.is_empty() {
            self.root.clone()
        } else {
            self.make_directory(&DevicePath::trusted(parent))?
        };
        let path = directory.join(name);
        self.directories.insert(directory);
        Ok(path)
    }

    fn create(&mut self, path: &str, modified_unix_secs: Option<i64>) -> Result<()> {
        let path = self.place(path)?;
        let file = durable::create_anew(&path)?;
        self.open = Some(OpenFile { file, path, modified_unix_secs });
        Ok(())
    }

    fn open(&mut self) -> Result<&mut OpenFile> {
        self.open.as_mut().ok_or_else(|| Error::invalid("no file was begun"))
    }
}

fn is_directory(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

impl Sink for DirectorySink {
    fn skip(&mut self, entry: &PlanEntry) -> Result<()> {
        let path = self.root.join(entry.place.path().as_str());
        let is_there = std::fs::symlink_metadata(&path).is_ok_and(|found| {
            if entry.place.is_file() { found.len() == entry.object.size_bytes } else { found.is_dir() }
        });
        if is_there {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{} was written and is not there: attach the medium that the job was begun on",
                path.display()
            ),
        ))
    }

    fn begin(&mut self, entry: &PlanEntry) -> Result<()> {
        match &entry.place {
            Place::Directory { path } => {
                let made = self.make_directory(path)?;
                self.directories.insert(made);
                return if self.directories.len() >= UNSYNCED_DIRECTORIES { self.commit() } else { Ok(()) };
            }
            Place::Recovered { directory: Some(directory), .. } => {
                self.make_directory(directory)?;
            }
            _ => {}
        }
        self.create(entry.place.path().as_str(), Some(entry.object.modified_unix_secs))
    }

    fn go_on(&mut self, entry: &PlanEntry, bytes: u64) -> Result<()> {
        let path = self.place(entry.place.path().as_str())?;
        // A link would lead out of the medium.
        let itself = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let missing =
            || Error::corrupt(format!("{} has not the {bytes} bytes that were noted", path.display()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(itself)
            .open(&path)
            .map_err(|error| missing().caused_by(error))?;
        if !file.metadata().is_ok_and(|found| found.is_file() && found.len() >= bytes) {
            return Err(missing());
        }
        crate::medium::forget_cached(&file);
        self.open = Some(OpenFile { file, path, modified_unix_secs: Some(entry.object.modified_unix_secs) });
        self.back_to(bytes)
    }

    fn begin_document(&mut self, path: &str) -> Result<()> {
        self.create(path, None)
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        let open = self.open()?;
        open.file.write_all(data).map_err(Error::io("write", &open.path))
    }

    fn read_back(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let open = self.open()?;
        open.file.read_exact_at(buffer, offset).map_err(Error::io("read back", &open.path))
    }

    fn back_to(&mut self, bytes: u64) -> Result<()> {
        let open = self.open()?;
        open.file
            .set_len(bytes)
            .and_then(|()| open.file.seek(SeekFrom::Start(bytes)).map(drop))
            .map_err(Error::io("go back in", &open.path))
    }

    fn end(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Err(Error::invalid("no file was begun")) };
        if let Some(modified) = open.modified_unix_secs.and_then(system_time) {
            open.file.set_modified(modified).map_err(Error::io("set the time of", &open.path))?;
        }
        self.unsynced.push((open.path, open.file));
        if self.unsynced.len() >= UNSYNCED_FILES { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<()> {
        if let Some(open) = &self.open {
            open.file.sync_all().map_err(Error::io("sync", &open.path))?;
        }
        for (path, file) in self.unsynced.drain(..) {
            file.sync_all().map_err(Error::io("sync", &path))?;
        }
        for directory in std::mem::take(&mut self.directories) {
            File::open(&directory).and_then(|d| d.sync_all()).map_err(Error::io("sync", &directory))?;
        }
        Ok(())
    }

    fn finish(&mut self, _plan: &Plan) -> Result<()> {
        self.commit()
    }
}

pub(crate) fn system_time(unix_secs: i64) -> Option<SystemTime> {
    let distance = Duration::from_secs(unix_secs.unsigned_abs());
    if unix_secs < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    }
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn skip(&mut self, entry: &PlanEntry) -> Result<()> {
        (**self).skip(entry)
    }

    fn begin(&mut self, entry: &PlanEntry) -> Result<()> {
        (**self).begin(entry)
    }

    fn go_on(&mut self, entry: &PlanEntry, bytes: u64) -> Result<()> {
        (**self).go_on(entry, bytes)
    }

    fn begin_document(&mut self, path: &str) -> Result<()> {
        (**self).begin_document(path)
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        (**self).write(data)
    }

    fn read_back(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        (**self).read_back(offset, buffer)
    }

    fn back_to(&mut self, bytes: u64) -> Result<()> {
        (**self).back_to(bytes)
    }

    fn end(&mut self) -> Result<()> {
        (**self).end()
    }

    fn commit(&mut self) -> Result<()> {
        (**self).commit()
    }

    fn finish(&mut self, plan: &Plan) -> Result<()> {
        (**self).finish(plan)
    }
}
