//! The directories that a station works in.
//!
//! Owns: the station's name, and who may work in a job's directory. Does not own: plans and journals. Invariants: one process at a time is in a job's
//! directory; the lock goes with the process, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ferry_device::job::JobId;
use ferry_device::{Error, ErrorKind};

use super::StationError;

const NAME: &str = "station";
const LOCK: &str = "lock";

/// The name of the station that works below a directory, drawn at its first use.
pub(super) fn station_name(work: &Path) -> Result<String, StationError> {
    std::fs::create_dir_all(work).map_err(failed("make", work))?;
    let path = work.join(NAME);
    let mut drawn = [0; 8];
    getrandom::fill(&mut drawn).map_err(|error| {
        Error::new(ErrorKind::Io, "the system gave no random bytes").caused_by(error.to_string())
    })?;
    let name = format!("station-{:016x}", u64::from_ne_bytes(drawn));
    match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(mut file) => {
            file.write_all(name.as_bytes()).map_err(failed("write", &path))?;
            Ok(name)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let kept = std::fs::read_to_string(&path).map_err(failed("read", &path))?;
            // Torn by a kill, or being written at this moment by somebody: then a name for this once.
            Ok(if kept.len() == name.len() { kept } else { name })
        }
        Err(error) => Err(failed("write", &path)(error).into()),
    }
}

/// A job's directory, for this process alone.
#[derive(Debug)]
pub(super) struct Held {
    directory: PathBuf,
    /// Unlocked when it is closed.
    _lock: File,
}

impl Held {
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Takes a job's directory below `work`; made where it is missing.
pub(super) fn hold(work: &Path, job: &JobId) -> Result<Held, StationError> {
    let directory = work.join(job.as_str());
    std::fs::create_dir_all(&directory).map_err(failed("make", &directory))?;
    let path = directory.join(LOCK);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(failed("open", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(Held { directory, _lock: lock }),
        Err(TryLockError::WouldBlock) => {
            Err(StationError::Job(format!("another process of this machine is at work on job {job}")))
        }
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error).into()),
    }
}

fn failed<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Error + 'a {
    move |error| Error::new(ErrorKind::Io, format!("cannot {what} {}", path.display())).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_station_keeps_its_name_and_a_jobs_directory_has_one_process() {
        let home = tempfile::tempdir().expect("directory");
        let name = station_name(home.path()).expect("name");
        assert_eq!(station_name(home.path()).expect("the same"), name);
        std::fs::write(home.path().join(NAME), "stat").expect("torn");
        assert_ne!(station_name(home.path()).expect("another"), "stat");
        let job = JobId::of_number(1);
        let held = hold(home.path(), &job).expect("held");
        let refused = hold(home.path(), &job).expect_err("taken").to_string();
        assert!(refused.contains("another process"), "{refused}");
        hold(home.path(), &JobId::of_number(2)).expect("another job");
        drop(held);
        hold(home.path(), &job).expect("free again");
    }
}
