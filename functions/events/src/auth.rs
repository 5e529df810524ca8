//! Who may send notifications.
//!
//! Owns: the signature over time and body, the vendors' own that need no more than a shared secret, and their comparison in constant time.
//! Does not own: where the secret comes from. Invariant: without a match nothing of a body is read, and no secret is ever printed.
//!
//! A signature is the header `x-ferry-signature: t=SECONDS,v1=HEX`, HEX the HMAC-SHA256 of `SECONDS.BODY` under the secret, SECONDS Unix time
//! within five minutes of the receiver's. What is repeated within them does no harm: an event is a hint.

use std::fmt;
use std::time::Duration;

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The header of a signature.
pub const SIGNATURE_HEADER: &str = "x-ferry-signature";
/// What stands before a secret that is sent as it is.
pub const BEARER_SCHEME: &str = "Bearer ";
/// How old, or how far ahead, a signature may be.
pub const REPLAY_WINDOW: Duration = Duration::from_mins(5);

/// Decides who may send.
#[derive(Clone)]
pub enum Authenticator {
    /// Whoever reaches the listener: the host has let in only who may.
    HostDecides,
    /// Nobody but those whom the host names: there is no secret to sign with.
    Nobody,
    /// Whoever signs with the secret: `x-ferry-signature`, or Backblaze's `x-bz-event-notification-signature`.
    Signature(Secret),
    /// The same, and whoever sends the secret itself as a bearer token, since senders like `MinIO` can do no more.
    SignatureOrBearer(Secret),
}

/// A shared secret. Prints nothing of itself.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

/// What a request shows of its sender.
#[derive(Clone, Copy, Default)]
pub struct Presented<'a> {
    /// `x-ferry-signature`.
    pub signature: Option<&'a str>,
    /// `x-bz-event-notification-signature`.
    pub backblaze: Option<&'a str>,
    /// `authorization`.
    pub authorization: Option<&'a str>,
}

impl<'a> Presented<'a> {
    /// What these headers show.
    pub fn by(headers: &'a HeaderMap) -> Self {
        Self::of(|name| headers.get(name).and_then(|value| value.to_str().ok()))
    }

    /// What a host shows of a header by its name in small letters.
    pub(crate) fn of(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        Self {
            signature: header(SIGNATURE_HEADER),
            backblaze: header("x-bz-event-notification-signature"),
            authorization: header("authorization"),
        }
    }
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// It shows nothing.
    #[error("the request is not signed: send {SIGNATURE_HEADER}")]
    Unsigned,
    /// Nothing that it could show would do.
    #[error("nobody is let in: FERRY_EVENT_SECRET is not set")]
    NoSecret,
    /// It shows something that cannot be read.
    #[error("the signature is not of the form t=SECONDS,v1=HEX")]
    Malformed,
    /// Its time is not now.
    #[error("the signature's time is more than five minutes off")]
    Stale,
    /// The secret is another one, or the body.
    #[error("the signature does not match")]
    Mismatch,
}

impl Secret {
    /// Of any length but none.
    pub fn new(secret: impl Into<Vec<u8>>) -> Option<Self> {
        let secret = secret.into();
        (!secret.is_empty()).then_some(Self(secret))
    }

    fn mac(&self, pieces: &[&[u8]]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104)")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key");
        for piece in pieces {
            mac.update(piece);
        }
        mac
    }

    /// Both are hashed first, so that not even the length shows in the time it takes.
    fn is(&self, other: &[u8]) -> bool {
        let digest = self.mac(&[other]).finalize().into_bytes();
        self.mac(&[&self.0]).verify_slice(&digest).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostDecides => "HostDecides",
            Self::Nobody => "Nobody",
            Self::Signature(_) => "Signature(..)",
            Self::SignatureOrBearer(_) => "SignatureOrBearer(..)",
        })
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented(..)")
    }
}

impl Authenticator {
    /// Lets the body in or says why not.
    pub fn check(
        &self,
        presented: &Presented<'_>,
        body: &[u8],
        now_secs: i64,
    ) -> Result<(), Unauthenticated> {
        let (secret, takes_bearer) = match self {
            Self::HostDecides => return Ok(()),
            Self::Nobody => return Err(Unauthenticated::NoSecret),
            Self::Signature(secret) => (secret, false),
            Self::SignatureOrBearer(secret) => (secret, true),
        };
        let bearer = presented.authorization.and_then(|value| value.strip_prefix(BEARER_SCHEME));
        if let Some(signature) = presented.signature {
            let (time, digest) = timed(signature).ok_or(Unauthenticated::Malformed)?;
            let seconds: i64 = time.parse().map_err(|_| Unauthenticated::Malformed)?;
            if now_secs.abs_diff(seconds) > REPLAY_WINDOW.as_secs() {
                return Err(Unauthenticated::Stale);
            }
            verify(secret, &[time.as_bytes(), b".", body], digest)
        } else if let Some(signature) = presented.backblaze {
            verify(secret, &[body], signature.strip_prefix("v1=").ok_or(Unauthenticated::Malformed)?)
        } else if let Some(token) = bearer.filter(|_| takes_bearer) {
            if secret.is(token.trim().as_bytes()) { Ok(()) } else { Err(Unauthenticated::Mismatch) }
        } else {
            Err(Unauthenticated::Unsigned)
        }
    }
}

fn timed(signature: &str) -> Option<(&str, &str)> {
    let (mut time, mut digest) = (None, None);
    for field in signature.split(',') {
        match field.trim().split_once('=')? {
            ("t", value) => time = Some(value),
            ("v1", value) => digest = Some(value),
            _ => {}
        }
    }
    Some((time?, digest?))
}

fn verify(secret: &Secret, pieces: &[&[u8]], digest: &str) -> Result<(), Unauthenticated> {
    let digest = unhex(digest).ok_or(Unauthenticated::Malformed)?;
    secret.mac(pieces).verify_slice(&digest).map_err(|_| Unauthenticated::Mismatch)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// The value of [`SIGNATURE_HEADER`] for a body sent at this moment, in seconds of Unix time.
pub fn sign(secret: &Secret, now_secs: i64, body: &[u8]) -> String {
    let time = now_secs.to_string();
    let digest = secret.mac(&[time.as_bytes(), b".", body]).finalize().into_bytes();
    format!("t={time},v1={}", hex(&digest))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_773_469_295;

    fn secret() -> Secret {
        Secret::new("a secret").expect("a secret")
    }

    fn check(
        authenticator: &Authenticator,
        presented: Presented<'_>,
        body: &[u8],
    ) -> Result<(), Unauthenticated> {
        authenticator.check(&presented, body, NOW)
    }

    #[test]
    fn only_who_signs_this_body_at_this_time_with_this_secret_is_let_in() {
        let only = Authenticator::Signature(secret());
        let signed = |secret: &Secret, at: i64, body: &[u8]| {
            let signature = sign(secret, at, body);
            check(&only, Presented { signature: Some(&signature), ..Presented::default() }, b"body")
        };
        assert_eq!(signed(&secret(), NOW, b"body"), Ok(()));
        assert_eq!(signed(&secret(), NOW - 299, b"body"), Ok(()));
        assert_eq!(signed(&secret(), NOW + 301, b"body"), Err(Unauthenticated::Stale));
        assert_eq!(signed(&secret(), NOW - 301, b"body"), Err(Unauthenticated::Stale));
        assert_eq!(signed(&secret(), NOW, b"other"), Err(Unauthenticated::Mismatch));
        assert_eq!(
            signed(&Secret::new("another").expect("one"), NOW, b"body"),
            Err(Unauthenticated::Mismatch)
        );
        for signature in
            ["", "t=1", "v1=00", "t=x,v1=00", "t=1773469295,v1=0", "t=1773469295,v1=zz", "t=1773469295,v1=é"]
        {
            let presented = Presented { signature: Some(signature), ..Presented::default() };
            assert_eq!(check(&only, presented, b"body"), Err(Unauthenticated::Malformed), "{signature}");
        }
        assert_eq!(check(&only, Presented::default(), b"body"), Err(Unauthenticated::Unsigned));
    }

    #[test]
    fn the_signature_is_that_of_anybody_with_openssl() {
        // printf '1773469295.body' | openssl dgst -sha256 -hmac 'a secret'
        let known = "dffa5349979bbb9bd9de339a05d0f39d8d0f8367fb260319e6cbdd654bb73f19";
        assert_eq!(sign(&secret(), NOW, b"body"), format!("t={NOW},v1={known}"));
    }

    #[test]
    fn a_bearer_is_let_in_where_that_is_allowed() {
        let presented = |token| Presented { authorization: Some(token), ..Presented::default() };
        let both = Authenticator::SignatureOrBearer(secret());
        assert_eq!(check(&both, presented("Bearer a secret"), b""), Ok(()));
        assert_eq!(check(&both, presented("Bearer a secre"), b""), Err(Unauthenticated::Mismatch));
        assert_eq!(check(&both, presented("Basic a secret"), b""), Err(Unauthenticated::Unsigned));
        let only = Authenticator::Signature(secret());
        assert_eq!(check(&only, presented("Bearer a secret"), b""), Err(Unauthenticated::Unsigned));
    }

    #[test]
    fn backblaze_signs_the_body_alone() {
        let digest = secret().mac(&[b"body"]).finalize().into_bytes();
        let header = format!("v1={}", hex(&digest));
        let presented = Presented { backblaze: Some(&header), ..Presented::default() };
        let only = Authenticator::Signature(secret());
        assert_eq!(check(&only, presented, b"body"), Ok(()));
        assert_eq!(check(&only, presented, b"other"), Err(Unauthenticated::Mismatch));
    }

    #[test]
    fn no_secret_is_printed() {
        let shown = format!("{:?} {:?}", secret(), Authenticator::SignatureOrBearer(secret()));
        assert!(!shown.contains("a secret"), "{shown}");
    }
}
