//! What is written with an object beside what travels with its bytes: encryption at rest, a canned ACL, a lock.
//!
//! Owns: the task's rules for these, and the lock of an object as stores describe it. Does not own: keys of the customer (SSE-C) and
//! who pays, which say how a store is asked and belong to its description. Invariant: a rule that parsed can be sent.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

/// What is written with each object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttributeRules {
    /// How the destination encrypts; `None` leaves it to the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<WriteEncryption>,
    /// Who may do what with the copies; `None` leaves it to the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acl: Option<CannedAcl>,
    /// What becomes of object locks.
    pub lock: LockRule,
}

/// How a store encrypts what is written (AWS, "Protecting data with encryption").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum WriteEncryption {
    /// With keys the store manages: SSE-S3.
    S3 {},
    /// With a key of the key service: SSE-KMS.
    Kms {
        /// Which key; `None` is the account's own for S3.
        #[serde(default)]
        key_id: Option<String>,
        /// What the key's use is bound to.
        #[serde(default)]
        context: BTreeMap<String, String>,
        /// Derive from one key for the bucket: fewer requests to the key service.
        #[serde(default)]
        bucket_key: bool,
    },
    /// Twice, with a key of the key service: DSSE-KMS.
    KmsDsse {
        /// Which key; `None` is the account's own for S3.
        #[serde(default)]
        key_id: Option<String>,
        /// What the key's use is bound to.
        #[serde(default)]
        context: BTreeMap<String, String>,
    },
}

impl WriteEncryption {
    /// Whether ETags are MD5s no longer (AWS, API reference of `Object`, ETag).
    pub fn hides_md5(&self) -> bool {
        !matches!(self, Self::S3 {})
    }
}

/// An ACL by name (AWS, "Access control list overview", canned ACL).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are AWS's own")]
pub enum CannedAcl {
    Private,
    PublicRead,
    PublicReadWrite,
    AuthenticatedRead,
    AwsExecRead,
    BucketOwnerRead,
    BucketOwnerFullControl,
}

impl CannedAcl {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::PublicRead => "public-read",
            Self::PublicReadWrite => "public-read-write",
            Self::AuthenticatedRead => "authenticated-read",
            Self::AwsExecRead => "aws-exec-read",
            Self::BucketOwnerRead => "bucket-owner-read",
            Self::BucketOwnerFullControl => "bucket-owner-full-control",
        }
    }
}

/// What becomes of object locks. A lock guards a bucket's object, not its bytes, and may not be taken back: none is written unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockRule {
    /// Copies are not locked.
    #[default]
    Leave,
    /// As the source's are.
    Copy,
    /// Every copy in the same way.
    Set(NewLock),
}

/// A lock to set on every copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewLock {
    /// Keeps copies for so long.
    #[serde(default)]
    pub retain: Option<RetainFor>,
    /// Keeps them until somebody lifts it.
    #[serde(default)]
    pub legal_hold: bool,
}

/// How long and how firmly copies are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetainFor {
    /// Who may end it.
    pub mode: RetentionMode,
    /// From the day of the copy.
    pub days: u32,
}

/// Who may end a retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetentionMode {
    /// Those with a right of its own.
    Governance,
    /// Nobody.
    Compliance,
}

impl RetentionMode {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }

    /// Reads the word on the wire.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Governance, Self::Compliance].into_iter().find(|mode| mode.as_str().eq_ignore_ascii_case(word))
    }
}

/// The lock of one object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ObjectLock {
    /// Until when nobody may delete it, and who may all the same.
    pub retention: Option<(RetentionMode, OffsetDateTime)>,
    /// Whether it is held until somebody lifts that.
    pub legal_hold: bool,
}

impl ObjectLock {
    /// Whether nothing is locked.
    pub fn is_none(&self) -> bool {
        self.retention.is_none() && !self.legal_hold
    }
}

impl LockRule {
    /// The lock of a copy made now of an object with this lock.
    pub fn of_copy(self, source: ObjectLock, now: OffsetDateTime) -> ObjectLock {
        match self {
            Self::Leave => ObjectLock::default(),
            // A retention that has ended would be refused.
            Self::Copy => {
                ObjectLock { retention: source.retention.filter(|(_, until)| *until > now), ..source }
            }
            Self::Set(lock) => ObjectLock {
                retention: lock.retain.map(|retain| (retain.mode, now + Duration::days(retain.days.into()))),
                legal_hold: lock.legal_hold,
            },
        }
    }
}

/// Not a rule for locks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write leave, copy, hold, governance:DAYS or compliance:DAYS, not {0:?}")]
pub struct BadLockRule(String);

impl FromStr for LockRule {
    type Err = BadLockRule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadLockRule(text.to_owned());
        match text.split_once(':') {
            None if text == "leave" => Ok(Self::Leave),
            None if text == "copy" => Ok(Self::Copy),
            None if text == "hold" => Ok(Self::Set(NewLock { retain: None, legal_hold: true })),
            Some((mode, days)) => {
                let mode = RetentionMode::parse(mode).ok_or_else(bad)?;
                let days = days.parse().ok().filter(|days| *days > 0).ok_or_else(bad)?;
                Ok(Self::Set(NewLock { retain: Some(RetainFor { mode, days }), legal_hold: false }))
            }
            None => Err(bad()),
        }
    }
}

impl fmt::Display for LockRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leave => f.write_str("leave"),
            Self::Copy => f.write_str("copy"),
            Self::Set(NewLock { retain: Some(retain), .. }) => {
                write!(f, "{}:{}", retain.mode.as_str().to_ascii_lowercase(), retain.days)
            }
            Self::Set(NewLock { retain: None, .. }) => f.write_str("hold"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_from_yaml_and_wrong_ones_are_refused() {
        let rules: AttributeRules = serde_saphyr::from_str(
            "encryption: {kind: kms, key_id: alias/a, context: {team: x}, bucket_key: true}\n\
             acl: bucket-owner-full-control\nlock: {set: {retain: {mode: governance, days: 30}}}\n",
        )
        .expect("rules");
        assert!(rules.encryption.is_some_and(|how| how.hides_md5()));
        assert_eq!(rules.acl, Some(CannedAcl::BucketOwnerFullControl));
        assert_eq!(rules.lock, "governance:30".parse().expect("rule"));
        for wrong in
            ["encryption: {kind: s3, key_id: x}", "encryption: {kind: kmz}", "acl: all", "lok: leave"]
        {
            assert!(serde_saphyr::from_str::<AttributeRules>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_lock_is_left_copied_or_set() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let held =
            |until| ObjectLock { retention: Some((RetentionMode::Compliance, until)), legal_hold: true };
        let later = now + Duration::DAY;
        assert!(LockRule::Leave.of_copy(held(later), now).is_none());
        assert_eq!(LockRule::Copy.of_copy(held(later), now), held(later));
        assert_eq!(LockRule::Copy.of_copy(held(now), now).retention, None);
        let rule: LockRule = "governance:2".parse().expect("rule");
        let set = rule.of_copy(held(later), now);
        let two_days = now + Duration::days(2);
        assert_eq!(
            set,
            ObjectLock { retention: Some((RetentionMode::Governance, two_days)), legal_hold: false }
        );
        for text in ["governance", "governance:0", "for-ever", "compliance:x"] {
            assert!(text.parse::<LockRule>().is_err(), "{text}");
        }
    }
}
