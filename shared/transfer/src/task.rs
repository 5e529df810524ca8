//! A named description of what to move where, and by which rules.
//!
//! Owns: the one document that a file, a parameter store and an API share. Unknown fields are refused with line and column.
//! Does not own: how stores are reached, which is configuration of the host. Invariant: a task that parsed can be run as far as
//! its own text tells.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::CompareMode;
use crate::attribute_rules::AttributeRules;
use crate::deletion::Trash;
use crate::key_source::KeySource;
use crate::large::Large;
use crate::listing::ListingRules;
use crate::pace::Pace;
use crate::restore_rule::RestoreRule;
use crate::rewrite::Rewrite;
use crate::schedule::Schedule;
use crate::select::Select;
use crate::server_side::ServerSideRule;
use crate::versions::Versions;

/// What to move where, and by which rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The task's name, as messages carry it.
    pub name: String,
    /// Of this document's schema.
    #[serde(default = "schema_version")]
    pub version: u32,
    /// Where objects come from.
    pub source: Location,
    /// Where they go.
    pub destination: Location,
    /// Where its keys come from.
    #[serde(default)]
    pub keys: KeySource,
    /// Which objects it is about.
    #[serde(default)]
    pub select: Select,
    /// Which keys are named differently at the destination.
    #[serde(default)]
    pub rewrite: Rewrite,
    /// How much of an object's past travels.
    #[serde(default)]
    pub versions: Versions,
    /// How to tell whether an object must be copied.
    #[serde(default)]
    pub compare: CompareMode,
    /// What happens to objects that are gone at the source.
    #[serde(default)]
    pub deletes: Deletes,
    /// Where deleted objects go instead; `None` is nowhere.
    #[serde(default)]
    pub trash: Option<Trash>,
    /// Which storage class to write.
    #[serde(default)]
    pub storage_class: StorageClassRule,
    /// What to do with attributes that the destination cannot hold.
    #[serde(default)]
    pub unsupported: UnsupportedRule,
    /// What becomes of archived objects.
    #[serde(default)]
    pub restore: RestoreRule,
    /// What is written with each object.
    #[serde(default)]
    pub attributes: AttributeRules,
    /// Whether the store copies by itself where both ends are one.
    #[serde(default)]
    pub server_side: ServerSideRule,
    /// How the largest objects are treated.
    #[serde(default)]
    pub large: Large,
    /// How buckets are listed.
    #[serde(default)]
    pub listing: ListingRules,
    /// How fast to go at most.
    #[serde(default)]
    pub pace: Pace,
    /// When it runs by itself; `None` is when somebody says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

fn schema_version() -> u32 {
    Task::VERSION
}

impl Task {
    /// Of the document's schema.
    pub const VERSION: u32 = 1;

    /// A task with the rules that a document leaves out.
    pub fn new(name: impl Into<String>, source: Location, destination: Location) -> Self {
        Self {
            name: name.into(),
            version: schema_version(),
            source,
            destination,
            keys: KeySource::default(),
            select: Select::default(),
            rewrite: Rewrite::default(),
            versions: Versions::default(),
            compare: CompareMode::default(),
            deletes: Deletes::default(),
            trash: None,
            storage_class: StorageClassRule::default(),
            unsupported: UnsupportedRule::default(),
            restore: RestoreRule::default(),
            attributes: AttributeRules::default(),
            server_side: ServerSideRule::default(),
            large: Large::default(),
            listing: ListingRules::default(),
            pace: Pace::default(),
            schedule: None,
        }
    }
}

/// A bucket of a named store, and a prefix in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// The store's name.
    pub store: String,
    /// The bucket.
    pub bucket: String,
    /// Only keys that begin so; the rest of the key is what the two sides have in common.
    #[serde(default)]
    pub prefix: String,
}

/// What happens to objects that are gone at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deletes {
    /// They stay at the destination.
    #[default]
    Keep,
    /// They are deleted, within this limit, once each is proven gone.
    Mirror(DeleteLimit),
}

/// The most a run may delete; a plan beyond it is refused before its first delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteLimit {
    /// So many objects.
    Count(u64),
    /// So many per cent of the objects at the destination.
    Percent(u8),
}

/// Half of the destination: enough for any tidy-up, too little to survive an empty or wrong source.
impl Default for DeleteLimit {
    fn default() -> Self {
        Self::Percent(50)
    }
}

impl DeleteLimit {
    /// Whether a plan to delete `planned` of `held` objects stays within it.
    pub fn allows(self, planned: u64, held: u64) -> bool {
        match self {
            Self::Count(most) => planned <= most,
            Self::Percent(most) => u128::from(planned) * 100 <= u128::from(held) * u128::from(most),
        }
    }
}

impl fmt::Display for DeleteLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(most) => write!(f, "{most}"),
            Self::Percent(most) => write!(f, "{most}%"),
        }
    }
}

/// Not a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no limit: write a number of objects (100) or a share of the destination (10%)")]
pub struct BadDeleteLimit(String);

impl FromStr for DeleteLimit {
    type Err = BadDeleteLimit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadDeleteLimit(text.to_owned());
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent: u8 = percent.parse().map_err(|_| bad())?;
                if percent <= 100 { Ok(Self::Percent(percent)) } else { Err(bad()) }
            }
            None => text.parse().map(Self::Count).map_err(|_| bad()),
        }
    }
}

impl Serialize for DeleteLimit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeleteLimit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Count(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Count(count) => Ok(Self::Count(count)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// Which storage class to write.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageClassRule {
    /// The source's own class, by the word the destination has for it ([`crate::storage_tier::counterpart`]).
    #[default]
    Preserve,
    /// This one for every object; `STANDARD` is the destination's default.
    Fixed(String),
    /// By the source's word; `STANDARD` is any object without one. Words that are not listed are preserved.
    Map(BTreeMap<String, String>),
}

/// What to do with attributes that the destination cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnsupportedRule {
    /// Fail the object.
    #[default]
    Fail,
    /// Copy it without them.
    Drop,
    /// Copy it without them, and write them into a small document beside it ([`crate::unfit::SIDECAR_SUFFIX`]).
    Sidecar,
}

/// Not a location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no location: {problem}; write NAME://BUCKET/PREFIX, NAME being a store of ferry.yaml, or s3://BUCKET/PREFIX"
)]
pub struct BadLocation {
    text: String,
    problem: &'static str,
}

impl FromStr for Location {
    type Err = BadLocation;

    /// Reads `NAME://bucket/prefix`. The prefix is taken byte for byte: `//` and a leading `/` of it are part of the keys.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |problem| BadLocation { text: text.to_owned(), problem };
        let (store, rest) = text.split_once("://").ok_or_else(|| bad("there is no `://`"))?;
        if store.is_empty() {
            return Err(bad("the store has no name"));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(bad("there is no bucket"));
        }
        Ok(Self { store: store.to_owned(), bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/{}", self.store, self.bucket, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_keeps_its_prefix_byte_for_byte() {
        let location: Location = "hangzhou://photos//a b/%20".parse().expect("location");
        assert_eq!((location.store.as_str(), location.bucket.as_str()), ("hangzhou", "photos"));
        assert_eq!(location.prefix, "/a b/%20");
        assert_eq!(location.to_string(), "hangzhou://photos//a b/%20");
        for bad in ["photos", "://b", "s3://", "s3:///x"] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_task_reads_from_yaml_and_names_the_line_of_a_wrong_field() {
        let yaml = "name: photos\nsource: {store: hz, bucket: a}\ndestination: {store: s3, bucket: b, prefix: x/}\n\
                    compare: etag\ndeletes: {mirror: 10%}\n";
        let task: Task = serde_saphyr::from_str(yaml).expect("task");
        assert_eq!(task.deletes, Deletes::Mirror(DeleteLimit::Percent(10)));
        let error =
            serde_saphyr::from_str::<Task>(&format!("{yaml}colour: red\n")).expect_err("unknown field");
        let message = error.to_string();
        assert!(message.contains("colour") && message.contains("line 6"), "{message}");
    }

    #[test]
    fn limits_are_counts_or_shares() {
        assert!(DeleteLimit::Percent(50).allows(5, 10) && !DeleteLimit::Percent(50).allows(6, 10));
        assert!(DeleteLimit::Count(3).allows(3, 3) && !DeleteLimit::Count(3).allows(4, 100));
        assert_eq!("10%".parse(), Ok(DeleteLimit::Percent(10)));
        assert!("110%".parse::<DeleteLimit>().is_err() && "many".parse::<DeleteLimit>().is_err());
    }
}
