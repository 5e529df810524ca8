//! A point in time, as people write it: a date, or so long ago.
//!
//! Owns: the notation. Invariant: what parsed can be placed on a clock.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::{Iso8601, Rfc3339};
use time::{Date, Duration, OffsetDateTime};

/// A point in time: `2026-01-31` (midnight UTC), `2026-01-31T12:00:00Z`, or so long ago: `30d`, `1w`, `12h`, `90m`, `45s`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    text: String,
    point: Point,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    At(OffsetDateTime),
    Ago(Duration),
}

/// Not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no point in time: write a date (2026-01-31, 2026-01-31T12:00:00Z) or an age (45s, 90m, 12h, 30d, 2w)"
)]
pub struct BadMoment(String);

impl Moment {
    /// Where it lies, seen from `now`.
    pub fn seen_from(&self, now: OffsetDateTime) -> OffsetDateTime {
        match self.point {
            Point::At(at) => at,
            Point::Ago(age) => now.checked_sub(age).unwrap_or(OffsetDateTime::UNIX_EPOCH),
        }
    }
}

impl FromStr for Moment {
    type Err = BadMoment;

    fn from_str(text: &str) -> Result<Self, BadMoment> {
        let point = age(text)
            .map(Point::Ago)
            .or_else(|| OffsetDateTime::parse(text, &Rfc3339).ok().map(Point::At))
            .or_else(|| {
                let date = Date::parse(text, &Iso8601::DATE).ok()?;
                Some(Point::At(date.midnight().assume_utc()))
            })
            .ok_or_else(|| BadMoment(text.to_owned()))?;
        Ok(Self { text: text.to_owned(), point })
    }
}

/// `90m`; `None` for anything that is not one number and one unit.
fn age(text: &str) -> Option<Duration> {
    let unit_secs = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        'w' => 7 * 24 * 3600,
        _ => return None,
    };
    let number: u32 = text[..text.len() - 1].parse().ok()?;
    Some(Duration::seconds(i64::from(number) * unit_secs))
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn moments_are_dates_or_ages() {
        let now = datetime!(2026-03-08 12:00 UTC);
        for (text, at) in [
            ("2026-01-31", datetime!(2026-01-31 00:00 UTC)),
            ("2026-01-31T12:00:00+01:00", datetime!(2026-01-31 11:00 UTC)),
            ("90m", datetime!(2026-03-08 10:30 UTC)),
            ("1w", datetime!(2026-03-01 12:00 UTC)),
            ("4294967295w", OffsetDateTime::UNIX_EPOCH),
        ] {
            let moment: Moment = text.parse().expect(text);
            assert_eq!(moment.seen_from(now), at, "{text}");
        }
        for bad in ["", "d", "1.5d", "-3d", "3 days", "2026-13-01", "yesterday", "é", "日"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }
}
