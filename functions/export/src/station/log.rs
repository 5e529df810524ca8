//! The end of a job: its log, its report and the next medium's manifest.
//!
//! Owns: writing them down here and into the log bucket, and what the job's record says then. Does not own: rows and totals (`ferry_device::export_log`). Invariants: every object
//! that was listed has its row; memory does not grow with the log; the job has ended once both documents are in the log bucket.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use ferry_device::export_log::{
    LogWriter, NextMarker, Report, Status, log_key, next_manifest_key, report_key, write_planned,
};
use ferry_device::job::JobState;
use ferry_device::manifest::{Manifest, Operation};
use ferry_device::plan::Plan;
use ferry_device::verify::{Verdict, Verification};
use ferry_device::{Error, ErrorKind};
use ferry_transfer::Key;

use super::{Finished, Run, StationError, listing, save, upload};

/// What stands in the next manifest where its password belongs.
const FILL_IN: &str = "[the password of the next medium]";

impl Run<'_> {
    /// Log and report, here and in the log bucket; then the job has ended.
    pub(super) async fn log(&self, plan: &Plan, verdict: Option<Verdict>) -> Result<Finished, StationError> {
        let log = self.work.join("export-log.csv");
        let mut report = tokio::task::block_in_place(|| self.write_log(plan, &log))?;
        report.verification = Some(Verification::of(verdict.as_ref()));
        let next_manifest = match &report.next {
            Some(next) => Some(self.write_next_manifest(next)?),
            None => None,
        };
        let json = serde_json::to_vec_pretty(&report).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "no report can be written").caused_by(error)
        })?;
        let report_path = self.work.join("export-report.json");
        save(&report_path, &json)?;
        let bucket = self.bucket(&self.manifest.log_bucket).await?;
        let prefix = &self.manifest.log_prefix;
        let id = self.id.as_str();
        let next_manifest_key = next_manifest.as_ref().map(|_| next_manifest_key(prefix, id));
        for (path, name, content_type) in [
            (Some(&log), Some(log_key(prefix, id)), "text/csv"),
            (Some(&report_path), Some(report_key(prefix, id)), "application/json"),
            (next_manifest.as_ref(), next_manifest_key.clone(), "text/plain"),
        ] {
            if let (Some(path), Some(name)) = (path, name) {
                upload::file(&bucket, &key(name)?, path, content_type).await?;
            }
        }
        let wrong = verdict.as_ref().map_or(0, |verdict| verdict.wrong);
        let end =
            if report.has_errors() || wrong > 0 { JobState::SuccessWithErrors } else { JobState::Complete };
        let service = &self.station.service;
        let errors = report.given_up + report.archived + report.no_room + report.without_attributes + wrong;
        let ended = service
            .jobs()
            .change(&self.id, |mut job| {
                job.totals.objects_done = report.written + report.directories;
                job.totals.bytes_done = report.written_bytes;
                job.totals.objects = plan.summary().objects;
                job.totals.bytes = plan.summary().bytes;
                job.totals.errors = errors;
                job.verification.clone_from(&report.verification);
                job.next_manifest_key.clone_from(&next_manifest_key);
                job.held_by(&self.station.name)?;
                job.step(end, service.now())
            })
            .await?;
        let job = match ended {
            Some(Ok(job)) => job,
            Some(Err(refusal)) => {
                self.standing.end(refusal);
                return self.standing.check().and(Err(StationError::Canceled(self.id.clone())));
            }
            None => return Err(StationError::Canceled(self.id.clone())),
        };
        // Nothing will ask for it any more.
        if let Err(error) = service.forget_password(&job).await {
            tracing::warn!(job = %self.id, error = error.message, "the job's password is still kept");
        }
        Ok(Finished { job, report, verdict, next_manifest, log })
    }

    /// Every row, and the totals.
    fn write_log(&self, plan: &Plan, path: &Path) -> Result<Report, StationError> {
        let mut report = Report::of(plan, self.id.as_str())?;
        let file = File::create(path).map_err(Error::io("create", path))?;
        let mut log = LogWriter::new(BufWriter::new(file))?;
        write_planned(&mut log, plan)?;
        let now = self.station.service.now();
        for left_out in listing::left_out(&self.work)? {
            let left_out = left_out?;
            let status = if left_out.is_archived { Status::Archived } else { Status::DeviceFull };
            log.unplanned(now, &left_out.object, status)?;
            report.archived += u64::from(left_out.is_archived);
            report.no_room += u64::from(!left_out.is_archived);
        }
        log.into_inner()?;
        report.next = listing::next(&self.work)?;
        Ok(report)
    }

    /// The manifest that goes on where this medium ended. Its password is for its owner to fill in.
    fn write_next_manifest(&self, next: &NextMarker) -> Result<PathBuf, StationError> {
        let from = next.operation.saturating_sub(1) as usize;
        let mut operations: Vec<Operation> = self.manifest.operations.iter().skip(from).cloned().collect();
        if let Some(operation) = operations.first_mut() {
            operation.begin_marker = next.begin_marker.clone().or(operation.begin_marker.take());
        }
        let manifest = Manifest { operations, ..self.manifest.clone() };
        let password = manifest.password.as_ref().map(|_| FILL_IN);
        let text = manifest.to_text(password).replace(&format!("\"{FILL_IN}\""), FILL_IN);
        let path = self.work.join("next-manifest.txt");
        save(&path, text.as_bytes())?;
        Ok(path)
    }
}

fn key(name: String) -> Result<Key, StationError> {
    Key::new(name).map_err(|empty| {
        ferry_transfer::Error::new(ferry_transfer::ErrorKind::InvalidInput, "the log has no key")
            .caused_by(empty)
            .into()
    })
}
