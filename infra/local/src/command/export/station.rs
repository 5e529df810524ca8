//! `ferry export run` and `station`: jobs onto their media.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Result;
use ferry_cloud::sqs::{SqsQueue, SqsQueueConfig};
use ferry_cloud::topic::Topic;
use ferry_device::job::{JobId, JobState};
use ferry_device::naming::FileSystem;
use ferry_device::target::Target;
use ferry_device::target::disk::{Confirmation, DeviceId};
use ferry_device::verify::Scope;
use ferry_export::{Callers, Consent, Finished, RunOptions, Station, StationError, StationProgress};
use ferry_transfer::Queue as _;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::json;

use super::jobs::status_of;
use super::service;
use crate::args::{ExportPlace, OuterFs, OutputArgs, ReadBack, RunArgs, StationArgs, WriteArgs};
use crate::exit::{Exit, UsageError, print, say};

/// How long a queue that does not answer is left alone.
const QUEUE_PAUSE: Duration = Duration::from_secs(10);
/// How long a job's message stays hidden without a sign of life.
const HIDDEN: Duration = Duration::from_mins(10);

/// What is said where a job is not done and nothing is lost.
const GO_ON: &str = "ferry: what is written so far stays; the same command goes on from there";

/// `run`.
pub(super) async fn run(place: &ExportPlace, args: RunArgs, output: &OutputArgs) -> Result<Exit> {
    let station = station(place).await?;
    let teller = Teller::connect(args.write.notify_topic.as_deref()).await?;
    one(&station, &args.job, &options(&args.write)?, &teller, output).await
}

/// Tells a topic how a job ended, where one is named.
struct Teller(Option<Topic>);

impl Teller {
    async fn connect(arn: Option<&str>) -> Result<Self> {
        Ok(Self(match arn {
            Some(arn) => Some(Topic::connect(arn).await?),
            None => None,
        }))
    }

    /// The job has ended, whether anybody hears of it or not: a failure is said and changes nothing.
    async fn tell(&self, job: &JobId, how: &str, details: &serde_json::Value) {
        let Some(topic) = &self.0 else { return };
        let message = json!({ "jobId": job, "progress": how, "details": details }).to_string();
        if let Err(error) = topic.publish(&format!("Ferry export job {job}: {how}"), &message).await {
            say(&format!("ferry: the topic could not be told: {}", error.chain()));
        }
    }
}

/// A message of the queue.
#[derive(Debug, Deserialize)]
struct Message {
    #[serde(rename = "jobId")]
    job: JobId,
}

/// `station`.
pub(super) async fn pull(place: &ExportPlace, args: StationArgs, output: &OutputArgs) -> Result<Exit> {
    let station = station(place).await?;
    let teller = Teller::connect(args.write.notify_topic.as_deref()).await?;
    let queue = Arc::new(SqsQueue::connect(SqsQueueConfig::new(&args.queue)).await?);
    let options = options(&args.write)?;
    let mut worst = Exit::Done;
    let mut is_first = true;
    loop {
        let received = queue.receive(1, Duration::from_secs(if args.once { 1 } else { 20 }), HIDDEN).await;
        let deliveries = match received {
            Ok(deliveries) => deliveries,
            // A queue that was never reached is a mistake; one that was reached comes back.
            Err(error) if is_first || args.once => return Err(error.into()),
            Err(error) => {
                say(&format!("ferry: the queue does not answer and is asked again: {}", error.chain()));
                tokio::time::sleep(QUEUE_PAUSE).await;
                continue;
            }
        };
        is_first = false;
        if deliveries.is_empty() && args.once {
            return Ok(worst);
        }
        for delivery in deliveries {
            let Ok(message) = serde_json::from_str::<Message>(&delivery.body) else {
                say("ferry: a message is no {\"jobId\": …}; it is left to the queue's dead letters");
                worst = Exit::Failed;
                continue;
            };
            let hidden = {
                let (queue, handle) = (Arc::clone(&queue), delivery.receipt_handle.clone());
                tokio::spawn(async move {
                    loop {
                        tokio::time::sleep(HIDDEN / 3).await;
                        if let Err(error) = queue.change_visibility(&handle, HIDDEN).await {
                            tracing::warn!(error = error.chain(), "the job's message may be delivered again");
                        }
                    }
                })
            };
            let ended = one(&station, &message.job, &options, &teller, output).await;
            hidden.abort();
            let exit = ended.unwrap_or_else(|error| crate::exit::failed(&error));
            if exit != Exit::Done {
                worst = exit;
            }
            // A device may be put right and a store come back: only a job that is over leaves the queue.
            if let Err(error) = take_off(&station, &message.job, &queue, delivery.receipt_handle).await {
                say(&format!("ferry: the message of job {} stays in the queue: {error:#}", message.job));
            }
        }
    }
}

/// Takes a job's message off the queue, once the job is over.
async fn take_off(station: &Station, job: &JobId, queue: &SqsQueue, receipt_handle: String) -> Result<()> {
    if station.is_over(job).await? {
        for deleted in queue.delete_batch(vec![receipt_handle]).await? {
            deleted?;
        }
    }
    Ok(())
}

pub(super) async fn station(place: &ExportPlace) -> Result<Station> {
    let (service, state) = service(place, Callers::default()).await?;
    Ok(Station::new(service, state.root().join("export/work"))?)
}

fn options(args: &WriteArgs) -> Result<RunOptions> {
    if args.outer.is_some() && !matches!(args.target, Target::Block(_)) {
        let message = "--outer is for block:DISK; another target has its file system already";
        return Err(UsageError(message.to_owned()).into());
    }
    Ok(RunOptions {
        target: args.target.clone(),
        outer: args.outer.map(|outer| match outer {
            OuterFs::Ntfs => FileSystem::Ntfs,
            OuterFs::Ext4 => FileSystem::Ext4,
        }),
        capacity_bytes: args.capacity.map(|size| size.bytes),
        read_back: match args.verify {
            _ if args.no_verify => None,
            ReadBack::Nothing => None,
            ReadBack::Full => Some(Scope::Full),
            ReadBack::Sample(share) => Some(super::medium::sample(share)?),
        },
        device_id: if args.device_id_on_sticker { DeviceId::Sticker } else { DeviceId::Serial },
        ntfs: super::medium::ntfs()?,
        consent: args.yes_erase.clone().map_or(Consent::Asked(ask), Consent::Given),
    })
}

/// Asks the person at the terminal; where there is none, nobody agrees.
fn ask(confirmation: &Confirmation) -> String {
    use std::io::IsTerminal as _;
    if !std::io::stdin().is_terminal() {
        return String::new();
    }
    say(&confirmation.question);
    let mut typed = String::new();
    match std::io::stdin().read_line(&mut typed) {
        Ok(_) => typed,
        Err(_) => String::new(),
    }
}

async fn one(
    station: &Station,
    job: &JobId,
    options: &RunOptions,
    teller: &Teller,
    output: &OutputArgs,
) -> Result<Exit> {
    let shown = show(station.progress(), output);
    let ended = station.run(job, options).await;
    if let Some((bar, task)) = shown {
        task.abort();
        bar.finish_and_clear();
    }
    match ended {
        Ok(finished) => {
            let status = status_of(&finished.job);
            let how = status["progress"].as_str().unwrap_or_default().to_owned();
            teller.tell(job, &how, &status).await;
            Ok(report(&finished, output))
        }
        Err(StationError::Refused { message, .. }) => {
            teller.tell(job, "refused", &json!(message)).await;
            say(&format!("ferry: refused: {message}"));
            Ok(Exit::Refused)
        }
        Err(error) => {
            let (how, what_next) = match &error {
                StationError::Canceled(_) => ("Canceled", None),
                StationError::Device(_) => ("DeviceError", Some(GO_ON)),
                StationError::Store(_) | StationError::Stopped(_) => ("stopped", Some(GO_ON)),
                _ => ("not run", None),
            };
            teller.tell(job, how, &json!(ferry_transfer::chain(&error))).await;
            let failed = match error {
                StationError::Job(message) => crate::exit::failed(&UsageError(message).into()),
                error => crate::exit::failed(&error.into()),
            };
            if let Some(what_next) = what_next {
                say(what_next);
            }
            Ok(failed)
        }
    }
}

fn report(finished: &Finished, output: &OutputArgs) -> Exit {
    if output.json {
        let mut value = status_of(&finished.job);
        value["report"] = json!(finished.report);
        value["verdict"] = json!(finished.verdict);
        value["next_manifest"] = json!(finished.next_manifest);
        value["log"] = json!(finished.log);
        print(&value.to_string());
    } else {
        let report = &finished.report;
        print(&format!(
            "{}: {} files written ({}), {} in the recovery directory",
            finished.job.state,
            HumanCount(report.written),
            HumanBytes(report.written_bytes),
            HumanCount(report.remapped)
        ));
        for (count, what) in [
            (report.given_up, "changed, vanished or could not be read; zeros stand in their place"),
            (report.archived, "are archived and were left out"),
            (report.no_room, "had no room"),
            (report.without_attributes, "are there, but their metadata had no room"),
        ] {
            if count > 0 {
                print(&format!("  {} objects {what}", HumanCount(count)));
            }
        }
        if let Some(verdict) = &finished.verdict {
            print(&format!("  read back: {}", super::medium::in_words(verdict)));
        }
        print(&format!(
            "  log: {} and {}/{}",
            finished.log.display(),
            finished.job.log_bucket,
            finished.job.log_key
        ));
        if let Some(next) = &finished.next_manifest {
            print(&format!("  the next medium's manifest: {}", next.display()));
        }
    }
    let is_right = finished.verdict.as_ref().is_none_or(ferry_device::verify::Verdict::is_right);
    match finished.job.state {
        JobState::Complete if is_right => Exit::Done,
        _ => Exit::Failed,
    }
}

/// A bar on a terminal, with what is left of the time.
fn show(
    progress: Arc<StationProgress>,
    output: &OutputArgs,
) -> Option<(ProgressBar, tokio::task::JoinHandle<()>)> {
    use std::io::IsTerminal as _;
    if output.json || output.quiet || !std::io::stderr().is_terminal() {
        return None;
    }
    let style = "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, about {eta} left";
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(style).ok()?);
    let drawn = bar.clone();
    let task = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            // Until there is something to show, the terminal is left to a question.
            if progress.bytes.load(Relaxed) == 0 {
                continue;
            }
            drawn.set_length(progress.bytes.load(Relaxed));
            drawn.set_position(progress.bytes_done.load(Relaxed));
        }
    });
    Some((bar, task))
}
