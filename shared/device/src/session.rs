//! Carrying out a plan.
//!
//! Owns: which file comes next, the digests of what passes, when it is committed, the journal and the documents at the end. Does not own: where bytes come from or
//! where they go ([`Sink`]). Invariants: every file of the plan ends in the journal exactly once and in order; a digest is of what was handed to the
//! sink, or of what was read back from it and had the digest of that; an export that was killed, within a file or between two, and goes on gives the same bytes as one
//! that was not.

use std::num::NonZeroU32;
use std::ops::ControlFlow;

use sha2::{Digest, Sha256};

use crate::documents::{self, Arrangement};
use crate::error::{Error, ErrorKind, Result};
use crate::ext4::BLOCK_BYTES;
use crate::journal::{Attributes, Journal, Outcome, Record};
use crate::part::{self, Part};
use crate::plan::{Entries, Plan, PlanEntry};
use crate::sink::Sink;

/// Bytes after which the medium is synced, between files or within one: a kill costs less than twice as many.
const COMMIT_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of journal after which it is, for data sets of empty files.
const COMMIT_JOURNAL_BYTES: usize = 1024 * 1024;
/// What is read back at once.
const READ_BACK_BYTES: usize = 256 * 1024;

/// Whose bytes pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contents {
    Object,
    /// An object was given up.
    Zeros,
}

/// What passed of one file.
#[derive(Debug)]
struct Passing {
    entry: PlanEntry,
    contents: Contents,
    bytes: u64,
    sha256: Sha256,
    /// These bytes of it are on the medium, and are not in the digest before they have been read back.
    unread: Option<Part>,
}

impl Passing {
    fn of(entry: PlanEntry, contents: Contents, part: Option<Part>) -> Self {
        let bytes = part.as_ref().map_or(0, Part::bytes);
        Self { entry, contents, bytes, sha256: Sha256::new(), unread: part }
    }

    fn is_to_be_noted(&self) -> bool {
        self.contents == Contents::Object
            && self.bytes < self.entry.object.size_bytes
            && part::is_of_one_generation(&self.entry)
    }
}

/// An export under way.
#[derive(Debug)]
pub struct Session<S> {
    plan: Plan,
    entries: Entries,
    sink: S,
    journal: Journal,
    passing: Option<Passing>,
    /// The last note that was written of a part.
    noted: Option<Part>,
    commit_bytes: u64,
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
        // One that was ended since has a line in the journal, and its note is as good as none.
        let noted =
            Part::read(plan.directory())?.filter(|part| last.is_none_or(|last| part.sequence() > last));
        Ok(Self {
            plan,
            entries,
            sink,
            journal,
            passing: None,
            noted,
            commit_bytes: COMMIT_BYTES,
            uncommitted_bytes: 0,
            done_files,
            done_bytes,
        })
    }

    /// The same, but it commits after so many blocks of [`BLOCK_BYTES`] instead of 64 MiB.
    #[must_use]
    pub fn committing_every(mut self, blocks: NonZeroU32) -> Self {
        self.commit_bytes = u64::from(blocks.get()) * BLOCK_BYTES;
        self
    }

    /// Files that are done, and bytes: those of the file that is being written too.
    pub fn progress(&self) -> (u64, u64) {
        (self.done_files, self.done_bytes + self.passing.as_ref().map_or(0, |passing| passing.bytes))
    }

    /// What an earlier run noted of the next file; nothing of it may be there any more. [`Part::is_of`] tells whether it is that file's.
    pub fn part(&self) -> Option<&Part> {
        self.noted.as_ref()
    }

    /// Begins the next file and says which object has to be read for it; `None` when all are done. Where a part of it is on the medium, that has to be
    /// [read back](Self::read_back) first.
    ///
    /// # Errors
    /// `InvalidInput` while a file is still open.
    pub fn next_file(&mut self) -> Result<Option<PlanEntry>> {
        if self.passing.is_some() {
            return Err(Error::invalid("the file before was not ended"));
        }
        while let Some(entry) = self.entries.next().transpose()? {
            let part = self.go_on_with(&entry)?;
            if part.is_none() {
                self.sink.begin(&entry)?;
            }
            if entry.place.is_file() {
                self.passing = Some(Passing::of(entry.clone(), Contents::Object, part));
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Begins a file behind the part that is noted of it. A note of it that does not fit is forgotten: its bytes are overwritten next.
    fn go_on_with(&mut self, entry: &PlanEntry) -> Result<Option<Part>> {
        let Some(part) = self.noted.clone().filter(|part| part.sequence() == entry.sequence) else {
            return Ok(None);
        };
        if part.is_of(entry) && entry.place.is_file() {
            match self.sink.go_on(entry, part.bytes()) {
                Ok(()) => return Ok(Some(part)),
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                Err(error) => return Err(error),
            }
        }
        self.forget_part()?;
        Ok(None)
    }

    /// What is on the medium of the file and has to be read back before the next bytes are written.
    pub fn unread_part(&self) -> Option<&Part> {
        self.passing.as_ref().and_then(|passing| passing.unread.as_ref())
    }

    /// Reads the part of the file back that is on the medium, and shows it to `take`, but for its last bytes where its digest is not the one that was noted. Breaks off
    /// where `take` does; then, and after an error, the file can only begin anew or be gone back in.
    ///
    /// # Errors
    /// `Corrupt` where the medium has other bytes, `Io` where it has none.
    pub fn read_back(&mut self, take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> Result<ControlFlow<()>> {
        let passing = self.passing.as_mut().ok_or_else(|| Error::invalid("no file was begun"))?;
        let Some(part) = &passing.unread else { return Ok(ControlFlow::Continue(())) };
        let mut buffer = vec![0; READ_BACK_BYTES];
        let mut sha256 = Sha256::new();
        let mut at = 0;
        while at < part.bytes() {
            let left = usize::try_from(part.bytes() - at).unwrap_or(usize::MAX);
            let piece = &mut buffer[..left.min(READ_BACK_BYTES)];
            self.sink.read_back(at, piece)?;
            sha256.update(&*piece);
            at += piece.len() as u64;
            if at == part.bytes() && documents::hex(&sha256.clone().finalize()) != part.sha256() {
                let key = &passing.entry.object.key;
                return Err(Error::corrupt(format!(
                    "the first {at} bytes of {key} are not those that were written"
                )));
            }
            if take(piece).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        passing.sha256 = sha256;
        passing.unread = None;
        Ok(ControlFlow::Continue(()))
    }

    /// The next bytes of the file.
    ///
    /// # Errors
    /// `Corrupt` past the planned size, `InvalidInput` before what is on the medium was read back.
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        let mut rest = data;
        while !rest.is_empty() {
            let passing = self.passing.as_mut().ok_or_else(|| Error::invalid("no file was begun"))?;
            if passing.unread.is_some() {
                return Err(Error::invalid("what is on the medium was not read back"));
            }
            if passing.bytes + rest.len() as u64 > passing.entry.object.size_bytes {
                return Err(Error::corrupt(format!(
                    "{} gave more than its {} bytes",
                    passing.entry.object.key, passing.entry.object.size_bytes
                )));
            }
            let room = self.commit_bytes - passing.bytes % self.commit_bytes;
            let (now, later) = rest.split_at(rest.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            passing.bytes += now.len() as u64;
            passing.sha256.update(now);
            self.sink.write(now)?;
            self.uncommitted_bytes += now.len() as u64;
            if now.len() as u64 == room && passing.is_to_be_noted() {
                self.commit_part()?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Puts what arrived of the file on the medium, and notes it.
    fn commit_part(&mut self) -> Result<()> {
        self.commit()?;
        if let Some(passing) = &self.passing {
            let sha256 = documents::hex(&passing.sha256.clone().finalize());
            self.noted = Some(Part::note(&passing.entry, passing.bytes, sha256, self.plan.directory())?);
        }
        Ok(())
    }

    fn forget_part(&mut self) -> Result<()> {
        if self.noted.take().is_some() { Part::forget(self.plan.directory()) } else { Ok(()) }
    }

    /// Forgets what arrived of the file: it comes again from its beginning.
    pub fn restart_file(&mut self) -> Result<()> {
        self.begin_anew(Contents::Object)
    }

    fn begin_anew(&mut self, contents: Contents) -> Result<()> {
        let passing = self.passing.as_mut().ok_or_else(|| Error::invalid("no file was begun"))?;
        *passing = Passing::of(passing.entry.clone(), contents, None);
        self.forget_part()?;
        self.sink.back_to(0)
    }

    /// Goes back to what was committed of the file last, its beginning where nothing was: what came after that comes again, once the rest has been
    /// [read back](Self::read_back).
    pub fn go_back_in_file(&mut self) -> Result<()> {
        let passing = self.passing.as_mut().ok_or_else(|| Error::invalid("no file was begun"))?;
        let part = self.noted.clone().filter(|part| part.is_of(&passing.entry));
        *passing = Passing::of(passing.entry.clone(), Contents::Object, part);
        self.sink.back_to(passing.bytes)
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
        self.begin_anew(Contents::Zeros)?;
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
        if self.uncommitted_bytes >= self.commit_bytes || self.journal.pending_bytes() >= COMMIT_JOURNAL_BYTES
        {
            self.commit()?;
        }
        Ok(record)
    }

    /// Puts everything that ended on the medium and then in the journal, and what arrived of the file at hand on the medium.
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
        self.forget_part()?;
        Ok(self.sink)
    }
}

#[cfg(test)]
mod tests;
