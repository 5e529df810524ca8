//! The worker on Lambda: configuration in, handler out.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_lambda_events::sqs::SqsEvent;
use ferry_cloud::emf::Publisher;
use ferry_cloud::lambda;
use ferry_transfer::copy::{Copier, CopySettings};
use ferry_transfer::deletion::{DeleteJournal, NoJournal, StoredJournal};
use ferry_transfer::metric::Measures;
use ferry_transfer::receipt::{EachSink, NoReceipts, ReceiptSink, StoredReceipts};
use ferry_transfer::{Clock, SharedQueue, SystemClock};
use ferry_worker::{Breaker, Parking, Worker};
use lambda_runtime::{LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let (worker, publisher) = worker().await.map_err(|error| format!("{error:#}"))?;
    run(service_fn(|event: LambdaEvent<SqsEvent>| async {
        let LambdaEvent { payload, context } = event;
        let deadline = lambda::instant_of(context.deadline, &SystemClock);
        let answer = worker.handle(payload, Some(deadline)).await.map_err(|error| error.chain());
        publisher.publish(&[("function", "worker"), ("request_id", &context.request_id)]);
        answer
    }))
    .await
}

/// Restores from the deepest archives take two days; twice that is enough for any.
fn parking(queue: SharedQueue) -> Parking {
    Parking { queue, shortest: Duration::from_mins(1), at_most: Duration::from_hours(96), places: None }
}

async fn worker() -> Result<(Worker, Publisher)> {
    let environment = lambda::Environment::read()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut copier = Copier::new(CopySettings::default(), Arc::clone(&clock));
    let (receipts, journal): (Arc<dyn ReceiptSink>, Arc<dyn DeleteJournal>) =
        match environment.state().await.context("the state cannot be reached")? {
            Some(state) => {
                copier = copier.remembering(Arc::clone(&state));
                if let Some(queue) = environment.part_jobs().await? {
                    copier = copier.sharing(queue);
                }
                (
                    Arc::new(StoredReceipts::new(Arc::clone(&state), Arc::clone(&clock))),
                    Arc::new(StoredJournal::new(state, Arc::clone(&clock))),
                )
            }
            None => (Arc::new(NoReceipts), Arc::new(NoJournal)),
        };
    let measures = Arc::new(Measures::default());
    let publisher =
        Publisher::new(environment.stack().map(str::to_owned), Arc::clone(&measures), environment.meter());
    let worker = Worker {
        routes: environment.routes().await.context("the task's stores cannot be reached")?,
        copier: Arc::new(copier),
        receipts: Arc::new(EachSink(vec![receipts, measures])),
        journal,
        dead_letters: environment.dead_letters().await?,
        deliveries: environment.deliveries().await?,
        breaker: Some(Breaker::default()),
        parking: environment.part_jobs().await?.map(parking),
        max_receive_count: environment.max_receive_count(),
        clock,
    };
    Ok((worker, publisher))
}
