//! Lists of keys and inventories, from files, the standard input and stores.
//!
//! Owns: reading files without blocking the runtime, and finding an inventory's data files on a disk to which it was copied. Does not
//! own: what is in them. Invariant: memory is a few chunks, whatever the file's size.

use std::io::Read;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use ferry_cloud::S3Account;
use ferry_cloud::documents::{Buckets, StoreDocuments};
use ferry_transfer::key_source::{Document, DocumentName, Documents};
use ferry_transfer::retry::Backoff;
use ferry_transfer::store::retrying::RetryingStore;
use ferry_transfer::task::Location;
use ferry_transfer::{Error, ErrorKind, Result, SharedStore, SystemClock};
use futures::{StreamExt as _, stream};
use tokio::sync::mpsc;

use crate::args::{SideAccess, StoreArgs};
use crate::config::Config;
use crate::ends::Side;

/// Read at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks read ahead.
const CHUNKS_AHEAD: usize = 4;

/// Documents of this machine and of the stores it knows.
#[derive(Debug)]
pub struct LocalDocuments {
    stores: StoreDocuments<KnownStores>,
}

/// The stores of `ferry.yaml`; the source's is connected already, with the flags it was described by.
#[derive(Debug)]
struct KnownStores {
    config: Config,
    source: (String, S3Account),
}

#[async_trait]
impl Buckets for KnownStores {
    async fn bucket(&self, location: &Location) -> Result<SharedStore> {
        let (source, account) = &self.source;
        let account = if *source == location.store {
            account.clone()
        } else {
            let side =
                Side::connect(&self.config, &location.store, StoreArgs::default(), SideAccess::default())
                    .await;
            side.map_err(|error| Error::new(ErrorKind::Configuration, ferry_transfer::chain(error.as_ref())))?
                .account
        };
        let bucket = std::sync::Arc::new(account.bucket(&location.bucket));
        Ok(std::sync::Arc::new(RetryingStore::new(
            bucket,
            Backoff::default(),
            std::sync::Arc::new(SystemClock),
        )))
    }
}

impl LocalDocuments {
    /// With the stores of the configuration, and the source's under the name it has on the command line.
    pub fn new(config: Config, source: &str, account: S3Account) -> Self {
        Self { stores: StoreDocuments(KnownStores { config, source: (source.to_owned(), account) }) }
    }
}

#[async_trait]
impl Documents for LocalDocuments {
    async fn open(&self, name: &DocumentName) -> Result<Document> {
        match name {
            DocumentName::Stdin => Ok(read(std::io::stdin(), "the standard input".to_owned())),
            DocumentName::File(path) => open_file(Path::new(path)),
            DocumentName::Object(_) => self.stores.open(name).await,
        }
    }

    async fn open_beside(&self, manifest: &DocumentName, key: &str) -> Result<Document> {
        let manifest = match manifest {
            DocumentName::Object(_) => return self.stores.open_beside(manifest, key).await,
            DocumentName::Stdin => Path::new("manifest.json"),
            DocumentName::File(path) => Path::new(path),
        };
        let places = places(manifest, key);
        match places.iter().find(|place| place.is_file()) {
            Some(place) => open_file(place),
            None => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("there is no such file beside {} nor above it", manifest.display()),
            )),
        }
    }
}

/// Where a data file may lie when an inventory was copied to a disk: under its key, or the end of it, in the manifest's directory or
/// any above it. The likeliest first; the manifest's MD5s tell whether it was the right one.
fn places(manifest: &Path, key: &str) -> Vec<PathBuf> {
    let names: Vec<&str> = key.split('/').filter(|name| !matches!(*name, "" | "." | "..")).collect();
    let directory = manifest.parent().unwrap_or_else(|| Path::new(""));
    let mut places = Vec::new();
    for from in 0..names.len() {
        let end: PathBuf = names[from..].iter().collect();
        places.extend(directory.ancestors().map(|above| above.join(&end)));
    }
    places
}

fn open_file(path: &Path) -> Result<Document> {
    let name = path.display().to_string();
    match std::fs::File::open(path) {
        Ok(file) => Ok(read(file, name)),
        Err(error) => Err(unreadable(&name, error)),
    }
}

fn unreadable(name: &str, error: std::io::Error) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{name} cannot be read")).caused_by(error)
}

/// Reads on a thread that may block, until nobody wants more.
fn read(mut reader: impl Read + Send + 'static, name: String) -> Document {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = match reader.read(&mut chunk) {
                Ok(0) => return,
                Ok(length) => Ok(Bytes::copy_from_slice(&chunk[..length])),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => Err(unreadable(&name, error)),
            };
            let is_last = read.is_err();
            if sender.blocking_send(read).is_err() || is_last {
                return;
            }
        }
    });
    stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) }).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_files_are_looked_for_where_a_copy_of_the_bucket_has_them() {
        let places = places(
            Path::new("inv/photos/all/2026-01-01T00-00Z/manifest.json"),
            "inv/photos/all/data/1.csv.gz",
        );
        for place in ["inv/photos/all/data/1.csv.gz", "inv/photos/all/2026-01-01T00-00Z/1.csv.gz"] {
            assert!(places.contains(&PathBuf::from(place)), "{place}: {places:?}");
        }
        assert_eq!(
            super::places(Path::new("m"), "../../etc/x"),
            [PathBuf::from("etc/x"), PathBuf::from("x")]
        );
    }
}
