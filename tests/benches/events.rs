//! How long an event takes: from the moment it is sent to the events function until its object is at the destination, on loopback.
//!
//! Owns: the cases behind the figures in `docs/events.md`. The real binary of the events function on Function Compute's protocol, an SQS
//! endpoint, the worker with the real clients, two stores. `cargo bench … --bench events -- --quick` sends few. Times are printed and never
//! judged, since machines differ; that every object arrives is judged.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use clap::Parser;
use ferry_cloud::sqs::{SqsQueue, SqsQueueConfig};
use ferry_cloud::{Credentials, StoreConfig, connect_with};
use ferry_testkit::bucket::Bucket;
use ferry_testkit::sqs::{SqsConfig, SqsServer};
use ferry_tests::web::{ask, slow_way};
use ferry_tests::{Pair, Program, Side};
use ferry_transfer::copy::{Copier, CopySettings};
use ferry_transfer::deletion::NoJournal;
use ferry_transfer::pace::{EndpointPace, Pace};
use ferry_transfer::queue::Delivery;
use ferry_transfer::receipt::NoReceipts;
use ferry_transfer::store::metered::Meter;
use ferry_transfer::task::{Location, Task};
use ferry_transfer::{Clock, Queue as _, Route, SharedStore, SingleRoute, SystemClock};
use ferry_worker::Worker;
use futures::StreamExt as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;
use tokio::task::JoinSet;
use tokio::time::Instant;

const EVENTS: &str = env!("CARGO_BIN_EXE_events-under-test");
/// Messages at work at one time.
const WORKERS: usize = 16;
/// Bytes of each object.
const OBJECT_BYTES: usize = 4096;
/// Longest that anything may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_mins(2);

/// Measures events.
#[derive(Debug, Parser)]
struct Args {
    /// Few events, to see that everything still runs
    #[arg(long)]
    quick: bool,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(run(if args.quick { 50 } else { 1_000 })) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    say(&format!("events: {error:#}"));
    ExitCode::FAILURE
}

#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
fn say(line: &str) {
    println!("{line}");
}

async fn run(events: usize) -> Result<()> {
    say("event in → object visible at the destination, loopback, 4 KiB objects");
    say(&format!(
        "{:<44} {:>7} {:>9} {:>9} {:>12} {:>11}",
        "case", "events", "p50", "p99", "accepted/s", "visible/s"
    ));
    let stage = Stage::start(Duration::ZERO).await?;
    stage.case("one every 20 ms", events, 1, Duration::from_millis(20)).await?;
    stage.case("a burst, 200 senders", events, 200, Duration::ZERO).await?;
    let slow = Stage::start(Duration::from_millis(200)).await?;
    slow.case("a burst, 400 senders, SQS answers in 200 ms", events, 400, Duration::ZERO).await
}

/// Everything that an event passes.
struct Stage {
    pair: Pair,
    listener: SocketAddr,
    _events: Child,
    _workers: JoinSet<()>,
    _sqs: SqsServer,
    _home: TempDir,
}

impl Stage {
    /// With an SQS that the events function reaches by a way that takes so long.
    async fn start(delay: Duration) -> Result<Self> {
        let pair = Pair::start().await;
        let sqs = SqsServer::start(SqsConfig::default()).await?;
        sqs.queue("jobs");
        let home = TempDir::new()?;
        let server: SocketAddr = sqs.endpoint().trim_start_matches("http://").parse()?;
        let way = if delay.is_zero() { server } else { slow_way(server, delay).await };
        let queue_url = sqs.queue_url("jobs");
        let listener = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let program = Program::new(EVENTS, home.path())
            .env("ACCESS_KEY", "AKEVENTS")
            .env("SECRET_KEY", "sending-only")
            .env("REGION_NAME", "us-east-1")
            .env("QUEUE_URL", &queue_url.replace(&server.to_string(), &way.to_string()))
            .env("FC_SERVER_PORT", &listener.port().to_string());
        let log = std::fs::File::create(home.path().join("events.log"))?;
        let events = program.start(log);
        let begun = Instant::now();
        while TcpStream::connect(listener).await.is_err() {
            ensure!(begun.elapsed() < Duration::from_secs(30), "nobody listens on {listener}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut workers = JoinSet::new();
        let worker = Arc::new(worker(&pair).await?);
        let keys = Credentials {
            access_key_id: "AKWORKER".into(),
            secret_access_key: "any".into(),
            session_token: None,
            expires: None,
        };
        let config = SqsQueueConfig { region: Some("us-east-1".into()), ..SqsQueueConfig::new(queue_url) };
        let queue = Arc::new(SqsQueue::connect(config.signed_with(keys)).await?);
        for _ in 0..WORKERS {
            workers.spawn(work(Arc::clone(&queue), Arc::clone(&worker)));
        }
        Ok(Self { pair, listener, _events: events, _workers: workers, _sqs: sqs, _home: home })
    }

    /// Sends events, so many at a time and so far apart, and waits for each of their objects.
    async fn case(&self, name: &str, events: usize, senders: usize, apart: Duration) -> Result<()> {
        let prefix = name.replace(' ', "-");
        let keys: Vec<String> = (0..events).map(|number| format!("{prefix}/{number:05}")).collect();
        for key in &keys {
            self.pair.from().put_object(key, vec![7; OBJECT_BYTES]);
        }
        let begun = Instant::now();
        let sent = keys.iter().enumerate().map(|(number, key)| {
            let (listener, destination) = (self.listener, self.pair.to());
            async move {
                if !apart.is_zero() {
                    tokio::time::sleep_until(begun + apart * u32::try_from(number).unwrap_or(u32::MAX)).await;
                }
                let sent = Instant::now();
                accepted(listener, key).await?;
                let accepted_at = Instant::now();
                Ok::<_, anyhow::Error>((sent, accepted_at, key, destination))
            }
        });
        // Who waits for arrivals keeps no sender back.
        let mut arrivals = JoinSet::new();
        let mut sent = futures::stream::iter(sent).buffer_unordered(senders.max(if apart.is_zero() {
            1
        } else {
            events
        }));
        let mut last_accepted = begun;
        while let Some(one) = sent.next().await {
            let (sent_at, accepted_at, key, destination) = one?;
            last_accepted = last_accepted.max(accepted_at);
            arrivals.spawn(arrival(destination, key.clone(), sent_at));
        }
        let mut lags = Vec::with_capacity(events);
        let mut last = begun;
        while let Some(arrived) = arrivals.join_next().await {
            let (lag, at) = arrived?.context("an object never arrived")?;
            lags.push(lag);
            last = last.max(at);
        }
        lags.sort_unstable();
        let quantile = |percent: usize| {
            let rank = (lags.len() * percent).div_ceil(100).clamp(1, lags.len());
            lags.get(rank - 1).copied().unwrap_or_default()
        };
        let rate = |until: Instant| {
            f64::from(u32::try_from(events).unwrap_or(u32::MAX)) / (until - begun).as_secs_f64()
        };
        let ms = |lag: Duration| format!("{:.1} ms", lag.as_secs_f64() * 1_000.0);
        let rates = if apart.is_zero() {
            [rate(last_accepted), rate(last)].map(|rate| format!("{rate:.0}"))
        } else {
            [String::from("–"), String::from("–")]
        };
        say(&format!(
            "{name:<44} {events:>7} {:>9} {:>9} {:>12} {:>11}",
            ms(quantile(50)),
            ms(quantile(99)),
            rates[0],
            rates[1]
        ));
        Ok(())
    }
}

/// Sends the event as Function Compute does, again until it is accepted.
async fn accepted(listener: SocketAddr, key: &str) -> Result<()> {
    let body = json!({ "events": [{ "eventName": "ObjectCreated:PutObject", "eventSource": "acs:oss",
        "oss": { "bucket": { "name": Side::Source.bucket() }, "object": { "key": key, "size": OBJECT_BYTES } } }] });
    let body = body.to_string();
    for _attempt in 0..50 {
        if ask("POST", &format!("http://{listener}/invoke"), body.as_bytes()).await.status == 200 {
            return Ok(());
        }
    }
    anyhow::bail!("the event of {key} is never accepted")
}

/// Looks every millisecond.
async fn arrival(destination: Arc<Bucket>, key: String, sent: Instant) -> Option<(Duration, Instant)> {
    while sent.elapsed() < ARRIVES_WITHIN {
        if destination.get(&key).is_some() {
            return Some((sent.elapsed(), Instant::now()));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    None
}

async fn store(pair: &Pair, side: Side) -> Result<SharedStore> {
    let server = pair.server(side);
    let config = StoreConfig { endpoint: Some(server.endpoint()), ..StoreConfig::default() };
    let keys = Credentials {
        access_key_id: server.access_key_id().to_owned(),
        secret_access_key: server.secret_access_key().to_owned(),
        session_token: None,
        expires: None,
    };
    let bucket = connect_with(side.store(), &config, keys).await?.bucket(side.bucket());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let pace = Arc::new(EndpointPace::new(128, &Pace::default(), None, &clock));
    Ok(bucket.layered(&Arc::new(Meter::default()), &pace))
}

async fn worker(pair: &Pair) -> Result<Worker> {
    let location = |side: Side| Location {
        store: side.store().to_owned(),
        bucket: side.bucket().to_owned(),
        prefix: String::new(),
    };
    let task = Task::new("bench", location(Side::Source), location(Side::Destination));
    let route = Route::new(task, store(pair, Side::Source).await?, store(pair, Side::Destination).await?);
    Ok(Worker {
        routes: Arc::new(SingleRoute(Arc::new(route))),
        copier: Arc::new(Copier::new(CopySettings::default(), Arc::new(SystemClock))),
        receipts: Arc::new(NoReceipts),
        journal: Arc::new(NoJournal),
        dead_letters: None,
        deliveries: None,
        breaker: None,
        parking: None,
        max_receive_count: 5,
        clock: Arc::new(SystemClock),
    })
}

/// Takes ten messages at a time, as Lambda hands them to a worker.
async fn work(queue: Arc<SqsQueue>, worker: Arc<Worker>) {
    loop {
        let received = queue.receive(10, Duration::from_secs(20), Duration::from_mins(1)).await;
        let Ok(deliveries) = received else { return };
        if deliveries.is_empty() {
            continue;
        }
        let handles = deliveries.iter().map(|delivery| delivery.receipt_handle.clone()).collect();
        let answer = worker.handle(batch(deliveries), None).await;
        let is_done = answer.is_ok_and(|answer| answer.batch_item_failures.is_empty());
        if !is_done || queue.delete_batch(handles).await.is_err() {
            return;
        }
    }
}

fn batch(deliveries: Vec<Delivery>) -> SqsEvent {
    let mut event = SqsEvent::default();
    for delivery in deliveries {
        let mut record = SqsMessage::default();
        record.message_id = Some(delivery.message_id);
        record.body = Some(delivery.body);
        event.records.push(record);
    }
    event
}
