//! State as small objects under a prefix of a store.
//!
//! Owns: blobs as objects, written with conditional requests. On a store without conditional writes a condition is looked up before
//! the write, which two writers at the very same moment can both pass: choose such a store for state only where one writer runs.

use async_trait::async_trait;
use bytes::Bytes;

use super::{StateCondition, StateName, StateStore, StateTag, StoredState, refused};
use crate::checksum::{DigestSet, digest};
use crate::store::{
    BodyChecksum, DeleteRequest, GetRequest, HeadRequest, ListRequest, PutRequest, WriteCondition,
};
use crate::{Attributes, Body, ETag, Error, ErrorKind, Key, Result, SharedStore, Support};

/// Keeps blobs as objects.
#[derive(Debug, Clone)]
pub struct ObjectState {
    store: SharedStore,
    prefix: String,
}

impl ObjectState {
    /// Under a prefix of a store, which ends in `/` or is empty.
    pub fn new(store: SharedStore, prefix: impl Into<String>) -> Self {
        Self { store, prefix: prefix.into() }
    }

    fn key(&self, name: &StateName) -> Result<Key> {
        Key::new(format!("{}{name}", self.prefix)).map_err(|empty| {
            Error::new(ErrorKind::InvalidInput, "a piece of state needs a name").caused_by(empty)
        })
    }

    async fn tag_now(&self, key: &Key) -> Result<Option<StateTag>> {
        match self.store.head(HeadRequest::of(key)).await {
            Ok(head) => tag(key, head.etag.as_ref()).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn tag(key: &Key, etag: Option<&ETag>) -> Result<StateTag> {
    let etag = etag.ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "a store without ETags cannot keep state").on_key(key.as_str())
    })?;
    Ok(StateTag(etag.as_str().to_owned()))
}

#[async_trait]
impl StateStore for ObjectState {
    async fn read(&self, name: &StateName) -> Result<Option<StoredState>> {
        let key = self.key(name)?;
        let get = GetRequest { key: key.clone(), if_match: None, version_id: None, range: None };
        match self.store.get(get).await {
            Ok(response) => {
                let tag = tag(&key, response.head.etag.as_ref())?;
                Ok(Some(StoredState { bytes: response.body.collect().await?, tag }))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, name: &StateName, bytes: Bytes, condition: StateCondition) -> Result<StateTag> {
        let key = self.key(name)?;
        let conditional = self.store.capabilities().conditional_writes != Support::No;
        if !conditional
            && condition != StateCondition::None
            && !condition.holds_for(self.tag_now(&key).await?.as_ref())
        {
            return Err(refused(name));
        }
        let digests = digest(&bytes, DigestSet::MD5);
        let put = PutRequest {
            key: key.clone(),
            attributes: Attributes {
                content_type: Some("application/json".to_owned()),
                ..Attributes::default()
            },
            checksum: BodyChecksum { crc64_nvme: Some(digests.crc64_nvme), md5: digests.md5 },
            body: Body::Bytes(bytes),
            condition: match &condition {
                StateCondition::Absent if conditional => WriteCondition::Absent,
                StateCondition::Matches(StateTag(etag)) if conditional => {
                    ETag::parse(etag).map_or(WriteCondition::None, WriteCondition::Matches)
                }
                _ => WriteCondition::None,
            },
        };
        match self.store.put(put).await {
            Ok(written) => match written.etag {
                Some(etag) => tag(&key, Some(&etag)),
                None => self.tag_now(&key).await?.ok_or_else(|| refused(name)),
            },
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
                Err(refused(name).caused_by(error))
            }
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, name: &StateName) -> Result<()> {
        self.store.delete(DeleteRequest::of(&self.key(name)?)).await.map(drop)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StateName>> {
        let mut request =
            ListRequest { prefix: format!("{}{prefix}", self.prefix), ..ListRequest::default() };
        let mut names = Vec::new();
        loop {
            let page = self.store.list(request.clone()).await?;
            let relative = page.entries.iter().filter_map(|entry| entry.key.strip_prefix(&self.prefix));
            names.extend(relative.filter_map(|name| StateName::new(name).ok()));
            match page.next {
                Some(next) if request.cursor.as_ref() != Some(&next) => request.cursor = Some(next),
                Some(_) => {
                    return Err(Error::new(
                        ErrorKind::Corrupt,
                        "the store's listing of the state does not end",
                    ));
                }
                None => break,
            }
        }
        names.sort();
        Ok(names)
    }
}
