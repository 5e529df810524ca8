//! kill -9 in the middle of many small objects, and `--resume`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_tests::{Ended, Pair, Program};
use serde_json::Value;

use crate::objects::{bytes, sync, whole};

/// Three pages.
const OBJECTS: u64 = 2_500;
/// One lister, so that the run lists nothing but the three pages.
const ONE_LISTER: [&str; 2] = ["--listers", "1"];

fn key(number: u64) -> String {
    format!("many/{number:05}")
}

fn fill(pair: &Pair) {
    for number in 0..OBJECTS {
        pair.from().put_object(&key(number), bytes(40, number));
    }
}

/// A sync that remembers its runs beside the stores' configuration.
fn remembering(pair: &Pair, args: &[&str]) -> Program {
    let state = pair.directory().join("state").to_str().expect("UTF-8").to_owned();
    whole(pair, "sync").args(["--json", "--state-dir", &state]).args(ONE_LISTER).args(args.iter().copied())
}

/// The one checkpoint there is, with its file.
fn checkpoint(pair: &Pair) -> Option<(PathBuf, Value)> {
    let runs = std::fs::read_dir(pair.directory().join("state/runs")).ok()?;
    let mut files = runs.map(|run| run.expect("a run").path().join("checkpoint/scan.json"));
    let file = files.find(|file| file.exists())?;
    let document = serde_json::from_slice(&std::fs::read(&file).ok()?).expect("a document");
    Some((file, document))
}

/// What a run's receipts say.
fn receipts(pair: &Pair, run: &str) -> Vec<Value> {
    let file = pair.directory().join(format!("state/runs/{run}/receipts.jsonl"));
    let text = std::fs::read_to_string(file).expect("receipts");
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Starts a sync to a destination that takes its time, and kills it (SIGKILL) once more than a page of names is covered.
async fn kill_once_covered(pair: &Pair, args: &[&str]) -> Value {
    // Long enough for a checkpoint, which is written every 2 s, before 128 copies at once have done it all.
    let slow = Rule::on(Operation::PutObject, Action::Delay(Duration::from_millis(150)));
    pair.destination.faults().add(slow);
    let log = tempfile::tempfile().expect("a file");
    let mut process = remembering(pair, args).start(log);
    let document = loop {
        if let Some((_, document)) = checkpoint(pair)
            && document["checkpoint"]["names"].as_u64().expect("a count") > 1_000
        {
            break document;
        }
        tokio::select! {
            ended = process.wait() => panic!("it ended before it was killed: {ended:?}"),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    };
    process.kill().await.expect("killed");
    pair.destination.faults().clear();
    pair.reset_logs();
    document
}

/// Where the source was listed from, page by page; empty is the beginning.
fn listed_from(pair: &Pair) -> Vec<String> {
    let requests = pair.source.recent_requests();
    let lists = requests.iter().filter(|request| {
        // Not the look at one key that every command begins with.
        request.target.operation == Operation::ListObjectsV2
            && !request.path_and_query.split(['?', '&']).any(|word| word == "max-keys=1")
    });
    let start_of = |path: &str| {
        let (_, query) = path.split_once('?').expect("a query");
        let value = query.split('&').find_map(|pair| {
            pair.strip_prefix("start-after=").or_else(|| pair.strip_prefix("continuation-token="))
        });
        value.unwrap_or_default().to_owned()
    };
    lists.map(|request| start_of(&request.path_and_query)).collect()
}

async fn resume(pair: &Pair, args: &[&str]) -> Ended {
    remembering(pair, args).args(["--resume"]).run().await
}

#[tokio::test]
async fn a_killed_run_is_gone_on_with_and_what_it_was_done_with_is_not_listed_again() {
    let pair = Pair::start().await;
    fill(&pair);
    let document = kill_once_covered(&pair, &[]).await;
    let names = document["checkpoint"]["names"].as_u64().expect("a count");
    let through = document["checkpoint"]["covered"][0]["until"].as_str().expect("a name").to_owned();
    let run = document["checkpoint"]["run"].as_str().expect("a run");

    let ended = resume(&pair, &[]).await.expect_code(0);
    assert!(ended.stderr.contains(&format!("resuming run {run}")), "{ended}");
    let report = ended.report();
    // The killed run may have come further than it had written down.
    let now = report["resumed"]["names"].as_u64().expect("a count");
    assert!(now >= names && report["run"] == run, "{report}");
    assert_eq!(report["found"], OBJECTS - now, "{report}");
    pair.assert_same();

    let listed = listed_from(&pair);
    assert!(!listed.is_empty() && listed.iter().all(|start| !start.is_empty()), "{listed:?}");
    assert!(listed[0].replace("%2F", "/") >= through, "{listed:?} after {through}");
    assert!(listed.len() as u64 <= (OBJECTS - now).div_ceil(1_000) + 1, "{listed:?}");

    // One run, whose receipts tell of every object that the checkpoint says it was done with.
    let told = receipts(&pair, run);
    let copied: BTreeSet<&str> = told
        .iter()
        .filter(|receipt| receipt["outcome"] == "copied")
        .map(|receipt| receipt["key"].as_str().expect("a key"))
        .collect();
    assert!(
        (0..now).all(|number| copied.contains(key(number).as_str())),
        "{now} names, {} told",
        copied.len()
    );
    assert!(copied.len() as u64 >= now + report["copied"].as_u64().expect("a count"), "{report}");
    assert_eq!(std::fs::read_dir(pair.directory().join("state/runs")).expect("runs").count(), 1);

    // It ended well, so nothing is left to go on with.
    let again = resume(&pair, &[]).await.expect_code(0);
    assert!(again.stderr.contains("nothing to resume"), "{again}");
    assert_eq!(again.report()["up_to_date"], OBJECTS);
}

#[tokio::test]
async fn a_run_that_is_under_way_is_left_to_its_process() {
    let pair = Pair::start().await;
    (0..3).for_each(|number| drop(pair.from().put_object(&key(number), "x")));
    pair.destination.faults().add(Rule::on(Operation::PutObject, Action::Delay(Duration::from_mins(1))));
    let mut process = remembering(&pair, &[]).start(tempfile::tempfile().expect("a file"));
    let run = loop {
        if let Some((_, document)) = checkpoint(&pair) {
            break document["checkpoint"]["run"].as_str().expect("a run").to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    resume(&pair, &[]).await.expect_refusal(&[&run, "still under way"]);
    process.kill().await.expect("killed");
    pair.destination.faults().clear();
    resume(&pair, &[]).await.expect_code(0);
    pair.assert_same();
}

#[tokio::test]
async fn deletes_are_planned_over_every_name_and_a_plain_run_lists_every_name() {
    let pair = Pair::start().await;
    fill(&pair);
    kill_once_covered(&pair, &[]).await;
    // Lost and gained where the killed run was done: who trusts the checkpoint sees neither.
    pair.to().remove(&key(0));
    pair.to().put_object("many/00000-extra", "x");

    let deleting = resume(&pair, &["--delete"]).await.expect_code(0);
    assert!(deleting.stderr.contains("resuming"), "{deleting}");
    let report = deleting.report();
    assert!(report["found"].as_u64().expect("a count") < OBJECTS, "{report}");
    assert_eq!(report["deleted"], 1, "{report}");
    assert!(!pair.to().keys().contains(&"many/00000-extra".to_owned()));

    assert_eq!(pair.to().keys().len() as u64, OBJECTS - 1, "the lost one lay where the killed run was done");
    assert_eq!(sync(&pair, &[]).await.expect_code(0).report()["copied"], 1);
    pair.assert_same();
}

#[tokio::test]
async fn an_object_that_failed_is_tried_again_and_its_neighbours_are_not() {
    let pair = Pair::start().await;
    fill(&pair);
    let refused = key(OBJECTS - 1);
    pair.destination
        .faults()
        .add(Rule::on(Operation::PutObject, Action::ACCESS_DENIED).key_contains(&refused));
    remembering(&pair, &[]).run().await.expect_code(1);
    pair.destination.faults().clear();

    let report = resume(&pair, &[]).await.expect_code(0).report();
    assert_eq!(report["copied"], 1, "{report}");
    assert!(
        report["found"].as_u64().expect("a count") <= 256,
        "no more than the stretch it lies in: {report}"
    );
    pair.assert_same();
}

#[tokio::test]
async fn a_checkpoint_that_is_damaged_or_of_another_task_is_refused() {
    let pair = Pair::start().await;
    fill(&pair);
    let document = kill_once_covered(&pair, &[]).await;
    let run = document["checkpoint"]["run"].as_str().expect("a run").to_owned();

    let foreign = remembering(&pair, &["--compare", "size", "--resume", &run]).run().await;
    foreign.expect_refusal(&[&run, "another task", "--resume"]);
    let unknown = remembering(&pair, &["--resume", "20010101T000000Z-0000"]).run().await;
    unknown.expect_refusal(&["20010101T000000Z-0000", "ferry runs"]);
    // A run that names none is not stopped by what another task left.
    let (file, _) = checkpoint(&pair).expect("still there");
    let text = std::fs::read_to_string(&file).expect("text");
    for damaged in [text.replace("many/0", "many/1"), text[..text.len() / 2].to_owned(), String::new()] {
        std::fs::write(&file, &damaged).expect("written");
        resume(&pair, &[]).await.expect_refusal(&["scan.json", "damaged", "without --resume"]);
    }
    assert_eq!(pair.destination.log().count(Operation::PutObject), 0, "nothing was copied");
}
