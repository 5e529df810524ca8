//! `ferry task`: the tasks of a deployment on AWS.
//!
//! Owns: writing a task, its stores and its schedule where the functions look for them, and refusing what the functions would not
//! understand. Does not own: the document ([`ferry_transfer::task`]), nor the schedule's service ([`ferry_cloud::schedules`]).
//! Invariant: what is written can be run: its stores are there before it, and it before its schedule.

mod import_dth;

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use ferry_cloud::lambda::parse;
use ferry_cloud::parameters::Secrecy;
use ferry_cloud::schedules::{Activity, Schedule, Schedules};
use ferry_cloud::{CredentialRef, StoreConfig};
use ferry_transfer::job::{Message, ScanJob};
use ferry_transfer::key_source::{DocumentName, KeySource};
use ferry_transfer::queue::OutgoingMessage;
use ferry_transfer::task::Task;
use ferry_transfer::{Error, KeyRange, RunId, SystemClock};
use serde_json::json;

use crate::args::{OutputArgs, PutTaskArgs, TaskArgs, TaskCommand};
use crate::config::{Config, OneOff};
use crate::deployed::{self, Deployed};
use crate::exit::{Exit, UsageError, print, say};

/// Longest name of a schedule (Amazon EventBridge Scheduler API Reference, `CreateSchedule`).
const NAME_MAX: usize = 64;

/// Runs one subcommand.
pub async fn run(args: TaskArgs, output: &OutputArgs) -> Result<Exit> {
    let stack = &args.stack;
    match args.command {
        TaskCommand::Put(put) => self::put(&Deployed::read(stack).await?, put, output).await,
        TaskCommand::Get(get) => self::get(&Deployed::read(stack).await?, &get.name, output).await,
        TaskCommand::List => list(&Deployed::read(stack).await?, output).await,
        TaskCommand::Delete(delete) => {
            self::delete(&Deployed::read(stack).await?, &delete.name, output).await
        }
        TaskCommand::Run(run) => self::start(&Deployed::read(stack).await?, &run.name, output).await,
        TaskCommand::Pause(task) => {
            turn(&Deployed::read(stack).await?, &task.name, Activity::Paused, output).await
        }
        TaskCommand::Resume(task) => {
            turn(&Deployed::read(stack).await?, &task.name, Activity::Active, output).await
        }
        TaskCommand::ImportDth(import) => import_dth::run(&import, output),
    }
}

async fn schedules(deployed: &Deployed) -> Result<Schedules> {
    let deployment = &deployed.deployment;
    Ok(Schedules::connect(deployment.schedule_group.clone(), deployment.target()).await?)
}

async fn put(deployed: &Deployed, args: PutTaskArgs, output: &OutputArgs) -> Result<Exit> {
    let text = read(&args.file)?;
    let task: Task = parse(&args.file.display().to_string(), &text)?;
    check(&task)?;
    let config = Config::load(&args.config)?;
    let mut stores = Vec::new();
    for name in [&task.source.store, &task.destination.store] {
        if !stores.iter().any(|(known, _)| known == name)
            && let Some(store) = store(deployed, &config, name).await?
        {
            stores.push((name.clone(), store));
        }
    }
    for (name, store) in &stores {
        let text = serde_json::to_string(store)?;
        deployed.parameters.put(&deployed.store(name), &text, Secrecy::Plain).await?;
    }
    // As it was written, so that comments stay; JSON is YAML.
    let version = deployed.parameters.put(&deployed.task(&task.name), &text, Secrecy::Plain).await?;
    let schedule = schedule(deployed, &task, &args).await?;
    if output.json {
        let stores: Vec<&String> = stores.iter().map(|(name, _)| name).collect();
        print(
            &json!({ "task": task.name, "version": version, "stores": stores, "schedule": schedule })
                .to_string(),
        );
    } else {
        for (name, _) in &stores {
            print(&format!("store {name} → {}", deployed.store(name)));
        }
        print(&format!("task {} → {}, version {version}", task.name, deployed.task(&task.name)));
        print(&match schedule {
            Some(schedule) => format!("schedule: {schedule}"),
            None => format!("schedule: none; `ferry task run {}` runs it", task.name),
        });
    }
    Ok(Exit::Done)
}

/// Writes, keeps or removes the schedule; what it is then.
async fn schedule(deployed: &Deployed, task: &Task, args: &PutTaskArgs) -> Result<Option<String>> {
    let schedules = schedules(deployed).await?;
    if args.no_schedule {
        schedules.remove(&task.name).await?;
        return Ok(None);
    }
    let before = schedules.get(&task.name).await?;
    let Some(expression) = args.schedule.as_ref().or(task.schedule.as_ref()) else {
        return Ok(before.map(|schedule| described(&schedule)));
    };
    let schedule = Schedule {
        task: task.name.clone(),
        expression: expression.to_string(),
        timezone: args.timezone.clone(),
        activity: before.map_or(Activity::Active, |before| before.activity),
    };
    schedules.put(&schedule).await?;
    Ok(Some(described(&schedule)))
}

fn described(schedule: &Schedule) -> String {
    let zone = if schedule.timezone == "UTC" { String::new() } else { format!(" {}", schedule.timezone) };
    let paused = if schedule.activity == Activity::Paused { ", paused" } else { "" };
    format!("{}{zone}{paused}", schedule.expression)
}

/// What a function could not do: it has no files and no standard input, and its name is a part of a parameter's and a schedule's.
fn check(task: &Task) -> Result<(), UsageError> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if task.name.is_empty() || task.name.len() > NAME_MAX || !task.name.bytes().all(is_plain) {
        return Err(UsageError(format!(
            "task name {:?}: in the cloud it is up to {NAME_MAX} letters, digits, `.`, `_` and `-`",
            task.name
        )));
    }
    if task.version != Task::VERSION {
        return Err(UsageError(format!(
            "task {} is of version {}, and the functions know {}",
            task.name,
            task.version,
            Task::VERSION
        )));
    }
    let document = match &task.keys {
        KeySource::Listing | KeySource::Prefixes(_) => None,
        KeySource::List(list) => Some(&list.from),
        KeySource::Inventory(manifest) => Some(manifest),
    };
    match document {
        Some(DocumentName::Stdin | DocumentName::File(_)) => Err(UsageError(format!(
            "task {}: a function has no files; put the list of keys into a bucket and name it NAME://BUCKET/KEY",
            task.name
        ))),
        _ => Ok(()),
    }
}

/// What the deployment is to be told of a store; `None` where it knows it, or needs to know nothing.
async fn store(deployed: &Deployed, config: &Config, name: &str) -> Result<Option<StoreConfig>> {
    let place = deployed.store(name);
    let known = deployed.parameters.get(&place).await?;
    let known: Option<StoreConfig> = known.map(|text| parse(&place, &text)).transpose()?;
    match config.store(name, OneOff::No) {
        Ok(store) if config.has(name) => {
            if let credentials @ (CredentialRef::Env(_)
            | CredentialRef::File(_)
            | CredentialRef::Command(_)
            | CredentialRef::Profile(_)) = &store.credentials
            {
                return Err(UsageError(format!(
                    "store {name}: a function cannot follow {credentials}; put the keys into a SecureString parameter and refer \
                     to it as ssm:{}/credentials/{name}",
                    deployed.path
                ))
                .into());
            }
            Ok((known.as_ref() != Some(&store)).then_some(store))
        }
        _ if known.is_some() || name == "s3" => Ok(None),
        _ => Err(UsageError(format!(
            "there is no store {name:?}, neither in ferry.yaml (--config) nor as parameter {place}"
        ))
        .into()),
    }
}

fn read(file: &Path) -> Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("the standard input cannot be read")?;
        return Ok(text);
    }
    let read = std::fs::read_to_string(file);
    Ok(read.map_err(|error| UsageError(format!("{} cannot be read: {error}", file.display())))?)
}

/// A task's text; a usage error where there is none.
async fn text_of(deployed: &Deployed, name: &str) -> Result<String> {
    let text = deployed.parameters.get(&deployed.task(name)).await?;
    let missing =
        || UsageError(format!("there is no task {name:?}; `ferry task list` lists those there are"));
    Ok(text.ok_or_else(missing)?)
}

async fn get(deployed: &Deployed, name: &str, output: &OutputArgs) -> Result<Exit> {
    let text = text_of(deployed, name).await?;
    if output.json {
        print(&serde_json::to_string(&parse::<Task>(name, &text)?)?);
    } else {
        print(text.trim_end());
    }
    Ok(Exit::Done)
}

async fn list(deployed: &Deployed, output: &OutputArgs) -> Result<Exit> {
    let schedules = schedules(deployed).await?;
    let prefix = deployed.task("");
    for parameter in deployed.parameters.list(&prefix).await? {
        let name = parameter.name.strip_prefix(&prefix).unwrap_or(&parameter.name);
        let task = parse::<Task>(&parameter.name, &parameter.value);
        let schedule = schedules.get(name).await?.as_ref().map(described);
        if output.json {
            let ends = task.as_ref().ok().map(|task| [task.source.to_string(), task.destination.to_string()]);
            print(
                &json!({
                    "task": name, "version": parameter.version, "schedule": schedule,
                    "source": ends.as_ref().map(|ends| &ends[0]), "destination": ends.as_ref().map(|ends| &ends[1]),
                    "error": task.err().map(|error| error.chain()),
                })
                .to_string(),
            );
            continue;
        }
        let schedule = schedule.unwrap_or_else(|| "no schedule".to_owned());
        let what = match task {
            Ok(task) => format!("{} → {}", task.source, task.destination),
            Err(error) => format!("the functions cannot read it: {}", error.chain()),
        };
        print(&format!("{name:<24}  v{:<4}  {schedule:<24}  {what}", parameter.version));
    }
    Ok(Exit::Done)
}

async fn delete(deployed: &Deployed, name: &str, output: &OutputArgs) -> Result<Exit> {
    // A schedule without its task would fail; a task without its schedule rests.
    let had_schedule = schedules(deployed).await?.remove(name).await?;
    let was_there = deployed.parameters.remove(&deployed.task(name)).await?;
    if !was_there && !had_schedule {
        return Err(UsageError(format!("there is no task {name:?}")).into());
    }
    said("deleted", name, output);
    Ok(Exit::Done)
}

/// Puts the whole range of names on the queue of scans. A queue, not an invocation: what fails is delivered again.
async fn start(deployed: &Deployed, name: &str, output: &OutputArgs) -> Result<Exit> {
    parse::<Task>(name, &text_of(deployed, name).await?)?;
    let run = RunId::new(&SystemClock);
    let scan =
        ScanJob { task: Some(name.to_owned()), run: Some(run.as_str().to_owned()), range: KeyRange::ALL };
    let queue = deployed::queue(&deployed.deployment.scan_queue_url).await?;
    let sent = queue.send_batch(vec![OutgoingMessage::new(Message::Scan(scan).to_json())]).await?;
    sent.into_iter().collect::<Result<(), Error>>()?;
    if output.json {
        print(&json!({ "task": name, "run": run }).to_string());
    } else {
        print(run.as_str());
        if !output.quiet {
            say(&format!("`ferry run status {run}` says how far it has come"));
        }
    }
    Ok(Exit::Done)
}

async fn turn(deployed: &Deployed, name: &str, activity: Activity, output: &OutputArgs) -> Result<Exit> {
    let schedules = schedules(deployed).await?;
    let Some(schedule) = schedules.get(name).await? else {
        text_of(deployed, name).await?;
        return Err(UsageError(format!(
            "task {name:?} has no schedule; `ferry task put --schedule` gives it one"
        ))
        .into());
    };
    schedules.put(&Schedule { activity, ..schedule }).await?;
    said(if activity == Activity::Paused { "paused" } else { "resumed" }, name, output);
    Ok(Exit::Done)
}

fn said(what: &str, name: &str, output: &OutputArgs) {
    if output.json {
        print(&json!({ "task": name, "what": what }).to_string());
    } else {
        print(&format!("task {name} {what}"));
    }
}
