//! State as files of one directory.
//!
//! Owns: that a blob is written whole (a temporary file, synced and renamed) and that writers of several processes take turns
//! (an advisory lock on one file, which the system drops with the process that held it). Does not own: files that grow, like the
//! receipts of a run ([`super::LineLog`]).

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use bytes::Bytes;

use super::{StateCondition, StateName, StateStore, StateTag, StoredState, refused};
use crate::{Error, ErrorKind, Result};

/// Begins the names of files that are not state; no [`StateName`] begins with a dot.
const LOCK: &str = ".lock";
const TEMPORARY: &str = ".new";

/// Keeps blobs as files.
#[derive(Debug, Clone)]
pub struct DirectoryState {
    root: PathBuf,
}

/// A name of the state that this process holds. See [`DirectoryState::hold`].
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "held, never read")] File);

impl DirectoryState {
    /// Opens a directory, making it and its parents where they are missing, readable by nobody else.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        make_private(&root).map_err(|error| failed("made", &root, error))?;
        Ok(Self { root })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of that name, whether it is there or not.
    pub fn path(&self, name: &StateName) -> PathBuf {
        self.root.join(name.as_str())
    }

    /// Holds a name for as long as the answer lives, against every other process; `None` where another one holds it. The system drops
    /// it with the process, however that ends.
    pub fn hold(&self, name: &StateName) -> Result<Option<Held>> {
        let path = self.path(name);
        let taken = || -> io::Result<Option<Held>> {
            make_private(path.parent().unwrap_or(&self.root))?;
            let file = File::create(&path)?;
            match file.try_lock() {
                Ok(()) => Ok(Some(Held(file))),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error),
            }
        };
        taken().map_err(|error| failed("locked", &path, error))
    }

    /// File work blocks, so it leaves the threads that serve requests.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = self.clone();
        match tokio::task::spawn_blocking(move || work(&this)).await {
            Ok(done) => done,
            Err(lost) => {
                Err(Error::new(ErrorKind::Cancelled, "the work on a state file was cut short")
                    .caused_by(lost))
            }
        }
    }

    fn read_file(&self, name: &StateName) -> Result<Option<StoredState>> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(StoredState { tag: StateTag::of_content(&bytes), bytes: bytes.into() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path, error)),
        }
    }

    fn write_file(&self, name: &StateName, bytes: &[u8], condition: &StateCondition) -> Result<StateTag> {
        let _lock = self.lock()?;
        if *condition != StateCondition::None {
            let held = self.read_file(name)?.map(|held| held.tag);
            if !condition.holds_for(held.as_ref()) {
                return Err(refused(name));
            }
        }
        let path = self.path(name);
        replace(&path, bytes).map_err(|error| failed("written", &path, error))?;
        Ok(StateTag::of_content(bytes))
    }

    fn remove_file(&self, name: &StateName) -> Result<()> {
        let _lock = self.lock()?;
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("removed", &path, error));
            }
            _ => {}
        }
        // Nobody misses an empty directory; the first one that is not ends it.
        let mut parents = path.ancestors().skip(1).take_while(|parent| *parent != self.root);
        while parents.next().is_some_and(|parent| fs::remove_dir(parent).is_ok()) {}
        Ok(())
    }

    /// Held until it is dropped.
    fn lock(&self) -> Result<File> {
        let path = self.root.join(LOCK);
        let lock = File::create(&path).map_err(|error| failed("made", &path, error))?;
        lock.lock().map_err(|error| failed("locked", &path, error))?;
        Ok(lock)
    }

    fn names(&self, prefix: &str) -> Result<Vec<StateName>> {
        let mut names = Vec::new();
        // Only the directory that the prefix points into needs to be walked.
        let start = prefix.rsplit_once('/').map_or("", |(directory, _)| directory);
        let mut directories = vec![start.to_owned()];
        while let Some(directory) = directories.pop() {
            let path = self.root.join(&directory);
            let entries = match fs::read_dir(&path) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("listed", &path, error)),
            };
            for entry in entries {
                let entry = entry.map_err(|error| failed("listed", &path, error))?;
                let Some(file_name) = entry.file_name().to_str().map(str::to_owned) else { continue };
                let name = if directory.is_empty() { file_name } else { format!("{directory}/{file_name}") };
                let kind = entry.file_type().map_err(|error| failed("listed", &path, error))?;
                if kind.is_dir() {
                    directories.push(name);
                } else if name.starts_with(prefix)
                    && let Ok(name) = StateName::new(name)
                {
                    names.push(name);
                }
            }
        }
        names.sort();
        Ok(names)
    }
}

#[async_trait]
impl StateStore for DirectoryState {
    async fn read(&self, name: &StateName) -> Result<Option<StoredState>> {
        let name = name.clone();
        self.blocking(move |this| this.read_file(&name)).await
    }

    async fn write(&self, name: &StateName, bytes: Bytes, condition: StateCondition) -> Result<StateTag> {
        let name = name.clone();
        self.blocking(move |this| this.write_file(&name, &bytes, &condition)).await
    }

    async fn remove(&self, name: &StateName) -> Result<()> {
        let name = name.clone();
        self.blocking(move |this| this.remove_file(&name)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StateName>> {
        let prefix = prefix.to_owned();
        self.blocking(move |this| this.names(&prefix)).await
    }
}

/// Puts the bytes in the file's place: who reads it sees the old ones or the new ones, also after a power cut.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let directory = path.parent().unwrap_or(Path::new("."));
    make_private(directory)?;
    // The process and a count name it: two writers never share a temporary file, and a killed one leaves a dotted name.
    let unique = format!("{TEMPORARY}-{}-{}", std::process::id(), WRITTEN.fetch_add(1, Relaxed));
    let temporary = directory.join(unique);
    let written = File::create_new(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first failure is the one to tell; the file may not even be there.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    File::open(directory)?.sync_all()
}

/// Keys of other people's objects stand in state files: they are nobody else's business.
pub(crate) fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!(
            "the state file {} cannot be {what}; name another directory with --state-dir",
            path.display()
        ),
    )
    .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_held_by_one_at_a_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = DirectoryState::open(directory.path()).expect("opens");
        let name = StateName::new("runs/r/process").expect("a name");
        let held = state.hold(&name).expect("asked").expect("free");
        assert!(state.hold(&name).expect("asked").is_none());
        drop(held);
        assert!(state.hold(&name).expect("asked").is_some());
    }
}
