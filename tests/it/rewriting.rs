//! Keys that are named differently at the destination.

use ferry_testkit::fixtures::{awkward_keys, body_of};
use ferry_testkit::operation::Operation;
use ferry_tests::pair::assert_same_object;
use ferry_tests::{Ended, Pair};

use crate::objects::{between, bytes, fill_awkward, whole};

async fn run(pair: &Pair, verb: &str, args: &[&str]) -> Ended {
    whole(pair, verb).args(["--json"]).args(args.iter().copied()).run().await
}

/// Prefixes whose order turns around: `a/` goes behind `b/`, and what was in `c/` comes before both.
const TURNED: [&str; 6] =
    ["--rewrite-prefix", "a/=x/", "--rewrite-prefix", "c/=0/", "--rewrite-prefix", "a/deep/=1/"];

fn turned(key: &str) -> String {
    for (from, to) in [("a/deep/", "1/"), ("a/", "x/"), ("c/", "0/")] {
        if let Some(rest) = key.strip_prefix(from) {
            return format!("{to}{rest}");
        }
    }
    key.to_owned()
}

async fn turned_pair() -> Pair {
    let pair = Pair::start().await;
    for prefix in ["a/", "a/deep/", "b/", "c/", ""] {
        for number in 0..250 {
            let key = format!("{prefix}{number:03}");
            pair.from().put_object(&key, body_of(&key));
        }
    }
    pair
}

fn assert_turned(pair: &Pair) {
    let mut expected: Vec<String> = pair.from().keys().iter().map(|key| turned(key)).collect();
    expected.sort();
    assert_eq!(pair.to().keys(), expected);
    for key in pair.from().keys() {
        let (original, copy) = (pair.from().get(&key), pair.to().get(&turned(&key)));
        assert_same_object(&key, &original.expect("original"), &copy.expect("copy"));
    }
}

#[tokio::test]
async fn renamed_keys_arrive_and_a_second_run_finds_nothing_to_do() {
    let pair = turned_pair().await;
    let plan = run(&pair, "plan", &TURNED).await.expect_code(0).report();
    assert_eq!((&plan["missing"], &plan["contested"]), (&1250.into(), &0.into()), "{plan}");
    run(&pair, "sync", &TURNED).await.expect_code(0);
    assert_turned(&pair);
    let again = run(&pair, "sync", &TURNED).await.expect_code(0).report();
    assert_eq!(
        (&again["copied"], &again["up_to_date"], &again["extra"]),
        (&0.into(), &1250.into(), &0.into())
    );
    let verified = run(&pair, "verify", &TURNED).await.expect_code(0).report();
    assert_eq!(verified["summary"]["same_by_etag"], 1250, "{verified}");
}

#[tokio::test]
async fn a_renamed_copy_goes_when_its_original_has_gone() {
    let pair = turned_pair().await;
    run(&pair, "sync", &TURNED).await.expect_code(0);
    for key in ["a/001", "a/deep/002", "c/003", "b/004", "005"] {
        assert!(pair.from().remove(key));
    }
    // No key of the source has this name under these rules: it is nobody's copy and stays.
    pair.to().put_object("c/foreign", "x");
    pair.to().put_object("x/nobody", "x");
    pair.source.log().reset();
    let args = [&TURNED[..], &["--delete"]].concat();
    let report = run(&pair, "sync", &args).await.expect_code(0).report();
    assert_eq!((&report["deleted"], &report["nameless"]), (&6.into(), &1.into()), "{report}");
    assert!(pair.to().remove("c/foreign"));
    assert_turned(&pair);
    assert!(pair.source.log().count(Operation::HeadObject) >= 6, "each original was asked for");
}

#[tokio::test]
async fn a_prefix_is_inserted_before_every_awkward_key() {
    let pair = Pair::start().await;
    let count = fill_awkward(&pair.from(), "", 10);
    let args = ["--rewrite-prefix", "=in/here/"];
    let report = run(&pair, "sync", &args).await.expect_code(0).report();
    assert_eq!(report["copied"], count, "{report}");
    pair.assert_same_under("", "in/here/");
    let again = run(&pair, "sync", &[&args[..], &["--delete", "--max-delete", "0"]].concat()).await;
    assert_eq!(again.expect_code(0).report()["up_to_date"], count);
    assert!(awkward_keys().len() as u64 >= count);
}

#[tokio::test]
async fn renaming_is_behind_the_prefixes_of_both_sides() {
    let pair = Pair::start().await;
    pair.from().put_object("photos/2024/1.jpg", "1");
    pair.from().put_object("photos/dt=2025/2.jpg", "2");
    let args = ["--rewrite-prefix", "2024/=old/", "--rewrite-prefix", r"dt\=2025/=new/"];
    between(&pair, "sync", "photos/", "archive/").args(args).run().await.expect_code(0);
    assert_eq!(pair.to().keys(), ["archive/new/2.jpg", "archive/old/1.jpg"]);
}

#[tokio::test]
async fn two_keys_that_would_share_a_name_are_refused_and_the_rest_is_copied() {
    let pair = Pair::start().await;
    for key in ["a/1", "a/2", "b/2", "b/3"] {
        pair.from().put_object(key, bytes(20, key.len() as u64));
    }
    let args = ["--rewrite-prefix", "a/=b/"];
    let plan = run(&pair, "plan", &args).await.expect_code(0).report();
    assert_eq!((&plan["missing"], &plan["contested"]), (&2.into(), &2.into()), "{plan}");
    let ended = run(&pair, "sync", &args).await.expect_code(1);
    let report = ended.report();
    assert_eq!((&report["copied"], &report["failed"]), (&2.into(), &2.into()), "{ended}");
    for key in ["a/2", "b/2"] {
        assert!(report["failures"].to_string().contains(&format!("\"key\":\"{key}\"")), "{ended}");
    }
    assert!(report["failures"][0]["error"].to_string().contains("would both become"), "{ended}");
    assert_eq!(pair.to().keys(), ["b/1", "b/3"]);
    let verified = run(&pair, "verify", &args).await.expect_code(3);
    assert_eq!(verified.lines()[0]["difference"], "contested", "{verified}");

    // The selection settles it: what is left out claims no name.
    let args = ["--rewrite-prefix", "a/=b/", "--exclude", "b/2"];
    run(&pair, "sync", &args).await.expect_code(0);
    assert_eq!(pair.to().bytes("b/2"), pair.from().bytes("a/2"));
}

#[tokio::test]
async fn rules_that_contradict_each_other_are_a_mistake() {
    let pair = Pair::start().await;
    let args = ["--rewrite-prefix", "a=b", "--rewrite-prefix", "a=c"];
    run(&pair, "sync", &args).await.expect_refusal(&["--rewrite-prefix", "\"a\""]);
    run(&pair, "sync", &["--rewrite-prefix", "a"]).await.expect_refusal(&["OLD=NEW"]);
}
