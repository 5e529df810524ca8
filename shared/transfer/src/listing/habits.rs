//! What a store's listings turned out to be.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What one side's listings turned out to be; learnt while listing, like its ETag rule.
#[derive(Debug, Default)]
pub struct ListingHabits {
    disordered: AtomicBool,
    ignores_start_after: AtomicBool,
}

impl ListingHabits {
    /// Keys came out of order, so listings of this side are sorted before they are compared.
    pub fn is_disordered(&self) -> bool {
        self.disordered.load(Relaxed)
    }

    /// A listing began before the key it was to begin behind, so this side is listed in one go.
    pub fn ignores_start_after(&self) -> bool {
        self.ignores_start_after.load(Relaxed)
    }

    pub(super) fn note_disorder(&self) {
        self.disordered.store(true, Relaxed);
    }

    pub(super) fn note_start_after_ignored(&self) {
        self.ignores_start_after.store(true, Relaxed);
    }

    /// In words for a report; `None` where there is nothing to say.
    pub fn remark(&self) -> Option<&'static str> {
        if self.is_disordered() {
            Some("lists out of order: its keys were sorted first, and nothing is deleted")
        } else if self.ignores_start_after() {
            Some("ignores start-after: it was listed in one chain of pages")
        } else {
            None
        }
    }
}
