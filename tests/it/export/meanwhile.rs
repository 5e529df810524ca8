//! What changes between the check of a target and its first byte, or between two runs: the target is looked at again, and what is somebody else's stays.

use std::fs::{self, File};
use std::sync::Arc;
use std::time::Duration;

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::Ended;
use tokio::sync::Notify;

use super::killed::kill_at;
use super::{PASSWORD, World, manifest};

/// Starts the run, changes something while the bucket is listed, and lets it go on.
pub(super) async fn changed_while_it_lists(world: &World, run: &[&str], change: impl FnOnce()) -> Ended {
    let reached = Arc::new(Notify::new());
    let signal = Arc::clone(&reached);
    let faults = world.pair.source.faults();
    faults.add(Rule::on(Operation::ListObjectsV2, Action::before(move |_| signal.notify_one())).first(1));
    // Each page waits this long: time enough for what is changed.
    faults.add(Rule::on(Operation::ListObjectsV2, Action::Delay(Duration::from_secs(2))).first(1));
    let mut ended = std::pin::pin!(world.ferry(run.iter().copied()).run());
    tokio::select! {
        () = reached.notified() => change(),
        ended = &mut ended => panic!("it ended before it listed: {ended}"),
    }
    let ended = ended.await;
    faults.clear();
    ended
}

async fn progress(world: &World, id: &str) -> String {
    let status = world.ferry(["get-status", id, "--json"]).run().await.expect_code(0).report();
    status["progress"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn a_signature_that_went_while_the_buckets_were_listed_allows_nothing() {
    for (lines, target) in [
        (format!("trueCryptPassword:{PASSWORD}\n"), "dir:device"),
        ("x-container: none\nx-layout: plain\n".to_owned(), "plain:device"),
    ] {
        let world = World::new(&manifest(&lines)).await;
        let id = world.create().await;
        let signature = world.device().join("SIGNATURE");
        let own = fs::read_to_string(&signature).expect("SIGNATURE");
        let run = ["run", id.as_str(), "--target", target];
        let ended =
            changed_while_it_lists(&world, &run, || fs::remove_file(&signature).expect("removed")).await;
        assert!(ended.expect_code(4).shows("SIGNATURE is not there"));
        assert_eq!(progress(&world, &id).await, "MissingSignature");
        assert_eq!(fs::read_dir(world.device()).expect("device").count(), 0, "{target}: nothing is written");
        fs::write(&signature, own).expect("put back");
        world.ferry(run).run().await.expect_code(0);
    }
}

#[tokio::test]
async fn what_is_put_there_while_the_buckets_are_listed_is_not_overwritten() {
    for (lines, target, file) in [
        (format!("trueCryptPassword:{PASSWORD}\n"), "image:device/precious.img", "precious.img"),
        ("x-container: none\nx-layout: plain\n".to_owned(), "plain:device", "holiday.jpg"),
    ] {
        let world = World::new(&manifest(&lines)).await;
        let id = world.create().await;
        let precious = world.device().join(file);
        let run = ["run", id.as_str(), "--target", target];
        let put = || fs::write(&precious, "somebody's").expect("written");
        assert!(changed_while_it_lists(&world, &run, put).await.expect_code(4).shows(file));
        // Nothing of the job is on the target yet: the next run sees what is there as well.
        assert!(world.ferry(run).run().await.expect_code(4).shows(file));
        assert_eq!(fs::read_to_string(&precious).expect("kept"), "somebody's");
    }
}

#[tokio::test]
async fn a_container_of_any_format_that_is_there_is_not_overwritten() {
    for (container, ending) in [("luks2", "luks"), ("truecrypt", "tc"), ("none", "img")] {
        let lines = match container {
            "none" => "x-container: none\n".to_owned(),
            _ => format!("trueCryptPassword:{PASSWORD}\nx-container: {container}\n"),
        };
        let world = World::new(&manifest(&lines)).await;
        let id = world.create().await;
        let precious = world.device().join(format!("{id}.{ending}"));
        fs::write(&precious, "somebody's").expect("written");
        let ended = world.ferry(["run", &id, "--target", "dir:device"]).run().await.expect_code(4);
        assert!(ended.shows("exists already"), "{container}: {ended}");
        assert_eq!(fs::read_to_string(&precious).expect("kept"), "somebody's");
    }
}

#[tokio::test]
async fn a_job_goes_on_in_its_own_container_only() {
    let world = World::new(&manifest(&format!("trueCryptPassword:{PASSWORD}\n"))).await;
    let (id, other) = (world.create().await, world.create().await);
    let signature = world.device().join("SIGNATURE");
    world.ferry(["run", &other, "--target", "dir:device"]).run().await.expect_code(0);
    let of_other = fs::read_to_string(&signature).expect("SIGNATURE");
    fs::write(world.pair.directory().join("again.txt"), &of_other).expect("kept");
    let own = of_other.replace(&other, &id);
    assert_ne!(own, of_other);
    // The job's own SIGNATURE, as it is made again.
    world.ferry(["UpdateJob", &id, "Export", "manifest.txt", "device"]).run().await.expect_code(0);
    let run = ["run", id.as_str(), "--target", "dir:device", "--json"];
    kill_at(&world, &run, 5).await;
    let container = world.device().join(format!("{id}.hc"));
    let kept = world.device().join("kept");
    fs::rename(&container, &kept).expect("away");
    assert!(world.ferry(run).run().await.expect_code(4).shows("not what the job was begun in"));
    fs::copy(world.device().join(format!("{other}.hc")), &container).expect("another's");
    let theirs = fs::read(&container).expect("read");
    assert!(world.ferry(run).run().await.expect_code(4).shows("not what the job was begun in"));
    assert_eq!(progress(&world, &id).await, "MissingDevice");
    assert_eq!(fs::read(&container).expect("read"), theirs, "nothing is written");
    fs::rename(&kept, &container).expect("back");
    // The same place by another name.
    let absolute = format!("dir:{}", world.device().display());
    let run = ["run", id.as_str(), "--target", &absolute, "--json"];
    assert_eq!(world.ferry(run).run().await.expect_code(0).report()["verdict"]["right_files"], 34);
}

#[tokio::test]
async fn a_job_goes_on_in_the_directory_that_has_its_files_only() {
    let world = World::new(&manifest("x-container: none\nx-layout: plain\n")).await;
    // Files are noted once they are synced: two large ones in front of the others make that happen.
    for key in ["data/!", "data/!!"] {
        world.pair.from().put_object(key, vec![7; 33 << 20]);
    }
    let id = world.create().await;
    let run = ["run", id.as_str(), "--target", "plain:device", "--json"];
    // Sixteen are asked for ahead, and the large ones by five ranges each.
    kill_at(&world, &run, 36).await;
    let large = world.device().join("docks/data/!");
    assert!(large.exists());
    fs::rename(&large, world.pair.directory().join("kept")).expect("away");
    let ended = world.ferry(run).run().await.expect_code(4);
    assert!(ended.shows("attach the medium that the job was begun on"), "{ended}");
    assert_eq!(progress(&world, &id).await, "MissingDevice");
    fs::rename(world.pair.directory().join("kept"), &large).expect("back");
    assert_eq!(world.ferry(run).run().await.expect_code(0).report()["verdict"]["right_files"], 36);
}

#[tokio::test]
async fn what_the_file_system_keeps_for_itself_is_not_the_exports() {
    let world = World::new(&manifest("x-container: none\nx-layout: plain\n")).await;
    let id = world.create().await;
    let lost_and_found = world.device().join("lost+found");
    fs::create_dir(&lost_and_found).expect("made");
    // As it is in the root of an ext4, for all but root. Who is root finds a file in it that is not the export's.
    fs::write(lost_and_found.join("#12"), "found").expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    fs::set_permissions(&lost_and_found, mode).expect("closed");
    let run = ["run", id.as_str(), "--target", "plain:device", "--json"];
    let report = world.ferry(run).run().await.expect_code(0).report();
    assert_eq!(report["verdict"]["wrong"], 0, "{report}");
    world.ferry(["verify", "plain:device"]).run().await.expect_code(0);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(&lost_and_found, mode).expect("open");
}

#[tokio::test]
async fn a_station_whose_job_was_given_to_another_writes_nothing_more() {
    let world = World::new(&manifest("x-container: none\nx-layout: plain\n")).await;
    let id = world.create().await;
    let reached = Arc::new(Notify::new());
    let signal = Arc::clone(&reached);
    let faults = world.pair.source.faults();
    faults.add(Rule::on(Operation::GetObject, Action::before(move |_| signal.notify_one())).nth(3));
    faults.add(Rule::on(Operation::GetObject, Action::Delay(Duration::from_secs(12))).first(64));
    let log = world.pair.directory().join("lost.log");
    let mut station = world
        .ferry(["run", &id, "--target", "plain:device", "--json"])
        .start(File::create(&log).expect("log"));
    tokio::time::timeout(Duration::from_mins(1), reached.notified()).await.expect("it reads");
    let path = record(&world.pair.directory().join("state"), &id);
    // The station writes its record every five seconds: the change is made until it stands.
    let changed = || {
        let mut job: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).expect("read")).expect("json");
        job["lease"]["station"] = "station-of-another".into();
        job["lease"]["until"] = "2999-01-01T00:00:00Z".into();
        fs::write(&path, serde_json::to_vec(&job).expect("json")).expect("written");
    };
    changed();
    let ended =
        tokio::time::timeout(Duration::from_mins(1), station.wait()).await.expect("it ends").expect("code");
    let said = fs::read_to_string(&log).expect("log");
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(said.contains("station-of-another") && said.contains("writes nothing more"), "{said}");
    let job: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("json");
    assert_eq!((&job["state"], &job["lease"]["station"]), (&"writing".into(), &"station-of-another".into()));
    assert!(!world.device().join("docks/data/29.bin").exists(), "it stopped");
}

/// The file that a job's record is.
fn record(state: &std::path::Path, id: &str) -> std::path::PathBuf {
    let directory = state.join("export/jobs");
    let entries = fs::read_dir(&directory).expect("jobs").flatten().map(|entry| entry.path());
    entries.into_iter().find(|path| path.display().to_string().contains(id)).expect("the record")
}
