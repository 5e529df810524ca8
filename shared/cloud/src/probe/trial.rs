//! One trial under way.
//!
//! Owns: what was found, and the ledger of everything written. Invariant: a key or an upload is in the ledger before the request that
//! makes it goes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ferry_transfer::store::metered::{Meter, MeteredStore};
use ferry_transfer::store::{
    BodyChecksum, CompleteUploadRequest, CreateUploadRequest, DeleteRequest, HeadRequest, PutRequest,
    PutResponse, UploadId, WriteCondition,
};
use ferry_transfer::{Attributes, Body, Clock, ETag, Error, ErrorKind, Key, Result, SharedStore};
use serde_json::Value;

use super::finding::{Fact, Finding, Outcome};
use super::{Role, Subject};
use crate::profile::Profile;
use crate::s3::Greeting;

/// An object to read.
#[derive(Debug, Clone)]
pub(super) struct Specimen {
    pub(super) key: Key,
    pub(super) size_bytes: u64,
    pub(super) etag: Option<ETag>,
    /// Its bytes, where the trial has written them.
    pub(super) bytes: Option<Bytes>,
}

#[derive(Debug, Default)]
struct State {
    findings: Vec<Finding>,
    /// Every key written, and the versions that came of it.
    written: BTreeMap<Key, BTreeSet<String>>,
    uploads: Vec<(Key, UploadId)>,
    specimen: Option<Specimen>,
    left_behind: Vec<String>,
    fault: Option<ErrorKind>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Trial {
    subject: Arc<dyn Subject>,
    role: Role,
    prefix: String,
    own_prefix: String,
    clock: Arc<dyn Clock>,
    meter: Arc<Meter>,
    greetings: AtomicU64,
    state: Mutex<State>,
}

impl Trial {
    pub(super) fn new(
        subject: Arc<dyn Subject>,
        prefix: &str,
        role: Role,
        run: &str,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            subject,
            role,
            prefix: prefix.to_owned(),
            own_prefix: format!("{prefix}.ferry-probe-{run}/"),
            clock,
            meter: Arc::default(),
            greetings: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    pub(super) fn subject(&self) -> &dyn Subject {
        self.subject.as_ref()
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// The user's prefix.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn own_prefix(&self) -> &str {
        &self.own_prefix
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(super) fn profile(&self) -> &Profile {
        self.subject.profile()
    }

    /// The store as it is configured.
    pub(super) fn store(&self) -> SharedStore {
        self.under(|_| {})
    }

    /// The store under a changed profile.
    pub(super) fn under(&self, change: impl FnOnce(&mut Profile)) -> SharedStore {
        let mut profile = self.profile().clone();
        change(&mut profile);
        Arc::new(MeteredStore::new(self.subject.under(profile), Arc::clone(&self.meter)))
    }

    pub(super) async fn greet(&self) -> Greeting {
        self.greetings.fetch_add(1, Relaxed);
        self.subject.greet().await
    }

    pub(super) fn requests(&self) -> u64 {
        self.greetings.load(Relaxed) + self.meter.read().requests.values().sum::<u64>()
    }

    pub(super) fn written_bytes(&self) -> u64 {
        self.meter.read().written_bytes
    }

    pub(super) fn find(&self, finding: Finding) {
        self.state().findings.push(finding);
    }

    pub(super) fn tell(&self, check: &'static str, outcome: Outcome, detail: impl Into<String>) {
        self.find(Finding::new(check, outcome, detail));
    }

    /// A finding about a field of the profile.
    pub(super) fn tell_fact(
        &self,
        check: &'static str,
        outcome: Outcome,
        detail: impl Into<String>,
        field: &'static str,
        found: impl Into<Value>,
    ) {
        let profile = serde_json::to_value(self.profile()).unwrap_or_default();
        let believed = field.split('.').fold(&profile, |level, name| &level[name]).clone();
        let fact = Some(Fact { field, believed, found: found.into() });
        self.find(Finding { fact, ..Finding::new(check, outcome, detail) });
    }

    /// The same for a field that says whether the store does something.
    pub(super) fn tell_support(
        &self,
        check: &'static str,
        does: bool,
        detail: impl Into<String>,
        field: &'static str,
    ) {
        let (outcome, word) = if does { (Outcome::Yes, "yes") } else { (Outcome::No, "no") };
        self.tell_fact(check, outcome, detail, field, word);
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        self.state().findings.clone()
    }

    pub(super) fn left_behind(&self) -> Vec<String> {
        self.state().left_behind.clone()
    }

    /// What ended the trial early.
    pub(super) fn fault(&self) -> Option<ErrorKind> {
        self.state().fault
    }

    /// Says that nothing else can be tried, and why.
    pub(super) fn give_up(&self, check: &'static str, error: &Error) {
        self.tell(check, Outcome::Broken, error.chain());
        // Where nobody answers, the endpoint is wrong: nothing has worked yet.
        let kind = if error.status().is_none() { ErrorKind::Configuration } else { error.kind() };
        self.state().fault = Some(kind);
    }

    pub(super) fn specimen(&self) -> Option<Specimen> {
        self.state().specimen.clone()
    }

    pub(super) fn set_specimen(&self, specimen: Specimen) {
        self.state().specimen = Some(specimen);
    }

    /// A key of the trial's own.
    pub(super) fn key(&self, name: &str) -> Result<Key> {
        Key::new(format!("{}{name}", self.own_prefix))
            .map_err(|empty| ferry_transfer::Error::new(ErrorKind::InvalidInput, empty.to_string()))
    }

    /// Writes an object.
    pub(super) async fn put(
        &self,
        store: &SharedStore,
        name: &str,
        body: impl Into<Body>,
        details: Details,
    ) -> Result<PutResponse> {
        let key = self.key(name)?;
        self.state().written.entry(key.clone()).or_default();
        let Details { attributes, condition, checksum } = details;
        let request = PutRequest { key: key.clone(), attributes, body: body.into(), condition, checksum };
        let written = store.put(request).await?;
        self.note_version(key, written.version_id.as_deref());
        Ok(written)
    }

    /// Notes that a key will be written by other means.
    pub(super) fn note_key(&self, key: &Key) {
        self.state().written.entry(key.clone()).or_default();
    }

    pub(super) fn note_version(&self, key: Key, version: Option<&str>) {
        let mut state = self.state();
        state.written.entry(key).or_default().extend(version.map(str::to_owned));
    }

    /// Begins an upload.
    pub(super) async fn create_upload(&self, store: &SharedStore, name: &str) -> Result<(Key, UploadId)> {
        let key = self.key(name)?;
        let request = CreateUploadRequest { key: key.clone(), attributes: Attributes::default() };
        let id = store.create_upload(request).await?;
        let mut state = self.state();
        state.uploads.push((key.clone(), id.clone()));
        state.written.entry(key.clone()).or_default();
        Ok((key, id))
    }

    /// Completes an upload.
    pub(super) async fn complete_upload(
        &self,
        store: &SharedStore,
        request: CompleteUploadRequest,
    ) -> Result<PutResponse> {
        let (key, id) = (request.key.clone(), request.upload_id.clone());
        let written = store.complete_upload(request).await?;
        self.note_version(key, written.version_id.as_deref());
        self.state().uploads.retain(|(_, open)| *open != id);
        Ok(written)
    }

    pub(super) async fn delete(&self, store: &SharedStore, request: DeleteRequest) -> Result<()> {
        let key = request.key.clone();
        let deleted = store.delete(request).await?;
        self.note_version(key, deleted.version_id.as_deref());
        Ok(())
    }

    pub(super) async fn head(&self, store: &SharedStore, key: &Key) -> Result<ferry_transfer::ObjectHead> {
        store.head(HeadRequest::of(key)).await
    }

    /// Removes everything in the ledger. What cannot be removed is noted, and tried again at the next call.
    pub(super) async fn clean_up(&self) {
        let store = self.store();
        let (written, uploads) = {
            let mut state = self.state();
            state.left_behind.clear();
            (std::mem::take(&mut state.written), std::mem::take(&mut state.uploads))
        };
        for (key, id) in uploads {
            if let Err(error) = store.abort_upload(&key, &id).await {
                let mut state = self.state();
                state.left_behind.push(format!("an upload to {:?}: {}", key.as_str(), error.chain()));
                state.uploads.push((key, id));
            }
        }
        for (key, versions) in written {
            let mut failure = None;
            // On a versioned bucket every version by name, so that no marker takes their place.
            let targets: Vec<Option<String>> =
                if versions.is_empty() { vec![None] } else { versions.iter().cloned().map(Some).collect() };
            for version_id in targets {
                let request = DeleteRequest { version_id, ..DeleteRequest::of(&key) };
                if let Err(error) = store.delete(request).await {
                    failure = Some(error);
                }
            }
            if let Some(error) = failure {
                let mut state = self.state();
                state.left_behind.push(format!("{:?}: {}", key.as_str(), error.chain()));
                state.written.insert(key, versions);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What goes with the bytes of a PUT.
#[derive(Debug, Default)]
pub(super) struct Details {
    pub(super) attributes: Attributes,
    pub(super) condition: WriteCondition,
    pub(super) checksum: BodyChecksum,
}
