//! Where a task's keys come from.
//!
//! Owns: the choice between listing the source and being told its keys, and what a prefix list covers. Does not own: reading a list of
//! keys ([`key_list`]) or an inventory ([`crate::inventory`]), nor what is made of a key. Invariant: keys that a task was told
//! of are never a reason to delete: that a list does not name a key says nothing about the key.

pub mod key_list;
mod prefixes;

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::task::Location;
use crate::{Body, Error, Result};

pub use key_list::{KeyListFormat, KeyRow};
pub use prefixes::PrefixSet;

/// Where a task's keys come from. All keys and prefixes are full ones, as the source's store has them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// The source is listed.
    #[default]
    Listing,
    /// The source is listed under these prefixes only.
    Prefixes(PrefixSet),
    /// A list of keys, in any order: a job for each, and nothing is listed.
    List(KeyList),
    /// The manifest of an S3 Inventory, `manifest.json`.
    Inventory(DocumentName),
}

/// A list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyList {
    /// Where it lies.
    pub from: DocumentName,
    /// How it is written.
    #[serde(default)]
    pub format: KeyListFormat,
}

impl KeySource {
    /// Whether the source of keys leaves the source key in.
    pub fn covers(&self, key: &str) -> bool {
        match self {
            Self::Prefixes(prefixes) => prefixes.covers(key),
            Self::Listing | Self::List(_) | Self::Inventory(_) => true,
        }
    }

    /// Whether both sides are listed, so that what is at the destination only shows.
    pub fn is_listed(&self) -> bool {
        matches!(self, Self::Listing | Self::Prefixes(_))
    }
}

/// What a document is called: a file's path, `-` for the standard input, or a location `NAME://BUCKET/KEY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DocumentName {
    /// The standard input.
    Stdin,
    /// A file of this machine.
    File(String),
    /// An object; its key is the location's prefix.
    Object(Location),
}

/// A document without a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no document: write a file, or NAME://BUCKET/KEY")]
pub struct BadDocumentName(String);

impl FromStr for DocumentName {
    type Err = BadDocumentName;

    fn from_str(text: &str) -> Result<Self, BadDocumentName> {
        let bad = || BadDocumentName(text.to_owned());
        match text {
            "" => Err(bad()),
            "-" => Ok(Self::Stdin),
            location if location.contains("://") => {
                let location: Location = location.parse().map_err(|_| bad())?;
                if location.prefix.is_empty() { Err(bad()) } else { Ok(Self::Object(location)) }
            }
            file => Ok(Self::File(file.to_owned())),
        }
    }
}

impl TryFrom<String> for DocumentName {
    type Error = BadDocumentName;

    fn try_from(text: String) -> Result<Self, BadDocumentName> {
        text.parse()
    }
}

impl From<DocumentName> for String {
    fn from(name: DocumentName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for DocumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("-"),
            Self::File(path) => f.write_str(path),
            Self::Object(Location { store, bucket, prefix }) => write!(f, "{store}://{bucket}/{prefix}"),
        }
    }
}

/// Reads the documents that tasks name.
#[async_trait]
pub trait Documents: Send + Sync + fmt::Debug {
    /// Opens a document. Its length need not be known: a stream of unknown length ends where it ends.
    async fn open(&self, name: &DocumentName) -> Result<Document>;

    /// Opens one of the files an inventory's manifest names, by the key it has in the manifest's bucket.
    async fn open_beside(&self, manifest: &DocumentName, key: &str) -> Result<Document>;
}

/// A document being read.
pub type Document = futures::stream::BoxStream<'static, Result<bytes::Bytes>>;

/// The bytes of an object as a document.
pub fn document_of(body: Body) -> Document {
    use futures::StreamExt as _;
    match body {
        Body::Bytes(bytes) => futures::stream::iter([Ok(bytes)]).boxed(),
        Body::Stream(stream) => stream.boxed(),
    }
}

/// For hosts that have nowhere to read from.
#[derive(Debug, Clone, Copy)]
pub struct NoDocuments;

#[async_trait]
impl Documents for NoDocuments {
    async fn open(&self, name: &DocumentName) -> Result<Document> {
        Err(Error::new(
            crate::ErrorKind::Configuration,
            format!("{name} cannot be read here: run this task with the ferry program"),
        ))
    }

    async fn open_beside(&self, manifest: &DocumentName, _key: &str) -> Result<Document> {
        self.open(manifest).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_of_keys_reads_from_a_task() {
        let read = |yaml: &str| serde_saphyr::from_str::<KeySource>(yaml);
        assert_eq!(read("listing").expect("listing"), KeySource::Listing);
        let KeySource::Prefixes(prefixes) = read("{prefixes: [b/, a/, a/x]}").expect("prefixes") else {
            panic!("prefixes were written")
        };
        assert!(prefixes.covers("a/x") && !prefixes.covers("c/"));
        let list = read("{list: {from: keys.txt, format: nul}}").expect("list");
        assert!(matches!(&list, KeySource::List(list) if list.format == KeyListFormat::Nul), "{list:?}");
        let inventory = read("{inventory: 's3://reports/a/manifest.json'}").expect("inventory");
        assert!(matches!(inventory, KeySource::Inventory(DocumentName::Object(_))), "{inventory:?}");
        for bad in ["{list: {from: ''}}", "{inventory: 's3://reports'}", "{prefixes: 3}", "{keys: []}"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn documents_are_named_as_they_were_typed() {
        for text in ["-", "a/b c.txt", "./-", "lab://bucket//odd key"] {
            assert_eq!(text.parse::<DocumentName>().expect(text).to_string(), text);
        }
    }
}
