//! Which objects a task is about.
//!
//! Owns: the rules by key, size, age and storage class, and the decision for one object. Does not own: which keys are looked at in
//! the first place ([`crate::key_source`]). Invariants: the decision is a pure function of the relative key, of what the store
//! says of the object and of the time; an object that is not selected is neither copied nor deleted nor counted as extra.

mod moment;
mod pattern;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub use moment::{BadMoment, Moment};
pub use pattern::{BadPattern, Glob, KeyRegex};

use crate::{Entry, ObjectHead, Size, StorageClass};

/// Which objects a task is about; by default all of them. An object must pass every part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Select {
    /// By key relative to the source's prefix. The first rule that matches decides. A key that none matches is treated contrary to
    /// the last rule: behind includes alone nothing else comes in, behind a last exclude everything else does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// At least this size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_size: Option<Size>,
    /// At most this size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Size>,
    /// Taken in by its store at this moment or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newer_than: Option<Moment>,
    /// Taken in by its store before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_than: Option<Moment>,
    /// Of one of these storage classes; empty is any. Case does not matter, `STANDARD` is a store's default class.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only_classes: Vec<StorageClass>,
    /// Of none of these storage classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_classes: Vec<StorageClass>,
}

/// One rule by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Keys that match are selected.
    Include(Glob),
    /// Keys that match are not.
    Exclude(Glob),
    /// Keys that match are selected.
    IncludeRegex(KeyRegex),
    /// Keys that match are not.
    ExcludeRegex(KeyRegex),
}

impl Rule {
    fn matches(&self, relative: &str) -> bool {
        match self {
            Self::Include(glob) | Self::Exclude(glob) => glob.matches(relative),
            Self::IncludeRegex(regex) | Self::ExcludeRegex(regex) => regex.matches(relative),
        }
    }

    fn includes(&self) -> bool {
        matches!(self, Self::Include(_) | Self::IncludeRegex(_))
    }
}

/// What a store says of an object that a selection looks at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    size_bytes: u64,
    last_modified: Option<OffsetDateTime>,
    storage_class: Option<&'a StorageClass>,
}

impl<'a> From<&'a Entry> for Facts<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            size_bytes: entry.size_bytes,
            last_modified: entry.last_modified,
            storage_class: entry.storage_class.as_ref(),
        }
    }
}

impl<'a> From<&'a ObjectHead> for Facts<'a> {
    fn from(head: &'a ObjectHead) -> Self {
        Self {
            size_bytes: head.size_bytes,
            last_modified: head.last_modified,
            storage_class: head.attributes.storage_class.as_ref(),
        }
    }
}

impl Select {
    /// Whether the key alone may be selected, whatever its object is.
    pub fn admits_key(&self, relative: &str) -> bool {
        match self.rules.iter().find(|rule| rule.matches(relative)) {
            Some(rule) => rule.includes(),
            None => self.rules.last().is_none_or(|last| !last.includes()),
        }
    }

    /// Whether the object is selected, seen from `now`. One whose age nobody tells is not, where its age matters.
    pub fn admits<'a>(&self, relative: &str, object: impl Into<Facts<'a>>, now: OffsetDateTime) -> bool {
        let object = object.into();
        let is_of_age = |bound: &Option<Moment>, holds: fn(OffsetDateTime, OffsetDateTime) -> bool| {
            bound.as_ref().is_none_or(|moment| {
                object.last_modified.is_some_and(|modified| holds(modified, moment.seen_from(now)))
            })
        };
        self.admits_key(relative)
            && self.min_size.is_none_or(|min| object.size_bytes >= min.bytes)
            && self.max_size.is_none_or(|max| object.size_bytes <= max.bytes)
            && is_of_age(&self.newer_than, |modified, moment| modified >= moment)
            && is_of_age(&self.older_than, |modified, moment| modified < moment)
            && self.admits_class(object.storage_class)
    }

    fn admits_class(&self, class: Option<&StorageClass>) -> bool {
        let word = class.map_or("STANDARD", StorageClass::as_str);
        let lists = |classes: &[StorageClass]| {
            classes.iter().any(|listed| listed.as_str().eq_ignore_ascii_case(word))
        };
        (self.only_classes.is_empty() || lists(&self.only_classes)) && !lists(&self.not_classes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;
    use crate::Key;

    fn select(yaml: &str) -> Select {
        serde_saphyr::from_str(yaml).expect(yaml)
    }

    fn selected(select: &Select, keys: &[&str]) -> String {
        keys.iter().filter(|key| select.admits_key(key)).copied().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_first_rule_that_matches_decides_and_the_rest_goes_contrary_to_the_last() {
        let keys = ["a.jpg", "a.tmp", "keep.tmp", "x/b.jpg"];
        for (rules, left) in [
            ("[]", "a.jpg a.tmp keep.tmp x/b.jpg"),
            ("[include: '*.jpg']", "a.jpg x/b.jpg"),
            ("[exclude: '*.tmp']", "a.jpg x/b.jpg"),
            ("[include: keep.tmp, exclude: '*.tmp']", "a.jpg keep.tmp x/b.jpg"),
            ("[exclude: '*.tmp', include: keep.tmp]", ""),
            ("[exclude: 'x/', include_regex: 'jpg$']", "a.jpg"),
            ("[exclude_regex: '^a', include: '**']", "keep.tmp x/b.jpg"),
        ] {
            // A list of one-entry maps, written as YAML's flow pairs.
            let rules = format!("rules: {rules}");
            assert_eq!(selected(&select(&rules), &keys), left, "{rules}");
        }
    }

    #[test]
    fn size_age_and_class_all_must_fit() {
        let now = datetime!(2026-03-08 12:00 UTC);
        let object = |size_bytes, modified, class| Entry {
            key: Key::new("k").expect("key"),
            size_bytes,
            etag: None,
            last_modified: Some(modified),
            storage_class: StorageClass::parse(class),
        };
        let one = object(10, datetime!(2026-03-07 12:00 UTC), "");
        for (yaml, admitted) in [
            ("{min_size: 10, max_size: 10}", true),
            ("{min_size: 11}", false),
            ("{max_size: 9}", false),
            ("{newer_than: 1d}", true),
            ("{newer_than: 23h}", false),
            ("{older_than: 1d}", false),
            ("{older_than: 23h}", true),
            ("{newer_than: 2026-03-07, older_than: 2026-03-08}", true),
            ("{only_classes: [standard]}", true),
            ("{only_classes: [GLACIER]}", false),
            ("{not_classes: [STANDARD]}", false),
            ("{rules: [exclude: k], min_size: 1}", false),
        ] {
            assert_eq!(select(yaml).admits("k", &one, now), admitted, "{yaml}");
        }
        let ageless = Entry { last_modified: None, ..one };
        assert!(select("{min_size: 1}").admits("k", &ageless, now));
        assert!(!select("{older_than: 1d}").admits("k", &ageless, now));
    }

    #[test]
    fn a_selection_reads_back_and_mistakes_are_named() {
        let written =
            select("{rules: [include: 'a/**', exclude_regex: 'b+'], max_size: 1KiB, newer_than: 7d}");
        let json = serde_json::to_string(&written).expect("json");
        assert_eq!(
            json,
            r#"{"rules":[{"include":"a/**"},{"exclude_regex":"b+"}],"max_size":1024,"newer_than":"7d"}"#
        );
        assert_eq!(serde_json::from_str::<Select>(&json).expect("reads"), written);
        for bad in ["{size: 3}", "{rules: [include: '[a']}", "{newer_than: soon}", "{rules: [keep: a]}"] {
            assert!(serde_saphyr::from_str::<Select>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn excluding_is_the_contrary_of_including(pattern in "[ab*?/]{1,5}", key in "[ab/]{1,6}") {
            let rule = |kind| select(&format!("{{rules: [{kind}: '{pattern}']}}"));
            prop_assert_ne!(rule("include").admits_key(&key), rule("exclude").admits_key(&key));
        }
    }
}
