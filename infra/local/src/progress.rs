//! How far a run has come, on stderr.
//!
//! Owns: one line that is redrawn on a terminal, or written every ten seconds elsewhere; rate and time left. Invariant: stdout is
//! never touched, and nothing is drawn where nobody looks.

use std::convert::Infallible;
use std::io::IsTerminal as _;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ferry_transfer::pace::PaceReading;
use ferry_transfer::pace::gate::GateReading;
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use crate::engine::Run;
use crate::exit::say;

const REDRAW: Duration = Duration::from_millis(100);
const WRITE: Duration = Duration::from_secs(10);

/// Whether anybody wants to see progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// On a terminal redrawn, elsewhere line by line.
    Progress,
    /// No.
    Nothing,
}

/// Shows a run's progress until it is dropped.
pub async fn watch(run: &Run, show: Show) -> Infallible {
    if show == Show::Nothing {
        return std::future::pending().await;
    }
    let mut speed = Speed::new();
    if std::io::stderr().is_terminal() {
        let bar = ProgressBar::new_spinner().with_style(
            ProgressStyle::with_template("{spinner} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        let _cleared = ClearOnDrop(bar.clone());
        let mut ticks = tokio::time::interval(REDRAW);
        loop {
            ticks.tick().await;
            bar.set_message(line(run, &mut speed));
            bar.tick();
        }
    }
    let mut ticks = tokio::time::interval(WRITE);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        say(&line(run, &mut speed));
    }
}

struct ClearOnDrop(ProgressBar);

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Objects and bytes a second over the last few seconds.
struct Speed {
    samples: std::collections::VecDeque<(Instant, u64, u64)>,
}

impl Speed {
    const WINDOW: Duration = Duration::from_secs(5);

    fn new() -> Self {
        Self { samples: std::collections::VecDeque::new() }
    }

    fn sample(&mut self, objects: u64, bytes: u64) -> (f64, f64) {
        let now = Instant::now();
        self.samples.push_back((now, objects, bytes));
        while self.samples.front().is_some_and(|(at, ..)| now.duration_since(*at) > Self::WINDOW) {
            self.samples.pop_front();
        }
        let Some(&(then, objects_then, bytes_then)) = self.samples.front() else { return (0.0, 0.0) };
        let secs = now.duration_since(then).as_secs_f64();
        if secs <= 0.0 {
            return (0.0, 0.0);
        }
        (rate(objects.saturating_sub(objects_then), secs), rate(bytes.saturating_sub(bytes_then), secs))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for a person")]
fn rate(count: u64, secs: f64) -> f64 {
    count as f64 / secs
}

fn line(run: &Run, speed: &mut Speed) -> String {
    let progress = &run.progress;
    let (found, same) = (progress.found.load(Relaxed), progress.up_to_date.load(Relaxed));
    let (to_do, to_do_bytes) = (progress.enqueued.load(Relaxed), progress.enqueued_bytes.load(Relaxed));
    let (done, done_bytes, failed) = run.tally.settled();
    // Bytes on their way count as they go, so that one large object does not look like a standstill.
    let sent_bytes = run.ends.destination_meter.read().written_bytes;
    let (objects_per_sec, bytes_per_sec) = speed.sample(done, sent_bytes);
    let mut line = format!(
        "found {} · up to date {} · done {} of {} · {} · {}/s · {objects_per_sec:.0} objects/s",
        HumanCount(found),
        HumanCount(same),
        HumanCount(done),
        HumanCount(to_do),
        HumanBytes(sent_bytes),
        HumanBytes(whole(bytes_per_sec)),
    );
    line.push_str(&pace([&run.ends.source_pace.read(), &run.ends.destination_pace.read()]));
    if failed > 0 {
        line.push_str(&format!(" · {} failed", HumanCount(failed)));
    }
    let left = Left {
        objects: to_do.saturating_sub(done),
        bytes: to_do_bytes.saturating_sub(done_bytes.max(sent_bytes)),
    };
    if let Some(eta) = left.time(objects_per_sec, bytes_per_sec) {
        line.push_str(&format!(" · {} left", HumanDuration(eta)));
    }
    line
}

/// Requests under way, and how many were refused for coming too fast.
fn pace(sides: [&PaceReading; 2]) -> String {
    let sum = |of: fn(&GateReading) -> u64| sides.iter().flat_map(|side| side.values()).map(of).sum::<u64>();
    let mut words = format!(" · {} at once", HumanCount(sum(|gate| gate.under_way as u64)));
    let throttled = sum(|gate| gate.throttled);
    if throttled > 0 {
        words.push_str(&format!(" · {} throttled", HumanCount(throttled)));
    }
    words
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate for a person, never negative"
)]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

/// What is on the queue and not yet done. More may be found: the finder runs ahead of the workers by the queue's capacity.
struct Left {
    objects: u64,
    bytes: u64,
}

impl Left {
    /// The longer of the two times that objects and bytes would take at this rate.
    #[expect(clippy::cast_precision_loss, reason = "an estimate for a person")]
    fn time(&self, objects_per_sec: f64, bytes_per_sec: f64) -> Option<Duration> {
        if self.objects == 0 {
            return None;
        }
        let by_objects = self.objects as f64 / objects_per_sec;
        let by_bytes = if self.bytes == 0 { 0.0 } else { self.bytes as f64 / bytes_per_sec };
        Duration::try_from_secs_f64(by_objects.min(f64::MAX).max(by_bytes))
            .ok()
            .filter(|eta| *eta < Duration::from_hours(24 * 365))
    }
}

#[cfg(test)]
mod tests {
    use ferry_transfer::pace::Lane;

    use super::*;

    #[test]
    fn throttles_are_shown_once_there_are_any() {
        let reading = |throttled| {
            PaceReading::from([(Lane::Read, GateReading { limit: 9, under_way: 4, peak: 9, throttled })])
        };
        assert_eq!(pace([&reading(0), &reading(0)]), " · 8 at once");
        assert_eq!(pace([&reading(2), &PaceReading::new()]), " · 4 at once · 2 throttled");
    }

    #[test]
    fn time_left_follows_the_slower_of_objects_and_bytes() {
        let left = Left { objects: 100, bytes: 1000 };
        assert_eq!(left.time(10.0, 1000.0), Some(Duration::from_secs(10)));
        assert_eq!(left.time(1000.0, 10.0), Some(Duration::from_secs(100)));
        assert_eq!(left.time(0.0, 0.0), None);
        assert_eq!(Left { objects: 0, bytes: 0 }.time(1.0, 1.0), None);
    }
}
