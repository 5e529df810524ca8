//! The events function on whichever host it finds itself: configuration in, handler out.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use ferry_events::host::server::{Deadlines, bind, serve};
use ferry_events::host::{Door, function_compute, http, lambda};
use ferry_events::{HostKind, Settings};
use ferry_transfer::SystemClock;
use lambda_runtime::{LambdaEvent, run, service_fn};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    let settings = Settings::read().map_err(|error| error.chain())?;
    match settings.host {
        HostKind::Lambda => {
            lambda_runtime::tracing::init_default_subscriber();
            let door = door(settings).await?;
            run(service_fn(|event: LambdaEvent<Value>| async {
                lambda::handle(&door, event.payload).await.map_err(|failure| failure.to_string())
            }))
            .await
        }
        HostKind::FunctionCompute { port, invokers } => {
            log_to_stderr();
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            let router = function_compute::router(door(settings).await?, invokers);
            listen(address, router, Deadlines::FUNCTION_COMPUTE).await?;
            Ok(())
        }
        HostKind::Http(address) => {
            log_to_stderr();
            listen(address, http::router(door(settings).await?), Deadlines::HTTP).await?;
            Ok(())
        }
    }
}

async fn door(settings: Settings) -> Result<Door, String> {
    settings.door(Arc::new(SystemClock)).await.map_err(|error| error.chain())
}

fn log_to_stderr() {
    tracing_subscriber::fmt().json().with_max_level(tracing::Level::INFO).with_writer(std::io::stderr).init();
}

/// Until it is told to stop; then what is at work is finished.
async fn listen(address: SocketAddr, router: Router, deadlines: Deadlines) -> Result<()> {
    let listener = bind(address).with_context(|| format!("{address} cannot be listened on"))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let mut terminated = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _terminated = terminated.recv() => {}
            _interrupted = tokio::signal::ctrl_c() => {}
        }
    };
    serve(listener, router, deadlines, stop).await;
    Ok(())
}
