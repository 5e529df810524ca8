//! Documents by name: what SSM Parameter Store is to a function.
//!
//! Owns: the seam, and the client that asks SSM. Does not own: what the documents mean. Invariant: a value is never repeated in an
//! error; a parameter that is not there is an answer, not an error.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ferry_transfer::Result;

/// Where documents are kept by name.
#[async_trait]
pub trait Parameters: Send + Sync + fmt::Debug {
    /// The value of that name, decrypted; `None` where there is no such name.
    async fn get(&self, name: &str) -> Result<Option<String>>;
}

/// Parameters shared by those who ask.
pub type SharedParameters = Arc<dyn Parameters>;

/// SSM Parameter Store, reached as the AWS tools would from here.
///
/// # Errors
///
/// `Configuration` in a build without the feature `ssm`.
pub async fn ssm() -> Result<SharedParameters> {
    ssm::connect().await
}

#[cfg(feature = "ssm")]
mod ssm {
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;
    use aws_sdk_ssm::Client;
    use aws_sdk_ssm::error::SdkError;
    use aws_sdk_ssm::operation::get_parameter::GetParameterError;
    use ferry_transfer::{Error, ErrorKind, Result, chain};

    use super::{Parameters, SharedParameters};
    use crate::http_client;

    /// Longest wait for an answer, the SDK's own three attempts included.
    const TIMEOUT: Duration = Duration::from_secs(30);

    /// A client of SSM Parameter Store.
    #[derive(Debug)]
    pub(crate) struct SsmParameters(pub(crate) Client);

    pub(super) async fn connect() -> Result<SharedParameters> {
        let config = aws_config::defaults(http_client::behavior_version())
            .http_client(http_client::shared())
            .timeout_config(http_client::timeouts().into_builder().operation_timeout(TIMEOUT).build())
            .load()
            .await;
        Ok(Arc::new(SsmParameters(Client::new(&config))))
    }

    #[async_trait]
    impl Parameters for SsmParameters {
        async fn get(&self, name: &str) -> Result<Option<String>> {
            // Boxed: a large future, and every command waits for one of these.
            match Box::pin(self.0.get_parameter().name(name).with_decryption(true).send()).await {
                Ok(answer) => Ok(answer.parameter.and_then(|parameter| parameter.value)),
                Err(error) => match error.as_service_error() {
                    Some(GetParameterError::ParameterNotFound(_)) => Ok(None),
                    _ => Err(refused(name, &error)),
                },
            }
        }
    }

    fn refused(name: &str, error: &SdkError<GetParameterError>) -> Error {
        let kind = match error {
            SdkError::ServiceError(answer) => match answer.err().meta().code() {
                Some("ThrottlingException" | "Throttling") => ErrorKind::Throttled,
                _ if answer.raw().status().is_server_error() => ErrorKind::Transient,
                _ => ErrorKind::Configuration,
            },
            SdkError::DispatchFailure(_) | SdkError::ResponseError(_) | SdkError::TimeoutError(_) => {
                ErrorKind::Transient
            }
            _ => ErrorKind::Configuration,
        };
        let advice = "check the region, and the rights ssm:GetParameter and kms:Decrypt";
        Error::new(kind, format!("the parameter {name} cannot be read: {advice}"))
            .in_operation("GetParameter")
            .caused_by(chain(error))
    }
}

#[cfg(feature = "ssm")]
#[cfg(test)]
pub(crate) use self::ssm::SsmParameters;

#[cfg(not(feature = "ssm"))]
mod ssm {
    use ferry_transfer::{Error, ErrorKind, Result};

    use super::SharedParameters;

    #[expect(clippy::unused_async, reason = "the twin of the function that asks SSM")]
    pub(super) async fn connect() -> Result<SharedParameters> {
        Err(Error::new(
            ErrorKind::Configuration,
            "this build cannot ask SSM: build it with the feature `ssm`, or use another reference",
        ))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use ferry_transfer::{Error, ErrorKind};

    use super::*;

    /// Parameters of a test, which can be changed and taken away.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Known {
        values: Arc<Mutex<BTreeMap<String, String>>>,
        asked: Arc<Mutex<Vec<String>>>,
        unreachable: Arc<std::sync::atomic::AtomicBool>,
    }

    impl Known {
        pub(crate) fn put(&self, name: &str, value: &str) {
            self.values.lock().expect("lock").insert(name.to_owned(), value.to_owned());
        }

        pub(crate) fn remove(&self, name: &str) {
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
    }
}
