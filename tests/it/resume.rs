//! A program that is killed in the middle of an upload, and the one that goes on.

mod checkpoints;
mod killed;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ferry_testkit::bucket::Bucket;
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Pair, Side};
use tokio::sync::Notify;

use crate::objects::whole;

/// Longer than any test: a request that meets it is never carried out.
const FOR_EVER: Duration = Duration::from_hours(1);

/// The parts of one upload, by number, with the ETag each was taken with.
type Parts = BTreeMap<u32, String>;

/// Starts a sync and kills it (SIGKILL) when one side is asked for `operation` the `nth` time. That request, and those of its kind
/// behind it, are never carried out.
async fn kill_at(pair: &Pair, side: Side, operation: Operation, nth: u64, args: &[&str]) {
    let reached = Arc::new(Notify::new());
    let signal = Arc::clone(&reached);
    let faults = pair.server(side).faults();
    faults.add(Rule::on(operation, Action::before(move |_| signal.notify_one())).nth(nth));
    for later in nth..nth + 16 {
        faults.add(Rule::on(operation, Action::Delay(FOR_EVER)).nth(later));
    }
    let log = tempfile::tempfile().expect("a file");
    let program = whole(pair, "sync").args(["--json"]).args(args.iter().copied());
    let mut process = program.start(log);
    tokio::select! {
        () = reached.notified() => {}
        ended = process.wait() => panic!("it ended before {operation} number {nth}: {ended:?}"),
    }
    process.kill().await.expect("killed");
    faults.clear();
}

/// The parts that the destination has taken of its open uploads.
fn acknowledged(bucket: &Bucket) -> Parts {
    let mut parts = Parts::new();
    for upload in bucket.open_uploads() {
        for (number, part) in bucket.parts(&upload.key, &upload.upload_id).expect("an open upload") {
            parts.insert(number, part.etag.as_str().to_owned());
        }
    }
    parts
}

/// The numbers of the parts that were sent to the destination since its log was reset.
fn sent(pair: &Pair) -> BTreeSet<u32> {
    let number = |path: &str| -> u32 {
        let (_, query) = path.split_once('?').expect("a query");
        let number = query.split('&').find_map(|pair| pair.strip_prefix("partNumber="));
        number.and_then(|number| number.parse().ok()).expect("a part number")
    };
    let requests = pair.destination.recent_requests();
    requests
        .iter()
        .filter(|request| request.target.operation == Operation::UploadPart)
        .map(|request| number(&request.path_and_query))
        .collect()
}
