//! `ferry serve`: every function of Ferry in one process that stays.
//!
//! Owns: putting the parts together, and their order at the beginning and the end. `tasks` keeps the documents and connects their stores,
//! `runs` executes them, `schedule` decides when, `desk` settles notifications from a queue on the disk, [`access`] decides who may
//! ask, `api` and `metrics` answer. Invariants: everything that outlives the process is in one directory, and one process has it;
//! what was promised to somebody (a notification taken, a run begun) is carried out, by the next process where this one is killed.

pub mod access;
mod api;
mod desk;
mod metrics;
mod runs;
mod schedule;
mod tasks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ferry_events::host::server::{Deadlines, serve};
use ferry_export::{Callers, Service};
use ferry_transfer::metric::Measures;
use ferry_transfer::state::{DirectoryState, Held, StateName};
use ferry_transfer::{Clock, SystemClock};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::access::Access;
use self::desk::Desk;
use self::metrics::Metrics;
use self::runs::Runs;
use self::tasks::TaskShelf;
use crate::config::Config;
use crate::exit::UsageError;

/// How long what is at work may take to its end once the process is told to stop. What is longer is done again by the next process.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server is told.
#[derive(Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Names of this machine that requests may use.
    pub hosts: Vec<String>,
    /// Jobs of notifications under way at once.
    pub workers: usize,
    /// Requests of each kind under way at once at each store.
    pub streams: usize,
    /// How many runs are remembered.
    pub keep_runs: u16,
    /// The stores.
    pub config: Config,
    /// The directory.
    pub state: DirectoryState,
}

/// Everything that the answers are made of.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) shelf: Arc<TaskShelf>,
    pub(crate) runs: Arc<Runs>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) metrics: Metrics,
    pub(crate) access: Access,
    pub(crate) state: DirectoryState,
}

/// A server that is ready to answer.
#[derive(Debug)]
pub struct Server {
    _held: Held,
    listener: TcpListener,
    shared: Arc<Shared>,
    export: Arc<Service>,
    settings: Settings,
}

impl Server {
    /// Takes the directory and the port. Nothing is begun yet.
    ///
    /// # Errors
    ///
    /// A [`UsageError`] where another process has the directory, or the address is one that strangers reach and no host is named.
    pub async fn open(
        settings: Settings,
        export: impl AsyncFnOnce(Callers) -> Result<Arc<Service>>,
        callers: Callers,
    ) -> Result<Self> {
        if !settings.listen.ip().is_loopback() && settings.hosts.is_empty() {
            let message = format!(
                "{} is not loopback: say by which name others ask for this machine with --host, and put TLS in front of it",
                settings.listen
            );
            return Err(UsageError(message).into());
        }
        let state = settings.state.clone();
        let held = state.hold(&StateName::new("serve.lock")?)?.ok_or_else(|| {
            UsageError(format!(
                "another `ferry serve` has {}; stop it, or name another directory with --state-dir",
                state.root().display()
            ))
        })?;
        let access = Access::open(state.root(), &settings.hosts)?;
        let shelf = Arc::new(TaskShelf::open(state.clone(), settings.config.clone(), settings.streams)?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let measures = Arc::new(Measures::default());
        let runs =
            Arc::new(Runs::new(Arc::clone(&shelf), state.clone(), settings.keep_runs, Arc::clone(&measures)));
        let desk = Desk::open(&state, Arc::clone(&shelf), Arc::clone(&measures), clock, access.events())?;
        let metrics = Metrics::new(measures);
        let listener = TcpListener::bind(settings.listen)
            .await
            .with_context(|| format!("cannot listen at {}", settings.listen))?;
        let export = export(callers).await?;
        let shared = Arc::new(Shared { shelf, runs, desk: Arc::new(desk), metrics, access, state });
        Ok(Self { _held: held, listener, shared, export, settings })
    }

    /// Where it listens.
    pub fn url(&self) -> Result<String> {
        Ok(format!("http://{}", self.listener.local_addr()?))
    }

    /// Works until `stop` is cancelled; then what is at work is finished, for a while.
    pub async fn run(self, stop: CancellationToken) -> Result<()> {
        let Self { _held, listener, shared, export, settings } = self;
        let work = TaskTracker::new();
        {
            let (runs, work, stop) = (Arc::clone(&shared.runs), work.clone(), stop.clone());
            // Beside the listener: a store that is away holds up nobody else.
            work.clone().spawn(async move { Box::pin(runs.begin_after_restart(&work, &stop)).await });
        }
        work.spawn(schedule::keep(
            Arc::clone(&shared.shelf),
            Arc::clone(&shared.runs),
            work.clone(),
            stop.clone(),
        ));
        shared.desk.employ(settings.workers, &work, &stop);
        let router = api::router(Arc::clone(&shared), export, work.clone(), stop.clone());
        let to_the_end = async {
            serve(listener, router, Deadlines::HTTP, stop.cancelled()).await;
            work.close();
            work.wait().await;
        };
        // One patience for connections and work alike.
        let no_longer = async {
            stop.cancelled().await;
            tokio::time::sleep(PATIENCE).await;
        };
        tokio::select! {
            () = to_the_end => {}
            () = no_longer => {
                tracing::warn!("what takes longer than {} s is left to the next process", PATIENCE.as_secs());
            }
        }
        shared.desk.close().await;
        Ok(())
    }
}
