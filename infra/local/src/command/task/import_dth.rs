//! `ferry task import-dth`: two files of one.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::read;
use crate::args::{ImportDthArgs, OutputArgs};
use crate::dth;
use crate::exit::{Exit, UsageError, print, say};

/// Writes the task and its stores, or prints them as JSON.
pub(super) fn run(args: &ImportDthArgs, output: &OutputArgs) -> Result<Exit> {
    let prefixes = args.prefix_list.as_deref().map(read).transpose()?;
    let imported = dth::import(&args.name, &dth::settings(&read(&args.file)?)?, prefixes.as_deref())?;
    if output.json {
        let stores = json!({ "stores": imported.stores });
        print(&json!({ "task": imported.task, "config": stores, "remarks": imported.remarks }).to_string());
        return Ok(Exit::Done);
    }
    let files = [
        (args.out.join("ferry.yaml"), serde_saphyr::to_string(&json!({ "stores": imported.stores }))?),
        (args.out.join(format!("{}.yaml", args.name)), serde_saphyr::to_string(&imported.task)?),
    ];
    for (path, _) in &files {
        if path.exists() {
            return Err(
                UsageError(format!("{} is there already; nothing is overwritten", path.display())).into()
            );
        }
    }
    for (path, text) in &files {
        write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        print(&path.display().to_string());
    }
    for remark in &imported.remarks {
        say(&format!("note: {remark}"));
    }
    Ok(Exit::Done)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}
