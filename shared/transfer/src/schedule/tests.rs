use proptest::prelude::*;
use time::macros::datetime;

use super::*;

fn schedule(text: &str) -> Schedule {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn next(text: &str, after: OffsetDateTime, count: usize) -> Vec<OffsetDateTime> {
    let schedule = schedule(text);
    std::iter::successors(schedule.next_after(after), |moment| schedule.next_after(*moment))
        .take(count)
        .collect()
}

#[test]
fn each_form_means_its_moments() {
    // A Sunday.
    let now = datetime!(2026-11-22 23:59:30 UTC);
    for (text, moments) in [
        ("rate(5 minutes)", vec![datetime!(2026-11-23 00:04:30 UTC)]),
        ("rate(1 hour)", vec![datetime!(2026-11-23 00:59:30 UTC)]),
        ("rate(2 days)", vec![datetime!(2026-11-24 23:59:30 UTC)]),
        ("at(2026-12-24T18:00:00)", vec![datetime!(2026-12-24 18:00 UTC)]),
        ("at(2026-11-22T23:59:30)", vec![]),
        ("cron(* * * * ? *)", vec![datetime!(2026-11-23 00:00 UTC), datetime!(2026-11-23 00:01 UTC)]),
        ("cron(0 2 * * ? *)", vec![datetime!(2026-11-23 02:00 UTC), datetime!(2026-11-24 02:00 UTC)]),
        (
            "cron(15 10 ? * 6L 2026-2027)",
            vec![datetime!(2026-11-27 10:15 UTC), datetime!(2026-12-25 10:15 UTC)],
        ),
        ("cron(0 12 ? * MON-FRI *)", vec![datetime!(2026-11-23 12:00 UTC), datetime!(2026-11-24 12:00 UTC)]),
        ("cron(0 8 1 * ? *)", vec![datetime!(2026-12-01 08:00 UTC), datetime!(2027-01-01 08:00 UTC)]),
        ("cron(0/30 8-9 ? * 2#1 *)", vec![datetime!(2026-12-07 08:00 UTC), datetime!(2026-12-07 08:30 UTC)]),
        ("cron(0 0 L * ? *)", vec![datetime!(2026-11-30 00:00 UTC), datetime!(2026-12-31 00:00 UTC)]),
        ("cron(0 0 29 FEB ? *)", vec![datetime!(2028-02-29 00:00 UTC), datetime!(2032-02-29 00:00 UTC)]),
        // 2026-11-29 is a Sunday, 2027-08-01 as well, 2027-01-31 too.
        ("cron(0 0 29W 11 ? 2026)", vec![datetime!(2026-11-30 00:00 UTC)]),
        ("cron(0 0 1W 8 ? 2027)", vec![datetime!(2027-08-02 00:00 UTC)]),
        ("cron(0 0 31W 1 ? 2027)", vec![datetime!(2027-01-29 00:00 UTC)]),
        ("cron(0 0 LW 1 ? 2027)", vec![datetime!(2027-01-29 00:00 UTC)]),
        ("cron(0 0 1,15 * ? 2026)", vec![datetime!(2026-12-01 00:00 UTC), datetime!(2026-12-15 00:00 UTC)]),
        ("cron(0 0 31 4 ? *)", vec![]),
    ] {
        assert_eq!(next(text, now, moments.len().max(1)), moments, "{text}");
    }
}

#[test]
fn what_is_no_schedule_says_why() {
    for (text, words) in [
        ("5 minutes", "parentheses"),
        ("rate(5 minutes", "close"),
        ("rate(0 minutes)", "from 1"),
        ("rate(5 fortnights)", "fortnights"),
        ("rate(5)", "number and a unit"),
        ("every(5 minutes)", "every"),
        ("at(2026-13-01T00:00:00)", "moment"),
        ("cron(0 2 * * *)", "six fields"),
        ("cron(0 2 * * * *)", "both"),
        ("cron(0 2 ? * ? *)", "one of the two"),
        ("cron(60 2 * * ? *)", "minutes"),
        ("cron(0 2 32 * ? *)", "day of month"),
        ("cron(0 2 ? * 8 *)", "day of week"),
        ("cron(0 9-5 * * ? *)", "backwards"),
        ("cron(+5 2 * * ? *)", "minutes"),
        ("cron(0/0 2 * * ? *)", "minutes"),
    ] {
        let error = text.parse::<Schedule>().expect_err(text).to_string();
        assert!(error.contains(words) && error.contains("rate(5 minutes)"), "{text}: {error}");
    }
}

#[test]
fn a_document_holds_the_text() {
    let text = "\"cron(0 2 * * ? *)\"";
    let read: Schedule = serde_json::from_str(text).expect("a schedule");
    assert_eq!(serde_json::to_string(&read).expect("text"), text);
    assert!(serde_json::from_str::<Schedule>("\"daily\"").is_err());
}

/// Whether a moment fits, said in another way than the search for it.
fn fits(minutes: &[u8], hours: &[u8], day: Option<u8>, moment: OffsetDateTime) -> bool {
    minutes.contains(&moment.minute())
        && hours.contains(&moment.hour())
        && day.is_none_or(|day| moment.day() == day)
        && moment.second() == 0
}

fn joined(numbers: &[u8]) -> String {
    numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

proptest! {
    #[test]
    fn the_next_moment_fits_and_none_before_it_does(
        minutes in prop::collection::vec(0..60u8, 1..4),
        hours in prop::collection::vec(0..24u8, 1..4),
        day in prop::option::of(1..=31u8),
        from_secs in 1_700_000_000..1_900_000_000i64,
    ) {
        let day_text = day.map_or("*".to_owned(), |day| day.to_string());
        let text = format!("cron({} {} {day_text} * ? *)", joined(&minutes), joined(&hours));
        let from = OffsetDateTime::from_unix_timestamp(from_secs).expect("a moment");
        let found = schedule(&text).next_after(from).expect("there is one");
        prop_assert!(found > from && fits(&minutes, &hours, day, found), "{text}: {found}");
        let mut minute = from.replace_second(0).expect("a minute") + Duration::MINUTE;
        while minute < found {
            prop_assert!(!fits(&minutes, &hours, day, minute), "{text}: {minute} comes before {found}");
            minute += Duration::MINUTE;
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(rate|cron|at)?\\(?[-0-9*?,/LW# A-Z]{0,30}\\)?", secs in 0..4_000_000_000i64) {
        if let Ok(schedule) = text.parse::<Schedule>() {
            schedule.next_after(OffsetDateTime::from_unix_timestamp(secs).expect("a moment"));
        }
    }
}
