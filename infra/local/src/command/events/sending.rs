//! `ferry events send` and `replay`: notifications to any host.

use std::io::BufRead;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::post::{Answer, Sender, secret};
use super::samples::SAMPLES;
use crate::args::{OutputArgs, ReplayEventsArgs, SendEventArgs};
use crate::exit::{Exit, UsageError, print, say};

/// Sends one notification.
pub(super) async fn send(args: SendEventArgs, output: &OutputArgs) -> Result<Exit> {
    if args.list {
        for (name, _) in SAMPLES {
            print(name);
        }
        return Ok(Exit::Done);
    }
    let to =
        args.target.to.as_deref().ok_or_else(|| UsageError("say where it goes with --to URL".to_owned()))?;
    let body = match (&args.sample, &args.key) {
        (Some(sample), _) => body_of(sample)?,
        (None, Some(key)) => made_up(key, args.bucket.as_deref(), args.removed),
        (None, None) => {
            return Err(UsageError(
                "name a sample (`ferry events send --list`), a file, or an object with --key".to_owned(),
            )
            .into());
        }
    };
    let answer = Sender::new(to, secret(&args.target.secret).await?)?.post(&body).await?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if output.json {
        print(&json!({ "status": answer.status.as_u16(), "answer": text }).to_string());
    } else {
        print(&format!("{} {text}", answer.status));
    }
    Ok(exit(answer.status.is_success()))
}

/// Sends the notifications of a file, one on each line, in their order.
pub(super) async fn replay(args: ReplayEventsArgs, output: &OutputArgs) -> Result<Exit> {
    let to =
        args.target.to.as_deref().ok_or_else(|| UsageError("say where they go with --to URL".to_owned()))?;
    let sender = Sender::new(to, secret(&args.target.secret).await?)?;
    let unreadable = || format!("{} cannot be read", args.file.display());
    let lines: Box<dyn BufRead + Send> = if args.file.as_os_str() == "-" {
        Box::new(std::io::BufReader::new(std::io::stdin()))
    } else {
        Box::new(std::io::BufReader::new(std::fs::File::open(&args.file).with_context(unreadable)?))
    };
    let mut pace = args.per_second.map(|rate| {
        let mut pace = tokio::time::interval(Duration::from_secs(1) / rate);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        pace
    });
    let (mut taken, mut refused) = (0_u64, 0_u64);
    for (number, line) in (1..).zip(lines.lines()) {
        let line = line.with_context(unreadable)?;
        if line.trim().is_empty() {
            continue;
        }
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let Answer { status, body } = sender.post(line.as_bytes()).await?;
        if status.is_success() {
            taken += 1;
        } else {
            refused += 1;
            say(&format!("line {number}: {status} {}", String::from_utf8_lossy(&body)));
        }
    }
    if output.json {
        print(&json!({ "taken": taken, "refused": refused }).to_string());
    } else {
        print(&format!("{taken} taken, {refused} refused"));
    }
    Ok(exit(refused == 0))
}

fn exit(all_taken: bool) -> Exit {
    if all_taken { Exit::Done } else { Exit::Failed }
}

/// A sample by its name, else a file.
fn body_of(sample: &str) -> Result<Vec<u8>> {
    if let Some((_, body)) = SAMPLES.iter().find(|(name, _)| *name == sample) {
        return Ok(body.as_bytes().to_vec());
    }
    std::fs::read(sample).map_err(|error| {
        let message = format!(
            "{sample:?} is no sample (`ferry events send --list` has those there are) and no file that can be read: {error}"
        );
        UsageError(message).into()
    })
}

/// In the shape of Amazon S3, whose keys are form-encoded.
fn made_up(key: &str, bucket: Option<&str>, removed: bool) -> Vec<u8> {
    let encoded = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC).to_string();
    let name = if removed { "ObjectRemoved:Delete" } else { "ObjectCreated:Put" };
    let mut about = json!({ "object": { "key": encoded } });
    if let Some(bucket) = bucket {
        about["bucket"] = json!({ "name": bucket });
    }
    json!({ "Records": [{ "eventSource": "aws:s3", "eventName": name, "s3": about }] })
        .to_string()
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use ferry_transfer::event::{self, Change};

    use super::*;

    #[test]
    fn an_event_that_is_made_up_is_read_as_it_was_meant() {
        for key in ["a b+c", "é/%2F", "//", "\u{1}"] {
            for (removed, change) in [(false, Change::Changed), (true, Change::Removed)] {
                let body = made_up(key, Some("docks"), removed);
                let read = event::parse(std::str::from_utf8(&body).expect("text")).expect("a notification");
                let [event] = read.events.as_slice() else { panic!("{read:?}") };
                assert_eq!((event.key.as_str(), event.change), (key, change));
                assert_eq!(event.bucket.as_deref(), Some("docks"));
            }
        }
    }

    #[test]
    fn a_sample_is_found_by_name_and_a_file_by_path() {
        assert!(body_of("s3-test-event").is_ok());
        assert!(body_of(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).is_ok());
        let error = body_of("no-such-sample").expect_err("neither").to_string();
        assert!(error.contains("--list"), "{error}");
    }
}
