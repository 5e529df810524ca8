//! The real binaries over real HTTP.
//!
//! One binary for all of it, since linking costs more than running. Each module asks one part of the whole what a user would ask;
//! nothing here knows how the answer comes about.

mod archives;
mod attributes;
mod configuration;
mod conformance;
mod demo;
mod deployed;
mod encryption;
mod events;
mod evidence;
mod export;
mod faults;
mod functions;
mod key_sources;
mod listing;
mod makes;
mod objects;
mod pace;
mod pipeline;
mod plan;
mod presign;
mod probe;
mod resume;
mod rewriting;
mod same_store;
mod selection;
mod serve;
mod tls;
mod verify;
mod versions;

/// The `ferry` program.
const FERRY: &str = env!("CARGO_BIN_EXE_ferry-under-test");
