//! The real binaries over real HTTP.
//!
//! One binary for all of it, since linking costs more than running. Each module asks one part of the whole what a user would ask;
//! nothing here knows how the answer comes about.

mod objects;
mod pipeline;

/// The `ferry` program.
const FERRY: &str = env!("CARGO_BIN_EXE_ferry-under-test");
