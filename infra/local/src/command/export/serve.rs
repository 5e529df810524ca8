//! `ferry export serve`: the Import/Export API on this machine.

use anyhow::{Context as _, Result};
use ferry_export::{Callers, router};

use super::service;
use crate::args::{ExportPlace, OutputArgs, ServeArgs};
use crate::exit::{Exit, UsageError, print};

/// Serves until it is told to stop.
pub(super) async fn run(place: &ExportPlace, args: ServeArgs, output: &OutputArgs) -> Result<Exit> {
    if !args.listen.ip().is_loopback() {
        let message = format!("{} is not loopback; put a proxy with TLS in front of it instead", args.listen);
        return Err(UsageError(message).into());
    }
    let mut keys = Vec::new();
    for reference in &args.credentials {
        let resolved = reference.resolve().await?;
        keys.push(resolved.ok_or_else(|| {
            UsageError(format!(
                "--credentials {reference} points at no keys that requests could be signed with"
            ))
        })?);
    }
    let (service, _) = service(place, Callers::from_iter(keys)).await?;
    let listener = tokio::net::TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen at {}", args.listen))?;
    let url = format!("http://{}", listener.local_addr()?);
    print(&if output.json {
        serde_json::json!({ "endpoint": url }).to_string()
    } else {
        format!("The Import/Export API is at {url}: aws importexport list-jobs --endpoint-url {url}")
    });
    let stop = async {
        // Where the signal cannot be heard, the process ends by it all the same.
        drop(tokio::signal::ctrl_c().await);
    };
    axum::serve(listener, router(service)).with_graceful_shutdown(stop).await?;
    Ok(Exit::Done)
}
