//! Provider profiles: how to talk to each S3-compatible product, kept as data.
//!
//! Owns: the files under `profiles/`, one for each provider, and the merging of a user's overrides over them. Does not own: endpoints
//! and credentials, which belong to one store ([`crate::StoreConfig`]). Invariant: every field of a profile can be
//! overridden, so a store that nobody described, or that changed, never needs a new release.

mod overrides;
mod region;

use ferry_transfer::price::ProviderPrices;
use ferry_transfer::{Capabilities, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::overrides::ProfileOverrides;
pub use self::region::RegionRule;

/// Whether a store follows Amazon's newest wire format or only the part that everybody implements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Posture {
    /// The SDK's integrity defaults: CRC64NVME in a header or, for a stream, in an `aws-chunked` trailer.
    Aws,
    /// Plain bodies of known length, no trailers, no checksum unless the store is known to check it.
    Compatible,
}

/// Where the bucket's name goes in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Addressing {
    /// Into the path: `https://endpoint/bucket/key`.
    Path,
    /// Into the host: `https://bucket.endpoint/key`.
    Virtual,
    /// Nowhere: the endpoint's host already denotes the bucket, as a custom domain on Alibaba OSS does.
    BucketHost,
}

impl Addressing {
    /// As it is written in `ferry.yaml`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Virtual => "virtual",
            Self::BucketHost => "bucket-host",
        }
    }
}

/// Which listing operation a store answers best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum ListVersion {
    /// `ListObjects`, by marker.
    V1,
    /// `ListObjectsV2`, by continuation token.
    V2,
}

impl TryFrom<u8> for ListVersion {
    type Error = String;

    fn try_from(version: u8) -> Result<Self, String> {
        match version {
            1 => Ok(Self::V1),
            2 => Ok(Self::V2),
            other => Err(format!("list_version is 1 or 2, not {other}")),
        }
    }
}

impl From<ListVersion> for u8 {
    fn from(version: ListVersion) -> Self {
        match version {
            ListVersion::V1 => 1,
            ListVersion::V2 => 2,
        }
    }
}

/// Whether a signature covers the bytes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PayloadSigning {
    /// Of a body in memory that no other checksum covers, by its SHA-256. A streamed body is never signed.
    Signed,
    /// Never: `UNSIGNED-PAYLOAD`.
    Unsigned,
}

/// How to talk to one provider's stores, and what they can do.
///
/// Every field is always serialised: [`ProfileOverrides`] knows from that which fields there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Which wire format.
    pub posture: Posture,
    /// Where the bucket's name goes.
    pub addressing: Addressing,
    /// Which listing operation.
    pub list_version: ListVersion,
    /// Ask for `encoding-type=url`. Without it a key with a control character makes the listing unreadable XML.
    pub list_url_encoding: bool,
    /// The store percent-encodes `NextContinuationToken` as well when asked to encode. Amazon S3 does not.
    #[serde(default)]
    pub list_token_encoded: bool,
    /// The region that signs requests.
    #[serde(default)]
    pub region: RegionRule,
    /// Whether signatures cover bodies.
    pub payload_signing: PayloadSigning,
    /// Most keys of one `DeleteObjects`; 0 where the store has no such operation.
    pub delete_batch_max: u32,
    /// `DeleteObjects` must carry `Content-MD5`.
    pub delete_batch_content_md5: bool,
    /// Error codes that ask for fewer requests, beside those that every store uses.
    #[serde(default)]
    pub throttle_codes: Vec<String>,
    /// List prices, where somebody wrote them down.
    #[serde(default)]
    pub prices: Option<ProviderPrices>,
    /// What the stores can hold and do.
    #[serde(default)]
    pub capabilities: Capabilities,
}

/// Every provider known by name, with its file.
const PROFILES: [(&str, &str); 12] = [
    ("aws", include_str!("../profiles/aws.yaml")),
    ("aliyun-oss", include_str!("../profiles/aliyun-oss.yaml")),
    ("tencent-cos", include_str!("../profiles/tencent-cos.yaml")),
    ("huawei-obs", include_str!("../profiles/huawei-obs.yaml")),
    ("qiniu-kodo", include_str!("../profiles/qiniu-kodo.yaml")),
    ("gcs", include_str!("../profiles/gcs.yaml")),
    ("r2", include_str!("../profiles/r2.yaml")),
    ("b2", include_str!("../profiles/b2.yaml")),
    ("ceph", include_str!("../profiles/ceph.yaml")),
    ("minio", include_str!("../profiles/minio.yaml")),
    ("wasabi", include_str!("../profiles/wasabi.yaml")),
    ("other", include_str!("../profiles/other.yaml")),
];

/// The names that `provider:` accepts.
pub fn known_providers() -> impl Iterator<Item = &'static str> {
    PROFILES.iter().map(|(name, _)| *name)
}

impl Profile {
    /// The profile of a provider.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, listing the known names, for any other.
    pub fn named(provider: &str) -> Result<Self> {
        let Some((_, file)) = PROFILES.iter().find(|(name, _)| *name == provider) else {
            let known: Vec<_> = known_providers().collect();
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "unknown provider {provider:?}; known are {}. A store of any other make is `other`",
                    known.join(", ")
                ),
            ));
        };
        serde_saphyr::from_str(file).map_err(|error| {
            Error::new(ErrorKind::Other, format!("the profile of {provider} is damaged")).caused_by(error)
        })
    }

    /// This profile with a user's overrides laid over it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a field that no profile has or a value that does not fit it.
    pub fn overridden(&self, overrides: &ProfileOverrides) -> Result<Self> {
        if overrides.is_empty() {
            return Ok(self.clone());
        }
        let mut merged = serde_json::to_value(self).map_err(unusable)?;
        lay_over(&mut merged, overrides.fields());
        serde_json::from_value(merged).map_err(unusable)
    }
}

fn unusable(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::InvalidInput, "the profile overrides do not fit").caused_by(error)
}

fn lay_over(base: &mut Value, overrides: &Map<String, Value>) {
    for (field, value) in overrides {
        match (base.get_mut(field), value) {
            (Some(inner @ Value::Object(_)), Value::Object(overrides)) => lay_over(inner, overrides),
            // YAML readers take an unquoted `yes` for a boolean where they do not know what is wanted.
            (Some(Value::String(support)), Value::Bool(known)) => {
                *support = String::from(if *known { "yes" } else { "no" });
            }
            _ => base[field.as_str()] = value.clone(),
        }
    }
}

#[cfg(test)]
mod document_tests;
#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ferry_transfer::Support;
    use ferry_transfer::store::metered::RequestKind;

    use super::*;

    #[test]
    fn every_profile_is_readable() {
        for provider in known_providers() {
            let profile =
                Profile::named(provider).unwrap_or_else(|error| panic!("{provider}: {}", error.chain()));
            assert!(
                profile.posture == Posture::Compatible || provider == "aws",
                "{provider}: only Amazon S3 itself gets trailers"
            );
            assert!(profile.capabilities.part_bytes_min < profile.capabilities.part_bytes_max);
        }
    }

    #[test]
    fn an_unknown_provider_is_answered_with_the_known_ones() {
        let error = Profile::named("s3").expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("aliyun-oss"), "{error}");
    }

    #[test]
    fn alibaba_wants_virtual_hosts_and_makes_no_promise_about_multipart_tags() {
        let oss = Profile::named("aliyun-oss").expect("profile");
        assert_eq!(oss.addressing, Addressing::Virtual);
        assert_eq!(oss.capabilities.multipart_etag_is_md5_of_md5s, Support::No);
        assert_eq!(oss.capabilities.conditional_writes, Support::No);
        assert_eq!(oss.capabilities.user_metadata_bytes_max, 8192);
        assert_eq!(oss.capabilities.part_bytes_min, 102_400);
    }

    #[test]
    fn overrides_reach_every_level_and_leave_the_rest() {
        let overrides: ProfileOverrides = serde_saphyr::from_str(
            "list_version: 1\naddressing: virtual\ncapabilities:\n  tags: no\n  parts_max: 1000\n",
        )
        .expect("overrides");
        let ceph = Profile::named("ceph").expect("profile");
        let merged = ceph.overridden(&overrides).expect("merged");
        assert_eq!(merged.list_version, ListVersion::V1);
        assert_eq!(merged.addressing, Addressing::Virtual);
        assert_eq!(merged.capabilities.tags, Support::No);
        assert_eq!(merged.capabilities.parts_max, 1000);
        assert_eq!(merged.capabilities.part_bytes_min, ceph.capabilities.part_bytes_min);
        assert_eq!(merged.posture, ceph.posture);
    }

    #[test]
    fn a_million_small_objects_cost_what_the_design_promises() {
        let aws = Profile::named("aws").expect("profile").prices.expect("prices");
        let queue = ferry_transfer::price::PriceTable::bundled().expect("table").queue_usd(1_000_000);
        let source = BTreeMap::from([(RequestKind::List, 1000), (RequestKind::Get, 1_000_000)]);
        let destination = BTreeMap::from([(RequestKind::List, 1000), (RequestKind::Put, 1_000_000)]);
        let total = aws.cost(&source, 0).requests_usd + aws.cost(&destination, 0).requests_usd + queue;
        assert!((total - 5.53).abs() < 0.005, "{total}");
    }
}
