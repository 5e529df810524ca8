//! Who keeps a path that several keys want.
//!
//! Owns: collisions: two keys with one name, a name that is also a directory, directories that differ in case only. Does not
//! own: what a single key would be called ([`NamingRules::candidate`]) or the number of those that lose. Invariants: no two
//! winners have one path in the eyes of the file system, none is below another, and the outcome depends on the keys and their order
//! alone, whatever the number of keys; memory is that of one sort.
//!
//! Every key enters its path and *claims* the directories above it. Sorted by folded path, a file comes just before the claims to the
//! same name, and these just before what is inside. One walk over that order, with the open directories on a stack, decides everything.

use std::path::Path;

use super::{Candidate, DevicePath, Fidelity, NamingRules, Reason};
use crate::error::{Error, Result};
use crate::sorter::{Merge, Sorted, Sorter};

/// After a file's path, after a claimed directory's, and between components: in the order in which the walk wants them. A NUL
/// is in no component, so the pairs cannot be mistaken for names.
const FILE_END: [u8; 2] = [0, 0];
const CLAIM_END: [u8; 2] = [0, 1];
const SEPARATOR: [u8; 2] = [0, 2];
/// The end mark, the fidelity and the sequence number.
const SUFFIX_BYTES: usize = 2 + 1 + 8;

/// Takes the candidates of a job, in the order of its objects.
#[derive(Debug)]
pub struct Contest {
    rules: NamingRules,
    entries: Sorter,
    losers: Sorter,
    claimed: String,
}

/// Who a claim to a directory is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Claim {
    /// A key inside it.
    Inside = 0,
    /// A key that is this directory and must lose if another key is it too.
    Itself = 1,
    /// A key with bytes that names this directory.
    WithData = 2,
}

impl Contest {
    /// An empty contest that sorts in `directory`.
    pub fn new(rules: &NamingRules, directory: &Path) -> Self {
        Self {
            rules: rules.clone(),
            entries: Sorter::new(directory),
            losers: Sorter::new(directory),
            claimed: String::new(),
        }
    }

    /// Enters the candidate of the `sequence`th object.
    pub fn enter(&mut self, sequence: u64, candidate: &Candidate) -> Result<()> {
        match candidate {
            Candidate::Unmappable(reason) => self.lose(sequence, *reason),
            Candidate::File(path, fidelity) => {
                self.claim_parents(path.as_str(), *fidelity, sequence)?;
                self.push(path.as_str(), FILE_END, *fidelity, sequence, Claim::Inside)
            }
            Candidate::Directory(path, fidelity) => {
                self.claim_parents(path.as_str(), *fidelity, sequence)?;
                self.push(path.as_str(), CLAIM_END, *fidelity, sequence, Claim::Itself)
            }
            Candidate::DirectoryWithData(path, fidelity) => {
                self.claim_parents(path.as_str(), *fidelity, sequence)?;
                self.push(path.as_str(), CLAIM_END, *fidelity, sequence, Claim::WithData)?;
                self.lose(sequence, Reason::DirectoryWithData)
            }
        }
    }

    /// Claims the directories above `path` that the entry before did not claim already.
    fn claim_parents(&mut self, path: &str, fidelity: Fidelity, sequence: u64) -> Result<()> {
        let parents = path.rfind('/').map_or("", |end| &path[..end]);
        let claimed = std::mem::take(&mut self.claimed);
        let ends = parents.match_indices('/').map(|(at, _)| at).chain([parents.len()]);
        for end in ends.filter(|end| *end > 0) {
            let directory = &parents[..end];
            let known = claimed.starts_with(directory)
                && claimed.as_bytes().get(end).is_none_or(|next| *next == b'/');
            if !known {
                self.push(directory, CLAIM_END, fidelity, sequence, Claim::Inside)?;
            }
        }
        parents.clone_into(&mut self.claimed);
        Ok(())
    }

    fn push(
        &mut self,
        path: &str,
        end: [u8; 2],
        fidelity: Fidelity,
        sequence: u64,
        claim: Claim,
    ) -> Result<()> {
        let mut key = Vec::with_capacity(path.len() + SUFFIX_BYTES + 8);
        for component in path.split('/') {
            if !key.is_empty() {
                key.extend_from_slice(&SEPARATOR);
            }
            key.extend_from_slice(self.rules.fold(component).as_bytes());
        }
        key.extend_from_slice(&end);
        key.push(fidelity as u8);
        key.extend_from_slice(&sequence.to_be_bytes());
        let mut value = Vec::with_capacity(1 + path.len());
        value.push(claim as u8);
        value.extend_from_slice(path.as_bytes());
        self.entries.push(&key, &value)
    }

    fn lose(&mut self, sequence: u64, reason: Reason) -> Result<()> {
        self.losers.push(&sequence.to_be_bytes(), &[reason as u8])
    }

    /// Decides all contests at once.
    pub fn decide(mut self) -> Result<Losers> {
        let directory = std::mem::replace(&mut self.entries, Sorter::new(Path::new("")));
        let sorted = directory.sort();
        let mut walk = Walk { open: Vec::new(), file: None, losers: &mut self.losers };
        for record in sorted.merge()? {
            let (key, value) = record?;
            walk.meet(&key, &value)?;
        }
        Ok(Losers(self.losers.sort()))
    }
}

/// A directory on the path of the walk.
#[derive(Debug)]
struct Open {
    folded: Vec<u8>,
    spelling: String,
    is_an_object: bool,
}

#[derive(Debug)]
struct Walk<'a> {
    open: Vec<Open>,
    /// The last file that won its path, until a claim to the same path takes it away.
    file: Option<(Vec<u8>, u64)>,
    losers: &'a mut Sorter,
}

impl Walk<'_> {
    fn meet(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let malformed = || Error::corrupt("a sorted name is malformed");
        let (folded, suffix) = key.split_at_checked(key.len() - SUFFIX_BYTES).ok_or_else(malformed)?;
        let sequence = u64::from_be_bytes(suffix[3..].try_into().map_err(|_| malformed())?);
        let (claim, path) = value.split_first().ok_or_else(malformed)?;
        let path = std::str::from_utf8(path).map_err(|_| malformed())?;
        if suffix[..2] == FILE_END {
            self.meet_file(folded, path, sequence)
        } else {
            self.meet_claim(folded, path, sequence, *claim)
        }
    }

    fn meet_file(&mut self, folded: &[u8], path: &str, sequence: u64) -> Result<()> {
        if !self.enter_parent(folded, path) {
            return self.lose(sequence, Reason::DirectorySpelling);
        }
        if self.file.as_ref().is_some_and(|(taken, _)| taken == folded) {
            return self.lose(sequence, Reason::NameTaken);
        }
        self.file = Some((folded.to_owned(), sequence));
        Ok(())
    }

    fn meet_claim(&mut self, folded: &[u8], path: &str, sequence: u64, claim: u8) -> Result<()> {
        let is_itself = claim == Claim::Itself as u8;
        if self.open.last().is_none_or(|open| open.folded != folded) {
            if !self.enter_parent(folded, path) {
                return if claim == Claim::Inside as u8 {
                    Ok(())
                } else {
                    self.lose(sequence, Reason::DirectorySpelling)
                };
            }
            if let Some((taken, file)) = self.file.take()
                && taken == folded
            {
                self.lose(file, Reason::IsDirectory)?;
            }
            self.open.push(Open {
                folded: folded.to_owned(),
                spelling: path.to_owned(),
                is_an_object: is_itself,
            });
            return Ok(());
        }
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        if open.spelling != path {
            return if claim == Claim::Inside as u8 {
                Ok(())
            } else {
                self.lose(sequence, Reason::DirectorySpelling)
            };
        }
        if is_itself && open.is_an_object {
            return self.lose(sequence, Reason::NameTaken);
        }
        open.is_an_object |= is_itself;
        Ok(())
    }

    /// Leaves the directories that are done; whether the one that `path` is in is open and spelt as `path` has it.
    fn enter_parent(&mut self, folded: &[u8], path: &str) -> bool {
        let parent = path.rfind('/').map_or("", |end| &path[..end]);
        let folded_parent =
            folded.windows(2).rposition(|pair| pair == SEPARATOR).map_or(&[][..], |end| &folded[..end]);
        while let Some(open) = self.open.last() {
            let inside =
                folded.starts_with(&open.folded) && folded[open.folded.len()..].starts_with(&SEPARATOR);
            if inside {
                return open.folded == folded_parent && open.spelling == parent;
            }
            self.open.pop();
        }
        parent.is_empty()
    }

    fn lose(&mut self, sequence: u64, reason: Reason) -> Result<()> {
        self.losers.push(&sequence.to_be_bytes(), &[reason as u8])
    }
}

/// The objects that do not get their own path, in the order of the objects.
#[derive(Debug)]
pub struct Losers(Sorted);

impl Losers {
    /// The sequence numbers and reasons, ascending. An object may be named twice, its first reason being what matters.
    pub fn in_order(&self) -> Result<LosersIter<'_>> {
        Ok(LosersIter(self.0.merge()?))
    }
}

/// Iterator of [`Losers::in_order`].
#[derive(Debug)]
pub struct LosersIter<'a>(Merge<'a>);

impl Iterator for LosersIter<'_> {
    type Item = Result<(u64, Reason)>;

    fn next(&mut self) -> Option<Self::Item> {
        let malformed = || Error::corrupt("a sorted verdict is malformed");
        Some(self.0.next()?.and_then(|(key, value)| {
            let sequence = u64::from_be_bytes(key.try_into().map_err(|_| malformed())?);
            let reason = value.first().and_then(|byte| Reason::from_byte(*byte)).ok_or_else(malformed)?;
            Ok((sequence, reason))
        }))
    }
}

/// Whether a loser's directory stands all the same: its key names one and has bytes besides.
pub(crate) fn directory_of(candidate: &Candidate, reasons: &[Reason]) -> Option<DevicePath> {
    match candidate {
        Candidate::DirectoryWithData(path, _) if reasons == [Reason::DirectoryWithData] => Some(path.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::super::FileSystem;
    use super::*;

    fn contest(file_system: FileSystem, keys: &[(&str, u64)]) -> BTreeMap<u64, Reason> {
        let directory = tempfile::tempdir().unwrap();
        let rules = NamingRules::new(file_system);
        let mut contest = Contest::new(&rules, directory.path());
        for (sequence, (key, size)) in (0u64..).zip(keys) {
            contest.enter(sequence, &rules.candidate("b", key, *size)).unwrap();
        }
        let mut losers = BTreeMap::new();
        for loser in contest.decide().unwrap().in_order().unwrap() {
            let (sequence, reason) = loser.unwrap();
            losers.entry(sequence).or_insert(reason);
        }
        losers
    }

    fn files<'a>(keys: &[&'a str]) -> Vec<(&'a str, u64)> {
        keys.iter().map(|key| (*key, 1)).collect()
    }

    #[test]
    fn a_name_that_other_keys_continue_is_a_directory() {
        let losers = contest(FileSystem::Ext4, &files(&["a", "a!", "a.txt", "a/b", "ab"]));
        assert_eq!(losers, [(0, Reason::IsDirectory)].into());
    }

    #[test]
    fn a_directory_object_and_a_file_of_its_name() {
        assert_eq!(contest(FileSystem::Ext4, &[("a", 1), ("a/", 0)]), [(0, Reason::IsDirectory)].into());
        assert_eq!(contest(FileSystem::Ext4, &[("a/", 0), ("a/b", 1)]), [].into());
        assert_eq!(contest(FileSystem::Ext4, &[("a/", 0), ("a/", 0)]), [(1, Reason::NameTaken)].into());
        assert_eq!(contest(FileSystem::Ext4, &[("a/", 9)]), [(0, Reason::DirectoryWithData)].into());
    }

    #[test]
    fn the_same_key_exported_twice_keeps_the_first() {
        assert_eq!(contest(FileSystem::Ext4, &files(&["a", "b", "a"])), [(2, Reason::NameTaken)].into());
    }

    #[test]
    fn case_matters_on_ext4_only() {
        let keys = files(&["A", "a", "D/x", "d/y", "D/z"]);
        assert_eq!(contest(FileSystem::Ext4, &keys), [].into());
        assert_eq!(
            contest(FileSystem::Ntfs, &keys),
            [(1, Reason::NameTaken), (3, Reason::DirectorySpelling)].into()
        );
    }

    #[test]
    fn what_is_below_a_directory_in_the_wrong_spelling_is_lost_at_any_depth() {
        let losers = contest(FileSystem::Ntfs, &files(&["A/x", "a/b/c", "a/b/d", "A/b/e", "a"]));
        assert_eq!(
            losers,
            [(1, Reason::DirectorySpelling), (2, Reason::DirectorySpelling), (4, Reason::IsDirectory)].into()
        );
    }

    #[test]
    fn the_key_that_needs_no_replacement_keeps_the_name() {
        assert_eq!(contest(FileSystem::Ntfs, &files(&["a:b", "a_b"])), [(0, Reason::NameTaken)].into());
    }

    proptest! {
        #[test]
        fn winners_never_share_a_path_nor_contain_each_other(
            keys in prop::collection::vec(("[aAbB:_/.]{1,6}", 0u64..2), 0..60),
        ) {
            for file_system in [FileSystem::Ext4, FileSystem::Ntfs] {
                let keys: Vec<(&str, u64)> = keys.iter().map(|(k, s)| (k.as_str(), *s)).collect();
                let losers = contest(file_system, &keys);
                let rules = NamingRules::new(file_system);
                let fold = |path: &DevicePath| path.components().map(|c| rules.fold(c)).collect::<Vec<_>>();
                let mut files = BTreeSet::new();
                let mut directories = BTreeMap::new();
                let mut objects = BTreeSet::new();
                for (sequence, (key, size)) in (0u64..).zip(&keys) {
                    if losers.contains_key(&sequence) {
                        continue;
                    }
                    let (path, is_file) = match rules.candidate("b", key, *size) {
                        Candidate::File(path, _) => (path, true),
                        Candidate::Directory(path, _) => (path, false),
                        other => panic!("{other:?} has no path and cannot win"),
                    };
                    let components = fold(&path);
                    let spelling: Vec<&str> = path.components().collect();
                    prop_assert!(objects.insert(components.clone()), "{path} twice");
                    let depth = components.len() - usize::from(is_file);
                    for end in 1..=depth {
                        let known = directories
                            .entry(components[..end].to_vec())
                            .or_insert_with(|| spelling[..end].join("/"));
                        prop_assert_eq!(known.as_str(), spelling[..end].join("/"));
                    }
                    if is_file {
                        files.insert(components);
                    }
                }
                for file in &files {
                    prop_assert!(!directories.contains_key(file), "{file:?} is both");
                }
            }
        }

        #[test]
        fn only_keys_that_need_it_lose_on_ext4(keys in prop::collection::btree_set("[ab]{1,3}", 0..40)) {
            let keys: Vec<(&str, u64)> = keys.iter().map(|k| (k.as_str(), 1)).collect();
            prop_assert_eq!(contest(FileSystem::Ext4, &keys), BTreeMap::new());
        }
    }
}
