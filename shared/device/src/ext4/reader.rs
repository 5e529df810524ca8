//! Reading an image back without mounting it.
//!
//! Owns: finding a path, listing a tree and reading a file of an image that [`super::Writer`] made. Does not own: images of other programs,
//! which may use features that are refused here. Invariants: nothing is believed without its checksum: superblock, inodes and directories; and since whoever makes an image makes its
//! checksums, no number of it is believed either: whatever it says, reading ends; memory is a few blocks.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use super::checksum::Seed;
use super::field::{get16, get32, get64_split};
use super::geometry::DESCRIPTOR;
use super::hash::hash;
use super::superblock::{CHECKSUM_AT, INCOMPAT, MAGIC, MAGIC_AT, SUPERBLOCK_AT, SUPERBLOCK_BYTES};
use super::{BLOCK, BLOCK_BYTES, FILE_MAX_BYTES, GROUP_BLOCKS, INODE, ROOT_INODE};
use crate::error::{Error, Result};
use crate::volume::Volume;

/// Metadata blocks kept, which is what makes a walk in the order of the inodes cheap.
const CACHED_BLOCKS: usize = 64;
const FLAG_INDEXED: u32 = 0x1000;
const S_IFMT: u16 = 0xf000;
const S_IFDIR: u16 = 0x4000;
const S_IFREG: u16 = 0x8000;
const TAIL: usize = BLOCK - 12;
/// A bitmap of one block has no more.
const INODES_PER_GROUP_MAX: u32 = 32_768;
/// Linux's `EXT4_MAX_EXTENT_DEPTH`.
const EXTENT_DEPTH_MAX: u16 = 5;
/// Deeper than any key leads: one has 1,024 bytes, and so at most 512 components below its target directory.
const DIRECTORY_DEPTH_MAX: usize = 2048;
/// Twice what Linux takes.
const PATH_BYTES_MAX: usize = 8192;
/// Entries of one block of an extent tree.
const ENTRIES_OF_INDEX: u64 = 340;
/// Damaged blocks of one directory after which the rest of it is not looked at.
const DAMAGED_BLOCKS_MAX: u32 = 16;

/// A file or directory of the image.
#[derive(Debug, Clone)]
pub struct Node {
    inode: u32,
    is_directory: bool,
    is_indexed: bool,
    size_bytes: u64,
    modified_unix_secs: i64,
    root: [u8; 60],
}

impl Node {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// Bytes of the file.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Its time, in seconds since 1970.
    pub fn modified_unix_secs(&self) -> i64 {
        self.modified_unix_secs
    }
}

/// A stretch of a file that is one stretch of the volume.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    physical: u64,
    blocks: u64,
}

/// An image opened for reading.
#[derive(Debug)]
pub struct Reader<V> {
    volume: V,
    seed: Seed,
    hash_seed: [u32; 4],
    inodes: u32,
    inodes_per_group: u32,
    cache: RefCell<HashMap<u64, Vec<u8>>>,
}

impl<V: Volume> Reader<V> {
    /// Opens the file system on `volume`.
    ///
    /// # Errors
    /// `Corrupt` when there is none, or it was not finished, or its superblock is damaged.
    pub fn open(volume: V) -> Result<Self> {
        let mut first = vec![0; BLOCK];
        volume.read_at(0, &mut first)?;
        let raw = &first[SUPERBLOCK_AT..SUPERBLOCK_AT + SUPERBLOCK_BYTES];
        if get16(raw, MAGIC_AT) != MAGIC {
            return Err(Error::corrupt("no finished ext4 file system is here"));
        }
        if Seed::START.checksum(&[&raw[..CHECKSUM_AT]]) != get32(raw, CHECKSUM_AT) {
            return Err(Error::corrupt("the superblock is damaged; e2fsck -b 32768 repairs it from a copy"));
        }
        if get32(raw, 96) != INCOMPAT || usize::from(get16(raw, 88)) != INODE || get32(raw, 24) != 2 {
            return Err(Error::invalid("this ext4 file system was not made by Ferry; mount it instead"));
        }
        let (inodes, inodes_per_group) = (get32(raw, 0), get32(raw, 40));
        let groups = (volume.size_bytes() / BLOCK_BYTES).div_ceil(GROUP_BLOCKS);
        let inodes_fit = u64::from(inodes) <= groups * u64::from(inodes_per_group);
        if !(1..=INODES_PER_GROUP_MAX).contains(&inodes_per_group) || inodes < ROOT_INODE || !inodes_fit {
            return Err(Error::corrupt("the superblock has numbers that no file system has"));
        }
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&raw[104..120]);
        Ok(Self {
            seed: Seed::of_file_system(&uuid),
            hash_seed: [get32(raw, 236), get32(raw, 240), get32(raw, 244), get32(raw, 248)],
            inodes,
            inodes_per_group,
            cache: RefCell::new(HashMap::new()),
            volume,
        })
    }

    /// The root directory.
    pub fn root(&self) -> Result<Node> {
        self.node(ROOT_INODE)
    }

    /// What is at a path; `None` where nothing is.
    pub fn find(&self, path: &str) -> Result<Option<Node>> {
        let mut node = self.root()?;
        for component in path.split('/').filter(|component| !component.is_empty()) {
            if !node.is_directory {
                return Ok(None);
            }
            match self.lookup(&node, component.as_bytes())? {
                Some(inode) => node = self.node(inode)?,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// Everything below the root in depth, directories before what is in them; what cannot be read is met as an error, and the walk goes on.
    ///
    /// # Errors
    /// `Corrupt` where the root is damaged or directories lead in circles; whatever `visit` ends with.
    pub fn walk(&self, visit: &mut dyn FnMut(&str, Result<&Node>) -> Result<()>) -> Result<()> {
        let mut levels = vec![Level::new(String::new(), self.root()?)];
        let mut met: u32 = 0;
        while let Some(level) = levels.last_mut() {
            let Some((inode, name)) = level.entries.pop_front() else {
                if level.next_block == level.directory.size_bytes / BLOCK_BYTES {
                    levels.pop();
                    continue;
                }
                let block = self.directory_block(&level.directory, level.next_block);
                level.next_block += 1;
                match block {
                    Ok(Some(block)) => {
                        level.entries.extend(Entries::of(&block).map(|(inode, name)| (inode, name.to_vec())));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        level.damaged_blocks += 1;
                        if level.damaged_blocks == DAMAGED_BLOCKS_MAX {
                            level.next_block = level.directory.size_bytes / BLOCK_BYTES;
                        }
                        visit(&level.path, Err(error))?;
                    }
                }
                continue;
            };
            if matches!(name.as_slice(), b"." | b"..") {
                continue;
            }
            // Without links every inode is in one directory.
            met += 1;
            if met > self.inodes {
                return Err(Error::corrupt("the directories lead in circles"));
            }
            let path = level.below(&String::from_utf8_lossy(&name));
            if path.len() > PATH_BYTES_MAX {
                return Err(Error::corrupt("the directories lead in circles"));
            }
            match self.node(inode) {
                Ok(child) => {
                    visit(&path, Ok(&child))?;
                    if child.is_directory {
                        if levels.len() == DIRECTORY_DEPTH_MAX {
                            return Err(Error::corrupt("the directories lead in circles"));
                        }
                        levels.push(Level::new(path, child));
                    }
                }
                Err(error) => visit(&path, Err(error))?,
            }
        }
        Ok(())
    }

    /// Reads a file from front to back, in pieces of at most 1 MiB.
    pub fn read(&self, node: &Node, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut left = node.size_bytes;
        let mut buffer = Vec::new();
        self.stretches(node, &mut |stretch| {
            // Extents that name nothing would keep this up for as long as their maker likes.
            if stretch.blocks == 0 || left == 0 {
                return Err(Error::corrupt(format!("the extents of inode {} are damaged", node.inode)));
            }
            let mut at = stretch.physical * BLOCK_BYTES;
            let end = at + stretch.blocks * BLOCK_BYTES;
            while at < end && left > 0 {
                let length = (end - at).min(1 << 20).min(left.next_multiple_of(BLOCK_BYTES));
                buffer.resize(usize::try_from(length).unwrap_or(BLOCK), 0);
                self.volume.read_at(at, &mut buffer)?;
                let useful = usize::try_from(length.min(left)).unwrap_or(BLOCK);
                take(&buffer[..useful])?;
                left -= useful as u64;
                at += length;
            }
            Ok(())
        })?;
        if left > 0 {
            return Err(Error::corrupt(format!("inode {} has fewer blocks than bytes", node.inode)));
        }
        Ok(())
    }

    fn node(&self, inode: u32) -> Result<Node> {
        if inode == 0 || inode > self.inodes {
            return Err(Error::corrupt(format!("there is no inode {inode}")));
        }
        let group = (inode - 1) / self.inodes_per_group;
        let index = (inode - 1) % self.inodes_per_group;
        let descriptors = BLOCK / DESCRIPTOR;
        let block = self.block(1 + u64::from(group) / descriptors as u64)?;
        let at = group as usize % descriptors * DESCRIPTOR;
        let table = get64_split(&block[at..at + DESCRIPTOR], 8, 40);
        let in_block = BLOCK / INODE;
        let block = self.block(table.saturating_add(u64::from(index) / in_block as u64))?;
        let at = index as usize % in_block * INODE;
        let mut raw = [0; INODE];
        raw.copy_from_slice(&block[at..at + INODE]);
        let expected = u32::from(get16(&raw, 124)) | u32::from(get16(&raw, 130)) << 16;
        raw[124..126].fill(0);
        raw[130..132].fill(0);
        let mode = get16(&raw, 0) & S_IFMT;
        if self.seed.of_inode(inode).checksum(&[&raw]) != expected || !matches!(mode, S_IFDIR | S_IFREG) {
            return Err(Error::corrupt(format!("inode {inode} is damaged")));
        }
        let size_bytes = get64_split(&raw, 4, 108);
        // Files have no holes here.
        if size_bytes > FILE_MAX_BYTES.min(self.volume.size_bytes()) {
            return Err(Error::corrupt(format!("inode {inode} says that it has {size_bytes} bytes")));
        }
        let mut root = [0; 60];
        root.copy_from_slice(&raw[40..100]);
        let seconds = i64::from(get32(&raw, 16).cast_signed());
        Ok(Node {
            inode,
            is_directory: mode == S_IFDIR,
            is_indexed: get32(&raw, 32) & FLAG_INDEXED != 0,
            size_bytes,
            modified_unix_secs: seconds + (i64::from(get32(&raw, 136) & 3) << 32),
            root,
        })
    }

    /// The stretches of a file, front to back.
    fn stretches(&self, node: &Node, each: &mut dyn FnMut(Stretch) -> Result<()>) -> Result<()> {
        // Every entry is of a block at least, of the file or of the tree above it.
        let mut entries_left = 2 * node.size_bytes.div_ceil(BLOCK_BYTES) + ENTRIES_OF_INDEX;
        self.descend(&node.root, node.inode, EXTENT_DEPTH_MAX, &mut entries_left, each)
    }

    /// The extents below an index that is at most so deep.
    fn descend(
        &self,
        entries: &[u8],
        inode: u32,
        depth_max: u16,
        entries_left: &mut u64,
        each: &mut dyn FnMut(Stretch) -> Result<()>,
    ) -> Result<()> {
        let depth = get16(entries, 6);
        if get16(entries, 0) != 0xf30a || depth > depth_max {
            return Err(Error::corrupt(format!("the extents of inode {inode} are damaged")));
        }
        let count = usize::from(get16(entries, 2)).min((entries.len() - 12) / 12);
        let is_leaf = depth == 0;
        for entry in entries[12..12 + count * 12].chunks(12) {
            *entries_left = entries_left
                .checked_sub(1)
                .ok_or_else(|| Error::corrupt(format!("the extents of inode {inode} lead in circles")))?;
            if is_leaf {
                let physical = u64::from(get16(entry, 6)) << 32 | u64::from(get32(entry, 8));
                each(Stretch { physical, blocks: u64::from(get16(entry, 4)) })?;
            } else {
                let position = u64::from(get16(entry, 8)) << 32 | u64::from(get32(entry, 4));
                let block = self.block(position)?;
                let checksum = self.seed.of_inode(inode).checksum(&[&block[..BLOCK - 4]]);
                if checksum != get32(&block, BLOCK - 4) {
                    return Err(Error::corrupt(format!("the extents of inode {inode} are damaged")));
                }
                self.descend(&block[..BLOCK - 4], inode, depth - 1, entries_left, each)?;
            }
        }
        Ok(())
    }

    /// A block of a directory's entries; `None` for one that is an index.
    fn directory_block(&self, directory: &Node, logical: u64) -> Result<Option<Vec<u8>>> {
        let block = self.file_block(directory, logical)?;
        if block[TAIL + 7] != 0xde || get32(&block, TAIL) != 0 || get16(&block, TAIL + 4) != 12 {
            return Ok(None);
        }
        let checksum = self.seed.of_inode(directory.inode).checksum(&[&block[..TAIL]]);
        if checksum != get32(&block, TAIL + 8) {
            return Err(Error::corrupt(format!("directory inode {} is damaged", directory.inode)));
        }
        Ok(Some(block))
    }

    fn file_block(&self, node: &Node, logical: u64) -> Result<Vec<u8>> {
        let mut passed = 0;
        let mut found = None;
        self.stretches(node, &mut |stretch| {
            if (passed..passed + stretch.blocks).contains(&logical) {
                found = Some(stretch.physical + logical - passed);
            }
            passed += stretch.blocks;
            Ok(())
        })?;
        let position =
            found.ok_or_else(|| Error::corrupt(format!("inode {} has no block {logical}", node.inode)))?;
        self.block(position)
    }

    fn lookup(&self, directory: &Node, name: &[u8]) -> Result<Option<u32>> {
        if !directory.is_indexed {
            let block = self.directory_block(directory, 0)?;
            return Ok(block.and_then(|block| Entries::of(&block).find_name(name)));
        }
        let major = hash(&self.hash_seed, name).major;
        let root = self.file_block(directory, 0)?;
        let mut level = root[30];
        let mut index = root[32..].to_vec();
        // Leaves that end with the same hash go on in the next, so both the leaf and its followers are looked at.
        loop {
            let count = usize::from(get16(&index, 2)).min(index.len() / 8);
            let hash_of = |entry: usize| if entry == 0 { 0 } else { get32(&index, entry * 8) };
            let after = (0..count).find(|entry| hash_of(*entry) & !1 > major).unwrap_or(count);
            let first = (0..after).rev().find(|entry| hash_of(*entry) & !1 < major).unwrap_or(0);
            if level == 0 {
                for entry in first..after {
                    let leaf = self.directory_block(directory, u64::from(get32(&index, entry * 8 + 4)))?;
                    if let Some(inode) = leaf.and_then(|leaf| Entries::of(&leaf).find_name(name)) {
                        return Ok(Some(inode));
                    }
                }
                return Ok(None);
            }
            if after - first > 1 {
                return self.lookup_everywhere(directory, name);
            }
            let node = self.file_block(directory, u64::from(get32(&index, first * 8 + 4)))?;
            index = node[8..].to_vec();
            level -= 1;
        }
    }

    /// For the names whose hash is the boundary between two nodes of the index.
    fn lookup_everywhere(&self, directory: &Node, name: &[u8]) -> Result<Option<u32>> {
        for logical in 0..directory.size_bytes / BLOCK_BYTES {
            let found = self
                .directory_block(directory, logical)?
                .and_then(|block| Entries::of(&block).find_name(name));
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn block(&self, position: u64) -> Result<Vec<u8>> {
        if let Some(block) = self.cache.borrow().get(&position) {
            return Ok(block.clone());
        }
        let mut block = vec![0; BLOCK];
        self.volume.read_at(position.saturating_mul(BLOCK_BYTES), &mut block)?;
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= CACHED_BLOCKS {
            cache.clear();
        }
        cache.insert(position, block.clone());
        Ok(block)
    }
}

/// A directory on a walk.
struct Level {
    path: String,
    directory: Node,
    next_block: u64,
    entries: VecDeque<(u32, Vec<u8>)>,
    damaged_blocks: u32,
}

impl Level {
    fn new(path: String, directory: Node) -> Self {
        Self { path, directory, next_block: 0, entries: VecDeque::new(), damaged_blocks: 0 }
    }

    fn below(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }
}

/// The entries of a block.
struct Entries<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Entries<'a> {
    fn of(block: &'a [u8]) -> Self {
        Self { block, at: 0 }
    }

    fn find_name(self, wanted: &[u8]) -> Option<u32> {
        self.into_iter().find(|(_, name)| *name == wanted).map(|(inode, _)| inode)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while self.at + 8 <= TAIL {
            let entry = &self.block[self.at..TAIL];
            let length = usize::from(get16(entry, 4));
            if length < 8 {
                return None;
            }
            self.at += length;
            let inode = get32(entry, 0);
            if inode != 0 {
                let name = entry.get(8..8 + usize::from(entry[6]))?;
                return Some((inode, name));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
