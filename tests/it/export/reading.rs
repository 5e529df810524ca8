//! Large objects are read by ranges: one that breaks off comes again by itself, bytes that are not the store's are never taken, and the log's MD5 is of what arrived.

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::Side;

use super::{World, manifest};
use crate::objects::bytes;

const LARGE: usize = 20 << 20;

async fn world() -> World {
    let world = World::new(&manifest("x-container: none\nx-layout: plain\n")).await;
    world.pair.from().put_object("data/large", bytes(LARGE, 7));
    world
}

fn gets(world: &World) -> u64 {
    world.pair.server(Side::Source).log().count(Operation::GetObject)
}

#[tokio::test]
async fn a_range_that_breaks_off_comes_again_by_itself() {
    let world = world().await;
    let id = world.create().await;
    let of_large = || {
        Rule::on(Operation::GetObject, Action::CutBody { after_bytes: 3 << 20 }).key_contains("data/large")
    };
    world.pair.source.faults().add(of_large().nth(2));
    world.pair.source.faults().add(of_large().nth(3));
    let report =
        world.ferry(["run", &id, "--target", "plain:device", "--json"]).run().await.expect_code(0).report();
    assert_eq!(report["progress"], "Complete", "{report}");
    assert_eq!(std::fs::read(world.device().join("docks/data/large")).expect("file"), bytes(LARGE, 7));
    // 34 small objects, three ranges, and two of them once more.
    assert_eq!(gets(&world), 34 + 3 + 2);
    let log = world.pair.from().bytes(&format!("logs/export-log-{id}")).expect("log");
    let log = String::from_utf8_lossy(&log);
    let row = log.lines().find(|row| row.contains("docks/data/large")).expect("row");
    let columns: Vec<&str> = row.split(',').collect();
    assert_eq!(columns[5], columns[9], "the MD5 is the tag: {row}");
    assert_eq!(columns[5].len(), 32, "{row}");
}

#[tokio::test]
async fn bytes_that_are_not_the_stores_are_read_again_and_never_taken() {
    let world = world().await;
    let id = world.create().await;
    let flipped = || Rule::on(Operation::GetObject, Action::FlipByte { at: 9 });
    world.pair.source.faults().add(flipped().key_contains("data/large").nth(2));
    world.pair.source.faults().add(flipped().key_contains("data/07.bin").nth(1));
    let run = ["run", &id, "--target", "plain:device", "--json"];
    let report = world.ferry(run).run().await.expect_code(0).report();
    assert_eq!(report["progress"], "Complete", "{report}");
    assert_eq!(std::fs::read(world.device().join("docks/data/large")).expect("file"), bytes(LARGE, 7));
    assert_eq!(std::fs::read(world.device().join("docks/data/07.bin")).expect("file"), vec![7; 700]);
}
