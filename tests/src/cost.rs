//! What a process cost: CPU, memory and time.
//!
//! Owns: following a child to its end. Linux only: it reads `/proc`. CPU time is comparable between runs on a busy machine, wall
//! time is not.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How often a running process is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// A tick of the kernel's CPU accounting, 1/100 s on every Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// What one run of a program cost, and what came out.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// The exit code; -1 for a signal.
    pub code: i32,
    /// User and system time of the process and of the children it waited for.
    pub cpu: Duration,
    /// From start to end.
    pub wall: Duration,
    /// Most memory resident at once, in KiB.
    pub peak_kib: u64,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it said on the side.
    pub stderr: Vec<u8>,
}

impl Cost {
    /// Runs a program to its end, or kills it when it takes longer than `limit`.
    ///
    /// # Errors
    ///
    /// When it cannot be started, is killed, or `/proc` cannot be read.
    pub fn of(mut command: Command, limit: Duration) -> Result<Self> {
        let began = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", command.get_program().display()))?;
        let process = std::path::PathBuf::from(format!("/proc/{}", child.id()));
        // Read as they come: a program that fills a pipe nobody empties would wait for ever.
        let stdout = reader(child.stdout.take());
        let stderr = reader(child.stderr.take());
        let mut peak_kib = 0;
        let cpu = loop {
            let status = std::fs::read_to_string(process.join("status"))?;
            if let Some(peak) = field(&status, "VmHWM:") {
                peak_kib = peak;
            }
            let stat = std::fs::read_to_string(process.join("stat"))?;
            // After the name in parentheses: state, ten fields, then user and system time of the process and of its children.
            let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
            // It has ended and nobody has collected it yet: the figures are final.
            if fields.first() == Some(&"Z") {
                let ticks =
                    fields[11..15].iter().map(|ticks| ticks.parse::<u32>()).sum::<Result<u32, _>>()?;
                break TICK * ticks;
            }
            if began.elapsed() > limit {
                child.kill()?;
                child.wait()?;
                bail!("it did not end within {} seconds", limit.as_secs());
            }
            std::thread::sleep(LOOK);
        };
        let wall = began.elapsed();
        let code = child.wait()?.code().unwrap_or(-1);
        let text = |reader: std::thread::JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
        Ok(Self { code, cpu, wall, peak_kib, stdout: text(stdout), stderr: text(stderr) })
    }

    /// This and what follows it: times add up, memory does not.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self {
            code: if self.code == 0 { next.code } else { self.code },
            cpu: self.cpu + next.cpu,
            wall: self.wall + next.wall,
            peak_kib: self.peak_kib.max(next.peak_kib),
            stdout: [self.stdout, next.stdout].concat(),
            stderr: [self.stderr, next.stderr].concat(),
        }
    }
}

fn reader(pipe: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe
            && let Err(error) = pipe.read_to_end(&mut bytes)
        {
            tracing::debug!(%error, "a pipe broke");
        }
        bytes
    })
}

fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}
