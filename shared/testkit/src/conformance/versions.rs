//! Versions, where a bucket keeps them.

use ferry_transfer::store::{
    Cursor, DeleteEffect, DeleteRequest, GetRequest, HeadRequest, ListVersionsRequest, Version, VersionKind,
    Versioning,
};
use ferry_transfer::{ErrorKind, ObjectStore};

use super::{Failure, Outcome, ensure, ensure_eq, ensure_kind, key, put, whole};

/// The versions under a prefix, following pages of `page_size`.
async fn listed(store: &dyn ObjectStore, prefix: &str, page_size: u32) -> Result<Vec<Version>, Failure> {
    let (mut versions, mut cursor) = (Vec::new(), None::<Cursor>);
    for _ in 0..1_000 {
        let request = ListVersionsRequest {
            prefix: prefix.to_owned(),
            cursor,
            page_size: Some(page_size),
            ..ListVersionsRequest::default()
        };
        let page = store.list_versions(request).await?;
        versions.extend(page.versions);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(versions);
        }
    }
    Err(Failure("the listing of versions does not end".to_owned()))
}

/// Writes, deletes and writes again come back in their order, delete markers in their places, whatever the page size.
pub(super) async fn a_history_is_listed_newest_first(store: &dyn ObjectStore) -> Outcome {
    if store.versioning().await? != Versioning::Enabled {
        return Ok(());
    }
    let odd = key("history/a b+%é")?;
    let mut made = Vec::new();
    for round in 0..3 {
        made.push(put(store, &odd, format!("round {round}")).await?.version_id);
        let deleted = store.delete(DeleteRequest::of(&odd)).await?;
        ensure_eq("the effect of a delete", deleted.effect, DeleteEffect::Marked)?;
        made.push(deleted.version_id);
    }
    let other = key("history/b")?;
    put(store, &other, "another").await?;
    made.reverse();
    for page_size in [1, 2, 1000] {
        let versions = listed(store, "history/", page_size).await?;
        ensure_eq("the number of versions", versions.len(), 7)?;
        let of_odd: Vec<Option<String>> = versions
            .iter()
            .filter(|version| version.entry.key == odd)
            .map(|version| Some(version.version_id.clone()))
            .collect();
        ensure_eq("the order of versions", &of_odd, &made)?;
        let kinds: Vec<VersionKind> = versions.iter().take(4).map(|version| version.kind).collect();
        let (marker, object) = (VersionKind::DeleteMarker, VersionKind::Object);
        ensure_eq("what the versions are", kinds, vec![marker, object, marker, object])?;
    }
    let request =
        ListVersionsRequest { start_after: Some(odd.as_str().to_owned()), ..ListVersionsRequest::default() };
    let after = store.list_versions(request).await?.versions;
    ensure(after.iter().all(|version| version.entry.key != odd), || {
        "versions of the key to start after are listed".to_owned()
    })
}

/// An older version is read, with its own tags and generation, while a newer one and a delete marker lie over it.
pub(super) async fn a_version_is_read_by_its_name(store: &dyn ObjectStore) -> Outcome {
    if store.versioning().await? != Versioning::Enabled {
        return Ok(());
    }
    let name = key("older")?;
    let first = put(store, &name, "first").await?;
    let id = first.version_id.clone();
    ensure(id.is_some(), || "a write to a bucket with versions names none".to_owned())?;
    let tags = vec![("of".to_owned(), "the first".to_owned())];
    put(store, &name, "the second").await?;
    store.put_tags(&name, id.as_deref(), &tags).await?;
    store.delete(DeleteRequest::of(&name)).await?;
    ensure_kind("reading what is hidden", store.get(whole(&name)).await, &[ErrorKind::NotFound])?;
    let head = store.head(HeadRequest { version_id: id.clone(), ..HeadRequest::of(&name) }).await?;
    ensure_eq("the version of a head", &head.version_id, &id)?;
    ensure_eq("the generation of a version", head.etag, first.etag)?;
    let read = store.get(GetRequest { version_id: id.clone(), ..whole(&name) }).await?;
    ensure_eq("the version of a read", &read.head.version_id, &id)?;
    ensure_eq("the bytes of a version", &read.body.collect().await?[..], b"first")?;
    ensure_eq("the tags of a version", store.get_tags(&name, id.as_deref()).await?, tags)?;

    // The newest that is left is the current one again.
    for version in listed(store, "older", 1000).await? {
        if Some(&version.version_id) != id.as_ref() {
            let request = DeleteRequest { version_id: Some(version.version_id), ..DeleteRequest::of(&name) };
            store.delete(request).await?;
        }
    }
    let current = store.get(whole(&name)).await?;
    ensure_eq("the version that is left", current.head.version_id, id)
}
