//! What the user reads when a store refuses.
//!
//! Owns: the sentences, each of which says what to check or do. Does not own: where it happened, which the error carries apart.

use aws_smithy_types::date_time::Format;
use ferry_transfer::{Clock as _, ErrorKind, SystemClock};

use super::{Place, Refusal};

/// The message for a refusal of the given kind.
pub(super) fn compose(place: &Place<'_>, kind: ErrorKind, refusal: &Refusal<'_>) -> String {
    let text = match refusal.code.unwrap_or_default() {
        "NoSuchBucket" => format!(
            "there is no bucket {:?} at {}: check its name, the endpoint and the region",
            place.name.bucket, place.endpoint
        ),
        "InvalidBucketName" => format!("{:?} is not the name of a bucket", place.name.bucket),
        "InvalidAccessKeyId" | "InvalidSecurity" => {
            "the store does not know this access key: check which credentials this store is given, and that they belong to \
             this endpoint's account"
                .to_owned()
        }
        "SignatureDoesNotMatch" => "the signature does not match: check the secret access key, and that nothing between \
                                    here and the store changes the request"
            .to_owned(),
        "ExpiredToken" | "TokenRefreshRequired" | "SecurityTokenExpired" => {
            "the session token has expired: get new temporary credentials".to_owned()
        }
        "InvalidToken" => "the session token is not valid: check session_token, or leave it out for a permanent key".to_owned(),
        "RequestTimeTooSkewed" => skewed(refusal.date.as_deref()),
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException"
        | "InvalidRegion" => misdirected(refusal),
        "SecondLevelDomainForbidden" => {
            "this store wants virtual-hosted addressing: set `addressing: virtual`, or the store's own `provider:`".to_owned()
        }
        "PublicEndpointForbidden" => "this account may not reach the bucket over the provider's public host: use the \
                                      internal endpoint, or a custom domain with `addressing: bucket-host`"
            .to_owned(),
        "InvalidStorageClass" => {
            "the store does not take this storage class: choose one that it has with --storage-class".to_owned()
        }
        "NonStandardHostForbidden" => "the store does not serve this host name: check the endpoint".to_owned(),
        _ if kind == ErrorKind::Configuration => misdirected(refusal),
        _ if lacks_customer_key(place, refusal) => {
            "the store refuses the read, as it does where an object was encrypted with a customer's key and none came: name \
             the key with --source-customer-key, --dest-customer-key or `customer_key:`"
                .to_owned()
        }
        _ => general(place, kind, refusal),
    };
    match &refusal.ec {
        Some(ec) => format!("{text} [EC {ec}]"),
        None => text,
    }
}

fn general(place: &Place<'_>, kind: ErrorKind, refusal: &Refusal<'_>) -> String {
    let store_says = refusal
        .message
        .map(|message| message.trim().trim_end_matches('.'))
        .filter(|message| !message.is_empty());
    let ours = match kind {
        ErrorKind::NotFound if refusal.code == Some("NoSuchUpload") => "there is no such upload".to_owned(),
        ErrorKind::NotFound if place.operation.starts_with("Put") => {
            "the store answers that it does not find what is being written".to_owned()
        }
        ErrorKind::NotFound => "there is no such object".to_owned(),
        ErrorKind::PreconditionFailed => {
            "the object is not the one expected: it was changed, created or removed".to_owned()
        }
        ErrorKind::PermissionDenied => {
            let key = if place.customer_key { ", or the customer key is not the object's" } else { "" };
            format!("the credentials do not allow {}: grant it, or use others{key}", place.operation)
        }
        ErrorKind::Archived => "the object is archived and must be restored before it can be read".to_owned(),
        ErrorKind::Throttled => "the store asks for fewer requests".to_owned(),
        ErrorKind::Transient if refusal.status < 300 => "the store's answer cannot be read".to_owned(),
        ErrorKind::Transient => "the store failed for now".to_owned(),
        ErrorKind::Unsupported => format!("the store does not support {} as it was asked", place.operation),
        ErrorKind::Corrupt => "the store received other bytes than were sent".to_owned(),
        ErrorKind::InvalidInput => "the store refuses the request as invalid".to_owned(),
        _ => "the store refused".to_owned(),
    };
    match store_says {
        Some(message) => format!("{ours}; the store says: {message}"),
        None => ours,
    }
}

/// Whether an object that is encrypted with a customer's key was asked for without one. The answer to a HEAD has no words.
fn lacks_customer_key(place: &Place<'_>, refusal: &Refusal<'_>) -> bool {
    let says_so = refusal.message.is_some_and(|message| {
        let message = message.to_ascii_lowercase().replace('-', " ");
        message.contains("stored using a form of server side encryption")
    });
    let silent = place.operation == "HeadObject" && refusal.status == 400 && refusal.code.is_none();
    !place.customer_key && (says_so || silent)
}

fn misdirected(refusal: &Refusal<'_>) -> String {
    match (&refusal.region, &refusal.endpoint) {
        (Some(region), _) => format!("wrong region or endpoint: the store says the region is {region}"),
        (None, Some(endpoint)) => format!("wrong region or endpoint: the store says to use {endpoint}"),
        (None, None) => match refusal.message {
            Some(message) => format!(
                "wrong region, endpoint or account; the store says: {}",
                message.trim().trim_end_matches('.')
            ),
            None => "wrong region or endpoint".to_owned(),
        },
    }
}

fn skewed(date: Option<&str>) -> String {
    let theirs = date.and_then(|date| aws_smithy_types::DateTime::from_str(date, Format::HttpDate).ok());
    match theirs {
        Some(theirs) => {
            let difference_secs = SystemClock.now().unix_timestamp() - theirs.secs();
            let direction = if difference_secs < 0 { "behind" } else { "ahead of" };
            format!(
                "this machine's clock is {} s {direction} the store's: set it right",
                difference_secs.abs()
            )
        }
        None => "this machine's clock and the store's differ too much: set it right".to_owned(),
    }
}
