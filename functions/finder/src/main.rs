//! The finder on Lambda: configuration in, handler out.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use ferry_cloud::emf::Publisher;
use ferry_cloud::lambda::{self, Environment};
use ferry_finder::{Finder, FinderEvent};
use ferry_transfer::SystemClock;
use ferry_transfer::metric::Measures;
use ferry_transfer::retry::Backoff;
use lambda_runtime::{LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let (finder, publisher) = finder().await.map_err(|error| format!("{error:#}"))?;
    run(service_fn(|event: LambdaEvent<FinderEvent>| async {
        let LambdaEvent { payload, context } = event;
        let deadline = lambda::instant_of(context.deadline, &SystemClock);
        let answer = finder.handle(payload, Some(deadline)).await.map_err(|error| error.chain());
        publisher.publish(&[("function", "finder"), ("request_id", &context.request_id)]);
        answer
    }))
    .await
}

async fn finder() -> Result<(Finder, Publisher)> {
    let environment = Environment::read()?;
    let jobs = environment.jobs().await?;
    let measures: Arc<Measures> = Arc::default();
    let publisher =
        Publisher::new(environment.stack().map(str::to_owned), Arc::clone(&measures), environment.meter());
    let finder = Finder {
        routes: environment.routes().await.context("the task's stores cannot be reached")?,
        scans: environment.scans().await?.unwrap_or_else(|| Arc::clone(&jobs)),
        jobs,
        documents: environment.documents().await?,
        clock: Arc::new(SystemClock),
        state: environment.state().await?,
        backoff: Backoff::default(),
        // Workers elsewhere settle its jobs.
        coverage: None,
        measures,
    };
    Ok((finder, publisher))
}
