//! The first words with a store.
//!
//! Owns: what an answer shows beside its outcome: the store's clock, the region it says the bucket is in. Any answer will do, also a
//! refusal.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use ferry_transfer::Result;
use time::OffsetDateTime;

use super::{ANSWER_TIMEOUT, S3Bucket, answered, attributes};

/// How a store answered.
#[derive(Debug)]
pub struct Greeting {
    /// HTTP status; `None` where there was no answer.
    pub status: Option<u16>,
    /// The store's clock.
    pub date: Option<OffsetDateTime>,
    /// The region that the store says the bucket is in.
    pub region: Option<String>,
    /// Whether the bucket was found and may be asked about.
    pub outcome: Result<()>,
}

/// What the head of an answer shows.
#[derive(Debug, Clone, Default)]
struct Seen {
    status: u16,
    date: Option<OffsetDateTime>,
    region: Option<String>,
}

#[derive(Debug, Clone, Default)]
struct Listener(Arc<Mutex<Option<Seen>>>);

#[dyn_dispatch_hint]
impl Intercept for Listener {
    fn name(&self) -> &'static str {
        "GreetingListener"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let seen = Seen {
            status: response.status().as_u16(),
            date: response.headers().get("date").and_then(attributes::http_date),
            region: response.headers().get("x-amz-bucket-region").map(ToOwned::to_owned),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(())
    }
}

impl S3Bucket {
    /// Asks whether the bucket is there, and listens to everything the answer says.
    pub async fn greet(&self) -> Greeting {
        let place = self.place("HeadBucket", None);
        let listener = Listener::default();
        let call =
            self.client().head_bucket().bucket(&self.name.bucket).customize().interceptor(listener.clone());
        let outcome = answered(&place, ANSWER_TIMEOUT, call.send()).await.map(drop);
        let seen = listener.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let status = seen.as_ref().map(|seen| seen.status);
        let Seen { date, region, .. } = seen.unwrap_or_default();
        Greeting { status, date, region, outcome }
    }
}
