//! Both listing operations. Where a page goes on is [`super::super::list`]'s to say.

use ferry_transfer::store::{ListPage, ListRequest};
use ferry_transfer::{Entry, ErrorKind, Key, Result};
use http::Method;

use super::address::query;
use super::listing::{self, Listed};
use super::{Call, Lean};
use crate::profile::ListVersion;
use crate::s3::error::Place;
use crate::s3::list::{Continuation, position, text};
use crate::s3::{S3Bucket, encoding};

impl S3Bucket {
    pub(in crate::s3) async fn lean_list(
        &self,
        lean: &Lean,
        version: ListVersion,
        request: ListRequest,
    ) -> Result<ListPage> {
        let place = self.place(
            match version {
                ListVersion::V1 => "ListObjects",
                ListVersion::V2 => "ListObjectsV2",
            },
            None,
        );
        let ListRequest { prefix, start_after, delimiter, cursor, page_size } = request;
        let position = position(&place, version, cursor.as_ref())?;
        let page_size = page_size.map(|size| size.to_string());
        let encoding = self.profile().list_url_encoding.then_some("url");
        let prefix = Some(prefix.as_str()).filter(|prefix| !prefix.is_empty());
        let (query, asked_from) = match version {
            ListVersion::V2 => {
                let query = query([
                    ("continuation-token", position.as_deref()),
                    ("delimiter", delimiter.as_deref()),
                    ("encoding-type", encoding),
                    ("list-type", Some("2")),
                    ("max-keys", page_size.as_deref()),
                    ("prefix", prefix),
                    // A token says it all; some stores take a second start position for the one that counts.
                    ("start-after", start_after.as_deref().filter(|_| position.is_none())),
                ]);
                (query, position)
            }
            ListVersion::V1 => {
                let marker = position.or(start_after);
                let query = query([
                    ("delimiter", delimiter.as_deref()),
                    ("encoding-type", encoding),
                    ("marker", marker.as_deref()),
                    ("max-keys", page_size.as_deref()),
                    ("prefix", prefix),
                ]);
                (query, marker)
            }
        };
        let call = Call::new(Method::GET, None, query);
        let page = lean.read(&place, call, "the listing", listing::read).await?;

        let encoded = page.encoded;
        let next = match version {
            ListVersion::V2 if self.profile().list_token_encoded && encoded => {
                page.next_token.as_deref().and_then(encoding::decode_percent)
            }
            ListVersion::V2 => page.next_token,
            ListVersion::V1 => match page.next_marker {
                Some(marker) => Some(decoded(&place, marker, encoded)?),
                None => None,
            },
        };
        let entries = page
            .objects
            .into_iter()
            .map(|object| entry(&place, object, encoded))
            .collect::<Result<Vec<_>>>()?;
        let common_prefixes = page
            .common_prefixes
            .into_iter()
            .map(|prefix| decoded(&place, prefix, encoded))
            .collect::<Result<Vec<_>>>()?;
        let continuation =
            Continuation { truncated: page.truncated, next, asked_from: asked_from.as_deref() };
        let next = continuation.cursor(&place, version, &entries, &common_prefixes)?;
        Ok(ListPage { entries, common_prefixes, next })
    }
}

fn entry(place: &Place<'_>, object: Listed, encoded: bool) -> Result<Entry> {
    let Listed { key, size_bytes, etag, last_modified, storage_class } = object;
    let key = Key::new(decoded(place, key, encoded)?).map_err(|empty| {
        place.error(ErrorKind::Unsupported, "the store lists an object without a key").caused_by(empty)
    })?;
    let Some(size_bytes) = size_bytes else {
        let sizeless = place.error(ErrorKind::Unsupported, "the store lists an object without a size");
        return Err(sizeless.on_key(key));
    };
    Ok(Entry { key, size_bytes, etag, last_modified, storage_class })
}

/// A key or prefix as it is stored; most are encoded as themselves.
fn decoded(place: &Place<'_>, listed: String, encoded: bool) -> Result<String> {
    if encoded && listed.contains(['%', '+']) { text(place, &listed, encoded) } else { Ok(listed) }
}
