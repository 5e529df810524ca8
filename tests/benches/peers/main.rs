//! `ferry` beside other programs that do the same: what they cost, and what they do when things go wrong.
//!
//! Owns: which cases are run and what must hold of the results. Does not own: installing the peers, which `tests/benches/peers/run`
//! does. Times are printed and never judged, since machines differ; what `ferry` promises is judged.

mod peer;
mod safety;
mod speed;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use ferry_testkit::fixtures::awkward_keys;
use ferry_testkit::synthetic::KeyLayout;
use ferry_transfer::{Clock as _, SystemClock};

use crate::peer::{Job, Make, Peer};
use crate::safety::{Arrived, Outcome};
use crate::speed::{Case, Row, Unit, Whose};

/// Compares ferry with its peers.
#[derive(Debug, Parser)]
struct Args {
    /// Small counts, to see that everything still runs
    #[arg(long)]
    quick: bool,
    /// Where rclone is
    #[arg(long, value_name = "PROGRAM")]
    rclone: Option<PathBuf>,
    /// Where s5cmd is
    #[arg(long, value_name = "PROGRAM")]
    s5cmd: Option<PathBuf>,
    /// Where s3sync is
    #[arg(long, value_name = "PROGRAM")]
    s3sync: Option<PathBuf>,
    /// Only cases whose title contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Put the results into this document, between its markers
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    if !std::path::Path::new("/proc/self/status").exists() {
        say("peers: skipped, there is no /proc here");
        return ExitCode::SUCCESS;
    }
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("peers: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let mut peers = vec![Peer::at(Make::Ferry, env!("CARGO_BIN_EXE_ferry-under-test").as_ref())?];
    for (make, program) in
        [(Make::Rclone, &args.rclone), (Make::S5cmd, &args.s5cmd), (Make::S3sync, &args.s3sync)]
    {
        match program {
            Some(program) => peers.push(Peer::at(make, program)?),
            None => say(&format!("skip {make:?}: it is not installed")),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let versions: Vec<String> =
        peers.iter().map(|peer| format!("{} {}", peer.name(), peer.version)).collect();
    let mut text = format!("{}: {}.\n", SystemClock.now().date(), versions.join(", "));
    let mut broken = Vec::new();
    for case in cases(args.quick).iter().filter(|case| case.title.contains(&args.only)) {
        let mut rows = Vec::new();
        for peer in peers.iter().filter(|peer| case.whose == Whose::Everybodys || peer.make == Make::Ferry) {
            for (label, row) in runtime.block_on(case.run(peer)) {
                if let Err(error) =
                    row.as_ref().map_err(|error| format!("{error:#}")).and_then(|row| promised(case, row))
                {
                    broken.push(format!("{}: {}, {label}: {error}", case.title, peer.name()));
                }
                rows.push((peer.name(), label, row));
            }
        }
        let table = table::speed(case, &rows);
        say(&table);
        text.push_str(&table);
    }
    if "When things go wrong".contains(&args.only) {
        let object_bytes = if args.quick { 72 << 20 } else { 96 << 20 };
        let mut outcomes = Vec::new();
        for peer in &peers {
            let outcome = runtime.block_on(Outcome::of(peer, object_bytes));
            if let (Make::Ferry, Ok(outcome)) = (peer.make, &outcome)
                && !keeps_its_promise(outcome)
            {
                broken.push(format!("ferry broke its promise: {outcome:?}"));
            }
            outcomes.push((peer.name(), outcome));
        }
        let table = table::safety(&outcomes);
        say(&table);
        text.push_str(&table);
    }
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    if let Some(document) = &args.write {
        table::write(document, &text)?;
    }
    Ok(())
}

fn cases(quick: bool) -> Vec<Case> {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    let pick = |full: u64, small: u64| if quick { small } else { full };
    let folders = || KeyLayout::Folders { prefix: "photos/".to_owned(), keys_per_folder: 1_000 };
    let flat = || KeyLayout::Flat { prefix: "object-".to_owned() };
    let case = |title: &str, job, objects, size_bytes, layout, unit| Case {
        title: title.to_owned(),
        job,
        objects,
        size_bytes,
        layout,
        page_delay: Duration::ZERO,
        latency: Duration::ZERO,
        unit,
        whose: Whose::Everybodys,
    };
    let small = pick(10_000, 300);
    let large = pick(8, 2);
    let large_mib = pick(256, 40);
    let pairs = pick(100_000, 3_000);
    let many = pick(1_000_000, 5_000);
    let flat_pairs = |pairs, whose| Case {
        page_delay: Duration::from_millis(30),
        whose,
        ..case(
            &format!("Compare {pairs} pairs in flat buckets, every page takes 30 ms"),
            Job::Compare,
            pairs,
            64,
            flat(),
            Unit::Object("pair"),
        )
    };
    vec![
        case(&format!("Copy {small} x 4 KiB"), Job::Small, small, 4 * KIB, folders(), Unit::Object("object")),
        Case {
            latency: Duration::from_millis(20),
            ..case(
                &format!("Copy {small} x 4 KiB, every request takes 20 ms"),
                Job::Small,
                small,
                4 * KIB,
                folders(),
                Unit::Object("object"),
            )
        },
        case(
            &format!("Copy {large} x {large_mib} MiB"),
            Job::Large,
            large,
            large_mib * MIB,
            flat(),
            Unit::Gib,
        ),
        case(
            &format!("Compare {pairs} pairs, nothing to copy"),
            Job::Compare,
            pairs,
            64,
            folders(),
            Unit::Object("pair"),
        ),
        flat_pairs(pairs, Whose::Everybodys),
        // The others list one page after the other, which takes them half a minute and more.
        flat_pairs(many, Whose::Ferrys),
    ]
}

/// What must hold of a row: somebody measured something, and `ferry` asks for each small object twice.
fn promised(case: &Case, row: &Row) -> Result<(), String> {
    if row.cost.peak_kib == 0 || row.cost.wall.is_zero() {
        return Err("nothing was measured".to_owned());
    }
    let asked = |operation| row.requests.get(operation).copied().unwrap_or(0);
    let small = row.peer == "ferry" && case.job == Job::Small;
    if small
        && (asked("GetObject"), asked("PutObject"), asked("HeadObject")) != (case.objects, case.objects, 0)
    {
        return Err(format!("one GET and one PUT an object were promised: {:?}", row.requests));
    }
    Ok(())
}

fn keeps_its_promise(outcome: &Outcome) -> bool {
    outcome.overwritten == (Arrived::Whole, 0)
        && outcome.failing_page.0 == 0
        && outcome.lying_page.0 == 0
        && outcome.names == (awkward_keys().len(), 0)
}

#[expect(clippy::print_stdout, reason = "a bench's result")]
fn say(line: &str) {
    println!("{line}");
}
