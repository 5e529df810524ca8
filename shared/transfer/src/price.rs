//! What requests and bytes cost.
//!
//! Owns: the price table, kept as data, and the arithmetic. Does not own: counting the requests ([`crate::plan`] foresees them,
//! [`crate::store::metered`] counts them). Prices are list prices: an estimate, never a bill.

mod deployment;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::Plan;
use crate::store::metered::RequestKind;

use self::deployment::DeploymentPrices;
pub use self::deployment::{DeploymentCost, Traps};

/// List prices of what is no store's, and providers' prices that go before those of their profiles.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    queue: QueuePrices,
    deployment: DeploymentPrices,
    #[serde(default)]
    providers: BTreeMap<String, ProviderPrices>,
}

/// A price table that cannot be one.
#[derive(Debug, thiserror::Error)]
pub enum BadPrices {
    /// Not YAML.
    #[error("it is no YAML")]
    Yaml(#[from] serde_saphyr::Error),
    /// A figure that nobody asks for, or that is none.
    #[error("it is not as expected")]
    Field(#[from] serde_json::Error),
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
    pub fn bundled() -> Result<Self, BadPrices> {
        Self::parse("{}")
    }

    /// That table with what a text of the same form says otherwise.
    pub fn parse(yaml: &str) -> Result<Self, BadPrices> {
        let mut table: Value = serde_saphyr::from_str(include_str!("../prices.yaml"))?;
        lay_over(&mut table, serde_saphyr::from_str(yaml)?);
        Ok(serde_json::from_value(table)?)
    }

    /// A provider's prices in this table; `None` where it has none.
    pub fn provider(&self, provider: &str) -> Option<&ProviderPrices> {
        self.providers.get(provider)
    }

    /// What it costs to send, receive and delete so many messages, in batches.
    pub fn queue_usd(&self, messages: u64) -> f64 {
        let calls_per_message = 3.0 / self.queue.messages_per_request;
        million(messages) * calls_per_message * self.queue.requests
    }

    /// What the deployment on AWS would add to a plan's requests to stores.
    pub fn deployment(&self, plan: &Plan) -> DeploymentCost {
        self.deployment.cost(plan, self.queue.messages_per_request, self.queue.requests)
    }
}

/// Maps are merged, whatever else is said replaces what was there.
fn lay_over(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                lay_over(under.entry(name).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

impl ProviderPrices {
    /// What these requests and bytes cost.
    pub fn cost(&self, requests: &BTreeMap<RequestKind, u64>, read_bytes: u64) -> Cost {
        let requests_usd =
            requests.iter().map(|(kind, count)| million(*count) * self.per_million(*kind)).sum();
        Cost { requests_usd, egress_usd: gib(read_bytes) * self.read_gib }
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

#[expect(clippy::cast_precision_loss, reason = "an estimate in dollars")]
fn million(count: u64) -> f64 {
    count as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "an estimate in dollars")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
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
        for (yaml, name) in [
            ("providers:\n  x: {putt: 1}\n", "putt"),
            ("deployment: {speeds: {objects: 1}}", "objects"),
            ("queue: {requests: free}", "free"),
            ("- a list", "a list"),
        ] {
            let error = crate::chain(&PriceTable::parse(yaml).expect_err(name));
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_figure_that_is_said_goes_before_the_bundled_one_and_the_others_stay() {
        let table = PriceTable::parse("queue: {requests: 4}").expect("a table");
        assert!((table.queue_usd(1_000_000) - 1.2).abs() < 1e-9);
        let bundled = PriceTable::bundled().expect("the bundled table parses");
        assert_eq!((table.deployment, table.queue.messages_per_request), (bundled.deployment, 10.0));
    }
}
