//! A whole disk as a job's medium.
//!
//! Owns: who agrees that a disk is erased ([`Consent`]), the check of everything that speaks against it, and what the work directory keeps of a disk once its SIGNATURE
//! is overwritten. Does not own: what speaks against it (`ferry_device::target::disk`). Invariants: the first byte is written after the SIGNATURE was found, the serial
//! number agreed and a person typed it, all of the disk that is open at that moment; who goes on with a disk goes on with the same one.

use std::path::Path;

use ferry_device::durable;
use ferry_device::job::JobRecord;
use ferry_device::manifest::Manifest;
use ferry_device::target::disk::{Confirmation, Disk, Objection};
use ferry_device::target::in_use::InUse;
use ferry_device::target::{Unauthorised, authorise_text, signature_of_disk};
use ferry_device::volume::RawVolume;
use ferry_device::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{Refused, RunOptions};

/// Says in the work directory which disk is being erased. From then on its SIGNATURE is gone.
const BEGUN: &str = "disk-begun";

/// Who agrees that everything on a disk is lost.
#[derive(Debug, Clone)]
pub enum Consent {
    /// Somebody gave the serial number beforehand.
    Given(String),
    /// Somebody is asked, and what is typed comes back.
    Asked(fn(&Confirmation) -> String),
}

impl Consent {
    fn is_given(&self, to: &Confirmation) -> bool {
        match self {
            Self::Given(serial) => to.is_given_by(serial),
            Self::Asked(ask) => to.is_given_by(&ask(to)),
        }
    }
}

/// What tells a disk from another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    serial: Option<String>,
    size_bytes: u64,
}

impl Identity {
    fn of(disk: &Disk) -> Self {
        Self { serial: disk.serial.clone(), size_bytes: disk.size_bytes }
    }

    /// Of the disk that is being erased, where one is.
    fn begun(work: &Path) -> Result<Option<Self>> {
        let path = work.join(BEGUN);
        let note = durable::read(&path)?;
        note.map(|note| serde_json::from_slice(&note).map_err(|e| Error::io("read", &path)(e.into())))
            .transpose()
    }

    fn check(&self, disk: &Disk, when: &str) -> std::result::Result<(), Refused> {
        if *self == Self::of(disk) {
            return Ok(());
        }
        let serial = self
            .serial
            .as_ref()
            .map_or_else(String::new, |serial| format!(" and with the serial number {serial}"));
        Err(Refused::Serial(format!(
            "{disk} is not the disk that {when}, of {} bytes{serial}: attach that one",
            self.size_bytes
        )))
    }
}

/// Whether the disk may be erased for the job, and which it is.
pub(super) fn check(
    device: &Path,
    job: &JobRecord,
    manifest: &Manifest,
    work: &Path,
    options: &RunOptions,
) -> std::result::Result<Identity, Refused> {
    let disk = Disk::of_this_machine(device).map_err(Refused::Device)?;
    speaks_nothing_against(&disk, device, job, manifest, work, options)?;
    let confirmation = disk.confirmation(&manifest.device_id);
    if options.consent.is_given(&confirmation) {
        return Ok(Identity::of(&disk));
    }
    Err(Refused::Other(format!(
        "everything on {disk} would be lost, and nobody typed its serial number: answer with it, or give --yes-erase SERIAL"
    )))
}

fn speaks_nothing_against(
    disk: &Disk,
    device: &Path,
    job: &JobRecord,
    manifest: &Manifest,
    work: &Path,
    options: &RunOptions,
) -> std::result::Result<(), Refused> {
    let in_use = InUse::read(Path::new("/proc")).map_err(Refused::Device)?;
    let objections = disk.check(&in_use, &manifest.device_id, options.device_id);
    if !objections.is_empty() {
        let told = objections.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let is_another = |objection: &Objection| {
            matches!(objection, Objection::OtherSerial { .. } | Objection::SerialUnknown { .. })
        };
        return Err(if objections.iter().all(is_another) {
            Refused::Serial(told)
        } else {
            Refused::Other(told)
        });
    }
    if let Some(begun) = Identity::begun(work).map_err(Refused::Device)? {
        return begun.check(disk, "the job was begun on");
    }
    let path = device.join("SIGNATURE");
    let signature = signature_of_disk(disk).map_err(|error| match error.kind() {
        ErrorKind::Refused => Refused::Signature(Unauthorised::Missing(path.clone())),
        _ => Refused::Device(error),
    })?;
    authorise_text(&path, &signature, &job.signature).map_err(Refused::Signature)
}

/// Opens the disk for writing, for this process alone.
///
/// Hours have passed since it was `checked`: it is checked again, and what is written is the disk that was opened, not the one that its name led to.
pub(super) fn open(
    device: &Path,
    checked: &Identity,
    job: &JobRecord,
    manifest: &Manifest,
    work: &Path,
    options: &RunOptions,
) -> std::result::Result<RawVolume, Refused> {
    let disk = Disk::of_this_machine(device).map_err(Refused::Device)?;
    checked.check(&disk, "was checked")?;
    speaks_nothing_against(&disk, device, job, manifest, work, options)?;
    let volume = RawVolume::open_disk(device).map_err(Refused::Device)?;
    let opened = volume.disk_number().and_then(|number| Disk::of_this_machine_by_number(&number));
    checked.check(&opened.map_err(Refused::Device)?, "was checked")?;
    Ok(volume)
}

/// Whether the disk is the one that the job in a work directory was written to.
pub(super) fn is_the_jobs(disk: &Disk, work: &Path) -> std::result::Result<(), Refused> {
    match Identity::begun(work).map_err(Refused::Device)? {
        Some(begun) => begun.check(disk, "the job was written to"),
        None => Err(Refused::Serial(format!("the job was not written to {disk}"))),
    }
}

/// Says that the disk is being erased: from now on it is known by this note alone.
pub(super) fn note(identity: &Identity, work: &Path) -> Result<()> {
    let note =
        serde_json::to_vec(identity).map_err(|e| Error::invalid("no note of the disk").caused_by(e))?;
    durable::write(&work.join(BEGUN), &note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_was_begun_is_known_again() {
        let work = tempfile::tempdir().expect("directory");
        assert_eq!(Identity::begun(work.path()).expect("nothing"), None);
        let disk = Disk { serial: Some("WD-1".into()), size_bytes: 5, ..Disk::default() };
        note(&Identity::of(&disk), work.path()).expect("noted");
        let begun = Identity::begun(work.path()).expect("read").expect("a note");
        assert!(begun.check(&disk, "it was").is_ok());
        for other in [Disk { size_bytes: 6, ..disk.clone() }, Disk { serial: None, ..disk }] {
            assert!(matches!(begun.check(&other, "it was"), Err(Refused::Serial(_))));
        }
    }

    #[test]
    fn only_the_serial_number_is_consent() {
        let disk = Disk { name: "sdb".into(), serial: Some("WD-1".into()), ..Disk::default() };
        let confirmation = disk.confirmation("WD-1");
        assert!(Consent::Given("WD-1".into()).is_given(&confirmation));
        assert!(!Consent::Given("yes".into()).is_given(&confirmation));
        assert!(Consent::Asked(|_| " WD-1\n".into()).is_given(&confirmation));
        assert!(!Consent::Asked(|_| String::new()).is_given(&confirmation));
    }
}
