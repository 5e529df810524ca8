//! What the steps see of a store.

use async_trait::async_trait;
use ferry_transfer::{SharedStore, StoreName};

use crate::S3Bucket;
use crate::profile::Profile;
use crate::s3::Greeting;

/// A bucket that can be asked under several profiles.
#[async_trait]
pub trait Subject: Send + Sync + std::fmt::Debug {
    /// Which bucket it is.
    fn name(&self) -> &StoreName;

    /// Where it is.
    fn endpoint(&self) -> &str;

    /// The region that signs.
    fn region(&self) -> &str;

    /// What is believed of it.
    fn profile(&self) -> &Profile;

    /// The bucket as a store of this profile.
    fn under(&self, profile: Profile) -> SharedStore;

    /// The first words.
    async fn greet(&self) -> Greeting;
}

#[async_trait]
impl Subject for S3Bucket {
    fn name(&self) -> &StoreName {
        ferry_transfer::ObjectStore::name(self)
    }

    fn endpoint(&self) -> &str {
        self.account().endpoint()
    }

    fn region(&self) -> &str {
        self.account().region()
    }

    fn profile(&self) -> &Profile {
        self.account().profile()
    }

    fn under(&self, profile: Profile) -> SharedStore {
        std::sync::Arc::new(self.account().under(profile).bucket(&Subject::name(self).bucket))
    }

    async fn greet(&self) -> Greeting {
        Self::greet(self).await
    }
}
