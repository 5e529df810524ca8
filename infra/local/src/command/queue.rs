//! `ferry queue`: what waits, what failed and why.
//!
//! Owns: looking at dead letters, sending them back and throwing them away, one by one, so that a reason can choose among them. Does not
//! own: who writes reasons ([`ferry_worker`]). Invariant: a letter is deleted only after its message is on the queue again, or because it was
//! to be thrown away.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use ferry_transfer::job::Message;
use ferry_transfer::queue::lanes::Lanes;
use ferry_transfer::queue::{BATCH_MAX, Delivery, OutgoingMessage, QueueDepth};
use ferry_transfer::{Error, SharedQueue};
use ferry_worker::DEAD_LETTER_REASON;
use indicatif::HumanCount;
use serde_json::{Value, json};

use crate::args::{LettersArgs, OutputArgs, PurgeArgs, QueueArgs, QueueCommand, RedriveArgs, StackArgs};
use crate::command::ls::shown;
use crate::deployed::{self, Deployed};
use crate::exit::{Exit, UsageError, print, say};

/// How long letters stay hidden while they are looked at. What is not given back, as after a kill, comes back by itself.
const LOOKED_AT: Duration = Duration::from_mins(2);
/// Receives in a row that bring nothing new, before a queue counts as seen: SQS asks some of its servers only.
const EMPTY_RECEIVES: u32 = 3;
/// From this size on an object went through the deployment's queue for large ones; the template's default.
const LARGE_OBJECT_BYTES: u64 = 256 << 20;
/// Groups to print at most.
const GROUPS_SHOWN: usize = 50;

/// The queues of a deployment, or those that were named.
struct Queues {
    jobs: Option<SharedQueue>,
    large: Option<SharedQueue>,
    scans: Option<SharedQueue>,
    dead_letters: Option<SharedQueue>,
}

impl Queues {
    async fn connect(args: &QueueArgsParts) -> Result<Self> {
        let named = async |url: &Option<String>| match url {
            Some(url) => deployed::queue(url).await.map(Some),
            None => Ok(None),
        };
        if args.queue.is_some() || args.dead_letters.is_some() {
            return Ok(Self {
                jobs: named(&args.queue).await?,
                dead_letters: named(&args.dead_letters).await?,
                large: None,
                scans: None,
            });
        }
        let deployment = Deployed::read(&args.stack).await?.deployment;
        Ok(Self {
            jobs: Some(deployed::queue(&deployment.job_queue_url).await?),
            large: Some(deployed::queue(&deployment.large_queue_url).await?),
            scans: Some(deployed::queue(&deployment.scan_queue_url).await?),
            dead_letters: Some(deployed::queue(&deployment.dead_letter_queue_url).await?),
        })
    }

    fn dead_letters(&self) -> Result<SharedQueue, UsageError> {
        self.dead_letters
            .clone()
            .ok_or_else(|| UsageError("name the queue of dead letters: --dead-letters URL".to_owned()))
    }

    /// Where a letter goes back to.
    fn origin(&self, body: &str) -> Result<SharedQueue, UsageError> {
        let jobs =
            self.jobs.clone().ok_or_else(|| UsageError("name the queue of jobs: --queue URL".to_owned()))?;
        Ok(match (Message::parse(body), &self.scans, &self.large) {
            (Ok(Message::Scan(_)), Some(scans), _) => Arc::clone(scans),
            (_, _, Some(large)) => {
                Arc::new(Lanes { small: jobs, large: Arc::clone(large), large_bytes: LARGE_OBJECT_BYTES })
            }
            _ => jobs,
        })
    }
}

/// What every subcommand needs.
struct QueueArgsParts {
    stack: StackArgs,
    queue: Option<String>,
    dead_letters: Option<String>,
}

/// Runs one subcommand.
pub async fn run(args: QueueArgs, output: &OutputArgs) -> Result<Exit> {
    let parts = QueueArgsParts { stack: args.stack, queue: args.queue, dead_letters: args.dead_letters };
    let queues = Queues::connect(&parts).await?;
    match args.command {
        QueueCommand::Stats(letters) => stats(&queues, &letters, output).await,
        QueueCommand::Peek(peek) => self::peek(&queues, &peek.letters, output).await,
        QueueCommand::Redrive(redrive) => self::redrive(&queues, &redrive, output).await,
        QueueCommand::Purge(purge) => self::purge(&queues, &purge, output).await,
    }
}

/// A dead letter and why it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Letter {
    delivery: Delivery,
    key: Option<String>,
    reason: String,
}

impl Letter {
    fn of(delivery: Delivery) -> Self {
        let key = match Message::parse(&delivery.body) {
            Ok(Message::Object(job)) => Some(job.key.as_str().to_owned()),
            Ok(Message::Part(part)) => Some(part.key.as_str().to_owned()),
            Ok(Message::Scan(_)) | Err(_) => None,
        };
        let written = delivery.attributes.iter().find(|(name, _)| name == DEAD_LETTER_REASON);
        let reason = written.map_or_else(
            || "no reason: it was received often enough and never ended; was the worker killed, or out of memory?".to_owned(),
            |(_, reason)| reason.clone(),
        );
        Self { delivery, key, reason }
    }

    fn says(&self, text: Option<&str>) -> bool {
        text.is_none_or(|text| self.reason.contains(text))
    }

    /// The reason without what differs from object to object.
    fn group(&self) -> String {
        group_of(&self.reason, self.key.as_deref())
    }

    fn json(&self) -> Value {
        json!({
            "message_id": self.delivery.message_id, "key": self.key, "reason": self.reason, "body": self.delivery.body,
        })
    }
}

/// What reasons of one kind have in common: without the key, ids of requests and long numbers.
fn group_of(reason: &str, key: Option<&str>) -> String {
    let mut text = reason.to_owned();
    if let Some(key) = key.filter(|key| key.len() > 2) {
        // As it is, and as an error prints it.
        for written in [format!("{key:?}"), key.to_owned()] {
            text = text.replace(&written, "KEY");
        }
    }
    let is_id = |word: &str| {
        let plain = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        plain.len() >= 8
            && plain.bytes().any(|b| b.is_ascii_digit())
            && plain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'/' | b'='))
    };
    let words = text.split(' ').map(|word| {
        if !is_id(word) {
            return word.to_owned();
        }
        let end: String =
            word.chars().rev().take_while(|c| matches!(c, ')' | ',' | ':' | ';' | '.')).collect();
        format!("…{}", end.chars().rev().collect::<String>())
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The letters that say so, up to a limit; hidden until they are given back.
async fn look(queue: &SharedQueue, limit: usize, reason: Option<&str>) -> Result<(Vec<Letter>, Vec<Letter>)> {
    let (mut wanted, mut others, mut seen, mut empty) = (Vec::new(), Vec::new(), BTreeSet::new(), 0);
    while wanted.len() + others.len() < limit && empty < EMPTY_RECEIVES {
        let mut has_news = false;
        for delivery in queue.receive(BATCH_MAX, Duration::ZERO, LOOKED_AT).await? {
            has_news |= seen.insert(delivery.message_id.clone());
            let letter = Letter::of(delivery);
            if letter.says(reason) { wanted.push(letter) } else { others.push(letter) }
        }
        empty = if has_news { 0 } else { empty + 1 };
    }
    Ok((wanted, others))
}

async fn give_back(queue: &SharedQueue, letters: &[Letter]) {
    for letter in letters {
        if let Err(error) = queue.change_visibility(&letter.delivery.receipt_handle, Duration::ZERO).await {
            tracing::warn!(error = %error.chain(), "a letter comes back by itself in two minutes");
        }
    }
}

async fn stats(queues: &Queues, args: &LettersArgs, output: &OutputArgs) -> Result<Exit> {
    let mut depths: BTreeMap<&str, QueueDepth> = BTreeMap::new();
    for (name, queue) in [
        ("jobs", &queues.jobs),
        ("large", &queues.large),
        ("scans", &queues.scans),
        ("dead letters", &queues.dead_letters),
    ] {
        if let Some(queue) = queue {
            depths.insert(name, queue.depth().await?);
        }
    }
    let mut groups: Vec<(String, u64, Option<String>)> = Vec::new();
    if let Some(queue) = &queues.dead_letters {
        let (wanted, others) = look(queue, usize::try_from(args.limit)?, args.reason.as_deref()).await?;
        let mut counted: BTreeMap<String, (u64, Option<String>)> = BTreeMap::new();
        for letter in &wanted {
            let (count, example) = counted.entry(letter.group()).or_default();
            *count += 1;
            if example.is_none() {
                example.clone_from(&letter.key);
            }
        }
        groups.extend(counted.into_iter().map(|(group, (count, example))| (group, count, example)));
        groups.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
        give_back(queue, &wanted).await;
        give_back(queue, &others).await;
    }
    if output.json {
        let depths: BTreeMap<&str, Value> = depths
            .iter()
            .map(|(name, depth)| {
                (*name, json!({ "visible": depth.visible, "in_flight": depth.in_flight, "delayed": depth.delayed }))
            })
            .collect();
        let groups: Vec<Value> = groups
            .iter()
            .map(|(reason, count, example)| json!({ "reason": reason, "count": count, "example": example }))
            .collect();
        print(&json!({ "queues": depths, "failures": groups }).to_string());
        return Ok(Exit::Done);
    }
    print(&format!("{:<14}{:>12}{:>12}{:>12}", "queue", "waiting", "under way", "delayed"));
    for (name, depth) in &depths {
        print(&format!("{name:<14}{:>12}{:>12}{:>12}", depth.visible, depth.in_flight, depth.delayed));
    }
    for (reason, count, example) in groups.iter().take(GROUPS_SHOWN) {
        let example = example.as_deref().map(|key| format!("  such as {}", shown(key))).unwrap_or_default();
        print(&format!("{:>8} × {reason}{example}", HumanCount(*count)));
    }
    Ok(Exit::Done)
}

async fn peek(queues: &Queues, args: &LettersArgs, output: &OutputArgs) -> Result<Exit> {
    let queue = queues.dead_letters()?;
    let (wanted, others) = look(&queue, usize::try_from(args.limit)?, args.reason.as_deref()).await?;
    for letter in &wanted {
        if output.json {
            print(&letter.json().to_string());
        } else {
            let key =
                letter.key.as_deref().map_or_else(|| letter.delivery.body.chars().take(80).collect(), shown);
            print(&format!("{key}\n    {}", letter.reason));
        }
    }
    give_back(&queue, &wanted).await;
    give_back(&queue, &others).await;
    Ok(Exit::Done)
}

/// Takes every letter off the queue that says so, and gives the others back.
async fn each_batch(
    queue: &SharedQueue,
    reason: Option<&str>,
    limit: u64,
    mut settle: impl AsyncFnMut(&[Letter]) -> Result<()>,
) -> Result<u64> {
    let (mut settled, mut empty, mut others) = (0, 0, Vec::new());
    while settled < limit && empty < EMPTY_RECEIVES {
        let room = usize::try_from(limit - settled).unwrap_or(BATCH_MAX).min(BATCH_MAX);
        let received = queue.receive(room, Duration::ZERO, LOOKED_AT).await?;
        empty = if received.is_empty() { empty + 1 } else { 0 };
        let (wanted, rest): (Vec<Letter>, Vec<Letter>) =
            received.into_iter().map(Letter::of).partition(|letter| letter.says(reason));
        others.extend(rest);
        if wanted.is_empty() {
            continue;
        }
        settle(&wanted).await?;
        let handles = wanted.iter().map(|letter| letter.delivery.receipt_handle.clone()).collect();
        queue.delete_batch(handles).await?.into_iter().collect::<Result<(), Error>>()?;
        settled += wanted.len() as u64;
    }
    give_back(queue, &others).await;
    Ok(settled)
}

async fn redrive(queues: &Queues, args: &RedriveArgs, output: &OutputArgs) -> Result<Exit> {
    let queue = queues.dead_letters()?;
    // A mistake must show before the first letter moves.
    queues.origin("")?;
    let pause = Duration::from_secs(BATCH_MAX as u64) / args.rate;
    let sent = each_batch(&queue, args.reason.as_deref(), args.limit.unwrap_or(u64::MAX), async |letters| {
        for letter in letters {
            // The reason stays behind: it is the past's.
            let message = OutgoingMessage::new(letter.delivery.body.clone());
            let results = queues.origin(&letter.delivery.body)?.send_batch(vec![message]).await?;
            results.into_iter().collect::<Result<(), Error>>()?;
        }
        tokio::time::sleep(pause).await;
        Ok(())
    })
    .await?;
    report("sent back", sent, output);
    Ok(Exit::Done)
}

async fn purge(queues: &Queues, args: &PurgeArgs, output: &OutputArgs) -> Result<Exit> {
    let queue = queues.dead_letters()?;
    if !args.yes {
        let about = queue.depth().await?.visible;
        if !std::io::stdin().is_terminal() {
            return Err(UsageError(format!(
                "about {about} dead letters would be gone for good, and with them which objects failed; --yes says that you mean it"
            ))
            .into());
        }
        if !confirmed(about, args.reason.as_deref())? {
            say("nothing was thrown away");
            return Ok(Exit::Refused);
        }
    }
    let gone = each_batch(&queue, args.reason.as_deref(), u64::MAX, async |_letters| Ok(())).await?;
    report("thrown away", gone, output);
    Ok(Exit::Done)
}

/// Asks on the terminal; only the whole word counts.
#[expect(clippy::print_stderr, reason = "a question to whoever sits there")]
fn confirmed(about: u64, reason: Option<&str>) -> Result<bool> {
    let which = reason.map(|reason| format!(" that say {reason:?}, of")).unwrap_or_default();
    eprint!("Throw dead letters away{which} about {about}, and with them which objects failed? Type yes: ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

fn report(what: &str, count: u64, output: &OutputArgs) {
    if output.json {
        print(&json!({ "letters": count, "what": what }).to_string());
    } else {
        print(&format!("{} letters {what}", HumanCount(count)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_key_and_request_only_are_one() {
        let of = |key: &str, id: &str| {
            let reason =
                format!("PutObject s3://b key {key:?}: access denied (HTTP 403, AccessDenied, request {id})");
            group_of(&reason, Some(key))
        };
        let group = of("photos/1.jpg", "4442587FB7D0A2F9");
        assert_eq!(group, of("photos/\"odd\".jpg", "18A1B2C3D4E5F607"));
        assert_eq!(group, "PutObject s3://b key KEY: access denied (HTTP 403, AccessDenied, request …)");
        assert_ne!(group, group_of("GetObject: not found (HTTP 404)", None));
    }
}
