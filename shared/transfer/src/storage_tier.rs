//! Storage classes by what they are, so that one store's word finds another's.
//!
//! Owns: the tiers that makes of store have in common, and the class that a copy gets. Does not own: which class is of which tier,
//! which every profile says of its own classes, nor the task's own map ([`crate::task::StorageClassRule`]). Invariant: a class without
//! a counterpart keeps its own word, so that it is found unfit and never silently becomes another.

use serde::{Deserialize, Serialize};

use crate::task::StorageClassRule;
use crate::{Capabilities, StorageClass};

/// What a storage class is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageTier {
    /// What every store writes by default.
    Standard,
    /// Moved between tiers by the store itself.
    Automatic,
    /// Read about once a month; at once.
    Infrequent,
    /// Read about once a quarter; at once.
    Cold,
    /// Must be restored before it can be read, within hours.
    Archive,
    /// Must be restored before it can be read, within days.
    DeepArchive,
}

impl StorageTier {
    /// Whether an object must be restored before it can be read.
    pub fn must_be_restored(self) -> bool {
        matches!(self, Self::Archive | Self::DeepArchive)
    }
}

impl Capabilities {
    /// The tier of one of the store's classes, where its profile says.
    pub fn tier_of(&self, class: &StorageClass) -> Option<StorageTier> {
        self.class_tiers.get(class.as_str()).copied()
    }

    /// Whether an object of this class must be restored before it can be read: by the profile, else by the word.
    pub fn must_be_restored(&self, class: &StorageClass) -> bool {
        self.tier_of(class).map_or_else(|| class.is_archive(), StorageTier::must_be_restored)
    }
}

/// The destination's class for an object of the source's class: the same word where it is of the same tier there, else the first
/// of that tier that can be asked for. Where either side's tiers are not known, or no class is of that tier, the source's word.
pub fn counterpart(class: StorageClass, source: &Capabilities, destination: &Capabilities) -> StorageClass {
    let Some(tier) = source.tier_of(&class) else { return class };
    if destination.tier_of(&class) == Some(tier) && destination.can_ask_for(&class) {
        return class;
    }
    let of_tier = |word: &&String| destination.class_tiers.get(*word) == Some(&tier);
    let counterpart = destination.storage_classes.iter().find(of_tier);
    counterpart.and_then(|word| StorageClass::parse(word)).unwrap_or(class)
}

impl StorageClassRule {
    /// The class to write for the one that was read; `None` is the standard one on either side.
    pub fn of_copy(
        &self,
        class: Option<StorageClass>,
        source: &Capabilities,
        destination: &Capabilities,
    ) -> Option<StorageClass> {
        let preserved = |class| counterpart(class, source, destination);
        let wanted = match self {
            Self::Preserve => class.map(preserved),
            Self::Fixed(fixed) => StorageClass::parse(fixed),
            Self::Map(map) => match class {
                Some(class) => match map.get(class.as_str()) {
                    Some(mapped) => StorageClass::parse(mapped),
                    None => Some(preserved(class)),
                },
                None => map.get("STANDARD").and_then(|mapped| StorageClass::parse(mapped)),
            },
        };
        wanted.filter(|class| !class.is_standard())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(classes: &[(&str, StorageTier)], asked_for: &[&str]) -> Capabilities {
        Capabilities {
            class_tiers: classes.iter().map(|(word, tier)| ((*word).to_owned(), *tier)).collect(),
            storage_classes: asked_for.iter().map(|word| (*word).to_owned()).collect(),
            ..Capabilities::default()
        }
    }

    #[test]
    fn a_class_finds_its_tier_and_else_keeps_its_word() {
        use StorageTier::{Archive, Cold, Infrequent, Standard};
        let from = store(
            &[("IA", Infrequent), ("ARCHIVE", Cold), ("GLACIER", Archive), ("STANDARD", Standard)],
            &["IA", "ARCHIVE", "GLACIER"],
        );
        let to = store(
            &[("STANDARD_IA", Infrequent), ("ONEZONE_IA", Infrequent), ("ARCHIVE", Archive)],
            &["STANDARD", "STANDARD_IA", "ONEZONE_IA", "ARCHIVE"],
        );
        let of = |word: &str| {
            counterpart(StorageClass::parse(word).expect("class"), &from, &to).as_str().to_owned()
        };
        assert_eq!(of("IA"), "STANDARD_IA", "the first of its tier");
        assert_eq!(of("GLACIER"), "ARCHIVE");
        assert_eq!(of("ARCHIVE"), "ARCHIVE", "of another tier there, and none has its own");
        assert_eq!(of("SOMETHING"), "SOMETHING");
        let same = |word: &str| counterpart(StorageClass::parse(word).expect("class"), &from, &from);
        assert_eq!(same("ARCHIVE").as_str(), "ARCHIVE");
        let unknown = Capabilities::default();
        let glacier = StorageClass::parse("GLACIER").expect("class");
        assert_eq!(counterpart(glacier.clone(), &from, &unknown), glacier);
    }

    #[test]
    fn the_tasks_own_map_comes_first() {
        let aws = store(&[("GLACIER", StorageTier::Archive)], &["GLACIER"]);
        let cos = store(&[("ARCHIVE", StorageTier::Archive)], &["ARCHIVE"]);
        let of = |rule: &StorageClassRule, word: &str| {
            rule.of_copy(StorageClass::parse(word), &cos, &aws).map(|class| class.to_string())
        };
        assert_eq!(of(&StorageClassRule::Preserve, "ARCHIVE").as_deref(), Some("GLACIER"));
        assert_eq!(of(&StorageClassRule::Fixed("STANDARD".into()), "ARCHIVE"), None);
        let map = StorageClassRule::Map([("ARCHIVE".to_owned(), "DEEP_ARCHIVE".to_owned())].into());
        assert_eq!(of(&map, "ARCHIVE").as_deref(), Some("DEEP_ARCHIVE"));
        let map = StorageClassRule::Map([("STANDARD".to_owned(), "STANDARD_IA".to_owned())].into());
        assert_eq!(of(&map, "ARCHIVE").as_deref(), Some("GLACIER"), "not listed");
        assert_eq!(of(&map, "").as_deref(), Some("STANDARD_IA"), "without a class");
    }

    #[test]
    fn what_must_be_restored_is_the_profiles_to_say_and_else_the_words() {
        let class = |word| StorageClass::parse(word).expect("class");
        let gcs = store(&[("ARCHIVE", StorageTier::Cold)], &[]);
        assert!(!gcs.must_be_restored(&class("ARCHIVE")), "read at once");
        assert!(gcs.must_be_restored(&class("GLACIER")) && !gcs.must_be_restored(&class("NEARLINE")));
    }
}
