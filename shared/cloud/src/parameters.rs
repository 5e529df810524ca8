//! Documents by name: what SSM Parameter Store is to a function.
//!
//! Owns: the seam, and the client that asks SSM. Does not own: what the documents mean. Invariant: a value is never repeated in an
//! error; a parameter that is not there is an answer, not an error.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ferry_transfer::{Error, ErrorKind, Result};
use http::Method;
use serde_json::{Value, json};

use crate::aws_api::{AwsApi, Call, Service};

/// Where documents are kept by name.
#[async_trait]
pub trait Parameters: Send + Sync + fmt::Debug {
    /// The value of that name, decrypted; `None` where there is no such name.
    async fn get(&self, name: &str) -> Result<Option<String>>;

    /// Writes it, whether or not there was one; its version then.
    async fn put(&self, name: &str, value: &str, secrecy: Secrecy) -> Result<u64>;

    /// Writes it unless there is one of that name; whether it was written.
    async fn put_if_absent(&self, name: &str, value: &str, secrecy: Secrecy) -> Result<bool>;

    /// Removes it; whether there was one.
    async fn remove(&self, name: &str) -> Result<bool>;

    /// Those directly under a path, by name.
    async fn list(&self, path: &str) -> Result<Vec<Parameter>>;
}

/// Parameters shared by those who ask.
pub type SharedParameters = Arc<dyn Parameters>;

/// How a value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// As it is.
    Plain,
    /// Encrypted with the account's key for parameters.
    Secret,
}

/// A parameter that is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its whole name.
    pub name: String,
    /// Its value, decrypted.
    pub value: String,
    /// Counts its writings, from 1.
    pub version: u64,
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameter")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// SSM Parameter Store, reached as the AWS tools would from here.
pub async fn ssm() -> Result<SharedParameters> {
    Ok(Arc::new(SsmParameters(AwsApi::connect(Service::Ssm).await?)))
}

/// SSM Parameter Store. Source: AWS Systems Manager API Reference, version 2014-11-06.
#[derive(Debug)]
pub(crate) struct SsmParameters(pub(crate) AwsApi);

impl SsmParameters {
    async fn ask(&self, operation: &'static str, right: &str, name: &str, body: Value) -> Result<Value> {
        let call = Call {
            operation,
            method: Method::POST,
            path: "/".to_owned(),
            target: Some(format!("AmazonSSM.{operation}")),
            body: Some(body),
        };
        self.0.ask(call).await.map_err(|error| {
            let kind = match error.kind() {
                // What a store would say of an object is a matter of configuration here.
                ErrorKind::PermissionDenied | ErrorKind::InvalidInput => ErrorKind::Configuration,
                kind => kind,
            };
            let advice = format!("check the region ({}) and the rights {right}", self.0.region());
            let refused = Error::new(kind, format!("the parameter {name}: {advice}"));
            if kind == ErrorKind::NotFound { error } else { refused.caused_by(error) }
        })
    }

    async fn write(&self, name: &str, value: &str, secrecy: Secrecy, overwrite: bool) -> Result<Value> {
        let kind = match secrecy {
            Secrecy::Plain => "String",
            Secrecy::Secret => "SecureString",
        };
        // Larger values than 4 KiB make it an advanced parameter, which costs 0.05 USD a month (AWS, "Systems Manager pricing").
        let body = json!({ "Name": name, "Value": value, "Type": kind, "Overwrite": overwrite, "Tier": "Intelligent-Tiering" });
        self.ask("PutParameter", "ssm:PutParameter and kms:Encrypt", name, body).await
    }
}

#[async_trait]
impl Parameters for SsmParameters {
    async fn get(&self, name: &str) -> Result<Option<String>> {
        let body = json!({ "Name": name, "WithDecryption": true });
        match self.ask("GetParameter", "ssm:GetParameter and kms:Decrypt", name, body).await {
            Ok(answer) => Ok(answer["Parameter"]["Value"].as_str().map(str::to_owned)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put(&self, name: &str, value: &str, secrecy: Secrecy) -> Result<u64> {
        let answer = self.write(name, value, secrecy, true).await?;
        Ok(answer["Version"].as_u64().unwrap_or_default())
    }

    async fn put_if_absent(&self, name: &str, value: &str, secrecy: Secrecy) -> Result<bool> {
        match self.write(name, value, secrecy, false).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, name: &str) -> Result<bool> {
        match self.ask("DeleteParameter", "ssm:DeleteParameter", name, json!({ "Name": name })).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, path: &str) -> Result<Vec<Parameter>> {
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut body =
                json!({ "Path": path.trim_end_matches('/'), "WithDecryption": true, "MaxResults": 10 });
            if let Some(token) = &next {
                body["NextToken"] = token.as_str().into();
            }
            let answer = self
                .ask("GetParametersByPath", "ssm:GetParametersByPath and kms:Decrypt", path, body)
                .await?;
            for each in answer["Parameters"].as_array().into_iter().flatten() {
                if let (Some(name), Some(value)) = (each["Name"].as_str(), each["Value"].as_str()) {
                    let version = each["Version"].as_u64().unwrap_or_default();
                    found.push(Parameter { name: name.to_owned(), value: value.to_owned(), version });
                }
            }
            let following = answer["NextToken"].as_str().filter(|token| !token.is_empty()).map(str::to_owned);
            if following.is_none() || following == next {
                break;
            }
            next = following;
        }
        found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Parameters of a test, which can be changed and taken away.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Known {
        values: Arc<Mutex<BTreeMap<String, String>>>,
        asked: Arc<Mutex<Vec<String>>>,
        unreachable: Arc<std::sync::atomic::AtomicBool>,
    }

    impl Known {
        pub(crate) fn say(&self, name: &str, value: &str) {
            self.values.lock().expect("lock").insert(name.to_owned(), value.to_owned());
        }

        pub(crate) fn forget(&self, name: &str) {
            self.values.lock().expect("lock").remove(name);
        }

        pub(crate) fn unreachable(&self, is: bool) {
            self.unreachable.store(is, std::sync::atomic::Ordering::Relaxed);
        }

        /// The names asked for since the last look.
        pub(crate) fn asked(&self) -> Vec<String> {
            std::mem::take(&mut self.asked.lock().expect("lock"))
        }
    }

    #[async_trait]
    impl Parameters for Known {
        async fn get(&self, name: &str) -> Result<Option<String>> {
            self.asked.lock().expect("lock").push(name.to_owned());
            if self.unreachable.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Transient, "no answer"));
            }
            Ok(self.values.lock().expect("lock").get(name).cloned())
        }

        async fn put(&self, name: &str, value: &str, _secrecy: Secrecy) -> Result<u64> {
            self.say(name, value);
            Ok(1)
        }

        async fn put_if_absent(&self, name: &str, value: &str, _secrecy: Secrecy) -> Result<bool> {
            let mut values = self.values.lock().expect("lock");
            let is_new = !values.contains_key(name);
            values.entry(name.to_owned()).or_insert_with(|| value.to_owned());
            Ok(is_new)
        }

        async fn remove(&self, name: &str) -> Result<bool> {
            Ok(self.values.lock().expect("lock").remove(name).is_some())
        }

        async fn list(&self, path: &str) -> Result<Vec<Parameter>> {
            let values = self.values.lock().expect("lock");
            let under = values.iter().filter(|(name, _)| name.starts_with(path));
            Ok(under
                .map(|(name, value)| Parameter { name: name.clone(), value: value.clone(), version: 1 })
                .collect())
        }
    }
}
