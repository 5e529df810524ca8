//! The message on the queue: make key K at the destination agree with the source, or scan a range of keys.
//!
//! Owns: the JSON contract. The minimum that every version accepts is `{"key": "...", "size": 123}`; unknown fields are ignored.
//! Does not own: notifications of stores, which the event parsers turn into this. Invariant: everything in a message is a
//! hint; what the source says when the job runs decides.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::compare::Reason;
use crate::event::{self, EventError, Notification};
use crate::store::UploadId;
use crate::{ETag, Key, KeyRange, StorageClass};

/// The task that a message names, whatever else it is about; `None` where it names none or is no message.
pub fn task_of(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        task: Option<String>,
    }
    serde_json::from_str::<Named>(body).ok()?.task
}

/// A message, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// One object.
    Object(Job),
    /// One part of an object.
    Part(PartJob),
    /// One range of keys.
    Scan(ScanJob),
}

/// What may come off a queue of jobs: a message, or what a store puts there itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// One of Ferry's own.
    Message(Message),
    /// A store's, which is about any number of objects.
    Notification(Notification),
}

/// Make one key at the destination agree with the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Job {
    /// The full key at the source, byte for byte.
    pub key: Key,
    /// Size in bytes when the job was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The task it belongs to; `None` is the only one there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The run it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What to do.
    pub action: Action,
    /// The source's generation when the job was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
    /// The source's version, on versioned buckets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// The source's storage class when the job was made; a job of a scan that names none found the standard one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<StorageClass>,
    /// Since when the job has waited for the source's archive, if it does.
    #[serde(skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub parked_since: Option<OffsetDateTime>,
    /// When the source took that generation in.
    #[serde(skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub last_modified: Option<OffsetDateTime>,
    /// Who made the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The bucket that an event is about, as an S3 client would name it, where its sender says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// When what an event tells of happened, by its sender's clock.
    #[serde(skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub event_time: Option<OffsetDateTime>,
    /// Whether the event tells of bytes added at the object's end, and the job has waited for more of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub appended: bool,
    /// What the destination held when the job was made. Spares the worker a HEAD and makes its write conditional.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<SeenAtDestination>,
    /// What the scan thought that made the job, for its receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
}

/// What to do with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Bring the destination up to the source.
    #[default]
    Copy,
    /// Remove it from the destination, if it is gone at the source.
    Delete,
}

impl Action {
    /// Whether this is what a message means that says nothing else.
    pub fn is_copy(&self) -> bool {
        *self == Self::Copy
    }
}

/// Who made a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A comparison of listings.
    Scan,
    /// A store's notification.
    Event,
    /// A person.
    Manual,
}

/// What the destination held for the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeenAtDestination {
    /// Nothing.
    Absent,
    /// An object of this generation.
    Etag(ETag),
}

/// Why a scan made a job of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It is at the source only.
    Missing,
    /// It is on both sides and differs in this.
    Different(Reason),
    /// It is at the destination only.
    Extra,
    /// Others at the source would have its name at the destination.
    Contested,
}

/// Copy one part of an object that is shared out among workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartJob {
    /// The full key at the source.
    pub key: Key,
    /// The task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The source's generation that the upload is made of.
    pub etag: ETag,
    /// The object's size in bytes.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// The upload.
    pub upload_id: UploadId,
    /// The part, from 1.
    #[serde(rename = "part")]
    pub part_number: u32,
}

/// List and compare one range of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanJob {
    /// The task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The range, in keys relative to each side's prefix.
    #[serde(default)]
    pub range: KeyRange,
}

/// Why a body is no message. Such a body can never succeed.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Not JSON at all.
    #[error("the message is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// JSON of another shape.
    #[error("the message has no shape Ferry knows: {0}")]
    UnknownShape(String),
}

impl Job {
    /// A job with nothing but its key: the least a message can say.
    pub fn for_key(key: Key) -> Self {
        Self {
            key,
            size: None,
            task: None,
            run: None,
            action: Action::Copy,
            etag: None,
            version_id: None,
            storage_class: None,
            parked_since: None,
            last_modified: None,
            origin: None,
            bucket: None,
            event_time: None,
            appended: false,
            destination: None,
            found: None,
        }
    }
}

fn moment(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()
}

/// Everything a message can have; what must be there depends on the action.
#[derive(Deserialize)]
struct Wire {
    key: Option<String>,
    size: Option<serde_json::Value>,
    task: Option<String>,
    run: Option<String>,
    action: Option<String>,
    etag: Option<String>,
    version_id: Option<String>,
    storage_class: Option<String>,
    parked_since: Option<String>,
    last_modified: Option<String>,
    origin: Option<serde_json::Value>,
    bucket: Option<serde_json::Value>,
    event_time: Option<serde_json::Value>,
    appended: Option<serde_json::Value>,
    destination: Option<SeenAtDestination>,
    found: Option<serde_json::Value>,
    upload_id: Option<serde_json::Value>,
    part: Option<serde_json::Value>,
    #[serde(default)]
    range: KeyRange,
}

impl Wire {
    /// As the job of a part, of which nothing is a hint.
    fn part(self) -> Result<PartJob, MessageError> {
        let lacks = |what: &str| MessageError::UnknownShape(format!("the part has no {what}"));
        let number = |value: Option<serde_json::Value>| value.and_then(|value| value.as_u64());
        Ok(PartJob {
            key: self.key.and_then(|key| Key::new(key).ok()).ok_or_else(|| lacks("key"))?,
            task: self.task,
            run: self.run,
            etag: self.etag.as_deref().and_then(ETag::parse).ok_or_else(|| lacks("etag"))?,
            size_bytes: number(self.size).ok_or_else(|| lacks("size"))?,
            upload_id: self
                .upload_id
                .and_then(|id| id.as_str().map(|id| UploadId(id.to_owned())))
                .ok_or_else(|| lacks("upload_id"))?,
            part_number: number(self.part)
                .and_then(|part| u32::try_from(part).ok())
                .filter(|part| *part > 0)
                .ok_or_else(|| lacks("part"))?,
        })
    }
}

impl Incoming {
    /// Reads a body, be it a message or a store's notification in whatever wrapping.
    pub fn parse(body: &str) -> Result<Self, MessageError> {
        let notification = match serde_json::from_str(body) {
            Ok(value) => match event::parse_foreign(&value) {
                Some(notification) => notification,
                None => return Message::from_value(value).map(Self::Message),
            },
            Err(_not_json) => event::parse(body),
        };
        Ok(Self::Notification(notification?))
    }
}

impl From<EventError> for MessageError {
    fn from(error: EventError) -> Self {
        match error {
            EventError::NotJson(error) => Self::NotJson(error),
            EventError::UnknownShape(what) => Self::UnknownShape(what.to_owned()),
        }
    }
}

impl Message {
    /// Reads a message body. Hints that cannot be read (a size as text, a time in a foreign form) are dropped, since the source
    /// is asked anyway; only a missing key or an unknown action is fatal.
    pub fn parse(body: &str) -> Result<Self, MessageError> {
        Self::from_value(serde_json::from_str(body).map_err(MessageError::NotJson)?)
    }

    fn from_value(value: serde_json::Value) -> Result<Self, MessageError> {
        if !value.is_object() {
            return Err(MessageError::UnknownShape("it is no JSON object".to_owned()));
        }
        let wire: Wire =
            serde_json::from_value(value).map_err(|error| MessageError::UnknownShape(error.to_string()))?;
        let action = match wire.action.as_deref() {
            None | Some("copy") => Action::Copy,
            Some("delete") => Action::Delete,
            Some("scan") => {
                return Ok(Self::Scan(ScanJob { task: wire.task, run: wire.run, range: wire.range }));
            }
            Some("part") => return wire.part().map(Self::Part),
            Some(other) => return Err(MessageError::UnknownShape(format!("unknown action {other:?}"))),
        };
        let key = wire.key.ok_or_else(|| MessageError::UnknownShape("it has no key".to_owned()))?;
        let key = Key::new(key).map_err(|error| MessageError::UnknownShape(error.to_string()))?;
        Ok(Self::Object(Job {
            key,
            size: wire
                .size
                .as_ref()
                .and_then(|size| size.as_u64().or_else(|| size.as_str().and_then(|text| text.parse().ok()))),
            task: wire.task,
            run: wire.run,
            action,
            etag: wire.etag.as_deref().and_then(ETag::parse),
            version_id: wire.version_id.filter(|id| !id.is_empty()),
            storage_class: wire.storage_class.as_deref().and_then(StorageClass::parse),
            parked_since: wire.parked_since.as_deref().and_then(moment),
            last_modified: wire.last_modified.as_deref().and_then(moment),
            origin: wire.origin.and_then(|origin| serde_json::from_value(origin).ok()),
            bucket: wire.bucket.as_ref().and_then(|bucket| bucket.as_str()).map(str::to_owned),
            event_time: wire.event_time.as_ref().and_then(|time| time.as_str()).and_then(moment),
            appended: wire.appended.is_some_and(|appended| appended == true),
            destination: wire.destination,
            found: wire.found.and_then(|found| serde_json::from_value(found).ok()),
        }))
    }

    /// The message as it goes on the queue, in characters that a queue takes: SQS refuses what XML 1.0 cannot hold (AWS,
    /// `SendMessage`), and of that JSON leaves U+FFFE and U+FFFF as they are, both of which a key may hold.
    pub fn to_json(&self) -> String {
        let value = match self {
            Self::Object(job) => serde_json::to_value(job),
            Self::Part(part) => serde_json::to_value(part).map(|mut value| {
                value["action"] = "part".into();
                value
            }),
            Self::Scan(scan) => serde_json::to_value(scan).map(|mut value| {
                value["action"] = "scan".into();
                value
            }),
        };
        // Strings, numbers and options only: there is nothing in it that JSON cannot hold.
        let text = value.map(|value| value.to_string()).unwrap_or_default();
        text.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(body: &str) -> Job {
        match Message::parse(body).expect("a message") {
            Message::Object(job) => job,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_minimal_message_of_data_transfer_hub_is_a_copy() {
        let job = object(r#"{"key": "a b+c%20.txt", "size": 123, "sequencer": "00", "nested": {"x": 1}}"#);
        assert_eq!((job.key.as_str(), job.size, job.action), ("a b+c%20.txt", Some(123), Action::Copy));
    }

    #[test]
    fn unreadable_hints_never_fail_a_message() {
        let job = object(
            r#"{"key":"k","size":"12","last_modified":"2020-08-17T16:04:46.149Asia/Shanghai","origin":"?"}"#,
        );
        assert_eq!((job.size, job.last_modified, job.origin), (Some(12), None, None));
    }

    #[test]
    fn what_can_never_succeed_is_told_from_what_can() {
        assert!(matches!(Message::parse("not json"), Err(MessageError::NotJson(_))));
        for body in ["[]", "{}", r#"{"key":""}"#, r#"{"key":"k","action":"explode"}"#, r#"{"key":7}"#, "null"]
        {
            assert!(matches!(Message::parse(body), Err(MessageError::UnknownShape(_))), "{body}");
        }
    }

    proptest! {
        #[test]
        fn messages_survive_the_wire(key in "\\PC{1,20}|[\\x01-\\x1f/]{1,5}", size: Option<u64>, seen in 0..3, delete: bool) {
            let job = Job {
                size,
                action: if delete { Action::Delete } else { Action::Copy },
                etag: ETag::parse("\"abc\""),
                storage_class: StorageClass::parse("STANDARD_IA"),
                parked_since: OffsetDateTime::from_unix_timestamp(1_800_000_000).ok(),
                last_modified: OffsetDateTime::from_unix_timestamp(1_700_000_000).ok(),
                origin: Some(Origin::Scan),
                bucket: delete.then(|| "b".to_owned()),
                event_time: OffsetDateTime::from_unix_timestamp(1_700_000_001).ok(),
                appended: !delete,
                destination: match seen {
                    0 => None,
                    1 => Some(SeenAtDestination::Absent),
                    _ => ETag::parse("def").map(SeenAtDestination::Etag),
                },
                found: match seen {
                    0 => Some(Found::Extra),
                    1 => None,
                    _ => Some(Found::Different(Reason::Newer)),
                },
                ..Job::for_key(Key::new(key).expect("key"))
            };
            let message = Message::Object(job);
            prop_assert_eq!(Message::parse(&message.to_json()).expect("parses"), message);
        }

        #[test]
        fn no_body_makes_the_parser_panic(body in "\\PC{0,60}") {
            if let Ok(Message::Object(job)) = Message::parse(&body) {
                prop_assert!(!job.key.as_str().is_empty());
            }
        }
    }

    #[test]
    fn a_message_holds_only_characters_that_a_queue_takes() {
        let key = "control\u{1}\u{1f}\n\u{fffe}\u{ffff}\u{fffd}😀";
        let message = Message::Object(Job::for_key(Key::new(key).expect("key")));
        let text = message.to_json();
        let refused = |char: char| char < ' ' || matches!(char, '\u{fffe}' | '\u{ffff}');
        assert!(!text.contains(refused), "{text}");
        assert_eq!(Message::parse(&text).expect("parses"), message);
    }

    #[test]
    fn parts_survive_the_wire_and_lack_nothing() {
        let part = Message::Part(PartJob {
            key: Key::new("a\u{1}b").expect("key"),
            task: Some("t".into()),
            run: None,
            etag: ETag::parse("abc-9").expect("tag"),
            size_bytes: 1 << 43,
            upload_id: UploadId("u/+=".into()),
            part_number: 10_000,
        });
        assert_eq!(Message::parse(&part.to_json()).expect("parses"), part);
        let whole: serde_json::Value = serde_json::from_str(&part.to_json()).expect("json");
        for field in ["key", "etag", "size", "upload_id", "part"] {
            let mut lacking = whole.clone();
            lacking.as_object_mut().expect("object").remove(field);
            assert!(
                matches!(Message::parse(&lacking.to_string()), Err(MessageError::UnknownShape(_))),
                "{field}"
            );
        }
        // In any other message they are unknown fields like all others.
        assert_eq!(object(r#"{"key":"k","part":"x","upload_id":7}"#).key.as_str(), "k");
    }

    #[test]
    fn scans_survive_the_wire() {
        let scan = Message::Scan(ScanJob {
            task: Some("t".into()),
            run: None,
            range: KeyRange { after: Some("a".into()), until: None },
        });
        assert_eq!(Message::parse(&scan.to_json()).expect("parses"), scan);
    }
}
