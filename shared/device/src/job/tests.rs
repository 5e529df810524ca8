use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::signature::{Signature, SigningMethod};

fn job() -> JobRecord {
    JobRecord::new(new_job("m"), OffsetDateTime::UNIX_EPOCH, Duration::days(30))
}

fn new_job(manifest: &str) -> NewJob {
    let id = JobId::of_number(1);
    NewJob {
        signature: Signature::sign(SigningMethod::HmacSha1, b"k", id.as_str(), manifest.as_bytes()),
        id,
        owner: "AKIA".into(),
        manifest: manifest.into(),
        log_bucket: "logs".into(),
        log_prefix: "a/".into(),
        password_name: None,
    }
}

fn on_day(day: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(day)
}

#[test]
fn ids_are_five_characters_without_nought_and_o() {
    assert_eq!(JobId::of_number(0).as_str(), "11111");
    assert_eq!(JobId::of_number(JobId::COUNT - 1).as_str(), "ZZZZZ");
    assert_eq!("tc44p".parse::<JobId>().expect("id").as_str(), "TC44P");
    for bad in ["", "TC44", "TC44PP", "TC40P", "TCO4P", "TC4-P", "../.."] {
        assert!(bad.parse::<JobId>().is_err(), "{bad}");
    }
}

#[test]
fn a_job_without_a_device_expires_on_the_thirtieth_day() {
    assert_eq!(job().at(on_day(29)).state, JobState::Pending);
    assert_eq!(job().at(on_day(30)).state, JobState::Expired);
    let running = job().step(JobState::Validating, on_day(1)).expect("begun");
    assert_eq!(running.clone().at(on_day(90)).state, JobState::Validating);
    let refused = running.step(JobState::MissingDevice, on_day(1)).expect("refused");
    assert_eq!(refused.clone().at(on_day(29)).state, JobState::MissingDevice);
    assert_eq!(refused.at(on_day(30)).state, JobState::Expired);
    assert!(matches!(job().cancel(on_day(31)), Err(Refusal::Expired(_))));
}

#[test]
fn only_a_pending_job_takes_another_manifest_and_gets_another_signature() {
    let updated = job().update(new_job("n"), on_day(1)).expect("updated");
    assert!(!updated.signature.agrees_with(&job().signature));
    let leased = updated.clone().lease_to("a", on_day(1), Duration::minutes(5)).expect("leased");
    assert!(matches!(leased.update(new_job("o"), on_day(1)), Err(Refusal::Leased { .. })));
    let running = updated.step(JobState::Validating, on_day(1)).expect("begun");
    assert!(matches!(running.update(new_job("o"), on_day(1)), Err(Refusal::State { .. })));
}

#[test]
fn a_running_job_can_be_called_off_and_an_ended_one_cannot() {
    let running = job().step(JobState::Validating, on_day(1)).expect("begun");
    let canceled = running.clone().cancel(on_day(1)).expect("canceled");
    assert!(matches!(canceled.cancel(on_day(1)), Err(Refusal::Canceled(_))));
    let mut job = running;
    for state in [JobState::Listing, JobState::Writing, JobState::Logging, JobState::Complete] {
        job = job.step(state, on_day(1)).expect("step");
    }
    assert_eq!(job.location, Location::AtAws, "it stands there until it is let go");
    assert!(matches!(job.cancel(on_day(1)), Err(Refusal::State { .. })));
}

#[test]
fn a_device_is_received_once_it_was_checked() {
    let checking = job().step(JobState::Validating, on_day(1)).expect("begun");
    assert_eq!(checking.location, Location::NotReceived);
    let refused = checking.clone().step(JobState::InvalidSignature, on_day(1)).expect("refused");
    assert_eq!(refused.location, Location::NotReceived);
    assert!(refused.step(JobState::Validating, on_day(2)).is_ok(), "the right device may still come");
    let listing = checking.step(JobState::Listing, on_day(1)).expect("listing");
    assert_eq!(listing.location, Location::AtAws);
    let changed =
        listing.step(JobState::MissingSignature, on_day(1)).expect("another device stands there now");
    assert!(changed.step(JobState::Validating, on_day(2)).is_ok());
}

#[test]
fn a_device_is_let_go_when_nobody_is_at_work_and_as_often_as_asked() {
    assert!(matches!(job().release(on_day(1)), Err(Refusal::NoDevice(_))));
    let checking = job().step(JobState::Validating, on_day(1)).expect("begun");
    let listing = checking.step(JobState::Listing, on_day(1)).expect("listing");
    assert!(matches!(listing.clone().release(on_day(1)), Err(Refusal::Unfinished(_))));
    let canceled = listing.cancel(on_day(1)).expect("canceled");
    assert_eq!(canceled.location, Location::AtAws);
    let released = canceled.release(on_day(2)).expect("let go");
    assert_eq!((released.location, released.state), (Location::Returned, JobState::Canceled));
    assert_eq!(released.clone().release(on_day(2)), Ok(released));
}

#[test]
fn two_stations_never_hold_one_job() {
    let held = job().lease_to("a", on_day(1), Duration::minutes(5)).expect("leased");
    assert!(matches!(
        held.clone().lease_to("b", on_day(1), Duration::minutes(5)),
        Err(Refusal::Leased { .. })
    ));
    assert!(held.clone().lease_to("a", on_day(1), Duration::minutes(5)).is_ok());
    assert_eq!(held.held_by("a"), Ok(()));
    let taken = held.lease_to("b", on_day(2), Duration::minutes(5)).expect("it lapses");
    assert!(matches!(taken.held_by("a"), Err(Refusal::Leased { station, .. }) if station == "b"));
}

#[test]
fn a_running_job_tells_how_far_it_is() {
    let mut job = job();
    job.state = JobState::Writing;
    job.totals = Totals { objects: 4, bytes: 200, objects_done: 3, bytes_done: 50, ..Totals::default() };
    assert_eq!(job.progress_message(), "Objects are being copied. 3 of 4 objects, 25 %.");
    for (secs, words) in [(40, "about 40 s"), (840, "about 14 min"), (90_000, "about 25 h")] {
        job.totals.secs_left = Some(secs);
        assert!(
            job.progress_message().ends_with(&format!("25 %, {words} left.")),
            "{}",
            job.progress_message()
        );
    }
}

proptest! {
    #[test]
    fn ids_read_back(number in 0..JobId::COUNT) {
        let id = JobId::of_number(number);
        prop_assert_eq!(id.as_str().to_ascii_lowercase().parse::<JobId>().expect("id"), id);
    }

    #[test]
    fn no_walk_leaves_an_end(steps in prop::collection::vec(0..JobState::ALL.len(), 1..20)) {
        let mut job = job();
        for step in steps {
            let before = job.state;
            if let Ok(next) = job.clone().step(JobState::ALL[step], on_day(1)) {
                prop_assert!(!before.is_final());
                job = next;
            }
        }
        let json = serde_json::to_string(&job).expect("json");
        prop_assert_eq!(serde_json::from_str::<JobRecord>(&json).expect("back"), job);
    }
}
