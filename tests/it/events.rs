//! The events function on each of its hosts, before an SQS that is well, slow or failing.

mod aliyun;
mod hosts;
mod reconcile;
mod subscribe;

use std::fs::File;
use std::net::SocketAddr;
use std::time::Duration;

use ferry_testkit::sqs::{SqsConfig, SqsServer};
use ferry_tests::Program;
use ferry_tests::web::{Answer, ask_with, slow_way};
use ferry_transfer::Queue as _;
use ferry_transfer::job::{Job, Message};
use tempfile::{NamedTempFile, TempDir};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;

const EVENTS: &str = env!("CARGO_BIN_EXE_events-under-test");
const SECRET: &str = "hush-hush";

/// A sample of the engine's own.
fn sample(file: &str) -> Vec<u8> {
    let path = format!("{}/../shared/transfer/fixtures/events/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("a sample")
}

/// A queue to send to.
struct Harbour {
    sqs: SqsServer,
    home: TempDir,
}

impl Harbour {
    async fn start() -> Self {
        let sqs = SqsServer::start(SqsConfig::default()).await.expect("SQS");
        sqs.queue("jobs");
        Self { sqs, home: TempDir::new().expect("a directory") }
    }

    /// The binary with the names of the tutorial.
    fn program(&self) -> Program {
        self.program_before(&self.sqs.queue_url("jobs"))
    }

    fn program_before(&self, queue_url: &str) -> Program {
        Program::new(EVENTS, self.home.path())
            .env("ACCESS_KEY", "AKEVENTS")
            .env("SECRET_KEY", "sending-only")
            .env("REGION_NAME", "us-east-1")
            .env("QUEUE_URL", queue_url)
    }

    /// Every job on the queue, in no order.
    async fn jobs(&self) -> Vec<Job> {
        let queue = self.sqs.queue("jobs");
        let mut jobs = Vec::new();
        loop {
            let batch = queue.receive(10, Duration::ZERO, Duration::from_mins(5)).await.expect("received");
            if batch.is_empty() {
                return jobs;
            }
            for delivery in batch {
                match Message::parse(&delivery.body) {
                    Ok(Message::Object(job)) => jobs.push(job),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> =
            self.jobs().await.into_iter().map(|job| job.key.as_str().to_owned()).collect();
        keys.sort();
        keys
    }
}

/// A listening process.
struct Listener {
    address: SocketAddr,
    log: NamedTempFile,
    process: Child,
}

impl Listener {
    /// As Function Compute starts it.
    async fn on_function_compute(program: Program) -> Self {
        let address = free_address().await;
        Self::start(address, program.env("FC_SERVER_PORT", &address.port().to_string())).await
    }

    /// As a process of its own.
    async fn on_http(program: Program) -> Self {
        let address = free_address().await;
        Self::start(address, program.env("FERRY_EVENT_LISTEN", &address.to_string())).await
    }

    async fn start(address: SocketAddr, program: Program) -> Self {
        let log = NamedTempFile::new().expect("a file");
        let file: File = log.reopen().expect("the same file");
        let listener = Self { address, log, process: program.start(file) };
        for _attempt in 0..600 {
            if TcpStream::connect(address).await.is_ok() {
                return listener;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody listens on {address}:\n{}", listener.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("the log")
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        ask_with("POST", &format!("http://{}{path}", self.address), headers, body).await
    }

    /// Most memory it has held so far, in bytes.
    fn peak_bytes(&self) -> u64 {
        let id = self.process.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kibibytes * 1024
    }
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("its address")
}
