//! A few of the keys seen, to know what keys look like.
//!
//! Invariant: memory is bounded, whatever is seen: when the sample is full every second key goes, and from then on only every second
//! of those offered is taken.

/// Enough to know an alphabet and where keys branch, few enough to be looked through for every cut.
const KEYS_MAX: usize = 256;
/// Fewer keys than this do not show an alphabet.
const ALPHABET_KEYS_MIN: usize = 16;

/// A few of the keys seen. See the module.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Ascending, each once.
    keys: Vec<String>,
    /// One in so many keys offered is taken.
    one_in: u64,
    offered: u64,
}

impl Default for Sample {
    fn default() -> Self {
        Self { keys: Vec::new(), one_in: 1, offered: 0 }
    }
}

impl Sample {
    /// Offers a key.
    pub fn add(&mut self, key: &str) {
        let taken = self.offered.is_multiple_of(self.one_in);
        self.offered += 1;
        if !taken {
            return;
        }
        if let Err(at) = self.keys.binary_search_by(|known| known.as_str().cmp(key)) {
            self.keys.insert(at, key.to_owned());
        }
        if self.keys.len() >= KEYS_MAX {
            let mut odd = false;
            self.keys.retain(|_| {
                odd = !odd;
                odd
            });
            self.one_in *= 2;
        }
    }

    /// The characters that keys are made of behind a prefix, ascending; behind a shorter one where few keys of this one were seen.
    pub(super) fn alphabet_behind(&self, mut prefix: &str) -> Vec<char> {
        while self.under(prefix).len() < ALPHABET_KEYS_MIN
            && let Some((last, _)) = prefix.char_indices().next_back()
        {
            prefix = &prefix[..last];
        }
        let mut alphabet: Vec<char> = Vec::new();
        for char in self.under(prefix).iter().filter_map(|key| key.get(prefix.len()..)).flat_map(str::chars) {
            if let Err(at) = alphabet.binary_search(&char) {
                alphabet.insert(at, char);
            }
        }
        alphabet
    }

    /// The keys that begin so, ascending.
    pub(super) fn under(&self, prefix: &str) -> &[String] {
        let begin = self.keys.partition_point(|key| key.as_str() < prefix);
        let count = self.keys[begin..].partition_point(|key| key.starts_with(prefix));
        &self.keys[begin..begin + count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_stays_small_and_spread() {
        let mut sample = Sample::default();
        for number in 0..1_000_000 {
            sample.add(&format!("{number:06}"));
        }
        assert!(sample.keys.len() < KEYS_MAX && sample.keys.is_sorted());
        for digit in 0..10 {
            assert!(!sample.under(&digit.to_string()).is_empty(), "{digit}");
        }
    }
}
