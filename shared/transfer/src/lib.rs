//! The engine of Ferry: what is moved, how it is compared, copied and proven.
//!
//! Knows stores and queues through two narrow traits ([`ObjectStore`], [`Queue`]) and time through a third ([`Clock`]); there is
//! no AWS SDK type in it. Planning, comparing, retrying, naming and parsing are pure; every cross-cutting concern
//! (metering, retrying, fault injection) is a wrapper over the same trait.

mod body;
mod capability;
pub mod checksum;
mod clock;
mod error;
mod etag;
mod key;
mod object;
pub mod queue;
pub mod store;

pub use body::{Body, BodyStream, DigestHandle};
pub use capability::{Capabilities, Support};
pub use clock::{Clock, SystemClock};
pub use error::{Error, ErrorKind, Result, chain};
pub use etag::ETag;
pub use key::{EmptyKey, Key, KeyRange};
pub use object::{Attributes, ByteRange, DeclaredChecksums, Encryption, Entry, ObjectHead, StorageClass};
pub use queue::{Queue, SharedQueue};
pub use store::{ObjectStore, SharedStore, StoreName};
