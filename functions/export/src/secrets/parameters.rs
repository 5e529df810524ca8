//! Secrets as encrypted parameters of SSM.

use async_trait::async_trait;
use ferry_cloud::parameters::{Secrecy, SharedParameters};
use ferry_transfer::Result;
use ferry_transfer::state::StateName;

use super::{Secret, Secrets};

/// Keeps secrets as `SecureString` parameters under a path.
#[derive(Debug, Clone)]
pub struct ParameterSecrets {
    parameters: SharedParameters,
    path: String,
}

impl ParameterSecrets {
    /// Under a path that begins with a slash; one at its end is of no account.
    pub fn new(parameters: SharedParameters, path: &str) -> Self {
        Self { parameters, path: path.trim_end_matches('/').to_owned() }
    }

    fn name(&self, name: &StateName) -> String {
        format!("{}/{name}", self.path)
    }
}

#[async_trait]
impl Secrets for ParameterSecrets {
    async fn get(&self, name: &StateName) -> Result<Option<Secret>> {
        Ok(self.parameters.get(&self.name(name)).await?.map(Secret::new))
    }

    async fn put(&self, name: &StateName, secret: &Secret) -> Result<()> {
        self.parameters.put(&self.name(name), secret.reveal(), Secrecy::Secret).await.map(drop)
    }

    async fn put_if_absent(&self, name: &StateName, secret: Secret) -> Result<Secret> {
        if self.parameters.put_if_absent(&self.name(name), secret.reveal(), Secrecy::Secret).await? {
            return Ok(secret);
        }
        // Gone again meanwhile: what was to be kept is as good as any.
        Ok(self.get(name).await?.unwrap_or(secret))
    }

    async fn remove(&self, name: &StateName) -> Result<()> {
        self.parameters.remove(&self.name(name)).await.map(drop)
    }
}
