//! Batches: how messages are divided into requests, and how an answer is read entry by entry. Pure.

use std::ops::Range;

use aws_sdk_sqs::types::BatchResultErrorEntry;
use ferry_transfer::job::task_of;
use ferry_transfer::queue::OutgoingMessage;
use ferry_transfer::{ErrorKind, Result};

use super::error::{self, Place};

/// Most bytes of the messages of one request together (AWS, "Amazon SQS message quotas": 1 MiB).
const REQUEST_MAX_BYTES: usize = 1 << 20;

/// A message's size as SQS counts it: body, attribute names, types and values.
pub(super) fn message_bytes(message: &OutgoingMessage) -> usize {
    let attributes: usize =
        message.attributes.iter().map(|(name, value)| name.len() + "String".len() + value.len()).sum();
    message.body.len() + attributes
}

/// The group of a message: its task, so that a standard queue delivers a small task's messages beside those of one that fills it (AWS,
/// "Amazon SQS fair queues"). `None` for a task whose name cannot be one (`SendMessage`, `MessageGroupId`).
pub(super) fn group_of(body: &str) -> Option<String> {
    let is_plain =
        |name: &String| (1..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    task_of(body).filter(is_plain)
}

/// Divides messages of these sizes into requests that SQS takes, in order. A message that is too large by itself travels
/// alone, so that it is refused alone.
pub(super) fn requests(sizes: &[usize]) -> Vec<Range<usize>> {
    let mut requests = Vec::new();
    let mut start = 0;
    let mut total = 0;
    for (position, &size) in sizes.iter().enumerate() {
        if position > start && total + size > REQUEST_MAX_BYTES {
            requests.push(start..position);
            start = position;
            total = 0;
        }
        total += size;
    }
    if start < sizes.len() {
        requests.push(start..sizes.len());
    }
    requests
}

/// One result for each entry of a request, whose ids are their positions. An entry that the answer does not mention counts
/// as failed: it may or may not have been carried out, and trying again is what at-least-once asks for.
pub(super) fn collate<'a>(
    place: Place<'_>,
    count: usize,
    successful: impl Iterator<Item = &'a str>,
    failed: &[BatchResultErrorEntry],
) -> Vec<Result<()>> {
    let mut results: Vec<Result<()>> = (0..count)
        .map(
            |_| Err(place.error(ErrorKind::Transient, "the answer to the batch does not mention this entry")),
        )
        .collect();
    for id in successful {
        if let Some(result) = find(&mut results, id) {
            *result = Ok(());
        }
    }
    // After the successes: an entry in both lists has failed.
    for entry in failed {
        if let Some(result) = find(&mut results, entry.id()) {
            *result = Err(error::of_entry(place, entry));
        }
    }
    results
}

fn find<'a>(results: &'a mut [Result<()>], id: &str) -> Option<&'a mut Result<()>> {
    results.get_mut(id.parse::<usize>().ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: Place<'static> =
        Place { operation: "SendMessageBatch", queue_url: "http://127.0.0.1/1/jobs" };

    fn failed(id: &str, sender_fault: bool, code: &str) -> BatchResultErrorEntry {
        BatchResultErrorEntry::builder()
            .id(id)
            .sender_fault(sender_fault)
            .code(code)
            .message("why")
            .build()
            .expect("entry")
    }

    #[test]
    fn every_entry_is_answered_for() {
        let failures = [
            failed("1", true, "AWS.SimpleQueueService.InvalidThing"),
            failed("3", false, "InternalError"),
            failed("4", true, "RequestThrottled"),
            failed("9", true, "NotOurs"),
        ];
        let results = collate(PLACE, 5, ["0", "7", "x"].into_iter(), &failures);
        let kinds: Vec<Option<ErrorKind>> =
            results.iter().map(|result| result.as_ref().err().map(ferry_transfer::Error::kind)).collect();
        assert_eq!(
            kinds,
            [
                None,
                Some(ErrorKind::InvalidInput),
                Some(ErrorKind::Transient),
                Some(ErrorKind::Transient),
                Some(ErrorKind::Throttled),
            ]
        );
        let refused = results[1].as_ref().expect_err("refused");
        assert_eq!(refused.code(), Some("InvalidThing"));
        assert!(refused.to_string().contains(PLACE.queue_url));
    }

    #[test]
    fn an_entry_in_both_lists_has_failed() {
        let results = collate(PLACE, 1, ["0"].into_iter(), &[failed("0", true, "X")]);
        assert!(results[0].is_err());
    }

    #[test]
    fn a_message_is_grouped_by_its_task_where_that_can_be_a_group() {
        assert_eq!(group_of(r#"{"key":"a","task":"photos"}"#).as_deref(), Some("photos"));
        for body in [r#"{"key":"a"}"#, r#"{"task":"a to b"}"#, r#"{"task":""}"#, "no JSON", "[1]"] {
            assert_eq!(group_of(body), None, "{body}");
        }
    }

    #[test]
    fn messages_that_fit_together_travel_together() {
        let half = REQUEST_MAX_BYTES / 2;
        assert_eq!(requests(&[half, half, 1]), [0..2, 2..3]);
        assert_eq!(requests(&[1, half, half]), [0..2, 2..3]);
        assert_eq!(requests(&[1, REQUEST_MAX_BYTES + 1, 1]), [0..1, 1..2, 2..3]);
    }

    proptest! {
        #[test]
        fn requests_cover_every_message_in_order_and_within_the_limit(
            sizes in prop::collection::vec(0..REQUEST_MAX_BYTES * 3 / 2, 0..10),
        ) {
            let requests = requests(&sizes);
            let covered: Vec<usize> = requests.iter().cloned().flatten().collect();
            prop_assert_eq!(covered, (0..sizes.len()).collect::<Vec<_>>());
            for range in &requests {
                let total: usize = sizes[range.clone()].iter().sum();
                prop_assert!(total <= REQUEST_MAX_BYTES || range.len() == 1);
            }
            for pair in requests.windows(2) {
                let first_of_next = sizes[pair[1].start];
                let total: usize = sizes[pair[0].clone()].iter().sum();
                prop_assert!(total + first_of_next > REQUEST_MAX_BYTES, "a request was cut short");
            }
        }
    }
}
