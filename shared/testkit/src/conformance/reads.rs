//! Reads give exactly what was asked for, or fail.

use bytes::Bytes;
use ferry_transfer::store::{GetRequest, HeadRequest};
use ferry_transfer::{Attributes, ByteRange, ErrorKind, ObjectStore};

use super::{Failure, Outcome, ensure, ensure_eq, ensure_kind, key, put, uploads, whole};

fn range(first: u64, length: u64) -> Result<ByteRange, Failure> {
    ByteRange::new(first, length).ok_or_else(|| Failure("an empty range".to_owned()))
}

pub(super) async fn what_is_not_there_is_not_found(store: &dyn ObjectStore) -> Outcome {
    let missing = key("missing")?;
    ensure_kind("HEAD", store.head(HeadRequest::of(&missing)).await, &[ErrorKind::NotFound])?;
    ensure_kind("GET", store.get(whole(&missing)).await, &[ErrorKind::NotFound])?;
    if store.capabilities().tags.may() {
        ensure_kind("GetObjectTagging", store.get_tags(&missing, None).await, &[ErrorKind::NotFound])?;
    }
    Ok(())
}

pub(super) async fn a_range_is_exactly_the_bytes_asked_for(store: &dyn ObjectStore) -> Outcome {
    let key = key("ranged")?;
    let bytes: Bytes = (0..100_000u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    put(store, &key, bytes.clone()).await?;
    for (first, length) in [(0, 1), (0, 100_000), (99_999, 1), (1, 99_998), (70_000, 30_000)] {
        let request = GetRequest { range: Some(range(first, length)?), ..whole(&key) };
        let response = store.get(request).await?;
        ensure_eq("the whole object's size", response.head.size_bytes, 100_000)?;
        ensure_eq("the body's length", response.body.length_bytes(), length)?;
        let got = response.body.collect().await?;
        let start = usize::try_from(first).unwrap_or(0);
        let end = usize::try_from(first + length).unwrap_or(0);
        ensure(got == bytes.slice(start..end), || format!("bytes {first} to {} are others", end - 1))?;
    }
    Ok(())
}

pub(super) async fn a_range_past_the_end_fails(store: &dyn ObjectStore) -> Outcome {
    let key = key("short")?;
    put(store, &key, "hello").await?;
    for (first, length) in [(5, 1), (0, 6), (4, 2), (1 << 40, 10)] {
        let request = GetRequest { range: Some(range(first, length)?), ..whole(&key) };
        let got = match store.get(request).await {
            Err(_) => continue,
            Ok(response) => response.body.collect().await,
        };
        ensure(got.is_err(), || format!("{length} bytes from {first} of 5 came as {got:?}"))?;
    }
    Ok(())
}

pub(super) async fn a_read_heeds_the_generation(store: &dyn ObjectStore) -> Outcome {
    let key = key("generations")?;
    put(store, &key, "one").await?;
    let old = store.head(HeadRequest::of(&key)).await?.etag;
    put(store, &key, "two").await?;
    let new = store.head(HeadRequest::of(&key)).await?.etag;
    for range in [None, Some(range(0, 1)?)] {
        let request = |if_match| GetRequest { if_match, range, ..whole(&key) };
        ensure_kind(
            "a GET of the old generation",
            store.get(request(old.clone())).await,
            &[ErrorKind::PreconditionFailed],
        )?;
        store.get(request(new.clone())).await?.body.collect().await?;
    }
    Ok(())
}

pub(super) async fn a_head_tells_where_a_part_lies(store: &dyn ObjectStore) -> Outcome {
    let key = key("whose parts are asked for")?;
    let (request, whole) = uploads::send_both(store, &key, Attributes::default()).await?;
    store.complete_upload(request).await?;
    let plain = store.head(HeadRequest::of(&key)).await?;
    ensure_eq("the part of a plain HEAD", plain.part, None)?;
    // Not every store can tell; one that does tells the truth.
    let asked = HeadRequest { part_number: Some(2), ..HeadRequest::of(&key) };
    let Ok(head) = store.head(asked).await else { return Ok(()) };
    ensure_eq("the size of the object", head.size_bytes, whole.len() as u64)?;
    match head.part {
        None => Ok(()),
        Some(part) => ensure_eq("part 2", (part.size_bytes, part.parts), (b"the end".len() as u64, 2)),
    }
}
