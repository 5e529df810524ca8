//! `ferry plan`: what a sync would do, and nothing done.

use ferry_testkit::faults::Action;
use ferry_testkit::operation::Operation;
use ferry_testkit::synthetic::{GeneratedBucket, SinkEtag, SyntheticConfig, SyntheticServer};
use ferry_tests::{Ended, Pair, Program, Side, StoreSetup};
use ferry_transfer::{Attributes, StorageClass};
use serde_json::{Value, json};

use crate::FERRY;
use crate::objects::{bytes, ferry, fill_small, parts, small_key, sync, whole};

const MIB: usize = 1 << 20;

async fn plan(pair: &Pair, args: &[&str]) -> Ended {
    whole(pair, "plan").args(["--json"]).args(args.iter().copied()).run().await
}

/// Missing, different, equal and extra objects, small and in parts.
async fn mixed() -> Pair {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 10);
    for number in 0..4 {
        let key = small_key(number);
        pair.to().put_object(&key, pair.from().bytes(&key).expect("object"));
    }
    pair.to().put_object(&small_key(4), "another size");
    pair.to().put_object("extra/1", "1");
    pair.to().put_object("extra/2", "2");
    pair.from().put_object_in_parts("parts", parts(&bytes(12 * MIB, 1), 8 * MIB), Attributes::default());
    pair
}

#[tokio::test]
async fn a_plan_counts_what_a_sync_then_does() {
    let pair = mixed().await;
    let before = (pair.from().keys(), pair.to().keys());
    let ended = plan(&pair, &[]).await.expect_code(0);
    let planned = ended.report();
    for (name, count) in
        [("found", 11), ("missing", 6), ("different", 1), ("up_to_date", 4), ("extra", 2), ("archived", 0)]
    {
        assert_eq!(planned[name], count, "{name}: {ended}");
    }
    assert_eq!((pair.from().keys(), pair.to().keys()), before);
    let asked =
        |server: &ferry_testkit::s3::S3Server| -> Vec<&str> { server.requests().into_keys().collect() };
    assert_eq!(
        (asked(&pair.source), asked(&pair.destination)),
        (vec!["ListObjectsV2"], vec!["ListObjectsV2"])
    );

    let done = sync(&pair, &[]).await.expect_code(0).report();
    assert_eq!(done["copied_bytes"], planned["copy_bytes"], "{done}");
    for (side, requests) in [("source", "source_requests"), ("destination", "destination_requests")] {
        let mut made = done["requests"][side]["requests"].clone();
        made.as_object_mut().expect("requests").remove("list");
        assert_eq!(made, planned[requests], "what was planned for the {side} is what was asked of it");
    }
}

#[tokio::test]
async fn a_plan_tells_a_script_whether_there_is_anything_to_do() {
    let pair = mixed().await;
    plan(&pair, &["--exit-code"]).await.expect_code(3);
    sync(&pair, &["--delete"]).await.expect_code(0);
    let ended = plan(&pair, &["--exit-code"]).await.expect_code(0);
    assert_eq!(ended.report()["up_to_date"], 11, "{ended}");
    pair.to().put_object("extra", "x");
    plan(&pair, &["--exit-code"]).await.expect_code(3);
    plan(&pair, &[]).await.expect_code(0);
}

#[tokio::test]
async fn a_plan_knows_what_is_archived_and_prices_what_it_can() {
    let pair = mixed().await;
    assert!(pair.from().set_storage_class(&small_key(9), StorageClass::parse("DEEP_ARCHIVE")));
    let planned = plan(&pair, &[]).await.expect_code(0).report();
    assert_eq!((&planned["archived"], &planned["source_cost"]), (&1.into(), &Value::Null), "{planned}");
    let args = ["--source-provider", "aws", "--source-addressing", "path"];
    let planned = plan(&pair, &args).await.expect_code(0).report();
    let cost = &planned["source_cost"];
    assert!(cost["requests_usd"].as_f64().is_some_and(|usd| usd > 0.0), "{planned}");
    std::fs::write(pair.directory().join("prices.yaml"), "not: [a price table").expect("written");
    let ended = plan(&pair, &["--prices", "prices.yaml"]).await;
    ended.expect_refusal(&["prices.yaml"]);
}

#[tokio::test]
async fn a_plan_in_words_says_the_same() {
    let pair = mixed().await;
    let ended = whole(&pair, "plan").run().await.expect_code(0);
    for words in ["found      11 objects", "7 objects", "6 missing, 1 different", "2 at the destination only"]
    {
        assert!(ended.stdout.contains(words), "no {words:?} in\n{ended}");
    }
}

#[tokio::test]
async fn a_plan_from_half_a_listing_is_no_plan() {
    let pair = Pair::start().await;
    for number in 0..1_200 {
        pair.from().put_object(&format!("{number:05}"), "x");
    }
    pair.fail_from(Side::Source, Operation::ListObjectsV2, 3, 20, &Action::ACCESS_DENIED);
    let ended = plan(&pair, &[]).await.expect_code(1);
    assert!(ended.stdout.is_empty() && ended.stderr.contains("harbour://docks"), "{ended}");
}

#[tokio::test]
async fn an_empty_source_has_an_empty_plan() {
    let pair = Pair::start().await;
    let planned = plan(&pair, &["--exit-code"]).await.expect_code(0).report();
    assert_eq!((&planned["found"], &planned["source_requests"]), (&0.into(), &json!({})), "{planned}");
}

#[tokio::test]
async fn a_plan_says_which_keys_a_sync_would_delete() {
    let pair = mixed().await;
    let listed = |ended: &Ended| -> Vec<String> {
        let lines = ended.lines();
        lines.iter().filter_map(|line| line["delete"].as_str().map(str::to_owned)).collect()
    };
    let ended = plan(&pair, &["--delete"]).await.expect_code(0);
    assert_eq!(listed(&ended), ["extra/1", "extra/2"], "{ended}");
    let lines = ended.lines();
    let deletes = &lines.last().expect("the plan")["deletes"];
    assert_eq!(
        (&deletes["planned"], &deletes["held"], &deletes["verdict"]),
        (&2.into(), &7.into(), &"within_limit".into()),
        "{ended}"
    );
    let words = whole(&pair, "plan").args(["--delete", "--max-delete", "1"]).run().await.expect_code(0);
    for said in ["2 of 7 objects (28 %)", "over the limit of 1", "\"extra/2\""] {
        assert!(words.stdout.contains(said), "no {said:?} in\n{words}");
    }
    assert!(listed(&plan(&pair, &[]).await).is_empty(), "nobody asked");
    let done = sync(&pair, &["--delete"]).await.expect_code(0).report();
    assert_eq!(done["deleted"], 2, "{done}");
}

#[tokio::test]
async fn a_plan_foresees_what_the_destination_cannot_hold() {
    const ALIBABA: &[&str] = &["provider: aliyun-oss", "addressing: path", "region: cn-hangzhou"];
    let destination = StoreSetup { yaml: ALIBABA, ..StoreSetup::default() };
    let source = StoreSetup { yaml: &["provider: aws", "addressing: path"], ..StoreSetup::default() };
    let pair = Pair::with(source, destination).await;
    for (key, class) in [("ia", "ONEZONE_IA"), ("odd", "INTELLIGENT_TIERING"), ("cold", "DEEP_ARCHIVE")] {
        let storage_class = StorageClass::parse(class);
        pair.from().put_object_with(key, "x", Attributes { storage_class, ..Attributes::default() });
    }
    pair.from().put_object("/begins-with-a-slash", "x");
    let planned = plan(&pair, &["--restore", "bulk"]).await.expect_code(0).report();
    let classes = &planned["storage_classes"];
    assert_eq!(classes["ONEZONE_IA"], json!({ "objects": 1, "becomes": "STANDARD_IA" }), "{planned}");
    assert_eq!(classes["INTELLIGENT_TIERING"]["becomes"], Value::Null, "{planned}");
    assert_eq!((&planned["archived"], &planned["restores"]), (&1.into(), &1.into()), "{planned}");
    assert_eq!(planned["unfit_keys"], json!({ "begins with \"/\"": 1 }), "{planned}");
    let losses = planned["losses"].to_string();
    assert!(losses.contains("tags") && losses.contains("underscores"), "{planned}");
    let words = whole(&pair, "plan").run().await.expect_code(0);
    for said in ["ONEZONE_IA: 1 of them, to be STANDARD_IA", "to be skipped", "the destination has none such"]
    {
        assert!(words.stdout.contains(said), "no {said:?} in\n{words}");
    }
    let moved = sync(&pair, &["--exclude", "/*", "--exclude", "odd"]).await;
    assert_eq!(moved.report()["copied"], 1, "{moved}");
    let held = pair.to().get("ia").expect("copied").attributes.storage_class.clone();
    assert_eq!(held.map(|class| class.to_string()).as_deref(), Some("STANDARD_IA"));
}

#[tokio::test]
async fn a_plan_knows_when_the_store_copies_by_itself() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 3);
    pair.source.bucket("berth");
    let args = ["plan", "harbour://docks/", "harbour://berth/", "--json"];
    let planned = ferry(&pair, args).run().await.expect_code(0).report();
    assert_eq!((&planned["server_side"], &planned["source_requests"]["get"]), (&3.into(), &Value::Null));
    let done = ferry(&pair, ["sync", "harbour://docks/", "harbour://berth/", "--json"]);
    let done = done.run().await.expect_code(0).report();
    for (side, requests) in [("source", "source_requests"), ("destination", "destination_requests")] {
        let mut made = done["requests"][side]["requests"].clone();
        made.as_object_mut().expect("requests").remove("list");
        assert_eq!(made, planned[requests], "what was planned for the {side} is what was asked of it");
    }
}

/// A million objects of 10 KiB, and 10 TiB in objects of 1 GiB, from one store of Amazon's prices to another: what `infra/aws/README.md` shows is what
/// the program prints.
#[tokio::test]
async fn what_the_readme_says_of_two_cases_is_what_is_printed() {
    let readme = include_str!("../../infra/aws/README.md");
    for (objects, size_bytes) in [(1_000_000, 10 << 10), (10_240, 1 << 30)] {
        let bucket = GeneratedBucket::new(objects, size_bytes);
        let source = SyntheticServer::start(SyntheticConfig::default().generated("photos", bucket)).await;
        let destination =
            SyntheticServer::start(SyntheticConfig::default().sink("archive", SinkEtag::Md5)).await;
        let (source, destination) = (source.expect("source"), destination.expect("destination"));
        let home = tempfile::tempdir().expect("directory");
        let like_amazon = |side: &str, endpoint: String| {
            let said = [
                ("endpoint", &*endpoint),
                ("provider", "aws"),
                ("addressing", "path"),
                ("credentials", "env:BENCH"),
            ];
            said.map(|(name, value)| [format!("--{side}-{name}"), value.to_owned()]).concat()
        };
        let ends =
            [like_amazon("source", source.endpoint()), like_amazon("dest", destination.endpoint())].concat();
        let ended = Program::new(FERRY, home.path())
            .credentials("BENCH", "key-id", "secret-key")
            .args(["plan", "source://photos", "dest://archive"])
            .args(ends.iter().map(String::as_str))
            .run()
            .await
            .expect_code(0);
        // Into how many ranges a listing is divided depends on how fast its pages come.
        let printed = ended.stdout.lines().filter(|line| !line.contains("listing took"));
        let missing: Vec<&str> = printed.filter(|line| !readme.contains(line)).collect();
        assert!(missing.is_empty(), "infra/aws/README.md lacks {missing:#?} of\n{}", ended.stdout);
    }
}
