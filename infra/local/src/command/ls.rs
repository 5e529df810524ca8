//! `ferry ls`: buckets, or keys.

use std::sync::Arc;

use anyhow::Result;
use ferry_transfer::retry::Backoff;
use ferry_transfer::store::ListRequest;
use ferry_transfer::store::retrying::RetryingStore;
use ferry_transfer::task::Location;
use ferry_transfer::{Entry, ObjectStore as _, SystemClock};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::args::{LsArgs, OutputArgs};
use crate::ends::{single_account, unusable};
use crate::exit::{BrokenListing, Exit, UsageError, print};

/// Lists buckets of a store, or keys under a prefix.
pub async fn run(args: LsArgs, output: &OutputArgs) -> Result<Exit> {
    if let Some(store) = args.location.strip_suffix("://") {
        let account = single_account(&args.config, store, args.store).await?;
        let buckets = account.list_buckets().await;
        for bucket in buckets.map_err(|error| unusable("store", account.endpoint(), error))? {
            let created = bucket.created.map(text_time);
            if output.json {
                print(&json!({ "bucket": bucket.name, "created": created }).to_string());
            } else {
                print(&format!("{:<20}  {}", created.unwrap_or_default(), bucket.name));
            }
        }
        return Ok(Exit::Done);
    }
    let location: Location = args.location.parse().map_err(|error| UsageError(format!("{error}")))?;
    let account = single_account(&args.config, &location.store, args.store).await?;
    let bucket = RetryingStore::new(
        Arc::new(account.bucket(&location.bucket)),
        Backoff::default(),
        Arc::new(SystemClock),
    );
    let mut request = ListRequest {
        prefix: location.prefix,
        delimiter: (!args.recursive).then(|| "/".to_owned()),
        ..ListRequest::default()
    };
    loop {
        let page = match bucket.list(request.clone()).await {
            Err(error) if request.cursor.is_some() => return Err(BrokenListing::from(error).into()),
            Err(error) => return Err(unusable("store", account.endpoint(), error)),
            Ok(page) => page,
        };
        for prefix in &page.common_prefixes {
            print(&if output.json {
                json!({ "prefix": prefix }).to_string()
            } else {
                format!("{:>14}  {:<20}  {}", "", "", shown(prefix))
            });
        }
        for entry in &page.entries {
            print(&line(entry, output));
        }
        match page.next {
            Some(next) if request.cursor.as_ref() != Some(&next) => request.cursor = Some(next),
            Some(_) => anyhow::bail!("the store's listing goes in circles"),
            None => return Ok(Exit::Done),
        }
    }
}

fn line(entry: &Entry, output: &OutputArgs) -> String {
    let modified = entry.last_modified.map(text_time);
    if output.json {
        json!({
            "key": entry.key,
            "size_bytes": entry.size_bytes,
            "etag": entry.etag,
            "last_modified": modified,
            "storage_class": entry.storage_class,
        })
        .to_string()
    } else {
        format!(
            "{:>14}  {:<20}  {}",
            entry.size_bytes,
            modified.unwrap_or_default(),
            shown(entry.key.as_str())
        )
    }
}

/// A key for a terminal: as it is, or quoted and escaped where it holds control characters.
pub fn shown(key: &str) -> String {
    if key.chars().any(char::is_control) { format!("{key:?}") } else { key.to_owned() }
}

/// A time for a terminal, to the second.
pub fn text_time(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}
