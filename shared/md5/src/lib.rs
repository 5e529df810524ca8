//! MD5 of many streams at once.
//!
//! Owns: an MD5 whose state can be kept and gone on with ([`Md5`]), and streams that are hashed together, each in a lane of the CPU's
//! vector unit ([`Lanes`]). Does not own: what is hashed and why. A crate of its own, because its arithmetic has to be optimised in
//! builds whose other code is not.
//!
//! Why: MD5 is a chain in which every step waits for the one before, so one stream leaves most of a core idle. Four streams in the lanes
//! of one register take the time of one, eight and sixteen of them hardly more.

mod compress;
mod lanes;
mod state;

pub use lanes::{Lanes, Stream, Turn};
pub use state::Md5;
