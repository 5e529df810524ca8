//! Signature Version 4 with the day's key kept.
//!
//! Owns: the canonical request, the `Authorization` header and when credentials are asked for again. Does not own: HMAC and key
//! derivation, which are `aws-sigv4`'s. Source: AWS, "Signature Version 4 for API requests". The SDK's signer gives the same
//! signatures, which a test holds us to; it derives the key anew for every request.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::credentials::are_same;

/// The payload is not part of the signature: another check guards it, or TLS.
pub(super) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// The payload is framed and its checksum follows it.
pub(super) const UNSIGNED_PAYLOAD_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
/// SHA-256 of nothing.
const EMPTY_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What there is to sign of a request.
#[derive(Debug)]
pub(super) struct Signable<'a> {
    pub(super) method: &'a str,
    /// As it is sent, percent-encoded.
    pub(super) path: &'a str,
    /// As it is sent: sorted by name, percent-encoded, every name with its `=`.
    pub(super) query: &'a str,
    /// Names in lower case, each once; without those of the signature.
    pub(super) headers: Vec<(Cow<'static, str>, Cow<'a, str>)>,
    pub(super) payload_sha256: Cow<'static, str>,
}

/// The payload hash of bytes in memory.
pub(super) fn payload_sha256(bytes: &[u8]) -> Cow<'static, str> {
    if bytes.is_empty() { EMPTY_PAYLOAD.into() } else { hex(&Sha256::digest(bytes)).into() }
}

/// Signs for one region with the credentials of the moment: their provider, the store's keyring, knows which those are.
#[derive(Debug)]
pub(super) struct Signer {
    provider: SharedCredentialsProvider,
    region: String,
    current: Mutex<Option<Arc<Key>>>,
}

/// Credentials and the key derived from them for one day.
struct Key {
    credentials: Credentials,
    /// `20130524/us-east-1/s3/aws4_request`
    scope: String,
    secret: Vec<u8>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Signer {
    pub(super) fn new(provider: SharedCredentialsProvider, region: String) -> Self {
        Self { provider, region, current: Mutex::default() }
    }

    /// Adds the headers of a signature made at `now`.
    pub(super) async fn sign(
        &self,
        request: &mut Signable<'_>,
        now: OffsetDateTime,
    ) -> Result<(), CredentialsError> {
        let key = self.key(now).await?;
        key.sign(request, now);
        Ok(())
    }

    async fn key(&self, now: OffsetDateTime) -> Result<Arc<Key>, CredentialsError> {
        let credentials = self.provider.provide_credentials().await?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match current.as_ref() {
            Some(key) if key.is_of_day(now) && are_same(&key.credentials, &credentials) => {
                Ok(Arc::clone(key))
            }
            _ => {
                let key = Arc::new(Key::derive(credentials, &self.region, now));
                *current = Some(Arc::clone(&key));
                Ok(key)
            }
        }
    }
}

impl Key {
    fn derive(credentials: Credentials, region: &str, now: OffsetDateTime) -> Self {
        let secret = generate_signing_key(credentials.secret_access_key(), now.into(), region, "s3");
        Self {
            secret: secret.as_ref().to_vec(),
            scope: format!("{}/{region}/s3/aws4_request", &timestamp(now)[..8]),
            credentials,
        }
    }

    fn is_of_day(&self, now: OffsetDateTime) -> bool {
        self.scope.as_bytes()[..8] == timestamp(now).as_bytes()[..8]
    }

    fn sign(&self, request: &mut Signable<'_>, now: OffsetDateTime) {
        let timestamp = timestamp(now);
        let headers = &mut request.headers;
        headers.push(("x-amz-date".into(), timestamp.clone().into()));
        headers.push(("x-amz-content-sha256".into(), request.payload_sha256.clone()));
        if let Some(token) = self.credentials.session_token() {
            headers.push(("x-amz-security-token".into(), token.to_owned().into()));
        }
        headers.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));

        let mut signed = String::with_capacity(128);
        let mut canonical = String::with_capacity(1024);
        for piece in [request.method, "\n", request.path, "\n", request.query, "\n"] {
            canonical.push_str(piece);
        }
        for (name, value) in headers.iter() {
            canonical.push_str(name);
            canonical.push(':');
            push_folded(&mut canonical, value);
            canonical.push('\n');
            if !signed.is_empty() {
                signed.push(';');
            }
            signed.push_str(name);
        }
        for piece in ["\n", &signed, "\n", &request.payload_sha256] {
            canonical.push_str(piece);
        }

        let Self { scope, secret, credentials, .. } = self;
        let hashed = hex(&Sha256::digest(&canonical));
        let to_sign = format!("AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{hashed}");
        let signature = calculate_signature(secret, to_sign.as_bytes());
        let id = credentials.access_key_id();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}"
        );
        headers.push(("authorization".into(), authorization.into()));
    }
}

/// A header's value as it is signed: without white space around it, and one space for several inside it.
fn push_folded(canonical: &mut String, value: &str) {
    let value = value.trim_matches(' ');
    if !value.contains("  ") {
        canonical.push_str(value);
        return;
    }
    let mut after_space = false;
    for character in value.chars() {
        if character != ' ' || !after_space {
            canonical.push(character);
        }
        after_space = character == ' ';
    }
}

/// `20130524T000000Z`
fn timestamp(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests;
