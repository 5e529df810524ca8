//! What the functions cost on Lambda, as far as one machine can tell: package, cold start, objects per GB-second.
//!
//! Owns: the figures of `infra/aws/README.md`. The release binaries run under a Runtime API on loopback, beside synthetic stores that
//! take a given time over each request, as stores at a distance do. Not measured: the platform's own share of a cold start (fetching and
//! unpacking), and a CPU that is a share of one. Times are printed and never judged, since machines differ.

use std::io::Write as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ferry_testkit::runtime_api::RuntimeApi;
use ferry_testkit::sqs::{SqsConfig, SqsServer};
use ferry_testkit::synthetic::{GeneratedBucket, GeneratedEtag, SinkEtag, SyntheticConfig, SyntheticServer};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde_json::{Value, json};

const FUNCTIONS: [(&str, &str); 3] = [
    ("finder", env!("CARGO_BIN_EXE_finder-under-test")),
    ("worker", env!("CARGO_BIN_EXE_worker-under-test")),
    ("events", env!("CARGO_BIN_EXE_events-under-test")),
];
/// Each is started so often.
const STARTS: usize = 10;
/// Messages of one invocation, as the template's event source has it.
const BATCH: u64 = 50;
/// Objects that are copied.
const OBJECTS: u64 = 5_000;
const OBJECT_BYTES: u64 = 4096;
/// The worker's memory in the template, in GB.
const MEMORY_GB: f64 = 1.0;
/// Longest any invocation may take.
const DEADLINE: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime.context("no runtime").and_then(|runtime| runtime.block_on(run()));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("functions: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    say(&format!(
        "{:<10} {:>12} {:>12} {:>18} {:>12}",
        "function", "binary MiB", "zipped MiB", "first answer ms", "RSS MiB"
    ));
    for (name, program) in FUNCTIONS {
        let (binary, zipped) = package(program)?;
        let (start, rss_kib) = cold_start(name, program).await.with_context(|| name.to_owned())?;
        say(&format!(
            "{name:<10} {:>12.1} {:>12.1} {:>18.1} {:>12.1}",
            mib(binary),
            mib(zipped),
            start.as_secs_f64() * 1e3,
            mib(rss_kib * 1024)
        ));
    }
    say(&format!(
        "\n{:<34} {:>10} {:>12} {:>20} {:>10}",
        "worker, batches of 50 x 4 KiB", "objects/s", "ms a batch", "objects a GB-second", "RSS MiB"
    ));
    for latency_ms in [0, 20, 100] {
        let row = copying(Duration::from_millis(latency_ms)).await?;
        say(&format!("{:<34} {row}", format!("every request takes {latency_ms} ms")));
    }
    Ok(())
}

/// The size of a binary without its symbols, and of what Lambda is sent.
fn package(program: &str) -> Result<(u64, u64)> {
    let stripped = tempfile::NamedTempFile::new()?;
    let status = Command::new("strip").arg("-o").arg(stripped.path()).arg(program).status();
    let path = match status {
        Ok(status) if status.success() => stripped.path().to_owned(),
        // Without binutils the figure is that of the binary as it is.
        _ => program.into(),
    };
    let bytes = std::fs::read(path)?;
    let mut zipped = DeflateEncoder::new(Vec::new(), Compression::best());
    zipped.write_all(&bytes)?;
    Ok((bytes.len() as u64, zipped.finish()?.len() as u64))
}

/// The median time from the process's start to its first answer, and the memory it then has.
async fn cold_start(name: &str, program: &str) -> Result<(Duration, u64)> {
    let world = World::start(Duration::ZERO, 1).await?;
    let mut starts = Vec::new();
    let mut rss_kib = 0;
    for _ in 0..STARTS {
        let api = RuntimeApi::start().await?;
        let began = Instant::now();
        let process = Running(world.command(program, &api).spawn()?);
        let event = match name {
            "finder" => json!({ "task": "t" }),
            "worker" => json!({ "Records": [] }),
            _ => json!({ "key": "object", "size": 1 }),
        };
        api.invoke(&event, DEADLINE).await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        starts.push(began.elapsed());
        rss_kib = process.rss_kib()?;
    }
    starts.sort();
    Ok((starts[STARTS / 2], rss_kib))
}

/// One sandbox that is given one batch after the other.
async fn copying(latency: Duration) -> Result<String> {
    let world = World::start(latency, OBJECTS).await?;
    let api = RuntimeApi::start().await?;
    let process = Running(world.command(FUNCTIONS[1].1, &api).spawn()?);
    let keys = GeneratedBucket::new(OBJECTS, OBJECT_BYTES);
    // The first invocation connects; it is the cold start's.
    api.invoke(&batch(&keys, 0..BATCH), DEADLINE).await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let began = Instant::now();
    let mut from = BATCH;
    while from < OBJECTS {
        let answer = api
            .invoke(&batch(&keys, from..OBJECTS.min(from + BATCH)), DEADLINE)
            .await
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        ensure!(answer["batchItemFailures"].as_array().is_none_or(Vec::is_empty), "{answer}");
        from += BATCH;
    }
    let elapsed = began.elapsed().as_secs_f64();
    let copied = world.destination.sink("bucket").context("the sink")?.len();
    ensure!(copied as u64 == OBJECTS, "{copied} objects of {OBJECTS} arrived");
    #[expect(clippy::cast_precision_loss, reason = "counts to print")]
    let (objects, batches) = ((OBJECTS - BATCH) as f64, ((OBJECTS - BATCH) / BATCH) as f64);
    Ok(format!(
        "{:>10.0} {:>12.1} {:>20.0} {:>10.1}",
        objects / elapsed,
        elapsed / batches * 1e3,
        objects / (elapsed * MEMORY_GB),
        mib(process.rss_kib()? * 1024)
    ))
}

fn batch(keys: &GeneratedBucket, numbers: std::ops::Range<u64>) -> Value {
    let records: Vec<Value> = numbers
        .map(|number| {
            let body = json!({ "key": keys.key(number), "size": OBJECT_BYTES }).to_string();
            json!({ "messageId": format!("m{number}"), "receiptHandle": format!("r{number}"), "body": body,
                "attributes": { "ApproximateReceiveCount": "1" } })
        })
        .collect();
    json!({ "Records": records })
}

/// Two stores and the queues.
struct World {
    source: SyntheticServer,
    destination: SyntheticServer,
    sqs: SqsServer,
}

impl World {
    async fn start(latency: Duration, objects: u64) -> Result<Self> {
        let generated =
            GeneratedBucket { etag: GeneratedEtag::Md5, ..GeneratedBucket::new(objects, OBJECT_BYTES) };
        let config = SyntheticConfig::default().with_latency(latency);
        let source = SyntheticServer::start(config.generated("bucket", generated)).await?;
        let config = SyntheticConfig::default().with_latency(latency);
        let destination = SyntheticServer::start(config.sink("bucket", SinkEtag::Md5)).await?;
        let sqs = SqsServer::start(SqsConfig::default()).await?;
        for queue in ["jobs", "scans", "dead"] {
            sqs.queue(queue);
        }
        Ok(Self { source, destination, sqs })
    }

    fn command(&self, program: &str, api: &RuntimeApi) -> Command {
        let end = |store: &str| json!({ "store": store, "bucket": "bucket" });
        let task = json!({ "name": "t", "source": end("source"), "destination": end("destination") });
        let store =
            |server: &SyntheticServer| json!({ "endpoint": server.endpoint(), "credentials": "env:BENCH" });
        let stores = json!({ "source": store(&self.source), "destination": store(&self.destination) });
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(api.environment())
            .env("FERRY_TASK", task.to_string())
            .env("FERRY_STORES", stores.to_string())
            .env("FERRY_JOB_QUEUE_URL", self.sqs.queue_url("jobs"))
            .env("FERRY_SCAN_QUEUE_URL", self.sqs.queue_url("scans"))
            .env("FERRY_DEAD_LETTER_QUEUE_URL", self.sqs.queue_url("dead"))
            .env("FERRY_EVENT_HOST", "lambda")
            .env("BENCH_ACCESS_KEY_ID", "bench")
            .env("BENCH_SECRET_ACCESS_KEY", "bench-secret")
            .env("AWS_ACCESS_KEY_ID", "bench")
            .env("AWS_SECRET_ACCESS_KEY", "bench-secret")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

/// A function's process; it ends with this.
struct Running(Child);

impl Running {
    fn rss_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[expect(clippy::cast_precision_loss, reason = "mebibytes to print")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[expect(clippy::print_stdout, reason = "a bench's result")]
fn say(line: &str) {
    println!("{line}");
}
