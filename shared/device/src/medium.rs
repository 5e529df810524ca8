//! A finished medium, read back.
//!
//! Owns: the seam between checks and what they read ([`Medium`]), its two kinds, and what a walk over them meets. Does not own: what is right
//! ([`crate::verify`]). Invariant: nothing is written to the medium.

use std::fs::File;
use std::io::Read;
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

/// What a walk comes to.
#[derive(Debug)]
pub enum Met {
    /// A file or a directory.
    Found(Found),
    /// Something that is there and cannot be read.
    Damaged {
        /// Relative to the root; a directory's own where part of its list is lost.
        path: String,
        /// Why.
        error: Error,
    },
}

/// Takes what a walk meets.
pub type Visit<'a> = &'a mut dyn FnMut(Met) -> Result<()>;

/// Files by their path.
pub trait Medium {
    /// Reads a file from front to back; `false` where there is none.
    fn read(&self, path: &str, take: Take<'_>) -> Result<bool>;

    /// Meets everything, directories before what is in them. What is damaged does not end it.
    fn walk(&self, visit: Visit<'_>) -> Result<()>;
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

    fn walk(&self, visit: Visit<'_>) -> Result<()> {
        Self::walk(self, &mut |path, node| {
            if path == LOST_AND_FOUND {
                return Ok(());
            }
            let path = path.to_owned();
            visit(match node {
                Ok(node) => Met::Found(Found {
                    path,
                    size_bytes: if node.is_directory() { 0 } else { node.size_bytes() },
                    modified_unix_secs: node.modified_unix_secs(),
                    is_directory: node.is_directory(),
                }),
                Err(error) => Met::Damaged { path, error },
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
        // A Mac puts a file of its own beside each: ._TC44P.hc.
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        CONTAINER_ENDINGS.contains(&ending) && !is_hidden
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

    fn walk_directory(&self, directory: &Path, path: &str, visit: Visit<'_>) -> Result<()> {
        // What is met is not kept, since there may be millions in one directory. Directories wait until this one is closed, for the sake of deep ones, or
        // until they are many.
        let mut waiting: Vec<(PathBuf, String)> = Vec::new();
        let enter = |waiting: &mut Vec<(PathBuf, String)>, visit: Visit<'_>| {
            waiting.drain(..).try_for_each(|(child, below)| self.walk_directory(&child, &below, visit))
        };
        let damaged = |path: &str, doing: &str, of: &Path, error: std::io::Error| Met::Damaged {
            path: path.to_owned(),
            error: Error::io(doing, of)(error),
        };
        let children = match std::fs::read_dir(directory) {
            Ok(children) => children,
            Err(error) => return visit(damaged(path, "list", directory, error)),
        };
        for child in children {
            let child = match child {
                Ok(child) => child.path(),
                // Behind it nothing more is told.
                Err(error) => {
                    visit(damaged(path, "list", directory, error))?;
                    break;
                }
            };
            let name = child.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_empty() && self.ignored.contains(&name) {
                continue;
            }
            let below = if path.is_empty() { name } else { format!("{path}/{name}") };
            let metadata = match std::fs::symlink_metadata(&child) {
                Ok(metadata) => metadata,
                Err(error) => {
                    visit(damaged(&below, "look at", &child, error))?;
                    continue;
                }
            };
            let modified = metadata.modified().ok();
            visit(Met::Found(Found {
                path: below.clone(),
                size_bytes: if metadata.is_dir() { 0 } else { metadata.len() },
                modified_unix_secs: modified.map_or(0, unix_secs),
                is_directory: metadata.is_dir(),
            }))?;
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
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => {}
            Err(error)
                if !matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Err(Error::io("look at", &path)(error));
            }
            _ => return Ok(false),
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

    fn walk(&self, visit: Visit<'_>) -> Result<()> {
        self.walk_directory(&self.root, "", visit)
    }
}

/// The path below `root`.
///
/// # Errors
/// `Corrupt` when it leads out of it.
pub(crate) fn below(root: &Path, path: &str) -> Result<PathBuf> {
    let relative = Path::new(path);
    if relative.components().all(|component| matches!(component, Component::Normal(_))) {
        Ok(root.join(relative))
    } else {
        Err(Error::corrupt(format!("{path:?} leads out of the medium")))
    }
}

pub(crate) fn unix_secs(time: SystemTime) -> i64 {
    let secs = |distance: Duration| i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => secs(after),
        Err(before) => -secs(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_mac_puts_beside_a_container_is_none() {
        let root = tempfile::tempdir().unwrap();
        assert!(only_container(root.path()).is_err());
        for name in ["TC44P.hc", "._TC44P.hc"] {
            std::fs::write(root.path().join(name), "").unwrap();
        }
        assert_eq!(only_container(root.path()).unwrap(), root.path().join("TC44P.hc"));
        std::fs::write(root.path().join("TC45P.luks"), "").unwrap();
        assert!(only_container(root.path()).unwrap_err().to_string().contains("several"));
    }
}
