use proptest::prelude::*;
use proptest::sample::Index;
use time::OffsetDateTime;

use super::*;
use crate::Key;
use crate::job::Action;
use crate::receipt::{Failed, Outcome, PartEnd, Receipt, ReceiptSink as _};
use crate::task::Location;

fn task() -> Task {
    let location = |store: &str| Location { store: store.into(), bucket: "b".into(), prefix: String::new() };
    Task::new("t", location("from"), location("to"))
}

fn run() -> RunId {
    RunId::from("20261123T000000Z-8000".to_owned())
}

fn name() -> impl Strategy<Value = String> {
    "[a-c]{0,3}"
}

fn range() -> impl Strategy<Value = KeyRange> {
    (prop::option::of(name()), prop::option::of(name())).prop_map(|(after, until)| KeyRange { after, until })
}

fn receipt(key: &Key, outcome: Outcome) -> Receipt {
    Receipt {
        key: key.clone(),
        task: None,
        run: None,
        at: OffsetDateTime::UNIX_EPOCH,
        event_time: None,
        attempt: 1,
        action: Action::Copy,
        found: None,
        outcome,
    }
}

fn failed(last: bool) -> Outcome {
    Outcome::Failed(Failed::new(&Error::new(ErrorKind::Other, "no"), last))
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Well,
    Badly,
    /// Only an attempt failed, or only a part is there.
    NotYet,
}

fn checkpoint_of(ranges: impl IntoIterator<Item = KeyRange>) -> Checkpoint {
    let mut checkpoint = Checkpoint::begin(run(), TaskDigest::of(&task(), &[]).expect("a digest"));
    for range in ranges {
        assert!(checkpoint.covered.insert(range));
        checkpoint.names += 7;
    }
    checkpoint
}

#[test]
fn a_task_that_moves_other_objects_is_another() {
    let digest = |task: &Task| TaskDigest::of(task, &["https://a", "https://b"]).expect("a digest");
    let faster = Task {
        name: "other".into(),
        listing: ListingRules { listers: 3 },
        pace: Pace { max_requests: Some("9".parse().expect("a rate")), ..Pace::default() },
        ..task()
    };
    assert_eq!(digest(&task()), digest(&faster));
    let mut elsewhere = task();
    elsewhere.destination.prefix = "p/".to_owned();
    let stricter = Task { compare: crate::CompareMode::Size, ..task() };
    for other in [elsewhere, stricter] {
        assert_ne!(digest(&task()), digest(&other));
    }
    let moved = TaskDigest::of(&task(), &["https://a", "https://c"]).expect("a digest");
    assert_ne!(digest(&task()), moved, "one name, another store");
}

#[test]
fn another_runs_and_another_versions_are_refused_and_not_called_damaged() {
    let bytes = Checkpoint { version: VERSION + 1, ..checkpoint_of([]) }.to_bytes().expect("bytes");
    let error = Checkpoint::of_run(&bytes, &run()).expect_err("another version");
    assert!(error.to_string().contains("another version"), "{error}");
    let bytes = checkpoint_of([]).to_bytes().expect("bytes");
    let other = RunId::from("20261123T000000Z-8001".to_owned());
    let error = Checkpoint::of_run(&bytes, &other).expect_err("another run");
    assert!(error.to_string().contains("another run"), "{error}");
}

#[test]
fn what_finds_no_room_is_left_uncovered() {
    let mut covered = Covered::default();
    let range = |number: usize| KeyRange {
        after: Some(format!("{number:06}")),
        until: Some(format!("{number:06}x")),
    };
    assert!((0..RANGES_MAX).all(|number| covered.insert(range(number))));
    assert!(!covered.insert(range(RANGES_MAX)));
    assert!(covered.remaining().iter().any(|rest| rest.contains("010000x")));
    assert!(covered.insert(KeyRange::ALL));
    assert!(covered.remaining().is_empty());
}

proptest! {
    #[test]
    fn covered_and_remaining_are_disjoint_and_together_all(ranges in prop::collection::vec(range(), 0..8), names in prop::collection::vec("[a-d]{0,4}", 30)) {
        let mut covered = Covered::default();
        for range in &ranges {
            prop_assert!(covered.insert(range.clone()));
        }
        let remaining = covered.remaining();
        for name in &names {
            let is_covered = ranges.iter().any(|range| range.contains(name));
            let count = |ranges: &[KeyRange]| ranges.iter().filter(|range| range.contains(name)).count();
            prop_assert_eq!(count(covered.ranges()), usize::from(is_covered), "{:?} in {:?}", name, covered);
            prop_assert_eq!(count(&remaining), usize::from(!is_covered), "{:?} in {:?}", name, remaining);
        }
        prop_assert_eq!(Covered::try_from(Vec::from(covered.clone())).expect("ranges in order"), covered);
    }

    #[test]
    fn a_document_that_was_touched_is_refused(ranges in prop::collection::vec(range(), 0..6), at: Index, byte: u8) {
        let checkpoint = checkpoint_of(ranges);
        let mut bytes = checkpoint.to_bytes().expect("bytes");
        prop_assert_eq!(&Checkpoint::of_run(&bytes, &run()).expect("its own"), &checkpoint);
        let at = at.index(bytes.len());
        prop_assert!(Checkpoint::of_run(&bytes[..at], &run()).is_err(), "cut short");
        bytes[at] = byte;
        if let Ok(read) = Checkpoint::of_run(&bytes, &run()) {
            prop_assert_eq!(read, checkpoint);
        }
    }

    #[test]
    fn a_name_is_covered_once_every_job_of_its_stretch_has_settled_well(
        // Stretches of one range, and what becomes of each of their jobs.
        ends in prop::collection::vec(prop::collection::vec(prop_oneof![5 => Just(End::Well), 1 => Just(End::Badly), 1 => Just(End::NotYet)], 0..4), 1..10),
        order in any::<u64>(),
    ) {
        let coverage = Coverage::new(checkpoint_of([]));
        let mut jobs = Vec::new();
        let mut after = None;
        for (number, ends) in ends.iter().enumerate() {
            let keys: Vec<Key> = (0..ends.len()).map(|job| Key::new(format!("{number}/{job}")).expect("a key")).collect();
            let until = Some(format!("{number}/~"));
            coverage.compared(KeyRange { after: after.clone(), until: until.clone() }, 1, &keys);
            after = until;
            jobs.extend(keys.into_iter().zip(ends.iter().copied()));
        }
        jobs.sort_by_key(|(key, _)| sha256(&(order, key)).expect("a digest"));
        for (key, end) in &jobs {
            coverage.record(&receipt(key, failed(false)));
            coverage.record(&receipt(key, Outcome::Divided { parts: 2 }));
            coverage.record(&receipt(key, Outcome::Part { part_number: 1, end: PartEnd::Copied }));
            match end {
                End::Well => coverage.record(&receipt(key, Outcome::UpToDate)),
                End::Badly => coverage.record(&receipt(key, failed(true))),
                End::NotYet => {}
            }
        }
        let Checkpoint { covered, names, .. } = coverage.checkpoint();
        let mut expected = 0;
        for (number, ends) in ends.iter().enumerate() {
            let is_covered = ends.iter().all(|end| *end == End::Well);
            expected += u64::from(is_covered);
            for name in [format!("{number}/0"), format!("{number}/~")] {
                prop_assert_eq!(covered.ranges().iter().any(|range| range.contains(&name)), is_covered, "{} in {:?}", name, covered);
            }
        }
        prop_assert_eq!(names, expected);
        coverage.start_over();
        prop_assert_eq!(coverage.checkpoint(), checkpoint_of([]));
    }
}
