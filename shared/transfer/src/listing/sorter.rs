//! Entries of a listing, sorted in bounded memory.
//!
//! Owns: setting sorted runs of entries aside in temporary files, and merging them. Does not own: what is listed. Invariants: memory is
//! the bound it was made with and a buffer for each open file; files have no name, so they go with the process, however that ends; no
//! more than [`FAN_IN`] files of one level are open at once.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, Write as _};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{ETag, Entry, Key, StorageClass};

/// Files that are merged into one: three levels of 64 hold some 50 billion keys.
const FAN_IN: usize = 64;

/// An entry as a line of a file.
#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    size: u64,
    etag: Option<ETag>,
    #[serde(with = "time::serde::rfc3339::option")]
    modified: Option<OffsetDateTime>,
    class: Option<StorageClass>,
}

type Sorted = Box<dyn Iterator<Item = io::Result<Entry>> + Send>;

/// Takes entries in any order. See the module.
#[derive(Debug)]
pub(super) struct Sorter {
    memory_bytes_max: usize,
    held: Vec<Entry>,
    held_bytes: usize,
    /// Sorted runs; those of one level are of about one size.
    levels: Vec<Vec<File>>,
}

impl Sorter {
    pub(super) fn new(memory_bytes_max: usize) -> Self {
        Self { memory_bytes_max, held: Vec::new(), held_bytes: 0, levels: Vec::new() }
    }

    /// Takes entries in. Works on files, so not for a thread that serves requests, where [`Self::is_full`].
    pub(super) fn add(&mut self, entries: Vec<Entry>) {
        self.held_bytes += entries.iter().map(bytes_of).sum::<usize>();
        self.held.extend(entries);
    }

    pub(super) fn is_full(&self) -> bool {
        self.held_bytes > self.memory_bytes_max
    }

    /// Sets what is held aside. Blocks.
    pub(super) fn spill(&mut self) -> io::Result<()> {
        let held = self.take_held();
        let mut run = write(held.map(Ok))?;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(run);
            if self.levels[level].len() < FAN_IN {
                break;
            }
            run = write(merge(std::mem::take(&mut self.levels[level]).into_iter().map(read))?)?;
        }
        Ok(())
    }

    /// Every entry in the order of keys; one that was added twice comes twice. Reading blocks.
    pub(super) fn into_sorted(mut self) -> io::Result<Merge> {
        let held: Sorted = Box::new(self.take_held().map(Ok));
        let runs = std::mem::take(&mut self.levels).into_iter().flatten();
        merge(runs.map(read).chain([held]))
    }

    fn take_held(&mut self) -> std::vec::IntoIter<Entry> {
        self.held_bytes = 0;
        let mut held = std::mem::take(&mut self.held);
        held.sort_by(|a, b| a.key.cmp(&b.key));
        held.into_iter()
    }
}

fn bytes_of(entry: &Entry) -> usize {
    let etag = entry.etag.as_ref().map_or(0, |etag| etag.as_str().len());
    size_of::<Entry>() + entry.key.as_str().len() + etag
}

fn write(entries: impl Iterator<Item = io::Result<Entry>>) -> io::Result<File> {
    let mut file = BufWriter::new(tempfile::tempfile()?);
    for entry in entries {
        let Entry { key, size_bytes, etag, last_modified, storage_class } = entry?;
        let line = Line {
            key: key.as_str().to_owned(),
            size: size_bytes,
            etag,
            modified: last_modified,
            class: storage_class,
        };
        serde_json::to_writer(&mut file, &line)?;
        file.write_all(b"\n")?;
    }
    let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

fn read(file: File) -> Sorted {
    let lines = BufReader::new(file).lines();
    Box::new(lines.map(|line| {
        let Line { key, size, etag, modified, class } = serde_json::from_str(&line?)?;
        let key = Key::new(key).map_err(|empty| io::Error::new(io::ErrorKind::InvalidData, empty))?;
        Ok(Entry { key, size_bytes: size, etag, last_modified: modified, storage_class: class })
    }))
}

/// Sorted sources as one.
pub(super) struct Merge {
    sources: Vec<Sorted>,
    heads: BinaryHeap<Head>,
}

struct Head {
    entry: Entry,
    source: usize,
}

fn merge(sources: impl Iterator<Item = Sorted>) -> io::Result<Merge> {
    let mut merge = Merge { sources: sources.collect(), heads: BinaryHeap::new() };
    for source in 0..merge.sources.len() {
        merge.advance(source)?;
    }
    Ok(merge)
}

impl Merge {
    fn advance(&mut self, source: usize) -> io::Result<()> {
        if let Some(entry) = self.sources[source].next().transpose()? {
            self.heads.push(Head { entry, source });
        }
        Ok(())
    }
}

impl Iterator for Merge {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let Head { entry, source } = self.heads.pop()?;
        Some(self.advance(source).map(|()| entry))
    }
}

/// The least key is the greatest head, as the heap wants it.
impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        other.entry.key.cmp(&self.entry.key).then_with(|| other.source.cmp(&self.source))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let moment = (0..2_000_000_000_i64, 0..1_000_000_000_u32).prop_map(|(secs, nanos)| {
            let moment = OffsetDateTime::from_unix_timestamp(secs).expect("a moment");
            moment.replace_nanosecond(nanos).expect("nanoseconds")
        });
        (
            "[\\PC\\x01\\n\"]{1,6}",
            any::<u64>(),
            prop::option::of("[a-f0-9]{4}(-[0-9])?"),
            prop::option::of(moment),
            prop::option::of("[A-Z]{3}"),
        )
            .prop_map(|(key, size_bytes, etag, last_modified, class)| Entry {
                key: Key::new(key).expect("a key"),
                size_bytes,
                etag: etag.as_deref().and_then(ETag::parse),
                last_modified,
                storage_class: class.as_deref().and_then(StorageClass::parse),
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_entry_comes_out_in_order_however_often_it_was_set_aside(
            pages in prop::collection::vec(prop::collection::vec(entry(), 0..9), 0..9),
            memory_bytes_max in 0..4_000_usize,
        ) {
            let mut sorter = Sorter::new(memory_bytes_max);
            for page in &pages {
                sorter.add(page.clone());
                if sorter.is_full() {
                    sorter.spill().expect("set aside");
                }
            }
            let sorted: Vec<Entry> = sorter.into_sorted().expect("merged").map(|entry| entry.expect("an entry")).collect();
            prop_assert!(sorted.is_sorted_by(|a, b| a.key <= b.key));
            let texts = |entries: Vec<Entry>| {
                let mut texts: Vec<String> = entries.iter().map(|entry| format!("{entry:?}")).collect();
                texts.sort();
                texts
            };
            prop_assert_eq!(texts(sorted), texts(pages.concat()));
        }
    }

    #[test]
    fn files_of_one_level_become_one_of_the_next() {
        let mut sorter = Sorter::new(0);
        for number in 0..FAN_IN * 2 + 3 {
            let key = Key::new(format!("{:03}", number * 7 % 131)).expect("a key");
            let entry = Entry { key, size_bytes: 1, etag: None, last_modified: None, storage_class: None };
            sorter.add(vec![entry]);
            sorter.spill().expect("set aside");
        }
        assert_eq!(sorter.levels.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
        let keys = sorter
            .into_sorted()
            .expect("merged")
            .map(|entry| entry.expect("an entry").key.as_str().to_owned());
        assert!(keys.eq((0..131).map(|number| format!("{number:03}"))));
    }
}
