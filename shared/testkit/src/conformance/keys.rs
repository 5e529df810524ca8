//! Keys are byte-exact in every operation.

use std::collections::BTreeSet;

use bytes::Bytes;
use ferry_transfer::store::{
    BodyChecksum, CompleteUploadRequest, CreateUploadRequest, DeleteRequest, HeadRequest, ListRequest,
    PutRequest, UploadPartRequest, WriteCondition,
};
use ferry_transfer::{Attributes, Body, ErrorKind, Key, ObjectStore};

use super::{Failure, Outcome, bytes_of, ensure, ensure_eq, ensure_kind, key, listed_keys, put, put_request};
use crate::fixtures::{awkward_keys, body_of};

/// Those the store says it can hold.
fn keys_for(store: &dyn ObjectStore) -> Result<Vec<Key>, Failure> {
    let max = store.capabilities().key_bytes_max;
    awkward_keys()
        .iter()
        .filter(|text| u32::try_from(text.len()).is_ok_and(|length| length <= max))
        .map(|text| key(text))
        .collect()
}

async fn put_all(store: &dyn ObjectStore) -> Result<Vec<Key>, Failure> {
    let keys = keys_for(store)?;
    for key in &keys {
        put(store, key, body_of(key.as_str())).await?;
    }
    Ok(keys)
}

pub(super) async fn awkward_keys_read_back(store: &dyn ObjectStore) -> Outcome {
    let keys = put_all(store).await?;
    for key in &keys {
        let expected = body_of(key.as_str());
        ensure_eq(&format!("the body of {key:?}"), bytes_of(store, key).await?, expected.clone())?;
        let size = store.head(HeadRequest::of(key)).await?.size_bytes;
        ensure_eq(&format!("the size of {key:?}"), size, expected.len() as u64)?;
    }
    Ok(())
}

pub(super) async fn awkward_keys_list_in_byte_order(store: &dyn ObjectStore) -> Outcome {
    let keys = put_all(store).await?;
    let expected: BTreeSet<String> = keys.into_iter().map(String::from).collect();
    let expected: Vec<String> = expected.into_iter().collect();
    for page_size in [None, Some(1), Some(7)] {
        let request = ListRequest { page_size, ..ListRequest::default() };
        ensure_eq(
            &format!("the listing in pages of {page_size:?}"),
            listed_keys(store, request).await?,
            expected.clone(),
        )?;
    }
    // Each key once as prefix and once as starting point, for adapters that encode those differently.
    for key in &expected {
        let request = ListRequest { prefix: key.clone(), ..ListRequest::default() };
        let found = listed_keys(store, request).await?;
        let wanted: Vec<String> =
            expected.iter().filter(|other| other.starts_with(key.as_str())).cloned().collect();
        ensure_eq(&format!("the listing under {key:?}"), found, wanted)?;
        let request =
            ListRequest { start_after: Some(key.clone()), page_size: Some(1), ..ListRequest::default() };
        let next = store.list(request).await?.entries;
        let next = next.first().map(|entry| entry.key.as_str());
        let wanted = expected.iter().find(|other| *other > key).map(String::as_str);
        ensure_eq(&format!("the key after {key:?}"), next, wanted)?;
    }
    Ok(())
}

pub(super) async fn awkward_keys_keep_attributes_and_tags(store: &dyn ObjectStore) -> Outcome {
    let tagged = store.capabilities().tags.may();
    for key in keys_for(store)? {
        let mut attributes = Attributes::default();
        attributes.user_metadata.insert("number".into(), "1".into());
        if tagged {
            attributes.tags.push(("a".into(), "b".into()));
        }
        let request = PutRequest { attributes, ..put_request(&key, "x") };
        store.put(request).await?;
        let head = store.head(HeadRequest::of(&key)).await?;
        let number = head.attributes.user_metadata.get("number").cloned();
        ensure_eq(&format!("the metadata of {key:?}"), number, Some("1".into()))?;
        if tagged {
            let tags = store.get_tags(&key, None).await?;
            ensure_eq(&format!("the tags of {key:?}"), tags, vec![("a".into(), "b".into())])?;
        }
    }
    Ok(())
}

pub(super) async fn awkward_keys_are_deleted_one_by_one(store: &dyn ObjectStore) -> Outcome {
    let keys = put_all(store).await?;
    let mut left: BTreeSet<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
    for key in &keys {
        store.delete(DeleteRequest::of(key)).await?;
        left.remove(key.as_str());
        ensure_kind(
            &format!("HEAD of the deleted {key:?}"),
            store.head(HeadRequest::of(key)).await,
            &[ErrorKind::NotFound],
        )?;
        let listed: BTreeSet<String> =
            listed_keys(store, ListRequest::default()).await?.into_iter().collect();
        ensure(listed == left, || format!("deleting {key:?} also took or left another key"))?;
    }
    Ok(())
}

pub(super) async fn awkward_keys_take_uploads_of_parts(store: &dyn ObjectStore) -> Outcome {
    for key in keys_for(store)? {
        let bytes = Bytes::from(format!("the part of {key:?}"));
        let upload_id = store
            .create_upload(CreateUploadRequest { key: key.clone(), attributes: Attributes::default() })
            .await?;
        let part = store
            .upload_part(UploadPartRequest {
                key: key.clone(),
                upload_id: upload_id.clone(),
                part_number: 1,
                body: Body::Bytes(bytes.clone()),
                checksum: BodyChecksum::default(),
            })
            .await?;
        store
            .complete_upload(CompleteUploadRequest {
                key: key.clone(),
                upload_id,
                parts: vec![part],
                condition: WriteCondition::None,
                size_bytes: bytes.len() as u64,
                crc64_nvme: None,
            })
            .await?;
        ensure_eq(&format!("the body of {key:?}"), bytes_of(store, &key).await?, bytes)?;
    }
    Ok(())
}
