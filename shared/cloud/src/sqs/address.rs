//! What a queue's URL says: where requests go, and for which region they are signed. Pure.

use ferry_transfer::{Error, ErrorKind, Result};

/// The parts of a queue's URL that decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueueAddress {
    /// Scheme and authority; `None` where the host is an old name that only the SDK's own rules replace.
    pub(super) endpoint: Option<String>,
    /// The region an Amazon host names.
    pub(super) region: Option<String>,
}

impl QueueAddress {
    /// Reads the URL of a standard queue.
    pub(super) fn parse(queue_url: &str) -> Result<Self> {
        let refused = |reason: &str| {
            Error::new(
                ErrorKind::Configuration,
                format!("{queue_url:?} is not usable as a queue url: {reason}"),
            )
        };
        let (scheme, rest) = queue_url
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
            .ok_or_else(|| refused("it does not start with https:// or http://"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let name = path.rsplit('/').next().unwrap_or_default();
        if authority.is_empty() || name.is_empty() {
            return Err(refused("it lacks a host or the queue's name"));
        }
        // SQS writes the suffix in lower case only.
        if name.strip_suffix(".fifo").is_some() {
            return Err(refused("FIFO queues cannot carry jobs: use a standard queue"));
        }
        let host = authority.split(':').next().unwrap_or_default();
        if let Some(region) = legacy_region(host) {
            return Ok(Self { endpoint: None, region: Some(region.to_owned()) });
        }
        Ok(Self {
            endpoint: Some(format!("{scheme}://{authority}")),
            region: amazon_region(host).map(ToOwned::to_owned),
        })
    }
}

/// The region of `REGION.queue.amazonaws.com` and of `queue.amazonaws.com`, names from before regions had endpoints.
fn legacy_region(host: &str) -> Option<&str> {
    let host = host.strip_suffix(".cn").unwrap_or(host);
    let region = host.strip_suffix("queue.amazonaws.com")?;
    match region.strip_suffix('.') {
        Some(region) => Some(region),
        None => region.is_empty().then_some("us-east-1"),
    }
}

/// The region of `sqs.REGION.amazonaws.com`, of its FIPS and dual-stack kin, and of a VPC endpoint's name.
fn amazon_region(host: &str) -> Option<&str> {
    let amazon = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"];
    if !amazon.iter().any(|suffix| host.ends_with(suffix)) {
        return None;
    }
    let mut labels = host.split('.').skip_while(|label| !matches!(*label, "sqs" | "sqs-fips"));
    labels.next();
    labels.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amazon_host_names_endpoint_and_region() {
        for (host, region) in [
            ("sqs.eu-central-1.amazonaws.com", "eu-central-1"),
            ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("sqs-fips.us-east-2.amazonaws.com", "us-east-2"),
            ("sqs.us-west-2.api.aws", "us-west-2"),
            ("vpce-0a1b-2c.sqs.ap-east-1.vpce.amazonaws.com", "ap-east-1"),
        ] {
            let address = QueueAddress::parse(&format!("https://{host}/123456789012/jobs")).expect(host);
            assert_eq!(address.endpoint, Some(format!("https://{host}")));
            assert_eq!(address.region.as_deref(), Some(region));
        }
    }

    #[test]
    fn an_old_amazon_host_is_left_to_the_sdk() {
        for (host, region) in
            [("queue.amazonaws.com", "us-east-1"), ("eu-west-1.queue.amazonaws.com", "eu-west-1")]
        {
            let address = QueueAddress::parse(&format!("https://{host}/123456789012/jobs")).expect(host);
            assert_eq!(address.endpoint, None);
            assert_eq!(address.region.as_deref(), Some(region));
        }
    }

    #[test]
    fn any_other_host_is_the_endpoint_and_names_no_region() {
        for host in ["127.0.0.1:9324", "sqs.example.org", "notqueue.amazonaws.com.evil.example"] {
            let address = QueueAddress::parse(&format!("http://{host}/000000000000/jobs")).expect(host);
            assert_eq!(address.endpoint, Some(format!("http://{host}")));
            assert_eq!(address.region, None);
        }
    }

    #[test]
    fn what_is_no_standard_queue_is_refused() {
        for url in [
            "jobs",
            "arn:aws:sqs:us-east-1:1:jobs",
            "https://sqs.us-east-1.amazonaws.com",
            "https:///jobs",
            "https://sqs.us-east-1.amazonaws.com/1/jobs.fifo",
        ] {
            let error = QueueAddress::parse(url).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(url), "{error}");
        }
    }
}
