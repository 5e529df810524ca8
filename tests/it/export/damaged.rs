//! Media that time has been at, in the eyes of the program.

use std::fs;

use super::{World, manifest};

#[tokio::test]
async fn a_medium_that_is_damaged_gives_what_it_has_and_goes_on_where_it_was_broken_off() {
    let world = World::new(&manifest("x-container: none\nx-layout: plain\n")).await;
    let id = world.create().await;
    let run = ["run", &id, "--target", "plain:device", "--json", "--verify", "sample=20%"];
    let report = world.ferry(run).run().await.expect_code(0).report();
    assert_eq!(report["verdict"]["scope"], "sample 20%", "{report}");
    let read = report["verdict"]["right_files"].as_u64().expect("files");
    assert!((1..34).contains(&read), "{report}");
    assert_eq!(report["verification"]["read_files"], read);
    let status = world.ferry(["get-status", &id]).run().await.expect_code(0);
    assert!(status.stdout.contains(&format!("{read} of 34 files were read back")), "{status}");

    let verified = world.ferry(["verify", "plain:device", "--sample", "5%"]).run().await.expect_code(0);
    assert!(
        verified.stdout.contains("a sample 5% only") && verified.stdout.contains("of 34 files"),
        "{verified}"
    );
    assert!(
        world
            .ferry(["verify", "plain:device", "--sample", "5"])
            .run()
            .await
            .expect_code(2)
            .shows("such as 1%")
    );

    let lost = world.device().join("docks/data/07.bin");
    fs::remove_file(&lost).expect("removed");
    std::os::unix::fs::symlink("08.bin", &lost).expect("a link");
    let open = ["open", "plain:device", "out", "--prefix", "/docks/data/0", "--json"];
    let opened = world.ferry(open).run().await.expect_code(1).report();
    assert_eq!((&opened["files"], &opened["damaged"]), (&9.into(), &1.into()), "{opened}");
    assert!(!world.pair.directory().join("out/docks/data/07.bin").exists());
    fs::remove_file(&lost).expect("removed");
    fs::write(&lost, vec![7; 700]).expect("as it was");
    fs::File::options()
        .write(true)
        .open(&lost)
        .expect("open")
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .expect("an old file");
    let opened = world.ferry(open).run().await.expect_code(0).report();
    assert_eq!((&opened["files"], &opened["passed_over"]), (&1.into(), &9.into()), "{opened}");
    let nothing = ["open", "plain:device", "out", "--prefix", "elsewhere/"];
    assert!(world.ferry(nothing).run().await.expect_code(3).shows("nothing on the medium begins with"));

    fs::write(world.device().join(".export/objects.jsonl"), "{}\n").expect("changed");
    assert!(world.ferry(["verify", "plain:device"]).run().await.expect_code(3).shows("objects.jsonl"));
}
