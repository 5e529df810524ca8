//! Encryption at rest, in front of stores that insist on it: keys of the customer on either side, and keys of the key service.

use ferry_testkit::bucket::StoredEncryption;
use ferry_testkit::operation::Operation;
use ferry_tests::{Ended, Pair, StoreSetup};
use ferry_transfer::{Attributes, ETag};

use crate::objects::{bytes, every_attribute, ferry, make_old, parts, sync, whole};

const KIB: usize = 1 << 10;
const SOURCE_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const DEST_KEY: &str = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
const KEYS: [&str; 4] = ["--source-customer-key", "env:SOURCE_KEY", "--dest-customer-key", "env:DEST_KEY"];
const IN_PARTS: [&str; 4] = ["--part-size", "64KiB", "--multipart-threshold", "128KiB"];

/// `ferry VERB` between the two with these arguments, and both keys where they can be found.
async fn run(pair: &Pair, verb: &str, args: &[&str], source_key: &str) -> Ended {
    let program = whole(pair, verb).args(["--json"]).args(args.iter().copied());
    program.env("SOURCE_KEY", source_key).env("DEST_KEY", DEST_KEY).run().await
}

/// Fills the source with objects that were encrypted by a sync of Ferry's own with the source's key.
async fn encrypted_source() -> Pair {
    let pair = Pair::with(StoreSetup::with_small_parts(), StoreSetup::with_small_parts()).await;
    let plain = pair.source.bucket("plain");
    plain.put_object_with("small", "a small one", every_attribute());
    plain.put_object_with("large", bytes(300 * KIB, 1), every_attribute());
    plain.put_object_in_parts("own-parts", parts(&bytes(300 * KIB, 2), 100 * KIB), Attributes::default());
    let args = ["sync", "harbour://plain/", "harbour://docks/", "--server-side", "never"];
    ferry(&pair, args)
        .args(["--dest-customer-key", "env:SOURCE_KEY"])
        .args(IN_PARTS)
        .env("SOURCE_KEY", SOURCE_KEY)
        .run()
        .await
        .expect_code(0);
    for key in pair.from().keys() {
        let object = pair.from().get(&key).expect("object");
        assert!(matches!(object.encryption, StoredEncryption::Customer { .. }), "{key}: {object:?}");
        assert_eq!(object.payload.to_bytes(), plain.bytes(&key).expect("original"), "{key}");
    }
    make_old(&pair.from());
    pair.reset_logs();
    pair
}

#[tokio::test]
async fn objects_go_from_one_customers_key_to_another() {
    let pair = encrypted_source().await;
    let args = [&KEYS[..], &IN_PARTS[..]].concat();
    let report = run(&pair, "sync", &args, SOURCE_KEY).await.expect_code(0).report();
    assert_eq!(report["copied"], 3, "{report}");
    pair.assert_same();
    for key in pair.to().keys() {
        let (from, to) = (pair.from().get(&key).expect("original"), pair.to().get(&key).expect("copy"));
        assert!(from.encryption != to.encryption, "{key} has a key of its own");
        let md5s = ETag::from_md5(from.payload.md5());
        assert!(from.etag != md5s && to.etag != from.etag, "no tag is an MD5");
    }
    let again = run(&pair, "sync", &args, SOURCE_KEY).await.expect_code(0).report();
    assert_eq!((&again["copied"], &again["up_to_date"]), (&0.into(), &3.into()), "{again}");
    run(&pair, "verify", &[&KEYS[..], &["--read", "all"]].concat(), SOURCE_KEY).await.expect_code(0);
}

#[tokio::test]
async fn a_wrong_or_missing_key_is_said_to_be_that() {
    let pair = encrypted_source().await;
    let wrong = run(&pair, "sync", &KEYS, DEST_KEY).await.expect_code(1);
    assert!(wrong.shows("customer key") && wrong.shows("403"), "{wrong}");
    assert!(!wrong.shows(DEST_KEY), "{wrong}");
    let missing = run(&pair, "sync", &[], SOURCE_KEY).await.expect_code(1);
    for failure in missing.report()["failures"].as_array().expect("failures") {
        let error = failure["error"].as_str().expect("a text");
        assert!(error.contains("--source-customer-key"), "{error}");
    }
    pair.from().clear();
    pair.from().put_object("plain", "nobody's key");
    let unfit = run(&pair, "sync", &KEYS, SOURCE_KEY).await.expect_code(1);
    assert!(unfit.shows("encryption parameters are not applicable"), "{unfit}");
    assert!(pair.to().is_empty());
}

#[tokio::test]
async fn a_store_copies_by_itself_from_one_key_to_another() {
    let pair = encrypted_source().await;
    pair.source.bucket("berth");
    let sync = ["sync", "harbour://docks/", "harbour://berth/", "--json"];
    let ended = ferry(&pair, sync).args(KEYS).env("SOURCE_KEY", SOURCE_KEY).env("DEST_KEY", DEST_KEY);
    let report = ended.run().await.expect_code(0).report();
    assert_eq!(report["copied"], 3, "{report}");
    for key in pair.from().keys() {
        let copy = pair.source.bucket("berth").get(&key).expect("copy");
        assert_eq!(copy.payload.to_bytes(), pair.from().bytes(&key).expect("original"), "{key}");
        assert!(matches!(copy.encryption, StoredEncryption::Customer { .. }), "{copy:?}");
        assert_ne!(copy.encryption, pair.from().get(&key).expect("original").encryption);
    }
}

#[tokio::test]
async fn what_the_key_service_encrypts_has_no_md5_and_is_not_copied_twice() {
    let pair = Pair::with(StoreSetup::with_small_parts(), StoreSetup::with_small_parts()).await;
    pair.from().put_object("small", "a small one");
    pair.from().put_object_in_parts("large", parts(&bytes(300 * KIB, 2), 100 * KIB), Attributes::default());
    make_old(&pair.from());
    for (kind, stored) in [("kms", "aws:kms"), ("kms-dsse", "aws:kms:dsse"), ("s3", "AES256")] {
        pair.to().clear();
        let args = ["--encryption", kind];
        let report = sync(&pair, &args).await.expect_code(0).report();
        assert_eq!(report["copied"], 2, "{report}");
        pair.assert_same();
        for key in pair.to().keys() {
            let copy = pair.to().get(&key).expect("copy");
            let told = match &copy.encryption {
                StoredEncryption::Kms { kind, .. } => kind.as_str(),
                StoredEncryption::S3 => "AES256",
                other => panic!("{other:?}"),
            };
            assert_eq!(told, stored);
            let same_tag = copy.etag == pair.from().get(&key).expect("original").etag;
            assert_eq!(same_tag, kind == "s3", "{kind} {key}");
        }
        pair.reset_logs();
        let again = sync(&pair, &args).await.expect_code(0).report();
        assert_eq!(again["up_to_date"], 2, "{kind}: {again}");
        assert_eq!(pair.source.log().count(Operation::GetObject), 0, "{kind}");
    }
}
