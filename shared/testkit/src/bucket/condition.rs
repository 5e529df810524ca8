//! What must hold for a read or a write to happen.
//!
//! Owns: the order in which S3 evaluates conditions (RFC 9110, section 13.2.2). Does not own: their headers.

use std::sync::Arc;

use ferry_transfer::ETag;
use ferry_transfer::store::WriteCondition;
use time::OffsetDateTime;

use super::{Refusal, StoredObject};

/// What an `If-Match` or `If-None-Match` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtagTest {
    /// `*`: any generation.
    Any,
    /// This generation.
    Tag(ETag),
}

/// What must hold for a read.
#[derive(Debug, Clone, Default)]
pub struct ReadCondition {
    /// `If-Match`.
    pub if_match: Option<EtagTest>,
    /// `If-None-Match`.
    pub if_none_match: Option<EtagTest>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<OffsetDateTime>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<OffsetDateTime>,
}

impl EtagTest {
    fn holds(&self, object: &StoredObject) -> bool {
        match self {
            Self::Any => true,
            Self::Tag(tag) => *tag == object.etag,
        }
    }
}

impl ReadCondition {
    /// Only this generation.
    pub fn generation(tag: Option<ETag>) -> Self {
        Self { if_match: tag.map(EtagTest::Tag), ..Self::default() }
    }

    /// Refuses with `PreconditionFailed` or `NotModified`. An ETag condition silences the time condition beside it.
    pub fn check(&self, object: &StoredObject) -> Result<(), Refusal> {
        let matches = match (&self.if_match, self.if_unmodified_since) {
            (Some(test), _) => test.holds(object),
            (None, Some(time)) => object.last_modified <= time,
            (None, None) => true,
        };
        if !matches {
            return Err(Refusal::PreconditionFailed);
        }
        let known = match (&self.if_none_match, self.if_modified_since) {
            (Some(test), _) => test.holds(object),
            (None, Some(time)) => object.last_modified <= time,
            (None, None) => false,
        };
        if known { Err(Refusal::NotModified) } else { Ok(()) }
    }
}

/// Refuses a write whose condition does not hold of what is there. A generation asked of nothing is `NoSuchKey`, as on S3
/// (AWS, "Conditional writes").
pub(super) fn check_write(
    present: Option<&Arc<StoredObject>>,
    condition: &WriteCondition,
) -> Result<(), Refusal> {
    match (condition, present) {
        (WriteCondition::None, _) | (WriteCondition::Absent, None) => Ok(()),
        (WriteCondition::Matches(_), None) => Err(Refusal::NoSuchKey),
        (WriteCondition::Matches(tag), Some(object)) if object.etag == *tag => Ok(()),
        (WriteCondition::Absent | WriteCondition::Matches(_), Some(_)) => Err(Refusal::PreconditionFailed),
    }
}
