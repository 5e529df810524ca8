//! Names in order, cut into ranges.
//!
//! Owns: where a range ends, and its digests. Invariant: whether a name ends a range depends on that name alone, so that an object more
//! or less changes one range, and the same objects always make the same ranges.

use sha2::{Digest as _, Sha256};

use super::{Counts, Found, Named, Proof, RangeRecord, SideOfRange};
use crate::Entry;
use crate::etag::hex;

/// A name ends a range if the last bits of its CRC-32 are these: every 8,192nd does.
const LAST_BITS: u64 = 0x1fff;

/// Where ranges end.
#[derive(Debug)]
pub enum Cut {
    /// Behind every name whose CRC-32 (the one of zlib) ends in 13 zero bits.
    ByName,
    /// Where those of an earlier manifest ended.
    As(std::vec::IntoIter<Option<String>>),
}

/// Cuts names into ranges. See the module.
#[derive(Debug)]
pub struct Ranges {
    cut: Cut,
    number: u64,
    after: Option<String>,
    /// Of the range at hand, where it was fixed beforehand.
    until: Option<String>,
    source: Side,
    destination: Side,
    counts: Counts,
    weakest: Option<Proof>,
}

#[derive(Debug, Default)]
struct Side {
    objects: u64,
    bytes: u64,
    lines: Sha256,
}

impl Side {
    fn add(&mut self, name: &str, entry: &Entry) {
        self.objects += 1;
        self.bytes += entry.size_bytes;
        self.lines.update(line(name, entry).as_bytes());
    }

    fn take(&mut self) -> SideOfRange {
        let side = std::mem::take(self);
        SideOfRange { objects: side.objects, bytes: side.bytes, sha256: hex(&side.lines.finalize()) }
    }
}

/// `LENGTH:NAME,SIZE,ETAG` and a line feed: the name's length in bytes first, so that no name can look like another line. The ETag
/// is in lower case, since one store writes the same MD5 in capitals; it is empty where the listing has none.
fn line(name: &str, entry: &Entry) -> String {
    let etag = entry.etag.as_ref().map(|etag| etag.as_str().to_ascii_lowercase()).unwrap_or_default();
    format!("{}:{name},{},{etag}\n", name.len(), entry.size_bytes)
}

fn ends_a_range(name: &str) -> bool {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, name.as_bytes()) & LAST_BITS == 0
}

impl Ranges {
    /// The first range, with nothing in it yet.
    pub fn new(mut cut: Cut) -> Self {
        let until = cut.next_end();
        Self {
            cut,
            number: 0,
            after: None,
            until,
            source: Side::default(),
            destination: Side::default(),
            counts: Counts::default(),
            weakest: None,
        }
    }

    /// Adds a name, behind all that were added. The ranges that are complete now.
    pub fn add(&mut self, named: &Named<'_>) -> Vec<RangeRecord> {
        let mut complete = Vec::new();
        while self.until.as_deref().is_some_and(|until| named.name > until) {
            let until = self.until.take();
            complete.push(self.complete(until));
            self.until = self.cut.next_end();
        }
        if let Some(source) = named.source {
            self.source.add(named.name, source);
        }
        if let Some(destination) = named.destination {
            self.destination.add(named.name, destination);
        }
        self.counts.add(named.found);
        if let Found::Same(proof) = named.found {
            self.weakest = Some(self.weakest.map_or(proof, |weakest| weakest.min(proof)));
        }
        // Contested objects share their name: only the last of them may end a range.
        if matches!(self.cut, Cut::ByName) && named.found != Found::Contested && ends_a_range(named.name) {
            complete.push(self.complete(Some(named.name.to_owned())));
        }
        complete
    }

    /// The range at hand, and those behind it, which nothing was found in.
    pub fn finish(mut self) -> Vec<RangeRecord> {
        let mut complete = Vec::new();
        while let Some(until) = self.until.take() {
            complete.push(self.complete(Some(until)));
            self.until = self.cut.next_end();
        }
        complete.push(self.complete(None));
        complete
    }

    fn complete(&mut self, until: Option<String>) -> RangeRecord {
        let range = RangeRecord {
            range: self.number,
            after: std::mem::replace(&mut self.after, until.clone()),
            until,
            source: self.source.take(),
            destination: self.destination.take(),
            counts: std::mem::take(&mut self.counts),
            evidence: self.weakest.take(),
        };
        self.number += 1;
        range
    }
}

impl Cut {
    fn next_end(&mut self) -> Option<String> {
        match self {
            Self::ByName => None,
            Self::As(ends) => ends.next().flatten(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{ETag, Key};

    fn entry(name: &str, size_bytes: u64) -> Entry {
        Entry {
            key: Key::new(format!("k{name}")).expect("key"),
            size_bytes,
            etag: ETag::parse("ABC"),
            last_modified: None,
            storage_class: None,
        }
    }

    fn cut(names: &[String], by: Cut, size_of: impl Fn(&str) -> u64) -> Vec<RangeRecord> {
        let mut ranges = Ranges::new(by);
        let mut complete = Vec::new();
        for name in names {
            let entry = entry(name, size_of(name));
            let found = Found::Same(Proof::Etag);
            complete.extend(ranges.add(&Named { name, source: Some(&entry), destination: None, found }));
        }
        complete.extend(ranges.finish());
        complete
    }

    fn names(count: u32) -> Vec<String> {
        (0..count).map(|number| format!("{number:08}")).collect()
    }

    #[test]
    fn an_object_more_or_less_changes_one_range() {
        let before = names(50_000);
        let mut after = before.clone();
        let gone = after.remove(25_000);
        assert!(!ends_a_range(&gone));
        let (before, after) = (cut(&before, Cut::ByName, |_| 1), cut(&after, Cut::ByName, |_| 1));
        assert!(before.len() > 3, "{}", before.len());
        assert_eq!(before.len(), after.len());
        let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert_eq!(changed, 1);
    }

    #[test]
    fn a_line_says_what_the_documentation_says() {
        assert_eq!(line("é\n", &entry("é", 7)), "3:é\n,7,abc\n");
    }

    proptest! {
        #[test]
        fn ranges_cut_as_an_earlier_manifest_was_are_compared_one_by_one(
            ends in prop::collection::btree_set("[ab]{1,3}", 0..5),
            names in prop::collection::btree_set("[abc]{1,3}", 0..20),
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let fixed: Vec<Option<String>> = ends.iter().cloned().map(Some).chain([None]).collect();
            let ranges = cut(&names, Cut::As(fixed.clone().into_iter()), |_| 1);
            let ended: Vec<Option<String>> = ranges.iter().map(|range| range.until.clone()).collect();
            prop_assert_eq!(ended, fixed);
            for range in &ranges {
                let inside = names.iter().filter(|name| {
                    range.after.as_ref().is_none_or(|after| *name > after) && range.until.as_ref().is_none_or(|until| *name <= until)
                });
                prop_assert_eq!(range.source.objects, inside.count() as u64);
            }
        }
    }
}
