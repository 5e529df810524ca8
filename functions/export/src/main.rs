//! The Import/Export API on Lambda, behind a function URL: configuration in, answers out.

use std::sync::Arc;

use ferry_export::lambda::{UrlEvent, answer};
use ferry_export::{Service, Settings};
use ferry_transfer::SystemClock;
use lambda_runtime::{LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let service = service().await.map_err(|error| error.chain())?;
    run(service_fn(|event: LambdaEvent<UrlEvent>| async {
        Ok::<_, lambda_runtime::Error>(answer(&service, event.payload).await)
    }))
    .await
}

async fn service() -> ferry_transfer::Result<Service> {
    Settings::read()?.service(Arc::new(SystemClock)).await
}
