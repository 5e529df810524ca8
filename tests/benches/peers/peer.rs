//! The programs that are measured, and how each is told to do a job.
//!
//! Owns: command lines, each with the flags that are best for the job, from every peer's own documentation and from trying. Does
//! not own: the stores, which are handed in. Invariant: no program sees the environment of whoever runs the bench.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// Keys that open every store of the bench.
pub(crate) const ACCESS_KEY_ID: &str = "ferry-access-key";
/// The secret that goes with it.
pub(crate) const SECRET_ACCESS_KEY: &str = "ferry-secret-key";
/// Where objects come from, at the source.
pub(crate) const FROM: &str = "from";
/// Where they go, at the destination.
pub(crate) const TO: &str = "into";
/// Where they go at the source, for a program that knows one endpoint only.
pub(crate) const HERE: &str = "here";

/// A program.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Which.
    pub make: Make,
    /// Where it is.
    pub program: PathBuf,
    /// What it says of itself.
    pub version: String,
}

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    /// This project's.
    Ferry,
    /// rclone.org
    Rclone,
    /// github.com/peak/s5cmd
    S5cmd,
    /// github.com/nidor1998/s3sync
    S3sync,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// Copy many small objects.
    Small,
    /// Copy a few large objects.
    Large,
    /// Find out that nothing is to be copied.
    Compare,
    /// Copy one object, so that its bytes arrive.
    One,
    /// Make the destination hold no more than the source does.
    Mirror,
    /// Copy whatever the keys are called.
    Names,
}

/// One way of doing a job.
#[derive(Debug)]
pub(crate) struct Way {
    /// What is special about it.
    pub label: &'static str,
    /// The arguments of each run of the program, in order.
    pub steps: Vec<Vec<String>>,
    /// Where the result is.
    pub lands: Lands,
}

/// Where the result of a [`Way`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lands {
    /// In [`TO`] at the destination.
    AtDestination,
    /// In [`HERE`] at the source.
    AtSource,
}

/// Two stores, and a directory that is empty before each way.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The source's endpoint.
    pub source: String,
    /// The destination's endpoint.
    pub destination: String,
    /// For configuration files, and for bytes of those who need a disk.
    pub scratch: PathBuf,
}

impl Peer {
    /// Looks at a program, or says nothing of one that is not there.
    pub(crate) fn at(make: Make, program: &Path) -> Result<Self> {
        let word = if make == Make::S5cmd || make == Make::Rclone { "version" } else { "--version" };
        let output = Command::new(program)
            .arg(word)
            .output()
            .with_context(|| format!("{} cannot be run", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text
            .split(|char: char| char.is_whitespace() || char == '-')
            .map(|word| word.trim_start_matches('v'))
            .find(|word| word.starts_with(|char: char| char.is_ascii_digit()))
            .unwrap_or("of an unknown version")
            .to_owned();
        Ok(Self { make, program: program.to_owned(), version })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        match self.make {
            Make::Ferry => "ferry",
            Make::Rclone => "rclone",
            Make::S5cmd => "s5cmd",
            Make::S3sync => "s3sync",
        }
    }

    /// How it does a job: its best flags first.
    pub(crate) fn ways(&self, job: Job, place: &Place) -> Vec<Way> {
        match self.make {
            Make::Ferry => ferry(job, place),
            Make::Rclone => rclone(job),
            Make::S5cmd => s5cmd(job, place),
            Make::S3sync => s3sync(job, place),
        }
    }

    /// One run of it.
    pub(crate) fn command(&self, step: &[String], place: &Place) -> Result<Command> {
        let config = place.scratch.join("rclone.conf");
        if self.make == Make::Rclone {
            std::fs::write(&config, rclone_config(place))?;
        }
        let mut command = Command::new(&self.program);
        command
            .args(step)
            .env_clear()
            .env("HOME", &place.scratch)
            .env("RCLONE_CONFIG", &config)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
            .current_dir(&place.scratch);
        Ok(command)
    }
}

/// One run to the destination.
fn way(label: &'static str, words: &str) -> Way {
    Way { label, steps: vec![split(words)], lands: Lands::AtDestination }
}

fn split(words: &str) -> Vec<String> {
    words.split_whitespace().map(str::to_owned).collect()
}

/// No flag but the ends, whatever the job.
fn ferry(job: Job, place: &Place) -> Vec<Way> {
    let deletes = if job == Job::Mirror { "--delete --max-delete 100%" } else { "" };
    vec![way(
        "defaults",
        &format!(
            "sync s3://{FROM} s3://{TO} --json {deletes} --source-endpoint {} --dest-endpoint {}",
            place.source, place.destination
        ),
    )]
}

fn rclone(job: Job) -> Vec<Way> {
    let ends = format!("src:{FROM} dst:{TO} -q");
    let best_large = "--checksum --fast-list --s3-no-head --s3-disable-checksum --ignore-checksum --s3-upload-cutoff 8M \
                      --multi-thread-cutoff 8M --s3-chunk-size 16M --s3-upload-concurrency 8 --transfers 4";
    match job {
        Job::Small => vec![
            way(
                "best, metadata left out",
                &format!(
                    "copy {ends} --checksum --fast-list --s3-no-head --no-update-modtime --transfers 64 --checkers 64"
                ),
            ),
            way("defaults", &format!("copy {ends}")),
            way("with metadata (-M)", &format!("copy {ends} -M --transfers 64 --checkers 64")),
        ],
        Job::Large => vec![
            way("best, nothing checked", &format!("copy {ends} {best_large}")),
            way("defaults", &format!("copy {ends}")),
        ],
        Job::Compare => vec![way("best", &format!("sync {ends} --size-only --fast-list --checkers 32"))],
        Job::One => vec![way("best", &format!("copy {ends} {best_large}"))],
        // By default it asks for a failing page ten times, in three rounds, and waits longer each time: a quarter of an hour.
        Job::Mirror => {
            vec![way("best", &format!("sync {ends} --size-only --fast-list --low-level-retries 3"))]
        }
        Job::Names => vec![way("best", &format!("copy {ends} --checksum --fast-list"))],
    }
}

fn rclone_config(place: &Place) -> String {
    let store = |name: &str, endpoint: &str| {
        format!(
            "[{name}]\ntype = s3\nprovider = Other\naccess_key_id = {ACCESS_KEY_ID}\nsecret_access_key = {SECRET_ACCESS_KEY}\n\
             region = us-east-1\nendpoint = {endpoint}\nforce_path_style = true\nlist_version = 2\nlist_url_encode = true\n\
             no_check_bucket = true\n\n"
        )
    };
    store("src", &place.source) + &store("dst", &place.destination)
}

/// It knows one endpoint: either a copy inside the source, or two hops through a disk.
fn s5cmd(job: Job, place: &Place) -> Vec<Way> {
    let at = |endpoint: &str| format!("--log error --numworkers 64 --endpoint-url {endpoint}");
    let disk = place.scratch.join("disk").display().to_string();
    let hops = |label, flags: &str| Way {
        label,
        steps: vec![
            split(&format!("{} cp {flags} s3://{FROM}/* {disk}/", at(&place.source))),
            split(&format!("{} cp {flags} {disk}/ s3://{TO}/", at(&place.destination))),
        ],
        lands: Lands::AtDestination,
    };
    let inside = |words: &str| Way {
        label: "inside one store",
        steps: vec![split(&format!("{} {words} s3://{FROM}/* s3://{HERE}/", at(&place.source)))],
        lands: Lands::AtSource,
    };
    match job {
        Job::Small => vec![hops("two hops through a disk", "")],
        Job::Large | Job::One => vec![hops("two hops through a disk", "-c 8 -p 16")],
        Job::Compare => vec![inside("sync --size-only")],
        Job::Mirror => vec![inside("sync --size-only --delete")],
        Job::Names => vec![inside("cp")],
    }
}

fn s3sync(job: Job, place: &Place) -> Vec<Way> {
    let ends = format!(
        "--show-no-progress --source-access-key {ACCESS_KEY_ID} --source-secret-access-key {SECRET_ACCESS_KEY} \
         --target-access-key {ACCESS_KEY_ID} --target-secret-access-key {SECRET_ACCESS_KEY} --source-region us-east-1 \
         --target-region us-east-1 --source-force-path-style --target-force-path-style --source-endpoint-url {} \
         --target-endpoint-url {} s3://{FROM} s3://{TO}",
        place.source, place.destination
    );
    let small = "--worker-size 64 --disable-tagging --remove-modified-filter --disable-payload-signing";
    let large = "--worker-size 4 --max-parallel-uploads 16 --disable-payload-signing";
    match job {
        Job::Small => vec![way("best, tags left out", &format!("{small} {ends}")), way("defaults", &ends)],
        Job::Large => vec![way("best", &format!("{large} {ends}")), way("defaults", &ends)],
        Job::Compare => vec![way("best", &format!("--check-size {ends}"))],
        Job::One => vec![way("best", &format!("{large} {ends}"))],
        Job::Mirror => vec![way("best", &format!("--check-size --delete {ends}"))],
        Job::Names => vec![way("defaults", &ends)],
    }
}
