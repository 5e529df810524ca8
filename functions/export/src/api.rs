//! The original's query protocol.
//!
//! Owns: requests and answers on the wire, and which action is which. Does not own: what an action does ([`crate::Service`]) or who may ask
//! ([`crate::auth`]). Invariant: a request is answered in the protocol's own form whatever becomes of it.
//!
//! Source: botocore's model of the service, `importexport/2010-06-01/service-2.json`.

mod error;
mod form;
pub(crate) mod xml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ferry_device::job::{JobId, JobRecord, JobState, Location};
use ferry_device::manifest::Address;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::auth::Caller;
use crate::service::{Service, Validity};

pub use error::{ApiError, ErrorCode};
pub(crate) use form::{Form, encode};
use xml::Elements;

/// What can be asked for.
const ACTIONS: [&str; 6] =
    ["CreateJob", "ListJobs", "GetStatus", "UpdateJob", "CancelJob", "GetShippingLabel"];
/// The version that the model names; the guide's title is two days younger.
const VERSIONS: [&str; 2] = ["2010-06-01", "2010-06-03"];
/// Most jobs of one page.
const PAGE_MAX: usize = 1000;

/// A request, whoever received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method, in capitals.
    pub method: String,
    /// The path, encoded as it came.
    pub path: String,
    /// What follows the `?`, encoded as it came.
    pub query: String,
    /// Headers by their name in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Bytes,
}

impl HttpRequest {
    /// A form that is posted.
    pub fn post(path: &str, form: &str) -> Self {
        Self {
            method: "POST".to_owned(),
            path: path.to_owned(),
            query: String::new(),
            headers: BTreeMap::new(),
            body: Bytes::copy_from_slice(form.as_bytes()),
        }
    }

    /// A header's value, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Sets a header, by its name in lower case.
    pub fn set_header(&mut self, name: &str, value: &str) {
        self.headers.insert(name.to_owned(), value.to_owned());
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// XML.
    pub body: String,
    /// Names the request in logs; in the answer too.
    pub request_id: String,
}

/// Answers one request.
pub async fn handle(service: &Service, request: &HttpRequest) -> HttpResponse {
    let request_id = service.request_id();
    let body = String::from_utf8_lossy(&request.body);
    let form = Form::parse(&request.query, &body);
    let asked = form.get("Action").unwrap_or_default().to_owned();
    // Before the signature is checked anybody may write anything there: it does not go into the log.
    let action = ACTIONS.iter().find(|action| **action == asked).copied().unwrap_or("unknown");
    match answer(service, request, &form, &asked).await {
        Ok(result) => {
            tracing::info!(action, request_id, "answered");
            HttpResponse { status: 200, body: xml::answer(action, &result, &request_id), request_id }
        }
        Err(error) => {
            tracing::warn!(action, request_id, code = error.code.wire(), "refused");
            HttpResponse { status: error.code.status(), body: xml::error(&error, &request_id), request_id }
        }
    }
}

async fn answer(
    service: &Service,
    request: &HttpRequest,
    form: &Form,
    action: &str,
) -> Result<Elements, ApiError> {
    let caller = service.callers().check(request, form, service.now()).await?;
    // APIVersion is the client tool's own, whatever it says.
    let version = form.get("Version");
    if version.is_some_and(|version| !VERSIONS.contains(&version)) {
        return Err(ApiError::new(
            ErrorCode::InvalidVersion,
            "this service speaks version 2010-06-01. Ask in it",
        ));
    }
    match action {
        "CreateJob" => create_job(service, &caller, form).await,
        "UpdateJob" => update_job(service, &caller, form).await,
        "CancelJob" => {
            service.cancel(&caller, &job_id(form.required("JobId")?)?).await?;
            Ok(Elements::default().text("Success", "true"))
        }
        "GetStatus" => Ok(status(&service.status(&caller, &job_id(form.required("JobId")?)?).await?)),
        "ListJobs" => list_jobs(service, &caller, form).await,
        "GetShippingLabel" => shipping_label(service, &caller, form).await,
        other => Err(ApiError::new(
            ErrorCode::InvalidAction,
            format!("there is no action {other:?}. Ask for one of {}", ACTIONS.join(", ")),
        )),
    }
}

fn job_id(text: &str) -> Result<JobId, ApiError> {
    text.parse().map_err(|bad| ApiError::new(ErrorCode::InvalidJobId, format!("{bad}. Look at ListJobs")))
}

fn job_type(form: &Form) -> Result<(), ApiError> {
    match form.required("JobType")? {
        "Export" => Ok(()),
        "Import" => Err(ApiError::new(
            ErrorCode::InvalidParameter,
            "this service exports and does not import. Ask with JobType Export; ferry sync copies into buckets",
        )),
        other => Err(ApiError::new(
            ErrorCode::InvalidParameter,
            format!("there is no job type {other:?}. Ask with JobType Export"),
        )),
    }
}

fn validity(form: &Form) -> Result<Validity, ApiError> {
    Ok(if form.truth("ValidateOnly")? { Validity::CheckOnly } else { Validity::CheckAndDo })
}

async fn create_job(service: &Service, caller: &Caller, form: &Form) -> Result<Elements, ApiError> {
    job_type(form)?;
    let manifest = form.required("Manifest")?.as_bytes();
    let created = service.create(caller, manifest, validity(form)?).await?;
    let elements = match &created.job {
        None => Elements::default().text("JobType", "Export"),
        Some(job) => Elements::default()
            .text("JobId", job.id.as_str())
            .text("JobType", "Export")
            .text("Signature", &job.signature.signature)
            .text("SignatureFileContents", &job.signature.file_contents())
            .text("AwsShippingAddress", &service.shipping_address(job)),
    };
    Ok(elements.optional("WarningMessage", warning(&created.warnings).as_deref()).members("ArtifactList", []))
}

async fn update_job(service: &Service, caller: &Caller, form: &Form) -> Result<Elements, ApiError> {
    job_type(form)?;
    let id = job_id(form.required("JobId")?)?;
    let manifest = form.required("Manifest")?.as_bytes();
    let updated = service.update(caller, &id, manifest, validity(form)?).await?;
    Ok(Elements::default()
        .text("Success", "true")
        .optional("WarningMessage", warning(&updated.warnings).as_deref())
        .members("ArtifactList", []))
}

fn warning(warnings: &[String]) -> Option<String> {
    (!warnings.is_empty()).then(|| warnings.join("\n"))
}

/// The time as clients of the protocol read it.
fn time_text(time: OffsetDateTime) -> String {
    let whole = time.replace_nanosecond(0).unwrap_or(time);
    whole.format(&Rfc3339).unwrap_or_default()
}

fn status(job: &JobRecord) -> Elements {
    let log = job.state.has_log();
    let (carrier, tracking) = if job.location == Location::Returned {
        (Some("local"), Some(job.id.as_str()))
    } else {
        (None, None)
    };
    Elements::default()
        .text("JobId", job.id.as_str())
        .text("JobType", "Export")
        .text("LocationCode", job.location.code())
        .text("LocationMessage", job.location.message())
        .text("ProgressCode", job.state.progress_code())
        .text("ProgressMessage", &job.progress_message())
        .optional("Carrier", carrier)
        .optional("TrackingNumber", tracking)
        .optional("LogBucket", log.then_some(job.log_bucket.as_str()))
        .optional("LogKey", log.then_some(job.log_key.as_str()))
        .text("ErrorCount", &job.totals.errors.to_string())
        .text("Signature", &job.signature.signature)
        .text("SignatureFileContents", &job.signature.file_contents())
        .text("CurrentManifest", &job.manifest)
        .text("CreationDate", &time_text(job.created))
        .members("ArtifactList", artifacts(job))
}

/// The documents of a job that has ended, where they are.
fn artifacts(job: &JobRecord) -> Vec<Elements> {
    if !job.state.has_log() {
        return Vec::new();
    }
    let documents = [
        ("The export log", Some(&job.log_key)),
        ("The manifest of the next device", job.next_manifest_key.as_ref()),
    ];
    let artifact = |(description, key): (&str, Option<&String>)| {
        let url = format!("s3://{}/{}", job.log_bucket, key?);
        Some(Elements::default().text("Description", description).text("URL", &url))
    };
    documents.into_iter().filter_map(artifact).collect()
}

async fn list_jobs(service: &Service, caller: &Caller, form: &Form) -> Result<Elements, ApiError> {
    let most = match form.get("MaxJobs").filter(|most| !most.is_empty()) {
        None => PAGE_MAX,
        Some(most) => most.parse().ok().filter(|most| *most <= PAGE_MAX).ok_or_else(|| {
            ApiError::new(
                ErrorCode::InvalidParameter,
                format!("MaxJobs is {most:?}. Send a number from 0 to 1000"),
            )
        })?,
    };
    let marker = form.get("Marker").filter(|marker| !marker.is_empty()).map(job_id).transpose()?;
    let page = service.list(caller, marker.as_ref(), most).await?;
    let jobs = page.jobs.iter().map(|job| {
        Elements::default()
            .text("JobId", job.id.as_str())
            .text("CreationDate", &time_text(job.created))
            .text("IsCanceled", if job.state == JobState::Canceled { "true" } else { "false" })
            .text("JobType", "Export")
    });
    Ok(Elements::default()
        .members("Jobs", jobs)
        .text("IsTruncated", if page.is_truncated { "true" } else { "false" }))
}

async fn shipping_label(service: &Service, caller: &Caller, form: &Form) -> Result<Elements, ApiError> {
    let ids = form.list("jobIds").into_iter().map(job_id).collect::<Result<Vec<_>, _>>()?;
    let lines: Vec<&str> = Address::OPTIONS
        .into_iter()
        .filter_map(|part| form.get(part).filter(|value| !value.is_empty()))
        .collect();
    let slip = service.packing_slip(caller, &ids, &lines).await?;
    let url = format!("data:text/plain;charset=utf-8;base64,{}", STANDARD.encode(slip));
    Ok(Elements::default()
        .text("ShippingLabelURL", &url)
        .text("Warning", "Nothing is shipped: the label is a packing slip to lay beside the device."))
}
