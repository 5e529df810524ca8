//! Jobs of a service elsewhere.
//!
//! Owns: printing what it answers, as for jobs of this machine. Does not own: the requests ([`ferry_export::Client`]).

use anyhow::Result;
use ferry_device::signature::FILE_NAME;
use ferry_export::{Answered, Client, Validity};
use ferry_transfer::ErrorKind;
use serde_json::{Value, json};

use super::jobs::{boxed, check_directory, print_created, refuse_imports, write_signature};
use super::read_file;
use crate::args::{CreateJobArgs, ExportCommand, ExportPlace, OutputArgs, UpdateJobArgs};
use crate::exit::{Exit, UsageError, print, say};

/// Runs a subcommand there.
pub(super) async fn run(place: &ExportPlace, command: ExportCommand, output: &OutputArgs) -> Result<Exit> {
    let client = client(place).await?;
    match command {
        ExportCommand::CreateJob(args) => create(&client, args, output).await,
        ExportCommand::UpdateJob(args) => update(&client, args, output).await,
        ExportCommand::CancelJob(args) => {
            client.cancel(args.job.as_str()).await.map_err(refused)?;
            print(&if output.json {
                json!({ "job_id": args.job, "is_canceled": true }).to_string()
            } else {
                format!("JOB CANCELED\nJobId:   {}", args.job)
            });
            Ok(Exit::Done)
        }
        ExportCommand::GetStatus(args) => {
            let answered = client.status(args.job.as_str()).await.map_err(refused)?;
            show(&answered, output);
            Ok(Exit::Done)
        }
        ExportCommand::ListJobs(args) => {
            let marker = args.marker.as_ref().map(ferry_device::job::JobId::as_str);
            let answered = client.list(args.max_jobs, marker).await.map_err(refused)?;
            for job in answered.members() {
                let text = |name| job.text(name).unwrap_or_default();
                let is_canceled = text("IsCanceled") == "true";
                print(&if output.json {
                    json!({ "job_id": text("JobId"), "created": text("CreationDate"), "is_canceled": is_canceled, "job_type": "Export" })
                        .to_string()
                } else {
                    let state = if is_canceled { "Canceled" } else { "-" };
                    format!("{}  {}  {state:<18}  Export", text("JobId"), text("CreationDate"))
                });
            }
            Ok(Exit::Done)
        }
        _ => Err(UsageError(
            "--endpoint-url is for create-job, update-job, cancel-job, get-status and list-jobs; a medium is written and read on the \
             machine that has it: run there with --jobs and --secrets"
                .to_owned(),
        )
        .into()),
    }
}

async fn client(place: &ExportPlace) -> Result<Client> {
    let (Some(url), Some(reference)) = (&place.endpoint_url, &place.signed_with) else {
        return Err(UsageError("--endpoint-url needs --signed-with".to_owned()).into());
    };
    let keys = reference
        .resolve()
        .await?
        .ok_or_else(|| UsageError(format!("--signed-with {reference} points at no keys to sign with")))?;
    Ok(Client::new(url, keys).map_err(|error| UsageError(error.chain()))?)
}

async fn create(client: &Client, args: CreateJobArgs, output: &OutputArgs) -> Result<Exit> {
    refuse_imports(args.job_type)?;
    let manifest = text(read_file(&args.manifest)?)?;
    let check_only = args.validate_only || args.only.is_some();
    if !check_only {
        check_directory(&args.directory)?;
    }
    let validity = if check_only { Validity::CheckOnly } else { Validity::CheckAndDo };
    let answered = client.create(&manifest, validity).await.map_err(refused)?;
    let warnings = warn(&answered);
    let (Some(id), Some(contents)) = (answered.text("JobId"), answered.text("SignatureFileContents")) else {
        print(&if output.json {
            json!({ "valid": true, "warnings": warnings }).to_string()
        } else {
            "The manifest is valid; no job was created.".to_owned()
        });
        return Ok(Exit::Done);
    };
    let path = args.directory.join(FILE_NAME);
    if output.json {
        write_signature(&path, &contents)?;
        print(
            &json!({ "job_id": id, "job_type": "Export", "signature_file": path, "warnings": warnings })
                .to_string(),
        );
    } else {
        print_created(&id, &answered.text("AwsShippingAddress").unwrap_or_default(), &contents, &path);
        write_signature(&path, &contents)?;
    }
    Ok(Exit::Done)
}

async fn update(client: &Client, args: UpdateJobArgs, output: &OutputArgs) -> Result<Exit> {
    refuse_imports(args.job_type)?;
    let manifest = text(read_file(&args.manifest)?)?;
    warn(&client.update(args.job.as_str(), &manifest).await.map_err(refused)?);
    // The protocol's answer has no signature; the job's status has.
    let status = client.status(args.job.as_str()).await.map_err(refused)?;
    let contents = status.text("SignatureFileContents").unwrap_or_default();
    if let Some(directory) = &args.directory {
        write_signature(&directory.join(FILE_NAME), &contents)?;
    }
    if output.json {
        show(&status, output);
    } else {
        print("JOB UPDATED");
        print(&format!("JobId:   {}", args.job));
        print(&boxed("SignatureFileContents"));
        print(contents.trim_end());
    }
    Ok(Exit::Done)
}

fn warn(answered: &Answered) -> Vec<String> {
    let told = answered.text("WarningMessage").unwrap_or_default();
    let warnings: Vec<String> = told.lines().map(str::to_owned).collect();
    for warning in &warnings {
        say(&format!("warning: {warning}"));
    }
    warnings
}

fn show(status: &Answered, output: &OutputArgs) {
    let text = |name: &str| status.text(name);
    if output.json {
        let names = [
            ("job_id", "JobId"),
            ("job_type", "JobType"),
            ("location", "LocationCode"),
            ("location_message", "LocationMessage"),
            ("progress", "ProgressCode"),
            ("progress_message", "ProgressMessage"),
            ("created", "CreationDate"),
            ("log_bucket", "LogBucket"),
            ("log_key", "LogKey"),
            ("signature", "Signature"),
            ("signature_file_contents", "SignatureFileContents"),
            ("manifest", "CurrentManifest"),
        ];
        let mut value: Value =
            names.iter().map(|(ours, theirs)| ((*ours).to_owned(), json!(text(theirs)))).collect();
        value["errors"] = json!(text("ErrorCount").and_then(|count| count.parse::<u64>().ok()));
        print(&value.to_string());
        return;
    }
    for name in [
        "JobId",
        "JobType",
        "LocationCode",
        "LocationMessage",
        "ProgressCode",
        "ProgressMessage",
        "ErrorCount",
        "CreationDate",
        "LogBucket",
        "LogKey",
    ] {
        if let Some(value) = text(name) {
            print(&format!("{:<17} {value}", format!("{name}:")));
        }
    }
    for name in ["SignatureFileContents", "CurrentManifest"] {
        print(&boxed(name));
        print(text(name).unwrap_or_default().trim_end());
    }
}

fn text(manifest: Vec<u8>) -> Result<String, UsageError> {
    String::from_utf8(manifest).map_err(|_| UsageError("the manifest is no UTF-8 text".to_owned()))
}

/// What the service refuses is for the user to set right; what does not arrive is not.
fn refused(error: ferry_transfer::Error) -> anyhow::Error {
    match (error.kind(), error.code()) {
        (ErrorKind::Transient, _) | (_, None) => error.into(),
        (_, Some(_)) => UsageError(error.chain()).into(),
    }
}
