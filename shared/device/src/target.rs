//! Where an export is written to, and whether it may be.
//!
//! Owns: the four kinds of target as a user names them, the check of the SIGNATURE at a target's root, and the files that stand outside the
//! container. Does not own: what Linux says of a disk ([`disk`], [`in_use`]). Invariant: nothing is written to a target before [`authorise`] and,
//! for a disk, [`disk::Disk::check`] have agreed; a target that is no longer empty is refused unless it is this job's own.

pub mod disk;
pub mod in_use;
pub mod letting_go;
pub mod names;
pub mod outer;
pub mod size;

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::container::Format;
use crate::error::{Error, ErrorKind, Result};
use crate::naming::NOT_OF_THE_EXPORT;
use crate::signature::{FILE_BYTES_MAX, FILE_NAME, Signature};

/// A target, as `--target` names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// `dir:PATH`: the root of a mounted medium; the container becomes a file there.
    Directory(PathBuf),
    /// `image:PATH`: the container becomes this file.
    Image(PathBuf),
    /// `block:PATH`: the whole device becomes the container.
    Block(PathBuf),
    /// `plain:PATH`: no container, the files go into this directory.
    Plain(PathBuf),
}

impl Target {
    /// The path.
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Image(path) | Self::Block(path) | Self::Plain(path) => path,
        }
    }

    /// The directory whose SIGNATURE counts; a block device has one only once it is mounted.
    pub fn signature_directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) | Self::Plain(path) => Some(path),
            Self::Image(path) => Some(match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            }),
            Self::Block(_) => None,
        }
    }

    /// The file or device that holds the container; `None` where there is none.
    pub fn container_path(&self, job_id: &str, format: Format) -> Option<PathBuf> {
        match self {
            Self::Directory(path) => Some(path.join(container_file_name(job_id, format))),
            Self::Image(path) | Self::Block(path) => Some(path.clone()),
            Self::Plain(_) => None,
        }
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, path) = text.split_once(':').unwrap_or(("", text));
        if path.is_empty() {
            return Err(Error::invalid(format!("the target {text:?} names no path")));
        }
        let path = PathBuf::from(path);
        match kind {
            "dir" => Ok(Self::Directory(path)),
            "image" => Ok(Self::Image(path)),
            "block" => Ok(Self::Block(path)),
            "plain" => Ok(Self::Plain(path)),
            _ => Err(Error::invalid(format!(
                "the target {text:?} is none of dir:PATH, image:PATH, block:PATH and plain:PATH"
            ))),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Directory(_) => "dir",
            Self::Image(_) => "image",
            Self::Block(_) => "block",
            Self::Plain(_) => "plain",
        };
        write!(f, "{kind}:{}", self.path().display())
    }
}

/// What a container file is called: the original's `JOBID.tc`, and the usual endings of the other formats.
pub fn container_file_name(job_id: &str, format: Format) -> String {
    let ending = match format {
        Format::TrueCrypt(_) => "tc",
        Format::VeraCrypt(_) => "hc",
        Format::Luks2(_) => "luks",
        Format::None => "img",
    };
    format!("{job_id}.{ending}")
}

/// All endings of [`container_file_name`].
pub(crate) const CONTAINER_ENDINGS: [&str; 4] = ["tc", "hc", "luks", "img"];

/// The file beside a container that says how to open it. It names no key and no object.
pub const HOW_TO_OPEN: &str = "README-HOW-TO-OPEN.txt";

/// What [`HOW_TO_OPEN`] says.
pub fn how_to_open(job_id: &str, format: Format) -> String {
    let name = container_file_name(job_id, format);
    let how = match format {
        Format::VeraCrypt(_) => format!(
            "{name} is a VeraCrypt volume. Windows, macOS: choose it in VeraCrypt and mount it. Linux:\n\n    \
             cryptsetup open --type tcrypt --veracrypt {name} export && mount -o ro /dev/mapper/export /mnt\n"
        ),
        Format::TrueCrypt(_) => format!(
            "{name} is a TrueCrypt volume; VeraCrypt up to 1.25.9 opens it. Linux:\n\n    \
             cryptsetup open --type tcrypt {name} export && mount -o ro /dev/mapper/export /mnt\n"
        ),
        Format::Luks2(_) => format!(
            "{name} is a LUKS2 volume. Linux:\n\n    \
             cryptsetup open {name} export && mount -o ro /dev/mapper/export /mnt\n"
        ),
        Format::None => format!("{name} is not encrypted. Linux:\n\n    mount -o ro,loop {name} /mnt\n"),
    };
    format!(
        "Export job {job_id}, written by Ferry.\n\n{how}\nWithout root, on any system Ferry runs on:\n\n    \
         ferry export open image:{name} DIRECTORY\n    ferry export verify image:{name}\n"
    )
}

/// Whether a directory carries the signature of this job and manifest: the words "yes, erase this".
///
/// # Errors
/// [`Unauthorised`], as the job's code has it.
pub fn authorise(directory: &Path, expected: &Signature) -> Result<(), Unauthorised> {
    let path = directory.join(FILE_NAME);
    let is_file = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
    if !is_file {
        return Err(Unauthorised::Missing(path));
    }
    let mut contents = String::new();
    std::fs::File::open(&path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut contents))
        .map_err(|e| Unauthorised::Invalid(path.clone(), e.to_string()))?;
    authorise_text(&path, &contents, expected)
}

/// The same for a SIGNATURE that was read already.
pub fn authorise_text(path: &Path, contents: &str, expected: &Signature) -> Result<(), Unauthorised> {
    let found =
        Signature::parse(contents).map_err(|e| Unauthorised::Invalid(path.to_owned(), e.to_string()))?;
    if found.job_id != expected.job_id {
        return Err(Unauthorised::Invalid(path.to_owned(), format!("it is of job {}", found.job_id)));
    }
    if !found.agrees_with(expected) {
        let why = "it is of this job, but not of its present manifest";
        return Err(Unauthorised::Invalid(path.to_owned(), why.to_owned()));
    }
    Ok(())
}

/// The SIGNATURE in the root of a disk or of one of its partitions, read through a mount of our own that ends with the reading. Needs root.
///
/// The mount is read-only, in a namespace nobody else sees, and without replaying a journal where the file system allows it: a disk that turns
/// out not to be the job's must stay as it was.
///
/// # Errors
/// `Refused` where none of them has a SIGNATURE.
pub fn signature_of_disk(disk: &disk::Disk) -> Result<String> {
    const SCRIPT: &str = r#"
        place=$(mktemp -d) || exit 4
        trap 'rmdir "$place"' EXIT
        for device in "$@"; do
            mount -o ro,norecovery,nosuid,nodev,noexec "$device" "$place" 2> /dev/null ||
                mount -o ro,nosuid,nodev,noexec "$device" "$place" 2> /dev/null || continue
            if [ -f "$place/SIGNATURE" ] && [ ! -L "$place/SIGNATURE" ]; then
                head -c 4096 "$place/SIGNATURE"
                umount "$place"
                exit 0
            fi
            umount "$place"
        done
        exit 3"#;
    let program = Path::new("unshare");
    let output = std::process::Command::new(program)
        .args(["--mount", "sh", "-c", SCRIPT, "sh"])
        .arg(Path::new("/dev").join(&disk.name))
        .args(disk.partitions.iter().map(|(name, _)| Path::new("/dev").join(name)))
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(Error::io("run", program))?;
    match output.status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Some(3) => Err(Unauthorised::Missing(Path::new("/dev").join(&disk.name).join(FILE_NAME)).into()),
        _ => Err(Error::new(
            ErrorKind::Io,
            format!(
                "cannot look for SIGNATURE on {disk}, which needs root: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ),
        )),
    }
}

/// Why a target is not this job's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unauthorised {
    /// The job's code is `MissingSignature`.
    #[error("{} is not there: copy the job's SIGNATURE into the root of the device that is to be erased", .0.display())]
    Missing(PathBuf),
    /// The job's code is `InvalidSignature`.
    #[error("{} does not allow this job: {}", .0.display(), .1)]
    Invalid(PathBuf, String),
}

impl From<Unauthorised> for Error {
    fn from(unauthorised: Unauthorised) -> Self {
        Self::new(ErrorKind::Refused, unauthorised.to_string())
    }
}

/// Whether a directory holds nothing but a job's own files outside the container.
///
/// # Errors
/// `Refused`, naming the first file that is somebody's.
pub fn check_empty(directory: &Path) -> Result<()> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .map_err(Error::io("list", directory))?
        .into_iter()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !NOT_OF_THE_EXPORT.contains(&name.as_str()))
        .collect();
    names.sort();
    match names.first() {
        None => Ok(()),
        Some(name) => Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{} is not empty: it has {name}; files are only put into an empty directory",
                directory.display()
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::VeraCryptPrf;
    use crate::signature::SigningMethod;

    #[test]
    fn targets_are_named_by_kind_and_path() {
        for text in ["dir:/mnt/usb", "image:a.img", "block:/dev/sdb", "plain:/srv/x:y"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in ["/mnt/usb", "dir:", "file:/x", ""] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
        let image: Target = "image:a.img".parse().unwrap();
        assert_eq!(image.signature_directory(), Some(Path::new(".")));
        let format = Format::VeraCrypt(VeraCryptPrf::Sha512);
        let directory: Target = "dir:/mnt".parse().unwrap();
        assert_eq!(directory.container_path("TC44P", format), Some("/mnt/TC44P.hc".into()));
    }

    fn signature(job: &str, manifest: &str) -> Signature {
        Signature::sign(SigningMethod::HmacSha1, b"key", job, manifest.as_bytes())
    }

    #[test]
    fn only_the_signature_of_this_job_and_manifest_allows_writing() {
        let root = tempfile::tempdir().unwrap();
        let expected = signature("TC44P", "m");
        let file = root.path().join(FILE_NAME);
        assert_eq!(authorise(root.path(), &expected), Err(Unauthorised::Missing(file.clone())));
        for wrong in [
            signature("OTHER", "m").file_contents(),
            signature("TC44P", "n").file_contents(),
            String::new(),
            "version:2.0\nsigningMethod:none\njobId:TC44P\nsignature:x\n".into(),
        ] {
            std::fs::write(&file, wrong).unwrap();
            assert!(matches!(authorise(root.path(), &expected), Err(Unauthorised::Invalid(..))));
        }
        std::fs::write(&file, expected.file_contents().replace('\n', "\r\n")).unwrap();
        assert_eq!(authorise(root.path(), &expected), Ok(()));
        std::fs::rename(&file, root.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", &file).unwrap();
        assert!(authorise(root.path(), &expected).is_err(), "a link is not on the device");
    }

    #[test]
    fn files_only_go_into_an_empty_directory() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join(FILE_NAME), "x").unwrap();
        check_empty(root.path()).unwrap();
        std::fs::write(root.path().join("holiday.jpg"), "x").unwrap();
        let error = check_empty(root.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("holiday.jpg"));
    }

    #[test]
    fn how_to_open_names_the_container_and_nothing_of_the_data() {
        for format in [Format::None, Format::default()] {
            let text = how_to_open("TC44P", format);
            assert!(text.contains(&container_file_name("TC44P", format)));
        }
    }
}
