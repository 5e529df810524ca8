//! Which objects a command is about: what is left out is neither copied nor deleted nor called a difference.

use ferry_testkit::operation::Operation;
use ferry_tests::{Ended, Pair, Side};
use ferry_transfer::StorageClass;

use crate::objects::{between, bytes, make_old, set_time, sync, whole};

/// Keys of both sides: selected, left out, and left over.
async fn harbour() -> Pair {
    let pair = Pair::start().await;
    for (key, length) in
        [("a/1.jpg", 10), ("a/2.tmp", 20), ("a/b/3.jpg", 3_000), ("keep.tmp", 5), ("é.png", 7)]
    {
        pair.from().put_object(key, bytes(length, 1));
    }
    for key in ["a/gone.jpg", "a/gone.tmp"] {
        pair.to().put_object(key, "left over");
    }
    pair
}

async fn run(pair: &Pair, verb: &str, args: &[&str]) -> Ended {
    whole(pair, verb).arg_json(args).run().await
}

/// Adds `--json` before other arguments.
trait ArgJson {
    fn arg_json(self, args: &[&str]) -> Self;
}

impl ArgJson for ferry_tests::Program {
    fn arg_json(self, args: &[&str]) -> Self {
        self.args(["--json"]).args(args.iter().copied())
    }
}

#[tokio::test]
async fn only_what_is_selected_is_copied_in_the_order_of_the_rules() {
    for (args, copied) in [
        (&["--include", "*.jpg"][..], "a/1.jpg a/b/3.jpg"),
        (&["--exclude", "*.tmp"], "a/1.jpg a/b/3.jpg é.png"),
        (&["--include", "keep.tmp", "--exclude", "*.tmp"], "a/1.jpg a/b/3.jpg keep.tmp é.png"),
        (&["--exclude", "*.tmp", "--include", "keep.tmp"], ""),
        (&["--include-regex", "^a/.*[0-9]", "--exclude", "a/b/"], "a/1.jpg a/2.tmp a/b/3.jpg keep.tmp é.png"),
        (&["--exclude", "a/b/", "--include-regex", "^a/.*[0-9]"], "a/1.jpg a/2.tmp"),
        (&["--include", "?.{png,tmp}"], "a/2.tmp é.png"),
        (&["--min-size", "7", "--max-size", "20"], "a/1.jpg a/2.tmp é.png"),
    ] {
        let pair = harbour().await;
        pair.to().clear();
        let report = run(&pair, "sync", args).await.expect_code(0).report();
        assert_eq!(pair.to().keys().join(" "), copied, "{args:?}");
        let selected = copied.split_whitespace().count() as u64;
        assert_eq!(
            (&report["found"], &report["excluded"]),
            (&selected.into(), &(5 - selected).into()),
            "{report}"
        );
        assert_eq!(pair.source.log().count(Operation::GetObject), selected, "what is left out is not read");
    }
}

#[tokio::test]
async fn patterns_are_over_what_follows_the_prefix() {
    let pair = harbour().await;
    let ended =
        between(&pair, "sync", "a/", "new/").args(["--include", "b/**", "--include", "1*"]).run().await;
    ended.expect_code(0);
    let keys: Vec<String> = pair.to().keys().into_iter().filter(|key| key.starts_with("new/")).collect();
    assert_eq!(keys, ["new/1.jpg", "new/b/3.jpg"]);
}

#[tokio::test]
async fn age_and_storage_class_select() {
    let pair = harbour().await;
    make_old(&pair.from());
    let an_hour_ago = pair.from().get("keep.tmp").expect("object").last_modified;
    set_time(&pair.from(), "a/1.jpg", an_hour_ago - time::Duration::days(40));
    set_time(&pair.from(), "a/2.tmp", an_hour_ago + time::Duration::HOUR);
    pair.from().set_storage_class("é.png", StorageClass::parse("STANDARD_IA"));
    for (args, selected) in [
        (&["--older-than", "30d"][..], 1),
        (&["--newer-than", "30m"], 1),
        (&["--newer-than", "30d"], 4),
        (&["--older-than", "30m", "--newer-than", "30d"], 3),
        (&["--older-than", "2001-01-01"], 0),
        (&["--only-class", "standard_ia"], 1),
        (&["--not-class", "STANDARD"], 1),
        (&["--only-class", "STANDARD", "--only-class", "GLACIER"], 4),
    ] {
        let plan = run(&pair, "plan", args).await.expect_code(0).report();
        assert_eq!(
            (&plan["missing"], &plan["excluded"]),
            (&selected.into(), &(5 - selected).into()),
            "{args:?}"
        );
    }
}

#[tokio::test]
async fn deletes_pass_over_what_the_selection_leaves_out() {
    let pair = harbour().await;
    // Left out at the source, there too, and different: not touched either.
    pair.to().put_object("a/2.tmp", "mine");
    let args = ["--exclude", "*.tmp", "--delete", "--max-delete", "100%"];
    let plan = run(&pair, "plan", &args[..2]).await.expect_code(0).report();
    assert_eq!(
        (&plan["extra"], &plan["excluded"], &plan["missing"]),
        (&1.into(), &2.into(), &3.into()),
        "{plan}"
    );
    let report = run(&pair, "sync", &args).await.expect_code(0).report();
    assert_eq!((&report["deleted"], &report["extra"], &report["copied"]), (&1.into(), &0.into(), &3.into()));
    assert_eq!(pair.to().keys().join(" "), "a/1.jpg a/2.tmp a/b/3.jpg a/gone.tmp é.png");
    assert_eq!(pair.to().bytes("a/2.tmp").expect("object"), "mine");

    let verified = run(&pair, "verify", &args[..2]).await.expect_code(0).report();
    assert_eq!((&verified["summary"]["found"], &verified["summary"]["excluded"]), (&3.into(), &2.into()));
    let ended = run(&pair, "verify", &[]).await.expect_code(3);
    let differences: Vec<String> = ended.lines().iter().map(|line| line["difference"].to_string()).collect();
    assert_eq!(differences.concat(), "\"different\"\"extra\"\"missing\"null", "{ended}");
}

#[tokio::test]
async fn a_size_limit_protects_larger_copies_from_deletion() {
    let pair = Pair::start().await;
    pair.to().put_object("large", bytes(500, 1));
    pair.to().put_object("small", "x");
    let report = run(&pair, "sync", &["--max-size", "100", "--delete", "--max-delete", "100%"]).await;
    assert_eq!(report.expect_code(0).report()["deleted"], 1);
    assert_eq!(pair.to().keys(), ["large"]);
}

#[tokio::test]
async fn the_limit_of_deletes_counts_only_what_is_selected() {
    let pair = harbour().await;
    let args = ["--include", "*.jpg", "--delete", "--max-delete", "50%"];
    let report = run(&pair, "sync", &args).await.expect_code(4).report();
    assert_eq!(report["deletes"]["refused"]["held"], 1, "{report}");
    assert!(pair.to().get("a/gone.jpg").is_some());
}

#[tokio::test]
async fn a_pattern_that_is_none_is_a_mistake() {
    let pair = harbour().await;
    for (args, word) in [(["--include", "[a"], "no ]"), (["--newer-than", "soon"], "age")] {
        sync(&pair, &args).await.expect_refusal(&[args[0], word]);
    }
    assert_eq!(pair.server(Side::Source).log().count(Operation::ListObjectsV2), 0);
}
