//! NTFS, by the programs of ntfs-3g.
//!
//! Owns: finding the programs before a job begins, making a file system in a file or device, and mounting it for as long as it is written or read.
//! Does not own: what is written ([`crate::sink::DirectorySink`]). Invariants: the programs are separate processes, since their licence is
//! the GPL; what was mounted is unmounted whatever happens; nothing is believed written before the unmount succeeded. The medium of an export over
//! them is [`medium`].
//!
//! There is no NTFS writer in Rust, and `ntfscp` makes no directories, so a mount it is: FUSE, which needs root or a `/dev/fuse` that others may
//! open. The file system of a container is made and mounted in its [`crate::decrypted_view::DecryptedView`].

pub mod inside;
pub mod medium;

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::program;
use crate::target::in_use::mounts;

/// How often, and after which pause, a mount is looked for.
const LOOKS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(20);
/// Whether a file system is only read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Nothing is changed.
    Read,
    /// Files are written, under names that Windows takes: a second guard behind the naming rules.
    Write,
}

/// The programs.
#[derive(Debug, Clone)]
pub struct Programs {
    mkntfs: PathBuf,
    ntfs_3g: PathBuf,
    umount: PathBuf,
}

impl Programs {
    /// Finds them on `search_path`, the environment's `PATH`.
    ///
    /// # Errors
    /// `MissingProgram` with the package's name: it can be told when the job is created.
    pub fn find(search_path: &OsStr) -> Result<Self> {
        let find = |name: &str, package: &str| program::find(search_path, name, package);
        Ok(Self {
            mkntfs: find("mkntfs", "ntfs-3g")?,
            ntfs_3g: find("ntfs-3g", "ntfs-3g")?,
            umount: find("umount", "mount")?,
        })
    }

    /// Finds them where this machine has programs.
    pub fn of_this_machine() -> Result<Self> {
        Self::find(&std::env::var_os("PATH").unwrap_or_default())
    }

    /// Makes an empty file system over the whole of a file or device.
    pub fn format(&self, image: &Path, label: &str) -> Result<()> {
        let options = ["--force", "--quick", "--quiet", "--label", label].map(OsStr::new);
        program::run(&self.mkntfs, &[&options[..], &[image.as_os_str()]].concat(), image)
    }

    /// Mounts a file system at a directory that exists.
    pub fn mount(&self, image: &Path, directory: &Path, access: Access) -> Result<Mounted> {
        let options = match access {
            // Root's mounts are open to everybody but for the mask.
            Access::Read => "no_detach,ro,umask=077",
            Access::Write => "no_detach,windows_names,noatime,big_writes,umask=077",
        };
        let directory = std::fs::canonicalize(directory).map_err(Error::io("find", directory))?;
        let mut child = Command::new(&self.ntfs_3g)
            .args(["-o", options])
            .arg(image)
            .arg(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A signal from the terminal is for the one who started it.
            .process_group(0)
            .spawn()
            .map_err(Error::io("run", &self.ntfs_3g))?;
        for _ in 0..LOOKS {
            if is_mounted(&directory)? {
                let (image, umount) = (image.to_owned(), self.umount.clone());
                return Ok(Mounted { child: Some(child), directory, image, umount });
            }
            if child.try_wait().map_err(Error::io("wait for", &self.ntfs_3g))?.is_some() {
                let hint = "it needs root, or a /dev/fuse that you may open";
                return Err(Error::new(
                    ErrorKind::Io,
                    format!("ntfs-3g does not mount {}: {hint}", image.display()),
                ));
            }
            std::thread::sleep(PAUSE);
        }
        child.kill().and_then(|()| child.wait()).map_err(Error::io("end", &self.ntfs_3g))?;
        Err(Error::new(ErrorKind::Io, format!("ntfs-3g takes too long to mount {}", image.display())))
    }
}

/// Unmounts what a process that was killed left mounted at a directory. Whoever still has a file open there keeps it until then.
pub(crate) fn unmount_leftover(umount: &Path, directory: &Path) -> Result<()> {
    while is_mounted(directory)? {
        program::run(umount, &[OsStr::new("--lazy"), directory.as_os_str()], directory)?;
    }
    Ok(())
}

pub(crate) fn is_mounted(directory: &Path) -> Result<bool> {
    let path = Path::new("/proc/self/mountinfo");
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    Ok(mounts(&text).iter().any(|mount| Path::new(&mount.mount_point) == directory))
}

/// A mounted file system. Dropping it unmounts; only [`Self::unmount`] tells whether that went well.
#[derive(Debug)]
pub struct Mounted {
    child: Option<Child>,
    directory: PathBuf,
    image: PathBuf,
    umount: PathBuf,
}

impl Mounted {
    /// Where the files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Unmounts and returns once everything is on the medium.
    pub fn unmount(mut self) -> Result<()> {
        self.end()?;
        File::open(&self.image).and_then(|file| file.sync_all()).map_err(Error::io("sync", &self.image))
    }

    fn end(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Err(error) = program::run(&self.umount, &[self.directory.as_os_str()], &self.directory) {
            self.child = Some(child);
            return Err(error);
        }
        // ntfs-3g writes what it holds back before it ends.
        let status = child.wait().map_err(Error::io("wait for ntfs-3g on", &self.image))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Io, format!("ntfs-3g ended with {status} on {}", self.image.display())))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Nobody is left to be told; a mount that stays is seen by the next job's checks.
        drop(self.end());
    }
}
