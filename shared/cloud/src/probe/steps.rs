//! The steps of a trial, in order.
//!
//! Owns: which there are, for which role, and how many requests each takes at most, its share of cleaning up included.

mod contact;
mod naming;
mod parts;
mod reading;
mod writing;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::Role;
use super::trial::Trial;

/// Whether the rest is worth trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// It is.
    Continue,
    /// Nothing else can be tried.
    Stop,
}

/// One step.
pub(super) struct Step {
    /// `Source`: taken in every trial. `Destination`: only where the trial may write.
    pub(super) role: Role,
    /// The most requests it makes.
    pub(super) requests_max: u32,
    pub(super) run: for<'a> fn(&'a Trial) -> BoxFuture<'a, Flow>,
}

/// Every step. Later ones build on what earlier ones have written.
pub(super) const STEPS: [Step; 18] = [
    Step { role: Role::Source, requests_max: 1, run: |trial| contact::greeting(trial).boxed() },
    Step { role: Role::Source, requests_max: 3, run: |trial| contact::addressing(trial).boxed() },
    Step { role: Role::Source, requests_max: 1, run: |trial| contact::list(trial).boxed() },
    Step { role: Role::Source, requests_max: 2, run: |trial| reading::specimen(trial).boxed() },
    Step { role: Role::Source, requests_max: 2, run: |trial| reading::whole(trial).boxed() },
    Step { role: Role::Source, requests_max: 2, run: |trial| reading::ranges(trial).boxed() },
    Step { role: Role::Source, requests_max: 2, run: |trial| reading::conditions(trial).boxed() },
    Step { role: Role::Destination, requests_max: 28, run: |trial| naming::keys(trial).boxed() },
    Step { role: Role::Source, requests_max: 24, run: |trial| naming::listings(trial).boxed() },
    Step { role: Role::Destination, requests_max: 4, run: |trial| writing::conditions(trial).boxed() },
    Step {
        role: Role::Destination,
        requests_max: 4,
        run: |trial| writing::conditional_delete(trial).boxed(),
    },
    Step { role: Role::Destination, requests_max: 5, run: |trial| writing::checksums(trial).boxed() },
    Step { role: Role::Destination, requests_max: 4, run: |trial| writing::tags(trial).boxed() },
    Step { role: Role::Destination, requests_max: 12, run: |trial| writing::metadata(trial).boxed() },
    Step { role: Role::Destination, requests_max: 27, run: |trial| writing::classes(trial).boxed() },
    Step { role: Role::Destination, requests_max: 2, run: |trial| writing::server_copy(trial).boxed() },
    Step { role: Role::Destination, requests_max: 12, run: |trial| parts::upload(trial).boxed() },
    Step { role: Role::Destination, requests_max: 4, run: |trial| writing::delete(trial).boxed() },
];
