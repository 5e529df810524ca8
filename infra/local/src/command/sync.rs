//! `ferry sync`: make the destination agree with the source.

use std::sync::Arc;

use anyhow::Result;
use ferry_transfer::checkpoint::{Checkpoint, TaskDigest};
use ferry_transfer::copy::CopySettings;
use ferry_transfer::state::DirectoryState;
use ferry_transfer::sweep::{LEFT_BEHIND_AFTER, drop_own};
use ferry_transfer::task::{Deletes, Task};
use ferry_transfer::upload::UploadRecords;
use ferry_transfer::{Clock as _, SystemClock};

use crate::args::{CopyArgs, OutputArgs, Resume, SyncArgs};
use crate::checkpoints::{self, Resumable, Stored};
use crate::ends::{Ends, Rules};
use crate::engine::{Finished, Run};
use crate::exit::{Exit, UsageError, print, say};
use crate::kept_run::KeptRun;
use crate::progress::{Show, watch};
use crate::report::Report;
use crate::run_log::ReceiptFile;

/// Copies what differs; deletes what is extra where that was asked for.
pub async fn run(args: SyncArgs, output: &OutputArgs) -> Result<Exit> {
    let rules = Rules { versions: args.versions.rule(), ..Rules::from_args(&args.copy, &args.deletes) };
    let ends = Ends::connect(args.pair, rules).await?;
    let mut run = Run::new(ends, settings(&args.copy));
    run = run.waiting_for_archives(args.copy.attributes.restore_wait());
    if let Some(file) = &args.receipts {
        run.add_receipts(Arc::new(ReceiptFile::create(file).map_err(|error| {
            UsageError(format!("the receipt file {} cannot be written: {error}", file.display()))
        })?));
    }
    // Who deletes must be able to write it down, and who goes on with a run to read it.
    let state = match args.deletes.deletes() {
        Deletes::Keep if args.resume.resume.is_none() => args.state.open_if_there_is_a_place()?,
        Deletes::Keep | Deletes::Mirror(_) => Some(args.state.open()?),
    };
    let task = run.ends.route.task.clone();
    let mut kept = None;
    if let Some(state) = state {
        let digest = TaskDigest::of(&task, &run.ends.endpoints())?;
        let stored = match &args.resume.resume {
            Some(resume) => resumable(&state, resume, &task, &digest).await?,
            None => None,
        };
        sweep(&run.ends, &state).await;
        let (begun, files) = KeptRun::begin(run, state, digest, stored, args.state.keep_runs).await?;
        (run, kept) = (begun, Some(files));
    }
    let to_end = to_end(&run, output);
    let finished = match &kept {
        Some(kept) => kept.drive(to_end).await,
        None => to_end.await,
    };
    let resumed = kept.as_ref().and_then(|kept| kept.resumed.clone());
    let report = Report { resumed, ..Report::new(finished, &task.source, &task.destination) };
    let exit = report.exit();
    if let Some(kept) = &kept {
        kept.end(&report).await?;
    }
    if output.json {
        print(&serde_json::to_string(&report)?);
    } else {
        print(report.text().trim_end());
    }
    Ok(exit)
}

/// Drops uploads of parts that an earlier run left under the destination a week ago or more: they cost, and nobody sees them.
async fn sweep(ends: &Ends, state: &DirectoryState) {
    let records = UploadRecords::new(Arc::new(state.clone()));
    let begun_before = SystemClock.now() - LEFT_BEHIND_AFTER;
    let prefix = &ends.route.task.destination.prefix;
    match drop_own(ends.route.destination.as_ref(), &records, prefix, begun_before).await {
        Ok(0) => {}
        Ok(dropped) => say(&format!("dropped {dropped} uploads that were left behind more than a week ago")),
        // Not this run's work: it copies all the same.
        Err(error) => {
            tracing::warn!(error = %error.chain(), "uploads that were left behind could not be dropped");
        }
    }
}

/// The run to go on with; `None`, and why on stderr, where a new one has to begin.
async fn resumable(
    state: &DirectoryState,
    resume: &Resume,
    task: &Task,
    digest: &TaskDigest,
) -> Result<Option<Stored>> {
    match checkpoints::find(state, resume, task, digest).await? {
        Resumable::Run(stored) => {
            let Checkpoint { run, names, .. } = &stored.checkpoint;
            let names = indicatif::HumanCount(*names);
            say(&format!("resuming run {run}: {names} names that it was done with are not listed again"));
            Ok(Some(stored))
        }
        Resumable::Nothing => {
            say("nothing to resume: the last run between these locations ended well, or there was none; \
                 every name is listed");
            Ok(None)
        }
        Resumable::OtherTask(run) => {
            say(&format!(
                "not resuming run {run}, since its keys, selection, names or rules differ from what is asked for now; \
                 every name is listed"
            ));
            Ok(None)
        }
    }
}

/// Copy settings from flags.
pub fn settings(args: &CopyArgs) -> CopySettings {
    CopySettings {
        streams: usize::from(args.concurrency),
        multipart_threshold_bytes: args.multipart_threshold.bytes,
        part_bytes: args.part_size.bytes,
        ..CopySettings::default()
    }
}

/// Runs to the end with progress on stderr. The first Ctrl-C lets objects on their way finish, the second does not.
pub async fn to_end(run: &Run, output: &OutputArgs) -> Finished {
    let stop = run.stop_token();
    let interrupts = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            say("stopping: objects on their way are being finished; press Ctrl-C again to leave them");
            stop.cancel();
            if tokio::signal::ctrl_c().await.is_ok() {
                leave();
            }
        }
    });
    let show = if output.quiet || output.json { Show::Nothing } else { Show::Progress };
    let finished = tokio::select! {
        finished = run.to_end() => finished,
        never = watch(run, show) => match never {},
    };
    interrupts.abort();
    finished
}

/// Unfinished uploads of parts are invisible; the next run goes on with them.
#[expect(clippy::exit, reason = "the user asked twice")]
fn leave() {
    std::process::exit(130);
}
