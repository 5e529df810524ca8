//! The engine of Ferry: what is moved, how it is compared, copied and proven.
//!
//! Knows stores and queues through two narrow traits ([`ObjectStore`], [`Queue`]) and time through a third ([`Clock`]); there is
//! no AWS SDK type in it. Planning, comparing, retrying, naming and parsing are pure; every cross-cutting concern
//! (metering, retrying, fault injection) is a wrapper over the same trait.

pub mod agree;
pub mod attribute_rules;
mod body;
mod capability;
pub mod checkpoint;
pub mod checksum;
mod clock;
pub mod compare;
pub mod copy;
pub mod deletion;
pub mod diff;
mod error;
mod etag;
mod etag_rule;
pub mod event;
pub mod history;
pub mod inventory;
pub mod job;
mod key;
pub mod key_source;
pub mod keyspace;
pub mod large;
pub mod latencies;
pub mod listing;
pub mod manifest;
pub mod metric;
mod object;
pub mod pace;
mod parts;
pub mod plan;
pub mod price;
pub mod queue;
pub mod ranges;
pub mod receipt;
pub mod restore_rule;
pub mod retry;
pub mod rewrite;
mod route;
mod run;
pub mod run_status;
pub mod scan;
pub mod scan_ledger;
pub mod schedule;
pub mod select;
pub mod server_side;
pub mod sightings;
mod size;
pub mod source_listing;
pub mod state;
pub mod storage_tier;
pub mod store;
pub mod sweep;
pub mod task;
pub mod unfit;
pub mod upload;
pub mod versions;

pub use body::{Body, BodyStream, DigestHandle, FaultHandle};
pub use capability::{Capabilities, Support};
pub use clock::{Clock, SystemClock};
pub use compare::CompareMode;
pub use error::{Error, ErrorKind, Result, chain};
pub use etag::ETag;
pub use etag_rule::{ETagCheck, ETagRule};
pub use key::{EmptyKey, Key, KeyRange, successor};
pub use object::{
    Attributes, ByteRange, DeclaredChecksums, Encryption, Entry, ObjectHead, PartOfObject, StorageClass,
};
pub use parts::{PartPlan, PartPlanError};
pub use queue::{Queue, SharedQueue};
pub use route::{Route, Routes, SingleRoute};
pub use run::{RunId, RunOutcome, RunRecord};
pub use size::{BadSize, Size};
pub use state::{SharedState, StateStore};
pub use store::{ObjectStore, SharedStore, StoreName};
