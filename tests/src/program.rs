//! One run of a binary.
//!
//! Owns: its clean environment, its time limit and reading what it printed. Invariant: whatever a test looks at, no run may show a
//! secret it was given.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};

/// Longest any run may take: several times what the longest does, also on a busy machine. One that takes longer hangs.
const TIME_LIMIT: Duration = Duration::from_mins(2);
/// What variables end in that no program may show.
const SECRET_SUFFIXES: [&str; 2] = ["_SECRET_ACCESS_KEY", "_SESSION_TOKEN"];

/// A binary to run, with nothing in its environment but what a test puts there.
#[derive(Debug)]
pub struct Program {
    command: Command,
    variables: BTreeMap<String, String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said on the side.
    pub stderr: String,
}

impl Program {
    /// The binary at `path`, at home in `directory`.
    pub fn new(path: impl AsRef<Path>, directory: &Path) -> Self {
        let mut command = Command::new(path.as_ref());
        command.env_clear().current_dir(directory).stdin(Stdio::null()).kill_on_drop(true);
        let program = Self { command, variables: BTreeMap::new() };
        program
            .env("HOME", &directory.display().to_string())
            // Otherwise a store without credentials makes the SDK ask the instance metadata address.
            .env("AWS_EC2_METADATA_DISABLED", "true")
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Gives it a file to read on its standard input.
    #[must_use]
    pub fn stdin(mut self, file: File) -> Self {
        self.command.stdin(file);
        self
    }

    /// Takes a variable away.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self.variables.remove(name);
        self
    }

    /// Sets the variables that `env:PREFIX` refers to.
    #[must_use]
    pub fn credentials(self, prefix: &str, access_key_id: &str, secret_access_key: &str) -> Self {
        self.env(&format!("{prefix}_ACCESS_KEY_ID"), access_key_id)
            .env(&format!("{prefix}_SECRET_ACCESS_KEY"), secret_access_key)
    }

    /// Runs to its end.
    pub async fn run(mut self) -> Ended {
        let output = tokio::time::timeout(TIME_LIMIT, self.command.output())
            .await
            .unwrap_or_else(|_| panic!("did not end within {TIME_LIMIT:?}: {:?}", self.command.as_std()))
            .unwrap_or_else(|error| panic!("did not start: {error}: {:?}", self.command.as_std()));
        let ended = Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        };
        for (name, secret) in &self.variables {
            let is_secret = !secret.is_empty() && SECRET_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
            assert!(!is_secret || !ended.shows(secret), "{name} is shown:\n{ended}");
        }
        ended
    }

    /// Starts, for a test to talk to while it runs. What it says goes to the file. It ends when it is dropped.
    pub fn start(mut self, log: File) -> Child {
        let twin = log.try_clone().expect("a file for both outputs");
        self.command.stdout(log).stderr(twin);
        self.command
            .spawn()
            .unwrap_or_else(|error| panic!("did not start: {error}: {:?}", self.command.as_std()))
    }
}

impl Ended {
    /// Whether a text is anywhere in what was printed.
    pub fn shows(&self, text: &str) -> bool {
        self.stdout.contains(text) || self.stderr.contains(text)
    }

    /// Insists on an exit code.
    #[expect(clippy::return_self_not_must_use, reason = "an assertion whose value may be looked at further")]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Insists on exit code 2, nothing on stdout, and these words in the message.
    #[expect(clippy::return_self_not_must_use, reason = "an assertion whose value may be looked at further")]
    pub fn expect_refusal(self, words: &[&str]) -> Self {
        let ended = self.expect_code(2);
        assert_eq!(ended.stdout, "", "{ended}");
        for word in words {
            assert!(ended.stderr.contains(word), "the message does not say {word:?}:\n{ended}");
        }
        ended
    }

    /// The one JSON document on stdout.
    pub fn report(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON document: {error}\n{self}"))
    }

    /// The JSON documents on stdout, one on each line.
    pub fn lines(&self) -> Vec<Value> {
        let parse = |line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON: {error} in {line:?}\n{self}"))
        };
        self.stdout.lines().map(parse).collect()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}\n-- stdout\n{}\n-- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}
