//! One file for each command: what it does with its arguments, and how it ends.

pub mod demo;
pub mod events;
pub mod export;
pub mod ls;
pub mod plan;
pub mod presign;
pub mod probe;
pub mod queue;
pub mod reconcile;
pub mod run;
pub mod runs;
pub mod serve;
pub mod sweep;
pub mod sync;
pub mod task;
pub mod undelete;
pub mod verify;
pub mod why;
pub mod worker;
