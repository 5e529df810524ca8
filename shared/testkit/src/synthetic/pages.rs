//! Pages of a listing as XML, written without a tree in between.

use std::fmt::Write as _;

use http::{Response, StatusCode};

use super::body::ResponseBody;
use crate::bucket::{PAGE_MAX, Start};
use crate::error_document::{self, escape};
use crate::key_encoding::KeyEncoding;
use crate::operation::Query;

/// What a `ListObjectsV2` asks for.
#[derive(Debug)]
pub(super) struct PageRequest {
    pub(super) prefix: String,
    /// Only keys greater than this; empty is the beginning.
    pub(super) after: String,
    pub(super) limit: usize,
    encoding: KeyEncoding,
}

/// One line of a page.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) key: &'a str,
    pub(super) size_bytes: u64,
    /// Without quotes.
    pub(super) etag: &'a str,
    /// As XML wants it: RFC 3339.
    pub(super) last_modified: &'a str,
}

/// A page being written.
#[derive(Debug)]
pub(super) struct PageWriter {
    encoding: KeyEncoding,
    lines: String,
    count: usize,
}

impl PageRequest {
    /// Reads a query. Delimiters are not for endpoints this simple.
    pub(super) fn read(query: &Query) -> Result<Self, Box<Response<ResponseBody>>> {
        let refuse =
            |status, code: &str, message: &str| Box::new(error_document::response(status, code, message));
        let bad = |message: &str| refuse(StatusCode::BAD_REQUEST, "InvalidArgument", message);
        if query.get("delimiter").is_some_and(|text| !text.is_empty()) {
            return Err(refuse(StatusCode::NOT_IMPLEMENTED, "NotImplemented", "keys are not rolled up here"));
        }
        let after = match query.get("continuation-token") {
            None => query.get("start-after").unwrap_or_default().to_owned(),
            Some(token) => match Start::from_token(token) {
                Some(Start::AfterKey(key)) => key,
                _ => return Err(bad("the continuation token provided is incorrect")),
            },
        };
        let limit = match query.get("max-keys") {
            None => PAGE_MAX,
            Some(text) => text.parse().map_err(|_| bad("max-keys is not a number"))?,
        };
        Ok(Self {
            prefix: query.get("prefix").unwrap_or_default().to_owned(),
            after,
            limit: limit.min(PAGE_MAX),
            encoding: KeyEncoding::asked(query.get("encoding-type"))
                .ok_or_else(|| bad("the encoding-type is not known"))?,
        })
    }
}

impl PageWriter {
    pub(super) fn new(request: &PageRequest) -> Self {
        Self {
            encoding: request.encoding,
            // Some 250 bytes a line.
            lines: String::with_capacity(256 * request.limit),
            count: 0,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn push(&mut self, line: &Line<'_>) {
        self.count += 1;
        let key = escape(&self.encoding.write(line.key));
        // Writing to a string does not fail.
        let _infallible = write!(
            self.lines,
            "<Contents><Key>{key}</Key><LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag><Size>{}</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>",
            line.last_modified, line.etag, line.size_bytes
        );
    }

    /// The answer; `next` is the last key of a page that is not the last.
    pub(super) fn finish(
        self,
        bucket: &str,
        request: &PageRequest,
        next: Option<String>,
    ) -> Response<ResponseBody> {
        let encoding = match self.encoding {
            KeyEncoding::Url => "<EncodingType>url</EncodingType>",
            KeyEncoding::Plain => "",
        };
        let token = next.map_or_else(
            || "<IsTruncated>false</IsTruncated>".to_owned(),
            |key| {
                format!(
                    "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>",
                    Start::AfterKey(key).to_token()
                )
            },
        );
        let document = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{bucket}</Name>\
             <Prefix>{}</Prefix><KeyCount>{}</KeyCount><MaxKeys>{}</MaxKeys>{encoding}{token}{}</ListBucketResult>",
            escape(&self.encoding.write(&request.prefix)),
            self.count,
            request.limit,
            self.lines
        );
        error_document::xml(StatusCode::OK, document.into())
    }
}
