//! When a task runs by itself, in the words of EventBridge Scheduler.
//!
//! Owns: `rate(…)`, `cron(…)` and `at(…)` as texts, and the moments they mean, in UTC. Does not own: waiting for them, nor what happens to
//! moments that nobody was there for. Invariant: a schedule that parsed is taken by EventBridge Scheduler as it is, and means the same
//! moments there and here.
//!
//! Source: Amazon EventBridge Scheduler, "Schedule types in EventBridge Scheduler".

mod cron;

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::format_description::FormatItem;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use self::cron::Cron;

const AT: &[FormatItem<'static>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");

/// When a task runs by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    moments: Moments,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Moments {
    Rate(Duration),
    Cron(Box<Cron>),
    Once(OffsetDateTime),
}

/// Not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no schedule: {why}; write rate(5 minutes), cron(0 2 * * ? *) or at(2027-01-31T02:00:00), in UTC"
)]
pub struct BadSchedule {
    text: String,
    why: String,
}

impl Schedule {
    /// The first moment of it after `moment`; `None` where there is none any more. A rate counts from `moment`, so that the caller
    /// decides what it counts from: the run before, or the task's making.
    pub fn next_after(&self, moment: OffsetDateTime) -> Option<OffsetDateTime> {
        match &self.moments {
            Moments::Rate(period) => moment.checked_add(*period),
            Moments::Cron(cron) => cron.next_after(moment),
            Moments::Once(at) => (*at > moment).then_some(*at),
        }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Schedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let bad = |why: String| BadSchedule { text: text.to_owned(), why };
        let (word, rest) = text.split_once('(').ok_or_else(|| bad("it has no parentheses".to_owned()))?;
        let inner = rest.strip_suffix(')').ok_or_else(|| bad("its parenthesis does not close".to_owned()))?;
        let moments = match word {
            "rate" => Moments::Rate(rate(inner).map_err(bad)?),
            "cron" => Moments::Cron(Box::new(Cron::parse(inner).map_err(bad)?)),
            "at" => {
                let at = PrimitiveDateTime::parse(inner, AT)
                    .map_err(|_| bad("a moment is written 2027-01-31T02:00:00".to_owned()))?;
                Moments::Once(at.assume_utc())
            }
            other => return Err(bad(format!("{other} is not rate, cron or at"))),
        };
        Ok(Self { text: text.to_owned(), moments })
    }
}

fn rate(text: &str) -> Result<Duration, String> {
    let mut words = text.split_whitespace();
    let (Some(count), Some(unit), None) = (words.next(), words.next(), words.next()) else {
        return Err("a rate is a number and a unit".to_owned());
    };
    let count: u32 = count
        .parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| format!("{count:?} is not a number from 1"))?;
    let unit = match unit {
        "minute" | "minutes" => Duration::MINUTE,
        "hour" | "hours" => Duration::HOUR,
        "day" | "days" => Duration::DAY,
        other => return Err(format!("{other:?} is not minutes, hours or days")),
    };
    unit.checked_mul(i32::try_from(count).unwrap_or(i32::MAX)).ok_or_else(|| "it is too long".to_owned())
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
