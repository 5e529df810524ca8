//! `ferry presign`: a link that reads or writes one object without credentials.

use anyhow::Result;
use ferry_transfer::Key;
use serde_json::json;

use crate::args::{OutputArgs, PresignArgs, PresignMethod};
use crate::ends::single_account;
use crate::exit::{Exit, UsageError, print};

/// Prints the link. Asks nothing of the store.
pub async fn run(args: PresignArgs, output: &OutputArgs) -> Result<Exit> {
    let location = args.location;
    let key =
        Key::new(location.prefix.clone()).map_err(|_| UsageError(format!("{location} names no key")))?;
    let account = single_account(&args.config, &location.store, args.store).await?;
    let url = match args.method {
        PresignMethod::Get => account.presign_get(&location.bucket, &key, args.expires_secs).await?,
        PresignMethod::Put => account.presign_put(&location.bucket, &key, args.expires_secs).await?,
    };
    if output.json {
        print(&json!({ "url": url, "expires_secs": args.expires_secs }).to_string());
    } else {
        print(&url);
    }
    Ok(Exit::Done)
}
