//! Whether a route's copies are left to the store.
//!
//! Owns: the task's rule, what the host found out about the two ends, and that a store was caught refusing. Does not own: the copies
//! themselves ([`crate::copy`]), nor telling whether two descriptions are of one store, which is the host's.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// Whether the store is asked to copy by itself where both ends are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerSideRule {
    /// Where source and destination are reached at one endpoint with the same credentials.
    #[default]
    Auto,
    /// Never: every byte passes by and is checked.
    Never,
}

/// What the host found out about a route's two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ends {
    /// Two stores, or nobody looked.
    #[default]
    Apart,
    /// One store, and everything that a copy within it leaves behind is known from a listing.
    OneStore,
    /// One store; but its objects may have redirects, which no copy carries over by itself: each is looked at first.
    OneStoreWithRedirects,
}

/// Whether a route's copies are left to the store, now.
#[derive(Debug, Default)]
pub struct ServerSide {
    ends: Ends,
    gave_up: AtomicBool,
}

impl ServerSide {
    /// By the task's rule and by what was found.
    pub fn new(rule: ServerSideRule, ends: Ends) -> Self {
        let ends = match rule {
            ServerSideRule::Auto => ends,
            ServerSideRule::Never => Ends::Apart,
        };
        Self { ends, gave_up: AtomicBool::new(false) }
    }

    /// What is known of the ends; [`Ends::Apart`] also once the store was caught refusing.
    pub fn ends(&self) -> Ends {
        if self.gave_up.load(Relaxed) { Ends::Apart } else { self.ends }
    }

    /// Notes that the store does not copy by itself: the run goes on without.
    pub fn give_up(&self) {
        self.gave_up.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_and_a_refusal_both_end_it() {
        assert_eq!(ServerSide::new(ServerSideRule::Never, Ends::OneStore).ends(), Ends::Apart);
        let auto = ServerSide::new(ServerSideRule::Auto, Ends::OneStore);
        assert_eq!(auto.ends(), Ends::OneStore);
        auto.give_up();
        assert_eq!(auto.ends(), Ends::Apart);
    }
}
