//! Pages of a listing as XML, written without a tree in between.
//!
//! Owns: both versions of the operation, prefixes, delimiters, markers and tokens. Does not own: the keys, which each kind of
//! bucket finds in its own way ([`Sorted`]).

use std::fmt::Write as _;
use std::ops::Bound;

use ferry_transfer::successor;
use http::{Response, StatusCode};

use super::body::ResponseBody;
use crate::bucket::{ListQuery, PAGE_MAX, Start, borrow, first_bound, roll_up};
use crate::error_document::{self, escape};
use crate::key_encoding::KeyEncoding;
use crate::operation::Query;

/// Which operation asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListVersion {
    /// `ListObjects`.
    V1,
    /// `ListObjectsV2`.
    V2,
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

/// Whether a page says that more is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// When it is so.
    Told,
    /// Never.
    Pretended,
}

/// Where to go from a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// To the next key.
    Key,
    /// To the first key that is not smaller than this.
    NotBelow(String),
    /// Nowhere.
    Stop,
}

/// Keys in ascending order that can be entered anywhere.
pub(super) trait Sorted {
    /// Shows the lines from a key on, for as long as `see` wants more.
    fn walk(&self, from: Bound<&str>, see: &mut dyn FnMut(&Line<'_>) -> Next);
}

/// What a listing asks for.
#[derive(Debug)]
struct PageRequest {
    version: ListVersion,
    list: ListQuery,
    encoding: KeyEncoding,
}

/// A page of a bucket's keys, or the refusal of a query that makes no sense.
pub(super) fn page(
    bucket: &str,
    query: &Query,
    version: ListVersion,
    end: End,
    keys: &dyn Sorted,
) -> Response<ResponseBody> {
    match PageRequest::read(query, version) {
        Ok(request) => error_document::xml(StatusCode::OK, request.answer(bucket, end, keys).into()),
        Err(wrong) => error_document::response(StatusCode::BAD_REQUEST, "InvalidArgument", wrong),
    }
}

impl PageRequest {
    fn read(query: &Query, version: ListVersion) -> Result<Self, &'static str> {
        let prefix = query.get("prefix").unwrap_or_default().to_owned();
        let delimiter = query.get("delimiter").filter(|text| !text.is_empty()).map(str::to_owned);
        let after_key = |name: &str| match query.get(name).unwrap_or_default() {
            "" => Start::Beginning,
            // The marker behind a page that ended in a rolled-up prefix is that prefix.
            key if version == ListVersion::V1
                && key.len() > prefix.len()
                && delimiter.as_ref().is_some_and(|delimiter| key.ends_with(delimiter)) =>
            {
                Start::AfterPrefix(key.to_owned())
            }
            key => Start::AfterKey(key.to_owned()),
        };
        let from = match (version, query.get("continuation-token")) {
            (ListVersion::V1, _) => after_key("marker"),
            (ListVersion::V2, None) => after_key("start-after"),
            (ListVersion::V2, Some(token)) => {
                Start::from_token(token).ok_or("the continuation token provided is incorrect")?
            }
        };
        let page_size = match query.get("max-keys") {
            None => PAGE_MAX,
            Some(text) => text.parse().map_err(|_| "max-keys is not a number")?,
        };
        let encoding =
            KeyEncoding::asked(query.get("encoding-type")).ok_or("the encoding-type is not known")?;
        let list = ListQuery { prefix, delimiter, from, page_size: page_size.min(PAGE_MAX) };
        Ok(Self { version, list, encoding })
    }

    fn answer(&self, bucket: &str, end: End, keys: &dyn Sorted) -> String {
        let ListQuery { prefix, delimiter, page_size, .. } = &self.list;
        let mut page = Page {
            encoding: self.encoding,
            // Some 250 bytes a line.
            lines: String::with_capacity(256 * page_size),
            count: 0,
            last: None,
            is_truncated: false,
        };
        if let Some(from) = first_bound(&self.list).filter(|_| *page_size > 0) {
            keys.walk(borrow(&from), &mut |line| {
                let Some(rest) = line.key.strip_prefix(prefix.as_str()) else { return Next::Stop };
                if page.count == *page_size {
                    page.is_truncated = end == End::Told;
                    return Next::Stop;
                }
                match roll_up(rest, delimiter.as_deref()) {
                    Some(common) => page.push_prefix(format!("{prefix}{common}")),
                    None => page.push(line),
                }
            });
        }
        page.finish(bucket, self)
    }
}

/// A page being written.
#[derive(Debug)]
struct Page {
    encoding: KeyEncoding,
    lines: String,
    count: usize,
    last: Option<Start>,
    is_truncated: bool,
}

// Writing to a string does not fail.
impl Page {
    fn push(&mut self, line: &Line<'_>) -> Next {
        self.count += 1;
        let key = escape(&self.encoding.write(line.key));
        let _infallible = write!(
            self.lines,
            "<Contents><Key>{key}</Key><LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag><Size>{}</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>",
            line.last_modified, line.etag, line.size_bytes
        );
        self.last = Some(Start::AfterKey(line.key.to_owned()));
        Next::Key
    }

    fn push_prefix(&mut self, common: String) -> Next {
        self.count += 1;
        let text = escape(&self.encoding.write(&common));
        let _infallible = write!(self.lines, "<CommonPrefixes><Prefix>{text}</Prefix></CommonPrefixes>");
        let next = successor(&common).map_or(Next::Stop, Next::NotBelow);
        self.last = Some(Start::AfterPrefix(common));
        next
    }

    fn finish(self, bucket: &str, request: &PageRequest) -> String {
        let written = |text: &str| escape(&self.encoding.write(text));
        let encoding = match self.encoding {
            KeyEncoding::Url => "<EncodingType>url</EncodingType>",
            KeyEncoding::Plain => "",
        };
        let delimiter =
            request.list.delimiter.as_deref().map_or_else(String::new, |delimiter| {
                format!("<Delimiter>{}</Delimiter>", written(delimiter))
            });
        let next = match (self.last.filter(|_| self.is_truncated), request.version) {
            (None, _) | (Some(Start::Beginning), ListVersion::V1) => String::new(),
            (Some(last), ListVersion::V2) => {
                format!("<NextContinuationToken>{}</NextContinuationToken>", last.to_token())
            }
            (Some(Start::AfterKey(last) | Start::AfterPrefix(last)), ListVersion::V1) => {
                format!("<NextMarker>{}</NextMarker>", written(&last))
            }
        };
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{bucket}</Name>\
             <Prefix>{}</Prefix><KeyCount>{}</KeyCount><MaxKeys>{}</MaxKeys>{encoding}{delimiter}\
             <IsTruncated>{}</IsTruncated>{next}{}</ListBucketResult>",
            written(&request.list.prefix),
            self.count,
            request.list.page_size,
            self.is_truncated,
            self.lines
        )
    }
}
