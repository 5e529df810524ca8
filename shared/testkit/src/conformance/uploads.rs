//! Uploads of parts make one object or nothing.

use bytes::Bytes;
use ferry_transfer::checksum::{DigestSet, digest};
use ferry_transfer::store::{
    BodyChecksum, CompleteUploadRequest, CreateUploadRequest, HeadRequest, ListPartsRequest, ListRequest,
    ListUploadsRequest, PartsPage, UploadId, UploadPartRequest, UploadedPart, WriteCondition,
};
use ferry_transfer::{Attributes, Body, ETag, ErrorKind, Key, ObjectStore, Support};

use super::{Failure, Outcome, bytes_of, ensure, ensure_eq, ensure_kind, key, listed_keys, put, writes};

fn crc64(bytes: &[u8]) -> u64 {
    digest(bytes, DigestSet::default()).crc64_nvme
}

/// Two parts: one of the smallest size the store takes, and a short last one.
fn two_parts(store: &dyn ObjectStore) -> [Bytes; 2] {
    let smallest = usize::try_from(store.capabilities().part_bytes_min).unwrap_or(0);
    [Bytes::from(vec![b'a'; smallest.max(1)]), Bytes::from("the end")]
}

async fn begin(store: &dyn ObjectStore, key: &Key, attributes: Attributes) -> Result<UploadId, Failure> {
    let request = CreateUploadRequest { key: key.clone(), attributes };
    Ok(store.create_upload(request).await?)
}

async fn send(
    store: &dyn ObjectStore,
    key: &Key,
    upload_id: &UploadId,
    part_number: u32,
    bytes: Bytes,
) -> Result<UploadedPart, Failure> {
    let crc64_nvme = (store.capabilities().crc64_nvme == Support::Yes).then(|| crc64(&bytes));
    let request = UploadPartRequest {
        key: key.clone(),
        upload_id: upload_id.clone(),
        part_number,
        body: Body::Bytes(bytes),
        checksum: BodyChecksum { crc64_nvme, md5: None },
    };
    Ok(store.upload_part(request).await?)
}

fn completion(
    store: &dyn ObjectStore,
    key: &Key,
    upload_id: &UploadId,
    parts: Vec<UploadedPart>,
    bytes: &[u8],
) -> CompleteUploadRequest {
    CompleteUploadRequest {
        key: key.clone(),
        upload_id: upload_id.clone(),
        parts,
        condition: WriteCondition::None,
        size_bytes: bytes.len() as u64,
        crc64_nvme: (store.capabilities().crc64_nvme == Support::Yes).then(|| crc64(bytes)),
    }
}

pub(super) async fn send_both(
    store: &dyn ObjectStore,
    key: &Key,
    attributes: Attributes,
) -> Result<(CompleteUploadRequest, Vec<u8>), Failure> {
    let upload_id = begin(store, key, attributes).await?;
    let bytes = two_parts(store);
    let mut parts = Vec::new();
    for (number, part) in (1..).zip(bytes.clone()) {
        parts.push(send(store, key, &upload_id, number, part).await?);
    }
    let whole = bytes.concat();
    Ok((completion(store, key, &upload_id, parts, &whole), whole))
}

pub(super) async fn parts_become_one_object(store: &dyn ObjectStore) -> Outcome {
    let key = key("in parts")?;
    let (request, whole) = send_both(store, &key, Attributes::default()).await?;
    ensure_kind("HEAD before completion", store.head(HeadRequest::of(&key)).await, &[ErrorKind::NotFound])?;
    store.complete_upload(request).await?;
    ensure(bytes_of(store, &key).await? == whole, || {
        "the object is not its parts laid end to end".to_owned()
    })?;
    let head = store.head(HeadRequest::of(&key)).await?;
    if store.capabilities().multipart_etag_is_md5_of_md5s == Support::Yes {
        let md5 = |bytes: &[u8]| {
            let set = DigestSet::MD5;
            digest(bytes, set).md5.unwrap_or_default()
        };
        let tag = ETag::from_part_md5s(&two_parts(store).map(|part| md5(&part)));
        ensure_eq("the ETag", head.etag, Some(tag))?;
    }
    if store.capabilities().crc64_nvme == Support::Yes {
        ensure_eq("the CRC64NVME", head.checksums.crc64_nvme, Some(crc64(&whole)))?;
    }
    Ok(())
}

pub(super) async fn parts_may_come_in_any_order_and_twice(store: &dyn ObjectStore) -> Outcome {
    let key = key("any order")?;
    let upload_id = begin(store, &key, Attributes::default()).await?;
    let [first, last] = two_parts(store);
    let end = send(store, &key, &upload_id, 7, last.clone()).await?;
    send(store, &key, &upload_id, 3, Bytes::from(vec![b'z'; first.len()])).await?;
    let start = send(store, &key, &upload_id, 3, first.clone()).await?;
    let whole = [first, last].concat();
    let request = completion(store, &key, &upload_id, vec![start, end], &whole);
    store.complete_upload(request).await?;
    ensure(bytes_of(store, &key).await? == whole, || {
        "the object is not its parts by number, each in its last form".to_owned()
    })
}

pub(super) async fn an_upload_keeps_its_attributes(store: &dyn ObjectStore) -> Outcome {
    let key = key("described in parts")?;
    let tagged = store.capabilities().tags == Support::Yes;
    let mut attributes = writes::attributes(store);
    if tagged {
        attributes.tags.push(("a".into(), "b c".into()));
    }
    let (request, _) = send_both(store, &key, attributes.clone()).await?;
    store.complete_upload(request).await?;
    let tags = std::mem::take(&mut attributes.tags);
    ensure_eq("what HEAD says", &store.head(HeadRequest::of(&key)).await?.attributes, &attributes)?;
    if tagged {
        ensure_eq("the tags", store.get_tags(&key, None).await?, tags)?;
    }
    Ok(())
}

pub(super) async fn parts_are_listed_as_they_were_received(store: &dyn ObjectStore) -> Outcome {
    let key = key("listed/in parts")?;
    let upload_id = begin(store, &key, Attributes::default()).await?;
    let page = |after, page_size| {
        let request = ListPartsRequest { key: key.clone(), upload_id: upload_id.clone(), after, page_size };
        store.list_parts(request)
    };
    ensure_eq("the list of no parts", page(0, None).await?, PartsPage::default())?;
    let bytes = two_parts(store);
    let mut sent = Vec::new();
    for (number, part) in [2, 7].into_iter().zip(bytes.clone()) {
        sent.push(send(store, &key, &upload_id, number, part).await?);
    }
    let first = page(0, Some(1)).await?;
    let next = first.next.ok_or_else(|| Failure("one part of two ends the listing".to_owned()))?;
    let second = page(next, Some(1)).await?;
    ensure_eq("the end of the listing", second.next, None)?;
    let listed: Vec<_> = first.parts.into_iter().chain(second.parts).collect();
    for ((listed, sent), bytes) in listed.iter().zip(&sent).zip(&bytes) {
        ensure_eq("the part's number", listed.part_number, sent.part_number)?;
        ensure_eq("the part's ETag", &listed.etag, &sent.etag)?;
        ensure_eq("the part's size", listed.size_bytes, bytes.len() as u64)?;
        ensure(listed.crc64_nvme.is_none_or(|crc| crc == crc64(bytes)), || {
            format!("the CRC64NVME of part {} is not that of its bytes", listed.part_number)
        })?;
    }
    ensure_eq("the number of listed parts", listed.len(), 2)?;
    ensure_eq("the parts behind the last", page(7, None).await?, PartsPage::default())?;
    store.abort_upload(&key, &upload_id).await?;
    ensure_kind("listing the parts of a dropped upload", page(0, None).await, &[ErrorKind::NotFound])
}

pub(super) async fn open_uploads_are_listed_until_they_end(store: &dyn ObjectStore) -> Outcome {
    let keys = [key("open/a b%20+")?, key("open/é")?, key("other")?];
    let mut begun = Vec::new();
    for key in &keys {
        begun.push((key.clone(), begin(store, key, Attributes::default()).await?));
    }
    let all = |prefix: &'static str| async move {
        let mut uploads = Vec::new();
        let mut after = None;
        for _ in 0..10 {
            let request = ListUploadsRequest { prefix: prefix.to_owned(), after, page_size: Some(1) };
            let page = store.list_uploads(request).await?;
            uploads.extend(page.uploads.into_iter().map(|upload| (upload.key, upload.upload_id)));
            after = page.next;
            if after.is_none() {
                return Ok(uploads);
            }
        }
        Err(Failure("the listing of uploads does not end".to_owned()))
    };
    ensure_eq("the list of uploads", all("").await?, begun.clone())?;
    ensure_eq("the list under a prefix", all("open/").await?, begun[..2].to_vec())?;
    for (key, upload_id) in &begun {
        store.abort_upload(key, upload_id).await?;
    }
    ensure_eq("the list of uploads after their end", all("").await?, Vec::new())
}

pub(super) async fn an_aborted_upload_leaves_nothing(store: &dyn ObjectStore) -> Outcome {
    let key = key("aborted")?;
    let (request, _) = send_both(store, &key, Attributes::default()).await?;
    store.abort_upload(&key, &request.upload_id).await?;
    store.abort_upload(&key, &request.upload_id).await?;
    ensure_kind(
        "completing an aborted upload",
        store.complete_upload(request).await,
        &[ErrorKind::NotFound],
    )?;
    ensure_eq("the listing", listed_keys(store, ListRequest::default()).await?, Vec::new())
}

pub(super) async fn a_completion_heeds_its_condition(store: &dyn ObjectStore) -> Outcome {
    if store.capabilities().conditional_writes != Support::Yes {
        return Ok(());
    }
    let key = key("conditional in parts")?;
    put(store, &key, "here first").await?;
    let generation = store.head(HeadRequest::of(&key)).await?.etag;
    let (mut request, whole) = send_both(store, &key, Attributes::default()).await?;
    request.condition = WriteCondition::Absent;
    ensure_kind(
        "completing over an object",
        store.complete_upload(request.clone()).await,
        &[ErrorKind::PreconditionFailed],
    )?;
    ensure_eq("the body", bytes_of(store, &key).await?, Bytes::from("here first"))?;
    // The upload survives its refusal.
    request.condition = match generation {
        Some(generation) => WriteCondition::Matches(generation),
        None => WriteCondition::None,
    };
    store.complete_upload(request).await?;
    ensure(bytes_of(store, &key).await? == whole, || "the completed object is not its parts".to_owned())
}

pub(super) async fn a_wrong_checksum_completes_nothing(store: &dyn ObjectStore) -> Outcome {
    if store.capabilities().crc64_nvme != Support::Yes {
        return Ok(());
    }
    let key = key("corrupt in parts")?;
    let (mut request, _) = send_both(store, &key, Attributes::default()).await?;
    let upload_id = request.upload_id.clone();
    request.crc64_nvme = request.crc64_nvme.map(|crc| crc ^ 1);
    let completed = store.complete_upload(request).await;
    ensure(completed.is_err(), || "a wrong CRC64NVME was taken for the whole object".to_owned())?;
    ensure_kind("HEAD", store.head(HeadRequest::of(&key)).await, &[ErrorKind::NotFound])?;
    Ok(store.abort_upload(&key, &upload_id).await?)
}
