//! Operations on single objects.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use ferry_transfer::ETag;
use ferry_transfer::store::WriteCondition;
use futures::Stream;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition, Error as ErrorEntry,
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, MetadataDirective, StreamingBlob,
    TaggingDirective, Timestamp,
};
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{S3Request, S3Response, S3Result, StdError, TrailingHeaders, s3_error};

use super::attributes::{self, ChecksumMode, text};
use super::backend::Backend;
use super::encryption;
use super::receive::receive;
use super::refused::{refused, with_code};
use crate::bucket::{BadRange, Bucket, Deletion, EtagTest, ReadCondition, Refusal, StoredObject, Written};

/// Marks a request whose `Range` is to be ignored.
#[derive(Debug, Clone, Copy)]
pub(super) struct IgnoreRange;

impl Backend {
    pub(super) fn get(&self, request: &S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = &request.input;
        let bucket = self.bucket(&input.bucket)?;
        let condition = read_condition(
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
            input.if_modified_since.as_ref(),
            input.if_unmodified_since.as_ref(),
        );
        let object =
            bucket.read_version_if(&input.key, input.version_id.as_deref(), &condition).map_err(refused)?;
        object.encryption.admits(encryption::presented(&request.headers)?.as_deref()).map_err(refused)?;
        bucket.check_readable(&object).map_err(refused)?;
        let range = match request.extensions.get::<IgnoreRange>() {
            Some(IgnoreRange) => None,
            None => chosen_range(&bucket, &object, input.range.as_ref(), input.part_number)?,
        };
        let mut headers = answer_headers(
            &bucket,
            &object,
            range.as_ref(),
            input.part_number,
            input.checksum_mode.as_ref().map(s3s::dto::ChecksumMode::as_str),
        );
        for (name, overridden) in [
            ("content-type", input.response_content_type.is_some()),
            ("content-language", input.response_content_language.is_some()),
            ("expires", input.response_expires.is_some()),
            ("cache-control", input.response_cache_control.is_some()),
            ("content-disposition", input.response_content_disposition.is_some()),
            ("content-encoding", input.response_content_encoding.is_some()),
        ] {
            if overridden {
                headers.remove(name);
            }
        }
        let span = range.clone().unwrap_or(0..object.size_bytes());
        let output = GetObjectOutput {
            body: Some(StreamingBlob::new(Chunks::new(&object, span.clone()))),
            content_length: i64::try_from(span.end - span.start).ok(),
            content_range: range.map(|range| content_range(&object, &range)),
            ..GetObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, headers))
    }

    pub(super) fn head(
        &self,
        request: &S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = &request.input;
        let condition = read_condition(
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
            input.if_modified_since.as_ref(),
            input.if_unmodified_since.as_ref(),
        );
        let bucket = self.bucket(&input.bucket)?;
        let object =
            bucket.read_version_if(&input.key, input.version_id.as_deref(), &condition).map_err(refused)?;
        object.encryption.admits(encryption::presented(&request.headers)?.as_deref()).map_err(refused)?;
        let range = chosen_range(&bucket, &object, input.range.as_ref(), input.part_number)?;
        let headers = answer_headers(
            &bucket,
            &object,
            range.as_ref(),
            input.part_number,
            input.checksum_mode.as_ref().map(s3s::dto::ChecksumMode::as_str),
        );
        let span = range.clone().unwrap_or(0..object.size_bytes());
        let output = HeadObjectOutput {
            content_length: i64::try_from(span.end - span.start).ok(),
            content_range: range.map(|range| content_range(&object, &range)),
            ..HeadObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, headers))
    }

    /// Writes an object and answers with the headers that describe it.
    pub(super) async fn put(
        &self,
        bucket: &str,
        key: &str,
        headers: &HeaderMap,
        body: Option<StreamingBlob>,
        trailers: Option<&TrailingHeaders>,
    ) -> S3Result<HeaderMap> {
        let bucket = self.bucket(bucket)?;
        let written = Written {
            attributes: attributes::from_request(headers)?,
            encryption: encryption::asked(headers)?,
        };
        let condition = write_condition(headers)?;
        let received = receive(body, headers, trailers, bucket.settings().checksum_headers).await?;
        let object = bucket.put(key, received.payload, written, &condition).map_err(refused)?;
        let mut answer = received.checksums;
        answer
            .insert(HeaderName::from_static("x-amz-checksum-type"), HeaderValue::from_static("FULL_OBJECT"));
        if let Ok(etag) = HeaderValue::try_from(object.etag.quoted()) {
            answer.insert(http::header::ETAG, etag);
        }
        tell_version(&mut answer, &object);
        encryption::tell(&mut answer, &object.encryption);
        Ok(answer)
    }

    pub(super) fn copy(&self, request: &S3Request<CopyObjectInput>) -> S3Result<CopyObjectOutput> {
        let input = &request.input;
        let condition = read_condition(
            input.copy_source_if_match.as_ref(),
            input.copy_source_if_none_match.as_ref(),
            input.copy_source_if_modified_since.as_ref(),
            input.copy_source_if_unmodified_since.as_ref(),
        );
        let (source_bucket, source_key, source) =
            self.copy_source(&input.copy_source, &condition, &request.headers)?;
        let encryption = encryption::asked(&request.headers)?;
        let asked = attributes::from_request(&request.headers)?;
        let replaces = |directive: Option<&str>| directive == Some("REPLACE");
        let replaces_metadata = replaces(input.metadata_directive.as_ref().map(MetadataDirective::as_str));
        let replaces_tags = replaces(input.tagging_directive.as_ref().map(TaggingDirective::as_str));
        let mut attributes = if replaces_metadata { asked.clone() } else { source.attributes.clone() };
        attributes.tags = if replaces_tags { asked.tags } else { source.attributes.tags.clone() };
        attributes.storage_class.clone_from(&asked.storage_class);
        attributes.lock = asked.lock;
        // No copy carries the redirect over by itself (AWS, API reference of `CopyObject`).
        attributes.website_redirect.clone_from(&asked.website_redirect);
        let same_object = source_bucket == input.bucket && source_key == input.key;
        if same_object && !replaces_metadata && !replaces_tags && asked.storage_class.is_none() {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it copies an object to itself without changing it."
            ));
        }
        let condition = write_condition(&request.headers)?;
        // Hashed anew: a copy in one piece has the ETag of one piece.
        let whole = source.payload.slice(0..source.size_bytes());
        let object = self
            .bucket(&input.bucket)?
            .put(&input.key, whole.into_iter().collect(), Written { attributes, encryption }, &condition)
            .map_err(refused)?;
        Ok(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: Some(s3s::dto::ETag::Strong(object.etag.as_str().to_owned())),
                last_modified: Some(Timestamp::from(object.last_modified)),
                ..CopyObjectResult::default()
            }),
            version_id: object.version_id.clone(),
            ..CopyObjectOutput::default()
        })
    }

    /// The object that a copy reads, with the names of its bucket and key.
    pub(super) fn copy_source(
        &self,
        source: &CopySource,
        condition: &ReadCondition,
        headers: &HeaderMap,
    ) -> S3Result<(String, String, Arc<StoredObject>)> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(s3_error!(NotImplemented, "only a bucket and a key name a copy's source"));
        };
        let held = self.bucket(bucket)?;
        let object = match held.read_version_if(key, version_id.as_deref(), condition) {
            Ok(object) => object,
            // Of a copy's source, "not modified" is a failed condition too.
            Err(Refusal::NotModified) => return Err(refused(Refusal::PreconditionFailed)),
            Err(other) => return Err(refused(other)),
        };
        object.encryption.admits(encryption::presented_for_source(headers)?.as_deref()).map_err(refused)?;
        held.check_readable(&object).map_err(refused)?;
        Ok((bucket.to_string(), key.to_string(), object))
    }

    pub(super) fn delete(
        &self,
        input: &DeleteObjectInput,
        headers: &HeaderMap,
    ) -> S3Result<DeleteObjectOutput> {
        let generation = text(headers, IF_MATCH.as_str())?.and_then(|tag| ETag::parse(&tag));
        let (bucket, id) = (self.bucket(&input.bucket)?, input.version_id.as_deref());
        let deletion = delete_one(&bucket, &input.key, id, generation.as_ref()).map_err(refused)?;
        Ok(DeleteObjectOutput {
            delete_marker: deletion.is_marker.then_some(true),
            version_id: deletion.version_id,
            ..DeleteObjectOutput::default()
        })
    }

    pub(super) fn delete_many(&self, input: &DeleteObjectsInput) -> S3Result<DeleteObjectsOutput> {
        let bucket = self.bucket(&input.bucket)?;
        if input.delete.objects.len() > 1000 {
            return Err(with_code("MalformedXML", "at most 1000 keys can be deleted at once"));
        }
        let quiet = input.delete.quiet.unwrap_or(false);
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in &input.delete.objects {
            let generation = object.e_tag.as_ref().and_then(|tag| ETag::parse(tag.value()));
            match delete_one(&bucket, &object.key, object.version_id.as_deref(), generation.as_ref()) {
                Ok(_) if quiet => {}
                Ok(_) => {
                    deleted.push(DeletedObject { key: Some(object.key.clone()), ..DeletedObject::default() });
                }
                Err(refusal) => errors.push(ErrorEntry {
                    code: Some(refusal.code().to_owned()),
                    key: Some(object.key.clone()),
                    message: Some(refusal.to_string()),
                    version_id: None,
                }),
            }
        }
        Ok(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), request_charged: None })
    }
}

fn delete_one(
    bucket: &Bucket,
    key: &str,
    version_id: Option<&str>,
    generation: Option<&ETag>,
) -> Result<Deletion, Refusal> {
    // `*` asks for any generation, and a missing object is success.
    bucket.delete_version(key, version_id, generation.filter(|tag| tag.as_str() != "*"))
}

pub(super) fn etag_test(condition: &ETagCondition) -> Option<EtagTest> {
    match condition {
        ETagCondition::Any => Some(EtagTest::Any),
        ETagCondition::ETag(tag) => ETag::parse(tag.value()).map(EtagTest::Tag),
    }
}

pub(super) fn read_condition(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
    if_modified_since: Option<&Timestamp>,
    if_unmodified_since: Option<&Timestamp>,
) -> ReadCondition {
    ReadCondition {
        if_match: if_match.and_then(etag_test),
        if_none_match: if_none_match.and_then(etag_test),
        if_modified_since: if_modified_since.cloned().map(Into::into),
        if_unmodified_since: if_unmodified_since.cloned().map(Into::into),
    }
}

/// S3 takes `If-None-Match: *` and `If-Match` with an ETag on writes, and nothing else (AWS, "Conditional writes").
pub(super) fn write_condition(headers: &HeaderMap) -> S3Result<WriteCondition> {
    let if_match = text(headers, IF_MATCH.as_str())?;
    let if_none_match = text(headers, IF_NONE_MATCH.as_str())?;
    match (if_match.as_deref(), if_none_match.as_deref()) {
        (None, None) => Ok(WriteCondition::None),
        (None, Some("*")) => Ok(WriteCondition::Absent),
        (Some(tag), None) if tag != "*" => {
            let tag = ETag::parse(tag).ok_or_else(|| refused(Refusal::PreconditionFailed))?;
            Ok(WriteCondition::Matches(tag))
        }
        _ => Err(refused(Refusal::NotImplemented("writes take If-None-Match: * or If-Match with an ETag"))),
    }
}

fn chosen_range(
    bucket: &Bucket,
    object: &StoredObject,
    range: Option<&s3s::dto::Range>,
    part_number: Option<i32>,
) -> S3Result<Option<Range<u64>>> {
    match (range, part_number) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(s3_error!(InvalidRequest, "Cannot specify both Range header and partNumber query parameter"))
        }
        (Some(range), None) => match range.check(object.size_bytes()) {
            Ok(_) if is_lenient(bucket) && reaches_past(range, object.size_bytes()) => Ok(None),
            Ok(range) if !range.is_empty() => Ok(Some(range)),
            _ if is_lenient(bucket) => Ok(None),
            _ => Err(refused(Refusal::InvalidRange)),
        },
        (None, Some(number)) => {
            let number = u32::try_from(number).map_err(|_| refused(Refusal::InvalidPartNumber))?;
            object.part_range(number).map(Some).map_err(refused)
        }
    }
}

fn is_lenient(bucket: &Bucket) -> bool {
    bucket.settings().bad_range == BadRange::WholeObject
}

/// Whether a range names bytes past the end, which S3 leaves out of its answer.
fn reaches_past(range: &s3s::dto::Range, size_bytes: u64) -> bool {
    match range {
        s3s::dto::Range::Int { last, .. } => last.is_some_and(|last| last >= size_bytes),
        s3s::dto::Range::Suffix { length } => *length > size_bytes,
    }
}

fn content_range(object: &StoredObject, range: &Range<u64>) -> String {
    // Part 1 of an empty object is the one range that is empty.
    let last = range.end.saturating_sub(1).max(range.start);
    format!("bytes {}-{last}/{}", range.start, object.size_bytes())
}

fn answer_headers(
    bucket: &Bucket,
    object: &StoredObject,
    range: Option<&Range<u64>>,
    part_number: Option<i32>,
    checksum_mode: Option<&str>,
) -> HeaderMap {
    // Clients hold the declared checksum against the bytes they get.
    let whole = range.is_none_or(|range| *range == (0..object.size_bytes()));
    let told = whole && checksum_mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED"));
    let mode = if told { ChecksumMode::Told } else { ChecksumMode::Silent };
    let mut headers = attributes::to_answer(object, bucket.restore_state(object), mode);
    if part_number.is_some() && !object.part_sizes_bytes.is_empty() {
        headers.insert("x-amz-mp-parts-count", object.part_sizes_bytes.len().into());
    }
    tell_version(&mut headers, object);
    headers
}

fn tell_version(headers: &mut HeaderMap, object: &StoredObject) {
    if let Some(id) = object.version_id.as_deref().and_then(|id| HeaderValue::try_from(id).ok()) {
        headers.insert("x-amz-version-id", id);
    }
}

/// An object's chunks as a stream that knows its length.
#[derive(Debug)]
struct Chunks {
    queue: VecDeque<Bytes>,
    remaining_bytes: usize,
}

impl Chunks {
    fn new(object: &StoredObject, range: Range<u64>) -> Self {
        let queue: VecDeque<Bytes> = object.payload.slice(range).into();
        Self { remaining_bytes: queue.iter().map(Bytes::len).sum(), queue }
    }
}

impl Stream for Chunks {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = self.queue.pop_front();
        if let Some(chunk) = &chunk {
            self.remaining_bytes -= chunk.len();
        }
        Poll::Ready(chunk.map(Ok))
    }
}

impl ByteStream for Chunks {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(self.remaining_bytes)
    }
}
