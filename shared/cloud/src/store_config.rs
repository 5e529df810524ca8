//! One entry of `stores:` in `ferry.yaml`, and connecting to it.
//!
//! Owns: what a user says about a store, its defaults and its checks. Does not own: secrets, which are referred to and never
//! stand here.

use aws_config::default_provider::region::DefaultRegionChain;
use aws_credential_types::provider::SharedCredentialsProvider;
use ferry_transfer::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::credentials::{self, CredentialRef, Credentials};
use crate::customer_key::{CustomerKey, CustomerKeyRef};
use crate::profile::{Addressing, Profile, ProfileOverrides};
use crate::s3::{AccountSetup, Payer, S3Account};

/// What carries the requests that every object costs: reads, writes and listings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientKind {
    /// A client of our own, at a quarter of the CPU. Where it cannot reach a store (proxies, other signatures), the SDK stands in.
    #[default]
    Lean,
    /// The AWS SDK, for comparison.
    Sdk,
}

/// What a user says about a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// The make of the store: a name from [`crate::profile::known_providers`]. Default: `aws` without an endpoint, `other` with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// `https://host[:port][/path]`. Left out only for Amazon S3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The region that signs. Default: from the endpoint's host where the provider's hosts name it, else the profile's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Where the credentials come from. Default: the ambient chain of the AWS SDK.
    #[serde(skip_serializing_if = "is_ambient")]
    pub credentials: CredentialRef,
    /// The customer's key for SSE-C, by reference: what is read and written is encrypted with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_key: Option<CustomerKeyRef>,
    /// Whoever asks pays for requests and traffic, as the buckets demand.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub requester_pays: bool,
    /// Where the bucket's name goes, against the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addressing: Option<Addressing>,
    /// What carries the requests that every object costs. Default: `FERRY_CLIENT`, else `lean`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientKind>,
    /// Any field of the provider's profile, against that profile.
    #[serde(skip_serializing_if = "ProfileOverrides::is_empty", alias = "overrides")]
    pub profile: ProfileOverrides,
}

fn is_ambient(reference: &CredentialRef) -> bool {
    *reference == CredentialRef::Ambient
}

impl StoreConfig {
    /// The provider's name, defaulted.
    pub fn provider(&self) -> &str {
        match (&self.provider, &self.endpoint) {
            (Some(provider), _) => provider,
            (None, Some(_)) => "other",
            (None, None) => "aws",
        }
    }

    /// The provider's profile with every override laid over it.
    pub fn profile(&self) -> Result<Profile> {
        let mut profile = Profile::named(self.provider())?.overridden(&self.profile)?;
        if let Some(addressing) = self.addressing {
            profile.addressing = addressing;
        }
        Ok(profile)
    }

    /// The endpoint that the AWS tools would take from the environment, for a store that says nothing of its own.
    fn or_ambient(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        if self.provider.is_none() && self.endpoint.is_none() {
            // AWS, "Service-specific endpoints": the service's own variable wins.
            let named = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].into_iter().find_map(variable);
            self.endpoint = named.filter(|url| !url.is_empty());
        }
        self
    }

    /// What carries this store's requests.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where the environment names no client that there is.
    fn client(&self, variable: impl Fn(&str) -> Option<String>) -> Result<ClientKind> {
        match (self.client, variable("FERRY_CLIENT").as_deref()) {
            (Some(client), _) => Ok(client),
            (None, None | Some("" | "lean")) => Ok(ClientKind::Lean),
            (None, Some("sdk")) => Ok(ClientKind::Sdk),
            (None, Some(other)) => {
                let message = format!("FERRY_CLIENT is lean or sdk, not {other:?}");
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
        }
    }

    /// Checks everything that can be checked without asking anybody.
    pub fn validate(&self) -> Result<()> {
        self.checked().map(drop)
    }

    /// The profile, and the endpoint as requests are sent to it.
    fn checked(&self) -> Result<(Profile, Option<String>)> {
        let profile = self.profile()?;
        let endpoint = self.endpoint_url()?;
        let host = endpoint.as_deref().and_then(host).unwrap_or_default();
        let is_address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
        if is_address && profile.addressing == Addressing::Virtual {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "the endpoint {host} is an address, which no bucket can stand in front of: set `addressing: path`"
                ),
            ));
        }
        Ok((profile, endpoint))
    }

    fn endpoint_url(&self) -> Result<Option<String>> {
        let invalid = |what: String| Err(Error::new(ErrorKind::InvalidInput, what));
        let Some(endpoint) = &self.endpoint else {
            return match self.provider() {
                "aws" => Ok(None),
                provider => invalid(format!(
                    "a store of provider {provider} needs an `endpoint`: it is never guessed, since region names are not unique \
                     to a provider"
                )),
            };
        };
        let Ok(url) = endpoint.parse::<http::Uri>() else {
            return invalid(format!("the endpoint {endpoint:?} is not a URL"));
        };
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return invalid(format!(
                "the endpoint {endpoint:?} must begin with https:// or http:// and name a host"
            ));
        };
        if authority.as_str().contains('@') {
            return invalid(
                "the endpoint must not hold a user name or password: see `credentials`".to_owned(),
            );
        }
        if url.query().is_some() || endpoint.contains('#') {
            return invalid(format!("the endpoint {endpoint:?} must have no query and no fragment"));
        }
        let path = url.path().trim_end_matches('/');
        if path.contains("//") || path.split('/').any(|segment| segment == "." || segment == "..") {
            return invalid(format!(
                "the endpoint {endpoint:?} has a path that servers read in different ways"
            ));
        }
        Ok(Some(format!("{scheme}://{authority}{path}")))
    }
}

/// A client of the store, named as in `ferry.yaml`. Follows the credential reference once; asks nothing of the store.
///
/// # Errors
///
/// `InvalidInput` for a configuration that cannot be meant, `Configuration` for credentials that cannot be had.
pub async fn connect(name: &str, config: &StoreConfig) -> Result<S3Account> {
    let config = &config.clone().or_ambient(|variable| std::env::var(variable).ok());
    let mut setup = setup(name, config).await.map_err(|error| error.at_store(name))?;
    setup.credentials = credentials::provider(&config.credentials, &setup.region)
        .await
        .map_err(|error| error.at_store(name))?;
    Ok(setup.build())
}

/// The same with keys at hand, whatever the configuration refers to: for servers that this process has started itself.
pub async fn connect_with(name: &str, config: &StoreConfig, keys: Credentials) -> Result<S3Account> {
    let mut setup = setup(name, config).await.map_err(|error| error.at_store(name))?;
    setup.credentials = Some(SharedCredentialsProvider::new(aws_credential_types::Credentials::from(keys)));
    Ok(setup.build())
}

/// Everything but credentials.
async fn setup(name: &str, config: &StoreConfig) -> Result<AccountSetup> {
    let profile = config.profile()?;
    let endpoint = config.endpoint_url()?;
    let region = region(config, &profile, endpoint.as_deref()).await?;
    let client = config.client(|variable| std::env::var(variable).ok())?;
    let customer_key = match &config.customer_key {
        Some(reference) => Some(CustomerKey::resolve(reference).await?),
        None => None,
    };
    let payer = if config.requester_pays { Payer::Requester } else { Payer::Owner };
    Ok(AccountSetup {
        customer_key,
        payer,
        name: name.to_owned(),
        endpoint,
        region,
        reference: config.credentials.clone(),
        credentials: None,
        profile,
        client,
    })
}

fn host(endpoint: &str) -> Option<String> {
    let url: http::Uri = endpoint.parse().ok()?;
    url.host().map(ToOwned::to_owned)
}

async fn region(config: &StoreConfig, profile: &Profile, endpoint: Option<&str>) -> Result<String> {
    let host = endpoint.and_then(host);
    let mut given = config.region.clone().filter(|region| !region.is_empty());
    if given.is_none() && config.provider() == "aws" && endpoint.is_none() {
        let mut chain = DefaultRegionChain::builder();
        if let CredentialRef::Profile(profile) = &config.credentials {
            chain = chain.profile_name(profile);
        }
        given = chain.build().region().await.map(|region| region.to_string());
    }
    profile.region.resolve(given.as_deref(), host.as_deref()).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidInput,
            format!(
                "a store of provider {} at this endpoint needs a `region`: it is part of every signature",
                config.provider()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(yaml: &str) -> StoreConfig {
        serde_saphyr::from_str(yaml).expect("configuration")
    }

    #[test]
    fn a_store_is_described_in_a_few_lines() {
        let store = config(
            "provider: aliyun-oss\nendpoint: https://s3.oss-cn-hangzhou.aliyuncs.com/\ncredentials: env:OSS\n\
             profile: {capabilities: {tags: 'yes'}}\n",
        );
        assert_eq!(store.credentials, CredentialRef::Env("OSS".into()));
        assert_eq!(
            store.endpoint_url().expect("url").as_deref(),
            Some("https://s3.oss-cn-hangzhou.aliyuncs.com")
        );
        assert_eq!(store.profile().expect("profile").addressing, Addressing::Virtual);
        let json = serde_json::to_string(&store).expect("json");
        assert_eq!(serde_json::from_str::<StoreConfig>(&json).expect("back"), store);
    }

    #[test]
    fn the_provider_is_amazon_without_an_endpoint_and_unknown_with_one() {
        assert_eq!(config("{}").provider(), "aws");
        assert_eq!(config("endpoint: http://127.0.0.1:9000").provider(), "other");
    }

    #[test]
    fn a_store_that_says_nothing_follows_the_environment_of_the_aws_tools() {
        let variable = |name: &str| (name == "AWS_ENDPOINT_URL").then(|| "http://127.0.0.1:4566".to_owned());
        let ambient = config("{}").or_ambient(variable);
        assert_eq!(
            (ambient.endpoint.as_deref(), ambient.provider()),
            (Some("http://127.0.0.1:4566"), "other")
        );
        assert_eq!(config("provider: aws").or_ambient(variable).endpoint, None);
        assert_eq!(config("endpoint: http://h").or_ambient(variable).endpoint.as_deref(), Some("http://h"));
    }

    #[test]
    fn a_store_names_its_client_before_the_environment_does() {
        let client = |yaml: &str, variable: Option<&str>| {
            config(yaml)
                .client(|name| (name == "FERRY_CLIENT").then(|| variable.map(str::to_owned)).flatten())
        };
        for (yaml, variable, expected) in [
            ("{}", None, ClientKind::Lean),
            ("{}", Some(""), ClientKind::Lean),
            ("{}", Some("lean"), ClientKind::Lean),
            ("{}", Some("sdk"), ClientKind::Sdk),
            ("client: lean", Some("sdk"), ClientKind::Lean),
            ("client: sdk", None, ClientKind::Sdk),
            ("client: sdk", Some("nonsense"), ClientKind::Sdk),
        ] {
            assert_eq!(client(yaml, variable).expect("a client"), expected, "{yaml}, {variable:?}");
        }
        let error = client("{}", Some("SDK")).expect_err("a word of another case");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("lean or sdk"), "{error}");
        assert!(serde_saphyr::from_str::<StoreConfig>("client: fast").is_err());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_reason() {
        for (yaml, reason) in [
            ("provider: minio", "needs an `endpoint`"),
            ("provider: mino", "known are"),
            ("endpoint: example.com", "must begin with"),
            ("endpoint: ftp://example.com", "must begin with"),
            ("endpoint: https://a:b@example.com", "user name or password"),
            ("endpoint: https://example.com/?x", "no query"),
            ("endpoint: https://example.com/a/../b", "different ways"),
            ("endpoint: http://127.0.0.1:9000\naddressing: virtual", "set `addressing: path`"),
            ("endpoint: http://[::1]:9000\nprovider: aliyun-oss", "set `addressing: path`"),
        ] {
            let error = config(yaml).validate().expect_err(yaml);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{yaml}");
            assert!(error.to_string().contains(reason), "{yaml}: {error}");
        }
    }

    #[test]
    fn a_misspelt_field_is_refused_with_its_place() {
        let error =
            serde_saphyr::from_str::<StoreConfig>("provider: aws\nregoin: x\n").expect_err("misspelt");
        let text = error.to_string();
        assert!(text.contains("regoin") && text.contains("line 2"), "{text}");
    }

    #[tokio::test]
    async fn connecting_asks_nobody_and_names_the_store_in_what_is_wrong() {
        let account = connect("lab", &config("endpoint: http://127.0.0.1:1\ncredentials: anonymous"))
            .await
            .expect("account");
        assert_eq!(account.name(), "lab");
        let error = connect(
            "oss",
            &config("provider: aliyun-oss\nendpoint: https://files.example.com\ncredentials: anonymous"),
        )
        .await
        .expect_err("no region");
        assert!(
            error.to_string().starts_with("store oss: ") && error.to_string().contains("`region`"),
            "{error}"
        );
    }
}
