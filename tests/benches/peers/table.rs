//! The results as Markdown.
//!
//! Owns: the tables, and the place between two markers of a document where they stand. Numbers are for people; units are in the
//! heads of the columns.

use std::path::Path;

use anyhow::{Context as _, Result};
use ferry_testkit::fixtures::awkward_keys;

use crate::safety::{Arrived, MIRRORED, Outcome};
use crate::speed::{Case, Row, Unit};

const BEGIN: &str = "<!-- peers: written by tests/benches/peers/run -->";
const END: &str = "<!-- peers: end -->";

/// The rows of one case.
pub(crate) fn speed(case: &Case, rows: &[(&'static str, &'static str, Result<Row>)]) -> String {
    let unit = match case.unit {
        Unit::Object(name) => name,
        Unit::Gib => "GiB",
    };
    let mut text = format!(
        "\n**{}**\n\n| program | objects/s | CPU s | CPU per {unit} | peak MiB | wall s | requests |\n|---|---|---|---|---|---|---|\n",
        case.title
    );
    for (peer, label, row) in rows {
        let line = match row {
            Ok(row) => figures(case, row),
            Err(error) => format!("failed: {} | | | | |", error.to_string().replace('|', "/")),
        };
        text.push_str(&format!("| {peer}, {label} | {line} |\n"));
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "figures for a person")]
fn figures(case: &Case, row: &Row) -> String {
    let (cpu_secs, wall_secs) = (row.cost.cpu.as_secs_f64(), row.cost.wall.as_secs_f64());
    let mut requests: Vec<String> = row
        .requests
        .iter()
        .map(|(operation, count)| {
            let each = *count as f64 / case.objects as f64;
            if each >= 0.05 { format!("{each:.2} {operation} each") } else { format!("{count} {operation}") }
        })
        .collect();
    // What is done for each object first.
    requests.sort_by_key(|words| !words.ends_with("each"));
    format!(
        "{:.0} | {cpu_secs:.2} | {} | {:.0} | {wall_secs:.1} | {}",
        case.objects as f64 / wall_secs.max(0.001),
        short(cpu_secs / case.units()),
        row.cost.peak_kib as f64 / 1024.0,
        requests.join(", ")
    )
}

fn short(secs: f64) -> String {
    if secs >= 0.1 {
        format!("{secs:.2} s")
    } else if secs >= 1e-4 {
        format!("{:.2} ms", secs * 1e3)
    } else {
        format!("{:.1} µs", secs * 1e6)
    }
}

/// One row a program.
pub(crate) fn safety(outcomes: &[(&'static str, Result<Outcome>)]) -> String {
    let mut text = format!(
        "\n**When things go wrong** (exit code in brackets)\n\n\
         | program | object overwritten while it is copied | wrong deletes of {MIRRORED}, a page of the source's listing fails | \
         the same, the page says it is the last | awkward keys kept, of {} |\n|---|---|---|---|---|\n",
        awkward_keys().len()
    );
    for (peer, outcome) in outcomes {
        let line = match outcome {
            Err(error) => format!("failed: {} | | |", format!("{error:#}").replace('|', "/")),
            Ok(outcome) => {
                let arrived = match outcome.overwritten.0 {
                    Arrived::Whole => "whole".to_owned(),
                    Arrived::Nothing => "nothing arrived".to_owned(),
                    Arrived::Torn(percent) => format!("torn: {percent} % old, {} % new", 100 - percent),
                };
                format!(
                    "{arrived} ({}) | {} ({}) | {} ({}) | {} ({})",
                    outcome.overwritten.1,
                    outcome.failing_page.0,
                    outcome.failing_page.1,
                    outcome.lying_page.0,
                    outcome.lying_page.1,
                    outcome.names.0,
                    outcome.names.1
                )
            }
        };
        text.push_str(&format!("| {peer} | {line} |\n"));
    }
    text
}

/// Puts the text between the markers of a document.
pub(crate) fn write(document: &Path, text: &str) -> Result<()> {
    let old = std::fs::read_to_string(document)?;
    let (before, rest) = old.split_once(BEGIN).with_context(|| format!("there is no line {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("there is no line {END}"))?;
    Ok(std::fs::write(document, format!("{before}{BEGIN}\n{}\n{END}{after}", text.trim_end()))?)
}
