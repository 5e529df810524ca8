//! Where everything of a plan stands on the volume.
//!
//! Owns: the sums. Descriptors, bitmaps and inode tables first, then the directories, then the files in the order of the plan, then the
//! documents that are known only at the end. Does not own: writing. Invariant: a layout follows from the plan, the names of the
//! documents, the identity and the size of the volume, and from nothing else.

use std::fmt;

use sha2::{Digest, Sha256};

use super::allocation::{Allocator, Run};
use super::extent::tree_blocks_bound;
use super::geometry::Geometry;
use super::tree::{Tree, TreeBuilder};
use super::{BLOCK_BYTES, FILE_MAX_BYTES, FIRST_INODE, ROOT_INODE, VOLUME_MAX_BYTES, blocks_of};
use crate::error::{Error, ErrorKind, Result};
use crate::naming::LOST_AND_FOUND;
use crate::plan::{Place, Plan};

const LABEL_BYTES: usize = 16;
/// Counts up when the same plan gets other places: by the order of files, by the allocator, by what is kept free for documents.
const VERSION: u32 = 2;

/// What tells one file system from another. Derived from the job, so that making it again makes the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub(super) uuid: [u8; 16],
    pub(super) hash_seed: [u32; 4],
    pub(super) label: String,
    pub(super) created_unix_secs: i64,
}

impl Identity {
    /// The identity of the volume of a job, made at a time that the job's record keeps.
    ///
    /// # Errors
    /// When the label is longer than 16 bytes.
    pub fn of_job(job: &str, label: &str, created_unix_secs: i64) -> Result<Self> {
        if label.len() > LABEL_BYTES {
            return Err(Error::invalid(format!("the label {label:?} is longer than {LABEL_BYTES} bytes")));
        }
        let digest = Sha256::digest(format!("ferry export {job} {created_unix_secs}"));
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&digest[..16]);
        // RFC 9562, version 8: a custom digest.
        uuid[6] = uuid[6] & 0x0f | 0x80;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        let word =
            |at: usize| u32::from_le_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]);
        let hash_seed = [word(16), word(20), word(24), word(28)];
        Ok(Self { uuid, hash_seed, label: label.to_owned(), created_unix_secs })
    }
}

/// How large the volume is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// As small as the plan allows, with so many bytes left for the documents written last.
    Fitting {
        /// Bytes for those documents.
        reserve_bytes: u64,
    },
    /// As large as the medium.
    Exactly {
        /// The medium's size.
        bytes: u64,
    },
}

/// A plan laid out.
#[derive(Debug)]
pub struct Layout {
    pub(super) identity: Identity,
    pub(super) geometry: Geometry,
    pub(super) tree: Tree,
    pub(super) files: u32,
    pub(super) block_bitmaps: Vec<Run>,
    pub(super) inode_bitmaps: Vec<Run>,
    pub(super) inode_tables: Vec<u64>,
    /// The allocator as it stands before the directories and before the files.
    pub(super) at_directories: Allocator,
    pub(super) at_files: Allocator,
}

impl Layout {
    /// Lays out a plan, with `documents` of yet unknown size (paths like the plan's) written after the files.
    ///
    /// # Errors
    /// `NoSpace` when the plan does not fit the size.
    pub fn new(plan: &Plan, documents: &[&str], identity: Identity, size: Size) -> Result<Self> {
        let mut builder = TreeBuilder::new(plan.directory(), identity.hash_seed);
        builder.add_directory(LOST_AND_FOUND)?;
        let mut files: u32 = 0;
        let mut content_blocks: u64 = 0;
        let mut add = |builder: &mut TreeBuilder, path: &str| {
            builder.add_file(path, files)?;
            files = files.checked_add(1).ok_or_else(|| Error::invalid("more files than inodes"))?;
            Ok::<(), Error>(())
        };
        for entry in plan.entries()? {
            let entry = entry?;
            match &entry.place {
                Place::Directory { path } => builder.add_directory(path.as_str())?,
                Place::File { path } => add(&mut builder, path.as_str())?,
                Place::Recovered { path, directory, .. } => {
                    if let Some(directory) = directory {
                        builder.add_directory(directory.as_str())?;
                    }
                    add(&mut builder, path.as_str())?;
                }
            }
            content_blocks += content_blocks_bound(entry.object.size_bytes)?;
        }
        for document in documents {
            add(&mut builder, document)?;
        }
        let tree = builder.build()?;
        content_blocks += tree.blocks + u64::from(tree.directories);
        let inodes = u64::from(tree.directories) + u64::from(files);
        let geometry = match size {
            Size::Exactly { bytes } => {
                let geometry = Geometry::of(bytes.min(VOLUME_MAX_BYTES) / BLOCK_BYTES, inodes)?;
                if content_blocks + geometry.overhead_blocks() > geometry.blocks {
                    return Err(Error::new(
                        ErrorKind::NoSpace,
                        format!("the plan needs more than the {bytes} bytes of the medium"),
                    ));
                }
                geometry
            }
            Size::Fitting { reserve_bytes } => {
                let reserve: u64 = blocks_of(reserve_bytes) + 8 * documents.len() as u64;
                Geometry::fitting(content_blocks + reserve, inodes)?
            }
        };
        Self::place(identity, geometry, tree, files)
    }

    fn place(identity: Identity, geometry: Geometry, tree: Tree, files: u32) -> Result<Self> {
        let mut allocator = Allocator::new(geometry.copies(), geometry.blocks);
        let block_bitmaps = allocator.take(geometry.groups)?;
        let inode_bitmaps = allocator.take(geometry.groups)?;
        let inode_tables = (0..geometry.groups)
            .map(|_| allocator.take_together(geometry.table_blocks))
            .collect::<Result<Vec<_>>>()?;
        let at_directories = allocator.clone();
        for size in tree.sizes()? {
            allocator.take_content(u64::from(size?.0))?;
        }
        Ok(Self {
            identity,
            geometry,
            tree,
            files,
            block_bitmaps,
            inode_bitmaps,
            inode_tables,
            at_directories,
            at_files: allocator,
        })
    }

    /// What tells a layout from another: a job goes on only where everything it wrote still has its place.
    pub fn fingerprint(&self) -> [u8; 32] {
        let (directories, blocks) = (self.tree.directories, self.tree.blocks);
        let facts = format!(
            "{VERSION} {:?} {} {directories} {blocks} {:?}",
            self.geometry, self.files, self.at_files
        );
        Sha256::digest(facts).into()
    }

    /// The bytes of the volume that are the file system's.
    pub fn size_bytes(&self) -> u64 {
        self.geometry.blocks * BLOCK_BYTES
    }

    /// Files, the documents counted.
    pub fn files(&self) -> u32 {
        self.files
    }

    pub(super) fn inode_of_directory(number: u32) -> u32 {
        if number == 0 { ROOT_INODE } else { FIRST_INODE - 1 + number }
    }

    pub(super) fn inode_of_file(&self, number: u32) -> u32 {
        FIRST_INODE - 1 + self.tree.directories + number
    }

    /// The last inode in use.
    pub(super) fn last_inode(&self) -> u32 {
        self.inode_of_file(self.files) - 1
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ext4, {} blocks of {BLOCK_BYTES} bytes, {} files in {} directories",
            self.geometry.blocks, self.files, self.tree.directories
        )
    }
}

/// Blocks a file takes wherever it is, its extent tree included.
pub(crate) fn content_blocks_bound(size_bytes: u64) -> Result<u64> {
    if size_bytes > FILE_MAX_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("an object of {size_bytes} bytes is larger than an ext4 file can be"),
        ));
    }
    let blocks = blocks_of(size_bytes);
    // Only a file that is larger than a group can meet more than one copy of the superblock.
    Ok(blocks + tree_blocks_bound(blocks, 2 + blocks / super::GROUP_BLOCKS))
}
