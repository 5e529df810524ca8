//! One execution of a task: its name, and what is remembered of it.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::state::{BadStateName, StateName};
use crate::task::Task;
use crate::{Clock, Error, ErrorKind, Result};

/// Names one execution of a task: when it began, to the second, and a random end. Sorts by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// A new name, now.
    pub fn new(clock: &dyn Clock) -> Self {
        Self::at(clock.now(), clock.draw())
    }

    fn at(now: OffsetDateTime, draw: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 65,535 by construction"
        )]
        let end = (draw.clamp(0.0, 0.999_999) * 65_536.0) as u32;
        let (date, time) = (now.date(), now.time());
        Self(format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}Z-{end:04x}",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
        ))
    }

    /// When it began, to the second; `None` for a name that somebody made up.
    pub fn began(&self) -> Option<OffsetDateTime> {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let moment = self.0.split('-').next()?;
        PrimitiveDateTime::parse(moment, format).ok().map(PrimitiveDateTime::assume_utc)
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Of something that the run leaves behind; `InvalidInput` where somebody made up a name for the run that cannot be one.
    pub fn state_name(&self, rest: &str) -> Result<StateName> {
        StateName::new(format!("runs/{self}/{rest}")).map_err(|bad: BadStateName| {
            Error::new(ErrorKind::InvalidInput, format!("{self} is no name of a run")).caused_by(bad)
        })
    }
}

impl From<String> for RunId {
    fn from(name: String) -> Self {
        Self(name)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `runs/RUN/run.json` of the state says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its name.
    pub run: RunId,
    /// What was moved where, and by which rules.
    pub task: Task,
    /// The version of Ferry that ran it.
    pub version: String,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub started: OffsetDateTime,
    /// When it ended; `None` while it runs, and for ever where the process was killed.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub ended: Option<OffsetDateTime>,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Its final report, as it was printed.
    #[serde(default)]
    pub report: Option<serde_json::Value>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// It has not: it runs, or it was killed.
    Unfinished,
    /// Done, and in agreement.
    Done,
    /// Some objects failed, or a listing did not end.
    Failed,
    /// Deletes were refused for safety; the rest is done.
    Refused,
    /// It was told to stop.
    Interrupted,
}

impl fmt::Display for RunOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unfinished => "did not end",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused to delete",
            Self::Interrupted => "interrupted",
        })
    }
}

impl RunRecord {
    /// Of a run that begins.
    pub fn begin(run: RunId, task: Task, version: &str, now: OffsetDateTime) -> Self {
        Self {
            run,
            task,
            version: version.to_owned(),
            started: now,
            ended: None,
            outcome: RunOutcome::Unfinished,
            report: None,
        }
    }

    /// Where it is kept.
    pub fn state_name(run: &RunId) -> Result<StateName> {
        run.state_name("run.json")
    }

    /// What a process holds while it is at work on the run.
    pub fn holder_name(run: &RunId) -> Result<StateName> {
        run.state_name("process")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_its_beginning() {
        let moment = time::macros::datetime!(2026-11-23 10:20:30.9 UTC);
        let run = RunId::at(moment, 0.5);
        assert_eq!(run.as_str(), "20261123T102030Z-8000");
        assert_eq!(run.began(), Some(time::macros::datetime!(2026-11-23 10:20:30 UTC)));
        assert_eq!(RunId::from("tonight's".to_owned()).began(), None);
    }
}
