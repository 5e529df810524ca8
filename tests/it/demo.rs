//! `ferry demo`: the whole story on one machine.

use ferry_tests::Program;

use crate::FERRY;

#[tokio::test]
async fn the_demo_moves_everything_three_times_and_leaves_nothing_behind() {
    let home = tempfile::tempdir().expect("directory");
    let ended = Program::new(FERRY, home.path()).args(["demo", "--objects", "200", "--json"]).run().await;
    let shown = ended.expect_code(0).report();
    let runs = shown["runs"].as_array().expect("runs");
    let copied: Vec<u64> = runs.iter().filter_map(|run| run["copied"].as_u64()).collect();
    assert_eq!(copied.len(), 3, "{shown}");
    assert!(copied[0] > 200 && copied[1] > 30 && copied[1] < copied[0], "{copied:?}");
    assert_eq!(copied[2], 0, "nothing changed, so nothing is copied");
    assert_eq!(runs[1]["deleted"], 2, "{shown}");
    assert_eq!(runs[2]["up_to_date"], shown["objects_checked_from_behind"], "{shown}");
    for run in runs {
        assert_eq!((&run["exit_code"], &run["failed"]), (&0.into(), &0.into()), "{run}");
    }
    let left: Vec<_> = std::fs::read_dir(home.path()).expect("directory").collect();
    assert!(left.is_empty(), "{left:?}");
}
