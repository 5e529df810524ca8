//! The worker on Lambda: configuration in, handler out.

use aws_lambda_events::sqs::SqsEvent;
use ferry_cloud::lambda::{self, Environment};
use ferry_transfer::SystemClock;
use ferry_worker::Worker;
use lambda_runtime::{LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let environment = Environment::read().map_err(|error| error.chain())?;
    let (worker, publisher) = Worker::of(&environment).await.map_err(|error| error.chain())?;
    run(service_fn(|event: LambdaEvent<SqsEvent>| async {
        let LambdaEvent { payload, context } = event;
        let deadline = lambda::instant_of(context.deadline, &SystemClock);
        let answer = worker.handle(payload, Some(deadline)).await.map_err(|error| error.chain());
        publisher.publish(&[("function", "worker"), ("request_id", &context.request_id)]);
        answer
    }))
    .await
}
