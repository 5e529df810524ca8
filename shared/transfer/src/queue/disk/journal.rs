//! The files of a queue on disk.
//!
//! Owns: segments of lines, where each message stands in them, giving back the room of what is done with, and what survives a crash.
//! Does not own: what the lines mean to a queue. Invariants: a line is written whole or taken back; only the end of the newest segment
//! may be torn, and is cut off; the oldest segment goes when nothing in it is wanted any more, and no other does, so that what was
//! deleted never comes back with an older segment.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{self, Record, Sent};
use crate::{Error, ErrorKind, Result};

const LOCK: &str = "lock";
const SUFFIX: &str = ".log";
/// Of the file that the end of a torn segment is kept in.
const TORN: &str = "torn";

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    segment: u64,
    offset: u64,
    length: u32,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    path: PathBuf,
    file: Arc<File>,
    length_bytes: u64,
    /// Of messages that stand here and are not done with.
    wanted: u64,
    wanted_bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    segments: VecDeque<Segment>,
    segment_bytes: u64,
    /// Bytes ever written by this process.
    written: u64,
    _lock: File,
}

impl Journal {
    /// Opens a directory, made where it is missing, and shows every line in the order of writing.
    pub(super) fn open(
        directory: &Path,
        segment_bytes: u64,
        mut see: impl FnMut(&Record, Place),
    ) -> Result<Self> {
        let failed = |error| failed(directory, "opened", error);
        crate::state::make_private(directory).map_err(failed)?;
        let lock = File::create(directory.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("another process has the queue {}", directory.display());
                return Err(Error::new(ErrorKind::Configuration, message));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut numbers = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse::<u64>().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        let mut journal = Self {
            directory: directory.to_owned(),
            segments: VecDeque::new(),
            segment_bytes,
            written: 0,
            _lock: lock,
        };
        for (index, number) in numbers.iter().enumerate() {
            let end = if index + 1 == numbers.len() { End::MayBeTorn } else { End::Whole };
            journal.read_segment(*number, end, &mut see)?;
        }
        if journal.segments.is_empty() {
            journal.begin_segment(1)?;
        }
        Ok(journal)
    }

    fn read_segment(&mut self, number: u64, end: End, see: &mut impl FnMut(&Record, Place)) -> Result<()> {
        let path = self.path(number);
        let failed = |error| failed(&path, "read", error);
        let file = OpenOptions::new().read(true).append(true).open(&path).map_err(failed)?;
        let mut reader = BufReader::new(&file);
        let mut offset = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line).map_err(failed)? as u64;
            if length == 0 {
                break;
            }
            let Some(record) = record::read(&line) else {
                if end == End::MayBeTorn {
                    // Nobody was told that what a crash tore had been taken. Were it damage after all, it can be looked at.
                    let mut torn = line.clone();
                    reader.read_to_end(&mut torn).map_err(failed)?;
                    fs::write(path.with_extension(TORN), &torn).map_err(failed)?;
                    tracing::warn!(file = %path.display(), at_byte = offset, "the end of a queue's journal is torn: cut off");
                    file.set_len(offset).map_err(failed)?;
                    break;
                }
                let message = format!("the queue's file {} is damaged at byte {offset}", path.display());
                return Err(Error::new(ErrorKind::Corrupt, message));
            };
            see(&record, Place { segment: number, offset, length: fits(length) });
            offset += length;
        }
        drop(reader);
        self.segments.push_back(Segment {
            number,
            path,
            file: Arc::new(file),
            length_bytes: offset,
            wanted: 0,
            wanted_bytes: 0,
        });
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:012}{SUFFIX}"))
    }

    fn begin_segment(&mut self, number: u64) -> Result<()> {
        let path = self.path(number);
        let made = || -> io::Result<File> {
            let file = OpenOptions::new().read(true).append(true).create_new(true).open(&path)?;
            File::open(&self.directory)?.sync_all()?;
            Ok(file)
        };
        let file = made().map_err(|error| failed(&path, "made", error))?;
        self.segments.push_back(Segment {
            number,
            path,
            file: Arc::new(file),
            length_bytes: 0,
            wanted: 0,
            wanted_bytes: 0,
        });
        Ok(())
    }

    /// Writes lines behind one another: all of them or none. Survives this process; the machine only after [`Self::unsynced`].
    pub(super) fn append(&mut self, records: &[Record]) -> Result<Vec<Place>> {
        self.rotate()?;
        let Some(segment) = self.segments.back_mut() else { return Ok(Vec::new()) };
        let mut bytes = Vec::new();
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let before = bytes.len() as u64;
            record::write(record, &mut bytes)
                .map_err(|error| failed(&segment.path, "written", error.into()))?;
            let place = Place {
                segment: segment.number,
                offset: segment.length_bytes + before,
                length: fits(bytes.len() as u64 - before),
            };
            places.push(place);
        }
        if let Err(error) = segment.file.as_ref().write_all(&bytes) {
            // What was written of it would be torn lines in the middle.
            segment
                .file
                .set_len(segment.length_bytes)
                .map_err(|error| failed(&segment.path, "cut", error))?;
            return Err(failed(&segment.path, "written", error));
        }
        segment.length_bytes += bytes.len() as u64;
        self.written += bytes.len() as u64;
        Ok(places)
    }

    /// A segment that is full is synced once and for all, and the next one begun.
    fn rotate(&mut self) -> Result<()> {
        match self.segments.back() {
            Some(last) if last.length_bytes >= self.segment_bytes => {
                let next = last.number + 1;
                self.sync()?;
                self.begin_segment(next)
            }
            _ => Ok(()),
        }
    }

    /// Brings everything that was written to the disk.
    pub(super) fn sync(&self) -> Result<()> {
        // Full segments are synced already.
        let Some(last) = self.segments.back() else { return Ok(()) };
        last.file.sync_data().map_err(|error| failed(&last.path, "synced", error))
    }

    /// The file to sync so that everything written up to now, of which this many bytes, survives the machine.
    pub(super) fn unsynced(&self) -> Option<(Arc<File>, u64)> {
        self.segments.back().map(|last| (Arc::clone(&last.file), self.written))
    }

    /// A message stands here and is wanted.
    pub(super) fn want(&mut self, place: Place) {
        if let Some(segment) = self.segment(place.segment) {
            segment.wanted += 1;
            segment.wanted_bytes += u64::from(place.length);
        }
    }

    /// A message is done with, or stands elsewhere by now.
    pub(super) fn release(&mut self, place: Place) {
        if let Some(segment) = self.segment(place.segment) {
            segment.wanted -= 1;
            segment.wanted_bytes -= u64::from(place.length);
        }
    }

    /// Removes segments at the old end in which nothing is wanted.
    pub(super) fn drop_unwanted(&mut self) -> Result<()> {
        while self.segments.len() > 1
            && let Some(oldest) = self.segments.front()
            && oldest.wanted == 0
        {
            fs::remove_file(&oldest.path).map_err(|error| failed(&oldest.path, "removed", error))?;
            self.segments.pop_front();
        }
        Ok(())
    }

    /// The oldest segment, where a few messages in it keep far more room than all that are wanted need.
    pub(super) fn to_move(&self) -> Option<u64> {
        let total: u64 = self.segments.iter().map(|segment| segment.length_bytes).sum();
        let wanted: u64 = self.segments.iter().map(|segment| segment.wanted_bytes).sum();
        let oldest = self.segments.front().filter(|_| self.segments.len() > 1)?;
        (total > 2 * (wanted + self.segment_bytes)).then_some(oldest.number)
    }

    /// Whether a message stands in that segment.
    pub(super) fn is_in(place: Place, segment: u64) -> bool {
        place.segment == segment
    }

    /// The message at a place.
    pub(super) fn read(&self, place: Place) -> Result<Sent> {
        let lost = |path: &Path| {
            let message = format!("the queue's file {} is damaged at byte {}", path.display(), place.offset);
            Error::new(ErrorKind::Corrupt, message)
        };
        let segment = self
            .segments
            .iter()
            .find(|segment| segment.number == place.segment)
            .ok_or_else(|| lost(&self.path(place.segment)))?;
        let mut line = vec![0; place.length as usize];
        let mut file = segment.file.as_ref();
        // Writing appends wherever reading was.
        file.seek(SeekFrom::Start(place.offset))
            .and_then(|_| file.read_exact(&mut line))
            .map_err(|error| failed(&segment.path, "read", error))?;
        match record::read(&line) {
            Some(Record::Sent(sent)) => Ok(sent),
            _ => Err(lost(&segment.path)),
        }
    }

    fn segment(&mut self, number: u64) -> Option<&mut Segment> {
        self.segments.iter_mut().find(|segment| segment.number == number)
    }
}

/// What may be at the end of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    MayBeTorn,
    Whole,
}

/// A message of 4 GiB is none.
fn fits(length: u64) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

pub(super) fn failed(path: &Path, what: &str, error: io::Error) -> Error {
    let message = format!("the queue's file {} cannot be {what}", path.display());
    Error::new(ErrorKind::Configuration, message).caused_by(error)
}
