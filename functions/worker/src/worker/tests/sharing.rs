//! Random programs over objects that are shared out part by part, among workers that die.

use ferry_transfer::Size;
use ferry_transfer::large::Large;
use ferry_transfer::queue::{Delivery, OutgoingMessage};
use ferry_transfer::state::{MemoryState, SharedState};

use super::*;

const PART_BYTES: u64 = 32;
/// What a dead worker held comes back after this.
const VISIBILITY: Duration = Duration::from_mins(1);
/// No answer within this is a worker that died: time is not real here.
const DEAD_AFTER: Duration = Duration::from_secs(10);

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Overwrite {
        key: usize,
        size: usize,
    },
    Enqueue {
        key: usize,
    },
    /// Each of so many workers takes a message; the one that makes the `fuse`th call from now on dies in it.
    Work {
        hands: usize,
        fuse: Option<u32>,
    },
    /// The next message is delivered, and stays in the queue.
    Duplicate,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Four parts to twenty, and small ones between them.
    let size = || prop_oneof![1 => 0..64usize, 5 => 100..640usize];
    let step = prop_oneof![
        1 => (0..2usize, size()).prop_map(|(key, size)| Step::Overwrite { key, size }),
        2 => (0..2usize).prop_map(|key| Step::Enqueue { key }),
        6 => (1..=2usize, prop::option::weighted(0.4, 0..40u32))
            .prop_map(|(hands, fuse)| Step::Work { hands, fuse }),
        1 => Just(Step::Duplicate),
    ];
    let begun =
        (100..640usize).prop_map(|size| vec![Step::Overwrite { key: 0, size }, Step::Enqueue { key: 0 }]);
    (begun, prop::collection::vec(step, 5..60)).prop_map(|(mut begun, rest)| {
        begun.extend(rest);
        begun
    })
}

/// Two workers that know of each other only what the stores, the state and the queue say.
struct Crew {
    stage: Stage,
    other: Worker,
    queue: Arc<MemoryQueue>,
    /// Calls to either store until somebody dies.
    fuse: Arc<Mutex<Option<u32>>>,
}

impl Crew {
    fn new(seed: u64) -> Self {
        let rules = |task: &mut Task| task.large = Large { part_jobs_above: Some(Size { bytes: 64 }) };
        let mut stage = Stage::with(rules, [Versioning::Never; 2]);
        let queue = MemoryQueue::new(MemoryQueueConfig::default());
        let state: SharedState = Arc::new(MemoryState::default());
        let copier = || {
            let copy = CopySettings {
                multipart_threshold_bytes: 64,
                part_bytes: PART_BYTES,
                buffered_object_bytes_max: 16,
                parts_in_flight: 2,
                ..CopySettings::default()
            };
            let copier = Copier::new(copy, Arc::clone(&stage.clock) as _);
            Arc::new(copier.remembering(Arc::clone(&state)).sharing(Arc::clone(&queue) as _))
        };
        let other = Worker {
            routes: Arc::clone(&stage.worker.routes),
            copier: copier(),
            receipts: Arc::clone(&stage.receipts) as _,
            journal: Arc::clone(&stage.journal) as _,
            dead_letters: Some(Arc::clone(&stage.dead_letters) as _),
            deliveries: None,
            breaker: None,
            parking: None,
            max_receive_count: 3,
            clock: Arc::clone(&stage.clock) as _,
        };
        stage.worker.copier = copier();
        let fuse: Arc<Mutex<Option<u32>>> = Arc::default();
        for store in [&stage.source_faults, &stage.destination_faults] {
            let fuse = Arc::clone(&fuse);
            let random = Mutex::new(fastrand::Rng::with_seed(seed));
            store.script(move |_| {
                let mut fuse = fuse.lock().expect("lock");
                match fuse.as_mut() {
                    Some(0) => {
                        *fuse = None;
                        let was_made = random.lock().expect("lock").bool();
                        Some(if was_made { StoreFault::NeverAnswered } else { StoreFault::NeverMade })
                    }
                    Some(left) => {
                        *left -= 1;
                        None
                    }
                    None => None,
                }
            });
        }
        Self { stage, other, queue, fuse }
    }

    async fn enqueue(&self, key: &str) {
        let body = format!("{{\"key\":{key:?}}}");
        let sent = self.queue.send_batch(vec![OutgoingMessage::new(body)]).await.expect("sent");
        assert!(sent.iter().all(Result::is_ok));
    }

    async fn take(&self, wait: Duration) -> Option<Delivery> {
        self.queue.receive(1, wait, VISIBILITY).await.expect("received").pop()
    }

    /// One message in the hands of one worker, alive or not.
    async fn handle(&self, worker: &Worker, delivery: Delivery) {
        let event = batch(&[&delivery.body], delivery.receive_count);
        let Ok(answer) = tokio::time::timeout(DEAD_AFTER, worker.handle(event, None)).await else {
            return;
        };
        let handle = delivery.receipt_handle;
        if answer.expect("an answer").batch_item_failures.is_empty() {
            // It may be another delivery's by now, as on any queue.
            drop(self.queue.delete_batch(vec![handle]).await.expect("asked"));
        } else {
            drop(self.queue.change_visibility(&handle, Duration::ZERO).await);
        }
    }

    async fn work(&self, hands: usize, fuse: Option<u32>) {
        *self.fuse.lock().expect("lock") = fuse;
        let workers = [&self.stage.worker, &self.other];
        let each = workers.into_iter().take(hands).map(|worker| async move {
            if let Some(delivery) = self.take(Duration::ZERO).await {
                self.handle(worker, delivery).await;
            }
        });
        futures::future::join_all(each).await;
        *self.fuse.lock().expect("lock") = None;
    }

    /// Empties the queue, waiting for what the dead held.
    async fn drain(&self) -> Result<(), String> {
        for _ in 0..2_000 {
            match self.take(VISIBILITY * 2).await {
                Some(delivery) => self.handle(&self.stage.worker, delivery).await,
                None => return Ok(()),
            }
        }
        Err("the queue does not become empty".to_owned())
    }
}

async fn run_shared(steps: &[Step], seed: u64) -> Result<(), String> {
    let crew = Crew::new(seed);
    let stage = &crew.stage;
    let history = Arc::new(Mutex::new(History::default()));
    // Few, so that an object of twenty parts now and then comes to its end.
    add_changes(&stage.source_faults, stage, &history, seed, 80);
    add_changes(&stage.destination_faults, stage, &history, seed ^ 0x77, 80);
    for step in steps {
        match *step {
            Step::Overwrite { key, size } => {
                history.lock().expect("lock").write(&stage.source, KEYS[key], size);
            }
            Step::Enqueue { key } => crew.enqueue(KEYS[key]).await,
            Step::Work { hands, fuse } => crew.work(hands, fuse).await,
            Step::Duplicate => {
                if let Some(delivery) = crew.take(Duration::ZERO).await {
                    let event = batch(&[&delivery.body], delivery.receive_count);
                    drop(stage.worker.handle(event, None).await.expect("an answer"));
                }
            }
        }
    }
    crew.drain().await?;
    stage.source_faults.heal();
    stage.destination_faults.heal();
    // Messages that died too often are dead letters; what they were about is found by a scan.
    for _round in 0..3 {
        for key in KEYS.iter().take(2).filter(|key| stage.source.get(key).is_some()) {
            crew.enqueue(key).await;
        }
        crew.drain().await?;
    }
    history.lock().expect("lock").look(&stage.destination);
    if let Some(mixture) = history.lock().expect("lock").mixture.take() {
        return Err(mixture);
    }
    for key in stage.source.keys() {
        if stage.source.bytes(&key) != stage.destination.bytes(&key) {
            return Err(format!("{key:?} differs"));
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_object_of_many_parts_is_shared_out_and_survives_a_death_in_every_call() {
    for fuse in 0..120 {
        let crew = Crew::new(fuse);
        let bytes = bytes_of(1, 640);
        crew.stage.source.put_object(KEYS[0], bytes.clone());
        crew.enqueue(KEYS[0]).await;
        let fuse = u32::try_from(fuse).expect("small");
        for round in 0..4 {
            crew.work(2, (round == 0 || fuse > 30).then_some(fuse)).await;
        }
        if fuse > 60 {
            let depth = crew.queue.depth().await.expect("depth");
            assert!(!depth.is_empty(), "a job for each part that is missing: {depth:?}");
        }
        crew.drain().await.expect("an end");
        assert_eq!(crew.stage.destination.bytes(KEYS[0]).as_deref(), Some(bytes.as_slice()), "{fuse}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Workers that share an object's parts, die in any call, meet other generations and get messages twice, never make a mixture and
    /// end with the source's bytes.
    #[test]
    fn parts_of_the_dead_and_of_other_generations_never_meet(steps in steps(), seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("runtime");
        if let Err(problem) = runtime.block_on(run_shared(&steps, seed)) {
            prop_assert!(false, "{problem}");
        }
    }
}
