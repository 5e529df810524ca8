//! A batch of messages in, the ones to be delivered again out.
//!
//! Owns: the settlement of each message on its own. Invariants: a message that can never succeed fails alone, ends with the dead
//! letters with its reason, and never takes its batch or the process with it, not even by a panic; every job leaves one
//! receipt for each delivery, and exactly one of them is final.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use ferry_transfer::agree::{agree, agree_part};
use ferry_transfer::copy::Copier;
use ferry_transfer::deletion::DeleteJournal;
use ferry_transfer::job::{Action, Found, Job, Message, PartJob};
use ferry_transfer::queue::OutgoingMessage;
use ferry_transfer::receipt::{Failed, Outcome, Receipt, ReceiptSink};
use ferry_transfer::{Clock, Error, ErrorKind, Key, Routes, SharedQueue};
use futures::FutureExt;
use futures::future::join_all;
use time::OffsetDateTime;

use crate::parking::{Parked, Parking};

/// The attribute of a dead letter that says why it is one.
pub const DEAD_LETTER_REASON: &str = "ferry-reason";

/// Settles jobs.
pub struct Worker {
    /// Where tasks are found.
    pub routes: Arc<dyn Routes>,
    /// Moves the bytes, within bounds shared by all batches of the process.
    pub copier: Arc<Copier>,
    /// Takes the receipts.
    pub receipts: Arc<dyn ReceiptSink>,
    /// Takes what is written down of deletes, before they are made.
    pub journal: Arc<dyn DeleteJournal>,
    /// Takes what can never succeed, with the reason. Without it such messages are given back until the queue's own
    /// redrive rule takes them, without a reason.
    pub dead_letters: Option<SharedQueue>,
    /// Where jobs wait for an archive; without it they are let go at once, and a later run finds their objects again.
    pub parking: Option<Parking>,
    /// Deliveries after which nobody tries again; the queue's `maxReceiveCount`.
    pub max_receive_count: u32,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
}

/// A job that has ended, and its message.
struct Ended {
    key: Key,
    task: Option<String>,
    run: Option<String>,
    action: Action,
    found: Option<Found>,
    attempt: u32,
    body: String,
}

impl Ended {
    fn job(job: Job, attempt: u32, body: String) -> Self {
        let Job { key, task, run, action, found, .. } = job;
        Self { key, task, run, action, found, attempt, body }
    }

    fn part(part: PartJob, attempt: u32, body: String) -> Self {
        let PartJob { key, task, run, .. } = part;
        Self { key, task, run, action: Action::Copy, found: None, attempt, body }
    }
}

/// What becomes of a message.
enum Settled {
    Done,
    /// To be delivered again.
    GiveBack,
}

impl Worker {
    /// Handles one batch. The answer names the messages to be delivered again; an error fails the whole batch, and only a record
    /// without a message id is one, since no answer could name it.
    pub async fn handle(&self, event: SqsEvent) -> Result<SqsBatchResponse, Error> {
        if event.records.iter().any(|record| record.message_id.as_deref().unwrap_or_default().is_empty()) {
            return Err(Error::new(ErrorKind::InvalidInput, "a record of the batch has no message id"));
        }
        let settled = join_all(event.records.into_iter().map(|record| async move {
            let id = record.message_id.clone().unwrap_or_default();
            let settled =
                AssertUnwindSafe(self.settle(record)).catch_unwind().await.unwrap_or_else(|_panic| {
                    tracing::error!(message_id = id, "a job panicked; its message will be delivered again");
                    Settled::GiveBack
                });
            (id, settled)
        }))
        .await;
        self.receipts.keep().await;
        let mut response = SqsBatchResponse::default();
        for (id, settled) in settled {
            if matches!(settled, Settled::GiveBack) {
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = id;
                response.batch_item_failures.push(failure);
            }
        }
        Ok(response)
    }

    async fn settle(&self, record: SqsMessage) -> Settled {
        let attempt = record
            .attributes
            .get("ApproximateReceiveCount")
            .and_then(|count| count.parse().ok())
            .unwrap_or(1);
        let body = record.body.unwrap_or_default();
        match Message::parse(&body) {
            Ok(Message::Object(job)) => {
                let result = match self.routes.route(job.task.as_deref()).await {
                    Ok(route) => agree(&self.copier, self.journal.as_ref(), &route, &job).await,
                    Err(error) => Err(error),
                };
                match result {
                    Ok(Outcome::Parked { since }) => self.park(job, attempt, body, since).await,
                    result => self.conclude(Ended::job(job, attempt, body), result).await,
                }
            }
            Ok(Message::Part(part)) => {
                let result = match self.routes.route(part.task.as_deref()).await {
                    Ok(route) => agree_part(&self.copier, &route, &part).await,
                    Err(error) => Err(error),
                };
                self.conclude(Ended::part(part, attempt, body), result).await
            }
            Ok(Message::Scan(_)) => {
                self.bury(body, "a scan message came to a worker; scans belong to the finder").await
            }
            Err(error) => {
                let reason = ferry_transfer::chain(&error);
                tracing::error!(message_id = record.message_id, reason, "a message can never succeed");
                self.bury(body, &reason).await
            }
        }
    }

    /// Records how a job ended, and decides whether its message comes back.
    async fn conclude(&self, ended: Ended, result: Result<Outcome, Error>) -> Settled {
        let attempt = ended.attempt;
        match result {
            Ok(outcome) => {
                self.record(&ended, outcome);
                Settled::Done
            }
            Err(error) => {
                let last = error.is_permanent() || attempt >= self.max_receive_count;
                let reason = error.chain();
                if last {
                    tracing::error!(key = ?ended.key, attempt, error = reason, "a job failed for good");
                } else {
                    tracing::warn!(key = ?ended.key, attempt, error = reason, "a job failed and will be tried again");
                }
                self.record(&ended, Outcome::Failed(Failed::new(&error, last)));
                if last { self.bury(ended.body, &reason).await } else { Settled::GiveBack }
            }
        }
    }

    /// Lets a job wait for an archive. Its message is done with: another one takes its place.
    async fn park(&self, job: Job, attempt: u32, body: String, since: OffsetDateTime) -> Settled {
        let parked = match &self.parking {
            Some(parking) => parking.park(job.clone(), since, self.clock.now()).await,
            None => Ok(Parked::LetGo),
        };
        match parked {
            Ok(Parked::Waiting) => Settled::Done,
            Ok(Parked::LetGo) => {
                self.record(&Ended::job(job, attempt, body), Outcome::Parked { since });
                Settled::Done
            }
            Err(error) => {
                tracing::warn!(key = ?job.key, error = %error.chain(), "a job could not be parked");
                Settled::GiveBack
            }
        }
    }

    /// Moves a message to the dead letters with its reason. While that does not work, the message is given back: it must not be
    /// lost.
    async fn bury(&self, body: String, reason: &str) -> Settled {
        let Some(dead_letters) = &self.dead_letters else { return Settled::GiveBack };
        // SQS allows 1 MiB for body and attributes together; a reason needs no more than this.
        let reason: String = reason.chars().take(1000).collect();
        let letter = OutgoingMessage {
            attributes: vec![(DEAD_LETTER_REASON.to_owned(), reason)],
            ..OutgoingMessage::new(body)
        };
        let sent =
            dead_letters.send_batch(vec![letter]).await.and_then(|results| results.into_iter().collect());
        match sent {
            Ok(()) => Settled::Done,
            Err(error) => {
                tracing::warn!(error = %error.chain(), "the dead-letter queue did not take a message");
                Settled::GiveBack
            }
        }
    }

    fn record(&self, ended: &Ended, outcome: Outcome) {
        self.receipts.record(&Receipt {
            key: ended.key.clone(),
            task: ended.task.clone(),
            run: ended.run.clone(),
            at: self.clock.now(),
            attempt: ended.attempt,
            action: ended.action,
            found: ended.found,
            outcome,
        });
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("routes", &self.routes)
            .field("copier", &self.copier)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
