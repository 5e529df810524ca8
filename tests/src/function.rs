//! A Lambda binary under a Runtime API.
//!
//! Owns: the process, its host and its log. Invariant: all of them go with it.

use std::fs::File;
use std::time::Duration;

use ferry_testkit::runtime_api::{InvocationError, RuntimeApi};
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::process::Child;

use crate::Program;

/// Longest an invocation may take where a test does not say; the functions are told so, too.
const DEADLINE: Duration = Duration::from_mins(1);

/// A running function.
#[derive(Debug)]
pub struct Function {
    api: RuntimeApi,
    log: NamedTempFile,
    /// Killed when dropped.
    _process: Child,
}

impl Function {
    /// Starts the binary where its host says.
    pub async fn start(program: Program) -> Self {
        let api = RuntimeApi::start().await.expect("runtime API");
        let program =
            api.environment().iter().fold(program, |program, (name, value)| program.env(name, value));
        let log = NamedTempFile::new().expect("a file");
        let file: File = log.reopen().expect("the same file");
        Self { _process: program.start(file), api, log }
    }

    /// Invokes it and waits for the answer.
    pub async fn invoke(&self, event: &Value) -> Result<Value, InvocationError> {
        self.invoke_within(event, DEADLINE).await
    }

    /// The same with as much time as a test gives it.
    pub async fn invoke_within(&self, event: &Value, deadline: Duration) -> Result<Value, InvocationError> {
        self.api.invoke(event, deadline).await
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("the log")
    }
}
