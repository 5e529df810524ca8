//! A size in bytes, as people write it.
//!
//! Owns: the units. Invariant: never zero, since no setting of Ferry means anything at zero bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A size in bytes, typed as `64MiB`, `1GiB`, `500kB` or plain bytes; in a task also as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// In bytes.
    pub bytes: u64,
}

/// Not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no size: write bytes, or a number with KiB, MiB, GiB, TiB, kB, MB, GB or TB")]
pub struct BadSize(String);

impl FromStr for Size {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        const UNITS: [(&str, u64); 11] = [
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("TiB", 1 << 40),
            ("kB", 1_000),
            ("KB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("TB", 1_000_000_000_000),
            ("B", 1),
            ("", 1),
        ];
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
        let unit = text[digits.len()..].trim();
        let bad = || BadSize(text.to_owned());
        let (_, factor) = UNITS.iter().find(|(word, _)| *word == unit).ok_or_else(bad)?;
        let number: u64 = digits.parse().map_err(|_| bad())?;
        let bytes = number.checked_mul(*factor).filter(|bytes| *bytes > 0).ok_or_else(bad)?;
        Ok(Self { bytes })
    }
}

/// In plain bytes.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

impl Serialize for Size {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.bytes)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Bytes(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) => bytes.to_string().parse(),
            Written::Text(text) => text.parse(),
        }
        .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_typed_with_units() {
        assert_eq!("32MiB".parse(), Ok(Size { bytes: 32 << 20 }));
        assert_eq!("5 MB".parse(), Ok(Size { bytes: 5_000_000 }));
        assert_eq!("7".parse(), Ok(Size { bytes: 7 }));
        for bad in ["", "MiB", "1.5GiB", "0", "3 parsecs", "-1"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_document_holds_a_size_as_text_or_as_a_number() {
        let read = |json: &str| serde_json::from_str::<Size>(json).map(|size| size.bytes);
        assert_eq!(read("\"1KiB\"").expect("text"), 1024);
        assert_eq!(read("1024").expect("number"), 1024);
        assert!(read("0").is_err() && read("\"much\"").is_err());
    }
}
