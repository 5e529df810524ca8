//! The worker against stores in memory: single messages, and random programs against a model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use ferry_finder::{Finder, ScanProgress, Scope};
use ferry_testkit::bucket::{Bucket, BucketSettings};
use ferry_testkit::operation::Operation;
use ferry_testkit::{FaultyStore, MemoryQueue, MemoryQueueConfig, MemoryStore, StoreFault};
use ferry_transfer::copy::CopySettings;
use ferry_transfer::deletion::JournalEntry;
use ferry_transfer::queue::Queue;
use ferry_transfer::receipt::{Copied, ReadCheck, SkipReason};
use ferry_transfer::retry::Backoff;
use ferry_transfer::store::Versioning;
use ferry_transfer::store::retrying::RetryingStore;
use ferry_transfer::task::{DeleteLimit, Deletes, Location, Task};
use ferry_transfer::{Attributes, Route, RunId, SingleRoute, SystemClock};
use proptest::prelude::*;
use time::OffsetDateTime;

use super::*;

/// A second passes with every look, so that times order events the way they happened.
#[derive(Debug, Default)]
struct TickingClock(AtomicI64);

#[async_trait]
impl Clock for TickingClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs(self.0.fetch_add(1, Relaxed).unsigned_abs())
    }

    async fn sleep(&self, _delay: Duration) {
        tokio::task::yield_now().await;
    }

    fn draw(&self) -> f64 {
        0.5
    }
}

#[derive(Debug, Default)]
struct Receipts(Mutex<Vec<Receipt>>);

impl ReceiptSink for Receipts {
    fn record(&self, receipt: &Receipt) {
        self.0.lock().expect("lock").push(receipt.clone());
    }
}

mod deletes;
mod events;
mod invocation;
mod model;
mod notifications;
mod sharing;
mod versions;

#[derive(Debug, Default)]
struct Journal(Mutex<Vec<JournalEntry>>);

#[async_trait]
impl DeleteJournal for Journal {
    async fn write(&self, _run: Option<&str>, entry: JournalEntry) -> Result<(), Error> {
        self.0.lock().expect("lock").push(entry);
        Ok(())
    }
}

/// Two buckets, a worker between them, and everything that can be watched.
struct Stage {
    source: Arc<Bucket>,
    destination: Arc<Bucket>,
    source_faults: Arc<FaultyStore>,
    destination_faults: Arc<FaultyStore>,
    dead_letters: Arc<MemoryQueue>,
    receipts: Arc<Receipts>,
    journal: Arc<Journal>,
    route: Arc<Route>,
    clock: Arc<TickingClock>,
    worker: Worker,
}

impl Stage {
    fn new(deletes: Deletes) -> Self {
        Self::with_trash(deletes, None)
    }

    fn with_trash(deletes: Deletes, trash: Option<&str>) -> Self {
        let rules = |task: &mut Task| {
            task.deletes = deletes;
            task.trash = trash.map(|prefix| prefix.parse().expect("trash"));
        };
        Self::with(rules, [Versioning::Never; 2])
    }

    /// Between a source and a destination that keep versions or not.
    fn with(rules: impl FnOnce(&mut Task), versioning: [Versioning; 2]) -> Self {
        let clock = Arc::new(TickingClock::default());
        let faulty = |side: &str, versioning| {
            let settings = BucketSettings { part_bytes_min: 16, versioning, ..BucketSettings::default() };
            let bucket = Bucket::new(side, settings, Arc::clone(&clock) as _);
            let faulty = Arc::new(FaultyStore::new(Arc::new(MemoryStore::over(side, Arc::clone(&bucket)))));
            (bucket, faulty)
        };
        let [at_source, at_destination] = versioning;
        let (source, source_faults) = faulty("source", at_source);
        let (destination, destination_faults) = faulty("destination", at_destination);
        let wrapped = |store: &Arc<FaultyStore>| {
            Arc::new(RetryingStore::new(Arc::clone(store) as _, Backoff::default(), Arc::clone(&clock) as _))
        };
        let location =
            |store: &str| Location { store: store.into(), bucket: store.into(), prefix: String::new() };
        let mut task = Task::new("t", location("source"), location("destination"));
        rules(&mut task);
        let mut route = Route::new(task, wrapped(&source_faults), wrapped(&destination_faults));
        route.clock = Arc::clone(&clock) as _;
        let route = Arc::new(route);
        // Small enough that a body of a hundred bytes sees all three ways: in memory, streamed, in parts.
        let copy = CopySettings {
            multipart_threshold_bytes: 64,
            part_bytes: 32,
            buffered_object_bytes_max: 16,
            ..CopySettings::default()
        };
        let dead_letters = MemoryQueue::new(MemoryQueueConfig::default());
        let receipts = Arc::new(Receipts::default());
        let journal = Arc::new(Journal::default());
        let worker = Worker {
            routes: Arc::new(SingleRoute(Arc::clone(&route))),
            copier: Arc::new(Copier::new(copy, Arc::clone(&clock) as _)),
            receipts: Arc::clone(&receipts) as _,
            journal: Arc::clone(&journal) as _,
            dead_letters: Some(Arc::clone(&dead_letters) as _),
            deliveries: None,
            breaker: None,
            parking: None,
            max_receive_count: 3,
            clock: Arc::clone(&clock) as _,
        };
        Self {
            source,
            destination,
            source_faults,
            destination_faults,
            dead_letters,
            receipts,
            journal,
            route,
            clock,
            worker,
        }
    }

    async fn deliver(&self, body: &str, attempt: u32) -> SqsBatchResponse {
        self.worker.handle(batch(&[body], attempt), None).await.expect("an answer")
    }

    fn last_outcome(&self) -> Outcome {
        self.receipts.0.lock().expect("lock").last().expect("a receipt").outcome.clone()
    }

    async fn dead(&self) -> Vec<(String, String)> {
        let letters =
            self.dead_letters.receive(10, Duration::ZERO, Duration::from_hours(1)).await.expect("letters");
        letters
            .into_iter()
            .map(|letter| {
                let reason = letter.attributes.into_iter().find(|(name, _)| name == DEAD_LETTER_REASON);
                (letter.body, reason.expect("a reason").1)
            })
            .collect()
    }

    /// One scan; the messages it made.
    async fn scan(&self) -> Result<Vec<String>, Error> {
        let queue = MemoryQueue::new(MemoryQueueConfig::default());
        let finder = Finder {
            routes: Arc::new(SingleRoute(Arc::clone(&self.route))),
            jobs: Arc::clone(&queue) as _,
            scans: Arc::clone(&queue) as _,
            documents: Arc::new(ferry_transfer::key_source::NoDocuments),
            clock: Arc::clone(&self.clock) as _,
            backoff: Backoff::default(),
            state: None,
            coverage: None,
            measures: Arc::default(),
        };
        let run = RunId::new(&SystemClock);
        finder.scan(&self.route, &run, &Scope::All, None, &ScanProgress::default()).await?;
        let mut bodies = Vec::new();
        while let Some(delivery) = queue.receive(1, Duration::ZERO, Duration::from_hours(1)).await?.pop() {
            bodies.push(delivery.body);
        }
        Ok(bodies)
    }
}

fn batch(bodies: &[&str], attempt: u32) -> SqsEvent {
    let mut event = SqsEvent::default();
    for (index, body) in bodies.iter().enumerate() {
        let mut record = SqsMessage::default();
        record.message_id = Some(format!("m{index}"));
        record.body = Some((*body).to_owned());
        record.attributes.insert("ApproximateReceiveCount".to_owned(), attempt.to_string());
        event.records.push(record);
    }
    event
}

#[tokio::test]
async fn poison_fails_alone_and_ends_with_its_reason() {
    let stage = Stage::new(Deletes::Keep);
    stage.source.put_object("a", "one");
    stage.source.put_object("b", "two");
    let poison = r#"{"size": 1}"#;
    let answer = stage
        .worker
        .handle(
            batch(
                &[r#"{"key":"a"}"#, "not json", poison, r#"{"key":"b","size":3}"#, r#"{"action":"scan"}"#],
                1,
            ),
            None,
        )
        .await
        .expect("an answer");
    assert!(answer.batch_item_failures.is_empty());
    assert_eq!(stage.destination.keys(), ["a", "b"]);
    let dead = stage.dead().await;
    assert_eq!(dead.len(), 3);
    assert!(dead.iter().any(|(body, reason)| body == poison && reason.contains("no key")), "{dead:?}");
}

#[tokio::test]
async fn a_record_without_an_id_fails_the_batch_aloud() {
    let stage = Stage::new(Deletes::Keep);
    let mut event = batch(&[r#"{"key":"a"}"#], 1);
    event.records[0].message_id = Some(String::new());
    assert!(stage.worker.handle(event, None).await.is_err());
}

#[tokio::test]
async fn a_transient_failure_is_given_back_until_the_last_delivery() {
    let stage = Stage::new(Deletes::Keep);
    stage.source.put_object("a", "one");
    stage.source_faults.script(|call| {
        (call.operation == Operation::GetObject).then_some(StoreFault::Fail(ErrorKind::Transient))
    });
    let job = r#"{"key":"a"}"#;
    assert_eq!(stage.deliver(job, 1).await.batch_item_failures[0].item_identifier, "m0");
    assert!(matches!(stage.last_outcome(), Outcome::Failed(Failed { last: false, .. })));
    assert!(stage.deliver(job, 3).await.batch_item_failures.is_empty());
    assert!(matches!(stage.last_outcome(), Outcome::Failed(Failed { last: true, .. })));
    assert_eq!(stage.dead().await.len(), 1);
    // Each delivery retries within its own bound, and the layers' bounds do not multiply.
    let reads = stage.source_faults.calls(Operation::GetObject);
    assert_eq!(reads, 2 * u64::from(Backoff::default().attempts_max));
}

#[tokio::test]
async fn a_refused_object_fails_at_once_and_for_good() {
    let stage = Stage::new(Deletes::Keep);
    stage.source.put_object("a", "one");
    stage.source_faults.fail_first(Operation::GetObject, 1, ErrorKind::PermissionDenied);
    assert!(
        stage
            .deliver(r#"{"key":"a","etag":"x","destination":"absent"}"#, 1)
            .await
            .batch_item_failures
            .is_empty()
    );
    assert!(matches!(
        stage.last_outcome(),
        Outcome::Failed(Failed { kind: ErrorKind::PermissionDenied, last: true, .. })
    ));
}

#[tokio::test]
async fn a_job_that_is_done_twice_copies_once() {
    let stage = Stage::new(Deletes::Keep);
    stage.source.put_object("a", "one");
    for job in stage.scan().await.expect("scan") {
        stage.deliver(&job, 1).await;
        assert!(matches!(stage.last_outcome(), Outcome::Copied(_)));
        let written = stage.destination.get("a").expect("copied").last_modified;
        stage.deliver(&job, 2).await;
        assert_eq!(stage.last_outcome(), Outcome::UpToDate);
        assert_eq!(stage.destination.get("a").expect("still").last_modified, written);
    }
}

#[tokio::test]
async fn a_delete_needs_a_404_and_a_task_that_allows_it() {
    let job = r#"{"key":"a","action":"delete"}"#;
    let keep = Stage::new(Deletes::Keep);
    keep.destination.put_object("a", "one");
    keep.deliver(job, 1).await;
    assert_eq!(keep.last_outcome(), Outcome::Skipped { reason: SkipReason::DeletesNotAllowed });

    let stage = Stage::new(Deletes::Mirror(DeleteLimit::default()));
    stage.destination.put_object("a", "one");
    stage.source.put_object("a", "one");
    stage.deliver(job, 1).await;
    assert_eq!(stage.last_outcome(), Outcome::Skipped { reason: SkipReason::StillAtSource });
    stage.source.remove("a");
    stage.source_faults.fail_first(Operation::HeadObject, 2, ErrorKind::PermissionDenied);
    stage.deliver(job, 1).await;
    assert!(matches!(stage.last_outcome(), Outcome::Failed(_)));
    assert!(stage.destination.get("a").is_some(), "403 is not 404");
    stage.source_faults.heal();
    stage.deliver(job, 1).await;
    assert_eq!(stage.last_outcome(), Outcome::Deleted);
    assert!(stage.destination.is_empty());
}

#[tokio::test]
async fn an_archived_object_is_skipped_with_its_reason() {
    let stage = Stage::new(Deletes::Keep);
    stage.source.put_object("a", "one");
    stage.source.set_storage_class("a", ferry_transfer::StorageClass::parse("GLACIER"));
    stage.deliver(r#"{"key":"a"}"#, 1).await;
    assert_eq!(stage.last_outcome(), Outcome::Skipped { reason: SkipReason::Archived });
}

#[tokio::test]
async fn tags_of_a_large_object_survive_stores_that_hide_or_lose_them() {
    for (hides, loses) in [(true, false), (false, true), (true, true)] {
        let stage = Stage::new(Deletes::Keep);
        let tags = [("colour".to_owned(), "red".to_owned()), ("a".to_owned(), "1".to_owned())];
        stage.source.put_object("a", vec![7; 100]);
        stage.source.set_tags("a", tags.to_vec()).expect("tagged");
        if hides {
            stage.source_faults.hide_tags_in_heads();
        }
        if loses {
            stage.destination_faults.lose_upload_tags();
        }
        stage.deliver(r#"{"key":"a"}"#, 1).await;
        assert!(matches!(stage.last_outcome(), Outcome::Copied(_)));
        let mut held = stage.destination.get("a").expect("copied").attributes.tags.clone();
        held.sort();
        assert_eq!(held, [tags[1].clone(), tags[0].clone()], "hides: {hides}, loses: {loses}");
        assert_eq!(stage.destination_faults.calls(Operation::CreateMultipartUpload), 1);
    }
}

/// Puts an object of a seed under a key.
type Put<'a> = &'a dyn Fn(&Stage, &str, u64);

#[tokio::test]
async fn bytes_that_contradict_the_etag_never_become_an_object() {
    let in_parts = |stage: &Stage, key: &str, seed| {
        let parts = bytes_of(seed, 100).chunks(32).map(|part| part.to_vec().into()).collect::<Vec<_>>();
        stage.source.put_object_in_parts(key, parts, Attributes::default());
    };
    let in_one_piece = |stage: &Stage, key: &str, seed| {
        stage.source.put_object(key, bytes_of(seed, 100));
    };
    for put in [&in_parts as Put<'_>, &in_one_piece] {
        let stage = Stage::new(Deletes::Keep);
        stage.source_faults.hide_checksums();
        // A tag that was seen to be a digest of the bytes is believed from then on.
        put(&stage, "good", 1);
        stage.deliver(r#"{"key":"good"}"#, 1).await;
        assert!(matches!(stage.last_outcome(), Outcome::Copied(Copied { read_check: ReadCheck::Etag, .. })));
        put(&stage, "bad", 2);
        stage.source_faults.script(|call| {
            let spoilt =
                call.operation == Operation::GetObject && call.key.is_some_and(|key| key.as_str() == "bad");
            spoilt.then_some(StoreFault::CorruptBody)
        });
        stage.deliver(r#"{"key":"bad"}"#, 1).await;
        let Outcome::Failed(failed) = stage.last_outcome() else { panic!("{:?}", stage.last_outcome()) };
        assert_eq!(failed.kind, ErrorKind::Corrupt);
        assert!(stage.destination.get("bad").is_none() && stage.destination.open_uploads().is_empty());
    }
}

/// One thing that happens while messages are being delivered.
#[derive(Debug, Clone)]
enum Step {
    Overwrite { key: usize, size: usize },
    Remove { key: usize },
    OverwriteDestination { key: usize, size: usize },
    Deliver { message: usize },
    Scan,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // In memory, streamed, and in parts: the last most often, since most can happen to them.
    let size = || prop_oneof![1 => 0..=16usize, 1 => 17..64usize, 3 => 64..200usize];
    let step = prop_oneof![
        2 => (0..KEYS.len(), size()).prop_map(|(key, size)| Step::Overwrite { key, size }),
        1 => (0..KEYS.len()).prop_map(|key| Step::Remove { key }),
        1 => (0..KEYS.len(), size()).prop_map(|(key, size)| Step::OverwriteDestination { key, size }),
        6 => (0..20usize).prop_map(|message| Step::Deliver { message }),
        2 => Just(Step::Scan),
    ];
    // Begins with objects to copy, so that hardly a program does nothing.
    let begun = (size(), size()).prop_map(|(first, second)| {
        vec![Step::Overwrite { key: 0, size: first }, Step::Overwrite { key: 1, size: second }, Step::Scan]
    });
    (begun, prop::collection::vec(step, 1..60)).prop_map(|(mut begun, rest)| {
        begun.extend(rest);
        begun
    })
}

const KEYS: [&str; 6] = ["a", "a/", "a//b", "é", "\u{1}", "z"];

/// What a source object's bytes are: different for each generation, equal in length for the nastiest comparison.
fn bytes_of(generation: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(generation);
    std::iter::repeat_with(|| random.u8(..)).take(size).collect()
}

/// Every generation a key ever had on either side: nothing else may ever be seen at the destination.
#[derive(Debug, Default)]
struct History {
    known: BTreeMap<String, BTreeSet<Vec<u8>>>,
    generations: u64,
    /// The first mixture that was ever seen at the destination, however briefly.
    mixture: Option<String>,
}

impl History {
    fn write(&mut self, bucket: &Bucket, key: &str, size: usize) {
        self.generations += 1;
        let bytes = bytes_of(self.generations, size);
        self.known.entry(key.to_owned()).or_default().insert(bytes.clone());
        bucket.put_object(key, bytes);
    }

    fn look(&mut self, bucket: &Bucket) {
        for key in bucket.keys() {
            let bytes = bucket.bytes(&key).unwrap_or_default();
            if !self.known.get(&key).is_some_and(|known| known.contains(bytes.as_ref())) {
                self.mixture.get_or_insert(format!("{key:?} held bytes that no generation ever had"));
            }
        }
    }
}

/// Runs one random program; an error describes what went wrong.
async fn run_program(steps: &[Step], seed: u64) -> Result<(), String> {
    let stage = Stage::new(Deletes::Mirror(DeleteLimit::Percent(100)));
    let history = Arc::new(Mutex::new(History::default()));
    let mut messages: Vec<String> = Vec::new();
    // What the worker gives back, a queue delivers again.
    let mut given_back: Vec<String> = Vec::new();
    add_changes(&stage.source_faults, &stage, &history, seed, 10);
    add_changes(&stage.destination_faults, &stage, &history, seed ^ 0x77, 10);
    // Without a declared checksum nobody can tell a flipped bit in one part from the truth, but two generations must still
    // never meet: half of the programs have checksums and flipped bits, half have neither.
    let checksums = seed.is_multiple_of(2);
    if !checksums {
        stage.source_faults.hide_checksums();
    }
    add_faults(&stage.source_faults, seed, if checksums { SPOILT_BODIES } else { BROKEN_BODIES });
    add_faults(&stage.destination_faults, seed ^ 0xABCD, FAILED_CALLS);
    for step in steps {
        match step {
            Step::Overwrite { key, size } => {
                history.lock().expect("lock").write(&stage.source, KEYS[*key], *size);
            }
            Step::OverwriteDestination { key, size } => {
                history.lock().expect("lock").write(&stage.destination, KEYS[*key], *size);
            }
            Step::Remove { key } => {
                stage.source.remove(KEYS[*key]);
            }
            // A scan that fails finds nothing, and says so; the next one finds it.
            Step::Scan => messages.extend(stage.scan().await.unwrap_or_default()),
            Step::Deliver { message } if !messages.is_empty() => {
                // The message stays: every delivery may be one of many.
                let body = messages[message % messages.len()].clone();
                if !stage.deliver(&body, 1).await.batch_item_failures.is_empty() {
                    given_back.push(body);
                }
            }
            Step::Deliver { .. } => {}
        }
    }
    stage.source_faults.heal();
    stage.destination_faults.heal();
    for body in given_back {
        stage.deliver(&body, 2).await;
    }
    for _round in 0..3 {
        for body in stage.scan().await.map_err(|error| error.chain())? {
            stage.deliver(&body, 1).await;
        }
    }
    history.lock().expect("lock").look(&stage.destination);
    if let Some(mixture) = history.lock().expect("lock").mixture.take() {
        return Err(mixture);
    }
    let left = stage.scan().await.map_err(|error| error.chain())?;
    if !left.is_empty() {
        return Err(format!("a scan still finds work: {left:?}"));
    }
    if stage.source.keys() != stage.destination.keys() {
        return Err(format!("{:?} ≠ {:?}", stage.source.keys(), stage.destination.keys()));
    }
    // What others wrote to the destination, with the size of the source and a later date, shows only where ETags tell.
    let overwritten_behind = steps.iter().any(|step| matches!(step, Step::OverwriteDestination { .. }));
    for key in stage.source.keys() {
        let (source, destination) = (stage.source.bytes(&key), stage.destination.bytes(&key));
        let comparable = stage.destination.get(&key).is_some_and(|object| object.etag.as_md5().is_some());
        if (comparable || !overwritten_behind) && source != destination {
            return Err(format!("{key:?} differs"));
        }
    }
    Ok(())
}

/// The source is overwritten with other bytes of the same length before about one call of so many to either store: in mid-copy.
fn add_changes(store: &FaultyStore, stage: &Stage, history: &Arc<Mutex<History>>, seed: u64, one_of: u8) {
    let (source, destination) = (Arc::clone(&stage.source), Arc::clone(&stage.destination));
    let history = Arc::clone(history);
    let random = Mutex::new(fastrand::Rng::with_seed(seed ^ 0x5EED));
    store.script(move |call| {
        // Every call of either side is a moment to look at, so that not even a passing mixture goes unseen.
        history.lock().expect("lock").look(&destination);
        let key = call.key?.as_str();
        if random.lock().expect("lock").u8(..one_of) == 0
            && let Some(object) = source.get(key)
        {
            let size = usize::try_from(object.size_bytes()).expect("small");
            history.lock().expect("lock").write(&source, key, size);
        }
        None
    });
}

/// How many kinds of faults there are, by how far down the list one goes.
const FAILED_CALLS: u8 = 3;
const BROKEN_BODIES: u8 = 5;
const SPOILT_BODIES: u8 = 6;

/// Faults in about one call of eight, by a generator of their own.
fn add_faults(store: &FaultyStore, seed: u64, kinds: u8) {
    let random = Mutex::new(fastrand::Rng::with_seed(seed));
    store.script(move |call| {
        let mut random = random.lock().expect("lock");
        if random.u8(..8) > 0 {
            return None;
        }
        let kinds = if call.operation == Operation::GetObject { kinds } else { FAILED_CALLS };
        Some(any_fault(&mut random, kinds))
    });
}

/// One of the first so many kinds.
fn any_fault(random: &mut fastrand::Rng, kinds: u8) -> StoreFault {
    match random.u8(..kinds) {
        0 => StoreFault::Fail(ErrorKind::Transient),
        1 => StoreFault::LoseReply(ErrorKind::Transient),
        2 => StoreFault::Fail(ErrorKind::Throttled),
        3 => StoreFault::TruncateBody { after_bytes: random.u64(..40) },
        4 => StoreFault::BreakBody { after_bytes: random.u64(..40), kind: ErrorKind::Transient },
        _ => StoreFault::CorruptBody,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever happens in between (changes on both sides, messages lost, repeated and reordered, calls that fail, replies that
    /// get lost, bodies that arrive spoilt), the destination never holds a mixture, and ends as the source.
    #[test]
    fn random_programs_end_in_agreement_and_never_pass_through_a_mixture(steps in steps(), seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("runtime");
        if let Err(problem) = runtime.block_on(run_program(&steps, seed)) {
            prop_assert!(false, "{problem}");
        }
    }
}
