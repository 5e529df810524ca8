//! The name of one execution of a task.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::Clock;

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

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_its_beginning() {
        assert_eq!(RunId::at(OffsetDateTime::UNIX_EPOCH, 0.5).as_str(), "19700101T000000Z-8000");
    }
}
