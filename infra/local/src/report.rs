//! The final report of a run, for people and for machines.
//!
//! Owns: its fields, its JSON and its text. Does not own: the counting. Invariant: the JSON says everything the text does.

use std::collections::BTreeMap;

use ferry_finder::DeletePlan;
use ferry_transfer::RunOutcome;
use ferry_transfer::pace::PaceReading;
use ferry_transfer::receipt::SkipReason;
use ferry_transfer::scan::ListingReport;
use ferry_transfer::store::metered::{MeterReading, RequestKind};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use crate::engine::Finished;
use crate::exit::Exit;
use crate::tally::Failure;

/// Failures shown in the text; the JSON has more.
const FAILURES_SHOWN: usize = 20;

/// The final report of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The run.
    pub run: String,
    /// Where objects came from.
    pub source: String,
    /// Where they went.
    pub destination: String,
    /// What it had done with before, where it went on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
    /// Objects listed at the source.
    pub found: u64,
    /// Their bytes.
    pub found_bytes: u64,
    /// Copied and checked.
    pub copied: u64,
    /// Bytes of the copied objects.
    pub copied_bytes: u64,
    /// Already the same at the destination.
    pub up_to_date: u64,
    /// Deleted at the destination.
    pub deleted: u64,
    /// At the destination only, and left there.
    pub extra: u64,
    /// Skipped, all reasons together.
    pub skipped: u64,
    /// Skipped, by reason.
    pub skipped_by_reason: BTreeMap<SkipReason, u64>,
    /// Archived at the source: their restore was asked for, and they are not copied yet.
    pub parked: u64,
    /// Left out: the destination could not name them.
    pub nameless: u64,
    /// Left out by the task's selection.
    pub excluded: u64,
    /// Failed for good.
    pub failed: u64,
    /// The first failures.
    pub failures: Vec<Failure>,
    /// Attempts that failed and were made again.
    pub retried: u64,
    /// Copies by what their reading was checked against.
    pub read_checks: BTreeMap<&'static str, u64>,
    /// Copies by what their writing was checked against.
    pub write_checks: BTreeMap<&'static str, u64>,
    /// Requests, by side and kind.
    pub requests: Requests,
    /// How fast each side was asked, by kind of request.
    pub pace: Paces,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How both sides were listed.
    pub listing: ListingReport,
    /// What became of extra objects.
    pub deletes: DeletePlan,
    /// Why the listing did not end, if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scan_error: Option<String>,
    /// Why the run was given up, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gave_up: Option<String>,
    /// It was told to stop before its end.
    pub interrupted: bool,
    /// The exit code.
    pub exit_code: u8,
}

/// Requests, by side.
#[derive(Debug, Serialize)]
pub struct Requests {
    /// To the source.
    pub source: MeterReading,
    /// To the destination.
    pub destination: MeterReading,
}

/// How fast each side was asked.
#[derive(Debug, Serialize)]
pub struct Paces {
    /// The source.
    pub source: PaceReading,
    /// The destination.
    pub destination: PaceReading,
}

/// What a run that was gone on with had done before. The counts of the report are without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resumed {
    /// Names that were not listed again.
    pub names: u64,
}

impl Report {
    /// Of a finished run between two locations.
    pub fn new(
        finished: Finished,
        source: &dyn std::fmt::Display,
        destination: &dyn std::fmt::Display,
    ) -> Self {
        let Finished {
            id,
            scan,
            scan_error,
            counts,
            source: source_reading,
            destination: destination_reading,
            source_pace,
            destination_pace,
            elapsed,
            interrupted,
        } = finished;
        let mut report = Self {
            run: id.as_str().to_owned(),
            source: source.to_string(),
            destination: destination.to_string(),
            resumed: None,
            found: scan.found,
            found_bytes: scan.found_bytes,
            copied: counts.copied,
            copied_bytes: counts.copied_bytes,
            up_to_date: scan.up_to_date + counts.up_to_date,
            deleted: counts.deleted,
            extra: scan.extra.saturating_sub(counts.deleted),
            skipped: counts.skipped.values().sum(),
            skipped_by_reason: counts.skipped,
            parked: counts.parked,
            nameless: scan.nameless,
            excluded: scan.excluded,
            failed: counts.failed,
            failures: counts.failures,
            retried: counts.retried,
            read_checks: counts.read_checks,
            write_checks: counts.write_checks,
            requests: Requests { source: source_reading, destination: destination_reading },
            pace: Paces { source: source_pace, destination: destination_pace },
            seconds: elapsed.as_secs_f64(),
            listing: scan.listing,
            deletes: scan.deletes,
            scan_error: scan_error.map(|error| error.chain()),
            gave_up: counts.gave_up,
            interrupted,
            exit_code: 0,
        };
        report.exit_code = report.exit().code();
        report
    }

    /// How the command ends.
    pub fn exit(&self) -> Exit {
        if self.failed > 0 || self.scan_error.is_some() || self.interrupted {
            Exit::Failed
        } else if matches!(self.deletes, DeletePlan::Refused { .. } | DeletePlan::Disordered) {
            Exit::Refused
        } else if self.parked > 0 {
            Exit::Different
        } else {
            Exit::Done
        }
    }

    /// How the run ended, for what is remembered of it.
    pub fn outcome(&self) -> RunOutcome {
        match self.exit() {
            _ if self.interrupted => RunOutcome::Interrupted,
            Exit::Failed | Exit::Usage => RunOutcome::Failed,
            Exit::Refused => RunOutcome::Refused,
            Exit::Done | Exit::Different => RunOutcome::Done,
        }
    }

    /// The report as text.
    pub fn text(&self) -> String {
        let mut text = format!("{} → {}\n", self.source, self.destination);
        if let Some(Resumed { names }) = &self.resumed {
            text.push_str(&format!(
                "  resumed    {}; {} names it was done with were not listed again\n",
                self.run,
                HumanCount(*names)
            ));
        }
        let mut row = |name: &str, value: String| text.push_str(&format!("  {name:<11}{value}\n"));
        row("found", format!("{} objects, {}", HumanCount(self.found), HumanBytes(self.found_bytes)));
        row(
            "copied",
            format!(
                "{} objects, {}{}",
                HumanCount(self.copied),
                HumanBytes(self.copied_bytes),
                self.checks()
            ),
        );
        row("up to date", HumanCount(self.up_to_date).to_string());
        if self.deleted > 0 {
            row("deleted", HumanCount(self.deleted).to_string());
        }
        if self.extra > 0 {
            row("extra", format!("{} at the destination only, left there", HumanCount(self.extra)));
        }
        if self.excluded > 0 {
            row("excluded", format!("{} outside the selection", HumanCount(self.excluded)));
        }
        let mut reasons: Vec<String> = self
            .skipped_by_reason
            .iter()
            .map(|(reason, count)| format!("{} {reason}", HumanCount(*count)))
            .collect();
        if self.nameless > 0 {
            reasons.push(format!("{} without a name on the other side", HumanCount(self.nameless)));
        }
        let why = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        row("skipped", format!("{}{why}", HumanCount(self.skipped + self.nameless)));
        if self.parked > 0 {
            row("parked", format!("{} archived, being restored", HumanCount(self.parked)));
        }
        row("failed", HumanCount(self.failed).to_string());
        row(
            "requests",
            format!(
                "source {}; destination {}",
                kinds(&self.requests.source),
                kinds(&self.requests.destination)
            ),
        );
        if self.listing.ranges > 1 {
            row("listed", format!("{} ranges of keys", HumanCount(self.listing.ranges as u64)));
        }
        row(
            "pace",
            format!("source {}; destination {}", lanes(&self.pace.source), lanes(&self.pace.destination)),
        );
        row("time", self.time());
        self.add_problems(&mut text);
        text
    }

    fn checks(&self) -> String {
        if self.copied == 0 {
            return String::new();
        }
        let list = |checks: &BTreeMap<&'static str, u64>| {
            let words: Vec<String> =
                checks.iter().map(|(word, count)| format!("{word} {}", HumanCount(*count))).collect();
            words.join(", ")
        };
        format!(" (read checked by {}; write by {})", list(&self.read_checks), list(&self.write_checks))
    }

    fn time(&self) -> String {
        let per_sec = |count: u64| {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate for a person"
            )]
            let rate = (count as f64 / self.seconds.max(0.001)) as u64;
            rate
        };
        let mut time = format!("{:.1} s", self.seconds);
        if self.copied > 0 {
            time.push_str(&format!(
                ", {} objects/s, {}/s",
                HumanCount(per_sec(self.copied)),
                HumanBytes(per_sec(self.copied_bytes))
            ));
        }
        time
    }

    fn add_problems(&self, text: &mut String) {
        if self.retried > 0 {
            text.push_str(&format!("{} attempts failed and were made again.\n", HumanCount(self.retried)));
        }
        if let Some(error) = &self.scan_error {
            text.push_str(&format!("The listing did not end, so more may be missing: {error}\n"));
        }
        if let Some(error) = &self.gave_up {
            text.push_str(&format!("Given up, since no object can succeed: {error}\n"));
        } else if self.interrupted {
            text.push_str("Stopped before the end. Run it again: it copies what is left; with --resume it lists no more than that.\n");
        }
        for (side, remark) in [("source", &self.listing.source), ("destination", &self.listing.destination)] {
            if let Some(remark) = remark {
                text.push_str(&format!("The {side} {remark}.\n"));
            }
        }
        if self.parked > 0 {
            text.push_str(&format!(
                "{} archived objects are parked: run it again after their restore (expedited: minutes, standard: 3 to 12 hours, bulk: \
                 up to 48 hours), or wait with --restore-wait.\n",
                HumanCount(self.parked)
            ));
        }
        match &self.deletes {
            DeletePlan::Refused { planned, held, limit } => text.push_str(&format!(
                "Refused to delete {} of {} objects at the destination: more than --max-delete {limit}. Nothing was deleted.\n",
                HumanCount(*planned),
                HumanCount(*held)
            )),
            DeletePlan::NotWholeKeyspace | DeletePlan::Elsewhere => text.push_str("Nothing was deleted: the scan did not see every key.\n"),
            DeletePlan::Disordered => text.push_str(
                "Nothing was deleted: a side lists its keys in no order, which proves too little about what is gone.\n",
            ),
            DeletePlan::Nothing | DeletePlan::Enqueued(_) => {}
        }
        for failure in self.failures.iter().take(FAILURES_SHOWN) {
            text.push_str(&format!("failed {:?}: {}\n", failure.key, failure.error));
        }
        let more = self.failed.saturating_sub(FAILURES_SHOWN as u64);
        if more > 0 {
            text.push_str(&format!(
                "… and {} more failures (--json or --receipts FILE lists them).\n",
                HumanCount(more)
            ));
        }
    }
}

/// `up to 64 reads at once (3 throttled; limit now 45)`.
fn lanes(reading: &PaceReading) -> String {
    let words: Vec<String> = reading
        .iter()
        .map(|(lane, gate)| {
            let throttled = match gate.throttled {
                0 => String::new(),
                count => format!(" ({} throttled; limit now {})", HumanCount(count), gate.limit),
            };
            format!("up to {} {} at once{throttled}", gate.peak, lane.word())
        })
        .collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// `5 LIST, 3,000 GET`.
pub fn kinds(reading: &MeterReading) -> String {
    let mut words: Vec<String> = RequestKind::ALL
        .into_iter()
        .filter_map(|kind| Some(format!("{} {}", HumanCount(*reading.requests.get(&kind)?), kind.word())))
        .collect();
    if reading.throttled > 0 {
        words.push(format!("{} throttled", HumanCount(reading.throttled)));
    }
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
