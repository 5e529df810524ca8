//! What is set up wrongly is refused before anything is tried, by name, and without showing a secret.
//!
//! That no secret is ever shown is checked on every run of the whole suite, by [`ferry_tests::Program`].

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::scripted::Page;
use ferry_tests::{Pair, Program, Scripted, Side};

use crate::objects::{ferry, fill_small, whole};

const SIDES: [Side; 2] = [Side::Source, Side::Destination];
const COMMANDS: [&str; 3] = ["sync", "plan", "verify"];

async fn pair() -> Pair {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 3);
    pair
}

/// The flag of a side.
fn flag(side: Side, name: &str) -> String {
    match side {
        Side::Source => format!("--source-{name}"),
        Side::Destination => format!("--dest-{name}"),
    }
}

fn assert_untouched(pair: &Pair) {
    assert!(pair.to().is_empty() && pair.to().open_uploads().is_empty());
}

/// An endpoint that nobody serves: its port was free a moment ago.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named() {
    let pair = pair().await;
    for command in COMMANDS {
        let ended = ferry(&pair, [command, "harbour://nowhere/", "island://beach/"]).run().await;
        ended.expect_refusal(&["no bucket \"nowhere\"", &pair.source.endpoint(), "source"]);
        let ended = ferry(&pair, [command, "harbour://docks/", "island://nowhere/"]).run().await;
        ended.expect_refusal(&["no bucket \"nowhere\"", &pair.destination.endpoint(), "destination"]);
    }
    ferry(&pair, ["ls", "harbour://nowhere/"]).run().await.expect_refusal(&["no bucket \"nowhere\""]);
    assert_untouched(&pair);
}

#[tokio::test]
async fn keys_that_do_not_fit_say_which_half_and_which_store() {
    let pair = pair().await;
    for side in SIDES {
        for command in COMMANDS {
            let variable = format!("{}_SECRET_ACCESS_KEY", side.prefix());
            let ended = whole(&pair, command).env(&variable, "not-the-secret-of-anyone").run().await;
            ended.expect_refusal(&[side.store(), "check the secret access key"]);
            let variable = format!("{}_ACCESS_KEY_ID", side.prefix());
            let ended = whole(&pair, command).env(&variable, "not-a-key-id").run().await;
            ended.expect_refusal(&[side.store(), "does not know this access key"]);
        }
    }
    assert_untouched(&pair);
}

#[tokio::test]
async fn the_keys_of_the_other_store_are_refused() {
    let pair = pair().await;
    let ended = whole(&pair, "sync").args(["--source-credentials", "env:ISLAND"]).run().await;
    ended.expect_refusal(&["harbour", "does not know this access key"]);
}

#[tokio::test]
async fn variables_that_are_missing_are_named() {
    let pair = pair().await;
    for side in SIDES {
        for half in ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"] {
            let variable = format!("{}_{half}", side.prefix());
            let ended = whole(&pair, "sync").without_env(&variable).run().await;
            ended.expect_refusal(&[side.store(), &format!("env:{}", side.prefix()), &variable, "is not set"]);
        }
    }
    assert_eq!(pair.source.log().total() + pair.destination.log().total(), 0, "nobody was asked");
}

#[tokio::test]
async fn a_credential_file_or_command_that_is_of_no_use_is_named_and_not_shown() {
    let pair = pair().await;
    std::fs::write(pair.directory().join("keys"), "one-word-that-may-be-a-secret").expect("written");
    let ended = whole(&pair, "sync").args(["--source-credentials", "file:keys"]).run().await;
    let ended = ended.expect_refusal(&["harbour", "file:keys", "does not hold credentials"]);
    assert!(!ended.shows("one-word-that-may-be-a-secret"), "{ended}");
    let ended = whole(&pair, "sync").args(["--source-credentials", "file:not-there"]).run().await;
    ended.expect_refusal(&["file:not-there", "cannot be read"]);
    let ended = whole(&pair, "sync").args(["--source-credentials", "command:/not/there"]).run().await;
    ended.expect_refusal(&["command:/not/there", "cannot be run"]);
    let ended = whole(&pair, "sync").args(["--source-credentials", "wJalrXUtnFEMI-a-secret"]).run().await;
    let ended = ended.expect_refusal(&["--source-credentials", "env:PREFIX"]);
    assert!(!ended.shows("wJalr"), "{ended}");
}

#[tokio::test]
async fn keys_in_a_file_work_in_every_form() {
    let pair = pair().await;
    let (id, secret) = (pair.source.access_key_id(), pair.source.secret_access_key());
    for text in [
        format!("{{\"access_key_id\": \"{id}\", \"secret_access_key\": \"{secret}\"}}"),
        format!("{id} {secret}\n"),
        format!("{id}\n{secret}\n"),
    ] {
        std::fs::write(pair.directory().join("keys"), &text).expect("written");
        let ended =
            ferry(&pair, ["ls", "harbour://docks", "--credentials", "file:keys", "--json"]).run().await;
        assert!(!ended.shows(secret));
        ended.expect_code(0);
    }
}

#[tokio::test]
async fn an_endpoint_that_nobody_serves_is_named() {
    let pair = pair().await;
    let endpoint = nobody().await;
    for (side, command) in [(Side::Source, "sync"), (Side::Destination, "verify")] {
        let ended = whole(&pair, command).args([flag(side, "endpoint").as_str(), &endpoint]).run().await;
        ended.expect_refusal(&[side.store(), &format!("cannot reach {endpoint}")]);
    }
    assert_untouched(&pair);
}

#[tokio::test]
async fn what_is_no_object_store_is_refused_whatever_it_answers() {
    let pair = pair().await;
    let page = |status, content_type, body: &str| Page { status, content_type, body: body.to_owned() };
    let html = "<html><body>It works!</body></html>";
    let pages = [
        page(200, "text/html", html),
        page(200, "application/xml", ""),
        page(200, "application/json", "{}"),
        page(404, "text/html", html),
        page(302, "text/html", html),
        page(405, "text/plain", "no"),
    ];
    for (number, page) in pages.into_iter().enumerate() {
        let shown = format!("{page:?}");
        let server = Scripted::start(move |_number, _uri| page.clone()).await;
        let side = SIDES[number % 2];
        let ended =
            whole(&pair, "sync").args([flag(side, "endpoint").as_str(), &server.endpoint()]).run().await;
        assert_eq!(ended.code, 2, "{shown}: {ended}");
        ended.expect_refusal(&[&server.endpoint(), "cannot be used as an S3 store"]);
    }
    assert_untouched(&pair);
}

#[tokio::test]
async fn a_right_to_list_that_is_missing_is_named() {
    for side in SIDES {
        let pair = pair().await;
        pair.server(side).faults().add(Rule::on(Operation::ListObjectsV2, Action::ACCESS_DENIED));
        for command in COMMANDS {
            let ended = whole(&pair, command).run().await;
            ended.expect_refusal(&["ListObjectsV2", &format!("{}://{}", side.store(), side.bucket()), "403"]);
        }
        assert_untouched(&pair);
    }
}

#[tokio::test]
async fn a_store_that_is_down_for_now_is_no_mistake_of_the_user() {
    let pair = pair().await;
    pair.source.faults().add(Rule::on(Operation::ListObjectsV2, Action::INTERNAL_ERROR));
    let ended = whole(&pair, "sync").run().await.expect_code(1);
    assert!(ended.stderr.contains("harbour://docks") && ended.stderr.contains("500"), "{ended}");
    assert_untouched(&pair);
}

#[tokio::test]
async fn unknown_providers_and_stores_are_named_beside_the_known_ones() {
    let pair = pair().await;
    let ended = whole(&pair, "sync").args(["--source-provider", "mino"]).run().await;
    ended.expect_refusal(&["harbour", "\"mino\"", "minio", "aliyun-oss"]);
    let ended = ferry(&pair, ["sync", "harbor://docks/", "island://beach/"]).run().await;
    ended.expect_refusal(&["\"harbor\"", "harbour, island"]);
    let ended = ferry(&pair, ["ls", "harbor://"]).run().await;
    ended.expect_refusal(&["\"harbor\"", "harbour, island"]);
    let ended = whole(&pair, "sync").args(["--source-addressing", "virtual"]).run().await;
    ended.expect_refusal(&["harbour", "127.0.0.1", "addressing: path"]);
    let ended = whole(&pair, "sync").args(["--compare", "guess"]).run().await;
    ended.expect_refusal(&["guess", "auto"]);
    assert_untouched(&pair);
}

#[tokio::test]
async fn a_file_that_cannot_be_meant_is_refused_with_its_name_line_and_field() {
    let pair = pair().await;
    for (text, words) in [
        ("stores:\n  harbour:\n    endpoint: http://127.0.0.1:1\n    regoin: x\n", ["line 4", "regoin"]),
        ("stores: [\n", ["line", "ferry.yaml"]),
        ("shops: {}\n", ["line 1", "shops"]),
        ("stores:\n  harbour: {credentials: wJalrXUtnFEMI}\n", ["line 2", "env:PREFIX"]),
        ("stores:\n  harbour:\n    secret_access_key: wJalrXUtnFEMI\n", ["line 3", "secret_access_key"]),
        (
            "stores:\n  harbour:\n    profile:\n      capabilities:\n        tagss: no\n",
            ["line 5, column 9", "\"tagss\" in capabilities"],
        ),
        ("stores:\n  harbour: {endpoint: 'ftp://h'}\n", ["harbour", "must begin with"]),
        ("stores:\n  'har bour': {}\n", ["har bour", "use letters"]),
        ("stores:\n  a: {provider: minio}\n", ["store a", "needs an `endpoint`"]),
    ] {
        std::fs::write(pair.directory().join("ferry.yaml"), text).expect("written");
        let ended = whole(&pair, "sync").run().await.expect_refusal(&["ferry.yaml", words[0], words[1]]);
        assert!(!ended.shows("wJalr"), "{ended}");
    }
    let ended = whole(&pair, "sync").args(["--config", "elsewhere.yaml"]).run().await;
    ended.expect_refusal(&["elsewhere.yaml", "cannot be read"]);
    std::fs::remove_file(pair.directory().join("ferry.yaml")).expect("removed");
    let ended = whole(&pair, "sync").run().await;
    ended.expect_refusal(&["\"harbour\"", "there is none in this directory"]);
    assert_eq!(pair.source.log().total() + pair.destination.log().total(), 0, "nobody was asked");
}

#[tokio::test]
async fn stores_need_no_file_where_flags_describe_them() {
    let pair = pair().await;
    std::fs::remove_file(pair.directory().join("ferry.yaml")).expect("removed");
    let (from, to) = (pair.source.endpoint(), pair.destination.endpoint());
    let flags = [
        ["--source-endpoint", &from, "--source-credentials", "env:HARBOUR"],
        ["--dest-endpoint", &to, "--dest-credentials", "env:ISLAND"],
    ];
    let ended = ferry(&pair, ["sync", "a://docks/", "b://beach/"]).args(flags.concat()).run().await;
    ended.expect_code(0);
    pair.assert_same();
}

#[tokio::test]
async fn a_destination_inside_of_its_source_is_refused() {
    let pair = pair().await;
    for (from, to) in [("", "copy/"), ("a/", ""), ("a/", "a/b/"), ("", "")] {
        let (from, to) = (Side::Source.location(from), Side::Source.location(to));
        let ended = ferry(&pair, ["sync", &from, &to]).run().await;
        ended.expect_refusal(&["overlap", &from, &to]);
    }
    let (from, to) = (Side::Source.location("small/"), Side::Source.location("copy/"));
    ferry(&pair, ["sync", &from, &to]).run().await.expect_code(0);
    assert_eq!(pair.from().len(), 6, "side by side in one bucket is fine");
}

#[tokio::test]
async fn ambient_credentials_that_are_not_there_are_missed_by_name() {
    let pair = pair().await;
    let args = ["--source-credentials", "ambient"];
    let ended = whole(&pair, "sync").args(args).run().await;
    ended.expect_refusal(&["harbour", "no credentials for this store"]);
    let with_ambient = |program: Program| {
        program
            .env("AWS_ACCESS_KEY_ID", pair.source.access_key_id())
            .env("AWS_SECRET_ACCESS_KEY", pair.source.secret_access_key())
    };
    with_ambient(whole(&pair, "sync").args(args)).run().await.expect_code(0);
    pair.assert_same();
}

#[tokio::test]
async fn logs_show_no_secret_either() {
    let pair = pair().await;
    let ended =
        whole(&pair, "sync").args(["-vvv", "--json"]).env("FERRY_LOG", "trace").run().await.expect_code(0);
    assert!(ended.stderr.lines().count() > 10, "there is a log");
    for line in ended.stderr.lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(line).is_ok(),
            "with --json the log is JSON: {line}"
        );
    }
    assert_eq!(ended.report()["copied"], 3);
}
