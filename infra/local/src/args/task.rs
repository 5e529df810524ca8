//! `ferry task`, as typed.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use ferry_transfer::schedule::Schedule;

use super::{ConfigArgs, StackArgs};

/// `ferry task`.
#[derive(Debug, ClapArgs)]
pub struct TaskArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TaskCommand,
    /// Which deployment.
    #[command(flatten)]
    pub stack: StackArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Give the deployment a task, or another text for one it has; with its stores and its schedule
    Put(PutTaskArgs),
    /// Print a task's document
    Get(TaskNameArgs),
    /// List tasks, with their schedules
    List,
    /// Take a task and its schedule away; what it copied stays
    Delete(TaskNameArgs),
    /// Run a task now
    Run(TaskNameArgs),
    /// Keep a task's schedule from firing; what is on the queue goes on
    Pause(TaskNameArgs),
    /// Let it fire again
    Resume(TaskNameArgs),
    /// Turn the configuration of a Data Transfer Hub task into a task and its stores
    ImportDth(ImportDthArgs),
}

/// A task by name.
#[derive(Debug, ClapArgs)]
pub struct TaskNameArgs {
    /// The task
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `ferry task put`.
#[derive(Debug, ClapArgs)]
pub struct PutTaskArgs {
    /// The task's document, YAML or JSON; - is the standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// When it runs: 'rate(1 hour)', 'cron(0 2 * * ? *)' [default: as the document says, else as before]
    #[arg(long, value_name = "EXPRESSION")]
    pub schedule: Option<Schedule>,
    /// The time zone of a cron expression
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub timezone: String,
    /// Take its schedule away
    #[arg(long, conflicts_with = "schedule")]
    pub no_schedule: bool,
    /// The file that describes the stores it names; those are given to the deployment, too
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `ferry task import-dth`.
#[derive(Debug, ClapArgs)]
pub struct ImportDthArgs {
    /// Its config.yaml, or a file of NAME=value lines as its environment has them; - is the standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Its list of prefixes, one on each line, where it has one: a copy of the object that srcPrefixList names
    #[arg(long, value_name = "FILE")]
    pub prefix_list: Option<PathBuf>,
    /// The task's name
    #[arg(long, value_name = "NAME", default_value = "dth")]
    pub name: String,
    /// The directory to write NAME.yaml and ferry.yaml to; nothing in it is overwritten
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
}
