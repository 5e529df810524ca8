//! The processes of a function, as Lambda keeps them.
//!
//! Owns: one process for each invocation under way, started where none is idle, and its end by a crash or by taking too long. Does not
//! own: what is said to it ([`RuntimeApi`]), nor who invokes. Invariant: a process that crashed or took too long is never asked again, and none
//! outlives its [`Sandboxes`]. Follows the AWS Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle".
//!
//! Left out: the limit of memory, the end of a process that has been idle for long, a time of its own for the start: it counts as the
//! first invocation's.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::runtime_api::{FunctionError, InvocationError, RuntimeApi};

/// A function's processes. They end when this is dropped.
#[derive(Debug)]
pub struct Sandboxes {
    program: PathBuf,
    variables: Vec<(String, String)>,
    timeout: Duration,
    idle: Mutex<Vec<Sandbox>>,
    pids: Pids,
}

/// Why an invocation of a function has no result.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The process or its host could not be started.
    #[error("the function's process could not be started")]
    Start(#[source] std::io::Error),
    /// The process ended before it had answered.
    #[error("the function's process ended: {0}")]
    Exited(ExitStatus),
    /// The process lives, or did until its time was up.
    #[error(transparent)]
    Invocation(#[from] InvocationError),
}

impl SandboxError {
    /// As Lambda tells it to who invoked.
    pub fn document(&self) -> FunctionError {
        let error_type = match self {
            Self::Invocation(InvocationError::Function(error) | InvocationError::Init(error)) => {
                return error.clone();
            }
            Self::Invocation(InvocationError::DeadlineExceeded(_)) => "Sandbox.Timedout",
            Self::Invocation(InvocationError::NotJson(_) | InvocationError::Stopped) => "Runtime.Unknown",
            Self::Exited(_) => "Runtime.ExitError",
            Self::Start(_) => "Runtime.InvalidEntrypoint",
        };
        FunctionError {
            error_type: error_type.into(),
            error_message: self.to_string(),
            ..FunctionError::default()
        }
    }

    /// Whether the process that said so is fit for another invocation.
    fn leaves_it_well(&self) -> bool {
        matches!(self, Self::Invocation(InvocationError::Function(_) | InvocationError::NotJson(_)))
    }
}

/// One process and the host that it asks for work.
#[derive(Debug)]
struct Sandbox {
    api: RuntimeApi,
    process: Child,
    /// Of the process, for as long as it is counted as running.
    _listed: Listed,
}

type Pids = Arc<Mutex<BTreeSet<u32>>>;

#[derive(Debug)]
struct Listed {
    pids: Pids,
    pid: Option<u32>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            locked(&self.pids).remove(&pid);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sandboxes {
    /// A function that is this program with these variables and what Lambda adds to them, and may take `timeout` for an invocation.
    pub fn new(program: impl Into<PathBuf>, variables: Vec<(String, String)>, timeout: Duration) -> Self {
        Self { program: program.into(), variables, timeout, idle: Mutex::default(), pids: Pids::default() }
    }

    /// Invokes the function: in an idle process, or in a new one.
    pub async fn invoke(&self, event: &Value) -> Result<Value, SandboxError> {
        let mut sandbox = match self.take_idle() {
            Some(sandbox) => sandbox,
            None => self.start().await?,
        };
        let outcome = tokio::select! {
            biased;
            outcome = sandbox.api.invoke(event, self.timeout) => outcome.map_err(SandboxError::from),
            exited = sandbox.process.wait() => Err(exited.map_or_else(SandboxError::Start, SandboxError::Exited)),
        };
        if outcome.as_ref().err().is_none_or(SandboxError::leaves_it_well) {
            locked(&self.idle).push(sandbox);
        } else if let Err(error) = sandbox.process.kill().await {
            tracing::error!(%error, "a function's process was not ended");
        }
        outcome
    }

    /// The processes that are running, idle ones among them.
    pub fn pids(&self) -> Vec<u32> {
        locked(&self.pids).iter().copied().collect()
    }

    /// The process that was idle for the shortest time; those that have ended meanwhile are forgotten.
    fn take_idle(&self) -> Option<Sandbox> {
        let mut idle = locked(&self.idle);
        while let Some(mut sandbox) = idle.pop() {
            if matches!(sandbox.process.try_wait(), Ok(None)) {
                return Some(sandbox);
            }
        }
        None
    }

    async fn start(&self) -> Result<Sandbox, SandboxError> {
        let api = RuntimeApi::start().await.map_err(SandboxError::Start)?;
        let process = Command::new(&self.program)
            .env_clear()
            .envs(api.environment())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(SandboxError::Start)?;
        let pid = process.id();
        locked(&self.pids).extend(pid);
        Ok(Sandbox { api, process, _listed: Listed { pids: Arc::clone(&self.pids), pid } })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    const SOON: Duration = Duration::from_millis(200);
    const MINUTE: Duration = Duration::from_mins(1);

    /// A function that is a shell script.
    fn function(directory: &TempDir, script: &str, timeout: Duration) -> Sandboxes {
        let program = directory.path().join("bootstrap");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
        Sandboxes::new(program, vec![("HOME".into(), directory.path().display().to_string())], timeout)
    }

    #[tokio::test]
    async fn a_process_that_crashes_fails_its_invocation_and_the_next_one_starts_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let crashing = function(&directory, "echo $AWS_LAMBDA_RUNTIME_API >>$HOME/starts; exit 3", MINUTE);
        for starts in 1..=2 {
            let error = crashing.invoke(&json!({})).await.expect_err("no answer");
            assert!(matches!(error, SandboxError::Exited(status) if status.code() == Some(3)), "{error:?}");
            assert_eq!(error.document().error_type, "Runtime.ExitError");
            let said = std::fs::read_to_string(directory.path().join("starts")).expect("started");
            assert_eq!(said.lines().filter(|line| line.starts_with("127.0.0.1:")).count(), starts);
            assert!(crashing.pids().is_empty());
        }
    }

    #[tokio::test]
    async fn a_process_that_takes_too_long_is_killed() {
        let directory = tempfile::tempdir().expect("a directory");
        let slow = function(&directory, "exec sleep 600", SOON);
        let event = json!({});
        let invocation = slow.invoke(&event);
        tokio::pin!(invocation);
        let pid = tokio::select! {
            outcome = &mut invocation => panic!("{outcome:?}"),
            pid = async {
                loop {
                    if let [pid] = slow.pids()[..] { break pid }
                    tokio::task::yield_now().await;
                }
            } => pid,
        };
        let error = invocation.await.expect_err("no answer");
        assert_eq!(error.document().error_type, "Sandbox.Timedout");
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} is still there");
        assert!(slow.pids().is_empty());
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_said_so() {
        let nothing = Sandboxes::new("/nowhere/bootstrap", Vec::new(), MINUTE);
        let error = nothing.invoke(&json!({})).await.expect_err("no program");
        assert_eq!(error.document().error_type, "Runtime.InvalidEntrypoint");
    }
}
