//! Carrying out a plan.
//!
//! Owns: which file comes next, the digests of what passes, the journal and the documents at the end. Does not own: where bytes come from or
//! where they go ([`Sink`]). Invariants: every file of the plan ends in the journal exactly once and in order; a digest is of what was handed to the
//! sink; an export that was killed and goes on gives the same bytes as one that was not.

use sha2::{Digest, Sha256};

use crate::documents::{self, Arrangement};
use crate::error::{Error, Result};
use crate::journal::{Attributes, Journal, Outcome, Record};
use crate::plan::{Entries, Plan, PlanEntry};
use crate::sink::Sink;

/// Bytes after which the medium is synced, so that a kill costs no more.
const COMMIT_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of journal after which it is, for data sets of empty files.
const COMMIT_JOURNAL_BYTES: usize = 1024 * 1024;

/// What passed of one file.
#[derive(Debug)]
struct Passing {
    entry: PlanEntry,
    bytes: u64,
    sha256: Sha256,
}

/// An export under way.
#[derive(Debug)]
pub struct Session<S> {
    plan: Plan,
    entries: Entries,
    sink: S,
    journal: Journal,
    passing: Option<Passing>,
    uncommitted_bytes: u64,
    done_files: u64,
    done_bytes: u64,
}

impl<S: Sink> Session<S> {
    /// Begins the plan, or goes on after the last file that the journal in its directory has.
    pub fn open(plan: Plan, mut sink: S) -> Result<Self> {
        let (journal, last) = Journal::open(plan.directory())?;
        let mut entries = plan.entries()?;
        let (mut done_files, mut done_bytes) = (0, 0);
        if let Some(last) = last {
            for entry in entries.by_ref() {
                let entry = entry?;
                sink.skip(&entry)?;
                done_files += u64::from(entry.place.is_file());
                done_bytes += entry.object.size_bytes;
                if entry.sequence == last {
                    break;
                }
            }
        }
        Ok(Self { plan, entries, sink, journal, passing: None, uncommitted_bytes: 0, done_files, done_bytes })
    }

    /// Files and bytes that are done.
    pub fn progress(&self) -> (u64, u64) {
        (self.done_files, self.done_bytes)
    }

    /// Begins the next file and says which object has to be read for it; `None` when all are done.
    ///
    /// # Errors
    /// `InvalidInput` while a file is still open.
    pub fn next_file(&mut self) -> Result<Option<PlanEntry>> {
        if self.passing.is_some() {
            return Err(Error::invalid("the file before was not ended"));
        }
        for entry in self.entries.by_ref() {
            let entry = entry?;
            self.sink.begin(&entry)?;
            if entry.place.is_file() {
                self.passing = Some(Passing { entry: entry.clone(), bytes: 0, sha256: Sha256::new() });
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// The next bytes of the file.
    ///
    /// # Errors
    /// `Corrupt` past the planned size.
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        let passing = self.passing.as_mut().ok_or_else(|| Error::invalid("no file was begun"))?;
        passing.bytes += data.len() as u64;
        if passing.bytes > passing.entry.object.size_bytes {
            return Err(Error::corrupt(format!(
                "{} gave more than its {} bytes",
                passing.entry.object.key, passing.entry.object.size_bytes
            )));
        }
        passing.sha256.update(data);
        self.sink.write(data)
    }

    /// Forgets what arrived of the file: it comes again from its beginning.
    pub fn restart_file(&mut self) -> Result<()> {
        let passing = self.passing.as_mut().ok_or_else(|| Error::invalid("no file was begun"))?;
        passing.bytes = 0;
        passing.sha256 = Sha256::new();
        self.sink.restart()
    }

    /// Ends the file; all its bytes arrived. The MD5 is whoever's who read them: the log has a column for it.
    ///
    /// # Errors
    /// `Corrupt` when bytes are missing.
    pub fn end_file(
        &mut self,
        attributes: Attributes,
        md5: Option<[u8; 16]>,
        ended_unix_secs: i64,
    ) -> Result<Record> {
        let missing = self
            .passing
            .as_ref()
            .filter(|passing| passing.bytes < passing.entry.object.size_bytes)
            .map(|passing| &passing.entry.object);
        if let Some(object) = missing {
            return Err(Error::corrupt(format!(
                "{} ended before its {} bytes",
                object.key, object.size_bytes
            )));
        }
        self.end(Outcome::Written, attributes, md5, ended_unix_secs, None)
    }

    /// Gives the file up: zeros take the place that was made for it, so that everything else stays where it is.
    pub fn give_up_file(&mut self, outcome: Outcome, message: &str, ended_unix_secs: i64) -> Result<Record> {
        self.restart_file()?;
        let mut left = self.passing.as_ref().map_or(0, |passing| passing.entry.object.size_bytes);
        let zeros = vec![0; 65_536];
        while left > 0 {
            let now = left.min(zeros.len() as u64);
            self.write(&zeros[..usize::try_from(now).unwrap_or(zeros.len())])?;
            left -= now;
        }
        self.end(outcome, Attributes::default(), None, ended_unix_secs, Some(message.to_owned()))
    }

    fn end(
        &mut self,
        outcome: Outcome,
        attributes: Attributes,
        md5: Option<[u8; 16]>,
        ended_unix_secs: i64,
        message: Option<String>,
    ) -> Result<Record> {
        let passing = self.passing.take().ok_or_else(|| Error::invalid("no file was begun"))?;
        self.sink.end()?;
        let record = Record {
            sequence: passing.entry.sequence,
            outcome,
            sha256: documents::hex(&passing.sha256.finalize()),
            md5: md5.map(|md5| documents::hex(&md5)),
            ended_unix_secs,
            attributes,
            message,
        };
        self.journal.add(&record)?;
        self.done_files += 1;
        self.done_bytes += passing.bytes;
        self.uncommitted_bytes += passing.bytes;
        if self.uncommitted_bytes >= COMMIT_BYTES || self.journal.pending_bytes() >= COMMIT_JOURNAL_BYTES {
            self.commit()?;
        }
        Ok(record)
    }

    /// Puts everything that ended on the medium and then in the journal.
    pub fn commit(&mut self) -> Result<()> {
        self.sink.commit()?;
        self.journal.commit()?;
        self.uncommitted_bytes = 0;
        Ok(())
    }

    /// Writes the documents and finishes the medium, once every file is done.
    pub fn finish(mut self, arrangement: Arrangement, bag: &documents::BagInfo) -> Result<S> {
        if self.passing.is_some() || self.next_file()?.is_some() {
            return Err(Error::invalid("the plan is not done"));
        }
        self.commit()?;
        documents::write(&mut self.sink, &self.plan, arrangement, bag)?;
        self.sink.commit()?;
        self.sink.finish(&self.plan)?;
        Ok(self.sink)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::naming::{FileSystem, NamingRules};
    use crate::plan::{Object, Planner};

    /// A medium that notes, at each sync, how long the journal was.
    #[derive(Debug)]
    struct Watching {
        journal: PathBuf,
        ended: u64,
        syncs: Arc<Mutex<Vec<(u64, usize)>>>,
    }

    impl Sink for Watching {
        fn skip(&mut self, _: &PlanEntry) -> Result<()> {
            Ok(())
        }

        fn begin(&mut self, _: &PlanEntry) -> Result<()> {
            Ok(())
        }

        fn begin_document(&mut self, _: &str) -> Result<()> {
            Ok(())
        }

        fn write(&mut self, _: &[u8]) -> Result<()> {
            Ok(())
        }

        fn restart(&mut self) -> Result<()> {
            Ok(())
        }

        fn end(&mut self) -> Result<()> {
            self.ended += 1;
            Ok(())
        }

        fn commit(&mut self) -> Result<()> {
            let lines = std::fs::read_to_string(&self.journal).unwrap().lines().count();
            self.syncs.lock().unwrap().push((self.ended, lines));
            Ok(())
        }

        fn finish(&mut self, _: &Plan) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_file_is_journalled_only_once_it_is_on_the_medium() {
        let work = tempfile::tempdir().unwrap();
        let mut planner = Planner::new(work.path(), NamingRules::new(FileSystem::Ext4)).unwrap();
        for number in 0..5 {
            let object = Object {
                operation: 0,
                bucket: "b".into(),
                key: format!("{number}"),
                version_id: None,
                etag: None,
                size_bytes: COMMIT_BYTES / 2,
                modified_unix_secs: 0,
                storage_class: None,
            };
            planner.add("b", object).unwrap();
        }
        let syncs = Arc::new(Mutex::new(Vec::new()));
        let journal = work.path().join("journal.jsonl");
        let sink = Watching { journal: journal.clone(), ended: 0, syncs: Arc::clone(&syncs) };
        let mut session = Session::open(planner.seal().unwrap(), sink).unwrap();
        let content = vec![0; 1 << 20];
        while session.next_file().unwrap().is_some() {
            for _ in 0..COMMIT_BYTES / 2 / (1 << 20) {
                session.write(&content).unwrap();
            }
            session.end_file(Attributes::default(), None, 0).unwrap();
        }
        session.commit().unwrap();
        // Files that were ended at each sync, and lines that were in the journal before it.
        assert_eq!(*syncs.lock().unwrap(), [(2, 0), (4, 2), (5, 4)]);
        assert_eq!(std::fs::read_to_string(journal).unwrap().lines().count(), 5);
    }
}
