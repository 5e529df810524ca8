//! The rules that all batches share.

use std::collections::HashSet;

use ferry_transfer::queue::BATCH_MAX;
use serde::Serialize;
use serde_json::{Value, json};

use crate::sqs::error::{ApiError, Code, FailedEntry};

/// Refuses a batch as a whole: empty, too long, or with entry ids that are malformed or not distinct.
pub(super) fn check<'a>(ids: impl ExactSizeIterator<Item = &'a str>) -> Result<(), ApiError> {
    if ids.len() == 0 {
        return Err(ApiError::new(
            Code::EmptyBatchRequest,
            "There should be at least one entry in the request.",
        ));
    }
    if ids.len() > BATCH_MAX {
        return Err(ApiError::new(
            Code::TooManyEntriesInBatchRequest,
            format!("Maximum number of entries per request are {BATCH_MAX}. You have sent {}.", ids.len()),
        ));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut seen = HashSet::new();
    for id in ids {
        if !(1..=80).contains(&id.len()) || !id.bytes().all(allowed) {
            return Err(ApiError::new(
                Code::InvalidBatchEntryId,
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 \
                 letters long.",
            ));
        }
        if !seen.insert(id) {
            return Err(ApiError::new(Code::BatchEntryIdsNotDistinct, format!("Id {id} repeated.")));
        }
    }
    Ok(())
}

/// The answer to a batch: SQS leaves an empty list out.
pub(super) fn answer<T: Serialize>(successful: &[T], failed: &[FailedEntry]) -> Value {
    let mut answer = serde_json::Map::new();
    if !successful.is_empty() {
        answer.insert("Successful".into(), json!(successful));
    }
    if !failed.is_empty() {
        answer.insert("Failed".into(), json!(failed));
    }
    Value::Object(answer)
}
