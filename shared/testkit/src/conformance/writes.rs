//! Writes are whole, faithful and conditional.

use bytes::Bytes;
use ferry_transfer::attribute_rules::ObjectLock;
use ferry_transfer::checksum::{DigestSet, digest};
use ferry_transfer::store::{
    BodyChecksum, DeleteRequest, HeadRequest, ListRequest, PutRequest, WriteCondition,
};
use ferry_transfer::{Attributes, Body, ETag, ErrorKind, ObjectStore, StorageClass, Support};
use futures::future::join_all;

use super::{
    Failure, Outcome, bytes_of, ensure, ensure_eq, ensure_kind, key, listed_keys, put, put_request, whole,
};

/// Attributes that differ from every store's defaults.
pub(super) fn attributes(store: &dyn ObjectStore) -> Attributes {
    let some = |text: &str| Some(text.to_owned());
    let classes = &store.capabilities().storage_classes;
    Attributes {
        content_type: some("text/x-ferry; charset=utf-8"),
        content_encoding: some("gzip"),
        content_language: some("de, en"),
        content_disposition: some("attachment; filename=\"a b.txt\""),
        cache_control: some("max-age=60, private"),
        expires: some("Wed, 21 Oct 2065 07:28:00 GMT"),
        website_redirect: some("/elsewhere"),
        user_metadata: [("owner", "me"), ("with-dash_and.dot", "a, b; c=\"d\"")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        storage_class: classes
            .iter()
            .find(|class| *class == "STANDARD_IA")
            .and_then(|class| StorageClass::parse(class)),
        lock: ObjectLock::default(),
        tags: Vec::new(),
    }
}

pub(super) async fn an_object_reads_back_as_written(store: &dyn ObjectStore) -> Outcome {
    let key = key("plain")?;
    let written = put(store, &key, "hello").await?;
    let response = store.get(whole(&key)).await?;
    ensure_eq("the size", response.head.size_bytes, 5)?;
    ensure(response.head.etag.is_some(), || "an object without an ETag".to_owned())?;
    if written.etag.is_some() {
        ensure_eq("the ETag", &response.head.etag, &written.etag)?;
    }
    if store.capabilities().etag_is_md5 == Support::Yes {
        let md5 = ETag::parse("5d41402abc4b2a76b9719d911017c592");
        ensure_eq("the ETag", &response.head.etag, &md5)?;
    }
    ensure_eq("the body", response.body.collect().await?, Bytes::from("hello"))
}

pub(super) async fn an_empty_object_is_an_object(store: &dyn ObjectStore) -> Outcome {
    let key = key("empty")?;
    put(store, &key, Bytes::new()).await?;
    ensure_eq("the size", store.head(HeadRequest::of(&key)).await?.size_bytes, 0)?;
    ensure_eq("the body", bytes_of(store, &key).await?, Bytes::new())
}

pub(super) async fn a_streamed_body_arrives_whole(store: &dyn ObjectStore) -> Outcome {
    let key = key("streamed")?;
    let chunk = Bytes::from(vec![7; 10_000]);
    let chunks: Vec<_> = (0..20).map(|_| Ok(chunk.clone())).collect();
    let request =
        PutRequest { body: Body::stream(200_000, futures::stream::iter(chunks)), ..put_request(&key, "") };
    store.put(request).await?;
    let got = bytes_of(store, &key).await?;
    ensure(got.len() == 200_000 && got.iter().all(|byte| *byte == 7), || {
        format!("200000 bytes became {}", got.len())
    })
}

pub(super) async fn a_short_body_leaves_no_object(store: &dyn ObjectStore) -> Outcome {
    let key = key("short-body")?;
    let request = PutRequest {
        body: Body::stream(10, futures::stream::iter([Ok(Bytes::from("hello"))])),
        ..put_request(&key, "")
    };
    let written = store.put(request).await;
    ensure(written.is_err(), || format!("a short body was taken: {written:?}"))?;
    ensure_kind("HEAD", store.head(HeadRequest::of(&key)).await, &[ErrorKind::NotFound])
}

pub(super) async fn a_wrong_checksum_leaves_no_object(store: &dyn ObjectStore) -> Outcome {
    let key = key("corrupt")?;
    let crc64 = BodyChecksum { crc64_nvme: Some(1), md5: None };
    let md5 = BodyChecksum { crc64_nvme: None, md5: Some([1; 16]) };
    let capabilities = store.capabilities();
    for (support, checksum) in [(capabilities.crc64_nvme, crc64), (capabilities.content_md5, md5)] {
        if support != Support::Yes {
            continue;
        }
        let request = PutRequest { checksum, ..put_request(&key, "hello") };
        let what = format!("a PUT with {checksum:?}");
        ensure_kind(&what, store.put(request).await, &[ErrorKind::Corrupt])?;
        ensure_kind("HEAD", store.head(HeadRequest::of(&key)).await, &[ErrorKind::NotFound])?;
    }
    let right = digest(b"hello", DigestSet::MD5);
    let request = PutRequest {
        checksum: BodyChecksum { crc64_nvme: Some(right.crc64_nvme), md5: None },
        ..put_request(&key, "hello")
    };
    store.put(request).await?;
    ensure_eq("the body", bytes_of(store, &key).await?, Bytes::from("hello"))
}

pub(super) async fn overwriting_makes_a_new_generation(store: &dyn ObjectStore) -> Outcome {
    let key = key("overwritten")?;
    put(store, &key, "one").await?;
    let first = store.head(HeadRequest::of(&key)).await?.etag;
    put(store, &key, "two").await?;
    let second = store.head(HeadRequest::of(&key)).await?.etag;
    ensure(first != second, || format!("both generations are {first:?}"))?;
    ensure_eq("the body", bytes_of(store, &key).await?, Bytes::from("two"))
}

pub(super) async fn attributes_round_trip(store: &dyn ObjectStore) -> Outcome {
    let key = key("described")?;
    let attributes = attributes(store);
    let request = PutRequest { attributes: attributes.clone(), ..put_request(&key, "hello") };
    store.put(request).await?;
    ensure_eq("what HEAD says", &store.head(HeadRequest::of(&key)).await?.attributes, &attributes)?;
    let got = store.get(whole(&key)).await?;
    ensure_eq("what GET says", &got.head.attributes, &attributes)?;
    put(store, &key, "hello").await?;
    let left = store.head(HeadRequest::of(&key)).await?.attributes;
    ensure(left.user_metadata.is_empty() && left.cache_control.is_none(), || {
        format!("overwriting left {left:?}")
    })
}

pub(super) async fn tags_round_trip(store: &dyn ObjectStore) -> Outcome {
    if !store.capabilities().tags.may() {
        return Ok(());
    }
    let key = key("tagged")?;
    let mut tags: Vec<(String, String)> =
        [("empty", ""), ("plain", "value"), ("a b+c", "d/e=f:g@h"), ("Übung", "日本")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    let request = PutRequest {
        attributes: Attributes { tags: tags.clone(), ..Attributes::default() },
        ..put_request(&key, "hello")
    };
    store.put(request).await?;
    let got = store.get(whole(&key)).await?;
    ensure_eq("the number of tags in a GET", got.head.tag_count, 4)?;
    ensure(got.head.attributes.tags.is_empty(), || "a GET already holds tags".to_owned())?;
    let mut read = store.get_tags(&key, None).await?;
    // Not every store keeps the order.
    tags.sort();
    read.sort();
    ensure_eq("the tags", read, tags)
}

fn conditional(store: &dyn ObjectStore) -> bool {
    store.capabilities().conditional_writes == Support::Yes
}

pub(super) async fn absent_refuses_what_is_there(store: &dyn ObjectStore) -> Outcome {
    if !conditional(store) {
        return Ok(());
    }
    let key = key("once")?;
    let request =
        |bytes: &'static str| PutRequest { condition: WriteCondition::Absent, ..put_request(&key, bytes) };
    store.put(request("one")).await?;
    ensure_kind("the second PUT", store.put(request("two")).await, &[ErrorKind::PreconditionFailed])?;
    ensure_eq("the body", bytes_of(store, &key).await?, Bytes::from("one"))
}

pub(super) async fn matches_refuses_another_generation(store: &dyn ObjectStore) -> Outcome {
    if !conditional(store) {
        return Ok(());
    }
    let key = key("matched")?;
    put(store, &key, "one").await?;
    let generation = |etag: Option<ETag>| etag.ok_or_else(|| Failure("no ETag".to_owned()));
    let first = generation(store.head(HeadRequest::of(&key)).await?.etag)?;
    let request = |bytes: &'static str| PutRequest {
        condition: WriteCondition::Matches(first.clone()),
        ..put_request(&key, bytes)
    };
    store.put(request("two")).await?;
    ensure_kind(
        "a PUT over another generation",
        store.put(request("three")).await,
        &[ErrorKind::PreconditionFailed],
    )?;
    ensure_eq("the body", bytes_of(store, &key).await?, Bytes::from("two"))?;
    store.delete(DeleteRequest::of(&key)).await?;
    ensure_kind(
        "a PUT over nothing",
        store.put(request("four")).await,
        &[ErrorKind::PreconditionFailed, ErrorKind::NotFound],
    )?;
    ensure_eq("the listing", listed_keys(store, ListRequest::default()).await?, Vec::new())
}

pub(super) async fn of_racing_writers_one_wins(store: &dyn ObjectStore) -> Outcome {
    if !conditional(store) {
        return Ok(());
    }
    let key = key("raced")?;
    let writers = (0..8).map(|number| {
        store.put(PutRequest {
            condition: WriteCondition::Absent,
            ..put_request(&key, format!("writer {number}"))
        })
    });
    let results = join_all(writers).await;
    let wins: Vec<usize> = (0..8).filter(|number| results[*number].is_ok()).collect();
    let [winner] = wins.as_slice() else {
        return ensure(false, || format!("of eight writers, {wins:?} won"));
    };
    ensure_eq("the body", bytes_of(store, &key).await?, Bytes::from(format!("writer {winner}")))
}

pub(super) async fn deleting_is_idempotent(store: &dyn ObjectStore) -> Outcome {
    let key = key("deleted")?;
    put(store, &key, "hello").await?;
    store.delete(DeleteRequest::of(&key)).await?;
    store.delete(DeleteRequest::of(&key)).await?;
    ensure_kind("HEAD", store.head(HeadRequest::of(&key)).await, &[ErrorKind::NotFound])
}

pub(super) async fn deleting_heeds_the_generation(store: &dyn ObjectStore) -> Outcome {
    if store.capabilities().conditional_deletes != Support::Yes {
        return Ok(());
    }
    let key = key("kept")?;
    put(store, &key, "one").await?;
    let old = store.head(HeadRequest::of(&key)).await?.etag;
    put(store, &key, "two").await?;
    let new = store.head(HeadRequest::of(&key)).await?.etag;
    ensure_kind(
        "a DELETE of the old generation",
        store.delete(DeleteRequest { if_match: old, ..DeleteRequest::of(&key) }).await,
        &[ErrorKind::PreconditionFailed],
    )?;
    ensure_eq("the body", bytes_of(store, &key).await?, Bytes::from("two"))?;
    store.delete(DeleteRequest { if_match: new, ..DeleteRequest::of(&key) }).await?;
    ensure_kind("HEAD", store.head(HeadRequest::of(&key)).await, &[ErrorKind::NotFound])
}
