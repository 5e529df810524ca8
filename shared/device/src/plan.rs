//! What goes onto the medium, where, in which order: frozen before the first byte.
//!
//! Owns: the plan's files in the work directory and the order of steps that make them: objects are added in the order of the
//! manifest, names are contested once all are known, and the result is one line for each object. Does not own: listing, or the
//! layout of a file system. Invariants: the plan depends on the added objects alone; sequence numbers are dense and ascending;
//! a plan that exists is whole (it is renamed into place); memory does not grow with the number of objects.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Lines, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::documents::escaped_bytes;
use crate::durable::{self, put_in_place};
use crate::error::{Error, ErrorKind, Result};
use crate::naming::contest::{Contest, Losers, LosersIter, directory_of};
use crate::naming::{Candidate, DevicePath, NamingRules, Reason};

const OBJECTS: &str = "objects.jsonl";
const PLAN: &str = "plan.jsonl";
const SUMMARY: &str = "plan.json";

/// An object as the listing had it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// The number of the manifest's operation, from zero.
    pub operation: u32,
    /// The source bucket.
    pub bucket: String,
    /// The source key.
    pub key: String,
    /// The version that is pinned, where the bucket has versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// The `ETag` that is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The size that its place on the medium is made for.
    pub size_bytes: u64,
    /// Last modification at the source, in seconds since 1970; the file's time on the medium.
    pub modified_unix_secs: i64,
    /// The storage class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

/// Where an object is on the medium.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "as", rename_all = "snake_case")]
pub enum Place {
    /// A file at the path of its key.
    File {
        /// Relative to the medium's root.
        path: DevicePath,
    },
    /// A directory: the key ends in `/` and the object has no bytes.
    Directory {
        /// Relative to the medium's root.
        path: DevicePath,
    },
    /// A file in the recovery directory.
    Recovered {
        /// Relative to the medium's root.
        path: DevicePath,
        /// Why it has no place of its own.
        reason: Reason,
        /// The directory its key names as well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        directory: Option<DevicePath>,
    },
}

impl Place {
    /// The path, whatever is there.
    pub fn path(&self) -> &DevicePath {
        match self {
            Self::File { path } | Self::Directory { path } | Self::Recovered { path, .. } => path,
        }
    }

    /// Whether there is a file, which takes part in the copy.
    pub fn is_file(&self) -> bool {
        !matches!(self, Self::Directory { .. })
    }
}

/// One line of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEntry {
    /// Position in the copy, from zero.
    pub sequence: u64,
    /// What is copied.
    pub object: Object,
    /// Where to.
    pub place: Place,
}

/// The plan's totals and rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How keys became paths.
    pub rules: NamingRules,
    /// Objects, directories included.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects in the recovery directory.
    pub recovered: u64,
    /// Bytes of all keys and paths, escaped.
    pub name_bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Added {
    base: String,
    object: Object,
}

/// Takes a job's objects in order.
#[derive(Debug)]
pub struct Planner {
    directory: PathBuf,
    objects: BufWriter<File>,
    contest: Contest,
    rules: NamingRules,
    count: u64,
    bytes: u64,
}

impl Planner {
    /// A new plan in `directory`, which exists; whatever plan was there is forgotten once this one is sealed.
    pub fn new(directory: &Path, rules: NamingRules) -> Result<Self> {
        let path = directory.join(OBJECTS);
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        Ok(Self {
            directory: directory.to_owned(),
            objects: BufWriter::new(file),
            contest: Contest::new(&rules, directory),
            rules,
            count: 0,
            bytes: 0,
        })
    }

    /// Adds the next object, below `base` on the medium (`bucket`, or `targetDirectory/bucket`).
    pub fn add(&mut self, base: &str, object: Object) -> Result<()> {
        let candidate = self.rules.candidate(base, &object.key, object.size_bytes);
        self.contest.enter(self.count, &candidate)?;
        self.count += 1;
        self.bytes += object.size_bytes;
        write_line(&mut self.objects, &self.directory, &Added { base: base.to_owned(), object })
    }

    /// Names everything and freezes the plan.
    pub fn seal(self) -> Result<Plan> {
        let Self { directory, objects, contest, rules, count, bytes } = self;
        finish(objects, &directory)?;
        let losers = contest.decide()?;
        let mut naming = Naming::new(&rules, &losers)?;
        let partial = directory.join("plan.partial");
        let mut plan = BufWriter::new(File::create(&partial).map_err(Error::io("create", &partial))?);
        let added = directory.join(OBJECTS);
        let mut name_bytes = 0;
        for (sequence, line) in (0u64..).zip(lines(&added)?) {
            let Added { base, object } = parse(&line.map_err(Error::io("read", &added))?, &added)?;
            let candidate = rules.candidate(&base, &object.key, object.size_bytes);
            let place = naming.place(sequence, &candidate)?;
            name_bytes += escaped_bytes(&object.key) + escaped_bytes(place.path().as_str());
            write_line(&mut plan, &directory, &PlanEntry { sequence, object, place })?;
        }
        finish(plan, &directory)?;
        let summary = Summary { recovered: naming.recovered, rules, objects: count, bytes, name_bytes };
        // The plan before its summary: a summary means that both are whole.
        put_in_place(&partial, &directory.join(PLAN))?;
        let told = serde_json::to_vec(&summary)
            .map_err(|e| Error::invalid("no summary of the plan can be written").caused_by(e))?;
        durable::write(&directory.join(SUMMARY), &told)?;
        std::fs::remove_file(&added).map_err(Error::io("remove", &added))?;
        Ok(Plan { directory, summary })
    }
}

/// Gives the winners their paths and the losers their numbers, in the order of the objects.
struct Naming<'a> {
    rules: &'a NamingRules,
    losers: std::iter::Peekable<LosersIter<'a>>,
    recovered: u64,
}

impl<'a> Naming<'a> {
    fn new(rules: &'a NamingRules, losers: &'a Losers) -> Result<Self> {
        Ok(Self { rules, losers: losers.in_order()?.peekable(), recovered: 0 })
    }

    fn place(&mut self, sequence: u64, candidate: &Candidate) -> Result<Place> {
        let mut reasons = Vec::new();
        while let Some(loser) =
            self.losers.next_if(|loser| loser.as_ref().map_or(true, |(loser, _)| *loser == sequence))
        {
            reasons.push(loser?.1);
        }
        match (reasons.first(), candidate) {
            (None, Candidate::File(path, _)) => Ok(Place::File { path: path.clone() }),
            (None, Candidate::Directory(path, _)) => Ok(Place::Directory { path: path.clone() }),
            (None, _) => Err(Error::corrupt(format!("object {sequence} has neither a path nor a reason"))),
            (Some(reason), _) => {
                let path = self.rules.recovery_path(self.recovered)?;
                self.recovered += 1;
                let directory = directory_of(candidate, &reasons);
                Ok(Place::Recovered { path, reason: *reason, directory })
            }
        }
    }
}

/// A frozen plan.
#[derive(Debug, Clone)]
pub struct Plan {
    directory: PathBuf,
    summary: Summary,
}

impl Plan {
    /// The plan in `directory`; `None` where none was sealed.
    pub fn open(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(SUMMARY);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", &path)(e)),
        };
        Ok(Some(Self { directory: directory.to_owned(), summary: parse(&text, &path)? }))
    }

    /// Totals and rules.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The directory of the plan, where whoever carries it out keeps its journal.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The lines, in order.
    pub fn entries(&self) -> Result<Entries> {
        let path = self.directory.join(PLAN);
        Ok(Entries { lines: lines(&path)?, path })
    }
}

/// The lines of a plan.
#[derive(Debug)]
pub struct Entries {
    lines: Lines<BufReader<File>>,
    path: PathBuf,
}

impl Iterator for Entries {
    type Item = Result<PlanEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?;
        Some(line.map_err(Error::io("read", &self.path)).and_then(|line| parse(&line, &self.path)))
    }
}

fn lines(path: &Path) -> Result<Lines<BufReader<File>>> {
    Ok(BufReader::with_capacity(1 << 18, File::open(path).map_err(Error::io("open", path))?).lines())
}

fn parse<T: serde::de::DeserializeOwned>(line: &str, path: &Path) -> Result<T> {
    serde_json::from_str(line).map_err(|e| {
        Error::new(ErrorKind::Corrupt, format!("{} is not a plan of this version", path.display()))
            .caused_by(e)
    })
}

fn write_line(to: &mut BufWriter<File>, directory: &Path, line: &impl Serialize) -> Result<()> {
    serde_json::to_writer(&mut *to, line)
        .map_err(std::io::Error::from)
        .and_then(|()| to.write_all(b"\n"))
        .map_err(Error::io("write a plan in", directory))
}

fn finish(file: BufWriter<File>, directory: &Path) -> Result<()> {
    file.into_inner()
        .map_err(std::io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .map_err(Error::io("write a plan in", directory))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::naming::FileSystem;

    fn object(key: &str, size_bytes: u64) -> Object {
        Object {
            operation: 0,
            bucket: "b".into(),
            key: key.into(),
            version_id: None,
            etag: Some("e".into()),
            size_bytes,
            modified_unix_secs: 1_700_000_000,
            storage_class: None,
        }
    }

    fn plan(directory: &Path, file_system: FileSystem, keys: &[(&str, u64)]) -> Vec<PlanEntry> {
        let mut planner = Planner::new(directory, NamingRules::new(file_system)).unwrap();
        for (key, size) in keys {
            planner.add("b", object(key, *size)).unwrap();
        }
        let sealed = planner.seal().unwrap();
        let entries: Vec<PlanEntry> = sealed.entries().unwrap().map(Result::unwrap).collect();
        let opened = Plan::open(directory).unwrap().unwrap();
        assert_eq!(opened.summary(), sealed.summary());
        assert_eq!(sealed.summary().objects, keys.len() as u64);
        entries
    }

    #[test]
    fn objects_without_a_name_are_numbered_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let entries = plan(
            directory.path(),
            FileSystem::Ext4,
            &[("/x", 1), ("a", 1), ("a/b", 1), ("d/", 3), ("e/", 0)],
        );
        let places: Vec<(&str, bool)> =
            entries.iter().map(|e| (e.place.path().as_str(), e.place.is_file())).collect();
        assert_eq!(
            places,
            [
                ("EXPORT-RECOVERY/0000/0000", true),
                ("EXPORT-RECOVERY/0000/0001", true),
                ("b/a/b", true),
                ("EXPORT-RECOVERY/0000/0002", true),
                ("b/e", false),
            ]
        );
        let Place::Recovered { directory, reason, .. } = &entries[3].place else { panic!() };
        assert_eq!(*reason, Reason::DirectoryWithData);
        assert_eq!(directory.as_ref().unwrap().as_str(), "b/d");
    }

    #[test]
    fn a_directory_without_a_sealed_plan_has_none() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Plan::open(directory.path()).unwrap().is_none());
        let mut planner = Planner::new(directory.path(), NamingRules::new(FileSystem::Ext4)).unwrap();
        planner.add("b", object("k", 1)).unwrap();
        drop(planner);
        assert!(Plan::open(directory.path()).unwrap().is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_object_has_exactly_one_place(
            keys in prop::collection::vec(("[aA:_/.é]{0,5}", 0u64..2), 0..40),
        ) {
            for file_system in [FileSystem::Ext4, FileSystem::Ntfs] {
                let directory = tempfile::tempdir().unwrap();
                let keys: Vec<(&str, u64)> = keys.iter().map(|(k, s)| (k.as_str(), *s)).collect();
                let entries = plan(directory.path(), file_system, &keys);
                let rules = NamingRules::new(file_system);
                let mut taken = BTreeSet::new();
                for (entry, (key, size)) in entries.iter().zip(&keys) {
                    prop_assert_eq!(&entry.object, &object(key, *size));
                    let folded: Vec<String> =
                        entry.place.path().components().map(|c| rules.fold(c)).collect();
                    prop_assert!(taken.insert(folded), "{} twice", entry.place.path());
                    prop_assert!(*size == 0 || entry.place.is_file(), "bytes need a file");
                }
            }
        }
    }
}
