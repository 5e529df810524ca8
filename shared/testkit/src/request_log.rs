//! What reached a server.
//!
//! Owns: a count for each operation and the last requests, for assertions on what a client sent. Invariants: every request
//! counts when it arrives, so failed and retried ones count as well; no credential and no signature is kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Method, Uri};

use crate::operation::{Operation, Target};

/// Headers that say what a request asked for. Everything else, `Authorization` above all, is left out.
const KEPT_HEADERS: &[&str] = &[
    "cache-control",
    "content-encoding",
    "content-length",
    "content-md5",
    "content-type",
    "expect",
    "expires",
    "if-match",
    "if-none-match",
    "range",
    "user-agent",
];

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedRequest {
    /// What it was about.
    pub target: Target,
    /// The method.
    pub method: String,
    /// Path and query as sent.
    pub path_and_query: String,
    /// Headers that say what was asked for, names in lower case, `x-amz-*` among them.
    pub headers: BTreeMap<String, String>,
}

/// Counts and the last requests.
#[derive(Debug)]
pub struct RequestLog {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    counts: BTreeMap<Operation, u64>,
    recent: VecDeque<LoggedRequest>,
}

impl RequestLog {
    /// Keeps the last `capacity` requests beside the counts.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, state: Mutex::default() }
    }

    pub(crate) fn record(&self, target: &Target, method: &Method, uri: &Uri, headers: &HeaderMap) {
        let request = (self.capacity > 0).then(|| LoggedRequest {
            target: target.clone(),
            method: method.to_string(),
            path_and_query: uri.path_and_query().map_or_else(String::new, ToString::to_string),
            headers: kept(headers),
        });
        let mut state = self.state();
        *state.counts.entry(target.operation).or_default() += 1;
        if let Some(request) = request {
            if state.recent.len() == self.capacity {
                state.recent.pop_front();
            }
            state.recent.push_back(request);
        }
    }

    /// Requests for each operation since the start or the last reset.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state().counts.iter().map(|(operation, count)| (operation.name(), *count)).collect()
    }

    /// Requests of one operation.
    pub fn count(&self, operation: Operation) -> u64 {
        self.state().counts.get(&operation).copied().unwrap_or(0)
    }

    /// All requests together.
    pub fn total(&self) -> u64 {
        self.state().counts.values().sum()
    }

    /// The last requests, oldest first.
    pub fn recent(&self) -> Vec<LoggedRequest> {
        self.state().recent.iter().cloned().collect()
    }

    /// Forgets everything.
    pub fn reset(&self) {
        *self.state() = State::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kept(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            KEPT_HEADERS.contains(&name)
                || (name.starts_with("x-amz-")
                    && name != "x-amz-security-token"
                    && !name.ends_with("customer-key"))
        })
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn counts_grow_past_the_bounded_list_and_no_secret_is_kept() {
        let log = RequestLog::new(2);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("secret"));
        headers.insert("x-amz-security-token", HeaderValue::from_static("secret"));
        headers.insert("range", HeaderValue::from_static("bytes=0-1"));
        for path in ["/b/1", "/b/2", "/b/3"] {
            let uri: Uri = path.parse().expect("uri");
            log.record(&Target::of(&Method::GET, &uri, &headers), &Method::GET, &uri, &headers);
        }
        assert_eq!(log.count(Operation::GetObject), 3);
        let recent = log.recent();
        let paths: Vec<&str> = recent.iter().map(|request| request.path_and_query.as_str()).collect();
        assert_eq!(paths, ["/b/2", "/b/3"]);
        assert_eq!(recent[0].headers, [("range".to_owned(), "bytes=0-1".to_owned())].into());
        log.reset();
        assert_eq!((log.total(), log.recent().len()), (0, 0));
    }
}
