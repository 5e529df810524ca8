//! Lists of keys and inventories that lie in stores.
//!
//! Owns: opening the object a [`DocumentName`] names, with retries. Does not own: files, which only the program on one machine has.

use async_trait::async_trait;
use ferry_transfer::key_source::{Document, DocumentName, Documents, document_of};
use ferry_transfer::store::GetRequest;
use ferry_transfer::task::Location;
use ferry_transfer::{Error, ErrorKind, Key, Result, SharedStore};

/// Connects to the bucket of a location.
#[async_trait]
pub trait Buckets: Send + Sync + std::fmt::Debug {
    /// The bucket of the location's store.
    async fn bucket(&self, location: &Location) -> Result<SharedStore>;
}

/// Reads documents out of stores.
#[derive(Debug)]
pub struct StoreDocuments<B>(pub B);

#[async_trait]
impl<B: Buckets> Documents for StoreDocuments<B> {
    async fn open(&self, name: &DocumentName) -> Result<Document> {
        let DocumentName::Object(location) = name else {
            let message =
                format!("{name} is no object of a store; there are no files here: write NAME://BUCKET/KEY");
            return Err(Error::new(ErrorKind::Configuration, message));
        };
        let key = Key::new(location.prefix.clone())
            .map_err(|error| Error::new(ErrorKind::InvalidInput, name.to_string()).caused_by(error))?;
        let get = GetRequest { key, if_match: None, version_id: None, range: None };
        Ok(document_of(self.0.bucket(location).await?.get(get).await?.body))
    }

    async fn open_beside(&self, manifest: &DocumentName, key: &str) -> Result<Document> {
        match manifest {
            DocumentName::Object(location) => {
                let file = Location { prefix: key.to_owned(), ..location.clone() };
                self.open(&DocumentName::Object(file)).await
            }
            DocumentName::Stdin | DocumentName::File(_) => self.open(manifest).await,
        }
    }
}
