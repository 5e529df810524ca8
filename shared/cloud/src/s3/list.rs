//! Listing a bucket.
//!
//! Owns: one page by either listing operation. Invariant: a page is whole or an error. A truncated page without a place to go on, a
//! listing that does not advance, and a document of which only a part was understood are errors and never the end of a listing.

use aws_sdk_s3::types::{CommonPrefix, EncodingType, Object};
use ferry_transfer::store::{Cursor, ListPage, ListRequest};
use ferry_transfer::{ETag, Entry, ErrorKind, Key, Result, StorageClass};

use super::error::Place;
use super::intercept::{Witness, Witnessed};
use super::{ANSWER_TIMEOUT, ListVersion, S3Bucket, answered, attributes, encoding};

/// Most keys of a page almost everywhere (AWS, `ListObjectsV2`, `max-keys`).
const PAGE_KEYS_MAX: i32 = 1000;

/// What both operations answer.
struct Page<'a> {
    objects: &'a [Object],
    prefixes: &'a [CommonPrefix],
    encoded: bool,
    truncated: bool,
    /// The store's own word on where to go on.
    next: Option<String>,
}

impl S3Bucket {
    pub(super) async fn list_page(&self, version: ListVersion, request: ListRequest) -> Result<ListPage> {
        match version {
            ListVersion::V1 => self.list_v1(request).await,
            ListVersion::V2 => self.list_v2(request).await,
        }
    }

    async fn list_v2(&self, request: ListRequest) -> Result<ListPage> {
        let place = self.place("ListObjectsV2", None);
        let token = position(&place, ListVersion::V2, request.cursor.as_ref())?;
        let witness = Witness::<Witnessed>::default();
        let call = self
            .client()
            .list_objects_v2()
            .bucket(&self.name.bucket)
            .set_prefix(present(&request.prefix))
            .set_delimiter(request.delimiter.clone())
            // A token says it all; some stores take a second start position for the one that counts.
            .set_start_after(request.start_after.clone().filter(|_| token.is_none()))
            .set_continuation_token(token.clone())
            .max_keys(page_keys(&request))
            .set_encoding_type(self.wanted_encoding())
            .customize()
            .interceptor(witness.clone());
        let answer = answered(&place, ANSWER_TIMEOUT, call.send()).await?;
        let next = match answer.next_continuation_token() {
            Some(token) if self.profile().list_token_encoded && is_url(answer.encoding_type()) => {
                encoding::decode_percent(token)
            }
            other => other.map(ToOwned::to_owned),
        };
        let page = Page {
            objects: answer.contents(),
            prefixes: answer.common_prefixes(),
            encoded: is_url(answer.encoding_type()),
            truncated: answer.is_truncated() == Some(true),
            next: next.filter(|token| !token.is_empty()),
        };
        page.read(&place, witness.seen(), ListVersion::V2, token.as_deref())
    }

    async fn list_v1(&self, request: ListRequest) -> Result<ListPage> {
        let place = self.place("ListObjects", None);
        let marker = position(&place, ListVersion::V1, request.cursor.as_ref())?
            .or_else(|| request.start_after.clone());
        let witness = Witness::<Witnessed>::default();
        let call = self
            .client()
            .list_objects()
            .bucket(&self.name.bucket)
            .set_prefix(present(&request.prefix))
            .set_delimiter(request.delimiter.clone())
            .set_marker(marker.clone())
            .max_keys(page_keys(&request))
            .set_encoding_type(self.wanted_encoding())
            .customize()
            .interceptor(witness.clone());
        let answer = answered(&place, ANSWER_TIMEOUT, call.send()).await?;
        let encoded = is_url(answer.encoding_type());
        let next = match answer.next_marker().filter(|marker| !marker.is_empty()) {
            Some(marker) => Some(text(&place, marker, encoded)?),
            None => None,
        };
        let page = Page {
            objects: answer.contents(),
            prefixes: answer.common_prefixes(),
            encoded,
            truncated: answer.is_truncated() == Some(true),
            next,
        };
        page.read(&place, witness.seen(), ListVersion::V1, marker.as_deref())
    }

    fn wanted_encoding(&self) -> Option<EncodingType> {
        self.profile().list_url_encoding.then_some(EncodingType::Url)
    }
}

impl Page<'_> {
    fn read(
        self,
        place: &Place<'_>,
        witnessed: Witnessed,
        version: ListVersion,
        asked_from: Option<&str>,
    ) -> Result<ListPage> {
        if !witnessed.complete || witnessed.entries != self.objects.len() {
            return Err(place.error(
                ErrorKind::Transient,
                format!(
                    "the listing cannot be read in full: {} of {} entries understood, document {}",
                    self.objects.len(),
                    witnessed.entries,
                    if witnessed.complete { "whole" } else { "cut off" }
                ),
            ));
        }
        let entries = self
            .objects
            .iter()
            .map(|object| entry(place, object, self.encoded))
            .collect::<Result<Vec<_>>>()?;
        let common_prefixes = self
            .prefixes
            .iter()
            .filter_map(CommonPrefix::prefix)
            .map(|prefix| text(place, prefix, self.encoded))
            .collect::<Result<Vec<_>>>()?;
        let continuation = Continuation { truncated: self.truncated, next: self.next, asked_from };
        let next = continuation.cursor(place, version, &entries, &common_prefixes)?;
        Ok(ListPage { entries, common_prefixes, next })
    }
}

/// What a page says of the next one.
pub(super) struct Continuation<'a> {
    pub(super) truncated: bool,
    /// The store's own word on where to go on.
    pub(super) next: Option<String>,
    pub(super) asked_from: Option<&'a str>,
}

impl Continuation<'_> {
    /// Where to go on; `None` only where the listing is complete.
    pub(super) fn cursor(
        self,
        place: &Place<'_>,
        version: ListVersion,
        entries: &[Entry],
        common_prefixes: &[String],
    ) -> Result<Option<Cursor>> {
        if !self.truncated {
            return Ok(None);
        }
        let next = match version {
            ListVersion::V2 => self.next,
            // NextMarker is only sent with a delimiter; otherwise the last key is the marker.
            ListVersion::V1 => self.next.or_else(|| last(entries, common_prefixes)),
        };
        match next {
            Some(next) if Some(next.as_str()) != self.asked_from => {
                Ok(Some(encoding::cursor(version, &next)))
            }
            Some(_) => Err(place.error(
                ErrorKind::Unsupported,
                "the listing does not advance: the store answers the place it was asked to go on from. Try the other \
                 `list_version`",
            )),
            None => Err(place.error(
                ErrorKind::Unsupported,
                "the store says that the listing goes on but not where. Try the other `list_version`",
            )),
        }
    }
}

fn entry(place: &Place<'_>, object: &Object, encoded: bool) -> Result<Entry> {
    let key = text(place, object.key().unwrap_or_default(), encoded)?;
    let key = Key::new(key).map_err(|empty| {
        place.error(ErrorKind::Unsupported, "the store lists an object without a key").caused_by(empty)
    })?;
    let Some(size_bytes) = object.size().and_then(|size| u64::try_from(size).ok()) else {
        let sizeless = place.error(ErrorKind::Unsupported, "the store lists an object without a size");
        return Err(sizeless.on_key(key));
    };
    Ok(Entry {
        key,
        size_bytes,
        etag: object.e_tag().and_then(ETag::parse),
        last_modified: object.last_modified().and_then(attributes::to_time),
        storage_class: object.storage_class().and_then(|class| listed_class(class.as_str())),
    })
}

/// A class as listings have it: the standard one goes without saying.
pub(super) fn listed_class(word: &str) -> Option<StorageClass> {
    StorageClass::parse(word).filter(|class| !class.is_standard())
}

/// A key or prefix of a listing as it is stored.
pub(super) fn text(place: &Place<'_>, listed: &str, encoded: bool) -> Result<String> {
    if !encoded {
        return Ok(listed.to_owned());
    }
    encoding::decode_form(listed).ok_or_else(|| {
        place.error(ErrorKind::Unsupported, format!("the store holds a key that is not UTF-8: {listed:?}"))
    })
}

fn last(entries: &[Entry], common_prefixes: &[String]) -> Option<String> {
    let key = entries.last().map(|entry| entry.key.as_str());
    let prefix = common_prefixes.last().map(String::as_str);
    key.max(prefix).map(ToOwned::to_owned)
}

pub(super) fn position(
    place: &Place<'_>,
    version: ListVersion,
    cursor: Option<&Cursor>,
) -> Result<Option<String>> {
    cursor
        .map(|cursor| {
            encoding::position(version, cursor).map(ToOwned::to_owned).ok_or_else(|| {
                place.error(
                    ErrorKind::InvalidInput,
                    "the listing to go on with was begun by another operation: start it over",
                )
            })
        })
        .transpose()
}

/// Always said: Alibaba OSS answers 100 keys a page to those who do not.
fn page_keys(request: &ListRequest) -> i32 {
    request.page_size.and_then(|size| i32::try_from(size).ok()).unwrap_or(PAGE_KEYS_MAX)
}

fn is_url(encoding: Option<&EncodingType>) -> bool {
    encoding == Some(&EncodingType::Url)
}

fn present(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
