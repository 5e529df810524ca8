//! What the function is told by its environment.
//!
//! Owns: the names of the variables, and turning them into a [`Service`]. Invariant: a setting that cannot be is refused at the start, by
//! name; variables hold documents and references, never secrets.
//!
//! | variable | holds |
//! |---|---|
//! | `FERRY_STATE` | where jobs are kept: `NAME://bucket/prefix/`, NAME a store of `FERRY_STORES` |
//! | `FERRY_STORES` | the stores that hold buckets, as JSON or YAML; or `ssm:/ferry/stores/`; default: `s3` alone |
//! | `FERRY_EXPORT_STORE` | the store of manifests without `x-store`; default `s3` |
//! | `FERRY_EXPORT_SECRETS` | `ssm:/ferry/export`: under this path passwords and the signing key are kept |
//! | `FERRY_EXPORT_CALLERS` | references to the keys that requests may be signed with, as a JSON array or one alone |
//! | `FERRY_EXPORT_JOBS_PER_DAY` | most jobs created in 24 hours; default 50 |
//! | `FERRY_EXPORT_EXPIRE_DAYS` | days that a job waits for its device; default 30 |
//! | `FERRY_EXPORT_STRICT` | `yes` demands what the original demanded for shipping; default `no` |
//! | `FERRY_EXPORT_ADDRESS` | the address that devices are brought to, its lines as a JSON array or one alone |

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use ferry_cloud::CredentialRef;
use ferry_cloud::credentials::PeerKeys;
use ferry_cloud::documents::Buckets as _;
use ferry_cloud::lambda::{Stores, parse};
use ferry_cloud::parameters::{self, SharedParameters};
use ferry_device::manifest::Strictness;
use ferry_transfer::state::ObjectState;
use ferry_transfer::task::Location;
use ferry_transfer::{Clock, Error, ErrorKind, Result};
use serde::Deserialize;
use time::Duration;

use crate::secrets::ParameterSecrets;
use crate::service::{Limits, Service, ServiceParts, StationPlace};

/// What the function is told.
#[derive(Debug)]
pub struct Settings {
    state: Location,
    stores: ToldStores,
    default_store: String,
    secrets_path: String,
    callers: Vec<CredentialRef>,
    limits: Limits,
    address: Vec<String>,
}

/// A document in the variable, or the path of SSM under which its parts stand.
#[derive(Debug)]
enum ToldStores {
    Here(BTreeMap<String, ferry_cloud::StoreConfig>),
    Under(String),
}

/// One text, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(Vec<String>),
}

impl Settings {
    /// Reads the process's variables.
    pub fn read() -> Result<Self> {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let required = |name: &str, why: &str| {
            variable(name).ok_or_else(|| misconfigured(format!("{name} is not set: {why}")))
        };
        let state = required("FERRY_STATE", "there is nowhere to keep jobs")?;
        let secrets = required("FERRY_EXPORT_SECRETS", "there is nowhere to keep passwords")?;
        let callers = required("FERRY_EXPORT_CALLERS", "nobody could sign a request")?;
        let defaults = Limits::default();
        let limits = Limits {
            jobs_per_day: number(&variable, "FERRY_EXPORT_JOBS_PER_DAY", defaults.jobs_per_day)?,
            expires_after: Duration::days(i64::from(number(&variable, "FERRY_EXPORT_EXPIRE_DAYS", 30_u16)?)),
            strictness: match variable("FERRY_EXPORT_STRICT").as_deref() {
                None | Some("no") => Strictness::Forgiving,
                Some("yes") => Strictness::Strict,
                Some(other) => {
                    return Err(misconfigured(format!(
                        "FERRY_EXPORT_STRICT is {other:?}, neither yes nor no"
                    )));
                }
            },
        };
        Ok(Self {
            state: state.parse().map_err(|error| misconfigured(format!("FERRY_STATE: {error}")))?,
            stores: match variable("FERRY_STORES") {
                None => ToldStores::Here(BTreeMap::new()),
                Some(text) if text.starts_with("ssm:") => {
                    ToldStores::Under(format!("{}/", ssm_path("FERRY_STORES", &text)?))
                }
                Some(text) => ToldStores::Here(parse("FERRY_STORES", &text)?),
            },
            default_store: variable("FERRY_EXPORT_STORE").unwrap_or_else(|| "s3".to_owned()),
            secrets_path: ssm_path("FERRY_EXPORT_SECRETS", &secrets)?,
            callers: texts("FERRY_EXPORT_CALLERS", &callers)?
                .iter()
                .map(|reference| {
                    let read: Result<CredentialRef> = reference.parse();
                    read.map_err(|error| misconfigured(format!("FERRY_EXPORT_CALLERS: {error}")))
                })
                .collect::<Result<_>>()?,
            limits,
            address: match variable("FERRY_EXPORT_ADDRESS") {
                Some(lines) => texts("FERRY_EXPORT_ADDRESS", &lines)?,
                None => vec![
                    "Nothing is shipped: bring the device to a machine that runs `ferry export run`"
                        .to_owned(),
                ],
            },
        })
    }

    /// The service, connected.
    pub async fn service(self, clock: Arc<dyn Clock>) -> Result<Service> {
        self.over(parameters::ssm().await?, clock).await
    }

    async fn over(self, parameters: SharedParameters, clock: Arc<dyn Clock>) -> Result<Service> {
        let stores = match self.stores {
            ToldStores::Here(stores) => Stores::told(stores),
            ToldStores::Under(path) => Stores::under(path, Arc::clone(&parameters)),
        };
        let callers = PeerKeys::look_up(self.callers).await.map_err(|error| {
            misconfigured("FERRY_EXPORT_CALLERS: nobody could sign a request".to_owned()).caused_by(error)
        })?;
        let prefix = match self.state.prefix.trim_end_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Ok(Service::new(ServiceParts {
            state: Arc::new(ObjectState::new(stores.bucket(&self.state).await?, prefix)),
            secrets: Arc::new(ParameterSecrets::new(parameters, &self.secrets_path)),
            buckets: Arc::new(stores),
            default_store: self.default_store,
            callers: callers.into(),
            limits: self.limits,
            shipping_address: self.address,
            station: StationPlace::Elsewhere,
            clock,
        }))
    }
}

fn ssm_path(name: &str, text: &str) -> Result<String> {
    let path = text.strip_prefix("ssm:").filter(|path| path.starts_with('/'));
    let path = path.map(|path| path.trim_end_matches('/')).filter(|path| !path.is_empty());
    path.map(str::to_owned).ok_or_else(|| {
        misconfigured(format!("{name} is not ssm: and a path of parameters, which begins with a slash"))
    })
}

fn texts(name: &str, text: &str) -> Result<Vec<String>> {
    Ok(match parse(name, text)? {
        Texts::One(text) => vec![text],
        Texts::Several(texts) => texts,
    })
}

fn number<T: FromStr + PartialOrd + Default>(
    variable: &impl Fn(&str) -> Option<String>,
    name: &str,
    default: T,
) -> Result<T> {
    let Some(text) = variable(name) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| *number > T::default());
    number.ok_or_else(|| misconfigured(format!("{name} is {text:?}, not a number from 1")))
}

fn misconfigured(message: String) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(&str, &str); 3] = [
        ("FERRY_STATE", "s3://jobs/export"),
        ("FERRY_EXPORT_SECRETS", "ssm:/ferry/export/"),
        ("FERRY_EXPORT_CALLERS", r#"["env:A", "ssm:/ferry/callers/b"]"#),
    ];

    fn settings(more: &[(&str, &str)]) -> Result<Settings> {
        Settings::from_variables(|name| {
            let found = more.iter().chain(&ALL).find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned()).filter(|value| !value.is_empty())
        })
    }

    #[test]
    fn what_is_told_is_taken() {
        let told = settings(&[
            ("FERRY_EXPORT_JOBS_PER_DAY", "7"),
            ("FERRY_EXPORT_EXPIRE_DAYS", "3"),
            ("FERRY_EXPORT_STRICT", "yes"),
            ("FERRY_EXPORT_ADDRESS", "Dock 4"),
        ])
        .expect("settings");
        assert_eq!(told.secrets_path, "/ferry/export");
        assert_eq!(
            told.callers,
            [CredentialRef::Env("A".into()), CredentialRef::Ssm("/ferry/callers/b".into())]
        );
        assert_eq!(
            told.limits,
            Limits { jobs_per_day: 7, expires_after: Duration::days(3), strictness: Strictness::Strict }
        );
        assert_eq!((told.default_store.as_str(), told.address), ("s3", vec!["Dock 4".to_owned()]));
        assert_eq!(settings(&[]).expect("settings").limits, Limits::default());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (name, value) in [
            ("FERRY_STATE", ""),
            ("FERRY_STATE", "jobs"),
            ("FERRY_EXPORT_SECRETS", ""),
            ("FERRY_EXPORT_SECRETS", "ssm:relative"),
            ("FERRY_EXPORT_SECRETS", "hunter2"),
            ("FERRY_EXPORT_CALLERS", ""),
            ("FERRY_EXPORT_CALLERS", "AKIAPASTED"),
            ("FERRY_EXPORT_JOBS_PER_DAY", "0"),
            ("FERRY_EXPORT_EXPIRE_DAYS", "soon"),
            ("FERRY_EXPORT_STRICT", "very"),
            ("FERRY_STORES", "ssm:x"),
        ] {
            let error = settings(&[(name, value)]).expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
            assert!(!error.contains("AKIAPASTED") && !error.contains("hunter2"), "{error}");
        }
    }
}
