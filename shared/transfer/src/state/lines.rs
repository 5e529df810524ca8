//! A file of lines that grows.
//!
//! Owns: appending JSON Lines to `STEM.jsonl` of a directory in few, large writes, and setting a piece that became large aside as
//! `STEM-00001.jsonl`, so that pieces sort by age and none needs much memory to be read. Does not own: what the lines say. Invariants: a
//! line is with the operating system at most one second after it was appended, at once where it is urgent, and so survives the
//! process, whatever ends it; memory stays below [`BUFFER_BYTES`] and one line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde::Serialize;

use super::directory::make_private;

/// Written in one go at the latest.
const BUFFER_BYTES: usize = 64 << 10;
/// Longest that a line waits.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// A piece of this size is set aside: some 50,000 receipts.
const PIECE_BYTES: u64 = 16 << 20;

/// How soon a line must be out of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Within a second.
    Soon,
    /// Before the call returns.
    Now,
}

/// A file of lines that grows. See the module.
#[derive(Debug)]
pub struct LineLog(Arc<Mutex<Pieces>>);

#[derive(Debug)]
struct Pieces {
    directory: PathBuf,
    stem: &'static str,
    file: File,
    waiting: Vec<u8>,
    piece_bytes: u64,
    piece_bytes_max: u64,
    set_aside: u32,
}

impl LineLog {
    /// Opens `STEM.jsonl` in a directory, both made where they are missing, to append to what an earlier process left. Lines that
    /// wait are written by a task of the runtime that this is called in.
    pub fn open(directory: impl Into<PathBuf>, stem: &'static str) -> io::Result<Self> {
        let log = Self::of_pieces(directory.into(), stem, PIECE_BYTES)?;
        tokio::spawn(write_in_time(Arc::downgrade(&log.0)));
        Ok(log)
    }

    fn of_pieces(directory: PathBuf, stem: &'static str, piece_bytes_max: u64) -> io::Result<Self> {
        make_private(&directory)?;
        let mut file = open(&directory.join(format!("{stem}.jsonl")))?;
        end_last_line(&mut file)?;
        let piece_bytes = file.metadata()?.len();
        let set_aside = last_set_aside(&directory, stem)?;
        let waiting = Vec::with_capacity(BUFFER_BYTES);
        Ok(Self(Arc::new(Mutex::new(Pieces {
            directory,
            stem,
            file,
            waiting,
            piece_bytes,
            piece_bytes_max,
            set_aside,
        }))))
    }

    /// Appends a line.
    pub fn append(&self, line: &impl Serialize, urgency: Urgency) -> io::Result<()> {
        let mut pieces = lock(&self.0);
        let before = pieces.waiting.len();
        if let Err(error) = serde_json::to_writer(&mut pieces.waiting, line) {
            pieces.waiting.truncate(before);
            return Err(error.into());
        }
        pieces.waiting.push(b'\n');
        if urgency == Urgency::Now || pieces.waiting.len() >= BUFFER_BYTES { pieces.write() } else { Ok(()) }
    }

    /// Writes what waits.
    pub fn write(&self) -> io::Result<()> {
        lock(&self.0).write()
    }

    /// Writes what waits, and sees it onto the disk.
    pub fn sync(&self) -> io::Result<()> {
        let mut pieces = lock(&self.0);
        pieces.write()?;
        pieces.file.sync_data()
    }
}

impl Drop for LineLog {
    fn drop(&mut self) {
        if let Err(error) = self.write() {
            tracing::error!(%error, "the last lines of a file could not be written");
        }
    }
}

impl Pieces {
    fn write(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.waiting);
        self.piece_bytes += self.waiting.len() as u64;
        // What a full disk refused is not tried again: memory must not grow with it.
        self.waiting.clear();
        written?;
        if self.piece_bytes >= self.piece_bytes_max {
            self.set_aside += 1;
            let (current, aside) =
                (format!("{}.jsonl", self.stem), format!("{}-{:05}.jsonl", self.stem, self.set_aside));
            fs::rename(self.directory.join(&current), self.directory.join(aside))?;
            self.file = open(&self.directory.join(current))?;
            self.piece_bytes = 0;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).read(true).open(path)
}

/// Half a line of a process that was killed must not swallow the first one of the next.
fn end_last_line(file: &mut File) -> io::Result<()> {
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

/// The number of the last piece that an earlier process set aside.
fn last_set_aside(directory: &Path, stem: &str) -> io::Result<u32> {
    let mut last = 0;
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| {
            name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(".jsonl")?.parse().ok()
        });
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}

fn lock(pieces: &Mutex<Pieces>) -> MutexGuard<'_, Pieces> {
    // A panic between two lines leaves whole lines.
    pieces.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Until the log is dropped.
async fn write_in_time(pieces: Weak<Mutex<Pieces>>) {
    loop {
        tokio::time::sleep(WAIT_MAX).await;
        let Some(pieces) = pieces.upgrade() else { return };
        if let Err(error) = lock(&pieces).write() {
            tracing::error!(%error, "lines of a file could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_gone_on_with() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = |piece_bytes_max| LineLog::of_pieces(directory.path().into(), "lines", piece_bytes_max);
        let text = |name: &str| fs::read_to_string(directory.path().join(name)).expect("a file");
        let first = log(8).expect("a log");
        for line in ["aaaaaa", "bbb"] {
            first.append(&line, Urgency::Now).expect("appended");
        }
        drop(first);
        fs::write(directory.path().join("lines.jsonl"), "\"bbb\"\n\"half a li").expect("written");

        let second = log(24).expect("a log");
        for line in ["cccccc", "d"] {
            second.append(&line, Urgency::Now).expect("appended");
        }
        assert_eq!(text("lines-00001.jsonl"), "\"aaaaaa\"\n", "it stays what it was");
        assert_eq!(text("lines-00002.jsonl"), "\"bbb\"\n\"half a li\n\"cccccc\"\n");
        assert_eq!(text("lines.jsonl"), "\"d\"\n");
    }
}
