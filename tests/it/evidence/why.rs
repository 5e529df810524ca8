//! `ferry why` and `ferry runs`: what is known of a key.

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Ended, Pair};
use serde_json::Value;

use crate::objects::{between, ferry, fill_small, small_key, sync, whole};

async fn why(pair: &Pair, args: &[&str]) -> Value {
    let ended: Ended = ferry(pair, ["why", "--json"]).args(args.iter().copied()).run().await;
    ended.expect_code(0).report()
}

fn answer(why: &Value) -> &str {
    why["answer"].as_str().expect("an answer")
}

#[tokio::test]
async fn a_key_is_explained_by_whatever_name_it_has() {
    let pair = Pair::start().await;
    pair.from().put_object("from/a b", "one");
    between(&pair, "sync", "from/", "to/").run().await.expect_code(0);
    for name in ["a b", "from/a b", "harbour://docks/from/a b", "island://beach/to/a b"] {
        let why = why(&pair, &[name]).await;
        assert_eq!(
            (&why["source"]["key"], &why["destination"]["key"]),
            (&"from/a b".into(), &"to/a b".into())
        );
        assert!(answer(&why).starts_with("Copied at 20"), "{why}");
        assert!(answer(&why).ends_with("both sides are equal now by ETag."), "{why}");
        assert_eq!(why["runs"][0]["receipts"][0]["found"], "missing", "{why}");
    }
    pair.from().put_object("from/a b", "another");
    let changed = why(&pair, &["a b"]).await;
    assert_eq!(changed["sync_would"], "copy it: size", "{changed}");
    ferry(&pair, ["why", "harbour://elsewhere/a"])
        .run()
        .await
        .expect_refusal(&["ferry why KEY SOURCE DESTINATION"]);
}

#[tokio::test]
async fn a_failure_is_told_with_its_code_and_request_and_a_side_that_will_not_answer_with_why() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 2);
    pair.source
        .faults()
        .add(Rule::on(Operation::GetObject, Action::ACCESS_DENIED).key_contains(small_key(1)));
    sync(&pair, &[]).await.expect_code(1);
    let failed = why(&pair, &[&small_key(1)]).await;
    let receipt = &failed["runs"][0]["receipts"][0];
    assert_eq!((&receipt["code"], &receipt["status"]), (&"AccessDenied".into(), &403.into()), "{failed}");
    assert!(
        answer(&failed).starts_with("Failed at") && answer(&failed).contains("only the source has it"),
        "{failed}"
    );

    pair.destination.faults().add(Rule::on(Operation::HeadObject, Action::ACCESS_DENIED));
    let mute = why(&pair, &[&small_key(0)]).await;
    assert_eq!(mute["destination"]["state"], "cannot_tell", "{mute}");
    assert!(answer(&mute).contains("island://beach cannot be asked now"), "{mute}");
}

#[tokio::test]
async fn deletes_are_told_from_the_journal_and_without_any_run_both_sides_are() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 5);
    fill_small(&pair.to(), 6);
    sync(&pair, &["--delete"]).await.expect_code(0);
    let deleted = why(&pair, &[&small_key(5)]).await;
    let steps: Vec<&Value> =
        deleted["runs"][0]["deletes"].as_array().expect("steps").iter().map(|line| &line["step"]).collect();
    assert_eq!(steps, ["intended", "deleted"], "{deleted}");
    assert!(
        answer(&deleted).starts_with("Deleted at") && answer(&deleted).contains("neither side has it"),
        "{deleted}"
    );

    std::fs::remove_dir_all(pair.directory().join(".local")).expect("forgotten");
    ferry(&pair, ["why", "k"]).run().await.expect_refusal(&["SOURCE DESTINATION"]);
    let unknown = why(&pair, &[&small_key(0), "harbour://docks/", "island://beach/"]).await;
    assert!(answer(&unknown).starts_with("No run that is remembered"), "{unknown}");
}

#[tokio::test]
async fn past_runs_are_listed_and_shown() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 2);
    let run = sync(&pair, &[]).await.expect_code(0).report()["run"].as_str().expect("a run").to_owned();
    let listed = ferry(&pair, ["runs"]).run().await.expect_code(0);
    assert!(listed.stdout.starts_with(&run) && listed.stdout.contains("copied 2"), "{listed}");
    let shown = ferry(&pair, ["runs", &run, "--json"]).run().await.expect_code(0).report();
    assert_eq!((&shown["outcome"], &shown["report"]["copied"]), (&"done".into(), &2.into()), "{shown}");
    let text = whole(&pair, "sync").run().await.expect_code(0);
    assert_eq!(text.code, 0);
}
