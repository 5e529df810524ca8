//! Jobs of tasks that are about whole histories.

use ferry_transfer::store::{DeleteRequest, ListVersionsRequest, VersionKind};
use ferry_transfer::versions::Versions;
use ferry_transfer::{Key, ObjectStore as _};

use super::*;

impl Stage {
    fn with_versions(versions: Versions, source: Versioning, destination: Versioning) -> Self {
        Self::with(|task| task.versions = versions, [source, destination])
    }

    fn of_histories() -> Self {
        Self::with_versions(Versions::All, Versioning::Enabled, Versioning::Enabled)
    }

    /// Writes a body at the source, or deletes what is there.
    fn write(&self, bodies: &[Option<&str>]) {
        for body in bodies {
            match body {
                Some(body) => drop(self.source.put_object("k", (*body).to_owned())),
                None => drop(self.source.delete("k", None).expect("a marker")),
            }
        }
    }

    async fn copy(&self) -> Outcome {
        self.deliver(r#"{"key":"k"}"#, 1).await;
        self.last_outcome()
    }

    fn counted(&self) -> (usize, u64) {
        match self.last_outcome() {
            Outcome::HistoryCopied { versions, delete_markers } => (versions.len(), delete_markers),
            other => panic!("{other:?}"),
        }
    }
}

/// Each version's body, oldest first; `None` is a delete marker.
async fn bodies(store: &FaultyStore, bucket: &Bucket) -> Vec<Option<String>> {
    let mut listed = store.list_versions(ListVersionsRequest::default()).await.expect("versions").versions;
    listed.reverse();
    let body = |id: &str| {
        let object = bucket.version("k", Some(id)).expect("a version");
        String::from_utf8(object.payload.to_bytes().to_vec()).expect("text")
    };
    listed.iter().map(|one| (one.kind == VersionKind::Object).then(|| body(&one.version_id))).collect()
}

async fn assert_same_history(stage: &Stage) {
    let source = bodies(&stage.source_faults, &stage.source).await;
    assert_eq!(source, bodies(&stage.destination_faults, &stage.destination).await);
}

/// One body of each way to copy: in memory, streamed, in parts. Each older version is read although others lie over it.
#[tokio::test]
async fn a_history_is_copied_oldest_first_and_grows_at_its_end() {
    let stage = Stage::of_histories();
    let (streamed, in_parts) = ("s".repeat(40), "p".repeat(100));
    stage.write(&[Some("one"), Some(&streamed), None, Some(&in_parts), Some("one")]);
    stage.copy().await;
    assert_eq!(stage.counted(), (4, 1));
    assert_same_history(&stage).await;
    assert_eq!(stage.copy().await, Outcome::UpToDate);

    stage.write(&[Some("more"), None]);
    stage.copy().await;
    assert_eq!(stage.counted(), (1, 1));
    stage.write(&[None]);
    stage.copy().await;
    assert_eq!(stage.counted(), (0, 1));
    assert_same_history(&stage).await;
}

#[tokio::test]
async fn a_destination_with_versions_of_its_own_is_left_alone() {
    let stage = Stage::of_histories();
    stage.write(&[Some("one"), Some("two")]);
    stage.copy().await;
    stage.destination.put_object("k", "mine");
    stage.write(&[Some("three")]);
    let Outcome::Failed(failed) = stage.copy().await else { panic!("{:?}", stage.last_outcome()) };
    assert!(failed.error.contains("versions of its own"), "{}", failed.error);
    assert_eq!(stage.destination.bytes("k").expect("object"), "mine");
    assert_eq!(bodies(&stage.destination_faults, &stage.destination).await.len(), 3);
}

#[tokio::test]
async fn a_copy_that_broke_off_in_the_middle_goes_on() {
    let stage = Stage::of_histories();
    stage.write(&[Some("one"), None, Some("two"), None, Some("three")]);
    let all = bodies(&stage.source_faults, &stage.source).await;
    // As another worker left it.
    stage.destination.put_object("k", "one");
    stage.destination_faults.delete(DeleteRequest::of(&Key::new("k").expect("key"))).await.expect("a marker");
    stage.copy().await;
    assert_eq!(stage.counted(), (2, 1));
    assert_eq!(bodies(&stage.destination_faults, &stage.destination).await, all);
}

/// A delete there would remove for good what a marker is to hide.
#[tokio::test]
async fn buckets_without_versions_are_refused_before_anything_is_written() {
    for (source, destination, named) in [
        (Versioning::Never, Versioning::Enabled, "source"),
        (Versioning::Enabled, Versioning::Never, "destination"),
        (Versioning::Enabled, Versioning::Suspended, "destination"),
    ] {
        let stage = Stage::with_versions(Versions::All, source, destination);
        stage.write(&[Some("one")]);
        stage.destination.put_object("k", "kept");
        let Outcome::Failed(failed) = stage.copy().await else { panic!("{:?}", stage.last_outcome()) };
        assert!(
            failed.error.contains(named) && failed.error.contains("--versions latest"),
            "{}",
            failed.error
        );
        assert_eq!(stage.destination.bytes("k").expect("object"), "kept");
    }
    let deleting = Stage::with(
        |task| {
            task.versions = Versions::All;
            task.deletes = Deletes::Mirror(DeleteLimit::default());
        },
        [Versioning::Enabled; 2],
    );
    let Outcome::Failed(failed) = deleting.copy().await else { panic!("{:?}", deleting.last_outcome()) };
    assert!(failed.error.contains("--delete"), "{}", failed.error);
}
