//! An object's bytes, whole and in order, as its store has them.
//!
//! Owns: reading a small object at once and a large one by ranges, some of them ahead, each repeated by itself when it breaks off; and holding what arrived against
//! everything that the store declared. Does not own: what is done about an object that cannot be read. Invariants: every read is of the generation that was planned
//! (If-Match); at most [`AHEAD`] ranges of [`RANGE_BYTES`] are in memory; the last byte is let through only when all checks have passed, over what
//! was [on the medium before](super::prefix) too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ferry_device::plan::Object;
use ferry_transfer::copy::declared::{check_read, digests_of_reading};
use ferry_transfer::store::{GetRequest, HeadRequest};
use ferry_transfer::{
    Body, ByteRange, Clock, DigestHandle, ETag, ETagRule, Error, ErrorKind, Key, ObjectHead, Result,
    SharedStore,
};
use futures::{StreamExt as _, stream};

use super::prefix::{self, Prefix};

/// Objects up to this size are read at once.
const SMALL_BYTES: u64 = 1 << 20;
/// What one request asks for of a larger one.
const RANGE_BYTES: u64 = 8 << 20;
/// What is handed on of it at once.
const PIECE_BYTES: usize = 256 << 10;
/// Ranges on their way.
const AHEAD: usize = 4;
/// Attempts at one range, and the pause before the second; it doubles.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A bucket, and what is known of its tags.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) store: SharedStore,
    etags: Arc<ETagRule>,
    clock: Arc<dyn Clock>,
    last: Arc<Mutex<Option<Object>>>,
}

/// An object that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    /// What the store says of it.
    pub(super) head: ObjectHead,
    /// Its bytes.
    pub(super) body: Body,
    digests: DigestHandle,
}

impl Reading {
    /// The MD5 of the bytes, once they have all passed, where the store's tag may be one.
    pub(super) fn md5(&self) -> Option<[u8; 16]> {
        self.digests.get().and_then(|digests| digests.md5)
    }
}

impl Source {
    pub(super) fn new(store: SharedStore, clock: Arc<dyn Clock>) -> Self {
        let etags = Arc::new(ETagRule::new(store.capabilities().etag_is_md5));
        Self { store, etags, clock, last: Arc::default() }
    }

    /// Begins to read an object; a small one is in memory when this returns. What is on the medium of it is looked at like what comes from the store, and left out
    /// of the body.
    pub(super) async fn read(&self, object: &Object, prefix: Option<Prefix>) -> Result<Reading> {
        let prefix = prefix.filter(|prefix| prefix.bytes() < object.size_bytes);
        let first = prefix.as_ref().map_or(0, Prefix::bytes);
        let is_small = object.size_bytes <= SMALL_BYTES && prefix.is_none();
        let mut wanted = Wanted::of(object)?;
        let (mut head, body) = if is_small {
            let response = self.store.get(wanted.get(None)).await?;
            (response.head, response.body)
        } else {
            let request =
                HeadRequest { version_id: wanted.version_id.clone(), ..HeadRequest::of(&wanted.key) };
            let head = self.store.head(request).await?;
            // What was listed without a tag is from here on read by the one it has now.
            wanted.etag = wanted.etag.or_else(|| head.etag.clone());
            (head, self.in_ranges(&wanted, object.size_bytes, prefix))
        };
        wanted.check(&head, object)?;
        if head.tag_count > 0 {
            head.attributes.tags = self.store.get_tags(&wanted.key, wanted.version_id.as_deref()).await?;
        }
        let (etags, declared) = (Arc::clone(&self.etags), head.clone());
        let set = digests_of_reading(&etags, &head);
        let check = move |digests: &_| check_read(&etags, &declared, digests).map(drop);
        let (body, digests) = body.checked(set, check)?;
        let body = if is_small { Body::Bytes(body.collect().await?) } else { prefix::behind(body, first) };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(object.clone());
        Ok(Reading { head, body, digests })
    }

    /// The object that was read last.
    pub(super) fn read_last(&self) -> Option<Object> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the first byte of an object, of whatever generation: whether the store serves it.
    pub(super) async fn first_byte(&self, object: &Object) -> Result<()> {
        let wanted = Wanted { etag: None, ..Wanted::of(object)? };
        let response = self.store.get(wanted.get(ByteRange::new(0, object.size_bytes.min(1)))).await?;
        response.body.collect().await.map(drop)
    }

    fn in_ranges(&self, wanted: &Wanted, size_bytes: u64, prefix: Option<Prefix>) -> Body {
        let (source, wanted) = (self.clone(), wanted.clone());
        let begin = prefix.as_ref().map_or(0, Prefix::bytes);
        let ranges = (0..(size_bytes - begin).div_ceil(RANGE_BYTES)).filter_map(move |number| {
            let first = begin + number * RANGE_BYTES;
            ByteRange::new(first, RANGE_BYTES.min(size_bytes - first))
        });
        let bytes = stream::iter(ranges)
            .map(move |range| {
                let (source, wanted) = (source.clone(), wanted.clone());
                async move { source.range(&wanted, range).await }
            })
            .buffered(AHEAD)
            .flat_map(|read| stream::iter(pieces(read)));
        match prefix {
            None => Body::stream(size_bytes, bytes),
            Some(prefix) => Body::stream(size_bytes, prefix.into_stream().chain(bytes)),
        }
    }

    async fn range(&self, wanted: &Wanted, range: ByteRange) -> Result<bytes::Bytes> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let read = match self.store.get(wanted.get(Some(range))).await {
                Ok(response) => match wanted.check_tag(response.head.etag.as_ref()) {
                    Ok(()) => response.body.collect().await,
                    Err(changed) => Err(changed),
                },
                Err(error) => Err(error),
            };
            match read {
                Ok(bytes) => return Ok(bytes),
                Err(error) if is_final(&error) || attempt == ATTEMPTS => return Err(error),
                Err(_) => self.clock.sleep(pause).await,
            }
            pause *= 2;
        }
        Err(Error::new(ErrorKind::Other, "no attempt was made"))
    }
}

/// What was read, in pieces: of so large ones as a range is, those on their way to the disk would be too much.
fn pieces(read: Result<bytes::Bytes>) -> Vec<Result<bytes::Bytes>> {
    let mut rest = match read {
        Ok(bytes) => bytes,
        Err(error) => return vec![Err(error)],
    };
    let mut pieces = Vec::with_capacity(rest.len().div_ceil(PIECE_BYTES));
    while !rest.is_empty() {
        pieces.push(Ok(rest.split_to(rest.len().min(PIECE_BYTES))));
    }
    pieces
}

/// Whether asking again is of no use.
pub(super) fn is_final(error: &Error) -> bool {
    error.is_permanent() || error.kind() == ErrorKind::PreconditionFailed
}

/// The key of an object of the plan.
pub(super) fn key_of(object: &Object) -> Result<Key> {
    Key::new(object.key.clone())
        .map_err(|empty| Error::new(ErrorKind::InvalidInput, "an object without a key").caused_by(empty))
}

/// The generation of an object that was planned.
#[derive(Debug, Clone)]
struct Wanted {
    key: Key,
    etag: Option<ETag>,
    version_id: Option<String>,
}

impl Wanted {
    fn of(object: &Object) -> Result<Self> {
        let key = key_of(object)?;
        let etag = object.etag.as_deref().and_then(ETag::parse);
        Ok(Self { key, etag, version_id: object.version_id.clone() })
    }

    fn get(&self, range: Option<ByteRange>) -> GetRequest {
        let (key, if_match, version_id) = (self.key.clone(), self.etag.clone(), self.version_id.clone());
        GetRequest { key, if_match, version_id, range }
    }

    /// Whether the store still has what was planned.
    fn check(&self, head: &ObjectHead, object: &Object) -> Result<()> {
        if head.size_bytes != object.size_bytes {
            let (has, planned) = (head.size_bytes, object.size_bytes);
            return Err(self.changed(format!("the object has {has} bytes, and {planned} were planned")));
        }
        self.check_tag(head.etag.as_ref())
    }

    /// Whether an answer is of the generation that was planned: some stores pass over If-Match.
    fn check_tag(&self, found: Option<&ETag>) -> Result<()> {
        match (&self.etag, found) {
            (Some(planned), Some(found)) if planned != found => {
                Err(self.changed(format!("the object has the tag {found}, and {planned} was planned")))
            }
            _ => Ok(()),
        }
    }

    fn changed(&self, message: String) -> Error {
        Error::new(ErrorKind::PreconditionFailed, message).on_key(self.key.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_another_generation_is_never_taken() {
        let tag = |text: &str| ETag::parse(text).expect("a tag");
        let wanted = |etag: Option<&str>| Wanted {
            key: Key::new("k").expect("a key"),
            etag: etag.map(tag),
            version_id: None,
        };
        let changed = wanted(Some("\"a\"")).check_tag(Some(&tag("\"b\""))).expect_err("another");
        assert_eq!(changed.kind(), ErrorKind::PreconditionFailed);
        assert!(is_final(&changed), "asking again is of no use");
        for (planned, found) in [(Some("\"a\""), Some("\"a\"")), (None, Some("\"b\"")), (Some("\"a\""), None)]
        {
            assert!(wanted(planned).check_tag(found.map(tag).as_ref()).is_ok());
        }
    }
}
