//! Ceph RGW 16.2.
//!
//! Source: a run of it. It refuses trailers, does not know the right ETag of a conditional PUT, completes an upload without saying
//! the object's ETag, does not tell where parts lie, and makes hyphens of underscores in names of user metadata.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderName, StatusCode, response};

use super::asked::Asked;
use super::{Manners, Rejection};
use crate::bucket::{BucketSettings, StoredObject};
use crate::operation::Operation;

/// What comes of reading headers as CGI variables, in which hyphens are underscores.
fn hyphenate_metadata(headers: &mut HeaderMap) {
    let underscored: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-amz-meta-") && name.as_str().contains('_'))
        .cloned()
        .collect();
    for name in underscored {
        if let (Some(value), Ok(hyphenated)) =
            (headers.remove(&name), HeaderName::try_from(name.as_str().replace('_', "-")))
        {
            headers.insert(hyphenated, value);
        }
    }
}

#[derive(Debug)]
pub(super) struct Ceph;

impl Manners for Ceph {
    fn settings(&self) -> BucketSettings {
        BucketSettings::default()
    }

    fn reject(&self, asked: &Asked) -> Option<Rejection> {
        if asked.has_trailer() {
            return Some(Rejection::new(
                400,
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ));
        }
        let conditional = asked.has_write_condition() && asked.headers.contains_key("if-match");
        (conditional && asked.target.operation == Operation::PutObject).then_some(Rejection::new(
            412,
            "PreconditionFailed",
            "At least one of the preconditions you specified did not hold.",
        ))
    }

    fn dress(&self, asked: &Asked, object: Option<&StoredObject>, head: &mut response::Parts) {
        hyphenate_metadata(&mut head.headers);
        let (Operation::HeadObject, true, Some(object)) =
            (asked.target.operation, asked.query.has("partNumber"), object)
        else {
            return;
        };
        head.status = StatusCode::OK;
        head.headers.remove(CONTENT_RANGE);
        head.headers.remove("x-amz-mp-parts-count");
        head.headers.insert(CONTENT_LENGTH, object.size_bytes().into());
    }

    fn rewrite(&self, asked: &Asked, status: StatusCode, document: String) -> String {
        if asked.target.operation != Operation::CompleteMultipartUpload || !status.is_success() {
            return document;
        }
        let (Some(from), Some(to)) = (document.find("<ETag>"), document.find("</ETag>")) else {
            return document;
        };
        format!("{}{}", &document[..from + "<ETag>".len()], &document[to..])
    }
}
