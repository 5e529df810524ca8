//! What requests and bytes cost.
//!
//! Owns: the price table, kept as data, and the arithmetic. Does not own: counting the requests ([`crate::plan`] foresees them,
//! [`crate::store::metered`] counts them). Prices are list prices: an estimate, never a bill.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::store::metered::RequestKind;

/// The queue's list prices, and providers' prices that go before those of their profiles.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    queue: QueuePrices,
    #[serde(default)]
    providers: BTreeMap<String, ProviderPrices>,
}

/// A queue's prices.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueuePrices {
    /// US dollars per million requests.
    requests: f64,
    /// Messages of one batch request.
    messages_per_request: f64,
}

/// One provider's prices: US dollars per million requests, and per GiB read over the internet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderPrices {
    /// A PUT, a part, the beginning or the end of an upload.
    pub put: f64,
    /// A page of a listing.
    pub list: f64,
    /// A GET or HEAD.
    pub get: f64,
    /// A deletion.
    pub delete: f64,
    /// A GiB that leaves the store over the internet.
    pub read_gib: f64,
}

/// A sum of money by what it is for, in US dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Requests.
    pub requests_usd: f64,
    /// Bytes that leave the store over the internet.
    pub egress_usd: f64,
}

impl PriceTable {
    /// The table that comes with Ferry.
    pub fn bundled() -> Result<Self, serde_saphyr::Error> {
        Self::parse(include_str!("../prices.yaml"))
    }

    /// A table of the same form.
    pub fn parse(yaml: &str) -> Result<Self, serde_saphyr::Error> {
        serde_saphyr::from_str(yaml)
    }

    /// A provider's prices in this table; `None` where it has none.
    pub fn provider(&self, provider: &str) -> Option<&ProviderPrices> {
        self.providers.get(provider)
    }

    /// What it costs to send, receive and delete so many messages, in batches.
    pub fn queue_usd(&self, messages: u64) -> f64 {
        let calls_per_message = 3.0 / self.queue.messages_per_request;
        millions(messages) * calls_per_message * self.queue.requests
    }
}

impl ProviderPrices {
    /// What these requests and bytes cost.
    pub fn cost(&self, requests: &BTreeMap<RequestKind, u64>, read_bytes: u64) -> Cost {
        let requests_usd =
            requests.iter().map(|(kind, count)| millions(*count) * self.per_million(*kind)).sum();
        #[expect(clippy::cast_precision_loss, reason = "an estimate in dollars")]
        let read_gib = read_bytes as f64 / f64::from(1 << 30);
        Cost { requests_usd, egress_usd: read_gib * self.read_gib }
    }

    /// Providers bill parts and the beginning and end of an upload like a PUT, and aborting one not at all.
    fn per_million(&self, kind: RequestKind) -> f64 {
        match kind {
            RequestKind::List
            | RequestKind::ListVersions
            | RequestKind::ListParts
            | RequestKind::ListUploads => self.list,
            RequestKind::Head | RequestKind::Get | RequestKind::GetTags => self.get,
            RequestKind::Put
            | RequestKind::PutTags
            | RequestKind::CreateUpload
            | RequestKind::UploadPart
            | RequestKind::CompleteUpload
            | RequestKind::Copy
            | RequestKind::CopyPart
            | RequestKind::Restore => self.put,
            RequestKind::AbortUpload => 0.0,
            RequestKind::Delete => self.delete,
        }
    }
}

fn millions(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "an estimate in dollars")]
    let count = count as f64;
    count / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_messages_in_batches_are_three_hundred_thousand_requests() {
        let table = PriceTable::bundled().expect("the bundled table parses");
        assert!((table.queue_usd(1_000_000) - 0.12).abs() < 1e-9);
    }

    #[test]
    fn a_wrong_field_of_a_table_is_named() {
        let error =
            PriceTable::parse("queue: {requests: 1, messages_per_request: 10}\nproviders:\n  x: {putt: 1}\n")
                .expect_err("putt");
        assert!(error.to_string().contains("putt"), "{error}");
    }
}
