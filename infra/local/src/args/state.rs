//! Where runs are remembered on this machine.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use ferry_transfer::state::DirectoryState;

use crate::exit::UsageError;

/// Where runs are remembered on this machine.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct StateArgs {
    /// The directory that remembers runs: checkpoints, open uploads, receipts [default: ~/.local/state/ferry]
    #[arg(long, env = "FERRY_STATE_DIR", value_name = "DIR", help_heading = "State")]
    pub state_dir: Option<PathBuf>,
    /// How many runs are remembered; what older ones left is removed, the journals of their deletes too
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..), help_heading = "State")]
    pub keep_runs: u16,
}

impl StateArgs {
    /// Opens the directory; made where it is missing. Without the flag it is where the XDG Base Directory Specification puts
    /// state: `$XDG_STATE_HOME/ferry`, else `~/.local/state/ferry`.
    pub fn open(&self) -> anyhow::Result<DirectoryState> {
        let from_environment =
            |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let directory = self
            .state_dir
            .clone()
            .or_else(|| from_environment("XDG_STATE_HOME").map(|state| state.join("ferry")))
            .or_else(|| from_environment("HOME").map(|home| home.join(".local/state/ferry")))
            .ok_or_else(|| {
                UsageError(
                    "there is no home directory to remember runs in; name one with --state-dir".to_owned(),
                )
            })?;
        Ok(DirectoryState::open(directory)?)
    }

    /// The same for what can do without: only a directory that was asked for must be one.
    pub fn open_if_there_is_a_place(&self) -> anyhow::Result<Option<DirectoryState>> {
        match self.open() {
            Ok(state) => Ok(Some(state)),
            Err(error) if self.state_dir.is_some() => Err(error),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "nothing of this run will be remembered");
                Ok(None)
            }
        }
    }
}
