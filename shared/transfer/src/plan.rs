//! What a run would do, before it does it.
//!
//! Owns: the requests that copying takes, foreseen from sizes alone, and their sum over a scan. Does not own: prices
//! ([`crate::price`]) or the scan. Invariant: memory does not grow with the number of objects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::copy::CopySettings;
use crate::scan::Finding;
use crate::store::metered::RequestKind;
use crate::{Capabilities, ETag, Entry, PartPlan};

/// What a run would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Objects at the source.
    pub found: u64,
    /// Their bytes.
    pub found_bytes: u64,
    /// To copy: not at the destination.
    pub missing: u64,
    /// To copy: different at the destination.
    pub different: u64,
    /// Bytes to copy.
    pub copy_bytes: u64,
    /// Same on both sides.
    pub up_to_date: u64,
    /// At the destination only.
    pub extra: u64,
    /// Left out: the other side could not name them.
    pub nameless: u64,
    /// Left out by the task's selection.
    pub excluded: u64,
    /// Refused: other objects of the source would have the same name at the destination.
    pub contested: u64,
    /// To skip: archived at the source.
    pub archived: u64,
    /// Larger than the destination takes.
    pub too_large: u64,
    /// Objects to copy by the power of two of their size in bytes: `10` counts those of 512 to 1,023 bytes, `0` the empty ones.
    pub copy_sizes_log2: BTreeMap<u32, u64>,
    /// Requests to the source for the copies; tags are not foreseen.
    pub source_requests: BTreeMap<RequestKind, u64>,
    /// Requests to the destination for the copies.
    pub destination_requests: BTreeMap<RequestKind, u64>,
}

impl Plan {
    /// Adds one finding.
    pub fn add(&mut self, finding: &Finding, settings: &CopySettings, limits: &Capabilities) {
        match finding {
            Finding::Missing(source) => {
                self.missing += 1;
                self.add_copy(source, settings, limits);
            }
            Finding::Different { source, .. } => {
                self.different += 1;
                self.add_copy(source, settings, limits);
            }
            Finding::Same { source, .. } => {
                self.found += 1;
                self.found_bytes += source.size_bytes;
                self.up_to_date += 1;
            }
            Finding::Extra(_) => self.extra += 1,
            Finding::Nameless(_) => self.nameless += 1,
            Finding::Excluded(_) => self.excluded += 1,
            Finding::Contested(sources) => self.contested += sources.len() as u64,
        }
    }

    /// Objects to copy.
    pub fn copies(&self) -> u64 {
        self.missing + self.different
    }

    /// Whether the two sides differ.
    pub fn has_differences(&self) -> bool {
        self.copies() + self.extra + self.contested > 0
    }

    fn add_copy(&mut self, source: &Entry, settings: &CopySettings, limits: &Capabilities) {
        let size_bytes = source.size_bytes;
        self.found += 1;
        self.found_bytes += size_bytes;
        if source.storage_class.as_ref().is_some_and(crate::StorageClass::is_archive) {
            self.archived += 1;
            self.ask_source(RequestKind::Get, 1);
            return;
        }
        self.copy_bytes += size_bytes;
        *self.copy_sizes_log2.entry(u64::BITS - size_bytes.leading_zeros()).or_default() += 1;
        let Some(parts) = settings.parts(size_bytes, source.etag.as_ref(), limits) else {
            self.ask_source(RequestKind::Get, 1);
            self.ask_destination(RequestKind::Put, 1);
            return;
        };
        let Ok(parts) = parts else {
            self.too_large += 1;
            return;
        };
        let keeps_etag = source.etag.as_ref().is_some_and(|etag| etag.parts() == Some(parts.len()));
        let parts = u64::from(PartPlan::len(parts));
        // Before the first part and before the completion; after it as well, where later scans could not tell by ETag.
        self.ask_source(RequestKind::Head, if keeps_etag { 2 } else { 3 });
        if source.etag.as_ref().and_then(ETag::parts).is_some_and(|parts| parts > 1) {
            // Where its first part ends.
            self.ask_source(RequestKind::Head, 1);
        }
        self.ask_source(RequestKind::Get, parts);
        self.ask_destination(RequestKind::CreateUpload, 1);
        self.ask_destination(RequestKind::UploadPart, parts);
        self.ask_destination(RequestKind::CompleteUpload, 1);
    }

    fn ask_source(&mut self, kind: RequestKind, count: u64) {
        *self.source_requests.entry(kind).or_default() += count;
    }

    fn ask_destination(&mut self, kind: RequestKind, count: u64) {
        *self.destination_requests.entry(kind).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    fn missing(size_bytes: u64) -> Finding {
        Finding::Missing(Entry {
            key: Key::new("k").expect("key"),
            size_bytes,
            etag: None,
            last_modified: None,
            storage_class: None,
        })
    }

    #[test]
    fn a_small_object_takes_two_requests_and_a_large_one_its_parts() {
        let (settings, limits) = (CopySettings::default(), Capabilities::default());
        let mut plan = Plan::default();
        plan.add(&missing(0), &settings, &limits);
        plan.add(&missing(1000), &settings, &limits);
        plan.add(&missing(4 << 30), &settings, &limits);
        assert_eq!(
            plan.source_requests,
            BTreeMap::from([(RequestKind::Head, 3), (RequestKind::Get, 2 + 128)])
        );
        assert_eq!(
            plan.destination_requests,
            BTreeMap::from([
                (RequestKind::Put, 2),
                (RequestKind::CreateUpload, 1),
                (RequestKind::UploadPart, 128),
                (RequestKind::CompleteUpload, 1)
            ])
        );
        assert_eq!(plan.copy_sizes_log2, BTreeMap::from([(0, 1), (10, 1), (33, 1)]));
    }

    #[test]
    fn what_fits_into_one_part_goes_in_one_piece() {
        let settings = CopySettings { part_bytes: 64 << 20, ..CopySettings::default() };
        let mut plan = Plan::default();
        plan.add(&missing(settings.multipart_threshold_bytes), &settings, &Capabilities::default());
        plan.add(&missing(settings.part_bytes), &settings, &Capabilities::default());
        assert_eq!(plan.source_requests, BTreeMap::from([(RequestKind::Get, 2)]));
        assert_eq!(plan.destination_requests, BTreeMap::from([(RequestKind::Put, 2)]));
    }
}
