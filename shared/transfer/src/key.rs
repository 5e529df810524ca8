//! Keys and ranges of keys.
//!
//! Owns: the bytes of a key, unchanged, and the order stores list in (UTF-8 bytes). Does not own: encoding for a wire, which
//! each adapter does exactly once. Invariant: a [`Key`] is never empty.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An object's full key: any non-empty UTF-8, byte for byte. Orders by UTF-8 bytes, as S3 lists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Key(String);

/// The empty string is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key must not be empty")]
pub struct EmptyKey;

impl Key {
    /// Refuses only the empty string. Length limits are the destination's ([`crate::Capabilities::key_bytes_max`]), not ours:
    /// a source may hold what no other store can.
    pub fn new(key: impl Into<String>) -> Result<Self, EmptyKey> {
        let key = key.into();
        if key.is_empty() { Err(EmptyKey) } else { Ok(Self(key)) }
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What remains after `prefix`; `None` where the key does not start with it.
    pub fn strip_prefix<'a>(&'a self, prefix: &str) -> Option<&'a str> {
        self.0.strip_prefix(prefix)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl TryFrom<&str> for Key {
    type Error = EmptyKey;

    fn try_from(key: &str) -> Result<Self, EmptyKey> {
        Self::new(key)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Quoted and escaped, so that control characters cannot spoil a terminal or a log line.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A stretch of the keyspace relative to a prefix: greater than `after`, up to and including `until`.
///
/// Both ends are *relative* keys (what remains after the side's prefix), so the same range names the same objects on both
/// sides. Half-open this way because `start-after` is exclusive in S3's `ListObjectsV2`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// Exclusive lower end; `None` is the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Inclusive upper end; `None` is the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl KeyRange {
    /// Every key.
    pub const ALL: Self = Self { after: None, until: None };

    /// The smallest range that holds all of these; `None` where there are none.
    pub fn hull(ranges: impl IntoIterator<Item = Self>) -> Option<Self> {
        ranges.into_iter().reduce(|a, b| Self {
            after: a.after.zip(b.after).map(|(a, b)| a.min(b)),
            until: a.until.zip(b.until).map(|(a, b)| a.max(b)),
        })
    }

    /// Whether the relative key lies in the range.
    pub fn contains(&self, relative: &str) -> bool {
        self.after.as_deref().is_none_or(|after| relative > after) && !self.is_past(relative)
    }

    /// Whether the relative key lies behind the range's upper end, so that a listing may stop.
    pub fn is_past(&self, relative: &str) -> bool {
        self.until.as_deref().is_some_and(|until| relative > until)
    }

    /// What lies in both; `None` where nothing does.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let after = self.after.as_ref().max(other.after.as_ref());
        let until = match (&self.until, &other.until) {
            (Some(until), Some(other)) => Some(until.min(other)),
            (until, other) => until.as_ref().or(other.as_ref()),
        };
        let is_empty = matches!((after, until), (Some(after), Some(until)) if after >= until);
        (!is_empty).then(|| Self { after: after.cloned(), until: until.cloned() })
    }

    /// What is left of the range behind the relative key.
    #[must_use]
    pub fn remaining_after(&self, relative: &str) -> Self {
        Self { after: Some(relative.to_owned()), until: self.until.clone() }
    }
}

/// The smallest string greater than every string that begins with `prefix`; `None` where there is none.
///
/// UTF-8 orders as code points do, so the last character that has a successor is replaced by it.
pub fn successor(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = match last {
            // The surrogates between these two are no characters.
            '\u{D7FF}' => Some('\u{E000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_by_utf8_bytes_not_by_locale() {
        let mut keys: Vec<Key> =
            ["é", "z", "Z", "~", "\u{1F5FB}", "a//", "a/"].map(|k| Key::new(k).expect("key")).into();
        keys.sort();
        let sorted: Vec<&str> = keys.iter().map(Key::as_str).collect();
        assert_eq!(sorted, ["Z", "a/", "a//", "z", "~", "é", "\u{1F5FB}"]);
    }

    #[test]
    fn a_range_excludes_its_start_and_includes_its_end() {
        let range = KeyRange { after: Some("b".into()), until: Some("d".into()) };
        let inside: Vec<&str> =
            ["a", "b", "b\0", "c", "d", "d\0"].into_iter().filter(|k| range.contains(k)).collect();
        assert_eq!(inside, ["b\0", "c", "d"]);
        assert!(range.is_past("e") && !range.is_past("d"));
    }

    #[test]
    fn an_intersection_holds_what_lies_in_both() {
        let range = |after: Option<&str>, until: Option<&str>| KeyRange {
            after: after.map(str::to_owned),
            until: until.map(str::to_owned),
        };
        let both = range(Some("b"), Some("f")).intersection(&range(None, Some("d")));
        assert_eq!(both, Some(range(Some("b"), Some("d"))));
        assert_eq!(KeyRange::ALL.intersection(&KeyRange::ALL), Some(KeyRange::ALL));
        assert_eq!(range(Some("d"), None).intersection(&range(None, Some("d"))), None);
    }

    #[test]
    fn debug_output_escapes_control_characters() {
        assert_eq!(format!("{:?}", Key::new("a\tb\u{7}").expect("key")), r#""a\tb\u{7}""#);
    }
}
