//! What a stack says of itself.
//!
//! Owns: the one parameter `PATH/deployment`, which the template writes, so that the command line needs no more than the path. Does not own:
//! what stands beside it: tasks (`PATH/tasks/`), stores and credentials. Invariant: it holds names, never secrets.

use ferry_transfer::task::Location;
use ferry_transfer::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::lambda::parse;
use crate::parameters::Parameters;
use crate::schedules::Target;

/// Of the document.
const VERSION: u32 = 1;

/// A stack's queues, finder and state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Of this document's schema.
    pub version: u32,
    /// The stack's name.
    pub stack: String,
    /// Where jobs go.
    pub job_queue_url: String,
    /// Where large objects go.
    pub large_queue_url: String,
    /// Where ranges wait to be listed.
    pub scan_queue_url: String,
    /// Where failed jobs are kept.
    pub dead_letter_queue_url: String,
    /// What schedules invoke.
    pub finder_arn: String,
    /// As whom they do.
    pub scheduler_role_arn: String,
    /// The group of the tasks' schedules.
    pub schedule_group: String,
    /// Where runs are remembered: `NAME://BUCKET/PREFIX`.
    pub state: String,
    /// The task of messages that name none; empty for none.
    #[serde(default)]
    pub default_task: String,
}

impl Deployment {
    /// The name of the parameter under a path.
    pub fn parameter(path: &str) -> String {
        format!("{}/deployment", path.trim_end_matches('/'))
    }

    /// Reads what the stack under that path wrote.
    pub async fn read(parameters: &dyn Parameters, path: &str) -> Result<Self> {
        let name = Self::parameter(path);
        let missing = || {
            Error::new(
                ErrorKind::Configuration,
                format!(
                    "there is no parameter {name} in this region, so no stack of Ferry: deploy infra/aws, or name the stack's \
                     ParameterPath with --path"
                ),
            )
        };
        let text = parameters.get(&name).await?.ok_or_else(missing)?;
        let deployment: Self = parse(&name, &text)?;
        if deployment.version != VERSION {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "{name} is of version {}, and this program knows {VERSION}: update it",
                    deployment.version
                ),
            ));
        }
        Ok(deployment)
    }

    /// The variables of a worker that is not the stack's own ([`crate::lambda`]).
    pub fn variables(&self, path: &str) -> Vec<(&'static str, String)> {
        let path = path.trim_end_matches('/');
        let mut variables = vec![
            ("FERRY_TASK", format!("ssm:{path}/tasks/")),
            ("FERRY_STORES", format!("ssm:{path}/stores/")),
            ("FERRY_JOB_QUEUE_URL", self.job_queue_url.clone()),
            ("FERRY_LARGE_QUEUE_URL", self.large_queue_url.clone()),
            ("FERRY_SCAN_QUEUE_URL", self.scan_queue_url.clone()),
            ("FERRY_DEAD_LETTER_QUEUE_URL", self.dead_letter_queue_url.clone()),
            ("FERRY_STATE", self.state.clone()),
            ("FERRY_STACK", self.stack.clone()),
        ];
        if !self.default_task.is_empty() {
            variables.push(("FERRY_DEFAULT_TASK", self.default_task.clone()));
        }
        variables
    }

    /// What schedules invoke.
    pub fn target(&self) -> Target {
        Target { function_arn: self.finder_arn.clone(), role_arn: self.scheduler_role_arn.clone() }
    }

    /// Where runs are remembered.
    pub fn state(&self) -> Result<Location> {
        self.state.parse().map_err(|error| {
            Error::new(ErrorKind::Configuration, "the stack's state is no location").caused_by(error)
        })
    }
}
