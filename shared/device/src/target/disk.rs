//! A disk, and why it must not be written.
//!
//! Owns: what sysfs says of a block device ([`Disk`]), all reasons against erasing it ([`Disk::check`]) and the question that a person answers
//! before it is ([`Disk::confirmation`]). Does not own: the SIGNATURE. Invariant: whatever cannot be found out is a reason against.

use std::fmt;
use std::path::{Path, PathBuf};

use super::in_use::{InUse, array_members, mounts, swaps};
use crate::error::{Error, ErrorKind, Result};

/// Bytes in a sector of `/sys/block/*/size`, whatever the disk's own sectors are.
const SYSFS_SECTOR_BYTES: u64 = 512;

/// A whole disk as the kernel sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name: `sdb`, `nvme0n1`.
    pub name: String,
    /// `MAJOR:MINOR`.
    pub number: String,
    /// The serial number, where the disk or its bridge tells one.
    pub serial: Option<String>,
    /// The model, for the question.
    pub model: Option<String>,
    /// The size.
    pub size_bytes: u64,
    /// Whether the disk refuses writes.
    pub is_read_only: bool,
    /// Name and number of each partition.
    pub partitions: Vec<(String, String)>,
    /// Devices built on the disk or its partitions: LVM, dm-crypt, arrays.
    pub holders: Vec<String>,
}

/// A reason not to write a disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// It is mounted.
    #[error("{device} is mounted at {mount_point}: unmount it first")]
    Mounted {
        /// The disk or partition.
        device: String,
        /// Where.
        mount_point: String,
    },
    /// The system runs from it.
    #[error("{device} holds the running system")]
    RootDisk {
        /// The disk or partition.
        device: String,
    },
    /// It is swapped to.
    #[error("{device} is swap space")]
    Swap {
        /// The disk or partition.
        device: String,
    },
    /// It is part of an array.
    #[error("{device} is part of the array {array}")]
    ArrayMember {
        /// The disk or partition.
        device: String,
        /// The array.
        array: String,
    },
    /// Something is built on it.
    #[error("{holder} is built on it")]
    Held {
        /// The device above.
        holder: String,
    },
    /// It tells no serial number.
    #[error(
        "the disk tells no serial number to compare with deviceId {wanted:?}; if that is on a sticker, say so with --device-id-on-sticker"
    )]
    SerialUnknown {
        /// The manifest's `deviceId`.
        wanted: String,
    },
    /// It is another disk.
    #[error("the disk's serial number is {found:?}, the manifest's deviceId is {wanted:?}")]
    OtherSerial {
        /// The disk's.
        found: String,
        /// The manifest's `deviceId`.
        wanted: String,
    },
    /// It cannot be written.
    #[error("the disk is read-only")]
    ReadOnly,
}

/// How a disk is known to be the manifest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceId {
    /// `deviceId` is the serial number.
    Serial,
    /// `deviceId` is written on a sticker; a person looked at it.
    Sticker,
}

impl Disk {
    /// Looks a device up: the disk itself, not a partition, by its path in `/dev`. `sys` is `/sys`, `udev` is `/run/udev`.
    ///
    /// # Errors
    /// `Refused` for anything that is not a whole disk.
    pub fn read(sys: &Path, udev: &Path, device: &Path) -> Result<Self> {
        // A name under /dev/disk/by-id is a link; the kernel's name is at its end.
        let real = std::fs::canonicalize(device).map_err(Error::io("find", device))?;
        let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::read_named(sys, udev, &name).map_err(|e| {
            Error::new(ErrorKind::Refused, format!("{} is not a whole disk", device.display())).caused_by(e)
        })
    }

    /// The same on this machine.
    pub fn of_this_machine(device: &Path) -> Result<Self> {
        Self::read(Path::new("/sys"), Path::new("/run/udev"), device)
    }

    /// The same, by the number of the disk or of one of its partitions.
    pub fn of_this_machine_by_number(number: &str) -> Result<Self> {
        Self::of_number(Path::new("/sys"), Path::new("/run/udev"), number)
    }

    /// The disk that a device number, of a disk or of a partition, belongs to.
    pub fn of_number(sys: &Path, udev: &Path, number: &str) -> Result<Self> {
        let link = sys.join("dev/block").join(number);
        let mut directory = std::fs::canonicalize(&link).map_err(Error::io("find", &link))?;
        if directory.join("partition").exists() {
            directory.pop();
        }
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::read_named(sys, udev, &name)
    }

    fn read_named(sys: &Path, udev: &Path, name: &str) -> Result<Self> {
        let directory = sys.join("block").join(name);
        let number = text(&directory.join("dev")).map_err(Error::io("read", &directory.join("dev")))?;
        let size = text(&directory.join("size")).map_err(Error::io("read", &directory.join("size")))?;
        let mut holders = names(&directory.join("holders"));
        let mut partitions = Vec::new();
        for child in names(&directory) {
            let child_directory = directory.join(&child);
            if child_directory.join("partition").exists() {
                holders.extend(names(&child_directory.join("holders")));
                partitions.push((child, text(&child_directory.join("dev")).unwrap_or_default()));
            }
        }
        Ok(Self {
            serial: serial(&directory, udev, &number),
            model: text(&directory.join("device/model")).ok(),
            size_bytes: size.parse::<u64>().unwrap_or(0) * SYSFS_SECTOR_BYTES,
            is_read_only: text(&directory.join("ro")).is_ok_and(|ro| ro == "1"),
            name: name.to_owned(),
            number,
            partitions,
            holders,
        })
    }

    /// All reasons against erasing it.
    pub fn check(&self, in_use: &InUse, device_id: &str, how: DeviceId) -> Vec<Objection> {
        let mut objections = Vec::new();
        let parts: Vec<(&str, &str)> = std::iter::once((self.name.as_str(), self.number.as_str()))
            .chain(self.partitions.iter().map(|(name, number)| (name.as_str(), number.as_str())))
            .collect();
        let own = |device: &str| {
            let name = device.strip_prefix("/dev/").unwrap_or(device);
            parts.iter().any(|(part, _)| *part == name)
        };
        for mount in mounts(&in_use.mountinfo) {
            let by_number = parts.iter().find(|(_, number)| *number == mount.number).map(|(name, _)| *name);
            // Btrfs and others mount under a number of their own, so the name counts as well.
            let by_name = own(&mount.source).then_some(mount.source.as_str());
            if let Some(device) = by_number.or(by_name) {
                let device = device.to_owned();
                objections.push(if mount.mount_point == "/" {
                    Objection::RootDisk { device }
                } else {
                    Objection::Mounted { device, mount_point: mount.mount_point }
                });
            }
        }
        let swapped = swaps(&in_use.swaps).into_iter().filter(|device| own(device));
        objections.extend(swapped.map(|device| Objection::Swap { device }));
        let members = array_members(&in_use.mdstat).into_iter().filter(|(_, member)| own(member));
        objections.extend(members.map(|(array, device)| Objection::ArrayMember { device, array }));
        objections.extend(self.holders.iter().map(|holder| Objection::Held { holder: holder.clone() }));
        objections.extend(self.check_serial(device_id, how));
        if self.is_read_only {
            objections.push(Objection::ReadOnly);
        }
        objections
    }

    /// The reason against, if any, that lies in the disk being another one.
    pub fn check_serial(&self, device_id: &str, how: DeviceId) -> Option<Objection> {
        match (&self.serial, how) {
            (_, DeviceId::Sticker) => None,
            (None, DeviceId::Serial) => Some(Objection::SerialUnknown { wanted: device_id.to_owned() }),
            (Some(found), DeviceId::Serial) => (found != device_id.trim())
                .then(|| Objection::OtherSerial { found: found.clone(), wanted: device_id.to_owned() }),
        }
    }

    /// What a person is asked before the disk is erased.
    pub fn confirmation(&self, device_id: &str) -> Confirmation {
        let number = if self.serial.is_some() { "its serial number" } else { "the number on its sticker" };
        Confirmation {
            question: format!("Everything on {self} will be lost. Type {number} to go on:"),
            answer: self.serial.clone().unwrap_or_else(|| device_id.trim().to_owned()),
        }
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = self.model.as_deref().unwrap_or("a disk");
        let (size, unit) = match self.size_bytes / 1_000_000 {
            megabytes @ 0..10_000 => (megabytes, "MB"),
            megabytes => (megabytes / 1000, "GB"),
        };
        write!(f, "/dev/{} ({model}, {size} {unit})", self.name)
    }
}

/// A question with one right answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// The question.
    pub question: String,
    answer: String,
}

impl Confirmation {
    /// Whether what was typed is the serial number, and not just "yes".
    pub fn is_given_by(&self, typed: &str) -> bool {
        typed.trim() == self.answer
    }
}

fn text(path: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned())
}

/// Names in a directory of sysfs; none where it is missing.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .map(|entries| entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

/// The serial number: as udev found it, else from the disk's own attributes, else from the USB bridge above it.
fn serial(directory: &Path, udev: &Path, number: &str) -> Option<String> {
    let from_udev = text(&udev.join(format!("data/b{number}"))).ok().and_then(|data| {
        data.lines().find_map(|line| line.strip_prefix("E:ID_SERIAL_SHORT=")).map(str::to_owned)
    });
    from_udev
        .or_else(|| text(&directory.join("serial")).ok())
        .or_else(|| text(&directory.join("device/serial")).ok())
        .or_else(|| unit_serial_page(&directory.join("device/vpd_pg80")))
        .or_else(|| serial_above(&directory.join("device")))
        .map(|serial| serial.trim().to_owned())
        .filter(|serial| !serial.is_empty())
}

/// SCSI's vital product data page 0x80: four bytes of header, then the serial number.
fn unit_serial_page(path: &Path) -> Option<String> {
    let page = std::fs::read(path).ok()?;
    Some(String::from_utf8_lossy(page.get(4..)?).trim_matches(['\0', ' ']).to_owned())
}

fn serial_above(device: &Path) -> Option<String> {
    let mut directory: PathBuf = std::fs::canonicalize(device).ok()?;
    while directory.pop() {
        if directory.join("idVendor").exists() {
            return text(&directory.join("serial")).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Disk {
        Disk {
            name: "sdb".into(),
            number: "8:16".into(),
            serial: Some("WD-123".into()),
            model: Some("My Passport".into()),
            size_bytes: 4_000_000_000_000,
            is_read_only: false,
            partitions: vec![("sdb1".into(), "8:17".into())],
            holders: Vec::new(),
        }
    }

    fn objections(in_use: &InUse) -> Vec<Objection> {
        disk().check(in_use, "WD-123", DeviceId::Serial)
    }

    #[test]
    fn an_idle_disk_with_the_right_serial_may_be_written() {
        let in_use = InUse {
            mountinfo: "24 1 8:2 / / rw - ext4 /dev/sda2 rw\n25 1 8:18 / /x rw - ext4 /dev/sdb11 rw\n".into(),
            swaps: "Filename Type\n/dev/sda3 partition\n".into(),
            mdstat: "md0 : active raid1 sdc1[1] sda4[0]\n".into(),
        };
        assert_eq!(objections(&in_use), []);
    }

    #[test]
    fn a_disk_in_use_is_refused_whatever_uses_it() {
        let mounted = |line: &str| InUse { mountinfo: line.into(), ..InUse::default() };
        assert_eq!(
            objections(&mounted("41 24 8:17 / /media/d rw - vfat /dev/sdb1 rw\n")),
            [Objection::Mounted { device: "sdb1".into(), mount_point: "/media/d".into() }]
        );
        assert_eq!(
            objections(&mounted("24 1 8:17 / / rw - ext4 /dev/root rw\n")),
            [Objection::RootDisk { device: "sdb1".into() }]
        );
        assert_eq!(
            objections(&mounted("41 24 0:44 / /media/d rw - btrfs /dev/sdb1 rw\n")),
            [Objection::Mounted { device: "/dev/sdb1".into(), mount_point: "/media/d".into() }],
            "btrfs has a number of its own"
        );
        let swap = InUse { swaps: "Filename\n/dev/sdb partition 1 0 -2\n".into(), ..InUse::default() };
        assert_eq!(objections(&swap), [Objection::Swap { device: "/dev/sdb".into() }]);
        let array = InUse { mdstat: "md7 : active raid0 sdb1[0] sdc1[1]\n".into(), ..InUse::default() };
        assert_eq!(
            objections(&array),
            [Objection::ArrayMember { device: "sdb1".into(), array: "md7".into() }]
        );
        let held = Disk { holders: vec!["dm-0".into()], is_read_only: true, ..disk() };
        assert_eq!(
            held.check(&InUse::default(), "WD-123", DeviceId::Serial),
            [Objection::Held { holder: "dm-0".into() }, Objection::ReadOnly]
        );
    }

    #[test]
    fn another_serial_or_none_is_refused_unless_a_person_read_the_sticker() {
        let check = |disk: Disk, id: &str, how| disk.check(&InUse::default(), id, how);
        assert_eq!(
            check(disk(), "WD-124", DeviceId::Serial),
            [Objection::OtherSerial { found: "WD-123".into(), wanted: "WD-124".into() }]
        );
        let silent = Disk { serial: None, ..disk() };
        assert_eq!(
            check(silent.clone(), "WD-123", DeviceId::Serial),
            [Objection::SerialUnknown { wanted: "WD-123".into() }]
        );
        assert_eq!(check(silent, "box 7", DeviceId::Sticker), []);
    }

    #[test]
    fn only_the_typed_serial_confirms() {
        let confirmation = disk().confirmation("WD-123");
        assert!(confirmation.question.contains("/dev/sdb (My Passport, 4000 GB)"));
        assert!(confirmation.is_given_by(" WD-123\n"));
        for typed in ["", "yes", "y", "wd-123", "WD-1234"] {
            assert!(!confirmation.is_given_by(typed), "{typed}");
        }
    }

    /// A sysfs as a USB disk with one encrypted partition has it.
    #[test]
    fn sysfs_tells_partitions_holders_and_the_bridges_serial() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let usb = "sys/devices/usb1/1-2";
        write(&format!("{usb}/idVendor"), "1058\n");
        write(&format!("{usb}/serial"), "WX71\n");
        let block = format!("{usb}/host6/target/6:0:0:0/block/sdb");
        write(&format!("{block}/dev"), "8:16\n");
        write(&format!("{block}/size"), "2048\n");
        write(&format!("{block}/ro"), "0\n");
        write(&format!("{block}/sdb1/dev"), "8:17\n");
        write(&format!("{block}/sdb1/partition"), "1\n");
        write(&format!("{block}/sdb1/holders/dm-3/x"), "");
        write(&format!("{usb}/host6/target/6:0:0:0/model"), "My Passport \n");
        let link = |from: &str, to: &str| {
            let from = root.path().join(from);
            std::fs::create_dir_all(from.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(root.path().join(to), from).unwrap();
        };
        link(&format!("{block}/device"), &format!("{usb}/host6/target/6:0:0:0"));
        link("sys/block/sdb", &block);
        link("sys/dev/block/8:17", &format!("{block}/sdb1"));
        write("dev/sdb", "");
        let sys = root.path().join("sys");
        let udev = root.path().join("run/udev");
        let found = Disk::read(&sys, &udev, &root.path().join("dev/sdb")).unwrap();
        let expected = Disk {
            name: "sdb".into(),
            number: "8:16".into(),
            serial: Some("WX71".into()),
            model: Some("My Passport".into()),
            size_bytes: 1 << 20,
            is_read_only: false,
            partitions: vec![("sdb1".into(), "8:17".into())],
            holders: vec!["dm-3".into()],
        };
        assert_eq!(found, expected);
        assert_eq!(Disk::of_number(&sys, &udev, "8:17").unwrap(), expected);
        write("run/udev/data/b8:16", "E:ID_MODEL=x\nE:ID_SERIAL_SHORT=FROMUDEV\n");
        assert_eq!(
            Disk::read(&sys, &udev, &root.path().join("dev/sdb")).unwrap().serial.as_deref(),
            Some("FROMUDEV")
        );
        write("dev/sdb1", "");
        let error = Disk::read(&sys, &udev, &root.path().join("dev/sdb1")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
    }
}
