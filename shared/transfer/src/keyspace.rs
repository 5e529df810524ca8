//! Where to cut a stretch of the keyspace, learnt from the keys seen so far.
//!
//! Owns: the arithmetic of cutting: the prefix that a stretch is known to share, the characters its keys are made of, and how
//! many keys are likely to be left. Does not own: who lists what ([`crate::ranges`]). Everything here is a guess about density and none
//! of it about content: any cut is correct, a good one is also even. Invariants: a cut lies strictly between the ends of its
//! stretch and is UTF-8; no character, `/` included, is special.

mod sample;

pub use sample::Sample;

use crate::successor;

/// A stretch from the last key seen up to an end: greater than `low`, at most `high`; `None` is the end of all keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch<'a> {
    /// Exclusive.
    pub low: &'a str,
    /// Inclusive.
    pub high: Option<&'a str>,
}

/// Characters behind the prefix that count in an `f64`: 2^53 is about 10^16.
const DIGITS: usize = 16;

impl<'a> Stretch<'a> {
    /// A place to cut so that both halves hold about as many keys as the sample lets one hope; `None` where it gives no hint.
    ///
    /// Keys of one bucket mostly share a long prefix, and nobody says which. While everything seen lies under a longer prefix
    /// than the stretch is known to have, a cut right behind half of the difference finds out: either nothing is behind it, and
    /// the prefix is known better, or much is, and another lister has work. Where keys are known to branch, the cut goes
    /// through the middle of the characters seen.
    pub fn cut(self, sample: &Sample) -> Option<String> {
        let known = self.known_prefix();
        let alike = sample.under(known);
        if alike.is_empty() {
            return None;
        }
        let shared = common_prefix(&alike[0], &alike[alike.len() - 1]);
        let beyond: Vec<usize> = shared[known.len()..]
            .char_indices()
            .map(|(at, char)| known.len() + at + char.len_utf8())
            .collect();
        // The longer candidates are tried too: the shorter may lie behind the stretch already.
        beyond[beyond.len() / 2..]
            .iter()
            .filter(|_| alike.len() > 1)
            .find_map(|end| successor(&shared[..*end]).filter(|cut| self.has_inside(cut)))
            .or_else(|| self.cut_by_alphabet(known, &sample.alphabet_behind(known)))
    }

    /// The longest prefix that every key of the stretch has, except one that equals `high`.
    pub fn known_prefix(self) -> &'a str {
        let Some(high) = self.high else { return "" };
        let shared = common_prefix(self.low, high);
        match self.low[shared.len()..].chars().next() {
            Some(next) => {
                let longer = &self.low[..shared.len() + next.len_utf8()];
                if successor(longer).as_deref() == Some(high) { longer } else { shared }
            }
            None => shared,
        }
    }

    /// How keys lie in this stretch, for estimates.
    pub fn scale(self, sample: &Sample) -> Scale<'a> {
        let prefix = self.known_prefix();
        Scale { prefix, alphabet: sample.alphabet_behind(prefix), high: self.high }
    }

    fn has_inside(self, cut: &str) -> bool {
        cut > self.low && self.high.is_none_or(|high| cut < high)
    }

    /// Goes down from the known prefix along `low` to the first place where the alphabet leaves room, and cuts in the middle of it.
    fn cut_by_alphabet(self, known: &'a str, alphabet: &[char]) -> Option<String> {
        let mut prefix = known.to_owned();
        // One character deeper at every turn, so at most to the end of `low`.
        loop {
            let floor = match self.low.strip_prefix(prefix.as_str()) {
                Some(rest) => rest.chars().next(),
                None => None,
            };
            let ceiling = self.high.and_then(|high| high.strip_prefix(prefix.as_str())?.chars().next());
            let first = floor.map_or(0, |floor| alphabet.partition_point(|char| *char <= floor));
            let behind =
                ceiling.map_or(alphabet.len(), |ceiling| alphabet.partition_point(|char| *char <= ceiling));
            let room = alphabet.get(first..behind).unwrap_or_default();
            let (lower, upper) = room.split_at(room.len() / 2);
            // The middle, unless it is the very end of the stretch.
            let cut = upper.iter().chain(lower).map(|char| format!("{prefix}{char}"));
            if let Some(cut) = { cut }.find(|cut| self.has_inside(cut)) {
                return Some(cut);
            }
            prefix.push(floor?);
        }
    }
}

/// Where keys lie among all that may be in a stretch, from 0 to 1, were every character as likely as another.
#[derive(Debug)]
pub struct Scale<'a> {
    prefix: &'a str,
    alphabet: Vec<char>,
    high: Option<&'a str>,
}

impl Scale<'_> {
    /// How many keys are likely left behind `low`, if they go on as dense as `keys` of them were from `first` to `low`.
    pub fn keys_left(&self, first: &str, low: &str, keys: u64) -> f64 {
        let (seen_from, seen_to) = (self.position(first), self.position(low));
        let left = self.high.map_or(1.0, |high| self.position(high)) - seen_to;
        if left <= 0.0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let keys = keys as f64;
        // What is too dense to be measured is worth dividing.
        if seen_to <= seen_from { f64::INFINITY } else { keys * left / (seen_to - seen_from) }
    }

    fn position(&self, key: &str) -> f64 {
        let Some(rest) = key.strip_prefix(self.prefix) else {
            return if key < self.prefix { 0.0 } else { 1.0 };
        };
        #[expect(clippy::cast_precision_loss, reason = "there are 1.1 million characters")]
        let weight = |index: usize| index as f64 / (self.alphabet.len() + 1) as f64;
        let mut scale = 1.0;
        let mut sum = 0.0;
        for char in rest.chars().take(DIGITS) {
            // The end of a key comes before every character.
            sum += scale * weight(self.alphabet.partition_point(|known| *known < char) + 1);
            scale *= weight(1);
        }
        sum.min(1.0)
    }
}

/// What both begin with, in whole characters.
fn common_prefix<'a>(a: &'a str, b: &str) -> &'a str {
    let bytes = a
        .char_indices()
        .zip(b.chars())
        .find_map(|((at, left), right)| (left != right).then_some(at))
        .unwrap_or_else(|| a.len().min(b.len()));
    &a[..bytes]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample<'a>(keys: impl IntoIterator<Item = &'a str>) -> Sample {
        let mut sample = Sample::default();
        for key in keys {
            sample.add(key);
        }
        sample
    }

    fn cut(low: &str, high: Option<&str>, seen: &[&str]) -> Option<String> {
        Stretch { low, high }.cut(&sample(seen.iter().copied()))
    }

    #[test]
    fn a_stretch_knows_the_prefix_its_ends_prove() {
        let known = |low, high| Stretch { low, high }.known_prefix();
        assert_eq!(known("object-0000999", None), "");
        assert_eq!(known("object-0000999", Some("object.")), "object-");
        assert_eq!(known("object-0000999", Some("object-0005")), "object-000");
        assert_eq!(known("ab", Some("abz")), "ab");
        assert_eq!(known("备份/x", Some("备份0")), "备份/");
    }

    #[test]
    fn a_shared_prefix_is_found_in_few_cuts() {
        let seen = ["object-0000000000", "object-0000000999"];
        // Nothing turns out to lie behind the first two.
        assert_eq!(cut("object-0000000999", None, &seen).as_deref(), Some("object-1"));
        assert_eq!(cut("object-0000000999", Some("object-1"), &seen).as_deref(), Some("object-00001"));
        assert_eq!(cut("object-0000000999", Some("object-00001"), &seen).as_deref(), Some("object-0000001"));
    }

    #[test]
    fn keys_that_branch_are_cut_in_the_middle_of_their_alphabet() {
        let seen = ["0a", "19", "2b", "3c", "4d", "5e", "6f", "78"];
        assert_eq!(cut("2b", None, &seen).as_deref(), Some("9"));
        assert_eq!(cut("2b", Some("5"), &seen).as_deref(), Some("4"));
        assert_eq!(cut("2b", Some("3"), &seen).as_deref(), Some("2e"));
    }

    #[test]
    fn estimates_follow_the_density_seen() {
        let spread = sample(["00", "19", "25", "33", "47", "58", "64", "71", "86", "92"]);
        let left = Stretch { low: "19", high: None }.scale(&spread).keys_left("00", "19", 200);
        assert!((600.0..1200.0).contains(&left), "{left}");
        let [first, low] = ["object-00000000000000000000000000", "object-00000000000000000000000001"];
        let dense = Stretch { low, high: None }.scale(&sample([first, low])).keys_left(first, low, 2);
        assert!(dense > 1e6, "{dense}");
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-c/]{0,6}",
            "2024/[01][0-9]/[0-3][0-9]/[0-9]{1,3}",
            "[0-9a-f]{8}-[0-9a-f]{4}",
            "[一-三é\u{1}\u{7f}\u{D7FF}\u{E000}\u{10FFFF}]{0,4}",
            "the-same-long-prefix-before-every-key/[0-9]{0,4}",
        ]
    }

    proptest! {
        #[test]
        fn a_cut_lies_strictly_inside(low in text(), high in prop::option::of(text()), seen in prop::collection::vec(text(), 0..40)) {
            prop_assume!(high.as_ref().is_none_or(|high| *high > low));
            let stretch = Stretch { low: &low, high: high.as_deref() };
            if let Some(cut) = stretch.cut(&sample(seen.iter().map(String::as_str))) {
                prop_assert!(stretch.has_inside(&cut), "{cut:?} in {stretch:?}");
            }
            let scale = stretch.scale(&sample(seen.iter().map(String::as_str)));
            prop_assert!(scale.keys_left(&low, &low, 1) >= 0.0);
        }

        #[test]
        fn every_key_of_a_stretch_has_the_known_prefix(mut keys in prop::collection::vec(text(), 3)) {
            keys.sort();
            let [low, key, high] = keys.as_slice() else { unreachable!("three keys") };
            prop_assume!(low < key && key < high);
            let known = Stretch { low, high: Some(high) }.known_prefix();
            prop_assert!(key.starts_with(known), "{key:?} under {known:?}");
        }

        #[test]
        fn positions_ascend_with_keys(mut keys in prop::collection::vec("[0-9a-f]{0,12}", 2)) {
            keys.sort();
            let scale = Stretch { low: "", high: None }.scale(&sample(keys.iter().map(String::as_str)));
            prop_assert!(scale.position(&keys[0]) <= scale.position(&keys[1]));
        }

        #[test]
        fn a_stretch_with_a_hint_and_room_is_cut(keys in prop::collection::btree_set("[0-9]{6}", 20..40)) {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let stretch = Stretch { low: keys[2], high: None };
            prop_assert!(stretch.cut(&sample(keys.iter().copied())).is_some());
        }
    }
}
