//! `ferry serve`: arguments to settings, signals to an end.

use std::future::Future;

use anyhow::{Context as _, Result};
use ferry_export::Callers;
use tokio_util::sync::CancellationToken;

use super::export;
use crate::args::{ExportPlace, HostArgs, OutputArgs};
use crate::config::Config;
use crate::exit::{Exit, UsageError, print};
use crate::serve::access::{EVENT_SECRET_FILE, TOKEN_FILE};
use crate::serve::{Server, Settings};

/// Serves until it is told to stop.
pub async fn run(args: HostArgs, output: &OutputArgs) -> Result<Exit> {
    let stop = CancellationToken::new();
    // Heard from the beginning: who stops a server that has hardly begun means it.
    let told = told_to_stop()?;
    let mut keys = Vec::new();
    for reference in &args.export_credentials {
        let resolved = reference.resolve().await?;
        keys.push(resolved.ok_or_else(|| {
            let message = format!(
                "--export-credentials {reference} points at no keys that requests could be signed with"
            );
            UsageError(message)
        })?);
    }
    let state = args.state.open()?;
    let directory = std::path::absolute(state.root()).context("there is no current directory")?;
    let place = ExportPlace {
        state_dir: Some(directory.clone()),
        store: args.export_store,
        jobs_per_day: args.export_jobs_per_day,
        expire_days: args.export_expire_days,
        config: args.config.config.clone(),
        ..ExportPlace::default()
    };
    let settings = Settings {
        listen: args.listen,
        hosts: args.host,
        workers: usize::from(args.workers),
        streams: usize::from(args.concurrency),
        keep_runs: args.state.keep_runs,
        config: Config::load(&args.config)?,
        state,
    };
    let service = async |callers| Ok(export::service(&place, callers).await?.0);
    let server = Server::open(settings, service, Callers::from_iter(keys)).await?;
    let url = server.url()?;
    print(&if output.json {
        serde_json::json!({ "endpoint": url, "state": directory }).to_string()
    } else {
        let directory = directory.display();
        format!(
            "Listening at {url}\n  token: {directory}/{TOKEN_FILE}   secret of notifications: {directory}/{EVENT_SECRET_FILE}\n  \
             tasks: {directory}/tasks/NAME.yaml, or PUT {url}/api/tasks/NAME"
        )
    });
    let stopping = stop.clone();
    tokio::spawn(async move {
        told.await;
        stopping.cancel();
    });
    Box::pin(server.run(stop)).await?;
    Ok(Exit::Done)
}

/// Ends at Ctrl-C, and where there is one at SIGTERM.
fn told_to_stop() -> Result<impl Future<Output = ()> + Send + 'static> {
    #[cfg(unix)]
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("signals cannot be heard")?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        drop(tokio::signal::ctrl_c().await);
    })
}
