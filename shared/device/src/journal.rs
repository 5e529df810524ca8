//! What is on the medium already.
//!
//! Owns: one line for each finished file, beside the plan. Does not own: when the medium is synced. Invariants: a line is on disk only after
//! its file is on the medium; lines are in the order of the plan without a gap; a line torn by a kill is dropped; what the documents on the
//! medium say of an object is in its line, so a resumed export writes the same documents.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const JOURNAL: &str = "journal.jsonl";

/// How the copy of one object ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All its bytes are on the medium.
    Written,
    /// The object changed after it was listed; its place holds zeros.
    Changed,
    /// The object vanished; its place holds zeros.
    Missing,
    /// It is archived, and was not to be read; its place holds zeros.
    Archived,
    /// The store does not let it be read; its place holds zeros.
    Denied,
    /// It could not be read; its place holds zeros.
    Failed,
}

/// What the source says of an object besides its bytes, kept in the sidecar.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// System headers by their lower-case name: `content-type`, `cache-control` …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// User metadata, without the `x-amz-meta-` prefix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// The line of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The entry of the plan.
    pub sequence: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// SHA-256 of what is on the medium, in hexadecimal.
    pub sha256: String,
    /// MD5 of the same, where the source's tag may be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// When it ended, in seconds since 1970. Not on the medium.
    pub ended_unix_secs: i64,
    /// What the source said of it.
    #[serde(default)]
    pub attributes: Attributes,
    /// Why it was not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The journal of one export, open at its end.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    pending: Vec<u8>,
}

impl Journal {
    /// Opens or begins the journal in `directory`; gives the number of the last file that is done.
    pub fn open(directory: &Path) -> Result<(Self, Option<u64>)> {
        let path = directory.join(JOURNAL);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        let (whole_bytes, last) = whole(&file, &path)?;
        file.set_len(whole_bytes).map_err(Error::io("cut", &path))?;
        file.seek(SeekFrom::End(0)).map_err(Error::io("seek in", &path))?;
        Ok((Self { file, path, pending: Vec::new() }, last))
    }

    /// Remembers a file; it is not on disk before [`Self::commit`].
    pub fn add(&mut self, record: &Record) -> Result<()> {
        serde_json::to_writer(&mut self.pending, record)
            .map_err(|e| Error::invalid("a record of the journal cannot be written").caused_by(e))?;
        self.pending.push(b'\n');
        Ok(())
    }

    /// Bytes that wait for [`Self::commit`].
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Puts what was added on disk. To be called once the medium is synced.
    pub fn commit(&mut self) -> Result<()> {
        self.file
            .write_all(&self.pending)
            .and_then(|()| self.file.sync_data())
            .map_err(Error::io("write", &self.path))?;
        self.pending.clear();
        Ok(())
    }

    /// All records that are on disk, in the order of the plan.
    pub fn records(directory: &Path) -> Result<Records> {
        let path = directory.join(JOURNAL);
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        Ok(Records { lines: BufReader::new(file).lines(), path })
    }
}

/// The length of the whole lines and the number of the last.
fn whole(file: &File, path: &Path) -> Result<(u64, Option<u64>)> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut bytes = 0;
    let mut last: Option<u64> = None;
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(Error::io("read", path))?;
        if read == 0 || line.last() != Some(&b'\n') {
            return Ok((bytes, last));
        }
        let Ok(record) = serde_json::from_slice::<Record>(&line) else { return Ok((bytes, last)) };
        if last.is_some_and(|last| record.sequence <= last) {
            return Err(Error::corrupt(format!(
                "{} has file {} out of order",
                path.display(),
                record.sequence
            )));
        }
        last = Some(record.sequence);
        bytes += read as u64;
    }
}

/// The records of a journal.
#[derive(Debug)]
pub struct Records {
    lines: std::io::Lines<BufReader<File>>,
    path: PathBuf,
}

impl Iterator for Records {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?;
        Some(line.map_err(Error::io("read", &self.path)).and_then(|line| {
            serde_json::from_str(&line).map_err(|e| {
                Error::corrupt(format!("{} has a line that is no record", self.path.display())).caused_by(e)
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64) -> Record {
        Record {
            sequence,
            outcome: Outcome::Written,
            sha256: "00".repeat(32),
            md5: None,
            ended_unix_secs: 1,
            attributes: Attributes::default(),
            message: None,
        }
    }

    #[test]
    fn what_was_committed_is_found_again_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, last) = Journal::open(directory.path()).unwrap();
        assert_eq!(last, None);
        journal.add(&record(0)).unwrap();
        journal.add(&record(2)).unwrap();
        journal.commit().unwrap();
        journal.add(&record(3)).unwrap();
        drop(journal);
        let (_, last) = Journal::open(directory.path()).unwrap();
        assert_eq!(last, Some(2));
    }

    #[test]
    fn a_torn_line_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path()).unwrap();
        journal.add(&record(0)).unwrap();
        journal.commit().unwrap();
        let path = directory.path().join(JOURNAL);
        let whole = std::fs::read(&path).unwrap();
        let mut torn = whole.clone();
        torn.extend_from_slice(&whole[..whole.len() / 2]);
        std::fs::write(&path, torn).unwrap();
        let (mut journal, last) = Journal::open(directory.path()).unwrap();
        assert_eq!(last, Some(0));
        journal.add(&record(1)).unwrap();
        journal.commit().unwrap();
        let sequences: Vec<u64> =
            Journal::records(directory.path()).unwrap().map(|r| r.unwrap().sequence).collect();
        assert_eq!(sequences, [0, 1]);
    }
}
