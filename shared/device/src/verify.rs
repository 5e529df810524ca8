//! Whether a medium still holds what it should, told by the medium alone.
//!
//! Owns: comparing every file with the list of digests on the medium, and the files with the list. Does not own: reading. Invariants: needs neither
//! the source nor the work directory nor the network; every listed file is read to its end; memory does not grow with the list.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::documents::{Arrangement, hex};
use crate::error::{Error, ErrorKind, Result};
use crate::medium::Medium;

/// Problems that are told one by one; the others are counted.
const TOLD: usize = 1000;
/// The longest line of a list: a digest and a path, escaped.
const LINE_MAX: usize = 16_384;

/// What is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    /// It is listed and not there.
    Missing {
        /// Its path.
        path: String,
    },
    /// Its bytes are others.
    Differs {
        /// Its path.
        path: String,
    },
    /// It cannot be read.
    Unreadable {
        /// Its path.
        path: String,
        /// Why.
        message: String,
    },
    /// More files are there than are listed.
    Unlisted {
        /// How many.
        files: u64,
    },
}

/// The outcome of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Files whose digest is right.
    pub right_files: u64,
    /// Files that are listed and not there.
    pub missing_files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// All problems.
    pub wrong: u64,
    /// The first thousand of them.
    pub problems: Vec<Problem>,
}

impl Verdict {
    /// Whether everything is as it should be.
    pub fn is_right(&self) -> bool {
        self.wrong == 0
    }

    fn tell(&mut self, problem: Problem) {
        self.wrong += 1;
        if self.problems.len() < TOLD {
            self.problems.push(problem);
        }
    }
}

/// Reads everything on `medium` and compares. `progress` is told the bytes read so far.
///
/// # Errors
/// `Corrupt` when there is no list of digests: then this is no medium of an export.
pub fn verify(medium: &dyn Medium, progress: &mut dyn FnMut(u64)) -> Result<Verdict> {
    for arrangement in [Arrangement::Plain, Arrangement::BagIt] {
        let mut verdict = Verdict::default();
        let mut listed = 0;
        let found = each_line(medium, arrangement.manifest(), &mut |line| {
            let (sha256, path) = arrangement.parse_manifest_line(line)?;
            listed += 1;
            check(medium, &path, &sha256, &mut verdict);
            progress(verdict.bytes);
            Ok(())
        })?;
        if !found {
            continue;
        }
        let mut there = 0;
        medium.walk(&mut |found| {
            there += u64::from(!found.is_directory);
            Ok(())
        })?;
        let expected = listed - verdict.missing_files + arrangement.documents().len() as u64;
        if there > expected {
            verdict.tell(Problem::Unlisted { files: there - expected });
        }
        return Ok(verdict);
    }
    Err(Error::corrupt("no list of digests is on the medium; is it an export at all?"))
}

fn check(medium: &dyn Medium, path: &str, expected: &str, verdict: &mut Verdict) {
    let mut sha256 = Sha256::new();
    let mut bytes = 0;
    let read = medium.read(path, &mut |data| {
        sha256.update(data);
        bytes += data.len() as u64;
        Ok(())
    });
    verdict.bytes += bytes;
    let path = path.to_owned();
    match read {
        Ok(true) if hex(&sha256.finalize()) == expected => verdict.right_files += 1,
        Ok(true) => verdict.tell(Problem::Differs { path }),
        Ok(false) => {
            verdict.missing_files += 1;
            verdict.tell(Problem::Missing { path });
        }
        Err(e) => {
            let cause = std::error::Error::source(&e).map_or(String::new(), |cause| format!(": {cause}"));
            verdict.tell(Problem::Unreadable { path, message: format!("{e}{cause}") });
        }
    }
}

/// Gives the lines of a text file; `false` where there is none.
fn each_line(medium: &dyn Medium, path: &str, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<bool> {
    let mut rest: Vec<u8> = Vec::new();
    let found = medium.read(path, &mut |data| {
        rest.extend_from_slice(data);
        let mut from = 0;
        while let Some(length) = rest[from..].iter().position(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(&rest[from..from + length])
                .map_err(|e| Error::corrupt(format!("{path} is not UTF-8")).caused_by(e))?;
            each(line)?;
            from += length + 1;
        }
        rest.drain(..from);
        if rest.len() > LINE_MAX {
            return Err(Error::new(ErrorKind::Corrupt, format!("{path} has an endless line")));
        }
        Ok(())
    })?;
    if !rest.is_empty() {
        return Err(Error::corrupt(format!("{path} ends within a line")));
    }
    Ok(found)
}
