//! Requests to AWS's own services, in JSON.
//!
//! Owns: where a service is, the signature, the repetition of what failed in passing and the translation of a refusal. Does not own: what
//! is asked ([`crate::parameters`], [`crate::schedules`]). Invariant: neither a request's body nor an answer's is repeated in an error,
//! since either may hold a secret.
//!
//! Why not the SDKs: ten operations are needed, and the SDK of SSM alone, which has hundreds, is a quarter of a cold build. Who signs, where
//! requests go and through which proxy is found by the SDK's own configuration all the same.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_types::service_config::ServiceConfigKey;
use bytes::Bytes;
use ferry_transfer::retry::{Backoff, Retries};
use ferry_transfer::{Clock as _, Error, ErrorKind, Result, SystemClock, chain};
use http::Method;

use crate::credentials::keyring::Keyring;
use crate::exchange::{Answer, exchange};
use crate::http_client;

/// As often as the SDK tries.
const BACKOFF: Backoff = Backoff {
    attempts_max: 3,
    elapsed_max: Duration::from_secs(30),
    base: Duration::from_millis(200),
    throttled_base: Duration::from_secs(1),
    cap: Duration::from_secs(5),
};

/// A service of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Systems Manager, of which the Parameter Store is a part.
    Ssm,
    /// `EventBridge` Scheduler.
    Scheduler,
    /// Simple Notification Service.
    Sns,
}

impl Service {
    /// Its name in hosts and signatures.
    fn name(self) -> &'static str {
        match self {
            Self::Ssm => "ssm",
            Self::Scheduler => "scheduler",
            Self::Sns => "sns",
        }
    }

    /// Its name in configuration files, and, in capitals, behind `AWS_ENDPOINT_URL_`.
    fn id(self) -> &'static str {
        match self {
            Self::Ssm => "SSM",
            Self::Scheduler => "Scheduler",
            Self::Sns => "SNS",
        }
    }
}

/// One request, as its service names it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) method: Method,
    /// Percent-encoded, with its query; begins with a slash.
    pub(crate) path: String,
    /// Of the JSON protocols that name the operation in a header.
    pub(crate) target: Option<String>,
    pub(crate) body: Option<serde_json::Value>,
}

/// A service in one region, and who asks.
#[derive(Debug)]
pub(crate) struct AwsApi {
    service: Service,
    endpoint: String,
    region: String,
    credentials: SharedCredentialsProvider,
}

impl AwsApi {
    /// The service as the AWS tools would reach it from here.
    pub(crate) async fn connect(service: Service) -> Result<Self> {
        Self::connect_in(service, None).await
    }

    /// The same in this region.
    pub(crate) async fn connect_in(service: Service, region: Option<&str>) -> Result<Self> {
        let config = aws_config::defaults(http_client::behavior_version())
            .http_client(http_client::shared())
            .load()
            .await;
        let missing = |what: &str| {
            Error::new(ErrorKind::Configuration, format!("{} cannot be asked: {what}", service.id()))
        };
        let region = region
            .map(str::to_owned)
            .or_else(|| config.region().map(ToString::to_string))
            .ok_or_else(|| missing("no region is known; set AWS_REGION"))?;
        let credentials = config.credentials_provider().ok_or_else(|| missing("there are no credentials"))?;
        let keyring = std::sync::Arc::new(Keyring::new(credentials));
        Ok(Self {
            service,
            endpoint: endpoint(service, &region, &config),
            region,
            credentials: SharedCredentialsProvider::new(Keyring::provider(&keyring)),
        })
    }

    /// At a place of a test.
    #[cfg(test)]
    pub(crate) fn at(
        service: Service,
        endpoint: &str,
        credentials: aws_credential_types::Credentials,
    ) -> Self {
        Self {
            service,
            endpoint: endpoint.to_owned(),
            region: "eu-west-1".to_owned(),
            credentials: SharedCredentialsProvider::new(credentials),
        }
    }

    /// The region that is asked.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// Asks until there is an answer that another attempt would not change. A refusal is an error with the service's own code.
    pub(crate) async fn ask(&self, call: Call) -> Result<serde_json::Value> {
        let answer = self.repeat(call.operation, || self.request(&call)).await?;
        if answer.body.is_empty() {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            Error::new(ErrorKind::Other, "the answer is no JSON")
                .in_operation(call.operation)
                .at_store(&self.endpoint)
                .caused_by(error)
        })
    }

    /// Posts a form, as the query protocol has it, until there is an answer that another attempt would not change.
    pub(crate) async fn post_form(&self, operation: &'static str, form: &str) -> Result<()> {
        let request = || {
            http::Request::builder()
                .method(Method::POST)
                .uri(format!("{}/", self.endpoint))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Bytes::copy_from_slice(form.as_bytes()))
                .map_err(|error| unsigned(operation, error.to_string()))
        };
        self.repeat(operation, request).await.map(drop)
    }

    /// Sends the request anew, signed anew, for as long as what goes wrong may pass.
    async fn repeat(
        &self,
        operation: &'static str,
        request: impl Fn() -> Result<http::Request<Bytes>>,
    ) -> Result<Answer> {
        let clock = SystemClock;
        let mut retries = Retries::new(&BACKOFF, &clock);
        loop {
            let attempt = async { self.send(operation, request()?).await };
            match attempt.await {
                Ok(answer) => return Ok(answer),
                Err(error) => retries.pause(error).await?,
            }
        }
    }

    async fn send(&self, operation: &'static str, request: http::Request<Bytes>) -> Result<Answer> {
        let request = self.signed(operation, request).await?;
        // Boxed: a large future, and every command waits for one of these.
        let sent = Box::pin(exchange(request)).await;
        let answer = sent.map_err(|cause| {
            Error::new(ErrorKind::Transient, "there is no answer")
                .in_operation(operation)
                .at_store(&self.endpoint)
                .caused_by(cause)
        })?;
        if (200..300).contains(&answer.status) {
            Ok(answer)
        } else {
            Err(refused(&answer, operation, &self.endpoint))
        }
    }

    fn request(&self, call: &Call) -> Result<http::Request<Bytes>> {
        let body = call.body.as_ref().map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let mut request = http::Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{}", self.endpoint, call.path));
        if let Some(target) = &call.target {
            request =
                request.header("x-amz-target", target).header("content-type", "application/x-amz-json-1.1");
        } else if call.body.is_some() {
            request = request.header("content-type", "application/json");
        }
        request.body(body).map_err(|error| unsigned(call.operation, error.to_string()))
    }

    async fn signed(
        &self,
        operation: &'static str,
        mut request: http::Request<Bytes>,
    ) -> Result<http::Request<Bytes>> {
        let unsigned = |cause: String| unsigned(operation, cause);
        let keys = self.credentials.provide_credentials().await.map_err(|error| unsigned(chain(&error)))?;
        let identity = keys.into();
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::Headers;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service.name())
            .time(SystemClock.now().into())
            .settings(settings)
            .build()
            .map_err(|error| unsigned(chain(&error)))?
            .into();
        let headers =
            request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable = SignableRequest::new(
            request.method().as_str(),
            request.uri().to_string(),
            headers,
            SignableBody::Bytes(request.body()),
        )
        .map_err(|error| unsigned(chain(&error)))?;
        let (instructions, _signature) =
            sign(signable, &params).map_err(|error| unsigned(chain(&error)))?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

fn unsigned(operation: &'static str, cause: String) -> Error {
    Error::new(ErrorKind::Configuration, "the request cannot be signed")
        .in_operation(operation)
        .caused_by(cause)
}

/// `AWS_ENDPOINT_URL_SSM`, `AWS_ENDPOINT_URL`, what the profile says, else where AWS has it.
fn endpoint(service: Service, region: &str, config: &SdkConfig) -> String {
    let key = ServiceConfigKey::builder()
        .service_id(service.id())
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let of_service = key.ok().and_then(|key| config.service_config()?.load_config(key));
    let told = of_service.or_else(|| config.endpoint_url().map(str::to_owned));
    if let Some(url) = told {
        return url.trim_end_matches('/').to_owned();
    }
    let fips = if config.use_fips().unwrap_or(false) { "-fips" } else { "" };
    format!("https://{}{fips}.{region}.{}", service.name(), dns_suffix(region))
}

/// The end of the hosts of a region's partition (botocore, `partitions.json`).
fn dns_suffix(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "amazonaws.com.cn",
        _ if region.starts_with("eusc-") => "amazonaws.eu",
        _ if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        _ if region.starts_with("us-iso-") => "c2s.ic.gov",
        _ => "amazonaws.com",
    }
}

/// What a refusal means. Its code stands in a header or in the body, alone or behind a namespace (AWS, "`awsJson1_1` protocol", "Operation
/// error serialization").
fn refused(answer: &Answer, operation: &'static str, endpoint: &str) -> Error {
    let header = |name| answer.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    // The query protocol answers in XML.
    let xml = String::from_utf8_lossy(&answer.body);
    let element = |name: &str| {
        let (_, rest) = xml.split_once(&format!("<{name}>"))?;
        rest.split_once("</").map(|(text, _)| text)
    };
    let text = |names: &[&str]| {
        let named = names.iter().find_map(|name| body.get(name)?.as_str());
        named.or_else(|| names.iter().find_map(|name| element(name)))
    };
    let code = header("x-amzn-errortype").or_else(|| text(&["__type", "code", "Code"])).unwrap_or_default();
    let code = code.split(':').next().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default();
    let kind = match (code, answer.status) {
        ("ThrottlingException" | "Throttling" | "TooManyRequestsException" | "TooManyUpdates", _)
        | (_, 429) => ErrorKind::Throttled,
        ("ParameterNotFound" | "ResourceNotFoundException", _) => ErrorKind::NotFound,
        ("ParameterAlreadyExists" | "ConflictException", _) => ErrorKind::PreconditionFailed,
        (_, 500..) => ErrorKind::Transient,
        (
            "AccessDeniedException"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "AuthorizationError"
            | "ExpiredTokenException"
            | "IncompleteSignature"
            | "MissingAuthenticationToken",
            _,
        )
        | (_, 401 | 403) => ErrorKind::PermissionDenied,
        _ => ErrorKind::InvalidInput,
    };
    // What the service says is about names and rights; of a value it says no more than its length.
    let said = text(&["message", "Message"]).unwrap_or("no reason was given");
    let mut error =
        Error::new(kind, said).in_operation(operation).at_store(endpoint).with_status(answer.status);
    if !code.is_empty() {
        error = error.with_code(code);
    }
    match header("x-amzn-requestid") {
        Some(id) => error.with_request_id(id),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn answer(status: u16, header: Option<&'static str>, body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert("x-amzn-errortype", http::HeaderValue::from_static(value));
        }
        Answer { status, headers, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn a_refusals_code_is_found_wherever_it_stands() {
        for (answer, kind, code) in [
            (
                answer(400, None, r#"{"__type":"com.amazonaws.ssm#ParameterNotFound"}"#),
                ErrorKind::NotFound,
                Some("ParameterNotFound"),
            ),
            (
                answer(404, Some("ResourceNotFoundException:http://x/"), r#"{"Message":"none"}"#),
                ErrorKind::NotFound,
                Some("ResourceNotFoundException"),
            ),
            (
                answer(409, Some("ConflictException"), ""),
                ErrorKind::PreconditionFailed,
                Some("ConflictException"),
            ),
            (
                answer(400, None, r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#),
                ErrorKind::Throttled,
                Some("ThrottlingException"),
            ),
            (
                answer(400, None, r#"{"__type":"AccessDeniedException","Message":"no"}"#),
                ErrorKind::PermissionDenied,
                Some("AccessDeniedException"),
            ),
            (answer(503, None, "<html>"), ErrorKind::Transient, None),
            (
                answer(
                    403,
                    None,
                    "<ErrorResponse><Error><Code>AuthorizationError</Code></Error></ErrorResponse>",
                ),
                ErrorKind::PermissionDenied,
                Some("AuthorizationError"),
            ),
            (
                answer(400, None, r#"{"__type":"ValidationException"}"#),
                ErrorKind::InvalidInput,
                Some("ValidationException"),
            ),
        ] {
            let error = refused(&answer, "GetParameter", "http://x");
            assert_eq!((error.kind(), error.code()), (kind, code), "{answer:?}");
        }
    }

    #[test]
    fn a_service_is_where_its_partition_has_it_unless_somebody_says_otherwise() {
        let config = SdkConfig::builder().build();
        assert_eq!(endpoint(Service::Ssm, "eu-west-1", &config), "https://ssm.eu-west-1.amazonaws.com");
        assert_eq!(
            endpoint(Service::Scheduler, "cn-north-1", &config),
            "https://scheduler.cn-north-1.amazonaws.com.cn"
        );
        let fips = SdkConfig::builder().use_fips(true).build();
        assert_eq!(endpoint(Service::Ssm, "us-east-1", &fips), "https://ssm-fips.us-east-1.amazonaws.com");
        let told = SdkConfig::builder().endpoint_url("http://127.0.0.1:4566/").build();
        assert_eq!(endpoint(Service::Ssm, "eu-west-1", &told), "http://127.0.0.1:4566");
    }
}
