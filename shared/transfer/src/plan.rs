//! What a run would do, before it does it.
//!
//! Owns: the requests that copying takes and what the destination cannot hold, foreseen from a listing and two profiles alone, and
//! their sum over a scan. Does not own: prices ([`crate::price`]) or the scan; what only a look at an object tells (tags, user
//! metadata) is found when it is copied. Invariant: memory does not grow with the number of objects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::attribute_rules::LockRule;
use crate::copy::{CopySettings, parts_within};
use crate::restore_rule::RestoreRule;
use crate::scan::Finding;
use crate::server_side::Ends;
use crate::store::metered::RequestKind;
use crate::task::Task;
use crate::unfit::key_unfit;
use crate::{Capabilities, ETag, Entry, PartPlan, Route, StorageClass};

/// Everything that a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Outlook<'a> {
    /// How objects are copied.
    pub settings: &'a CopySettings,
    /// By which rules.
    pub task: &'a Task,
    /// What the source can do.
    pub source: &'a Capabilities,
    /// What the destination can hold and do.
    pub destination: &'a Capabilities,
    /// Whether the two are one.
    pub ends: Ends,
}

impl<'a> Outlook<'a> {
    /// Of a route.
    pub fn of(route: &'a Route, settings: &'a CopySettings) -> Self {
        Self {
            settings,
            task: &route.task,
            source: route.source.capabilities(),
            destination: route.destination.capabilities(),
            ends: route.server_side.ends(),
        }
    }
}

/// What becomes of the objects of one storage class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedClass {
    /// How many are to be copied.
    pub objects: u64,
    /// Their class at the destination; `None` where it has none that fits, and the task's rule for what is unsupported decides.
    pub becomes: Option<StorageClass>,
}

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
    /// Archived at the source: to skip, or to restore first where the task says so.
    pub archived: u64,
    /// Of those, restores to ask for.
    pub restores: u64,
    /// Larger than the destination takes.
    pub too_large: u64,
    /// Objects whose keys the destination does not take, by what is wrong with them.
    pub unfit_keys: BTreeMap<String, u64>,
    /// Objects to copy by the source's storage class, but for the standard one.
    pub storage_classes: BTreeMap<String, PlannedClass>,
    /// Objects that the store copies by itself.
    pub server_side: u64,
    /// Parts of the largest objects that are jobs of their own, where there is a queue for them.
    pub part_jobs: u64,
    /// Objects listed at the destination.
    pub held: u64,
    /// Objects to copy by the power of two of their size in bytes: `10` counts those of 512 to 1,023 bytes, `0` the empty ones.
    pub copy_sizes_log2: BTreeMap<u32, u64>,
    /// Requests to the source for the copies; tags are not foreseen.
    pub source_requests: BTreeMap<RequestKind, u64>,
    /// Requests to the destination for the copies.
    pub destination_requests: BTreeMap<RequestKind, u64>,
}

impl Plan {
    /// Adds one finding.
    pub fn add(&mut self, finding: &Finding, outlook: &Outlook<'_>) {
        match finding {
            Finding::Missing(source) => {
                self.missing += 1;
                self.add_copy(source, outlook);
            }
            Finding::Different { source, .. } => {
                self.different += 1;
                self.held += 1;
                self.add_copy(source, outlook);
            }
            Finding::Same { source, .. } => {
                self.found += 1;
                self.found_bytes += source.size_bytes;
                self.up_to_date += 1;
                self.held += 1;
            }
            Finding::Extra(_) => {
                self.extra += 1;
                self.held += 1;
            }
            Finding::Nameless(_) => self.nameless += 1,
            Finding::Excluded(_) => self.excluded += 1,
            Finding::Contested(sources) => self.contested += sources.len() as u64,
        }
    }

    /// Objects to copy.
    pub fn copies(&self) -> u64 {
        self.missing + self.different
    }

    /// Bytes that leave the source. A store that copies by itself, which is then both ends, keeps them.
    pub fn moved_bytes(&self) -> u64 {
        if self.server_side > 0 { 0 } else { self.copy_bytes }
    }

    /// Whether the two sides differ.
    pub fn has_differences(&self) -> bool {
        self.copies() + self.extra + self.contested > 0
    }

    fn add_copy(&mut self, source: &Entry, outlook: &Outlook<'_>) {
        let size_bytes = source.size_bytes;
        self.found += 1;
        self.found_bytes += size_bytes;
        if source.storage_class.as_ref().is_some_and(|class| outlook.source.must_be_restored(class)) {
            self.archived += 1;
            self.ask_source(RequestKind::Get, 1);
            if matches!(outlook.task.restore, RestoreRule::Skip) {
                return;
            }
            self.restores += 1;
            self.ask_source(RequestKind::Restore, 1);
        }
        self.foresee_unfit(source, outlook);
        self.copy_bytes += size_bytes;
        *self.copy_sizes_log2.entry(u64::BITS - size_bytes.leading_zeros()).or_default() += 1;
        if outlook.ends != Ends::Apart {
            self.add_copy_within(source, outlook);
            return;
        }
        let Some(parts) = outlook.settings.parts(size_bytes, source.etag.as_ref(), outlook.destination)
        else {
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
        if outlook.task.large.part_jobs_above.is_some_and(|above| size_bytes > above.bytes) {
            self.part_jobs += parts;
        }
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

    /// What the destination cannot hold of an object, as far as a listing tells.
    fn foresee_unfit(&mut self, source: &Entry, outlook: &Outlook<'_>) {
        if let Some(class) = &source.storage_class {
            let becomes =
                outlook.task.storage_class.of_copy(Some(class.clone()), outlook.source, outlook.destination);
            let standard = || StorageClass::parse("STANDARD");
            let becomes = becomes
                .map_or_else(standard, |class| outlook.destination.can_ask_for(&class).then_some(class));
            let planned = self.storage_classes.entry(class.to_string()).or_default();
            planned.objects += 1;
            planned.becomes = becomes;
        }
        let name = source.key.strip_prefix(&outlook.task.source.prefix);
        let name = name.map(|name| outlook.task.rewrite.apply(name));
        let key = name.map(|name| format!("{}{name}", outlook.task.destination.prefix));
        if let Some(unfit) = key.and_then(|key| key_unfit(&key, outlook.destination)) {
            *self.unfit_keys.entry(unfit).or_default() += 1;
        }
    }

    /// A copy that the store makes by itself.
    fn add_copy_within(&mut self, source: &Entry, outlook: &Outlook<'_>) {
        let plan = parts_within(source.size_bytes, source.etag.as_ref(), outlook.destination);
        if matches!(plan, Some(Err(_))) {
            self.too_large += 1;
            return;
        }
        self.server_side += 1;
        let is_looked_at = outlook.ends == Ends::OneStoreWithRedirects
            || outlook.task.attributes.lock == LockRule::Copy
            || plan.is_some();
        self.ask_source(RequestKind::Head, u64::from(is_looked_at));
        let Some(Ok(parts)) = plan else {
            self.ask_destination(RequestKind::Copy, 1);
            return;
        };
        self.ask_destination(RequestKind::CreateUpload, 1);
        self.ask_destination(RequestKind::CopyPart, u64::from(parts.len()));
        self.ask_destination(RequestKind::CompleteUpload, 1);
        if source.etag.as_ref().and_then(ETag::parts) != Some(parts.len()) {
            // Its ETag is another one then, and both ends are looked at.
            self.ask_source(RequestKind::Head, 1);
            self.ask_destination(RequestKind::Head, 1);
        }
    }

    fn ask_source(&mut self, kind: RequestKind, count: u64) {
        if count > 0 {
            *self.source_requests.entry(kind).or_default() += count;
        }
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

    fn planned(findings: &[Finding], change: impl FnOnce(&mut Task, &mut Capabilities, &mut Ends)) -> Plan {
        let location = |store: &str| format!("{store}://b/").parse().expect("location");
        let mut task = Task::new("t", location("a"), location("b"));
        let (mut destination, mut ends) = (Capabilities::default(), Ends::Apart);
        change(&mut task, &mut destination, &mut ends);
        let outlook = Outlook {
            settings: &CopySettings::default(),
            task: &task,
            source: &Capabilities::default(),
            destination: &destination,
            ends,
        };
        let mut plan = Plan::default();
        for finding in findings {
            plan.add(finding, &outlook);
        }
        plan
    }

    #[test]
    fn a_small_object_takes_two_requests_and_a_large_one_its_parts() {
        let plan = planned(&[missing(0), missing(1000), missing(4 << 30)], |_, _, _| {});
        assert_eq!(plan.part_jobs, 0);
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
        assert_eq!(
            planned(&[missing(6 << 30)], |_, _, _| {}).part_jobs,
            192,
            "above 5 GiB each part is a job"
        );
    }

    #[test]
    fn what_fits_into_one_part_goes_in_one_piece() {
        let settings = CopySettings::default();
        assert_eq!(settings.multipart_threshold_bytes, settings.part_bytes);
        let plan = planned(&[missing(settings.part_bytes - 1), missing(settings.part_bytes)], |_, _, _| {});
        assert_eq!(plan.source_requests, BTreeMap::from([(RequestKind::Get, 2)]));
        assert_eq!(plan.destination_requests, BTreeMap::from([(RequestKind::Put, 2)]));
    }

    #[test]
    fn a_store_that_copies_by_itself_is_asked_for_copies() {
        let findings = [missing(10), missing(6 << 30)];
        let plan = planned(&findings, |_, _, ends| *ends = Ends::OneStore);
        assert_eq!((plan.server_side, plan.copies(), plan.moved_bytes()), (2, 2, 0));
        assert_eq!(plan.destination_requests[&RequestKind::Copy], 1);
        assert_eq!(plan.destination_requests[&RequestKind::CopyPart], 12);
        assert!(!plan.source_requests.contains_key(&RequestKind::Get), "{plan:?}");
        let plan = planned(&findings[..1], |_, _, ends| *ends = Ends::OneStoreWithRedirects);
        assert_eq!(plan.source_requests, BTreeMap::from([(RequestKind::Head, 1)]));
    }

    #[test]
    fn what_the_destination_cannot_hold_is_foreseen() {
        let of_class = |word: &str| {
            let Finding::Missing(entry) = missing(1) else { unreachable!("it is missing") };
            Finding::Missing(Entry { storage_class: StorageClass::parse(word), ..entry })
        };
        let findings = [of_class("STANDARD_IA"), of_class("FROZEN"), of_class("GLACIER")];
        let plan = planned(&findings, |task, destination, _| {
            destination.storage_classes = vec!["STANDARD".into(), "STANDARD_IA".into()];
            destination.key_bytes_max = 7;
            task.destination.prefix = "prefix/".into();
        });
        let becomes = |word: &str| plan.storage_classes[word].becomes.as_ref().map(StorageClass::as_str);
        assert_eq!((becomes("STANDARD_IA"), becomes("FROZEN")), (Some("STANDARD_IA"), None));
        assert_eq!((plan.archived, plan.restores), (1, 0), "skipped by default");
        assert_eq!(plan.unfit_keys.values().sum::<u64>(), 2, "{plan:?}");
        let terms = crate::restore_rule::RestoreTerms { tier: crate::store::RestoreTier::Bulk, days: 1 };
        let plan = planned(&findings[2..], |task, _, _| task.restore = RestoreRule::Ask(terms));
        assert_eq!((plan.archived, plan.restores, plan.source_requests[&RequestKind::Restore]), (1, 1, 1));
        assert_eq!(plan.storage_classes["GLACIER"].objects, 1);
    }
}
