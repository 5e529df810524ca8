//! What a device export costs: CPU, wall time and memory of the real binary, from a synthetic store onto an image of this machine's disk.
//!
//! Owns: the cases behind the figures of whole runs in `docs/device.md`, and the promise that memory stays flat whatever the data set: the bench fails when a
//! peak exceeds its limit. `cargo bench … --bench export -- 'million'` runs the cases whose names hold a word.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ferry_testkit::synthetic::{GeneratedBucket, GeneratedEtag, SinkEtag, SyntheticConfig, SyntheticServer};
use ferry_tests::Cost;
use serde_json::Value;

/// The limit of the design, whatever the data set.
const PEAK_MIB_MAX: u64 = 128;
/// Longest any case may take.
const TIME_LIMIT: Duration = Duration::from_mins(15);

/// One case.
struct Case {
    name: &'static str,
    objects: u64,
    size_bytes: u64,
    /// Whether the source's tags are the MD5 of the bytes.
    etag: GeneratedEtag,
    /// Lines of the manifest.
    manifest: &'static str,
    /// `dir:` or `plain:`.
    target: &'static str,
    capacity: Option<&'static str>,
    /// `Complete`, or `SuccessWithErrors` where the medium is too small on purpose.
    progress: &'static str,
}

const ENCRYPTED: &str = "trueCryptPassword: correct horse battery\n";

fn main() -> ExitCode {
    if !Path::new("/proc/self/status").exists() {
        say("export: skipped, there is no /proc here");
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("export: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "kibibytes to print, far below 2^52")]
fn run() -> Result<()> {
    let forty_thousand = Case {
        name: "40,000 x 1,000 B, VeraCrypt",
        objects: 40_000,
        size_bytes: 1000,
        etag: GeneratedEtag::Md5,
        manifest: ENCRYPTED,
        target: "dir:",
        capacity: None,
        progress: "Complete",
    };
    let cases = [
        Case {
            name: "4 x 512 MiB, VeraCrypt",
            objects: 4,
            size_bytes: 512 << 20,
            etag: GeneratedEtag::Opaque,
            ..forty_thousand
        },
        Case { name: "a million x 64 B, VeraCrypt", objects: 1_000_000, size_bytes: 64, ..forty_thousand },
        Case {
            name: "a million x 64 B, most without room",
            objects: 1_000_000,
            size_bytes: 64,
            capacity: Some("200MB"),
            progress: "SuccessWithErrors",
            ..forty_thousand
        },
        Case {
            // Each is synced by itself, which is what this takes its time for.
            name: "40,000 x 1,000 B, plain files",
            manifest: "x-container: none\nx-layout: plain\n",
            target: "plain:",
            ..forty_thousand
        },
        forty_thousand,
    ];
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    say(&format!("{:<38} {:>8} {:>8} {:>9}", "case, read back", "CPU s", "wall s", "peak MiB"));
    let mut too_large = Vec::new();
    let is_wanted =
        |case: &&Case| wanted.is_empty() || wanted.iter().any(|word| case.name.contains(word.as_str()));
    for case in cases.iter().filter(is_wanted) {
        let cost = runtime.block_on(measure(case)).with_context(|| case.name.to_owned())?;
        say(&format!(
            "{:<38} {:>8.2} {:>8.1} {:>9.1}",
            case.name,
            cost.cpu.as_secs_f64(),
            cost.wall.as_secs_f64(),
            cost.peak_kib as f64 / 1024.0,
        ));
        if cost.peak_kib / 1024 >= PEAK_MIB_MAX {
            too_large.push(case.name);
        }
    }
    ensure!(too_large.is_empty(), "over {PEAK_MIB_MAX} MiB at its peak: {}", too_large.join(", "));
    Ok(())
}

async fn measure(case: &Case) -> Result<Cost> {
    let generated =
        GeneratedBucket { etag: case.etag, ..GeneratedBucket::new(case.objects, case.size_bytes) };
    let config = SyntheticConfig::default().generated("photos", generated).sink("logs", SinkEtag::Opaque);
    let server = SyntheticServer::start(config).await?;
    let home = tempfile::tempdir()?;
    std::fs::create_dir(home.path().join("device"))?;
    let stores = format!(
        "stores:\n  lab: {{endpoint: \"{}\", addressing: path, credentials: env:BENCH}}\n",
        server.endpoint()
    );
    std::fs::write(home.path().join("ferry.yaml"), stores)?;
    let manifest = format!(
        "manifestVersion: 2.0\ndeviceId: bench\nfileSystem: EXT4\nlogBucket: logs\n{}operations:\n  - exportBucket: photos\n",
        case.manifest
    );
    std::fs::write(home.path().join("manifest.txt"), manifest)?;
    let created = ferry(home.path(), &["create-job", "Export", "manifest.txt", "device"]).output()?;
    ensure!(created.status.success(), "no job: {}", String::from_utf8_lossy(&created.stderr));
    let created: Value = serde_json::from_slice(&created.stdout).context("the job is no JSON")?;
    let id = created["job_id"].as_str().context("the job has no id")?;
    let target = format!("{}device", case.target);
    let mut command = ferry(home.path(), &["run", id, "--target", &target]);
    if let Some(capacity) = case.capacity {
        command.args(["--capacity", capacity]);
    }
    let cost = tokio::task::spawn_blocking(move || Cost::of(command, TIME_LIMIT)).await??;
    let report: Value = serde_json::from_slice(&cost.stdout)
        .with_context(|| format!("no report: {}", String::from_utf8_lossy(&cost.stderr)))?;
    ensure!(report["progress"] == case.progress, "the job ended otherwise: {report}");
    let (written, no_room) = (&report["report"]["written"], &report["report"]["no_room"]);
    let told = written.as_u64().unwrap_or_default() + no_room.as_u64().unwrap_or_default();
    ensure!(told == case.objects, "{written} written, {no_room} without room, of {}", case.objects);
    Ok(cost)
}

fn ferry(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferry-under-test"));
    command
        .arg("export")
        .args(args)
        .args(["--store", "lab", "--state-dir", "state", "--json"])
        .current_dir(home)
        .env_clear()
        .env("BENCH_ACCESS_KEY_ID", "bench")
        .env("BENCH_SECRET_ACCESS_KEY", "bench-secret")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

#[expect(clippy::print_stdout, reason = "a bench's result")]
fn say(line: &str) {
    println!("{line}");
}
