//! The target that a job was begun on.
//!
//! Owns: the note of it in the job's work directory, and whether a target is that one. Does not own: what allows a target to be written. Invariants: the note is there
//! before the first byte on the target; a job that was begun goes on there and nowhere else, since what is on that medium already is passed over.

use std::path::{Path, PathBuf};

use ferry_device::durable;
use ferry_device::job::JobId;
use ferry_device::naming::FileSystem;
use ferry_device::target::Target;
use ferry_device::{Error, Result};

use super::{Refused, RunOptions};

/// Says in the work directory which target the job was begun on.
const NOTE: &str = "target";
/// Stands in the note before a disk's own file system.
const OUTER: &str = " --outer ";

/// Whether something of the job is on its target already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Nothing is: what the target holds is somebody else's.
    New,
    /// Something may be.
    Begun,
}

/// Looks the target up.
pub(super) fn look(
    options: &RunOptions,
    job: &JobId,
    work: &Path,
) -> std::result::Result<Beginning, Refused> {
    let Some(note) = durable::read(&work.join(NOTE)).map_err(Refused::Device)? else {
        return Ok(Beginning::New);
    };
    let note = String::from_utf8_lossy(&note).into_owned();
    let name = name_of(options).map_err(Refused::Device)?;
    // A disk may have another name today; its serial number and its size tell whether it is the same.
    let disk = |name: &str| {
        name.starts_with("block:").then(|| name.split_once(OUTER).map(|(_, kind)| kind.to_owned()))
    };
    if note == name || disk(&note).is_some_and(|noted| disk(&name) == Some(noted)) {
        return Ok(Beginning::Begun);
    }
    Err(Refused::Other(format!("job {job} was begun on {note}: go on there, or create a job for {name}")))
}

/// Notes the target.
pub(super) fn note(options: &RunOptions, work: &Path) -> Result<()> {
    durable::write(&work.join(NOTE), name_of(options)?.as_bytes())
}

/// The target's name, from wherever it is looked at.
fn name_of(options: &RunOptions) -> Result<String> {
    let target = &options.target;
    let real = |path: &Path| std::fs::canonicalize(path).map_err(Error::io("find", path));
    let path = target.path();
    let named = match target {
        Target::Block(_) => target.clone(),
        Target::Directory(_) => Target::Directory(real(path)?),
        Target::Plain(_) => Target::Plain(real(path)?),
        // The file itself may be still to be made.
        Target::Image(_) => {
            let directory = real(target.signature_directory().unwrap_or(Path::new(".")))?;
            let name = path.file_name().map(PathBuf::from).unwrap_or_default();
            Target::Image(directory.join(name))
        }
    };
    Ok(match options.outer {
        None => named.to_string(),
        Some(FileSystem::Ntfs) => format!("{named}{OUTER}ntfs"),
        Some(FileSystem::Ext4) => format!("{named}{OUTER}ext4"),
    })
}

#[cfg(test)]
mod tests {
    use ferry_device::ntfs::inside::InsideProgram;
    use ferry_device::target::disk::DeviceId;

    use super::super::Consent;
    use super::*;

    #[test]
    fn a_target_is_known_again_by_any_name_and_no_other_is() {
        let work = tempfile::tempdir().expect("directory");
        let home = work.path().canonicalize().expect("real");
        let (job, name) = (JobId::of_number(1), |kind: &str, path: &str| {
            format!("{kind}:{}/{path}", home.display()).parse::<Target>().expect("a target")
        });
        std::fs::create_dir(home.join("usb")).expect("directory");
        std::os::unix::fs::symlink("usb", home.join("link")).expect("a link");
        let onto = |target: Target| RunOptions {
            target,
            capacity_bytes: None,
            read_back: None,
            device_id: DeviceId::Serial,
            outer: None,
            ntfs: InsideProgram { program: PathBuf::new(), arguments: Vec::new() },
            consent: Consent::Given(String::new()),
        };
        let (begun, same, other) = (&onto, &onto, &onto);
        let on_disk = |disk: &str, outer| RunOptions { outer: Some(outer), ..onto(name("block", disk)) };
        for (begun, same, other) in [
            (begun(name("dir", "usb")), same(name("dir", "link/../usb")), other(name("plain", "usb"))),
            (
                begun(name("image", "usb/a.hc")),
                same(name("image", "link/a.hc")),
                other(name("image", "usb/b.hc")),
            ),
            (begun(name("plain", "link")), same(name("plain", "usb")), other(name("plain", ""))),
            (begun(name("block", "sdb")), same(name("block", "sdc")), other(name("dir", "usb"))),
            (begun(name("block", "sdb")), same(name("block", "sdb")), on_disk("sdb", FileSystem::Ntfs)),
            (
                on_disk("sdb", FileSystem::Ntfs),
                on_disk("sdc", FileSystem::Ntfs),
                on_disk("sdb", FileSystem::Ext4),
            ),
        ] {
            assert_eq!(look(&begun, &job, work.path()).ok(), Some(Beginning::New));
            note(&begun, work.path()).expect("noted");
            assert_eq!(look(&same, &job, work.path()).ok(), Some(Beginning::Begun), "{same:?}");
            assert!(matches!(look(&other, &job, work.path()), Err(Refused::Other(_))), "{other:?}");
            std::fs::remove_file(work.path().join(NOTE)).expect("forgotten");
        }
    }
}
