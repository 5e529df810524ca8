//! The queues of an endpoint: names, settings and messages.
//!
//! Owns: creation with the rules of `CreateQueue`. Invariant: a queue's settings never change after it was created, and
//! its dead-letter queue exists.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ferry_transfer::queue::memory::{DeadLetters, MemoryQueue, MemoryQueueConfig};
use serde::Deserialize;

use super::error::{ApiError, Code};

/// Longest visibility timeout (AWS, "Amazon SQS message quotas": 12 hours).
pub(super) const VISIBILITY_MAX_SECS: u64 = 43_200;
/// Longest delay of a message (AWS, "Amazon SQS message quotas": 15 minutes).
pub(super) const DELAY_MAX_SECS: u64 = 900;
/// Most deliveries before a message goes to the dead-letter queue (AWS, "Configuring a dead-letter queue").
const RECEIVE_COUNT_MAX: u32 = 1_000;

/// What a queue is created with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    /// How long a received message stays hidden where the receiver does not say; up to 12 hours.
    pub visibility_timeout: Duration,
    /// How long a message stays hidden after it was sent where the sender does not say; up to 15 minutes.
    pub delay: Duration,
    /// Where poison goes; `None` keeps delivering it.
    pub redrive: Option<RedrivePolicy>,
}

/// When a message goes to the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedrivePolicy {
    /// The name of the dead-letter queue, on the same endpoint.
    pub dead_letter_queue: String,
    /// Deliveries before a message goes there: 1 to 1,000.
    pub max_receive_count: u32,
}

impl Default for QueueSettings {
    /// What SQS defaults to: 30 s, no delay, no dead-letter queue.
    fn default() -> Self {
        Self { visibility_timeout: Duration::from_secs(30), delay: Duration::ZERO, redrive: None }
    }
}

impl QueueSettings {
    /// The settings that `attributes` of a `CreateQueue` request stand for, on top of `self`.
    pub(super) fn with_attributes(mut self, attributes: &BTreeMap<String, String>) -> Result<Self, ApiError> {
        for (name, value) in attributes {
            match name.as_str() {
                "VisibilityTimeout" => {
                    self.visibility_timeout = parse_secs(name, value, VISIBILITY_MAX_SECS)?;
                }
                "DelaySeconds" => self.delay = parse_secs(name, value, DELAY_MAX_SECS)?,
                "RedrivePolicy" => self.redrive = Some(RedrivePolicy::parse(value)?),
                _ => return Err(unknown_attribute(name)),
            }
        }
        Ok(self)
    }
}

impl QueueSettings {
    /// Refuses what `CreateQueue` could not have been asked for.
    fn check(&self) -> Result<(), ApiError> {
        if self.visibility_timeout > Duration::from_secs(VISIBILITY_MAX_SECS) {
            return Err(invalid_value("VisibilityTimeout"));
        }
        if self.delay > Duration::from_secs(DELAY_MAX_SECS) {
            return Err(invalid_value("DelaySeconds"));
        }
        match &self.redrive {
            Some(policy) if !(1..=RECEIVE_COUNT_MAX).contains(&policy.max_receive_count) => {
                Err(invalid_value("RedrivePolicy"))
            }
            _ => Ok(()),
        }
    }
}

impl RedrivePolicy {
    fn parse(json: &str) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Policy {
            dead_letter_target_arn: String,
            max_receive_count: Count,
        }
        /// SDKs and templates write the count both ways.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Count {
            Number(u32),
            Text(String),
        }
        let refused = |reason: &str| {
            ApiError::new(
                Code::InvalidParameterValue,
                format!("Value {json} for parameter RedrivePolicy is invalid. Reason: {reason}"),
            )
        };
        let policy: Policy = serde_json::from_str(json).map_err(|error| refused(&error.to_string()))?;
        let max_receive_count = match policy.max_receive_count {
            Count::Number(count) => Some(count),
            Count::Text(text) => text.parse().ok(),
        };
        Ok(Self {
            dead_letter_queue: policy
                .dead_letter_target_arn
                .rsplit(':')
                .next()
                .unwrap_or_default()
                .to_owned(),
            max_receive_count: max_receive_count
                .filter(|count| (1..=RECEIVE_COUNT_MAX).contains(count))
                .ok_or_else(|| refused("maxReceiveCount must be between 1 and 1000."))?,
        })
    }
}

pub(super) fn unknown_attribute(name: &str) -> ApiError {
    ApiError::new(Code::InvalidAttributeName, format!("Unknown Attribute {name}."))
}

fn parse_secs(name: &str, value: &str, max: u64) -> Result<Duration, ApiError> {
    match value.parse() {
        Ok(secs) if secs <= max => Ok(Duration::from_secs(secs)),
        _ => Err(invalid_value(name)),
    }
}

fn invalid_value(name: &str) -> ApiError {
    ApiError::new(Code::InvalidAttributeValue, format!("Invalid value for the parameter {name}."))
}

/// A queue of the endpoint.
#[derive(Debug, Clone)]
pub(super) struct HostedQueue {
    pub(super) name: String,
    pub(super) settings: QueueSettings,
    pub(super) messages: Arc<MemoryQueue>,
}

/// The queues by name.
#[derive(Debug, Default)]
pub(super) struct Queues(Mutex<BTreeMap<String, HostedQueue>>);

impl Queues {
    fn by_name(&self) -> MutexGuard<'_, BTreeMap<String, HostedQueue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get_or_create(&self, name: &str) -> Arc<MemoryQueue> {
        let mut queues = self.by_name();
        let queue = queues.entry(name.to_owned()).or_insert_with(|| HostedQueue {
            name: name.to_owned(),
            settings: QueueSettings::default(),
            messages: MemoryQueue::new(MemoryQueueConfig::default()),
        });
        Arc::clone(&queue.messages)
    }

    /// Creates the queue, or finds it with the very same settings.
    pub(super) fn create(&self, name: &str, settings: QueueSettings) -> Result<Arc<MemoryQueue>, ApiError> {
        check_name(name)?;
        settings.check()?;
        let mut queues = self.by_name();
        if let Some(queue) = queues.get(name) {
            if queue.settings == settings {
                return Ok(Arc::clone(&queue.messages));
            }
            return Err(ApiError::new(
                Code::QueueNameExists,
                format!("A queue named {name} already exists with other attributes."),
            ));
        }
        let dead_letters = settings
            .redrive
            .as_ref()
            .map(|policy| {
                let target = queues.get(&policy.dead_letter_queue).ok_or_else(|| {
                    ApiError::parameter(
                        "RedrivePolicy",
                        &policy.dead_letter_queue,
                        "Dead letter target does not exist.",
                    )
                })?;
                Ok::<_, ApiError>(DeadLetters {
                    queue: Arc::clone(&target.messages),
                    max_receive_count: policy.max_receive_count,
                })
            })
            .transpose()?;
        let messages = MemoryQueue::new(MemoryQueueConfig { capacity: None, dead_letters });
        let queue = HostedQueue { name: name.to_owned(), settings, messages: Arc::clone(&messages) };
        queues.insert(name.to_owned(), queue);
        Ok(messages)
    }

    /// The settings a `CreateQueue` request starts from: those of the queue where it exists, since attributes that the
    /// request leaves out are not compared.
    pub(super) fn settings_or_default(&self, name: &str) -> QueueSettings {
        self.by_name().get(name).map(|queue| queue.settings.clone()).unwrap_or_default()
    }

    pub(super) fn by_queue_name(&self, name: &str) -> Result<HostedQueue, ApiError> {
        self.by_name()
            .get(name)
            .cloned()
            .ok_or_else(|| ApiError::new(Code::QueueDoesNotExist, "The specified queue does not exist."))
    }

    /// The queue a URL names by its last segment; host and account are the client's business.
    pub(super) fn by_url(&self, url: &str) -> Result<HostedQueue, ApiError> {
        self.by_queue_name(url.rsplit('/').next().unwrap_or_default())
    }

    pub(super) fn names(&self, prefix: &str) -> Vec<String> {
        self.by_name().keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=80).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(ApiError::new(
        Code::InvalidParameterValue,
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
    ))
}
