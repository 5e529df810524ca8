use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::state::MemoryState;
use crate::task::{Location, Task};

fn digest(prefix: &str) -> TaskDigest {
    let location = |store: &str| Location { store: store.into(), bucket: "b".into(), prefix: prefix.into() };
    TaskDigest::of(&Task::new("t", location("from"), location("to")), &[]).expect("a digest")
}

fn ledger(state: &Arc<MemoryState>) -> ScanLedger {
    ScanLedger::new(Arc::clone(state) as _, &RunId::from("r".to_owned()), digest("")).expect("a ledger")
}

fn range(after: Option<&str>, until: Option<&str>) -> KeyRange {
    KeyRange { after: after.map(ToOwned::to_owned), until: until.map(ToOwned::to_owned) }
}

fn stretches(parts: impl IntoIterator<Item = (KeyRange, u64)>) -> Stretches {
    let mut seen = Stretches::default();
    for (range, held) in parts {
        seen.add(range, RangeCounts { held, extra: held, ..RangeCounts::default() });
    }
    seen
}

#[tokio::test]
async fn a_run_of_another_task_is_refused() {
    let state = Arc::new(MemoryState::default());
    ledger(&state).note(&stretches([(KeyRange::ALL, 1)]), false).await.expect("noted");
    let run = RunId::from("r".to_owned());
    let other = ScanLedger::new(state, &run, digest("p/")).expect("a ledger");
    assert_eq!(other.read().await.expect_err("another task").kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn of_two_who_enqueue_deletes_one_goes_on() {
    let state = Arc::new(MemoryState::default());
    let (one, two) = (ledger(&state), ledger(&state));
    let [first, second] = [1, 2].map(Invocation);
    let under_way = |planned: u64, by| {
        DeletePass::UnderWay(DeletesUnderWay { through: Some(planned.to_string()), planned, at_most: 9, by })
    };
    assert!(one.step(&DeletePass::NotBegun, &under_way(1, first)).await.expect("stepped"));
    assert!(!two.step(&DeletePass::NotBegun, &under_way(1, second)).await.expect("late"));
    assert!(one.step(&under_way(1, first), &under_way(3, first)).await.expect("stepped"));
    let again = one
        .step(&under_way(1, first), &under_way(3, first))
        .await
        .expect("its answer was lost, and it asks again");
    assert!(again);
    assert_eq!(*two.read().await.expect("read").deletes(), under_way(3, first));
}

#[tokio::test]
async fn what_two_compared_at_once_is_counted_once() {
    let state = Arc::new(MemoryState::default());
    let ledger = ledger(&state);
    let first = stretches([(range(None, Some("f")), 10), (range(Some("f"), Some("m")), 5)]);
    let (record, again) = ledger.note(&first, false).await.expect("noted");
    assert_eq!((record.counts().held, again.len()), (15, 0));
    // The same message once more, which came less far, and another invocation that came further.
    let (record, again) = ledger.note(&stretches([(range(None, Some("c")), 4)]), false).await.expect("noted");
    assert_eq!((record.counts().held, again.len()), (15, 0));
    let (record, again) =
        ledger.note(&stretches([(range(Some("k"), Some("p")), 8)]), false).await.expect("noted");
    assert_eq!((record.counts().held, again), (15, vec![range(Some("m"), Some("p"))]));
    assert_eq!(record.left_of(&KeyRange::ALL), [range(Some("m"), None)]);
    let (record, _) = ledger.note(&stretches([(range(Some("m"), None), 1)]), true).await.expect("noted");
    assert_eq!((record.counts().held, record.is_disordered()), (16, true));
    assert!(record.left_of(&KeyRange::ALL).is_empty());
}

proptest! {
    /// Whatever is delivered how often and cut where: names are counted once, and in the end all of them.
    #[test]
    fn every_name_is_counted_once(
        cuts in prop::collection::vec((0..20u32, 0..20u32, any::<bool>()), 1..40),
    ) {
        let mut record = ScanRecord::begin(digest(""));
        // Name N is the text of it; what an invocation compared without knowing what others did is noted as it is.
        let name = |number: u32| format!("{number:02}");
        let names = |range: &KeyRange| (0..20).filter(|number| range.contains(&name(*number))).count() as u64;
        let mut todo = vec![KeyRange::ALL];
        for (from, until, all) in cuts {
            let seen = if all {
                std::mem::take(&mut todo)
            } else if from < until {
                vec![KeyRange { after: Some(name(from)), until: Some(name(until)) }]
            } else {
                continue;
            };
            let again = record.note(&stretches(seen.into_iter().map(|range| (range.clone(), names(&range)))), false);
            todo.extend(again);
            let counted: u64 = record.compared.ranges().iter().map(names).sum();
            prop_assert_eq!(record.counts.held, counted);
        }
        while !record.left_of(&KeyRange::ALL).is_empty() {
            let left = record.left_of(&KeyRange::ALL);
            record.note(&stretches(left.into_iter().map(|range| (range.clone(), names(&range)))), false);
        }
        prop_assert_eq!(record.counts.held, 20);
    }
}
