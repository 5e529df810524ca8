//! kill -9 in the middle of one large object: the next run reads the rest of it and nothing twice, unless it is another object by then or the medium lost what it had.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::Side;
use ferry_transfer::checksum::{Algorithm, DigestSet, digest};
use serde_json::Value;
use tokio::sync::Notify;

use super::killed::FOR_EVER;
use super::{PASSWORD, World, manifest};
use crate::objects::bytes;

const KEY: &str = "data/large";
/// What one request asks for.
const RANGE_BYTES: usize = 8 << 20;
/// After how many bytes of one file the medium is committed.
pub(super) const COMMIT_BYTES: usize = 64 << 20;
/// Larger than one part, and no whole number of ranges.
pub(super) const LARGE: usize = COMMIT_BYTES + RANGE_BYTES + 123;
pub(super) const RANGES: u64 = 10;
/// Those of them that are on the medium for sure when one more has come.
pub(super) const RANGES_NOTED: u64 = 8;

/// A world in which one object is large, behind all others in the order of the export.
pub(super) async fn large_world(manifest: &str, large_bytes: usize) -> World {
    let world = World::new(manifest).await;
    world.pair.from().put_object(KEY, bytes(large_bytes, 7));
    world
}

fn in_the_clear(layout: &str) -> String {
    manifest(&format!("x-container: none\nx-layout: {layout}\n"))
}

fn note(world: &World, id: &str) -> PathBuf {
    world.pair.directory().join(format!("state/export/work/{id}/part.json"))
}

/// Runs the job, lets nine ranges of the large object come, waits until so many of its bytes are noted, and kills it.
pub(super) async fn kill_within(world: &World, id: &str, run: &[&str], noted_bytes: usize) {
    let faults = world.pair.source.faults();
    let (reached, come) = (Arc::new(Notify::new()), RANGES_NOTED + 1);
    let signal = Arc::clone(&reached);
    let of_large = |action| Rule::on(Operation::GetObject, action).key_contains(KEY);
    faults.add(of_large(Action::before(move |_| signal.notify_one())).nth(come + 1));
    for later in come + 1..=come + 8 {
        faults.add(of_large(Action::Delay(FOR_EVER)).nth(later));
    }
    let log = File::create(world.pair.directory().join("killed.log")).expect("a file");
    let mut station = world.ferry(run.iter().copied()).start(log);
    let noted = async {
        // Before that an earlier run's note may be there, and be removed.
        reached.notified().await;
        loop {
            let note = fs::read(note(world, id)).ok().and_then(|note| serde_json::from_slice(&note).ok());
            if note.is_some_and(|note: Value| note["bytes"] == noted_bytes) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), noted).await.expect("a part is noted");
    station.kill().await.expect("killed");
    faults.clear();
    world.pair.server(Side::Source).log().reset();
}

pub(super) fn gets(world: &World) -> u64 {
    world.pair.server(Side::Source).log().count(Operation::GetObject)
}

fn sha256(bytes: &[u8]) -> String {
    let set = DigestSet { md5: false, other: Some(Algorithm::Sha256) };
    let digest = digest(bytes, set).other.expect("asked for");
    digest.bytes().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for entry in fs::read_dir(from).expect("listed") {
        let path = entry.expect("an entry").path();
        let copy = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_tree(&path, &copy);
        } else {
            fs::copy(&path, &copy).expect("copied");
        }
    }
}

#[tokio::test]
async fn a_large_object_is_gone_on_with_to_the_same_image() {
    let world = large_world(&in_the_clear("bagit"), 2 * COMMIT_BYTES + LARGE).await;
    let id = world.create().await;
    let at = |name: &str| world.pair.directory().join(name);
    for name in ["state", "device"] {
        copy_tree(&at(name), &at(&format!("{name}-before")));
    }
    let run = ["run", id.as_str(), "--target", "image:device/medium.img", "--json"];
    // A second death finds what the first one left.
    for noted_bytes in [COMMIT_BYTES, 2 * COMMIT_BYTES] {
        kill_within(&world, &id, &run, noted_bytes).await;
    }
    let report = world.ferry(run).run().await.expect_code(0).report();
    assert_eq!((&report["progress"], &report["verdict"]["right_files"]), (&"Complete".into(), &35.into()));
    assert_eq!(gets(&world), RANGES, "all but two times eight ranges: {report}");
    assert!(!note(&world, &id).exists());
    let log = world.pair.from().bytes(&format!("logs/export-log-{id}")).expect("log");
    let log = String::from_utf8_lossy(&log);
    let row = log.lines().find(|row| row.contains("docks/data/large")).expect("row");
    let columns: Vec<&str> = row.split(',').collect();
    assert_eq!((columns[5], columns[5].len()), (columns[9], 32), "the MD5 of all bytes is the tag: {row}");

    for name in ["state", "device"] {
        fs::rename(at(name), at(&format!("{name}-killed"))).expect("put away");
        fs::rename(at(&format!("{name}-before")), at(name)).expect("as it was");
    }
    world.ferry(run).run().await.expect_code(0);
    let [killed, whole] =
        ["device-killed", "device"].map(|device| fs::read(at(device).join("medium.img")).expect("image"));
    assert!(killed == whole, "the image does not tell that the run was killed");
}

#[tokio::test]
async fn an_object_that_was_replaced_meanwhile_is_given_up_and_leaves_zeros() {
    let world = large_world(&manifest(&format!("trueCryptPassword:{PASSWORD}\n")), LARGE).await;
    let id = world.create().await;
    let run = ["run", id.as_str(), "--target", "dir:device", "--json"];
    kill_within(&world, &id, &run, COMMIT_BYTES).await;
    world.pair.from().put_object(KEY, bytes(LARGE, 8));
    let report = world.ferry(run).run().await.expect_code(1).report();
    assert_eq!(report["progress"], "SuccessWithErrors", "{report}");
    assert_eq!(gets(&world), 0, "nothing of another generation is read");
    let log = world.pair.from().bytes(&format!("logs/export-log-{id}")).expect("log");
    assert_eq!(String::from_utf8_lossy(&log).matches(",107,Changed,").count(), 1);
    fs::write(world.pair.directory().join("pw"), PASSWORD).expect("written");
    world.ferry(["open", "dir:device", "out", "--password-file", "pw"]).run().await.expect_code(0);
    let large = fs::read(world.pair.directory().join("out/data/docks/data/large")).expect("file");
    assert_eq!((large.len(), large.iter().find(|byte| **byte != 0)), (LARGE, None));
    assert!(!note(&world, &id).exists());
}

#[tokio::test]
async fn what_the_medium_lost_is_read_anew() {
    let world = large_world(&in_the_clear("plain"), LARGE).await;
    let id = world.create().await;
    let run = ["run", id.as_str(), "--target", "plain:device", "--json"];
    let file = world.device().join("docks/data/large");
    for does_note_fit in [false, true] {
        kill_within(&world, &id, &run, COMMIT_BYTES).await;
        let mut written = fs::read(&file).expect("file");
        written[COMMIT_BYTES / 2] ^= 1;
        fs::write(&file, &written).expect("damaged");
        if does_note_fit {
            let note = note(&world, &id);
            let mut noted: Value = serde_json::from_slice(&fs::read(&note).expect("a note")).expect("JSON");
            noted["sha256"] = sha256(&written[..COMMIT_BYTES]).into();
            fs::write(note, noted.to_string()).expect("written");
        }
    }
    let report = world.ferry(run).run().await.expect_code(0).report();
    assert_eq!(report["progress"], "Complete", "{report}");
    assert_eq!(gets(&world), RANGES - RANGES_NOTED + RANGES, "the store's checksum told");
    assert!(fs::read(&file).expect("file") == bytes(LARGE, 7));
}

#[tokio::test]
async fn a_store_that_fails_in_the_middle_of_an_object_costs_what_was_not_committed() {
    let world = large_world(&in_the_clear("plain"), LARGE).await;
    let id = world.create().await;
    // The two ranges behind what is committed, with all their attempts.
    for _ in 0..2 * 6 {
        let cut = Rule::on(Operation::GetObject, Action::CutBody { after_bytes: 9 });
        world.pair.source.faults().add(cut.key_contains(KEY).nth(RANGES_NOTED + 1));
    }
    let run = ["run", id.as_str(), "--target", "plain:device", "--json"];
    let waiting = async {
        // It is told while the store is waited for, and not at the object's end.
        while bytes_done(&world, &id).await < COMMIT_BYTES as u64 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        gets(&world)
    };
    let (ended, gets_when_told) = tokio::join!(world.ferry(run).run(), waiting);
    let report = ended.expect_code(0).report();
    assert_eq!(report["progress"], "Complete", "{report}");
    let gets_of_all = 34 + RANGES_NOTED + 2 * 6 + 2;
    assert!(gets_when_told < gets_of_all, "{gets_when_told}");
    assert_eq!(gets(&world), gets_of_all);
    assert!(fs::read(world.device().join("docks/data/large")).expect("file") == bytes(LARGE, 7));
}

async fn bytes_done(world: &World, id: &str) -> u64 {
    let status = world.ferry(["get-status", id, "--json"]).run().await.expect_code(0).report();
    status["bytes_done"].as_u64().unwrap_or_default()
}

#[tokio::test]
async fn a_job_that_is_called_off_in_the_middle_of_an_object_ends_there() {
    let world = large_world(&in_the_clear("plain"), LARGE).await;
    let id = world.create().await;
    let reached = Arc::new(Notify::new());
    let signal = Arc::clone(&reached);
    let of_large = |action| Rule::on(Operation::GetObject, action).key_contains(KEY);
    world.pair.source.faults().add(of_large(Action::before(move |_| signal.notify_one())).nth(RANGES));
    world.pair.source.faults().add(of_large(Action::Delay(FOR_EVER)).nth(RANGES));
    let run = ["run", id.as_str(), "--target", "plain:device", "--json"];
    let calling_off = async {
        reached.notified().await;
        world.ferry(["CancelJob", &id]).run().await.expect_code(0);
    };
    let ending = async { tokio::join!(world.ferry(run).run(), calling_off).0 };
    let ended = tokio::time::timeout(Duration::from_mins(1), ending).await.expect("it ends by itself");
    assert_ne!(ended.code, 0, "{ended}");
    assert!(ended.shows("was canceled"), "{ended}");
}
