//! `ReceiveMessage`, and what is done with the receipt handles it gives out.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ferry_transfer::Queue as _;
use ferry_transfer::queue::{BATCH_MAX, Delivery, OutgoingMessage};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{batch, secs_up_to};
use crate::sqs::Endpoint;
use crate::sqs::error::{ApiError, Code};
use crate::sqs::message::{self, Attribute, Envelope};
use crate::sqs::operation::BatchOperation;
use crate::sqs::queues::{HostedQueue, VISIBILITY_MAX_SECS};

/// Longest long poll (AWS, "Amazon SQS message quotas").
const WAIT_MAX_SECS: u64 = 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReceiveMessage {
    queue_url: String,
    max_number_of_messages: Option<i64>,
    wait_time_seconds: Option<i64>,
    visibility_timeout: Option<i64>,
    /// The deprecated name of `MessageSystemAttributeNames`.
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
}

/// A delivered message, as the protocol writes it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Received {
    message_id: String,
    receipt_handle: String,
    body: String,
    #[serde(rename = "MD5OfBody")]
    body_md5: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    message_attributes: BTreeMap<String, Attribute>,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    attributes_md5: Option<String>,
}

pub(super) async fn receive(endpoint: &Endpoint, request: ReceiveMessage) -> Result<Value, ApiError> {
    let queue = endpoint.queues.by_url(&request.queue_url)?;
    let asked = request.max_number_of_messages.unwrap_or(1);
    let max = usize::try_from(asked).ok().filter(|max| (1..=BATCH_MAX).contains(max)).ok_or_else(|| {
        ApiError::parameter("MaxNumberOfMessages", asked, "Must be between 1 and 10, if provided.")
    })?;
    let wait = secs_up_to("WaitTimeSeconds", request.wait_time_seconds.unwrap_or(0), WAIT_MAX_SECS)?;
    let visibility = request
        .visibility_timeout
        .map(|secs| secs_up_to("VisibilityTimeout", secs, VISIBILITY_MAX_SECS))
        .transpose()?
        .unwrap_or(queue.settings.visibility_timeout);
    let deliveries = tokio::select! {
        deliveries = queue.messages.receive(max, wait, visibility) => deliveries?,
        () = endpoint.stopping.cancelled() => Vec::new(),
    };
    let duplicates = endpoint.faults.next_duplicates(deliveries.len());
    for delivery in &deliveries[..duplicates] {
        send_again(endpoint, &queue, delivery).await?;
    }
    let messages: Vec<Received> =
        deliveries.into_iter().map(|delivery| received(endpoint, &queue, &request, delivery)).collect();
    if messages.is_empty() {
        return Ok(json!({}));
    }
    Ok(json!({ "Messages": messages }))
}

fn received(
    endpoint: &Endpoint,
    queue: &HostedQueue,
    request: &ReceiveMessage,
    delivery: Delivery,
) -> Received {
    let (envelope, mut message_attributes) = Envelope::open(&delivery.attributes);
    message_attributes.retain(|name, _| selects(&request.message_attribute_names, name));

    let mut attributes = BTreeMap::from([
        ("ApproximateReceiveCount", delivery.receive_count.to_string()),
        ("SenderId", endpoint.account_id.clone()),
    ]);
    if let Some(envelope) = &envelope {
        attributes.insert("SentTimestamp", envelope.sent_ms.to_string());
        if envelope.queue != queue.name {
            attributes.insert("DeadLetterQueueSourceArn", endpoint.queue_arn(&envelope.queue));
        }
    }
    attributes.retain(|name, _| {
        let mut wanted = request.message_system_attribute_names.iter().chain(&request.attribute_names);
        wanted.any(|wanted| wanted == "All" || wanted == name)
    });
    Received {
        message_id: envelope.map_or(delivery.message_id, |envelope| envelope.message_id),
        receipt_handle: seal_handle(&queue.name, &delivery.receipt_handle),
        body_md5: message::body_md5(&delivery.body),
        body: delivery.body,
        attributes,
        attributes_md5: message::attributes_md5(&message_attributes),
        message_attributes,
    }
}

/// Whether one of `wanted` selects the attribute: `All`, `.*`, a prefix followed by `.*`, or the name itself.
fn selects(wanted: &[String], name: &str) -> bool {
    wanted.iter().any(|wanted| match wanted.strip_suffix(".*") {
        Some(prefix) => name.starts_with(prefix),
        None => wanted == "All" || wanted == name,
    })
}

/// Puts a copy of a delivered message on its queue, under the id it already has.
async fn send_again(endpoint: &Endpoint, queue: &HostedQueue, delivery: &Delivery) -> Result<(), ApiError> {
    let (envelope, attributes) = Envelope::open(&delivery.attributes);
    let envelope = envelope
        .unwrap_or_else(|| Envelope::new(delivery.message_id.clone(), &queue.name, endpoint.now_ms()));
    let copy = OutgoingMessage {
        body: delivery.body.clone(),
        delay: Duration::ZERO,
        attributes: envelope.seal(attributes),
    };
    for result in queue.messages.send_batch(vec![copy]).await? {
        result?;
    }
    Ok(())
}

/// A receipt handle that only its own queue takes back.
fn seal_handle(queue: &str, handle: &str) -> String {
    BASE64.encode(format!("{queue}/{handle}"))
}

fn open_handle(queue: &str, sealed: &str) -> Result<String, ApiError> {
    BASE64
        .decode(sealed)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|handle| {
            let (name, handle) = handle.split_once('/')?;
            (name == queue).then(|| handle.to_owned())
        })
        .ok_or_else(|| {
            ApiError::new(
                Code::ReceiptHandleIsInvalid,
                format!("The input receipt handle \"{sealed}\" is not a valid receipt handle."),
            )
        })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteMessage {
    queue_url: String,
    receipt_handle: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChangeMessageVisibility {
    queue_url: String,
    receipt_handle: String,
    visibility_timeout: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReceiptBatch {
    queue_url: String,
    #[serde(default)]
    entries: Vec<ReceiptEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReceiptEntry {
    id: String,
    receipt_handle: String,
    /// SQS takes an entry without it, and gives the message back at once.
    #[serde(default)]
    visibility_timeout: i64,
}

pub(super) async fn delete(endpoint: &Endpoint, request: DeleteMessage) -> Result<Value, ApiError> {
    let queue = endpoint.queues.by_url(&request.queue_url)?;
    delete_one(&queue, &request.receipt_handle).await?;
    Ok(json!({}))
}

pub(super) async fn change_visibility(
    endpoint: &Endpoint,
    request: ChangeMessageVisibility,
) -> Result<Value, ApiError> {
    let queue = endpoint.queues.by_url(&request.queue_url)?;
    change_one(&queue, &request.receipt_handle, request.visibility_timeout).await?;
    Ok(json!({}))
}

pub(super) async fn delete_batch(endpoint: &Endpoint, request: ReceiptBatch) -> Result<Value, ApiError> {
    each_receipt(endpoint, BatchOperation::DeleteMessageBatch, request, async |queue, entry| {
        delete_one(queue, &entry.receipt_handle).await
    })
    .await
}

pub(super) async fn change_visibility_batch(
    endpoint: &Endpoint,
    request: ReceiptBatch,
) -> Result<Value, ApiError> {
    each_receipt(endpoint, BatchOperation::ChangeMessageVisibilityBatch, request, async |queue, entry| {
        change_one(queue, &entry.receipt_handle, entry.visibility_timeout).await
    })
    .await
}

async fn each_receipt(
    endpoint: &Endpoint,
    operation: BatchOperation,
    request: ReceiptBatch,
    action: impl AsyncFn(&HostedQueue, &ReceiptEntry) -> Result<(), ApiError>,
) -> Result<Value, ApiError> {
    let queue = endpoint.queues.by_url(&request.queue_url)?;
    batch::check(request.entries.iter().map(|entry| entry.id.as_str()))?;
    let faults = endpoint.faults.next_batch(operation);
    let mut successful = Vec::new();
    let mut failed = Vec::new();
    for (position, entry) in request.entries.into_iter().enumerate() {
        if let Some(fault) = faults.of_entry(position, &entry.id) {
            failed.push(fault);
            continue;
        }
        match action(&queue, &entry).await {
            Ok(()) => successful.push(json!({ "Id": entry.id })),
            Err(error) => failed.push(error.into_failed_entry(entry.id)),
        }
    }
    Ok(batch::answer(&successful, &failed))
}

async fn delete_one(queue: &HostedQueue, sealed: &str) -> Result<(), ApiError> {
    let handle = open_handle(&queue.name, sealed)?;
    for result in queue.messages.delete_batch(vec![handle]).await? {
        result?;
    }
    Ok(())
}

async fn change_one(queue: &HostedQueue, sealed: &str, secs: i64) -> Result<(), ApiError> {
    let visibility = secs_up_to("VisibilityTimeout", secs, VISIBILITY_MAX_SECS)?;
    let handle = open_handle(&queue.name, sealed)?;
    Ok(queue.messages.change_visibility(&handle, visibility).await?)
}
