//! The `ferry` program, as a library: every function of Ferry hosted in one process on one machine.
//!
//! [`args`] parses without side effects, [`ends`] turns arguments and `ferry.yaml` into connected stores, [`engine`] hosts the finder
//! and worker handlers over an in-memory queue, and each command is a file under [`command`].

pub mod args;
pub mod checkpoints;
pub mod command;
pub mod config;
pub mod deployed;
pub mod documents;
pub mod dth;
pub mod ends;
pub mod engine;
pub mod exit;
pub mod kept_run;
pub mod progress;
pub mod report;
pub mod run_log;
pub mod serve;
pub mod tally;

use args::{Args, Command, OutputArgs};
use exit::Exit;
use tracing_subscriber::EnvFilter;

/// Runs one command line to its end.
pub fn run(args: Args) -> Exit {
    let Args { command, output } = args;
    start_logging(&output, &command);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::failed(&anyhow::Error::new(error).context("the runtime did not start")),
    };
    let outcome = runtime.block_on(async {
        match command {
            Command::Sync(sync) => Box::pin(command::sync::run(*sync, &output)).await,
            Command::Plan(plan) => Box::pin(command::plan::run(*plan, &output)).await,
            Command::Verify(verify) => Box::pin(command::verify::run(*verify, &output)).await,
            Command::Why(why) => command::why::run(*why, &output).await,
            Command::Runs(runs) => command::runs::run(runs, &output).await,
            Command::Undelete(undelete) => command::undelete::run(*undelete, &output).await,
            Command::Demo(demo) => command::demo::run(demo, &output).await,
            Command::Ls(ls) => command::ls::run(*ls, &output).await,
            Command::Probe(probe) => Box::pin(command::probe::run(*probe, &output)).await,
            Command::Reconcile(reconcile) => command::reconcile::run(*reconcile, &output).await,
            Command::Events(events) => command::events::run(*events, &output).await,
            Command::Sweep(sweep) => command::sweep::run(*sweep, &output).await,
            Command::Export(export) => Box::pin(command::export::run(*export, &output)).await,
            Command::Task(task) => Box::pin(command::task::run(*task, &output)).await,
            Command::Queue(queue) => Box::pin(command::queue::run(*queue, &output)).await,
            Command::Run(run) => Box::pin(command::run::run(*run, &output)).await,
            Command::Worker(worker) => Box::pin(command::worker::run(*worker, &output)).await,
            Command::Serve(serve) => Box::pin(command::serve::run(*serve, &output)).await,
            Command::Presign(presign) => command::presign::run(*presign, &output).await,
        }
    });
    // Connections and aborted page fetches need no farewell.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| exit::failed(&error))
}

/// Logs go to stderr: none by default, more with `-v` or `FERRY_LOG`.
fn start_logging(output: &OutputArgs, command: &Command) {
    // What a program that stays has done is nowhere else to be seen.
    let unasked = u8::from(matches!(command, Command::Serve(_)));
    let level = match output.verbose + unasked {
        0 => "off",
        1 => {
            "ferry=info,ferry_transfer=info,ferry_cloud=info,ferry_finder=info,ferry_worker=info,ferry_events=info,ferry_export=info"
        }
        2 => {
            "ferry=debug,ferry_transfer=debug,ferry_cloud=debug,ferry_finder=debug,ferry_worker=debug,ferry_events=debug,ferry_export=debug"
        }
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("FERRY_LOG").unwrap_or_else(|_unset_or_wrong| EnvFilter::new(level));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if output.json { logs.json().try_init() } else { logs.try_init() };
    // A second `run` in one process (a test) keeps the first one's logging.
    drop(started);
}
