//! What invokes the finder, and what it answers.
//!
//! Owns: the three shapes of an invocation: a task by name (a schedule's payload, also an empty one), and an SQS batch of `scan`
//! messages. Does not own: the scan itself.

use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use ferry_transfer::job::{Job, Message, PartJob, ScanJob};
use ferry_transfer::metric::{Lag, Metric};
use ferry_transfer::{Error, ErrorKind, KeyRange, Result, RunId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{DeletePlan, Finder, ScanReport};

/// What invokes the finder.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum FinderEvent {
    /// `scan` messages from a queue.
    Scans(SqsEvent),
    /// A schedule, or a person.
    Task(TaskEvent),
}

/// Run a task now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEvent {
    /// Which; `None` is the only one there is.
    #[serde(default)]
    pub task: Option<String>,
    /// As which run; `None` makes a new one.
    #[serde(default)]
    pub run: Option<String>,
}

/// What the finder answers.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum FinderResponse {
    /// To a batch of messages.
    Batch(SqsBatchResponse),
    /// To a task.
    Scanned {
        /// The run.
        run: RunId,
        /// What was found in the time there was.
        report: Box<ScanReport>,
    },
}

/// Kept free at the end of an invocation for the last batches and the checkpoint.
const RESERVE: Duration = Duration::from_secs(20);

impl Finder {
    /// Handles one invocation that must end by `deadline`. What is left of a range by then goes back on the queue as a `scan`
    /// message.
    pub async fn handle(&self, event: FinderEvent, deadline: Option<Instant>) -> Result<FinderResponse> {
        let stop = deadline.map(|deadline| deadline.checked_sub(RESERVE).unwrap_or(deadline));
        match event {
            FinderEvent::Task(TaskEvent { task, run }) => {
                let run = run.map_or_else(|| RunId::new(self.clock.as_ref()), RunId::from);
                let scan = ScanJob { task, run: Some(run.as_str().to_owned()), range: KeyRange::ALL };
                let report = self.settle(scan, stop).await?;
                Ok(FinderResponse::Scanned { run, report: Box::new(report) })
            }
            FinderEvent::Scans(batch) => {
                let mut response = SqsBatchResponse::default();
                for record in batch.records {
                    let id = record.message_id.filter(|id| !id.is_empty()).ok_or_else(|| {
                        // Answering with an empty id would fail the batch as well, but without saying why.
                        Error::new(ErrorKind::InvalidInput, "a record of the batch has no message id")
                    })?;
                    let settled = match Message::parse(record.body.as_deref().unwrap_or_default()) {
                        Ok(Message::Scan(scan)) => self.settle(scan, stop).await.map(|_report| ()),
                        Ok(Message::Object(Job { key, .. }) | Message::Part(PartJob { key, .. })) => {
                            Err(Error::new(
                                ErrorKind::InvalidInput,
                                "a job for one object came to the finder; jobs belong on the workers' queue",
                            )
                            .on_key(key.as_str()))
                        }
                        Err(error) => {
                            Err(Error::new(ErrorKind::InvalidInput, "unreadable message").caused_by(error))
                        }
                    };
                    if let Err(error) = settled {
                        tracing::error!(message_id = id, error = %error.chain(), "a scan failed");
                        let mut failure = BatchItemFailure::default();
                        failure.item_identifier = id;
                        response.batch_item_failures.push(failure);
                    }
                }
                Ok(FinderResponse::Batch(response))
            }
        }
    }

    async fn settle(&self, scan: ScanJob, stop: Option<Instant>) -> Result<ScanReport> {
        let route = self.routes.route(scan.task.as_deref()).await?;
        let run = scan.run.clone().map_or_else(|| RunId::new(self.clock.as_ref()), RunId::from);
        let report = self.scan_and_continue(&route, &run, &scan, stop).await?;
        self.measure(&run, &report);
        tracing::info!(run = run.as_str(), task = route.task.name, report = ?report, "scanned");
        Ok(report)
    }

    fn measure(&self, run: &RunId, report: &ScanReport) {
        let deletes = match report.deletes {
            DeletePlan::Enqueued(deletes) => deletes,
            _ => 0,
        };
        self.measures.add(Metric::PairsCompared, report.found + report.extra);
        self.measures.add(Metric::JobsSent, report.enqueued + deletes);
        self.measures.add(Metric::ScansCompleted, u64::from(report.is_complete));
        if let (true, Some(began)) = (report.is_complete, run.began()) {
            // Less than nothing where two clocks disagree by a second.
            let lag = (self.clock.now() - began).try_into().unwrap_or_default();
            self.measures.add_lag(Lag::Scan, lag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_and_a_batch_are_told_apart() {
        let schedule: FinderEvent =
            serde_json::from_str(r#"{"task":"photos","time":"x"}"#).expect("schedule");
        assert!(matches!(schedule, FinderEvent::Task(TaskEvent { task: Some(_), .. })));
        let empty: FinderEvent = serde_json::from_str("{}").expect("empty");
        assert!(matches!(empty, FinderEvent::Task(TaskEvent { task: None, .. })));
        let batch = r#"{"Records":[{"messageId":"1","body":"{\"action\":\"scan\"}"}]}"#;
        assert!(matches!(serde_json::from_str(batch).expect("batch"), FinderEvent::Scans(_)));
    }
}
