use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::ErrorMetadata;
use ferry_transfer::{ErrorKind, Key, StoreName};

use super::*;

fn refusal(
    status: u16,
    headers: &[(&'static str, &'static str)],
    code: Option<&str>,
    body: &'static str,
) -> Error {
    let mut raw = HttpResponse::new(status.try_into().expect("status"), SdkBody::from(body));
    for (name, value) in headers {
        raw.headers_mut().insert(*name, *value);
    }
    let mut meta = ErrorMetadata::builder();
    if let Some(code) = code {
        meta = meta.code(code);
    }
    if let Some(message) = element(body, "Message") {
        meta = meta.message(message);
    }
    let name = StoreName { store: "hangzhou".into(), bucket: "photos".into() };
    let key = Key::new("a/b").expect("key");
    let place = Place {
        operation: "GetObject",
        name: &name,
        endpoint: "https://s3.example.com",
        key: Some(&key),
        throttle_codes: &["ComeBackLater".to_owned()],
        customer_key: false,
    };
    from_sdk(&place, SdkError::service_error(GetObjectError::generic(meta.build()), raw))
}

#[test]
fn an_error_carries_status_code_request_id_and_place() {
    let error = refusal(
        403,
        &[("x-amz-request-id", "R1")],
        Some("AccessDenied"),
        "<Error><Message>Access Denied.</Message></Error>",
    );
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(
        error.to_string(),
        "GetObject hangzhou://photos key \"a/b\": the credentials do not allow GetObject: grant it, or use others; the store \
         says: Access Denied (HTTP 403, AccessDenied, request R1)"
    );
}

#[test]
fn a_delay_the_store_asks_for_is_kept() {
    let asked =
        |headers: &[(&'static str, &'static str)]| refusal(503, headers, Some("SlowDown"), "").retry_after();
    assert_eq!(asked(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
    assert_eq!(asked(&[("x-oss-qos-delay-time", "1500")]), Some(Duration::from_millis(1500)));
    assert_eq!(asked(&[("retry-after", "soon")]), None);
    assert_eq!(asked(&[]), None);
}

#[test]
fn a_wrong_region_is_answered_with_the_right_one() {
    let moved = refusal(301, &[("x-amz-bucket-region", "eu-west-1")], Some("PermanentRedirect"), "");
    assert!(moved.to_string().contains("the region is eu-west-1"), "{moved}");
    let malformed = refusal(
        400,
        &[],
        Some("AuthorizationHeaderMalformed"),
        "<Error><Message>the region 'a' is wrong</Message><Region>eu-west-1</Region></Error>",
    );
    assert!(malformed.to_string().contains("the region is eu-west-1"), "{malformed}");
    assert_eq!(malformed.kind(), ErrorKind::Configuration);
}

#[test]
fn alibabas_denial_at_the_wrong_endpoint_is_no_lack_of_rights() {
    let error = refusal(
        403,
        &[("x-oss-request-id", "R2")],
        Some("AccessDenied"),
        "<Error><Message>The bucket you are attempting to access must be addressed using the specified endpoint.</Message>\
         <Endpoint>oss-cn-beijing.aliyuncs.com</Endpoint><EC>0003-00001403</EC></Error>",
    );
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(error.request_id(), Some("R2"));
    let text = error.to_string();
    assert!(text.contains("oss-cn-beijing.aliyuncs.com") && text.contains("EC 0003-00001403"), "{text}");
}

#[test]
fn a_skewed_clock_is_measured() {
    let error = refusal(403, &[("date", "Thu, 01 Jan 1970 00:00:00 GMT")], Some("RequestTimeTooSkewed"), "");
    assert!(error.to_string().contains("s ahead of the store's"), "{error}");
}

#[test]
fn a_failure_without_an_answer_says_what_could_not_be_had() {
    let endpoint = "https://s3.example.com";
    for (timed_out, text, kind, message) in [
        (
            false,
            "dispatch failure: io error: client error (Connect): dns error: no such host",
            ErrorKind::Transient,
            "cannot reach https://s3.example.com",
        ),
        (
            true,
            "dispatch failure: timeout: HTTP connect timeout occurred after 3.1s",
            ErrorKind::Transient,
            "cannot reach https://s3.example.com",
        ),
        (
            false,
            "dispatch failure: io error: client error (Connect): invalid peer certificate: NotValidForName",
            ErrorKind::Configuration,
            "the certificate of https://s3.example.com",
        ),
        (
            false,
            "dispatch failure: io error: client error (SendRequest): connection closed before message completed",
            ErrorKind::Transient,
            "the connection to https://s3.example.com failed",
        ),
    ] {
        let (found, line) = unanswered(endpoint, timed_out, text);
        assert_eq!(found, kind, "{text}");
        assert!(line.starts_with(message), "{line}");
    }
}

#[test]
fn a_profile_names_the_codes_that_ask_for_fewer_requests() {
    assert_eq!(refusal(400, &[], Some("ComeBackLater"), "").kind(), ErrorKind::Throttled);
    assert_eq!(refusal(400, &[], Some("NeverComeBack"), "").kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_missing_bucket_is_a_set_up_error_and_not_a_missing_object() {
    let error = refusal(404, &[], Some("NoSuchBucket"), "");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("there is no bucket \"photos\""), "{error}");
    assert_eq!(refusal(404, &[], None, "").kind(), ErrorKind::NotFound);
}
