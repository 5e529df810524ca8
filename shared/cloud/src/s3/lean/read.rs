//! GET and HEAD. What counts as the asked-for range is [`super::super::read`]'s to say.

use bytes::Bytes;
use ferry_transfer::store::{GetRequest, GetResponse, HeadRequest};
use ferry_transfer::{Body, ETag, Key, ObjectHead, Result};
use futures::StreamExt as _;
use http::Method;

use super::address::query;
use super::verified::{Declared, Verified};
use super::{Answer, Call, Lean};
use crate::profile::Posture;
use crate::s3::S3Bucket;
use crate::s3::intercept::Answer as ReadAnswer;
use crate::s3::read::{BodyPlace, check_range};

impl S3Bucket {
    pub(in crate::s3) async fn lean_head(&self, lean: &Lean, request: HeadRequest) -> Result<ObjectHead> {
        let HeadRequest { key, version_id, part_number } = request;
        let place = self.place("HeadObject", Some(&key));
        let part_number = part_number.map(|number| number.to_string());
        let query = query([("partNumber", part_number.as_deref()), ("versionId", version_id.as_deref())]);
        let call =
            Call::new(Method::HEAD, Some(&key), query).header("x-amz-checksum-mode", self.asked_checksums());
        let answer = lean.send(&place, call).await?;
        let read = ReadAnswer::of(answer.status, &answer.headers, self.posture())
            .map_err(|error| place.locate(error))?;
        Ok(read.head)
    }

    pub(in crate::s3) async fn lean_get(&self, lean: &Lean, request: GetRequest) -> Result<GetResponse> {
        let GetRequest { key, if_match, version_id, range } = request;
        let place = self.place("GetObject", Some(&key));
        let call = Call::new(Method::GET, Some(&key), query([("versionId", version_id.as_deref())]))
            .header("if-match", if_match.as_ref().map(ETag::quoted))
            .header("range", range.map(|range| range.to_string()))
            .header("x-amz-checksum-mode", self.asked_checksums());
        let answer = lean.send(&place, call).await?;
        let read = ReadAnswer::of(answer.status, &answer.headers, self.posture())
            .map_err(|error| place.locate(error))?;
        let length_bytes = check_range(&place, &read, range)?;
        Ok(GetResponse { head: read.head, body: self.lean_body(answer, length_bytes, &key) })
    }

    fn lean_body(&self, answer: Answer, length_bytes: u64, key: &Key) -> Body {
        if length_bytes == 0 {
            return Body::Bytes(Bytes::new());
        }
        let declared = match self.posture() {
            Posture::Aws => Declared::by(&answer.headers),
            Posture::Compatible => None,
        };
        let at = BodyPlace::of(self, key);
        match declared {
            Some(declared) => {
                let verified = Verified::new(answer.body, length_bytes, declared);
                Body::stream(length_bytes, verified.map(move |chunk| chunk.map_err(|error| at.error(error))))
            }
            None => Body::stream(
                length_bytes,
                answer.body.map(move |chunk| chunk.map_err(|error| at.error(error))),
            ),
        }
    }

    /// As the SDK's path asks.
    fn asked_checksums(&self) -> Option<&'static str> {
        self.checksum_mode().map(|_| "ENABLED")
    }
}
