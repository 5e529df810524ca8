//! Building a store's SDK client.
//!
//! Owns: every setting of the client in one place. Retries are off: the engine owns them, since it alone can re-open a source for a
//! second attempt, and two owners multiply.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::config::endpoint::DefaultResolver;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    Builder, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider, StalledStreamProtectionConfig,
};

use super::endpoint::OwnEndpoint;
use super::lean::LeanAccount;
use super::list_choice::ListChoice;
use super::{Account, Payer, S3Account};
use crate::credentials::{CredentialRef, Keyring};
use crate::customer_key::CustomerKey;
use crate::http_client;
use crate::profile::{Posture, Profile};
use crate::store_config::ClientKind;

/// How long a download may deliver nothing before it is given up. Longer than the SDK's 5 s: links across borders stall for
/// that long and recover.
const STALL_GRACE: Duration = Duration::from_secs(20);

/// Everything one store's client is made of.
#[derive(Debug, Clone)]
pub(crate) struct AccountSetup {
    /// The store's name in `ferry.yaml`.
    pub(crate) name: String,
    /// The validated endpoint; `None` is Amazon's own for the region.
    pub(crate) endpoint: Option<String>,
    /// The region that signs.
    pub(crate) region: String,
    /// Where the credentials come from.
    pub(crate) reference: CredentialRef,
    /// The key that encrypts what the store holds, where the customer keeps it.
    pub(crate) customer_key: Option<CustomerKey>,
    /// Who pays for requests.
    pub(crate) payer: Payer,
    /// `None` sends unsigned requests.
    pub(crate) credentials: Option<SharedCredentialsProvider>,
    /// Overrides included.
    pub(crate) profile: Profile,
    /// What carries the requests that every object costs.
    pub(crate) client: ClientKind,
}

impl AccountSetup {
    /// Builds the client. Sends nothing.
    pub(crate) fn build(self) -> S3Account {
        self.build_listing(ListChoice::profiles())
    }

    pub(super) fn build_listing(self, list_choice: ListChoice) -> S3Account {
        let setup = self.clone();
        let mut config = Builder::new()
            .behavior_version(http_client::behavior_version())
            .http_client(http_client::shared())
            .region(Region::new(self.region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(http_client::timeouts())
            // The keyring is the cache: the SDK's own cannot be told that its keys are refused.
            .identity_cache(IdentityCache::no_cache())
            // Uploads are limited as a whole, by size. A stalled source must not be blamed on the destination.
            .stalled_stream_protection(
                StalledStreamProtectionConfig::enabled()
                    .upload_enabled(false)
                    .grace_period(STALL_GRACE)
                    .build(),
            );
        config = match self.profile.posture {
            Posture::Aws => config
                .request_checksum_calculation(RequestChecksumCalculation::WhenSupported)
                .response_checksum_validation(ResponseChecksumValidation::WhenSupported),
            Posture::Compatible => config
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired),
        };
        let keyring = self.credentials.map(|source| Arc::new(Keyring::new(source)));
        let signer =
            keyring.as_ref().map(|keyring| SharedCredentialsProvider::new(Keyring::provider(keyring)));
        config = match signer.clone() {
            Some(signer) => config.credentials_provider(signer),
            None => config.allow_no_auth(),
        };
        let (endpoint, lean) = if let Some(url) = self.endpoint {
            let rules = OwnEndpoint::new(&url, self.profile.addressing, self.region.clone());
            config = config.endpoint_resolver(rules.clone());
            (url, LeanAccount::new(rules, self.region, signer))
        } else {
            let amazon = format!("Amazon S3 in {}", self.region);
            (amazon, LeanAccount::new(DefaultResolver::new(), self.region, signer))
        };
        S3Account(Arc::new(Account {
            name: self.name,
            endpoint,
            client: aws_sdk_s3::Client::from_conf(config.build()),
            lean: (self.client == ClientKind::Lean).then_some(lean),
            list_choice,
            keyring,
            setup,
        }))
    }
}
