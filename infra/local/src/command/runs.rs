//! `ferry runs`: what is remembered of past runs.

use anyhow::Result;
use ferry_transfer::history::History;
use ferry_transfer::{RunId, RunRecord};
use time::format_description::well_known::Rfc3339;

use crate::args::{OutputArgs, RunsArgs};
use crate::exit::{Exit, UsageError, print};

/// Lists runs, newest first, or shows one.
pub async fn run(args: RunsArgs, output: &OutputArgs) -> Result<Exit> {
    let state = args.state.open()?;
    let history = History::of(&state);
    if let Some(run) = args.run {
        let record = record(&history, &RunId::from(run)).await?;
        if output.json {
            print(&serde_json::to_string(&record)?);
        } else {
            print(&serde_json::to_string_pretty(&record)?);
        }
        return Ok(Exit::Done);
    }
    for run in history.runs().await? {
        let Some(record) = history.record(&run).await? else { continue };
        if output.json {
            print(&serde_json::to_string(&record)?);
        } else {
            print(&line(&record));
        }
    }
    Ok(Exit::Done)
}

/// What is remembered of the run; a usage error where nothing is.
pub(super) async fn record(history: &History<'_>, run: &RunId) -> Result<RunRecord> {
    let missing =
        || UsageError(format!("no run {run} is remembered here; `ferry runs` lists those that are"));
    Ok(history.record(run).await?.ok_or_else(missing)?)
}

fn line(record: &RunRecord) -> String {
    let report = record.report.as_ref();
    let count = |name: &str| report.and_then(|report| report[name].as_u64()).unwrap_or(0);
    format!(
        "{}  {}  {:<17}  {} → {}  copied {}, deleted {}, failed {}",
        record.run,
        record.started.replace_nanosecond(0).unwrap_or(record.started).format(&Rfc3339).unwrap_or_default(),
        record.outcome.to_string(),
        record.task.source,
        record.task.destination,
        count("copied"),
        count("deleted"),
        count("failed"),
    )
}
