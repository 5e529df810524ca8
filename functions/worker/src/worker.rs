//! A batch of messages in, the ones to be delivered again out.
//!
//! Owns: the settlement of each message on its own. Invariants: a message that can never succeed fails alone, ends with the dead
//! letters with its reason, and never takes its batch or the process with it, not even by a panic; every job leaves one
//! receipt for each delivery, and exactly one of them is final.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use ferry_transfer::agree::{agree, agree_part};
use ferry_transfer::copy::Copier;
use ferry_transfer::deletion::DeleteJournal;
use ferry_transfer::event::Notification;
use ferry_transfer::job::{Action, Found, Incoming, Job, Message, PartJob};
use ferry_transfer::queue::OutgoingMessage;
use ferry_transfer::receipt::{Failed, Outcome, Receipt, ReceiptSink};
use ferry_transfer::{Clock, Error, ErrorKind, Key, Routes, SharedQueue};
use futures::FutureExt;
use futures::future::join_all;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::breaker::Breaker;
use crate::continuation;
use crate::parking::{Parked, Parking};

/// The attribute of a dead letter that says why it is one.
pub const DEAD_LETTER_REASON: &str = "ferry-reason";

/// Kept free at the end of an invocation, to send on what is not done and to keep the receipts.
const RESERVE: Duration = Duration::from_secs(15);

/// How long a message that is given back stays hidden after its first delivery; three times as long after each further one.
const HIDDEN: Duration = Duration::from_secs(10);

/// No message stays hidden for longer.
const HIDDEN_MAX: Duration = Duration::from_mins(15);

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
    /// Where its messages come from: what is given back is hidden for as long as it should be, and what the time did not suffice for is
    /// sent anew. Without it the queue's visibility timeout decides, which on Lambda is six times the function's own.
    pub deliveries: Option<SharedQueue>,
    /// Which tasks are left alone for a while, since nothing of them would succeed.
    pub breaker: Option<Breaker>,
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
    event_time: Option<OffsetDateTime>,
    attempt: u32,
    body: String,
}

impl Ended {
    fn job(job: Job, attempt: u32, body: String) -> Self {
        let Job { key, task, run, action, found, event_time, .. } = job;
        Self { key, task, run, action, found, event_time, attempt, body }
    }

    fn part(part: PartJob, attempt: u32, body: String) -> Self {
        let PartJob { key, task, run, .. } = part;
        Self { key, task, run, action: Action::Copy, found: None, event_time: None, attempt, body }
    }
}

/// How one job of a message ended.
enum Concluded {
    Settled(Settled),
    /// It failed, and nothing of that is recorded yet.
    ForGood(Box<Failure>),
}

/// A job that failed.
struct Failure {
    ended: Ended,
    error: Error,
}

/// What becomes of a message.
enum Settled {
    Done,
    /// To be delivered again, after its time.
    GiveBack,
    /// To be delivered again, once its task's stores may have recovered.
    LeaveFor(Duration),
}

impl Settled {
    /// What becomes of a message that holds both: it comes back for either, and not before the longer pause.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::LeaveFor(one), Self::LeaveFor(other)) => Self::LeaveFor(one.max(other)),
            (Self::LeaveFor(pause), _) | (_, Self::LeaveFor(pause)) => Self::LeaveFor(pause),
            (Self::GiveBack, _) | (_, Self::GiveBack) => Self::GiveBack,
            (Self::Done, Self::Done) => Self::Done,
        }
    }
}

impl Worker {
    /// Handles one batch that must end by `deadline`. The answer names the messages to be delivered again; an error fails the whole
    /// batch, and only a record without a message id is one, since no answer could name it.
    pub async fn handle(
        &self,
        event: SqsEvent,
        deadline: Option<Instant>,
    ) -> Result<SqsBatchResponse, Error> {
        if event.records.iter().any(|record| record.message_id.as_deref().unwrap_or_default().is_empty()) {
            return Err(Error::new(ErrorKind::InvalidInput, "a record of the batch has no message id"));
        }
        let stop = deadline.map(|deadline| deadline.checked_sub(RESERVE).unwrap_or(deadline));
        let given_back = join_all(event.records.into_iter().map(|record| self.settle_by(record, stop))).await;
        self.receipts.keep().await;
        let mut response = SqsBatchResponse::default();
        for id in given_back.into_iter().flatten() {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            response.batch_item_failures.push(failure);
        }
        Ok(response)
    }

    /// Settles one message or stops at its time; its id, if it is to be delivered again.
    async fn settle_by(&self, record: SqsMessage, stop: Option<Instant>) -> Option<String> {
        let attempt = attempt_of(&record);
        let id = record.message_id.unwrap_or_default();
        let handle = record.receipt_handle;
        let body = record.body.unwrap_or_default();
        let settling = AssertUnwindSafe(self.settle(&id, attempt, body.clone())).catch_unwind();
        let settled = match stop {
            Some(stop) => tokio::time::timeout_at(stop, settling).await,
            None => Ok(settling.await),
        };
        let hidden = match settled {
            Ok(Ok(Settled::Done)) => return None,
            Ok(Ok(Settled::LeaveFor(pause))) => pause,
            Ok(Ok(Settled::GiveBack)) => self.hidden_after(attempt),
            Ok(Err(_panic)) => {
                tracing::error!(message_id = id, "a job panicked; its message will be delivered again");
                self.hidden_after(attempt)
            }
            // What was uploaded of it stays, and the next delivery goes on there.
            Err(_elapsed) if self.send_on(&body).await => return None,
            Err(_elapsed) => Duration::ZERO,
        };
        if let (Some(queue), Some(handle)) = (&self.deliveries, handle)
            && let Err(error) = queue.change_visibility(&handle, hidden).await
        {
            tracing::warn!(message_id = id, error = %error.chain(), "a message stays hidden for the queue's own time");
        }
        Some(id)
    }

    /// Full jitter's lower half is left out: coming back at once is what the last attempt did.
    fn hidden_after(&self, attempt: u32) -> Duration {
        let longest = HIDDEN.saturating_mul(3_u32.saturating_pow(attempt.saturating_sub(1))).min(HIDDEN_MAX);
        longest.mul_f64(0.5 + 0.5 * self.clock.draw())
    }

    /// Sends a message anew that the time did not suffice for, since a delivery that made progress is no failure and must not be
    /// counted as one. Whether that was possible.
    async fn send_on(&self, body: &str) -> bool {
        let (Some(queue), Some(next)) = (&self.deliveries, continuation::of(body)) else { return false };
        let sent = queue.send_batch(vec![OutgoingMessage::new(next)]).await;
        match sent.and_then(|results| results.into_iter().collect::<Result<(), Error>>()) {
            Ok(()) => {
                tracing::info!("the time is up; the rest of a job goes on with the next message");
                true
            }
            Err(error) => {
                tracing::warn!(error = %error.chain(), "the rest of a job could not be sent on");
                false
            }
        }
    }

    async fn settle(&self, message_id: &str, attempt: u32, body: String) -> Settled {
        match Incoming::parse(&body) {
            Ok(Incoming::Message(message)) => match self.settle_message(message, attempt, body).await {
                Concluded::Settled(settled) => settled,
                Concluded::ForGood(failure) => self.end(*failure).await,
            },
            Ok(Incoming::Notification(notification)) => {
                self.settle_notification(notification, attempt, body).await
            }
            Err(error) => {
                let reason = ferry_transfer::chain(&error);
                tracing::error!(message_id, reason, "a message can never succeed");
                self.bury(body, &reason).await
            }
        }
    }

    /// Settles what a store put on the queue itself, one object after the other. A job of it that is given back brings all of them
    /// back, which find their objects up to date; one that fails for good ends with the dead letters by itself, once none of its neighbours
    /// would bring it back to fail there again.
    async fn settle_notification(&self, notification: Notification, attempt: u32, body: String) -> Settled {
        for ignored in &notification.ignored {
            tracing::info!(event = ignored.name, why = %ignored.why, "a notification asks for nothing");
        }
        let mut settled = Settled::Done;
        let mut failures = Vec::new();
        for job in notification.jobs() {
            let message = Message::Object(job);
            let alone = message.to_json();
            // Boxed: a copy is a large future, and this one is another's part.
            match Box::pin(self.settle_message(message, attempt, alone)).await {
                Concluded::Settled(one) => settled = settled.and(one),
                Concluded::ForGood(failure) => failures.push(*failure),
            }
        }
        let comes_back = !matches!(settled, Settled::Done);
        for failure in failures {
            if comes_back {
                self.record(&failure.ended, Outcome::Failed(Failed::new(&failure.error, false)));
            } else {
                settled = settled.and(self.end(failure).await);
            }
        }
        match (settled, notification.unreadable.first()) {
            (Settled::Done, Some(reason)) => {
                tracing::error!(reason, "a record of a notification can never succeed");
                self.bury(body, reason).await
            }
            (settled, _) => settled,
        }
    }

    async fn settle_message(&self, message: Message, attempt: u32, body: String) -> Concluded {
        match message {
            Message::Object(Job { task, .. }) | Message::Part(PartJob { task, .. })
                if let Some(pause) = self
                    .breaker
                    .as_ref()
                    .and_then(|breaker| breaker.pause(task.as_deref(), Instant::now())) =>
            {
                Concluded::Settled(Settled::LeaveFor(pause.mul_f64(1.0 + 0.5 * self.clock.draw())))
            }
            Message::Object(job) => {
                let result = match self.routes.route(job.task.as_deref()).await {
                    Ok(route) => agree(&self.copier, self.journal.as_ref(), &route, &job).await,
                    Err(error) => Err(error),
                };
                match result {
                    Ok(Outcome::Parked { since }) => {
                        Concluded::Settled(self.park(job, attempt, body, since).await)
                    }
                    result => self.conclude(Ended::job(job, attempt, body), result),
                }
            }
            Message::Part(part) => {
                let result = match self.routes.route(part.task.as_deref()).await {
                    Ok(route) => agree_part(&self.copier, self.journal.as_ref(), &route, &part).await,
                    Err(error) => Err(error),
                };
                self.conclude(Ended::part(part, attempt, body), result)
            }
            Message::Scan(_) => {
                let reason = "a scan message came to a worker; scans belong to the finder";
                Concluded::Settled(self.bury(body, reason).await)
            }
        }
    }

    /// Records how a job ended, unless it failed for good, and decides whether its message comes back.
    fn conclude(&self, ended: Ended, result: Result<Outcome, Error>) -> Concluded {
        let attempt = ended.attempt;
        let failure = result.as_ref().err().map(Error::kind);
        if let Some(breaker) = &self.breaker
            && let Some(pause) = breaker.note(ended.task.as_deref(), failure, Instant::now())
        {
            tracing::error!(
                task = ended.task,
                pause_secs = pause.as_secs(),
                "nothing of this task succeeds; it is left alone"
            );
        }
        match result {
            Ok(outcome) => {
                self.record(&ended, outcome);
                Concluded::Settled(Settled::Done)
            }
            Err(error) if error.is_permanent() || attempt >= self.max_receive_count => {
                Concluded::ForGood(Box::new(Failure { ended, error }))
            }
            Err(error) => {
                let reason = error.chain();
                tracing::warn!(key = ?ended.key, attempt, error = reason, "a job failed and will be tried again");
                self.record(&ended, Outcome::Failed(Failed::new(&error, false)));
                Concluded::Settled(Settled::GiveBack)
            }
        }
    }

    /// Ends a job that nobody will try again.
    async fn end(&self, Failure { ended, error }: Failure) -> Settled {
        let reason = error.chain();
        tracing::error!(key = ?ended.key, attempt = ended.attempt, error = reason, "a job failed for good");
        self.record(&ended, Outcome::Failed(Failed::new(&error, true)));
        self.bury(ended.body, &reason).await
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
            event_time: ended.event_time,
            attempt: ended.attempt,
            action: ended.action,
            found: ended.found,
            outcome,
        });
    }
}

/// How often the message was delivered, this time included.
fn attempt_of(record: &SqsMessage) -> u32 {
    record.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
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
