//! Where deleted objects go instead.
//!
//! Owns: the prefix and the names under it: `PREFIX/RUN/KEY`, KEY being the whole key of the destination. Does not own: moving an object
//! there. Invariant: what is in the trash takes no part in any comparison or delete.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Key, Result};

/// A prefix of the destination's bucket, ending in `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Trash(String);

/// Not a prefix for a trash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a trash needs a prefix of its own, such as trash/")]
pub struct BadTrash;

impl Trash {
    /// The prefix.
    pub fn prefix(&self) -> &str {
        &self.0
    }

    /// Whether the destination's key lies in it.
    pub fn holds(&self, key: &str) -> bool {
        key.starts_with(&self.0)
    }

    /// Where a run puts an object; names of other forms than Ferry's own runs lie together under `events`.
    pub(crate) fn key(&self, run: Option<&str>, key: &Key) -> Result<Key> {
        let run = run.filter(|run| !run.is_empty() && !run.contains('/')).unwrap_or("events");
        Key::new(format!("{}{run}/{key}", self.0)).map_err(|empty| {
            Error::new(ErrorKind::InvalidInput, "an object in the trash needs a name").caused_by(empty)
        })
    }
}

impl FromStr for Trash {
    type Err = BadTrash;

    fn from_str(prefix: &str) -> Result<Self, BadTrash> {
        match prefix.trim_end_matches('/') {
            "" => Err(BadTrash),
            bare => Ok(Self(format!("{bare}/"))),
        }
    }
}

impl TryFrom<String> for Trash {
    type Error = BadTrash;

    fn try_from(prefix: String) -> Result<Self, BadTrash> {
        prefix.parse()
    }
}

impl From<Trash> for String {
    fn from(trash: Trash) -> Self {
        trash.0
    }
}

impl fmt::Display for Trash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trash_names_an_object_by_its_run_and_its_whole_key() {
        let trash: Trash = "trash".parse().expect("trash");
        let key = Key::new("mine//a b").expect("key");
        assert_eq!(trash.key(Some("r1"), &key).expect("key").as_str(), "trash/r1/mine//a b");
        assert_eq!(trash.key(None, &key).expect("key").as_str(), "trash/events/mine//a b");
        assert!(trash.holds("trash/x") && !trash.holds("trashed"));
        assert_eq!("///".parse::<Trash>(), Err(BadTrash));
    }
}
