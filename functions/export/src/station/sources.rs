//! The buckets that a job reads.
//!
//! Owns: a connection to each, made once. Invariant: an object of the plan is read from a bucket that the manifest names.

use std::collections::BTreeMap;

use ferry_device::plan::Object;

use super::reading::Source;
use super::{Run, StationError};

/// The buckets by their names.
#[derive(Debug)]
pub(super) struct Sources(BTreeMap<String, Source>);

impl Sources {
    /// Connects to every bucket that the manifest exports.
    pub(super) async fn connect(run: &Run<'_>) -> Result<Self, StationError> {
        let mut stores = BTreeMap::new();
        for operation in &run.manifest.operations {
            if !stores.contains_key(&operation.export_bucket) {
                let store = run.bucket(&operation.export_bucket).await?;
                let clock = std::sync::Arc::clone(&run.station.service.parts().clock);
                stores.insert(operation.export_bucket.clone(), Source::new(store, clock));
            }
        }
        Ok(Self(stores))
    }

    /// The bucket of an object.
    pub(super) fn of(&self, object: &Object) -> Result<&Source, StationError> {
        self.0.get(&object.bucket).ok_or_else(|| {
            StationError::Job(format!("the plan names the bucket {}, the manifest does not", object.bucket))
        })
    }
}
