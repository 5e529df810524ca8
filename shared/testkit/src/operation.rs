//! Which S3 operation an HTTP request is.
//!
//! Owns: reading method, path-style path, query and headers the way S3 dispatches them, for request logs, fault rules and the
//! synthetic endpoint. Does not own: validation; a request that no operation fits is [`Operation::Other`].

use std::fmt;

use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;

macro_rules! operations {
    ($($name:ident),* $(,)?) => {
        /// An S3 operation, by the name AWS gives it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the names are AWS's own")]
        pub enum Operation {
            $($name),*
        }

        impl Operation {
            /// The name AWS gives it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name)),*
                }
            }
        }
    };
}

operations![
    AbortMultipartUpload,
    CompleteMultipartUpload,
    CopyObject,
    CreateBucket,
    CreateMultipartUpload,
    DeleteBucket,
    DeleteObject,
    DeleteObjectTagging,
    DeleteObjects,
    GetBucketLocation,
    GetBucketVersioning,
    GetObject,
    GetObjectAttributes,
    GetObjectTagging,
    HeadBucket,
    HeadObject,
    ListBuckets,
    ListMultipartUploads,
    ListObjectVersions,
    ListObjects,
    ListObjectsV2,
    ListParts,
    PutObject,
    PutObjectTagging,
    RestoreObject,
    UploadPart,
    UploadPartCopy,
    Other,
];

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The operation.
    pub operation: Operation,
    /// The bucket; empty for `ListBuckets`.
    pub bucket: String,
    /// The key, decoded; empty where there is none.
    pub key: String,
}

/// The parameters of a query, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(uri: &Uri) -> Self {
        let pairs = uri.query().unwrap_or_default();
        let decode =
            |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        Self(
            pairs
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// Bucket and key of a path-style path, decoded. A key that is not UTF-8 comes out with replacement characters.
pub(crate) fn bucket_and_key(path: &str) -> (String, String) {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let path = decoded.strip_prefix('/').unwrap_or(&decoded);
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    (bucket.to_owned(), key.to_owned())
}

impl Target {
    /// Reads a path-style request.
    pub fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let (bucket, key) = bucket_and_key(uri.path());
        Self::named(bucket, key, method, uri, headers)
    }

    /// Reads a request whose host may name the bucket.
    pub(crate) fn at_host(
        host_bucket: Option<&str>,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Self {
        let Some(bucket) = host_bucket else {
            return Self::of(method, uri, headers);
        };
        let path = percent_decode_str(uri.path()).decode_utf8_lossy();
        let key = path.strip_prefix('/').unwrap_or(&path).to_owned();
        Self::named(bucket.to_owned(), key, method, uri, headers)
    }

    fn named(bucket: String, key: String, method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let query = Query::of(uri);
        let operation = if bucket.is_empty() {
            service_operation(method)
        } else if key.is_empty() {
            bucket_operation(method, &query)
        } else {
            object_operation(method, &query, headers.contains_key("x-amz-copy-source"))
        };
        Self { operation, bucket, key }
    }
}

fn service_operation(method: &Method) -> Operation {
    if method == Method::GET { Operation::ListBuckets } else { Operation::Other }
}

fn bucket_operation(method: &Method, query: &Query) -> Operation {
    match method.as_str() {
        "GET" if query.has("uploads") => Operation::ListMultipartUploads,
        "GET" if query.has("location") => Operation::GetBucketLocation,
        "GET" if query.has("versioning") => Operation::GetBucketVersioning,
        "GET" if query.has("versions") => Operation::ListObjectVersions,
        "GET" if query.get("list-type") == Some("2") => Operation::ListObjectsV2,
        "GET" => Operation::ListObjects,
        "PUT" => Operation::CreateBucket,
        "HEAD" => Operation::HeadBucket,
        "POST" if query.has("delete") => Operation::DeleteObjects,
        "DELETE" => Operation::DeleteBucket,
        _ => Operation::Other,
    }
}

fn object_operation(method: &Method, query: &Query, copies: bool) -> Operation {
    match method.as_str() {
        "GET" if query.has("tagging") => Operation::GetObjectTagging,
        "GET" if query.has("attributes") => Operation::GetObjectAttributes,
        "GET" if query.has("uploadId") => Operation::ListParts,
        "GET" => Operation::GetObject,
        "HEAD" => Operation::HeadObject,
        "PUT" if query.has("tagging") => Operation::PutObjectTagging,
        "PUT" if query.has("uploadId") && copies => Operation::UploadPartCopy,
        "PUT" if query.has("uploadId") => Operation::UploadPart,
        "PUT" if copies => Operation::CopyObject,
        "PUT" => Operation::PutObject,
        "POST" if query.has("uploads") => Operation::CreateMultipartUpload,
        "POST" if query.has("uploadId") => Operation::CompleteMultipartUpload,
        "POST" if query.has("restore") => Operation::RestoreObject,
        "DELETE" if query.has("tagging") => Operation::DeleteObjectTagging,
        "DELETE" if query.has("uploadId") => Operation::AbortMultipartUpload,
        "DELETE" => Operation::DeleteObject,
        _ => Operation::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(line: &str) -> (String, String) {
        let (method, uri) = line.split_once(' ').expect("a request line");
        let mut headers = HeaderMap::new();
        let uri = uri.strip_suffix(" copy").map_or(uri, |uri| {
            headers.insert("x-amz-copy-source", http::HeaderValue::from_static("b/k"));
            uri
        });
        let target = Target::of(&method.parse().expect("method"), &uri.parse().expect("uri"), &headers);
        (target.operation.to_string(), target.key)
    }

    #[test]
    fn requests_are_read_as_s3_dispatches_them() {
        for (line, operation, key) in [
            ("GET /", "ListBuckets", ""),
            ("GET /b", "ListObjects", ""),
            ("GET /b/?list-type=2&prefix=a%2F", "ListObjectsV2", ""),
            ("GET /b?uploads&x-id=ListMultipartUploads", "ListMultipartUploads", ""),
            ("POST /b/?delete", "DeleteObjects", ""),
            ("GET /b/a%20b%2F?x-id=GetObject", "GetObject", "a b/"),
            ("GET /b//", "GetObject", "/"),
            ("GET /b/k?uploadId=1", "ListParts", "k"),
            ("PUT /b/k?partNumber=1&uploadId=1", "UploadPart", "k"),
            ("PUT /b/k?partNumber=1&uploadId=1 copy", "UploadPartCopy", "k"),
            ("PUT /b/k copy", "CopyObject", "k"),
            ("PUT /b/a+b?x-id=PutObject", "PutObject", "a+b"),
            ("POST /b/k?uploads", "CreateMultipartUpload", "k"),
            ("POST /b/k?uploadId=1", "CompleteMultipartUpload", "k"),
            ("DELETE /b/k?uploadId=1", "AbortMultipartUpload", "k"),
            ("PATCH /b/k", "Other", "k"),
        ] {
            assert_eq!(target(line), (operation.to_owned(), key.to_owned()), "{line}");
        }
    }
}
