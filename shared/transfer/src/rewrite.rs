//! Keys that are named differently at the destination.
//!
//! Owns: the mapping of a key relative to the source's prefix to one relative to the destination's, and back. Does not own: how keys
//! are listed in the order of their new names ([`crate::source_listing`]). Invariants: each key has one new name; the keys that
//! could have a given new name are found again by [`Rewrite::origins`], and by nothing else.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Prefixes to replace, by default none. Of several that a key begins with, the longest counts; what follows it stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<PrefixRule>", into = "Vec<PrefixRule>")]
pub struct Rewrite {
    /// Longest `from` first, no two of them equal.
    rules: Vec<PrefixRule>,
}

/// One prefix to replace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixRule {
    /// What keys begin with at the source, behind the source's prefix. Empty: every key begins so, and `to` is put before it.
    pub from: String,
    /// What they begin with at the destination instead, behind the destination's prefix.
    pub to: String,
}

/// Rules that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the prefix {0:?} is to be replaced in two ways")]
pub struct ContradictoryRules(String);

/// Not a prefix rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no replacement: write OLD=NEW, with \\= for a `=` that belongs to a prefix")]
pub struct BadPrefixRule(String);

/// Keys whose names change in the same way: those that begin with `from`, but with no longer prefix that is replaced otherwise.
/// Within one of them names keep the order of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// What its keys begin with at the source.
    pub from: &'a str,
    /// What they begin with at the destination instead.
    pub to: &'a str,
}

impl Rewrite {
    /// The rules, in any order.
    pub fn new(mut rules: Vec<PrefixRule>) -> Result<Self, ContradictoryRules> {
        rules.sort_by(|a, b| b.from.len().cmp(&a.from.len()).then_with(|| a.cmp(b)));
        rules.dedup();
        match rules.windows(2).find(|pair| pair[0].from == pair[1].from) {
            Some(pair) => Err(ContradictoryRules(pair[0].from.clone())),
            None => Ok(Self { rules }),
        }
    }

    /// Whether every key keeps its name.
    pub fn is_identity(&self) -> bool {
        self.rules.is_empty()
    }

    /// The new name of a relative key.
    pub fn apply<'a>(&self, relative: &'a str) -> Cow<'a, str> {
        let Segment { from, to } = self.segment_of(relative);
        if from == to {
            Cow::Borrowed(relative)
        } else {
            Cow::Owned(format!("{to}{}", &relative[from.len()..]))
        }
    }

    /// The relative keys whose new name would be this one: none, one, or several that cannot all be copied.
    pub fn origins(&self, name: &str) -> Vec<String> {
        let origin = |segment: Segment<'_>| {
            let key = format!("{}{}", segment.from, name.strip_prefix(segment.to)?);
            (self.segment_of(&key) == segment).then_some(key)
        };
        self.segments().filter_map(origin).collect()
    }

    /// Every group of keys whose names change in the same way; together they hold each key once.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        let rest_is_kept = self.rules.last().is_none_or(|rule| !rule.from.is_empty());
        let kept = rest_is_kept.then_some(Segment { from: "", to: "" });
        self.rules.iter().map(|rule| Segment { from: &rule.from, to: &rule.to }).chain(kept)
    }

    /// The group a relative key belongs to.
    pub fn segment_of(&self, relative: &str) -> Segment<'_> {
        self.segments()
            .find(|segment| relative.starts_with(segment.from))
            .unwrap_or(Segment { from: "", to: "" })
    }

    /// The prefixes within a segment whose keys belong to others, ascending and none within another.
    pub fn holes_of(&self, segment: Segment<'_>) -> Vec<&str> {
        let mut inner: Vec<&str> = self
            .rules
            .iter()
            .map(|rule| rule.from.as_str())
            .filter(|from| from.len() > segment.from.len() && from.starts_with(segment.from))
            .collect();
        inner.sort_unstable();
        inner.dedup_by(|longer, shorter| longer.starts_with(*shorter));
        inner
    }
}

impl TryFrom<Vec<PrefixRule>> for Rewrite {
    type Error = ContradictoryRules;

    fn try_from(rules: Vec<PrefixRule>) -> Result<Self, ContradictoryRules> {
        Self::new(rules)
    }
}

impl From<Rewrite> for Vec<PrefixRule> {
    fn from(rewrite: Rewrite) -> Self {
        rewrite.rules
    }
}

impl FromStr for PrefixRule {
    type Err = BadPrefixRule;

    fn from_str(text: &str) -> Result<Self, BadPrefixRule> {
        let (mut from, mut to) = (String::new(), None::<String>);
        let mut rest = text.chars().peekable();
        while let Some(char) = rest.next() {
            let char = match char {
                '=' if to.is_none() => {
                    to = Some(String::new());
                    continue;
                }
                '=' => return Err(BadPrefixRule(text.to_owned())),
                '\\' if rest.next_if_eq(&'=').is_some() => '=',
                other => other,
            };
            to.as_mut().unwrap_or(&mut from).push(char);
        }
        let to = to.ok_or_else(|| BadPrefixRule(text.to_owned()))?;
        Ok(Self { from, to })
    }
}

impl fmt::Display for PrefixRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.from.replace('=', "\\="), self.to.replace('=', "\\="))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewrite(rules: &[&str]) -> Rewrite {
        let rules = rules.iter().map(|rule| rule.parse().expect("rule")).collect();
        Rewrite::new(rules).expect("no contradiction")
    }

    #[test]
    fn the_longest_prefix_is_replaced_and_the_rest_stays() {
        let rewrite = rewrite(&["a/=x/", "a/b/=y/"]);
        let names = ["a/1", "a/b/1", "a", "b/a/1", "a/a/1"].map(|key| rewrite.apply(key).into_owned());
        assert_eq!(names, ["x/1", "y/1", "a", "b/a/1", "x/a/1"]);
        assert_eq!(rewrite.origins("x/1"), ["a/1", "x/1"], "two keys that would have one name");
        assert_eq!(rewrite.origins("x/b/1"), ["x/b/1"], "a/b/1 is named otherwise");
        assert!(rewrite.origins("a/1").is_empty());
    }

    #[test]
    fn an_empty_prefix_is_before_every_key() {
        let rewrite = rewrite(&["=old/"]);
        assert_eq!(rewrite.apply("k"), "old/k");
        assert_eq!((rewrite.origins("old/k"), rewrite.origins("k")), (vec!["k".to_owned()], vec![]));
    }

    #[test]
    fn rules_are_typed_with_an_equals_sign() {
        let rule: PrefixRule = r"dt\=1/=dt\=2/\x".parse().expect("rule");
        assert_eq!((rule.from.as_str(), rule.to.as_str()), ("dt=1/", r"dt=2/\x"));
        assert_eq!(rule.to_string().parse(), Ok(rule));
        for bad in ["a", "", "dt=1/=x", r"a\=b"] {
            assert!(bad.parse::<PrefixRule>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_is_replaced_in_one_way() {
        let both = r#"[{"from":"a","to":"b"},{"from":"a","to":"c"}]"#;
        assert!(
            serde_json::from_str::<Rewrite>(both).expect_err("contradiction").to_string().contains("\"a\"")
        );
        let twice = r#"[{"from":"a","to":"b"},{"from":"a","to":"b"}]"#;
        assert_eq!(serde_json::from_str::<Rewrite>(twice).expect("the same twice"), rewrite(&["a=b"]));
    }

    pub(crate) fn rewrites() -> impl Strategy<Value = Rewrite> {
        prop::collection::btree_map("[ab]{0,2}", "[ab]{0,2}", 0..4).prop_map(|rules| {
            let rules = rules.into_iter().map(|(from, to)| PrefixRule { from, to }).collect();
            Rewrite::new(rules).expect("keys of a map differ")
        })
    }

    proptest! {
        #[test]
        fn origins_are_exactly_the_inverse(rewrite in rewrites(), key in "[ab]{1,4}", name in "[ab]{0,4}") {
            prop_assert!(rewrite.origins(&rewrite.apply(&key)).contains(&key));
            for origin in rewrite.origins(&name) {
                prop_assert_eq!(rewrite.apply(&origin), name.as_str());
            }
        }

        #[test]
        fn names_keep_their_order_within_a_segment(rewrite in rewrites(), a in "[ab]{1,4}", b in "[ab]{1,4}") {
            if rewrite.segment_of(&a) == rewrite.segment_of(&b) {
                prop_assert_eq!(a.cmp(&b), rewrite.apply(&a).cmp(&rewrite.apply(&b)));
            }
        }

        #[test]
        fn holes_are_what_belongs_to_other_segments(rewrite in rewrites(), key in "[ab]{1,4}") {
            for segment in rewrite.segments().filter(|segment| key.starts_with(segment.from)) {
                let is_in_hole = rewrite.holes_of(segment).iter().any(|hole| key.starts_with(hole));
                prop_assert_eq!(rewrite.segment_of(&key) == segment, !is_in_hole);
            }
        }
    }
}
