//! Where a bucket's requests go, found once.
//!
//! Owns: asking the same endpoint rules as the SDK does, and spelling keys and queries in a request's target. Does not own: the
//! rules. Invariant: a key is encoded once, byte by byte; nothing tidies `//` or `..` away.

use aws_sdk_s3::config::endpoint::{Params, ResolveEndpoint};
use aws_smithy_types::Document;
use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// RFC 3986's unreserved characters stay as they are in a query, as the signature demands.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// In a path the slash does, too.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// A bucket's place on the network.
#[derive(Debug)]
pub(super) struct Address {
    /// `scheme://authority`
    pub(super) origin: Uri,
    /// As the `Host` header has it: without a port that the scheme implies.
    pub(super) host: String,
    /// Before a key's slash: empty, `/bucket` or `/tenant/bucket`.
    base_path: String,
}

impl Address {
    /// The address of a bucket; `None` where the rules ask for what only the SDK can do: another signature than SigV4 for S3 in
    /// this region, or headers of their own.
    pub(super) async fn of(resolver: &dyn ResolveEndpoint, region: &str, bucket: &str) -> Option<Self> {
        let params = Params::builder().region(region.to_owned()).bucket(bucket.to_owned()).build().ok()?;
        let endpoint = resolver.resolve_endpoint(&params).await.ok()?;
        if endpoint.headers().next().is_some() {
            return None;
        }
        let schemes = endpoint.properties().get("authSchemes");
        let signed_usually = match schemes {
            Some(Document::Array(schemes)) => schemes.first().is_some_and(|scheme| is_usual(scheme, region)),
            Some(_) => false,
            None => endpoint.auth_schemes().first().is_some_and(|scheme| {
                let says = |name: &str, wanted: &str| {
                    scheme.get(name).and_then(Document::as_string).is_some_and(|found| found == wanted)
                };
                scheme.name() == "sigv4" && says("signingName", "s3") && says("signingRegion", region)
            }),
        };
        if !signed_usually {
            return None;
        }
        Self::parse(endpoint.url())
    }

    fn parse(url: &str) -> Option<Self> {
        let url: Uri = url.parse().ok()?;
        let (scheme, authority) = (url.scheme_str()?, url.authority()?);
        let implied_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let host = match authority.port_u16() {
            Some(port) if port != implied_port => authority.as_str(),
            _ => authority.host(),
        };
        Some(Self {
            origin: format!("{scheme}://{authority}/").parse().ok()?,
            host: host.to_owned(),
            base_path: url.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The path of the bucket itself, or of a key in it.
    pub(super) fn path(&self, key: Option<&str>) -> String {
        let base = &self.base_path;
        match key {
            Some(key) => format!("{base}/{}", utf8_percent_encode(key, PATH)),
            None if base.is_empty() => "/".to_owned(),
            None => base.clone(),
        }
    }
}

fn is_usual(scheme: &Document, region: &str) -> bool {
    let Some(scheme) = scheme.as_object() else {
        return false;
    };
    let says = |name: &str, wanted: &str| {
        scheme.get(name).and_then(Document::as_string).is_some_and(|found| found == wanted)
    };
    says("name", "sigv4") && says("signingName", "s3") && says("signingRegion", region)
}

/// A query as it is sent and signed. `pairs` must come sorted by name.
pub(super) fn query<'a>(pairs: impl IntoIterator<Item = (&'static str, Option<&'a str>)>) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        let Some(value) = value else {
            continue;
        };
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        query.extend(utf8_percent_encode(value, QUERY));
    }
    query
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::config::endpoint::DefaultResolver;

    use super::*;

    #[test]
    fn keys_are_encoded_once_and_nothing_is_tidied() {
        let address = Address::parse("http://127.0.0.1:9000/tenant/b").expect("address");
        assert_eq!(address.host, "127.0.0.1:9000");
        assert_eq!(address.path(Some("/a//../b c+é%20*~")), "/tenant/b//a//../b%20c%2B%C3%A9%2520%2A~");
        assert_eq!(address.path(None), "/tenant/b");
        let bare = Address::parse("https://b.example.com:443").expect("address");
        assert_eq!((bare.host.as_str(), bare.path(None).as_str()), ("b.example.com", "/"));
    }

    #[test]
    fn a_query_leaves_out_what_is_not_asked_for() {
        assert_eq!(query([("a", Some("x y+")), ("b", None), ("uploads", Some(""))]), "a=x%20y%2B&uploads=");
    }

    #[tokio::test]
    async fn amazons_own_rules_decide_where_a_bucket_is() {
        let rules = DefaultResolver::new();
        let plain = Address::of(&rules, "eu-west-1", "photos").await.expect("address");
        assert_eq!(plain.origin, "https://photos.s3.eu-west-1.amazonaws.com/");
        let dotted = Address::of(&rules, "eu-west-1", "my.photos").await.expect("address");
        assert_eq!(
            (dotted.host.as_str(), dotted.path(Some("k")).as_str()),
            ("s3.eu-west-1.amazonaws.com", "/my.photos/k")
        );
        // Directory buckets are signed otherwise, and so are multi-region access points.
        assert!(Address::of(&rules, "us-west-2", "photos--usw2-az1--x-s3").await.is_none());
        let everywhere = "arn:aws:s3::123456789012:accesspoint:mfzwi23gnjvgw.mrap";
        assert!(Address::of(&rules, "us-west-2", everywhere).await.is_none());
    }
}
