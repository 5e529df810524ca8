//! A parameter store on loopback: as much of SSM as secrets need.
//!
//! Owns: `GetParameter`, `PutParameter` and `DeleteParameter` of the `awsJson1_1` protocol. Does not own: signatures, which it does not look at.
//! Invariant: what is kept can be looked at from behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Values by name, and whether each is secret.
type Kept = Arc<Mutex<BTreeMap<String, (String, bool)>>>;

/// The server. It ends when it is dropped.
#[derive(Debug)]
pub struct SsmServer {
    endpoint: String,
    kept: Kept,
    task: JoinHandle<()>,
}

impl SsmServer {
    /// Starts an empty one.
    pub async fn start() -> Self {
        let kept = Kept::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&kept));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let task = tokio::spawn(async move {
            drop(axum::serve(listener, router).await);
        });
        Self { endpoint, kept, task }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The names and values of what is kept as secret.
    pub fn secrets(&self) -> BTreeMap<String, String> {
        let kept = self.kept.lock().expect("lock");
        kept.iter()
            .filter(|(_, (_, secret))| *secret)
            .map(|(name, (value, _))| (name.clone(), value.clone()))
            .collect()
    }
}

impl Drop for SsmServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(kept): State<Kept>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let name = body["Name"].as_str().unwrap_or_default().to_owned();
    let refuse = |code: &str| (StatusCode::BAD_REQUEST, json!({ "__type": code }).to_string());
    let mut kept = kept.lock().expect("lock");
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    match target {
        "AmazonSSM.GetParameter" => match kept.get(&name) {
            Some((value, _)) => {
                (StatusCode::OK, json!({ "Parameter": { "Name": name, "Value": value } }).to_string())
            }
            None => refuse("ParameterNotFound"),
        },
        "AmazonSSM.PutParameter" if body["Overwrite"] != true && kept.contains_key(&name) => {
            refuse("ParameterAlreadyExists")
        }
        "AmazonSSM.PutParameter" => {
            let value = body["Value"].as_str().unwrap_or_default().to_owned();
            kept.insert(name, (value, body["Type"] == "SecureString"));
            (StatusCode::OK, json!({ "Version": 1 }).to_string())
        }
        "AmazonSSM.DeleteParameter" => match kept.remove(&name) {
            Some(_) => (StatusCode::OK, "{}".to_owned()),
            None => refuse("ParameterNotFound"),
        },
        _ => refuse("UnknownOperationException"),
    }
}
