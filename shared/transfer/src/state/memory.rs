//! State that ends with the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::{StateCondition, StateName, StateStore, StateTag, StoredState, refused};
use crate::Result;

/// Keeps blobs in memory: for tests, and for runs that were told to leave nothing behind.
#[derive(Debug, Default)]
pub struct MemoryState {
    blobs: Mutex<BTreeMap<StateName, Bytes>>,
}

impl MemoryState {
    fn blobs(&self) -> std::sync::MutexGuard<'_, BTreeMap<StateName, Bytes>> {
        // Every change is one call on the map: there is no half-done state behind a panic.
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl StateStore for MemoryState {
    async fn read(&self, name: &StateName) -> Result<Option<StoredState>> {
        Ok(self
            .blobs()
            .get(name)
            .map(|bytes| StoredState { tag: StateTag::of_content(bytes), bytes: bytes.clone() }))
    }

    async fn write(&self, name: &StateName, bytes: Bytes, condition: StateCondition) -> Result<StateTag> {
        let mut blobs = self.blobs();
        let held = blobs.get(name).map(|held| StateTag::of_content(held));
        if !condition.holds_for(held.as_ref()) {
            return Err(refused(name));
        }
        let tag = StateTag::of_content(&bytes);
        blobs.insert(name.clone(), bytes);
        Ok(tag)
    }

    async fn remove(&self, name: &StateName) -> Result<()> {
        self.blobs().remove(name);
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StateName>> {
        Ok(self.blobs().keys().filter(|name| name.as_str().starts_with(prefix)).cloned().collect())
    }
}

impl StateCondition {
    /// Whether the condition holds of what is held.
    pub(super) fn holds_for(&self, held: Option<&StateTag>) -> bool {
        match self {
            Self::None => true,
            Self::Absent => held.is_none(),
            Self::Matches(tag) => held == Some(tag),
        }
    }
}
