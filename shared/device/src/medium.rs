//! A finished medium, read back.
//!
//! Owns: the seam between checks and what they read ([`Medium`]), its two kinds, and taking files out ([`extract`]). Does not own: what is right
//! ([`crate::verify`]). Invariant: nothing is written to the medium, nothing outside the given directory.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::container::{Container, Password};
use crate::error::{Error, ErrorKind, Result};
use crate::ext4::Reader;
use crate::naming::{LOST_AND_FOUND, NOT_OF_THE_EXPORT};
use crate::ntfs::inside::InsideProgram;
use crate::ntfs::medium::NtfsMedium;
use crate::target::{CONTAINER_ENDINGS, Target};
use crate::volume::{RawVolume, Volume};

/// Takes a file's bytes as they are read.
pub type Take<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// A file met on a walk: its path, size in bytes and time in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Relative to the root, components joined by `/`.
    pub path: String,
    /// Bytes; zero for a directory.
    pub size_bytes: u64,
    /// Its time.
    pub modified_unix_secs: i64,
    /// Whether it is a directory.
    pub is_directory: bool,
}

/// Files by their path.
pub trait Medium {
    /// Reads a file from front to back; `false` where there is none.
    fn read(&self, path: &str, take: Take<'_>) -> Result<bool>;

    /// Meets everything, directories before what is in them.
    fn walk(&self, visit: &mut dyn FnMut(Found) -> Result<()>) -> Result<()>;
}

impl<V: Volume> Medium for Reader<V> {
    fn read(&self, path: &str, take: Take<'_>) -> Result<bool> {
        match self.find(path)? {
            Some(node) if !node.is_directory() => {
                Self::read(self, &node, take)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn walk(&self, visit: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
        Self::walk(self, &mut |path, node| {
            if path == LOST_AND_FOUND {
                return Ok(());
            }
            visit(Found {
                path: path.to_owned(),
                size_bytes: if node.is_directory() { 0 } else { node.size_bytes() },
                modified_unix_secs: node.modified_unix_secs(),
                is_directory: node.is_directory(),
            })
        })
    }
}

/// Opens the medium at a target: the container or image inside, or the directory itself. `ntfs` is what shows an NTFS.
///
/// # Errors
/// `WrongPassword` when there is a container that the password does not open; `InvalidInput` when there is one and no password, or when a
/// directory has no container or several.
pub fn open(target: &Target, password: Option<&Password>, ntfs: &InsideProgram) -> Result<Box<dyn Medium>> {
    match target {
        Target::Plain(path) => Ok(Box::new(MountedMedium::new(path, &NOT_OF_THE_EXPORT))),
        Target::Image(path) | Target::Block(path) => open_volume(path, password, ntfs),
        Target::Directory(path) => open_volume(&only_container(path)?, password, ntfs),
    }
}

fn open_volume(path: &Path, password: Option<&Password>, ntfs: &InsideProgram) -> Result<Box<dyn Medium>> {
    let raw = RawVolume::open(path)?;
    if NtfsMedium::is_on(&raw)? {
        return Ok(Box::new(NtfsMedium::open(ntfs, path, None)?));
    }
    // An image without a container is a file system at once; a container never looks like one.
    match (Reader::open(raw), password) {
        (Ok(reader), _) => Ok(Box::new(reader)),
        (Err(e), None) if e.kind() == ErrorKind::Corrupt => Err(Error::invalid(format!(
            "{} is no file system in the clear; if it is a container, give its password",
            path.display()
        ))
        .caused_by(e)),
        (Err(e), None) => Err(e),
        (Err(_), Some(password)) => {
            let container = Container::open(RawVolume::open(path)?, password)?;
            if NtfsMedium::is_on(&container)? {
                return Ok(Box::new(NtfsMedium::open(ntfs, path, Some(password))?));
            }
            Ok(Box::new(Reader::open(container)?))
        }
    }
}

fn only_container(directory: &Path) -> Result<PathBuf> {
    let is_container = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        CONTAINER_ENDINGS.contains(&ending)
    };
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .map_err(Error::io("list", directory))?
        .into_iter()
        .map(|entry| entry.path())
        .filter(is_container)
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(path), true) => Ok(path),
        (None, _) => Err(Error::invalid(format!("{} has no container", directory.display()))),
        (Some(_), false) => Err(Error::invalid(format!(
            "{} has several containers; name one as image:PATH",
            directory.display()
        ))),
    }
}

/// Lets the system forget what it has of a file in memory, so that the next read is one of the medium. It may refuse, and reading is right all the same.
pub(crate) fn forget_cached(file: &File) {
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).ok();
}

/// Directories of a mounted medium that are kept in memory before they are walked.
const WAITING_DIRECTORIES: usize = 4096;

/// A medium that the system has mounted, or that never was anything but a directory.
#[derive(Debug)]
pub struct MountedMedium {
    root: PathBuf,
    ignored: Vec<String>,
}

impl MountedMedium {
    /// Files below `root`; names at the root that are not the export's, such as `SIGNATURE`, are ignored.
    pub fn new(root: &Path, ignored: &[&str]) -> Self {
        Self { root: root.to_owned(), ignored: ignored.iter().map(|name| (*name).to_owned()).collect() }
    }

    fn walk_directory(
        &self,
        directory: &Path,
        path: &str,
        visit: &mut dyn FnMut(Found) -> Result<()>,
    ) -> Result<()> {
        // What is met is not kept, since there may be millions in one directory. Directories wait until this one is closed, for the sake of deep ones, or
        // until they are many.
        let mut waiting: Vec<(PathBuf, String)> = Vec::new();
        let enter = |waiting: &mut Vec<(PathBuf, String)>, visit: &mut dyn FnMut(Found) -> Result<()>| {
            waiting.drain(..).try_for_each(|(child, below)| self.walk_directory(&child, &below, visit))
        };
        for child in std::fs::read_dir(directory).map_err(Error::io("list", directory))? {
            let child = child.map_err(Error::io("list", directory))?.path();
            let name = child.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_empty() && self.ignored.contains(&name) {
                continue;
            }
            let metadata = std::fs::symlink_metadata(&child).map_err(Error::io("look at", &child))?;
            let below = if path.is_empty() { name } else { format!("{path}/{name}") };
            let modified = metadata.modified().ok();
            visit(Found {
                path: below.clone(),
                size_bytes: if metadata.is_dir() { 0 } else { metadata.len() },
                modified_unix_secs: modified.map_or(0, unix_secs),
                is_directory: metadata.is_dir(),
            })?;
            if metadata.is_dir() {
                waiting.push((child, below));
                if waiting.len() == WAITING_DIRECTORIES {
                    enter(&mut waiting, visit)?;
                }
            }
        }
        enter(&mut waiting, visit)
    }
}

impl Medium for MountedMedium {
    fn read(&self, path: &str, take: Take<'_>) -> Result<bool> {
        let path = below(&self.root, path)?;
        if !std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            return Ok(false);
        }
        let mut file = File::open(&path).map_err(Error::io("open", &path))?;
        forget_cached(&file);
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut buffer).map_err(Error::io("read", &path))?;
            if read == 0 {
                return Ok(true);
            }
            take(&buffer[..read])?;
        }
    }

    fn walk(&self, visit: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
        self.walk_directory(&self.root, "", visit)
    }
}

/// The path below `root`.
///
/// # Errors
/// `Corrupt` when it leads out of it.
fn below(root: &Path, path: &str) -> Result<PathBuf> {
    let relative = Path::new(path);
    if relative.components().all(|component| matches!(component, Component::Normal(_))) {
        Ok(root.join(relative))
    } else {
        Err(Error::corrupt(format!("{path:?} leads out of the medium")))
    }
}

fn unix_secs(time: SystemTime) -> i64 {
    let secs = |distance: Duration| i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => secs(after),
        Err(before) => -secs(before.duration()),
    }
}

/// What was taken out of a medium.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Copies everything whose path begins with `prefix` into `directory`, which exists.
///
/// # Errors
/// `Refused` when a file is there already: nothing is overwritten.
pub fn extract(medium: &dyn Medium, prefix: &str, directory: &Path) -> Result<Extracted> {
    let mut extracted = Extracted::default();
    medium.walk(&mut |found| {
        if !found.path.starts_with(prefix) {
            return Ok(());
        }
        let path = below(directory, &found.path)?;
        if found.is_directory {
            return std::fs::create_dir_all(&path).map_err(Error::io("create", &path));
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        let mut file = File::create_new(&path).map_err(|e| {
            if e.kind() == std::io::ErrorKind::AlreadyExists {
                Error::new(ErrorKind::Refused, format!("{} exists and is not overwritten", path.display()))
            } else {
                Error::io("create", &path)(e)
            }
        })?;
        medium.read(&found.path, &mut |data| file.write_all(data).map_err(Error::io("write", &path)))?;
        let distance = Duration::from_secs(found.modified_unix_secs.unsigned_abs());
        let modified = if found.modified_unix_secs < 0 {
            SystemTime::UNIX_EPOCH - distance
        } else {
            SystemTime::UNIX_EPOCH + distance
        };
        file.set_modified(modified).map_err(Error::io("set the time of", &path))?;
        extracted.files += 1;
        extracted.bytes += found.size_bytes;
        Ok(())
    })?;
    Ok(extracted)
}
