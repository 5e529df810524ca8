//! `ferry.yaml`: the stores a user has, by name.
//!
//! Owns: finding and reading the file, with errors that name file, line and field. Does not own: what a store's fields mean
//! ([`StoreConfig`]). Invariant: holds no secret, only references.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use ferry_cloud::StoreConfig;
use serde::Deserialize;

use crate::args::ConfigArgs;
use crate::exit::UsageError;

/// The file looked for where none is named.
const DEFAULT_FILE: &str = "ferry.yaml";

/// The stores a user has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// By name.
    #[serde(default)]
    stores: BTreeMap<String, StoreConfig>,
    /// Where it was read from.
    #[serde(skip)]
    file: Option<PathBuf>,
}

impl Config {
    /// Reads the named file, or `ferry.yaml` of the current directory where there is one.
    pub fn load(args: &ConfigArgs) -> Result<Self> {
        match &args.config {
            Some(file) => Self::read(file),
            None if Path::new(DEFAULT_FILE).exists() => Self::read(Path::new(DEFAULT_FILE)),
            None => Ok(Self::default()),
        }
    }

    fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| UsageError(format!("{} cannot be read: {error}", file.display())))?;
        let mut config =
            Self::parse(&text).with_context(|| format!("{} is not as expected", file.display()))?;
        config.file = Some(file.to_owned());
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self, UsageError> {
        // Without a quotation of the line: somebody may have written a secret into it.
        let options = serde_saphyr::options! { with_snippet: false };
        let config: Self = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| UsageError(error.to_string()))?;
        for (name, store) in &config.stores {
            if name.is_empty()
                || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.')
            {
                return Err(UsageError(format!(
                    "store name {name:?}: use letters, digits, `-`, `_` and `.`, so that NAME://BUCKET can be typed"
                )));
            }
            store.validate().map_err(|error| UsageError(format!("store {name}: {}", error.chain())))?;
        }
        Ok(config)
    }

    /// Whether the file itself describes a store of that name.
    pub fn has(&self, name: &str) -> bool {
        self.stores.contains_key(name)
    }

    /// The store of that name. `s3` is Amazon S3 with ambient credentials unless the file says otherwise; with `one_off`, a name
    /// that is not in the file is a store that flags describe.
    pub fn store(&self, name: &str, one_off: OneOff) -> Result<StoreConfig, UsageError> {
        match (self.stores.get(name), one_off) {
            (Some(store), _) => Ok(store.clone()),
            (None, OneOff::Described) => Ok(StoreConfig::default()),
            (None, OneOff::No) if name == "s3" => Ok(StoreConfig::default()),
            (None, OneOff::No) => {
                let place = match &self.file {
                    Some(file) => file.display().to_string(),
                    None => {
                        format!("{DEFAULT_FILE} (there is none in this directory; name one with --config)")
                    }
                };
                let known: Vec<&str> = self.stores.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "no store".to_owned() } else { known.join(", ") };
                Err(UsageError(format!(
                    "there is no store {name:?} in {place}; it has {known}. Add it there, or describe it with --source-endpoint, \
                     --dest-endpoint or --endpoint"
                )))
            }
        }
    }
}

/// Whether flags describe a store of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OneOff {
    /// They do.
    Described,
    /// They do not.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_found_by_name_and_missing_ones_are_named() {
        let config =
            Config::parse("stores:\n  lab: {endpoint: 'http://127.0.0.1:9000', credentials: anonymous}\n")
                .expect("config");
        assert!(config.store("lab", OneOff::No).is_ok());
        assert!(config.store("s3", OneOff::No).is_ok());
        assert!(config.store("other", OneOff::Described).is_ok());
        let error = config.store("lap", OneOff::No).expect_err("no such store").to_string();
        assert!(error.contains("\"lap\"") && error.contains("lab"), "{error}");
    }

    #[test]
    fn mistakes_are_named_with_field_and_line() {
        let error = Config::parse("stores:\n  lab:\n    endpoint: http://127.0.0.1:9000\n    regoin: x\n")
            .expect_err("typo");
        assert!(error.0.contains("regoin") && error.0.contains("line 4"), "{error}");
        let error = Config::parse("stores:\n  lab: {provider: minioo, endpoint: 'http://h'}\n")
            .expect_err("provider");
        assert!(error.0.contains("lab") && error.0.contains("minioo"), "{error}");
        let error = Config::parse("stores: [\n").expect_err("not yaml");
        assert!(error.0.contains("line"), "{error}");
    }
}
