//! `ferry demo`: all of it at work on this machine.
//!
//! Owns: the story that is told. Two stores with different keys are started on free loopback ports, the source is filled, and the
//! pipeline that ships (finder, queue, workers, the AWS SDK over sockets) moves it; then the source changes, and it is moved
//! again. Does not own: the pipeline. Invariants: no network, no account, nothing left behind; the last check looks at both stores
//! from behind, without Ferry.

mod stores;

use std::time::Instant;

use anyhow::{Result, bail};
use ferry_transfer::copy::CopySettings;
use ferry_transfer::task::{DeleteLimit, Deletes};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use crate::args::{DemoArgs, OutputArgs};
use crate::command::demo::stores::Stores;
use crate::command::sync::to_end;
use crate::engine::Run;
use crate::exit::{Exit, print};
use crate::report::Report;

/// What the demo showed, for `--json`.
#[derive(Debug, Serialize)]
struct Shown {
    runs: Vec<Report>,
    objects_checked_from_behind: u64,
    seconds: f64,
}

/// Tells the story.
pub async fn run(args: DemoArgs, output: &OutputArgs) -> Result<Exit> {
    let began = Instant::now();
    let tell = |line: &str| {
        if !output.json {
            print(line);
        }
    };
    let stores = Stores::start().await?;
    tell("Two S3-compatible stores on this machine, each with keys of its own:");
    tell(&format!("  source       {}", stores.source_endpoint()));
    tell(&format!("  destination  {}", stores.destination_endpoint()));

    let (objects, bytes) = stores.fill(args.objects);
    tell(&format!(
        "\n1. Filled the source with {} objects, {}: small ones, large ones, and every awkward key we know.",
        HumanCount(objects),
        HumanBytes(bytes)
    ));
    let mut runs = vec![sync(&stores, output, &tell).await?];

    let changes = stores.change();
    tell(&format!(
        "\n2. Changed the source: {changes}. Only that moves now; what is gone is proven gone before it is deleted."
    ));
    runs.push(sync(&stores, output, &tell).await?);

    tell("\n3. Nothing changed, so nothing is copied:");
    runs.push(sync(&stores, output, &tell).await?);

    let checked = stores.check_from_behind()?;
    tell(&format!(
        "\n4. Checked behind Ferry's back, in the two stores' memory: {} objects agree byte for byte, with every header, \
         user-metadata entry and tag.",
        HumanCount(checked)
    ));
    let exit = runs.iter().map(Report::exit).find(|exit| *exit != Exit::Done).unwrap_or(Exit::Done);
    let seconds = began.elapsed().as_secs_f64();
    if output.json {
        let shown = Shown { runs, objects_checked_from_behind: checked, seconds };
        print(&serde_json::to_string(&shown)?);
    } else {
        tell(&format!("\nAll of it took {seconds:.1} s and left nothing behind."));
        tell(WHERE_NEXT);
    }
    Ok(exit)
}

const WHERE_NEXT: &str = "
Where to look next:
  ferry sync --help       move a bucket of your own
  ferry plan SRC DST      what that would do and cost, before it does
  ferry verify SRC DST    every difference afterwards, for your CI
  README.md               stores in ferry.yaml, and an OSS to S3 example";

async fn sync(stores: &Stores, output: &OutputArgs, tell: &impl Fn(&str)) -> Result<Report> {
    let ends = stores.ends(Deletes::Mirror(DeleteLimit::default())).await?;
    let run = Run::new(ends, CopySettings::default());
    let finished = to_end(&run, output).await;
    let task = &run.ends.route.task;
    let report = Report::new(finished, &task.source, &task.destination);
    for line in report.text().lines() {
        tell(&format!("   {line}"));
    }
    if report.interrupted {
        bail!("the demo was stopped");
    }
    Ok(report)
}
