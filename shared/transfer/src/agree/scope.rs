//! Whether a job is any of the task's business.
//!
//! Owns: the second look at selection and renaming when a job runs, since an event or a key list names keys that no scan has judged,
//! and objects change between the scan and the job. Invariant: of two source keys that would have one name at the destination,
//! neither is copied while both are there; no job is let go because its bucket is not there.

use super::find;
use crate::receipt::SkipReason;
use crate::route::Route;
use crate::store::GetRequest;
use crate::{ByteRange, Error, ErrorKind, Key, ObjectHead, Result, SharedStore};

/// What the source says of a key now.
pub(super) enum Look {
    /// It is there, and the task is about it.
    Selected(Box<ObjectHead>),
    /// There is nothing to do, for this reason.
    Skip(SkipReason),
}

pub(super) async fn look(route: &Route, key: &Key) -> Result<Look> {
    let mut found = find(&route.source, key).await?;
    if found.is_none() && !is_missing(&route.source, key).await? {
        found = find(&route.source, key).await?;
    }
    Ok(match found {
        None => Look::Skip(SkipReason::GoneAtSource),
        Some(head) if !route.selects(key, &head) => Look::Skip(SkipReason::NotSelected),
        Some(head) => Look::Selected(Box::new(head)),
    })
}

/// Whether a key that a HEAD has not found is missing. A HEAD says 404 of a bucket that is not there as well; the error of a read names
/// what is missing, and a bucket is a matter of configuration: no reason to delete, and none to let a job go.
pub(crate) async fn is_missing(store: &SharedStore, key: &Key) -> Result<bool> {
    let first_byte =
        GetRequest { key: key.clone(), if_match: None, version_id: None, range: ByteRange::new(0, 1) };
    match store.get(first_byte).await {
        Ok(_there_again) => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        // An empty object has no first byte (416): it is there.
        Err(error) if error.status() == Some(416) => Ok(false),
        Err(error) => Err(error.on_key(key.as_str())),
    }
}

/// Other keys that the source has, that the task is about, and that would have the same name at the destination.
pub(crate) async fn rivals_at_source(route: &Route, key: &Key) -> Result<Vec<Key>> {
    let mut rivals = Vec::new();
    if route.task.rewrite.is_identity() {
        return Ok(rivals);
    }
    let origins = route.source_keys(&route.destination_key(key)?);
    for rival in origins.into_iter().filter(|origin| origin != key) {
        if find(&route.source, &rival).await?.is_some_and(|head| route.selects(&rival, &head)) {
            rivals.push(rival);
        }
    }
    Ok(rivals)
}

pub(super) async fn refuse_contested(route: &Route, key: &Key) -> Result<()> {
    match rivals_at_source(route, key).await?.first() {
        None => Ok(()),
        Some(rival) => {
            let destination_key = route.destination_key(key)?;
            let message = format!(
                "it and {rival:?} would both become {destination_key:?} at the destination: change the task's rewrite"
            );
            Err(Error::new(ErrorKind::InvalidInput, message).on_key(key.as_str()))
        }
    }
}
