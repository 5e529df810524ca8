//! What the server answers.
//!
//! Owns: paths, statuses and JSON. Invariants: everything but `/healthz`, notifications and the export API wants the token, which those
//! have their own signatures instead of; an error says what failed, on what, and what to do, under `error`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use ferry_export::Service;
use ferry_transfer::history::History;
use ferry_transfer::{Clock as _, Error, ErrorKind, RunId, RunRecord, SystemClock};
use futures::stream;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

use super::metrics::{self, Gauges};
use super::tasks::{Pause, Shelved};
use super::{Shared, schedule};

/// Dead letters shown.
const LETTERS_SHOWN: usize = 100;
/// Runs shown.
const RUNS_SHOWN: usize = 100;

#[derive(Debug, Clone)]
struct Answers {
    shared: Arc<Shared>,
    work: TaskTracker,
    stop: CancellationToken,
}

/// Every path.
pub(super) fn router(
    shared: Arc<Shared>,
    export: Arc<Service>,
    work: TaskTracker,
    stop: CancellationToken,
) -> Router {
    let answers = Answers { shared: Arc::clone(&shared), work, stop };
    let with_token = Router::new()
        .route("/metrics", get(prometheus))
        .route("/api/tasks", get(tasks))
        .route("/api/tasks/{name}", get(task).put(put_task).delete(remove_task))
        .route("/api/tasks/{name}/run", post(run_task))
        .route("/api/tasks/{name}/pause", post(pause_task))
        .route("/api/tasks/{name}/resume", post(resume_task))
        .route("/api/runs", get(runs))
        .route("/api/runs/{run}", get(run))
        .route("/api/events", get(tail))
        .route("/api/queue", get(queue))
        .route("/api/queue/dead", get(dead).delete(purge))
        .route("/api/queue/dead/redrive", post(redrive))
        .route("/api/{*other}", get(no_such_path).post(no_such_path).put(no_such_path).delete(no_such_path))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), wants_token));
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/events/{task}", any(notification))
        .merge(with_token)
        .with_state(answers)
        .fallback_service(ferry_export::router(export))
        .layer(middleware::from_fn_with_state(shared, wants_known_host))
}

async fn wants_known_host(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if shared.access.knows_host(request.headers()) {
        return next.run(request).await;
    }
    let message = "this machine is not known by the name that was asked for: name it with --host";
    refusal(StatusCode::MISDIRECTED_REQUEST, message)
}

async fn wants_token(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if shared.access.has_token(request.headers()) {
        return next.run(request).await;
    }
    let message = format!(
        "show the token of {}/{}: Authorization: Bearer TOKEN",
        shared.state.root().display(),
        super::access::TOKEN_FILE
    );
    let mut response = refusal(StatusCode::UNAUTHORIZED, &message);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    response
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

async fn no_such_path() -> Response {
    refusal(StatusCode::NOT_FOUND, "there is no such path; docs/serve.md has those that are")
}

/// An error as an answer.
struct Refused(Error);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.0.kind() {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::InvalidInput | ErrorKind::Configuration | ErrorKind::PermissionDenied => {
                StatusCode::BAD_REQUEST
            }
            ErrorKind::PreconditionFailed => StatusCode::CONFLICT,
            ErrorKind::Transient | ErrorKind::Throttled => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        refusal(status, &self.0.chain())
    }
}

type Answer<T> = Result<T, Refused>;

async fn prometheus(State(answers): State<Answers>) -> Answer<Response> {
    let Shared { desk, runs, shelf, metrics, .. } = answers.shared.as_ref();
    metrics.count_requests(shelf.requests().await);
    let (jobs, dead) = desk.depths().await?;
    let tasks = shelf.all().map_err(|error| unreadable(&error))?.len();
    let text = metrics.text(&Gauges { jobs, dead, runs: runs.active(), tasks });
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

fn unreadable(error: &anyhow::Error) -> Refused {
    Refused(Error::new(ErrorKind::Other, ferry_transfer::chain(error.as_ref())))
}

async fn tasks(State(answers): State<Answers>) -> Answer<Json<Value>> {
    let mut tasks = Vec::new();
    for (name, shelved) in answers.shared.shelf.all().map_err(|error| unreadable(&error))? {
        tasks.push(match shelved {
            Ok(shelved) => summary(&answers, &name, &shelved).await,
            Err(error) => json!({ "name": name, "error": error.chain() }),
        });
    }
    Ok(Json(json!({ "tasks": tasks })))
}

async fn summary(answers: &Answers, name: &str, shelved: &Shelved) -> Value {
    let runs = &answers.shared.runs;
    let last_began = runs.last_began(name).await;
    let next = match (&shelved.task.schedule, shelved.state) {
        (Some(schedule), Pause::Active) => schedule::next(schedule, last_began, shelved.since),
        _ => None,
    };
    json!({
        "name": name,
        "source": shelved.task.source.to_string(),
        "destination": shelved.task.destination.to_string(),
        "schedule": shelved.task.schedule,
        "state": shelved.state,
        "run": runs.of_task(name),
        "last_began": last_began.map(told),
        "next": next.map(|next| told(next.max(SystemClock.now()))),
    })
}

fn told(moment: OffsetDateTime) -> String {
    moment.replace_nanosecond(0).unwrap_or(moment).format(&Rfc3339).unwrap_or_default()
}

async fn task(State(answers): State<Answers>, Path(name): Path<String>) -> Answer<Json<Value>> {
    let shelved = answers.shared.shelf.get(&name)?.ok_or_else(|| super::runs::no_task(&name))?;
    let mut told = summary(&answers, &name, &shelved).await;
    told["task"] = serde_json::to_value(&shelved.task).unwrap_or_default();
    Ok(Json(told))
}

async fn put_task(
    State(answers): State<Answers>,
    Path(name): Path<String>,
    body: Bytes,
) -> Answer<Json<Value>> {
    let text = std::str::from_utf8(&body)
        .map_err(|_| Error::new(ErrorKind::InvalidInput, "the document is not UTF-8"))?;
    let task = answers.shared.shelf.put(&name, text).await?;
    Ok(Json(json!({ "task": task })))
}

async fn remove_task(State(answers): State<Answers>, Path(name): Path<String>) -> Answer<StatusCode> {
    if let Some(run) = answers.shared.runs.of_task(&name) {
        let message = format!("run {run} of task {name} is still under way");
        return Err(Error::new(ErrorKind::PreconditionFailed, message).into());
    }
    if answers.shared.shelf.remove(&name).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(super::runs::no_task(&name).into())
    }
}

async fn run_task(State(answers): State<Answers>, Path(name): Path<String>) -> Answer<Response> {
    let run = answers.shared.runs.begin(&name, &answers.work, &answers.stop).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "run": run }))).into_response())
}

async fn pause_task(answers: State<Answers>, name: Path<String>) -> Answer<Json<Value>> {
    set(&answers, &name, Pause::Paused).await
}

async fn resume_task(answers: State<Answers>, name: Path<String>) -> Answer<Json<Value>> {
    set(&answers, &name, Pause::Active).await
}

async fn set(answers: &Answers, name: &str, state: Pause) -> Answer<Json<Value>> {
    if answers.shared.shelf.get(name)?.is_none() {
        return Err(super::runs::no_task(name).into());
    }
    answers.shared.shelf.set(name, state).await?;
    Ok(Json(json!({ "name": name, "state": state })))
}

async fn runs(State(answers): State<Answers>) -> Answer<Json<Value>> {
    let history = History::of(&answers.shared.state);
    let mut runs = Vec::new();
    for run in history.runs().await?.into_iter().take(RUNS_SHOWN) {
        if let Some(record) = history.record(&run).await? {
            runs.push(of_record(&answers, &record));
        }
    }
    Ok(Json(json!({ "runs": runs })))
}

fn of_record(answers: &Answers, record: &RunRecord) -> Value {
    let progress = answers.shared.runs.progress(&record.run);
    let state = match &progress {
        Some(_) => json!("running"),
        None => json!(record.outcome),
    };
    json!({
        "run": record.run,
        "task": record.task.name,
        "state": state,
        "started": told(record.started),
        "ended": record.ended.map(told),
        "progress": progress,
    })
}

async fn run(State(answers): State<Answers>, Path(run): Path<String>) -> Answer<Json<Value>> {
    let run = RunId::from(run);
    let history = History::of(&answers.shared.state);
    let no_run = || Error::new(ErrorKind::NotFound, format!("there is no run {run}"));
    let record = history.record(&run).await?.ok_or_else(no_run)?;
    let mut told = of_record(&answers, &record);
    told["report"] = record.report.unwrap_or_default();
    Ok(Json(told))
}

async fn queue(State(answers): State<Answers>) -> Answer<Json<Value>> {
    let (jobs, dead) = answers.shared.desk.depths().await?;
    Ok(Json(json!({
        "jobs": { "visible": jobs.visible, "in_flight": jobs.in_flight, "delayed": jobs.delayed },
        "dead_letters": dead.visible + dead.in_flight,
    })))
}

async fn dead(State(answers): State<Answers>) -> Answer<Json<Value>> {
    Ok(Json(json!({ "dead_letters": answers.shared.desk.dead_letters(LETTERS_SHOWN)? })))
}

async fn redrive(State(answers): State<Answers>) -> Answer<Json<Value>> {
    Ok(Json(json!({ "redriven": answers.shared.desk.redrive().await? })))
}

async fn purge(State(answers): State<Answers>) -> Answer<Json<Value>> {
    Ok(Json(json!({ "purged": answers.shared.desk.purge().await? })))
}

/// The function's own router answers; it asks for the signature.
async fn notification(
    State(answers): State<Answers>,
    Path(name): Path<String>,
    request: Request,
) -> Answer<Response> {
    let mut door = answers.shared.desk.door(&name)?;
    match door.call(request).await {
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}

/// One receipt on a line, from now on.
async fn tail(State(answers): State<Answers>) -> Response {
    let follower = answers.shared.desk.follow();
    let lines = stream::unfold((follower, answers.stop), |(mut follower, stop)| async move {
        let line = tokio::select! {
            line = follower.recv() => line,
            () = stop.cancelled() => return None,
        };
        let line = match line {
            Ok(line) => format!("{line}\n"),
            Err(RecvError::Lagged(missed)) => format!("{{\"missed\":{missed}}}\n"),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok::<_, Infallible>(line), (follower, stop)))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}
