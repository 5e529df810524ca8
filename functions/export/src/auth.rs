//! Who sent a request.
//!
//! Owns: checking signatures of version 4, which today's clients send, and of version 2, which those of 2010 sent. Does not own: what a caller
//! may do; whoever holds one of the service's keys may do everything with its own jobs. Invariants: signatures are compared in constant time; a
//! request is good for a quarter of an hour; a body is signed, never `UNSIGNED-PAYLOAD`.
//!
//! Sources: AWS, "Create a signed AWS API request" (version 4) and "Signature Version 2 signing process". The scope's service is
//! `IngestionService`, as botocore's model of the service has it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferry_cloud::Credentials;
use ferry_cloud::credentials::PeerKeys;
use hmac::{Hmac, KeyInit as _, Mac};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::api::{ApiError, ErrorCode, Form, HttpRequest, encode};

/// How far the clocks of both sides may be apart.
const SKEW_MAX: Duration = Duration::minutes(15);
/// Names of the service in a scope: that of botocore's model, and the endpoint's own.
const SERVICES: [&str; 2] = ["IngestionService", "importexport"];

/// Whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Whoever holds this access key: its own jobs are all it sees.
    Key(String),
    /// Whoever holds the state itself, on its own machine: all jobs are its own.
    Holder,
}

impl Caller {
    /// The name that its jobs carry.
    pub fn name(&self) -> &str {
        match self {
            Self::Key(id) => id,
            Self::Holder => "local",
        }
    }

    /// Whether a job of that owner is one it sees.
    pub(crate) fn sees(&self, owner: &str) -> bool {
        *self == Self::Holder || self.name() == owner
    }
}

/// The keys that requests may be signed with.
#[derive(Debug, Clone, Default)]
pub struct Callers(PeerKeys);

impl FromIterator<Credentials> for Callers {
    fn from_iter<I: IntoIterator<Item = Credentials>>(keys: I) -> Self {
        Self(PeerKeys::fixed(keys))
    }
}

impl From<PeerKeys> for Callers {
    fn from(keys: PeerKeys) -> Self {
        Self(keys)
    }
}

impl Callers {
    /// Who sent the request. Keys that do not match are looked up once more, since they may have been rotated.
    pub(crate) async fn check(
        &self,
        request: &HttpRequest,
        form: &Form,
        now: OffsetDateTime,
    ) -> Result<Caller, ApiError> {
        let keys = self.0.now().await;
        let checked = Known(&keys).check(request, form, now);
        let may_be_rotated = matches!(&checked, Err(error)
            if matches!(error.code, ErrorCode::SignatureDoesNotMatch | ErrorCode::InvalidClientTokenId));
        if may_be_rotated && self.0.differ(&keys).await {
            return Known(&self.0.now().await).check(request, form, now);
        }
        checked
    }
}

/// The keys of one moment.
struct Known<'a>(&'a [Credentials]);

impl Known<'_> {
    fn check(&self, request: &HttpRequest, form: &Form, now: OffsetDateTime) -> Result<Caller, ApiError> {
        if let Some(header) = request.header("authorization") {
            return self.check_v4(request, header, now);
        }
        if form.get("SignatureVersion") == Some("2") {
            return self.check_v2(request, form, now);
        }
        Err(refused(
            ErrorCode::MissingAuthenticationToken,
            "the request is not signed. Sign it with version 4",
        ))
    }

    fn keys(&self, id: &str) -> Result<&Credentials, ApiError> {
        self.0.iter().find(|keys| keys.access_key_id == id).ok_or_else(|| {
            refused(
                ErrorCode::InvalidClientTokenId,
                "nobody here has this access key. Sign with a key that the service was given",
            )
        })
    }

    fn check_v4(&self, request: &HttpRequest, header: &str, now: OffsetDateTime) -> Result<Caller, ApiError> {
        let incomplete = |what: &str| {
            refused(
                ErrorCode::IncompleteSignature,
                &format!("the Authorization header {what}. Sign with version 4"),
            )
        };
        let fields =
            header.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(|| incomplete("is of another kind"))?;
        let field = |name: &str| {
            fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let credential = field("Credential").ok_or_else(|| incomplete("has no Credential"))?;
        let signed = field("SignedHeaders").ok_or_else(|| incomplete("has no SignedHeaders"))?;
        let signature = field("Signature").ok_or_else(|| incomplete("has no Signature"))?;
        let scope: Vec<&str> = credential.split('/').collect();
        let [id, day, region, service, "aws4_request"] = scope[..] else {
            return Err(incomplete("has a Credential of another form"));
        };
        let keys = self.keys(id)?;
        if !SERVICES.contains(&service) {
            return Err(refused(
                ErrorCode::SignatureDoesNotMatch,
                "the signature is scoped to another service. Sign for IngestionService",
            ));
        }
        let names: Vec<&str> = signed.split(';').collect();
        if !names.contains(&"host") {
            return Err(incomplete("does not sign the host"));
        }
        let stamp = request.header("x-amz-date").ok_or_else(|| incomplete("comes without X-Amz-Date"))?;
        if !names.contains(&"x-amz-date") || !stamp.starts_with(day) {
            return Err(incomplete("does not sign the date it is of"));
        }
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let time = PrimitiveDateTime::parse(stamp, format)
            .map_err(|_| incomplete("comes with another form of X-Amz-Date"))?;
        check_time(time.assume_utc(), now)?;
        if keys.session_token.as_deref() != request.header("x-amz-security-token") {
            return Err(refused(
                ErrorCode::InvalidClientTokenId,
                "the session token is not that of this key",
            ));
        }
        let wanted = signature_v4(request, &names, stamp, [day, region, service], &keys.secret_access_key)
            .ok_or_else(|| incomplete("signs a header that is not there"))?;
        accept(id, &wanted, signature)
    }

    fn check_v2(&self, request: &HttpRequest, form: &Form, now: OffsetDateTime) -> Result<Caller, ApiError> {
        let part = |name: &str| {
            form.get(name).ok_or_else(|| {
                refused(
                    ErrorCode::IncompleteSignature,
                    &format!("the parameter {name} is not there. Sign with version 4"),
                )
            })
        };
        let id = part("AWSAccessKeyId")?;
        let signature = part("Signature")?;
        let keys = self.keys(id)?;
        if keys.session_token.as_deref() != form.get("SecurityToken") {
            return Err(refused(
                ErrorCode::InvalidClientTokenId,
                "the session token is not that of this key",
            ));
        }
        let time = OffsetDateTime::parse(part("Timestamp")?, &Rfc3339).map_err(|_| {
            refused(ErrorCode::IncompleteSignature, "the Timestamp is not of the form of RFC 3339")
        })?;
        check_time(time, now)?;
        let host = request.header("host").unwrap_or_default().to_ascii_lowercase();
        let message =
            format!("{}\n{host}\n{}\n{}", request.method, request.path, form.canonical_without("Signature"));
        let key = keys.secret_access_key.as_bytes();
        let code = match part("SignatureMethod")? {
            "HmacSHA256" => hmac_sha256(key, message.as_bytes()),
            "HmacSHA1" => mac::<Hmac<Sha1>, _>(Hmac::new_from_slice(key), message.as_bytes()),
            _ => return Err(refused(ErrorCode::IncompleteSignature, "the SignatureMethod is unknown")),
        };
        accept(id, &STANDARD.encode(code), signature)
    }
}

fn accept(id: &str, wanted: &str, given: &str) -> Result<Caller, ApiError> {
    if bool::from(wanted.as_bytes().ct_eq(given.as_bytes())) {
        Ok(Caller::Key(id.to_owned()))
    } else {
        Err(refused(
            ErrorCode::SignatureDoesNotMatch,
            "the signature is not that of this request. Check the secret key and whatever stands between client and service",
        ))
    }
}

fn check_time(time: OffsetDateTime, now: OffsetDateTime) -> Result<(), ApiError> {
    if (now - time).abs() > SKEW_MAX {
        let message = format!("the request is of {time}, and now is {now}. Set the clock right");
        return Err(refused(ErrorCode::RequestExpired, &message));
    }
    Ok(())
}

fn refused(code: ErrorCode, message: &str) -> ApiError {
    ApiError::new(code, message)
}

/// The signature of version 4 over a request; `None` where a header that is to be signed is not there.
fn signature_v4(
    request: &HttpRequest,
    signed: &[&str],
    stamp: &str,
    [day, region, service]: [&str; 3],
    secret: &str,
) -> Option<String> {
    let mut headers = String::new();
    for name in signed {
        let value = request.header(name)?;
        headers.push_str(&format!("{name}:{}\n", value.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    let pairs = request.query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(&str, &str)> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    pairs.sort_unstable();
    let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let path = if request.path.is_empty() { "/" } else { &request.path };
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{}\n{}",
        request.method,
        path.split('/').map(encode).collect::<Vec<_>>().join("/"),
        query.join("&"),
        signed.join(";"),
        hex(&Sha256::digest(&request.body)),
    );
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let message = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [day, region, service, "aws4_request", &message] {
        key = hmac_sha256(&key, part.as_bytes());
    }
    Some(hex(&key))
}

/// Signs a request with version 4, as a client does: whatever headers it has are signed, and a date is added.
pub fn sign(request: &mut HttpRequest, keys: &Credentials, now: OffsetDateTime) {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let stamp = now.format(&format).unwrap_or_default();
    let day = stamp.split('T').next().unwrap_or_default().to_owned();
    request.set_header("x-amz-date", &stamp);
    if let Some(token) = &keys.session_token {
        request.set_header("x-amz-security-token", token);
    }
    let mut names: Vec<String> = request.headers.keys().cloned().collect();
    names.sort();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let scope = [day.as_str(), "us-east-1", SERVICES[0]];
    let signature = signature_v4(request, &names, &stamp, scope, &keys.secret_access_key).unwrap_or_default();
    let header = format!(
        "AWS4-HMAC-SHA256 Credential={}/{day}/us-east-1/{}/aws4_request, SignedHeaders={}, Signature={signature}",
        keys.access_key_id,
        SERVICES[0],
        names.join(";"),
    );
    request.set_header("authorization", &header);
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    mac::<Hmac<Sha256>, _>(Hmac::new_from_slice(key), message)
}

fn mac<M: Mac, E>(mac: Result<M, E>, message: &[u8]) -> Vec<u8> {
    let Ok(mut mac) = mac else { unreachable!("HMAC takes keys of any length (RFC 2104)") };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use ferry_cloud::CredentialRef;

    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn keys() -> Credentials {
        Credentials {
            access_key_id: "AKID".into(),
            secret_access_key: "secret".into(),
            session_token: None,
            expires: None,
        }
    }

    fn request() -> HttpRequest {
        let mut request = HttpRequest::post("/", "Action=ListJobs&Version=2010-06-01");
        request.set_header("host", "127.0.0.1:8787");
        request
    }

    fn check(request: &HttpRequest, now: OffsetDateTime) -> Result<Caller, ErrorCode> {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        Known(&[keys()]).check(request, &Form::parse(&request.query, &body), now).map_err(|error| error.code)
    }

    #[test]
    fn a_request_that_is_signed_is_its_signers() {
        let mut request = request();
        sign(&mut request, &keys(), NOW);
        assert_eq!(check(&request, NOW).expect("caller").name(), "AKID");
    }

    #[test]
    fn whatever_is_changed_after_signing_shows() {
        let mut signed = request();
        sign(&mut signed, &keys(), NOW);
        for change in [
            (|request| request.body = b"Action=CancelJob".to_vec().into()) as fn(&mut HttpRequest),
            |request| request.path = "/other".into(),
            |request| request.query = "a=b".into(),
            |request| request.method = "GET".into(),
            |request| request.set_header("host", "elsewhere"),
        ] {
            let mut changed = signed.clone();
            change(&mut changed);
            assert_eq!(check(&changed, NOW), Err(ErrorCode::SignatureDoesNotMatch), "{changed:?}");
        }
        assert_eq!(check(&signed, NOW + Duration::minutes(16)), Err(ErrorCode::RequestExpired));
        assert_eq!(check(&request(), NOW), Err(ErrorCode::MissingAuthenticationToken));
    }

    #[test]
    fn another_secret_and_another_key_are_told_apart() {
        let mut wrong = request();
        sign(&mut wrong, &Credentials { secret_access_key: "guess".into(), ..keys() }, NOW);
        assert_eq!(check(&wrong, NOW), Err(ErrorCode::SignatureDoesNotMatch));
        let mut unknown = request();
        sign(&mut unknown, &Credentials { access_key_id: "OTHER".into(), ..keys() }, NOW);
        assert_eq!(check(&unknown, NOW), Err(ErrorCode::InvalidClientTokenId));
    }

    #[tokio::test]
    async fn a_rotated_key_is_looked_up_when_a_signature_does_not_match() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), "AKID former").expect("written");
        let keys = PeerKeys::look_up(vec![CredentialRef::File(file.path().into())]).await.expect("keys");
        let callers = Callers::from(keys);
        let mut signed = request();
        sign(&mut signed, &self::keys(), NOW);
        let ask = async |request: &HttpRequest| callers.check(request, &Form::parse("", ""), NOW).await;
        std::fs::write(file.path(), "AKID secret").expect("written");
        assert_eq!(ask(&signed).await.expect("a caller").name(), "AKID");
        sign(&mut signed, &Credentials { secret_access_key: "former".into(), ..self::keys() }, NOW);
        assert_eq!(ask(&signed).await.expect_err("former").code, ErrorCode::SignatureDoesNotMatch);
    }

    #[test]
    fn the_clients_of_2010_are_understood() {
        // Signed with OpenSSL over the message of the AWS guide: method, host, path and sorted parameters, each on a line.
        let body = "AWSAccessKeyId=AKID&Action=ListJobs&SignatureMethod=HmacSHA256&SignatureVersion=2\
                    &Timestamp=1970-01-01T00%3A00%3A00Z&Version=2010-06-01";
        let signed = format!("{body}&Signature=sJbBE7h7n7Agqdm4sYHZK%2FvlvWugR7iYGEQNJvJXOZk%3D");
        let mut request = HttpRequest::post("/", &signed);
        request.set_header("host", "importexport.amazonaws.com");
        assert_eq!(check(&request, NOW).expect("caller").name(), "AKID");
        let mut changed = HttpRequest::post("/", &signed.replace("ListJobs", "CancelJob"));
        changed.set_header("host", "importexport.amazonaws.com");
        assert_eq!(check(&changed, NOW), Err(ErrorCode::SignatureDoesNotMatch));
    }
}
