//! What the SDK's typed calls cannot say, said on the wire.
//!
//! Owns: the interceptors that put raw headers into a request and read an answer's headers and text. Registered per call, since
//! each carries one call's values.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeDeserializationInterceptorContextRef,
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::http::{Headers, NonUtf8HeaderHandling};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferry_transfer::checksum::{DigestSet, digest};
use ferry_transfer::store::VersionKind;
use ferry_transfer::{ByteRange, ObjectHead, Result};

use super::attributes::{HeaderList, to_head};
use crate::profile::Posture;

/// Replaces the request's attribute headers by the given ones, before anything is signed.
#[derive(Debug)]
pub(super) struct WriteHeaders(HeaderList);

impl WriteHeaders {
    /// The headers of an object's attributes.
    pub(super) fn attributes(headers: HeaderList) -> Self {
        Self(headers)
    }
}

#[dyn_dispatch_hint]
impl Intercept for WriteHeaders {
    fn name(&self) -> &'static str {
        "WriteHeaders"
    }

    /// Before the retry loop: later hooks would undo the `aws-chunked` that the SDK puts into `Content-Encoding`.
    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        // The SDK invents a content type; an object that had none gets the store's own default instead.
        headers.remove("content-type");
        for (name, value) in &self.0 {
            headers.try_insert(name.clone(), value.clone())?;
        }
        Ok(())
    }
}

/// The status of an answer, where the SDK's type leaves it out.
#[derive(Debug, Clone, Default)]
pub(super) struct AnswerStatus(Arc<Mutex<Option<u16>>>);

impl AnswerStatus {
    /// The status, once the answer is there.
    pub(super) fn seen(&self) -> Option<u16> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[dyn_dispatch_hint]
impl Intercept for AnswerStatus {
    fn name(&self) -> &'static str {
        "AnswerStatus"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.response().status().as_u16());
        Ok(())
    }
}

/// Replaces the SDK's CRC32 by `Content-MD5` on the operations that must have a checksum: under any setting the SDK adds one that
/// compatible stores refuse or overlook, and several demand the MD5 (AWS SDK issues on OSS, COS, OBS and B2).
#[derive(Debug)]
pub(super) struct Md5InsteadOfCrc32;

#[dyn_dispatch_hint]
impl Intercept for Md5InsteadOfCrc32 {
    fn name(&self) -> &'static str {
        "Md5InsteadOfCrc32"
    }

    /// Runs behind the SDK's own interceptor of the same hook, which puts the CRC32 in.
    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let set = DigestSet::MD5;
        let md5 = request.body().bytes().and_then(|document| digest(document, set).md5);
        let headers = request.headers_mut();
        headers.remove("x-amz-checksum-crc32");
        headers.remove("x-amz-sdk-checksum-algorithm");
        if let Some(md5) = md5 {
            headers.try_insert("content-md5", STANDARD.encode(md5))?;
        }
        Ok(())
    }
}

/// The head of a read's answer, from its raw headers.
#[derive(Debug, Clone)]
pub(super) struct ReadHead {
    posture: Posture,
    answer: Arc<Mutex<Option<Result<Answer>>>>,
}

/// What the headers of a read's answer say.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: ObjectHead,
    pub(super) content_length: Option<u64>,
    pub(super) content_range: Option<(ByteRange, u64)>,
}

impl Answer {
    /// Reads the headers of an answer.
    pub(super) fn of(status: u16, headers: &Headers, posture: Posture) -> Result<Self> {
        Ok(Self {
            status,
            head: to_head(headers, posture)?,
            content_length: headers.get("content-length").and_then(|length| length.parse().ok()),
            content_range: headers.get("content-range").and_then(ByteRange::parse_content_range),
        })
    }
}

impl ReadHead {
    pub(super) fn new(posture: Posture) -> Self {
        Self { posture, answer: Arc::default() }
    }

    /// The answer, once it is there.
    pub(super) fn take(&self) -> Option<Result<Answer>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[dyn_dispatch_hint]
impl Intercept for ReadHead {
    fn name(&self) -> &'static str {
        "ReadHead"
    }

    /// The SDK's own parsing must not fail on values it cannot type: ours decides.
    fn read_before_execution(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(NonUtf8HeaderHandling::Skip);
        Ok(())
    }

    /// After signing, so that proxies and Google, which change this header, cannot break the signature. Without it a CDN may
    /// compress the object on the way and drop its ETag and length.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().try_insert("accept-encoding", "identity")?;
        Ok(())
    }

    /// Before the SDK touches the headers: it renames an `Expires` that is no date, and panics on one that is not UTF-8.
    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        if !response.status().is_success() {
            return Ok(());
        }
        let answer = Answer::of(response.status().as_u16(), response.headers(), self.posture);
        let refused = answer.is_err();
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        if refused {
            return Err("the answer's headers cannot be used".into());
        }
        Ok(())
    }
}

/// What the text of an answer shows that the SDK does not tell of it.
pub(super) trait Evidence: Clone + Default + std::fmt::Debug + Send + Sync + 'static {
    /// Looks through the text.
    fn of(document: &[u8]) -> Self;
}

/// Looks at the text of an answer beside the SDK.
#[derive(Debug, Clone, Default)]
pub(super) struct Witness<T>(Arc<Mutex<T>>);

impl<T: Evidence> Witness<T> {
    /// What was seen.
    pub(super) fn seen(&self) -> T {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[dyn_dispatch_hint]
impl<T: Evidence> Intercept for Witness<T> {
    fn name(&self) -> &'static str {
        "Witness"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(document) = context.response().body().bytes() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = T::of(document);
        }
        Ok(())
    }
}

/// How many entries the text of a listing holds, and whether its end is there: the SDK's XML reader stops without an error at the
/// first thing it cannot read, which would end a listing early.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Witnessed {
    pub(super) entries: usize,
    pub(super) complete: bool,
}

impl Evidence for Witnessed {
    fn of(document: &[u8]) -> Self {
        const ENTRY: &[u8] = b"</Contents>";
        const END: &[u8] = b"</ListBucketResult>";
        let entries =
            document.split(|byte| *byte == b'<').filter(|piece| piece.starts_with(&ENTRY[1..])).count();
        Self { entries, complete: document.trim_ascii_end().ends_with(END) }
    }
}

/// In which order the text of a listing of versions has versions and delete markers: the SDK tells them apart in two lists, and
/// times of whole seconds do not put them together again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct History {
    pub(super) kinds: Vec<VersionKind>,
    pub(super) complete: bool,
}

impl Evidence for History {
    fn of(document: &[u8]) -> Self {
        let kind = |piece: &[u8]| match piece {
            _ if piece.starts_with(b"Version>") => Some(VersionKind::Object),
            _ if piece.starts_with(b"DeleteMarker>") => Some(VersionKind::DeleteMarker),
            _ => None,
        };
        let kinds = document.split(|byte| *byte == b'<').filter_map(kind).collect();
        // `ListVersionsResult` at Amazon, `ListBucketVersionsResult` in some servers after its older schema.
        Self { kinds, complete: document.trim_ascii_end().ends_with(b"VersionsResult>") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_listing_of_versions_tells_their_order() {
        let whole = b"<ListVersionsResult><DeleteMarker><VersionId>2</VersionId></DeleteMarker><Version></Version></ListVersionsResult>";
        let kinds = vec![VersionKind::DeleteMarker, VersionKind::Object];
        assert_eq!(History::of(whole), History { kinds, complete: true });
        assert!(!History::of(&whole[..60]).complete);
    }

    #[test]
    fn the_text_of_a_listing_tells_how_many_entries_it_holds() {
        let whole = b"<ListBucketResult><Contents><Key>a</Key></Contents><Contents/></ListBucketResult>\n";
        assert_eq!(Witnessed::of(whole), Witnessed { entries: 1, complete: true });
        assert!(!Witnessed::of(&whole[..40]).complete);
    }
}
