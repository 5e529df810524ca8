//! What the function is told by its environment.
//!
//! Owns: the names of the variables, among them those of Data Transfer Hub's tutorial, and which host it runs on. Invariant: a setting that
//! cannot be is refused at the start, by name; a listener that anybody can reach does not start without authentication.
//!
//! | variable | holds |
//! |---|---|
//! | `FERRY_JOB_QUEUE_URL`, or `QUEUE_URL` | where jobs go |
//! | `FERRY_QUEUE_REGION`, or `REGION_NAME` | the queue's region, if its URL does not say |
//! | `FERRY_QUEUE_CREDENTIALS` | a reference to the keys that may send; default: `ACCESS_KEY` and `SECRET_KEY`, else the host's own role |
//! | `FERRY_TASK` | the task as JSON or YAML: its name, source prefix and deletes are taken from it; or `ssm:/ferry/tasks/`, under which it stands |
//! | `FERRY_TASK_NAME`, or `FERRY_DEFAULT_TASK` | the task's name: alone, or which one of `ssm:` is meant |
//! | `FERRY_EVENT_BUCKET` | only events of this bucket; default: the task's |
//! | `FERRY_EVENT_PREFIXES`, `FERRY_EVENT_SUFFIXES` | a text, or a JSON array of them: only such keys |
//! | `FERRY_DELETES` | `yes` or `no`: whether deletes become jobs; default: what the task says, else `no` |
//! | `FERRY_EVENT_AUTH` | `signature` (default with a secret), `signature-or-bearer`, or `host`: whoever reaches the listener may send |
//! | `FERRY_EVENT_SECRET` | a reference to the shared secret: the secret half of what it points at |
//! | `FERRY_EVENT_HOST` | `lambda`, `function-compute` or `http`; default: what the environment looks like |
//! | `FERRY_EVENT_LISTEN` | address and port of plain HTTP; default `127.0.0.1:8480` |
//! | `FERRY_APPEND_WAIT_SECS` | how long the job of an object that is being appended to waits; default 30, 0 is not at all |
//! | `FERRY_SEND_SECS` | longest that one notification's jobs may take to send; default 20 |

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ferry_cloud::lambda;
use ferry_cloud::parameters;
use ferry_cloud::sqs::{SqsQueue, SqsQueueConfig};
use ferry_cloud::{CredentialRef, Credentials};
use ferry_transfer::queue::shared_outbox::SharedOutbox;
use ferry_transfer::retry::Backoff;
use ferry_transfer::task::Task;
use ferry_transfer::{Clock, Error, ErrorKind, Result};

use crate::handler::Handler;
use crate::host::Door;
use crate::rule_book::{RuleBook, Told};
use crate::rules::Deletes;
use crate::senders::Senders;

/// The port that Function Compute uses where it says nothing (Alibaba Cloud, "Custom runtime").
const FUNCTION_COMPUTE_PORT: u16 = 9000;
/// What the platform says of a function to its process, and nobody has a reason to set elsewhere (Alibaba Cloud, "Environment variables").
const PLATFORM_VARIABLES: [&str; 5] =
    ["FC_FUNCTION_NAME", "FC_INSTANCE_ID", "FC_ACCOUNT_ID", "FC_REGION", "FC_FUNC_CODE_PATH"];
const LISTEN: &str = "127.0.0.1:8480";
const SEND_SECS: u64 = 20;
/// Those who append do it every few seconds.
const APPEND_WAIT_SECS: u64 = 30;

/// Where the function runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKind {
    /// AWS Lambda, behind a Function URL or whatever else invokes it.
    Lambda,
    /// A custom runtime of Alibaba Cloud's Function Compute, on this port of all addresses.
    FunctionCompute {
        /// The port.
        port: u16,
        /// Who may ask for `/invoke`.
        invokers: Invokers,
    },
    /// A process of its own.
    Http(SocketAddr),
}

/// Whom a custom runtime of Function Compute believes that an event comes from the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invokers {
    /// Whoever asks for `/invoke`: the process runs on the platform, which lets in nobody else and says whom it has asked.
    Platform,
    /// Nobody by that alone: the process is somewhere else and is only spoken to as the platform would. Without a secret, those on
    /// the same machine.
    SameMachine,
}

/// How senders are told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// By their signature.
    Signature,
    /// By their signature or the secret itself.
    SignatureOrBearer,
    /// By the host alone: whoever reaches the listener may.
    Host,
    /// By the host alone, where it names who calls: nobody else may.
    Named,
}

/// What the function is told.
#[derive(Debug)]
pub struct Settings {
    /// Where it runs.
    pub host: HostKind,
    told: Told,
    task: TaskPlace,
    queue_url: String,
    region: Option<String>,
    queue_keys: QueueKeys,
    authentication: Authentication,
    secret: Option<CredentialRef>,
    append_wait: Duration,
    send_within: Duration,
}

/// Where the task stands.
#[derive(Debug)]
enum TaskPlace {
    Nowhere,
    Here(Box<Task>),
    /// In the parameter of that name under that path.
    Under {
        path: String,
        name: String,
    },
}

/// Who sends to the queue.
#[derive(Debug)]
enum QueueKeys {
    Reference(CredentialRef),
    /// As the tutorial has them.
    Told(Credentials),
}

impl Settings {
    /// Reads the process's variables.
    pub fn read() -> Result<Self> {
        Self::from_variables(lambda::Environment::variable)
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let either = |one: &str, other: &str| variable(one).or_else(|| variable(other));
        let host = host(&variable)?;
        let secret: Option<CredentialRef> = parsed("FERRY_EVENT_SECRET", variable("FERRY_EVENT_SECRET"))?;
        let authentication = match (parsed("FERRY_EVENT_AUTH", variable("FERRY_EVENT_AUTH"))?, &secret, host)
        {
            (Some(Authentication::Host), ..) => Authentication::Host,
            (Some(_), None, _) => {
                return Err(misconfigured("FERRY_EVENT_AUTH wants a secret: set FERRY_EVENT_SECRET"));
            }
            (Some(other), Some(_), _) => other,
            (None, Some(_), _) => Authentication::Signature,
            (None, None, HostKind::Http(address)) if !address.ip().is_loopback() => {
                return Err(misconfigured(
                    "anybody could send events to FERRY_EVENT_LISTEN: set FERRY_EVENT_SECRET, or FERRY_EVENT_AUTH=host \
                     if what is in front of it asks who they are",
                ));
            }
            (None, None, HostKind::Http(_loopback)) => Authentication::Host,
            (None, None, HostKind::Lambda | HostKind::FunctionCompute { .. }) => Authentication::Named,
        };
        Ok(Self {
            host,
            told: told(&variable)?,
            task: task(&variable)?,
            queue_url: either("FERRY_JOB_QUEUE_URL", "QUEUE_URL").ok_or_else(|| {
                misconfigured(
                    "neither FERRY_JOB_QUEUE_URL nor QUEUE_URL is set: there is nowhere to send jobs",
                )
            })?,
            region: either("FERRY_QUEUE_REGION", "REGION_NAME"),
            queue_keys: queue_keys(&variable)?,
            authentication,
            secret,
            append_wait: seconds(&variable, "FERRY_APPEND_WAIT_SECS", APPEND_WAIT_SECS, 0)?,
            send_within: seconds(&variable, "FERRY_SEND_SECS", SEND_SECS, 1)?,
        })
    }

    /// The handler behind its door, connected.
    pub async fn door(self, clock: Arc<dyn Clock>) -> Result<Door> {
        let rules = match self.task {
            TaskPlace::Nowhere => self.told.rules(None).into(),
            TaskPlace::Here(task) => self.told.rules(Some(&task)).into(),
            TaskPlace::Under { path, name } => {
                RuleBook::of_task(self.told, &path, &name, parameters::ssm().await?).await?
            }
        };
        let senders = Senders::of(self.authentication, self.secret).await?;
        let config = SqsQueueConfig { region: self.region, ..SqsQueueConfig::new(self.queue_url) };
        let config = match self.queue_keys {
            QueueKeys::Told(keys) => config.signed_with(keys),
            QueueKeys::Reference(CredentialRef::Ambient) => config,
            QueueKeys::Reference(reference) => config.signed_by(&reference).await?,
        };
        let queue = Arc::new(SqsQueue::connect(config).await?);
        let backoff = Backoff { elapsed_max: self.send_within, ..Backoff::default() };
        let handler = Handler {
            rules,
            outbox: SharedOutbox::new(queue, Arc::clone(&clock), backoff),
            clock,
            append_wait: self.append_wait,
            send_within: self.send_within,
        };
        Ok(Door::new(handler, senders))
    }
}

fn host(variable: &impl Fn(&str) -> Option<String>) -> Result<HostKind> {
    let port = || match variable("FC_SERVER_PORT").or_else(|| variable("FC_CUSTOM_LISTEN_PORT")) {
        None => Ok(FUNCTION_COMPUTE_PORT),
        Some(text) => {
            text.parse().map_err(|_| misconfigured(format!("FC_SERVER_PORT is {text:?}, not a port")))
        }
    };
    let listen = || {
        let text = variable("FERRY_EVENT_LISTEN").unwrap_or_else(|| LISTEN.to_owned());
        text.parse()
            .map_err(|_| misconfigured(format!("FERRY_EVENT_LISTEN is {text:?}, not an address and a port")))
    };
    let function_compute = || {
        let is_platform = PLATFORM_VARIABLES.iter().any(|name| variable(name).is_some());
        let invokers = if is_platform { Invokers::Platform } else { Invokers::SameMachine };
        port().map(|port| HostKind::FunctionCompute { port, invokers })
    };
    let looks_like_function_compute = || {
        ["FC_SERVER_PORT", "FC_CUSTOM_LISTEN_PORT"]
            .iter()
            .chain(&PLATFORM_VARIABLES)
            .any(|name| variable(name).is_some())
    };
    match variable("FERRY_EVENT_HOST").as_deref() {
        Some("lambda") => Ok(HostKind::Lambda),
        Some("function-compute") => function_compute(),
        Some("http") => listen().map(HostKind::Http),
        Some(other) => Err(misconfigured(format!(
            "FERRY_EVENT_HOST is {other:?}, not one of lambda, function-compute and http"
        ))),
        None if variable("AWS_LAMBDA_RUNTIME_API").is_some() => Ok(HostKind::Lambda),
        None if looks_like_function_compute() => function_compute(),
        None => listen().map(HostKind::Http),
    }
}

fn told(variable: &impl Fn(&str) -> Option<String>) -> Result<Told> {
    Ok(Told {
        task: variable("FERRY_TASK_NAME"),
        bucket: variable("FERRY_EVENT_BUCKET"),
        prefixes: texts("FERRY_EVENT_PREFIXES", variable("FERRY_EVENT_PREFIXES"))?,
        suffixes: texts("FERRY_EVENT_SUFFIXES", variable("FERRY_EVENT_SUFFIXES"))?,
        deletes: match variable("FERRY_DELETES").as_deref() {
            None => None,
            Some("no") => Some(Deletes::Leave),
            Some("yes") => Some(Deletes::Send),
            Some(other) => {
                return Err(misconfigured(format!("FERRY_DELETES is {other:?}, neither yes nor no")));
            }
        },
    })
}

fn task(variable: &impl Fn(&str) -> Option<String>) -> Result<TaskPlace> {
    let Some(text) = variable("FERRY_TASK") else { return Ok(TaskPlace::Nowhere) };
    let Some(path) = text.strip_prefix("ssm:") else {
        return Ok(TaskPlace::Here(Box::new(lambda::parse("FERRY_TASK", &text)?)));
    };
    let name = variable("FERRY_TASK_NAME").or_else(|| variable("FERRY_DEFAULT_TASK")).ok_or_else(|| {
        misconfigured("FERRY_TASK names many tasks: set FERRY_TASK_NAME or FERRY_DEFAULT_TASK to the one of these events")
    })?;
    Ok(TaskPlace::Under { path: path.to_owned(), name })
}

fn queue_keys(variable: &impl Fn(&str) -> Option<String>) -> Result<QueueKeys> {
    if let Some(reference) = parsed("FERRY_QUEUE_CREDENTIALS", variable("FERRY_QUEUE_CREDENTIALS"))? {
        return Ok(QueueKeys::Reference(reference));
    }
    match (variable("ACCESS_KEY"), variable("SECRET_KEY")) {
        (None, None) => Ok(QueueKeys::Reference(CredentialRef::Ambient)),
        (Some(access_key_id), Some(secret_access_key)) => Ok(QueueKeys::Told(Credentials {
            access_key_id,
            secret_access_key,
            session_token: None,
            expires: None,
        })),
        _ => Err(misconfigured("ACCESS_KEY and SECRET_KEY belong together: one of them is not set")),
    }
}

/// From `least` to the longest delay of a message and more than any host's patience.
fn seconds(
    variable: &impl Fn(&str) -> Option<String>,
    name: &str,
    default: u64,
    least: u64,
) -> Result<Duration> {
    let secs =
        match variable(name) {
            None => default,
            Some(text) => text.parse().ok().filter(|secs| (least..=900).contains(secs)).ok_or_else(|| {
                misconfigured(format!("{name} is {text:?}, not a number from {least} to 900"))
            })?,
        };
    Ok(Duration::from_secs(secs))
}

fn texts(name: &str, value: Option<String>) -> Result<Vec<String>> {
    match value {
        None => Ok(Vec::new()),
        Some(text) if text.starts_with('[') => serde_json::from_str(&text)
            .map_err(|error| misconfigured(format!("{name} is no JSON array of texts: {error}"))),
        Some(text) => Ok(vec![text]),
    }
}

fn parsed<T: FromStr<Err = Error>>(name: &str, value: Option<String>) -> Result<Option<T>> {
    let parsed = value.map(|text| text.parse()).transpose();
    parsed.map_err(|error| misconfigured(name).caused_by(error))
}

impl FromStr for Authentication {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "signature" => Ok(Self::Signature),
            "signature-or-bearer" => Ok(Self::SignatureOrBearer),
            "host" => Ok(Self::Host),
            _ => Err(misconfigured("it is one of signature, signature-or-bearer and host")),
        }
    }
}

fn misconfigured(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Configuration, message.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rules;

    const QUEUE: (&str, &str) = ("QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/0/q");

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings> {
        Settings::from_variables(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn of_same_machine(port: u16) -> HostKind {
        HostKind::FunctionCompute { port, invokers: Invokers::SameMachine }
    }

    fn rules(pairs: &[(&str, &str)]) -> Rules {
        let read = settings(pairs).expect("settings");
        let TaskPlace::Here(task) = &read.task else { panic!("{:?}", read.task) };
        read.told.rules(Some(task))
    }

    #[test]
    fn a_task_may_stand_in_a_parameter() {
        const MANY: (&str, &str) = ("FERRY_TASK", "ssm:/ferry/tasks/");
        for name in ["FERRY_TASK_NAME", "FERRY_DEFAULT_TASK"] {
            let read = settings(&[QUEUE, MANY, (name, "photos")]).expect("settings");
            assert!(
                matches!(&read.task, TaskPlace::Under { path, name } if path == "/ferry/tasks/" && name == "photos")
            );
        }
        let unnamed = settings(&[QUEUE, MANY]).expect_err("unnamed").to_string();
        assert!(unnamed.contains("FERRY_DEFAULT_TASK"), "{unnamed}");
    }

    #[test]
    fn the_tutorials_names_are_enough() {
        let read = settings(&[
            ("ACCESS_KEY", "AK"),
            ("SECRET_KEY", "hush"),
            QUEUE,
            ("REGION_NAME", "us-west-2"),
            ("FC_SERVER_PORT", "9001"),
        ])
        .expect("settings");
        assert_eq!((read.host, read.region.as_deref()), (of_same_machine(9001), Some("us-west-2")));
        assert!(matches!(&read.queue_keys, QueueKeys::Told(keys) if keys.access_key_id == "AK"));
        assert!(!format!("{read:?}").contains("hush"));
    }

    #[test]
    fn the_host_is_what_the_environment_looks_like() {
        for (name, value, host) in [
            ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1", HostKind::Lambda),
            ("FC_FUNCTION_NAME", "f", HostKind::FunctionCompute { port: 9000, invokers: Invokers::Platform }),
            ("FC_CUSTOM_LISTEN_PORT", "8", of_same_machine(8)),
            ("FERRY_EVENT_HOST", "function-compute", of_same_machine(9000)),
            ("FERRY_EVENT_LISTEN", "127.0.0.1:7", HostKind::Http("127.0.0.1:7".parse().expect("address"))),
            ("OTHER", "x", HostKind::Http(LISTEN.parse().expect("address"))),
        ] {
            assert_eq!(settings(&[(name, value), QUEUE]).expect("settings").host, host, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (pairs, words) in [
            (vec![], "QUEUE_URL"),
            (vec![QUEUE, ("ACCESS_KEY", "a")], "SECRET_KEY"),
            (vec![QUEUE, ("FERRY_EVENT_LISTEN", "0.0.0.0:80")], "FERRY_EVENT_SECRET"),
            (vec![QUEUE, ("FERRY_EVENT_LISTEN", "here")], "FERRY_EVENT_LISTEN"),
            (vec![QUEUE, ("FERRY_EVENT_AUTH", "signature")], "FERRY_EVENT_SECRET"),
            (vec![QUEUE, ("FERRY_EVENT_AUTH", "trust")], "FERRY_EVENT_AUTH"),
            (vec![QUEUE, ("FERRY_EVENT_HOST", "moon")], "FERRY_EVENT_HOST"),
            (vec![QUEUE, ("FERRY_DELETES", "maybe")], "FERRY_DELETES"),
            (vec![QUEUE, ("FERRY_EVENT_PREFIXES", "[1]")], "FERRY_EVENT_PREFIXES"),
            (vec![QUEUE, ("FERRY_SEND_SECS", "0")], "FERRY_SEND_SECS"),
            (vec![QUEUE, ("FERRY_APPEND_WAIT_SECS", "901")], "FERRY_APPEND_WAIT_SECS"),
            (vec![QUEUE, ("FC_SERVER_PORT", "x")], "FC_SERVER_PORT"),
            (vec![QUEUE, ("FERRY_TASK", "{\"nam\":1}")], "FERRY_TASK"),
        ] {
            let error = settings(&pairs).expect_err(words).chain();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_task_says_what_is_not_said_otherwise() {
        let task = r#"{"name":"t","source":{"store":"a","bucket":"b","prefix":"p/"},
            "destination":{"store":"c","bucket":"d"},"deletes":{"mirror":1}}"#;
        let read = rules(&[QUEUE, ("FERRY_TASK", task)]);
        assert_eq!((read.task.as_deref(), read.deletes), (Some("t"), Deletes::Send));
        assert_eq!((read.prefixes, read.bucket), (vec!["p/".to_owned()], Some("b".to_owned())));
        let read = rules(&[
            QUEUE,
            ("FERRY_TASK", task),
            ("FERRY_DELETES", "no"),
            ("FERRY_EVENT_PREFIXES", r#"["x","y"]"#),
            ("FERRY_EVENT_SUFFIXES", ".z"),
        ]);
        assert_eq!(
            (read.deletes, read.prefixes, read.suffixes),
            (Deletes::Leave, vec!["x".into(), "y".into()], vec![".z".into()])
        );
    }
}
