//! How much of a medium is read.
//!
//! Owns: which files a sample has. Invariant: it follows from the seed and the path alone, whatever a file's size and place, so that every file of a medium is as likely as any other.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// How much of a medium is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    Full,
    /// So many of the files.
    Sample {
        /// How many.
        share: Share,
        /// Which: a number drawn for each check.
        seed: u64,
    },
}

impl Scope {
    /// Whether a file is read.
    pub(super) fn selects(&self, path: &str) -> bool {
        match self {
            Self::Full => true,
            Self::Sample { share, seed } => {
                let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(path).finalize();
                let drawn = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
                u64::from(drawn) * 1_000_000 < u64::from(share.per_million) << 32
            }
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Sample { share, .. } => write!(f, "sample {share}"),
        }
    }
}

/// A share of the files: more than none, less than all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    per_million: u32,
}

/// What is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a share above 0% and below 100%, such as 1%")]
pub struct BadShare;

impl FromStr for Share {
    type Err = BadShare;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent: f64 = text.strip_suffix('%').and_then(|number| number.parse().ok()).ok_or(BadShare)?;
        if !(percent > 0.0 && percent < 100.0) {
            return Err(BadShare);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and a million"
        )]
        Ok(Self { per_million: ((percent * 10_000.0).round() as u32).clamp(1, 999_999) })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.per_million) / 10_000.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_written_in_percent() {
        for text in ["1%", "0.5%", "99.9%"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        for bad in ["", "1", "0%", "100%", "-1%", "x%", "NaN%"] {
            assert_eq!(bad.parse::<Share>(), Err(BadShare), "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_sample_has_about_its_share_and_is_the_same_for_the_same_seed(seed: u64) {
            let sample = Scope::Sample { share: "10%".parse().unwrap(), seed };
            let of = |scope: &Scope| (0..2000).filter(|n| scope.selects(&format!("b/{n}"))).collect::<Vec<u32>>();
            let chosen = of(&sample);
            // Five standard deviations.
            prop_assert!((133..=267).contains(&chosen.len()), "{}", chosen.len());
            prop_assert_eq!(of(&sample), chosen);
        }
    }
}
