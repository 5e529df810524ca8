//! Makes a key's history at the destination agree with the source's.
//!
//! Owns: what to do about the versions that are missing. Does not own: what two histories say of each other ([`crate::versions`]).
//! Invariants: versions are written oldest first, so whoever is killed leaves a history that can be continued; each write insists that
//! the version before it is the newest, where conditions work, so two workers do not write one version twice, unless it equals the
//! one before it.

use std::sync::Arc;

use super::{ROUNDS_MAX, Seen, condition};
use crate::copy::{Copier, CopyError, CopyRequest, KnownClass};
use crate::receipt::{Copied, Outcome, SkipReason};
use crate::route::Route;
use crate::store::{DeleteEffect, DeleteRequest, HeadRequest, Version, VersionKind, WriteCondition};
use crate::versions::{Standing, compare_histories, ensure_kept, history};
use crate::{Encryption, Error, ErrorKind, Key, Result};

/// Writes the versions that the destination lacks, one after another.
pub(super) async fn agree_on_history(
    copier: &Copier,
    route: &Arc<Route>,
    key: &Key,
    destination_key: &Key,
) -> Result<Outcome> {
    ensure_kept(route).await?;
    let mut growth = Growth { copier, route, key, destination_key, versions: Vec::new(), delete_markers: 0 };
    let mut refused_at = None;
    for _ in 0..ROUNDS_MAX {
        let (source, destination) =
            futures::try_join!(history(&route.source, key), history(&route.destination, destination_key))?;
        let have = match growth.standing(&source, &destination).await? {
            Standing::Same => return Ok(growth.outcome()),
            Standing::Behind(have) => have,
            Standing::Diverged(alike) => return Err(diverged(alike, &source, &destination, key)),
        };
        if refused_at == Some(have) {
            // Nothing was added meanwhile: the store refuses a condition that does hold.
            match source.get(have).map(|version| version.kind) {
                Some(VersionKind::DeleteMarker) => route.give_up_conditional_deletes(),
                _ => route.give_up_conditions(),
            }
        }
        refused_at = match growth.append(&source, have, destination.last()).await? {
            End::Reached => return Ok(growth.outcome()),
            End::Archived => return Ok(Outcome::Skipped { reason: SkipReason::Archived }),
            End::Refused { at } => Some(at),
            End::Unclear => None,
        };
    }
    let message = format!("the object's history changed {ROUNDS_MAX} times while it was being copied");
    Err(Error::new(ErrorKind::Transient, message).on_key(key.as_str()))
}

fn diverged(alike: usize, source: &[Version], destination: &[Version], key: &Key) -> Error {
    let (ours, theirs) = (source.len(), destination.len());
    let named = destination.get(alike).map(|version| version.version_id.as_str()).unwrap_or_default();
    let message = format!(
        "the destination has versions of its own: of its {theirs} the oldest {alike} are the source's, which has {ours}, and \
         version {named} is not the one that follows there; a history is never rewritten, so remove those versions or copy to \
         another place (versions that expired at the source look the same)"
    );
    Error::new(ErrorKind::InvalidInput, message).on_key(key.as_str())
}

/// How far a round came.
enum End {
    /// Every version is there.
    Reached,
    /// To one that is archived.
    Archived,
    /// To this one, which was refused for what the destination had there.
    Refused {
        /// How many versions were there before it.
        at: usize,
    },
    /// Only both listings tell.
    Unclear,
}

/// A history that is being continued, and what this job has added to it.
struct Growth<'a> {
    copier: &'a Copier,
    route: &'a Arc<Route>,
    key: &'a Key,
    destination_key: &'a Key,
    versions: Vec<Copied>,
    delete_markers: u64,
}

impl Growth<'_> {
    fn outcome(self) -> Outcome {
        match (self.versions, self.delete_markers) {
            (versions, 0) if versions.is_empty() => Outcome::UpToDate,
            (versions, delete_markers) => Outcome::HistoryCopied { versions, delete_markers },
        }
    }

    async fn standing(&self, source: &[Version], destination: &[Version]) -> Result<Standing> {
        let standing = compare_histories(source, destination, self.route.known_etags());
        let Standing::Diverged(at) = standing else { return Ok(standing) };
        let (Some(ours), Some(theirs)) = (source.get(at), destination.get(at)) else { return Ok(standing) };
        if ours.kind != VersionKind::Object || theirs.kind != VersionKind::Object {
            return Ok(standing);
        }
        // Under SSE-KMS tags look like MD5s and are none: before that passes for another history, both are looked at.
        let sides = [
            (&self.route.source, &self.route.source_etags, ours),
            (&self.route.destination, &self.route.destination_etags, theirs),
        ];
        for (store, rule, version) in sides {
            let head = HeadRequest {
                version_id: Some(version.version_id.clone()),
                ..HeadRequest::of(&version.entry.key)
            };
            let head = store.head(head).await.map_err(|error| error.on_key(version.entry.key.as_str()))?;
            if head.encryption != Encryption::StoreManaged {
                rule.disprove();
            }
        }
        Ok(compare_histories(source, destination, self.route.known_etags()))
    }

    /// Writes what follows the first `have` versions of the source.
    async fn append(&mut self, source: &[Version], have: usize, newest: Option<&Version>) -> Result<End> {
        let mut seen = match newest {
            Some(Version { kind: VersionKind::Object, entry, .. }) => Seen::Generation(entry.etag.clone()),
            Some(_) | None => Seen::Absent,
        };
        for (at, version) in source.iter().enumerate().skip(have) {
            let end = match version.kind {
                VersionKind::Object => self.copy(version, at, &mut seen).await?,
                VersionKind::DeleteMarker => self.mark_deleted(at, &mut seen).await?,
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
        Ok(End::Reached)
    }

    /// `None` where the next version can follow.
    async fn copy(&mut self, version: &Version, at: usize, seen: &mut Seen) -> Result<Option<End>> {
        let condition = condition(self.route, seen);
        let is_conditional = condition != WriteCondition::None;
        let request = CopyRequest {
            key: self.key.clone(),
            destination_key: self.destination_key.clone(),
            generation: version.entry.etag.clone(),
            version_id: Some(version.version_id.clone()),
            size_hint_bytes: Some(version.entry.size_bytes),
            class: KnownClass::Known(version.entry.storage_class.clone()),
            condition,
            // The next version cannot be written before this one: its parts stay together.
            job: None,
        };
        match self.copier.copy(self.route, request).await {
            Ok(copied) => {
                *seen = Seen::Generation(copied.destination_etag.clone());
                self.versions.push(copied);
                Ok(None)
            }
            Err(CopyError::SourceArchived) => Ok(Some(End::Archived)),
            // 409 says that somebody else was writing at that moment, and nothing about the condition.
            Err(CopyError::DestinationChanged(error)) if error.status() != Some(409) => {
                Ok(Some(End::Refused { at }))
            }
            Err(CopyError::WriteUnsupported(_)) if is_conditional => {
                self.route.give_up_conditions();
                Ok(Some(End::Unclear))
            }
            Err(CopyError::Failed(error) | CopyError::WriteUnsupported(error)) => Err(error),
            Err(
                CopyError::SourceGone
                | CopyError::SourceChanged
                | CopyError::UploadGone(_)
                | CopyError::DestinationChanged(_)
                | CopyError::Divided { .. },
            ) => Ok(Some(End::Unclear)),
        }
    }

    /// The same for a delete marker.
    async fn mark_deleted(&mut self, at: usize, seen: &mut Seen) -> Result<Option<End>> {
        let if_match = match seen {
            Seen::Generation(etag) if self.route.deletes_conditionally() => etag.clone(),
            _ => None,
        };
        let is_conditional = if_match.is_some();
        let delete = DeleteRequest { if_match, ..DeleteRequest::of(self.destination_key) };
        match self.route.destination.delete(delete).await {
            Ok(deleted) if deleted.effect == DeleteEffect::Marked => {
                *seen = Seen::Absent;
                self.delete_markers += 1;
                Ok(None)
            }
            Ok(_) => Ok(Some(End::Unclear)),
            Err(error) if error.kind() == ErrorKind::PreconditionFailed && error.status() != Some(409) => {
                Ok(Some(End::Refused { at }))
            }
            Err(error) if error.kind() == ErrorKind::Unsupported && is_conditional => {
                self.route.give_up_conditional_deletes();
                Ok(Some(End::Unclear))
            }
            Err(error) => Err(error.on_key(self.destination_key.as_str())),
        }
    }
}
