//! How fast to go: the caps a user sets, and the concurrency every endpoint finds for itself.
//!
//! Owns: the `pace` of a task ([`Pace`]) and its units. Its parts own the control law ([`control`]), the slots ([`gate`]), the caps
//! ([`flow`]) and what one endpoint has of them ([`endpoint`]); [`crate::store::paced`] puts a store under them. Invariant:
//! nothing has to be tuned by hand; a cap is the only number a user may want to give.

pub mod control;
pub mod endpoint;
pub mod flow;
pub mod gate;

use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use endpoint::{EndpointPace, Lane, PaceReading};
use flow::Valve;

use crate::{Clock, Size};

/// The caps of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pace {
    /// Most bytes moved in a second, each counted once though it is read and written. Default: no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bandwidth: Option<Bandwidth>,
    /// Most requests to each of the two stores in a second. Default: no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<RequestRate>,
}

impl Pace {
    /// The valve that all bytes of a run pass, where there is a cap.
    pub fn valve(&self, clock: &Arc<dyn Clock>) -> Option<Arc<Valve>> {
        self.max_bandwidth
            .map(|Bandwidth { bytes_per_sec }| Arc::new(Valve::new(bytes_per_sec, Arc::clone(clock))))
    }
}

/// Bytes a second, typed as bytes (`100MiB`, `500kB`) or bits (`1Gbit`, `100Mbit`), `/s` or not; in a task also as a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Bandwidth {
    /// In bytes a second.
    pub bytes_per_sec: NonZeroU64,
}

/// Not a bandwidth.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no bandwidth: write bytes a second (100MiB, 500kB) or bits a second (1Gbit, 100Mbit)")]
pub struct BadBandwidth(String);

impl FromStr for Bandwidth {
    type Err = BadBandwidth;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        /// With the bytes a second of each. Networks are sold in powers of ten.
        const BITS: [(&str, u64); 4] =
            [("kbit", 125), ("Kbit", 125), ("Mbit", 125_000), ("Gbit", 125_000_000)];
        let bad = || BadBandwidth(text.to_owned());
        let amount = text.strip_suffix("/s").unwrap_or(text);
        let bits = BITS.iter().find_map(|(unit, bytes)| Some((amount.strip_suffix(unit)?, bytes)));
        let bytes_per_sec = match bits {
            Some((number, bytes)) => {
                let number: u64 = number.trim().parse().map_err(|_| bad())?;
                number.checked_mul(*bytes).ok_or_else(bad)?
            }
            None => amount.parse::<Size>().map_err(|_| bad())?.bytes,
        };
        NonZeroU64::new(bytes_per_sec).map(|bytes_per_sec| Self { bytes_per_sec }).ok_or_else(bad)
    }
}

/// Requests a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestRate(pub NonZeroU64);

/// Not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rate: write requests a second, at least 1")]
pub struct BadRequestRate(String);

impl FromStr for RequestRate {
    type Err = BadRequestRate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix("/s").unwrap_or(text).trim();
        number.parse().map(Self).map_err(|_| BadRequestRate(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Bandwidth {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Bytes(NonZeroU64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes_per_sec) => Ok(Self { bytes_per_sec }),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests {
    use super::*;

    fn bandwidth(text: &str) -> Option<u64> {
        text.parse::<Bandwidth>().ok().map(|bandwidth| bandwidth.bytes_per_sec.get())
    }

    #[test]
    fn bandwidth_is_typed_as_bytes_or_bits() {
        assert_eq!(bandwidth("100MiB"), Some(100 << 20));
        assert_eq!(bandwidth("1Gbit"), Some(125_000_000));
        assert_eq!(bandwidth("500 kB/s"), Some(500_000));
        assert_eq!(bandwidth("4096"), Some(4096));
        for bad in ["", "fast", "0", "-1", "1 Mib", "7bit", "99999999999TiB"] {
            assert_eq!(bandwidth(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_pace_reads_from_a_task_and_refuses_what_it_does_not_know() {
        let pace: Pace = serde_saphyr::from_str("max_bandwidth: 1Gbit\nmax_requests: 300\n").expect("pace");
        assert_eq!(pace.max_bandwidth, "1Gbit".parse().ok());
        assert_eq!(pace.max_requests, "300/s".parse().ok());
        let json = serde_json::to_string(&pace).expect("json");
        assert_eq!(serde_json::from_str::<Pace>(&json).expect("back"), pace);
        assert!(serde_saphyr::from_str::<Pace>("max_bandwith: 1\n").is_err());
        assert!(serde_saphyr::from_str::<Pace>("max_requests: 0\n").is_err());
    }
}
