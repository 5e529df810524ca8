//! Hosts that name a bucket.
//!
//! Owns: reading the bucket out of a `Host` header. Invariant: a host nobody was told of names no bucket, so requests to an address
//! stay path-style.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::HOST;
use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// Hosts that name a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VirtualHosts {
    /// `BUCKET.DOMAIN` is that bucket.
    pub domains: Vec<String>,
    /// Hosts that are one bucket each, as custom domains are.
    pub custom: BTreeMap<String, String>,
}

impl VirtualHosts {
    /// Whether every request is path-style.
    pub(super) fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.custom.is_empty()
    }

    /// The bucket that a request's host names.
    pub(crate) fn bucket_of<'a>(&'a self, headers: &'a HeaderMap) -> Option<&'a str> {
        self.bucket(headers.get(HOST)?.to_str().ok()?)
    }

    fn bucket<'a>(&'a self, host: &'a str) -> Option<&'a str> {
        let host = host.split_once(':').map_or(host, |(host, _port)| host);
        if let Some(bucket) = self.custom.get(host) {
            return Some(bucket);
        }
        // One domain may end like another.
        if self.domains.iter().any(|domain| domain == host) {
            return None;
        }
        self.domains.iter().find_map(|domain| host.strip_suffix(domain.as_str())?.strip_suffix('.'))
    }
}

impl S3Host for VirtualHosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let parsed = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => parsed.with_bucket(bucket),
            None => parsed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_stands_in_front_of_its_domain_or_is_the_host() {
        let hosts = VirtualHosts {
            domains: vec!["s3.example.com".to_owned()],
            custom: [("files.example.org".to_owned(), "photos".to_owned())].into(),
        };
        assert_eq!(hosts.bucket("docks.s3.example.com:8080"), Some("docks"));
        assert_eq!(hosts.bucket("files.example.org"), Some("photos"));
        assert_eq!(hosts.bucket("s3.example.com"), None);
        assert_eq!(hosts.bucket("127.0.0.1:9000"), None);
    }
}
