//! Tries a store by doing, before anything depends on it.
//!
//! Owns: the list of steps, their order and their bound, and leaving the bucket as it was found. Does not own: how findings are
//! printed. Invariants: every request is one of a step's, and a step's are counted in advance ([`Probe::requests_max`]); whatever is
//! written lies under a prefix of the probe's own, and is noted before it is sent, so that [`Probe::clean_up`] finds it also
//! after a step that broke off.
//!
//! The steps see a store through [`Subject`] alone: a bucket that can be asked under several profiles.

mod finding;
mod pair;
mod steps;
mod subject;
mod trial;

use std::sync::Arc;

use ferry_transfer::{Clock, ErrorKind};
use serde::Serialize;

pub use self::finding::{Fact, Finding, Outcome};
pub use self::pair::losses;
use self::steps::{Flow, STEPS};
pub use self::subject::Subject;
use self::trial::Trial;
use crate::profile::{Profile, ProfileOverrides};

/// What a store is to be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// To be read: nothing is written.
    Source,
    /// To be written, and read.
    Destination,
}

/// One store on trial.
#[derive(Debug)]
pub struct Probe {
    trial: Trial,
}

/// What a trial showed.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The bucket, in the user's words.
    pub location: String,
    /// Where it was asked.
    pub endpoint: String,
    /// What it was tried as.
    pub role: Role,
    /// Whether a sync can work with it.
    pub usable: bool,
    /// What kind of failure ended the trial before its steps could be taken, where one did.
    pub fault: Option<ErrorKind>,
    /// Everything that was found, in the order it was tried.
    pub findings: Vec<Finding>,
    /// Where the store is not what its profile says.
    pub differences: Vec<Fact>,
    /// The differences as lines of `ferry.yaml`; empty where there are none.
    pub overrides: String,
    /// Requests that went out.
    pub requests: u64,
    /// The most that could have gone out.
    pub requests_max: u64,
    /// Body bytes that were written.
    pub written_bytes: u64,
    /// Keys and uploads that could not be removed again.
    pub left_behind: Vec<String>,
    /// The profile, corrected by what was found.
    #[serde(skip)]
    pub found_profile: Profile,
}

impl Probe {
    /// A trial that has not begun. `prefix` is the user's; `run` names the probe's own prefix below it.
    pub fn new(
        subject: Arc<dyn Subject>,
        prefix: &str,
        role: Role,
        run: &str,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { trial: Trial::new(subject, prefix, role, run, clock) }
    }

    /// Where it writes, if it writes.
    pub fn own_prefix(&self) -> &str {
        self.trial.own_prefix()
    }

    /// The most requests a whole trial takes, cleaning up included.
    pub fn requests_max(&self) -> u64 {
        self.steps().map(|step| u64::from(step.requests_max)).sum()
    }

    fn steps(&self) -> impl Iterator<Item = &'static steps::Step> + use<> {
        let role = self.trial.role();
        STEPS.iter().filter(move |step| role == Role::Destination || step.role == Role::Source)
    }

    /// Takes every step, until one shows that the rest cannot be tried.
    pub async fn run(&self) {
        for step in self.steps() {
            if (step.run)(&self.trial).await == Flow::Stop {
                break;
            }
        }
    }

    /// Removes everything the trial has written. Worth calling again, and after a trial that was broken off.
    pub async fn clean_up(&self) {
        self.trial.clean_up().await;
    }

    /// What was found so far.
    pub fn report(&self) -> Report {
        let findings = self.trial.findings();
        let differences: Vec<Fact> =
            findings.iter().filter_map(|finding| finding.fact.clone()).filter(Fact::is_difference).collect();
        let overrides = finding::overrides_yaml(&differences);
        let subject = self.trial.subject();
        let found_profile = finding::overrides(&differences)
            .and_then(|overrides: ProfileOverrides| subject.profile().overridden(&overrides).ok())
            .unwrap_or_else(|| subject.profile().clone());
        Report {
            location: subject.name().to_string(),
            endpoint: subject.endpoint().to_owned(),
            role: self.trial.role(),
            usable: !findings.iter().any(|finding| finding.outcome == Outcome::Broken),
            fault: self.trial.fault(),
            findings,
            differences,
            overrides,
            requests: self.trial.requests(),
            requests_max: self.requests_max(),
            written_bytes: self.trial.written_bytes(),
            left_behind: self.trial.left_behind(),
            found_profile,
        }
    }
}

#[cfg(test)]
mod tests;
