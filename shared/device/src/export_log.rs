//! The log of an export, as the original wrote it, and a report for programs.
//!
//! Owns: the CSV's columns, codes and date, the names of both documents, and the totals of the JSON report. Does not own: where they are put. Invariants: the
//! original's eight columns come first and in its order; every object that was listed has exactly one row.
//!
//! Source: the AWS Import/Export guide, "Log File Fields" and its sample; the codes 104 to 107 are Ferry's, in the gap after 103.

use std::io::Write;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::documents::{Allowance, lines};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Journal, Outcome, Record};
use crate::naming::Reason;
use crate::plan::{Object, Place, Plan, PlanEntry};
use crate::verify::Verification;

/// The columns, the first eight being the original's.
pub const HEADER: &str = "DateTime,File,Status,Code,Key,MD5,Bytes,Content-Type,\
                          SHA256,ETag,VersionId,LastModified,StorageClass,Remapped,Operation,Message";

/// `Tue 03 Feb 2009 21:57:43 GMT`, the sample's form; the guide's field table has another, in local time.
const DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short] [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// What a row says of a file whose attributes are not in the sidecar.
const NO_ROOM_FOR_ATTRIBUTES: &str = "its headers, metadata and tags had no room in .export/objects.jsonl";

/// What became of an object, as the columns Status and Code tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Copied to its own path or, with the reason under Remapped, to the recovery directory.
    Ok,
    /// The source answered this instead.
    Http(u16),
    /// Nothing of the job's, such as SIGNATURE.
    Ignored,
    /// Archived: the manifest does not ask for it to be restored, or it is archived once more.
    Archived,
    /// The medium is full; a job for the next begins with this object.
    DeviceFull,
    /// It changed after it was listed.
    Changed,
}

impl Status {
    /// The number in the column Status.
    pub fn number(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::Http(status) => status,
            Self::Ignored => 103,
            Self::Archived => 105,
            Self::DeviceFull => 106,
            Self::Changed => 107,
        }
    }

    /// The word in the column Code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Http(403) => "Forbidden",
            Self::Http(404) => "NotFound",
            Self::Http(503) => "ServiceUnavailable",
            Self::Http(_) => "Failed",
            Self::Ignored => "Ignored",
            Self::Archived => "Archived",
            Self::DeviceFull => "DeviceFull",
            Self::Changed => "Changed",
        }
    }
}

/// The object's name of the log: `logPrefix` comes before it as it is, without a slash.
pub fn log_key(log_prefix: &str, job_id: &str) -> String {
    format!("{log_prefix}export-log-{job_id}")
}

/// The name of the next medium's manifest.
pub fn next_manifest_key(log_prefix: &str, job_id: &str) -> String {
    format!("{log_prefix}next-manifest-{job_id}.txt")
}

/// The name of the report.
pub fn report_key(log_prefix: &str, job_id: &str) -> String {
    format!("{log_prefix}export-report-{job_id}.json")
}

/// Writes rows.
#[derive(Debug)]
pub struct LogWriter<W> {
    to: W,
}

impl<W: Write> LogWriter<W> {
    /// Begins a log with its header.
    pub fn new(mut to: W) -> Result<Self> {
        writeln!(to, "{HEADER}").map_err(failed)?;
        Ok(Self { to })
    }

    /// The row of an object that was not planned: archived, or past the end of the medium.
    pub fn unplanned(&mut self, at: OffsetDateTime, object: &Object, status: Status) -> Result<()> {
        self.row(at, "", object, status, None, "")
    }

    /// The row of a planned file or directory; a directory has no record.
    pub fn planned(&mut self, at: OffsetDateTime, entry: &PlanEntry, record: Option<&Record>) -> Result<()> {
        let status = match record.map_or(Outcome::Written, |record| record.outcome) {
            Outcome::Written => Status::Ok,
            Outcome::Changed => Status::Changed,
            Outcome::Missing => Status::Http(404),
            Outcome::Archived => Status::Archived,
            Outcome::Denied => Status::Http(403),
            Outcome::Failed => Status::Http(503),
        };
        let remapped = match &entry.place {
            Place::Recovered { reason, .. } => reason_word(*reason),
            _ => "",
        };
        self.row(at, entry.place.path().as_str(), &entry.object, status, record, remapped)
    }

    fn row(
        &mut self,
        at: OffsetDateTime,
        file: &str,
        object: &Object,
        status: Status,
        record: Option<&Record>,
        remapped: &str,
    ) -> Result<()> {
        let key = format!("{}/{}", object.bucket, object.key);
        let number = status.number().to_string();
        let bytes = object.size_bytes.to_string();
        let operation = (object.operation + 1).to_string();
        let modified = OffsetDateTime::from_unix_timestamp(object.modified_unix_secs).map(date);
        let fields: [&str; 16] = [
            &date(at),
            file,
            &number,
            status.code(),
            &key,
            record.and_then(|record| record.md5.as_deref()).unwrap_or(""),
            &bytes,
            record.and_then(|r| r.attributes.headers.get("content-type")).map_or("", String::as_str),
            record.map_or("", |record| &record.sha256),
            object.etag.as_deref().unwrap_or("").trim_matches('"'),
            object.version_id.as_deref().unwrap_or(""),
            &modified.unwrap_or_default(),
            object.storage_class.as_deref().unwrap_or(""),
            remapped,
            &operation,
            record.and_then(|record| record.message.as_deref()).unwrap_or(""),
        ];
        let row: Vec<String> = fields.into_iter().map(quoted).collect();
        writeln!(self.to, "{}", row.join(",")).map_err(failed)
    }

    /// Gives the written log back.
    pub fn into_inner(mut self) -> Result<W> {
        self.to.flush().map_err(failed)?;
        Ok(self.to)
    }
}

fn failed(e: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "cannot write the export log").caused_by(e)
}

fn reason_word(reason: Reason) -> &'static str {
    match reason {
        Reason::EmptyComponent => "empty-component",
        Reason::DotComponent => "dot-component",
        Reason::NameTooLong => "name-too-long",
        Reason::PathTooLong => "path-too-long",
        Reason::NulCharacter => "nul-character",
        Reason::ReservedName => "reserved-name",
        Reason::NameTaken => "name-taken",
        Reason::IsDirectory => "is-directory",
        Reason::DirectoryWithData => "directory-with-data",
        Reason::DirectorySpelling => "directory-spelling",
    }
}

fn date(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC).format(DATE).unwrap_or_default()
}

/// A field as RFC 4180 has it. What a spreadsheet would take for a formula gets an apostrophe before it.
fn quoted(field: &str) -> String {
    let guarded =
        if field.starts_with(['=', '+', '-', '@']) { format!("'{field}") } else { field.to_owned() };
    if guarded.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", guarded.replace('"', "\"\""))
    } else {
        guarded
    }
}

/// Writes a row for every entry of a finished plan.
pub fn write_planned<W: Write>(log: &mut LogWriter<W>, plan: &Plan) -> Result<()> {
    let ended = |record: &Record| OffsetDateTime::from_unix_timestamp(record.ended_unix_secs).ok();
    let mut records = Journal::records(plan.directory())?.peekable();
    // A directory has no time of its own: that of the file before it, or of the first.
    let first = records.peek().and_then(|record| record.as_ref().ok()).and_then(ended);
    let mut last = first.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let mut allowance = Allowance::default();
    for entry in plan.entries()? {
        let entry = entry?;
        let mut record = if entry.place.is_file() { records.next().transpose()? } else { None };
        if let Some(record) = &mut record {
            last = ended(record).unwrap_or(last);
            if !allowance.take(&record.attributes) && record.message.is_none() {
                record.message = Some(NO_ROOM_FOR_ATTRIBUTES.to_owned());
            }
        }
        log.planned(last, &entry, record.as_ref())?;
    }
    Ok(())
}

/// The report's totals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The job.
    pub job_id: String,
    /// Files whose bytes are all on the medium.
    pub written: u64,
    /// Their bytes.
    pub written_bytes: u64,
    /// Objects that are directories.
    pub directories: u64,
    /// Objects in the recovery directory.
    pub remapped: u64,
    /// Objects that changed, vanished or could not be read; zeros stand in their place.
    pub given_up: u64,
    /// Archived objects that were left out, or could not be read when their turn came.
    pub archived: u64,
    /// Objects that had no room.
    pub no_room: u64,
    /// Files whose headers, metadata and tags had no room in the sidecar; their bytes are all there.
    #[serde(default)]
    pub without_attributes: u64,
    /// Where the manifest for the next medium begins, where there is one: its operation, from one, and its `beginMarker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextMarker>,
    /// How much of the medium was read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
}

/// Where the next medium's manifest begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NextMarker {
    /// The operation to begin with, from one; those before it are done.
    pub operation: u32,
    /// Its `beginMarker`: the last key that is on this medium. Absent where the operation was not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin_marker: Option<String>,
}

impl Report {
    /// Counts what a finished plan's journal says; the caller adds what was never planned.
    pub fn of(plan: &Plan, job_id: &str) -> Result<Self> {
        let mut report = Self { job_id: job_id.to_owned(), ..Self::default() };
        for line in lines(plan)? {
            let line = line?;
            report.remapped += u64::from(matches!(line.entry.place, Place::Recovered { .. }));
            report.without_attributes += u64::from(line.attributes.is_none());
            match line.outcome {
                None => report.directories += 1,
                Some(Outcome::Written) => {
                    report.written += 1;
                    report.written_bytes += line.entry.object.size_bytes;
                }
                Some(Outcome::Archived) => report.archived += 1,
                Some(_) => report.given_up += 1,
            }
        }
        Ok(report)
    }

    /// Whether the job's state is `SuccessWithErrors`.
    pub fn has_errors(&self) -> bool {
        self.given_up > 0 || self.archived > 0 || self.no_room > 0 || self.without_attributes > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Attributes;
    use crate::naming::{FileSystem, NamingRules};
    use crate::plan::Planner;

    fn object(key: &str, size_bytes: u64) -> Object {
        Object {
            operation: 0,
            bucket: "b".into(),
            key: key.into(),
            version_id: None,
            etag: Some("\"D41D8CD98F00B204E9800998ECF8427E\"".into()),
            size_bytes,
            modified_unix_secs: 1_233_698_263,
            storage_class: Some("STANDARD".into()),
        }
    }

    fn record(sequence: u64, outcome: Outcome) -> Record {
        let mut attributes = Attributes::default();
        attributes.headers.insert("content-type".into(), "text/plain; a=\"b\"".into());
        Record {
            sequence,
            outcome,
            sha256: "aa".into(),
            md5: (outcome == Outcome::Written).then(|| "d41d8cd98f00b204e9800998ecf8427e".into()),
            ended_unix_secs: 1_233_698_263,
            attributes,
            message: (outcome != Outcome::Written).then(|| "the source said 412".into()),
        }
    }

    #[test]
    fn rows_begin_with_the_originals_columns() {
        let work = tempfile::tempdir().unwrap();
        let mut planner = Planner::new(work.path(), NamingRules::new(FileSystem::Ext4)).unwrap();
        for (key, size) in [("a,b", 3), ("d/", 0), ("/x", 1)] {
            planner.add("b", object(key, size)).unwrap();
        }
        let plan = planner.seal().unwrap();
        let (mut journal, _) = Journal::open(work.path()).unwrap();
        journal.add(&record(0, Outcome::Written)).unwrap();
        journal.add(&record(2, Outcome::Changed)).unwrap();
        journal.commit().unwrap();
        let mut log = LogWriter::new(Vec::new()).unwrap();
        write_planned(&mut log, &plan).unwrap();
        let at = OffsetDateTime::from_unix_timestamp(1_233_698_263).unwrap();
        log.unplanned(at, &object("=cmd", 9), Status::DeviceFull).unwrap();
        let text = String::from_utf8(log.into_inner().unwrap()).unwrap();
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        let tail = "D41D8CD98F00B204E9800998ECF8427E,,Tue 03 Feb 2009 21:57:43 GMT,STANDARD";
        let expected = [
            HEADER.to_owned(),
            format!(
                "Tue 03 Feb 2009 21:57:43 GMT,\"b/a,b\",200,OK,\"b/a,b\",{md5},3,\"text/plain; a=\"\"b\"\"\",aa,{tail},,1,"
            ),
            format!("Tue 03 Feb 2009 21:57:43 GMT,b/d,200,OK,b/d/,,0,,,{tail},,1,"),
            format!(
                "Tue 03 Feb 2009 21:57:43 GMT,EXPORT-RECOVERY/0000/0000,107,Changed,b//x,,1,\"text/plain; a=\"\"b\"\"\",aa,{tail},empty-component,1,the source said 412"
            ),
            format!("Tue 03 Feb 2009 21:57:43 GMT,,106,DeviceFull,b/=cmd,,9,,,{tail},,1,"),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);

        let report = Report::of(&plan, "TC44P").unwrap();
        assert_eq!((report.written, report.directories, report.remapped, report.given_up), (1, 1, 1, 1));
        assert!(report.has_errors());
    }

    #[test]
    fn names_are_the_prefix_and_the_job() {
        assert_eq!(log_key("logs/x-", "TC44P"), "logs/x-export-log-TC44P");
        assert_eq!(report_key("", "TC44P"), "export-report-TC44P.json");
    }
}
