//! Running again: what it costs, what it sees, and what it leaves alone.

use std::collections::BTreeMap;

use ferry_testkit::bucket::{BucketSettings, EtagRule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, StoreSetup};

use crate::objects::{between, every_attribute, fill_small, make_old, set_time, small_body, small_key, sync};

/// What a server was asked for, listings left out.
fn besides_lists(requests: BTreeMap<&'static str, u64>) -> Vec<(&'static str, u64)> {
    requests.into_iter().filter(|(operation, _)| *operation != "ListObjectsV2").collect()
}

#[tokio::test]
async fn a_small_object_costs_one_get_and_one_put_and_a_second_run_none() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 60);
    let ended = sync(&pair, &[]).await.expect_code(0);
    assert_eq!(besides_lists(pair.source.requests()), [("GetObject", 60)], "{ended}");
    assert_eq!(besides_lists(pair.destination.requests()), [("PutObject", 60)], "{ended}");
    let report = ended.report();
    assert_eq!(
        report["requests"]["source"]["requests"]["get"], 60,
        "the report counts what the server counts"
    );
    assert_eq!(report["requests"]["destination"]["requests"]["put"], 60);
    assert_eq!(
        report["requests"]["source"]["requests"]["list"],
        pair.source.log().count(Operation::ListObjectsV2)
    );
    pair.assert_same();

    pair.reset_logs();
    let again = sync(&pair, &[]).await.expect_code(0).report();
    assert_eq!((&again["copied"], &again["up_to_date"]), (&0.into(), &60.into()), "{again}");
    assert_eq!(besides_lists(pair.source.requests()), []);
    assert_eq!(besides_lists(pair.destination.requests()), []);
}

#[tokio::test]
async fn a_tagged_object_costs_one_request_more() {
    let pair = Pair::start().await;
    pair.from().put_object_with("tagged", "a", every_attribute());
    sync(&pair, &[]).await.expect_code(0);
    assert_eq!(besides_lists(pair.source.requests()), [("GetObject", 1), ("GetObjectTagging", 1)]);
    assert_eq!(besides_lists(pair.destination.requests()), [("PutObject", 1)]);
}

#[tokio::test]
async fn nothing_is_listed_outside_of_the_prefixes() {
    let pair = Pair::start().await;
    pair.from().put_object("a/1", "1");
    pair.from().put_object("b/1", "1");
    pair.to().put_object("b/x/1", "extra");
    let ended = between(&pair, "sync", "a/", "b/x/").args(["--delete", "--max-delete", "100%"]).run().await;
    ended.expect_code(0);
    for (server, prefix) in [(&pair.source, "prefix=a%2F"), (&pair.destination, "prefix=b%2Fx%2F")] {
        let requests = server.recent_requests();
        let mut lists =
            requests.iter().filter(|request| request.target.operation == Operation::ListObjectsV2).peekable();
        assert!(lists.peek().is_some());
        for list in lists {
            assert!(list.path_and_query.contains(prefix), "a policy for the prefix must be enough: {list:?}");
        }
    }
}

#[tokio::test]
async fn more_keys_than_a_page_holds_are_all_seen() {
    let pair = Pair::start().await;
    for number in 0..2_500 {
        let (key, body) = (format!("{number:05}"), number.to_string());
        pair.from().put_object(&key, body.clone());
        // Some are missing, so that pages of the two sides do not fall together.
        if number % 50 != 0 {
            pair.to().put_object(&key, body);
        }
    }
    let report = sync(&pair, &[]).await.expect_code(0).report();
    assert_eq!(report["found"], 2_500, "{report}");
    assert_eq!((&report["copied"], &report["up_to_date"]), (&50.into(), &2_450.into()), "{report}");
    assert_eq!(pair.from().keys(), pair.to().keys());
    let lists = pair.source.log().count(Operation::ListObjectsV2);
    assert!(lists <= 4, "three pages and a first look, not {lists}");
}

#[tokio::test]
async fn what_changed_was_added_or_removed_is_seen_and_nothing_else_moves() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 10);
    sync(&pair, &[]).await.expect_code(0);
    let changed = pair.from().put_object(&small_key(3), small_body(3, 1));
    set_time(&pair.from(), &small_key(3), changed.last_modified + time::Duration::HOUR);
    pair.from().put_object(&small_key(4), "another size");
    pair.from().put_object("new", "new");
    pair.from().remove(&small_key(5));
    pair.reset_logs();
    let report = sync(&pair, &[]).await.expect_code(0).report();
    assert_eq!((&report["copied"], &report["up_to_date"]), (&3.into(), &7.into()), "{report}");
    assert_eq!((&report["extra"], &report["deleted"]), (&1.into(), &0.into()), "{report}");
    assert_eq!(pair.source.log().count(Operation::GetObject), 3);
    assert!(pair.to().get(&small_key(5)).is_some(), "nothing is deleted that nobody asked to delete");
    pair.to().remove(&small_key(5));
    pair.assert_same();
}

#[tokio::test]
async fn a_copy_that_was_tampered_with_is_replaced() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 3);
    sync(&pair, &[]).await.expect_code(0);
    pair.to().put_object(&small_key(1), small_body(1, 9));
    assert_eq!(sync(&pair, &[]).await.expect_code(0).report()["copied"], 1);
    pair.assert_same();
}

#[tokio::test]
async fn each_way_to_compare_sees_what_it_says() {
    // Per mode, what it copies of: nothing, a change of the same size, the same change behind an older date, a change of size.
    let cases = [
        ("auto", [0, 1, 1, 1]),
        ("size", [0, 0, 0, 1]),
        ("etag", [0, 1, 1, 1]),
        ("mtime", [0, 1, 0, 1]),
        ("always", [1, 1, 1, 1]),
    ];
    let pair = Pair::start().await;
    let (from, to) = (pair.from(), pair.to());
    let now = from.put_object("clock", "").last_modified;
    from.remove("clock");
    let (older, newer) = (now - time::Duration::HOUR, now + time::Duration::HOUR);
    for (mode, expected) in cases {
        // The body the destination has too, a change of it and its date.
        let sources = [("body", older), ("BODY", newer), ("BODY", older), ("longer body", older)];
        let mut copied = Vec::new();
        for (source, time) in sources {
            from.put_object("k", source);
            set_time(&from, "k", time);
            to.put_object("k", "body");
            let report = sync(&pair, &["--compare", mode]).await.expect_code(0).report();
            copied.push(report["copied"].as_u64().expect("a count"));
        }
        assert_eq!(copied, expected, "{mode}");
    }
}

#[tokio::test]
async fn opaque_etags_are_compared_by_size_and_time_and_never_copied_for_their_difference() {
    let opaque = || StoreSetup {
        settings: BucketSettings { etag_rule: EtagRule::Opaque, ..BucketSettings::default() },
        ..StoreSetup::default()
    };
    let pair = Pair::with(opaque(), opaque()).await;
    fill_small(&pair.from(), 5);
    make_old(&pair.from());
    sync(&pair, &[]).await.expect_code(0);
    pair.assert_same();
    assert_eq!(sync(&pair, &[]).await.expect_code(0).report()["copied"], 0);
    let changed = pair.from().put_object(&small_key(2), small_body(2, 1));
    set_time(&pair.from(), &small_key(2), changed.last_modified + time::Duration::HOUR);
    assert_eq!(sync(&pair, &[]).await.expect_code(0).report()["copied"], 1);
    pair.assert_same();
}

#[tokio::test]
async fn upper_case_etags_are_the_same_digests() {
    let upper = StoreSetup {
        settings: BucketSettings { etag_rule: EtagRule::UpperCaseMd5, ..BucketSettings::default() },
        ..StoreSetup::default()
    };
    let pair = Pair::with(upper, StoreSetup::default()).await;
    fill_small(&pair.from(), 5);
    let report = sync(&pair, &[]).await.expect_code(0).report();
    assert_eq!(report["read_checks"]["etag"], 5, "{report}");
    assert_eq!(sync(&pair, &["--compare", "etag"]).await.expect_code(0).report()["copied"], 0);
}
