//! What Linux is using its disks for.
//!
//! Owns: reading `/proc/self/mountinfo`, `/proc/swaps` and `/proc/mdstat`, as pure functions of their text. Does not own: what follows
//! from it ([`super::disk`]). Invariant: a line that cannot be read hides nothing: it is passed over only if it names no device.
//!
//! Source of the formats: proc(5), and `drivers/md/md.c` for mdstat.

use std::path::Path;

use crate::error::{Error, Result};

/// The three texts, read together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    /// `/proc/self/mountinfo`.
    pub mountinfo: String,
    /// `/proc/swaps`.
    pub swaps: String,
    /// `/proc/mdstat`; empty where the kernel has no arrays.
    pub mdstat: String,
}

impl InUse {
    /// Reads them below `proc`, which is `/proc`.
    pub fn read(proc: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = proc.join(name);
            std::fs::read_to_string(&path).map_err(Error::io("read", &path))
        };
        let optional = |name: &str| match std::fs::read_to_string(proc.join(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("read", &proc.join(name))(e)),
            other => Ok(other.unwrap_or_default()),
        };
        // A kernel without swap or without arrays has no such file; one without mounts does not exist.
        Ok(Self {
            mountinfo: read("self/mountinfo")?,
            swaps: optional("swaps")?,
            mdstat: optional("mdstat")?,
        })
    }
}

/// A line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `MAJOR:MINOR` of the device.
    pub number: String,
    /// Where it is mounted.
    pub mount_point: String,
    /// What was mounted: a device's path, or a name that means nothing.
    pub source: String,
}

/// The mounts.
pub fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut fields = before.split(' ').skip(2);
            let number = fields.next()?.to_owned();
            let mount_point = unescape(fields.nth(1)?);
            let source = unescape(after.split(' ').nth(1)?);
            Some(Mount { number, mount_point, source })
        })
        .collect()
}

/// The mount that a path is on: the last of those with the longest mount point above it.
pub fn mount_of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.mount_point))
        .max_by_key(|mount| Path::new(&mount.mount_point).components().count())
}

/// The devices and files swapped to.
pub fn swaps(swaps: &str) -> Vec<String> {
    swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(unescape).collect()
}

/// The members of arrays: the array's name and the member's, as in `/dev`.
pub fn array_members(mdstat: &str) -> Vec<(String, String)> {
    mdstat
        .lines()
        .filter_map(|line| line.split_once(" : "))
        .filter(|(name, _)| name.trim() != "Personalities")
        .flat_map(|(array, members)| {
            members
                .split_whitespace()
                .filter_map(|word| word.split_once('[').map(|(member, _)| member))
                .map(|member| (array.trim().to_owned(), member.to_owned()))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Undoes `\040` and its kin.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes
            .get(at + 1..at + 4)
            .filter(|_| bytes[at] == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 4 } else { 1 };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_names_devices_and_places() {
        let text = "24 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n\
                    30 24 0:25 / /run rw - tmpfs tmpfs rw\n\
                    41 24 8:17 / /media/my\\040disk rw shared:9 master:2 - vfat /dev/sdb1 rw\n";
        let mounts = mounts(text);
        assert_eq!(mounts.len(), 3);
        assert_eq!(
            mounts[2],
            Mount { number: "8:17".into(), mount_point: "/media/my disk".into(), source: "/dev/sdb1".into() }
        );
        let of = |path: &str| mount_of(&mounts, Path::new(path)).unwrap().number.clone();
        assert_eq!(of("/media/my disk/x"), "8:17");
        assert_eq!(of("/media/my disk too"), "8:2");
        assert_eq!(of("/run/lock"), "0:25");
    }

    #[test]
    fn swaps_and_arrays_name_their_devices() {
        let text = "Filename\t\t\t\tType\t\tSize\tUsed\tPriority\n/dev/sda3 partition 1 0 -2\n/swap\\040file file 1 0 -3\n";
        assert_eq!(swaps(text), ["/dev/sda3", "/swap file"]);
        assert_eq!(swaps(""), Vec::<String>::new());
        let text = "Personalities : [raid1]\nmd0 : active raid1 sdc1[1] sdb1[0](F)\n      1046528 blocks [2/2] [UU]\n\nmd1 : inactive nvme0n1p2[0](S)\nunused devices: <none>\n";
        let member = |a: &str, m: &str| (a.to_owned(), m.to_owned());
        assert_eq!(
            array_members(text),
            [member("md0", "sdc1"), member("md0", "sdb1"), member("md1", "nvme0n1p2")]
        );
    }
}
