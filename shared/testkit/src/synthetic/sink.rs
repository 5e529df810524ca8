//! A bucket that takes objects in and keeps no byte of them.
//!
//! Owns: key, size and ETag of what was written. Does not own: open parts ([`uploads`]). Invariant: memory grows with the number of
//! objects, by its key and some 50 bytes each, and never with their sizes.

mod uploads;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ferry_transfer::ETag;
use ferry_transfer::checksum::{DigestSet, Hasher, crc64_to_base64};
use http::header::{CONTENT_LENGTH, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use md5::{Digest as _, Md5};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::uploads::Upload;
use super::body::ResponseBody;
use super::framing::Unframer;
use super::pages::{self, End, Line, ListVersion, Next, Sorted};
use super::{Answer, common};
use crate::bucket::borrow;
use crate::error_document;
use crate::http_date::http_date;
use crate::listener::Hangup;
use crate::operation::{Operation, Query, Target};

/// How a sink names generations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SinkEtag {
    /// By a number. Costs nothing.
    #[default]
    Opaque,
    /// By MD5, as S3 does: 1.6 CPU seconds a GiB.
    Md5,
}

/// A bucket that drops bytes. See the module.
#[derive(Debug)]
pub struct SinkBucket {
    etag: SinkEtag,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Sunk>,
    uploads: BTreeMap<String, Upload>,
    size_bytes: u64,
    generations: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sunk {
    size_bytes: u64,
    tag: Tag,
    last_modified: OffsetDateTime,
}

#[derive(Debug, Clone, Copy)]
enum Tag {
    Md5([u8; 16]),
    Parts([u8; 16], u32),
    Number(u64),
}

const CRC64_NVME: &str = "x-amz-checksum-crc64nvme";

#[derive(Debug, Clone, Copy)]
struct Received {
    size_bytes: u64,
    md5: Option<[u8; 16]>,
    /// Where the request declares one: a store that is told a checksum computes its own.
    crc64_nvme: Option<u64>,
}

impl SinkBucket {
    pub(super) fn new(etag: SinkEtag) -> Self {
        Self { etag, state: Mutex::default() }
    }

    /// Adds an object of this size, as if somebody had written it.
    pub fn add(&self, key: &str, size_bytes: u64) {
        let mut state = self.state();
        let tag = state.number();
        state.insert(key, size_bytes, tag);
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.state().objects.len()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size of all objects together, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.state().size_bytes
    }

    /// An object's size in bytes, where there is one.
    pub fn size_of(&self, key: &str) -> Option<u64> {
        self.state().objects.get(key).map(|object| object.size_bytes)
    }

    /// Uploads that are neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.state().uploads.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn answer(&self, target: &Target, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let query = Query::of(&parts.uri);
        match target.operation {
            Operation::PutObject => {
                let received = self.receive(&parts.headers, body).await?;
                Ok(self.put(&target.key, &parts.headers, received))
            }
            Operation::CreateMultipartUpload => Ok(self.create_upload(target)),
            Operation::UploadPart => {
                let received = self.receive(&parts.headers, body).await?;
                Ok(self.upload_part(&query, received))
            }
            Operation::CompleteMultipartUpload => {
                let document = body.collect().await.map_err(|_| Hangup)?.to_bytes();
                let document = String::from_utf8_lossy(&document);
                Ok(self.complete_upload(target, &query, &parts.headers, &document))
            }
            Operation::ListParts => Ok(self.list_parts(target, &query)),
            Operation::AbortMultipartUpload => {
                let id = query.get("uploadId").unwrap_or_default();
                match self.state().uploads.remove(id) {
                    Some(_) => Ok(no_content()),
                    None => Ok(no_such_upload()),
                }
            }
            Operation::DeleteObject => {
                self.state().remove(&target.key);
                Ok(no_content())
            }
            Operation::HeadObject => Ok(self.head(&target.key)),
            Operation::ListObjectsV2 => {
                Ok(pages::page(&target.bucket, &query, ListVersion::V2, End::Told, &*self.state()))
            }
            Operation::ListObjects => {
                Ok(pages::page(&target.bucket, &query, ListVersion::V1, End::Told, &*self.state()))
            }
            Operation::DeleteObjects => {
                let document = body.collect().await.map_err(|_| Hangup)?.to_bytes();
                Ok(self.delete_many(&String::from_utf8_lossy(&document)))
            }
            other => Ok(common(other, &parts.method)),
        }
    }

    /// Counts a body, hashes it if asked to, and drops it.
    async fn receive(&self, headers: &HeaderMap, mut body: Incoming) -> Result<Received, Hangup> {
        let framed = headers
            .get("x-amz-content-sha256")
            .is_some_and(|value| value.as_bytes().starts_with(b"STREAMING-"));
        let mut unframer = if framed { Unframer::framed() } else { Unframer::Plain };
        let mut md5 = (self.etag == SinkEtag::Md5).then(Md5::new);
        let declares_crc = headers.contains_key(CRC64_NVME)
            || headers.get("x-amz-trailer").is_some_and(|name| name.as_bytes() == CRC64_NVME.as_bytes());
        let mut crc = declares_crc.then(|| Hasher::new(DigestSet::default()));
        let mut size_bytes = 0;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Hangup)?.into_data() else {
                continue;
            };
            let fed = unframer.feed(&data, |bytes| {
                size_bytes += bytes.len() as u64;
                if let Some(md5) = &mut md5 {
                    md5.update(bytes);
                }
                if let Some(crc) = &mut crc {
                    crc.update(bytes);
                }
            });
            fed.map_err(|_| Hangup)?;
        }
        if !unframer.is_complete() {
            return Err(Hangup);
        }
        Ok(Received {
            size_bytes,
            md5: md5.map(|md5| md5.finalize().into()),
            crc64_nvme: crc.map(|crc| crc.finish().crc64_nvme),
        })
    }

    fn put(&self, key: &str, headers: &HeaderMap, received: Received) -> Response<ResponseBody> {
        let mut state = self.state();
        if let Err(refusal) = state.check(key, headers) {
            return *refusal;
        }
        let tag = match received.md5 {
            Some(md5) => Tag::Md5(md5),
            None => state.number(),
        };
        let mut response = Response::new(ResponseBody::default());
        set(&mut response, ETAG, &tag.quoted());
        set_crc(&mut response, received.crc64_nvme);
        state.insert(key, received.size_bytes, tag);
        response
    }

    /// Every key of a `DeleteObjects` document; what is not there is deleted as well, as on S3.
    fn delete_many(&self, document: &str) -> Response<ResponseBody> {
        let mut state = self.state();
        let mut answer = "<DeleteResult>".to_owned();
        for key in document.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
            state.remove(&unescape(key));
            answer.push_str(&format!("<Deleted><Key>{key}</Key></Deleted>"));
        }
        answer.push_str("</DeleteResult>");
        error_document::xml(StatusCode::OK, answer.into())
    }

    fn head(&self, key: &str) -> Response<ResponseBody> {
        let Some(object) = self.state().objects.get(key).copied() else {
            return error_document::response(
                StatusCode::NOT_FOUND,
                "NoSuchKey",
                "The specified key does not exist.",
            );
        };
        let mut response = Response::new(ResponseBody::default());
        set(&mut response, CONTENT_LENGTH, &object.size_bytes.to_string());
        set(&mut response, ETAG, &object.tag.quoted());
        set(&mut response, LAST_MODIFIED, &http_date(object.last_modified));
        response
    }
}

impl Sorted for State {
    fn walk(&self, from: Bound<&str>, see: &mut dyn FnMut(&Line<'_>) -> Next) {
        let mut from = from.map(str::to_owned);
        loop {
            let mut next = Next::Stop;
            for (key, object) in self.objects.range::<str, _>((borrow(&from), Bound::Unbounded)) {
                let etag = object.tag.quoted();
                next = see(&Line {
                    key,
                    size_bytes: object.size_bytes,
                    etag: etag.trim_matches('"'),
                    last_modified: &object.last_modified.format(&Rfc3339).unwrap_or_default(),
                });
                if next != Next::Key {
                    break;
                }
            }
            match next {
                Next::NotBelow(first) => from = Bound::Included(first),
                Next::Key | Next::Stop => return,
            }
        }
    }
}

impl State {
    /// `If-None-Match: *` and `If-Match` on a write.
    fn check(&self, key: &str, headers: &HeaderMap) -> Result<(), Box<Response<ResponseBody>>> {
        let present = self.objects.get(key);
        let expected = headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
        let holds = match (headers.contains_key(IF_NONE_MATCH), expected) {
            (true, _) => present.is_none(),
            (false, Some(tag)) => {
                present.is_some_and(|object| ETag::parse(tag) == ETag::parse(&object.tag.quoted()))
            }
            (false, None) => true,
        };
        if holds {
            Ok(())
        } else {
            Err(Box::new(error_document::response(
                StatusCode::PRECONDITION_FAILED,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
            )))
        }
    }

    fn number(&mut self) -> Tag {
        self.generations += 1;
        Tag::Number(self.generations)
    }

    fn insert(&mut self, key: &str, size_bytes: u64, tag: Tag) {
        self.remove(key);
        self.size_bytes += size_bytes;
        let object =
            Sunk { size_bytes, tag, last_modified: ferry_transfer::Clock::now(&ferry_transfer::SystemClock) };
        self.objects.insert(key.to_owned(), object);
    }

    fn remove(&mut self, key: &str) {
        if let Some(object) = self.objects.remove(key) {
            self.size_bytes -= object.size_bytes;
        }
    }
}

impl Tag {
    fn of_parts(md5s: &[[u8; 16]]) -> Self {
        let mut all = Md5::new();
        for md5 in md5s {
            all.update(md5);
        }
        // At most 10,000.
        Self::Parts(all.finalize().into(), u32::try_from(md5s.len()).unwrap_or(u32::MAX))
    }

    fn quoted(self) -> String {
        match self {
            Self::Md5(md5) => ETag::from_md5(md5).quoted(),
            Self::Parts(md5, parts) => format!("\"{}-{parts}\"", ETag::from_md5(md5)),
            Self::Number(number) => format!("\"sunk-{number}\""),
        }
    }
}

fn set(response: &mut Response<ResponseBody>, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::try_from(text) {
        response.headers_mut().insert(name, value);
    }
}

fn set_crc(response: &mut Response<ResponseBody>, crc64_nvme: Option<u64>) {
    if let Some(crc) = crc64_nvme {
        set(response, HeaderName::from_static(CRC64_NVME), &crc64_to_base64(crc));
    }
}

fn no_content() -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn no_such_upload() -> Response<ResponseBody> {
    error_document::response(StatusCode::NOT_FOUND, "NoSuchUpload", "The specified upload does not exist.")
}

/// Text of an XML document as it was before it was written there; character references other than XML's five stay.
fn unescape(text: &str) -> String {
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
        .into_iter()
        .fold(text.to_owned(), |text, (written, char)| text.replace(written, char))
}
