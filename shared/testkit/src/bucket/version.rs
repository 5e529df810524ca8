//! The versions a bucket keeps.
//!
//! Owns: the history of each key, delete markers, and what a version id names. Does not own: the current objects, which the bucket
//! holds beside it. Invariant: the current object of a key is the newest version, if that is no delete marker.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferry_transfer::ETag;
use ferry_transfer::store::Versioning;
use time::OffsetDateTime;

use super::object::check_tags;
use super::{Bucket, ReadCondition, Refusal, State, StoredObject};

/// One version of a key.
#[derive(Debug, Clone)]
pub struct StoredVersion {
    /// Its name.
    pub id: String,
    /// The object; `None` for a delete marker.
    pub object: Option<Arc<StoredObject>>,
    /// When it was taken in, in whole seconds.
    pub last_modified: OffsetDateTime,
}

/// By key, oldest version first.
pub(super) type Histories = BTreeMap<String, Vec<StoredVersion>>;

/// What a delete did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletion {
    /// The version that was removed, or the delete marker that was made.
    pub version_id: Option<String>,
    /// A delete marker was made, or removed.
    pub is_marker: bool,
}

/// A page of versions: keys ascending, each key's newest first.
#[derive(Debug, Clone, Default)]
pub struct VersionsPage {
    /// Key, version, and whether it is the key's newest.
    pub versions: Vec<(String, StoredVersion, bool)>,
    /// More to come, behind this key and version.
    pub next: Option<(String, String)>,
}

impl State {
    /// Makes an object the current one of its key.
    pub(super) fn admit(
        &mut self,
        versioning: Versioning,
        key: &str,
        mut object: StoredObject,
    ) -> Arc<StoredObject> {
        if versioning == Versioning::Enabled {
            object.version_id = Some(self.name_version());
        }
        let object = Arc::new(object);
        if let Some(id) = object.version_id.clone() {
            let last_modified = object.last_modified;
            let version = StoredVersion { id, object: Some(Arc::clone(&object)), last_modified };
            self.histories.entry(key.to_owned()).or_default().push(version);
        }
        self.objects.insert(key.to_owned(), Arc::clone(&object));
        object
    }

    /// Keeps the history in step with a current object that was changed in place.
    pub(super) fn renew(&mut self, key: &str) {
        if let (Some(object), Some(newest)) =
            (self.objects.get(key), self.histories.get_mut(key).and_then(|history| history.last_mut()))
            && object.version_id.as_ref() == Some(&newest.id)
        {
            newest.last_modified = object.last_modified;
            newest.object = Some(Arc::clone(object));
        }
    }

    fn name_version(&mut self) -> String {
        self.generations += 1;
        format!("version-{:06}", self.generations)
    }
}

impl Bucket {
    /// A version of an object; without an id the current one.
    pub fn version(&self, key: &str, id: Option<&str>) -> Result<Arc<StoredObject>, Refusal> {
        let state = self.read();
        match id {
            None => state.objects.get(key).cloned().ok_or(Refusal::NoSuchKey),
            Some("null") if !state.histories.contains_key(key) => {
                state.objects.get(key).cloned().ok_or(Refusal::NoSuchVersion)
            }
            Some(id) => state
                .histories
                .get(key)
                .and_then(|history| history.iter().find(|version| version.id == id))
                .and_then(|version| version.object.clone())
                .ok_or(Refusal::NoSuchVersion),
        }
    }

    /// A version of an object, if its generation is one the condition lets through.
    pub fn read_version_if(
        &self,
        key: &str,
        id: Option<&str>,
        condition: &ReadCondition,
    ) -> Result<Arc<StoredObject>, Refusal> {
        let object = self.version(key, id)?;
        condition.check(&object)?;
        Ok(object)
    }

    /// Replaces the tags of a version; its generation stays.
    pub fn set_version_tags(
        &self,
        key: &str,
        id: Option<&str>,
        tags: Vec<(String, String)>,
    ) -> Result<(), Refusal> {
        let object = self.version(key, id)?;
        if self.get(key).is_some_and(|current| current.version_id == object.version_id) {
            return self.set_tags(key, tags);
        }
        check_tags(&tags)?;
        let mut state = self.write();
        let history = state.histories.get_mut(key).ok_or(Refusal::NoSuchVersion)?;
        let version = history.iter_mut().find(|version| Some(version.id.as_str()) == id);
        let object = version.and_then(|version| version.object.as_mut()).ok_or(Refusal::NoSuchVersion)?;
        Arc::make_mut(object).attributes.tags = tags;
        Ok(())
    }

    /// Deletes an object, or one version for good. Where versions are kept, the former puts a delete marker over them.
    pub fn delete_version(
        &self,
        key: &str,
        id: Option<&str>,
        if_match: Option<&ETag>,
    ) -> Result<Deletion, Refusal> {
        match id {
            None => self.delete(key, if_match),
            Some(id) => Ok(self.remove_version(key, id)),
        }
    }

    fn remove_version(&self, key: &str, id: &str) -> Deletion {
        let mut state = self.write();
        let Some(history) = state.histories.get_mut(key) else {
            if id == "null" {
                state.objects.remove(key);
            }
            return Deletion::default();
        };
        let removed = history.iter().position(|version| version.id == id).map(|at| history.remove(at));
        let newest = history.last().and_then(|version| version.object.clone());
        if history.is_empty() {
            state.histories.remove(key);
        }
        match newest {
            Some(object) => drop(state.objects.insert(key.to_owned(), object)),
            None => drop(state.objects.remove(key)),
        }
        let is_marker = removed.is_some_and(|version| version.object.is_none());
        Deletion { version_id: Some(id.to_owned()), is_marker }
    }

    pub(super) fn mark_deleted(&self, state: &mut State, key: &str) -> Deletion {
        state.objects.remove(key);
        let id = state.name_version();
        let marker = StoredVersion { id: id.clone(), object: None, last_modified: self.now() };
        state.histories.entry(key.to_owned()).or_default().push(marker);
        Deletion { version_id: Some(id), is_marker: true }
    }

    /// One page of versions behind a key, or behind one of its versions. Without versions every object is the version `null`.
    pub fn versions(&self, prefix: &str, after: Option<(&str, Option<&str>)>, limit: usize) -> VersionsPage {
        let state = self.read();
        let nulls = state.objects.iter().filter(|(key, _)| !state.histories.contains_key(*key)).map(
            |(key, object)| {
                let version = StoredVersion {
                    id: "null".to_owned(),
                    object: Some(Arc::clone(object)),
                    last_modified: object.last_modified,
                };
                (key.clone(), vec![version])
            },
        );
        let mut all: Histories = nulls.collect();
        all.extend(state.histories.iter().map(|(key, history)| (key.clone(), history.clone())));
        let mut left =
            all.into_iter().filter(|(key, _)| key.starts_with(prefix)).flat_map(|(key, history)| {
                let newest = history.last().map(|version| version.id.clone());
                let behind = match after {
                    Some((after, _)) if key.as_str() < after => history.len(),
                    Some((after, None)) if key == after => history.len(),
                    Some((after, Some(id))) if key == after => {
                        history.iter().rev().position(|version| version.id == id).map_or(0, |at| at + 1)
                    }
                    _ => 0,
                };
                history.into_iter().rev().skip(behind).map(move |version| {
                    let is_newest = newest.as_ref() == Some(&version.id);
                    (key.clone(), version, is_newest)
                })
            });
        let versions: Vec<_> = left.by_ref().take(limit).collect();
        let next =
            left.next().and(versions.last()).map(|(key, version, _)| (key.clone(), version.id.clone()));
        VersionsPage { versions, next }
    }
}
