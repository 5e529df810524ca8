//! What bounds one invocation: its time, its queue, and a store that refuses everything.

use super::*;

/// A stage whose worker knows the queue its messages come from, and one message on it, received.
async fn with_queue(body: &str) -> (Stage, Arc<MemoryQueue>, SqsEvent) {
    let mut stage = Stage::new(Deletes::Keep);
    let queue = MemoryQueue::new(MemoryQueueConfig::default());
    stage.worker.deliveries = Some(Arc::clone(&queue) as _);
    queue.send_batch(vec![OutgoingMessage::new(body)]).await.expect("sent");
    let delivery = receive(&queue, Duration::ZERO).await.expect("a delivery");
    let mut event = batch(&[body], delivery.receive_count);
    event.records[0].receipt_handle = Some(delivery.receipt_handle);
    (stage, queue, event)
}

async fn receive(queue: &MemoryQueue, wait: Duration) -> Option<ferry_transfer::queue::Delivery> {
    queue.receive(1, wait, Duration::from_hours(1)).await.expect("received").pop()
}

/// Tasks that nobody ever hears of.
#[derive(Debug)]
struct NoAnswer;

#[async_trait]
impl Routes for NoAnswer {
    async fn route(&self, _task: Option<&str>) -> Result<Arc<Route>, Error> {
        std::future::pending().await
    }
}

const JOB: &str = r#"{"key":"a","size":3}"#;

#[tokio::test(start_paused = true)]
async fn a_message_given_back_is_hidden_for_longer_after_each_delivery() {
    let (stage, queue, event) = with_queue(JOB).await;
    stage.source.put_object("a", "abc");
    stage.source_faults.script(|_| Some(StoreFault::Fail(ErrorKind::Transient)));
    let answer = stage.worker.handle(event, None).await.expect("an answer");
    assert_eq!(answer.batch_item_failures.len(), 1);
    // The clock of the stage draws one half: 7.5 s of 10.
    assert!(receive(&queue, Duration::from_secs(7)).await.is_none(), "it is hidden");
    let again = receive(&queue, Duration::from_secs(1)).await.expect("it is back");
    assert_eq!(again.receive_count, 2);
    assert_eq!(stage.worker.hidden_after(2), Duration::from_millis(22_500));
    assert_eq!(stage.worker.hidden_after(20), HIDDEN_MAX.mul_f64(0.75));
}

#[tokio::test(start_paused = true)]
async fn what_the_time_does_not_suffice_for_goes_on_with_a_message_of_its_own() {
    let (mut stage, queue, event) = with_queue(JOB).await;
    stage.worker.routes = Arc::new(NoAnswer);
    let began = Instant::now();
    let deadline = began + RESERVE + Duration::from_secs(5);
    let answer = stage.worker.handle(event, Some(deadline)).await.expect("an answer");
    assert!(answer.batch_item_failures.is_empty(), "it is no failure");
    assert_eq!(began.elapsed().as_secs(), 5, "what is left of the time is for ending well");
    let next = receive(&queue, Duration::ZERO).await.expect("the rest");
    assert_eq!(next.receive_count, 1);
    assert!(next.body.contains(r#""hops":1"#), "{}", next.body);
    assert!(stage.receipts.0.lock().expect("lock").is_empty(), "nothing has ended");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_everything_is_left_alone_and_its_messages_stay() {
    let mut stage = Stage::new(Deletes::Keep);
    stage.worker.breaker = Some(Breaker::default());
    stage.source_faults.script(|_| Some(StoreFault::Fail(ErrorKind::PermissionDenied)));
    for _ in 0..5 {
        stage.deliver(JOB, 1).await;
    }
    let refused = stage.receipts.0.lock().expect("lock").len();
    let requests =
        || [Operation::GetObject, Operation::HeadObject].map(|each| stage.source_faults.calls(each));
    let asked = requests();
    assert_eq!(refused, 5);
    let left = stage.deliver(JOB, 1).await;
    assert_eq!(left.batch_item_failures.len(), 1, "it stays on the queue");
    assert_eq!(requests(), asked, "and nobody asked");
    assert_eq!(stage.receipts.0.lock().expect("lock").len(), refused);
    tokio::time::advance(Duration::from_mins(1)).await;
    stage.deliver(JOB, 1).await;
    assert_ne!(requests(), asked, "after a while it is tried again");
}
