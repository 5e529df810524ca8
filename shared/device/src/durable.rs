//! Small files that are whole or not there, a power cut between included.
//!
//! Owns: writing one beside its place, syncing it and putting it there; reading one that may be missing; and removing one. Does not own: what they say. Invariant: what
//! [`write()`] returned from is there after a power cut, and before it nothing or what was there before.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use crate::error::{Error, Result};

/// Writes a file of a work directory.
pub fn write(path: &Path, contents: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(contents)?;
        file.sync_all()
    });
    written.map_err(Error::io("write", &partial))?;
    put_in_place(&partial, path)
}

/// Reads one; `None` where it is missing.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(contents) => Ok(Some(contents)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// Removes one, if it is there; a power cut does not bring it back.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_directory_of(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("remove", path)(error)),
    }
}

/// Makes a file anew. What an interrupted run left there goes; a link is replaced, not followed. It is synced by whoever writes it.
pub fn create_anew(path: &Path) -> Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("replace", path)(error));
        }
        _ => {}
    }
    OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(Error::io("create", path))
}

/// Gives a file that is synced its name.
pub(crate) fn put_in_place(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).map_err(Error::io("put in place", to))?;
    sync_directory_of(to)
}

fn sync_directory_of(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory).and_then(|d| d.sync_all()).map_err(Error::io("sync", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_missing_or_what_was_written_last() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("note");
        assert_eq!(read(&path).unwrap(), None);
        for contents in [&b"first"[..], b""] {
            write(&path, contents).unwrap();
            assert_eq!(read(&path).unwrap().as_deref(), Some(contents));
        }
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "nothing is left beside it");
        for _ in 0..2 {
            remove(&path).unwrap();
            assert_eq!(read(&path).unwrap(), None);
        }
    }
}
