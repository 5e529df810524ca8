//! A bucket whose keys, sizes and bytes are computed.
//!
//! Owns: the order of its keys and the arithmetic from a key to its number and back. Invariant: key `n` is smaller than key
//! `n + 1` in UTF-8 bytes, so a page begins with one binary search.

use std::ops::{Bound, Range};
use std::time::Duration;

use bytes::Bytes;
use ferry_transfer::{ByteRange, ETag};
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use md5::{Digest as _, Md5};

use super::body::ResponseBody;
use super::content::{Parts, Pool, seed};
use super::pages::{self, End, Line, ListVersion, Next, Sorted};
use crate::error_document;
use crate::operation::Query;

/// When every generated object was taken in, for headers and for listings.
const LAST_MODIFIED_HTTP: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
const LAST_MODIFIED_XML: &str = "2024-01-01T00:00:00.000Z";

/// How keys look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyLayout {
    /// `PREFIX0000000042`.
    Flat {
        /// Before the number.
        prefix: String,
    },
    /// `PREFIX00000004/00000002`.
    Folders {
        /// Before the folder's number.
        prefix: String,
        /// Keys in each folder; at least one.
        keys_per_folder: u64,
    },
}

/// How big objects are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sizes {
    /// All of one size in bytes.
    Same(u64),
    /// These sizes in bytes, over and over; none is the same as one size of 0.
    Cycle(Vec<u64>),
}

/// How generations are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GeneratedEtag {
    /// By key and size. Costs nothing, and says nothing about the bytes.
    #[default]
    Opaque,
    /// By a digest of the key, and the size behind it: looks like the tag of an object in so many parts, and is none.
    DigestAndSize,
    /// By the MD5 of the bytes, computed for each answer and each line of a listing: 8 µs for 4 KiB.
    Md5,
    /// As S3 names what was written in parts of this many bytes each: by the MD5 of their MD5s. Computed when the server starts:
    /// 0.2 s a GiB.
    Parts(u64),
}

/// What its listings do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListingFault {
    /// What they should.
    #[default]
    None,
    /// Every page but the one from the beginning fails with a 500.
    FailsBehindFirstPage,
    /// A page that is not the last says that it is.
    EndsEarly,
}

/// A bucket of computed objects.
#[derive(Debug, Clone)]
pub struct GeneratedBucket {
    /// Number of objects.
    pub keys: u64,
    /// How their keys look.
    pub layout: KeyLayout,
    /// How big they are.
    pub sizes: Sizes,
    /// How their generations are named.
    pub etag: GeneratedEtag,
    /// How long each page of a listing takes.
    pub page_delay: Duration,
    /// What goes wrong with its listings.
    pub listing_fault: ListingFault,
}

impl GeneratedBucket {
    /// Objects of one size under flat keys.
    pub fn new(keys: u64, size_bytes: u64) -> Self {
        Self {
            keys,
            layout: KeyLayout::Flat { prefix: "object-".to_owned() },
            sizes: Sizes::Same(size_bytes),
            etag: GeneratedEtag::Opaque,
            page_delay: Duration::ZERO,
            listing_fault: ListingFault::None,
        }
    }

    /// The key of object `number`, from 0.
    pub fn key(&self, number: u64) -> String {
        match &self.layout {
            KeyLayout::Flat { prefix } => format!("{prefix}{number:010}"),
            KeyLayout::Folders { prefix, keys_per_folder } => {
                let per = (*keys_per_folder).max(1);
                format!("{prefix}{:08}/{:08}", number / per, number % per)
            }
        }
    }

    /// The size of object `number` in bytes.
    pub fn size_bytes(&self, number: u64) -> u64 {
        match &self.sizes {
            Sizes::Same(size) => *size,
            Sizes::Cycle(sizes) => {
                let index = number.checked_rem(sizes.len() as u64);
                index.and_then(|index| sizes.get(usize::try_from(index).ok()?)).copied().unwrap_or(0)
            }
        }
    }

    /// The bytes of the object under `key`, for a test to compare with. `None` where there is no such object.
    pub fn bytes(&self, key: &str) -> Option<Bytes> {
        let number = self.number(key)?;
        let content = Pool::new().content(seed(key), &(0..self.size_bytes(number)));
        Some(content.flatten().collect())
    }

    /// The number of the first key that is not `smaller`; one past the last where all are.
    fn first_behind(&self, smaller: impl Fn(&str) -> bool) -> u64 {
        let (mut low, mut high) = (0, self.keys);
        while low < high {
            let middle = low + (high - low) / 2;
            if smaller(&self.key(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn number(&self, key: &str) -> Option<u64> {
        let number = self.first_behind(|other| other < key);
        (number < self.keys && self.key(number) == key).then_some(number)
    }

    /// Computes what takes too long while somebody waits for an answer.
    pub(super) fn prepare(&self, pool: &Pool) {
        if matches!(self.etag, GeneratedEtag::Parts(_)) {
            for number in 0..self.keys {
                self.etag(&self.key(number), self.size_bytes(number), pool);
            }
        }
    }

    fn etag(&self, key: &str, size_bytes: u64, pool: &Pool) -> String {
        match self.etag {
            // Not with a number at its end: it would pass for the tag of an object of so many parts.
            GeneratedEtag::Opaque => format!("{:016x}-{size_bytes}-generated", seed(key)),
            GeneratedEtag::DigestAndSize => format!("{:032x}-{size_bytes}", seed(key)),
            GeneratedEtag::Md5 => {
                let mut md5 = Md5::new();
                for slice in pool.content(seed(key), &(0..size_bytes)) {
                    md5.update(&slice);
                }
                ETag::from_md5(md5.finalize().into()).as_str().to_owned()
            }
            GeneratedEtag::Parts(part_bytes) => {
                pool.part_tag(Parts { seed: seed(key), size_bytes, part_bytes }).as_str().to_owned()
            }
        }
    }

    /// A page of its keys, once the delay has passed.
    pub(super) async fn page(
        &self,
        bucket: &str,
        query: &Query,
        version: ListVersion,
        pool: &Pool,
    ) -> Response<ResponseBody> {
        if !self.page_delay.is_zero() {
            tokio::time::sleep(self.page_delay).await;
        }
        let behind = ["continuation-token", "start-after", "marker"];
        match self.listing_fault {
            ListingFault::FailsBehindFirstPage
                if behind.iter().any(|name| query.get(name).is_some_and(|text| !text.is_empty())) =>
            {
                error_document::response(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "InternalError",
                    "A fault was asked for.",
                )
            }
            ListingFault::None | ListingFault::FailsBehindFirstPage => {
                pages::page(bucket, query, version, End::Told, &Computed { bucket: self, pool })
            }
            ListingFault::EndsEarly => {
                pages::page(bucket, query, version, End::Pretended, &Computed { bucket: self, pool })
            }
        }
    }

    pub(super) fn read(
        &self,
        key: &str,
        method: &Method,
        headers: &HeaderMap,
        pool: &Pool,
    ) -> Response<ResponseBody> {
        let refuse = error_document::response;
        let Some(number) = self.number(key) else {
            return refuse(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.");
        };
        let size_bytes = self.size_bytes(number);
        let etag = self.etag(key, size_bytes, pool);
        let expected = headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
        if expected.is_some_and(|expected| ETag::parse(expected) != ETag::parse(&etag)) {
            return refuse(
                StatusCode::PRECONDITION_FAILED,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
            );
        }
        let range = match asked_range(headers, size_bytes) {
            Ok(range) => range,
            Err(OutOfRange) => {
                return refuse(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "InvalidRange",
                    "The requested range is not satisfiable",
                );
            }
        };
        let span = range.clone().unwrap_or(0..size_bytes);
        let mut response = Response::new(if method == Method::HEAD {
            ResponseBody::default()
        } else {
            ResponseBody::Generated(pool.content(seed(key), &span))
        });
        let mut set = |name: HeaderName, text: String| {
            if let Ok(value) = HeaderValue::try_from(text) {
                response.headers_mut().insert(name, value);
            }
        };
        set(CONTENT_LENGTH, (span.end - span.start).to_string());
        set(CONTENT_TYPE, "binary/octet-stream".to_owned());
        set(ETAG, format!("\"{etag}\""));
        set(LAST_MODIFIED, LAST_MODIFIED_HTTP.to_owned());
        set(ACCEPT_RANGES, "bytes".to_owned());
        if let Some(range) = range {
            set(CONTENT_RANGE, format!("bytes {}-{}/{size_bytes}", range.start, range.end - 1));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        response
    }
}

/// The keys of a bucket, for a listing.
struct Computed<'a> {
    bucket: &'a GeneratedBucket,
    pool: &'a Pool,
}

impl Sorted for Computed<'_> {
    fn walk(&self, from: Bound<&str>, see: &mut dyn FnMut(&Line<'_>) -> Next) {
        let bucket = self.bucket;
        let mut number = match from {
            Bound::Unbounded => 0,
            Bound::Included(first) => bucket.first_behind(|key| key < first),
            Bound::Excluded(last) => bucket.first_behind(|key| key <= last),
        };
        while number < bucket.keys {
            let key = bucket.key(number);
            let size_bytes = bucket.size_bytes(number);
            let etag = bucket.etag(&key, size_bytes, self.pool);
            let line = Line { key: &key, size_bytes, etag: &etag, last_modified: LAST_MODIFIED_XML };
            number = match see(&line) {
                Next::Key => number + 1,
                Next::NotBelow(first) => bucket.first_behind(|key| key < first.as_str()),
                Next::Stop => return,
            };
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OutOfRange;

/// Reads `bytes=first-last` and `bytes=first-`; anything else is ignored, as HTTP allows.
fn asked_range(headers: &HeaderMap, size_bytes: u64) -> Result<Option<Range<u64>>, OutOfRange> {
    let asked = headers
        .get(RANGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix("bytes="))
        .and_then(|text| text.split_once('-'));
    let Some((first, last)) = asked else {
        return Ok(None);
    };
    let Ok(first) = first.parse::<u64>() else {
        return Ok(None);
    };
    let last = last.parse().unwrap_or(u64::MAX).min(size_bytes.saturating_sub(1));
    let length = last.checked_sub(first).and_then(|length| length.checked_add(1));
    let range = length.and_then(|length| ByteRange::new(first, length));
    match range {
        Some(range) if first < size_bytes => Ok(Some(range.first()..range.last() + 1)),
        _ => Err(OutOfRange),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ascend_and_lead_back_to_their_numbers() {
        let folders = GeneratedBucket {
            layout: KeyLayout::Folders { prefix: "p/".to_owned(), keys_per_folder: 7 },
            ..GeneratedBucket::new(100, 1)
        };
        for bucket in [folders, GeneratedBucket::new(100, 1)] {
            let keys: Vec<String> = (0..100).map(|number| bucket.key(number)).collect();
            assert!(keys.is_sorted());
            for (number, key) in (0..).zip(&keys) {
                assert_eq!(bucket.number(key), Some(number));
            }
            assert_eq!(bucket.number("nothing"), None);
        }
    }

    #[test]
    fn sizes_go_round() {
        let bucket = GeneratedBucket { sizes: Sizes::Cycle(vec![1, 2, 3]), ..GeneratedBucket::new(9, 0) };
        let sizes: Vec<u64> = (0..5).map(|number| bucket.size_bytes(number)).collect();
        assert_eq!(sizes, [1, 2, 3, 1, 2]);
    }

    #[test]
    fn ranges_are_cut_at_the_end_and_refused_behind_it() {
        let range = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, HeaderValue::try_from(text).expect("header"));
            asked_range(&headers, 10)
        };
        assert_eq!(range("bytes=2-4"), Ok(Some(2..5)));
        assert_eq!(range("bytes=2-"), Ok(Some(2..10)));
        assert_eq!(range("bytes=2-99"), Ok(Some(2..10)));
        assert_eq!(range("bytes=10-11"), Err(OutOfRange));
        assert_eq!(range("lines=1-2"), Ok(None));
    }
}
