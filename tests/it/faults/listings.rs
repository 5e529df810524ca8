//! Listings that end too early, turn in circles, or are none.

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::scripted::{Page, list_page};
use ferry_tests::{Ended, Pair, Scripted, Side};

use crate::objects::sync;

/// So many objects at the source, all but every hundredth at the destination too.
fn fill(pair: &Pair, count: usize) {
    for number in 0..count {
        let key = format!("{number:05}");
        pair.from().put_object(&key, "x");
        if number % 100 != 0 {
            pair.to().put_object(&key, "x");
        }
    }
}

#[tokio::test]
async fn a_page_that_fails_for_now_loses_no_key() {
    let pair = Pair::start().await;
    fill(&pair, 2_300);
    for action in [Action::SLOW_DOWN, Action::INTERNAL_ERROR, Action::CloseConnection] {
        pair.source.faults().add(Rule::on(Operation::ListObjectsV2, action.clone()).nth(3));
    }
    pair.source
        .faults()
        .add(Rule::on(Operation::ListObjectsV2, Action::CutBody { after_bytes: 3_000 }).nth(5));
    let report = sync(&pair, &[]).await.expect_code(0).report();
    assert_eq!((&report["found"], &report["copied"]), (&2_300.into(), &23.into()), "{report}");
    assert_eq!(pair.from().keys(), pair.to().keys());
}

#[tokio::test]
async fn a_page_that_fails_for_good_is_never_success() {
    for action in [Action::INTERNAL_ERROR, Action::CutBody { after_bytes: 5_000 }] {
        let pair = Pair::start().await;
        fill(&pair, 1_200);
        pair.to().put_object("00000-extra", "x");
        pair.fail_from(Side::Source, Operation::ListObjectsV2, 3, 40, &action);
        let ended = sync(&pair, &["--delete", "--max-delete", "100%"]).await.expect_code(1);
        let report = ended.report();
        assert!(
            report["scan_error"].as_str().is_some_and(|error| error.contains("harbour://docks")),
            "{ended}"
        );
        assert!(pair.to().get("00000-extra").is_some(), "nothing is deleted: {ended}");
        pair.source.faults().clear();
        sync(&pair, &["--delete"]).await.expect_code(0);
        assert_eq!(pair.from().keys(), pair.to().keys());
    }
}

/// A run against a source that answers listings with what is written down.
async fn from_scripted(answer: impl Fn(usize) -> Page + Send + Sync + 'static) -> (Pair, Ended) {
    let pair = Pair::start().await;
    pair.to().put_object("extra", "x");
    let scripted = Scripted::start(move |number, _uri| answer(number)).await;
    let endpoint = scripted.endpoint();
    let args = ["--source-endpoint", &endpoint, "--delete", "--max-delete", "100%"];
    let ended = sync(&pair, &args).await;
    assert!(scripted.requests() < 100, "it goes on for ever");
    (pair, ended)
}

fn assert_broken(pair: &Pair, ended: Ended, words: &str) {
    let ended = ended.expect_code(1);
    let error = ended.report()["scan_error"].as_str().expect("a reason").to_owned();
    assert!(error.contains(words), "{error}");
    assert!(pair.to().get("extra").is_some(), "nothing is deleted");
}

#[tokio::test]
async fn a_cursor_that_comes_back_ends_the_run_as_an_error() {
    // The first answer is the first look's.
    let (pair, ended) = from_scripted(|_| list_page(&[], Some("the same"))).await;
    assert_broken(&pair, ended, "does not advance");
}

#[tokio::test]
async fn cursors_that_take_turns_end_the_run_as_an_error() {
    let (pair, ended) = from_scripted(|number| {
        let next = if number % 2 == 0 { "even" } else { "odd" };
        list_page(&["a"], Some(next))
    })
    .await;
    assert_broken(&pair, ended, "goes in circles");
}

#[tokio::test]
async fn pages_out_of_order_that_come_again_end_the_run_as_an_error() {
    let (pair, ended) = from_scripted(|number| {
        let next = format!("token-{number}");
        list_page(&["b", "a"], Some(&next))
    })
    .await;
    assert_broken(&pair, ended, "goes in circles");
}

#[tokio::test]
async fn keys_out_of_order_are_sorted_and_prove_no_delete() {
    let pair = Pair::start().await;
    for key in ["a", "b", "c"] {
        pair.to().put_object(key, "a");
    }
    let scripted = Scripted::start(|_, _uri| list_page(&["b", "a"], None)).await;
    let endpoint = scripted.endpoint();
    let args = ["--source-endpoint", &endpoint, "--delete", "--max-delete", "100%"];
    let ended = sync(&pair, &args).await.expect_code(4);
    let report = ended.report();
    assert_eq!(
        (&report["found"], &report["up_to_date"], &report["extra"]),
        (&2.into(), &2.into(), &1.into())
    );
    assert!(report["listing"]["source"].as_str().is_some_and(|remark| remark.contains("out of order")));
    assert_eq!(report["deletes"], "disordered");
    assert!(pair.to().get("c").is_some(), "nothing is deleted");
}

#[tokio::test]
async fn a_page_that_claims_more_and_does_not_say_where_is_no_end() {
    let (pair, ended) = from_scripted(|_| {
        let mut page = list_page(&[], Some("token"));
        page.body = page.body.replace("<NextContinuationToken>token</NextContinuationToken>", "");
        page
    })
    .await;
    assert_ne!(ended.code, 0, "{ended}");
    assert!(pair.to().get("extra").is_some(), "nothing is deleted");
}
