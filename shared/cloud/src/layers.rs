//! A bucket as the engine uses it.
//!
//! Owns: the order of the layers over a bucket, which has a meaning: retries over renewal of credentials over pace over metering.
//! Every request that goes out is counted, nobody waits for a repetition with a slot in hand, and a request that was refused
//! for its keys is repeated with new ones.

use std::sync::Arc;

use ferry_transfer::copy::CopySettings;
use ferry_transfer::pace::{EndpointPace, Pace};
use ferry_transfer::retry::Backoff;
use ferry_transfer::store::metered::{Meter, MeteredStore};
use ferry_transfer::store::paced::PacedStore;
use ferry_transfer::store::renewing::RenewingStore;
use ferry_transfer::store::retrying::RetryingStore;
use ferry_transfer::{Clock, SharedStore, SystemClock};

use crate::s3::S3Bucket;

impl S3Bucket {
    /// This bucket under every layer, for documents and state beside a run.
    pub fn by_itself(self) -> SharedStore {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let pace = EndpointPace::new(CopySettings::default().streams, &Pace::default(), None, &clock);
        self.layered(&Arc::default(), &Arc::new(pace))
    }

    /// This bucket under every layer, counted by a meter and at the pace of its endpoint.
    pub fn layered(self, meter: &Arc<Meter>, pace: &Arc<EndpointPace>) -> SharedStore {
        let credentials = self.account().credentials();
        let metered = Arc::new(MeteredStore::new(Arc::new(self), Arc::clone(meter)));
        let mut store: SharedStore = Arc::new(PacedStore::new(metered, Arc::clone(pace)));
        if let Some(credentials) = credentials {
            store = Arc::new(RenewingStore::new(store, credentials));
        }
        Arc::new(RetryingStore::new(store, Backoff::default(), Arc::new(SystemClock)))
    }
}
