//! The worker of a deployment, put together from its environment: the same on Lambda and on machines.

use std::sync::Arc;
use std::time::Duration;

use ferry_cloud::emf::Publisher;
use ferry_cloud::lambda::Environment;
use ferry_transfer::copy::{Copier, CopySettings};
use ferry_transfer::deletion::{DeleteJournal, NoJournal, StoredJournal};
use ferry_transfer::metric::Measures;
use ferry_transfer::receipt::{EachSink, NoReceipts, ReceiptSink, StoredReceipts};
use ferry_transfer::{Clock, Result, SharedQueue, SystemClock};

use crate::{Breaker, Parking, Worker};

impl Worker {
    /// The worker that an environment describes, and what publishes its metrics.
    pub async fn of(environment: &Environment) -> Result<(Self, Publisher)> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut copier = Copier::new(CopySettings::default(), Arc::clone(&clock));
        let (receipts, journal): (Arc<dyn ReceiptSink>, Arc<dyn DeleteJournal>) =
            match environment.state().await? {
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
        let publisher = Publisher::new(
            environment.stack().map(str::to_owned),
            Arc::clone(&measures),
            environment.meter(),
        );
        let worker = Self {
            routes: environment.routes().await?,
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
}

/// Restores from the deepest archives take two days; twice that is enough for any.
fn parking(queue: SharedQueue) -> Parking {
    Parking { queue, shortest: Duration::from_mins(1), at_most: Duration::from_hours(96), places: None }
}
