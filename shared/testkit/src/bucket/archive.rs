//! Archived objects and their restores, by the bucket's clock.
//!
//! Owns: which classes are archives, how long a restore takes and when its copy ends. Invariant: nothing here runs by itself; what
//! an object is follows from its times and from what the clock says now.

use ferry_transfer::StorageClass;
use ferry_transfer::store::{RestoreAnswer, RestoreState};
use time::{Duration, OffsetDateTime};

use super::{Bucket, Refusal, StoredObject};

/// A restore that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restore {
    /// When the object can be read.
    pub ready: OffsetDateTime,
    /// When it can no longer.
    pub ends: OffsetDateTime,
}

impl StoredObject {
    /// Whether the object lies in one of S3's archive classes.
    pub fn is_archived(&self) -> bool {
        self.attributes
            .storage_class
            .as_ref()
            .is_some_and(|class| matches!(class.as_str(), "GLACIER" | "DEEP_ARCHIVE"))
    }
}

impl Bucket {
    /// Where an object stands on its way out of the archive.
    pub fn restore_state(&self, object: &StoredObject) -> RestoreState {
        let now = self.clock.now();
        match object.restore {
            Some(restore) if now < restore.ready => RestoreState::Ongoing,
            Some(restore) if now < restore.ends => RestoreState::Done,
            _ => RestoreState::None,
        }
    }

    /// Refuses an object that is archived and not restored.
    pub fn check_readable(&self, object: &StoredObject) -> Result<(), Refusal> {
        if object.is_archived() && self.restore_state(object) != RestoreState::Done {
            Err(Refusal::Archived)
        } else {
            Ok(())
        }
    }

    /// Begins a restore; a copy that is there is kept for so many days from now.
    pub fn request_restore(&self, key: &str, days: u32) -> Result<RestoreAnswer, Refusal> {
        let object = self.get(key).ok_or(Refusal::NoSuchKey)?;
        if !object.is_archived() {
            return Err(Refusal::Archived);
        }
        let kept = Duration::days(days.into());
        let now = self.clock.now();
        match (self.restore_state(&object), object.restore) {
            (RestoreState::Ongoing, _) => Ok(RestoreAnswer::InProgress),
            (RestoreState::Done, Some(restore)) => {
                let restore = Restore { ends: now + kept, ..restore };
                self.change(key, |object| object.restore = Some(restore))?;
                Ok(RestoreAnswer::Readable)
            }
            _ => {
                let ready = now + self.settings.restore_takes;
                let restore = Restore { ready, ends: ready + kept };
                self.change(key, |object| object.restore = Some(restore))?;
                Ok(RestoreAnswer::Begun)
            }
        }
    }

    /// Makes an archived object readable for a day, as if a restore had just ended. Whether there is such an object.
    pub fn restore(&self, key: &str) -> bool {
        let ready = self.clock.now();
        let restore = Restore { ready, ends: ready + Duration::DAY };
        self.change(key, |object| object.restore = Some(restore)).is_ok()
    }

    /// Moves the object to another storage class, as a lifecycle rule does. Whether there is such an object.
    pub fn set_storage_class(&self, key: &str, class: Option<StorageClass>) -> bool {
        self.change(key, |object| {
            object.attributes.storage_class = class.filter(|class| !class.is_standard());
            object.restore = None;
        })
        .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use ferry_transfer::Clock;

    use super::*;
    use crate::bucket::BucketSettings;

    #[derive(Debug)]
    struct HandClock(Mutex<OffsetDateTime>);

    impl HandClock {
        fn advance(&self, by: Duration) {
            *self.0.lock().expect("lock") += by;
        }
    }

    #[async_trait]
    impl Clock for HandClock {
        fn now(&self) -> OffsetDateTime {
            *self.0.lock().expect("lock")
        }

        async fn sleep(&self, _delay: std::time::Duration) {}

        fn draw(&self) -> f64 {
            0.5
        }
    }

    #[test]
    fn a_restore_takes_its_time_and_ends() {
        let clock = Arc::new(HandClock(Mutex::new(OffsetDateTime::UNIX_EPOCH)));
        let settings = BucketSettings { restore_takes: Duration::hours(5), ..BucketSettings::default() };
        let bucket = Bucket::new("b", settings, Arc::clone(&clock) as _);
        bucket.put_object("k", "frozen");
        assert_eq!(bucket.request_restore("k", 1), Err(Refusal::Archived));
        bucket.set_storage_class("k", StorageClass::parse("GLACIER"));
        let readable = || bucket.check_readable(&bucket.get("k").expect("object")).is_ok();
        assert!(!readable());
        assert_eq!(bucket.request_restore("k", 1), Ok(RestoreAnswer::Begun));
        assert_eq!(bucket.request_restore("k", 1), Ok(RestoreAnswer::InProgress));
        assert!(!readable());
        clock.advance(Duration::hours(5));
        assert!(readable());
        assert_eq!(bucket.request_restore("k", 2), Ok(RestoreAnswer::Readable));
        clock.advance(Duration::hours(47));
        assert!(readable());
        clock.advance(Duration::hours(1));
        assert!(!readable());
    }
}
