//! Which events become jobs.
//!
//! Owns: the filters by prefix, suffix and bucket, whether deletes count, and the task's name on every job. Does not own: what the task
//! itself selects, which the worker asks again. Invariant: pure; whatever is left out is counted.

use std::collections::BTreeMap;

use ferry_transfer::event::{Change, Event, Notification};
use ferry_transfer::job::Job;
use serde::Serialize;

/// Which events become jobs, and of which task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The task's name, for jobs of a queue that several tasks share.
    pub task: Option<String>,
    /// Only of this bucket; events that name none are let through.
    pub bucket: Option<String>,
    /// Only keys that begin with one of these; none is all.
    pub prefixes: Vec<String>,
    /// Only keys that end with one of these; none is all.
    pub suffixes: Vec<String>,
    /// Whether an object that is gone is to go at the destination.
    pub deletes: Deletes,
}

/// What becomes of events that say an object is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Deletes {
    /// They are left out.
    #[default]
    Leave,
    /// They become jobs. The worker still asks the source, and its task.
    Send,
}

/// What the rules made of a notification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Filtered {
    /// One for each object.
    #[serde(skip)]
    pub jobs: Vec<Job>,
    /// Events that another one about the same object stands for.
    pub coalesced: usize,
    /// Events of other keys or buckets.
    pub not_selected: usize,
    /// Events of deletes where those are left out.
    pub deletes_left: usize,
    /// What was no event, by reason.
    pub ignored: BTreeMap<String, usize>,
}

impl Rules {
    /// Applies them.
    pub fn apply(&self, notification: Notification) -> Filtered {
        let mut filtered = Filtered::default();
        for ignored in &notification.ignored {
            *filtered.ignored.entry(ignored.why.to_string()).or_default() += 1;
        }
        let mut selected = Notification::default();
        for event in notification.events {
            if !self.selects(&event) {
                filtered.not_selected += 1;
            } else if event.change == Change::Removed && self.deletes == Deletes::Leave {
                filtered.deletes_left += 1;
            } else {
                selected.events.push(event);
            }
        }
        filtered.jobs = selected.jobs();
        filtered.coalesced = selected.events.len() - filtered.jobs.len();
        for job in &mut filtered.jobs {
            job.task.clone_from(&self.task);
        }
        filtered
    }

    fn selects(&self, event: &Event) -> bool {
        let key = event.key.as_str();
        let of_bucket = match (&self.bucket, &event.bucket) {
            (Some(wanted), Some(bucket)) => wanted == bucket,
            _ => true,
        };
        let any = |texts: &[String], holds: &dyn Fn(&str) -> bool| {
            texts.is_empty() || texts.iter().any(|text| holds(text))
        };
        of_bucket
            && any(&self.prefixes, &|prefix| key.starts_with(prefix))
            && any(&self.suffixes, &|suffix| key.ends_with(suffix))
    }
}

#[cfg(test)]
mod tests {
    use ferry_transfer::event;
    use ferry_transfer::job::Action;
    use serde_json::json;

    use super::*;

    fn notification(records: &[(&str, &str, &str)]) -> Notification {
        let records: Vec<_> = records
            .iter()
            .map(|(name, bucket, key)| {
                json!({ "eventName": name, "s3": { "bucket": { "name": bucket }, "object": { "key": key } } })
            })
            .collect();
        event::parse(&json!({ "Records": records }).to_string()).expect("a notification")
    }

    fn keys(filtered: &Filtered) -> Vec<(&str, Action)> {
        filtered.jobs.iter().map(|job| (job.key.as_str(), job.action)).collect()
    }

    #[test]
    fn keys_are_chosen_by_prefix_suffix_and_bucket() {
        let rules = Rules {
            task: Some("t".into()),
            bucket: Some("b".into()),
            prefixes: vec!["a/".into(), "b/".into()],
            suffixes: vec![".jpg".into()],
            deletes: Deletes::Leave,
        };
        let put = "ObjectCreated:Put";
        let filtered = rules.apply(notification(&[
            (put, "b", "a/1.jpg"),
            (put, "b", "a/1.png"),
            (put, "b", "c/1.jpg"),
            (put, "other", "a/2.jpg"),
            (put, "b", "b/3.jpg"),
            (put, "b", "a/1.jpg"),
        ]));
        assert_eq!(keys(&filtered), [("a/1.jpg", Action::Copy), ("b/3.jpg", Action::Copy)]);
        assert_eq!((filtered.not_selected, filtered.coalesced), (3, 1));
        assert!(filtered.jobs.iter().all(|job| job.task.as_deref() == Some("t")));
    }

    #[test]
    fn deletes_are_jobs_only_where_they_are_asked_for() {
        let records = [
            ("ObjectCreated:Put", "b", "a"),
            ("ObjectRemoved:Delete", "b", "a"),
            ("ObjectAcl:Put", "b", "a"),
        ];
        let left = Rules::default().apply(notification(&records));
        assert_eq!((keys(&left), left.deletes_left), (vec![("a", Action::Copy)], 1));
        assert_eq!(left.ignored, BTreeMap::from([("not-content".to_owned(), 1)]));
        let sent = Rules { deletes: Deletes::Send, ..Rules::default() }.apply(notification(&records));
        assert_eq!(keys(&sent), [("a", Action::Delete)]);
    }
}
