//! Uploads that were left behind, found by their age and dropped.
//!
//! Owns: which open uploads count as left behind. Does not own: when to look. Invariants: an upload that may still be worked on, being
//! younger than asked for, is never dropped; nor, unless all are asked for, one that Ferry does not remember having begun.

use std::time::Duration;

use time::OffsetDateTime;

use crate::store::{ListUploadsRequest, OpenUpload, StoreName};
use crate::upload::{UploadRecord, UploadRecords};
use crate::{ErrorKind, ObjectStore, Result};

/// Whose uploads are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Those that Ferry remembers.
    Recorded,
    /// Everybody's.
    All,
}

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// Only uploads to keys that begin so.
    pub prefix: String,
    /// Only uploads begun before this. One of which the store does not say when it was begun goes by its record.
    pub begun_before: OffsetDateTime,
    /// Whose.
    pub whose: Whose,
}

impl Sweep {
    /// The uploads that were left behind, as the store lists them.
    pub async fn find(&self, store: &dyn ObjectStore, records: &[UploadRecord]) -> Result<Vec<OpenUpload>> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let request = ListUploadsRequest { prefix: self.prefix.clone(), after, page_size: None };
            let page = store.list_uploads(request).await?;
            found.extend(page.uploads.into_iter().filter(|upload| self.means(store.name(), records, upload)));
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(found),
            }
        }
    }

    fn means(&self, store: &StoreName, records: &[UploadRecord], upload: &OpenUpload) -> bool {
        let record = records.iter().find(|record| {
            record.upload_id == upload.upload_id && record.key == upload.key && record.destination == *store
        });
        let begun = upload.initiated.or(record.map(|record| record.begun));
        (self.whose == Whose::All || record.is_some()) && begun.is_some_and(|begun| begun < self.begun_before)
    }
}

/// After so long an upload that Ferry began is taken for left behind by a run that copies to where it lies.
pub const LEFT_BEHIND_AFTER: Duration = Duration::from_hours(7 * 24);

/// Drops what Ferry itself remembers having begun under a prefix of this store before `begun_before`, and says how many there were.
/// Asks the store for nothing where there is none, and touches nobody else's.
pub async fn drop_own(
    store: &dyn ObjectStore,
    records: &UploadRecords,
    prefix: &str,
    begun_before: OffsetDateTime,
) -> Result<usize> {
    let mut dropped = 0;
    for record in records.all().await? {
        let is_here = record.destination == *store.name() && record.key.as_str().starts_with(prefix);
        if is_here && record.begun < begun_before {
            match store.abort_upload(&record.key, &record.upload_id).await {
                // Completed, or dropped by somebody else: only the record was left.
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => records.forget(&record).await?,
            }
            dropped += 1;
        }
    }
    Ok(dropped)
}

/// Drops an upload and forgets it.
pub async fn drop_upload(
    store: &dyn ObjectStore,
    records: Option<&UploadRecords>,
    upload: &OpenUpload,
) -> Result<()> {
    store.abort_upload(&upload.key, &upload.upload_id).await?;
    let Some(records) = records else { return Ok(()) };
    match records.find(store.name(), &upload.key).await?.record {
        Some(record) if record.upload_id == upload.upload_id => records.forget(&record).await,
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::UploadId;
    use crate::upload::{AttributesName, UploadOrigin};
    use crate::{Attributes, ETag, Key};

    fn upload(id: &str, begun_secs: Option<i64>) -> OpenUpload {
        OpenUpload {
            key: Key::new("k").expect("key"),
            upload_id: UploadId(id.to_owned()),
            initiated: begun_secs.and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok()),
        }
    }

    fn record(bucket: &str, id: &str, begun_secs: i64) -> UploadRecord {
        let name = |bucket: &str| StoreName { store: "s".into(), bucket: bucket.into() };
        UploadRecord {
            destination: name(bucket),
            key: Key::new("k").expect("key"),
            upload_id: UploadId(id.into()),
            begun: OffsetDateTime::from_unix_timestamp(begun_secs).expect("time"),
            origin: UploadOrigin {
                source: name("from"),
                source_key: Key::new("k").expect("key"),
                etag: ETag::parse("abc").expect("tag"),
                version_id: None,
                size_bytes: 1,
                part_bytes: 1,
                attributes: AttributesName::of(&Attributes::default()),
            },
        }
    }

    #[test]
    fn only_what_is_old_enough_and_ours_is_meant() {
        let here = StoreName { store: "s".into(), bucket: "here".into() };
        let records = [record("here", "ours", 50), record("elsewhere", "theirs", 50)];
        let sweep = |whose| Sweep {
            prefix: String::new(),
            begun_before: OffsetDateTime::from_unix_timestamp(100).expect("time"),
            whose,
        };
        for (id, begun, recorded, all) in [
            ("ours", Some(99), true, true),
            ("ours", Some(100), false, false),
            ("ours", None, true, true),
            ("theirs", Some(1), false, true),
            ("unknown", None, false, false),
        ] {
            let upload = upload(id, begun);
            assert_eq!(sweep(Whose::Recorded).means(&here, &records, &upload), recorded, "{id} {begun:?}");
            assert_eq!(sweep(Whose::All).means(&here, &records, &upload), all, "{id} {begun:?}");
        }
    }
}
