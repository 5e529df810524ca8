//! What of an object's attributes a store cannot hold.
//!
//! Owns: telling it from the store's capabilities, attribute by attribute, and the document that keeps it beside the copy. Does not
//! own: what is then done ([`crate::task::UnsupportedRule`]). Invariant: what fits and what does not make up the whole.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::{Attributes, Capabilities, Key, StorageClass, Support};

/// What the keys of sidecars end in.
pub const SIDECAR_SUFFIX: &str = ".ferry-attributes.json";

/// What does not fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Unfit {
    /// The storage class, in the source's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<StorageClass>,
    /// User metadata whose names or values the store does not take as they are, or for which there is no room.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user_metadata: BTreeMap<String, String>,
    /// Tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
}

impl Unfit {
    /// Whether everything fits.
    pub fn is_empty(&self) -> bool {
        self.storage_class.is_none() && self.user_metadata.is_empty() && self.tags.is_empty()
    }
}

/// As the end of "the store cannot hold …".
impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if let Some(class) = &self.storage_class {
            words.push(format!("storage class {class} (set another with --storage-class)"));
        }
        if !self.user_metadata.is_empty() {
            let names: Vec<&str> = self.user_metadata.keys().take(5).map(String::as_str).collect();
            let more = if self.user_metadata.len() > names.len() { " …" } else { "" };
            words.push(format!("its user metadata {}{more}", names.join(", ")));
        }
        if !self.tags.is_empty() {
            words.push(format!("{} tags", self.tags.len()));
        }
        f.write_str(&words.join(" and "))
    }
}

/// Takes out of the attributes what a store of these capabilities cannot hold.
pub fn take_unfit(attributes: &mut Attributes, store: &Capabilities) -> Unfit {
    let storage_class = attributes.storage_class.take_if(|class| !store.can_ask_for(class));
    let mut user_metadata: BTreeMap<String, String> = BTreeMap::new();
    attributes.user_metadata.retain(|name, value| {
        let fits = (store.user_metadata_underscores.may() || !name.contains('_'))
            && (store.user_metadata_unicode.may() || value.is_ascii());
        if !fits {
            user_metadata.insert(name.clone(), value.clone());
        }
        fits
    });
    // The largest go first, so that as many as possible stay; of equal ones the last by name.
    let size_bytes = |metadata: &BTreeMap<String, String>| -> usize {
        metadata.iter().map(|(name, value)| name.len() + value.len()).sum()
    };
    let room_bytes = usize::try_from(store.user_metadata_bytes_max).unwrap_or(usize::MAX);
    while size_bytes(&attributes.user_metadata) > room_bytes {
        let largest = attributes.user_metadata.iter().max_by_key(|(name, value)| name.len() + value.len());
        let Some((name, value)) = largest.map(|(name, value)| (name.clone(), value.clone())) else { break };
        attributes.user_metadata.remove(&name);
        user_metadata.insert(name, value);
    }
    let tags_max = match store.tags {
        Support::No => 0,
        _ => usize::try_from(store.tags_max).unwrap_or(usize::MAX),
    };
    let tags = attributes.tags.split_off(attributes.tags.len().min(tags_max));
    Unfit { storage_class, user_metadata, tags }
}

/// What is wrong with a key for a store of these capabilities; `None` where it fits.
pub fn key_unfit(key: &str, store: &Capabilities) -> Option<String> {
    let longer_than = |text: &str, most: u32| text.len() > usize::try_from(most).unwrap_or(usize::MAX);
    if longer_than(key, store.key_bytes_max) {
        return Some(format!("more than {} bytes", store.key_bytes_max));
    }
    if key.split('/').any(|segment| longer_than(segment, store.key_segment_bytes_max)) {
        return Some(format!("more than {} bytes between two slashes", store.key_segment_bytes_max));
    }
    let beginning = store.key_beginnings_refused.iter().find(|beginning| key.starts_with(beginning.as_str()));
    beginning.map(|beginning| format!("begins with {beginning:?}"))
}

/// The key of the document that holds what does not fit.
pub fn sidecar_key(key: &Key) -> Option<Key> {
    Key::new(format!("{key}{SIDECAR_SUFFIX}")).ok()
}

/// Whether a key is that of such a document.
pub fn is_sidecar(key: &str) -> bool {
    key.ends_with(SIDECAR_SUFFIX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn store() -> Capabilities {
        Capabilities {
            storage_classes: vec!["STANDARD".to_owned(), "COLD".to_owned()],
            user_metadata_underscores: Support::No,
            user_metadata_unicode: Support::No,
            user_metadata_bytes_max: 20,
            tags_max: 1,
            ..Capabilities::default()
        }
    }

    #[test]
    fn each_kind_is_found_and_named() {
        let mut attributes = Attributes {
            storage_class: StorageClass::parse("FROZEN"),
            user_metadata: [("a_b", "1"), ("fits", "ok"), ("uni", "ü"), ("large", "012345678901234567890")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            tags: vec![("a".into(), "1".into()), ("b".into(), "2".into())],
            ..Attributes::default()
        };
        let unfit = take_unfit(&mut attributes, &store());
        assert_eq!(attributes.user_metadata.keys().collect::<Vec<_>>(), ["fits"]);
        assert_eq!((attributes.storage_class, attributes.tags.len()), (None, 1));
        assert_eq!(
            unfit.to_string(),
            "storage class FROZEN (set another with --storage-class) and its user metadata a_b, large, uni and 1 tags"
        );
        let document = serde_json::to_value(&unfit).expect("json");
        assert_eq!(document["user_metadata"]["a_b"], "1");
    }

    #[test]
    fn keys_are_too_long_or_begin_wrongly() {
        let store = Capabilities {
            key_bytes_max: 10,
            key_segment_bytes_max: 4,
            key_beginnings_refused: vec!["/".to_owned()],
            ..Capabilities::default()
        };
        let unfit = |key| key_unfit(key, &store);
        assert_eq!(unfit("a/bcde/fgh"), None);
        assert_eq!(unfit("a/bcde/fghi").as_deref(), Some("more than 10 bytes"));
        assert_eq!(unfit("a/bcdef").as_deref(), Some("more than 4 bytes between two slashes"));
        assert_eq!(unfit("/a").as_deref(), Some("begins with \"/\""));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_what_stays_fits(metadata in proptest::collection::btree_map("[a-z_]{1,4}", "[a-zü]{0,8}", 0..6)) {
            let mut attributes = Attributes { user_metadata: metadata.clone(), ..Attributes::default() };
            let unfit = take_unfit(&mut attributes, &store());
            let bytes: usize = attributes.user_metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
            prop_assert!(bytes <= 20);
            let mut all = attributes.user_metadata;
            all.extend(unfit.user_metadata);
            prop_assert_eq!(all, metadata);
        }
    }
}
