//! Listings as S3 writes them.
//!
//! Owns: the two list protocols over one page function, and `encoding-type=url`. Invariant: with the encoding asked for,
//! everything that holds a part of a key is encoded, as S3 does: a space is `+`, a slash stays.

use ferry_transfer::StorageClass;
use s3s::dto::{
    CommonPrefix, ETag, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, ObjectStorageClass, Owner, Timestamp,
};
use s3s::{S3Result, s3_error};

use super::backend::Backend;
use super::refused::refused;
use crate::bucket::{ListQuery, PAGE_MAX, Refusal, Start, StoredObject};
use crate::key_encoding::KeyEncoding;

/// Reads `encoding-type`.
pub(super) fn encoding(asked: Option<&EncodingType>) -> S3Result<KeyEncoding> {
    KeyEncoding::asked(asked.map(EncodingType::as_str))
        .ok_or_else(|| s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request"))
}

/// What an answer says of its own encoding.
pub(super) fn told(encoding: KeyEncoding) -> Option<EncodingType> {
    (encoding == KeyEncoding::Url).then(|| EncodingType::from_static(EncodingType::URL))
}

/// Reads a page size; negative ones are refused, as S3 does.
pub(super) fn page_size(asked: Option<i32>, unsaid: usize) -> S3Result<usize> {
    match asked {
        None => Ok(unsaid),
        Some(asked) => usize::try_from(asked)
            .map_err(|_| refused(Refusal::InvalidArgument("the page size must be between 0 and 2147483647"))),
    }
}

impl Backend {
    pub(super) fn list_v2(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        let encoding = encoding(input.encoding_type.as_ref())?;
        let from = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => Start::from_token(token).ok_or_else(|| {
                refused(Refusal::InvalidArgument("the continuation token provided is incorrect"))
            })?,
            (None, Some(key)) => Start::AfterKey(key.clone()),
            (None, None) => Start::Beginning,
        };
        let bucket = self.bucket(&input.bucket)?;
        let limit = page_size(input.max_keys, bucket.settings().page_keys)?;
        let page = bucket.list(&ListQuery {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().filter(|text| !text.is_empty()),
            from,
            page_size: limit,
        });
        let owner = input.fetch_owner.unwrap_or(false).then(owner);
        let key_count = page.entries.len() + page.common_prefixes.len();
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encoding.write(&input.prefix.unwrap_or_default())),
            max_keys: i32::try_from(limit.min(PAGE_MAX)).ok(),
            key_count: i32::try_from(key_count).ok(),
            continuation_token: input.continuation_token,
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.map(|start| start.to_token()),
            contents: Some(
                page.entries
                    .into_iter()
                    .map(|(key, object)| entry(&key, &object, encoding, owner.clone()))
                    .collect(),
            ),
            common_prefixes: Some(common_prefixes(&page.common_prefixes, encoding)),
            delimiter: input.delimiter.map(|text| encoding.write(&text)),
            encoding_type: told(encoding),
            start_after: input.start_after.map(|key| encoding.write(&key)),
            request_charged: None,
        })
    }

    pub(super) fn list_v1(&self, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
        let encoding = encoding(input.encoding_type.as_ref())?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = input.delimiter.filter(|text| !text.is_empty());
        let marker = input.marker.unwrap_or_default();
        // The marker that a page ending in a rolled-up prefix hands out is that prefix.
        let rolled_up = delimiter
            .as_ref()
            .is_some_and(|delimiter| marker.ends_with(delimiter) && marker.len() > prefix.len());
        let from = match marker.as_str() {
            "" => Start::Beginning,
            marker if rolled_up => Start::AfterPrefix(marker.to_owned()),
            marker => Start::AfterKey(marker.to_owned()),
        };
        let bucket = self.bucket(&input.bucket)?;
        let limit = page_size(input.max_keys, bucket.settings().page_keys)?;
        let page = bucket.list(&ListQuery {
            prefix: prefix.clone(),
            delimiter: delimiter.clone(),
            from,
            page_size: limit,
        });
        let next_marker = match &page.next {
            // Without a delimiter the last key of the page is the next marker, and S3 does not repeat it.
            Some(Start::AfterKey(key) | Start::AfterPrefix(key)) if delimiter.is_some() => {
                Some(encoding.write(key))
            }
            _ => None,
        };
        Ok(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encoding.write(&prefix)),
            marker: Some(encoding.write(&marker)),
            max_keys: i32::try_from(limit.min(PAGE_MAX)).ok(),
            is_truncated: Some(page.next.is_some()),
            next_marker,
            contents: Some(
                page.entries
                    .into_iter()
                    .map(|(key, object)| entry(&key, &object, encoding, Some(owner())))
                    .collect(),
            ),
            common_prefixes: Some(common_prefixes(&page.common_prefixes, encoding)),
            delimiter: delimiter.map(|text| encoding.write(&text)),
            encoding_type: told(encoding),
            request_charged: None,
        })
    }
}

fn entry(key: &str, object: &StoredObject, encoding: KeyEncoding, owner: Option<Owner>) -> Object {
    let class = object.attributes.storage_class.as_ref();
    let class = class.map_or("STANDARD", StorageClass::as_str);
    Object {
        e_tag: Some(ETag::Strong(object.etag.as_str().to_owned())),
        key: Some(encoding.write(key)),
        last_modified: Some(Timestamp::from(object.last_modified)),
        owner,
        size: i64::try_from(object.size_bytes()).ok(),
        storage_class: Some(ObjectStorageClass::from(class.to_owned())),
        ..Object::default()
    }
}

fn common_prefixes(prefixes: &[String], encoding: KeyEncoding) -> Vec<CommonPrefix> {
    prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encoding.write(prefix)) }).collect()
}

fn owner() -> Owner {
    Owner { display_name: Some("ferry".to_owned()), id: Some("ferry".to_owned()) }
}
