//! Faults in front of a server, added and removed while it runs.
//!
//! Owns: rules (which requests, which of them, what goes wrong) and their counters. Does not own: carrying a fault out, which
//! the server's HTTP layer does. Invariants: nothing is random, so the same requests meet the same faults; a rule counts
//! the requests it matches in the order in which they arrive; of several rules that would fail one request, the first
//! added does, and the others do not count that request.

mod body;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::operation::{Operation, Target};

pub(crate) use body::{Tamper, TamperedBody};

/// Called before a matching request is carried out.
pub type Hook = Arc<dyn Fn(&Target) + Send + Sync>;

/// What goes wrong.
#[derive(Clone)]
pub enum Action {
    /// The request is refused with an error document, and not carried out.
    Refuse {
        /// HTTP status.
        status: u16,
        /// S3 error code.
        code: &'static str,
    },
    /// The request is not carried out and answered with status 200 and an error document, as S3 may answer
    /// `CompleteMultipartUpload` and `CopyObject`.
    RefuseWithStatus200 {
        /// S3 error code.
        code: &'static str,
    },
    /// The request is carried out; the connection closes after this many bytes of the answer's body.
    CutBody {
        /// Bytes that still arrive.
        after_bytes: u64,
    },
    /// The request is carried out; one bit of the answer's body is turned over. A body that is too short stays whole.
    FlipByte {
        /// Which byte, from 0.
        at: u64,
    },
    /// The request is carried out, and the connection closes without an answer.
    LoseReply,
    /// The connection closes without an answer, and nothing is carried out.
    CloseConnection,
    /// `Range` is ignored: status 200 and the whole object.
    IgnoreRange,
    /// The request waits this long, and then meets the rules after this one.
    Delay(Duration),
    /// Calls back, and then meets the rules after this one.
    Before(Hook),
}

impl Action {
    /// 503 `SlowDown`.
    pub const SLOW_DOWN: Self = Self::Refuse { status: 503, code: "SlowDown" };
    /// 500 `InternalError`.
    pub const INTERNAL_ERROR: Self = Self::Refuse { status: 500, code: "InternalError" };
    /// 403 `AccessDenied`.
    pub const ACCESS_DENIED: Self = Self::Refuse { status: 403, code: "AccessDenied" };
    /// 412 `PreconditionFailed`.
    pub const PRECONDITION_FAILED: Self = Self::Refuse { status: 412, code: "PreconditionFailed" };
    /// 501 `NotImplemented`.
    pub const NOT_IMPLEMENTED: Self = Self::Refuse { status: 501, code: "NotImplemented" };

    /// Calls `hook` with what the request is about, before it is carried out.
    pub fn before(hook: impl Fn(&Target) + Send + Sync + 'static) -> Self {
        Self::Before(Arc::new(hook))
    }
}

/// Which of the requests that a rule matches meet its action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    First(u64),
    Nth(u64),
    Every(u64),
}

/// Which requests, and what goes wrong with them.
#[derive(Debug, Clone)]
pub struct Rule {
    operation: Option<Operation>,
    bucket: Option<String>,
    key_part: Option<String>,
    when: When,
    action: Action,
}

impl Rule {
    /// Every request of one operation.
    pub fn on(operation: Operation, action: Action) -> Self {
        Self { operation: Some(operation), ..Self::on_any(action) }
    }

    /// Every request.
    pub fn on_any(action: Action) -> Self {
        Self { operation: None, bucket: None, key_part: None, when: When::Always, action }
    }

    /// Only in this bucket.
    #[must_use]
    pub fn in_bucket(mut self, bucket: impl Into<String>) -> Self {
        self.bucket = Some(bucket.into());
        self
    }

    /// Only keys that contain this.
    #[must_use]
    pub fn key_contains(mut self, part: impl Into<String>) -> Self {
        self.key_part = Some(part.into());
        self
    }

    /// Only the first `count` matching requests.
    #[must_use]
    pub fn first(mut self, count: u64) -> Self {
        self.when = When::First(count);
        self
    }

    /// Only the `n`-th matching request, from 1.
    #[must_use]
    pub fn nth(mut self, n: u64) -> Self {
        self.when = When::Nth(n);
        self
    }

    /// Every `n`-th matching request: the `n`-th, the `2n`-th and so on.
    #[must_use]
    pub fn every(mut self, n: u64) -> Self {
        self.when = When::Every(n);
        self
    }

    fn matches(&self, target: &Target) -> bool {
        self.operation.is_none_or(|operation| operation == target.operation)
            && self.bucket.as_ref().is_none_or(|bucket| *bucket == target.bucket)
            && self.key_part.as_ref().is_none_or(|part| target.key.contains(part.as_str()))
    }
}

impl When {
    fn includes(self, count: u64) -> bool {
        match self {
            Self::Always => true,
            Self::First(first) => count <= first,
            Self::Nth(n) => count == n,
            Self::Every(n) => n > 0 && count.is_multiple_of(n),
        }
    }
}

/// Names a rule that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RuleId(u64);

/// The rules of one server. See the module.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<Rules>,
    /// How many there are, so that a server without faults pays one load for each request.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Rules {
    next_id: u64,
    installed: Vec<Installed>,
}

#[derive(Debug)]
struct Installed {
    id: RuleId,
    rule: Rule,
    matched: u64,
    fired: u64,
}

/// What is to happen to one request.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) hooks: Vec<Action>,
    pub(crate) failure: Option<Action>,
}

impl Faults {
    /// Adds a rule behind those there are.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut rules = self.rules();
        let id = RuleId(rules.next_id);
        rules.next_id += 1;
        rules.installed.push(Installed { id, rule, matched: 0, fired: 0 });
        self.count.store(rules.installed.len(), Ordering::Release);
        id
    }

    /// Removes a rule; whether it was there.
    pub fn remove(&self, id: RuleId) -> bool {
        let mut rules = self.rules();
        let before = rules.installed.len();
        rules.installed.retain(|installed| installed.id != id);
        self.count.store(rules.installed.len(), Ordering::Release);
        rules.installed.len() < before
    }

    /// Removes every rule.
    pub fn clear(&self) {
        let mut rules = self.rules();
        rules.installed.clear();
        self.count.store(0, Ordering::Release);
    }

    /// How many requests met the rule's action; 0 for a rule that is gone.
    pub fn fired(&self, id: RuleId) -> u64 {
        self.rules()
            .installed
            .iter()
            .find(|installed| installed.id == id)
            .map_or(0, |installed| installed.fired)
    }

    pub(crate) fn judge(&self, target: &Target) -> Verdict {
        let mut verdict = Verdict::default();
        if self.count.load(Ordering::Acquire) == 0 {
            return verdict;
        }
        for installed in &mut self.rules().installed {
            let passes_on = matches!(installed.rule.action, Action::Delay(_) | Action::Before(_));
            if !installed.rule.matches(target) || (verdict.failure.is_some() && !passes_on) {
                continue;
            }
            installed.matched += 1;
            if !installed.rule.when.includes(installed.matched) {
                continue;
            }
            installed.fired += 1;
            let action = installed.rule.action.clone();
            if passes_on {
                verdict.hooks.push(action);
            } else {
                verdict.failure = Some(action);
            }
        }
        verdict
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse { status, code } => write!(f, "Refuse({status} {code})"),
            Self::RefuseWithStatus200 { code } => write!(f, "RefuseWithStatus200({code})"),
            Self::CutBody { after_bytes } => write!(f, "CutBody({after_bytes})"),
            Self::FlipByte { at } => write!(f, "FlipByte({at})"),
            Self::LoseReply => f.write_str("LoseReply"),
            Self::CloseConnection => f.write_str("CloseConnection"),
            Self::IgnoreRange => f.write_str("IgnoreRange"),
            Self::Delay(delay) => write!(f, "Delay({delay:?})"),
            Self::Before(_) => f.write_str("Before"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(operation: Operation, key: &str) -> Target {
        Target { operation, bucket: "b".to_owned(), key: key.to_owned() }
    }

    fn failing(faults: &Faults, requests: &[(Operation, &str)]) -> Vec<bool> {
        requests
            .iter()
            .map(|(operation, key)| faults.judge(&target(*operation, key)).failure.is_some())
            .collect()
    }

    #[test]
    fn a_rule_counts_only_what_it_matches() {
        let faults = Faults::default();
        let id = faults.add(Rule::on(Operation::GetObject, Action::SLOW_DOWN).key_contains("x").nth(2));
        let requests = [
            (Operation::GetObject, "x1"),
            (Operation::GetObject, "y"),
            (Operation::HeadObject, "x"),
            (Operation::GetObject, "x2"),
            (Operation::GetObject, "x3"),
        ];
        assert_eq!(failing(&faults, &requests), [false, false, false, true, false]);
        assert_eq!(faults.fired(id), 1);
        assert!(faults.remove(id) && !faults.remove(id));
    }

    #[test]
    fn every_and_first_choose_their_requests() {
        let faults = Faults::default();
        let six = [(Operation::PutObject, "k"); 6];
        let every = faults.add(Rule::on_any(Action::INTERNAL_ERROR).every(3));
        assert_eq!(failing(&faults, &six), [false, false, true, false, false, true]);
        faults.remove(every);
        faults.add(Rule::on_any(Action::INTERNAL_ERROR).first(2));
        assert_eq!(failing(&faults, &six), [true, true, false, false, false, false]);
    }

    #[test]
    fn two_rules_fail_two_requests_and_delays_do_not_hide_failures() {
        let faults = Faults::default();
        faults.add(Rule::on_any(Action::Delay(Duration::from_secs(1))));
        faults.add(Rule::on_any(Action::SLOW_DOWN).first(1));
        faults.add(Rule::on_any(Action::LoseReply).first(1));
        let verdicts: Vec<Verdict> =
            (0..3).map(|_| faults.judge(&target(Operation::PutObject, "k"))).collect();
        let failures: Vec<String> = verdicts.iter().map(|v| format!("{:?}", v.failure)).collect();
        assert_eq!(failures, ["Some(Refuse(503 SlowDown))", "Some(LoseReply)", "None"]);
        assert!(verdicts.iter().all(|verdict| verdict.hooks.len() == 1));
    }
}
