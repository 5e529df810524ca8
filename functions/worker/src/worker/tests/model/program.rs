//! Random programs: what happens at the source, and when.
//!
//! Owns: the operations and their chances. Invariant: a program is its seed.

use std::time::Duration;

pub(super) const KEYS: [&str; 5] = ["a", "a/", "logs/app+1.log", "é%20", "z"];

/// One thing that happens at the source.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Put {
        key: &'static str,
        size: usize,
    },
    /// Written in parts of this size.
    PutInParts {
        key: &'static str,
        parts: usize,
        part: usize,
    },
    /// Into a class that cannot be read at once.
    PutArchived {
        key: &'static str,
        size: usize,
    },
    Append {
        key: &'static str,
        size: usize,
    },
    Delete {
        key: &'static str,
    },
    /// Makes an archived object readable.
    Restore {
        key: &'static str,
    },
    /// One step of the reconciler, amid everything else.
    Reconcile,
}

/// What happens, each after its pause.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) steps: Vec<(Duration, Operation)>,
}

impl Program {
    pub(super) fn random(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        if random.u8(..3) == 0 {
            return Self::of_one_object_that_comes_and_goes(&mut random);
        }
        let length = random.usize(5..40);
        // Half of the programs are about one or two keys, where most can happen to one object.
        let keys = if random.bool() { random.usize(1..3) } else { KEYS.len() };
        let mut steps: Vec<_> =
            (0..length).map(|_| (pause(&mut random), operation(&mut random, keys))).collect();
        if random.bool() {
            steps.retain(|(_, operation)| !matches!(operation, Operation::Reconcile));
        }
        Self { steps }
    }

    /// Where the event of a delete may overtake the copy of what it deleted.
    fn of_one_object_that_comes_and_goes(random: &mut fastrand::Rng) -> Self {
        let mut steps = Vec::new();
        let key = KEYS[random.usize(..KEYS.len())];
        for _ in 0..random.usize(1..8) {
            let size = random.usize(..80);
            let settled = Duration::from_millis(random.u64(..8_000));
            let in_mid_copy = Duration::from_millis(random.u64(..1_500));
            steps.push((settled, Operation::Put { key, size }));
            steps.push((in_mid_copy, Operation::Delete { key }));
        }
        if random.bool() {
            steps.pop();
        }
        Self { steps }
    }

    /// Whether jobs come of events alone.
    pub(super) fn is_of_events_only(&self) -> bool {
        !self.steps.iter().any(|(_, operation)| matches!(operation, Operation::Reconcile))
    }
}

/// Mostly at once or in mid-copy, sometimes long after.
fn pause(random: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(match random.u8(..10) {
        0..3 => 0,
        3..8 => random.u64(1..300),
        8 => random.u64(300..10_000),
        _ => random.u64(10_000..120_000),
    })
}

fn operation(random: &mut fastrand::Rng, keys: usize) -> Operation {
    let key = KEYS[random.usize(..keys)];
    // In memory, streamed, in parts, shared out.
    let size = match random.u8(..6) {
        0 => random.usize(..17),
        1 => random.usize(17..64),
        2..5 => random.usize(64..200),
        _ => random.usize(200..400),
    };
    match random.u8(..20) {
        0..7 => Operation::Put { key, size },
        7..9 => Operation::PutInParts { key, parts: random.usize(1..6), part: random.usize(16..50) },
        9 => Operation::PutArchived { key, size },
        10..13 => Operation::Append { key, size: random.usize(1..40) },
        13..17 => Operation::Delete { key },
        17 => Operation::Restore { key },
        _ => Operation::Reconcile,
    }
}
