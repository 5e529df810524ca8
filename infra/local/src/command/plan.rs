//! `ferry plan`: what a sync would do and cost.

mod deletes;

use anyhow::{Context as _, Result};
use ferry_cloud::probe::losses;
use ferry_transfer::plan::PlannedClass;
use ferry_transfer::plan::{Outlook, Plan};
use ferry_transfer::price::{Cost, DeploymentCost, PriceTable};
use ferry_transfer::sightings::Findings;
use ferry_transfer::store::metered::MeterReading;
use indicatif::{HumanBytes, HumanCount, HumanFloatCount};
use serde::Serialize;

use crate::args::{OutputArgs, PlanArgs};
use crate::command::sync::settings;
use crate::ends::{Ends, Rules};
use crate::exit::{BrokenListing, Exit, UsageError, print};
use crate::report::kinds;

use self::deletes::{ExtraKeys, PlannedDeletes};

/// A plan and its price.
#[derive(Debug, Serialize)]
struct PricedPlan {
    source: String,
    destination: String,
    #[serde(flatten)]
    plan: Plan,
    source_list_requests: MeterReading,
    destination_list_requests: MeterReading,
    /// `None` where nobody wrote the provider's prices down.
    source_cost: Option<Cost>,
    destination_cost: Option<Cost>,
    source_provider: String,
    destination_provider: String,
    /// What the deployment on AWS would add; on one machine it is free.
    deployment: DeploymentCost,
    /// What the pair of stores cannot keep of any object, by their profiles.
    losses: Vec<String>,
    /// What would be deleted; `None` where the task deletes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    deletes: Option<PlannedDeletes>,
}

/// Scans both sides and changes nothing.
pub async fn run(args: PlanArgs, output: &OutputArgs) -> Result<Exit> {
    let prices = match &args.prices {
        None => PriceTable::bundled().context("the bundled price table is damaged")?,
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| UsageError(format!("{} cannot be read: {error}", file.display())))?;
            PriceTable::parse(&text).map_err(|error| {
                UsageError(format!("{}: {}", file.display(), ferry_transfer::chain(&error)))
            })?
        }
    };
    let settings = settings(&args.copy);
    let ends = Ends::connect(args.pair, Rules::from_args(&args.copy, &args.deletes)).await?;
    let mut plan = Plan::default();
    let mut extra = ExtraKeys::default();
    let mut findings = Findings::new(&ends.route, &ends.documents);
    loop {
        let finding = match findings.next().await {
            Ok(Some(finding)) => finding,
            Ok(None) => break,
            Err(_) if findings.may_start_over() => {
                plan = Plan::default();
                extra = ExtraKeys::default();
                findings = Findings::new(&ends.route, &ends.documents);
                continue;
            }
            Err(error) => return Err(BrokenListing::from(error).into()),
        };
        extra.take(&finding, &ends.route);
        plan.add(&finding, &Outlook::of(&ends.route, &settings));
    }
    let deletes = extra.planned(&ends.route, plan.held);
    if output.json && deletes.as_ref().is_some_and(|deletes| deletes.planned > 0) {
        deletes::print_keys(&ends).await?;
    }
    let (source_listed, destination_listed) = (ends.source_meter.read(), ends.destination_meter.read());
    let source_cost =
        prices.provider(&ends.source_provider).or(ends.source_prices.as_ref()).map(|provider| {
            sum(
                provider.cost(&plan.source_requests, plan.moved_bytes()),
                provider.cost(&source_listed.requests, 0),
            )
        });
    let destination_cost =
        prices.provider(&ends.destination_provider).or(ends.destination_prices.as_ref()).map(|provider| {
            sum(provider.cost(&plan.destination_requests, 0), provider.cost(&destination_listed.requests, 0))
        });
    let exit = if args.exit_code && plan.has_differences() { Exit::Different } else { Exit::Done };
    let task = &ends.route.task;
    let priced = PricedPlan {
        losses: losses(ends.route.source.capabilities(), ends.route.destination.capabilities()),
        deletes,
        source: task.source.to_string(),
        destination: task.destination.to_string(),
        deployment: prices.deployment(&plan),
        plan,
        source_list_requests: source_listed,
        destination_list_requests: destination_listed,
        source_cost,
        destination_cost,
        source_provider: ends.source_provider,
        destination_provider: ends.destination_provider,
    };
    if output.json {
        print(&serde_json::to_string(&priced)?);
    } else {
        print(text(&priced).trim_end());
    }
    Ok(exit)
}

fn sum(a: Cost, b: Cost) -> Cost {
    Cost { requests_usd: a.requests_usd + b.requests_usd, egress_usd: a.egress_usd + b.egress_usd }
}

fn text(priced: &PricedPlan) -> String {
    let plan = &priced.plan;
    let mut text = format!("{} → {}\n", priced.source, priced.destination);
    let mut row = |name: &str, value: String| text.push_str(&format!("  {name:<11}{value}\n"));
    row("found", format!("{} objects, {}", HumanCount(plan.found), HumanBytes(plan.found_bytes)));
    row(
        "to copy",
        format!(
            "{} objects, {} ({} missing, {} different)",
            HumanCount(plan.copies()),
            HumanBytes(plan.copy_bytes),
            HumanCount(plan.missing),
            HumanCount(plan.different)
        ),
    );
    if plan.server_side > 0 {
        row("by itself", format!("the store copies {} of them", HumanCount(plan.server_side)));
    }
    if plan.archived > 0 {
        let fate = if plan.restores > 0 { "to be restored first" } else { "to be skipped" };
        row("archived", format!("{} of them, {fate}", HumanCount(plan.archived)));
    }
    if plan.too_large > 0 {
        row("too large", format!("{} of them, for the destination", HumanCount(plan.too_large)));
    }
    for (what, count) in &plan.unfit_keys {
        row("keys", format!("{} of them that the destination refuses: {what}", HumanCount(*count)));
    }
    for (class, PlannedClass { objects, becomes }) in &plan.storage_classes {
        let becomes = becomes.as_ref().map_or_else(
            || "the destination has none such (see --storage-class and --unsupported)".to_owned(),
            |becomes| format!("to be {becomes}"),
        );
        row("class", format!("{class}: {} of them, {becomes}", HumanCount(*objects)));
    }
    if plan.contested > 0 {
        row(
            "contested",
            format!("{} that would share a name with others, to be refused", HumanCount(plan.contested)),
        );
    }
    if plan.excluded > 0 {
        row("excluded", format!("{} outside the selection", HumanCount(plan.excluded)));
    }
    row("up to date", HumanCount(plan.up_to_date).to_string());
    row("extra", format!("{} at the destination only", HumanCount(plan.extra)));
    if let Some(deletes) = &priced.deletes {
        row("to delete", deletes.to_string());
        for key in &deletes.sample {
            row("", format!("{key:?}"));
        }
        let more = deletes.planned.saturating_sub(deletes.sample.len() as u64);
        if more > 0 {
            row("", format!("and {} more (--json lists all)", HumanCount(more)));
        }
    }
    for loss in &priced.losses {
        row("loses", loss.clone());
    }
    let requests = |requests| kinds(&MeterReading { requests, ..MeterReading::default() });
    row(
        "requests",
        format!(
            "source {}; destination {}",
            requests(plan.source_requests.clone()),
            requests(plan.destination_requests.clone())
        ),
    );
    row(
        "cost",
        format!(
            "source {}{}; destination {}",
            cost(priced.source_cost, &priced.source_provider),
            priced.source_cost.map_or_else(String::new, |cost| format!(
                ", ${:.2} for egress to the internet",
                cost.egress_usd
            )),
            cost(priced.destination_cost, &priced.destination_provider)
        ),
    );
    row(
        "",
        format!(
            "list prices; listing took source {}; destination {}",
            kinds(&priced.source_list_requests),
            kinds(&priced.destination_list_requests)
        ),
    );
    on_aws(&priced.deployment, row);
    text
}

/// What the deployment would add, and what its surroundings may.
fn on_aws(cost: &DeploymentCost, mut row: impl FnMut(&str, String)) {
    row(
        "on AWS",
        format!(
            "${:.2} more: functions ${:.2} ({} invocations, {} GB-seconds), queue ${:.2} ({} requests)",
            cost.total_usd,
            cost.functions_usd,
            HumanCount(cost.invocations),
            HumanFloatCount(cost.gb_seconds.round()),
            cost.queue_usd,
            HumanCount(cost.queue_requests)
        ),
    );
    row(
        "",
        format!(
            "state ${:.2} ({} writes), logs ${:.2} ({})",
            cost.state_usd,
            HumanCount(cost.state_writes),
            cost.logs_usd,
            HumanBytes(cost.log_bytes)
        ),
    );
    row(
        "traps",
        format!(
            "${:.2} through a NAT gateway, ${:.2} between regions, ${:.2} for KMS without bucket keys",
            cost.traps.nat_usd, cost.traps.between_regions_usd, cost.traps.kms_usd
        ),
    );
}

fn cost(cost: Option<Cost>, provider: &str) -> String {
    match cost {
        None => format!("unknown (no prices of provider {provider}; see --prices)"),
        Some(Cost { requests_usd, .. }) => format!("${requests_usd:.2} for requests"),
    }
}
