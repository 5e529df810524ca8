//! A list of prefixes.
//!
//! Owns: which keys it covers, and the ranges of names in which their copies lie. Invariant: no prefix lies within another, so
//! nothing is scanned twice.

use serde::{Deserialize, Serialize};

use crate::rewrite::Rewrite;
use crate::{KeyRange, successor};

/// Prefixes, ascending, none within another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct PrefixSet(Vec<String>);

impl From<Vec<String>> for PrefixSet {
    fn from(mut prefixes: Vec<String>) -> Self {
        prefixes.sort_unstable();
        prefixes.dedup_by(|longer, shorter| longer.starts_with(shorter.as_str()));
        Self(prefixes)
    }
}

impl From<PrefixSet> for Vec<String> {
    fn from(prefixes: PrefixSet) -> Self {
        prefixes.0
    }
}

impl PrefixSet {
    /// Whether one of the prefixes is one of the key.
    pub fn covers(&self, key: &str) -> bool {
        let behind = self.0.partition_point(|prefix| prefix.as_str() <= key);
        behind.checked_sub(1).is_some_and(|last| key.starts_with(self.0[last].as_str()))
    }

    /// Every prefix.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Ranges, ascending and disjoint, that hold the names of all covered keys under `source_prefix`, and little else.
    pub fn ranges(&self, source_prefix: &str, rewrite: &Rewrite) -> Vec<KeyRange> {
        let relative = self.iter().filter_map(|prefix| match prefix.strip_prefix(source_prefix) {
            None if source_prefix.starts_with(prefix) => Some(""),
            relative => relative,
        });
        let names: Vec<String> = relative
            .flat_map(|prefix| {
                rewrite.segments().filter_map(move |segment| match prefix.strip_prefix(segment.from) {
                    Some(behind) => Some(format!("{}{behind}", segment.to)),
                    None => segment.from.starts_with(prefix).then(|| segment.to.to_owned()),
                })
            })
            .collect();
        let mut ranges: Vec<KeyRange> = Vec::new();
        for name in Self::from(names).iter() {
            let mut range = KeyRange::from_prefix(name);
            if let Some(KeyRange { until: Some(before), .. }) = ranges.last()
                && range.after.as_ref().is_none_or(|after| after < before)
            {
                range.after = Some(before.clone());
            }
            ranges.push(range);
        }
        ranges
    }
}

impl KeyRange {
    /// A range that holds every key with the prefix, and of the others at most those at its very edges.
    pub fn from_prefix(prefix: &str) -> Self {
        Self { after: just_before(prefix), until: successor(prefix) }
    }
}

/// A text before which no name with the prefix lies, and between which and the prefix next to nothing does. There is no greatest text
/// below a prefix: `a…` followed by any number of greatest characters comes ever closer.
fn just_before(prefix: &str) -> Option<String> {
    let last = prefix.chars().next_back()?;
    let stem = &prefix[..prefix.len() - last.len_utf8()];
    Some(match character_before(last) {
        Some(before) => format!("{stem}{before}{}", char::MAX),
        None => stem.to_owned(),
    })
}

/// The character before this one, surrogates left out; `None` before the first.
fn character_before(char: char) -> Option<char> {
    let before = u32::from(char).checked_sub(1)?;
    Some(char::from_u32(before).unwrap_or('\u{D7FF}'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rewrite::PrefixRule;

    fn text() -> impl Strategy<Value = String> {
        "[ab\u{0}\u{D7FF}\u{E000}\u{10FFFF}]{0,3}"
    }

    proptest! {
        #[test]
        fn a_set_covers_what_any_of_its_prefixes_does(prefixes in prop::collection::vec(text(), 0..5), key in text()) {
            let expected = prefixes.iter().any(|prefix| key.starts_with(prefix.as_str()));
            prop_assert_eq!(PrefixSet::from(prefixes).covers(&key), expected);
        }

        #[test]
        fn each_covered_name_lies_in_exactly_one_range(
            prefixes in prop::collection::vec(text(), 0..5),
            key in text(),
            from in text(),
            to in text(),
        ) {
            let set = PrefixSet::from(prefixes);
            for rules in [vec![], vec![PrefixRule { from, to }]] {
                let rewrite = Rewrite::new(rules).expect("one rule");
                let ranges = set.ranges("", &rewrite);
                // Names that are nothing are no names.
                let name = rewrite.apply(&key);
                let holding = ranges.iter().filter(|range| range.contains(&name)).count();
                prop_assert!(holding <= 1, "{ranges:?}");
                if set.covers(&key) && !key.is_empty() && !name.is_empty() {
                    prop_assert_eq!(holding, 1, "{:?}", ranges);
                }
            }
        }
    }

    #[test]
    fn ranges_are_relative_to_the_sources_prefix() {
        let set = PrefixSet::from(vec!["photos/2024/".to_owned(), "videos/".to_owned()]);
        let ranges = set.ranges("photos/", &Rewrite::default());
        assert_eq!(ranges.len(), 1);
        assert!(
            ranges[0].contains("2024/a") && !ranges[0].contains("2023/a") && !ranges[0].contains("2025/")
        );
        let everything = PrefixSet::from(vec!["ph".to_owned()]).ranges("photos/", &Rewrite::default());
        assert_eq!(everything, [KeyRange::ALL]);
    }
}
