//! Flags about what travels with an object's bytes, and how.

use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use ferry_transfer::attribute_rules::{AttributeRules, CannedAcl, LockRule, WriteEncryption};
use ferry_transfer::restore_rule::{RestoreRule, RestoreTerms};
use ferry_transfer::server_side::ServerSideRule;
use ferry_transfer::store::RestoreTier;

/// What travels with an object's bytes, and how.
#[derive(Debug, Clone, ClapArgs)]
pub struct AttributeArgs {
    /// Whether the store copies by itself where both ends are one store
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", help_heading = "Copying")]
    pub server_side: ServerSideWhen,
    /// How the destination encrypts what is written
    #[arg(long, value_enum, value_name = "HOW", help_heading = "Attributes")]
    pub encryption: Option<EncryptionKind>,
    /// The key of the key service to encrypt with
    #[arg(long, value_name = "ID", requires = "encryption", help_heading = "Attributes")]
    pub kms_key_id: Option<String>,
    /// What the key's use is bound to; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, requires = "encryption", help_heading = "Attributes")]
    pub kms_context: Vec<(String, String)>,
    /// Derive from one key for the whole bucket
    #[arg(long, requires = "encryption", help_heading = "Attributes")]
    pub bucket_key: bool,
    /// Canned ACL to write
    #[arg(long, value_enum, value_name = "ACL", help_heading = "Attributes")]
    pub acl: Option<AclWord>,
    /// Lock copies: leave, copy (as the source's are), hold, governance:DAYS or compliance:DAYS
    #[arg(long, value_name = "RULE", default_value = "leave", help_heading = "Attributes")]
    pub object_lock: LockRule,
    /// Have archived objects restored, and copy them once they can be read
    #[arg(long, value_enum, value_name = "TIER", help_heading = "Archives")]
    pub restore: Option<Tier>,
    /// Days for which the source keeps a restored object readable
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=365), requires = "restore", help_heading = "Archives")]
    pub restore_days: u32,
    /// Wait at most so long (30m, 12h, 2d) for restored objects; without it the run ends and a later one copies them
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "restore", help_heading = "Archives")]
    pub restore_wait: Option<Duration>,
}

impl AttributeArgs {
    /// What is written with each object.
    pub fn rules(&self) -> AttributeRules {
        let key_id = self.kms_key_id.clone();
        let context = self.kms_context.iter().cloned().collect();
        AttributeRules {
            encryption: self.encryption.map(|kind| match kind {
                EncryptionKind::S3 => WriteEncryption::S3 {},
                EncryptionKind::Kms => WriteEncryption::Kms { key_id, context, bucket_key: self.bucket_key },
                EncryptionKind::KmsDsse => WriteEncryption::KmsDsse { key_id, context },
            }),
            acl: self.acl.map(Into::into),
            lock: self.object_lock,
        }
    }

    /// What becomes of archived objects.
    pub fn restore(&self) -> RestoreRule {
        self.restore.map_or(RestoreRule::Skip, |tier| {
            RestoreRule::Ask(RestoreTerms { tier: tier.into(), days: self.restore_days })
        })
    }

    /// How long to wait for archived objects.
    pub fn restore_wait(&self) -> Option<Duration> {
        self.restore_wait
    }
}

/// Whether the store copies by itself.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ServerSideWhen {
    /// where both ends have one endpoint and the same credentials
    Auto,
    /// never: every byte passes by and is checked
    Never,
}

impl From<ServerSideWhen> for ServerSideRule {
    fn from(when: ServerSideWhen) -> Self {
        match when {
            ServerSideWhen::Auto => Self::Auto,
            ServerSideWhen::Never => Self::Never,
        }
    }
}

/// How a store encrypts.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum EncryptionKind {
    /// with keys the store manages (SSE-S3)
    S3,
    /// with a key of the key service (SSE-KMS)
    Kms,
    /// twice, with a key of the key service (DSSE-KMS)
    KmsDsse,
}

/// A canned ACL.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum AclWord {
    Private,
    PublicRead,
    PublicReadWrite,
    AuthenticatedRead,
    AwsExecRead,
    BucketOwnerRead,
    BucketOwnerFullControl,
}

impl From<AclWord> for CannedAcl {
    fn from(word: AclWord) -> Self {
        match word {
            AclWord::Private => Self::Private,
            AclWord::PublicRead => Self::PublicRead,
            AclWord::PublicReadWrite => Self::PublicReadWrite,
            AclWord::AuthenticatedRead => Self::AuthenticatedRead,
            AclWord::AwsExecRead => Self::AwsExecRead,
            AclWord::BucketOwnerRead => Self::BucketOwnerRead,
            AclWord::BucketOwnerFullControl => Self::BucketOwnerFullControl,
        }
    }
}

/// How fast a restore is.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Tier {
    /// hours
    Standard,
    /// up to two days, cheapest
    Bulk,
    /// minutes, dear
    Expedited,
}

impl From<Tier> for RestoreTier {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Standard => Self::Standard,
            Tier::Bulk => Self::Bulk,
            Tier::Expedited => Self::Expedited,
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("write NAME=VALUE, not {text:?}"))
}

/// Reads `90s`, `30m`, `12h` or `2d`.
fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("write a number with s, m, h or d, as in 12h, not {text:?}");
    let unit = text.chars().last().ok_or_else(bad)?;
    let secs: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(bad()),
    };
    let number: u64 = text.trim_end_matches(unit).parse().map_err(|_| bad())?;
    number.checked_mul(secs).map(Duration::from_secs).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_typed_with_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2d"), Ok(Duration::from_hours(48)));
        for bad in ["", "12", "h", "1.5h", "3w"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
