//! Buckets listed over many ranges at once, and stores that cannot be listed so.

use axum::http::Uri;
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::scripted::{Page, list_page};
use ferry_tests::{Pair, Scripted, Side};

use crate::objects::{sync, whole};

/// Keys without a slash, of a bucket large enough to be cut.
const FLAT: usize = 20_000;

fn flat(number: usize) -> String {
    format!("object-{number:07}")
}

/// The same on both sides, but for every thousandth, which the destination has not.
fn fill(pair: &Pair, count: usize) {
    for number in 0..count {
        pair.from().put_object(&flat(number), "x");
        if number % 1_000 != 0 {
            pair.to().put_object(&flat(number), "x");
        }
    }
}

/// How many listings of the source began at a key of their own.
fn ranges_begun(pair: &Pair) -> usize {
    let requests = pair.source.recent_requests();
    requests.iter().filter(|request| request.path_and_query.contains("start-after=")).count()
}

fn value<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[tokio::test]
async fn a_flat_bucket_is_listed_over_many_ranges_and_each_key_is_found_once() {
    let pair = Pair::start().await;
    fill(&pair, FLAT);
    pair.to().put_object("object-0013999-extra", "x");
    let ended = sync(&pair, &["--listers", "8", "--delete"]).await.expect_code(0);
    let report = ended.report();
    assert_eq!(
        (&report["found"], &report["copied"], &report["deleted"]),
        (&FLAT.into(), &20.into(), &1.into()),
        "{report}"
    );
    assert!(report["listing"]["ranges"].as_u64().is_some_and(|ranges| ranges > 3), "{report}");
    assert!(ranges_begun(&pair) > 3);
    assert_eq!(pair.from().keys(), pair.to().keys());
}

#[tokio::test]
async fn a_page_that_fails_in_a_cut_range_ends_the_run_and_deletes_nothing() {
    let pair = Pair::start().await;
    fill(&pair, FLAT);
    pair.to().put_object("object-0000001-extra", "x");
    // By then the keyspace has been cut: the first ranges end well, and a later one does not.
    pair.fail_from(Side::Source, Operation::ListObjectsV2, 14, 60, &Action::ACCESS_DENIED);
    let ended = sync(&pair, &["--listers", "8", "--delete", "--max-delete", "100%"]).await.expect_code(1);
    assert!(ranges_begun(&pair) > 1, "it was cut");
    assert!(
        ended.report()["scan_error"].as_str().is_some_and(|error| error.contains("harbour://docks")),
        "{ended}"
    );
    assert!(pair.to().get("object-0000001-extra").is_some(), "nothing is deleted: {ended}");
    assert_eq!(pair.destination.log().count(Operation::DeleteObject), 0);
}

/// A sync to a destination that has all these keys, from a source that answers listings so.
async fn from_scripted(
    count: usize,
    args: &[&str],
    answer: impl Fn(&Uri) -> Page + Send + Sync + 'static,
) -> (Pair, ferry_tests::Ended) {
    let pair = Pair::start().await;
    for number in 0..count {
        pair.to().put_object(&flat(number), "a");
    }
    let scripted = Scripted::start(move |_, uri| answer(uri)).await;
    let endpoint = scripted.endpoint();
    let ended =
        sync(&pair, &[&["--source-endpoint", &endpoint, "--delete", "--max-delete", "100%"], args].concat())
            .await;
    assert!(scripted.requests() < 200, "it goes on for ever");
    (pair, ended)
}

/// A thousand keys from this one on, and where the next page begins.
fn page_from(start: usize, count: usize) -> Page {
    let end = count.min(start + 1_000);
    let keys: Vec<String> = (start..end).map(flat).collect();
    let next = (end < count).then(|| end.to_string());
    list_page(&keys.iter().map(String::as_str).collect::<Vec<_>>(), next.as_deref())
}

#[tokio::test]
async fn a_store_that_ignores_start_after_is_listed_in_one_chain_and_each_key_is_found_once() {
    let count = 9_000;
    let answer = move |uri: &Uri| {
        let start = value(uri, "continuation-token").map_or(0, |token| token.parse().expect("a token"));
        page_from(start, count)
    };
    let (pair, ended) = from_scripted(count, &["--listers", "8"], answer).await;
    let report = ended.expect_code(0).report();
    assert_eq!((&report["found"], &report["up_to_date"]), (&count.into(), &count.into()), "{report}");
    assert!(
        report["listing"]["source"].as_str().is_some_and(|remark| remark.contains("ignores start-after")),
        "{report}"
    );
    assert_eq!(pair.to().len(), count);
}

#[tokio::test]
async fn a_store_that_knows_only_the_older_listing_is_copied_like_any_other() {
    for client in ["lean", "sdk"] {
        let pair = Pair::start().await;
        fill(&pair, 2_300);
        pair.to().put_object("object-0000001-extra", "x");
        for server in [&pair.source, &pair.destination] {
            server.faults().add(Rule::on(Operation::ListObjectsV2, Action::NOT_IMPLEMENTED));
        }
        let program = whole(&pair, "sync").args(["--json", "--delete"]).env("FERRY_CLIENT", client);
        let report = program.run().await.expect_code(0).report();
        assert_eq!(
            (&report["found"], &report["copied"], &report["deleted"]),
            (&2_300.into(), &3.into(), &1.into()),
            "{client}: {report}"
        );
        assert_eq!(pair.from().keys(), pair.to().keys());
        assert_eq!(pair.source.log().count(Operation::ListObjectsV2), 1, "{client}: it is found out once");
    }
}

#[tokio::test]
async fn markers_that_take_turns_end_the_run_as_an_error() {
    let answer = |uri: &Uri| {
        if value(uri, "list-type").is_some() {
            let body = "<Error><Code>NotImplemented</Code><Message>no</Message></Error>".to_owned();
            return Page { status: 501, content_type: "application/xml", body };
        }
        let next = if value(uri, "marker") == Some("odd") { "even" } else { "odd" };
        let mut page = list_page(&["object-0000000"], Some(next));
        page.body = page.body.replace("NextContinuationToken", "NextMarker");
        page
    };
    let (pair, ended) = from_scripted(2, &[], answer).await;
    let error = ended.expect_code(1).report()["scan_error"].as_str().expect("a reason").to_owned();
    assert!(error.contains("goes in circles"), "{error}");
    assert_eq!(pair.to().len(), 2, "nothing is deleted");
}

#[tokio::test]
async fn more_names_out_of_order_than_memory_is_meant_for_are_compared_all_the_same() {
    // 40 MiB of names, descending; the bound is 32.
    let (count, page) = (40_000_usize, 1_000);
    let name = |number: usize| format!("{number:06}-{}", "x".repeat(1_000));
    let scripted = Scripted::start(move |_, uri| {
        let start: usize =
            value(uri, "continuation-token").map_or(0, |token| token.parse().expect("a token"));
        let keys: Vec<String> = (start..start + page).map(|number| name(count - number)).collect();
        let next = (start + page < count).then(|| (start + page).to_string());
        list_page(&keys.iter().map(String::as_str).collect::<Vec<_>>(), next.as_deref())
    })
    .await;
    let pair = Pair::start().await;
    for number in [1, 17, 20_000, 40_000] {
        pair.to().put_object(&name(number), "a");
    }
    pair.to().put_object("000017-extra", "a");
    let endpoint = scripted.endpoint();
    let args = ["--json", "--source-endpoint", &endpoint, "--exit-code"];
    let report = whole(&pair, "plan").args(args).run().await.expect_code(3).report();
    assert_eq!(
        (&report["found"], &report["missing"], &report["extra"]),
        (&count.into(), &(count - 4).into(), &1.into()),
        "{report}"
    );
}
