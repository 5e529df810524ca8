//! A job's medium: checked, made, and read back.
//!
//! Owns: what each kind of target means for a job, and opening a finished one offline. Does not own: formats. Invariants: a target is checked before anything
//! is written; whoever reads back opens the medium anew, with the password alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferry_device::container::{
    Container, Format, Luks2Kdf, Password, SystemEntropy, TrueCryptPrf, VeraCryptPrf,
};
use ferry_device::documents::{Arrangement, reserve_bytes};
use ferry_device::ext4::{Identity, Layout, Reader, Size};
use ferry_device::job::{JobRecord, JobState};
use ferry_device::manifest::{self, Manifest};
use ferry_device::medium::{Medium, MountedMedium};
use ferry_device::naming::FileSystem;
use ferry_device::plan::Plan;
use ferry_device::sink::{DirectorySink, ImageSink, Sink};
use ferry_device::target::disk::{DeviceId, Disk};
use ferry_device::target::in_use::{InUse, mount_of, mounts};
use ferry_device::target::{HOW_TO_OPEN, Target, authorise, check_empty, container_file_name, how_to_open};
use ferry_device::verify::{Verdict, verify};
use ferry_device::volume::RawVolume;
use ferry_device::{Error, ErrorKind, Result};

use super::{Refused, StationError};
use crate::secrets::Secret;

/// Says in the work directory that the container's header is written.
const CONTAINER_MADE: &str = "container-made";

/// The container's format; `None` for files in the clear.
pub(crate) fn format_of(manifest: &Manifest) -> std::result::Result<Option<Format>, StationError> {
    let format = match manifest.extensions.container {
        manifest::Container::VeraCrypt => Format::VeraCrypt(VeraCryptPrf::Sha512),
        manifest::Container::TrueCrypt => Format::TrueCrypt(TrueCryptPrf::Ripemd160),
        manifest::Container::Luks2 => Format::Luks2(Luks2Kdf::Argon2id),
        manifest::Container::None => return Ok(None),
    };
    if manifest.file_system == FileSystem::Ntfs {
        let message = "NTFS inside a container needs ntfs-3g, which this station does not run; write fileSystem: EXT4, or \
                       x-container: none and plain:DIRECTORY on a mounted NTFS disk";
        return Err(StationError::Refused {
            state: JobState::UnsupportedFileFormat,
            message: message.to_owned(),
        });
    }
    Ok(Some(format))
}

/// What a medium is encrypted with.
#[derive(Debug)]
pub(super) struct Seal {
    pub(super) format: Format,
    pub(super) password: Secret,
}

impl Seal {
    /// The format of what is sealed so, or of what is not.
    fn format(seal: Option<&Self>) -> Format {
        seal.map_or(Format::None, |seal| seal.format)
    }
}

/// Whether the job may be written to the target.
pub(super) fn check(
    target: &Target,
    job: &JobRecord,
    manifest: &Manifest,
    is_new: bool,
) -> std::result::Result<(), Refused> {
    let is_plain = matches!(target, Target::Plain(_));
    let is_clear = manifest.extensions.container == manifest::Container::None;
    if is_plain && !is_clear {
        return Err(Refused::Other(
            "plain: writes files in the clear, and the manifest does not say x-container: none".to_owned(),
        ));
    }
    let Some(directory) = target.signature_directory() else {
        return Err(Refused::Other(
            "whole block devices are not written by this station; mount the device and use dir:, or write image: and copy it"
                .to_owned(),
        ));
    };
    authorise(directory, &job.signature).map_err(Refused::Signature)?;
    check_serial(directory, &manifest.device_id)?;
    if is_plain && is_new {
        check_empty(directory).map_err(Refused::Device)?;
    }
    let taken =
        target.container_path(job.id.as_str(), Format::default()).filter(|path| is_new && path.exists());
    if let Some(path) = taken {
        return Err(Refused::Other(format!("{} exists already and is not overwritten", path.display())));
    }
    Ok(())
}

/// Where the directory is the root of a mounted disk that tells its serial number, it must be the manifest's.
fn check_serial(directory: &Path, device_id: &str) -> std::result::Result<(), Refused> {
    let Ok(real) = std::fs::canonicalize(directory) else { return Ok(()) };
    let Ok(in_use) = InUse::read(Path::new("/proc")) else { return Ok(()) };
    let mounts = mounts(&in_use.mountinfo);
    let Some(mount) = mount_of(&mounts, &real).filter(|mount| Path::new(&mount.mount_point) == real) else {
        return Ok(());
    };
    let Ok(disk) = Disk::of_number(Path::new("/sys"), Path::new("/run/udev"), &mount.number) else {
        return Ok(());
    };
    match disk.check_serial(device_id, DeviceId::Serial) {
        Some(objection) if disk.serial.is_some() => Err(Refused::Serial(objection.to_string())),
        _ => Ok(()),
    }
}

/// Opens the target for writing: makes what is not there, goes on with what is.
pub(super) fn create(
    target: &Target,
    job: &JobRecord,
    plan: &Plan,
    seal: Option<&Seal>,
    arrangement: Arrangement,
) -> Result<Box<dyn Sink>> {
    if let Target::Plain(directory) = target {
        return Ok(Box::new(DirectorySink::new(directory)));
    }
    let format = Seal::format(seal);
    let Some(path) = target.container_path(job.id.as_str(), format) else {
        return Err(Error::new(ErrorKind::InvalidInput, "the target holds no container"));
    };
    let identity = Identity::of_job(job.id.as_str(), job.id.as_str(), job.created.unix_timestamp())?;
    let size = Size::Fitting { reserve_bytes: reserve_bytes(plan) };
    let layout = Arc::new(Layout::new(plan, arrangement.documents(), identity, size)?);
    let made = plan.directory().join(CONTAINER_MADE);
    let password = seal.map(|seal| Password::new(seal.password.reveal()));
    let container = match (&password, made.exists()) {
        (None, _) => Container::plain(RawVolume::create(&path, layout.size_bytes())?),
        (Some(password), true) => Container::open(RawVolume::open_for_writing(&path)?, password)?,
        (Some(password), false) => {
            let volume = RawVolume::create(&path, layout.size_bytes() + format.overhead_bytes())?;
            let container = Container::create(volume, format, password, &mut SystemEntropy)?;
            std::fs::write(&made, b"").map_err(|error| failed(&made, error))?;
            container
        }
    };
    if let Target::Directory(directory) = target {
        let note = directory.join(HOW_TO_OPEN);
        std::fs::write(&note, how_to_open(job.id.as_str(), format)).map_err(|error| failed(&note, error))?;
    }
    Ok(Box::new(ImageSink::new(layout, container)?))
}

/// Reads everything on the medium, opened anew.
pub(super) async fn read_back(
    target: &Target,
    job_id: &str,
    seal: Option<&Seal>,
) -> std::result::Result<Verdict, StationError> {
    let stored = match target {
        Target::Plain(directory) => StoredMedium::Directory(directory.clone()),
        other => StoredMedium::Container(
            other.container_path(job_id, Seal::format(seal)).unwrap_or_else(|| other.path().to_owned()),
        ),
    };
    let password = seal.map(|seal| seal.password.clone());
    let read = tokio::task::spawn_blocking(move || {
        stored.open(password.as_ref()).and_then(|medium| verify(medium.as_ref(), &mut |_| {}))
    });
    let verdict = read.await.map_err(|lost| StationError::Job(format!("reading back ended: {lost}")))?;
    Ok(verdict?)
}

/// A finished medium, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredMedium {
    /// A container or an image in the clear, in this file or device.
    Container(PathBuf),
    /// Files below this directory.
    Directory(PathBuf),
}

/// A medium that is open for reading.
pub type Opened = Box<dyn Medium + Send>;

impl StoredMedium {
    /// The medium that a target names.
    pub fn of(target: &Target) -> Result<Self> {
        match target {
            Target::Plain(directory) => Ok(Self::Directory(directory.clone())),
            Target::Image(path) | Target::Block(path) => Ok(Self::Container(path.clone())),
            Target::Directory(directory) => container_in(directory).map(Self::Container),
        }
    }

    /// Opens it; without a password only what is in the clear.
    pub fn open(&self, password: Option<&Secret>) -> Result<Opened> {
        match (self, password) {
            (Self::Directory(directory), _) => Ok(Box::new(MountedMedium::new(
                directory,
                &[ferry_device::signature::FILE_NAME, HOW_TO_OPEN],
            ))),
            (Self::Container(path), None) => Ok(Box::new(Reader::open(RawVolume::open(path)?)?)),
            (Self::Container(path), Some(password)) => {
                let password = Password::new(password.reveal());
                Ok(Box::new(Reader::open(Container::open(RawVolume::open(path)?, &password)?)?))
            }
        }
    }
}

/// The one container in the root of a device.
pub fn container_in(directory: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(directory).map_err(|error| failed(directory, error))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(std::result::Result::ok)
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension().is_some_and(|e| ["tc", "hc", "luks", "img"].iter().any(|known| e == *known))
        })
        .collect();
    found.sort();
    match (found.pop(), found.is_empty()) {
        (Some(path), true) => Ok(path),
        (None, _) => {
            let message = format!(
                "{} holds no container ({})",
                directory.display(),
                container_file_name("JOBID", Format::default())
            );
            Err(Error::new(ErrorKind::InvalidInput, message))
        }
        (Some(_), false) => {
            let message =
                format!("{} holds several containers; name one with image:PATH", directory.display());
            Err(Error::new(ErrorKind::InvalidInput, message))
        }
    }
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot use {}", path.display())).caused_by(error)
}
