//! A Lambda binary under a Runtime API.
//!
//! Owns: the process and its host. Invariant: the process goes with it.

use std::time::Duration;

use ferry_testkit::runtime_api::{InvocationError, RuntimeApi};
use serde_json::Value;
use tokio::process::Child;

use crate::Program;

/// Longest an invocation may take; the functions are told so, too.
const DEADLINE: Duration = Duration::from_mins(1);

/// A running function.
#[derive(Debug)]
pub struct Function {
    api: RuntimeApi,
    /// Killed when dropped.
    _process: Child,
}

impl Function {
    /// Starts the binary where its host says.
    pub async fn start(program: Program) -> Self {
        let api = RuntimeApi::start().await.expect("runtime API");
        let program = api.environment().iter().fold(program, |program, (name, value)| program.env(name, value));
        Self { _process: program.start(), api }
    }

    /// Invokes it and waits for the answer.
    pub async fn invoke(&self, event: &Value) -> Result<Value, InvocationError> {
        self.api.invoke(event, DEADLINE).await
    }

    /// The same with the time that a test gives it.
    pub async fn invoke_within(&self, event: &Value, deadline: Duration) -> Result<Value, InvocationError> {
        self.api.invoke(event, deadline).await
    }
}
