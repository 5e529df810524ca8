//! `ferry sweep`: uploads of parts that were left behind, which nobody sees and every store charges for.

use std::sync::Arc;

use anyhow::Result;
use ferry_transfer::retry::Backoff;
use ferry_transfer::state::DirectoryState;
use ferry_transfer::store::retrying::RetryingStore;
use ferry_transfer::sweep::{Sweep, Whose, drop_upload};
use ferry_transfer::upload::UploadRecords;
use ferry_transfer::{Clock as _, SystemClock};
use serde_json::json;

use crate::args::{OutputArgs, StateArgs, SweepArgs};
use crate::command::ls::{shown, text_time};
use crate::ends::{single_account, unusable};
use crate::exit::{Exit, print, say};

/// Lists what was left behind, and drops it where that was asked for.
pub async fn run(args: SweepArgs, output: &OutputArgs) -> Result<Exit> {
    let account = single_account(&args.config, &args.location.store, args.store).await?;
    let bucket = account.bucket(&args.location.bucket);
    let store = RetryingStore::new(Arc::new(bucket), Backoff::default(), Arc::new(SystemClock));
    let state = StateArgs { state_dir: args.state_dir, ..StateArgs::default() }.open_if_there_is_a_place()?;
    let records = state.map(|state: DirectoryState| UploadRecords::new(Arc::new(state)));
    let remembered = match &records {
        Some(records) => records.all().await?,
        None => Vec::new(),
    };
    let sweep = Sweep {
        prefix: args.location.prefix,
        begun_before: args.older_than.seen_from(SystemClock.now()),
        whose: if args.all { Whose::All } else { Whose::Recorded },
    };
    let found = sweep
        .find(&store, &remembered)
        .await
        .map_err(|error| unusable("store", account.endpoint(), error))?;
    let mut exit = Exit::Done;
    for upload in &found {
        let failure =
            if args.abort { drop_upload(&store, records.as_ref(), upload).await.err() } else { None };
        let dropped = args.abort && failure.is_none();
        let begun = upload.initiated.map(text_time);
        if output.json {
            let line = json!({
                "key": upload.key, "upload_id": upload.upload_id, "begun": begun, "dropped": dropped,
                "error": failure.as_ref().map(ferry_transfer::Error::chain),
            });
            print(&line.to_string());
        } else {
            let word = if dropped { "dropped" } else { "open" };
            print(&format!("{word:<8}  {:<20}  {}", begun.unwrap_or_default(), shown(upload.key.as_str())));
        }
        if let Some(failure) = failure {
            say(&format!("ferry: {}", failure.chain()));
            exit = Exit::Failed;
        }
    }
    if !args.abort && !found.is_empty() && !output.json {
        say(&format!("{} left behind; --abort drops them", found.len()));
    }
    Ok(exit)
}
