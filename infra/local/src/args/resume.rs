//! Which run a sync goes on with.

use std::convert::Infallible;
use std::str::FromStr;

use clap::Args as ClapArgs;
use ferry_transfer::RunId;

/// Which run a sync goes on with.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct ResumeArgs {
    /// Go on with the last run between the same locations, or with the run named here, where it was killed, stopped or failed:
    /// names it was done with are not listed again. Write it behind the two locations
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = LATEST, help_heading = "State")]
    pub resume: Option<Resume>,
}

/// A run to go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resume {
    /// The last between the same locations, if it did not end well.
    Latest,
    /// This one.
    Run(RunId),
}

const LATEST: &str = "latest";

impl FromStr for Resume {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == LATEST { Self::Latest } else { Self::Run(RunId::from(text.to_owned())) })
    }
}
