//! Who is let in.

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

/// The one access key the server knows.
pub(super) struct KnownKey {
    access_key_id: String,
    secret_access_key: SecretKey,
}

impl KnownKey {
    pub(super) fn new(access_key_id: &str, secret_access_key: &str) -> Self {
        Self {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: SecretKey::from(secret_access_key),
        }
    }
}

#[async_trait::async_trait]
impl S3Auth for KnownKey {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.access_key_id {
            Ok(self.secret_access_key.clone())
        } else {
            Err(s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            ))
        }
    }
}

/// Lets every request in.
#[derive(Debug)]
pub(super) struct OpenToAll;

#[async_trait::async_trait]
impl S3Access for OpenToAll {
    async fn check(&self, _context: &mut S3AccessContext<'_>) -> S3Result<()> {
        Ok(())
    }
}
