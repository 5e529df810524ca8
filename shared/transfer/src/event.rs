//! What a store says about its objects, whichever store and whichever way it came.
//!
//! Owns: telling the shapes of notifications apart, and what all of them come down to: an object that may have changed, one that may be
//! gone, or nothing to do. One file for each family of shapes. Does not own: messages of Ferry's own ([`crate::job`]), who may send
//! a notification, nor what becomes of it. Invariants: pure, and no text makes it panic; a key is decoded exactly once and only where
//! its sender encodes; nothing but a missing key makes a record unreadable, so that no odd time or size loses an event.
//!
//! An event is a hint. What the source says when the job runs decides, so that order, duplicates and delays do not matter.

mod b2;
mod envelope;
mod field;
mod gcs;
mod huawei;
mod key_text;
mod kind;
mod minio_ceph;
mod oss;
mod plain;
mod qiniu;
mod r2;
mod s3;
mod tencent;

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;
use time::OffsetDateTime;

use crate::job::{Action, Job, Origin};
use crate::{ETag, Key};

/// How deep a notification may be wrapped: S3 in SNS in SQS in Lambda is three, and a text in Base64 one more.
const DEPTH_MAX: u8 = 8;

/// What happened to one object, as its store tells it. Everything but the key is a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The object's key, byte for byte.
    pub key: Key,
    /// The bucket, as an S3 client would name it.
    pub bucket: Option<String>,
    /// What is to be looked at.
    pub change: Change,
    /// Size in bytes.
    pub size_bytes: Option<u64>,
    /// The generation.
    pub etag: Option<ETag>,
    /// The version, on versioned buckets.
    pub version_id: Option<String>,
    /// When it happened, where the sender writes times that can be read.
    pub time: Option<OffsetDateTime>,
    /// The sender's own name for what happened.
    pub name: Option<String>,
}

/// What an event says of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// It is new, other than before, or readable again.
    Changed,
    /// Bytes were added at its end, and more may be soon.
    Appended,
    /// It is gone, or one of its versions is.
    Removed,
}

/// What a notification held that is no reason to look at an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// Why.
    pub why: IgnoredWhy,
    /// The sender's own name for it.
    pub name: String,
}

/// Why something in a notification is no reason to look at an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IgnoredWhy {
    /// The sender tries the line: `s3:TestEvent`, the confirmation of a subscription.
    Test,
    /// A part of an upload, its beginning or its end without an object.
    Upload,
    /// The object was read. Ferry's own reads are among these.
    Read,
    /// A generation went since another took its place, of which there is an event of its own.
    Overwritten,
    /// Nothing that a copy has: an ACL, a lock, the progress of a replication, a bucket.
    NotContent,
    /// A kind of event that this version does not know.
    Unknown,
}

impl fmt::Display for IgnoredWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Test => "test",
            Self::Upload => "upload",
            Self::Read => "read",
            Self::Overwritten => "overwritten",
            Self::NotContent => "not-content",
            Self::Unknown => "unknown",
        })
    }
}

/// A notification, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notification {
    /// What is to be looked at, in the order in which it stood.
    pub events: Vec<Event>,
    /// What is not.
    pub ignored: Vec<Ignored>,
    /// What is wrong with records that should have been events and have no key that can be read.
    pub unreadable: Vec<String>,
}

/// Why a text is no notification. Such a text can never become one.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Neither JSON nor any of the other forms.
    #[error("the notification is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// JSON of another shape.
    #[error("the notification has no shape Ferry knows: {0}")]
    UnknownShape(&'static str),
}

/// What one record of a notification comes down to.
enum Reading {
    Event(Event),
    Ignored(Ignored),
    Unreadable(String),
}

/// Reads a notification of any shape.
pub fn parse(text: &str) -> Result<Notification, EventError> {
    let mut notification = Notification::default();
    notification.read_text(text, 0)?;
    Ok(notification)
}

/// As [`parse`], of JSON that is not one of Ferry's own messages; `None` where it is.
pub(crate) fn parse_foreign(value: &Value) -> Option<Result<Notification, EventError>> {
    if plain::is_job(value) {
        return None;
    }
    let mut notification = Notification::default();
    Some(notification.read_value(value, 0).map(|()| notification))
}

impl Notification {
    /// One job for each object, in the order of its first event. Where one of them says that the object is gone, the job asks for
    /// a delete, which for an event means: whatever the source says now, be it there or not.
    pub fn jobs(&self) -> Vec<Job> {
        let mut places: HashMap<(Option<&str>, &str), usize> = HashMap::with_capacity(self.events.len());
        let mut jobs: Vec<Job> = Vec::with_capacity(self.events.len());
        for event in &self.events {
            let next = jobs.len();
            let place = *places.entry((event.bucket.as_deref(), event.key.as_str())).or_insert(next);
            match jobs.get_mut(place) {
                None => jobs.push(event.job()),
                Some(job) => {
                    let action = if job.action == Action::Delete { Action::Delete } else { event.action() };
                    *job = Job { action, ..event.job() };
                }
            }
        }
        jobs
    }

    fn read_text(&mut self, text: &str, depth: u8) -> Result<(), EventError> {
        let error = match serde_json::from_str::<Value>(text) {
            Ok(value) => return self.read_value(&value, depth),
            Err(error) => error,
        };
        if depth < DEPTH_MAX {
            if let Some(inner) = envelope::base64(text).or_else(|| envelope::xml(text)) {
                return self.read_text(&inner, depth + 1);
            }
            if let Some(reading) = plain::form(text) {
                self.take(reading);
                return Ok(());
            }
        }
        Err(EventError::NotJson(error))
    }

    fn read_value(&mut self, value: &Value, depth: u8) -> Result<(), EventError> {
        if depth > DEPTH_MAX {
            return Err(EventError::UnknownShape("it is wrapped too often"));
        }
        match value {
            // Batches of CloudEvents, and texts of a queue.
            Value::Array(items) if !items.is_empty() => {
                for item in items {
                    let read = self.read_value(item, depth + 1);
                    self.note(read);
                }
                Ok(())
            }
            Value::String(text) if depth > 0 => self.read_text(text, depth + 1),
            Value::Object(_) => self.read_object(value, depth),
            _ => Err(EventError::UnknownShape("it is no JSON object")),
        }
    }

    fn read_object(&mut self, value: &Value, depth: u8) -> Result<(), EventError> {
        if let Some(ignored) = envelope::rehearsal(value) {
            self.ignored.push(ignored);
            return Ok(());
        }
        if let Some(readings) = qiniu::records(value).or_else(|| plain::object(value).map(|one| vec![one])) {
            for reading in readings {
                self.take(reading);
            }
            return Ok(());
        }
        if let Some(inner) = envelope::text(value) {
            return self.read_text(inner, depth + 1);
        }
        if let Some(records) =
            ["Records", "records", "events"].iter().find_map(|name| value[*name].as_array())
        {
            for record in records {
                let read = self.read_record(record, depth + 1);
                self.note(read);
            }
            return Ok(());
        }
        if let Some(reading) = gcs::push(value).or_else(|| s3::bridged(value)).or_else(|| r2::message(value))
        {
            self.take(reading);
            return Ok(());
        }
        if value["specversion"].is_string() || value["cloudEventsVersion"].is_string() {
            return self.read_cloud_event(value, depth + 1);
        }
        self.read_record(value, depth)
    }

    /// The attributes around the data add nothing that the data of the known senders does not say.
    fn read_cloud_event(&mut self, value: &Value, depth: u8) -> Result<(), EventError> {
        if let Some(reading) = gcs::cloud_event(value) {
            self.take(reading);
            return Ok(());
        }
        let data = if value["data"].is_null() { &value["data_base64"] } else { &value["data"] };
        self.read_value(data, depth + 1)
    }

    fn read_record(&mut self, record: &Value, depth: u8) -> Result<(), EventError> {
        let families = [oss::record, b2::record, tencent::record, huawei::record, s3::record, gcs::object];
        if let Some(reading) = families.iter().find_map(|family| family(record)) {
            self.take(reading);
            return Ok(());
        }
        match envelope::record_text(record) {
            Some(text) if depth < DEPTH_MAX => self.read_text(text, depth + 1),
            _ => Err(EventError::UnknownShape("it has no key")),
        }
    }

    /// One of several fails alone.
    fn note(&mut self, read: Result<(), EventError>) {
        if let Err(error) = read {
            self.unreadable.push(crate::chain(&error));
        }
    }

    fn take(&mut self, reading: Reading) {
        match reading {
            Reading::Event(event) => self.events.push(event),
            Reading::Ignored(ignored) => self.ignored.push(ignored),
            Reading::Unreadable(what) => self.unreadable.push(what),
        }
    }
}

impl Event {
    fn action(&self) -> Action {
        match self.change {
            Change::Changed | Change::Appended => Action::Copy,
            Change::Removed => Action::Delete,
        }
    }

    /// The job that looks at the object, of no task in particular.
    pub fn job(&self) -> Job {
        Job {
            action: self.action(),
            size: self.size_bytes,
            etag: self.etag.clone(),
            version_id: self.version_id.clone(),
            bucket: self.bucket.clone(),
            event_time: self.time,
            appended: self.change == Change::Appended,
            origin: Some(Origin::Event),
            ..Job::for_key(self.key.clone())
        }
    }
}

impl Reading {
    fn ignored(why: IgnoredWhy, name: &str) -> Self {
        Self::Ignored(Ignored { why, name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests;
