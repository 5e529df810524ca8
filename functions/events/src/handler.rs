//! One notification in, its jobs on the queue.
//!
//! Owns: the order of reading, choosing and sending, and the one decision what a caller is told. Invariant: [`Accepted`] is the answer only
//! when the queue has taken every job and every record could be read; nothing is kept between calls.

use std::sync::Arc;
use std::time::Duration;

use ferry_transfer::job::Message;
use ferry_transfer::queue::OutgoingMessage;
use ferry_transfer::queue::shared_outbox::SharedOutbox;
use ferry_transfer::{Clock, Error, ErrorKind, event};
use serde::Serialize;

use crate::rule_book::RuleBook;
use crate::rules::Filtered;

/// Turns notifications into jobs.
#[derive(Debug, Clone)]
pub struct Handler {
    /// Which events become jobs.
    pub rules: RuleBook,
    /// Where jobs go. Notifications that come in together share its requests.
    pub outbox: SharedOutbox,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// How long the job of an object that is being appended to waits on the queue: of the jobs of many such events all but the last then
    /// find a later state and have nothing to do.
    pub append_wait: Duration,
    /// Longest that one notification's jobs may take to send. Shorter than the caller waits, or it would not hear of the failure.
    pub send_within: Duration,
}

/// A notification that is done with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// Jobs on the queue.
    pub jobs: usize,
    /// What was left out.
    #[serde(flatten)]
    pub filtered: Filtered,
}

/// Why a notification is not done with.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It can never be read, or one of its records cannot. Those that can are on the queue all the same.
    #[error("the notification cannot be read: {0}")]
    Unreadable(String),
    /// Nobody can say which events become jobs: it is to be sent again.
    #[error("the task of these events cannot be read: {}", .0.chain())]
    NoRules(Error),
    /// The queue did not take all of its jobs: it is to be sent again.
    #[error("the jobs could not be sent: {}", .0.chain())]
    NotSent(Error),
}

impl Handler {
    /// Handles one notification.
    pub async fn handle(&self, body: &[u8]) -> Result<Accepted, Refused> {
        let text =
            std::str::from_utf8(body).map_err(|_| Refused::Unreadable("it is not UTF-8".to_owned()))?;
        let notification =
            event::parse(text).map_err(|error| Refused::Unreadable(ferry_transfer::chain(&error)))?;
        let unreadable = notification.unreadable.first().cloned();
        for ignored in &notification.ignored {
            tracing::info!(event = ignored.name, why = %ignored.why, "a notification asks for nothing");
        }
        let rules = self.rules.now().await.map_err(|error| {
            tracing::error!(error = %error.chain(), "a notification is refused, since its task cannot be read");
            Refused::NoRules(error)
        })?;
        let filtered = rules.apply(notification);
        let sending = tokio::time::timeout(self.send_within, self.send(&filtered));
        sending.await.unwrap_or_else(|_elapsed| Err(self.too_slow())).map_err(|error| {
            tracing::error!(error = %error.chain(), jobs = filtered.jobs.len(), "jobs could not be sent");
            Refused::NotSent(error)
        })?;
        if let Some(reason) = unreadable {
            tracing::error!(reason, "a record of a notification cannot be read");
            return Err(Refused::Unreadable(reason));
        }
        Ok(Accepted { jobs: filtered.jobs.len(), filtered })
    }

    async fn send(&self, filtered: &Filtered) -> Result<(), Error> {
        let mut messages = Vec::with_capacity(filtered.jobs.len());
        for job in &filtered.jobs {
            let delay = if job.appended { self.append_wait } else { Duration::ZERO };
            messages.push(OutgoingMessage {
                delay,
                ..OutgoingMessage::new(Message::Object(job.clone()).to_json())
            });
        }
        self.outbox.send(messages).await
    }

    fn too_slow(&self) -> Error {
        let message = format!("the queue did not take them within {} s", self.send_within.as_secs());
        Error::new(ErrorKind::Transient, message)
    }
}

#[cfg(test)]
mod tests {
    use ferry_testkit::{MemoryQueue, MemoryQueueConfig};
    use ferry_transfer::retry::Backoff;
    use ferry_transfer::{Queue as _, SystemClock};

    use super::*;
    use crate::rules::Rules;

    fn handler(queue: &Arc<MemoryQueue>) -> Handler {
        Handler {
            rules: Rules::default().into(),
            outbox: SharedOutbox::new(Arc::clone(queue) as _, Arc::new(SystemClock), Backoff::default()),
            clock: Arc::new(SystemClock),
            append_wait: Duration::from_secs(30),
            send_within: Duration::from_secs(1),
        }
    }

    #[tokio::test]
    async fn one_job_for_each_object() {
        let queue = MemoryQueue::new(MemoryQueueConfig::default());
        let accepted = handler(&queue).handle(br#"{"key":"a","size":1}"#).await.expect("accepted");
        assert_eq!((accepted.jobs, queue.depth().await.expect("depth").visible), (1, 1));
    }

    #[tokio::test]
    async fn an_object_that_is_being_appended_to_waits() {
        let queue = MemoryQueue::new(MemoryQueueConfig::default());
        let body = br#"{"events":[{"eventName":"ObjectCreated:AppendObject","eventSource":"acs:oss",
            "oss":{"bucket":{"name":"b"},"object":{"key":"log","size":7}}}]}"#;
        handler(&queue).handle(body).await.expect("accepted");
        let depth = queue.depth().await.expect("depth");
        assert_eq!((depth.visible, depth.delayed), (0, 1));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_refused_and_the_rest_of_it_sent() {
        let queue = MemoryQueue::new(MemoryQueueConfig::default());
        let handler = handler(&queue);
        for body in [&b"nothing"[..], b"\xff", b"{}"] {
            assert!(matches!(handler.handle(body).await, Err(Refused::Unreadable(_))));
        }
        let half = br#"{"Records":[{"s3":{"object":{}}},{"s3":{"object":{"key":"k"}}}]}"#;
        assert!(matches!(handler.handle(half).await, Err(Refused::Unreadable(_))));
        assert_eq!(queue.depth().await.expect("depth").visible, 1);
    }
}
