//! The queue against a model, through ends of the process at any byte of its journal.

use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::SystemClock;

const NOW: Duration = Duration::ZERO;
const MINUTE: Duration = Duration::from_mins(1);

fn config(segment_bytes: u64) -> DiskQueueConfig {
    DiskQueueConfig { segment_bytes, ..DiskQueueConfig::new(Arc::new(SystemClock)) }
}

fn open(directory: &TempDir) -> Arc<DiskQueue> {
    DiskQueue::open(directory.path(), config(200)).expect("opened")
}

async fn send(queue: &DiskQueue, body: &str) {
    let sent = queue.send_batch(vec![OutgoingMessage::new(body)]).await.expect("batch");
    assert!(sent.iter().all(Result::is_ok));
}

async fn receive_one(queue: &DiskQueue) -> Option<Delivery> {
    queue.receive(1, NOW, MINUTE).await.expect("received").pop()
}

async fn bodies(queue: &DiskQueue) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(delivery) = receive_one(queue).await {
        bodies.push(delivery.body);
    }
    bodies
}

fn files(directory: &TempDir) -> usize {
    let entries = fs::read_dir(directory.path()).expect("a directory");
    entries.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some())).count()
}

#[tokio::test(start_paused = true)]
async fn what_was_in_flight_comes_back_with_its_count_and_its_attributes() {
    let directory = tempfile::tempdir().expect("a directory");
    {
        let queue = open(&directory);
        let attributes = vec![("reason".to_owned(), "because".to_owned())];
        let message = OutgoingMessage { attributes, ..OutgoingMessage::new("a") };
        queue.send_batch(vec![message, OutgoingMessage::new("b")]).await.expect("sent");
        assert_eq!(receive_one(&queue).await.expect("a").receive_count, 1);
        let again = DiskQueue::open(directory.path(), config(200)).expect_err("one process at a time");
        assert!(again.to_string().contains("another process"), "{again}");
    }
    let queue = open(&directory);
    let first = receive_one(&queue).await.expect("a");
    assert_eq!((first.body.as_str(), first.receive_count), ("a", 2));
    assert_eq!(first.attributes[0].1, "because");
    queue.delete_batch(vec![first.receipt_handle]).await.expect("deleted");
    drop(queue);
    assert_eq!(bodies(&open(&directory)).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_delay_outlives_the_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let late = OutgoingMessage { delay: Duration::from_mins(10), ..OutgoingMessage::new("late") };
    open(&directory).send_batch(vec![late]).await.expect("sent");
    let queue = open(&directory);
    assert_eq!(queue.depth().await.expect("depth").delayed, 1);
    assert!(receive_one(&queue).await.is_none());
    tokio::time::advance(Duration::from_mins(11)).await;
    assert_eq!(bodies(&queue).await, ["late"]);
}

#[tokio::test(start_paused = true)]
async fn poison_ends_in_the_dead_letters_and_can_be_sent_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let dead = DiskQueue::open(&directory.path().join("dead"), config(200)).expect("opened");
    let rule = DiskDeadLetters { queue: Arc::clone(&dead), max_receive_count: 2 };
    let config = DiskQueueConfig { dead_letters: Some(rule), ..config(200) };
    let queue = DiskQueue::open(&directory.path().join("jobs"), config.clone()).expect("opened");
    send(&queue, "poison").await;
    receive_one(&queue).await.expect("once");
    drop(queue);
    // The count goes on in the next process.
    let queue = DiskQueue::open(&directory.path().join("jobs"), config).expect("opened");
    receive_one(&queue).await.expect("twice");
    tokio::time::advance(MINUTE).await;
    assert!(receive_one(&queue).await.is_none() && queue.depth().await.expect("depth").is_empty());
    let seen: Vec<String> = dead.peek(10).expect("peeked").into_iter().map(|letter| letter.body).collect();
    assert_eq!(seen, ["poison"]);
    assert_eq!(dead.move_all(queue.as_ref()).await.expect("moved"), 1);
    assert_eq!(receive_one(&queue).await.expect("again").receive_count, 1);
    assert!(dead.depth().await.expect("depth").is_empty());
}

#[tokio::test(start_paused = true)]
async fn room_comes_back_though_one_message_stays_for_ever() {
    let directory = tempfile::tempdir().expect("a directory");
    let queue = open(&directory);
    send(&queue, "stays").await;
    let stays = receive_one(&queue).await.expect("stays");
    for number in 0..500 {
        send(&queue, &number.to_string()).await;
        let delivery = receive_one(&queue).await.expect("next");
        queue.delete_batch(vec![delivery.receipt_handle]).await.expect("deleted");
    }
    assert!(files(&directory) <= 6, "{} files", files(&directory));
    drop((queue, stays));
    let queue = open(&directory);
    let stays = receive_one(&queue).await.expect("stays");
    assert_eq!((stays.body.as_str(), stays.receive_count), ("stays", 2));
    queue.delete_batch(vec![stays.receipt_handle]).await.expect("deleted");
    assert!(bodies(&queue).await.is_empty());
}

#[tokio::test]
async fn many_senders_share_a_sync_and_lose_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    {
        let queue = DiskQueue::open(directory.path(), DiskQueueConfig::new(Arc::new(SystemClock)));
        let queue = queue.expect("opened");
        let senders = (0..200).map(|number| {
            let queue = Arc::clone(&queue);
            async move { send(&queue, &format!("{number:03}")).await }
        });
        futures::future::join_all(senders).await;
    }
    let mut found = bodies(&open(&directory)).await;
    found.sort();
    let all: Vec<String> = (0..200).map(|number| format!("{number:03}")).collect();
    assert_eq!(found, all);
}

#[tokio::test]
async fn damage_in_the_middle_is_said_and_not_passed_over() {
    let directory = tempfile::tempdir().expect("a directory");
    {
        let queue = open(&directory);
        for number in 0..10 {
            send(&queue, &format!("message {number}")).await;
        }
    }
    assert!(files(&directory) > 1);
    let first = directory.path().join("000000000001.log");
    let mut bytes = fs::read(&first).expect("read");
    bytes[30] ^= 1;
    fs::write(&first, bytes).expect("written");
    let error = DiskQueue::open(directory.path(), config(200)).expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("000000000001.log"), "{error}");
}

#[tokio::test]
async fn what_is_cut_off_a_torn_end_is_kept_beside_it() {
    let directory = tempfile::tempdir().expect("a directory");
    send(&open(&directory), "whole").await;
    let newest = directory.path().join("000000000001.log");
    let mut bytes = fs::read(&newest).expect("read");
    bytes.extend_from_slice(b"0badc0de {\"sent\":{\"id\":1,\"bo");
    fs::write(&newest, bytes).expect("written");
    let queue = open(&directory);
    send(&queue, "after").await;
    assert_eq!(bodies(&queue).await, ["whole", "after"]);
    let kept = fs::read(newest.with_extension("torn")).expect("kept");
    assert!(kept.starts_with(b"0badc0de"), "{kept:?}");
    drop(queue);
    let queue = open(&directory);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(queue.depth().await.expect("depth").visible, 2, "nothing torn is left in the journal");
}

/// One thing that happens to the queue.
#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    Receive,
    /// The delivery that was received so many ago.
    Delete(usize),
    /// The process ends.
    Reopen,
    /// The process ends while it writes.
    Tear(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..=4usize).prop_map(Step::Send),
        4 => Just(Step::Receive),
        4 => (0..6usize).prop_map(Step::Delete),
        1 => Just(Step::Reopen),
        1 => any::<u8>().prop_map(Step::Tear),
    ];
    prop::collection::vec(step, 1..80)
}

/// What was sent and not deleted is in the queue, once; nothing else is.
async fn run(steps: &[Step]) -> Result<(), String> {
    let directory = tempfile::tempdir().expect("a directory");
    let mut queue = open(&directory);
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut held: Vec<Delivery> = Vec::new();
    let mut number = 0;
    for step in steps {
        match step {
            Step::Send(count) => {
                let bodies: Vec<String> = (0..*count).map(|index| format!("m{}", number + index)).collect();
                number += count;
                let messages = bodies.iter().map(OutgoingMessage::new).collect();
                queue.send_batch(messages).await.map_err(|error| error.chain())?;
                wanted.extend(bodies);
            }
            Step::Receive => held.extend(receive_one(&queue).await),
            Step::Delete(back) if !held.is_empty() => {
                let delivery = held.remove(held.len() - 1 - back % held.len());
                queue.delete_batch(vec![delivery.receipt_handle]).await.map_err(|error| error.chain())?;
                wanted.remove(&delivery.body);
            }
            Step::Delete(_) => {}
            Step::Reopen => {
                held.clear();
                drop(queue);
                queue = open(&directory);
            }
            Step::Tear(share) => {
                // A line of which a part was written when the process ended: nobody had an answer.
                held.clear();
                drop(queue);
                let mut line = Vec::new();
                let torn = Sent {
                    id: 9_000_000,
                    body: "torn".to_owned(),
                    attributes: Vec::new(),
                    not_before_ms: None,
                    received: 0,
                };
                record::write(&Record::Sent(torn), &mut line).expect("written");
                line.truncate(line.len() * usize::from(*share) / 256);
                let mut names: Vec<_> = fs::read_dir(directory.path())
                    .expect("a directory")
                    .map(|entry| entry.expect("an entry").path())
                    .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
                    .collect();
                names.sort();
                let last = names.last().expect("a segment");
                let mut bytes = fs::read(last).expect("read");
                bytes.extend_from_slice(&line);
                fs::write(last, bytes).expect("written");
                queue = open(&directory);
            }
        }
    }
    held.clear();
    drop(queue);
    let queue = open(&directory);
    let found = bodies(&queue).await;
    let set: BTreeSet<String> = found.iter().cloned().collect();
    if set.len() != found.len() {
        return Err(format!("a message is there twice: {found:?}"));
    }
    if set != wanted {
        return Err(format!("{set:?} ≠ {wanted:?}"));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn whatever_ends_the_process_every_message_is_there_until_it_is_deleted(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("runtime");
        if let Err(problem) = runtime.block_on(run(&steps)) {
            prop_assert!(false, "{problem}");
        }
    }
}
