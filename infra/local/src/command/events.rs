//! `ferry events`: what stores tell of their changes.

mod post;
mod samples;
mod sending;
mod watching;

use anyhow::Result;
use ferry_cloud::s3::{Rehearsal, Subscribed, SubscribedDeletes, Subscription};
use serde_json::json;

use crate::args::{EventsArgs, EventsCommand, OutputArgs, SubscribeArgs};
use crate::ends::single_account;
use crate::exit::{Exit, print};

/// Does what is asked for.
pub async fn run(args: EventsArgs, output: &OutputArgs) -> Result<Exit> {
    match args.command {
        EventsCommand::Subscribe(args) => subscribe(*args, output).await,
        EventsCommand::Listen(args) => watching::listen(args, output).await,
        EventsCommand::Send(args) => sending::send(args, output).await,
        EventsCommand::Replay(args) => sending::replay(args, output).await,
        EventsCommand::Tail(args) => watching::tail(args).await,
    }
}

async fn subscribe(args: SubscribeArgs, output: &OutputArgs) -> Result<Exit> {
    let account = single_account(&args.config, &args.location.store, args.store).await?;
    let subscription = Subscription {
        queue_arn: args.queue_arn,
        prefix: args.location.prefix,
        deletes: if args.deletes { SubscribedDeletes::Told } else { SubscribedDeletes::Left },
    };
    let (bucket, queue) = (&args.location.bucket, &subscription.queue_arn);
    let rehearsal = if args.dry_run { Rehearsal::DryRun } else { Rehearsal::Real };
    let subscribed = account.subscribe(bucket, &subscription, rehearsal).await?;
    let text = match &subscribed {
        Subscribed::Already => format!("{bucket} tells {queue} of all of it already; nothing is changed"),
        Subscribed::Added { id, events, kept } => {
            let does = if args.dry_run { "would tell" } else { "tells" };
            format!(
                "{bucket} {does} {queue} of {}, as {id:?}; {kept} other notifications stay",
                events.join(", ")
            )
        }
    };
    if output.json {
        let (id, events, kept) = match subscribed {
            Subscribed::Already => (None, Vec::new(), None),
            Subscribed::Added { id, events, kept } => (Some(id), events, Some(kept)),
        };
        let changed = id.is_some() && !args.dry_run;
        print(&json!({ "bucket": bucket, "queue": queue, "changed": changed, "id": id, "events": events, "kept": kept }).to_string());
    } else {
        print(&text);
    }
    Ok(Exit::Done)
}
