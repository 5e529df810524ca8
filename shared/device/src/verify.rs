//! Whether a medium still holds what it should, told by the medium alone.
//!
//! Owns: comparing every file, or a sample of them, with the lists of digests on the medium, and the files with the lists. Does not own: reading. Invariants: needs neither the source nor the work
//! directory nor the network; every listed file of the sample is read to its end, and every document; what is damaged is told and does not keep the rest from being checked; a sample
//! never looks like the whole; memory does not grow with the list.

mod problem;
mod scope;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::documents::{Arrangement, hex};
use crate::error::{Error, ErrorKind, Result};
use crate::medium::{Medium, Met};

pub use self::problem::Problem;
pub use self::scope::{BadShare, Scope, Share};

/// Problems that are told one by one; the others are counted.
const TOLD: usize = 1000;
/// The longest line of a list: a digest and a path, escaped.
const LINE_MAX: usize = 16_384;

/// The outcome of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How much was read: `full`, or `sample` and a share.
    pub scope: String,
    /// Files that are listed.
    pub listed_files: u64,
    /// Files that were to be read: all that are listed, or a sample of them.
    pub read_files: u64,
    /// Files whose digest is right.
    pub right_files: u64,
    /// Files that are listed and not there.
    pub missing_files: u64,
    /// Documents of the export itself whose digest is right: metadata, notes.
    pub right_documents: u64,
    /// Bytes of the objects' files that were read.
    pub bytes: u64,
    /// All problems.
    pub wrong: u64,
    /// The first thousand of them.
    pub problems: Vec<Problem>,
}

impl Verdict {
    /// Whether everything that was read is as it should be.
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

/// How much of a medium was read back, as a job keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// `full`, `sample` and a share, or `none`.
    pub scope: String,
    /// Files that were read.
    pub read_files: u64,
    /// Files there are.
    pub listed_files: u64,
}

impl Verification {
    /// What a verdict, or that there is none, comes to.
    pub fn of(verdict: Option<&Verdict>) -> Self {
        match verdict {
            Some(verdict) => Self {
                scope: verdict.scope.clone(),
                read_files: verdict.read_files,
                listed_files: verdict.listed_files,
            },
            None => Self { scope: "none".to_owned(), read_files: 0, listed_files: 0 },
        }
    }

    /// What has to be said beside "complete".
    pub fn reservation(&self) -> Option<String> {
        match self.scope.as_str() {
            "full" => None,
            "none" => Some("Nothing of it was read back.".to_owned()),
            _ => Some(format!("{} of {} files were read back.", self.read_files, self.listed_files)),
        }
    }
}

/// Reads what the scope asks for of everything on `medium` and compares. `progress` is told the bytes read so far, and may end the check by an error.
///
/// # Errors
/// `Corrupt` when there is no list of digests: then this is no medium of an export.
pub fn verify(
    medium: &dyn Medium,
    scope: &Scope,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Verdict> {
    for arrangement in [Arrangement::Plain, Arrangement::BagIt] {
        let mut verdict = Verdict { scope: scope.to_string(), ..Verdict::default() };
        let mut spoilt = 0;
        let found = each_line(medium, arrangement.manifest(), &mut |line| {
            let Some((sha256, path)) = line.and_then(|line| arrangement.parse_manifest_line(line).ok())
            else {
                spoilt += 1;
                return Ok(());
            };
            let is_first = verdict.listed_files == 0;
            verdict.listed_files += 1;
            if is_first || scope.selects(&path) {
                verdict.read_files += 1;
                verdict.right_files += u64::from(check(medium, &path, &sha256, &mut verdict));
            }
            progress(verdict.bytes)
        });
        match found {
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) if arrangement == Arrangement::Plain && is_bag(medium) => continue,
            // What follows in it is not known: the files behind are met as unlisted.
            Err(error) => verdict.tell(Problem::unreadable(arrangement.manifest(), &error)),
        }
        let mut documents = 0;
        let has_list = each_line(medium, arrangement.documents_manifest(), &mut |line| {
            documents += 1;
            let Some((sha256, path)) =
                line.and_then(|line| Arrangement::BagIt.parse_manifest_line(line).ok())
            else {
                spoilt += 1;
                return Ok(());
            };
            // The totals are the objects' own.
            let (bytes, missing_files) = (verdict.bytes, verdict.missing_files);
            if check(medium, &path, &sha256, &mut verdict) {
                verdict.right_documents += 1;
            }
            (verdict.bytes, verdict.missing_files) = (bytes, missing_files);
            progress(bytes)
        });
        let has_list = has_list.unwrap_or_else(|error| {
            verdict.tell(Problem::unreadable(arrangement.documents_manifest(), &error));
            true
        });
        if spoilt > 0 {
            verdict.tell(Problem::SpoiltList { lines: spoilt });
        }
        // The list itself is in no list; media of earlier versions have none.
        let documents = if has_list { documents + 1 } else { arrangement.documents().len() as u64 - 1 };
        compare_names(medium, documents, scope, &mut verdict)?;
        return Ok(verdict);
    }
    Err(Error::corrupt("no list of digests is on the medium; is it an export at all?"))
}

fn is_bag(medium: &dyn Medium) -> bool {
    medium.read(Arrangement::BagIt.manifest(), &mut |_| Ok(())).is_ok_and(|found| found)
}

/// Meets everything that is there, and counts.
fn compare_names(medium: &dyn Medium, documents: u64, scope: &Scope, verdict: &mut Verdict) -> Result<()> {
    let told: HashSet<String> =
        verdict.problems.iter().filter_map(Problem::path).map(str::to_owned).collect();
    let mut there = 0;
    let mut damaged_files = 0;
    medium.walk(&mut |met| {
        match met {
            Met::Found(found) => there += u64::from(!found.is_directory),
            Met::Damaged { path, error } => {
                damaged_files += 1;
                if !told.contains(&path) {
                    verdict.tell(Problem::unreadable(&path, &error));
                }
            }
        }
        Ok(())
    })?;
    let expected = verdict.listed_files - verdict.missing_files + documents;
    if there > expected {
        verdict.tell(Problem::Unlisted { files: there - expected });
    }
    // A sample looks for no single file, so those that are gone are only counted.
    let told_missing = verdict.problems.iter().filter(|problem| matches!(problem, Problem::Missing { .. }));
    let documents_missing = (told_missing.count() as u64).saturating_sub(verdict.missing_files);
    let lost = expected.saturating_sub(there + damaged_files + documents_missing);
    if *scope != Scope::Full && lost > 0 {
        verdict.missing_files += lost;
        verdict.tell(Problem::Lost { files: lost });
    }
    Ok(())
}

/// Reads one file; whether it is as it should be.
fn check(medium: &dyn Medium, path: &str, expected: &str, verdict: &mut Verdict) -> bool {
    let mut sha256 = Sha256::new();
    let mut bytes = 0;
    let read = medium.read(path, &mut |data| {
        sha256.update(data);
        bytes += data.len() as u64;
        Ok(())
    });
    verdict.bytes += bytes;
    match read {
        Ok(true) if hex(&sha256.finalize()) == expected => return true,
        Ok(true) => verdict.tell(Problem::Differs { path: path.to_owned() }),
        Ok(false) => {
            verdict.missing_files += 1;
            verdict.tell(Problem::Missing { path: path.to_owned() });
        }
        Err(error) => verdict.tell(Problem::unreadable(path, &error)),
    }
    false
}

/// Gives the lines of a text file, `None` for one that is no text; `false` where there is no file.
fn each_line(
    medium: &dyn Medium,
    path: &str,
    each: &mut dyn FnMut(Option<&str>) -> Result<()>,
) -> Result<bool> {
    let mut rest: Vec<u8> = Vec::new();
    let found = medium.read(path, &mut |data| {
        rest.extend_from_slice(data);
        let mut from = 0;
        while let Some(length) = rest[from..].iter().position(|byte| *byte == b'\n') {
            each(std::str::from_utf8(&rest[from..from + length]).ok())?;
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
