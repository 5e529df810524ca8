//! `ferry worker`: a deployment's worker on this machine.

use std::time::Duration;

use anyhow::Result;
use ferry_cloud::lambda::Environment;
use ferry_worker::{Poller, PollerSettings, Worker};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::{OutputArgs, WorkerArgs};
use crate::deployed::Deployed;
use crate::exit::{Exit, UsageError, say};

/// Takes jobs off the queue until it is told to stop.
pub async fn run(args: WorkerArgs, output: &OutputArgs) -> Result<Exit> {
    let environment = environment(&args).await?;
    let (worker, publisher) = Worker::of(&environment).await?;
    let queue = environment.deliveries().await?.ok_or_else(|| {
        UsageError(
            "there is no queue to work for: name it with --queue, or the deployment with --path".to_owned(),
        )
    })?;
    let settings = PollerSettings {
        hands: usize::from(args.hands),
        batch: usize::from(args.batch),
        batch_time: args.batch_time(),
        grace: Duration::from_secs(args.grace_secs),
        until_idle: args.until_idle_secs.map(Duration::from_secs),
    };
    let stop = CancellationToken::new();
    let mut terminated = signal(SignalKind::terminate())?;
    let told = stop.clone();
    let (quiet, grace_secs) = (output.quiet, args.grace_secs);
    let listening = tokio::spawn(async move {
        tokio::select! {
            _terminated = terminated.recv() => {}
            _interrupted = tokio::signal::ctrl_c() => {}
        }
        if !quiet {
            say(&format!("ferry: told to stop; what is not done within {grace_secs} s is handed back"));
        }
        told.cancel();
    });
    let worked = Poller::new(worker, queue, publisher, settings).run(&stop).await;
    listening.abort();
    worked?;
    Ok(Exit::Done)
}

/// What the process's variables say, and the deployment where they say nothing.
async fn environment(args: &WorkerArgs) -> Result<Environment> {
    let told = Environment::variable;
    let mut variables = match told("FERRY_TASK") {
        Some(_) if !args.large => Vec::new(),
        _ => Deployed::read(&args.stack).await?.deployment.variables(&args.stack.path),
    };
    if args.large {
        let large =
            variables.iter().find(|(name, _)| *name == "FERRY_LARGE_QUEUE_URL").map(|(_, url)| url.clone());
        variables.retain(|(name, _)| *name != "FERRY_JOB_QUEUE_URL");
        variables.extend(large.map(|url| ("FERRY_JOB_QUEUE_URL", url)));
    }
    let named = args.queue.clone();
    Ok(Environment::from_variables(|name| {
        let flag = named.clone().filter(|_| name == "FERRY_JOB_QUEUE_URL");
        let stack = || variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        match (flag, name) {
            (Some(queue), _) => Some(queue),
            // The flag is louder than a variable.
            (None, "FERRY_JOB_QUEUE_URL") if args.large => stack(),
            (None, _) => told(name).or_else(stack),
        }
    })?)
}
