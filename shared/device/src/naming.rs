//! From an object's key to a path on the medium.
//!
//! Owns: the rules of the two file systems ([`FileSystem`]) and the candidate a single key has under them
//! ([`NamingRules::candidate`]), a pure function. Does not own: which of several candidates keeps a contested path
//! ([`crate::naming::contest`]). Invariant: a candidate is always a legal path of its file system below its base; a key
//! that has none is [`Candidate::Unmappable`] with the reason, never dropped and never altered beyond recognition.
//!
//! The original removed or mapped illegal characters "as closely as possible" and put what had no name into a numbered
//! recovery directory; the table of rules is in `docs/device.md`.

pub mod contest;
mod ntfs;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::{signature, target};

/// The file system of the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum FileSystem {
    /// Linux; names are bytes, at most 255 of them.
    Ext4,
    /// Windows; names are at most 255 UTF-16 units, without case.
    Ntfs,
}

/// The longest name of a file, in bytes (ext4) or UTF-16 units (NTFS).
const NAME_MAX: usize = 255;
/// Linux's `PATH_MAX`, the final NUL counted.
const PATH_MAX_BYTES: usize = 4096;
/// The most UTF-16 units Windows takes in a path.
const NTFS_PATH_MAX_UNITS: usize = 32_767;
/// The directory that e2fsck puts what it finds into; it belongs to the file system.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";
/// What stands in the root of a directory of files besides the export: the station's, and what systems leave on a disk that they have seen.
pub(crate) const NOT_OF_THE_EXPORT: [&str; 8] = [
    signature::FILE_NAME,
    target::HOW_TO_OPEN,
    LOST_AND_FOUND,
    "System Volume Information",
    "$RECYCLE.BIN",
    ".fseventsd",
    ".Spotlight-V100",
    ".Trashes",
];
/// Where Ferry keeps its own documents on the medium.
pub const OWN_DIRECTORY: &str = ".export";
/// Where the original put objects whose key cannot become a name.
pub const DEFAULT_RECOVERY_DIRECTORY: &str = "EXPORT-RECOVERY";

/// A path on the medium: components joined by `/`, relative to its root, no component empty, `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DevicePath(String);

impl DevicePath {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A path that was legal when it was made, or a document's.
    pub(crate) fn trusted(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// The components, outermost first.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl std::fmt::Display for DevicePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an object is in the recovery directory instead of at its own path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Reason {
    /// The key has an empty component (`a//b`, a leading `/`) or is empty.
    EmptyComponent = 1,
    /// A component is `.` or `..`.
    DotComponent = 2,
    /// A component is longer than the file system allows.
    NameTooLong = 3,
    /// The whole path is longer than the file system allows.
    PathTooLong = 4,
    /// The key has a NUL, which no file system stores.
    NulCharacter = 5,
    /// The name belongs to the file system or to Ferry.
    ReservedName = 6,
    /// Another object has this name, or one that differs in case only.
    NameTaken = 7,
    /// The name is a directory's, since other keys continue it.
    IsDirectory = 8,
    /// The key ends in `/`, so it names a directory, but it has bytes.
    DirectoryWithData = 9,
    /// A directory of the path exists in another spelling.
    DirectorySpelling = 10,
}

impl Reason {
    const ALL: [Self; 10] = [
        Self::EmptyComponent,
        Self::DotComponent,
        Self::NameTooLong,
        Self::PathTooLong,
        Self::NulCharacter,
        Self::ReservedName,
        Self::NameTaken,
        Self::IsDirectory,
        Self::DirectoryWithData,
        Self::DirectorySpelling,
    ];

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == byte)
    }
}

/// Whether a candidate is the key itself or the key with something replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fidelity {
    /// Nothing was replaced. Such a candidate has the first claim to its path.
    Exact,
    /// Characters were replaced.
    Altered,
}

/// What one key would be called if it were alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// A file.
    File(DevicePath, Fidelity),
    /// A key that ends in `/` and has no bytes: a directory.
    Directory(DevicePath, Fidelity),
    /// A key that ends in `/` and has bytes: the directory, and the bytes in the recovery directory.
    DirectoryWithData(DevicePath, Fidelity),
    /// No name is possible.
    Unmappable(Reason),
}

/// How keys become paths, for one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamingRules {
    file_system: FileSystem,
    recovery_directory: String,
    substitutions: Vec<(String, String)>,
    /// What every path begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_directory: Option<String>,
    /// What the length of a name is counted in, where it is not what the file system counts.
    #[serde(default)]
    lengths: Lengths,
}

/// What the length of a name is counted in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Lengths {
    /// What the file system counts.
    #[default]
    OfTheFileSystem,
    /// Bytes: the names of one file system stand in another.
    Bytes,
}

impl NamingRules {
    /// Rules with the default recovery directory and no substitutions.
    pub fn new(file_system: FileSystem) -> Self {
        Self {
            file_system,
            recovery_directory: DEFAULT_RECOVERY_DIRECTORY.to_owned(),
            substitutions: Vec::new(),
            payload_directory: None,
            lengths: Lengths::default(),
        }
    }

    /// Counts a name's bytes whatever the file system: names for NTFS that are written where bytes are counted.
    #[must_use]
    pub fn with_names_in_bytes(mut self) -> Self {
        self.lengths = Lengths::Bytes;
        self
    }

    /// Puts everything, the recovery directory included, below one directory: a bag's `data`.
    #[must_use]
    pub fn below(mut self, payload_directory: Option<&str>) -> Self {
        self.payload_directory = payload_directory.map(str::to_owned);
        self
    }

    fn rooted(&self, path: String) -> DevicePath {
        DevicePath(match &self.payload_directory {
            Some(directory) => format!("{directory}/{path}"),
            None => path,
        })
    }

    /// Another recovery directory: one component, at the root of the medium.
    ///
    /// # Errors
    /// When the file system could not hold a directory of that name.
    pub fn with_recovery_directory(mut self, name: &str) -> Result<Self> {
        let name = name.trim_matches('/');
        // The name that it had until now is free again.
        self.recovery_directory.clear();
        match self.component(name, true) {
            Ok((mapped, Fidelity::Exact)) if !name.contains('/') => {
                self.recovery_directory = mapped;
                Ok(self)
            }
            _ => Err(Error::invalid(format!(
                "recoveryDirectory {name:?} is not a directory name of the medium's file system"
            ))),
        }
    }

    /// Replacements of characters or strings in keys, applied one after the other before anything else.
    #[must_use]
    pub fn with_substitutions(mut self, substitutions: Vec<(String, String)>) -> Self {
        self.substitutions = substitutions;
        self
    }

    /// The file system.
    pub fn file_system(&self) -> FileSystem {
        self.file_system
    }

    /// The recovery directory's name.
    pub fn recovery_directory(&self) -> &str {
        &self.recovery_directory
    }

    /// The path of the `number`th object without a name of its own: `EXPORT-RECOVERY/0000/0000` and on.
    ///
    /// # Errors
    /// Past the original's limit of 10⁸ such files.
    pub fn recovery_path(&self, number: u64) -> Result<DevicePath> {
        if number >= 100_000_000 {
            return Err(Error::invalid("more than 100,000,000 objects have no name of their own"));
        }
        let name = format!("{}/{:04}/{:04}", self.recovery_directory, number / 10_000, number % 10_000);
        Ok(self.rooted(name))
    }

    /// What `key` would be called below `base` (`/`-separated, empty for the root) if it were alone.
    pub fn candidate(&self, base: &str, key: &str, size_bytes: u64) -> Candidate {
        let mut substituted = key.to_owned();
        for (from, to) in &self.substitutions {
            if !from.is_empty() {
                substituted = substituted.replace(from, to);
            }
        }
        let mut fidelity = if substituted == key { Fidelity::Exact } else { Fidelity::Altered };
        let (name, directory) = match substituted.strip_suffix('/') {
            Some(name) => (name, true),
            None => (substituted.as_str(), false),
        };
        let base = base.trim_matches('/');
        let mut path = String::with_capacity(base.len() + 1 + name.len());
        for component in base.split('/').filter(|c| !c.is_empty()).chain(name.split('/')) {
            let (mapped, how) = match self.component(component, path.is_empty()) {
                Ok(mapped) => mapped,
                Err(reason) => return Candidate::Unmappable(reason),
            };
            fidelity = fidelity.max(how);
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(&mapped);
        }
        let path = self.rooted(path);
        let too_long = match (self.file_system, self.lengths) {
            (FileSystem::Ext4, _) | (_, Lengths::Bytes) => path.0.len() + 2 > PATH_MAX_BYTES,
            (FileSystem::Ntfs, Lengths::OfTheFileSystem) => {
                path.0.encode_utf16().count() > NTFS_PATH_MAX_UNITS
            }
        };
        if too_long {
            return Candidate::Unmappable(Reason::PathTooLong);
        }
        match (directory, size_bytes) {
            (false, _) => Candidate::File(path, fidelity),
            (true, 0) => Candidate::Directory(path, fidelity),
            (true, _) => Candidate::DirectoryWithData(path, fidelity),
        }
    }

    /// The form under which two paths are one to the file system.
    pub(crate) fn fold(&self, component: &str) -> String {
        match self.file_system {
            FileSystem::Ext4 => component.to_owned(),
            FileSystem::Ntfs => ntfs::fold(component),
        }
    }

    fn component(&self, component: &str, first: bool) -> Result<(String, Fidelity), Reason> {
        match component {
            "" => return Err(Reason::EmptyComponent),
            "." | ".." => return Err(Reason::DotComponent),
            _ => {}
        }
        if component.contains('\0') {
            return Err(Reason::NulCharacter);
        }
        let mapped = match self.file_system {
            FileSystem::Ext4 => component.to_owned(),
            FileSystem::Ntfs => ntfs::legal(component),
        };
        if first && self.is_reserved(&mapped) {
            return Err(Reason::ReservedName);
        }
        let units = match (self.file_system, self.lengths) {
            (FileSystem::Ext4, _) | (_, Lengths::Bytes) => mapped.len(),
            (FileSystem::Ntfs, Lengths::OfTheFileSystem) => mapped.encode_utf16().count(),
        };
        if units > NAME_MAX {
            return Err(Reason::NameTooLong);
        }
        let fidelity = if mapped == component { Fidelity::Exact } else { Fidelity::Altered };
        Ok((mapped, fidelity))
    }

    /// Names at the root that are not the objects' to take.
    fn is_reserved(&self, name: &str) -> bool {
        let folded = self.fold(name);
        let same = |other: &str| self.fold(other) == folded;
        same(OWN_DIRECTORY)
            || same(&self.recovery_directory)
            || NOT_OF_THE_EXPORT.into_iter().any(same)
            || self.file_system == FileSystem::Ntfs && ntfs::SYSTEM_FILES.into_iter().any(same)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ext4(key: &str) -> Candidate {
        NamingRules::new(FileSystem::Ext4).candidate("bucket", key, 1)
    }

    fn ntfs(key: &str) -> Candidate {
        NamingRules::new(FileSystem::Ntfs).candidate("bucket", key, 1)
    }

    fn exact(path: &str) -> Candidate {
        Candidate::File(DevicePath(path.into()), Fidelity::Exact)
    }

    fn altered(path: &str) -> Candidate {
        Candidate::File(DevicePath(path.into()), Fidelity::Altered)
    }

    #[test]
    fn ordinary_keys_keep_their_bytes_on_both() {
        for key in ["a", "a/b.txt", "grüße/日本", "e\u{301}", "\u{e9}", "a b", "-", "..."] {
            assert_eq!(ext4(key), exact(&format!("bucket/{key}")));
        }
        assert_eq!(ntfs("grüße/日本 x"), exact("bucket/grüße/日本 x"));
    }

    #[test]
    fn keys_without_a_name_say_why() {
        for (key, reason) in [
            ("", Reason::EmptyComponent),
            ("/", Reason::EmptyComponent),
            ("a//b", Reason::EmptyComponent),
            ("/a", Reason::EmptyComponent),
            ("a//", Reason::EmptyComponent),
            ("a/./b", Reason::DotComponent),
            ("../a", Reason::DotComponent),
            ("a/..", Reason::DotComponent),
            ("a\0b", Reason::NulCharacter),
            (&"é".repeat(128), Reason::NameTooLong),
        ] {
            assert_eq!(ext4(key), Candidate::Unmappable(reason), "{key:?}");
        }
        assert_eq!(ntfs(&"é".repeat(255)), exact(&format!("bucket/{}", "é".repeat(255))));
        assert_eq!(ntfs(&"😀".repeat(128)), Candidate::Unmappable(Reason::NameTooLong));
        let rules = NamingRules::new(FileSystem::Ext4);
        assert_eq!(
            rules.candidate(&"d/".repeat(2000), &"k".repeat(200), 1),
            Candidate::Unmappable(Reason::PathTooLong)
        );
    }

    #[test]
    fn windows_gets_legal_names() {
        for (key, path) in [
            ("a:b", "bucket/a_b"),
            ("<>:\"|?*\\", "bucket/________"),
            ("a\u{1}b", "bucket/a_b"),
            ("con", "bucket/con_"),
            ("NUL.txt", "bucket/NUL_.txt"),
            ("com7/x", "bucket/com7_/x"),
            ("trail.", "bucket/trail_"),
            ("trail ", "bucket/trail_"),
            ("...", "bucket/___"),
            ("a. /b", "bucket/a__/b"),
        ] {
            assert_eq!(ntfs(key), altered(path), "{key:?}");
        }
        assert_eq!(ntfs("console"), exact("bucket/console"));
        assert_eq!(ntfs("com10"), exact("bucket/com10"));
    }

    #[test]
    fn a_trailing_slash_is_a_directory_with_or_without_bytes() {
        let rules = NamingRules::new(FileSystem::Ext4);
        let path = DevicePath("b/d".into());
        assert_eq!(rules.candidate("b", "d/", 0), Candidate::Directory(path.clone(), Fidelity::Exact));
        assert_eq!(rules.candidate("b", "d/", 7), Candidate::DirectoryWithData(path, Fidelity::Exact));
    }

    #[test]
    fn names_for_ntfs_that_are_written_elsewhere_have_as_many_bytes_as_fit_there() {
        let long = "é".repeat(200);
        let ntfs = NamingRules::new(FileSystem::Ntfs);
        assert_eq!(ntfs.candidate("b", &long, 1), exact(&format!("b/{long}")));
        let elsewhere = ntfs.with_names_in_bytes();
        assert_eq!(elsewhere.candidate("b", &long, 1), Candidate::Unmappable(Reason::NameTooLong));
    }

    #[test]
    fn the_roots_own_names_are_not_for_objects() {
        let ext4 = NamingRules::new(FileSystem::Ext4);
        for key in ["lost+found", "SIGNATURE", "EXPORT-RECOVERY/0000/0000", ".export/x"] {
            assert_eq!(ext4.candidate("", key, 1), Candidate::Unmappable(Reason::ReservedName), "{key}");
        }
        assert_eq!(ext4.candidate("b", "lost+found", 1), exact("b/lost+found"));
        assert_eq!(ext4.candidate("", "export-recovery", 1), exact("export-recovery"));
        let ntfs = NamingRules::new(FileSystem::Ntfs);
        for key in ["$mft", "export-recovery/x", ".EXPORT"] {
            assert_eq!(ntfs.candidate("", key, 1), Candidate::Unmappable(Reason::ReservedName), "{key}");
        }
    }

    #[test]
    fn a_recovery_directory_is_one_legal_component() {
        let rules = || NamingRules::new(FileSystem::Ntfs);
        assert_eq!(rules().with_recovery_directory("/LOST/").unwrap().recovery_directory(), "LOST");
        for bad in ["", "a/b", "..", "con", "a:b", ".export"] {
            assert!(rules().with_recovery_directory(bad).is_err(), "{bad:?}");
        }
        let rules = rules();
        assert_eq!(rules.recovery_path(0).unwrap().as_str(), "EXPORT-RECOVERY/0000/0000");
        assert_eq!(rules.recovery_path(99_999_999).unwrap().as_str(), "EXPORT-RECOVERY/9999/9999");
        assert!(rules.recovery_path(100_000_000).is_err());
    }

    #[test]
    fn substitutions_come_first_and_are_alterations() {
        let rules = NamingRules::new(FileSystem::Ext4)
            .with_substitutions(vec![("//".into(), "/".into()), (":".into(), "-".into())]);
        assert_eq!(rules.candidate("b", "a//c:d", 1), altered("b/a/c-d"));
    }

    proptest! {
        #[test]
        fn every_candidate_is_legal(key in any::<String>(), size in 0u64..2) {
            for file_system in [FileSystem::Ext4, FileSystem::Ntfs] {
                let rules = NamingRules::new(file_system);
                let (Candidate::File(path, _)
                | Candidate::Directory(path, _)
                | Candidate::DirectoryWithData(path, _)) = rules.candidate("bucket", &key, size)
                else {
                    continue;
                };
                for component in path.components() {
                    prop_assert!(!matches!(component, "" | "." | ".."));
                    prop_assert!(!component.contains('\0'));
                    match file_system {
                        FileSystem::Ext4 => prop_assert!(component.len() <= NAME_MAX),
                        FileSystem::Ntfs => {
                            prop_assert!(component.encode_utf16().count() <= NAME_MAX);
                            prop_assert_eq!(ntfs::legal(component), component, "legal() is idempotent");
                        }
                    }
                }
            }
        }
    }
}
