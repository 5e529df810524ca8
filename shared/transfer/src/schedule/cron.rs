//! `cron(minutes hours day-of-month month day-of-week year)`.
//!
//! Owns: the six fields with their wildcards (`*`, `?`, `,`, `-`, `/`, `L`, `W`, `#`) and the first moment that fits all of them. Invariant: one of
//! the two fields of days is `?`, as EventBridge demands, so a day never has to fit both.

use time::{Date, Duration, Month, OffsetDateTime, Time, Weekday};

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
/// 1 is Sunday.
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const FIRST_YEAR: u32 = 1970;
const LAST_YEAR: u32 = 2199;

/// Six fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: Set,
    hours: Set,
    days: Days,
    months: Set,
    years: Set,
}

/// Numbers of a field, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Set(Vec<u32>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Days {
    OfMonth(Vec<DayOfMonth>),
    OfWeek(Vec<DayOfWeek>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum DayOfMonth {
    In(Set),
    /// `L`.
    Last,
    /// `LW`.
    LastWeekday,
    /// `15W`: the weekday nearest to that day, within its month.
    NearestWeekday(u32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum DayOfWeek {
    In(Set),
    /// `6L`: the last of its kind in the month.
    Last(u32),
    /// `3#2`: the second of its kind in the month.
    Nth(u32, u32),
}

impl Cron {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, of_month, months, of_week, years] = fields[..] else {
            return Err(format!(
                "cron has six fields (minutes, hours, day of month, month, day of week, year), not {}",
                fields.len()
            ));
        };
        let days = match (of_month, of_week) {
            ("?", "?") => return Err("one of the two fields of days must say which".to_owned()),
            (of_month, "?") => Days::OfMonth(each(of_month, day_of_month)?),
            ("?", of_week) => Days::OfWeek(each(of_week, day_of_week)?),
            _ => return Err("day of month and day of week cannot both be said: one of them is ?".to_owned()),
        };
        Ok(Self {
            minutes: Set::parse("minutes", minutes, 0, 59, &[])?,
            hours: Set::parse("hours", hours, 0, 23, &[])?,
            days,
            months: Set::parse("month", months, 1, 12, &MONTHS)?,
            years: Set::parse("year", years, FIRST_YEAR, LAST_YEAR, &[])?,
        })
    }

    pub(super) fn next_after(&self, moment: OffsetDateTime) -> Option<OffsetDateTime> {
        let moment = moment.to_offset(time::UtcOffset::UTC);
        // Whole minutes only: the first one that is not begun.
        let next =
            moment.replace_second(0).ok()?.replace_nanosecond(0).ok()?.checked_add(Duration::MINUTE)?;
        if let Some(time) = self.time_from(next.time()).filter(|_| self.fits(next.date())) {
            return Some(next.date().with_time(time).assume_utc());
        }
        let first = self.time_from(Time::MIDNIGHT)?;
        let mut date = next.date().next_day()?;
        loop {
            let year = u32::try_from(date.year()).ok()?;
            let wanted = self.years.at_least(year)?;
            if wanted > year {
                date = Date::from_calendar_date(i32::try_from(wanted).ok()?, Month::January, 1).ok()?;
            }
            if !self.months.has(u32::from(u8::from(date.month()))) {
                date = first_of_next_month(date)?;
            } else if self.fits(date) {
                return Some(date.with_time(first).assume_utc());
            } else {
                date = date.next_day()?;
            }
        }
    }

    /// The first time of a day that is not before `time`.
    fn time_from(&self, time: Time) -> Option<Time> {
        let (hour, minute) = (u32::from(time.hour()), u32::from(time.minute()));
        let (hour, minute) = match self.minutes.at_least(minute).filter(|_| self.hours.has(hour)) {
            Some(minute) => (hour, minute),
            None => (self.hours.at_least(hour + 1)?, self.minutes.at_least(0)?),
        };
        Time::from_hms(u8::try_from(hour).ok()?, u8::try_from(minute).ok()?, 0).ok()
    }

    fn fits(&self, date: Date) -> bool {
        let (day, last) = (u32::from(date.day()), last_day(date));
        self.months.has(u32::from(u8::from(date.month())))
            && u32::try_from(date.year()).is_ok_and(|year| self.years.has(year))
            && match &self.days {
                Days::OfMonth(days) => days.iter().any(|rule| match rule {
                    DayOfMonth::In(set) => set.has(day),
                    DayOfMonth::Last => day == last,
                    DayOfMonth::LastWeekday => Some(day) == nearest_weekday(date, last),
                    DayOfMonth::NearestWeekday(wanted) => {
                        *wanted <= last && Some(day) == nearest_weekday(date, *wanted)
                    }
                }),
                Days::OfWeek(days) => {
                    let weekday = u32::from(date.weekday().number_days_from_sunday()) + 1;
                    days.iter().any(|rule| match rule {
                        DayOfWeek::In(set) => set.has(weekday),
                        DayOfWeek::Last(wanted) => weekday == *wanted && day + 7 > last,
                        DayOfWeek::Nth(wanted, nth) => weekday == *wanted && (day - 1) / 7 + 1 == *nth,
                    })
                }
            }
    }
}

fn first_of_next_month(date: Date) -> Option<Date> {
    date.replace_day(1).ok()?.checked_add(Duration::days(i64::from(last_day(date))))
}

fn last_day(date: Date) -> u32 {
    u32::from(date.month().length(date.year()))
}

/// The weekday nearest to a day of the date's month, never in another month.
fn nearest_weekday(date: Date, day: u32) -> Option<u32> {
    let last = last_day(date);
    Some(match date.replace_day(u8::try_from(day).ok()?).ok()?.weekday() {
        Weekday::Saturday if day == 1 => 3,
        Weekday::Saturday => day - 1,
        Weekday::Sunday if day == last => day - 2,
        Weekday::Sunday => day + 1,
        _ => day,
    })
}

/// The items of a list, each read by itself.
fn each<T>(field: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    field.split(',').map(read).collect()
}

fn day_of_month(item: &str) -> Result<DayOfMonth, String> {
    Ok(match item {
        "L" => DayOfMonth::Last,
        "LW" => DayOfMonth::LastWeekday,
        _ => match item.strip_suffix('W') {
            Some(day) => DayOfMonth::NearestWeekday(number("day of month", day, 1, 31, &[])?),
            None => DayOfMonth::In(Set::parse("day of month", item, 1, 31, &[])?),
        },
    })
}

fn day_of_week(item: &str) -> Result<DayOfWeek, String> {
    const FIELD: &str = "day of week";
    if let Some((day, nth)) = item.split_once('#') {
        return Ok(DayOfWeek::Nth(number(FIELD, day, 1, 7, &DAYS)?, number(FIELD, nth, 1, 5, &[])?));
    }
    match item.strip_suffix('L') {
        // The last day of a week.
        Some("") => Ok(DayOfWeek::In(Set(vec![7]))),
        Some(day) => Ok(DayOfWeek::Last(number(FIELD, day, 1, 7, &DAYS)?)),
        None => Ok(DayOfWeek::In(Set::parse(FIELD, item, 1, 7, &DAYS)?)),
    }
}

impl Set {
    fn parse(field: &str, text: &str, least: u32, most: u32, names: &[&str]) -> Result<Self, String> {
        let mut numbers = Vec::new();
        for item in text.split(',') {
            let (range, step) = match item.split_once('/') {
                None => (item, None),
                Some((range, step)) => (range, Some(number(field, step, 1, most.max(1), &[])?)),
            };
            let (from, to) = match range.split_once('-') {
                Some((from, to)) => {
                    (number(field, from, least, most, names)?, number(field, to, least, most, names)?)
                }
                None if range == "*" => (least, most),
                None => {
                    let from = number(field, range, least, most, names)?;
                    (from, if step.is_some() { most } else { from })
                }
            };
            if from > to {
                return Err(format!("{field} {range} runs backwards"));
            }
            numbers.extend((from..=to).step_by(step.unwrap_or(1) as usize));
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(Self(numbers))
    }

    fn has(&self, number: u32) -> bool {
        self.0.binary_search(&number).is_ok()
    }

    fn at_least(&self, number: u32) -> Option<u32> {
        self.0.get(self.0.partition_point(|held| *held < number)).copied()
    }
}

fn number(field: &str, text: &str, least: u32, most: u32, names: &[&str]) -> Result<u32, String> {
    let named = names.iter().zip(1..).find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, at)| at);
    named
        .or_else(|| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())))
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("{field} {text:?} is not from {least} to {most}"))
}
