//! Copies within the store are faithful and conditional, and archives give back what they hold.

use bytes::Bytes;
use ferry_transfer::attribute_rules::ObjectLock;
use ferry_transfer::store::{
    CarriedAttributes, CompleteUploadRequest, CopyObjectRequest, CopyPartRequest, CopySource,
    CreateUploadRequest, HeadRequest, PutRequest, RestoreAnswer, RestoreRequest, RestoreState, RestoreTier,
    WriteCondition,
};
use ferry_transfer::{Attributes, ByteRange, ETag, ErrorKind, Key, ObjectStore, StorageClass, Support};

use super::writes::attributes;
use super::{Failure, Outcome, bytes_of, ensure, ensure_eq, ensure_kind, key, put, put_request, whole};
use crate::fixtures::awkward_keys;

fn copies(store: &dyn ObjectStore) -> bool {
    store.capabilities().server_copies == Support::Yes
}

fn request(store: &dyn ObjectStore, from: &Key, to: &Key) -> CopyObjectRequest {
    CopyObjectRequest {
        source: CopySource {
            bucket: store.name().bucket.clone(),
            key: from.clone(),
            if_match: None,
            version_id: None,
        },
        key: to.clone(),
        attributes: CarriedAttributes::Kept { storage_class: None, lock: ObjectLock::default() },
        condition: WriteCondition::None,
        size_hint_bytes: None,
    }
}

fn some_tags() -> Vec<(String, String)> {
    vec![("team".to_owned(), "a b".to_owned())]
}

pub(super) async fn a_copy_keeps_bytes_attributes_and_tags(store: &dyn ObjectStore) -> Outcome {
    if !copies(store) {
        return Ok(());
    }
    let (from, to) = (key("copied/from")?, key("copied/to")?);
    // The redirect is what no copy carries over by itself.
    let mut described = Attributes { website_redirect: None, ..attributes(store) };
    let tagged = store.capabilities().tags.may();
    if tagged {
        described.tags = some_tags();
    }
    store.put(PutRequest { attributes: described.clone(), ..put_request(&from, "hello") }).await?;
    let class = described.storage_class.clone();
    let kept = CarriedAttributes::Kept { storage_class: class, lock: ObjectLock::default() };
    store.copy_object(CopyObjectRequest { attributes: kept, ..request(store, &from, &to) }).await?;
    let copy = store.get(whole(&to)).await?;
    described.tags = Vec::new();
    ensure_eq("what the copy says", &copy.head.attributes, &described)?;
    ensure_eq("the body", copy.body.collect().await?, Bytes::from("hello"))?;
    if tagged {
        ensure_eq("the tags", store.get_tags(&to, None).await?, some_tags())?;
    }
    Ok(())
}

pub(super) async fn a_copy_may_replace_attributes(store: &dyn ObjectStore) -> Outcome {
    if !copies(store) {
        return Ok(());
    }
    let (from, to) = (key("replaced/from")?, key("replaced/to")?);
    let cached = Attributes { cache_control: Some("no-store".to_owned()), ..Attributes::default() };
    store.put(PutRequest { attributes: cached, ..put_request(&from, "hello") }).await?;
    let wanted = attributes(store);
    let replaced = CarriedAttributes::Replaced(Box::new(wanted.clone()));
    store.copy_object(CopyObjectRequest { attributes: replaced, ..request(store, &from, &to) }).await?;
    ensure_eq("what the copy says", &store.head(HeadRequest::of(&to)).await?.attributes, &wanted)
}

pub(super) async fn a_copy_heeds_both_generations(store: &dyn ObjectStore) -> Outcome {
    if !copies(store) {
        return Ok(());
    }
    let (from, to) = (key("guarded/from")?, key("guarded/to")?);
    put(store, &from, "hello").await?;
    let stale = ETag::parse("00000000000000000000000000000000");
    let mut copy = request(store, &from, &to);
    copy.source.if_match = stale.clone();
    ensure_kind(
        "a copy of another generation",
        store.copy_object(copy).await,
        &[ErrorKind::PreconditionFailed],
    )?;
    ensure_kind("HEAD", store.head(HeadRequest::of(&to)).await, &[ErrorKind::NotFound])?;
    if store.capabilities().conditional_copies != Support::Yes {
        return Ok(());
    }
    put(store, &to, "mine").await?;
    for condition in [Some(WriteCondition::Absent), stale.map(WriteCondition::Matches)].into_iter().flatten()
    {
        let copy = CopyObjectRequest { condition, ..request(store, &from, &to) };
        let what = format!("a copy on condition {:?}", copy.condition);
        ensure_kind(&what, store.copy_object(copy).await, &[ErrorKind::PreconditionFailed])?;
    }
    ensure_eq("the body", bytes_of(store, &to).await?, Bytes::from("mine"))?;
    let missing = request(store, &key("guarded/nothing")?, &to);
    ensure_kind("a copy of nothing", store.copy_object(missing).await, &[ErrorKind::NotFound])
}

pub(super) async fn awkward_keys_are_copied(store: &dyn ObjectStore) -> Outcome {
    if !copies(store) {
        return Ok(());
    }
    let longest = usize::try_from(store.capabilities().key_bytes_max).unwrap_or(usize::MAX);
    for (number, name) in awkward_keys().into_iter().filter(|name| name.len() <= longest).enumerate() {
        let (from, to) = (key(&name)?, key(&format!("copy-{number}"))?);
        put(store, &from, name.clone()).await?;
        store.copy_object(request(store, &from, &to)).await?;
        let bytes = bytes_of(store, &to).await?;
        ensure(bytes == name, || format!("the copy of {name:?} is {bytes:?}"))?;
        let back = request(store, &to, &from);
        store.copy_object(back).await?;
        ensure_eq("the way back", bytes_of(store, &from).await?, Bytes::from(name))?;
    }
    Ok(())
}

pub(super) async fn parts_are_copied_out_of_an_object(store: &dyn ObjectStore) -> Outcome {
    if !copies(store) {
        return Ok(());
    }
    let (from, to) = (key("parts/from +%")?, key("parts/to")?);
    let least = usize::try_from(store.capabilities().part_bytes_min).unwrap_or(usize::MAX);
    let mut body = vec![b'a'; least];
    body.extend_from_slice(b"the end");
    put(store, &from, body.clone()).await?;
    let create = CreateUploadRequest { key: to.clone(), attributes: Attributes::default() };
    let upload_id = store.create_upload(create).await?;
    let generation = store.head(HeadRequest::of(&from)).await?.etag;
    let size_bytes = body.len() as u64;
    let mut parts = Vec::new();
    for (part_number, first, length) in [(1, 0, least as u64), (2, least as u64, 7)] {
        let range = ByteRange::new(first, length).ok_or_else(|| Failure("an empty part".to_owned()))?;
        let mut source = request(store, &from, &to).source;
        source.if_match.clone_from(&generation);
        let (key, upload_id) = (to.clone(), upload_id.clone());
        parts.push(store.copy_part(CopyPartRequest { source, range, key, upload_id, part_number }).await?);
    }
    let complete = CompleteUploadRequest {
        key: to.clone(),
        upload_id,
        parts,
        condition: WriteCondition::None,
        size_bytes,
        crc64_nvme: None,
    };
    store.complete_upload(complete).await?;
    ensure(bytes_of(store, &to).await? == body, || "the parts are not the object".to_owned())
}

pub(super) async fn an_archived_object_is_refused_and_can_be_restored(store: &dyn ObjectStore) -> Outcome {
    if store.capabilities().restore != Support::Yes {
        return Ok(());
    }
    let key = key("archived")?;
    let archived = Attributes { storage_class: StorageClass::parse("GLACIER"), ..Attributes::default() };
    store.put(PutRequest { attributes: archived, ..put_request(&key, "hello") }).await?;
    ensure_kind("GET", store.get(whole(&key)).await, &[ErrorKind::Archived])?;
    let restore =
        || RestoreRequest { key: key.clone(), version_id: None, days: Some(2), tier: RestoreTier::Standard };
    ensure_eq("the first answer", store.restore(restore()).await?, RestoreAnswer::Begun)?;
    ensure_eq("the second answer", store.restore(restore()).await?, RestoreAnswer::InProgress)?;
    let state = store.head(HeadRequest::of(&key)).await?.restore;
    ensure_eq("what HEAD says of the restore", state, RestoreState::Ongoing)
}
