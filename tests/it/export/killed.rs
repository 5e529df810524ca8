//! kill -9 while a medium is written, and the same command again; meanwhile nobody who looks at the process sees the password.

use std::fs::{self, File};
use std::sync::Arc;
use std::time::Duration;

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use tokio::sync::Notify;

use super::{PASSWORD, World, manifest};

/// Longer than any test: a request that meets it is never carried out.
pub(super) const FOR_EVER: Duration = Duration::from_hours(1);

/// Starts to write the medium, and kills the station when the source is asked for its `nth` object.
pub(super) async fn kill_at(world: &World, run: &[&str], nth: u64) {
    let reached = Arc::new(Notify::new());
    let signal = Arc::clone(&reached);
    let faults = world.pair.source.faults();
    faults.add(Rule::on(Operation::GetObject, Action::before(move |_| signal.notify_one())).nth(nth));
    for later in nth..nth + 64 {
        faults.add(Rule::on(Operation::GetObject, Action::Delay(FOR_EVER)).nth(later));
    }
    let log = File::create(world.pair.directory().join("killed.log")).expect("a file");
    let mut station = world.ferry(run.iter().copied()).without_env("MEDIUM_PASSWORD").start(log);
    tokio::select! {
        () = reached.notified() => {}
        ended = station.wait() => {
            let said = fs::read_to_string(world.pair.directory().join("killed.log")).expect("read");
            panic!("it ended before object {nth}: {ended:?}\n{said}");
        }
    }
    let process = format!("/proc/{}", station.id().expect("it runs"));
    let said = world.pair.directory().join("killed.log").display().to_string();
    for shown in [format!("{process}/cmdline"), format!("{process}/environ"), said] {
        // Elsewhere than on Linux there is nothing of that kind to look at.
        let bytes = fs::read(&shown).unwrap_or_default();
        let is_shown = bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes());
        assert!(!is_shown, "the password stands in {shown}");
    }
    station.kill().await.expect("killed");
    faults.clear();
}

#[tokio::test]
async fn a_station_that_was_killed_goes_on_to_a_whole_medium() {
    for target in ["image:device/medium.hc", "dir:device"] {
        let world = World::new(&manifest(&format!("trueCryptPassword:{PASSWORD}\n"))).await;
        let id = world.create().await;
        let run = ["run", id.as_str(), "--target", target, "--json"];
        // A later death finds what the earlier ones left.
        for nth in [1, 4, 11, 9, 2] {
            kill_at(&world, &run, nth).await;
        }
        fs::write(world.device().join("precious.img"), "somebody's").expect("written");
        let elsewhere =
            world.ferry(["run", &id, "--target", "image:device/precious.img"]).run().await.expect_code(4);
        let (kind, path) = target.split_once(':').expect("a kind");
        let begun_on =
            format!("{kind}:{}", world.pair.directory().canonicalize().expect("real").join(path).display());
        assert!(elsewhere.shows(&format!("was begun on {begun_on}")), "{elsewhere}");
        fs::remove_file(world.device().join("precious.img")).expect("as it was");
        let report = world.ferry(run).run().await.expect_code(0).report();
        assert_eq!(report["progress"], "Complete", "{target}: {report}");
        fs::write(world.pair.directory().join("pw"), PASSWORD).expect("written");
        world.ferry(["verify", target, "--password-file", "pw"]).run().await.expect_code(0);
        world.ferry(["open", target, "out", "--password-file", "pw"]).run().await.expect_code(0);
        let out = world.pair.directory().join("out");
        for number in 0..30_u8 {
            let name = format!("docks/data/{number:02}.bin");
            let found = find(&out, &name).unwrap_or_else(|| panic!("{target}: {name} is not there"));
            assert_eq!(found, vec![number; usize::from(number) * 100], "{target}: {name}");
        }
    }
}

/// A file's bytes, wherever under the directory the medium has its data.
fn find(directory: &std::path::Path, name: &str) -> Option<Vec<u8>> {
    if let Ok(bytes) = fs::read(directory.join(name)) {
        return Some(bytes);
    }
    let entries = fs::read_dir(directory).ok()?;
    entries.flatten().filter(|entry| entry.path().is_dir()).find_map(|entry| find(&entry.path(), name))
}
