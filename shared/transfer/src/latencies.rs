//! A distribution of durations, in a few hundred bytes however many there are.
//!
//! Owns: the classes that durations are counted in. Invariant: a quantile is never less than the true one, and at most a fifth more.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Classes for each doubling: neighbours are 19 % apart.
const CLASSES_PER_DOUBLING: f64 = 4.0;

/// Durations, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Latencies(BTreeMap<u16, u64>);

impl Latencies {
    /// Counts one more.
    pub fn add(&mut self, latency: Duration) {
        *self.0.entry(class_of(latency)).or_default() += 1;
    }

    /// Counts those of another distribution too.
    pub fn merge(&mut self, other: &Self) {
        for (class, count) in &other.0 {
            *self.0.entry(*class).or_default() += count;
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The duration that this share of them, in `0.0..=1.0`, does not exceed; `None` of none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among counted things, far below 2^52"
        )]
        let rank = ((self.count() as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        self.0.iter().find_map(|(class, count)| {
            seen += count;
            (seen >= rank).then(|| longest_of(*class))
        })
    }

    /// As many values as there are, but at most so many, distributed as all of them, in milliseconds.
    pub fn samples_ms(&self, most: usize) -> Vec<f64> {
        let wanted = usize::try_from(self.count()).unwrap_or(usize::MAX).min(most);
        #[expect(clippy::cast_precision_loss, reason = "a handful of ranks")]
        let share = |place: usize| (place as f64 + 0.5) / wanted as f64;
        let values = (0..wanted).filter_map(|place| self.quantile(share(place)));
        values.map(|value| value.as_secs_f64() * 1_000.0).collect()
    }
}

/// From a tenth of a millisecond up; what is shorter counts as that.
fn class_of(latency: Duration) -> u16 {
    let tenths_of_ms = (latency.as_secs_f64() * 10_000.0).max(1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the logarithm of a duration is at most some hundreds"
    )]
    let class = (tenths_of_ms.log2() * CLASSES_PER_DOUBLING).ceil() as u16;
    class
}

fn longest_of(class: u16) -> Duration {
    Duration::try_from_secs_f64((f64::from(class) / CLASSES_PER_DOUBLING).exp2() / 10_000.0)
        .unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quantiles_are_near_and_never_below_the_truth(mut all in prop::collection::vec(1..10_000_000u64, 1..200), share in 0.0..=1.0f64) {
            let mut latencies = Latencies::default();
            for micros in &all {
                latencies.add(Duration::from_micros(*micros));
            }
            all.sort_unstable();
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
            let rank = ((all.len() as f64 * share).ceil() as usize).max(1);
            let truth = Duration::from_micros(all[rank - 1]).max(Duration::from_micros(100));
            let told = latencies.quantile(share).expect("some");
            prop_assert!(told.as_secs_f64() >= truth.as_secs_f64() * 0.999_999 && told.as_secs_f64() <= truth.as_secs_f64() * 1.2, "{told:?} of {truth:?}");
            prop_assert_eq!(latencies.samples_ms(100).len(), all.len().min(100));
        }
    }

    #[test]
    fn of_none_there_is_none() {
        assert_eq!(Latencies::default().quantile(0.5), None);
        assert_eq!(Latencies::default().samples_ms(10), Vec::<f64>::new());
    }
}
