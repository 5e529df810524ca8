//! `ferry queue`: dead letters with their reasons.

use std::time::Duration;

use ferry_transfer::Queue as _;
use ferry_transfer::queue::OutgoingMessage;

use super::Deployment;

/// Letters as workers leave them: twelve that may not be read, three that are no messages, one that nobody explained.
async fn with_letters() -> Deployment {
    let deployed = Deployment::start().await;
    let dead = deployed.sqs.queue("dead");
    let letter = |body: String, reason: Option<String>| OutgoingMessage {
        attributes: reason
            .into_iter()
            .map(|reason| (ferry_worker::DEAD_LETTER_REASON.to_owned(), reason))
            .collect(),
        ..OutgoingMessage::new(body)
    };
    for number in 0..12 {
        let key = format!("photos/{number}.jpg");
        let size = if number == 0 { 1_u64 << 30 } else { 3 };
        let reason = format!(
            "GetObject s3://docks key {key:?}: access denied (HTTP 403, AccessDenied, request 0A{number:08}F)"
        );
        let body = serde_json::json!({ "key": key, "size": size, "task": "photos" }).to_string();
        dead.send_batch(vec![letter(body, Some(reason))]).await.expect("sent").remove(0).expect("sent");
    }
    for number in 0..3 {
        let message = letter(format!("poison {number}"), Some("it is not JSON".to_owned()));
        dead.send_batch(vec![message]).await.expect("sent").remove(0).expect("sent");
    }
    dead.send_batch(vec![letter("{\"key\":\"x\"}".to_owned(), None)])
        .await
        .expect("sent")
        .remove(0)
        .expect("sent");
    deployed
}

async fn visible(deployed: &Deployment, queue: &str) -> u64 {
    deployed.sqs.queue(queue).depth().await.expect("depth").visible
}

#[tokio::test]
async fn failures_are_grouped_and_looking_takes_nothing_away() {
    let deployed = with_letters().await;
    let report = deployed.ferry(["queue", "stats", "--json"]).run().await.expect_code(0).report();
    assert_eq!(report["queues"]["dead letters"]["visible"], 16, "{report}");
    let groups: Vec<(u64, &str)> = report["failures"]
        .as_array()
        .expect("groups")
        .iter()
        .map(|group| (group["count"].as_u64().expect("a count"), group["reason"].as_str().expect("a reason")))
        .collect();
    assert_eq!(
        groups[0],
        (12, "GetObject s3://docks key KEY: access denied (HTTP 403, AccessDenied, request …)")
    );
    assert_eq!((groups.len(), groups[1]), (3, (3, "it is not JSON")));
    let peeked = deployed
        .ferry(["queue", "peek", "--json", "--reason", "AccessDenied"])
        .run()
        .await
        .expect_code(0)
        .lines();
    assert_eq!(peeked.len(), 12);
    assert!(peeked[0]["key"].as_str().is_some_and(|key| key.starts_with("photos/")), "{peeked:?}");
    assert_eq!(visible(&deployed, "dead").await, 16);
}

#[tokio::test]
async fn letters_go_back_by_reason_each_to_its_own_queue() {
    let deployed = with_letters().await;
    let report = deployed
        .ferry(["queue", "redrive", "--reason", "AccessDenied", "--rate", "1000", "--json"])
        .run()
        .await;
    assert_eq!(report.expect_code(0).report()["letters"], 12);
    assert_eq!((visible(&deployed, "jobs").await, visible(&deployed, "large").await), (11, 1));
    assert_eq!(visible(&deployed, "dead").await, 4);
    let back = deployed
        .sqs
        .queue("jobs")
        .receive(10, Duration::ZERO, Duration::from_mins(1))
        .await
        .expect("received");
    assert!(
        back.iter().all(|delivery| delivery
            .attributes
            .iter()
            .all(|(name, _)| name != ferry_worker::DEAD_LETTER_REASON)),
        "the reason is the past's: {back:?}"
    );
    // Without a deployment, both queues are named.
    let (jobs, dead) = (deployed.sqs.queue_url("jobs"), deployed.sqs.queue_url("dead"));
    deployed.ferry(["queue", "redrive", "--dead-letters", &dead]).run().await.expect_refusal(&["--queue"]);
    let named = deployed
        .ferry(["queue", "redrive", "--queue", &jobs, "--dead-letters", &dead, "--limit", "1"])
        .run()
        .await;
    named.expect_code(0);
    assert_eq!(visible(&deployed, "dead").await, 3);
}

#[tokio::test]
async fn nothing_is_thrown_away_unasked() {
    let deployed = with_letters().await;
    deployed.ferry(["queue", "purge"]).run().await.expect_refusal(&["--yes", "16"]);
    assert_eq!(visible(&deployed, "dead").await, 16);
    deployed.ferry(["queue", "purge", "--yes", "--reason", "not JSON"]).run().await.expect_code(0);
    assert_eq!(visible(&deployed, "dead").await, 13);
    deployed.ferry(["queue", "purge", "--yes"]).run().await.expect_code(0);
    assert_eq!(visible(&deployed, "dead").await, 0);
}
