//! `ferry presign`: links that work without anything of ours.

use ferry_testkit::fixtures::{awkward_keys, body_of};
use ferry_tests::{Pair, web};

use crate::objects::ferry;

async fn link(pair: &Pair, location: &str, args: &[&str]) -> String {
    let ended = ferry(pair, ["presign", location]).args(args.iter().copied()).run().await.expect_code(0);
    ended.stdout.trim_end().to_owned()
}

#[tokio::test]
async fn a_link_reads_the_object_it_names_whatever_its_key() {
    let pair = Pair::start().await;
    // Keys that a path carries as they are: clients drop or resolve the rest before they send them.
    for key in awkward_keys().iter().filter(|key| key.len() < 100) {
        pair.from().put_object(key, body_of(key));
    }
    for key in ["a b", "a%2Fb", "a&b=c?d#e", "漢字/かな/한글.txt", "line\nbreak", "a//b", "/leading"] {
        let url = link(&pair, &format!("harbour://docks/{key}"), &[]).await;
        let answer = web::ask("GET", &url, b"").await;
        assert_eq!((answer.status, answer.body), (200, body_of(key).to_vec()), "{key:?}: {url}");
    }
}

#[tokio::test]
async fn a_link_opens_nothing_but_what_it_names() {
    let pair = Pair::start().await;
    pair.from().put_object("open", "open");
    pair.from().put_object("shut", "shut");
    let url = link(&pair, "harbour://docks/open", &["--expires-secs", "60"]).await;
    assert!(url.contains("X-Amz-Expires=60"), "{url}");
    assert_eq!(web::ask("GET", &url, b"").await.status, 200);
    assert_eq!(web::ask("GET", &url.replace("/open?", "/shut?"), b"").await.status, 403);
    assert_eq!(web::ask("PUT", &url, b"overwritten").await.status, 403);
    assert_eq!(pair.from().bytes("open").expect("object"), "open");
    assert!(!url.contains(pair.source.secret_access_key()));
}

#[tokio::test]
async fn a_link_to_write_writes() {
    let pair = Pair::start().await;
    let url = link(&pair, "island://beach/new/object", &["--method", "put"]).await;
    assert_eq!(web::ask("PUT", &url, b"from outside").await.status, 200);
    assert_eq!(pair.to().bytes("new/object").expect("object"), "from outside");
    let ended = ferry(&pair, ["presign", "island://beach/new/object", "--json"]).run().await.expect_code(0);
    let url = ended.report()["url"].as_str().expect("a link").to_owned();
    assert_eq!(web::ask("GET", &url, b"").await.body, b"from outside");
    assert_eq!(ended.report()["expires_secs"], 3600);
}

#[tokio::test]
async fn what_no_link_can_be_made_for_is_refused() {
    let pair = Pair::start().await;
    let week = ["presign", "harbour://docks/a", "--expires-secs", "604801"];
    ferry(&pair, week).run().await.expect_refusal(&["604800", "604801"]);
    ferry(&pair, ["presign", "harbour://docks/a", "--expires-secs", "0"])
        .run()
        .await
        .expect_refusal(&["7 days"]);
    ferry(&pair, ["presign", "harbour://docks"]).run().await.expect_refusal(&["names no key"]);
    assert_eq!(pair.source.log().total(), 0, "nobody was asked");
}
