//! `ferry sync`: make the destination agree with the source.

use std::sync::Arc;

use anyhow::Result;
use ferry_transfer::copy::CopySettings;
use ferry_transfer::task::Deletes;

use crate::args::{CopyArgs, OutputArgs, SyncArgs};
use crate::ends::{Ends, Rules};
use crate::engine::{Finished, Run};
use crate::exit::{Exit, UsageError, print, say};
use crate::progress::{Show, watch};
use crate::report::Report;
use crate::run_log::{ReceiptFile, RunLog};

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
    // Who deletes must be able to write it down.
    let state = match args.deletes.deletes() {
        Deletes::Keep => args.state.open_if_there_is_a_place()?,
        Deletes::Mirror(_) => Some(args.state.open()?),
    };
    let mut log = None;
    if let Some(state) = state {
        let task = &run.ends.route.task;
        let begun = RunLog::begin(state.clone(), &run.id, task, args.state.keep_runs).await?;
        run = run.keeping(log.insert(Arc::new(begun))).remembering(Arc::new(state));
    }
    let finished = to_end(&run, output).await;
    let task = &run.ends.route.task;
    let report = Report::new(finished, &task.source, &task.destination);
    let exit = report.exit();
    if let Some(log) = &log {
        log.end(report.outcome(), serde_json::to_value(&report)?).await?;
    }
    if output.json {
        print(&serde_json::to_string(&report)?);
    } else {
        print(report.text().trim_end());
    }
    Ok(exit)
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
