//! `ferry ls`: buckets and keys, for people and for scripts.

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Ended, Pair, Side};

use crate::objects::{ferry, fill_awkward};

async fn ls(pair: &Pair, location: &str, args: &[&str]) -> Ended {
    ferry(pair, ["ls", location, "--json"]).args(args.iter().copied()).run().await
}

/// One field of every line that has it.
fn field(ended: &Ended, name: &str) -> Vec<String> {
    ended.lines().iter().filter_map(|line| line[name].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn buckets_are_listed_by_name() {
    let pair = Pair::start().await;
    pair.source.bucket("another");
    let ended = ls(&pair, "harbour://", &[]).await.expect_code(0);
    assert_eq!(field(&ended, "bucket"), ["another", "docks"]);
    let text = ferry(&pair, ["ls", "harbour://"]).run().await.expect_code(0);
    let names: Vec<&str> = text.stdout.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(names, ["another", "docks"], "{text}");
}

#[tokio::test]
async fn keys_roll_up_at_the_next_slash_unless_all_are_asked_for() {
    let pair = Pair::start().await;
    for key in ["a", "b/1", "b/2/x", "b/3/", "c//d"] {
        pair.from().put_object(key, "12345");
    }
    for (location, keys, prefixes) in [
        ("harbour://docks", vec!["a"], vec!["b/", "c/"]),
        ("harbour://docks/b", vec![], vec!["b/"]),
        ("harbour://docks/b/", vec!["b/1"], vec!["b/2/", "b/3/"]),
        ("harbour://docks/c/", vec![], vec!["c//"]),
        ("harbour://docks/none", vec![], vec![]),
    ] {
        let ended = ls(&pair, location, &[]).await.expect_code(0);
        assert_eq!(
            (field(&ended, "key"), field(&ended, "prefix")),
            (strings(&keys), strings(&prefixes)),
            "{location}"
        );
    }
    let ended = ls(&pair, "harbour://docks/b", &["--recursive"]).await.expect_code(0);
    assert_eq!(field(&ended, "key"), ["b/1", "b/2/x", "b/3/"]);
    assert_eq!(ended.lines()[0]["size_bytes"], 5, "{ended}");
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test]
async fn awkward_keys_come_out_byte_for_byte_and_leave_a_terminal_alone() {
    let pair = Pair::start().await;
    fill_awkward(&pair.from(), "", 0);
    let ended = ls(&pair, "harbour://docks", &["-r"]).await.expect_code(0);
    assert_eq!(field(&ended, "key"), pair.from().keys());
    let text = ferry(&pair, ["ls", "-r", "harbour://docks"]).run().await.expect_code(0);
    assert_eq!(text.stdout.lines().count(), pair.from().len(), "one line to each key: {text}");
    let harmful = |char: char| char.is_control() && char != '\n';
    assert!(!text.stdout.contains(harmful), "control characters are escaped");
}

#[tokio::test]
async fn every_page_is_listed_and_a_page_that_fails_for_now_is_asked_for_again() {
    let pair = Pair::start().await;
    for number in 0..2_100 {
        pair.from().put_object(&format!("{number:05}"), "x");
    }
    pair.source.faults().add(Rule::on(Operation::ListObjectsV2, Action::INTERNAL_ERROR).nth(2));
    let ended = ls(&pair, "harbour://docks", &[]).await.expect_code(0);
    assert_eq!(field(&ended, "key"), pair.from().keys());
}

#[tokio::test]
async fn half_a_listing_does_not_look_like_a_whole_one() {
    let pair = Pair::start().await;
    for number in 0..1_100 {
        pair.from().put_object(&format!("{number:05}"), "x");
    }
    pair.fail_from(Side::Source, Operation::ListObjectsV2, 2, 20, &Action::ACCESS_DENIED);
    let ended = ls(&pair, "harbour://docks", &[]).await.expect_code(1);
    assert!(
        ended.stderr.contains("the listing broke off: ListObjectsV2 harbour://docks"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_location_that_is_none_is_refused_with_the_form_it_must_have() {
    let pair = Pair::start().await;
    for location in ["docks", "harbour:///x", "://docks"] {
        let ended = ferry(&pair, ["ls", location]).run().await;
        ended.expect_refusal(&["NAME://BUCKET/PREFIX"]);
    }
}
