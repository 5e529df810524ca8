use std::time::Duration;

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use proptest::prelude::*;
use time::macros::datetime;

use super::super::address::query;
use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const NOW: OffsetDateTime = datetime!(2013-05-24 00:00 UTC);

fn key(token: Option<&str>) -> Key {
    let credentials =
        Credentials::new("AKIAIOSFODNN7EXAMPLE", SECRET, token.map(ToOwned::to_owned), None, "test");
    Key::derive(credentials, "us-east-1", NOW)
}

fn authorization(request: &Signable<'_>) -> String {
    let found = request.headers.iter().find(|(name, _)| name == "authorization");
    found.expect("signed").1.clone().into_owned()
}

/// The examples of AWS, "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk".
#[test]
fn amazons_examples_come_out() {
    let host = ("host".into(), "examplebucket.s3.amazonaws.com".into());
    let examples = [
        (
            Signable {
                method: "GET",
                path: "/test.txt",
                query: "",
                headers: vec![host.clone(), ("range".into(), "bytes=0-9".into())],
                payload_sha256: payload_sha256(b""),
            },
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            Signable {
                method: "PUT",
                path: "/test%24file.text",
                query: "",
                headers: vec![
                    host.clone(),
                    ("date".into(), "Fri, 24 May 2013 00:00:00 GMT".into()),
                    ("x-amz-storage-class".into(), "REDUCED_REDUNDANCY".into()),
                ],
                payload_sha256: payload_sha256(b"Welcome to Amazon S3."),
            },
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            Signable {
                method: "GET",
                path: "/",
                query: "max-keys=2&prefix=J",
                headers: vec![host],
                payload_sha256: payload_sha256(b""),
            },
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ];
    for (mut request, signature) in examples {
        key(None).sign(&mut request, NOW);
        let authorization = authorization(&request);
        assert!(authorization.ends_with(&format!("Signature={signature}")), "{authorization}");
    }
}

/// What the SDK signs with, set as the SDK sets it for S3.
fn signed_by_the_sdk(request: &Signable<'_>, token: Option<&str>) -> String {
    let credentials =
        Credentials::new("AKIAIOSFODNN7EXAMPLE", SECRET, token.map(ToOwned::to_owned), None, "test");
    let identity = Identity::from(credentials);
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let params = SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(NOW.into())
        .settings(settings)
        .build()
        .expect("parameters");
    let url = format!("http://example.com{}?{}", request.path, request.query);
    let headers = request.headers.iter().map(|(name, value)| (&**name, &**value));
    let signable =
        SignableRequest::new(request.method, url, headers, SignableBody::UnsignedPayload).expect("request");
    let (instructions, _) = sign(signable, &params.into()).expect("signed").into_parts();
    let (headers, _) = instructions.into_parts();
    let found = headers.into_iter().find(|header| header.name() == "authorization");
    found.expect("signed").value().to_owned()
}

proptest! {
    #[test]
    fn any_request_is_signed_like_the_sdk_signs_it(
        object in "\\PC{1,20}",
        prefix in prop::option::of("\\PC{0,10}"),
        metadata in "[ -~]{0,20}|[a-zé漢 ]{1,10}",
        token in prop::option::of("[a-zA-Z0-9/+=]{1,20}"),
    ) {
        let path = format!("/{}", percent_encoding::utf8_percent_encode(&object, percent_encoding::NON_ALPHANUMERIC));
        let query = query([("max-keys", Some("2")), ("prefix", prefix.as_deref())]);
        let mut request = Signable {
            method: "GET",
            path: &path,
            query: &query,
            headers: vec![("host".into(), "example.com".into()), ("x-amz-meta-a".into(), metadata.into())],
            payload_sha256: UNSIGNED_PAYLOAD.into(),
        };
        let expected = signed_by_the_sdk(&request, token.as_deref());
        key(token.as_deref()).sign(&mut request, NOW);
        prop_assert_eq!(authorization(&request), expected);
    }
}

#[tokio::test]
async fn a_new_day_and_new_credentials_both_need_a_new_key() {
    #[derive(Debug, Default)]
    struct Counting(std::sync::atomic::AtomicUsize);
    impl aws_credential_types::provider::ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            // Others from the third time on.
            let count = 1 + self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) / 2;
            aws_credential_types::provider::future::ProvideCredentials::ready(Ok(Credentials::new(
                format!("ID{count}"),
                SECRET,
                None,
                None,
                "test",
            )))
        }
    }
    let signer = Signer::new(SharedCredentialsProvider::new(Counting::default()), "us-east-1".into());
    let evening = datetime!(2013-05-24 23:59 UTC);
    for (after, id, day) in [(0, "ID1", "20130524"), (1, "ID1", "20130525"), (2, "ID2", "20130525")] {
        let now = evening + Duration::from_mins(after);
        let mut request = Signable {
            method: "GET",
            path: "/",
            query: "",
            headers: vec![("host".into(), "h".into())],
            payload_sha256: UNSIGNED_PAYLOAD.into(),
        };
        signer.sign(&mut request, now).await.expect("signed");
        let authorization = authorization(&request);
        assert!(authorization.contains(&format!("Credential={id}/{day}/")), "{authorization}");
    }
}
