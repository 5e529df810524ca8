//! The finder: lists and compares one key range and enqueues one job for each object that differs.
//!
//! The library is the handler, the same on Lambda and in the `ferry` program; `main` is wiring only.

mod event;
mod finder;
pub mod reconcile;

pub use event::{FinderEvent, FinderResponse, TaskEvent};
pub use finder::{DeletePlan, Finder, ScanProgress, ScanReport, Scope};
