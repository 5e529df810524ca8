//! Reading objects: head, bytes and tags.
//!
//! Owns: that a ranged read is the range that was asked for, or an error. Alibaba OSS answers a range it dislikes with 200 and the whole
//! object; only 206 with the same `Content-Range` counts.

use std::error::Error as StdError;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use bytes::Bytes;
use ferry_transfer::store::{GetRequest, GetResponse, HeadRequest};
use ferry_transfer::{Body, ByteRange, Error, ErrorKind, Key, ObjectHead, Result, StoreName, Support};
use futures::StreamExt as _;
use http_body_util::BodyDataStream;

use super::error::Place;
use super::intercept::{Answer, ReadHead};
use super::lean::ChecksumMismatch;
use super::{ANSWER_TIMEOUT, S3Bucket, answered};

impl S3Bucket {
    pub(super) async fn head_object(&self, request: HeadRequest) -> Result<ObjectHead> {
        let place = self.place("HeadObject", Some(&request.key));
        let answer = ReadHead::new(self.posture());
        let call = self
            .client()
            .head_object()
            .bucket(&self.name.bucket)
            .key(request.key.as_str())
            .set_version_id(request.version_id.clone())
            .set_part_number(request.part_number.and_then(|number| i32::try_from(number).ok()))
            .set_checksum_mode(self.checksum_mode())
            .customize()
            .interceptor(answer.clone());
        let outcome = answered(&place, ANSWER_TIMEOUT, call.send()).await;
        Ok(taken(&place, outcome, &answer)?.1.head)
    }

    pub(super) async fn get_object(&self, request: GetRequest) -> Result<GetResponse> {
        let place = self.place("GetObject", Some(&request.key));
        let answer = ReadHead::new(self.posture());
        let call = self
            .client()
            .get_object()
            .bucket(&self.name.bucket)
            .key(request.key.as_str())
            .set_if_match(request.if_match.as_ref().map(ferry_transfer::ETag::quoted))
            .set_version_id(request.version_id.clone())
            .set_range(request.range.map(|range| range.to_string()))
            .set_checksum_mode(self.checksum_mode())
            .customize()
            .interceptor(answer.clone());
        let outcome = answered(&place, ANSWER_TIMEOUT, call.send()).await;
        let (output, answer) = taken(&place, outcome, &answer)?;
        let length_bytes = check_range(&place, &answer, request.range)?;
        Ok(GetResponse { head: answer.head, body: self.body(output.body, length_bytes, &request.key) })
    }

    /// The body of an answer, with its failures named like those of any other operation.
    fn body(&self, body: ByteStream, length_bytes: u64, key: &Key) -> Body {
        if length_bytes == 0 {
            return Body::Bytes(Bytes::new());
        }
        let at = BodyPlace::of(self, key);
        let stream = BodyDataStream::new(body.into_inner());
        Body::stream(length_bytes, stream.map(move |chunk| chunk.map_err(|error| at.error(error))))
    }

    pub(super) async fn get_object_tagging(
        &self,
        key: &Key,
        version_id: Option<&str>,
    ) -> Result<Vec<(String, String)>> {
        let place = self.place("GetObjectTagging", Some(key));
        let call = self
            .client()
            .get_object_tagging()
            .bucket(&self.name.bucket)
            .key(key.as_str())
            .set_version_id(version_id.map(ToOwned::to_owned));
        match answered(&place, ANSWER_TIMEOUT, call.send()).await {
            Ok(output) => Ok(output.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect()),
            // Older stores answer an object without tags this way; S3 answers an empty set.
            Err(error) if error.code() == Some("NoSuchTagSet") => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Whether a read asks for the object's checksums: where the store tells them.
    pub(super) fn checksum_mode(&self) -> Option<ChecksumMode> {
        let declares = self.capabilities.declares_checksums == Support::Yes;
        declares.then_some(ChecksumMode::Enabled)
    }
}

/// The outcome of a call with what its headers said. Headers that cannot be used are the reason the call failed.
fn taken<T>(place: &Place<'_>, outcome: Result<T>, answer: &ReadHead) -> Result<(T, Answer)> {
    match (outcome, answer.take()) {
        (_, Some(Err(unusable))) => Err(place.locate(unusable)),
        (Err(error), _) => Err(error),
        (Ok(output), Some(Ok(answer))) => Ok((output, answer)),
        (Ok(_), None) => Err(place.error(ErrorKind::Transient, "the store's answer has no headers")),
    }
}

/// The length of the body, if the answer is the one that was asked for.
pub(super) fn check_range(place: &Place<'_>, answer: &Answer, asked: Option<ByteRange>) -> Result<u64> {
    let Some(length_bytes) = answer.content_length else {
        return Err(place.error(ErrorKind::Transient, "the answer does not say how long its body is"));
    };
    match (asked, answer.status, answer.content_range) {
        (None, 200, _) => Ok(length_bytes),
        (Some(asked), 206, Some((range, _))) if range == asked && length_bytes == range.length_bytes() => {
            Ok(length_bytes)
        }
        (Some(asked), status, range) => Err(place
            .error(
                ErrorKind::Unsupported,
                match range {
                    Some((range, total)) => {
                        format!("the store answered the range {range} of {total} bytes, not {asked}")
                    }
                    None => format!("the store ignored the Range header ({asked})"),
                },
            )
            .with_status(status)),
        (None, status, _) => Err(place
            .error(ErrorKind::Unsupported, "the store answered a part of the object unasked")
            .with_status(status)),
    }
}

/// Where a body is read, for errors that come up after the call has returned.
pub(super) struct BodyPlace {
    name: StoreName,
    endpoint: String,
    key: Key,
}

impl BodyPlace {
    pub(super) fn of(bucket: &S3Bucket, key: &Key) -> Self {
        Self { name: bucket.name.clone(), endpoint: bucket.account.0.endpoint.clone(), key: key.clone() }
    }

    pub(super) fn error(&self, error: Box<dyn StdError + Send + Sync>) -> Error {
        let place = Place {
            operation: "GetObject",
            name: &self.name,
            endpoint: &self.endpoint,
            key: Some(&self.key),
            throttle_codes: &[],
            customer_key: false,
        };
        // The SDK's validating body has no public error type; this is its text.
        if error.is::<ChecksumMismatch>() || ferry_transfer::chain(&*error).contains("body checksum mismatch")
        {
            place.error(ErrorKind::Corrupt, "the bytes do not match the checksum the store declared")
        } else {
            place.error(ErrorKind::Transient, "the body broke off")
        }
        .caused_by(error)
    }
}
