//! S3 Inventories as the source of keys.

use std::io::Write as _;

use ferry_testkit::bucket::Bucket;
use ferry_testkit::fixtures::awkward_keys;
use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, Side};
use ferry_transfer::ETag;
use ferry_transfer::checksum::{DigestSet, digest};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use time::format_description::well_known::Rfc3339;

use super::run;
use crate::objects::{between, bytes, fill_awkward, fill_small, make_old, small_key};

const SCHEMA: &str =
    "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass";
const PREFIX: &str = "reports/docks/all/";

fn encoded(key: &str) -> String {
    key.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                char::from(byte).to_string()
            }
            b' ' => "+".to_owned(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// The row of an object as Amazon S3 writes it.
fn row(bucket: &Bucket, key: &str) -> String {
    let object = bucket.get(key).expect("object");
    format!(
        "\"docks\",\"{}\",\"v1\",\"true\",\"false\",\"{}\",\"{}\",\"{}\",\"STANDARD\"\n",
        encoded(key),
        object.payload.to_bytes().len(),
        object.last_modified.format(&Rfc3339).expect("time"),
        object.etag
    )
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("in memory");
    encoder.finish().expect("in memory")
}

/// The manifest of data files, and each under its key.
fn inventory(files: &[Vec<u8>]) -> (String, Vec<(String, Vec<u8>)>) {
    let named: Vec<(String, Vec<u8>)> = files
        .iter()
        .enumerate()
        .map(|(number, file)| (format!("{PREFIX}data/{number}.csv.gz"), file.clone()))
        .collect();
    let entries: Vec<_> = named
        .iter()
        .map(|(key, file)| {
            let md5 = digest(file, DigestSet::MD5).md5.expect("asked for");
            json!({"key": key, "size": file.len(), "MD5checksum": ETag::from_md5(md5).to_string().trim_matches('"')})
        })
        .collect();
    let manifest = json!({
        "sourceBucket": "docks", "destinationBucket": "arn:aws:s3:::docks", "version": "2016-11-30",
        "creationTimestamp": "1514944800000", "fileFormat": "CSV", "fileSchema": SCHEMA, "files": entries,
    });
    (manifest.to_string(), named)
}

/// Writes an inventory into the home directory, as a copy of its bucket.
fn write_files(pair: &Pair, files: &[Vec<u8>]) -> String {
    let (manifest, named) = inventory(files);
    let path = format!("copy/{PREFIX}2026-01-01T00-00Z/manifest.json");
    for (name, file) in named.iter().map(|(key, file)| (format!("copy/{key}"), file.as_slice())) {
        let place = pair.directory().join(name);
        std::fs::create_dir_all(place.parent().expect("parent")).expect("directory");
        std::fs::write(place, file).expect("written");
    }
    let place = pair.directory().join(&path);
    std::fs::create_dir_all(place.parent().expect("parent")).expect("directory");
    std::fs::write(place, manifest).expect("written");
    path
}

fn rows(bucket: &Bucket, keys: &[String]) -> String {
    keys.iter().map(|key| row(bucket, key)).collect()
}

#[tokio::test]
async fn sorted_rows_are_compared_with_a_listing_of_the_destination() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 40);
    for number in 0..30 {
        pair.to().put_object(&small_key(number), pair.from().bytes(&small_key(number)).expect("object"));
    }
    pair.to().put_object("extra", "stays");
    let keys = pair.from().keys();
    // Two files, the later keys in the first.
    let manifest =
        write_files(&pair, &[gzip(&rows(&pair.from(), &keys[20..])), gzip(&rows(&pair.from(), &keys[..20]))]);
    let args = ["--inventory", manifest.as_str()];
    let plan = run(&pair, "plan", &args).await.expect_code(0).report();
    assert_eq!(
        (&plan["missing"], &plan["up_to_date"], &plan["extra"]),
        (&10.into(), &30.into(), &0.into()),
        "{plan}"
    );
    pair.reset_logs();
    let report = run(&pair, "sync", &args).await.expect_code(0).report();
    assert_eq!((&report["copied"], &report["up_to_date"]), (&10.into(), &30.into()), "{report}");
    assert_eq!(pair.source.log().count(Operation::ListObjectsV2), 1, "no more than the look beforehand");
    assert_eq!(pair.destination.log().count(Operation::ListObjectsV2), 3, "one for each file");
    assert_eq!(pair.source.log().count(Operation::HeadObject), 0);
    run(&pair, "verify", &args).await.expect_code(0);
}

#[tokio::test]
async fn rows_in_no_order_become_jobs_all_the_same() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 20);
    let mut keys = pair.from().keys();
    keys.reverse();
    let manifest = write_files(&pair, &[gzip(&rows(&pair.from(), &keys))]);
    let report = run(&pair, "sync", &["--inventory", &manifest]).await.expect_code(0).report();
    assert_eq!(report["copied"], 20, "{report}");
    pair.assert_same();
}

#[tokio::test]
async fn an_inventory_is_read_through_its_store() {
    let pair = Pair::start().await;
    let count = fill_awkward(&pair.from(), "data/", 5);
    make_old(&pair.from());
    let mut keys = pair.from().keys();
    keys.sort();
    let older = format!(
        "\"docks\",\"data/{}\",\"v0\",\"false\",\"false\",\"1\",\"\",\"\",\"\"\n",
        encoded(&awkward_keys()[0])
    );
    let marker = "\"docks\",\"data/deleted\",\"v2\",\"true\",\"true\",\"\",\"\",\"\",\"\"\n";
    let text = format!("{}{older}{marker}", rows(&pair.from(), &keys));
    let (manifest, named) = inventory(&[gzip(&text)]);
    for (key, file) in named {
        pair.from().put_object(&key, file);
    }
    pair.from().put_object(&format!("{PREFIX}manifest.json"), manifest);
    let location = Side::Source.location(&format!("{PREFIX}manifest.json"));
    let program = between(&pair, "sync", "data/", "");
    let ended = program.args(["--json", "--inventory", &location]).run().await.expect_code(0);
    assert_eq!(ended.report()["copied"], count, "{ended}");
    pair.assert_same_under("data/", "");
}

#[tokio::test]
async fn a_row_of_what_has_gone_since_does_no_harm() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 5);
    let keys = pair.from().keys();
    let manifest = write_files(&pair, &[gzip(&rows(&pair.from(), &keys))]);
    pair.from().remove(&small_key(1));
    pair.from().put_object(&small_key(2), bytes(777, 9));
    pair.to().put_object(&small_key(1), "an older copy");
    let report = run(&pair, "sync", &["--inventory", &manifest]).await.expect_code(0).report();
    assert_eq!(report["skipped_by_reason"]["gone_at_source"], 1, "{report}");
    assert_eq!(pair.to().bytes(&small_key(2)), pair.from().bytes(&small_key(2)));
    assert!(pair.to().get(&small_key(1)).is_some(), "an inventory never deletes");
    run(&pair, "sync", &["--inventory", &manifest, "--delete"]).await.expect_refusal(&["--delete"]);
}

#[tokio::test]
async fn selection_and_renaming_hold_for_rows_too() {
    let pair = Pair::start().await;
    for key in ["a/1", "a/2.tmp", "b/1", "c/3"] {
        pair.from().put_object(key, bytes(50, 1));
    }
    let manifest = write_files(&pair, &[gzip(&rows(&pair.from(), &pair.from().keys()))]);
    let args = ["--inventory", manifest.as_str(), "--exclude", "*.tmp", "--rewrite-prefix", "a/=b/"];
    let ended = run(&pair, "sync", &args).await.expect_code(1);
    let report = ended.report();
    assert_eq!(
        (&report["failed"], &report["excluded"]),
        (&2.into(), &1.into()),
        "a/1 and b/1 contest: {ended}"
    );
    assert_eq!(pair.to().keys(), ["c/3"]);
    let plan = run(&pair, "plan", &args).await.expect_code(0).report();
    assert_eq!((&plan["contested"], &plan["up_to_date"]), (&2.into(), &1.into()), "{plan}");
}

#[tokio::test]
async fn a_damaged_or_foreign_inventory_is_refused() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 3);
    let text = rows(&pair.from(), &pair.from().keys());
    let manifest = write_files(&pair, &[gzip(&text)]);
    let data = pair.directory().join(format!("copy/{PREFIX}data/0.csv.gz"));
    std::fs::write(&data, gzip(&text.replace("small", "smell"))).expect("written");
    let report = run(&pair, "sync", &["--inventory", &manifest]).await.expect_code(1).report();
    let error = report["scan_error"].to_string();
    assert!(error.contains("MD5") && error.contains("0.csv.gz"), "{error}");
    std::fs::remove_file(&data).expect("removed");
    let report = run(&pair, "sync", &["--inventory", &manifest]).await.expect_code(1).report();
    assert!(report["scan_error"].to_string().contains("no such file"), "{report}");
    std::fs::write(pair.directory().join("orc.json"), r#"{"fileFormat":"ORC","fileSchema":"x","files":[]}"#)
        .expect("written");
    let report = run(&pair, "sync", &["--inventory", "orc.json"]).await.expect_code(1).report();
    assert!(report["scan_error"].to_string().contains("ORC"), "{report}");
}
