//! The keys one store's requests are signed with, and their renewal.
//!
//! Owns: when credentials are looked up: at first use, before they end, every 15 minutes where they have no end, and when a store
//! refuses them. In place of the SDK's own cache, which cannot be told that its keys are refused. Does not own: where they
//! come from. Invariant: requests that need keys at one moment share one lookup.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{
    ProvideCredentials, Result as Provided, SharedCredentialsProvider, future,
};
use ferry_transfer::store::renewing::{Lookup, Refusal, Renewable};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::RESOLVE_TIMEOUT;

/// Keys are looked up this long before they end, so that no request is signed with keys that end on its way. The SDK's value.
const MARGIN: Duration = Duration::from_secs(10);
/// Keys that have no end are looked up this often, as the SDK does.
const BELIEVED: Duration = Duration::from_mins(15);
/// What is refused without a reason is looked up no more often than this: mostly it is no matter of keys.
const DOUBT: Duration = Duration::from_mins(1);

/// The keys of one store. See the module.
pub(crate) struct Keyring {
    source: SharedCredentialsProvider,
    held: RwLock<Option<Held>>,
    looking: Mutex<Doubts>,
}

/// Keys and where they stand.
#[derive(Clone)]
struct Held {
    keys: Credentials,
    lookup: Lookup,
    since: Instant,
}

/// When something was last renewed on suspicion.
#[derive(Debug, Default)]
struct Doubts {
    keys: Option<Instant>,
    time: Option<Instant>,
}

impl Keyring {
    pub(crate) fn new(source: SharedCredentialsProvider) -> Self {
        Self { source, held: RwLock::default(), looking: Mutex::default() }
    }

    /// Itself, as the SDK asks for keys.
    pub(crate) fn provider(this: &Arc<Self>) -> Arc<dyn ProvideCredentials> {
        Arc::clone(this) as _
    }

    fn held(&self) -> Option<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn keys(&self) -> Provided {
        if let Some(held) = self.held().filter(Held::is_fresh) {
            return Ok(held.keys);
        }
        let _looking = self.looking.lock().await;
        match self.held().filter(Held::is_fresh) {
            // Somebody else has looked in the meantime.
            Some(held) => Ok(held.keys),
            None => self.look_up().await.map(|held| held.keys),
        }
    }

    /// Asks the source and keeps what it says. The lookup counts up when the keys are others.
    async fn look_up(&self) -> Result<Held, CredentialsError> {
        let keys = tokio::time::timeout(RESOLVE_TIMEOUT, self.source.provide_credentials())
            .await
            .map_err(|_elapsed| CredentialsError::provider_timed_out(RESOLVE_TIMEOUT))??;
        let lookup = match self.held() {
            None => Lookup::default(),
            Some(before) if are_same(&before.keys, &keys) => before.lookup,
            Some(before) => Lookup(before.lookup.0 + 1),
        };
        let held = Held { keys, lookup, since: Instant::now() };
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(held.clone());
        Ok(held)
    }
}

impl Held {
    fn is_fresh(&self) -> bool {
        let ends = self.keys.expiry();
        self.since.elapsed() < BELIEVED && ends.is_none_or(|end| end > now() + MARGIN)
    }
}

fn now() -> SystemTime {
    ferry_transfer::Clock::now(&ferry_transfer::SystemClock).into()
}

/// Whether they sign alike.
pub(crate) fn are_same(one: &Credentials, other: &Credentials) -> bool {
    one.access_key_id() == other.access_key_id()
        && one.secret_access_key() == other.secret_access_key()
        && one.session_token() == other.session_token()
}

fn is_recent(moment: Option<Instant>) -> bool {
    moment.is_some_and(|moment| moment.elapsed() < DOUBT)
}

#[async_trait]
impl Renewable for Keyring {
    fn lookup(&self) -> Lookup {
        self.held().map_or_else(Lookup::default, |held| held.lookup)
    }

    async fn renew(&self, used: Lookup, refusal: Refusal) -> bool {
        let mut doubts = self.looking.lock().await;
        if self.lookup() > used {
            return true;
        }
        match refusal {
            Refusal::Keys => {}
            Refusal::PerhapsKeys if is_recent(doubts.keys) => return false,
            Refusal::PerhapsKeys => doubts.keys = Some(Instant::now()),
            // The same keys sign at another time: worth one more attempt, and a clock that is wrong stays wrong.
            Refusal::Time => return !is_recent(doubts.time.replace(Instant::now())),
        }
        match self.look_up().await {
            Ok(held) => held.lookup > used,
            Err(error) => {
                tracing::warn!(error = %ferry_transfer::chain(&error), "credentials were refused and cannot be looked up again");
                false
            }
        }
    }
}

impl ProvideCredentials for Keyring {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.keys())
    }
}

/// Without the keys.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("lookup", &self.lookup()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    /// Hands out keys that change after so many lookups.
    #[derive(Debug, Clone, Default)]
    struct Source {
        lookups: Arc<AtomicU64>,
        rotated_at: u64,
        ends: Option<SystemTime>,
    }

    impl ProvideCredentials for Source {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let is_rotated = self.lookups.fetch_add(1, Relaxed) + 1 >= self.rotated_at;
            let name = if is_rotated { "new" } else { "old" };
            future::ProvideCredentials::ready(Ok(Credentials::new(name, name, None, self.ends, "test")))
        }
    }

    fn keyring(source: &Source) -> Keyring {
        Keyring::new(SharedCredentialsProvider::new(source.clone()))
    }

    async fn key(keyring: &Keyring) -> String {
        keyring.provide_credentials().await.expect("keys").access_key_id().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn refused_keys_are_looked_up_once_for_all_who_used_them() {
        let source = Source { rotated_at: 2, ..Source::default() };
        let keyring = keyring(&source);
        assert_eq!(key(&keyring).await, "old");
        let used = keyring.lookup();
        for _ in 0..100 {
            assert!(keyring.renew(used, Refusal::Keys).await);
        }
        assert_eq!((key(&keyring).await.as_str(), source.lookups.load(Relaxed)), ("new", 2));
        // The new ones are refused as well: looked up once more, and final.
        assert!(!keyring.renew(keyring.lookup(), Refusal::Keys).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_be_no_matter_of_keys_is_looked_up_once_a_minute() {
        let source = Source { rotated_at: 99, ..Source::default() };
        let keyring = keyring(&source);
        key(&keyring).await;
        for _ in 0..50 {
            assert!(!keyring.renew(keyring.lookup(), Refusal::PerhapsKeys).await);
        }
        assert_eq!(source.lookups.load(Relaxed), 2);
        tokio::time::advance(DOUBT).await;
        keyring.renew(keyring.lookup(), Refusal::PerhapsKeys).await;
        assert_eq!(source.lookups.load(Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_signature_out_of_its_time_is_made_once_more() {
        let keyring = keyring(&Source::default());
        key(&keyring).await;
        assert!(keyring.renew(keyring.lookup(), Refusal::Time).await);
        assert!(!keyring.renew(keyring.lookup(), Refusal::Time).await);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_kept_until_they_are_old_or_about_to_end() {
        let source = Source::default();
        let keyring = keyring(&source);
        for _ in 0..10 {
            key(&keyring).await;
        }
        assert_eq!(source.lookups.load(Relaxed), 1);
        tokio::time::advance(BELIEVED).await;
        key(&keyring).await;
        assert_eq!(source.lookups.load(Relaxed), 2);
        let ending = Source { ends: Some(now() + MARGIN), ..Source::default() };
        let keyring = self::keyring(&ending);
        key(&keyring).await;
        key(&keyring).await;
        assert_eq!(ending.lookups.load(Relaxed), 2);
    }
}
