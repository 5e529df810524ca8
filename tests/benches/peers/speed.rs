//! What each program costs for the same work.
//!
//! Owns: the cases, their stores and the check that the work was done. Every way of every program gets endpoints of its own, so
//! that nothing is left over from the one before. A program's CPU is its own; the endpoints live in this process.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use ferry_testkit::synthetic::{
    GeneratedBucket, GeneratedEtag, KeyLayout, SinkEtag, SyntheticConfig, SyntheticServer,
};
use ferry_tests::Cost;

use crate::peer::{FROM, HERE, Job, Lands, Peer, Place, TO, Way};

/// Longest a single run may take.
const TIME_LIMIT: Duration = Duration::from_mins(15);

/// The same work for everybody.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// What it is called.
    pub title: String,
    /// What is to be done.
    pub job: Job,
    /// Objects at the source.
    pub objects: u64,
    /// The size of each.
    pub size_bytes: u64,
    /// How their keys look.
    pub layout: KeyLayout,
    /// How long a page of a listing takes.
    pub page_delay: Duration,
    /// How long any request takes.
    pub latency: Duration,
    /// What a unit of work is.
    pub unit: Unit,
    /// Who does it.
    pub whose: Whose,
}

/// Who does a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Every program that is there.
    Everybodys,
    /// `ferry` alone: the others would take too long.
    Ferrys,
}

/// What CPU time is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// An object, or a pair of them.
    Object(&'static str),
    /// 2³⁰ bytes.
    Gib,
}

/// How it went.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The program.
    pub peer: &'static str,
    /// What it cost.
    pub cost: Cost,
    /// Requests to both stores, by operation.
    pub requests: BTreeMap<&'static str, u64>,
}

impl Case {
    /// Units of work.
    #[expect(clippy::cast_precision_loss, reason = "a divisor for a person")]
    pub(crate) fn units(&self) -> f64 {
        match self.unit {
            Unit::Object(_) => self.objects as f64,
            Unit::Gib => (self.objects * self.size_bytes) as f64 / (1_u64 << 30) as f64,
        }
    }

    fn generated(&self) -> GeneratedBucket {
        GeneratedBucket {
            layout: self.layout.clone(),
            page_delay: self.page_delay,
            // Large objects look as those of most programs do, so that everybody can check what arrived.
            etag: if self.size_bytes <= 1 << 20 { GeneratedEtag::Md5 } else { GeneratedEtag::Parts(8 << 20) },
            ..GeneratedBucket::new(self.objects, self.size_bytes)
        }
    }

    /// Lets one program do it in each of its ways; those that fail say why.
    pub(crate) async fn run(&self, peer: &Peer) -> Vec<(&'static str, Result<Row>)> {
        let nowhere =
            Place { source: String::new(), destination: String::new(), scratch: std::path::PathBuf::new() };
        let mut rows = Vec::new();
        for (index, way) in peer.ways(self.job, &nowhere).iter().enumerate() {
            rows.push((way.label, self.run_way(peer, index).await));
        }
        rows
    }

    async fn run_way(&self, peer: &Peer, index: usize) -> Result<Row> {
        let with = |config: SyntheticConfig, name: &str| match self.job {
            Job::Compare => config.generated(name, self.generated()),
            _ => config.sink(name, SinkEtag::Md5),
        };
        let config = || SyntheticConfig::default().with_latency(self.latency);
        let source = SyntheticServer::start(with(config().generated(FROM, self.generated()), HERE)).await?;
        let destination = SyntheticServer::start(with(config(), TO)).await?;
        let scratch = tempfile::tempdir()?;
        let place = Place {
            source: source.endpoint(),
            destination: destination.endpoint(),
            scratch: scratch.path().to_owned(),
        };
        let way = peer.ways(self.job, &place).swap_remove(index);
        let cost = run_steps(peer, &way, &place).await?;
        let said = String::from_utf8_lossy(&cost.stderr);
        ensure!(cost.code == 0, "exit code {}: {}", cost.code, said.lines().last().unwrap_or("nothing said"));
        let sink = match way.lands {
            Lands::AtDestination => destination.sink(TO),
            Lands::AtSource => source.sink(HERE),
        };
        if let Some(sink) = sink {
            ensure!(
                (sink.len() as u64, sink.size_bytes()) == (self.objects, self.objects * self.size_bytes),
                "{} of {} objects arrived",
                sink.len(),
                self.objects
            );
        }
        let mut requests = source.requests();
        for (operation, count) in destination.requests() {
            *requests.entry(operation).or_default() += count;
        }
        let copied = ["PutObject", "CopyObject", "CreateMultipartUpload"];
        ensure!(
            self.job != Job::Compare || !copied.iter().any(|operation| requests.contains_key(operation)),
            "it copied what was the same: {requests:?}"
        );
        Ok(Row { peer: peer.name(), cost, requests })
    }
}

/// Runs a way's steps one after the other.
pub(crate) async fn run_steps(peer: &Peer, way: &Way, place: &Place) -> Result<Cost> {
    let mut total: Option<Cost> = None;
    for step in &way.steps {
        let command = peer.command(step, place)?;
        let cost = tokio::task::spawn_blocking(move || Cost::of(command, TIME_LIMIT)).await??;
        total = Some(match total {
            None => cost,
            Some(so_far) => so_far.then(cost),
        });
    }
    Ok(total.unwrap_or_default())
}
