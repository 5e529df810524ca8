//! Who may send, by the secret of now.
//!
//! Owns: asking for the secret again when a signature does not match. Does not own: signatures ([`Authenticator`]), nor how often a secret is
//! looked up ([`PeerKeys`]).

use ferry_cloud::credentials::PeerKeys;
use ferry_cloud::{CredentialRef, Credentials};
use ferry_transfer::{Error, ErrorKind, Result};

use crate::auth::{Authenticator, Presented, Secret, Unauthenticated};
use crate::settings::Authentication;

/// Those who may send.
#[derive(Debug, Clone)]
pub struct Senders(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Fixed(Authenticator),
    /// Whoever has the secret half of the key, which may be rotated.
    Keys(PeerKeys, fn(Secret) -> Authenticator),
}

/// These, for good.
impl From<Authenticator> for Senders {
    fn from(authenticator: Authenticator) -> Self {
        Self(Kind::Fixed(authenticator))
    }
}

impl Senders {
    /// As the function was told. `Configuration` where the secret cannot be had.
    pub(crate) async fn of(authentication: Authentication, secret: Option<CredentialRef>) -> Result<Self> {
        let way = match (authentication, &secret) {
            (Authentication::Host, _) => return Ok(Authenticator::HostDecides.into()),
            (Authentication::Named, _) | (_, None) => return Ok(Authenticator::Nobody.into()),
            (Authentication::SignatureOrBearer, _) => Authenticator::SignatureOrBearer,
            (Authentication::Signature, _) => Authenticator::Signature as fn(Secret) -> Authenticator,
        };
        let unusable = || {
            let message = "FERRY_EVENT_SECRET points at no secret: it is env:, file:, ssm: or command:";
            Error::new(ErrorKind::Configuration, message)
        };
        let keys = PeerKeys::look_up(secret.into_iter().collect()).await;
        let keys = keys.map_err(|error| unusable().caused_by(error))?;
        if secret_of(&keys.now().await).is_none() {
            return Err(unusable());
        }
        Ok(Self(Kind::Keys(keys, way)))
    }

    /// Whether nobody could show anything that would do.
    pub(crate) fn is_nobody(&self) -> bool {
        matches!(self.0, Kind::Fixed(Authenticator::Nobody))
    }

    /// Lets the body in or says why not.
    pub(crate) async fn check(
        &self,
        presented: &Presented<'_>,
        body: &[u8],
        now_secs: i64,
    ) -> Result<(), Unauthenticated> {
        let (keys, way) = match &self.0 {
            Kind::Fixed(authenticator) => return authenticator.check(presented, body, now_secs),
            Kind::Keys(keys, way) => (keys, way),
        };
        let known = keys.now().await;
        let by = |keys: &[Credentials]| {
            let authenticator = secret_of(keys).map_or(Authenticator::Nobody, way);
            authenticator.check(presented, body, now_secs)
        };
        match by(&known) {
            Err(Unauthenticated::Mismatch) if keys.differ(&known).await => by(&keys.now().await),
            checked => checked,
        }
    }
}

fn secret_of(keys: &[Credentials]) -> Option<Secret> {
    keys.first().and_then(|keys| Secret::new(keys.secret_access_key.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::sign;

    const NOW: i64 = 1_800_000_000;

    async fn is_let_in(senders: &Senders, secret: &str) -> bool {
        let signature = sign(&Secret::new(secret).expect("a secret"), NOW, b"body");
        let presented = Presented { signature: Some(&signature), ..Presented::default() };
        senders.check(&presented, b"body", NOW).await.is_ok()
    }

    #[tokio::test]
    async fn a_rotated_secret_is_taken_and_the_old_one_no_more() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), "id old").expect("written");
        let reference = CredentialRef::File(file.path().into());
        let senders = Senders::of(Authentication::Signature, Some(reference)).await.expect("senders");
        assert!(is_let_in(&senders, "old").await);
        std::fs::write(file.path(), "id new").expect("written");
        assert!(is_let_in(&senders, "new").await);
        assert!(!is_let_in(&senders, "old").await && !is_let_in(&senders, "guess").await);
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_had_is_told_at_the_start() {
        let nowhere = CredentialRef::File("/nowhere".into());
        let error = Senders::of(Authentication::Signature, Some(nowhere)).await.expect_err("no secret");
        assert!(error.chain().contains("FERRY_EVENT_SECRET"), "{}", error.chain());
        let nobody = Senders::of(Authentication::Named, None).await.expect("nobody");
        assert!(nobody.is_nobody());
    }
}
