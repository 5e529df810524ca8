//! Which region signs.
//!
//! Owns: finding the region of a store from what the user says, from the endpoint's host and from the provider's default, in that
//! order. Does not own: asking the store, which may answer that another one is right.

use serde::{Deserialize, Serialize};

/// How the region that signs requests is found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegionRule {
    /// The region where neither the user nor the endpoint names one.
    pub default: Option<String>,
    /// A prefix that consoles print before the region and signatures leave out.
    pub strip_prefix: Option<String>,
    /// Endpoint hosts that name the region, the most specific first: `s3.{region}.example.com`.
    pub hosts: Vec<String>,
}

impl RegionRule {
    /// The region to sign for: the user's, else the endpoint's, else the default.
    pub fn resolve(&self, given: Option<&str>, endpoint_host: Option<&str>) -> Option<String> {
        given
            .map(ToOwned::to_owned)
            .or_else(|| self.named_by(endpoint_host?))
            .or_else(|| self.default.clone())
            .map(|region| match &self.strip_prefix {
                Some(prefix) => region.strip_prefix(prefix).unwrap_or(&region).to_owned(),
                None => region,
            })
    }

    fn named_by(&self, host: &str) -> Option<String> {
        self.hosts.iter().find_map(|pattern| {
            let (before, after) = pattern.split_once("{region}")?;
            let region = host.strip_prefix(before)?.strip_suffix(after)?;
            (!region.is_empty() && !region.contains('.')).then(|| region.to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::Profile;

    #[test]
    fn the_region_comes_from_the_user_then_the_host_then_the_default() {
        let oss = Profile::named("aliyun-oss").expect("profile").region;
        let region = |given, host| oss.resolve(given, host);
        assert_eq!(region(Some("oss-cn-beijing"), None).as_deref(), Some("cn-beijing"));
        assert_eq!(region(None, Some("s3.oss-cn-hangzhou.aliyuncs.com")).as_deref(), Some("cn-hangzhou"));
        assert_eq!(
            region(None, Some("oss-eu-central-1-internal.aliyuncs.com")).as_deref(),
            Some("eu-central-1")
        );
        assert_eq!(region(None, Some("files.example.com")), None);
        let r2 = Profile::named("r2").expect("profile").region;
        assert_eq!(r2.resolve(None, None).as_deref(), Some("auto"));
    }
}
