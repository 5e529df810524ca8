//! Metrics as lines of a log, in the embedded metric format of `CloudWatch`.
//!
//! Owns: the line. Does not own: what is measured ([`ferry_transfer::metric`]). Invariants: one line is one JSON object of at most one
//! directive and a hundred metrics; the stack is the only dimension, since each value of a dimension is a metric that is paid
//! for; task, run and request are properties, which can be searched and cost nothing. Follows the Amazon `CloudWatch` User
//! Guide, "Specification: Embedded metric format".

use std::io::Write as _;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ferry_transfer::latencies::Latencies;
use ferry_transfer::metric::{Lag, Measures, Metric, Unit};
use ferry_transfer::store::metered::Meter;
use ferry_transfer::{Clock, SystemClock};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// The namespace of every metric.
pub const NAMESPACE: &str = "Ferry";

/// The one dimension.
pub const DIMENSION: &str = "Stack";

/// Most values of one metric in a line (Amazon `CloudWatch` User Guide, "Specification: Embedded metric format").
const VALUES_MAX: usize = 100;

/// The line for some counts; `None` where there are none. Of more lags than a line holds there are as many as it does, distributed as
/// they are.
pub fn line(
    at: OffsetDateTime,
    stack: &str,
    counts: &[(Metric, u64)],
    lags: &[(Lag, Latencies)],
    properties: &[(&str, &str)],
) -> Option<String> {
    let lags = || lags.iter().filter(|(_, spans)| !spans.is_empty());
    if counts.is_empty() && lags().next().is_none() {
        return None;
    }
    let mut metrics: Vec<Value> =
        counts.iter().map(|(metric, _)| json!({ "Name": metric.name(), "Unit": unit(*metric) })).collect();
    let mut line = Map::new();
    for (name, value) in properties {
        line.insert((*name).to_owned(), (*value).into());
    }
    for (metric, count) in counts {
        line.insert(metric.name().to_owned(), (*count).into());
    }
    for (lag, spans) in lags() {
        metrics.push(json!({ "Name": lag.name(), "Unit": "Milliseconds" }));
        line.insert(lag.name().to_owned(), spans.samples_ms(VALUES_MAX).into());
    }
    line.insert(DIMENSION.to_owned(), stack.into());
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": metrics });
    let timestamp_ms = i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    line.insert("_aws".to_owned(), json!({ "Timestamp": timestamp_ms, "CloudWatchMetrics": [directive] }));
    Some(Value::Object(line).to_string())
}

fn unit(metric: Metric) -> &'static str {
    match metric.unit() {
        Unit::Count => "Count",
        Unit::Bytes => "Bytes",
    }
}

/// Publishes what a function has measured since the last time.
#[derive(Debug)]
pub struct Publisher {
    stack: Option<String>,
    measures: Arc<Measures>,
    meter: Arc<Meter>,
    requests: AtomicU64,
    throttles: AtomicU64,
}

impl Publisher {
    /// Publishes these counts under the name of a deployment, or nothing without one.
    pub fn new(stack: Option<String>, measures: Arc<Measures>, meter: Arc<Meter>) -> Self {
        Self { stack, measures, meter, requests: AtomicU64::new(0), throttles: AtomicU64::new(0) }
    }

    /// Says what is new, with these properties.
    pub fn publish(&self, properties: &[(&str, &str)]) {
        let reading = self.meter.read();
        // The meter goes on counting: what it says now less what it said before. A later reading is never less.
        let since = |seen: &AtomicU64, now: u64| now.saturating_sub(seen.fetch_max(now, Relaxed));
        self.measures.add(Metric::Requests, since(&self.requests, reading.requests.values().sum()));
        self.measures.add(Metric::Throttles, since(&self.throttles, reading.throttled));
        let Some(stack) = &self.stack else { return };
        if let Some(line) = line(
            SystemClock.now(),
            stack,
            &self.measures.take(),
            &Lag::ALL.map(|lag| (lag, self.measures.take_lags(lag))),
            properties,
        ) {
            publish(&line);
        }
    }
}

/// Writes a line where Lambda takes it from: standard output, in one piece, not through the log's own formatter, which would nest it.
fn publish(line: &str) {
    let written = writeln!(std::io::stdout().lock(), "{line}");
    if let Err(error) = written {
        tracing::warn!(%error, "metrics could not be written");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What the specification's own JSON schema demands of a line.
    fn assert_valid(line: &str) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let aws = &line["_aws"];
        assert!(aws["Timestamp"].as_i64().is_some_and(|at| at >= 0), "{line}");
        let directives = aws["CloudWatchMetrics"].as_array().expect("directives");
        for directive in directives {
            assert!(directive["Namespace"].as_str().is_some_and(|name| (1..=1024).contains(&name.len())));
            for set in directive["Dimensions"].as_array().expect("sets") {
                let set = set.as_array().expect("a set");
                assert!((1..=30).contains(&set.len()));
                for name in set {
                    let value = &line[name.as_str().expect("a name")];
                    assert!(value.as_str().is_some_and(|value| (1..=1024).contains(&value.len())), "{line}");
                }
            }
            let metrics = directive["Metrics"].as_array().expect("metrics");
            assert!((1..=100).contains(&metrics.len()));
            for metric in metrics {
                assert!(
                    matches!(metric["Unit"].as_str(), Some("Count" | "Bytes" | "Milliseconds")),
                    "{metric}"
                );
                let value = &line[metric["Name"].as_str().expect("a name")];
                let values = value.as_array().map_or(1, Vec::len);
                assert!((value.is_number() || value.is_array()) && values <= 100, "{line}");
            }
        }
    }

    #[test]
    fn a_line_is_what_the_specification_says() {
        let counts: Vec<(Metric, u64)> = Metric::ALL.into_iter().zip(1..).collect();
        let at = OffsetDateTime::from_unix_timestamp(1_795_330_000).expect("a time");
        let mut lags = Latencies::default();
        for lag_ms in 1..=1_000 {
            lags.add(Duration::from_millis(lag_ms));
        }
        let lags = Lag::ALL.map(|lag| (lag, lags.clone()));
        let line = line(at, "prod", &counts, &lags, &[("run", "r-1"), ("request_id", "x")]).expect("a line");
        assert_valid(&line);
        assert!(!line.contains('\n'));
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["_aws"]["Timestamp"], 1_795_330_000_000_i64);
        assert_eq!(
            (&value["BytesCopied"], &value["run"], &value["Stack"]),
            (&json!(1), &json!("r-1"), &json!("prod"))
        );
    }

    #[test]
    fn nothing_measured_is_nothing_said() {
        let none = Lag::ALL.map(|lag| (lag, Latencies::default()));
        assert_eq!(line(OffsetDateTime::UNIX_EPOCH, "prod", &[], &none, &[]), None);
    }
}
