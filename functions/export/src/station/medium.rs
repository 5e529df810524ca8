//! A job's medium: checked, made, and read back.
//!
//! Owns: what each kind of target means for a job. Does not own: formats, on which target a job was begun ([`begun`](super::begun)), or what a whole disk asks for besides
//! ([`disk`](super::disk)). Invariants: a target is checked before the buckets are listed, and once more right before the first byte, since days may lie in between; whoever reads
//! back opens the medium anew, with the password alone.

use std::io::Write as _;
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
use ferry_device::target::names::check_names_of_ext4;
use ferry_device::target::outer::OuterMount;
use ferry_device::target::{HOW_TO_OPEN, Target, authorise, check_empty, how_to_open};
use ferry_device::verify::{Scope, Verdict, verify};
use ferry_device::volume::{RawVolume, Volume as _};
use ferry_device::{Error, ErrorKind, Result};
use sha2::{Digest as _, Sha256};

use super::begun::Beginning;
use super::outer::{self, OuterSink};
use super::{Refused, Run, RunOptions, StationError, begun, disk};
use crate::secrets::Secret;

/// Says in the work directory that the container's header is written, and how it begins.
const CONTAINER_MADE: &str = "container-made";
/// Says in the work directory how the files of an ext4 are laid out.
const LAYOUT: &str = "layout";
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

/// How the files are arranged on the medium.
pub(super) fn arrangement_of(manifest: &Manifest) -> Arrangement {
    match manifest.extensions.layout {
        manifest::Layout::BagIt => Arrangement::BagIt,
        manifest::Layout::Plain => Arrangement::Plain,
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

/// A target that may be written.
#[derive(Debug)]
pub(super) enum Admitted {
    /// A directory or a file, by its path.
    Path,
    /// A disk, by what tells it from others.
    Disk(disk::Identity),
}

/// Whether the job may be written to the target. `work` is the job's directory.
pub(super) fn check(
    options: &RunOptions,
    job: &JobRecord,
    manifest: &Manifest,
    work: &Path,
) -> std::result::Result<Admitted, Refused> {
    let target = &options.target;
    let is_plain = matches!(target, Target::Plain(_));
    let is_clear = manifest.extensions.container == manifest::Container::None;
    if is_plain && !is_clear {
        return Err(Refused::Other(
            "plain: writes files in the clear, and the manifest does not say x-container: none".to_owned(),
        ));
    }
    let beginning = begun::look(options, &job.id, work)?;
    if manifest.file_system == FileSystem::Ntfs && !is_plain {
        Programs::of_this_machine().map_err(Refused::Format)?;
    }
    if let Some(file_system) = options.outer {
        outer::ready(file_system, work).map_err(Refused::Format)?;
    }
    let Some(directory) = target.signature_directory() else {
        return disk::check(target.path(), job, manifest, work, options).map(Admitted::Disk);
    };
    check_path(options, job, manifest, directory, work, beginning).map(|()| Admitted::Path)
}

fn check_path(
    options: &RunOptions,
    job: &JobRecord,
    manifest: &Manifest,
    directory: &Path,
    work: &Path,
    beginning: Beginning,
) -> std::result::Result<(), Refused> {
    let target = &options.target;
    authorise(directory, &job.signature).map_err(Refused::Signature)?;
    check_serial(directory, &manifest.device_id, options.device_id)?;
    let format = format_of(manifest).unwrap_or(Format::None);
    let Some(container) = target.container_path(job.id.as_str(), format) else {
        return match beginning {
            Beginning::New => {
                check_empty(directory).map_err(Refused::Device)?;
                match manifest.file_system {
                    FileSystem::Ext4 => check_names_of_ext4(directory).map_err(Refused::Format),
                    FileSystem::Ntfs => Ok(()),
                }
            }
            // Whether it is that directory is seen when its files are passed over.
            Beginning::Begun => Ok(()),
        };
    };
    match beginning {
        Beginning::New if std::fs::symlink_metadata(&container).is_ok() => {
            Err(Refused::Other(format!("{} exists already and is not overwritten", container.display())))
        }
        Beginning::New => Ok(()),
        Beginning::Begun => check_container(&container, work),
    }
}

/// Whether a container is the one whose making was noted; true before that.
fn check_container(path: &Path, work: &Path) -> std::result::Result<(), Refused> {
    let Some(noted) = durable::read(&work.join(CONTAINER_MADE)).map_err(Refused::Device)? else {
        return Ok(());
    };
    let found = RawVolume::open(path).and_then(|volume| first_sector(&volume));
    if found.is_ok_and(|found| noted.is_empty() || noted == found) {
        return Ok(());
    }
    Err(Refused::Serial(format!(
        "{} is not what the job was begun in: attach the medium that it was written to",
        path.display()
    )))
}

/// The digest of a container's first sector, where every format has its salt: no two containers have the same.
fn first_sector(volume: &RawVolume) -> Result<Vec<u8>> {
    let mut sector = [0; 512];
    volume.read_at(0, &mut sector)?;
    Ok(Sha256::digest(sector).to_vec())
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
    admitted: &Admitted,
) -> std::result::Result<Box<dyn Sink>, StationError> {
    let work = plan.directory();
    let disk = enter(options, job, manifest, work, admitted).map_err(Refused::into_error)?;
    let (file_system, disk) = match (options.outer, disk) {
        (Some(file_system), Some(disk)) => (file_system, disk),
        (_, disk) => return Ok(sink(options, &options.target, job, manifest, plan, seal, disk)?),
    };
    let mount = outer::enter(file_system, disk, job, work)?;
    let target = Target::Directory(mount.directory().to_owned());
    if let Some(path) = target.container_path(job.id.as_str(), Seal::format(seal)) {
        check_container(&path, work).map_err(Refused::into_error)?;
    }
    let container = sink(options, &target, job, manifest, plan, seal, None)?;
    Ok(Box::new(OuterSink::new(container, mount)))
}

/// Checks the target once more, and notes that the job is begun on it.
fn enter(
    options: &RunOptions,
    job: &JobRecord,
    manifest: &Manifest,
    work: &Path,
    admitted: &Admitted,
) -> std::result::Result<Option<RawVolume>, Refused> {
    let target = &options.target;
    match admitted {
        Admitted::Disk(identity) => {
            let volume = disk::open(target.path(), identity, job, manifest, work, options)?;
            disk::note(identity, work).and_then(|()| begun::note(options, work)).map_err(Refused::Device)?;
            if options.outer.is_none() {
                if work.join(CONTAINER_MADE).exists() {
                    check_container(target.path(), work)?;
                } else {
                    volume.wipe_ends().map_err(Refused::Device)?;
                }
            }
            Ok(Some(volume))
        }
        Admitted::Path => {
            let beginning = begun::look(options, &job.id, work)?;
            if let Some(directory) = target.signature_directory() {
                check_path(options, job, manifest, directory, work, beginning)?;
            }
            begun::note(options, work).map_err(Refused::Device)?;
            Ok(None)
        }
    }
}

fn sink(
    options: &RunOptions,
    target: &Target,
    job: &JobRecord,
    manifest: &Manifest,
    plan: &Plan,
    seal: Option<&Seal>,
    disk: Option<RawVolume>,
) -> Result<Box<dyn Sink>> {
    let work = plan.directory();
    if let Target::Plain(directory) = target {
        return Ok(Box::new(DirectorySink::new(directory)));
    }
    let format = Seal::format(seal);
    let Some(path) = target.container_path(job.id.as_str(), format) else {
        return Err(Error::new(ErrorKind::InvalidInput, "the target holds no container"));
    };
    if let Target::Directory(directory) = target {
        let note = directory.join(HOW_TO_OPEN);
        let text = how_to_open(job.id.as_str(), format);
        durable::create_anew(&note)?.write_all(text.as_bytes()).map_err(Error::io("write", &note))?;
    }
    match manifest.file_system {
        FileSystem::Ext4 => {
            let identity = Identity::of_job(job.id.as_str(), job.id.as_str(), job.created.unix_timestamp())?;
            let size = match &disk {
                Some(disk) => Size::Exactly { bytes: disk.size_bytes() - format.overhead_bytes() },
                None => Size::Fitting { reserve_bytes: reserve_bytes(plan) },
            };
            let layout = Arc::new(Layout::new(plan, arrangement_of(manifest).documents(), identity, size)?);
            keep_layout(&layout, work)?;
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

/// Notes how the files are laid out, or insists that it is as it was: what another version of Ferry has written elsewhere would be lost.
fn keep_layout(layout: &Layout, work: &Path) -> Result<()> {
    let path = work.join(LAYOUT);
    let fingerprint = layout.fingerprint();
    match durable::read(&path)? {
        Some(noted) if noted == fingerprint => Ok(()),
        None if !work.join(CONTAINER_MADE).exists() => durable::write(&path, &fingerprint),
        _ => Err(Error::new(
            ErrorKind::Refused,
            "the job was begun by a version of Ferry that lays files out otherwise: finish it with that one, or create it anew",
        )),
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
    let is_made = made.exists();
    let volume = match disk {
        Some(disk) => disk,
        None if is_made => RawVolume::open_for_writing(path)?,
        None => RawVolume::create(path, inside_bytes + Seal::format(seal).overhead_bytes())?,
    };
    let container = match seal {
        None => Container::plain(volume),
        Some(seal) if is_made => Container::open(volume, &seal.password())?,
        Some(seal) => Container::create(volume, seal.format, &seal.password(), &mut SystemEntropy)?,
    };
    if !is_made {
        container.sync()?;
        // A file system in the clear writes its first sector later.
        let begins = if seal.is_some() { first_sector(&RawVolume::open(path)?)? } else { Vec::new() };
        durable::write(&made, &begins)?;
    }
    Ok(container)
}

/// Reads everything on the medium, opened anew.
pub(super) async fn read_back(
    run: &Run<'_>,
    seal: Option<&Seal>,
    scope: Scope,
) -> std::result::Result<Verdict, StationError> {
    let options = run.options;
    let (target, outer) = (options.target.clone(), options.outer);
    let (job_id, format) = (run.id.to_string(), Seal::format(seal));
    let password = seal.map(Seal::password);
    let (ntfs, work) = (options.ntfs.clone(), run.work.clone());
    let standing = Arc::clone(&run.standing);
    let read = tokio::task::spawn_blocking(move || {
        let mount = match outer {
            Some(file_system) => Some(outer::read(file_system, target.path(), &work)?),
            None => None,
        };
        let target = match &mount {
            Some(mount) => Target::Directory(mount.directory().to_owned()),
            None => target,
        };
        let stored = match &target {
            // Beside others' containers perhaps: the job's own is named.
            Target::Directory(_) => {
                target.container_path(&job_id, format).map_or_else(|| target.clone(), Target::Image)
            }
            other => other.clone(),
        };
        // The medium is closed before the disk that it is on is unmounted.
        let verdict = medium::open(&stored, password.as_ref(), &ntfs).and_then(|medium| {
            verify(medium.as_ref(), &scope, &mut |_| match standing.check() {
                Ok(()) => Ok(()),
                // Why is told by whoever waits for this.
                Err(_) => Err(Error::invalid("the reading back was called off")),
            })
        });
        mount.map_or(Ok(()), OuterMount::unmount)?;
        verdict
    });
    let verdict = read.await.map_err(|lost| StationError::Stopped(format!("reading back ended: {lost}")))?;
    run.standing.check()?;
    Ok(verdict?)
}
