//! What a plan says of deletes.
//!
//! Owns: the count against the limit, a bounded sample of keys, and the list of all of them. Does not own: deleting; a sync plans anew
//! and proves every key. Invariant: memory does not grow with the number of keys: the list is a second listing.

use std::fmt;

use anyhow::Result;
use ferry_transfer::Route;
use ferry_transfer::scan::Finding;
use ferry_transfer::sightings::Findings;
use ferry_transfer::task::Deletes;
use indicatif::HumanCount;
use serde::Serialize;
use serde_json::json;

use crate::ends::Ends;
use crate::exit::{BrokenListing, print};

/// Keys shown on a terminal.
const SAMPLE_KEYS: usize = 10;

/// What of the destination would be deleted.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct PlannedDeletes {
    /// How many objects.
    pub(super) planned: u64,
    /// Of how many.
    pub(super) held: u64,
    /// The task's limit.
    pub(super) limit: String,
    /// What a sync would make of it.
    pub(super) verdict: Verdict,
    /// The first keys.
    pub(super) sample: Vec<String>,
}

/// What a sync would make of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// Each key is proven gone and deleted.
    WithinLimit,
    /// Nothing is deleted.
    OverLimit,
    /// Nothing is deleted: a side lists in no order.
    Disordered,
}

impl fmt::Display for PlannedDeletes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { planned, held, limit, verdict, .. } = self;
        let share = planned.saturating_mul(100).checked_div(*held).unwrap_or(0);
        write!(f, "{} of {} objects ({share} %), ", HumanCount(*planned), HumanCount(*held))?;
        match verdict {
            Verdict::WithinLimit => write!(f, "within the limit of {limit}"),
            Verdict::OverLimit => {
                write!(f, "over the limit of {limit}: a sync deletes nothing (--max-delete)")
            }
            Verdict::Disordered => write!(f, "but a side lists in no order: a sync deletes nothing"),
        }
    }
}

/// Extra keys as they are found.
#[derive(Debug, Default)]
pub(super) struct ExtraKeys {
    count: u64,
    sample: Vec<String>,
}

impl ExtraKeys {
    /// Counts a finding.
    pub(super) fn take(&mut self, finding: &Finding, route: &Route) {
        let Some(key) = deletable(finding, route) else { return };
        self.count += 1;
        self.sample.push(key.to_owned());
        // Ranges are listed side by side: the smallest keys, whichever range came first.
        self.sample.sort_unstable();
        self.sample.truncate(SAMPLE_KEYS);
    }

    /// What a sync would make of them; `None` where the task deletes nothing.
    pub(super) fn planned(self, route: &Route, held: u64) -> Option<PlannedDeletes> {
        let Deletes::Mirror(limit) = route.task.deletes else { return None };
        let verdict = if route.lists_disordered() {
            Verdict::Disordered
        } else if limit.allows(self.count, held) {
            Verdict::WithinLimit
        } else {
            Verdict::OverLimit
        };
        let Self { count: planned, sample } = self;
        Some(PlannedDeletes { planned, held, limit: limit.to_string(), verdict, sample })
    }
}

/// The destination's key, where a sync would delete it.
fn deletable<'a>(finding: &'a Finding, route: &Route) -> Option<&'a str> {
    let Finding::Extra(entry) = finding else { return None };
    (!route.source_keys(&entry.key).is_empty()).then(|| entry.key.as_str())
}

/// Prints a line for each key that a sync would delete.
pub(super) async fn print_keys(ends: &Ends) -> Result<()> {
    let mut findings = Findings::in_order(&ends.route, &ends.documents);
    while let Some(finding) = findings.next().await.map_err(BrokenListing::from)? {
        if let (Some(key), Finding::Extra(entry)) = (deletable(&finding, &ends.route), &finding) {
            print(&json!({ "delete": key, "size_bytes": entry.size_bytes, "etag": entry.etag }).to_string());
        }
    }
    Ok(())
}
