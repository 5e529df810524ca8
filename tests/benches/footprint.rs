//! What `ferry` costs: CPU, memory and requests of the real binary against synthetic endpoints.
//!
//! Owns: the cases behind the figures in `docs/performance.md`, and the promise that memory stays flat: the bench fails when a
//! peak exceeds its limit. `cargo bench … --bench footprint -- 'GiB'` runs the cases whose names hold a word; `FERRY_CLIENT` and `LD_PRELOAD`
//! reach the program, so that clients and allocators can be compared. Times are printed and never judged, since machines differ.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ferry_testkit::synthetic::{GeneratedBucket, GeneratedEtag, SinkEtag, SyntheticConfig, SyntheticServer};
use ferry_tests::Cost;
use ferry_tests::tls::{Identity, TlsFront, Validity};
use serde_json::Value;

const GIB: u64 = 1 << 30;
/// The limit of the design: flat, whatever the number and size of objects.
const PEAK_MIB_MAX: u64 = 64;
/// Longest any case may take.
const TIME_LIMIT: Duration = Duration::from_mins(10);

/// One case.
struct Case {
    name: &'static str,
    objects: u64,
    size_bytes: u64,
    etag: GeneratedEtag,
    destination: Destination,
    per: &'static str,
    units: f64,
    /// Flags that say more of the destination.
    flags: &'static [&'static str],
    /// The server on the other side hashes what it takes in, as a real one does, where ETags are to be checked.
    sink_etag: SinkEtag,
    wire: Wire,
}

/// What lies between the program and the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    /// HTTP.
    Plain,
    /// HTTPS: TLS is taken off by this process, whose cost does not count.
    Tls,
}

enum Destination {
    /// The same objects again: nothing to copy.
    Same,
    /// An empty bucket.
    Empty,
}

/// Twenty objects in parts, towards a destination that says nothing of what it took in.
const TWENTY: Case = Case {
    name: "copy 20 x 256 MiB",
    objects: 20,
    size_bytes: GIB / 4,
    etag: GeneratedEtag::Opaque,
    destination: Destination::Empty,
    per: "GiB",
    units: 5.0,
    flags: &[],
    sink_etag: SinkEtag::Opaque,
    wire: Wire::Plain,
};

/// Small objects, whose ETags both sides check.
const SMALL: Case = Case {
    name: "copy 20,000 x 4 KiB",
    objects: 20_000,
    size_bytes: 4096,
    etag: GeneratedEtag::Md5,
    destination: Destination::Empty,
    per: "object",
    units: 20_000.0,
    flags: &[],
    sink_etag: SinkEtag::Md5,
    wire: Wire::Plain,
};

fn main() -> ExitCode {
    if !std::path::Path::new("/proc/self/status").exists() {
        say("footprint: skipped, there is no /proc here");
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("footprint: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "kibibytes to print, far below 2^52")]
fn run() -> Result<()> {
    let cases = [
        Case {
            name: "compare 1,000,000 pairs",
            objects: 1_000_000,
            // Small, since the server computes the MD5 of each for its ETag.
            size_bytes: 64,
            etag: GeneratedEtag::Md5,
            destination: Destination::Same,
            per: "pair",
            units: 1e6,
            flags: &[],
            sink_etag: SinkEtag::Opaque,
            wire: Wire::Plain,
        },
        SMALL,
        Case { name: "copy 20,000 x 4 KiB, TLS", wire: Wire::Tls, ..SMALL },
        Case {
            name: "copy 1 x 4 GiB",
            objects: 1,
            size_bytes: 4 * GIB,
            etag: GeneratedEtag::Opaque,
            destination: Destination::Empty,
            per: "GiB",
            units: 4.0,
            flags: &[],
            sink_etag: SinkEtag::Opaque,
            wire: Wire::Plain,
        },
        Case {
            // The most parts there may be, of the smallest size that Amazon S3 takes.
            name: "copy 1 x 48.8 GiB in 10,000 parts",
            objects: 1,
            size_bytes: 10_000 * (5 << 20),
            units: 50_000.0 / 1024.0,
            flags: &["--part-size", "5MiB"],
            ..TWENTY
        },
        Case { name: "copy 20 x 256 MiB, opaque tags", ..TWENTY },
        Case { name: "copy 20 x 256 MiB, 8 MiB parts", etag: GeneratedEtag::Parts(8 << 20), ..TWENTY },
        Case { name: "copy 20 x 256 MiB, MD5", sink_etag: SinkEtag::Md5, ..TWENTY },
        Case {
            name: "copy 20 x 256 MiB, CRC64NVME",
            // A destination that is told the CRC64NVME of every part, and says what it computed.
            flags: &["--dest-provider", "aws", "--dest-addressing", "path", "--dest-region", "us-east-1"],
            ..TWENTY
        },
        Case { name: "copy 20 x 256 MiB, TLS", wire: Wire::Tls, ..TWENTY },
    ];
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    say(&format!(
        "{:<34} {:>10} {:>16} {:>10} {:>9}  requests",
        "case", "CPU s", "CPU per unit", "peak MiB", "wall s"
    ));
    let mut passed = 0;
    let mut too_large = Vec::new();
    let is_wanted =
        |case: &&Case| wanted.is_empty() || wanted.iter().any(|word| case.name.contains(word.as_str()));
    for case in cases.iter().filter(is_wanted) {
        let (cost, report) = runtime.block_on(measure(case)).with_context(|| case.name.to_owned())?;
        let cpu_secs = cost.cpu.as_secs_f64();
        say(&format!(
            "{:<34} {cpu_secs:>10.2} {:>16} {:>10.1} {:>9.1}  {}",
            case.name,
            format!("{} /{}", short(cpu_secs / case.units), case.per),
            cost.peak_kib as f64 / 1024.0,
            cost.wall.as_secs_f64(),
            requests(&report),
        ));
        if cost.peak_kib / 1024 >= PEAK_MIB_MAX {
            too_large.push(case.name);
        } else {
            passed += 1;
        }
    }
    say(&format!("{passed} passed, {} failed", too_large.len()));
    ensure!(too_large.is_empty(), "over {PEAK_MIB_MAX} MiB at its peak: {}", too_large.join(", "));
    Ok(())
}

async fn measure(case: &Case) -> Result<(Cost, Value)> {
    let generated =
        || GeneratedBucket { etag: case.etag, ..GeneratedBucket::new(case.objects, case.size_bytes) };
    let source = SyntheticServer::start(SyntheticConfig::default().generated("bucket", generated())).await?;
    let destination = SyntheticServer::start(match case.destination {
        Destination::Same => SyntheticConfig::default().generated("bucket", generated()),
        Destination::Empty => SyntheticConfig::default().sink("bucket", case.sink_etag),
    })
    .await?;
    let fronts = match case.wire {
        Wire::Plain => None,
        Wire::Tls => {
            let identity = Identity::new(Validity::Valid);
            let home = tempfile::tempdir()?;
            let root = identity.write_root(home.path());
            let source = TlsFront::start(&identity, &source.endpoint()).await;
            let destination = TlsFront::start(&identity, &destination.endpoint()).await;
            Some((home, root, source, destination))
        }
    };
    let (source_url, destination_url) = match &fronts {
        None => (source.endpoint(), destination.endpoint()),
        Some((_, _, source, destination)) => (source.url(), destination.url()),
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferry-under-test"));
    command
        .args(["sync", "source://bucket", "destination://bucket", "--json"])
        .args(["--source-endpoint", &source_url, "--source-credentials", "env:BENCH"])
        .args(["--dest-endpoint", &destination_url, "--dest-credentials", "env:BENCH"])
        .args(case.flags)
        .env_clear()
        .envs(
            ["FERRY_CLIENT", "LD_PRELOAD"]
                .into_iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .envs(fronts.iter().map(|(_, root, ..)| ("SSL_CERT_FILE", root)))
        .env("BENCH_ACCESS_KEY_ID", "bench")
        .env("BENCH_SECRET_ACCESS_KEY", "bench-secret")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    let cost = tokio::task::spawn_blocking(move || Cost::of(command, TIME_LIMIT)).await??;
    let report: Value = serde_json::from_slice(&cost.stdout).context("the report is no JSON")?;
    ensure!(report["exit_code"] == 0, "the run failed: {report}");
    let copied = report["copied"].as_u64();
    match case.destination {
        Destination::Same => {
            ensure!(copied == Some(0) && report["up_to_date"] == case.objects, "{report}");
        }
        Destination::Empty => {
            ensure!(copied == Some(case.objects), "{report}");
            let sink = destination.sink("bucket").context("the sink")?;
            ensure!(sink.size_bytes() == case.objects * case.size_bytes, "the sink holds other bytes");
        }
    }
    Ok((cost, report))
}

fn requests(report: &Value) -> String {
    let side = |name: &str| report["requests"][name]["requests"].to_string();
    format!("source {} destination {}", side("source"), side("destination"))
}

fn short(secs: f64) -> String {
    if secs >= 0.1 {
        format!("{secs:.2} s")
    } else if secs >= 1e-4 {
        format!("{:.3} ms", secs * 1e3)
    } else {
        format!("{:.2} µs", secs * 1e6)
    }
}

#[expect(clippy::print_stdout, reason = "a bench's result")]
fn say(line: &str) {
    println!("{line}");
}
