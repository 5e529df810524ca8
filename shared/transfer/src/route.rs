//! A task with its two ends connected, and where functions find it.
//!
//! Owns: the mapping of keys, storage classes and unsupported attributes from one side to the other, and what was learnt of
//! the two stores while running. Does not own: building the stores.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use tokio::sync::OnceCell;

use crate::attribute_rules::ObjectLock;
use crate::compare::KnownETags;
use crate::key_source::KeySource;
use crate::listing::ListingHabits;
use crate::select::Facts;
use crate::server_side::{Ends, ServerSide};
use crate::task::{Location, Task, UnsupportedRule};
use crate::unfit::{self, Unfit, take_unfit};
use crate::{
    Attributes, Clock, ETagRule, EmptyKey, Error, ErrorKind, Key, KeyRange, Result, SharedStore,
    StorageClass, Support, SystemClock,
};

/// Where functions find the route of the task that a message names.
#[async_trait]
pub trait Routes: Send + Sync + std::fmt::Debug {
    /// The route of the named task; `None` is the only task there is, since messages of others than Ferry name none.
    async fn route(&self, task: Option<&str>) -> Result<Arc<Route>>;
}

/// The routes of a process that serves one task.
#[derive(Debug, Clone)]
pub struct SingleRoute(pub Arc<Route>);

#[async_trait]
impl Routes for SingleRoute {
    async fn route(&self, task: Option<&str>) -> Result<Arc<Route>> {
        match task {
            Some(name) if name != self.0.task.name => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the message is for task {name:?}, this process serves {:?}", self.0.task.name),
            )),
            _ => Ok(Arc::clone(&self.0)),
        }
    }
}

/// A task with its two ends connected.
#[derive(Debug)]
pub struct Route {
    /// The rules.
    pub task: Task,
    /// Where objects come from.
    pub source: SharedStore,
    /// Where they go.
    pub destination: SharedStore,
    /// What is known of the source's ETags.
    pub source_etags: ETagRule,
    /// What is known of the source's ETags of objects in parts, and of our guesses at their boundaries.
    pub source_part_etags: ETagRule,
    /// What is known of the destination's ETags.
    pub destination_etags: ETagRule,
    /// Tells how old an object is.
    pub clock: Arc<dyn Clock>,
    /// Whether copies are left to the store.
    pub server_side: ServerSide,
    /// From the destination into its own trash, where the task has one.
    pub trash: Option<Arc<Route>>,
    /// What the source's listings turned out to be.
    pub source_habits: Arc<ListingHabits>,
    /// What the destination's listings turned out to be.
    pub destination_habits: Arc<ListingHabits>,
    /// Both buckets were found to keep versions.
    pub(crate) keeps_versions: OnceCell<()>,
    /// The destination was caught not honouring conditions on writes.
    unconditional: AtomicBool,
    /// The same of conditions on deletes.
    deletes_unconditionally: AtomicBool,
}

impl Route {
    /// Connects a task's ends.
    pub fn new(task: Task, source: SharedStore, destination: SharedStore) -> Self {
        Self {
            source_etags: ETagRule::new(source.capabilities().etag_is_md5),
            source_part_etags: ETagRule::new(source.capabilities().multipart_etag_is_md5_of_md5s),
            destination_etags: ETagRule::new(destination.capabilities().etag_is_md5),
            unconditional: AtomicBool::new(destination.capabilities().conditional_writes == Support::No),
            clock: Arc::new(SystemClock),
            server_side: ServerSide::default(),
            deletes_unconditionally: AtomicBool::new(
                destination.capabilities().conditional_deletes == Support::No,
            ),
            trash: task.trash.is_some().then(|| Arc::new(Self::to_trash(&task, &destination))),
            source_habits: Arc::default(),
            destination_habits: Arc::default(),
            keeps_versions: OnceCell::new(),
            task,
            source,
            destination,
        }
    }

    /// Says what was found out about the two ends, so that copies may be left to the store where they are one.
    #[must_use]
    pub fn between(mut self, ends: Ends) -> Self {
        self.server_side = ServerSide::new(self.task.server_side, ends);
        self
    }

    /// Within the destination, keeping what every object has. A key keeps its whole name behind the trash's own.
    fn to_trash(task: &Task, destination: &SharedStore) -> Self {
        let bucket = Location { prefix: String::new(), ..task.destination.clone() };
        let task = Task {
            unsupported: task.unsupported,
            ..Task::new(format!("trash of {}", task.name), bucket.clone(), bucket)
        };
        Self::new(task, Arc::clone(destination), Arc::clone(destination)).between(Ends::OneStoreWithRedirects)
    }

    /// Whether a key of the destination lies in the task's trash, where nothing is compared or deleted.
    pub fn is_in_trash(&self, destination_key: &Key) -> bool {
        self.task.trash.as_ref().is_some_and(|trash| trash.holds(destination_key.as_str()))
    }

    /// What names the source key on both sides: what follows the source's prefix, rewritten as the task says.
    pub fn name<'a>(&self, key: &'a Key) -> Result<Cow<'a, str>> {
        self.relative(key).map(|relative| self.task.rewrite.apply(relative))
    }

    /// Whether a side turned out to list in no order.
    pub fn lists_disordered(&self) -> bool {
        self.source_habits.is_disordered() || self.destination_habits.is_disordered()
    }

    /// The source key's name at the destination: its prefix replaced by the destination's, and what follows rewritten.
    pub fn destination_key(&self, key: &Key) -> Result<Key> {
        let name = self.name(key)?;
        Key::new(format!("{}{name}", self.task.destination.prefix)).map_err(|EmptyKey| {
            Error::new(ErrorKind::InvalidInput, "the key would be empty at the destination")
                .on_key(key.as_str())
        })
    }

    /// The source keys that the destination key may be the copy of: one where nothing is rewritten, else none, one or several.
    pub fn source_keys(&self, destination_key: &Key) -> Vec<Key> {
        let Some(name) = destination_key.strip_prefix(&self.task.destination.prefix) else {
            return Vec::new();
        };
        let origins = self.task.rewrite.origins(name).into_iter();
        origins
            .filter_map(|relative| Key::new(format!("{}{relative}", self.task.source.prefix)).ok())
            .collect()
    }

    /// Whether the task's selection admits the source key, whatever its object is.
    pub fn selects_key(&self, key: &Key) -> bool {
        self.task.keys.covers(key.as_str())
            && self.relative(key).is_ok_and(|relative| self.task.select.admits_key(relative))
    }

    /// Whether the task's selection admits the object of the source key, now.
    pub fn selects<'a>(&self, key: &Key, object: impl Into<Facts<'a>>) -> bool {
        let now = self.clock.now();
        self.task.keys.covers(key.as_str())
            && self.relative(key).is_ok_and(|relative| self.task.select.admits(relative, object, now))
    }

    /// The parts of a range of names in which the task's keys can lie, ascending.
    pub fn ranges_within(&self, range: &KeyRange) -> Vec<KeyRange> {
        match &self.task.keys {
            KeySource::Prefixes(prefixes) => {
                let ranges = prefixes.ranges(&self.task.source.prefix, &self.task.rewrite);
                ranges.iter().filter_map(|part| part.intersection(range)).collect()
            }
            KeySource::Listing | KeySource::List(_) | KeySource::Inventory(_) => vec![range.clone()],
        }
    }

    fn relative<'a>(&self, key: &'a Key) -> Result<&'a str> {
        key.strip_prefix(&self.task.source.prefix).ok_or_else(|| {
            let prefix = &self.task.source.prefix;
            Error::new(ErrorKind::InvalidInput, format!("the key is not under the task's prefix {prefix:?}"))
                .on_key(key.as_str())
        })
    }

    /// Whether writes carry conditions.
    pub fn writes_conditionally(&self) -> bool {
        !self.unconditional.load(Relaxed)
    }

    /// Notes that the destination refused a condition that did hold, or refuses conditions altogether.
    pub fn give_up_conditions(&self) {
        self.unconditional.store(true, Relaxed);
    }

    /// Whether deletes carry conditions.
    pub fn deletes_conditionally(&self) -> bool {
        !self.deletes_unconditionally.load(Relaxed)
    }

    /// Notes the same of deletes: the destination refused a condition that did hold, or refuses conditions altogether.
    pub fn give_up_conditional_deletes(&self) {
        self.deletes_unconditionally.store(true, Relaxed);
    }

    /// What is known of both sides' ETags now.
    pub fn known_etags(&self) -> KnownETags {
        KnownETags {
            source_is_md5: self.source_etags.is_md5(),
            destination_is_md5: self.destination_etags.is_md5(),
        }
    }

    /// The attributes to write for those that were read, by the task's rules, and what of them the destination cannot hold, where the
    /// task lets it be left out.
    pub fn map_attributes(&self, mut attributes: Attributes) -> Result<(Attributes, Unfit)> {
        attributes.storage_class = self.task.storage_class.of_copy(
            attributes.storage_class.take(),
            self.source.capabilities(),
            self.destination.capabilities(),
        );
        attributes.lock = self.lock_of_copy(attributes.lock);
        let unfit = take_unfit(&mut attributes, self.destination.capabilities());
        self.refuse(&unfit)?;
        Ok((attributes, unfit))
    }

    /// Whether the destination's key is not a copy but holds what a copy could not, by the task's rule.
    pub fn is_sidecar(&self, destination_key: &Key) -> bool {
        self.task.unsupported == UnsupportedRule::Sidecar && unfit::is_sidecar(destination_key.as_str())
    }

    /// The lock to set on a copy made now, by the task's rule.
    pub fn lock_of_copy(&self, source: ObjectLock) -> ObjectLock {
        self.task.attributes.lock.of_copy(source, self.clock.now())
    }

    /// The class to write for the one that was read, by the task's rule; `None` is the standard one.
    pub fn map_storage_class(&self, class: Option<StorageClass>) -> Result<Option<StorageClass>> {
        let alone = Attributes { storage_class: class, ..Attributes::default() };
        Ok(self.map_attributes(alone)?.0.storage_class)
    }

    fn refuse(&self, unfit: &Unfit) -> Result<()> {
        if unfit.is_empty() || self.task.unsupported != UnsupportedRule::Fail {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "{} cannot hold {unfit} (or copy without: --unsupported drop, or sidecar to keep it beside the copy)",
                self.destination.name()
            ),
        ))
    }
}
