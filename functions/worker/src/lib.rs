//! The worker: takes jobs off the queue and makes the destination agree with the source.
//!
//! The library is the handler, the same on Lambda and in the `ferry` program; `main` is wiring only.

mod breaker;
mod continuation;
mod deployed;
mod parking;
mod poller;
mod worker;

pub use breaker::Breaker;
pub use parking::Parking;
pub use poller::{Poller, PollerSettings, event};
pub use worker::{DEAD_LETTER_REASON, Worker};
