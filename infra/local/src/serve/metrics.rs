//! `/metrics`: what Prometheus reads.
//!
//! Owns: the text and the counts since the process began. Does not own: what is counted ([`ferry_transfer::metric`], the one list of names).
//! Invariant: every metric of the list is there from the first scrape on, so that a rate has a beginning.
//!
//! Source: Prometheus, "Exposition formats", text format 0.0.4.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use ferry_transfer::latencies::Latencies;
use ferry_transfer::metric::{Lag, Measures, Metric};
use ferry_transfer::queue::QueueDepth;

/// What the text is served as.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// See the module.
#[derive(Debug)]
pub(crate) struct Metrics {
    measures: Arc<Measures>,
    since_start: Mutex<SinceStart>,
    requests: AtomicU64,
    throttles: AtomicU64,
}

/// What was measured since the process began, as Prometheus counts.
#[derive(Debug)]
struct SinceStart {
    counts: BTreeMap<Metric, u64>,
    lags: [(Lag, Latencies); Lag::ALL.len()],
}

/// What is so now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gauges {
    pub(crate) jobs: QueueDepth,
    pub(crate) dead: QueueDepth,
    pub(crate) runs: usize,
    pub(crate) tasks: usize,
}

impl Metrics {
    pub(crate) fn new(measures: Arc<Measures>) -> Self {
        let since_start = Mutex::new(SinceStart {
            counts: Metric::ALL.into_iter().map(|metric| (metric, 0)).collect(),
            lags: Lag::ALL.map(|lag| (lag, Latencies::default())),
        });
        Self { measures, since_start, requests: AtomicU64::new(0), throttles: AtomicU64::new(0) }
    }

    /// Counts what is new of two counts that go on. Where a task was connected anew they begin anew, which is no request.
    pub(crate) fn count_requests(&self, (requests, throttles): (u64, u64)) {
        let since = |seen: &AtomicU64, now: u64| now.saturating_sub(seen.swap(now, Relaxed));
        self.measures.add(Metric::Requests, since(&self.requests, requests));
        self.measures.add(Metric::Throttles, since(&self.throttles, throttles));
    }

    pub(crate) fn text(&self, gauges: &Gauges) -> String {
        let mut since_start = self.since_start.lock().unwrap_or_else(PoisonError::into_inner);
        let SinceStart { counts, lags } = &mut *since_start;
        for (metric, count) in self.measures.take() {
            *counts.entry(metric).or_default() += count;
        }
        for (lag, spans) in lags.iter_mut() {
            spans.merge(&self.measures.take_lags(*lag));
        }
        let mut text = String::new();
        for (metric, count) in counts.iter() {
            let name = format!("ferry_{}_total", snake(metric.name()));
            line(&mut text, &format!("# TYPE {name} counter\n{name} {count}"));
        }
        for (lag, spans) in lags.iter() {
            let name = format!("ferry_{}_seconds", snake(lag.name()));
            line(&mut text, &format!("# TYPE {name} summary"));
            for share in [0.5, 0.99] {
                if let Some(span) = spans.quantile(share) {
                    line(&mut text, &format!("{name}{{quantile=\"{share}\"}} {}", span.as_secs_f64()));
                }
            }
            line(&mut text, &format!("{name}_count {}", spans.count()));
        }
        for (queue, depth) in [("jobs", gauges.jobs), ("dead_letters", gauges.dead)] {
            let name = format!("ferry_queue_{queue}");
            line(&mut text, &format!("# TYPE {name} gauge"));
            for (state, count) in
                [("visible", depth.visible), ("in_flight", depth.in_flight), ("delayed", depth.delayed)]
            {
                line(&mut text, &format!("{name}{{state=\"{state}\"}} {count}"));
            }
        }
        for (name, count) in [("ferry_runs_active", gauges.runs), ("ferry_tasks", gauges.tasks)] {
            line(&mut text, &format!("# TYPE {name} gauge\n{name} {count}"));
        }
        text
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// `BytesCopied` as Prometheus names it: `bytes_copied`.
fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for char in name.chars() {
        if char.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(char.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_the_list_is_there_and_only_grows() {
        let measures = Arc::new(Measures::default());
        let metrics = Metrics::new(Arc::clone(&measures));
        let first = metrics.text(&Gauges::default());
        for metric in Metric::ALL {
            let name = format!("ferry_{}_total 0", snake(metric.name()));
            assert!(first.lines().any(|line| line == name), "{name} is not in\n{first}");
        }
        measures.add(Metric::BytesCopied, 5);
        metrics.text(&Gauges::default());
        for seen in [5, 8, 2, 3] {
            metrics.count_requests((seen, 0));
        }
        measures.add(Metric::BytesCopied, 7);
        let third = metrics.text(&Gauges { runs: 2, ..Gauges::default() });
        assert!(third.contains("\nferry_bytes_copied_total 12\n"), "{third}");
        assert!(third.contains("\nferry_requests_total 9\n"), "{third}");
        assert!(third.contains("\nferry_runs_active 2\n"), "{third}");
        for line in third.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            assert!(name.starts_with("ferry_") && value.parse::<f64>().is_ok(), "{line}");
        }
    }
}
