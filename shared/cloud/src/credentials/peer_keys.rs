//! Keys that others sign their requests with.
//!
//! Owns: when they are looked up: at the start, every 15 minutes, and when a signature does not match, so that whoever rotates a key deploys
//! nothing. Does not own: what a signature is. Invariants: strangers with wrong signatures cause one lookup a minute at most; as long as a
//! reference cannot be followed, the keys stay what they were.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ferry_transfer::{Error, ErrorKind, Result};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{CredentialRef, Credentials};

/// How long keys are believed, as those that sign ([`super::keyring`]): one that was withdrawn opens nothing for longer.
const BELIEVED: Duration = Duration::from_mins(15);
/// What does not match is a reason to look so often.
const DOUBT: Duration = Duration::from_mins(1);

/// Keys, in the order of their references. See the module.
#[derive(Clone)]
pub struct PeerKeys(Arc<Inner>);

struct Inner {
    references: Vec<CredentialRef>,
    held: RwLock<Held>,
    doubted: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Held {
    keys: Arc<[Credentials]>,
    since: Instant,
}

impl PeerKeys {
    /// These, for good.
    pub fn fixed(keys: impl IntoIterator<Item = Credentials>) -> Self {
        Self::holding(Vec::new(), keys.into_iter().collect())
    }

    /// Those that the references point at. `Configuration`, naming it, for one that points at nothing.
    pub async fn look_up(references: Vec<CredentialRef>) -> Result<Self> {
        let keys = follow(&references).await?;
        Ok(Self::holding(references, keys))
    }

    fn holding(references: Vec<CredentialRef>, keys: Arc<[Credentials]>) -> Self {
        let held = RwLock::new(Held { keys, since: Instant::now() });
        Self(Arc::new(Inner { references, held, doubted: Mutex::default() }))
    }

    /// The keys of now.
    pub async fn now(&self) -> Arc<[Credentials]> {
        let held = self.held();
        if self.0.references.is_empty() || held.since.elapsed() < BELIEVED {
            return held.keys;
        }
        let _looking = self.0.doubted.lock().await;
        // Somebody else may have looked in the meantime.
        if self.held().since.elapsed() >= BELIEVED {
            self.look().await;
        }
        self.held().keys
    }

    /// Whether there are others than those that a signature did not match.
    pub async fn differ(&self, used: &Arc<[Credentials]>) -> bool {
        if self.0.references.is_empty() {
            return false;
        }
        let mut doubted = self.0.doubted.lock().await;
        if self.held().keys != *used {
            return true;
        }
        if doubted.is_some_and(|moment| moment.elapsed() < DOUBT) {
            return false;
        }
        *doubted = Some(Instant::now());
        self.look().await;
        self.held().keys != *used
    }

    async fn look(&self) {
        let found = follow(&self.0.references).await;
        let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(keys) => *held = Held { keys, since: Instant::now() },
            Err(error) => {
                tracing::warn!(error = %error.chain(), "going on with the senders' keys as they were");
                held.since = Instant::now();
            }
        }
    }

    fn held(&self) -> Held {
        self.0.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn follow(references: &[CredentialRef]) -> Result<Arc<[Credentials]>> {
    let mut keys = Vec::with_capacity(references.len());
    for reference in references {
        keys.push(reference.resolve().await?.ok_or_else(|| {
            let message = format!("credentials {reference} are no keys that a request could be signed with");
            Error::new(ErrorKind::Configuration, message)
        })?);
    }
    Ok(keys.into())
}

/// Nobody's.
impl Default for PeerKeys {
    fn default() -> Self {
        Self::fixed([])
    }
}

/// Without the keys.
impl fmt::Debug for PeerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerKeys").field("references", &self.0.references).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn secret(keys: &PeerKeys) -> String {
        keys.now().await[0].secret_access_key.clone()
    }

    async fn written(text: &str) -> (tempfile::NamedTempFile, PeerKeys) {
        let file = tempfile::NamedTempFile::new().expect("file");
        fs::write(file.path(), text).expect("written");
        let keys = PeerKeys::look_up(vec![CredentialRef::File(file.path().into())]).await.expect("keys");
        (file, keys)
    }

    #[tokio::test(start_paused = true)]
    async fn a_rotated_key_is_found_when_a_signature_does_not_match() {
        let (file, keys) = written("id old").await;
        let used = keys.now().await;
        assert!(!keys.differ(&used).await, "nothing has changed");
        fs::write(file.path(), "id new").expect("written");
        assert!(!keys.differ(&used).await, "looked up within the minute");
        tokio::time::advance(DOUBT).await;
        assert!(keys.differ(&used).await && secret(&keys).await == "new");
        assert!(keys.differ(&used).await, "for whoever still holds the old ones");
        assert!(!keys.differ(&keys.now().await).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_was_withdrawn_ends_in_time_and_an_outage_ends_none() {
        let (file, keys) = written("id old").await;
        fs::write(file.path(), "id new").expect("written");
        assert_eq!(secret(&keys).await, "old");
        tokio::time::advance(BELIEVED).await;
        assert_eq!(secret(&keys).await, "new");
        fs::remove_file(file.path()).expect("removed");
        tokio::time::advance(BELIEVED).await;
        assert_eq!(secret(&keys).await, "new");
        let used = keys.now().await;
        assert!(!keys.differ(&used).await);
    }

    #[tokio::test]
    async fn what_points_at_no_keys_is_named() {
        let error = PeerKeys::look_up(vec![CredentialRef::Anonymous]).await.expect_err("no keys");
        assert!(error.to_string().contains("anonymous"), "{error}");
        assert!(PeerKeys::default().now().await.is_empty());
    }
}
