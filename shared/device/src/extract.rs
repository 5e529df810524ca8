//! Taking files out of a medium.
//!
//! Owns: which files are taken, and what becomes of those that cannot be. Does not own: reading. Invariants: nothing is written outside the given directory; no file that is there is
//! overwritten; under its name a file is whole, and one that is whole already is passed over, so that taking out goes on where it was broken off; what is damaged does not
//! keep back the rest.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::medium::{Found, Medium, Met, below, unix_secs};
use crate::sink::system_time;
use crate::verify::Problem;

/// What a file's name begins with until it is whole; what is drawn follows.
const PARTIAL: &str = ".ferry-partial-";
/// Problems that are told one by one; the others are counted.
const TOLD: usize = 1000;

/// What was taken out of a medium.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were there already, of the same size and time.
    pub passed_over: u64,
    /// Files and directories that could not be read.
    pub damaged: u64,
    /// The first thousand of them.
    pub problems: Vec<Problem>,
}

impl Extracted {
    fn tell(&mut self, path: &str, error: &Error) {
        self.damaged += 1;
        if self.problems.len() < TOLD {
            self.problems.push(Problem::unreadable(path, error));
        }
    }
}

/// Copies everything whose path begins with `prefix` into `directory`, which exists.
///
/// # Errors
/// `Refused` when another file is there already: nothing is overwritten. `Io` where nothing can be written.
pub fn extract(medium: &dyn Medium, prefix: &str, directory: &Path) -> Result<Extracted> {
    let mut extracted = Extracted::default();
    medium.walk(&mut |met| match met {
        Met::Found(found) if found.path.starts_with(prefix) => match below(directory, &found.path) {
            Ok(path) => take(medium, &found, &path, &mut extracted),
            Err(error) => {
                extracted.tell(&found.path, &error);
                Ok(())
            }
        },
        Met::Damaged { path, error } if path.starts_with(prefix) || prefix.starts_with(&path) => {
            extracted.tell(&path, &error);
            Ok(())
        }
        Met::Found(_) | Met::Damaged { .. } => Ok(()),
    })?;
    Ok(extracted)
}

fn take(medium: &dyn Medium, found: &Found, path: &Path, extracted: &mut Extracted) -> Result<()> {
    if found.is_directory {
        return std::fs::create_dir_all(path).map_err(Error::io("create", path));
    }
    if let Ok(there) = std::fs::symlink_metadata(path) {
        let is_same = there.is_file()
            && there.len() == found.size_bytes
            && there.modified().is_ok_and(|modified| unix_secs(modified) == found.modified_unix_secs);
        if is_same {
            extracted.passed_over += 1;
            return Ok(());
        }
        return Err(Error::new(
            ErrorKind::Refused,
            format!("{} exists and is not overwritten", path.display()),
        ));
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    let (partial, mut file) = Partial::create(parent)?;
    // What cannot be written ends everything, what cannot be read only this file.
    let mut unwritten = None;
    let read = medium.read(&found.path, &mut |data| {
        file.write_all(data).map_err(|error| {
            unwritten = Some(Error::io("write", path)(error));
            Error::invalid("the file cannot be written")
        })
    });
    if let Some(error) = unwritten {
        return Err(error);
    }
    match read {
        Ok(true) => {}
        Ok(false) => {
            extracted.tell(&found.path, &Error::corrupt("it is neither a file nor a directory"));
            return Ok(());
        }
        Err(error) => {
            extracted.tell(&found.path, &error);
            return Ok(());
        }
    }
    if let Some(modified) = system_time(found.modified_unix_secs) {
        file.set_modified(modified).map_err(Error::io("set the time of", path))?;
    }
    partial.put_in_place(path)?;
    extracted.files += 1;
    extracted.bytes += found.size_bytes;
    Ok(())
}

/// A file that is not whole, gone with this.
struct Partial(PathBuf);

impl Partial {
    /// Under a name that nobody has.
    fn create(parent: &Path) -> Result<(Self, File)> {
        let mut drawn = [0; 8];
        getrandom::fill(&mut drawn)
            .map_err(|e| Error::new(ErrorKind::Io, "the system gives no random bytes").caused_by(e))?;
        let path = parent.join(format!("{PARTIAL}{:016x}", u64::from_ne_bytes(drawn)));
        let file = File::create_new(&path).map_err(Error::io("create", &path))?;
        Ok((Self(path), file))
    }

    /// Gives the file its name, where that is still nobody's. A file system without links cannot say so at once: there it is asked first.
    fn put_in_place(self, path: &Path) -> Result<()> {
        match std::fs::hard_link(&self.0, path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Error::io("put in place", path)(error))
            }
            Err(_) if std::fs::symlink_metadata(path).is_err() => {
                std::fs::rename(&self.0, path).map_err(Error::io("put in place", path))
            }
            Err(error) => Err(Error::io("put in place", path)(error)),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}
