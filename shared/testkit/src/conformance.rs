//! What every [`ObjectStore`] must do, as separately named checks.
//!
//! Owns: the promises of the trait, put as questions to a store. Does not own: whether a vendor keeps them; what a store says
//! that it cannot do ([`ferry_transfer::Capabilities`]) is not asked of it. The store must be an empty bucket that nobody else
//! writes to; every check leaves it empty.

mod copies;
mod keys;
mod listings;
mod reads;
mod uploads;
mod versions;
mod writes;

use std::fmt;

use bytes::Bytes;
use ferry_transfer::store::{
    BodyChecksum, Cursor, DeleteRequest, GetRequest, ListRequest, PutRequest, PutResponse, WriteCondition,
};
use ferry_transfer::{Attributes, Body, Entry, ErrorKind, Key, ObjectStore};
use futures::future::BoxFuture;

/// One promise.
#[derive(Clone, Copy)]
pub struct Check {
    /// What the store promises, as a sentence in snake case.
    pub name: &'static str,
    run: for<'a> fn(&'a dyn ObjectStore) -> BoxFuture<'a, Outcome>,
}

/// Whether a promise is kept.
pub type Outcome = Result<(), Failure>;

/// How a promise was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(String);

/// What came of all checks.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The name of every check that ran, and what came of it.
    pub outcomes: Vec<(&'static str, Outcome)>,
}

macro_rules! checks {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$(Check { name: stringify!($name), run: |store| Box::pin($module::$name(store)) }),*]
    };
}

/// Every check, in the order in which a broken store is best understood.
pub const CHECKS: &[Check] = checks![
    writes::an_object_reads_back_as_written,
    writes::an_empty_object_is_an_object,
    writes::a_streamed_body_arrives_whole,
    writes::a_short_body_leaves_no_object,
    writes::a_wrong_checksum_leaves_no_object,
    writes::overwriting_makes_a_new_generation,
    writes::attributes_round_trip,
    writes::tags_round_trip,
    writes::absent_refuses_what_is_there,
    writes::matches_refuses_another_generation,
    writes::of_racing_writers_one_wins,
    writes::deleting_is_idempotent,
    writes::deleting_heeds_the_generation,
    reads::what_is_not_there_is_not_found,
    reads::a_range_is_exactly_the_bytes_asked_for,
    reads::a_range_past_the_end_fails,
    reads::a_read_heeds_the_generation,
    reads::a_head_tells_where_a_part_lies,
    keys::awkward_keys_read_back,
    keys::awkward_keys_list_in_byte_order,
    keys::awkward_keys_keep_attributes_and_tags,
    keys::awkward_keys_are_deleted_one_by_one,
    keys::awkward_keys_take_uploads_of_parts,
    listings::an_empty_bucket_lists_as_empty,
    listings::pages_lose_and_repeat_nothing,
    listings::start_after_is_exclusive,
    listings::a_prefix_is_a_prefix_of_bytes,
    listings::a_delimiter_rolls_up_once,
    listings::entries_describe_their_objects,
    uploads::parts_become_one_object,
    uploads::parts_may_come_in_any_order_and_twice,
    uploads::an_upload_keeps_its_attributes,
    uploads::parts_are_listed_as_they_were_received,
    uploads::open_uploads_are_listed_until_they_end,
    uploads::an_aborted_upload_leaves_nothing,
    uploads::a_completion_heeds_its_condition,
    uploads::a_wrong_checksum_completes_nothing,
    copies::a_copy_keeps_bytes_attributes_and_tags,
    copies::a_copy_may_replace_attributes,
    copies::a_copy_heeds_both_generations,
    copies::awkward_keys_are_copied,
    copies::parts_are_copied_out_of_an_object,
    copies::an_archived_object_is_refused_and_can_be_restored,
    versions::a_history_is_listed_newest_first,
    versions::a_version_is_read_by_its_name,
];

impl Check {
    /// Asks the store, then empties it.
    pub async fn run(&self, store: &dyn ObjectStore) -> Outcome {
        let outcome = (self.run)(store).await;
        outcome.and(empty(store).await)
    }
}

/// Runs every check but those named in `except`.
pub async fn check(store: &dyn ObjectStore, except: &[&str]) -> Report {
    let mut report = Report::default();
    for check in CHECKS.iter().filter(|check| !except.contains(&check.name)) {
        report.outcomes.push((check.name, check.run(store).await));
    }
    report
}

impl Report {
    /// The checks that failed, with how.
    pub fn failures(&self) -> Vec<(&'static str, &Failure)> {
        self.outcomes
            .iter()
            .filter_map(|(name, outcome)| outcome.as_ref().err().map(|failure| (*name, failure)))
            .collect()
    }
}

/// One line for each failure, and a count.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures = self.failures();
        for (name, failure) in &failures {
            writeln!(f, "{name}: {failure}")?;
        }
        write!(f, "{} of {} checks failed", failures.len(), self.outcomes.len())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Check({})", self.name)
    }
}

impl From<ferry_transfer::Error> for Failure {
    fn from(error: ferry_transfer::Error) -> Self {
        Self(error.chain())
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Failure(otherwise())) }
}

#[expect(clippy::needless_pass_by_value, reason = "what is compared was made for that")]
fn ensure_eq<T: PartialEq + fmt::Debug>(what: &str, got: T, expected: T) -> Outcome {
    ensure(got == expected, || format!("{what} is {got:?}, not {expected:?}"))
}

fn ensure_kind<T: fmt::Debug>(
    what: &str,
    result: ferry_transfer::Result<T>,
    expected: &[ErrorKind],
) -> Outcome {
    match result {
        Ok(value) => Err(Failure(format!("{what} succeeded with {value:?}"))),
        Err(error) if expected.contains(&error.kind()) => Ok(()),
        Err(error) => Err(Failure(format!(
            "{what} failed as {:?} instead of {expected:?}: {}",
            error.kind(),
            error.chain()
        ))),
    }
}

fn key(text: &str) -> Result<Key, Failure> {
    Key::new(text).map_err(|error| Failure(error.to_string()))
}

fn put_request(key: &Key, bytes: impl Into<Bytes>) -> PutRequest {
    PutRequest {
        key: key.clone(),
        attributes: Attributes::default(),
        body: Body::Bytes(bytes.into()),
        condition: WriteCondition::None,
        checksum: BodyChecksum::default(),
    }
}

async fn put(store: &dyn ObjectStore, key: &Key, bytes: impl Into<Bytes>) -> Result<PutResponse, Failure> {
    Ok(store.put(put_request(key, bytes)).await?)
}

fn whole(key: &Key) -> GetRequest {
    GetRequest { key: key.clone(), if_match: None, version_id: None, range: None }
}

async fn bytes_of(store: &dyn ObjectStore, key: &Key) -> Result<Bytes, Failure> {
    Ok(store.get(whole(key)).await?.body.collect().await?)
}

/// Everything a listing says, following its pages. Fails on a listing that does not end.
async fn list_all(
    store: &dyn ObjectStore,
    request: ListRequest,
) -> Result<(Vec<Entry>, Vec<String>), Failure> {
    let (mut entries, mut prefixes) = (Vec::new(), Vec::new());
    let mut cursor: Option<Cursor> = None;
    for _ in 0..10_000 {
        let page = store.list(ListRequest { cursor, ..request.clone() }).await?;
        entries.extend(page.entries);
        prefixes.extend(page.common_prefixes);
        cursor = page.next;
        if cursor.is_none() {
            return Ok((entries, prefixes));
        }
    }
    Err(Failure("the listing does not end".to_owned()))
}

async fn listed_keys(store: &dyn ObjectStore, request: ListRequest) -> Result<Vec<String>, Failure> {
    let (entries, _) = list_all(store, request).await?;
    Ok(entries.into_iter().map(|entry| entry.key.into()).collect())
}

async fn empty(store: &dyn ObjectStore) -> Outcome {
    let (entries, _) = list_all(store, ListRequest::default()).await?;
    for entry in entries {
        store.delete(DeleteRequest::of(&entry.key)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ferry_transfer::SystemClock;
    use ferry_transfer::store::Versioning;

    use super::*;
    use crate::bucket::BucketSettings;
    use crate::memory_store::MemoryStore;

    #[tokio::test]
    async fn the_store_in_memory_keeps_every_promise() {
        in_memory(BucketSettings { part_bytes_min: 1000, ..BucketSettings::default() }).await;
    }

    #[tokio::test]
    async fn the_store_in_memory_keeps_every_promise_with_versions() {
        let versioning = Versioning::Enabled;
        in_memory(BucketSettings { part_bytes_min: 1000, versioning, ..BucketSettings::default() }).await;
    }

    async fn in_memory(settings: BucketSettings) {
        let store = MemoryStore::with_clock("memory", "bucket", settings, Arc::new(SystemClock));
        let report = check(&store, &[]).await;
        assert!(report.failures().is_empty(), "{report}");
        assert_eq!(report.outcomes.len(), CHECKS.len());
        assert!(store.bucket().is_empty() && store.bucket().open_uploads().is_empty());
    }
}
