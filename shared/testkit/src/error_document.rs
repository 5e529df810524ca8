//! S3's error documents, written by hand where no framework writes them.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

/// Text as it stands in an XML document.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            char => escaped.push(char),
        }
    }
    escaped
}

/// An `<Error>` document.
pub(crate) fn document(code: &str, message: &str) -> Bytes {
    Bytes::from(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message></Error>",
        escape(code),
        escape(message)
    ))
}

/// A response with an `<Error>` document.
pub(crate) fn response<B: From<Bytes>>(status: StatusCode, code: &str, message: &str) -> Response<B> {
    xml(status, document(code, message))
}

/// A response with an XML document.
pub(crate) fn xml<B: From<Bytes>>(status: StatusCode, document: Bytes) -> Response<B> {
    let mut response = Response::new(B::from(document));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}
