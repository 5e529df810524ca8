//! A job's medium: checked, made, and read back.
//!
//! Owns: what each kind of target means for a job. Does not own: formats, or what a whole disk asks for besides ([`disk`](super::disk)). Invariants: a target is
//! checked before anything is written; whoever reads back opens the medium anew, with the password alone.

use std::path::Path;
use std::sync::Arc;

use ferry_device::container::{
    Container, Format, Luks2Kdf, Password, SystemEntropy, TrueCryptPrf, VeraCryptPrf,
};
use ferry_device::documents::{Arrangement, reserve_bytes};
use ferry_device::durable;
use ferry_device::ext4::{Identity, Layout, Size};
use ferry_device::job::JobRecord;
use ferry_device::manifest::{self, Manifest};
use ferry_device::medium;
use ferry_device::naming::FileSystem;
use ferry_device::ntfs::Programs;
use ferry_device::ntfs::medium::{FileSystemState, NtfsSink, volume_bytes};
use ferry_device::plan::Plan;
use ferry_device::room::Room;
use ferry_device::sink::{DirectorySink, ImageSink, Sink};
use ferry_device::target::disk::{DeviceId, Disk};
use ferry_device::target::in_use::{InUse, mount_of, mounts};
use ferry_device::target::{HOW_TO_OPEN, Target, authorise, check_empty, how_to_open};
use ferry_device::verify::{Verdict, verify};
use ferry_device::volume::{RawVolume, Volume as _};
use ferry_device::{Error, ErrorKind, Result};

use super::{Refused, RunOptions, StationError, disk};
use crate::secrets::Secret;

/// Says in the work directory that the container's header is written.
const CONTAINER_MADE: &str = "container-made";
/// Says in the work directory which target the job was begun on.
const BEGUN_ON: &str = "target";
/// Says in the work directory that an empty NTFS is in the container.
const NTFS_MADE: &str = "ntfs-made";
/// Where in the work directory an NTFS is mounted while it is written.
const NTFS_MOUNTS: &str = "ntfs";

/// The container's format; `None` for files in the clear.
pub(crate) fn format_of(manifest: &Manifest) -> Option<Format> {
    match manifest.extensions.container {
        manifest::Container::VeraCrypt => Some(Format::VeraCrypt(VeraCryptPrf::Sha512)),
        manifest::Container::TrueCrypt => Some(Format::TrueCrypt(TrueCryptPrf::Ripemd160)),
        manifest::Container::Luks2 => Some(Format::Luks2(Luks2Kdf::Argon2id)),
        manifest::Container::None => None,
    }
}

/// The room of a medium of this size, for what the manifest asks for.
pub(crate) fn room_of(manifest: &Manifest, is_plain: bool, medium_bytes: u64) -> Result<Room> {
    let inside_bytes = medium_bytes.saturating_sub(format_of(manifest).map_or(0, Format::overhead_bytes));
    match manifest.file_system {
        _ if is_plain => Ok(Room::of_foreign(medium_bytes)),
        FileSystem::Ext4 => Room::of_ext4(inside_bytes),
        FileSystem::Ntfs => {
            let own_bytes = ferry_device::ntfs::medium::own_bytes(inside_bytes);
            Ok(Room::of_foreign(inside_bytes.saturating_sub(own_bytes)))
        }
    }
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

    fn password(&self) -> Password {
        Password::new(self.password.reveal())
    }
}

/// Whether the job may be written to the target. `work` is the job's directory.
pub(super) fn check(
    options: &RunOptions,
    job: &JobRecord,
    manifest: &Manifest,
    work: &Path,
    is_new: bool,
) -> std::result::Result<(), Refused> {
    let target = &options.target;
    let is_plain = matches!(target, Target::Plain(_));
    let is_clear = manifest.extensions.container == manifest::Container::None;
    if is_plain && !is_clear {
        return Err(Refused::Other(
            "plain: writes files in the clear, and the manifest does not say x-container: none".to_owned(),
        ));
    }
    // What is on that medium already is passed over: on another one it would be missing.
    let begun_on = durable::read(&work.join(BEGUN_ON)).map_err(Refused::Device)?;
    if let Some(begun_on) = begun_on.map(|name| String::from_utf8_lossy(&name).into_owned())
        && begun_on != target.to_string()
    {
        return Err(Refused::Other(format!(
            "job {} was begun on {begun_on}: go on there, or create a job for {target}",
            job.id
        )));
    }
    if manifest.file_system == FileSystem::Ntfs && !is_plain {
        Programs::of_this_machine().map_err(Refused::Format)?;
    }
    let Some(directory) = target.signature_directory() else {
        return disk::check(target.path(), job, manifest, work, options);
    };
    authorise(directory, &job.signature).map_err(Refused::Signature)?;
    check_serial(directory, &manifest.device_id, options.device_id)?;
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
fn check_serial(directory: &Path, device_id: &str, how: DeviceId) -> std::result::Result<(), Refused> {
    let Ok(real) = std::fs::canonicalize(directory) else { return Ok(()) };
    let Ok(in_use) = InUse::read(Path::new("/proc")) else { return Ok(()) };
    let mounts = mounts(&in_use.mountinfo);
    let Some(mount) = mount_of(&mounts, &real).filter(|mount| Path::new(&mount.mount_point) == real) else {
        return Ok(());
    };
    let Ok(disk) = Disk::of_number(Path::new("/sys"), Path::new("/run/udev"), &mount.number) else {
        return Ok(());
    };
    match disk.check_serial(device_id, how) {
        Some(objection) if disk.serial.is_some() => Err(Refused::Serial(objection.to_string())),
        _ => Ok(()),
    }
}

/// Opens the target for writing: makes what is not there, goes on with what is.
pub(super) fn create(
    options: &RunOptions,
    job: &JobRecord,
    manifest: &Manifest,
    plan: &Plan,
    seal: Option<&Seal>,
    arrangement: Arrangement,
) -> Result<Box<dyn Sink>> {
    let target = &options.target;
    let work = plan.directory();
    durable::write(&work.join(BEGUN_ON), target.to_string().as_bytes())?;
    if let Target::Plain(directory) = target {
        return Ok(Box::new(DirectorySink::new(directory)));
    }
    let format = Seal::format(seal);
    let Some(path) = target.container_path(job.id.as_str(), format) else {
        return Err(Error::new(ErrorKind::InvalidInput, "the target holds no container"));
    };
    if let Target::Directory(directory) = target {
        let note = directory.join(HOW_TO_OPEN);
        std::fs::write(&note, how_to_open(job.id.as_str(), format)).map_err(Error::io("write", &note))?;
    }
    let disk = match target {
        Target::Block(_) => Some(disk::open(&path, work)?),
        _ => None,
    };
    match manifest.file_system {
        FileSystem::Ext4 => {
            let identity = Identity::of_job(job.id.as_str(), job.id.as_str(), job.created.unix_timestamp())?;
            let size = match &disk {
                Some(disk) => Size::Exactly { bytes: disk.size_bytes() - format.overhead_bytes() },
                None => Size::Fitting { reserve_bytes: reserve_bytes(plan) },
            };
            let layout = Arc::new(Layout::new(plan, arrangement.documents(), identity, size)?);
            let container = container(disk, &path, layout.size_bytes(), seal, work)?;
            Ok(Box::new(ImageSink::new(layout, container)?))
        }
        FileSystem::Ntfs => {
            let container = container(disk, &path, volume_bytes(plan)?, seal, work)?;
            let made = work.join(NTFS_MADE);
            let password = seal.map(Seal::password);
            let state = if made.exists() { FileSystemState::Made } else { FileSystemState::Missing };
            let sink = NtfsSink::open(
                &options.ntfs,
                &path,
                password.as_ref(),
                Box::new(container),
                state,
                job.id.as_str(),
                &work.join(NTFS_MOUNTS),
            )?;
            durable::write(&made, b"")?;
            Ok(Box::new(sink))
        }
    }
}

/// The container on a disk, or of so many bytes in a file: made, or as it was made.
fn container(
    disk: Option<RawVolume>,
    path: &Path,
    inside_bytes: u64,
    seal: Option<&Seal>,
    work: &Path,
) -> Result<Container<RawVolume>> {
    let made = work.join(CONTAINER_MADE);
    let volume = match disk {
        Some(disk) => disk,
        None if made.exists() => RawVolume::open_for_writing(path)?,
        None => RawVolume::create(path, inside_bytes + Seal::format(seal).overhead_bytes())?,
    };
    match seal {
        None => Ok(Container::plain(volume)),
        Some(seal) if made.exists() => Container::open(volume, &seal.password()),
        Some(seal) => {
            let container = Container::create(volume, seal.format, &seal.password(), &mut SystemEntropy)?;
            durable::write(&made, b"")?;
            Ok(container)
        }
    }
}

/// Reads everything on the medium, opened anew.
pub(super) async fn read_back(
    options: &RunOptions,
    job_id: &str,
    seal: Option<&Seal>,
) -> std::result::Result<Verdict, StationError> {
    let target = &options.target;
    let stored = match target {
        // Beside others' containers perhaps: the job's own is named.
        Target::Directory(_) => {
            target.container_path(job_id, Seal::format(seal)).map_or_else(|| target.clone(), Target::Image)
        }
        other => other.clone(),
    };
    let password = seal.map(Seal::password);
    let ntfs = options.ntfs.clone();
    let read = tokio::task::spawn_blocking(move || {
        medium::open(&stored, password.as_ref(), &ntfs)
            .and_then(|medium| verify(medium.as_ref(), &mut |_| {}))
    });
    let verdict = read.await.map_err(|lost| StationError::Job(format!("reading back ended: {lost}")))?;
    Ok(verdict?)
}
