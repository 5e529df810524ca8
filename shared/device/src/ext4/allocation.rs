//! Handing out blocks, front to back.
//!
//! Owns: the next free block and the places that are never handed out. Invariant: what was taken is ascending and never overlaps a
//! gap; the same calls give the same blocks, which is how every pass over the plan finds the positions again.

use super::checksum::Seed;
use super::extent::{Extents, Root};
use crate::error::{Error, ErrorKind, Result};

/// Blocks that belong to a copy of the superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Blocks in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: u64,
    pub(super) blocks: u64,
}

/// Where a file is.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) runs: Vec<Run>,
    extents: Extents,
    tree: Vec<Run>,
}

impl Content {
    /// The root of its extent tree and the tree's blocks.
    pub(super) fn tree(&self, seed: Seed) -> (Root, Vec<(u64, Vec<u8>)>) {
        self.extents.tree(&self.tree, seed)
    }

    /// Blocks of the content and of the tree.
    pub(super) fn blocks(&self) -> u64 {
        self.runs.iter().chain(&self.tree).map(|run| run.blocks).sum()
    }
}

/// The block at a position counted along the runs.
pub(super) fn nth(runs: &[Run], position: u64) -> Option<u64> {
    let mut left = position;
    for run in runs {
        if left < run.blocks {
            return Some(run.start + left);
        }
        left -= run.blocks;
    }
    None
}

#[derive(Debug, Clone)]
pub(super) struct Allocator {
    gaps: Vec<Gap>,
    next: u64,
    end: u64,
    skipped: Vec<Run>,
}

impl Allocator {
    pub(super) fn new(gaps: Vec<Gap>, end: u64) -> Self {
        Self { gaps, next: 0, end, skipped: Vec::new() }
    }

    /// Takes `blocks`, in as few runs as the gaps allow.
    pub(super) fn take(&mut self, blocks: u64) -> Result<Vec<Run>> {
        let mut runs = Vec::with_capacity(1);
        let mut left = blocks;
        while left > 0 {
            let room = self.room();
            if room == 0 {
                return Err(Error::new(ErrorKind::NoSpace, "the volume is full"));
            }
            let run = Run { start: self.next, blocks: room.min(left) };
            self.next += run.blocks;
            left -= run.blocks;
            runs.push(run);
        }
        Ok(runs)
    }

    /// Takes the blocks of a file and, behind them, those of its extent tree.
    pub(super) fn take_content(&mut self, blocks: u64) -> Result<Content> {
        let runs = self.take(blocks)?;
        self.take_tree(&runs)
    }

    /// Takes the blocks of the extent tree of a file whose content was taken run by run.
    pub(super) fn take_tree(&mut self, runs: &[Run]) -> Result<Content> {
        let extents = Extents::of(runs);
        let tree = self.take(extents.tree_blocks())?;
        Ok(Content { runs: runs.to_vec(), extents, tree })
    }

    /// Gives back what was taken last: `runs` keep their first `blocks`.
    pub(super) fn give_back(&mut self, runs: &mut Vec<Run>, blocks: u64) {
        let mut kept = 0;
        runs.retain_mut(|run| {
            run.blocks = run.blocks.min(blocks - kept);
            kept += run.blocks;
            run.blocks > 0
        });
        if let Some(last) = runs.last() {
            self.next = last.start + last.blocks;
        }
    }

    /// Takes `blocks` in one run; what is too short for it before a gap stays free.
    pub(super) fn take_together(&mut self, blocks: u64) -> Result<u64> {
        loop {
            let room = self.room();
            if room == 0 {
                return Err(Error::new(ErrorKind::NoSpace, "the volume is full"));
            }
            if room >= blocks {
                let start = self.next;
                self.next += blocks;
                return Ok(start);
            }
            self.skipped.push(Run { start: self.next, blocks: room });
            self.next += room;
        }
    }

    /// Blocks in a row from here, past any gap.
    fn room(&mut self) -> u64 {
        loop {
            match self.gaps.iter().find(|gap| gap.end > self.next) {
                Some(gap) if gap.start <= self.next => self.next = gap.end,
                Some(gap) => return gap.start.min(self.end).saturating_sub(self.next),
                None => return self.end.saturating_sub(self.next),
            }
        }
    }

    /// Sets the bits of the blocks in use, from `first` on: those taken and those of gaps.
    pub(super) fn mark_used(&self, first: u64, bitmap: &mut [u8]) {
        let taken = Gap { start: 0, end: self.next };
        mark(bitmap, first, taken, true);
        for run in &self.skipped {
            mark(bitmap, first, Gap { start: run.start, end: run.start + run.blocks }, false);
        }
        for gap in &self.gaps {
            mark(bitmap, first, *gap, true);
        }
    }

    /// Blocks that [`Self::take`] can still give.
    pub(super) fn free_blocks(&self) -> u64 {
        let in_gaps: u64 =
            self.gaps.iter().map(|gap| gap.end.min(self.end).saturating_sub(gap.start.max(self.next))).sum();
        self.end.saturating_sub(self.next).saturating_sub(in_gaps)
    }
}

/// Sets or clears the bits of a range of blocks in a bitmap that begins with block `first`.
pub(super) fn mark(bitmap: &mut [u8], first: u64, range: Gap, used: bool) {
    let bits = bitmap.len() as u64 * 8;
    let mut at = range.start.saturating_sub(first).min(bits);
    let end = range.end.saturating_sub(first).min(bits);
    while at < end {
        let byte = &mut bitmap[usize::try_from(at / 8).unwrap_or(usize::MAX)];
        if at.is_multiple_of(8) && end - at >= 8 {
            *byte = if used { 0xff } else { 0 };
            at += 8;
        } else {
            let bit = 1 << (at % 8);
            *byte = if used { *byte | bit } else { *byte & !bit };
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocator() -> Allocator {
        Allocator::new(vec![Gap { start: 0, end: 2 }, Gap { start: 10, end: 12 }], 20)
    }

    #[test]
    fn runs_go_round_the_gaps_until_the_volume_is_full() {
        let mut allocator = allocator();
        assert_eq!(allocator.free_blocks(), 16);
        assert_eq!(allocator.take(3).unwrap(), [Run { start: 2, blocks: 3 }]);
        assert_eq!(allocator.take(7).unwrap(), [Run { start: 5, blocks: 5 }, Run { start: 12, blocks: 2 }]);
        assert_eq!(allocator.take(0).unwrap(), []);
        assert_eq!(allocator.free_blocks(), 6);
        assert_eq!(allocator.take(7).unwrap_err().kind(), ErrorKind::NoSpace);
    }

    #[test]
    fn a_later_groups_bitmap_begins_with_its_first_block() {
        let mut allocator = allocator();
        allocator.take(11).unwrap();
        let mut bitmap = [0; 1];
        allocator.mark_used(9, &mut bitmap);
        assert_eq!(bitmap, [0b0011_1111]);
    }

    #[test]
    fn what_is_left_before_a_gap_stays_free() {
        let mut allocator = allocator();
        assert_eq!(allocator.take(5).unwrap()[0].start, 2);
        assert_eq!(allocator.take_together(6).unwrap(), 12);
        let mut bitmap = [0; 3];
        allocator.mark_used(0, &mut bitmap);
        let used: Vec<usize> = (0..24).filter(|bit| bitmap[bit / 8] >> (bit % 8) & 1 == 1).collect();
        assert_eq!(used, [0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15, 16, 17]);
        assert!(allocator.take_together(3).is_err());
    }
}
