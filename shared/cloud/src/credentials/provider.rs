//! Credential references as the SDK asks for them.
//!
//! Owns: turning a reference into a credentials provider. References are followed again whenever the SDK's cache lets go (at the
//! stated end of the keys, else every 15 minutes), so rotated keys are picked up by a running process.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::config::Region;
use ferry_transfer::{Error, ErrorKind, Result};

use super::{CredentialRef, Credentials};
use crate::http_client;

/// The provider a client signs with; `None` for anonymous. References to keys are followed once now, so that a wrong one fails
/// here with its own message.
pub(crate) async fn provider(
    reference: &CredentialRef,
    region: &str,
) -> Result<Option<SharedCredentialsProvider>> {
    let ambient = || {
        ProviderConfig::without_region()
            .with_http_client(http_client::shared())
            .with_region(Some(Region::new(region.to_owned())))
    };
    match reference {
        CredentialRef::Anonymous => Ok(None),
        CredentialRef::Ambient => {
            let chain = DefaultCredentialsChain::builder().configure(ambient()).build().await;
            Ok(Some(SharedCredentialsProvider::new(chain)))
        }
        CredentialRef::Profile(name) => {
            let profile =
                ProfileFileCredentialsProvider::builder().configure(&ambient()).profile_name(name).build();
            // An unknown profile is a typing error: say so now.
            profile.provide_credentials().await.map_err(|error| {
                Error::new(
                    ErrorKind::Configuration,
                    format!("credentials {reference}: the profile gives no credentials"),
                )
                .caused_by(error)
            })?;
            Ok(Some(SharedCredentialsProvider::new(profile)))
        }
        CredentialRef::Env(_)
        | CredentialRef::File(_)
        | CredentialRef::Ssm(_)
        | CredentialRef::Command(_) => {
            let first = reference.resolve().await?;
            Ok(Some(SharedCredentialsProvider::new(Followed {
                reference: reference.clone(),
                first: Mutex::new(first),
            })))
        }
    }
}

/// Follows a reference each time it is asked.
#[derive(Debug)]
struct Followed {
    reference: CredentialRef,
    /// What was found when the store was connected, for the first request.
    first: Mutex<Option<Credentials>>,
}

impl Followed {
    async fn follow(&self) -> provider::Result {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keys) = first {
            return Ok(keys.into());
        }
        match self.reference.resolve().await {
            Ok(Some(keys)) => Ok(keys.into()),
            Ok(None) => Err(CredentialsError::not_loaded_no_source()),
            Err(error) => Err(CredentialsError::provider_error(error)),
        }
    }
}

impl ProvideCredentials for Followed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.follow())
    }
}

impl From<Credentials> for aws_credential_types::Credentials {
    fn from(keys: Credentials) -> Self {
        Self::new(
            keys.access_key_id,
            keys.secret_access_key,
            keys.session_token,
            keys.expires.map(SystemTime::from),
            "ferry",
        )
    }
}
