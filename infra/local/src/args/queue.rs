//! `ferry queue`, as typed.

use clap::{Args as ClapArgs, Subcommand};

use super::StackArgs;

/// `ferry queue`.
#[derive(Debug, ClapArgs)]
pub struct QueueArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: QueueCommand,
    /// Which deployment.
    #[command(flatten)]
    pub stack: StackArgs,
    /// The queue of jobs [default: the deployment's]
    #[arg(long, value_name = "URL", global = true, help_heading = "Stack")]
    pub queue: Option<String>,
    /// The queue of dead letters [default: the deployment's]
    #[arg(long, value_name = "URL", global = true, help_heading = "Stack")]
    pub dead_letters: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Say how much waits where, and why jobs failed
    Stats(LettersArgs),
    /// Show dead letters with their reasons, and leave them where they are
    Peek(PeekArgs),
    /// Send dead letters back to be tried again
    Redrive(RedriveArgs),
    /// Throw dead letters away for good
    Purge(PurgeArgs),
}

/// Which dead letters are looked at.
#[derive(Debug, Clone, ClapArgs)]
pub struct LettersArgs {
    /// Most dead letters to look at
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Only letters whose reason has this text in it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `ferry queue peek`.
#[derive(Debug, ClapArgs)]
pub struct PeekArgs {
    /// Which.
    #[command(flatten)]
    pub letters: LettersArgs,
}

/// `ferry queue redrive`.
#[derive(Debug, ClapArgs)]
pub struct RedriveArgs {
    /// Only letters whose reason has this text in it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Most letters to send back [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Letters a second
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=3000))]
    pub rate: u32,
}

/// `ferry queue purge`.
#[derive(Debug, ClapArgs)]
pub struct PurgeArgs {
    /// Only letters whose reason has this text in it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}
