//! Sorting more records than memory holds.
//!
//! Owns: runs of sorted records spilled into nameless files, and their merge. Does not own: what the bytes mean. Invariant: at
//! most [`Sorter`]'s limit of bytes in memory however many records are pushed; equal keys come out in the order they went in;
//! nothing is left behind on disk, even by a kill, since every run's file is unlinked while it is empty.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Bytes of records held before a run is spilled.
const MEMORY_BYTES: usize = 12 * 1024 * 1024;
/// Runs that are merged at once: each costs a read buffer.
const RUNS_AT_ONCE: usize = 48;
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// A key and its value, both opaque bytes, ordered by the key's bytes.
pub(crate) type Record = (Vec<u8>, Vec<u8>);

/// A record at the head of its source, between key and value the source's number.
type Candidate = (Vec<u8>, usize, Vec<u8>);

#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    key_end: usize,
    end: usize,
}

/// Takes records in any order.
#[derive(Debug)]
pub(crate) struct Sorter {
    directory: PathBuf,
    memory_bytes: usize,
    arena: Vec<u8>,
    spans: Vec<Span>,
    runs: Vec<File>,
    spilled: u64,
}

impl Sorter {
    /// A sorter that spills into `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        Self::with_memory(directory, MEMORY_BYTES)
    }

    fn with_memory(directory: &Path, memory_bytes: usize) -> Self {
        Self {
            directory: directory.to_owned(),
            memory_bytes,
            arena: Vec::new(),
            spans: Vec::new(),
            runs: Vec::new(),
            spilled: 0,
        }
    }

    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let start = self.arena.len();
        self.arena.extend_from_slice(key);
        let key_end = self.arena.len();
        self.arena.extend_from_slice(value);
        self.spans.push(Span { start, key_end, end: self.arena.len() });
        if self.arena.len() + self.spans.len() * size_of::<Span>() > self.memory_bytes {
            self.spill()?;
        }
        Ok(())
    }

    /// Ends the pushing.
    pub(crate) fn sort(mut self) -> Sorted {
        self.sort_arena();
        Sorted { arena: self.arena, spans: self.spans, runs: self.runs }
    }

    fn sort_arena(&mut self) {
        let arena = &self.arena;
        self.spans.sort_by(|a, b| arena[a.start..a.key_end].cmp(&arena[b.start..b.key_end]));
    }

    fn spill(&mut self) -> Result<()> {
        self.sort_arena();
        let name = self.nameless()?;
        let mut run = BufWriter::with_capacity(1 << 20, name);
        for span in &self.spans {
            write_record(
                &mut run,
                &self.arena[span.start..span.key_end],
                &self.arena[span.key_end..span.end],
            )
            .map_err(Error::io("spill a sort into", &self.directory))?;
        }
        self.runs.push(self.close(run)?);
        self.arena.clear();
        self.spans.clear();
        if self.runs.len() == RUNS_AT_ONCE {
            self.merge_runs()?;
        }
        Ok(())
    }

    fn merge_runs(&mut self) -> Result<()> {
        let mut merged = BufWriter::with_capacity(1 << 20, self.nameless()?);
        let runs = Sorted { arena: Vec::new(), spans: Vec::new(), runs: std::mem::take(&mut self.runs) };
        for record in runs.merge()? {
            let (key, value) = record?;
            write_record(&mut merged, &key, &value)
                .map_err(Error::io("spill a sort into", &self.directory))?;
        }
        self.runs = vec![self.close(merged)?];
        Ok(())
    }

    fn close(&self, run: BufWriter<File>) -> Result<File> {
        run.into_inner().map_err(|e| Error::io("spill a sort into", &self.directory)(e.into_error()))
    }

    fn nameless(&mut self) -> Result<File> {
        let path = self.directory.join(format!(".sort-{}-{}", std::process::id(), self.spilled));
        self.spilled += 1;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(Error::io("create", &path))?;
        std::fs::remove_file(&path).map_err(Error::io("unlink", &path))?;
        Ok(file)
    }
}

fn write_record(to: &mut impl Write, key: &[u8], value: &[u8]) -> std::io::Result<()> {
    to.write_all(&(key.len() as u64).to_le_bytes())?;
    to.write_all(&(value.len() as u64).to_le_bytes())?;
    to.write_all(key)?;
    to.write_all(value)
}

/// All records in order, as often as wanted.
#[derive(Debug)]
pub(crate) struct Sorted {
    arena: Vec<u8>,
    spans: Vec<Span>,
    runs: Vec<File>,
}

impl Sorted {
    pub(crate) fn merge(&self) -> Result<Merge<'_>> {
        let mut merge = Merge {
            runs: self
                .runs
                .iter()
                .map(|file| BufReader::with_capacity(READ_BUFFER_BYTES, ReadAt { file, offset: 0 }))
                .collect(),
            memory: self.spans.iter(),
            arena: &self.arena,
            heap: BinaryHeap::new(),
        };
        for source in 0..=self.runs.len() {
            merge.refill(source)?;
        }
        Ok(merge)
    }
}

#[derive(Debug)]
struct ReadAt<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for ReadAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// The merged records. A run's number is its age, which keeps equal keys in the order they were pushed.
#[derive(Debug)]
pub(crate) struct Merge<'a> {
    runs: Vec<BufReader<ReadAt<'a>>>,
    memory: std::slice::Iter<'a, Span>,
    arena: &'a [u8],
    heap: BinaryHeap<Reverse<Candidate>>,
}

impl Merge<'_> {
    fn refill(&mut self, source: usize) -> Result<()> {
        let record = if source == self.runs.len() {
            self.memory.next().map(|span| {
                (self.arena[span.start..span.key_end].to_vec(), self.arena[span.key_end..span.end].to_vec())
            })
        } else {
            read_record(&mut self.runs[source])
                .map_err(|e| Error::new(crate::ErrorKind::Io, "cannot read back a sort").caused_by(e))?
        };
        if let Some((key, value)) = record {
            self.heap.push(Reverse((key, source, value)));
        }
        Ok(())
    }
}

fn read_record(from: &mut impl Read) -> std::io::Result<Option<Record>> {
    let mut lengths = [0; 16];
    match from.read_exact(&mut lengths) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    let length = |at: usize| {
        let bytes: [u8; 8] = lengths[at..at + 8].try_into().unwrap_or_default();
        usize::try_from(u64::from_le_bytes(bytes)).map_err(std::io::Error::other)
    };
    let mut key = vec![0; length(0)?];
    from.read_exact(&mut key)?;
    let mut value = vec![0; length(8)?];
    from.read_exact(&mut value)?;
    Ok(Some((key, value)))
}

impl Iterator for Merge<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((key, source, value)) = self.heap.pop()?;
        Some(self.refill(source).map(|()| (key, value)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn spilled_records_come_out_as_a_stable_sort_would_give_them(
            records in prop::collection::vec((prop::collection::vec(0u8..4, 0..4), any::<u8>()), 0..400),
            memory_bytes in 60usize..4000,
        ) {
            let directory = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::with_memory(directory.path(), memory_bytes);
            for (key, value) in &records {
                sorter.push(key, &[*value]).unwrap();
            }
            let mut expected: Vec<Record> = records.iter().map(|(k, v)| (k.clone(), vec![*v])).collect();
            expected.sort_by(|a, b| a.0.cmp(&b.0));
            let sorted = sorter.sort();
            for _ in 0..2 {
                let got: Vec<Record> = sorted.merge().unwrap().map(Result::unwrap).collect();
                prop_assert_eq!(&got, &expected);
            }
            prop_assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }
}
