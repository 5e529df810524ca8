//! A whole disk as a job's medium.
//!
//! Owns: who agrees that a disk is erased ([`Consent`]), the check of everything that speaks against it, and what the work directory keeps of a disk once its SIGNATURE
//! is overwritten. Does not own: what speaks against it (`ferry_device::target::disk`). Invariants: the first byte is written after the SIGNATURE was found, the serial
//! number agreed and a person typed it; who goes on with a disk goes on with the same one.

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
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    serial: Option<String>,
    size_bytes: u64,
}

impl Begun {
    fn of(disk: &Disk) -> Self {
        Self { serial: disk.serial.clone(), size_bytes: disk.size_bytes }
    }

    fn read(work: &Path) -> Result<Option<Self>> {
        let path = work.join(BEGUN);
        let note = durable::read(&path)?;
        note.map(|note| serde_json::from_slice(&note).map_err(|e| Error::io("read", &path)(e.into())))
            .transpose()
    }
}

/// Whether the disk may be erased for the job.
pub(super) fn check(
    device: &Path,
    job: &JobRecord,
    manifest: &Manifest,
    work: &Path,
    options: &RunOptions,
) -> std::result::Result<(), Refused> {
    let disk = Disk::of_this_machine(device).map_err(Refused::Device)?;
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
    match Begun::read(work).map_err(Refused::Device)? {
        Some(begun) if begun == Begun::of(&disk) => {}
        Some(begun) => {
            return Err(Refused::Serial(format!(
                "the job was begun on another disk, of {} bytes{}: attach that one",
                begun.size_bytes,
                begun
                    .serial
                    .map_or_else(String::new, |serial| format!(" and with the serial number {serial}"))
            )));
        }
        None => {
            let signature = signature_of_disk(&disk).map_err(|error| match error.kind() {
                ErrorKind::Refused => Refused::Signature(Unauthorised::Missing(device.join("SIGNATURE"))),
                _ => Refused::Device(error),
            })?;
            authorise_text(device, &signature, &job.signature).map_err(Refused::Signature)?;
        }
    }
    let confirmation = disk.confirmation(&manifest.device_id);
    if options.consent.is_given(&confirmation) {
        return Ok(());
    }
    Err(Refused::Other(format!(
        "everything on {disk} would be lost, and nobody typed its serial number: answer with it, or give --yes-erase SERIAL"
    )))
}

/// Opens the disk for writing, for this process alone. Before the first time its ends are wiped, and with them the SIGNATURE's file system.
pub(super) fn open(device: &Path, work: &Path) -> Result<RawVolume> {
    let volume = RawVolume::open_disk(device)?;
    if Begun::read(work)?.is_none() {
        let begun = Begun::of(&Disk::of_this_machine(device)?);
        let begun =
            serde_json::to_vec(&begun).map_err(|e| Error::invalid("no note of the disk").caused_by(e))?;
        durable::write(&work.join(BEGUN), &begun)?;
        volume.wipe_ends()?;
    }
    Ok(volume)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_was_begun_is_known_again() {
        let work = tempfile::tempdir().expect("directory");
        assert_eq!(Begun::read(work.path()).expect("nothing"), None);
        let disk = Disk { serial: Some("WD-1".into()), size_bytes: 5, ..Disk::default() };
        let begun = serde_json::to_vec(&Begun::of(&disk)).expect("a note");
        durable::write(&work.path().join(BEGUN), &begun).expect("marked");
        assert_eq!(Begun::read(work.path()).expect("read"), Some(Begun::of(&disk)));
        let other = Disk { size_bytes: 6, ..disk };
        assert_ne!(Begun::read(work.path()).expect("read"), Some(Begun::of(&other)));
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
