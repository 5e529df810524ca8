//! What the deployment in the cloud adds to the requests of stores.
//!
//! Owns: the arithmetic from a plan to functions, queues, state and logs, and to what comes on top where somebody walks into a trap. Does not
//! own: the figures, which are data with their sources (`prices.yaml`), nor what stores cost. Every message is taken to arrive in a full
//! batch and to succeed at its first delivery.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::store::metered::RequestKind;

use super::{gib, million};

/// Prices of the deployment's services, its shape and its speeds.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeploymentPrices {
    functions: FunctionPrices,
    /// On top of a request to a queue, per million.
    fair_queue_requests: f64,
    /// Per million.
    state_writes: f64,
    log_gib: f64,
    traps: TrapPrices,
    shape: Shape,
    speeds: Speeds,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct FunctionPrices {
    gb_second: f64,
    /// Per million.
    invocations: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrapPrices {
    nat_gib: f64,
    between_regions_gib: f64,
    /// Per million.
    kms_requests: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    memory_gib: f64,
    batch: u32,
    large_bytes: u64,
    log_bytes_per_invocation: u64,
    invocation_secs_max: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "units belong to the names that a user writes")]
struct Speeds {
    objects_per_second: f64,
    mib_per_second: f64,
    names_per_second: f64,
}

/// What a run would cost beside the requests to its stores, on AWS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct DeploymentCost {
    /// Invocations of finder and workers.
    pub invocations: u64,
    /// Their time, times their memory.
    pub gb_seconds: f64,
    /// Both together, in US dollars, as every sum here.
    pub functions_usd: f64,
    /// Requests that send, receive and delete messages.
    pub queue_requests: u64,
    /// What they cost.
    pub queue_usd: f64,
    /// Receipts and records of open uploads and their parts that are written, at most.
    pub state_writes: u64,
    /// What they cost.
    pub state_usd: f64,
    /// Bytes of log lines.
    pub log_bytes: u64,
    /// What they cost.
    pub logs_usd: f64,
    /// All of that.
    pub total_usd: f64,
    /// What is not in it.
    pub traps: Traps,
}

/// What comes on top where the surroundings are not as they should be, in US dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Traps {
    /// Every byte through a NAT gateway, in and out again.
    pub nat_usd: f64,
    /// Every byte from one region to another.
    pub between_regions_usd: f64,
    /// Each object or part encrypted with a KMS key by a bucket that has no bucket key, on both sides.
    pub kms_usd: f64,
}

impl DeploymentPrices {
    /// What a plan would cost, with so many messages to a request at this price per million requests.
    pub(super) fn cost(
        &self,
        plan: &Plan,
        messages_per_request: f64,
        queue_requests_price: f64,
    ) -> DeploymentCost {
        let Self { functions, shape, speeds, traps, .. } = self;
        let large = at_least(&plan.copy_sizes_log2, shape.large_bytes);
        let alone = large + plan.part_jobs;
        let small = plan.copies().saturating_sub(large);
        let names = plan.found + plan.held;
        let finding_secs = count(names) / speeds.names_per_second;
        let copying_secs = count(plan.copies()) / speeds.objects_per_second
            + count(plan.moved_bytes()) / f64::from(1 << 20) / speeds.mib_per_second;
        let working = small.div_ceil(u64::from(shape.batch)) + alone;
        let invocations = working + whole(finding_secs / shape.invocation_secs_max).max(1);
        let gb_seconds = (finding_secs + copying_secs) * shape.memory_gib;

        // All are sent in batches; a large one is received and deleted by itself.
        let batches = |messages: u64| whole(count(messages) / messages_per_request);
        let queue_requests = batches(small + alone) + 2 * (batches(small) + alone);
        // The receipts of a batch, and what is remembered of each upload while it is open: at most a record and one of each part.
        let remembered = [RequestKind::CreateUpload, RequestKind::UploadPart];
        let state_writes = working + of(&plan.destination_requests, &remembered);
        let log_bytes = invocations * shape.log_bytes_per_invocation;
        let encrypted = of(&plan.source_requests, &[RequestKind::Get])
            + of(
                &plan.destination_requests,
                &[
                    RequestKind::Put,
                    RequestKind::CreateUpload,
                    RequestKind::UploadPart,
                    RequestKind::CompleteUpload,
                    RequestKind::Copy,
                    RequestKind::CopyPart,
                ],
            );

        let functions_usd = gb_seconds * functions.gb_second + million(invocations) * functions.invocations;
        let queue_usd = million(queue_requests) * (queue_requests_price + self.fair_queue_requests);
        let state_usd = million(state_writes) * self.state_writes;
        let logs_usd = gib(log_bytes) * self.log_gib;
        DeploymentCost {
            invocations,
            gb_seconds,
            functions_usd,
            queue_requests,
            queue_usd,
            state_writes,
            state_usd,
            log_bytes,
            logs_usd,
            total_usd: functions_usd + queue_usd + state_usd + logs_usd,
            traps: Traps {
                nat_usd: 2.0 * gib(plan.moved_bytes()) * traps.nat_gib,
                between_regions_usd: gib(plan.moved_bytes()) * traps.between_regions_gib,
                kms_usd: million(encrypted) * traps.kms_requests,
            },
        }
    }
}

/// Objects of this size or more, where it is a power of two; else of the power of two above it.
fn at_least(sizes_log2: &BTreeMap<u32, u64>, bytes: u64) -> u64 {
    let from = u64::BITS - bytes.saturating_sub(1).leading_zeros() + 1;
    sizes_log2.range(from..).map(|(_, objects)| objects).sum()
}

fn of(requests: &BTreeMap<RequestKind, u64>, kinds: &[RequestKind]) -> u64 {
    kinds.iter().filter_map(|kind| requests.get(kind)).sum()
}

#[expect(clippy::cast_precision_loss, reason = "an estimate in dollars")]
fn count(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of requests, upwards")]
fn whole(number: f64) -> u64 {
    number.ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::super::PriceTable;
    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < expected * 1e-4 + 1e-9, "{value} is not {expected}");
    }

    fn cost(plan: &Plan) -> DeploymentCost {
        PriceTable::bundled().expect("the bundled table parses").deployment(plan)
    }

    /// Worked out by hand from the figures of `prices.yaml`.
    #[test]
    fn a_million_objects_of_ten_kibibytes() {
        let cost = cost(&Plan {
            found: 1_000_000,
            missing: 1_000_000,
            copy_bytes: 10_240_000_000,
            copy_sizes_log2: BTreeMap::from([(14, 1_000_000)]),
            source_requests: BTreeMap::from([(RequestKind::Get, 1_000_000)]),
            destination_requests: BTreeMap::from([(RequestKind::Put, 1_000_000)]),
            ..Plan::default()
        });
        // 20,000 batches of 50, and a finder that lists for 200 s.
        assert_eq!((cost.invocations, cost.queue_requests, cost.state_writes), (20_001, 300_000, 20_000));
        // 1,000,000 / 550 + 9,765.625 / 60 + 1,000,000 / 5,000.
        near(cost.gb_seconds, 1_818.181_8 + 162.760_4 + 200.0);
        near(cost.functions_usd, 2_180.942_2 * 0.000_013_333_4 + 0.004_000_2);
        near(cost.queue_usd, 0.15);
        near(cost.state_usd, 0.10);
        near(cost.logs_usd, 30_001_500.0 / 1_073_741_824.0 * 0.5);
        near(cost.total_usd, 0.033_080 + 0.15 + 0.10 + 0.013_971);
        near(cost.traps.nat_usd, 2.0 * 9.536_743 * 0.045);
        near(cost.traps.between_regions_usd, 0.190_735);
        near(cost.traps.kms_usd, 6.0);
    }

    #[test]
    fn ten_tebibytes_of_one_gibibyte_each() {
        const PARTS: u64 = 10_240 * 32;
        let cost = cost(&Plan {
            found: 10_240,
            missing: 10_240,
            copy_bytes: 10 << 40,
            copy_sizes_log2: BTreeMap::from([(31, 10_240)]),
            source_requests: BTreeMap::from([(RequestKind::Head, 30_720), (RequestKind::Get, PARTS)]),
            destination_requests: BTreeMap::from([
                (RequestKind::CreateUpload, 10_240),
                (RequestKind::UploadPart, PARTS),
                (RequestKind::CompleteUpload, 10_240),
            ]),
            ..Plan::default()
        });
        // Each has an invocation, a receive, a delete, a receipt and the records of its upload and parts to itself.
        assert_eq!(cost.invocations, 10_241);
        assert_eq!((cost.queue_requests, cost.state_writes), (1_024 + 2 * 10_240, 10_240 + 10_240 + PARTS));
        // 10,485,760 MiB at 60 a second, 10,240 / 550 and 10,240 / 5,000.
        near(cost.gb_seconds, 174_762.666_7 + 18.6182 + 2.048);
        near(cost.functions_usd, 174_783.332_9 * 0.000_013_333_4 + 0.010_241 * 0.2);
        near(cost.traps.nat_usd, 921.6);
        near(cost.traps.between_regions_usd, 204.8);
        near(cost.traps.kms_usd, (2.0 * 327_680.0 + 2.0 * 10_240.0) / 1e6 * 3.0);
    }

    #[test]
    fn objects_on_either_side_of_the_lanes_are_told_apart() {
        let plan =
            |log2: u32| Plan { missing: 1, copy_sizes_log2: BTreeMap::from([(log2, 1)]), ..Plan::default() };
        // 28 counts up to one byte less than 256 MiB, 29 those from there on.
        assert_eq!((cost(&plan(28)).queue_requests, cost(&plan(29)).queue_requests), (3, 3));
        let ten = |log2: u32| Plan {
            missing: 10,
            copy_sizes_log2: BTreeMap::from([(log2, 10)]),
            ..Plan::default()
        };
        assert_eq!((cost(&ten(28)).queue_requests, cost(&ten(29)).queue_requests), (3, 21));
        let in_parts = Plan { part_jobs: 192, ..plan(33) };
        assert_eq!((cost(&in_parts).invocations, cost(&in_parts).queue_requests), (194, 20 + 2 * 193));
    }

    #[test]
    fn nothing_to_do_costs_a_look() {
        let cost = cost(&Plan { found: 5_000, held: 5_000, up_to_date: 5_000, ..Plan::default() });
        assert_eq!((cost.invocations, cost.queue_requests, cost.state_writes), (1, 0, 0));
        near(cost.gb_seconds, 2.0);
    }
}
