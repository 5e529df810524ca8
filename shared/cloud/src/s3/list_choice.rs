//! Which of the two listing operations a store is asked by.
//!
//! Owns: going over from `ListObjectsV2` to `ListObjects` where a store does not know the former, once for all its buckets. Does not own:
//! either operation ([`super::list`]). Invariants: a listing goes on by the operation it was begun by; the choice changes only when the
//! other operation has answered.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ferry_transfer::store::{Cursor, ListPage, ListRequest};
use ferry_transfer::{Error, Result};

use super::{ListVersion, S3Bucket, encoding};

/// What a store turned out to know.
#[derive(Debug)]
pub(super) struct ListChoice {
    /// Whether it may change: a probe wants to know what the store itself says.
    may_change: bool,
    /// The newer operation was refused, and the older one answered.
    only_v1: AtomicBool,
}

impl ListChoice {
    /// The profile's choice, until the store refuses it.
    pub(super) fn profiles() -> Self {
        Self { may_change: true, only_v1: AtomicBool::new(false) }
    }

    /// The profile's choice, whatever the store says.
    pub(super) fn fixed() -> Self {
        Self { may_change: false, only_v1: AtomicBool::new(false) }
    }
}

impl S3Bucket {
    /// A page by the operation that the store knows. Finding that out takes one request more, once.
    pub(super) async fn list_known(&self, request: ListRequest) -> Result<ListPage> {
        let choice = &self.account.0.list_choice;
        let version = match request.cursor.as_ref().and_then(begun_by) {
            Some(version) => version,
            None if choice.only_v1.load(Relaxed) => ListVersion::V1,
            None => self.profile().list_version,
        };
        let begins = request.cursor.is_none();
        let again = (choice.may_change && begins && version == ListVersion::V2).then(|| request.clone());
        let refused = match (self.list_by(version, request).await, again) {
            (Err(error), Some(again)) if is_unknown(&error) => (error, again),
            (answer, _) => return answer,
        };
        let (error, again) = refused;
        // What the older operation says of a store that knows neither would only mislead.
        let page = self.list_by(ListVersion::V1, again).await.map_err(|_| error)?;
        if !choice.only_v1.swap(true, Relaxed) {
            tracing::info!(
                store = self.name.store,
                "the store does not know ListObjectsV2 and is listed by ListObjects; `list_version: 1` in its profile \
                 saves finding that out"
            );
        }
        Ok(page)
    }

    async fn list_by(&self, version: ListVersion, request: ListRequest) -> Result<ListPage> {
        match self.lean().await {
            Some(lean) => self.lean_list(lean, version, request).await,
            None => self.list_page(version, request).await,
        }
    }
}

fn begun_by(cursor: &Cursor) -> Option<ListVersion> {
    [ListVersion::V1, ListVersion::V2]
        .into_iter()
        .find(|version| encoding::position(*version, cursor).is_some())
}

/// Whether this is how a store speaks that does not know the newer operation: it says so, or finds fault with its parameters. A page that
/// says it goes on and gives no token is a lie, not a dialect: deletes follow listings, so it stays an error.
fn is_unknown(error: &Error) -> bool {
    match error.status() {
        Some(405 | 501) => true,
        Some(400) => {
            matches!(error.code(), None | Some("InvalidArgument" | "InvalidRequest" | "NotImplemented"))
        }
        _ => false,
    }
}
