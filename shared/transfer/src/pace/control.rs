//! How many requests of one kind to have under way at one endpoint.
//!
//! Owns: the control law, as a pure function of what happened to requests so far: additive increase, multiplicative decrease
//! (Chiu and Jain, 1989), with the memory of the last refusal that CUBIC has (RFC 9438) and the slow start of TCP. Does not own:
//! admitting requests ([`super::gate`]), nor the clock: durations come in as arguments. Invariant: the limit stays between
//! 1 and the maximum, whatever happens.

use std::time::Duration;

/// Where a new endpoint begins: enough that a small task is done before the limit matters, little enough for any store.
const START: f64 = 8.0;
/// What is left of the limit after a refusal. CUBIC's factor: half would leave a third of the capacity unused on average.
const AFTER_THROTTLE: f64 = 0.7;
/// What is left of it when answers take too long: a store that is slow is not yet one that refuses.
const AFTER_DELAY: f64 = 0.9;
/// Answers may take so many times what they took at their quickest, on average. With fixed service times that is one request
/// waiting for each one being served: the store is busy, and more would only wait longer.
const DELAY_MAX: f64 = 2.0;
/// Answers that are slow for reasons of the store's own must not bring everything to a standstill: delay alone never takes the
/// limit below this.
const DELAY_FLOOR: f64 = START;
/// Above this share of the limit that was refused last, only every so many windows add a request.
const CAUTION: f64 = 0.9;
/// How many windows.
const CAUTION_WINDOWS: u32 = 8;
/// Fewest answers that a window is judged by: means of fewer say little.
const WINDOW_ANSWERS: u32 = 16;
/// Answers that a running mean remembers. The quickest mean is the smallest of many: with service times as uneven as they come
/// (exponential), means of 64 stay above half of the true one.
const MEAN_ANSWERS: u32 = 64;
/// Sizes are compared within a factor of four of each other.
const SIZE_CLASSES: usize = 20;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An answer, in a time that compares with that of others.
    Answered {
        /// From sending it to its answer.
        latency: Duration,
        /// Bytes that had to be moved for the answer.
        bytes: u64,
    },
    /// An answer whose time says nothing, refusals of this one object included.
    Done,
    /// The store asked for fewer requests.
    Throttled,
    /// No usable answer: says nothing about the right number.
    Failed,
}

/// Limits are lowered once for all requests that were sent under the same one: the era they were sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Era(u64);

/// The controller of one kind of request at one endpoint.
#[derive(Debug, Clone)]
pub struct Control {
    max: f64,
    limit: f64,
    era: Era,
    /// No refusal yet: the limit doubles with each window.
    is_starting: bool,
    /// The limit that was refused last.
    refused: Option<f64>,
    window: Window,
    cautious_windows: u32,
    latencies: [Latency; SIZE_CLASSES],
}

/// What happened since the limit was last looked at.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    answers: u32,
    delay_sum: f64,
    /// The limit was reached, so that a higher one would have made a difference.
    was_full: bool,
}

/// How long answers of one size take.
#[derive(Debug, Clone, Copy, Default)]
struct Latency {
    answers: u32,
    recent_secs: f64,
    quickest_secs: f64,
}

impl Latency {
    /// Takes an answer in; how many times as long as the quickest they take now, once that can be said.
    fn observe(&mut self, secs: f64) -> f64 {
        self.answers = self.answers.saturating_add(1);
        self.recent_secs += (secs - self.recent_secs) / f64::from(self.answers.min(MEAN_ANSWERS));
        if self.answers < MEAN_ANSWERS {
            return 1.0;
        }
        if self.answers == MEAN_ANSWERS || self.recent_secs < self.quickest_secs {
            self.quickest_secs = self.recent_secs;
        }
        if self.quickest_secs > 0.0 { self.recent_secs / self.quickest_secs } else { 1.0 }
    }
}

impl Control {
    /// Between 1 and `max` requests.
    pub fn new(max: usize) -> Self {
        let max = float(max.max(1));
        Self {
            max,
            limit: START.min(max),
            era: Era::default(),
            is_starting: true,
            refused: None,
            window: Window::default(),
            cautious_windows: 0,
            latencies: [Latency::default(); SIZE_CLASSES],
        }
    }

    /// Most requests to have under way.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and a usize")]
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// The era that a request sent now belongs to.
    pub fn era(&self) -> Era {
        self.era
    }

    /// Takes in what became of a request that was sent in `era`, with `under_way` requests at that moment, itself included.
    pub fn observe(&mut self, era: Era, under_way: usize, outcome: Outcome) {
        // What was sent before the limit was lowered says nothing about the lower one.
        let is_current = era == self.era;
        match outcome {
            Outcome::Throttled if is_current => {
                self.refused = Some(self.limit);
                self.lower(AFTER_THROTTLE, 1.0);
            }
            Outcome::Answered { latency, bytes } => {
                // Of every era: in a new one the quick answers are the first to come, and would pass for the mean.
                let delay = self.latencies[size_class(bytes)].observe(latency.as_secs_f64());
                if is_current {
                    self.count(under_way, delay);
                }
            }
            Outcome::Done if is_current => self.count(under_way, 1.0),
            Outcome::Done | Outcome::Throttled | Outcome::Failed => {}
        }
    }

    fn count(&mut self, under_way: usize, delay: f64) {
        self.window.answers += 1;
        self.window.delay_sum += delay;
        self.window.was_full |= under_way >= self.limit();
        if f64::from(self.window.answers) >= self.limit.max(f64::from(WINDOW_ANSWERS)) {
            self.judge();
        }
    }

    /// The end of a window.
    fn judge(&mut self) {
        let window = std::mem::take(&mut self.window);
        let is_slow = window.delay_sum > DELAY_MAX * f64::from(window.answers);
        if is_slow && self.limit > DELAY_FLOOR {
            self.lower(AFTER_DELAY, DELAY_FLOOR);
        } else if is_slow {
            // Not by our doing: the store has become slower, and is measured against itself from now on.
            for latency in &mut self.latencies {
                latency.quickest_secs = latency.recent_secs;
            }
        } else if window.was_full {
            self.raise();
        }
    }

    fn raise(&mut self) {
        let near = self.refused.is_some_and(|refused| self.limit + 1.0 > refused * CAUTION);
        if near {
            self.cautious_windows += 1;
            if self.cautious_windows < CAUTION_WINDOWS {
                return;
            }
            self.cautious_windows = 0;
        }
        let raised = if self.is_starting { self.limit * 2.0 } else { self.limit + 1.0 };
        self.limit = raised.min(self.max);
        // What was refused then is taken now.
        self.refused = self.refused.filter(|refused| self.limit <= refused + 1.0);
    }

    fn lower(&mut self, factor: f64, floor: f64) {
        self.limit = (self.limit * factor).max(floor);
        self.is_starting = false;
        self.cautious_windows = 0;
        self.era = Era(self.era.0 + 1);
        self.window = Window::default();
    }
}

/// Which sizes are compared: nothing, then by powers of four.
fn size_class(bytes: u64) -> usize {
    let bits = u64::BITS - bytes.leading_zeros();
    usize::try_from(bits.div_ceil(2)).unwrap_or(0).min(SIZE_CLASSES - 1)
}

#[expect(clippy::cast_precision_loss, reason = "a number of requests, far below 2^52")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answered(millis: u64, bytes: u64) -> Outcome {
        Outcome::Answered { latency: Duration::from_millis(millis), bytes }
    }

    fn answer(control: &mut Control, times: usize, outcome: Outcome) {
        for _ in 0..times {
            control.observe(control.era(), control.limit(), outcome);
        }
    }

    #[test]
    fn a_store_that_takes_everything_is_soon_used_to_the_full() {
        let mut control = Control::new(128);
        answer(&mut control, 16 + 16 + 32 + 64, answered(10, 0));
        assert_eq!(control.limit(), 128);
    }

    #[test]
    fn a_limit_that_is_not_reached_stays() {
        let mut control = Control::new(128);
        for _ in 0..1000 {
            control.observe(control.era(), 3, answered(10, 0));
        }
        assert_eq!(control.limit(), 8);
    }

    #[test]
    fn refusals_of_one_era_count_once() {
        let mut control = Control::new(100);
        answer(&mut control, 1000, answered(10, 0));
        let era = control.era();
        for _ in 0..50 {
            control.observe(era, 100, Outcome::Throttled);
        }
        assert_eq!(control.limit(), 70);
    }

    #[test]
    fn answers_that_wait_for_each_other_lower_the_limit_and_large_bodies_do_not() {
        let mut control = Control::new(64);
        answer(&mut control, 400, answered(10, 0));
        assert_eq!(control.limit(), 64);
        // As long as they always take that long, large ones are no sign of anything.
        answer(&mut control, 400, answered(5_000, 32 << 20));
        assert_eq!(control.limit(), 64);
        answer(&mut control, 400, answered(30, 0));
        assert!(control.limit() < 64, "{}", control.limit());
        answer(&mut control, 100_000, answered(30, 0));
        assert_eq!(control.limit(), 64, "a store that has become slower for good");
    }

    proptest! {
        #[test]
        fn the_limit_stays_within_its_bounds(
            max in 0usize..300,
            steps in prop::collection::vec((0u8..6, 0u64..10_000, 0u64..1 << 40, 0usize..400), 0..500),
        ) {
            let mut control = Control::new(max);
            for (kind, millis, bytes, under_way) in steps {
                let outcome = match kind {
                    0 => Outcome::Throttled,
                    1 => Outcome::Failed,
                    2 => Outcome::Done,
                    _ => answered(millis, bytes),
                };
                control.observe(control.era(), under_way, outcome);
                prop_assert!((1..=max.max(1)).contains(&control.limit()));
            }
        }
    }
}
