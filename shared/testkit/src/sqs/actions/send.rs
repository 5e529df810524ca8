//! `SendMessage` and `SendMessageBatch`.

use std::time::Duration;

use ferry_transfer::Queue as _;
use ferry_transfer::queue::OutgoingMessage;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{batch as batches, secs_up_to};
use crate::sqs::Endpoint;
use crate::sqs::error::{ApiError, Code};
use crate::sqs::message::{self, Attributes, Envelope, MESSAGE_MAX_BYTES};
use crate::sqs::operation::BatchOperation;
use crate::sqs::queues::{DELAY_MAX_SECS, HostedQueue};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SendMessage {
    queue_url: String,
    #[serde(flatten)]
    message: Message,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SendMessageBatch {
    queue_url: String,
    #[serde(default)]
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    id: String,
    #[serde(flatten)]
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "MessageBody", default)]
    body: String,
    #[serde(rename = "DelaySeconds")]
    delay_secs: Option<i64>,
    #[serde(rename = "MessageAttributes", default)]
    attributes: Attributes,
}

/// What the sender is told about a message that was taken.
#[derive(Serialize)]
struct Sent {
    #[serde(rename = "Id", skip_serializing_if = "Option::is_none")]
    entry_id: Option<String>,
    #[serde(rename = "MessageId")]
    message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    body_md5: String,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    attributes_md5: Option<String>,
}

pub(super) async fn one(endpoint: &Endpoint, request: SendMessage) -> Result<Value, ApiError> {
    let queue = endpoint.queues.by_url(&request.queue_url)?;
    let sent = send(endpoint, &queue, None, request.message).await?;
    Ok(json!(sent))
}

pub(super) async fn batch(endpoint: &Endpoint, request: SendMessageBatch) -> Result<Value, ApiError> {
    let queue = endpoint.queues.by_url(&request.queue_url)?;
    let entries = request.entries;
    batches::check(entries.iter().map(|entry| entry.id.as_str()))?;
    let total: usize = entries.iter().map(|entry| entry.message.size_bytes()).sum();
    if total > MESSAGE_MAX_BYTES {
        return Err(ApiError::new(
            Code::BatchRequestTooLong,
            format!(
                "Batch requests cannot be longer than {MESSAGE_MAX_BYTES} bytes. You have sent {total} bytes."
            ),
        ));
    }
    let faults = endpoint.faults.next_batch(BatchOperation::SendMessageBatch);
    let mut successful = Vec::new();
    let mut failed = Vec::new();
    for (position, Entry { id, message }) in entries.into_iter().enumerate() {
        if let Some(fault) = faults.of_entry(position, &id) {
            failed.push(fault);
            continue;
        }
        match send(endpoint, &queue, Some(id.clone()), message).await {
            Ok(sent) => successful.push(sent),
            Err(error) => failed.push(error.into_failed_entry(id)),
        }
    }
    Ok(batches::answer(&successful, &failed))
}

async fn send(
    endpoint: &Endpoint,
    queue: &HostedQueue,
    entry_id: Option<String>,
    message: Message,
) -> Result<Sent, ApiError> {
    message::check(&message.body, &message.attributes)?;
    let asked =
        message.delay_secs.map(|secs| secs_up_to("DelaySeconds", secs, DELAY_MAX_SECS)).transpose()?;
    let delay: Duration = asked.unwrap_or(queue.settings.delay) + endpoint.faults.next_delay();
    let sent = Sent {
        entry_id,
        message_id: endpoint.next_id(0x5e9d_0000),
        body_md5: message::body_md5(&message.body),
        attributes_md5: message::attributes_md5(&message.attributes),
    };
    let envelope = Envelope::new(sent.message_id.clone(), &queue.name, endpoint.now_ms());
    let outgoing =
        OutgoingMessage { body: message.body, delay, attributes: envelope.seal(message.attributes) };
    for result in queue.messages.send_batch(vec![outgoing]).await? {
        result?;
    }
    Ok(sent)
}

impl Message {
    fn size_bytes(&self) -> usize {
        message::size_bytes(&self.body, &self.attributes)
    }
}
