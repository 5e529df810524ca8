//! The disk of a device export: what a job's manifest asks for, and the bytes that answer it.
//!
//! Two halves share this crate. The *job* half reads manifests and signs them. The *disk* half turns keys into paths, paths
//! into a file-system image and the image into an encrypted container, in one pass, without mounting anything and without
//! root, and reads all of it back again. Neither half knows a store: whoever exports brings the bytes.
//!
//! Everything here is synchronous, for a disk is; callers on an async runtime run it on a blocking thread.

pub mod container;
pub mod decrypted_view;
pub mod documents;
pub mod durable;
mod error;
pub mod export_log;
pub mod ext4;
pub mod extract;
pub mod job;
pub mod journal;
pub mod manifest;
pub mod medium;
pub mod naming;
pub mod ntfs;
pub mod part;
pub mod plan;
mod program;
pub mod room;
pub mod session;
pub mod signature;
pub mod sink;
mod sorter;
pub mod target;
pub mod verify;
pub mod volume;

pub use error::{Error, ErrorKind, Result};
