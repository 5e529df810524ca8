//! Keys that come from elsewhere than a listing of the whole source.

mod inventory;

use std::fs::File;

use ferry_testkit::fixtures::awkward_keys;
use ferry_testkit::operation::Operation;
use ferry_tests::{Ended, Pair};
use serde_json::json;

use crate::objects::{between, bytes, fill_awkward, fill_small, small_key, whole};

async fn run(pair: &Pair, verb: &str, args: &[&str]) -> Ended {
    whole(pair, verb).args(["--json"]).args(args.iter().copied()).run().await
}

fn write(pair: &Pair, name: &str, text: impl AsRef<[u8]>) {
    std::fs::write(pair.directory().join(name), text).expect("written");
}

#[tokio::test]
async fn a_key_list_is_copied_without_listing_anything_more() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 50);
    pair.to().put_object("extra", "stays");
    let keys: Vec<String> = [7, 3, 41, 3].map(small_key).into();
    write(&pair, "keys.txt", keys.join("\n"));
    let report = run(&pair, "sync", &["--keys-from", "keys.txt"]).await.expect_code(0).report();
    assert_eq!((&report["found"], &report["extra"]), (&4.into(), &0.into()), "{report}");
    assert_eq!(pair.to().keys(), ["extra", "small/003", "small/007", "small/041"]);
    // Before the run each side is asked for one key, to see that it can be.
    for server in [&pair.source, &pair.destination] {
        assert_eq!(server.log().count(Operation::ListObjectsV2), 1);
    }
    let again = run(&pair, "sync", &["--keys-from", "keys.txt"]).await.expect_code(0).report();
    assert_eq!((&again["copied"], &again["up_to_date"]), (&0.into(), &4.into()), "{again}");
}

#[tokio::test]
async fn awkward_keys_come_through_in_every_way_of_writing_them() {
    for format in ["nul", "json"] {
        let pair = Pair::start().await;
        let count = fill_awkward(&pair.from(), "", 0);
        let text: Vec<u8> = match format {
            "nul" => awkward_keys().iter().flat_map(|key| key.bytes().chain([0])).collect(),
            _ => awkward_keys()
                .iter()
                .map(|key| format!("{}\n", json!({"key": key, "size": 1})))
                .collect::<Vec<_>>()
                .concat()
                .into(),
        };
        write(&pair, "keys", text);
        let list = File::open(pair.directory().join("keys")).expect("file");
        let ended = whole(&pair, "sync").args(["--json", "--keys-from", "-"]).stdin(list).run().await;
        assert_eq!(ended.expect_code(0).report()["copied"], count, "{format}");
        pair.assert_same();
    }
}

#[tokio::test]
async fn what_a_list_names_wrongly_is_said_key_by_key() {
    let pair = Pair::start().await;
    pair.from().put_object("photos/here", "x");
    pair.from().put_object("photos/left out.tmp", "x");
    write(&pair, "keys", "photos/here\nphotos/gone\nphotos/left out.tmp\nother/stray\n");
    let program = between(&pair, "sync", "photos/", "");
    let ended =
        program.args(["--json", "--keys-from", "keys", "--exclude", "*.tmp"]).run().await.expect_code(1);
    let report = ended.report();
    assert_eq!(pair.to().keys(), ["here"]);
    assert_eq!(
        (&report["copied"], &report["excluded"], &report["failed"]),
        (&1.into(), &1.into(), &1.into())
    );
    assert_eq!(report["skipped_by_reason"]["gone_at_source"], 1, "{report}");
    assert_eq!(report["failures"][0]["key"], "other/stray", "{report}");
}

#[tokio::test]
async fn a_list_never_deletes() {
    let pair = Pair::start().await;
    pair.from().put_object("a", "x");
    pair.to().put_object("gone", "x");
    write(&pair, "keys", "a\ngone\n");
    let refused = run(&pair, "sync", &["--keys-from", "keys", "--delete"]).await;
    refused.expect_refusal(&["--delete", "listing"]);
    let report = run(&pair, "sync", &["--keys-from", "keys"]).await.expect_code(0).report();
    assert_eq!(report["deleted"], 0, "{report}");
    assert_eq!(pair.to().keys(), ["a", "gone"]);
}

#[tokio::test]
async fn a_key_list_is_planned_and_verified_by_asking() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 6);
    for number in [0, 1] {
        pair.to().put_object(&small_key(number), pair.from().bytes(&small_key(number)).expect("object"));
    }
    pair.to().put_object(&small_key(2), "another");
    pair.to().put_object("copy only", "x");
    let keys: Vec<String> = (0..4).map(small_key).chain(["copy only".into(), "nowhere".into()]).collect();
    write(&pair, "keys", keys.join("\n"));
    let args = ["--keys-from", "keys"];
    let plan = run(&pair, "plan", &args).await.expect_code(0).report();
    for (name, count) in [("found", 4), ("missing", 1), ("different", 1), ("up_to_date", 2), ("extra", 1)] {
        assert_eq!(plan[name], count, "{name}: {plan}");
    }
    let verified = run(&pair, "verify", &args).await.expect_code(3);
    assert_eq!(verified.lines().len(), 4, "{verified}");
    run(&pair, "sync", &args).await.expect_code(0);
    run(&pair, "verify", &[&args[..], &["--ignore-extra"]].concat()).await.expect_code(0);
}

#[tokio::test]
async fn a_broken_list_is_an_error_that_names_its_record() {
    let pair = Pair::start().await;
    pair.from().put_object("a", "x");
    write(&pair, "keys", "{\"key\":\"a\"}\n{\"kee\":\"b\"}\n");
    let report = run(&pair, "sync", &["--keys-from", "keys"]).await.expect_code(1).report();
    assert!(report["scan_error"].to_string().contains("record 2"), "{report}");
    run(&pair, "plan", &["--keys-from", "none"]).await.expect_code(1);
    let both = ["--keys-from", "keys", "--inventory", "m"];
    run(&pair, "sync", &both).await.expect_refusal(&["cannot be used with"]);
}

#[tokio::test]
async fn a_prefix_list_is_scanned_and_deletes_only_under_its_prefixes() {
    let pair = Pair::start().await;
    for prefix in ["a/", "b/", "b/x/", "c/", "d", ""] {
        for number in 0..3 {
            pair.from().put_object(&format!("{prefix}{number}"), bytes(30, 1));
        }
    }
    for key in ["a/gone", "b/gone", "c/gone", "gone"] {
        pair.to().put_object(key, "x");
    }
    // Blank lines, CR LF, and prefixes within others.
    write(&pair, "prefixes", "b/\r\n\r\nb/x/\r\na/\r\n");
    let args = ["--prefixes-from", "prefixes"];
    let plan = run(&pair, "plan", &args).await.expect_code(0).report();
    assert_eq!(
        (&plan["missing"], &plan["extra"], &plan["excluded"]),
        (&9.into(), &2.into(), &0.into()),
        "{plan}"
    );
    let args = [&args[..], &["--delete", "--max-delete", "100%"]].concat();
    let report = run(&pair, "sync", &args).await.expect_code(0).report();
    assert_eq!((&report["copied"], &report["deleted"]), (&9.into(), &2.into()), "{report}");
    let keys = pair.to().keys().join(" ");
    assert_eq!(keys, "a/0 a/1 a/2 b/0 b/1 b/2 b/x/0 b/x/1 b/x/2 c/gone gone");
    run(&pair, "verify", &args[..2]).await.expect_code(0);
}

#[tokio::test]
async fn prefixes_go_with_renaming() {
    let pair = Pair::start().await;
    for key in ["a/1", "a/2", "b/1", "c/1"] {
        pair.from().put_object(key, bytes(30, 1));
    }
    write(&pair, "prefixes", "{\"prefix\":\"a/\"}\n{\"prefix\":\"c/\"}\n");
    let args = ["--prefixes-from", "prefixes", "--rewrite-prefix", "a/=z/", "--delete"];
    run(&pair, "sync", &args).await.expect_code(0);
    assert_eq!(pair.to().keys(), ["c/1", "z/1", "z/2"]);
    assert_eq!(run(&pair, "sync", &args).await.expect_code(0).report()["up_to_date"], 3);
}

#[tokio::test]
async fn a_prefix_elsewhere_is_a_mistake() {
    let pair = Pair::start().await;
    write(&pair, "prefixes", "photos/2024/\nvideos/\n");
    let program = between(&pair, "sync", "photos/", "");
    program.args(["--prefixes-from", "prefixes"]).run().await.expect_refusal(&["\"videos/\"", "photos/"]);
    write(&pair, "none", "\n");
    run(&pair, "sync", &["--prefixes-from", "none"]).await.expect_refusal(&["no prefix"]);
}
