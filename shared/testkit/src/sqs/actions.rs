//! From an operation's JSON to its effect: dispatch, and what concerns queues as a whole.
//!
//! Sending is in [`send`], receiving and what is done with a receipt handle in [`receive`].

mod batch;
mod receive;
mod send;

use std::collections::BTreeMap;
use std::time::Duration;

use ferry_transfer::Queue as _;
use ferry_transfer::queue::BATCH_MAX;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Endpoint;
use super::error::{ApiError, Code};
use super::operation::Operation;
use super::queues::{HostedQueue, unknown_attribute};

/// Carries out a request.
pub(super) async fn perform(
    endpoint: &Endpoint,
    operation: Operation,
    body: &[u8],
) -> Result<Value, ApiError> {
    match operation {
        Operation::CreateQueue => create_queue(endpoint, &parse(body)?),
        Operation::GetQueueUrl => get_queue_url(endpoint, &parse(body)?),
        Operation::ListQueues => Ok(list_queues(endpoint, &parse(body)?)),
        Operation::GetQueueAttributes => get_queue_attributes(endpoint, parse(body)?).await,
        Operation::SendMessage => send::one(endpoint, parse(body)?).await,
        Operation::SendMessageBatch => send::batch(endpoint, parse(body)?).await,
        Operation::ReceiveMessage => receive::receive(endpoint, parse(body)?).await,
        Operation::DeleteMessage => receive::delete(endpoint, parse(body)?).await,
        Operation::DeleteMessageBatch => receive::delete_batch(endpoint, parse(body)?).await,
        Operation::ChangeMessageVisibility => receive::change_visibility(endpoint, parse(body)?).await,
        Operation::ChangeMessageVisibilityBatch => {
            receive::change_visibility_batch(endpoint, parse(body)?).await
        }
        Operation::PurgeQueue => purge_queue(endpoint, parse(body)?).await,
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        ApiError::new(Code::SerializationException, format!("The request could not be read: {error}"))
    })
}

/// A duration in whole seconds, within the limits SQS sets.
fn secs_up_to(name: &str, secs: i64, max: u64) -> Result<Duration, ApiError> {
    u64::try_from(secs)
        .ok()
        .filter(|secs| *secs <= max)
        .map(Duration::from_secs)
        .ok_or_else(|| ApiError::parameter(name, secs, &format!("Must be between 0 and {max}, if provided.")))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateQueue {
    queue_name: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

fn create_queue(endpoint: &Endpoint, request: &CreateQueue) -> Result<Value, ApiError> {
    let name = &request.queue_name;
    let settings = endpoint.queues.settings_or_default(name).with_attributes(&request.attributes)?;
    endpoint.queues.create(name, settings)?;
    Ok(json!({ "QueueUrl": endpoint.queue_url(name) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetQueueUrl {
    queue_name: String,
}

fn get_queue_url(endpoint: &Endpoint, request: &GetQueueUrl) -> Result<Value, ApiError> {
    let queue = endpoint.queues.by_queue_name(&request.queue_name)?;
    Ok(json!({ "QueueUrl": endpoint.queue_url(&queue.name) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListQueues {
    #[serde(default)]
    queue_name_prefix: String,
}

fn list_queues(endpoint: &Endpoint, request: &ListQueues) -> Value {
    let urls: Vec<String> = endpoint
        .queues
        .names(&request.queue_name_prefix)
        .iter()
        .map(|name| endpoint.queue_url(name))
        .collect();
    json!({ "QueueUrls": urls })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetQueueAttributes {
    queue_url: String,
    #[serde(default)]
    attribute_names: Vec<String>,
}

async fn get_queue_attributes(endpoint: &Endpoint, request: GetQueueAttributes) -> Result<Value, ApiError> {
    let queue = endpoint.queues.by_url(&request.queue_url)?;
    let known = attributes_of(endpoint, &queue).await?;
    let mut wanted = BTreeMap::new();
    for name in &request.attribute_names {
        match name.as_str() {
            "All" => wanted.extend(known.clone()),
            // A queue without dead letters has no policy; that is not a mistake of the caller.
            "RedrivePolicy" if !known.contains_key("RedrivePolicy") => {}
            name => {
                let (name, value) = known.get_key_value(name).ok_or_else(|| unknown_attribute(name))?;
                wanted.insert(name, value.clone());
            }
        }
    }
    Ok(json!({ "Attributes": wanted }))
}

async fn attributes_of(
    endpoint: &Endpoint,
    queue: &HostedQueue,
) -> Result<BTreeMap<&'static str, String>, ApiError> {
    let depth = queue.messages.depth().await?;
    let settings = &queue.settings;
    let mut attributes = BTreeMap::from([
        ("ApproximateNumberOfMessages", depth.visible.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", depth.in_flight.to_string()),
        ("ApproximateNumberOfMessagesDelayed", depth.delayed.to_string()),
        ("QueueArn", endpoint.queue_arn(&queue.name)),
        ("VisibilityTimeout", settings.visibility_timeout.as_secs().to_string()),
        ("DelaySeconds", settings.delay.as_secs().to_string()),
    ]);
    if let Some(policy) = &settings.redrive {
        let policy = json!({
            "deadLetterTargetArn": endpoint.queue_arn(&policy.dead_letter_queue),
            "maxReceiveCount": policy.max_receive_count,
        });
        attributes.insert("RedrivePolicy", policy.to_string());
    }
    Ok(attributes)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PurgeQueue {
    queue_url: String,
}

async fn purge_queue(endpoint: &Endpoint, request: PurgeQueue) -> Result<Value, ApiError> {
    let messages = endpoint.queues.by_url(&request.queue_url)?.messages;
    // Only what is there now, so that a busy sender cannot keep the purge going.
    let mut left = messages.depth().await?.visible;
    while left > 0 {
        let batch = messages.receive(BATCH_MAX, Duration::ZERO, Duration::from_mins(1)).await?;
        if batch.is_empty() {
            break;
        }
        left = left.saturating_sub(batch.len() as u64);
        let handles = batch.into_iter().map(|delivery| delivery.receipt_handle).collect();
        messages.delete_batch(handles).await?;
    }
    Ok(json!({}))
}
