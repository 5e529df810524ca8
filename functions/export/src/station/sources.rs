//! The buckets that a job reads.
//!
//! Owns: a connection to each, made once. Invariant: an object of the plan is read from a bucket that the manifest names.

use std::collections::BTreeMap;

use ferry_device::plan::Object;
use ferry_transfer::SharedStore;

use super::{Run, StationError};

/// The buckets by their names.
#[derive(Debug)]
pub(super) struct Sources(BTreeMap<String, SharedStore>);

impl Sources {
    /// Connects to every bucket that the manifest exports.
    pub(super) async fn connect(run: &Run<'_>) -> Result<Self, StationError> {
        let mut stores = BTreeMap::new();
        for operation in &run.manifest.operations {
            if !stores.contains_key(&operation.export_bucket) {
                stores.insert(operation.export_bucket.clone(), run.bucket(&operation.export_bucket).await?);
            }
        }
        Ok(Self(stores))
    }

    /// The bucket of an object.
    pub(super) fn of(&self, object: &Object) -> Result<&SharedStore, StationError> {
        self.0.get(&object.bucket).ok_or_else(|| {
            StationError::Job(format!("the plan names the bucket {}, the manifest does not", object.bucket))
        })
    }
}
