//! Jobs by hand: the original's commands.
//!
//! Owns: what is printed, as the original's own tool did. Does not own: what the commands do.

use std::path::Path;

use anyhow::Result;
use ferry_device::job::{JobRecord, JobState};
use ferry_device::signature::{FILE_NAME, Signature, SigningMethod};
use ferry_export::{ApiError, Caller, Callers, Validity};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::{read_file, service};
use crate::args::{
    CreateJobArgs, ExportPlace, JobArgs, JobType, LabelArgs, ListJobsArgs, OutputArgs, SignArgs,
    UpdateJobArgs,
};
use crate::exit::{Exit, UsageError, print, say};

/// `CreateJob`.
pub(super) async fn create(place: &ExportPlace, args: CreateJobArgs, output: &OutputArgs) -> Result<Exit> {
    refuse_imports(args.job_type)?;
    let manifest = read_file(&args.manifest)?;
    let check_only = args.validate_only || args.only.is_some();
    if !check_only {
        check_directory(&args.directory)?;
    }
    let (service, _) = service(place, Callers::default()).await?;
    let validity = if check_only { Validity::CheckOnly } else { Validity::CheckAndDo };
    let created = service.create(&Caller::Holder, &manifest, validity).await.map_err(refused)?;
    for warning in &created.warnings {
        say(&format!("warning: {warning}"));
    }
    let Some(job) = created.job else {
        print(&if output.json {
            json!({ "valid": true, "warnings": created.warnings }).to_string()
        } else {
            "The manifest is valid; no job was created.".to_owned()
        });
        return Ok(Exit::Done);
    };
    let contents = job.signature.file_contents();
    let path = args.directory.join(FILE_NAME);
    // Told before it is written: the job is there, whatever becomes of the file.
    if output.json {
        let mut value = status_of(&job);
        value["signature_file"] = json!(path);
        value["warnings"] = json!(created.warnings);
        print(&value.to_string());
    } else {
        print_created(job.id.as_str(), &service.shipping_address(&job), &contents, &path);
    }
    write_signature(&path, &contents)?;
    Ok(Exit::Done)
}

pub(super) fn check_directory(directory: &Path) -> Result<(), UsageError> {
    if directory.is_dir() {
        return Ok(());
    }
    let path = directory.display();
    Err(UsageError(format!("{path} is no directory; SIGNATURE goes into the root of the device")))
}

/// What the original's tool printed.
pub(super) fn print_created(id: &str, address: &str, signature: &str, path: &Path) {
    print("JOB CREATED");
    print(&format!("JobId:   {id}"));
    print("JobType: Export");
    print(&boxed("AwsShippingAddress"));
    print(address);
    print(&boxed("SignatureFileContents"));
    print(signature.trim_end());
    print("");
    print(&format!("Writing SignatureFileContents to {}", path.display()));
}

/// A heading in a box of forty stars.
pub(super) fn boxed(title: &str) -> String {
    let stars = "*".repeat(40);
    format!("{stars}\n* {title:<36} *\n{stars}")
}

/// Writes SIGNATURE, which a link never is: it would lead away from the device.
pub(super) fn write_signature(path: &Path, contents: &str) -> Result<()> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_symlink()) {
        anyhow::bail!(
            "{} is a link and is not written through; remove it, and give the job its SIGNATURE by UpdateJob",
            path.display()
        );
    }
    std::fs::write(path, contents).map_err(|error| {
        anyhow::anyhow!(
            "the job is there, but {} cannot be written: {error}; get-status shows what belongs into it",
            path.display()
        )
    })
}

/// `UpdateJob`.
pub(super) async fn update(place: &ExportPlace, args: UpdateJobArgs, output: &OutputArgs) -> Result<Exit> {
    refuse_imports(args.job_type)?;
    let manifest = read_file(&args.manifest)?;
    if let Some(directory) = &args.directory {
        check_directory(directory)?;
    }
    let (service, _) = service(place, Callers::default()).await?;
    let updated =
        service.update(&Caller::Holder, &args.job, &manifest, Validity::CheckAndDo).await.map_err(refused)?;
    for warning in &updated.warnings {
        say(&format!("warning: {warning}"));
    }
    let contents = updated.job.signature.file_contents();
    if output.json {
        let mut value = status_of(&updated.job);
        value["warnings"] = json!(updated.warnings);
        print(&value.to_string());
    } else {
        print("JOB UPDATED");
        print(&format!("JobId:   {}", updated.job.id));
        print(&boxed("SignatureFileContents"));
        print(contents.trim_end());
    }
    if let Some(directory) = &args.directory {
        write_signature(&directory.join(FILE_NAME), &contents)?;
    }
    Ok(Exit::Done)
}

/// `CancelJob`.
pub(super) async fn cancel(place: &ExportPlace, args: &JobArgs, output: &OutputArgs) -> Result<Exit> {
    let (service, _) = service(place, Callers::default()).await?;
    let job = service.cancel(&Caller::Holder, &args.job).await.map_err(refused)?;
    print(&if output.json {
        status_of(&job).to_string()
    } else {
        format!("JOB CANCELED\nJobId:   {}", job.id)
    });
    Ok(Exit::Done)
}

/// `GetStatus`.
pub(super) async fn status(place: &ExportPlace, args: &JobArgs, output: &OutputArgs) -> Result<Exit> {
    let (service, _) = service(place, Callers::default()).await?;
    let job = service.status(&Caller::Holder, &args.job).await.map_err(refused)?;
    if output.json {
        print(&status_of(&job).to_string());
        return Ok(Exit::Done);
    }
    let mut lines = vec![
        ("JobId", job.id.to_string()),
        ("JobType", "Export".to_owned()),
        ("LocationCode", job.location.code().to_owned()),
        ("LocationMessage", job.location.message().to_owned()),
        ("ProgressCode", job.state.progress_code().to_owned()),
        ("ProgressMessage", job.progress_message()),
        ("ErrorCount", job.totals.errors.to_string()),
        ("CreationDate", job.created.format(&Rfc3339).unwrap_or_default()),
    ];
    if job.state.has_log() {
        lines.push(("LogBucket", job.log_bucket.clone()));
        lines.push(("LogKey", job.log_key.clone()));
        lines.extend(job.next_manifest_key.clone().map(|key| ("NextManifestKey", key)));
    }
    for (name, value) in lines {
        print(&format!("{:<17} {value}", format!("{name}:")));
    }
    print(&boxed("SignatureFileContents"));
    print(job.signature.file_contents().trim_end());
    print(&boxed("CurrentManifest"));
    print(job.manifest.trim_end());
    Ok(Exit::Done)
}

/// `ListJobs`.
pub(super) async fn list(place: &ExportPlace, args: &ListJobsArgs, output: &OutputArgs) -> Result<Exit> {
    let (service, _) = service(place, Callers::default()).await?;
    let page = service.list(&Caller::Holder, args.marker.as_ref(), args.max_jobs).await.map_err(refused)?;
    for job in &page.jobs {
        print(&if output.json {
            status_of(job).to_string()
        } else {
            let created = job.created.replace_nanosecond(0).unwrap_or(job.created);
            format!("{}  {}  {:<18}  Export", job.id, created.format(&Rfc3339).unwrap_or_default(), job.state)
        });
    }
    Ok(Exit::Done)
}

/// `GetShippingLabel`.
pub(super) async fn label(place: &ExportPlace, args: LabelArgs, output: &OutputArgs) -> Result<Exit> {
    let (service, _) = service(place, Callers::default()).await?;
    let lines: Vec<&str> = args.line.iter().map(String::as_str).collect();
    let slip = service.packing_slip(&Caller::Holder, &args.labelled, &lines).await.map_err(refused)?;
    say("warning: nothing is shipped; this is a slip to lay beside the device");
    print(&if output.json { json!({ "slip": slip }).to_string() } else { slip.trim_end().to_owned() });
    Ok(Exit::Done)
}

/// `sign`.
pub(super) async fn sign(args: SignArgs, output: &OutputArgs) -> Result<Exit> {
    let manifest = read_file(&args.manifest)?;
    let keys = args.credentials.resolve().await?.ok_or_else(|| {
        UsageError(format!("--credentials {} points at no secret key to sign with", args.credentials))
    })?;
    let method = if args.sha256 { SigningMethod::HmacSha256 } else { SigningMethod::HmacSha1 };
    let signature = Signature::sign(method, keys.secret_access_key.as_bytes(), args.job.as_str(), &manifest);
    print(&if output.json {
        serde_json::to_string(&signature)?
    } else {
        signature.file_contents().trim_end().to_owned()
    });
    Ok(Exit::Done)
}

pub(super) fn refuse_imports(job_type: JobType) -> Result<(), UsageError> {
    match job_type {
        JobType::Export => Ok(()),
        JobType::Import => {
            Err(UsageError("imports are not made here; ferry sync copies into buckets".to_owned()))
        }
    }
}

/// Whatever the service refuses is for the user to set right.
pub(super) fn refused(error: ApiError) -> anyhow::Error {
    if error.code == ferry_export::ErrorCode::InternalFailure {
        anyhow::Error::msg(error.cause.unwrap_or(error.message))
    } else {
        UsageError(format!("{}: {}", error.code.wire(), error.message)).into()
    }
}

/// A job for programs.
pub(super) fn status_of(job: &JobRecord) -> Value {
    json!({
        "job_id": job.id,
        "job_type": "Export",
        "location": job.location.code(),
        "location_message": job.location.message(),
        "expires": job.expires.format(&Rfc3339).unwrap_or_default(),
        "progress": job.state.progress_code(),
        "progress_message": job.progress_message(),
        "is_canceled": job.state == JobState::Canceled,
        "created": job.created.format(&Rfc3339).unwrap_or_default(),
        "objects": job.totals.objects,
        "bytes": job.totals.bytes,
        "objects_done": job.totals.objects_done,
        "bytes_done": job.totals.bytes_done,
        "errors": job.totals.errors,
        "log_bucket": job.log_bucket,
        "log_key": job.log_key,
        "next_manifest_key": job.next_manifest_key,
        "verification": job.verification,
        "signature": job.signature.signature,
        "signature_file_contents": job.signature.file_contents(),
        "manifest": job.manifest,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn headings_stand_in_boxes_of_forty_stars() {
        let lines: Vec<usize> = super::boxed("AwsShippingAddress").lines().map(str::len).collect();
        assert_eq!(lines, [40, 40, 40]);
    }
}
