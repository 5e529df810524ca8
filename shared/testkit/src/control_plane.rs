//! Parameter Store and `EventBridge` Scheduler on loopback, as far as a deployment's command line speaks to them.
//!
//! Owns: parameters with their versions, schedules by group and name, and the services' refusals. Does not own: when a schedule fires, which no
//! test waits for. Left out: signatures (any are accepted), encryption, paging beyond ten parameters' pages.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Parameters of one page (AWS, `GetParametersByPath`, `MaxResults`).
const PAGE: usize = 10;

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredParameter {
    /// Its value.
    pub value: String,
    /// `String` or `SecureString`.
    pub kind: String,
    /// Counts its writings, from 1.
    pub version: u64,
}

/// Both services, on one address. Stops when dropped.
#[derive(Debug)]
pub struct ControlPlane {
    address: SocketAddr,
    held: Arc<Held>,
    _stop: DropGuard,
}

#[derive(Debug, Default)]
struct Held {
    parameters: Mutex<BTreeMap<String, StoredParameter>>,
    schedules: Mutex<BTreeMap<(String, String), Value>>,
}

impl Held {
    fn parameters(&self) -> MutexGuard<'_, BTreeMap<String, StoredParameter>> {
        self.parameters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn schedules(&self) -> MutexGuard<'_, BTreeMap<(String, String), Value>> {
        self.schedules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ControlPlane {
    /// Listens on loopback.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let held: Arc<Held> = Arc::default();
        let routes = Router::new()
            .route("/", post(ssm))
            .route("/schedules/{name}", get(schedule).post(create).put(update).delete(remove))
            .with_state(Arc::clone(&held));
        let stopping = CancellationToken::new();
        let serve = axum::serve(listener, routes).with_graceful_shutdown(stopping.clone().cancelled_owned());
        tokio::spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(%error, "the control plane stopped");
            }
        });
        Ok(Self { address, held, _stop: stopping.drop_guard() })
    }

    /// For `AWS_ENDPOINT_URL_SSM` and `AWS_ENDPOINT_URL_SCHEDULER`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Writes a parameter, as somebody else would.
    pub fn put_parameter(&self, name: &str, value: &str) {
        self.held.write(name, value, "String");
    }

    /// A parameter.
    pub fn parameter(&self, name: &str) -> Option<StoredParameter> {
        self.held.parameters().get(name).cloned()
    }

    /// The document of a schedule.
    pub fn schedule(&self, group: &str, name: &str) -> Option<Value> {
        self.held.schedules().get(&(group.to_owned(), name.to_owned())).cloned()
    }
}

impl Held {
    fn write(&self, name: &str, value: &str, kind: &str) -> u64 {
        let mut parameters = self.parameters();
        let version = parameters.get(name).map_or(1, |before| before.version + 1);
        let parameter = StoredParameter { value: value.to_owned(), kind: kind.to_owned(), version };
        parameters.insert(name.to_owned(), parameter);
        version
    }
}

async fn ssm(State(held): State<Arc<Held>>, headers: HeaderMap, body: Bytes) -> Response {
    let operation = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let name = text("Name");
    let missing = || refused(StatusCode::BAD_REQUEST, "ParameterNotFound", "");
    let described = |name: &str, parameter: &StoredParameter| json!({ "Name": name, "Type": parameter.kind, "Value": parameter.value, "Version": parameter.version });
    match operation.strip_prefix("AmazonSSM.").unwrap_or_default() {
        "GetParameter" => match held.parameters().get(name) {
            Some(parameter) => answer(&json!({ "Parameter": described(name, parameter) })),
            None => missing(),
        },
        "PutParameter" if body["Overwrite"] != true && held.parameters().contains_key(name) => {
            refused(StatusCode::BAD_REQUEST, "ParameterAlreadyExists", "The parameter already exists.")
        }
        "PutParameter" => {
            let version = held.write(name, text("Value"), text("Type"));
            answer(&json!({ "Version": version, "Tier": "Standard" }))
        }
        "DeleteParameter" => match held.parameters().remove(name) {
            Some(_) => answer(&json!({})),
            None => missing(),
        },
        "GetParametersByPath" => {
            let path = format!("{}/", text("Path").trim_end_matches('/'));
            let parameters = held.parameters();
            let after = text("NextToken");
            let mut under = parameters
                .iter()
                .filter(|(name, _)| name.strip_prefix(&path).is_some_and(|rest| !rest.contains('/')))
                .filter(|(name, _)| name.as_str() > after);
            let page: Vec<(&String, &StoredParameter)> = under.by_ref().take(PAGE).collect();
            let next = under.next().and(page.last()).map(|(name, _)| name.as_str());
            let found: Vec<Value> = page.iter().map(|(name, parameter)| described(name, parameter)).collect();
            answer(&json!({ "Parameters": found, "NextToken": next }))
        }
        _ => refused(StatusCode::BAD_REQUEST, "UnknownOperationException", operation),
    }
}

type Name = Path<String>;

fn group_in(query: Option<&str>) -> Option<&str> {
    query?.split('&').find_map(|pair| pair.strip_prefix("groupName="))
}

fn place(group: Option<&str>, name: &str) -> (String, String) {
    (group.unwrap_or("default").to_owned(), name.to_owned())
}

async fn schedule(State(held): State<Arc<Held>>, Path(name): Name, RawQuery(query): RawQuery) -> Response {
    let at = place(group_in(query.as_deref()), &name);
    held.schedules().get(&at).map_or_else(|| no_schedule(&name), answer)
}

async fn create(State(held): State<Arc<Held>>, Path(name): Name, body: Bytes) -> Response {
    let document: Value = serde_json::from_slice(&body).unwrap_or_default();
    let at = place(document["GroupName"].as_str(), &name);
    if held.schedules().contains_key(&at) {
        return refused(StatusCode::CONFLICT, "ConflictException", "Schedule already exists.");
    }
    store(&held, at, document)
}

async fn update(State(held): State<Arc<Held>>, Path(name): Name, body: Bytes) -> Response {
    let document: Value = serde_json::from_slice(&body).unwrap_or_default();
    let at = place(document["GroupName"].as_str(), &name);
    if !held.schedules().contains_key(&at) {
        return no_schedule(&name);
    }
    store(&held, at, document)
}

async fn remove(State(held): State<Arc<Held>>, Path(name): Name, RawQuery(query): RawQuery) -> Response {
    let at = place(group_in(query.as_deref()), &name);
    match held.schedules().remove(&at) {
        Some(_) => answer(&json!({})),
        None => no_schedule(&name),
    }
}

fn store(held: &Held, at: (String, String), document: Value) -> Response {
    let expression = document["ScheduleExpression"].as_str().unwrap_or_default();
    let is_known = ["rate(", "cron(", "at("].iter().any(|kind| expression.starts_with(kind))
        && expression.ends_with(')');
    if !is_known
        || document["Target"]["Arn"].as_str().is_none()
        || document["FlexibleTimeWindow"]["Mode"].is_null()
    {
        return refused(
            StatusCode::BAD_REQUEST,
            "ValidationException",
            "Invalid Schedule Expression or target.",
        );
    }
    held.schedules().insert(at, document);
    answer(&json!({ "ScheduleArn": "arn:aws:scheduler:us-east-1:000000000000:schedule/x/y" }))
}

fn no_schedule(name: &str) -> Response {
    refused(StatusCode::NOT_FOUND, "ResourceNotFoundException", &format!("Schedule {name} does not exist."))
}

fn answer(body: &Value) -> Response {
    ([("content-type", "application/json")], body.to_string()).into_response()
}

fn refused(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({ "__type": code, "message": message });
    (status, [("x-amzn-errortype", code)], body.to_string()).into_response()
}
