//! What a verification writes down for later, and what it is held against.
//!
//! Owns: the files of `--manifest` and `--against`. Does not own: their format ([`ferry_transfer::manifest`]). Invariant: a manifest appears
//! under its name only when it is whole.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::Result;
use ferry_transfer::manifest::{
    Counts, Cut, FORMAT, Header, Manifest, ManifestWriter, Named, RangeRecord, Ranges,
};
use ferry_transfer::task::Task;
use ferry_transfer::{Clock as _, SystemClock};
use serde::Serialize;
use serde_json::json;

use crate::args::{CertificateArgs, OutputArgs};
use crate::command::ls::shown;
use crate::exit::{UsageError, print};

/// What is written down, and what it is held against.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    writing: Option<Writing<'a>>,
    recheck: Option<Recheck>,
    output: &'a OutputArgs,
}

#[derive(Debug)]
struct Writing<'a> {
    path: &'a Path,
    unfinished: PathBuf,
    manifest: ManifestWriter<BufWriter<File>>,
}

/// An earlier manifest, and its ranges as they are now.
#[derive(Debug)]
struct Recheck {
    then: Manifest,
    now: Ranges,
    rechecked: Rechecked,
}

/// What became of an earlier manifest's ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Rechecked {
    /// Of the manifest.
    ranges: u64,
    /// Of those, not as they were at the source.
    changed_at_source: u64,
    /// Not as they were at the destination.
    changed_at_destination: u64,
    /// Names by kind, then.
    then: Counts,
}

impl<'a> Certificate<'a> {
    pub(super) fn begin(args: &'a CertificateArgs, task: &Task, output: &'a OutputArgs) -> Result<Self> {
        if (args.manifest.is_some() || args.against.is_some()) && !task.keys.is_listed() {
            let message = "a manifest is of listings: it is not written of a list of keys or an inventory";
            return Err(UsageError(message.to_owned()).into());
        }
        let rules = json!({ "keys": task.keys, "select": task.select, "rewrite": task.rewrite });
        let recheck = args.against.as_deref().map(|path| Recheck::begin(path, &rules)).transpose()?;
        let header = Header {
            manifest: FORMAT,
            ferry: env!("CARGO_PKG_VERSION").to_owned(),
            source: task.source.to_string(),
            destination: task.destination.to_string(),
            compare: task.compare,
            rules,
            began: SystemClock.now(),
        };
        let writing = args.manifest.as_deref().map(|path| Writing::begin(path, &header)).transpose()?;
        Ok(Self { writing, recheck, output })
    }

    /// Takes a name, and in words what is different about it.
    pub(super) fn add(&mut self, named: &Named<'_>, difference: Option<(&str, &str)>) -> Result<()> {
        if let Some(writing) = &mut self.writing {
            let added = writing.manifest.add(named, difference);
            added.map_err(|error| unwritable(&writing.unfinished, &error))?;
        }
        if let Some(recheck) = &mut self.recheck {
            for range in recheck.now.add(named) {
                recheck.rechecked.take(&recheck.then.ranges, &range, self.output);
            }
        }
        Ok(())
    }

    /// Nothing more comes. What became of the earlier manifest's ranges, where there is one.
    pub(super) fn end(self) -> Result<Option<Rechecked>> {
        if let Some(Writing { path, unfinished, manifest }) = self.writing {
            let ended = manifest.end(SystemClock.now());
            ended
                .and_then(|_counts| std::fs::rename(&unfinished, path))
                .map_err(|error| unwritable(path, &error))?;
        }
        Ok(self.recheck.map(|Recheck { then, now, mut rechecked }| {
            for range in now.finish() {
                rechecked.take(&then.ranges, &range, self.output);
            }
            rechecked
        }))
    }
}

impl<'a> Writing<'a> {
    fn begin(path: &'a Path, header: &Header) -> Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".unfinished");
        let unfinished = path.with_file_name(name);
        let begun =
            File::create(&unfinished).and_then(|file| ManifestWriter::begin(BufWriter::new(file), header));
        let manifest = begun.map_err(|error| unwritable(&unfinished, &error))?;
        Ok(Self { path, unfinished, manifest })
    }
}

impl Recheck {
    fn begin(path: &Path, rules: &serde_json::Value) -> Result<Self> {
        let bad = |problem: String| UsageError(format!("the manifest {}: {problem}", path.display()));
        let file = File::open(path).map_err(|error| bad(format!("it cannot be read: {error}")))?;
        let then =
            Manifest::read(BufReader::new(file)).map_err(|error| bad(ferry_transfer::chain(&error)))?;
        if then.header.rules != *rules {
            let written = &then.header.rules;
            return Err(
                bad(format!("it is about other objects; select and rename as it did: {written}")).into()
            );
        }
        let ends: Vec<_> = then.ranges.iter().map(|range| range.until.clone()).collect();
        let rechecked = Rechecked { then: then.counts(), ..Rechecked::default() };
        Ok(Self { then, now: Ranges::new(Cut::As(ends.into_iter())), rechecked })
    }
}

impl Rechecked {
    /// Whether anything is not as it was.
    pub(super) fn has_changed(&self) -> bool {
        self.changed_at_source + self.changed_at_destination > 0
    }

    fn take(&mut self, then: &[RangeRecord], now: &RangeRecord, output: &OutputArgs) {
        self.ranges += 1;
        let then = usize::try_from(now.range).ok().and_then(|number| then.get(number));
        let Some(then) = then else { return };
        let sides = [
            ("source", &then.source, &now.source, &mut self.changed_at_source),
            ("destination", &then.destination, &now.destination, &mut self.changed_at_destination),
        ];
        for (side, then, at_present, count) in sides {
            if then == at_present {
                continue;
            }
            *count += 1;
            if output.json {
                let changed = json!({
                    "changed": side, "range": now.range, "after": now.after, "until": now.until,
                    "then": then, "now": at_present,
                });
                print(&changed.to_string());
            } else {
                print(&format!(
                    "{:<10} {side}: {} → {} objects, {} → {} bytes in the range {}",
                    "changed",
                    then.objects,
                    at_present.objects,
                    then.bytes,
                    at_present.bytes,
                    words(now)
                ));
            }
        }
    }

    /// For the summary.
    pub(super) fn text(&self) -> String {
        format!(
            "Since the manifest, {} of {} ranges changed at the source and {} at the destination; it had {} differences.\n",
            self.changed_at_source,
            self.ranges,
            self.changed_at_destination,
            self.then.differences()
        )
    }
}

fn words(range: &RangeRecord) -> String {
    match (&range.after, &range.until) {
        (None, None) => "of all keys".to_owned(),
        (Some(after), None) => format!("behind {}", shown(after)),
        (None, Some(until)) => format!("up to {}", shown(until)),
        (Some(after), Some(until)) => format!("behind {} up to {}", shown(after), shown(until)),
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> anyhow::Error {
    UsageError(format!("the manifest {} cannot be written: {error}", path.display())).into()
}
