//! A deployment on AWS, from this machine.
//!
//! Owns: finding its queues, its schedules and its state by the path of its parameters. Does not own: what is done with them. Invariant:
//! nothing is asked before it is needed, so that a queue that is named needs no parameter.

use std::sync::Arc;

use anyhow::Result;
use ferry_cloud::deployment::Deployment;
use ferry_cloud::parameters::{self, SharedParameters};
use ferry_cloud::sqs::{SqsQueue, SqsQueueConfig};
use ferry_transfer::SharedQueue;

use crate::args::StackArgs;

/// A deployment's parameters, and what it says of itself.
#[derive(Debug)]
pub struct Deployed {
    /// The path, without a slash at its end.
    pub path: String,
    /// What stands under it.
    pub parameters: SharedParameters,
    /// What the stack wrote there.
    pub deployment: Deployment,
}

impl Deployed {
    /// Reads what the stack wrote.
    pub async fn read(stack: &StackArgs) -> Result<Self> {
        let parameters = parameters::ssm().await?;
        let deployment = Deployment::read(parameters.as_ref(), &stack.path).await?;
        Ok(Self { path: stack.path.clone(), parameters, deployment })
    }

    /// The name of a task's parameter.
    pub fn task(&self, name: &str) -> String {
        format!("{}/tasks/{name}", self.path)
    }

    /// The name of a store's parameter.
    pub fn store(&self, name: &str) -> String {
        format!("{}/stores/{name}", self.path)
    }
}

/// A queue by its URL.
pub async fn queue(url: &str) -> Result<SharedQueue> {
    Ok(Arc::new(SqsQueue::connect(SqsQueueConfig::new(url)).await?))
}
