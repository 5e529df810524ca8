//! What becomes of archived objects.
//!
//! Owns: the task's rule. Does not own: the request ([`crate::store::RestoreRequest`]), nor the waiting, which is the workers'.

use serde::{Deserialize, Serialize};

use crate::StorageClass;
use crate::store::RestoreTier;

/// Whether archived objects are skipped or restored and then copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestoreRule {
    /// Skipped, with that as the reason.
    #[default]
    Skip,
    /// Restored, and copied when they can be read.
    Ask(RestoreTerms),
}

/// How archived objects are restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreTerms {
    /// How fast.
    pub tier: RestoreTier,
    /// How many days the readable copy is kept at the source.
    #[serde(default = "default_days")]
    pub days: u32,
}

/// Long enough for a run that is repeated once a day to find the copy.
fn default_days() -> u32 {
    3
}

impl RestoreTerms {
    /// The days to ask for. Intelligent-Tiering moves the object itself out of its archive tiers, and refuses a number (AWS, API
    /// reference of `RestoreObject`).
    pub fn days_for(self, class: Option<&StorageClass>) -> Option<u32> {
        let moves = class.is_some_and(|class| class.as_str().eq_ignore_ascii_case("INTELLIGENT_TIERING"));
        (!moves).then_some(self.days)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_from_a_task() {
        let rule: RestoreRule = serde_saphyr::from_str("ask: {tier: bulk}").expect("rule");
        let RestoreRule::Ask(terms) = rule else { panic!("{rule:?}") };
        assert_eq!(terms.days_for(StorageClass::parse("GLACIER").as_ref()), Some(3));
        assert_eq!(terms.days_for(StorageClass::parse("INTELLIGENT_TIERING").as_ref()), None);
        assert_eq!(serde_saphyr::from_str::<RestoreRule>("skip").expect("rule"), RestoreRule::Skip);
    }
}
