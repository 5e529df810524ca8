//! An S3 Inventory as the source of keys.
//!
//! Owns: the manifest, and reading its data files row by row. Does not own: where the files are read from
//! ([`crate::key_source::Documents`]). Invariants: memory is one row and one chunk; a data file whose MD5 is not the manifest's is an
//! error, at its end at the latest; every row is a hint, since an inventory is up to two days old.
//!
//! The format: [Amazon S3 Inventory](https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html); Alibaba
//! OSS writes the same.

mod data_file;
mod manifest;

use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt, stream};

pub use manifest::{BadManifest, DataFile, Manifest, Schema};

use crate::key_source::{DocumentName, Documents, KeyRow};
use crate::{Entry, Error, ErrorKind, Result};

/// A manifest has a line for each data file; one of 64 MiB would name three hundred thousand.
const MANIFEST_BYTES_MAX: usize = 64 << 20;

/// One current object of an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// All that a listing would say of it.
    Entry(Entry),
    /// No more than its key, since the inventory has no sizes.
    Key(KeyRow),
}

impl Row {
    /// The full key.
    pub fn key(&self) -> &str {
        match self {
            Self::Entry(entry) => entry.key.as_str(),
            Self::Key(row) => row.key.as_str(),
        }
    }
}

/// Reads a manifest.
pub async fn read_manifest(documents: &dyn Documents, name: &DocumentName) -> Result<Manifest> {
    let mut document = documents.open(name).await?;
    let mut text = Vec::new();
    while let Some(chunk) = document.try_next().await? {
        text.extend_from_slice(&chunk);
        if text.len() > MANIFEST_BYTES_MAX {
            let message = format!("{name} is no manifest of an inventory: it is larger than any");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
    }
    Manifest::parse(&text)
        .map_err(|error| Error::new(ErrorKind::InvalidInput, name.to_string()).caused_by(error))
}

/// Reads the current objects of one data file, in the order of its rows.
pub fn rows(
    documents: Arc<dyn Documents>,
    name: DocumentName,
    schema: Arc<Schema>,
    file: DataFile,
) -> impl Stream<Item = Result<Row>> + Send {
    let key = file.key.clone();
    stream::once(async move {
        let document = documents.open_beside(&name, &file.key).await?;
        Ok::<_, Error>(data_file::rows(document, schema, &file))
    })
    .try_flatten()
    .map(move |row| {
        row.map_err(|error| {
            Error::new(error.kind(), format!("data file {key:?} of the inventory")).caused_by(error)
        })
    })
}
