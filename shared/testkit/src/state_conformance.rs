//! What every place that keeps state promises.
//!
//! Owns: the promises of [`ferry_transfer::StateStore`], each tried against an empty place.

use bytes::Bytes;
use ferry_transfer::state::{StateCondition, StateName, StateStore};
use ferry_transfer::{ErrorKind, Result};
use futures::future::join_all;

/// Tries all promises of an empty place.
///
/// # Panics
///
/// On the first that is broken, like an assertion.
pub async fn check_state(state: &dyn StateStore) -> Result<()> {
    let name = |text: &str| StateName::new(text).unwrap_or_else(|error| unreachable!("{error}"));
    let (first, second) = (name("uploads/a.json"), name("uploads/b/c.json"));

    assert_eq!(state.read(&first).await?, None, "nothing is there at first");
    assert_eq!(state.list("").await?, [], "nothing is listed at first");
    state.remove(&first).await?;

    let written = state.write(&first, Bytes::from("one"), StateCondition::Absent).await?;
    let read = state.read(&first).await?.map(|held| (held.bytes, held.tag));
    assert_eq!(read, Some((Bytes::from("one"), written.clone())), "what was written is read");
    let again = state.write(&first, Bytes::from("two"), StateCondition::Absent).await;
    let refusal = again.map_err(|error| error.kind());
    assert_eq!(refusal, Err(ErrorKind::PreconditionFailed), "what is there is not absent");

    let next = state.write(&first, Bytes::from("two"), StateCondition::Matches(written.clone())).await?;
    let stale = state.write(&first, Bytes::from("three"), StateCondition::Matches(written)).await;
    let refusal = stale.map_err(|error| error.kind());
    assert_eq!(refusal, Err(ErrorKind::PreconditionFailed), "an old tag does not match");
    state.write(&first, Bytes::from("four"), StateCondition::None).await?;
    let gone = state.write(&second, Bytes::from("x"), StateCondition::Matches(next)).await;
    let refusal = gone.map_err(|error| error.kind());
    assert!(
        matches!(refusal, Err(ErrorKind::PreconditionFailed | ErrorKind::NotFound)),
        "what is not there matches nothing: {refusal:?}"
    );

    state.write(&second, Bytes::new(), StateCondition::Absent).await?;
    assert_eq!(state.list("uploads/").await?, [first.clone(), second.clone()], "all are listed, in order");
    assert_eq!(state.list("uploads/b").await?, std::slice::from_ref(&second), "a prefix narrows the listing");
    assert_eq!(state.list("other/").await?, [], "another prefix has none");
    state.remove(&first).await?;
    assert_eq!(state.list("").await?, [second], "what was removed is gone");

    let racers =
        join_all(
            (0..8).map(|racer| {
                let first = first.clone();
                async move {
                    state.write(&first, Bytes::from(format!("racer {racer}")), StateCondition::Absent).await
                }
            }),
        )
        .await;
    assert_eq!(racers.iter().filter(|result| result.is_ok()).count(), 1, "one of eight writers wins");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ferry_transfer::state::{DirectoryState, MemoryState, ObjectState};

    use super::*;
    use crate::memory_store::MemoryStore;

    #[tokio::test]
    async fn memory_keeps_state() {
        check_state(&MemoryState::default()).await.expect("state");
    }

    #[tokio::test]
    async fn a_directory_keeps_state() {
        let directory = tempfile::tempdir().expect("directory");
        let state = DirectoryState::open(directory.path().join("made/here")).expect("opens");
        check_state(&state).await.expect("state");
    }

    #[tokio::test]
    async fn a_bucket_keeps_state() {
        let store = MemoryStore::new("lab", "bucket");
        check_state(&ObjectState::new(Arc::new(store), "state/")).await.expect("state");
    }
}
