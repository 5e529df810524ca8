//! The deployment that programs run in, and everything that watches it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ferry_events::host::{Door, lambda};
use ferry_events::{Authenticator, Deletes as EventDeletes, Handler, Rules};
use ferry_finder::reconcile::{self, Reconciler};
use ferry_testkit::bucket::{Bucket, BucketSettings};
use ferry_testkit::operation::Operation as StoreOperation;
use ferry_testkit::{Call, FaultyStore, MemoryQueue, MemoryQueueConfig, MemoryStore, StoreFault};
use ferry_transfer::copy::{Copier, CopySettings};
use ferry_transfer::deletion::NoJournal;
use ferry_transfer::job::Action;
use ferry_transfer::queue::shared_outbox::SharedOutbox;
use ferry_transfer::queue::{Delivery, OutgoingMessage, Queue as _};
use ferry_transfer::receipt::{Outcome, ReceiptSink, SkipReason};
use ferry_transfer::retry::Backoff;
use ferry_transfer::state::MemoryState;
use ferry_transfer::store::retrying::RetryingStore;
use ferry_transfer::task::{DeleteLimit, Deletes, Location, Task};
use ferry_transfer::{Attributes, Clock, Route, SharedState, SingleRoute, Size, StorageClass};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::{FAILED_CALLS, Receipts, SPOILT_BODIES, Worker, any_fault, batch};
use super::program::{Operation, Program};

/// Messages stay hidden for so long from others than the worker that has them.
const VISIBILITY: Duration = Duration::from_mins(1);
/// What an event takes to arrive.
const EVENT_DELAY_USUAL: Duration = Duration::from_millis(100);
/// Longest that it takes.
const EVENT_DELAY_MAX: Duration = Duration::from_secs(90);
/// Longest that lies between a worker's last look at the source and the delete that follows, retries included.
const DELETE_WINDOW: Duration = Duration::from_mins(1);
const WORKERS: usize = 3;

/// Tokio's clock, and chance by a seed.
#[derive(Debug)]
struct SimulatedClock {
    begun: Instant,
    random: Mutex<fastrand::Rng>,
}

#[async_trait]
impl Clock for SimulatedClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 50) + self.begun.elapsed()
    }

    async fn sleep(&self, delay: Duration) {
        tokio::time::sleep(delay).await;
    }

    fn draw(&self) -> f64 {
        self.random.lock().expect("lock").f64()
    }
}

/// What was tried, so that a model in which nothing happens is not taken for a test.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Deeds {
    copied: usize,
    deleted: usize,
    /// Deletes by jobs that were to copy.
    taken_back: usize,
    superseded: usize,
    archived: usize,
    events_lost: usize,
    events_repeated: usize,
    workers_killed: usize,
    repaired: usize,
}

impl std::ops::AddAssign for Deeds {
    fn add_assign(&mut self, other: Self) {
        self.copied += other.copied;
        self.deleted += other.deleted;
        self.taken_back += other.taken_back;
        self.superseded += other.superseded;
        self.archived += other.archived;
        self.events_lost += other.events_lost;
        self.events_repeated += other.events_repeated;
        self.workers_killed += other.workers_killed;
        self.repaired += other.repaired;
    }
}

impl Deeds {
    pub(super) fn is_rich(&self) -> bool {
        let least =
            [self.deleted, self.events_lost, self.events_repeated, self.workers_killed, self.repaired];
        self.copied > 1_000
            && self.superseded > 0
            && self.archived > 0
            && least.iter().all(|count| *count > 30)
    }
}

/// What was seen of every key, on both sides.
#[derive(Debug, Default)]
struct Watch {
    /// Every generation that a key ever had at the source.
    generations: BTreeMap<String, BTreeSet<Bytes>>,
    /// When the source last had no such object.
    absent: BTreeMap<String, Instant>,
    held: BTreeSet<String>,
    problem: Option<String>,
}

impl Watch {
    fn look(&mut self, source: &Bucket, destination: &Bucket) {
        let now = Instant::now();
        let at_source: BTreeSet<String> = source.keys().into_iter().collect();
        for key in super::program::KEYS {
            if !at_source.contains(key) {
                self.absent.insert(key.to_owned(), now);
            }
        }
        let held: BTreeSet<String> = destination.keys().into_iter().collect();
        for key in &held {
            let bytes = destination.bytes(key).unwrap_or_default();
            if !self.generations.get(key).is_some_and(|known| known.contains(&bytes)) {
                self.problem.get_or_insert(format!("{key:?} held bytes that no generation ever had"));
            }
        }
        for key in self.held.difference(&held) {
            let gone = self.absent.get(key).is_some_and(|absent| now - *absent < DELETE_WINDOW);
            if !gone {
                self.problem.get_or_insert(format!("{key:?} was deleted while the source had it"));
            }
        }
        self.held = held;
    }
}

/// A deployment under way.
pub(super) struct World {
    source: Arc<Bucket>,
    destination: Arc<Bucket>,
    stores: [Arc<FaultyStore>; 2],
    watch: Arc<Mutex<Watch>>,
    queue: Arc<MemoryQueue>,
    door: Door,
    worker: Worker,
    receipts: Arc<Receipts>,
    reconciler: Reconciler,
    /// No event takes long.
    is_prompt: bool,
    random: Mutex<fastrand::Rng>,
    /// Nobody is killed and nothing fails any more.
    is_calm: AtomicBool,
    deeds: Mutex<Deeds>,
    written: Mutex<u64>,
    /// Keys of which an event was lost, or something happened without one.
    untold: Mutex<BTreeSet<String>>,
}

impl World {
    pub(super) async fn run(program: &Program, seed: u64) -> Result<Deeds, String> {
        let world = Arc::new(Self::new(seed));
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            workers.spawn(Arc::clone(&world).work());
        }
        workers.spawn(Arc::clone(&world).keep_watch());
        let mut events = JoinSet::new();
        for (pause, operation) in &program.steps {
            tokio::time::sleep(*pause).await;
            world.perform(operation, &mut events).await;
        }
        while events.join_next().await.is_some() {}
        world.calm();
        world.drain().await?;
        if program.is_of_events_only() {
            world.check_told()?;
        }
        let before = world.receipts.0.lock().expect("lock").len();
        world.reconcile().await?;
        world.drain().await?;
        workers.shutdown().await;
        world.conclude(before)
    }

    fn new(seed: u64) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SimulatedClock {
            begun: Instant::now(),
            random: Mutex::new(fastrand::Rng::with_seed(seed ^ 0xC10C)),
        });
        let side = |name: &str| {
            let settings = BucketSettings { part_bytes_min: 16, ..BucketSettings::default() };
            let bucket = Bucket::new(name, settings, Arc::clone(&clock));
            let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::over(name, Arc::clone(&bucket)))));
            (bucket, store)
        };
        let (source, source_store) = side("source");
        let (destination, destination_store) = side("destination");
        let watch = Arc::new(Mutex::new(Watch::default()));
        for (number, store) in [&source_store, &destination_store].into_iter().enumerate() {
            let random = Mutex::new(fastrand::Rng::with_seed(seed ^ (0x7157 + number as u64)));
            store.take_time(move |call| {
                // Now and then one is so slow, a write above all, that everything else overtakes it.
                let one_in = if call.operation == StoreOperation::PutObject { 3 } else { 12 };
                let mut random = random.lock().expect("lock");
                let mut time = || match random.u8(..one_in) {
                    0 => random.u64(..3_000),
                    _ => random.u64(..40),
                };
                [time(), time()].map(Duration::from_millis)
            });
            let (watch, source, destination) =
                (Arc::clone(&watch), Arc::clone(&source), Arc::clone(&destination));
            let random = Mutex::new(fastrand::Rng::with_seed(seed ^ (0xFA17 + number as u64)));
            store.script(move |call| {
                watch.lock().expect("lock").look(&source, &destination);
                fault(call, &mut random.lock().expect("lock"))
            });
        }
        let location =
            |name: &str| Location { store: name.into(), bucket: name.into(), prefix: String::new() };
        let mut task = Task::new("t", location("source"), location("destination"));
        task.deletes = Deletes::Mirror(DeleteLimit::Percent(100));
        task.large.part_jobs_above = Some(Size { bytes: 150 });
        let backoff = Backoff::default();
        let retrying = |store: &Arc<FaultyStore>| {
            Arc::new(RetryingStore::new(Arc::clone(store) as _, backoff, Arc::clone(&clock)))
        };
        let mut route = Route::new(task, retrying(&source_store), retrying(&destination_store));
        route.clock = Arc::clone(&clock);
        let route = Arc::new(route);
        let queue = MemoryQueue::new(MemoryQueueConfig::default());
        let state: SharedState = Arc::new(MemoryState::default());
        let copy = CopySettings {
            multipart_threshold_bytes: 64,
            part_bytes: 32,
            parts_in_flight: 2,
            buffered_object_bytes_max: 16,
            ..CopySettings::default()
        };
        let copier = Copier::new(copy, Arc::clone(&clock)).remembering(Arc::clone(&state));
        let receipts = Arc::new(Receipts::default());
        let worker = Worker {
            routes: Arc::new(SingleRoute(Arc::clone(&route))),
            copier: Arc::new(copier.sharing(Arc::clone(&queue) as _)),
            receipts: Arc::clone(&receipts) as Arc<dyn ReceiptSink>,
            journal: Arc::new(NoJournal),
            dead_letters: Some(MemoryQueue::new(MemoryQueueConfig::default())),
            deliveries: Some(Arc::clone(&queue) as _),
            breaker: None,
            parking: None,
            max_receive_count: 8,
            clock: Arc::clone(&clock),
        };
        let handler = Handler {
            rules: Rules { deletes: EventDeletes::Send, ..Rules::default() }.into(),
            outbox: SharedOutbox::new(Arc::clone(&queue) as _, Arc::clone(&clock), backoff),
            clock: Arc::clone(&clock),
            append_wait: Duration::from_secs(5),
            send_within: Duration::from_secs(20),
        };
        let reconciler =
            Reconciler { route, jobs: Arc::clone(&queue) as _, state, clock, backoff, names_a_step: 2 };
        Self {
            source,
            destination,
            stores: [source_store, destination_store],
            watch,
            queue,
            door: Door::new(handler, Authenticator::HostDecides),
            worker,
            receipts,
            reconciler,
            is_prompt: seed.is_multiple_of(2),
            random: Mutex::new(fastrand::Rng::with_seed(seed ^ 0x0707)),
            is_calm: AtomicBool::new(false),
            deeds: Mutex::default(),
            written: Mutex::new(seed << 20),
            untold: Mutex::default(),
        }
    }

    fn chance(&self, one_in: u32) -> bool {
        self.random.lock().expect("lock").u32(..one_in) == 0
    }

    /// Bytes that no other generation has.
    fn bytes(&self, size: usize) -> Vec<u8> {
        let mut written = self.written.lock().expect("lock");
        *written += 1;
        let mut random = fastrand::Rng::with_seed(*written);
        std::iter::repeat_with(|| random.u8(..)).take(size).collect()
    }

    fn know(&self, key: &str, bytes: &[u8]) {
        let mut watch = self.watch.lock().expect("lock");
        watch.generations.entry(key.to_owned()).or_default().insert(Bytes::copy_from_slice(bytes));
    }

    async fn perform(self: &Arc<Self>, operation: &Operation, events: &mut JoinSet<()>) {
        let class = StorageClass::parse("GLACIER");
        let (key, name) = match *operation {
            Operation::Put { key, size } => {
                let bytes = self.bytes(size);
                self.know(key, &bytes);
                self.source.put_object(key, bytes);
                (key, "ObjectCreated:PutObject")
            }
            Operation::PutInParts { key, parts, part } => {
                let bytes = self.bytes(parts * part);
                self.know(key, &bytes);
                let parts: Vec<_> = bytes.chunks(part).map(Bytes::copy_from_slice).collect();
                self.tell(key, "ObjectCreated:InitiateMultipartUpload", events);
                self.source.put_object_in_parts(key, parts, Attributes::default());
                (key, "ObjectCreated:CompleteMultipartUpload")
            }
            Operation::PutArchived { key, size } => {
                let bytes = self.bytes(size);
                self.know(key, &bytes);
                let attributes = Attributes { storage_class: class, ..Attributes::default() };
                self.source.put_object_with(key, bytes, attributes);
                (key, "ObjectCreated:PutObject")
            }
            Operation::Append { key, size } => {
                let mut bytes = self.source.bytes(key).unwrap_or_default().to_vec();
                bytes.extend(self.bytes(size));
                self.know(key, &bytes);
                self.source.put_object(key, bytes);
                (key, "ObjectCreated:AppendObject")
            }
            Operation::Delete { key } => {
                if !self.source.remove(key) {
                    return;
                }
                (key, "ObjectRemoved:DeleteObject")
            }
            Operation::Restore { key } => {
                if !self.source.get(key).is_some_and(|object| object.is_archived()) {
                    return;
                }
                self.source.restore(key);
                (key, "ObjectRestore:FinishRestore")
            }
            Operation::Reconcile => {
                // One that is killed, or fails, is gone on with later.
                let limit = Duration::from_millis(if self.chance(3) { 200 } else { 60_000 });
                let _ended = tokio::time::timeout(limit, reconcile::step(&self.reconciler)).await;
                return;
            }
        };
        self.watch.lock().expect("lock").look(&self.source, &self.destination);
        self.tell(key, name, events);
    }

    /// Sends an event on its way, or loses it, or sends it more than once.
    fn tell(self: &Arc<Self>, key: &str, name: &str, events: &mut JoinSet<()>) {
        let mut copies = 1;
        {
            let mut deeds = self.deeds.lock().expect("lock");
            if self.chance(12) {
                deeds.events_lost += 1;
                self.untold.lock().expect("lock").insert(key.to_owned());
                copies = 0;
            } else if self.chance(6) {
                deeds.events_repeated += 1;
                copies = 2;
            }
        }
        let object = self.source.get(key);
        let (size, etag) =
            object.map_or((Value::Null, Value::Null), |o| (json!(o.size_bytes()), json!(o.etag.as_str())));
        for _ in 0..copies {
            let mut random = self.random.lock().expect("lock");
            let most = if self.is_prompt || random.bool() { EVENT_DELAY_USUAL } else { EVENT_DELAY_MAX };
            let delay = most.mul_f64(random.f64());
            let by_function = name.ends_with("AppendObject") || random.bool();
            drop(random);
            let record = if by_function {
                json!({ "events": [{ "eventName": name, "eventSource": "acs:oss", "oss": { "bucket": { "name": "source" },
                    "object": { "key": key, "size": size, "eTag": etag } } }] })
            } else {
                let key = key.replace('%', "%25").replace('+', "%2B").replace('é', "%C3%A9");
                json!({ "Records": [{ "eventName": name, "eventSource": "aws:s3", "s3": { "bucket": { "name": "source" },
                    "object": { "key": key, "size": size, "eTag": etag } } }] })
            };
            let world = Arc::clone(self);
            events.spawn(async move {
                tokio::time::sleep(delay).await;
                if by_function {
                    lambda::handle(&world.door, record).await.expect("the queue takes it");
                } else {
                    let message = OutgoingMessage::new(record.to_string());
                    world.queue.send_batch(vec![message]).await.expect("the queue takes it");
                }
            });
        }
    }

    /// Looks even while nobody asks a store.
    async fn keep_watch(self: Arc<Self>) {
        loop {
            self.watch.lock().expect("lock").look(&self.source, &self.destination);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn work(self: Arc<Self>) {
        loop {
            let deliveries =
                self.queue.receive(4, Duration::from_secs(20), VISIBILITY).await.expect("the queue");
            if deliveries.is_empty() {
                continue;
            }
            let is_killed = !self.is_calm.load(Relaxed) && self.chance(6);
            let lives = if is_killed {
                Duration::from_millis(self.random.lock().expect("lock").u64(..400))
            } else {
                VISIBILITY
            };
            if tokio::time::timeout(lives, self.settle(deliveries)).await.is_err() && is_killed {
                self.deeds.lock().expect("lock").workers_killed += 1;
            }
        }
    }

    async fn settle(&self, deliveries: Vec<Delivery>) {
        let mut done = Vec::new();
        for delivery in deliveries {
            let mut event = batch(&[&delivery.body], delivery.receive_count);
            event.records[0].receipt_handle = Some(delivery.receipt_handle.clone());
            let answer = self.worker.handle(event, None).await.expect("an answer");
            if answer.batch_item_failures.is_empty() {
                done.push(delivery.receipt_handle);
            }
        }
        if !done.is_empty() {
            self.queue.delete_batch(done).await.expect("deleted");
        }
    }

    /// Faults end; what is archived can be read.
    fn calm(&self) {
        self.is_calm.store(true, Relaxed);
        for store in &self.stores {
            store.heal();
            let (watch, source, destination) =
                (Arc::clone(&self.watch), Arc::clone(&self.source), Arc::clone(&self.destination));
            store.script(move |_| {
                watch.lock().expect("lock").look(&source, &destination);
                None
            });
        }
        for key in self.source.keys() {
            if self.source.get(&key).is_some_and(|object| object.is_archived()) {
                self.source.restore(&key);
                self.untold.lock().expect("lock").insert(key);
            }
        }
    }

    /// Keys that no event was lost of need no reconciler, unless their jobs were given up.
    fn check_told(&self) -> Result<(), String> {
        let mut untold = self.untold.lock().expect("lock").clone();
        for receipt in self.receipts.0.lock().expect("lock").iter() {
            if matches!(&receipt.outcome, Outcome::Failed(failed) if failed.last) {
                untold.insert(receipt.key.as_str().to_owned());
            }
        }
        for key in super::program::KEYS.into_iter().filter(|key| !untold.contains(*key)) {
            if self.source.bytes(key) != self.destination.bytes(key) {
                let held = |bucket: &Bucket| if bucket.get(key).is_some() { "has one" } else { "has none" };
                let (source, destination) = (held(&self.source), held(&self.destination));
                return Err(format!(
                    "{key:?} differs although every event of it arrived: the source {source}, the destination {destination}"
                ));
            }
        }
        Ok(())
    }

    async fn drain(&self) -> Result<(), String> {
        for _ in 0..10_000 {
            if self.queue.depth().await.expect("depth").is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Err("the queue never becomes empty".to_owned())
    }

    /// One whole pass, after the end of one that may be under way.
    async fn reconcile(&self) -> Result<(), String> {
        let mut passes = if reconcile::step(&self.reconciler).await.is_ok_and(|step| step.ended.is_some()) {
            1
        } else {
            2
        };
        for _ in 0..1_000 {
            let step = reconcile::step(&self.reconciler).await.map_err(|error| error.chain())?;
            passes -= u32::from(step.ended.is_some());
            if passes == 0 {
                return Ok(());
            }
        }
        Err("the pass never ends".to_owned())
    }

    fn conclude(&self, before: usize) -> Result<Deeds, String> {
        self.watch.lock().expect("lock").look(&self.source, &self.destination);
        if let Some(problem) = self.watch.lock().expect("lock").problem.take() {
            return Err(problem);
        }
        let (source, destination) = (self.source.keys(), self.destination.keys());
        if source != destination {
            return Err(format!("{source:?} ≠ {destination:?}"));
        }
        for key in source {
            if self.source.bytes(&key) != self.destination.bytes(&key) {
                return Err(format!("{key:?} differs"));
            }
        }
        let mut deeds = *self.deeds.lock().expect("lock");
        for (number, receipt) in self.receipts.0.lock().expect("lock").iter().enumerate() {
            match &receipt.outcome {
                Outcome::Copied(_) | Outcome::Deleted if number >= before => deeds.repaired += 1,
                Outcome::Copied(_) => deeds.copied += 1,
                Outcome::Deleted => {
                    deeds.deleted += 1;
                    deeds.taken_back += usize::from(receipt.action == Action::Copy);
                }
                Outcome::Skipped { reason: SkipReason::Superseded } => deeds.superseded += 1,
                Outcome::Skipped { reason: SkipReason::Archived } => deeds.archived += 1,
                _ => {}
            }
        }
        Ok(deeds)
    }
}

/// What goes wrong with one call of twenty.
fn fault(call: &Call<'_>, random: &mut fastrand::Rng) -> Option<StoreFault> {
    if random.u8(..20) > 0 {
        return None;
    }
    let kinds = if call.operation == StoreOperation::GetObject { SPOILT_BODIES } else { FAILED_CALLS };
    Some(any_fault(random, kinds))
}
