//! Credential references: where a store's keys come from, never the keys themselves.
//!
//! Owns: the forms of `credentials:` and `--source-credentials`, and fetching what they point at. Does not own: signing. Invariant: no value
//! appears in a `Debug`, an error or a log; errors name the reference.

pub(crate) mod keyring;
mod parse;
mod peer_keys;
mod provider;
mod words;

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use ferry_transfer::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::parameters::{self, Parameters};

pub(crate) use self::keyring::{Keyring, are_same};
pub use self::peer_keys::PeerKeys;
pub(crate) use self::provider::provider;

/// Longest wait for a credential command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a reference to be followed, of whatever kind.
pub(crate) const RESOLVE_TIMEOUT: Duration = Duration::from_secs(35);

/// Where a store's credentials come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CredentialRef {
    /// The SDK's default chain: environment, profile, web identity, container or instance role.
    #[default]
    Ambient,
    /// No credentials: requests are not signed.
    Anonymous,
    /// `PREFIX_ACCESS_KEY_ID`, `PREFIX_SECRET_ACCESS_KEY` and, where set, `PREFIX_SESSION_TOKEN`.
    Env(String),
    /// A file that holds the JSON or the two words.
    File(PathBuf),
    /// An SSM parameter that holds the JSON, decrypted.
    Ssm(String),
    /// A command that prints the JSON or the two words. Split like a shell splits, but run without one.
    Command(String),
    /// A profile of the AWS configuration files.
    Profile(String),
}

/// Keys. Prints nothing of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: String,
    /// The third part of temporary credentials.
    pub session_token: Option<String>,
    /// When they end, where their source says.
    pub expires: Option<OffsetDateTime>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl FromStr for CredentialRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, value) = text.split_once(':').unwrap_or((text, ""));
        let named = || match value {
            "" => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the credential reference `{kind}:` names nothing"),
            )),
            value => Ok(value.to_owned()),
        };
        match kind {
            "ambient" if value.is_empty() => Ok(Self::Ambient),
            "anonymous" if value.is_empty() => Ok(Self::Anonymous),
            "env" => named().map(Self::Env),
            "file" => named().map(|path| Self::File(path.into())),
            "ssm" => named().map(Self::Ssm),
            "command" => {
                let command = named()?;
                words::split(&command)?;
                Ok(Self::Command(command))
            }
            "profile" => named().map(Self::Profile),
            // The text is not repeated: a key pasted in the wrong place must not end in a log.
            _ => Err(Error::new(
                ErrorKind::InvalidInput,
                "a credential reference is env:PREFIX, file:PATH, ssm:NAME, command:CMD, profile:NAME, anonymous or ambient",
            )),
        }
    }
}

impl fmt::Display for CredentialRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambient => f.write_str("ambient"),
            Self::Anonymous => f.write_str("anonymous"),
            Self::Env(prefix) => write!(f, "env:{prefix}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Ssm(name) => write!(f, "ssm:{name}"),
            Self::Command(command) => write!(f, "command:{command}"),
            Self::Profile(name) => write!(f, "profile:{name}"),
        }
    }
}

impl Serialize for CredentialRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CredentialRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl CredentialRef {
    /// Fetches the keys a reference points at; `None` for the references that the SDK follows by itself (ambient, profile) or
    /// that have none (anonymous).
    ///
    /// # Errors
    ///
    /// `Configuration`, naming the reference, where there is nothing or not what a reference must point at.
    pub async fn resolve(&self) -> Result<Option<Credentials>> {
        match self {
            Self::Ambient | Self::Anonymous | Self::Profile(_) => Ok(None),
            Self::Env(prefix) => self.read_environment(prefix, |name| std::env::var(name).ok()).map(Some),
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| self.unusable("the file cannot be read").caused_by(error))?;
                self.read_text(&text).map(Some)
            }
            Self::Command(command) => self.read_text(&self.run(command).await?).map(Some),
            // Boxed: asking SSM is a large future, and every command waits for one of these.
            Self::Ssm(name) => self.read_text(&Box::pin(self.parameter(name)).await?).map(Some),
        }
    }

    fn read_environment(
        &self,
        prefix: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Credentials> {
        let wanted = |name: &str| {
            let name = format!("{prefix}_{name}");
            variable(&name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| self.unusable(format!("the environment variable {name} is not set")))
        };
        Ok(Credentials {
            access_key_id: wanted("ACCESS_KEY_ID")?,
            secret_access_key: wanted("SECRET_ACCESS_KEY")?,
            session_token: wanted("SESSION_TOKEN").ok(),
            expires: None,
        })
    }

    fn read_text(&self, text: &str) -> Result<Credentials> {
        parse::credentials(text).ok_or_else(|| {
            self.unusable(
                "it does not hold credentials: wanted is the JSON {\"access_key_id\", \"secret_access_key\", \
                 \"session_token\"?}, or the two keys separated by white space",
            )
        })
    }

    pub(crate) async fn run(&self, command: &str) -> Result<String> {
        let words = words::split(command)?;
        let Some((program, arguments)) = words.split_first() else {
            return Err(self.unusable("the command is empty"));
        };
        let running = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            // What a helper says on the side may hold what it should not: nobody reads it.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(COMMAND_TIMEOUT, running)
            .await
            .map_err(|_| {
                self.unusable(format!("the command did not end within {} s", COMMAND_TIMEOUT.as_secs()))
            })?
            .map_err(|error| self.unusable("the command cannot be run").caused_by(error))?;
        if !output.status.success() {
            return Err(
                self.unusable(format!("the command failed ({}): run it by hand to see why", output.status))
            );
        }
        String::from_utf8(output.stdout)
            .map_err(|_| self.unusable("the command printed something that is not text"))
    }

    async fn parameter(&self, name: &str) -> Result<String> {
        let parameters =
            parameters::ssm().await.map_err(|error| self.unusable("not available").caused_by(error))?;
        self.ask(parameters.as_ref(), name).await
    }

    async fn ask(&self, parameters: &dyn Parameters, name: &str) -> Result<String> {
        let value = parameters
            .get(name)
            .await
            .map_err(|error| self.unusable("SSM did not give it").caused_by(error))?;
        value.ok_or_else(|| self.unusable("there is no such parameter in this region"))
    }

    fn unusable(&self, message: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Configuration, format!("credentials {self}: {message}"))
    }
}

#[cfg(test)]
mod tests;
