//! The ranges that a scan divides the keyspace into, and who lists which.
//!
//! Owns: the book of ranges: which wait, which are being listed and how far, which are finished; the choice of the range that an idle
//! lister takes a part of. Does not own: requests ([`crate::listing`]), findings ([`crate::scan`]), nor the arithmetic of cuts
//! ([`crate::keyspace`]). Pure: it is told what was listed and answers what to list. Invariants: the ranges in the book always cover
//! what it was opened with, each key once; a range is never cut before a key that may have been compared already.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::KeyRange;
use crate::keyspace::{Sample, Stretch};

/// Names a range of one scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeId(u64);

/// One of the two sides that are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where objects come from.
    Source,
    /// Where they go.
    Destination,
}

/// A range to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Its name.
    pub id: RangeId,
    /// What it is now; its end may come nearer.
    pub range: KeyRange,
    /// Sides known to hold nothing in it.
    pub empty: [bool; 2],
}

/// What came of one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSeen<'a> {
    /// The first and last key of it, relative to the side's prefix; `None` where it held none.
    pub ends: Option<(&'a str, &'a str)>,
    /// How many keys it held.
    pub keys: usize,
    /// The store says that nothing follows.
    pub last: bool,
}

/// Whether a side may still answer keys of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SideState {
    /// Pages follow.
    Open,
    /// The store has nothing more behind the last page.
    Exhausted,
    /// Its lister saw a key behind the range's end and has stopped.
    Closed,
}

#[derive(Debug, Clone)]
struct SideProgress {
    state: SideState,
    /// Of the pages so far.
    first: Option<String>,
    last: Option<String>,
    keys: u64,
    /// Where the last page began, and how many keys it held.
    last_page: Option<(String, u64)>,
}

impl SideProgress {
    fn new(empty: bool) -> Self {
        let state = if empty { SideState::Exhausted } else { SideState::Open };
        Self { state, first: None, last: None, keys: 0, last_page: None }
    }
}

#[derive(Debug)]
struct Range {
    bounds: KeyRange,
    sides: [SideProgress; 2],
}

/// Fewer pages than this are listed in one go sooner than in two.
const PAGES_WORTH_CUTTING: f64 = 3.0;
/// Every page seen earns half a cut, so that the number of listers doubles with each round of pages where both sides are full, and
/// never are more requests spent on guesses than on keys.
const CUTS_PER_PAGE: f64 = 0.5;
/// What must be earned first: buckets of up to three pages a side are listed by one lister without any guess.
const CUTS_AT_START: f64 = -2.0;

/// The book. See the module.
#[derive(Debug)]
pub struct Ranges {
    by_id: BTreeMap<RangeId, Range>,
    waiting: VecDeque<RangeId>,
    listing: BTreeSet<RangeId>,
    next: u64,
    /// Most ranges listed at once.
    listers: usize,
    sample: Sample,
    cuts_earned: f64,
    /// Of the largest page seen.
    page_keys: u64,
    cutting: bool,
}

impl Ranges {
    /// Opens the book with what is to be listed, by so many listers at once.
    pub fn new(todo: impl IntoIterator<Item = KeyRange>, listers: usize) -> Self {
        let mut book = Self {
            by_id: BTreeMap::new(),
            waiting: VecDeque::new(),
            listing: BTreeSet::new(),
            next: 0,
            listers: listers.max(1),
            sample: Sample::default(),
            cuts_earned: CUTS_AT_START,
            page_keys: 0,
            cutting: listers > 1,
        };
        for bounds in todo {
            let id = book.insert(bounds, [false; 2]);
            book.waiting.push_back(id);
        }
        book
    }

    /// The next range for an idle lister: one that waits, else a part of the one with the most left. `None` where nothing is worth it
    /// now.
    pub fn take(&mut self) -> Option<Assignment> {
        if self.listing.len() >= self.listers {
            return None;
        }
        let id = match self.waiting.pop_front() {
            Some(id) => id,
            None => self.cut_largest()?,
        };
        let range = self.by_id.get(&id)?;
        self.listing.insert(id);
        Some(Assignment {
            id,
            range: range.bounds.clone(),
            empty: range.sides.each_ref().map(|side| side.state == SideState::Exhausted),
        })
    }

    /// Where a range begins and ends now.
    pub fn bounds(&self, id: RangeId) -> Option<&KeyRange> {
        Some(&self.by_id.get(&id)?.bounds)
    }

    /// The end of a range as it is now; it comes nearer when the range is cut.
    pub fn until(&self, id: RangeId) -> Option<&str> {
        self.by_id.get(&id)?.bounds.until.as_deref()
    }

    /// Notes what one side of a range answered.
    pub fn note_page(&mut self, id: RangeId, side: Side, page: PageSeen<'_>) {
        let keys = page.keys as u64;
        self.page_keys = self.page_keys.max(keys);
        let Some(range) = self.by_id.get_mut(&id) else { return };
        let progress = &mut range.sides[side as usize];
        if page.last {
            progress.state = SideState::Exhausted;
        }
        let Some((first, last)) = page.ends else { return };
        progress.keys += keys;
        progress.first.get_or_insert_with(|| first.to_owned());
        progress.last = Some(last.to_owned());
        progress.last_page = Some((first.to_owned(), keys));
        self.sample.add(first);
        self.sample.add(last);
        self.cuts_earned += CUTS_PER_PAGE;
    }

    /// Notes that a side's lister saw a key behind `until` and stops. False where the range's end has moved since: it must go on.
    pub fn close_side(&mut self, id: RangeId, side: Side, until: Option<&str>) -> bool {
        let Some(range) = self.by_id.get_mut(&id) else { return true };
        let unmoved = range.bounds.until.as_deref() == until;
        if unmoved {
            range.sides[side as usize].state = SideState::Closed;
        }
        unmoved
    }

    /// Notes that a range was listed to its end on both sides.
    pub fn finish(&mut self, id: RangeId) {
        self.listing.remove(&id);
    }

    /// Cuts nothing any more: the store cannot begin in the middle. A range that nobody has seen a key of goes back to the one it was
    /// cut from, if that one's lister still can go on into it. True where it did.
    pub fn give_back(&mut self, id: RangeId) -> bool {
        self.cutting = false;
        let Some(range) = self.by_id.get(&id) else { return false };
        let (after, until) = (range.bounds.after.clone(), range.bounds.until.clone());
        let left = self.listing.iter().copied().find(|left| {
            self.by_id.get(left).is_some_and(|left| {
                left.bounds.until == after && left.sides.iter().all(|side| side.state != SideState::Closed)
            })
        });
        match left.and_then(|left| self.by_id.get_mut(&left)) {
            Some(left) if after.is_some() => {
                left.bounds.until = until;
                self.by_id.remove(&id);
                self.listing.remove(&id);
                true
            }
            _ => false,
        }
    }

    /// How many ranges the book has.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is nothing to list.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Every range and its ends now.
    pub fn iter(&self) -> impl Iterator<Item = (RangeId, &KeyRange)> {
        self.by_id.iter().map(|(id, range)| (*id, &range.bounds))
    }

    fn insert(&mut self, bounds: KeyRange, empty: [bool; 2]) -> RangeId {
        let id = RangeId(self.next);
        self.next += 1;
        self.by_id.insert(id, Range { bounds, sides: empty.map(SideProgress::new) });
        id
    }

    /// Cuts the range with the most left, if any is worth it and a cut is earned.
    fn cut_largest(&mut self) -> Option<RangeId> {
        if !self.cutting || self.cuts_earned < 1.0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let worth = PAGES_WORTH_CUTTING * self.page_keys as f64;
        let mut candidates: Vec<(f64, RangeId)> = self
            .listing
            .iter()
            .filter_map(|id| Some((self.by_id.get(id)?.keys_left(&self.sample)?, *id)))
            .filter(|(keys_left, _)| *keys_left >= worth)
            .collect();
        candidates.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let (id, cut) = candidates.into_iter().find_map(|(_, id)| {
            let range = self.by_id.get(&id)?;
            Some((id, range.rest()?.cut(&self.sample)?))
        })?;
        self.cuts_earned -= 1.0;
        let range = self.by_id.get_mut(&id)?;
        // A side that ends before the cut has nothing behind it.
        let empty = range.sides.each_ref().map(|side| {
            side.state == SideState::Exhausted && side.last.as_deref().is_none_or(|last| last <= cut.as_str())
        });
        let until = range.bounds.until.replace(cut.clone());
        Some(self.insert(KeyRange { after: Some(cut), until }, empty))
    }
}

impl Range {
    /// What neither of the open sides has answered yet; `None` where nothing is open or nothing is known.
    fn rest(&self) -> Option<Stretch<'_>> {
        let mut low = "";
        let mut open = false;
        for side in self.sides.iter().filter(|side| side.state == SideState::Open) {
            low = low.max(side.last.as_deref()?);
            open = true;
        }
        open.then_some(Stretch { low, high: self.bounds.until.as_deref() })
            .filter(|rest| rest.high.is_none_or(|high| rest.low < high))
    }

    /// The likely number of keys left on the fuller side: as dense as the whole range so far, or as its last page.
    fn keys_left(&self, sample: &Sample) -> Option<f64> {
        let scale = self.rest()?.scale(sample);
        self.sides
            .iter()
            .filter(|side| side.state == SideState::Open)
            .filter_map(|side| {
                let (page, page_keys) = side.last_page.as_ref()?;
                let (first, last) = (side.first.as_deref()?, side.last.as_deref()?);
                Some(scale.keys_left(first, last, side.keys).max(scale.keys_left(page, last, *page_keys)))
            })
            .max_by(f64::total_cmp)
    }
}

#[cfg(test)]
mod tests;
