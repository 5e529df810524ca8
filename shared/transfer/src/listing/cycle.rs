//! Listings that lead nowhere.
//!
//! Invariant: a listing whose pages hold no keys and whose cursors repeat, or never lead to a key at all, ends as an error; nothing
//! is remembered but one cursor (Brent, "An improved Monte Carlo factorization algorithm", 1980).

use crate::store::Cursor;

/// Pages without a key in a row. Amazon S3 answers some where many objects were deleted; each stands for at least 1,000 of them.
const EMPTY_PAGES_MAX: u64 = 10_000;

/// Watches the cursors of a listing.
#[derive(Debug, Default)]
pub(super) struct CycleWatch {
    remembered: Option<Cursor>,
    /// Pages since the cursor was remembered, and after how many the next one is.
    since: u64,
    lap: u64,
    empty_pages: u64,
}

/// Why a listing has no end.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Endless {
    #[error("the store's listing goes in circles at cursor {0:?}")]
    Circle(String),
    #[error("the store's listing goes on for {EMPTY_PAGES_MAX} pages without a key")]
    Empty,
}

impl CycleWatch {
    /// Looks at the cursor to the next page.
    pub(super) fn check(&mut self, cursor: &Cursor, page_has_keys: bool) -> Result<(), Endless> {
        if self.remembered.as_ref() == Some(cursor) {
            return Err(Endless::Circle(cursor.0.clone()));
        }
        self.empty_pages = if page_has_keys { 0 } else { self.empty_pages + 1 };
        if self.empty_pages > EMPTY_PAGES_MAX {
            return Err(Endless::Empty);
        }
        self.since += 1;
        if self.since > self.lap {
            self.remembered = Some(cursor.clone());
            self.lap = self.since * 2;
            self.since = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_of_any_length_are_noticed_and_straight_lines_are_not() {
        for (lead, length) in [(0, 1), (0, 2), (3, 7), (100, 40)] {
            let mut watch = CycleWatch::default();
            let noticed = (0..10_000).position(|page| {
                let at = if page < lead { page } else { lead + (page - lead) % length };
                watch.check(&Cursor(at.to_string()), true).is_err()
            });
            assert!(
                noticed.is_some_and(|page| page < 5 * (lead + length) + 5),
                "{lead}, {length}: {noticed:?}"
            );
        }
        let mut watch = CycleWatch::default();
        assert!((0..100_000).all(|page: u32| watch.check(&Cursor(page.to_string()), true).is_ok()));
    }

    #[test]
    fn pages_without_keys_come_to_an_end() {
        let mut watch = CycleWatch::default();
        let error = (0..).find_map(|page: u64| watch.check(&Cursor(page.to_string()), false).err());
        assert_eq!(error, Some(Endless::Empty));
    }
}
