//! What a job's manifest selects, in its order.
//!
//! Owns: listing operations one after the other, each in key order; leaving out archived objects that are not to be restored; and the cut where the medium is full. Does not own: names on
//! the medium. Invariants: an object that was listed is in the plan or among those left out; behind the first that has no room nothing is
//! planned, so that the last key is a valid `beginMarker`; memory does not grow with the listing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter};
use std::path::Path;
use std::sync::Arc;

use ferry_device::documents::Arrangement;
use ferry_device::durable;
use ferry_device::export_log::NextMarker;
use ferry_device::manifest::{Manifest, Operation};
use ferry_device::naming::{FileSystem, NamingRules};
use ferry_device::plan::{Object, Plan, Planner};
use ferry_device::target::Target;
use ferry_device::target::names::takes_long_names_of_ntfs;
use ferry_device::target::outer::OuterFileSystem;
use ferry_transfer::Entry;
use ferry_transfer::listing::{FixedEnd, ListingHabits, list_within};
use ferry_transfer::select::Glob;
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use super::medium::room_of;
use super::{Run, StationError, restoring};

const LEFT_OUT: &str = "left-out.jsonl";
const CUT: &str = "cut.json";

/// An object that is not in the plan.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LeftOut {
    pub(super) object: Object,
    /// Or it had no room.
    pub(super) is_archived: bool,
}

/// What the buckets' listings turned out to be.
#[derive(Debug, Default)]
pub(crate) struct Habits {
    by_bucket: BTreeMap<String, Arc<ListingHabits>>,
    known_disordered: usize,
}

impl Habits {
    /// Of one bucket.
    pub(crate) fn of(&mut self, bucket: &str) -> Arc<ListingHabits> {
        Arc::clone(self.by_bucket.entry(bucket.to_owned()).or_default())
    }

    /// Whether what ended so begins again: it broke off because a bucket was found to list in no order, and now that this is known it is sorted.
    pub(crate) fn begins_again<T>(&mut self, ended: &Result<T, StationError>) -> bool {
        let before = self.known_disordered;
        self.known_disordered = self.by_bucket.values().filter(|habits| habits.is_disordered()).count();
        matches!(ended, Err(StationError::Store(_))) && self.known_disordered > before
    }
}

/// Lists and plans.
pub(super) async fn plan(run: &Run<'_>, arrangement: Arrangement) -> Result<Plan, StationError> {
    let mut habits = Habits::default();
    loop {
        let ended = plan_once(run, arrangement, &mut habits).await;
        if !habits.begins_again(&ended) {
            return ended;
        }
    }
}

async fn plan_once(
    run: &Run<'_>,
    arrangement: Arrangement,
    habits: &mut Habits,
) -> Result<Plan, StationError> {
    let manifest = &run.manifest;
    let mut rules = NamingRules::new(manifest.file_system)
        .with_substitutions(manifest.substitutions.clone())
        .below(arrangement.payload_directory());
    if let Some(directory) = &manifest.recovery_directory {
        rules = rules.with_recovery_directory(directory)?;
    }
    if let (Target::Plain(directory), FileSystem::Ntfs) = (&run.options.target, manifest.file_system)
        && !takes_long_names_of_ntfs(directory)?
    {
        rules = rules.with_names_in_bytes();
    }
    let asked = [run.options.capacity_bytes, manifest.extensions.max_bytes];
    let target = &run.options.target;
    let disk_bytes = target.size_bytes()?;
    let outer_bytes = run.options.outer.map_or(0, |outer| OuterFileSystem::own_bytes(outer, disk_bytes));
    let medium_bytes = asked.into_iter().flatten().fold(disk_bytes.saturating_sub(outer_bytes), u64::min);
    let mut room = room_of(manifest, matches!(target, Target::Plain(_)), medium_bytes)?;
    let mut planner = Planner::new(&run.work, rules)?;
    let mut left_out = BufWriter::new(create(&run.work.join(LEFT_OUT))?);
    let globs = Globs::of(manifest);
    let leaves_archived_out = leaves_archived_out(manifest);
    let mut next: Option<NextMarker> = None;
    for (number, operation) in (0_u32..).zip(&manifest.operations) {
        let Some((after, until)) = range(operation) else { continue };
        let store = run.bucket(&operation.export_bucket).await?;
        let base = operation.base(manifest);
        let bounds = Arc::new(FixedEnd(until));
        let habits = habits.of(&operation.export_bucket);
        let mut entries = list_within(store, &operation.prefix, after, bounds, habits);
        let mut last: Option<String> = None;
        while let Some(entry) = entries.try_next().await? {
            run.standing.check()?;
            let key = entry.key.as_str();
            if !operation.selects(key) || !globs.select(key) {
                continue;
            }
            let is_archived = leaves_archived_out
                && entry.storage_class.as_ref().is_some_and(ferry_transfer::StorageClass::is_archive);
            let object = object(number, &operation.export_bucket, &entry);
            if next.is_none() && !is_archived && !room.take(&base, key, object.size_bytes)? {
                next = Some(NextMarker { operation: number + 1, begin_marker: last.clone() });
            }
            if is_archived || next.is_some() {
                write_line(
                    &mut left_out,
                    &LeftOut { object, is_archived: is_archived && next.is_none() },
                    &run.work,
                )?;
            } else {
                planner.add(&base, object)?;
            }
            if next.is_none() {
                last = Some(key.to_owned());
            }
        }
    }
    // Before the plan counts as whole: a power cut must not take away what was left out of it.
    let left_out = left_out.into_inner().map_err(|error| failed(&run.work)(error.into_error()))?;
    left_out.sync_all().map_err(failed(&run.work))?;
    durable::write(&run.work.join(CUT), &serde_json::to_vec(&next).unwrap_or_default())?;
    Ok(planner.seal()?)
}

/// Whether archived objects stay where they are.
pub(crate) fn leaves_archived_out(manifest: &Manifest) -> bool {
    restoring::terms(manifest.extensions.restore).is_none()
}

/// Where the listing of an operation begins and ends, relative to its prefix; `None` where nothing can match.
pub(crate) fn range(operation: &Operation) -> Option<(Option<String>, Option<String>)> {
    let prefix = operation.prefix.as_str();
    let after = match operation.begin_marker.as_deref() {
        None => None,
        Some(begin) if begin < prefix => None,
        Some(begin) => Some(begin.strip_prefix(prefix)?.to_owned()).filter(|after| !after.is_empty()),
    };
    let until = match operation.end_marker.as_deref() {
        None => None,
        Some(end) if end < prefix => return None,
        Some(end) => end.strip_prefix(prefix).map(str::to_owned),
    };
    Some((after, until))
}

/// `x-include` and `x-exclude`.
pub(crate) struct Globs {
    include: Vec<Glob>,
    exclude: Vec<Glob>,
}

impl Globs {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        // Patterns were checked when the job was created.
        let parse = |texts: &[String]| texts.iter().filter_map(|text| text.parse().ok()).collect();
        Self { include: parse(&manifest.extensions.include), exclude: parse(&manifest.extensions.exclude) }
    }

    pub(crate) fn select(&self, key: &str) -> bool {
        (self.include.is_empty() || self.include.iter().any(|glob| glob.matches(key)))
            && !self.exclude.iter().any(|glob| glob.matches(key))
    }
}

fn object(operation: u32, bucket: &str, entry: &Entry) -> Object {
    Object {
        operation,
        bucket: bucket.to_owned(),
        key: entry.key.as_str().to_owned(),
        version_id: None,
        etag: entry.etag.as_ref().map(|etag| etag.as_str().to_owned()),
        size_bytes: entry.size_bytes,
        modified_unix_secs: entry.last_modified.map_or(0, time::OffsetDateTime::unix_timestamp),
        storage_class: entry.storage_class.as_ref().map(|class| class.as_str().to_owned()),
    }
}

/// What was not planned, as the listing found it, one after the other.
pub(super) fn left_out(
    work: &Path,
) -> Result<impl Iterator<Item = Result<LeftOut, StationError>>, StationError> {
    let path = work.join(LEFT_OUT);
    let file = File::open(&path).map_err(failed(&path))?;
    Ok(BufReader::new(file).lines().map(move |line| {
        let line = line.map_err(failed(&path))?;
        serde_json::from_str(&line).map_err(|e| failed(&path)(e.into()))
    }))
}

/// Where the next medium begins; `None` where everything had room.
pub(super) fn next(work: &Path) -> Result<Option<NextMarker>, StationError> {
    let path = work.join(CUT);
    let cut = std::fs::read(&path).map_err(failed(&path))?;
    serde_json::from_slice(&cut).map_err(|e| failed(&path)(e.into()))
}

fn create(path: &Path) -> Result<File, StationError> {
    File::create(path).map_err(failed(path))
}

fn write_line(to: &mut impl std::io::Write, line: &LeftOut, work: &Path) -> Result<(), StationError> {
    serde_json::to_writer(&mut *to, line)
        .map_err(std::io::Error::from)
        .and_then(|()| to.write_all(b"\n"))
        .map_err(failed(work))
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> StationError + '_ {
    move |error| {
        ferry_device::Error::new(ferry_device::ErrorKind::Io, format!("cannot use {}", path.display()))
            .caused_by(error)
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(prefix: &str, begin: Option<&str>, end: Option<&str>) -> Operation {
        Operation {
            export_bucket: "b".into(),
            prefix: prefix.into(),
            begin_marker: begin.map(str::to_owned),
            end_marker: end.map(str::to_owned),
            target_directory: None,
        }
    }

    #[test]
    fn a_listing_begins_behind_the_begin_marker_and_ends_with_the_end_marker() {
        let text = |after: Option<&str>, until: Option<&str>| {
            Some((after.map(str::to_owned), until.map(str::to_owned)))
        };
        assert_eq!(range(&operation("", Some("b"), Some("x"))), text(Some("b"), Some("x")));
        assert_eq!(range(&operation("p/", Some("p/b"), Some("p/x"))), text(Some("b"), Some("x")));
        assert_eq!(range(&operation("p/", Some("a"), Some("z"))), text(None, None));
        assert_eq!(range(&operation("image", None, Some("foo"))), None);
        assert_eq!(range(&operation("p/", Some("q"), None)), None);
    }
}
