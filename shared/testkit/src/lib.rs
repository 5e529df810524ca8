//! In-memory and fault-injecting stores, embedded S3 and SQS servers, fixtures, and the promises every store must keep.
//!
//! What the tests, the benches and `ferry demo` run against. Everything is deterministic, listens on loopback only and
//! stops when it is dropped.

pub mod bucket;
pub mod conformance;
pub mod control_plane;
mod error_document;
pub mod faults;
mod faulty_store;
pub mod fixtures;
mod http_date;
mod key_encoding;
mod listener;
mod memory_store;
pub mod operation;
pub mod quirks;
pub mod request_log;
pub mod runtime_api;
pub mod s3;
pub mod sandbox;
pub mod sqs;
pub mod state_conformance;
pub mod synthetic;

pub use faulty_store::{Call, FaultyStore, StoreFault};
pub use ferry_transfer::queue::memory::{DeadLetters, MemoryQueue, MemoryQueueConfig};
pub use memory_store::MemoryStore;
