//! A list of keys, as somebody wrote it.
//!
//! Owns: the three ways of writing one, and telling them apart. Does not own: where it is read from. Invariants: keys come out byte
//! for byte, in the order written; memory is one record and one chunk; a record that is none is an error that names its number.

use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};

use super::Document;
use crate::{ETag, Error, ErrorKind, Key, Result};

/// How a list is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyListFormat {
    /// As its first 64 KiB look: with a NUL in them separated by NULs; beginning with an object that has a `key`, JSON lines;
    /// else lines of text.
    #[default]
    Auto,
    /// One key on each line; a line ends with LF or CR LF, empty ones are passed over.
    Lines,
    /// Keys separated by NUL, as `find -print0` writes them: any other character belongs to a key.
    Nul,
    /// One JSON object on each line: `{"key", "size", "etag", "version_id"}`, all but the key optional, others passed over.
    Json,
}

/// One key of a list, and what the list says of its object: hints, since the store is asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct KeyRow {
    /// The full key.
    pub key: Key,
    /// Size in bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// Generation.
    #[serde(default, deserialize_with = "as_stores_write_it")]
    pub etag: Option<ETag>,
    /// Version.
    #[serde(default)]
    pub version_id: Option<String>,
}

fn as_stores_write_it<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<ETag>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.as_deref().and_then(ETag::parse))
}

impl KeyRow {
    /// A key of which nothing else is said.
    pub fn of(key: Key) -> Self {
        Self { key, size: None, etag: None, version_id: None }
    }
}

/// Enough to see how a list is written: more than twenty of the longest keys.
const SAMPLE_BYTES: usize = 64 << 10;
/// Longer than any key of any store, even one that is escaped in JSON.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// Reads the keys of a list.
pub fn rows(document: Document, format: KeyListFormat) -> impl Stream<Item = Result<KeyRow>> + Send {
    records(document, format).map(|record| {
        let Record { number, bytes, format } = record?;
        parse(&bytes, format).map_err(|problem| {
            Error::new(ErrorKind::InvalidInput, format!("record {number} of the list of keys {problem}"))
        })
    })
}

/// Reads the prefixes of a list, written in the same ways; in JSON as `{"prefix"}`.
pub async fn prefixes(document: Document, format: KeyListFormat) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct PrefixRow {
        prefix: String,
    }
    let mut records = std::pin::pin!(records(document, format));
    let mut prefixes = Vec::new();
    while let Some(record) = records.next().await {
        let Record { number, bytes, format } = record?;
        let prefix = match format {
            KeyListFormat::Json => serde_json::from_slice::<PrefixRow>(&bytes)
                .map(|row| row.prefix)
                .map_err(|error| format!("is no prefix: {error}")),
            _ => text(&bytes).map(str::to_owned),
        };
        prefixes.push(prefix.map_err(|problem| {
            Error::new(ErrorKind::InvalidInput, format!("record {number} of the list of prefixes {problem}"))
        })?);
    }
    Ok(prefixes)
}

fn parse(record: &[u8], format: KeyListFormat) -> Result<KeyRow, String> {
    match format {
        KeyListFormat::Json => {
            serde_json::from_slice(record).map_err(|error| format!("is no JSON object with a key: {error}"))
        }
        _ => Key::new(text(record)?).map(KeyRow::of).map_err(|error| error.to_string()),
    }
}

fn text(record: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(record).map_err(|_| "is not UTF-8".to_owned())
}

/// One non-empty record.
struct Record {
    number: u64,
    bytes: Vec<u8>,
    format: KeyListFormat,
}

struct Records {
    document: Document,
    format: KeyListFormat,
    /// Read and not yet given out, from `taken` on.
    buffer: Vec<u8>,
    taken: usize,
    number: u64,
    ended: bool,
}

fn records(document: Document, format: KeyListFormat) -> impl Stream<Item = Result<Record>> + Send {
    let records = Records { document, format, buffer: Vec::new(), taken: 0, number: 0, ended: false };
    stream::try_unfold(records, |mut records| async move {
        Ok(records.next().await?.map(|record| (record, records)))
    })
}

impl Records {
    async fn next(&mut self) -> Result<Option<Record>> {
        while self.format == KeyListFormat::Auto {
            if self.ended || self.buffer.len() >= SAMPLE_BYTES {
                self.format = guessed(&self.buffer);
            } else {
                self.fill().await?;
            }
        }
        let separator = if self.format == KeyListFormat::Nul { 0 } else { b'\n' };
        // What was searched in vain is not searched again when more has come.
        let mut searched = 0;
        loop {
            let rest = &self.buffer[self.taken..];
            let end = rest[searched..].iter().position(|byte| *byte == separator).map(|at| at + searched);
            let (length, skip) = match end {
                Some(end) => (end, 1),
                None if self.ended && rest.is_empty() => return Ok(None),
                None if self.ended => (rest.len(), 0),
                None if rest.len() > RECORD_BYTES_MAX => {
                    let message = format!("record {} is no key: it does not end", self.number + 1);
                    return Err(Error::new(ErrorKind::InvalidInput, message));
                }
                None => {
                    searched = rest.len();
                    self.fill().await?;
                    continue;
                }
            };
            let mut bytes = rest[..length].to_vec();
            self.taken += length + skip;
            self.number += 1;
            searched = 0;
            if self.format != KeyListFormat::Nul && bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
            if !bytes.is_empty() {
                return Ok(Some(Record { number: self.number, bytes, format: self.format }));
            }
        }
    }

    async fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        match self.document.next().await.transpose()? {
            Some(chunk) => self.buffer.extend_from_slice(&chunk),
            None => self.ended = true,
        }
        Ok(())
    }
}

fn guessed(sample: &[u8]) -> KeyListFormat {
    if sample.contains(&0) {
        return KeyListFormat::Nul;
    }
    let first = sample.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty());
    let is_object =
        |line: &[u8]| serde_json::from_slice::<serde_json::Map<_, serde_json::Value>>(line).is_ok();
    if first.is_some_and(is_object) { KeyListFormat::Json } else { KeyListFormat::Lines }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn document(text: &[u8], chunk_bytes: usize) -> Document {
        let chunks: Vec<_> =
            text.chunks(chunk_bytes).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        stream::iter(chunks).boxed()
    }

    fn read(text: &[u8], format: KeyListFormat, chunk_bytes: usize) -> Result<Vec<KeyRow>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        let rows: Vec<Result<KeyRow>> = runtime.block_on(rows(document(text, chunk_bytes), format).collect());
        rows.into_iter().collect()
    }

    fn keys(text: &str) -> Vec<String> {
        let rows = read(text.as_bytes(), KeyListFormat::Auto, 7).expect(text);
        rows.into_iter().map(|row| row.key.into()).collect()
    }

    #[test]
    fn the_three_ways_of_writing_are_told_apart() {
        assert_eq!(keys("a b\n\r\n\n é\r\nlast"), ["a b", " é", "last"]);
        assert_eq!(keys("a\nb\0c\r\0\0d"), ["a\nb", "c\r", "d"]);
        assert_eq!(keys("{\"key\":\"a\\nb\",\"x\":1}\n\n{\"key\":\"c\"}\r\n"), ["a\nb", "c"]);
        assert_eq!(keys("{odd\nname}"), ["{odd", "name}"]);
        assert_eq!(keys(""), Vec::<String>::new());
        let literal = read(b"{\"key\":1}", KeyListFormat::Lines, 7).expect("as lines");
        assert_eq!(literal[0].key.as_str(), "{\"key\":1}");
    }

    #[test]
    fn hints_come_along() {
        let text = br#"{"key":"k","size":3,"etag":"\"abc\"","version_id":"v1"}"#;
        let rows = read(text, KeyListFormat::Auto, 1000).expect("rows");
        assert_eq!((rows[0].size, rows[0].version_id.as_deref()), (Some(3), Some("v1")));
        assert_eq!(rows[0].etag, ETag::parse("abc"));
    }

    #[test]
    fn what_is_no_record_is_named_by_its_number() {
        for (text, number) in [
            (&b"{\"key\":\"a\"}\n{\"kee\":\"b\"}"[..], "record 2"),
            (b"a\n\n\xff\n", "record 3"),
            (b"{\"key\":\"\"}\n", "record 1"),
        ] {
            let error = read(text, KeyListFormat::Auto, 3).expect_err("bad").to_string();
            assert!(error.contains(number), "{error}");
        }
        let endless = vec![b'a'; RECORD_BYTES_MAX + 2 * SAMPLE_BYTES];
        assert!(read(&endless, KeyListFormat::Lines, 1 << 15).is_err());
    }

    proptest! {
        #[test]
        fn keys_survive_any_cut_into_chunks(
            keys in prop::collection::vec("[a-c\n\r é{\"]{1,6}", 1..8),
            chunk_bytes in 1usize..9,
        ) {
            let text: Vec<u8> = keys.iter().flat_map(|key| key.bytes().chain([0])).collect();
            let rows = read(&text, KeyListFormat::Auto, chunk_bytes).expect("rows");
            let found: Vec<String> = rows.into_iter().map(|row| row.key.into()).collect();
            prop_assert_eq!(found, keys);
        }
    }
}
