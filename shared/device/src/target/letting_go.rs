//! Letting a medium go.
//!
//! Owns: what has to happen before a device is carried away: everything written is on it ([`sync`]), and the system has given it up ([`detach`]). Does not own: the job's record.
//! Invariant: a disk is detached only when nothing uses it.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{Command, Stdio};

use super::Target;
use super::disk::{DeviceId, Disk, Objection};
use super::in_use::InUse;
use crate::error::{Error, ErrorKind, Result};
use crate::ntfs::is_mounted;

/// Returns once everything written to the target is on its medium.
pub fn sync(target: &Target) -> Result<()> {
    let path = target.signature_directory().unwrap_or(target.path());
    let open = File::open(path).map_err(Error::io("open", path))?;
    match target {
        Target::Block(_) => open.sync_all().map_err(Error::io("sync", path)),
        _ => rustix::fs::syncfs(&open).map_err(|error| Error::io("sync", path)(error.into())),
    }
}

/// Makes the system give the medium up: a directory that is a mount is unmounted, a disk is taken out of the kernel's hands. Needs root as a rule.
///
/// # Errors
/// `Refused` where somebody uses it, or where there is nothing to detach.
pub fn detach(target: &Target) -> Result<()> {
    match target {
        Target::Block(device) => detach_disk(device),
        Target::Directory(directory) | Target::Plain(directory) => unmount(directory),
        Target::Image(image) => {
            Err(refused(format!("{} is a file; there is no device to detach", image.display())))
        }
    }
}

fn detach_disk(device: &Path) -> Result<()> {
    let disk = Disk::of_this_machine(device)?;
    let in_use = InUse::read(Path::new("/proc"))?;
    // Which disk it is was asked when it was erased.
    let mut objections = disk.check(&in_use, "", DeviceId::Sticker);
    objections.retain(|objection| *objection != Objection::ReadOnly);
    if !objections.is_empty() {
        let told = objections.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        return Err(refused(told));
    }
    let switch = Path::new("/sys/block").join(&disk.name).join("device/delete");
    if !switch.exists() {
        return Err(refused(format!(
            "the kernel has no way to detach {disk}; everything is on it, take it out"
        )));
    }
    let mut file = OpenOptions::new().write(true).open(&switch).map_err(Error::io("open", &switch))?;
    std::io::Write::write_all(&mut file, b"1").map_err(Error::io("detach by", &switch))
}

fn unmount(directory: &Path) -> Result<()> {
    let real = std::fs::canonicalize(directory).map_err(Error::io("find", directory))?;
    if !is_mounted(&real)? {
        return Err(refused(format!("nothing is mounted at {}", directory.display())));
    }
    let program = Path::new("umount");
    let output = Command::new(program)
        .arg("--")
        .arg(&real)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io("run", program))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(refused(format!("{} cannot be unmounted: {said}", directory.display())))
}

fn refused(why: String) -> Error {
    Error::new(ErrorKind::Refused, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_device_is_synced_and_not_detached() {
        let home = tempfile::tempdir().unwrap();
        let image = home.path().join("a.hc");
        std::fs::write(&image, "x").unwrap();
        for target in [Target::Image(image), Target::Plain(home.path().to_owned())] {
            sync(&target).unwrap();
            assert_eq!(detach(&target).unwrap_err().kind(), ErrorKind::Refused);
        }
        assert!(sync(&Target::Directory(home.path().join("missing"))).is_err());
    }
}
