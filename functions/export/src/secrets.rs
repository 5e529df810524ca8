//! Passwords and the key that signs.
//!
//! Owns: keeping small secrets by name, apart from everything that is shown. Does not own: what they are for. Invariants: a secret is in no
//! `Debug` and no error; its file is readable by its owner alone from its first byte on.

mod parameters;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use ferry_transfer::state::StateName;
use ferry_transfer::{Error, ErrorKind, Result};
use zeroize::Zeroizing;

pub use self::parameters::ParameterSecrets;

/// A secret: shown nowhere, wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret, for whoever has use of it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// Keeps secrets by name.
#[async_trait]
pub trait Secrets: Send + Sync + fmt::Debug {
    /// The secret of that name; `None` where there is none.
    async fn get(&self, name: &StateName) -> Result<Option<Secret>>;

    /// Keeps a secret, in place of one of that name.
    async fn put(&self, name: &StateName, secret: &Secret) -> Result<()>;

    /// Keeps a secret unless there is one of that name; the one that is kept.
    async fn put_if_absent(&self, name: &StateName, secret: Secret) -> Result<Secret>;

    /// Forgets a secret. One that is not there is success.
    async fn remove(&self, name: &StateName) -> Result<()>;
}

/// Keeps secrets as files that nobody else can read (mode 0600) in a directory that nobody else can open (0700).
#[derive(Debug, Clone)]
pub struct DirectorySecrets {
    root: PathBuf,
}

impl DirectorySecrets {
    /// In a directory, which is made where it is missing.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        make_private(&root).map_err(|error| failed("made", &root, error))?;
        Ok(Self { root })
    }

    fn path(&self, name: &StateName) -> PathBuf {
        self.root.join(name.as_str())
    }

    fn read(&self, name: &StateName) -> Result<Option<Secret>> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Secret::new(text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path, error)),
        }
    }

    /// Writes the file whole under another name and gives it its own.
    fn write(&self, name: &StateName, secret: &Secret, replace: bool) -> Result<bool> {
        let path = self.path(name);
        let directory = path.parent().unwrap_or(&self.root);
        make_private(directory).map_err(|error| failed("made", directory, error))?;
        let temporary = directory.join(format!(".new-{:016x}", unlike_any_other()?));
        let written = create_private(&temporary)
            .and_then(|mut file| file.write_all(secret.reveal().as_bytes()).and_then(|()| file.sync_all()))
            .and_then(
                |()| if replace { fs::rename(&temporary, &path) } else { fs::hard_link(&temporary, &path) },
            );
        // Its name as well survives a power cut.
        let written = written.and_then(|()| fs::File::open(directory)?.sync_all());
        if !replace || written.is_err() {
            // The first failure is the one to tell.
            drop(fs::remove_file(&temporary));
        }
        match written {
            Ok(()) => Ok(true),
            Err(error) if !replace && error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(failed("written", &path, error)),
        }
    }
}

/// Unlike any other, of processes with the same number in another container too.
pub(crate) fn unlike_any_other() -> Result<u64> {
    let mut drawn = [0; 8];
    random(&mut drawn)?;
    Ok(u64::from_ne_bytes(drawn))
}

/// Fills with what nobody can foresee.
pub(crate) fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| {
        Error::new(ErrorKind::Other, "the system gave no random bytes").caused_by(error.to_string())
    })
}

#[async_trait]
impl Secrets for DirectorySecrets {
    async fn get(&self, name: &StateName) -> Result<Option<Secret>> {
        self.read(name)
    }

    async fn put(&self, name: &StateName, secret: &Secret) -> Result<()> {
        self.write(name, secret, true).map(drop)
    }

    async fn put_if_absent(&self, name: &StateName, secret: Secret) -> Result<Secret> {
        if self.write(name, &secret, false)? {
            return Ok(secret);
        }
        Ok(self.read(name)?.unwrap_or(secret))
    }

    async fn remove(&self, name: &StateName) -> Result<()> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removed", &path, error)),
            _ => Ok(()),
        }
    }
}

fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn create_private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Configuration, format!("the secret's file {} cannot be {what}", path.display()))
        .caused_by(error)
}

/// Keeps secrets in memory, for tests.
#[derive(Debug, Default)]
pub struct MemorySecrets(Mutex<BTreeMap<StateName, Secret>>);

impl MemorySecrets {
    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<StateName, Secret>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Secrets for MemorySecrets {
    async fn get(&self, name: &StateName) -> Result<Option<Secret>> {
        Ok(self.held().get(name).cloned())
    }

    async fn put(&self, name: &StateName, secret: &Secret) -> Result<()> {
        self.held().insert(name.clone(), secret.clone());
        Ok(())
    }

    async fn put_if_absent(&self, name: &StateName, secret: Secret) -> Result<Secret> {
        Ok(self.held().entry(name.clone()).or_insert(secret).clone())
    }

    async fn remove(&self, name: &StateName) -> Result<()> {
        self.held().remove(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn secrets_are_files_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().expect("directory");
        let secrets = DirectorySecrets::open(home.path().join("secrets")).expect("secrets");
        let name = StateName::new("jobs/TC44P").expect("name");
        assert_eq!(secrets.get(&name).await.expect("none"), None);
        secrets.put(&name, &Secret::new("hunter2")).await.expect("put");
        let kept = secrets.put_if_absent(&name, Secret::new("other")).await.expect("kept");
        assert_eq!(kept.reveal(), "hunter2");
        let mode = |path: &Path| fs::metadata(path).expect("file").permissions().mode() & 0o777;
        assert_eq!(mode(&home.path().join("secrets/jobs/TC44P")), 0o600);
        assert_eq!(mode(&home.path().join("secrets/jobs")), 0o700);
        assert_eq!(fs::read_dir(home.path().join("secrets/jobs")).expect("files").count(), 1);
        assert!(!format!("{kept:?}").contains("hunter2"));
        secrets.remove(&name).await.expect("removed");
        secrets.remove(&name).await.expect("gone already");
        let other = secrets.put_if_absent(&name, Secret::new("other")).await.expect("new");
        assert_eq!(other.reveal(), "other");
    }
}
