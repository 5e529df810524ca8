//! The two ends of a command, connected.
//!
//! Owns: laying one-off flags over `ferry.yaml`, connecting, metering and retrying each side, and the checks that spare a user a run
//! that cannot work. Does not own: what is then done with them.

use std::sync::Arc;

use anyhow::Result;
use ferry_cloud::{S3Account, connect, one_store};
use ferry_transfer::attribute_rules::AttributeRules;
use ferry_transfer::copy::CopySettings;
use ferry_transfer::deletion::Trash;
use ferry_transfer::key_source::{Documents, NoDocuments};
use ferry_transfer::pace::EndpointPace;
use ferry_transfer::price::ProviderPrices;
use ferry_transfer::restore_rule::RestoreRule;
use ferry_transfer::server_side::{self, ServerSideRule};
use ferry_transfer::store::ListRequest;
use ferry_transfer::store::metered::Meter;
use ferry_transfer::task::{Deletes, Location, StorageClassRule, Task, UnsupportedRule};
use ferry_transfer::versions::{self, Versions};
use ferry_transfer::{Clock, ErrorKind, Route, SharedStore, SystemClock};

use crate::args::{ConfigArgs, CopyArgs, DeleteArgs, PairArgs, SideAccess, StoreArgs, Unsupported};
use crate::config::{Config, OneOff};
use crate::documents::LocalDocuments;
use crate::exit::UsageError;

/// Two connected sides and their meters.
#[derive(Debug)]
pub struct Ends {
    /// The task that the arguments make, and both its stores.
    pub route: Arc<Route>,
    /// Where lists of keys are read from.
    pub documents: Arc<dyn Documents>,
    /// Counts what is asked of the source.
    pub source_meter: Arc<Meter>,
    /// Counts what is asked of the destination.
    pub destination_meter: Arc<Meter>,
    /// How fast the source is asked.
    pub source_pace: Arc<EndpointPace>,
    /// How fast the destination is asked.
    pub destination_pace: Arc<EndpointPace>,
    /// Where the source is.
    pub source_endpoint: String,
    /// Where the destination is.
    pub destination_endpoint: String,
    /// The source's make, for prices.
    pub source_provider: String,
    /// The destination's make, for prices.
    pub destination_provider: String,
    /// The source's list prices, where its profile has them.
    pub source_prices: Option<ProviderPrices>,
    /// The destination's list prices, where its profile has them.
    pub destination_prices: Option<ProviderPrices>,
}

/// What the task of a command line says beside its two ends.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What happens to extra objects.
    pub deletes: Deletes,
    /// Where deleted objects go instead.
    pub trash: Option<Trash>,
    /// Which storage class to write.
    pub storage_class: StorageClassRule,
    /// How much of an object's past travels.
    pub versions: Versions,
    /// What to do with attributes that the destination cannot hold.
    pub unsupported: UnsupportedRule,
    /// Whether the store copies by itself where both ends are one.
    pub server_side: ServerSideRule,
    /// What becomes of archived objects.
    pub restore: RestoreRule,
    /// What is written with each object.
    pub attributes: AttributeRules,
    /// Most requests of each kind to have under way at each store.
    pub streams: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            deletes: Deletes::default(),
            trash: None,
            versions: Versions::default(),
            storage_class: StorageClassRule::default(),
            unsupported: UnsupportedRule::default(),
            server_side: ServerSideRule::default(),
            restore: RestoreRule::default(),
            attributes: AttributeRules::default(),
            streams: CopySettings::default().streams,
        }
    }
}

impl Rules {
    /// From flags.
    pub fn from_args(copy: &CopyArgs, deletes: &DeleteArgs) -> Self {
        Self {
            deletes: deletes.deletes(),
            trash: deletes.trash.clone(),
            storage_class: copy
                .storage_class
                .clone()
                .map_or(StorageClassRule::Preserve, StorageClassRule::Fixed),
            versions: Versions::Latest,
            unsupported: match copy.unsupported {
                Unsupported::Fail => UnsupportedRule::Fail,
                Unsupported::Drop => UnsupportedRule::Drop,
                Unsupported::Sidecar => UnsupportedRule::Sidecar,
            },
            server_side: copy.attributes.server_side.into(),
            restore: copy.attributes.restore(),
            attributes: copy.attributes.rules(),
            streams: usize::from(copy.concurrency),
        }
    }
}

impl Ends {
    /// Connects both sides and makes sure that both can be listed.
    pub async fn connect(args: PairArgs, rules: Rules) -> Result<Self> {
        let PairArgs {
            source,
            destination,
            compare,
            keys,
            listing,
            pace,
            config,
            source_store,
            dest_store,
            access,
        } = args;
        let config = Config::load(&config)?;
        let (source_store, dest_store) = (StoreArgs::from(source_store), StoreArgs::from(dest_store));
        let (source_access, destination_access) = access.sides();
        let source_side = Side::connect(&config, &source.store, source_store, source_access).await?;
        let destination_side =
            Side::connect(&config, &destination.store, dest_store, destination_access).await?;
        let documents: Arc<dyn Documents> =
            Arc::new(LocalDocuments::new(config, &source.store, source_side.account.clone()));
        let key_source = keys.source(documents.as_ref(), &source).await?;
        if rules.deletes != Deletes::Keep && !key_source.is_listed() {
            return Err(UsageError(
                "--delete needs a listing of the source: that a list or an inventory does not name a key proves nothing"
                    .to_owned(),
            )
            .into());
        }
        let name = format!("{source} to {destination}");
        let task = Task {
            keys: key_source,
            select: keys.select(),
            rewrite: keys.rewrite()?,
            compare: compare.map(Into::into).unwrap_or_default(),
            deletes: rules.deletes,
            trash: rules.trash,
            versions: rules.versions,
            storage_class: rules.storage_class,
            unsupported: rules.unsupported,
            server_side: rules.server_side,
            listing: listing.rules(),
            restore: rules.restore,
            attributes: rules.attributes,
            pace: pace.pace(),
            ..Task::new(name, source, destination)
        };
        Self::check(task, rules.streams, &source_side, &destination_side, documents).await
    }

    /// Connects both sides of a task and makes sure that both can be listed.
    pub async fn of_task(config: &Config, task: Task, streams: usize) -> Result<Self> {
        let side =
            async |name: &str| Side::connect(config, name, StoreArgs::default(), SideAccess::default()).await;
        let (source_side, destination_side) =
            (side(&task.source.store).await?, side(&task.destination.store).await?);
        let documents: Arc<dyn Documents> =
            Arc::new(LocalDocuments::new(config.clone(), &task.source.store, source_side.account.clone()));
        Self::check(task, streams, &source_side, &destination_side, documents).await
    }

    /// Joins two sides that can both be listed.
    async fn check(
        task: Task,
        streams: usize,
        source_side: &Side,
        destination_side: &Side,
        documents: Arc<dyn Documents>,
    ) -> Result<Self> {
        let from = source_side.account.bucket(&task.source.bucket);
        let found = one_store::ends(&from, &destination_side.account.bucket(&task.destination.bucket)).await;
        let ends = Self { documents, ..Self::join(task, streams, source_side, destination_side, found)? };
        let task = &ends.route.task;
        for (side, store, prefix, at) in [
            ("source", &ends.route.source, &task.source.prefix, source_side),
            ("destination", &ends.route.destination, &task.destination.prefix, destination_side),
        ] {
            // Under the prefix: a policy may allow no more than that.
            let one_key =
                ListRequest { prefix: prefix.clone(), page_size: Some(1), ..ListRequest::default() };
            if let Err(error) = store.list(one_key).await {
                return Err(unusable(side, at.account.endpoint(), error));
            }
        }
        versions::ensure_kept(&ends.route).await.map_err(|error| match error.kind() {
            ErrorKind::Configuration => UsageError(error.chain()).into(),
            _ => anyhow::Error::from(error),
        })?;
        Ok(ends)
    }

    /// Where both stores are, source first.
    pub fn endpoints(&self) -> [&str; 2] {
        [&self.source_endpoint, &self.destination_endpoint]
    }

    /// Joins two sides by a task, with what was found out about them and at most `streams` requests of each kind under way at each
    /// store. Asks nothing of them.
    pub fn join(
        task: Task,
        streams: usize,
        source: &Side,
        destination: &Side,
        found: server_side::Ends,
    ) -> Result<Self> {
        refuse_loops(&task, &source.account, &destination.account)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let valve = task.pace.valve(&clock);
        let pace = || Arc::new(EndpointPace::new(streams, &task.pace, valve.clone(), &clock));
        let source_pace = pace();
        // One endpoint has one pace, whichever side it is on.
        let is_one_endpoint = source.account.endpoint() == destination.account.endpoint();
        let destination_pace = if is_one_endpoint { Arc::clone(&source_pace) } else { pace() };
        let (source_meter, destination_meter) = (Arc::new(Meter::default()), Arc::new(Meter::default()));
        let source_store = source.account.bucket(&task.source.bucket).layered(&source_meter, &source_pace);
        let destination_store = destination
            .account
            .bucket(&task.destination.bucket)
            .as_destination(&task.attributes, &source.account)
            .layered(&destination_meter, &destination_pace);
        Ok(Self {
            route: Arc::new(Route::new(task, source_store, destination_store).between(found)),
            documents: Arc::new(NoDocuments),
            source_meter,
            destination_meter,
            source_pace,
            destination_pace,
            source_endpoint: source.account.endpoint().to_owned(),
            destination_endpoint: destination.account.endpoint().to_owned(),
            source_provider: source.provider.clone(),
            destination_provider: destination.provider.clone(),
            source_prices: source.account.profile().prices,
            destination_prices: destination.account.profile().prices,
        })
    }
}

/// A bucket of one store, for commands that need no second one.
pub fn store_of(side: &Side, bucket: &str) -> SharedStore {
    side.account.bucket(bucket).by_itself()
}

/// One store, connected.
#[derive(Debug)]
pub struct Side {
    /// The store.
    pub account: S3Account,
    /// Its make, for prices.
    pub provider: String,
}

impl Side {
    /// A named store, flags laid over `ferry.yaml`.
    pub async fn connect(config: &Config, name: &str, flags: StoreArgs, access: SideAccess) -> Result<Self> {
        let one_off = if flags.is_empty() { OneOff::No } else { OneOff::Described };
        let store = access.over(flags.over(config.store(name, one_off)?));
        store.validate().map_err(|error| UsageError(format!("store {name}: {}", error.chain())))?;
        Ok(Self { account: connect(name, &store).await?, provider: store.provider().to_owned() })
    }
}

/// The account of a named store, for commands that need only one.
pub async fn single_account(config: &ConfigArgs, name: &str, flags: StoreArgs) -> Result<S3Account> {
    Ok(Side::connect(&Config::load(config)?, name, flags, SideAccess::default()).await?.account)
}

/// Nothing was tried yet, so whatever keeps a whole side from being listed is for the user to set right; except that a store may
/// fail for now.
pub fn unusable(side: &str, endpoint: &str, error: ferry_transfer::Error) -> anyhow::Error {
    let fails_for_now = error.status().is_some_and(|status| status == 429 || status >= 500);
    if fails_for_now {
        error.into()
    } else {
        UsageError(format!("the {side} at {endpoint} cannot be used as an S3 store: {}", error.chain()))
            .into()
    }
}

/// A destination inside its own source would list what it has just written, and for ever.
fn refuse_loops(task: &Task, source: &S3Account, destination: &S3Account) -> Result<(), UsageError> {
    let Location { bucket: from_bucket, prefix: from, .. } = &task.source;
    let Location { bucket: to_bucket, prefix: to, .. } = &task.destination;
    let one_bucket = source.endpoint() == destination.endpoint() && from_bucket == to_bucket;
    if let Some(trash) = &task.trash
        && (to.starts_with(trash.prefix()) || (one_bucket && trash.prefix().starts_with(from.as_str())))
    {
        let location = Location { prefix: trash.prefix().to_owned(), ..task.destination.clone() };
        return Err(UsageError(format!(
            "the trash {location} is where objects are moved from or to; give it a prefix of its own"
        )));
    }
    if one_bucket && (from.starts_with(to.as_str()) || to.starts_with(from.as_str())) {
        return Err(UsageError(format!(
            "{} and {} overlap: one holds the keys of the other",
            task.source, task.destination
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ferry_transfer::Error;

    use super::*;

    #[test]
    fn a_side_that_nobody_serves_is_a_mistake_and_one_that_fails_for_now_is_not() {
        let at = "http://127.0.0.1:9";
        let nobody = unusable("source", at, Error::new(ErrorKind::Transient, "cannot reach it"));
        let usage = nobody.downcast_ref::<UsageError>().expect("a mistake");
        assert!(usage.0.contains(at) && usage.0.contains("cannot reach it"), "{usage}");
        let page_of_a_portal = Error::new(ErrorKind::Transient, "no listing").with_status(200);
        assert!(unusable("source", at, page_of_a_portal).is::<UsageError>());
        let busy = Error::new(ErrorKind::Throttled, "later").with_status(503);
        assert!(!unusable("source", at, busy).is::<UsageError>());
    }
}
