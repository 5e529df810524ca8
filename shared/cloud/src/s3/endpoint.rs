//! From an operation on a bucket to a URL.
//!
//! Owns: the endpoint rules of stores with an endpoint of their own, which are three lines against the SDK's rule engine for
//! Amazon's. Does not own: the key's place in the path, which the SDK encodes.

use std::borrow::Cow;

use aws_sdk_s3::config::endpoint::{Endpoint, EndpointFuture, Params, ResolveEndpoint};
use aws_smithy_types::endpoint::EndpointAuthScheme;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::profile::Addressing;

/// What a bucket's name may show in a path as it is: RFC 3986's unreserved characters.
const BUCKET_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Addressing by host cannot name this bucket.
#[derive(Debug, thiserror::Error)]
#[error("this bucket's name cannot be part of a host name: set `addressing: path`")]
pub(super) struct UnfitBucket;

/// Resolves every operation against one endpoint.
#[derive(Debug, Clone)]
pub(super) struct OwnEndpoint {
    /// `https`, as it stands before `://`.
    scheme: String,
    /// Host, port and any path, without a trailing slash.
    rest: String,
    addressing: Addressing,
    region: String,
}

impl OwnEndpoint {
    /// `url` as [`crate::store_config`] validated it: a scheme, a host, no query.
    pub(super) fn new(url: &str, addressing: Addressing, region: String) -> Self {
        let url = url.trim_end_matches('/');
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        Self { scheme: scheme.to_owned(), rest: rest.to_owned(), addressing, region }
    }

    /// `None` where the bucket's name cannot be part of a host name.
    fn url(&self, bucket: Option<&str>) -> Option<String> {
        let Self { scheme, rest, .. } = self;
        Some(match (self.addressing, bucket) {
            (Addressing::Path, Some(bucket)) => {
                let bucket: Cow<'_, str> = utf8_percent_encode(bucket, BUCKET_IN_PATH).into();
                format!("{scheme}://{rest}/{bucket}")
            }
            (Addressing::Virtual, Some(bucket)) if is_host_label(bucket) => {
                format!("{scheme}://{bucket}.{rest}")
            }
            (Addressing::Virtual, Some(_)) => return None,
            (Addressing::BucketHost, _) | (_, None) => format!("{scheme}://{rest}"),
        })
    }
}

impl ResolveEndpoint for OwnEndpoint {
    fn resolve_endpoint<'a>(&'a self, params: &'a Params) -> EndpointFuture<'a> {
        let Some(url) = self.url(params.bucket()) else {
            return EndpointFuture::ready(Err(Box::new(UnfitBucket)));
        };
        let signing = EndpointAuthScheme::with_capacity("sigv4", 3)
            .put("signingName", "s3")
            .put("signingRegion", self.region.clone())
            .put("disableDoubleEncoding", true);
        EndpointFuture::ready(Ok(Endpoint::builder().url(url).auth_scheme(signing).build()))
    }
}

/// Whether a name can stand in a host name, so that it cannot lead a request to another host.
fn is_host_label(bucket: &str) -> bool {
    !bucket.is_empty()
        && bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(endpoint: &str, addressing: Addressing, bucket: Option<&str>) -> String {
        OwnEndpoint::new(endpoint, addressing, "r".into()).url(bucket).expect("a URL")
    }

    #[test]
    fn the_bucket_goes_where_the_store_wants_it() {
        let oss = "https://s3.oss-cn-hangzhou.aliyuncs.com";
        assert_eq!(
            url(oss, Addressing::Virtual, Some("photos")),
            "https://photos.s3.oss-cn-hangzhou.aliyuncs.com"
        );
        assert_eq!(url("http://127.0.0.1:9000/", Addressing::Path, Some("b.c")), "http://127.0.0.1:9000/b.c");
        assert_eq!(
            url("https://files.example.com", Addressing::BucketHost, Some("photos")),
            "https://files.example.com"
        );
        assert_eq!(url(oss, Addressing::Virtual, None), oss);
    }

    #[test]
    fn no_bucket_leads_to_another_host() {
        let virtual_hosts = OwnEndpoint::new("https://example.com", Addressing::Virtual, "r".into());
        for bucket in ["", "evil.test/", "a@b", "a:1", "a b"] {
            assert_eq!(virtual_hosts.url(Some(bucket)), None, "{bucket}");
        }
    }

    #[test]
    fn an_endpoint_may_have_a_path() {
        assert_eq!(
            url("https://example.com/s3", Addressing::Path, Some("tenant:photos")),
            "https://example.com/s3/tenant%3Aphotos"
        );
    }
}
