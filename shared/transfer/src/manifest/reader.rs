//! Reads a manifest back, and trusts it only as far as its last line goes.

use std::io::BufRead;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Counts, FORMAT, Header, RangeRecord};
use crate::etag::hex;

/// A manifest that was read: whole, and as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What it is about.
    pub header: Header,
    /// Its ranges, from the beginning of the keyspace to its end.
    pub ranges: Vec<RangeRecord>,
}

/// Not a manifest, or not as it was written.
#[derive(Debug, thiserror::Error)]
pub enum BadManifest {
    /// It cannot be read.
    #[error("it cannot be read")]
    Io(#[from] std::io::Error),
    /// A line is not what a manifest has there.
    #[error("line {line} is none of a manifest's: {problem}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The digest in the last line is not that of the lines before it.
    #[error("it is not as it was written: its lines have the digest {found}, its last line says {written}")]
    Tampered {
        /// What the last line says.
        written: String,
        /// What the lines before it have.
        found: String,
    },
    /// The last line is missing.
    #[error("it has no end")]
    Unfinished,
}

impl Manifest {
    /// Reads all of it. Differences are proven by the digest, and passed over.
    pub fn read(mut from: impl BufRead) -> Result<Self, BadManifest> {
        let mut read = Sha256::default();
        let (mut header, mut ranges) = (None, Vec::<RangeRecord>::new());
        let mut text = String::new();
        for number in 1.. {
            text.clear();
            if from.read_line(&mut text)? == 0 {
                return Err(BadManifest::Unfinished);
            }
            let bad = |problem: String| BadManifest::Line { line: number, problem };
            let value: Value = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
            if let Some(written) = value.get("sha256").and_then(Value::as_str) {
                let found = hex(&read.finalize());
                if written != found {
                    return Err(BadManifest::Tampered { written: written.to_owned(), found });
                }
                break;
            }
            read.update(text.as_bytes());
            if number == 1 {
                let first: Header = serde_json::from_value(value).map_err(|error| bad(error.to_string()))?;
                if first.manifest != FORMAT {
                    return Err(bad(format!(
                        "this version of Ferry knows format {FORMAT}, not {}",
                        first.manifest
                    )));
                }
                header = Some(first);
            } else if value.get("range").is_some() {
                let range: RangeRecord =
                    serde_json::from_value(value).map_err(|error| bad(error.to_string()))?;
                if range.after != ranges.last().and_then(|last| last.until.clone()) {
                    return Err(bad("the range does not begin where the one before it ends".to_owned()));
                }
                ranges.push(range);
            }
        }
        match (header, ranges.last()) {
            (Some(header), Some(RangeRecord { until: None, .. })) => Ok(Self { header, ranges }),
            _ => Err(BadManifest::Unfinished),
        }
    }

    /// Names by kind, then.
    pub fn counts(&self) -> Counts {
        self.ranges.iter().fold(Counts::default(), |counts, range| counts.plus(range.counts))
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::super::{Found, ManifestWriter, Named};
    use super::*;
    use crate::{CompareMode, Entry, Key};

    fn written() -> Vec<u8> {
        let header = Header {
            manifest: FORMAT,
            ferry: "0".into(),
            source: "a://b/".into(),
            destination: "c://d/".into(),
            compare: CompareMode::Auto,
            rules: Value::Null,
            began: OffsetDateTime::UNIX_EPOCH,
        };
        let mut out = Vec::new();
        let mut writer = ManifestWriter::begin(&mut out, &header).expect("memory");
        for number in 0..20_000 {
            let name = format!("{number:05}");
            let entry = Entry {
                key: Key::new(name.as_str()).expect("key"),
                size_bytes: 2,
                etag: None,
                last_modified: None,
                storage_class: None,
            };
            let named = Named { name: &name, source: Some(&entry), destination: None, found: Found::Missing };
            writer.add(&named, Some(("missing", "2 bytes"))).expect("memory");
        }
        writer.end(OffsetDateTime::UNIX_EPOCH).expect("memory");
        out
    }

    #[test]
    fn what_was_written_is_read_back_and_any_change_shows() {
        let bytes = written();
        let manifest = Manifest::read(bytes.as_slice()).expect("reads");
        assert_eq!(manifest.counts().missing, 20_000);
        assert!(manifest.ranges.len() > 1);
        let text = String::from_utf8(bytes).expect("text");
        let tampered = text.replacen("\"00007\"", "\"00008\"", 1);
        assert!(matches!(Manifest::read(tampered.as_bytes()), Err(BadManifest::Tampered { .. })));
        let without_a_difference: String =
            text.split_inclusive('\n').filter(|line| !line.contains("\"00009\"")).collect();
        assert!(matches!(Manifest::read(without_a_difference.as_bytes()), Err(BadManifest::Tampered { .. })));
        let cut_short = &text[..text.len() - 90];
        assert!(Manifest::read(cut_short.as_bytes()).is_err());
    }
}
