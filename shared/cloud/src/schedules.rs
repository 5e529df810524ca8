//! When tasks run: `EventBridge` Scheduler.
//!
//! Owns: one schedule for each task, in one group, which tells the finder the task's name. Does not own: the expressions, which are the
//! service's to judge. Invariant: a schedule is written whole, since an update without a field resets it. Source: Amazon `EventBridge`
//! Scheduler API Reference, version 2021-06-30.

use ferry_transfer::{Error, ErrorKind, Result};
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::aws_api::{AwsApi, Call, Service};

/// What stands in a path or a query as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Whether a schedule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It does.
    Active,
    /// It stays and does nothing.
    Paused,
}

impl Activity {
    fn word(self) -> &'static str {
        match self {
            Self::Active => "ENABLED",
            Self::Paused => "DISABLED",
        }
    }
}

/// When a task runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The task's name, and the schedule's.
    pub task: String,
    /// `rate(..)`, `cron(..)` or `at(..)`.
    pub expression: String,
    /// The time zone of a `cron(..)`, by its IANA name.
    pub timezone: String,
    /// Whether it fires.
    pub activity: Activity,
}

/// What schedules invoke, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The finder.
    pub function_arn: String,
    /// The role that may invoke it.
    pub role_arn: String,
}

/// The schedules of one group.
#[derive(Debug)]
pub struct Schedules {
    api: AwsApi,
    group: String,
    target: Target,
}

impl Schedules {
    /// The group of that name, reached as the AWS tools would from here.
    pub async fn connect(group: String, target: Target) -> Result<Self> {
        Ok(Self { api: AwsApi::connect(Service::Scheduler).await?, group, target })
    }

    /// Writes a schedule, whether or not there was one.
    pub async fn put(&self, schedule: &Schedule) -> Result<()> {
        let created =
            self.ask("CreateSchedule", Method::POST, &schedule.task, Some(self.document(schedule))).await;
        match created {
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => self
                .ask("UpdateSchedule", Method::PUT, &schedule.task, Some(self.document(schedule)))
                .await
                .map(drop),
            created => created.map(drop),
        }
    }

    /// The schedule of a task; `None` where it has none.
    pub async fn get(&self, task: &str) -> Result<Option<Schedule>> {
        match self.ask("GetSchedule", Method::GET, task, None).await {
            Ok(answer) => Ok(Some(Schedule {
                task: task.to_owned(),
                expression: text(&answer, "ScheduleExpression"),
                timezone: Some(text(&answer, "ScheduleExpressionTimezone"))
                    .filter(|zone| !zone.is_empty())
                    .unwrap_or_else(|| "UTC".to_owned()),
                activity: if answer["State"] == "DISABLED" { Activity::Paused } else { Activity::Active },
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a task's schedule; whether there was one.
    pub async fn remove(&self, task: &str) -> Result<bool> {
        match self.ask("DeleteSchedule", Method::DELETE, task, None).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn document(&self, schedule: &Schedule) -> Value {
        json!({
            "GroupName": self.group,
            "Description": "Runs a task of Ferry.",
            "ScheduleExpression": schedule.expression,
            "ScheduleExpressionTimezone": schedule.timezone,
            "State": schedule.activity.word(),
            "FlexibleTimeWindow": { "Mode": "OFF" },
            "Target": {
                "Arn": self.target.function_arn,
                "RoleArn": self.target.role_arn,
                "Input": json!({ "task": schedule.task }).to_string(),
                "RetryPolicy": { "MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 3600 },
            },
        })
    }

    async fn ask(
        &self,
        operation: &'static str,
        method: Method,
        task: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        let name = utf8_percent_encode(task, PLAIN);
        let query = match &body {
            // A document names its group itself.
            Some(_) => String::new(),
            None => format!("?groupName={}", utf8_percent_encode(&self.group, PLAIN)),
        };
        let call = Call { operation, method, path: format!("/schedules/{name}{query}"), target: None, body };
        self.api.ask(call).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::PreconditionFailed => error,
            kind => {
                let kind = if kind == ErrorKind::PermissionDenied { ErrorKind::Configuration } else { kind };
                Error::new(
                    kind,
                    format!(
                        "the schedule of task {task:?} in group {}: check the expression, the region ({}) and the rights \
                         scheduler:{operation} and iam:PassRole",
                        self.group,
                        self.api.region()
                    ),
                )
                .caused_by(error)
            }
        })
    }
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_default().to_owned()
}
