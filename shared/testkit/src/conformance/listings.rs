//! Listings lose nothing, repeat nothing and end.

use ferry_transfer::ObjectStore;
use ferry_transfer::store::{HeadRequest, ListRequest};

use super::{Outcome, ensure, ensure_eq, key, list_all, listed_keys, put};

const KEYS: [&str; 9] = ["a", "a/1", "a/2", "b/1", "b/2/x", "b/2/y", "b0", "c", "c/"];

async fn fill(store: &dyn ObjectStore) -> Outcome {
    for text in KEYS {
        put(store, &key(text)?, text).await?;
    }
    Ok(())
}

pub(super) async fn an_empty_bucket_lists_as_empty(store: &dyn ObjectStore) -> Outcome {
    let page = store.list(ListRequest::default()).await?;
    ensure(page.entries.is_empty() && page.common_prefixes.is_empty() && page.next.is_none(), || {
        format!("an empty bucket lists {page:?}")
    })
}

pub(super) async fn pages_lose_and_repeat_nothing(store: &dyn ObjectStore) -> Outcome {
    fill(store).await?;
    for page_size in 1..=10 {
        let request = ListRequest { page_size: Some(page_size), ..ListRequest::default() };
        let page = store.list(request.clone()).await?;
        ensure(page.entries.len() <= page_size as usize, || {
            format!("a page of {page_size} holds {} keys", page.entries.len())
        })?;
        ensure_eq(
            &format!("the listing in pages of {page_size}"),
            listed_keys(store, request).await?,
            KEYS.map(str::to_owned).into(),
        )?;
    }
    Ok(())
}

pub(super) async fn start_after_is_exclusive(store: &dyn ObjectStore) -> Outcome {
    fill(store).await?;
    for (start, left) in [("", 9), ("a", 8), ("a/1\u{1}", 7), ("b0", 2), ("c/", 0), ("z", 0)] {
        for page_size in [None, Some(2)] {
            let request = ListRequest {
                start_after: Some(start.to_owned()).filter(|start| !start.is_empty()),
                page_size,
                ..ListRequest::default()
            };
            ensure_eq(
                &format!("the listing after {start:?}"),
                listed_keys(store, request).await?,
                KEYS[9 - left..].iter().map(|key| (*key).to_owned()).collect(),
            )?;
        }
    }
    Ok(())
}

pub(super) async fn a_prefix_is_a_prefix_of_bytes(store: &dyn ObjectStore) -> Outcome {
    fill(store).await?;
    for (prefix, start_after, expected) in [
        ("b", None, &["b/1", "b/2/x", "b/2/y", "b0"][..]),
        ("b/", None, &["b/1", "b/2/x", "b/2/y"]),
        ("b/", Some("b/1"), &["b/2/x", "b/2/y"]),
        ("b/", Some("a"), &["b/1", "b/2/x", "b/2/y"]),
        ("b/", Some("c"), &[]),
        ("b/2/y/", None, &[]),
        ("c/", None, &["c/"]),
    ] {
        let request = ListRequest {
            prefix: prefix.to_owned(),
            start_after: start_after.map(str::to_owned),
            ..ListRequest::default()
        };
        ensure_eq(
            &format!("the listing under {prefix:?} after {start_after:?}"),
            listed_keys(store, request).await?,
            expected.iter().map(|key| (*key).to_owned()).collect(),
        )?;
    }
    Ok(())
}

pub(super) async fn a_delimiter_rolls_up_once(store: &dyn ObjectStore) -> Outcome {
    fill(store).await?;
    for page_size in [None, Some(1), Some(2)] {
        for (prefix, keys, prefixes) in
            [("", &["a", "b0", "c"][..], &["a/", "b/", "c/"][..]), ("b/", &["b/1"], &["b/2/"])]
        {
            let request = ListRequest {
                prefix: prefix.to_owned(),
                delimiter: Some("/".to_owned()),
                page_size,
                ..ListRequest::default()
            };
            let (entries, rolled) = list_all(store, request).await?;
            let found: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
            let what = format!("under {prefix:?} in pages of {page_size:?}");
            ensure_eq(&format!("the keys {what}"), found, keys.to_vec())?;
            let rolled: Vec<&str> = rolled.iter().map(String::as_str).collect();
            ensure_eq(&format!("the rolled-up prefixes {what}"), rolled, prefixes.to_vec())?;
        }
    }
    Ok(())
}

pub(super) async fn entries_describe_their_objects(store: &dyn ObjectStore) -> Outcome {
    let key = key("described")?;
    put(store, &key, "hello").await?;
    let head = store.head(HeadRequest::of(&key)).await?;
    let (entries, _) = list_all(store, ListRequest::default()).await?;
    let [entry] = entries.as_slice() else {
        return ensure(false, || format!("one object lists as {entries:?}"));
    };
    ensure_eq("the listed size", entry.size_bytes, 5)?;
    ensure_eq("the listed ETag", entry.etag.as_ref(), head.etag.as_ref())?;
    ensure(entry.last_modified.is_some() && head.last_modified.is_some(), || {
        "an object without a time".to_owned()
    })
}
