mod properties;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::job::Incoming;
use Change::{Appended, Changed, Removed};

const REPORT: &str = "备份/2026 年报+终稿 100%.pdf";
const LITERAL: &str = "raw/already%20encoded+key/%E4%B8%AD%25.csv";
const PHOTO: &str = "photos/🗻 Fuji & “quotes”/a=b;c,d.jpeg";
const VIDEO: &str = "video/大文件 4K+HDR.mp4";
const FORM: &str = "form upload/résumé (final).docx";
const LOG: &str = "logs/app 2026-03-14+08.log";
const COLD: &str = "cold archive/冷归档 2019.tar";
const ODD: &str = "odd/tab\there/new\nline.txt";

fn fixture(file: &str) -> String {
    let path = format!("{}/fixtures/events/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a fixture must come to: its bucket, and of each event the change, the key and the size.
struct Expected {
    file: &'static str,
    bucket: &'static str,
    events: &'static [(Change, &'static str, Option<u64>)],
}

const fn expected(
    file: &'static str,
    bucket: &'static str,
    events: &'static [(Change, &'static str, Option<u64>)],
) -> Expected {
    Expected { file, bucket, events }
}

const HZ: &str = "dth-src-hz";
const USW2: &str = "dth-src-usw2";
const SRC: &str = "dth-src";
const COS: &str = "dth-src-1250000000";

const EVENTS: &[Expected] = &[
    expected("oss-fc-put-object.json", HZ, &[(Changed, REPORT, Some(29203))]),
    expected("oss-fc-put-object-control-chars.json", HZ, &[(Changed, ODD, Some(5))]),
    expected("oss-fc-put-object-percent-in-key.json", HZ, &[(Changed, LITERAL, Some(11))]),
    expected("oss-fc-put-object-zero-byte-folder.json", HZ, &[(Changed, "目录 A/子目录/", Some(0))]),
    expected("oss-fc-post-object.json", HZ, &[(Changed, FORM, Some(88123))]),
    expected(
        "oss-fc-copy-object.json",
        HZ,
        &[(Changed, "copy of/备份/2026 年报+终稿 100%.pdf", Some(29203))],
    ),
    expected("oss-fc-append-object.json", HZ, &[(Appended, LOG, Some(131_072))]),
    expected("oss-fc-complete-multipart-upload.json", HZ, &[(Changed, VIDEO, Some(21_474_836_480))]),
    expected("oss-fc-put-symlink.json", HZ, &[(Changed, "links/latest 报告.pdf", Some(0))]),
    expected("oss-fc-overwrite-smaller-negative-delta.json", HZ, &[(Changed, PHOTO, Some(1024))]),
    expected("oss-fc-replication-object-created.json", HZ, &[(Changed, REPORT, Some(29203))]),
    expected("oss-fc-replication-object-modified.json", HZ, &[(Changed, REPORT, Some(29203))]),
    expected("oss-fc-replication-object-removed.json", HZ, &[(Removed, REPORT, None)]),
    expected("oss-fc-update-object-meta.json", HZ, &[(Changed, LITERAL, Some(11))]),
    expected("oss-fc-delete-object.json", HZ, &[(Removed, REPORT, None)]),
    expected("oss-fc-delete-objects.json", HZ, &[(Removed, PHOTO, None)]),
    expected(
        "oss-fc-multiple-events-defensive.json",
        HZ,
        &[(Changed, "a//b///double slash/", Some(3)), (Removed, "a//b///double slash/", None)],
    ),
    expected("oss-smq-decoded-body-nested.json", HZ, &[(Changed, REPORT, Some(29203))]),
    expected("oss-smq-queue-receive-message.json", HZ, &[(Changed, REPORT, Some(29203))]),
    expected("oss-smq-queue-receive-message.xml", HZ, &[(Changed, REPORT, Some(29203))]),
    expected("oss-smq-topic-http-json-format.json", HZ, &[(Changed, REPORT, Some(29203))]),
    expected("oss-smq-topic-http-xml-format.xml", HZ, &[(Changed, REPORT, Some(29203))]),
    expected("oss-smq-body.base64", HZ, &[(Changed, REPORT, Some(29203))]),
    expected("fc-mns-queue-trigger-cloudevent.json", HZ, &[(Changed, REPORT, Some(29203))]),
    expected("fc-mns-topic-trigger-json.json", HZ, &[(Changed, REPORT, Some(29203))]),
    expected("oss-eventbridge-put-object.json", HZ, &[(Changed, REPORT, Some(29203))]),
    expected("oss-eventbridge-delete-object.json", HZ, &[(Removed, LITERAL, None)]),
    expected("oss-eventbridge-finish-restore.json", HZ, &[(Changed, COLD, Some(107_374_182_400))]),
    expected("oss-eventbridge-legacy-time-format.json", HZ, &[(Changed, FORM, Some(88123))]),
    expected("s3-sqs-object-created-put.json", USW2, &[(Changed, REPORT, Some(29203))]),
    expected("s3-sqs-object-created-put-v2.6.json", USW2, &[(Changed, LITERAL, Some(11))]),
    expected(
        "s3-sqs-object-created-multipart-versioned.json",
        USW2,
        &[(Changed, VIDEO, Some(21_474_836_480))],
    ),
    expected("s3-sqs-object-removed-delete.json", USW2, &[(Removed, REPORT, None)]),
    expected("s3-sqs-object-removed-delete-marker.json", USW2, &[(Removed, PHOTO, None)]),
    expected("s3-sqs-object-restore-completed.json", USW2, &[(Changed, COLD, Some(107_374_182_400))]),
    expected(
        "s3-sqs-two-records.json",
        USW2,
        &[(Changed, ODD, Some(5)), (Changed, "//leading//double/slash/", Some(3))],
    ),
    expected("s3-sns-wrapped-in-sqs.json", USW2, &[(Changed, REPORT, Some(29203))]),
    expected("s3-eventbridge-object-created.json", USW2, &[(Changed, REPORT, Some(29203))]),
    expected("s3-eventbridge-object-created-percent-key.json", USW2, &[(Changed, LITERAL, Some(11))]),
    expected("s3-eventbridge-object-deleted-lifecycle.json", USW2, &[(Removed, PHOTO, None)]),
    expected("s3-eventbridge-object-deleted-permanent.json", USW2, &[(Removed, REPORT, None)]),
    expected("s3-eventbridge-restore-completed.json", USW2, &[(Changed, COLD, Some(107_374_182_400))]),
    expected("tencent-scf-cos-created-put.json", COS, &[(Changed, REPORT, Some(29203))]),
    expected("tencent-scf-cos-remove-delete.json", COS, &[(Removed, LITERAL, Some(11))]),
    expected("tencent-eventbridge-cos-created.json", COS, &[(Changed, REPORT, Some(29203))]),
    expected("huawei-smn-object-created.json", SRC, &[(Changed, REPORT, Some(29203))]),
    expected("huawei-eventgrid-object-removed.json", SRC, &[(Removed, LITERAL, None)]),
    expected("huawei-functiongraph-object-created.json", SRC, &[(Changed, FORM, Some(88123))]),
    expected("qiniu-event-put.json", SRC, &[(Changed, LITERAL, Some(11))]),
    expected(
        "qiniu-event-move.json",
        SRC,
        &[(Removed, "old name.txt", Some(11)), (Changed, "new name.txt", Some(11))],
    ),
    expected("qiniu-upload-callback.form", SRC, &[(Changed, "form upload/résumé+(final).docx", Some(88123))]),
    expected("minio-webhook-object-created-put.json", SRC, &[(Changed, REPORT, Some(29203))]),
    expected("minio-webhook-object-removed-delete.json", SRC, &[(Removed, LITERAL, None)]),
    expected("ceph-object-created-put.json", SRC, &[(Changed, REPORT, Some(29203))]),
    expected("ceph-object-created-put-size-as-string.json", SRC, &[(Changed, LITERAL, Some(11))]),
    expected("ceph-object-removed-delete.json", SRC, &[(Removed, REPORT, Some(0))]),
    expected("gcs-pubsub-push-finalize.json", SRC, &[(Changed, REPORT, Some(29203))]),
    expected("gcs-eventarc-finalized.json", SRC, &[(Changed, LOG, Some(11))]),
    expected("r2-queue-put-object.json", SRC, &[(Changed, REPORT, Some(29203))]),
    expected("r2-queue-copy-object.json", SRC, &[(Changed, LITERAL, Some(11))]),
    expected("r2-queue-delete-object.json", SRC, &[(Removed, PHOTO, None)]),
    expected("b2-webhook-object-created-upload.json", SRC, &[(Changed, REPORT, Some(29203))]),
    expected("dth-minimal-message.json", "", &[(Changed, REPORT, Some(29203))]),
];

const IGNORED: &[(&str, IgnoredWhy, &str)] = &[
    (
        "oss-fc-initiate-multipart-upload-ignore.json",
        IgnoredWhy::Upload,
        "ObjectCreated:InitiateMultipartUpload",
    ),
    ("oss-fc-upload-part-ignore.json", IgnoredWhy::Upload, "ObjectCreated:UploadPart"),
    ("oss-fc-upload-part-copy-ignore.json", IgnoredWhy::Upload, "ObjectCreated:UploadPartCopy"),
    ("oss-fc-abort-multipart-upload-ignore.json", IgnoredWhy::Upload, "ObjectRemoved:AbortMultipartUpload"),
    ("ceph-object-created-post-is-initiate-multipart.json", IgnoredWhy::Upload, "ObjectCreated:Post"),
    ("gcs-pubsub-push-delete-overwritten.json", IgnoredWhy::Overwritten, "OBJECT_DELETE"),
    ("s3-test-event.json", IgnoredWhy::Test, "s3:TestEvent"),
];

fn reads(file: &str) -> Notification {
    parse(&fixture(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn every_shape_comes_to_its_events() {
    for Expected { file, bucket, events } in EVENTS {
        let read = reads(file);
        let got: Vec<_> =
            read.events.iter().map(|event| (event.change, event.key.as_str(), event.size_bytes)).collect();
        assert_eq!(&got, events, "{file}");
        assert_eq!((read.ignored, read.unreadable), (vec![], vec![]), "{file}");
        for event in &read.events {
            assert_eq!(event.bucket.as_deref().unwrap_or_default(), *bucket, "{file}");
        }
    }
}

#[test]
fn what_is_no_event_is_named_and_makes_no_job() {
    for (file, why, name) in IGNORED {
        let read = reads(file);
        assert_eq!(read.ignored, [Ignored { why: *why, name: (*name).to_owned() }], "{file}");
        assert_eq!((read.events, read.unreadable), (vec![], vec![]), "{file}");
    }
}

#[test]
fn every_fixture_is_expected_to_be_something() {
    let known: Vec<&str> = EVENTS
        .iter()
        .map(|expected| expected.file)
        .chain(IGNORED.iter().map(|(file, ..)| *file))
        .chain(["lambda-sqs-mixed-batch.json"])
        .collect();
    for entry in
        std::fs::read_dir(format!("{}/fixtures/events", env!("CARGO_MANIFEST_DIR"))).expect("fixtures")
    {
        let name = entry.expect("entry").file_name().into_string().expect("name");
        assert!(known.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn a_batch_loses_only_what_cannot_be_read() {
    let read = reads("lambda-sqs-mixed-batch.json");
    assert_eq!(read.events.len(), 5, "{read:?}");
    assert!(read.events.iter().all(|event| event.key.as_str() == REPORT && event.change == Changed));
    assert_eq!((read.ignored.len(), read.unreadable.len()), (1, 1));
    assert!(read.unreadable[0].contains("not JSON"), "{:?}", read.unreadable);
}

#[test]
fn hints_are_read_where_they_can_be() {
    let only = |file: &str| reads(file).events.remove(0);
    let oss = only("oss-eventbridge-legacy-time-format.json");
    assert_eq!(oss.etag, ETag::parse("0cc175b9c0f1b6468e1199e269772661"));
    let s3 = only("s3-sqs-object-created-multipart-versioned.json");
    assert_eq!(
        s3.version_id.as_deref(),
        Some("3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY+MTRCxf3vjVBH40Nr8X8gdRQBpUMLUo")
    );
    assert_eq!(s3.etag, ETag::parse("b864db6a936d376f9f8d3ed3bbe540a1-2048"));
    assert_eq!(only("ceph-object-created-put.json").version_id, None);
    assert_eq!(only("huawei-smn-object-created.json").version_id, None);
    let gcs = only("gcs-pubsub-push-finalize.json");
    assert_eq!(gcs.etag, ETag::parse("7d73e1052af595535de90994f4c3e6d5"));
    for file in [
        "oss-fc-put-object.json",
        "s3-eventbridge-object-created.json",
        "tencent-scf-cos-created-put.json",
        "qiniu-event-put.json",
        "b2-webhook-object-created-upload.json",
        "gcs-pubsub-push-finalize.json",
        "r2-queue-put-object.json",
    ] {
        assert_eq!(only(file).time.map(OffsetDateTime::unix_timestamp), Some(1_773_469_295), "{file}");
    }
}

#[test]
fn times_that_cannot_be_read_fail_nothing() {
    for time in [
        "\"2020-08-17T16:04:46.149Asia/Shanghai\"",
        "\"\"",
        "null",
        "{}",
        "-1",
        "1e400",
        "\"99999999999999999999\"",
        "[1]",
    ] {
        let text = fixture("oss-fc-put-object.json").replace("\"2026-03-14T06:21:35.000Z\"", time);
        if let Ok(read) = parse(&text) {
            assert_eq!((read.events.len(), read.events[0].time), (1, None), "{time}");
        } else {
            assert_eq!(time, "1e400", "only what is no JSON fails");
        }
    }
}

#[test]
fn a_ceph_upload_from_a_form_is_an_event() {
    let text = fixture("ceph-object-created-put.json").replace("ObjectCreated:Put", "ObjectCreated:Post");
    assert_eq!(parse(&text).expect("read").events.len(), 1);
}

#[test]
fn kinds_nobody_knows_are_counted_and_those_without_a_name_are_looked_at() {
    let text = fixture("s3-sqs-object-created-put.json");
    let unknown = parse(&text.replace("ObjectCreated:Put", "ObjectFrobnicated:Twice")).expect("read");
    assert_eq!(unknown.ignored[0].why, IgnoredWhy::Unknown);
    assert!(unknown.events.is_empty());
    let nameless = parse(&text.replace("\"eventName\"", "\"other\"")).expect("read");
    assert_eq!(nameless.events.len(), 1);
}

#[test]
fn a_change_of_the_storage_class_alone_is_no_event_by_whatever_name() {
    let by = |file: &str, name: &str, other: &str| parse(&fixture(file).replace(name, other)).expect("read");
    for read in [
        by("s3-sqs-object-created-put.json", "ObjectCreated:Put", "IntelligentTiering"),
        by("s3-sqs-object-created-put.json", "ObjectCreated:Put", "LifecycleTransition"),
        by("minio-webhook-object-created-put.json", "ObjectCreated:Put", "ObjectTransition:Complete"),
        by("s3-eventbridge-object-created.json", "Object Created", "Object Access Tier Changed"),
        by("s3-eventbridge-object-created.json", "Object Created", "Object Storage Class Changed"),
        by("oss-fc-update-object-meta.json", "UpdateObjectMeta", "ChangeStorageClass"),
        by("ceph-object-created-put.json", "ObjectCreated:Put", "ObjectLifecycle:Transition:Current"),
    ] {
        assert!(read.events.is_empty(), "{read:?}");
        assert_eq!(read.ignored[0].why, IgnoredWhy::NotContent, "{read:?}");
    }
}

#[test]
fn a_record_without_a_key_is_unreadable_and_its_neighbour_is_not() {
    let text = fixture("s3-sqs-two-records.json").replacen("\"key\"", "\"kee\"", 1);
    let read = parse(&text).expect("read");
    assert_eq!((read.events.len(), read.unreadable.len()), (1, 1));
    assert!(read.unreadable[0].contains("no key"), "{:?}", read.unreadable);
}

#[test]
fn cos_keys_without_their_prefix_are_read_from_the_url_or_not_at_all() {
    let text = fixture("tencent-scf-cos-created-put.json");
    let other = text.replace("\"key\": \"/1250000000/dth-src/", "\"key\": \"/1/other/");
    assert_eq!(parse(&other).expect("read").events[0].key.as_str(), REPORT);
    let neither = other.replace("\"url\"", "\"was\"");
    assert_eq!(parse(&neither).expect("read").unreadable.len(), 1);
}

#[test]
fn what_has_no_shape_is_refused() {
    for text in ["", "not json", "aGVsbG8gd29ybGQ=", "<xml/>", "a=b&c=d", "key=alone"] {
        assert!(matches!(parse(text), Err(EventError::NotJson(_))), "{text}");
    }
    for text in [
        "{}",
        "[]",
        "7",
        "\"text\"",
        "{\"keys\":1}",
        "{\"Message\":\"{}\"}",
        "{\"specversion\":\"1.0\",\"data\":{}}",
    ] {
        assert!(matches!(parse(text), Err(EventError::UnknownShape(_))), "{text}");
    }
    // Base64 grows by a third at each turn, where JSON in JSON doubles its quotes.
    let wrap = |inner: String, _| STANDARD.encode(inner);
    assert!(parse(&(0..6).fold(r#"{"key":"k"}"#.to_owned(), wrap)).is_ok());
    let deep = (0..12).fold(r#"{"key":"k"}"#.to_owned(), wrap);
    assert!(parse(&deep).is_err());
}

#[test]
fn several_events_of_one_object_are_one_job_that_looks_for_deletes_too() {
    let jobs = reads("oss-fc-multiple-events-defensive.json").jobs();
    assert_eq!(jobs.len(), 1);
    assert_eq!((jobs[0].action, jobs[0].origin), (Action::Delete, Some(Origin::Event)));
    let two = reads("s3-sqs-two-records.json").jobs();
    assert_eq!(two.iter().map(|job| job.key.as_str()).collect::<Vec<_>>(), [ODD, "//leading//double/slash/"]);
    let again =
        r#"{"Records":[{"s3":{"object":{"key":"k","size":1}}},{"s3":{"object":{"key":"k","size":2}}}]}"#;
    let jobs = parse(again).expect("read").jobs();
    assert_eq!((jobs.len(), jobs[0].size, jobs[0].action), (1, Some(2), Action::Copy));
}

#[test]
fn on_a_queue_they_are_told_from_ferrys_own_messages() {
    for Expected { file, .. } in EVENTS.iter().filter(|expected| !expected.file.starts_with("dth")) {
        let incoming = Incoming::parse(&fixture(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(incoming, Incoming::Notification(reads(file)), "{file}");
    }
    for own in
        [r#"{"key":"k","size":1}"#, r#"{"key":"k","action":"delete","task":"t"}"#, r#"{"action":"scan"}"#]
    {
        assert!(matches!(Incoming::parse(own), Ok(Incoming::Message(_))), "{own}");
    }
    for poison in ["{}", "nothing", r#"{"key":""}"#, r#"{"key":"k","action":"explode"}"#] {
        assert!(Incoming::parse(poison).is_err(), "{poison}");
    }
}
