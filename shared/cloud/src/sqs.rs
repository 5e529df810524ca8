//! SQS behind [`ferry_transfer::Queue`].
//!
//! Owns: one queue's client, its timeouts and the translation of batches. Does not own: retrying beyond the SDK's own three
//! attempts at a request; an entry that failed inside of a batch is the caller's to send again. Invariant: every entry of a
//! batch is answered for, and only what SQS lists as successful is reported as done. Standard queues only.

mod address;
mod batch;
mod error;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{Region, StalledStreamProtectionConfig};
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, DeleteMessageBatchResultEntry, Message, MessageAttributeValue,
    MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
    SendMessageBatchResultEntry,
};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use ferry_transfer::queue::{BATCH_MAX, Delivery, OutgoingMessage, QueueDepth};
use ferry_transfer::{Error, ErrorKind, Queue, Result};

use crate::credentials::{self, CredentialRef, Credentials};
use crate::http_client;
use address::QueueAddress;
use error::{Failure, Place};

/// Longest long poll (AWS, "Amazon SQS message quotas").
const WAIT_MAX_SECS: u64 = 20;
/// Attempts at one request, the first included.
const ATTEMPTS: u32 = 3;
/// Longest an attempt may take beyond the time SQS was asked to wait: a megabyte at 100 kB/s.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest all attempts at a request may take, backoff included, beyond the time SQS was asked to wait.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(35);

/// Which queue, and how to reach it.
#[derive(Debug, Clone)]
pub struct SqsQueueConfig {
    /// The queue's URL.
    pub queue_url: String,
    /// Where requests go; `None` takes scheme and host of the queue's URL.
    pub endpoint: Option<String>,
    /// The region requests are signed for; `None` takes that of the queue's URL, else the environment's.
    pub region: Option<String>,
    /// Who asks; `None` takes the SDK's default chain: environment, profile, container or instance role.
    pub credentials: Option<SharedCredentialsProvider>,
}

impl SqsQueueConfig {
    /// The queue at this URL, with everything else found out.
    pub fn new(queue_url: impl Into<String>) -> Self {
        Self { queue_url: queue_url.into(), endpoint: None, region: None, credentials: None }
    }

    /// The same for who is pointed at. A reference to keys is followed once now, so that a wrong one fails here.
    pub async fn signed_by(self, reference: &CredentialRef) -> Result<Self> {
        // The region only matters to providers that ask another service for keys.
        let region = self.region.clone().unwrap_or_default();
        Ok(Self { credentials: credentials::provider(reference, &region).await?, ..self })
    }

    /// The same for these keys.
    #[must_use]
    pub fn signed_with(self, keys: Credentials) -> Self {
        let Credentials { access_key_id, secret_access_key, session_token, expires } = keys;
        let expires = expires.map(Into::into);
        let keys = aws_credential_types::Credentials::new(
            access_key_id,
            secret_access_key,
            session_token,
            expires,
            "ferry",
        );
        Self { credentials: Some(SharedCredentialsProvider::new(keys)), ..self }
    }
}

/// A standard queue of SQS, or of what speaks its protocol.
#[derive(Clone)]
pub struct SqsQueue {
    client: Client,
    queue_url: String,
}

impl SqsQueue {
    /// Prepares a client; sends nothing to the queue.
    ///
    /// Fails with `Configuration` where the URL is not that of a standard queue, or where no region can be found.
    pub async fn connect(config: SqsQueueConfig) -> Result<Self> {
        let address = QueueAddress::parse(&config.queue_url)?;
        let mut region = config.region.or(address.region).map(Region::new);
        let mut credentials = config.credentials;
        if region.is_none() || credentials.is_none() {
            let mut ambient =
                aws_config::defaults(http_client::behavior_version()).http_client(http_client::shared());
            if let Some(region) = region.clone() {
                ambient = ambient.region(region);
            }
            let ambient = ambient.load().await;
            region = region.or_else(|| ambient.region().cloned());
            credentials = credentials.or_else(|| ambient.credentials_provider());
        }
        let Some(region) = region else {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "no region is known for queue {}: set the queue's region or AWS_REGION",
                    config.queue_url
                ),
            ));
        };
        let mut builder = aws_sdk_sqs::Config::builder()
            .behavior_version(http_client::behavior_version())
            .http_client(http_client::shared())
            .region(region)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts(Duration::ZERO))
            // Every attempt has a deadline of its own, and a long poll is silent on purpose.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        builder.set_endpoint_url(config.endpoint.or(address.endpoint));
        builder.set_credentials_provider(credentials);
        Ok(Self { client: Client::from_conf(builder.build()), queue_url: config.queue_url })
    }

    /// The queue's URL.
    pub fn queue_url(&self) -> &str {
        &self.queue_url
    }

    fn place(&self, operation: &'static str) -> Place<'_> {
        Place { operation, queue_url: &self.queue_url }
    }

    fn check_batch_size(&self, operation: &'static str, length: usize) -> Result<()> {
        if (1..=BATCH_MAX).contains(&length) {
            return Ok(());
        }
        let message = format!("a batch holds 1 to {BATCH_MAX} entries, not {length}");
        Err(self.place(operation).error(ErrorKind::InvalidInput, &message))
    }

    /// Sends some messages of a batch in one request.
    async fn send_request(
        &self,
        messages: &[OutgoingMessage],
        range: Range<usize>,
    ) -> Result<Vec<Result<()>>, Failure> {
        let place = self.place("SendMessageBatch");
        let mut entries = Vec::with_capacity(range.len());
        for (id, message) in messages[range.clone()].iter().enumerate() {
            entries.push(outgoing_entry(id, message).map_err(|error| Failure::unbuildable(&error))?);
        }
        let request = self.client.send_message_batch().queue_url(&self.queue_url).set_entries(Some(entries));
        let answer = Box::pin(request.send()).await.map_err(|error| Failure::from_sdk(&error))?;
        let successful = answer.successful().iter().map(SendMessageBatchResultEntry::id);
        Ok(batch::collate(place, range.len(), successful, answer.failed()))
    }
}

/// Timeouts of a request that SQS may hold for `wait` before it answers.
fn timeouts(wait: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(http_client::CONNECT_TIMEOUT)
        .operation_attempt_timeout(wait + ATTEMPT_TIMEOUT)
        .operation_timeout(wait + OPERATION_TIMEOUT)
        .build()
}

/// Whole seconds, not less than the duration: a message is never visible earlier than asked for.
fn secs_rounded_up(duration: Duration) -> i32 {
    let secs = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    // What does not fit is far beyond any limit of SQS, which then refuses it by name.
    i32::try_from(secs).unwrap_or(i32::MAX)
}

/// Whole seconds, not more than the duration, nor than SQS allows: a receive is never longer than asked for.
fn poll_secs(wait: Duration) -> i32 {
    i32::try_from(wait.as_secs().min(WAIT_MAX_SECS)).unwrap_or_default()
}

fn outgoing_entry(
    id: usize,
    message: &OutgoingMessage,
) -> Result<SendMessageBatchRequestEntry, aws_smithy_types::error::operation::BuildError> {
    let mut entry = SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(&message.body);
    if let Some(group) = batch::group_of(&message.body) {
        entry = entry.message_group_id(group);
    }
    if !message.delay.is_zero() {
        entry = entry.delay_seconds(secs_rounded_up(message.delay));
    }
    for (name, value) in &message.attributes {
        let value = MessageAttributeValue::builder().data_type("String").string_value(value).build()?;
        entry = entry.message_attributes(name, value);
    }
    entry.build()
}

/// A message as it was received; `None` without a handle, since it could never be deleted.
fn delivery(message: Message) -> Option<Delivery> {
    let receive_count = message
        .attributes
        .as_ref()
        .and_then(|attributes| attributes.get(&MessageSystemAttributeName::ApproximateReceiveCount))
        .and_then(|count| count.parse().ok())
        .unwrap_or(1);
    let mut attributes: Vec<(String, String)> = message
        .message_attributes
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.string_value?)))
        .collect();
    attributes.sort_unstable();
    Some(Delivery {
        message_id: message.message_id.unwrap_or_default(),
        receipt_handle: message.receipt_handle?,
        body: message.body.unwrap_or_default(),
        receive_count,
        attributes,
    })
}

#[async_trait]
impl Queue for SqsQueue {
    /// Sends in as few requests as the limit on their size allows. Where that is one, and it fails as a whole, so does this;
    /// where there are several, each entry of a request that failed carries its failure.
    async fn send_batch(&self, messages: Vec<OutgoingMessage>) -> Result<Vec<Result<()>>> {
        let place = self.place("SendMessageBatch");
        self.check_batch_size(place.operation, messages.len())?;
        let sizes: Vec<usize> = messages.iter().map(batch::message_bytes).collect();
        let requests = batch::requests(&sizes);
        let mut results = Vec::with_capacity(messages.len());
        for range in &requests {
            match self.send_request(&messages, range.clone()).await {
                Ok(answered) => results.extend(answered),
                Err(failure) if requests.len() == 1 => return Err(failure.at(place)),
                Err(failure) => results.extend(range.clone().map(|_| Err(failure.clone().at(place)))),
            }
        }
        Ok(results)
    }

    async fn receive(&self, max: usize, wait: Duration, visibility: Duration) -> Result<Vec<Delivery>> {
        let place = self.place("ReceiveMessage");
        self.check_batch_size(place.operation, max)?;
        let wait_secs = poll_secs(wait);
        let request = self
            .client
            .receive_message()
            .queue_url(&self.queue_url)
            .max_number_of_messages(i32::try_from(max).unwrap_or(1))
            .wait_time_seconds(wait_secs)
            .visibility_timeout(secs_rounded_up(visibility))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_attribute_names("All")
            .customize()
            .config_override(
                aws_sdk_sqs::Config::builder()
                    .timeout_config(timeouts(Duration::from_secs(wait_secs.unsigned_abs().into()))),
            );
        let answer = Box::pin(request.send()).await.map_err(|error| Failure::from_sdk(&error).at(place))?;
        answer
            .messages
            .unwrap_or_default()
            .into_iter()
            .map(|message| {
                delivery(message)
                    .ok_or_else(|| place.error(ErrorKind::Other, "a message came without a receipt handle"))
            })
            .collect()
    }

    async fn delete_batch(&self, receipt_handles: Vec<String>) -> Result<Vec<Result<()>>> {
        let place = self.place("DeleteMessageBatch");
        self.check_batch_size(place.operation, receipt_handles.len())?;
        let count = receipt_handles.len();
        let mut entries = Vec::with_capacity(count);
        for (id, handle) in receipt_handles.into_iter().enumerate() {
            let entry =
                DeleteMessageBatchRequestEntry::builder().id(id.to_string()).receipt_handle(handle).build();
            entries.push(entry.map_err(|error| Failure::unbuildable(&error).at(place))?);
        }
        let request =
            self.client.delete_message_batch().queue_url(&self.queue_url).set_entries(Some(entries));
        let answer = Box::pin(request.send()).await.map_err(|error| Failure::from_sdk(&error).at(place))?;
        let successful = answer.successful().iter().map(DeleteMessageBatchResultEntry::id);
        Ok(batch::collate(place, count, successful, answer.failed()))
    }

    async fn change_visibility(&self, receipt_handle: &str, visibility: Duration) -> Result<()> {
        let request = self
            .client
            .change_message_visibility()
            .queue_url(&self.queue_url)
            .receipt_handle(receipt_handle)
            .visibility_timeout(secs_rounded_up(visibility));
        Box::pin(request.send())
            .await
            .map_err(|error| Failure::from_sdk(&error).at(self.place("ChangeMessageVisibility")))?;
        Ok(())
    }

    async fn depth(&self) -> Result<QueueDepth> {
        let place = self.place("GetQueueAttributes");
        let request = self
            .client
            .get_queue_attributes()
            .queue_url(&self.queue_url)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesDelayed);
        let answer = Box::pin(request.send()).await.map_err(|error| Failure::from_sdk(&error).at(place))?;
        let count = |name: QueueAttributeName| {
            answer
                .attributes()
                .and_then(|attributes| attributes.get(&name))
                .and_then(|count| count.parse().ok())
                .ok_or_else(|| place.error(ErrorKind::Other, &format!("the answer has no {name}")))
        };
        Ok(QueueDepth {
            visible: count(QueueAttributeName::ApproximateNumberOfMessages)?,
            in_flight: count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)?,
            delayed: count(QueueAttributeName::ApproximateNumberOfMessagesDelayed)?,
        })
    }
}

impl fmt::Debug for SqsQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqsQueue").field("queue_url", &self.queue_url).finish_non_exhaustive()
    }
}
