//! `ferry probe`: what a store can and cannot do, found out by doing.
//!
//! Owns: which side is tried as what, stopping at Ctrl-C, and printing. Does not own: the trial ([`ferry_cloud::probe`]).

use std::sync::Arc;

use anyhow::Result;
use ferry_cloud::S3Account;
use ferry_cloud::probe::{Fact, Outcome, Probe, Report, Role, losses};
use ferry_transfer::task::Location;
use ferry_transfer::{ErrorKind, RunId, SystemClock};
use serde_json::{Value, json};

use crate::args::{OutputArgs, ProbeArgs, StoreArgs};
use crate::ends::{single_account, unusable};
use crate::exit::{Exit, UsageError, print, say};

/// Tries one store, or both sides of a pair.
pub async fn run(args: ProbeArgs, output: &OutputArgs) -> Result<Exit> {
    let ProbeArgs { location, destination, read_only, config, store, source_store, dest_store } = args;
    let (source_store, dest_store) = (StoreArgs::from(source_store), StoreArgs::from(dest_store));
    let Some(destination) = destination else {
        let flags = if store.is_empty() { source_store } else { store };
        if let Some(name) = location.strip_suffix("://") {
            return hello(&single_account(&config, name, flags).await?, output).await;
        }
        let location = parsed(&location)?;
        let account = single_account(&config, &location.store, flags).await?;
        let role = if read_only { Role::Source } else { Role::Destination };
        let report = tried(&account, &location, role, output).await;
        if output.json {
            print(&serde_json::to_string(&report)?);
        } else {
            print(text(&report, &location.store).trim_end());
        }
        return Ok(exit(&[&report]));
    };
    let (source, destination) = (parsed(&location)?, parsed(&destination)?);
    let from = single_account(&config, &source.store, source_store).await?;
    let to = single_account(&config, &destination.store, dest_store).await?;
    let role = if read_only { Role::Source } else { Role::Destination };
    let from = tried(&from, &source, Role::Source, output).await;
    let to = tried(&to, &destination, role, output).await;
    let lost = losses(&from.found_profile.capabilities, &to.found_profile.capabilities);
    if output.json {
        print(&json!({ "source": from, "destination": to, "losses": lost }).to_string());
    } else {
        let mut pair = format!("{}\n{}\n", text(&from, &source.store), text(&to, &destination.store));
        pair.push_str(if lost.is_empty() { "this pair loses nothing\n" } else { "this pair loses\n" });
        pair.extend(lost.iter().map(|loss| format!("  {loss}\n")));
        print(pair.trim_end());
    }
    Ok(exit(&[&from, &to]))
}

fn parsed(location: &str) -> Result<Location, UsageError> {
    location.parse().map_err(|error| UsageError(format!("{error}")))
}

/// Without a bucket: whether the endpoint is there and knows the credentials.
async fn hello(account: &S3Account, output: &OutputArgs) -> Result<Exit> {
    let buckets = account.list_buckets().await;
    let buckets = buckets.map_err(|error| unusable("store", account.endpoint(), error))?;
    let names: Vec<&str> = buckets.iter().map(|bucket| bucket.name.as_str()).collect();
    if output.json {
        print(&json!({ "endpoint": account.endpoint(), "usable": true, "buckets": names }).to_string());
    } else {
        print(&format!(
            "{} answers and knows these credentials; buckets: {}\nname one to try it: ferry probe {}://BUCKET",
            account.endpoint(),
            if names.is_empty() { "none".to_owned() } else { names.join(", ") },
            account.name()
        ));
    }
    Ok(Exit::Done)
}

/// One trial, cleaned up after, also where Ctrl-C ends it early.
async fn tried(account: &S3Account, location: &Location, role: Role, output: &OutputArgs) -> Report {
    let run = RunId::new(&SystemClock);
    let bucket = Arc::new(account.bucket(&location.bucket));
    let probe = Probe::new(bucket, &location.prefix, role, run.as_str(), Arc::new(SystemClock));
    if !output.quiet && !output.json {
        let writing = match role {
            Role::Source => "nothing is written".to_owned(),
            Role::Destination => format!("writing under {} only", probe.own_prefix()),
        };
        say(&format!("trying {location} with at most {} requests; {writing}", probe.requests_max()));
    }
    tokio::select! {
        () = probe.run() => {}
        _ = tokio::signal::ctrl_c() => say("stopping: what was written is being removed"),
    }
    probe.clean_up().await;
    probe.report()
}

fn exit(reports: &[&Report]) -> Exit {
    if reports.iter().all(|report| report.usable) {
        return Exit::Done;
    }
    // What keeps a store from being reached or listed is for the user to set right.
    let misconfigured = reports.iter().any(|report| report.fault == Some(ErrorKind::Configuration));
    if misconfigured { Exit::Usage } else { Exit::Failed }
}

fn text(report: &Report, store: &str) -> String {
    let mut text = format!("{} at {}\n", report.location, report.endpoint);
    for finding in &report.findings {
        let mark = match finding.outcome {
            Outcome::Yes => "yes",
            Outcome::No => "no",
            Outcome::Broken => "FAILS",
            Outcome::Untried => "-",
        };
        let surprise = match &finding.fact {
            Some(fact) if fact.is_difference() => format!("  [{}]", believed(fact)),
            _ => String::new(),
        };
        text.push_str(&format!("  {:<16}{mark:<7}{}{surprise}\n", finding.check, finding.detail));
    }
    text.push_str(&format!(
        "  {} requests of at most {}, {} bytes written\n",
        report.requests, report.requests_max, report.written_bytes
    ));
    if !report.left_behind.is_empty() {
        text.push_str("  left behind, to be removed by hand:\n");
        text.extend(report.left_behind.iter().map(|left| format!("    {left}\n")));
    }
    if !report.overrides.is_empty() {
        text.push_str("the profile believes otherwise; for ferry.yaml:\n");
        text.push_str(&format!("  stores:\n    {store}:\n"));
        text.extend(report.overrides.lines().map(|line| format!("      {line}\n")));
    }
    let role = match report.role {
        Role::Source => "as a source",
        Role::Destination => "as a source and as a destination",
    };
    text.push_str(&format!("{} {role}\n", if report.usable { "usable" } else { "NOT usable" }));
    text
}

fn believed(fact: &Fact) -> String {
    match &fact.believed {
        Value::String(word) if word == "unknown" => "unknown until now".to_owned(),
        Value::String(word) => format!("the profile says {word}"),
        other => format!("the profile says {other}"),
    }
}
