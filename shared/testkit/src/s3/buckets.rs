//! The buckets of one server.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use ferry_transfer::Clock;
use s3s::dto::NotificationConfiguration;
use time::OffsetDateTime;

use crate::bucket::{Bucket, BucketSettings};

/// Every bucket by name.
#[derive(Debug)]
pub(super) struct Buckets {
    settings: BucketSettings,
    clock: Arc<dyn Clock>,
    started: OffsetDateTime,
    by_name: RwLock<BTreeMap<String, Arc<Bucket>>>,
    /// Whom each bucket tells of its changes. Only kept: nobody is told.
    notifications: RwLock<BTreeMap<String, NotificationConfiguration>>,
}

impl Buckets {
    pub(super) fn new(settings: BucketSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            started: clock.now(),
            clock,
            by_name: RwLock::default(),
            notifications: RwLock::default(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Bucket>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The bucket of that name, which is new if there was none.
    pub(super) fn create(&self, name: &str) -> Arc<Bucket> {
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let bucket = by_name
            .entry(name.to_owned())
            .or_insert_with(|| Bucket::new(name, self.settings.clone(), Arc::clone(&self.clock)));
        Arc::clone(bucket)
    }

    pub(super) fn notifications(&self, name: &str) -> Option<NotificationConfiguration> {
        self.notifications.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn set_notifications(&self, name: &str, configuration: NotificationConfiguration) {
        self.notifications
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), configuration);
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// What every bucket says it was created at.
    pub(super) fn started(&self) -> OffsetDateTime {
        self.started
    }
}
