//! Failures that pass by themselves, on every kind of request.

use std::time::Duration;

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_testkit::s3::S3Server;
use ferry_tests::{Pair, StoreSetup};

use crate::objects::{bytes, every_attribute, fill_small, parts, sync};

const KIB: usize = 1 << 10;

/// What a sync asks of a source.
const OF_SOURCE: [Operation; 4] =
    [Operation::ListObjectsV2, Operation::HeadObject, Operation::GetObject, Operation::GetObjectTagging];
/// What a sync asks of a destination.
const OF_DESTINATION: [Operation; 7] = [
    Operation::ListObjectsV2,
    Operation::HeadObject,
    Operation::PutObject,
    Operation::CreateMultipartUpload,
    Operation::UploadPart,
    Operation::CompleteMultipartUpload,
    Operation::DeleteObject,
];
const IN_PARTS: [&str; 4] = ["--part-size", "32KiB", "--multipart-threshold", "64KiB"];

/// Small, tagged, streamed and large objects, and one to delete: a sync of them needs every kind of request there is.
async fn everything() -> Pair {
    let pair = Pair::with(StoreSetup::with_small_parts(), StoreSetup::with_small_parts()).await;
    fill_small(&pair.from(), 8);
    pair.from().put_object_with("tagged", "bytes", every_attribute());
    pair.from().put_object_with("large", bytes(150 * KIB, 1), every_attribute());
    pair.to().put_object("extra", "x");
    pair
}

/// Fails the first requests of each kind on both sides with this, syncs, and insists that all is as if nothing had happened.
async fn survive(action: Action, first: u64) {
    survive_at(&OF_DESTINATION, action, first).await;
}

async fn survive_at(of_destination: &[Operation], action: Action, first: u64) {
    let pair = everything().await;
    let mut rules = Vec::new();
    let mut add = |server: &S3Server, operations: &[Operation]| {
        for operation in operations {
            let id = server.faults().add(Rule::on(*operation, action.clone()).first(first));
            rules.push((*operation, id, std::ptr::from_ref(server) == std::ptr::from_ref(&pair.source)));
        }
    };
    add(&pair.source, &OF_SOURCE);
    add(&pair.destination, of_destination);
    let args = [&IN_PARTS[..], &["--delete", "--max-delete", "100%"]].concat();
    let ended = sync(&pair, &args).await.expect_code(0);
    let report = ended.report();
    let arrived =
        report["copied"].as_u64().zip(report["up_to_date"].as_u64()).map(|(copied, same)| copied + same);
    assert_eq!((arrived, &report["failed"]), (Some(10), &0.into()), "{action:?}: {ended}");
    pair.assert_same();
    for (operation, id, at_source) in rules {
        let server = if at_source { &pair.source } else { &pair.destination };
        assert_eq!(server.faults().fired(id), first, "{operation} was never asked often enough: {action:?}");
    }
}

#[tokio::test]
async fn a_store_that_asks_for_fewer_requests_gets_them() {
    survive(Action::SLOW_DOWN, 1).await;
    survive(Action::Refuse { status: 429, code: "TooManyRequests" }, 1).await;
}

#[tokio::test]
async fn a_store_that_fails_for_now_is_asked_again() {
    survive(Action::INTERNAL_ERROR, 2).await;
    survive(Action::Refuse { status: 502, code: "BadGateway" }, 1).await;
}

#[tokio::test]
async fn connections_that_close_without_an_answer_are_opened_again() {
    survive(Action::CloseConnection, 2).await;
}

#[tokio::test]
async fn an_answer_that_is_lost_after_the_deed_does_no_harm() {
    // Without the answer to CreateMultipartUpload nobody knows the upload's name, so that nobody can abort it.
    let all_but_create = OF_DESTINATION.map(|operation| match operation {
        Operation::CreateMultipartUpload => Operation::PutObject,
        other => other,
    });
    survive_at(&all_but_create, Action::LoseReply, 1).await;

    let pair = everything().await;
    pair.destination.faults().add(Rule::on(Operation::CreateMultipartUpload, Action::LoseReply).first(1));
    sync(&pair, &IN_PARTS).await.expect_code(0);
    assert_eq!(pair.to().bytes("large"), pair.from().bytes("large"));
    assert_eq!(pair.to().open_uploads().len(), 1, "the one that nobody was told of");
}

#[tokio::test]
async fn a_slow_store_is_waited_for() {
    survive(Action::Delay(Duration::from_millis(200)), 1).await;
}

#[tokio::test]
async fn an_error_under_status_200_is_an_error() {
    let pair = everything().await;
    for operation in [Operation::CompleteMultipartUpload, Operation::ListObjectsV2] {
        let action = Action::RefuseWithStatus200 { code: "InternalError" };
        pair.destination.faults().add(Rule::on(operation, action).first(1));
    }
    sync(&pair, &[&IN_PARTS[..], &["--delete", "--max-delete", "100%"]].concat()).await.expect_code(0);
    pair.assert_same();
}

#[tokio::test]
async fn retries_are_seen_in_the_report() {
    let pair = Pair::start().await;
    fill_small(&pair.from(), 4);
    pair.source.faults().add(Rule::on(Operation::GetObject, Action::SLOW_DOWN).first(2));
    pair.destination.faults().add(Rule::on(Operation::PutObject, Action::INTERNAL_ERROR).first(3));
    let report = sync(&pair, &[]).await.expect_code(0).report();
    let requests = &report["requests"];
    assert_eq!(
        (&requests["source"]["requests"]["get"], &requests["source"]["throttled"]),
        (&6.into(), &2.into())
    );
    assert_eq!(requests["destination"]["requests"]["put"], 7, "{report}");
    assert_eq!(requests["destination"]["failed"], 3, "{report}");
    assert_eq!(
        pair.source.log().count(Operation::GetObject),
        6,
        "a failed write is repeated without reading again"
    );
}

/// A tagged object in parts of a usual size, and a destination that loses the tags of an upload, as Ceph 16 does.
async fn losing_tags() -> Pair {
    let pair = Pair::start().await;
    pair.from().put_object_in_parts("parts", parts(&bytes(6 << 20, 1), 5 << 20), every_attribute());
    let bucket = pair.to();
    let lose = Action::before(move |target| bucket.set_tags(&target.key, Vec::new()).expect("an object"));
    pair.destination.faults().add(Rule::on(Operation::GetObjectTagging, lose).first(1));
    pair
}

#[tokio::test]
async fn tags_that_a_store_loses_with_an_upload_are_written_again() {
    let pair = losing_tags().await;
    sync(&pair, &[]).await.expect_code(0);
    assert_eq!(pair.destination.log().count(Operation::PutObjectTagging), 1);
    pair.assert_same();
}

#[tokio::test]
async fn tags_that_cannot_be_written_for_a_while_are_not_forgotten() {
    let pair = losing_tags().await;
    // As often as one delivery of the job tries.
    pair.destination.faults().add(Rule::on(Operation::PutObjectTagging, Action::INTERNAL_ERROR).first(6));
    let ended = sync(&pair, &[]).await.expect_code(0);
    assert_eq!(ended.report()["retried"], 1, "{ended}");
    pair.assert_same();
}
