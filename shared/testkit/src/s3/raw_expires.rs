//! Writes whose `Expires` is no date.
//!
//! S3 stores any text there, and the framework refuses what it cannot read as a date before the backend is asked. These
//! requests, rare as they are, go round it: the framework has checked their signature and unframed their body by then.

use http::header::EXPIRES;
use http::{Extensions, HeaderMap, Method, StatusCode, Uri};
use s3s::dto::{StreamingBlob, Timestamp, TimestampFormat};
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result, s3_error};

use super::backend::Backend;
use super::refused::with_code;
use super::uploads::{checksum_headers, told_key};
use super::{Anonymous, VirtualHosts};
use crate::error_document::escape;
use crate::operation::{Operation, Target};

/// The way round.
#[derive(Debug)]
pub(super) struct RawExpires {
    backend: Backend,
    anonymous: Anonymous,
    hosts: VirtualHosts,
}

impl RawExpires {
    pub(super) fn new(backend: Backend, anonymous: Anonymous, hosts: VirtualHosts) -> Self {
        Self { backend, anonymous, hosts }
    }

    fn target(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Target {
        Target::at_host(self.hosts.bucket_of(headers), method, uri, headers)
    }
}

#[async_trait::async_trait]
impl S3Route for RawExpires {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, _: &mut Extensions) -> bool {
        let Some(expires) = headers.get(EXPIRES) else {
            return false;
        };
        let dated =
            expires.to_str().is_ok_and(|text| Timestamp::parse(TimestampFormat::HttpDate, text).is_ok());
        let operation = self.target(method, uri, headers).operation;
        !dated && matches!(operation, Operation::PutObject | Operation::CreateMultipartUpload)
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        if request.credentials.is_some() || self.anonymous == Anonymous::Allowed {
            Ok(())
        } else {
            Err(s3_error!(AccessDenied, "Signature is required"))
        }
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let headers = &request.headers;
        let target = self.target(&request.method, &request.uri, headers);
        if target.key.len() > 1024 {
            return Err(with_code("KeyTooLongError", "Your key is too long"));
        }
        let (bucket, key) = (&target.bucket, &target.key);
        let (body, answer) = if target.operation == Operation::PutObject {
            let body = Some(StreamingBlob::from(request.input));
            let trailers = request.trailing_headers.as_ref();
            let answer = self.backend.put(bucket, key, headers, body, trailers).await?;
            (Body::empty(), answer)
        } else {
            let upload_id = self.backend.create_upload(bucket, key, headers)?;
            let key = told_key(key).map_or_else(String::new, |key| format!("<Key>{}</Key>", escape(&key)));
            let document = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket>\
                 {key}<UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
            );
            (Body::from(document), checksum_headers(headers))
        };
        let mut response = S3Response::with_headers(body, answer);
        response.status = Some(StatusCode::OK);
        Ok(response)
    }
}
