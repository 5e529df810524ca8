//! `ferry run status`: how far a run has come.

use std::sync::Arc;

use anyhow::Result;
use ferry_transfer::history::History;
use ferry_transfer::run_status::{RunStatus, ScanStatus};
use ferry_transfer::state::{DirectoryState, ObjectState};
use ferry_transfer::task::Location;
use ferry_transfer::{KeyRange, RunId, SharedState};
use indicatif::{HumanBytes, HumanCount, HumanDuration};

use crate::args::{OutputArgs, RunCommand, RunCommandArgs, RunStatusArgs, SideAccess, StackArgs, StoreArgs};
use crate::command::ls::{shown, text_time};
use crate::config::Config;
use crate::deployed::Deployed;
use crate::ends::{Side, store_of};
use crate::exit::{Exit, UsageError, print};

/// Stretches of names to print at most.
const RANGES_SHOWN: usize = 20;

/// Runs one subcommand.
pub async fn run(args: RunCommandArgs, output: &OutputArgs) -> Result<Exit> {
    match args.command {
        RunCommand::Status(status) => self::status(status, &args.stack, output).await,
    }
}

async fn status(args: RunStatusArgs, stack: &StackArgs, output: &OutputArgs) -> Result<Exit> {
    let state: SharedState = match (args.state_dir, args.state) {
        (Some(directory), _) => Arc::new(DirectoryState::open(directory)?),
        (None, Some(location)) => stored(&Config::load(&args.config)?, &location).await?,
        (None, None) => {
            let location = Deployed::read(stack).await?.deployment.state()?;
            stored(&Config::load(&args.config)?, &location).await?
        }
    };
    let run = if let Some(run) = args.run {
        RunId::from(run)
    } else {
        let newest = History::of(state.as_ref()).runs().await?.into_iter().next();
        newest.ok_or_else(|| UsageError("no run has left anything there".to_owned()))?
    };
    let status = RunStatus::read(state.as_ref(), &run).await?;
    let status = status.ok_or_else(|| UsageError(format!("no run {run} has left anything there")))?;
    if output.json {
        print(&serde_json::to_string(&status)?);
    } else {
        for line in lines(&status) {
            print(&line);
        }
    }
    Ok(Exit::Done)
}

async fn stored(config: &Config, location: &Location) -> Result<SharedState> {
    let side = Side::connect(config, &location.store, StoreArgs::default(), SideAccess::default()).await?;
    let prefix = match location.prefix.trim_end_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    Ok(Arc::new(ObjectState::new(store_of(&side, &location.bucket), prefix)))
}

fn lines(status: &RunStatus) -> Vec<String> {
    let mut lines = vec![format!(
        "run {} of {}{}",
        status.run,
        status.task.as_deref().map_or_else(|| "an unknown task".to_owned(), |task| format!("task {task}")),
        status.started.map(|at| format!(", begun {}", text_time(at))).unwrap_or_default(),
    )];
    match &status.scan {
        None => lines.push("scan: nothing of it was written down".to_owned()),
        Some(scan) => lines.extend(scan_lines(scan)),
    }
    let left = status.left.map(|left| format!(", about {} left", HumanCount(left))).unwrap_or_default();
    lines.push(format!("jobs: {} ended{left}", HumanCount(status.ended)));
    let pace = status.per_second.map(|pace| format!("{} jobs a second", HumanCount(pace)));
    let eta = match (status.left, status.eta_secs) {
        (Some(0), _) if status.scan.as_ref().is_some_and(|scan| scan.is_complete) => {
            Some("nothing is left".to_owned())
        }
        (_, Some(secs)) if secs > 0 => {
            Some(format!("about {} for what was sent", HumanDuration(std::time::Duration::from_secs(secs))))
        }
        _ => None,
    };
    let words: Vec<String> = pace.into_iter().chain(eta).collect();
    if !words.is_empty() {
        lines.push(format!("pace: {}", words.join(", ")));
    }
    lines
}

fn scan_lines(scan: &ScanStatus) -> Vec<String> {
    let counts = scan.counts;
    let mut lines = vec![format!(
        "scan: {} objects found, {} at the destination only, {} jobs sent ({}), {} deletes",
        HumanCount(counts.found),
        HumanCount(counts.extra),
        HumanCount(counts.jobs),
        HumanBytes(counts.jobs_bytes),
        HumanCount(scan.deletes),
    )];
    if scan.is_complete {
        lines.push("      every name has been compared".to_owned());
    } else {
        lines.push(format!("      {} stretches of names are still to be compared:", scan.remaining.len()));
        lines.extend(
            scan.remaining.iter().take(RANGES_SHOWN).map(|range| format!("        {}", range_text(range))),
        );
    }
    lines
}

fn range_text(range: &KeyRange) -> String {
    let end = |name: &Option<String>, open: &str| name.as_deref().map_or_else(|| open.to_owned(), shown);
    format!("behind {} up to {}", end(&range.after, "the beginning"), end(&range.until, "the end"))
}
