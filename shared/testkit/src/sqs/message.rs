//! A message on the wire: attributes, digests, size, and the envelope that carries what the memory queue does not keep.
//!
//! Owns: the rules for bodies and attributes and both MD5 digests (AWS, "Amazon SQS message metadata"). Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::error::{ApiError, Code};

/// Most bytes of a message, and of the messages of a batch together: bodies and attributes (AWS, "Amazon SQS message
/// quotas": 1 MiB).
pub(super) const MESSAGE_MAX_BYTES: usize = 1 << 20;
/// Most attributes of a message.
const ATTRIBUTES_MAX: usize = 10;

/// The attribute of a [`MemoryQueue`](ferry_transfer::queue::memory::MemoryQueue) message that carries what the endpoint
/// knows beside the body. Senders cannot use the name: SQS reserves the prefix.
pub const ENVELOPE_ATTRIBUTE: &str = "AWS.Envelope";

/// What a sender's request adds to a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Envelope {
    pub(super) message_id: String,
    /// The queue it was sent to, which the dead-letter queue reports.
    pub(super) queue: String,
    pub(super) sent_ms: i64,
    /// The data types of attributes that are not plain strings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    types: BTreeMap<String, String>,
}

/// A message attribute, as the protocol writes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Attribute {
    data_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    string_value: Option<String>,
    /// Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    binary_value: Option<String>,
}

/// The attributes of one message by name.
pub(super) type Attributes = BTreeMap<String, Attribute>;

impl Envelope {
    pub(super) fn new(message_id: String, queue: &str, sent_ms: i64) -> Self {
        Self { message_id, queue: queue.to_owned(), sent_ms, types: BTreeMap::new() }
    }

    /// The memory queue's attributes for a message: each value as text, and this envelope.
    pub(super) fn seal(mut self, attributes: Attributes) -> Vec<(String, String)> {
        let mut pairs = Vec::with_capacity(attributes.len() + 1);
        for (name, attribute) in attributes {
            if attribute.data_type != "String" {
                self.types.insert(name.clone(), attribute.data_type);
            }
            let value = attribute.string_value.or(attribute.binary_value);
            pairs.push((name, value.unwrap_or_default()));
        }
        let envelope = serde_json::json!(self).to_string();
        pairs.push((ENVELOPE_ATTRIBUTE.into(), envelope));
        pairs
    }

    /// Undoes [`Envelope::seal`]; messages that were put on the memory queue directly have no envelope.
    pub(super) fn open(pairs: &[(String, String)]) -> (Option<Self>, Attributes) {
        let envelope = pairs
            .iter()
            .find(|(name, _)| name == ENVELOPE_ATTRIBUTE)
            .and_then(|(_, json)| serde_json::from_str::<Self>(json).ok());
        let attributes = pairs
            .iter()
            .filter(|(name, _)| name != ENVELOPE_ATTRIBUTE)
            .map(|(name, value)| {
                let data_type = envelope
                    .as_ref()
                    .and_then(|envelope| envelope.types.get(name))
                    .map_or("String", String::as_str);
                (name.clone(), Attribute::from_text(data_type, value))
            })
            .collect();
        (envelope, attributes)
    }
}

impl Attribute {
    fn from_text(data_type: &str, value: &str) -> Self {
        let value = Some(value.to_owned());
        let (string_value, binary_value) =
            if base_type(data_type) == "Binary" { (None, value) } else { (value, None) };
        Self { data_type: data_type.to_owned(), string_value, binary_value }
    }

    /// The value's bytes; none where it is missing or not of the declared type.
    fn value_bytes(&self) -> Option<Vec<u8>> {
        let bytes = match base_type(&self.data_type) {
            "String" | "Number" => self.string_value.as_ref()?.clone().into_bytes(),
            "Binary" => BASE64.decode(self.binary_value.as_ref()?).ok()?,
            _ => return None,
        };
        (!bytes.is_empty()).then_some(bytes)
    }
}

/// The part of a data type that SQS knows, before the dot of a custom label.
fn base_type(data_type: &str) -> &str {
    data_type.split('.').next().unwrap_or_default()
}

/// The size of a message as SQS counts it: body, attribute names, types and values, in bytes.
pub(super) fn size_bytes(body: &str, attributes: &Attributes) -> usize {
    let attribute_bytes = |(name, attribute): (&String, &Attribute)| {
        name.len() + attribute.data_type.len() + attribute.value_bytes().unwrap_or_default().len()
    };
    body.len() + attributes.iter().map(attribute_bytes).sum::<usize>()
}

/// Refuses what SQS refuses of a message.
pub(super) fn check(body: &str, attributes: &Attributes) -> Result<(), ApiError> {
    if body.is_empty() {
        return Err(ApiError::new(
            Code::InvalidParameterValue,
            "The request must contain the parameter MessageBody.",
        ));
    }
    if let Some(refused) = body.chars().find(|char| !is_allowed(*char)) {
        return Err(ApiError::new(
            Code::InvalidMessageContents,
            format!(
                "Invalid characters found: {refused:?}. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | \
                 #xE000 to #xFFFD | #x10000 to #x10FFFF"
            ),
        ));
    }
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(ApiError::new(
            Code::InvalidParameterValue,
            format!(
                "Number of message attributes [{}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].",
                attributes.len()
            ),
        ));
    }
    for (name, attribute) in attributes {
        check_attribute(name, attribute)?;
    }
    if size_bytes(body, attributes) > MESSAGE_MAX_BYTES {
        return Err(ApiError::new(
            Code::InvalidParameterValue,
            format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {MESSAGE_MAX_BYTES} bytes."
            ),
        ));
    }
    Ok(())
}

fn check_attribute(name: &str, attribute: &Attribute) -> Result<(), ApiError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let reserved =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let refused = |reason: &str| {
        ApiError::new(
            Code::InvalidParameterValue,
            format!("The message attribute '{name}' is invalid. Reason: {reason}"),
        )
    };
    if name.is_empty() || name.len() > 256 || !name.bytes().all(allowed) {
        return Err(refused("the name holds 1 to 256 of A-Z, a-z, 0-9, '_', '-', '.'."));
    }
    if reserved("AWS.") || reserved("Amazon.") {
        return Err(refused("the name starts with a reserved prefix."));
    }
    if attribute.value_bytes().is_none() {
        return Err(refused("it must contain a non-empty value of its type: String, Number or Binary."));
    }
    Ok(())
}

/// The characters of XML 1.0, which is what SQS takes.
fn is_allowed(char: char) -> bool {
    matches!(char, '\u{9}' | '\u{a}' | '\u{d}' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// `MD5OfMessageBody`.
pub(super) fn body_md5(body: &str) -> String {
    hex(Md5::digest(body).into())
}

/// `MD5OfMessageAttributes`: for each attribute in the order of the names, length and bytes of name, type and value, with a
/// byte that tells text from binary before the value. `None` where there is none.
pub(super) fn attributes_md5(attributes: &Attributes) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut digest = Md5::new();
    for (name, attribute) in attributes {
        let kind = if base_type(&attribute.data_type) == "Binary" { 2 } else { 1 };
        update_with_length(&mut digest, name.as_bytes());
        update_with_length(&mut digest, attribute.data_type.as_bytes());
        digest.update([kind]);
        update_with_length(&mut digest, &attribute.value_bytes().unwrap_or_default());
    }
    Some(hex(digest.finalize().into()))
}

fn update_with_length(digest: &mut Md5, bytes: &[u8]) {
    // A message is at most 1 MiB, so its parts' lengths fit.
    digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    digest.update(bytes);
}

fn hex(digest: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(digest))
}
