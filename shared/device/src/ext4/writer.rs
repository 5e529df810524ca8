//! Writing a layout, files first.
//!
//! Owns: the order of writes. The old superblock is wiped, the files follow one another, then the documents, then all that describes
//! them, and the superblock last. Does not own: hashing, journalling or when to sync. Invariants: files come in the order of the plan, each
//! of exactly its planned size; nothing is written twice but the first block and what a file is taken back by; what [`Writer::commit`] returned from is on the medium.

use std::sync::Arc;

use super::allocation::{Allocator, Content, Gap, Run, mark, nth};
use super::checksum::Seed;
use super::directory::{DirectoryBlocks, directory_bytes};
use super::inode::{Inode, Kind};
use super::layout::Layout;
use super::superblock::{Free, Group, SUPERBLOCK_AT, superblock};
use super::tree::Child;
use super::{BLOCK, BLOCK_BYTES, FIRST_INODE, GROUP_BLOCKS, ROOT_INODE, blocks_of};
use crate::error::{Error, ErrorKind, Result};
use crate::volume::{SECTOR, Volume};

/// Bytes that go to the volume at once.
const BUFFER_BYTES: usize = 1 << 20;
/// Blocks taken at once for a document of unknown size.
const DOCUMENT_STEP_BLOCKS: u64 = 64;

/// What the inode of a file says besides where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// The planned size.
    pub size_bytes: u64,
    /// The time, in seconds since 1970.
    pub modified_unix_secs: i64,
}

/// A file that is being written.
#[derive(Debug)]
struct OpenFile {
    content: Vec<Run>,
    /// The run being filled and the bytes in it so far.
    run: usize,
    in_run: u64,
    written: u64,
    /// `None` for a document, which grows.
    size_bytes: Option<u64>,
}

/// Writes one image.
#[derive(Debug)]
pub struct Writer<V> {
    layout: Arc<Layout>,
    seed: Seed,
    stream: Stream<V>,
    allocator: Allocator,
    files: u32,
    open: Option<OpenFile>,
    documents: Vec<(u64, Content)>,
}

impl<V: Volume> Writer<V> {
    /// Begins, or begins again: files that are on the volume already are passed over with [`Self::skip`].
    ///
    /// # Errors
    /// `NoSpace` when the volume is smaller than the layout.
    pub fn new(layout: Arc<Layout>, volume: V) -> Result<Self> {
        if volume.size_bytes() < layout.size_bytes() {
            return Err(Error::new(
                ErrorKind::NoSpace,
                format!(
                    "the volume has {} bytes, the image needs {}",
                    volume.size_bytes(),
                    layout.size_bytes()
                ),
            ));
        }
        let mut stream = Stream { volume, buffer: Vec::with_capacity(BUFFER_BYTES + BLOCK), start: 0 };
        // Whatever was here must not be taken for the file system that is not there yet.
        stream.put(0, &[0; BLOCK])?;
        Ok(Self {
            seed: Seed::of_file_system(&layout.identity.uuid),
            stream,
            allocator: layout.at_files.clone(),
            layout,
            files: 0,
            open: None,
            documents: Vec::new(),
        })
    }

    /// Passes over the next file, which is on the volume already.
    pub fn skip(&mut self, size_bytes: u64) -> Result<()> {
        self.allocator.take_content(blocks_of(size_bytes))?;
        self.files += 1;
        Ok(())
    }

    /// Begins the next file of the plan.
    pub fn begin_file(&mut self, size_bytes: u64) -> Result<()> {
        let content = self.allocator.take(blocks_of(size_bytes))?;
        self.open = Some(OpenFile { content, run: 0, in_run: 0, written: 0, size_bytes: Some(size_bytes) });
        Ok(())
    }

    /// Begins the next document, once all files are written.
    pub fn begin_document(&mut self) -> Result<()> {
        self.open = Some(OpenFile { content: Vec::new(), run: 0, in_run: 0, written: 0, size_bytes: None });
        Ok(())
    }

    /// The next bytes of the open file or document.
    ///
    /// # Errors
    /// `Corrupt` past the planned size, `NoSpace` when a document does not fit any more.
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        let Some(open) = self.open.as_mut() else { return Err(Error::invalid("no file was begun")) };
        if let Some(size) = open.size_bytes
            && open.written + data.len() as u64 > size
        {
            return Err(Error::corrupt(format!("more than the planned {size} bytes arrived")));
        }
        let mut rest = data;
        while !rest.is_empty() {
            if open.run == open.content.len() {
                let step = DOCUMENT_STEP_BLOCKS.min(self.allocator.free_blocks());
                open.content.extend(self.allocator.take(step.max(1))?);
            }
            let run = open.content[open.run];
            let room = run.blocks * BLOCK_BYTES - open.in_run;
            let (now, later) = rest.split_at(rest.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            self.stream.append(run.start * BLOCK_BYTES + open.in_run, now)?;
            open.in_run += now.len() as u64;
            if open.in_run == run.blocks * BLOCK_BYTES {
                open.run += 1;
                open.in_run = 0;
            }
            rest = later;
        }
        open.written += data.len() as u64;
        Ok(())
    }

    /// Ends the open file or document.
    ///
    /// # Errors
    /// `Corrupt` when bytes are missing.
    pub fn end(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else { return Err(Error::invalid("no file was begun")) };
        if let Some(size) = open.size_bytes
            && open.written < size
        {
            return Err(Error::corrupt(format!("{} of the planned {size} bytes arrived", open.written)));
        }
        let padding = open.written.next_multiple_of(BLOCK_BYTES) - open.written;
        if padding > 0 {
            let run = open.content[open.run];
            let zeros = [0; BLOCK];
            let padding = usize::try_from(padding).unwrap_or(BLOCK);
            self.stream.append(run.start * BLOCK_BYTES + open.in_run, &zeros[..padding])?;
        }
        let inode = self.layout.inode_of_file(self.files);
        self.files += 1;
        if open.size_bytes.is_none() {
            self.allocator.give_back(&mut open.content, blocks_of(open.written));
        }
        let content = self.allocator.take_tree(&open.content)?;
        for (position, block) in content.tree(self.seed.of_inode(inode)).1 {
            self.stream.put(position, &block)?;
        }
        if open.size_bytes.is_none() {
            self.documents.push((open.written, content));
        }
        Ok(())
    }

    /// Has the open file's next bytes be those behind its first `bytes`, whole blocks: what came after them did not arrive well, or in an earlier run.
    pub fn back_to(&mut self, bytes: u64) -> Result<()> {
        let Some(open) = self.open.as_mut() else { return Err(Error::invalid("no file was begun")) };
        if !bytes.is_multiple_of(BLOCK_BYTES) {
            return Err(Error::invalid(format!("{bytes} bytes are no whole blocks")));
        }
        (open.run, open.in_run, open.written) = (0, bytes, bytes);
        while let Some(run) = open.content.get(open.run).filter(|run| run.blocks * BLOCK_BYTES <= open.in_run)
        {
            open.in_run -= run.blocks * BLOCK_BYTES;
            open.run += 1;
        }
        self.stream.leave()
    }

    /// Reads bytes of the open file back from the volume; they were written before the last commit. Whole blocks from a whole block on.
    pub fn read_back(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let Some(open) = self.open.as_ref() else { return Err(Error::invalid("no file was begun")) };
        let mut offset = offset;
        let mut rest = buffer;
        for run in &open.content {
            let run_bytes = run.blocks * BLOCK_BYTES;
            if offset >= run_bytes {
                offset -= run_bytes;
                continue;
            }
            let room = usize::try_from(run_bytes - offset).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at_mut(rest.len().min(room));
            self.stream.volume.read_at(run.start * BLOCK_BYTES + offset, now)?;
            if later.is_empty() {
                return Ok(());
            }
            (offset, rest) = (0, later);
        }
        Err(Error::invalid("the file ends before what is to be read"))
    }

    /// Returns once everything that was written is on the medium, but for what is less than a sector of a file that is still open.
    pub fn commit(&mut self) -> Result<()> {
        self.stream.flush()?;
        self.stream.volume.sync()
    }

    /// Writes everything that describes the files and, once that is on the medium, the superblock. `facts` are those of the plan's
    /// files, in order.
    pub fn finish(mut self, facts: impl Iterator<Item = Result<FileFacts>>) -> Result<V> {
        if self.files != self.layout.files {
            return Err(Error::invalid(format!(
                "{} of {} files were written",
                self.files, self.layout.files
            )));
        }
        self.write_directories()?;
        self.write_inodes(facts)?;
        let (descriptors, free) = self.write_bitmaps()?;
        let geometry = self.layout.geometry;
        for copy in geometry.copies().into_iter().rev() {
            self.stream.put(copy.start + 1, &descriptors)?;
            if copy.start > 0 {
                let mut block = superblock(&self.layout.identity, &geometry, free, copy.start / GROUP_BLOCKS);
                block.resize(BLOCK, 0);
                self.stream.put(copy.start, &block)?;
            }
        }
        self.commit()?;
        let mut first = vec![0; SUPERBLOCK_AT];
        first.extend(superblock(&self.layout.identity, &geometry, free, 0));
        first.resize(BLOCK, 0);
        self.stream.put(0, &first)?;
        self.commit()?;
        Ok(self.stream.volume)
    }

    fn write_directories(&mut self) -> Result<()> {
        let layout = Arc::clone(&self.layout);
        let mut allocator = layout.at_directories.clone();
        let mut listings = layout.tree.listings()?;
        for size in layout.tree.sizes()? {
            let (blocks, _) = size?;
            let content = allocator.take_content(u64::from(blocks))?;
            let Some(listing) = listings.next_directory()? else { break };
            let inode = Layout::inode_of_directory(listing.number);
            let parent = Layout::inode_of_directory(listing.parent);
            for (position, block) in content.tree(self.seed.of_inode(inode)).1 {
                self.stream.put(position, &block)?;
            }
            let mut directory = DirectoryBlocks::new(blocks, inode, parent, self.seed);
            while let Some(entry) = listings.next_entry()? {
                let inode = match entry.child {
                    Child::File(number) => layout.inode_of_file(number),
                    Child::Directory(number) => Layout::inode_of_directory(number),
                };
                if let Some(done) = directory.add(entry.hash, &entry.name, entry.child, inode) {
                    self.put_at(&content.runs, done)?;
                }
            }
            for done in directory.finish() {
                self.put_at(&content.runs, done)?;
            }
        }
        Ok(())
    }

    fn put_at(&mut self, runs: &[Run], (logical, block): (u32, Vec<u8>)) -> Result<()> {
        let position = nth(runs, u64::from(logical))
            .ok_or_else(|| Error::corrupt("a directory is larger than it was measured"))?;
        self.stream.put(position, &block)
    }

    fn write_inodes(&mut self, facts: impl Iterator<Item = Result<FileFacts>>) -> Result<()> {
        let layout = &*Arc::clone(&self.layout);
        let mut table = Table { layout, next: 1, block: Vec::with_capacity(BLOCK) };
        let mut allocator = layout.at_directories.clone();
        let created = layout.identity.created_unix_secs;
        for (number, size) in (0u32..).zip(layout.tree.sizes()?) {
            let (blocks, subdirectories) = size?;
            let inode = Layout::inode_of_directory(number);
            let seed = self.seed.of_inode(inode);
            let content = allocator.take_content(u64::from(blocks))?;
            let record = Inode {
                kind: Kind::Directory { subdirectories, is_indexed: blocks > 1 },
                size_bytes: directory_bytes(blocks),
                blocks: content.blocks(),
                modified_unix_secs: created,
                root: content.tree(seed).0,
            };
            table.put(&mut self.stream, inode, &record.encode(seed))?;
        }
        let mut inode = layout.inode_of_file(0);
        let documents = std::mem::take(&mut self.documents);
        for facts in facts {
            let FileFacts { size_bytes, modified_unix_secs } = facts?;
            let content = allocator.take_content(blocks_of(size_bytes))?;
            self.put_file(&mut table, inode, size_bytes, modified_unix_secs, &content)?;
            inode += 1;
        }
        for (size_bytes, content) in &documents {
            self.put_file(&mut table, inode, *size_bytes, created, content)?;
            inode += 1;
        }
        if inode - 1 != layout.last_inode() {
            return Err(Error::invalid("the plan's files are not those of the layout"));
        }
        table.close(&mut self.stream)
    }

    fn put_file(
        &mut self,
        table: &mut Table<'_>,
        inode: u32,
        size_bytes: u64,
        modified_unix_secs: i64,
        content: &Content,
    ) -> Result<()> {
        let seed = self.seed.of_inode(inode);
        let (root, _) = content.tree(seed);
        let record =
            Inode { kind: Kind::File, size_bytes, blocks: content.blocks(), modified_unix_secs, root };
        table.put(&mut self.stream, inode, &record.encode(seed))
    }

    fn write_bitmaps(&mut self) -> Result<(Vec<u8>, Free)> {
        let layout = &*Arc::clone(&self.layout);
        let geometry = layout.geometry;
        let per_group = u64::from(geometry.inodes_per_group);
        let used_inodes = u64::from(layout.last_inode());
        // The root's inode is the file system's own, those of all other directories follow the reserved ones.
        let directory_inodes = Gap { start: u64::from(FIRST_INODE), end: u64::from(layout.inode_of_file(0)) };
        let copies = geometry.copies();
        let mut descriptors = Vec::new();
        let mut free = Free::default();
        for group in 0..geometry.groups {
            let first_block = group * GROUP_BLOCKS;
            let blocks = geometry.group_blocks(group);
            let mut bitmap = vec![0; BLOCK];
            self.allocator.mark_used(first_block, &mut bitmap);
            let used: u32 = bitmap.iter().map(|byte| byte.count_ones()).sum();
            let has_copy = copies.iter().any(|copy| copy.start == first_block);
            let own = if has_copy { 1 + geometry.descriptor_blocks } else { 0 };
            let is_last = group + 1 == geometry.groups;
            let is_empty = u64::from(used) == own && !is_last && group > 0;
            let block_bitmap = nth(&layout.block_bitmaps, group).unwrap_or_default();
            let mut block_bitmap_checksum = None;
            if !is_empty {
                mark(&mut bitmap, 0, Gap { start: blocks, end: GROUP_BLOCKS }, true);
                self.stream.put(block_bitmap, &bitmap)?;
                block_bitmap_checksum = Some(self.seed.checksum(&[&bitmap]));
            }
            // Inode n is number n - 1 of the tables.
            let first_inode = group * per_group + 1;
            let used_here = (used_inodes + 1).saturating_sub(first_inode).min(per_group);
            let inode_bitmap = nth(&layout.inode_bitmaps, group).unwrap_or_default();
            let mut inode_bitmap_checksum = None;
            if used_here > 0 {
                let mut bitmap = vec![0; BLOCK];
                mark(&mut bitmap, 0, Gap { start: 0, end: used_here }, true);
                mark(&mut bitmap, 0, Gap { start: per_group, end: 8 * BLOCK_BYTES }, true);
                self.stream.put(inode_bitmap, &bitmap)?;
                inode_bitmap_checksum =
                    Some(self.seed.checksum(&[&bitmap[..geometry.inodes_per_group as usize / 8]]));
            }
            let directories = directory_inodes
                .end
                .min(first_inode + per_group)
                .saturating_sub(directory_inodes.start.max(first_inode))
                + u64::from((first_inode..first_inode + per_group).contains(&u64::from(ROOT_INODE)));
            let free_here = (blocks & 0xffff_ffff) as u32 - used;
            let unused = ((per_group - used_here) & 0xffff_ffff) as u32;
            let record = Group {
                block_bitmap,
                inode_bitmap,
                inode_table: layout.inode_tables[usize::try_from(group).unwrap_or(usize::MAX)],
                free_blocks: free_here,
                free_inodes: unused,
                directories: (directories & 0xffff_ffff) as u32,
                unused_inodes: unused,
                block_bitmap_checksum,
                inode_bitmap_checksum,
            };
            free.blocks += u64::from(free_here);
            free.inodes += unused;
            descriptors
                .extend_from_slice(&record.encode(u32::try_from(group).unwrap_or(u32::MAX), self.seed));
        }
        descriptors.resize(descriptors.len().next_multiple_of(BLOCK), 0);
        Ok((descriptors, free))
    }
}

/// Inode tables, filled in the order of the inodes' numbers.
struct Table<'a> {
    layout: &'a Layout,
    next: u32,
    block: Vec<u8>,
}

impl Table<'_> {
    fn put<V: Volume>(&mut self, stream: &mut Stream<V>, inode: u32, record: &[u8; 256]) -> Result<()> {
        while self.next < inode {
            self.push(stream, &[0; 256])?;
        }
        self.push(stream, record)
    }

    fn push<V: Volume>(&mut self, stream: &mut Stream<V>, record: &[u8; 256]) -> Result<()> {
        self.block.extend_from_slice(record);
        self.next += 1;
        if self.block.len() == BLOCK {
            let per_group = self.layout.geometry.inodes_per_group;
            let last = self.next - 2;
            let table = self.layout.inode_tables[(last / per_group) as usize];
            stream.put(table + u64::from(last % per_group) / 16, &self.block)?;
            self.block.clear();
        }
        Ok(())
    }

    /// Zeros to the end of the last table that was begun.
    fn close<V: Volume>(&mut self, stream: &mut Stream<V>) -> Result<()> {
        while !(self.next - 1).is_multiple_of(self.layout.geometry.inodes_per_group) {
            self.push(stream, &[0; 256])?;
        }
        Ok(())
    }
}

/// Joins writes to neighbouring places.
#[derive(Debug)]
struct Stream<V> {
    volume: V,
    buffer: Vec<u8>,
    start: u64,
}

impl<V: Volume> Stream<V> {
    /// Whole blocks.
    fn put(&mut self, block: u64, data: &[u8]) -> Result<()> {
        self.append(block * BLOCK_BYTES, data)
    }

    /// Bytes; what lies between two flushes must be contiguous and begin and end with a sector.
    fn append(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        if self.start + self.buffer.len() as u64 != offset {
            self.flush()?;
            self.start = offset;
        }
        let mut rest = data;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BUFFER_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            if self.buffer.len() == BUFFER_BYTES {
                self.flush()?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Goes elsewhere. What is less than a sector is the end of something that is written anew.
    fn leave(&mut self) -> Result<()> {
        self.flush()?;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the whole sectors of the buffer.
    fn flush(&mut self) -> Result<()> {
        let sectors = self.buffer.len() - self.buffer.len() % SECTOR;
        if sectors > 0 {
            self.volume.write_at(self.start, &mut self.buffer[..sectors])?;
            self.buffer.drain(..sectors);
            self.start += sectors as u64;
        }
        Ok(())
    }
}
