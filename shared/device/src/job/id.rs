//! A job's id.
//!
//! Five characters of the digits 1 to 9 and the letters without O, as the guide of 2009 has them: 34⁵, some 45 million. Case does not matter;
//! an id is kept in capitals.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// In this order an id is a number in base 34.
const ALPHABET: &[u8; 34] = b"123456789ABCDEFGHIJKLMNPQRSTUVWXYZ";
/// Characters of an id.
const LENGTH: usize = 5;

/// Names a job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct JobId(String);

/// Not a job's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no job id: five of the digits 1 to 9 and the letters without O")]
pub struct BadJobId(pub String);

impl JobId {
    /// How many ids there are.
    pub const COUNT: u32 = 34_u32.pow(5);

    /// The id of a number; numbers past [`Self::COUNT`] begin again.
    pub fn of_number(number: u32) -> Self {
        let mut rest = number;
        let mut id = [0_u8; LENGTH];
        for place in id.iter_mut().rev() {
            *place = ALPHABET[(rest % 34) as usize];
            rest /= 34;
        }
        Self(id.iter().map(|byte| char::from(*byte)).collect())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobId {
    type Err = BadJobId;

    fn from_str(text: &str) -> Result<Self, BadJobId> {
        let capitals = text.trim().to_ascii_uppercase();
        if capitals.len() == LENGTH && capitals.bytes().all(|byte| ALPHABET.contains(&byte)) {
            Ok(Self(capitals))
        } else {
            Err(BadJobId(text.to_owned()))
        }
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
