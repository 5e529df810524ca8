//! Which directory holds what, and in which order.
//!
//! Owns: the numbers of directories and the sorted entries of each. Does not own: their blocks ([`super::directory`]). Invariants:
//! directories are numbered from the root down, so a parent's number is lower than its child's; the entries of one directory come together,
//! sorted by the hash of their name; everything is in sorts, nothing in memory.

use std::path::Path;

use super::directory::Shape;
use super::hash::{NameHash, hash};
use crate::error::{Error, ErrorKind, Result};
use crate::sorter::{Merge, Sorted, Sorter};

const FILE_END: [u8; 2] = [0, 0];
const DIRECTORY_END: [u8; 2] = [0, 1];
const SEPARATOR: [u8; 2] = [0, 2];
/// In a directory's records, before the entries: the number of its parent.
const PARENT: u8 = 0;
const ENTRY: u8 = 1;

/// What a name stands for. Directories are numbered from the root's 0, files in the order of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Child {
    File(u32),
    Directory(u32),
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) hash: NameHash,
    pub(super) name: Vec<u8>,
    pub(super) child: Child,
}

/// Takes paths in any order.
#[derive(Debug)]
pub(super) struct TreeBuilder {
    paths: Sorter,
    entries: Sorter,
    sizes: Sorter,
    hash_seed: [u32; 4],
}

impl TreeBuilder {
    pub(super) fn new(directory: &Path, hash_seed: [u32; 4]) -> Self {
        Self {
            paths: Sorter::new(directory),
            entries: Sorter::new(directory),
            sizes: Sorter::new(directory),
            hash_seed,
        }
    }

    pub(super) fn add_file(&mut self, path: &str, number: u32) -> Result<()> {
        self.paths.push(&key(path, FILE_END), &number.to_be_bytes())
    }

    pub(super) fn add_directory(&mut self, path: &str) -> Result<()> {
        self.paths.push(&key(path, DIRECTORY_END), &[])
    }

    /// Numbers the directories, sorts their entries and measures them.
    pub(super) fn build(mut self) -> Result<Tree> {
        let paths = std::mem::replace(&mut self.paths, Sorter::new(Path::new(""))).sort();
        let mut open: Vec<(Vec<u8>, u32)> = Vec::new();
        let mut directories: u32 = 1;
        self.entries.push(&parent_key(0), &0u32.to_be_bytes())?;
        for record in paths.merge()? {
            let (key, value) = record?;
            let (path, end) = key.split_at(key.len() - 2);
            let components = components(path);
            let (name, parents) = components.split_last().ok_or_else(malformed)?;
            let is_file = end == FILE_END;
            let wanted = if is_file { parents } else { &components[..] };
            let shared = open.iter().zip(wanted).take_while(|((name, _), want)| name == *want).count();
            open.truncate(shared);
            for component in &wanted[shared..] {
                let parent = open.last().map_or(0, |(_, number)| *number);
                let number = directories;
                directories = directories.checked_add(1).ok_or_else(too_many)?;
                self.push_entry(parent, component, Child::Directory(number))?;
                self.entries.push(&parent_key(number), &parent.to_be_bytes())?;
                open.push((component.to_vec(), number));
            }
            if is_file {
                let number = u32::from_be_bytes(value.try_into().map_err(|_| malformed())?);
                let parent = open.last().map_or(0, |(_, number)| *number);
                self.push_entry(parent, name, Child::File(number))?;
            }
        }
        let entries = self.entries.sort();
        let mut blocks = 0;
        let mut listings = Listings::new(&entries)?;
        while let Some(listing) = listings.next_directory()? {
            let mut shape = Shape::default();
            let mut subdirectories: u32 = 0;
            while let Some(entry) = listings.next_entry()? {
                shape.add(&entry);
                subdirectories += u32::from(matches!(entry.child, Child::Directory(_)));
            }
            let size = shape.blocks()?;
            blocks += u64::from(size);
            let mut value = [0; 8];
            value[..4].copy_from_slice(&size.to_be_bytes());
            value[4..].copy_from_slice(&subdirectories.to_be_bytes());
            self.sizes.push(&listing.number.to_be_bytes(), &value)?;
        }
        Ok(Tree { entries, sizes: self.sizes.sort(), directories, blocks })
    }

    fn push_entry(&mut self, parent: u32, name: &[u8], child: Child) -> Result<()> {
        let hash = hash(&self.hash_seed, name);
        let mut key = Vec::with_capacity(13 + name.len());
        key.extend_from_slice(&parent.to_be_bytes());
        key.push(ENTRY);
        key.extend_from_slice(&hash.major.to_be_bytes());
        key.extend_from_slice(&hash.minor.to_be_bytes());
        key.extend_from_slice(name);
        let (kind, number) = match child {
            Child::File(number) => (0u8, number),
            Child::Directory(number) => (1, number),
        };
        let mut value = [kind, 0, 0, 0, 0];
        value[1..].copy_from_slice(&number.to_be_bytes());
        self.entries.push(&key, &value)
    }
}

fn key(path: &str, end: [u8; 2]) -> Vec<u8> {
    let mut key = Vec::with_capacity(path.len() + 10);
    for component in path.split('/') {
        if !key.is_empty() {
            key.extend_from_slice(&SEPARATOR);
        }
        key.extend_from_slice(component.as_bytes());
    }
    key.extend_from_slice(&end);
    key
}

fn components(path: &[u8]) -> Vec<&[u8]> {
    let mut components = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < path.len() {
        if path[at..].starts_with(&SEPARATOR) {
            components.push(&path[start..at]);
            at += SEPARATOR.len();
            start = at;
        } else {
            at += 1;
        }
    }
    components.push(&path[start..]);
    components
}

fn parent_key(directory: u32) -> [u8; 5] {
    let mut key = [0; 5];
    key[..4].copy_from_slice(&directory.to_be_bytes());
    key[4] = PARENT;
    key
}

fn malformed() -> Error {
    Error::new(ErrorKind::Corrupt, "a sorted path is malformed")
}

fn too_many() -> Error {
    Error::new(ErrorKind::InvalidInput, "more directories than an ext4 file system numbers")
}

/// All directories of an image.
#[derive(Debug)]
pub(super) struct Tree {
    entries: Sorted,
    sizes: Sorted,
    /// How many, the root counted.
    pub(super) directories: u32,
    /// Blocks of all of them.
    pub(super) blocks: u64,
}

impl Tree {
    /// Reads the directories, in the order of their numbers.
    pub(super) fn listings(&self) -> Result<Listings<'_>> {
        Listings::new(&self.entries)
    }

    /// Blocks and subdirectories of each directory, in the same order.
    pub(super) fn sizes(&self) -> Result<impl Iterator<Item = Result<(u32, u32)>>> {
        Ok(self.sizes.merge()?.map(|record| {
            let (_, value) = record?;
            let number =
                |at: usize| value[at..at + 4].try_into().map(u32::from_be_bytes).map_err(|_| malformed());
            Ok((number(0)?, number(4)?))
        }))
    }
}

/// A directory about to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing {
    pub(super) number: u32,
    pub(super) parent: u32,
}

/// The entries of one directory after the other.
#[derive(Debug)]
pub(super) struct Listings<'a> {
    records: std::iter::Peekable<Merge<'a>>,
}

impl<'a> Listings<'a> {
    fn new(entries: &'a Sorted) -> Result<Self> {
        Ok(Self { records: entries.merge()?.peekable() })
    }

    /// The next directory, once the one before was read to its end.
    pub(super) fn next_directory(&mut self) -> Result<Option<Listing>> {
        let Some((key, value)) = self.records.next().transpose()? else { return Ok(None) };
        let number = key.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).ok_or_else(malformed)?;
        let parent = u32::from_be_bytes(value.try_into().map_err(|_| malformed())?);
        Ok(Some(Listing { number, parent }))
    }

    /// The next entry of the directory.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>> {
        let is_entry = |record: &Result<_>| {
            record.as_ref().map_or(true, |(key, _): &(Vec<u8>, Vec<u8>)| key.get(4) == Some(&ENTRY))
        };
        let Some((key, value)) = self.records.next_if(is_entry).transpose()? else { return Ok(None) };
        let word = |bytes: &[u8], at: usize| {
            bytes
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok())
                .map(u32::from_be_bytes)
                .ok_or_else(malformed)
        };
        let hash = NameHash { major: word(&key, 5)?, minor: word(&key, 9)? };
        let number = word(&value, 1)?;
        let child = if value[0] == 0 { Child::File(number) } else { Child::Directory(number) };
        Ok(Some(Entry { hash, name: key[13..].to_vec(), child }))
    }
}
