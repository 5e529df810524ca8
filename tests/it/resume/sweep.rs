//! `ferry sweep`: what was left behind is found by age, and only ours is touched.

use std::path::Path;

use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, Side, StoreSetup};
use ferry_transfer::Attributes;

use super::kill_at;
use crate::objects::{bytes, ferry, sync};

const CUT: [&str; 4] = ["--part-size", "64KiB", "--multipart-threshold", "128KiB"];

#[tokio::test]
async fn uploads_left_behind_are_listed_and_dropped_when_asked() {
    let pair = Pair::with(StoreSetup::with_small_parts(), StoreSetup::with_small_parts()).await;
    pair.from().put_object("large", bytes(1 << 20, 1));
    kill_at(&pair, Side::Destination, Operation::UploadPart, 5, &CUT).await;
    pair.to().create_upload("of somebody else", Attributes::default()).expect("begun");
    let location = Side::Destination.location("");
    let sweep = async |args: &[&str]| {
        let args = [&["sweep", location.as_str(), "--json"], args].concat();
        let ended = ferry(&pair, args).run().await.expect_code(0);
        let keys = ended.lines().iter().filter_map(|line| line["key"].as_str().map(str::to_owned)).collect();
        let keys: Vec<String> = keys;
        keys
    };
    let open = || pair.to().open_uploads().len();
    // A time after all of this.
    let later = ["--older-than", "2200-01-01"];
    assert_eq!((sweep(&[]).await, open()), (vec![], 2), "younger than a week");
    assert_eq!((sweep(&later).await, open()), (vec!["large".to_owned()], 2), "listed only");
    assert_eq!((sweep(&[&later[..], &["--abort"]].concat()).await, open()), (vec!["large".to_owned()], 1));
    assert_eq!((sweep(&later).await, open()), (vec![], 1));
    let all = [&later[..], &["--abort", "--all"]].concat();
    assert_eq!((sweep(&all).await, open()), (vec!["of somebody else".to_owned()], 0));
}

/// Says of every upload that the state remembers that it was begun long ago.
fn age_records(directory: &Path) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            age_records(&path);
        } else if path.ends_with("upload.json") {
            let text = std::fs::read_to_string(&path).expect("a record");
            let mut record: serde_json::Value = serde_json::from_str(&text).expect("a record");
            record["begun"] = "2001-01-01T00:00:00Z".into();
            std::fs::write(&path, record.to_string()).expect("written");
        }
    }
}

#[tokio::test]
async fn a_sync_drops_what_was_left_behind_a_week_ago_and_nothing_younger() {
    let pair = Pair::with(StoreSetup::with_small_parts(), StoreSetup::with_small_parts()).await;
    pair.from().put_object("large", bytes(1 << 20, 1));
    kill_at(&pair, Side::Destination, Operation::UploadPart, 5, &CUT).await;
    pair.to().create_upload("of somebody else", Attributes::default()).expect("begun");
    // Gone at the source, so that nobody goes on with it.
    pair.from().remove("large");
    let open = || pair.to().open_uploads().len();
    sync(&pair, &CUT).await.expect_code(0);
    assert_eq!(open(), 2, "it is young");
    age_records(pair.directory());
    let ended = sync(&pair, &CUT).await.expect_code(0);
    assert!(ended.stderr.contains("dropped 1 uploads"), "{ended}");
    assert_eq!(open(), 1, "of somebody else");
    let again = sync(&pair, &CUT).await.expect_code(0);
    assert!(!again.stderr.contains("dropped"), "{again}");
}
