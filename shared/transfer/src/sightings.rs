//! What becomes of keys that a task was told, instead of listing its source.
//!
//! Owns: comparing the rows of an inventory with the destination's listing where they come in its order, and asking both stores
//! about a key where somebody wants to know before any job runs. Does not own: the jobs. Invariants: memory does not grow
//! with the number of keys; every key that is told comes out, once for each time it is told, and nothing else does.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use futures::stream::{BoxStream, Peekable};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use time::OffsetDateTime;

use crate::diff::Pair;
use crate::inventory::{self, Manifest, Row};
use crate::key_source::{DocumentName, Documents, KeyRow, KeySource, key_list};
use crate::route::Route;
use crate::scan::judge::Judge;
use crate::scan::{Finding, Scan};
use crate::source_listing::{Listed, ListedStream, Standing, list_destination};
use crate::store::HeadRequest;
use crate::{Entry, Error, ErrorKind, Key, KeyRange, ObjectHead, Result, SharedStore};

/// A key that a task was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// It has been compared with the destination.
    Compared(Finding),
    /// It has not: the stores must be asked.
    Named(KeyRow),
}

/// Keys asked about at once, on both sides each.
const ASKED_AT_ONCE: usize = 16;

/// The keys that the task was told; `None` where it lists its source.
pub fn sightings(
    route: &Arc<Route>,
    documents: &Arc<dyn Documents>,
) -> Option<BoxStream<'static, Result<Sighting>>> {
    let documents = Arc::clone(documents);
    match route.task.keys.clone() {
        KeySource::Listing | KeySource::Prefixes(_) => None,
        KeySource::List(list) => {
            let rows = stream::once(async move {
                let document = documents.open(&list.from).await?;
                Ok::<_, Error>(key_list::rows(document, list.format))
            });
            Some(rows.try_flatten().map_ok(Sighting::Named).boxed())
        }
        KeySource::Inventory(name) => {
            let (route, now) = (Arc::clone(route), route.clock.now());
            let sightings = stream::once(async move {
                let manifest = inventory::read_manifest(documents.as_ref(), &name).await?;
                Ok::<_, Error>(of_manifest(route, documents, name, manifest, now))
            });
            Some(sightings.try_flatten().boxed())
        }
    }
}

fn of_manifest(
    route: Arc<Route>,
    documents: Arc<dyn Documents>,
    name: DocumentName,
    manifest: Manifest,
    now: OffsetDateTime,
) -> impl Stream<Item = Result<Sighting>> + Send {
    let schema = Arc::new(manifest.schema);
    let judge = Arc::new(Judge::new(Arc::clone(&route)));
    stream::iter(manifest.files).flat_map(move |file| {
        let rows = inventory::rows(Arc::clone(&documents), name.clone(), Arc::clone(&schema), file);
        let merge = FileMerge {
            route: Arc::clone(&route),
            judge: Arc::clone(&judge),
            now,
            rows: rows.boxed(),
            destination: None,
            last_name: None,
        };
        stream::try_unfold(merge, |mut merge| async move {
            Ok(merge.next().await?.map(|sighting| (sighting, merge)))
        })
    })
}

/// One data file of an inventory beside the destination's listing, from its first key to its last.
struct FileMerge {
    route: Arc<Route>,
    judge: Arc<Judge>,
    now: OffsetDateTime,
    rows: BoxStream<'static, Result<Row>>,
    /// Begun with the first row that has a place in it.
    destination: Option<Pin<Box<Peekable<ListedStream>>>>,
    last_name: Option<String>,
}

impl FileMerge {
    async fn next(&mut self) -> Result<Option<Sighting>> {
        while let Some(row) = self.rows.try_next().await? {
            // An inventory is of a whole bucket, or of a prefix that need not be the task's.
            if !row.key().starts_with(&self.route.task.source.prefix) {
                continue;
            }
            let entry = match row {
                Row::Key(row) => return Ok(Some(Sighting::Named(row))),
                Row::Entry(entry) => entry,
            };
            let listed = Listed::at_source(&self.route, entry, self.now);
            if listed.standing == Standing::Selected && !self.has_place(&listed) {
                let Entry { key, size_bytes, etag, .. } = listed.entry;
                let row = KeyRow { size: Some(size_bytes), etag, ..KeyRow::of(key) };
                return Ok(Some(Sighting::Named(row)));
            }
            let pair = match self.held(&listed).await? {
                Some(destination) => Pair::Both { source: listed, destination },
                None => Pair::SourceOnly(listed),
            };
            if let Some(finding) = self.judge.finding(pair).await? {
                return Ok(Some(Sighting::Compared(finding)));
            }
        }
        Ok(None)
    }

    /// Whether a row comes in the order of the destination's listing. One that does not is left to the stores, and so is one whose
    /// name another key may have as well.
    fn has_place(&self, listed: &Listed) -> bool {
        let in_order = self.last_name.as_deref().is_none_or(|last| listed.name() > last);
        let is_uncontested = self.route.task.rewrite.is_identity()
            || self.route.task.rewrite.origins(listed.name()).len() == 1;
        in_order && is_uncontested
    }

    /// What the destination has of a row's name.
    async fn held(&mut self, listed: &Listed) -> Result<Option<Listed>> {
        if listed.standing != Standing::Selected {
            return Ok(None);
        }
        let name = listed.name().to_owned();
        let destination = self.destination.get_or_insert_with(|| {
            let range = KeyRange::from_prefix(&name);
            let begin = KeyRange { after: range.after, until: None };
            Box::pin(list_destination(&self.route, &begin).peekable())
        });
        let is_before = |held: &Result<Listed>| held.as_ref().is_ok_and(|held| held.name() < name.as_str());
        while destination.as_mut().next_if(is_before).await.is_some() {}
        let is_it = |held: &Result<Listed>| held.as_ref().map_or(true, |held| held.name() == name);
        let held = destination.as_mut().next_if(is_it).await.transpose()?;
        self.last_name = Some(name);
        Ok(held)
    }
}

/// What is to be thought of each of a task's keys, from listings or by asking both stores. Changes nothing.
pub struct Findings(Inner);

enum Inner {
    Scan(Box<Scan>),
    Told(BoxStream<'static, Result<Option<Finding>>>),
}

impl Findings {
    /// Begins to look at all of a task's keys, many ranges of them at once where they are listed.
    pub fn new(route: &Arc<Route>, documents: &Arc<dyn Documents>) -> Self {
        Self::begin(route, documents, Scan::new)
    }

    /// Begins to look at all of a task's keys, in the order of their names where they are listed.
    pub fn in_order(route: &Arc<Route>, documents: &Arc<dyn Documents>) -> Self {
        Self::begin(route, documents, Scan::in_order)
    }

    fn begin(
        route: &Arc<Route>,
        documents: &Arc<dyn Documents>,
        scan: fn(Arc<Route>, &KeyRange) -> Scan,
    ) -> Self {
        let Some(told) = sightings(route, documents) else {
            return Self(Inner::Scan(Box::new(scan(Arc::clone(route), &KeyRange::ALL))));
        };
        let (route, judge) = (Arc::clone(route), Arc::new(Judge::new(Arc::clone(route))));
        let asked = told.map(move |sighting| {
            let (route, judge) = (Arc::clone(&route), Arc::clone(&judge));
            async move {
                match sighting? {
                    Sighting::Compared(finding) => Ok(Some(finding)),
                    Sighting::Named(row) => ask(&route, &judge, row).await,
                }
            }
        });
        Self(Inner::Told(asked.buffered(ASKED_AT_ONCE).boxed()))
    }

    /// Whether the error they ended with was a listing out of order, so that new ones may come to their end. What these found is then
    /// to be forgotten.
    pub fn may_start_over(&self) -> bool {
        match &self.0 {
            Inner::Scan(scan) => scan.may_start_over(),
            Inner::Told(_) => false,
        }
    }

    /// The next finding; `None` when there are no more keys.
    pub async fn next(&mut self) -> Result<Option<Finding>> {
        match &mut self.0 {
            Inner::Scan(scan) => scan.next().await,
            Inner::Told(told) => loop {
                match told.try_next().await? {
                    Some(Some(finding)) => return Ok(Some(finding)),
                    Some(None) => {}
                    None => return Ok(None),
                }
            },
        }
    }
}

impl fmt::Debug for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Findings").finish_non_exhaustive()
    }
}

/// Asks both stores about a key; `None` where neither has it.
async fn ask(route: &Arc<Route>, judge: &Judge, row: KeyRow) -> Result<Option<Finding>> {
    let key = row.key;
    let destination_key = route.destination_key(&key)?;
    let (source, destination) =
        futures::try_join!(find(&route.source, &key), find(&route.destination, &destination_key))?;
    let destination_prefix = &route.task.destination.prefix;
    let destination =
        destination.map(|head| Listed::plain(head.to_entry(&destination_key), destination_prefix));
    let pair = match (source, destination) {
        (None, None) => return Ok(None),
        (None, Some(destination)) => Pair::DestinationOnly(destination),
        (Some(source), destination) => {
            let mut source = Listed::at_source(route, source.to_entry(&key), route.clock.now());
            for rival in route.source_keys(&destination_key).into_iter().filter(|origin| *origin != key) {
                if let Some(head) = find(&route.source, &rival).await?
                    && route.selects(&rival, &head)
                    && source.standing == Standing::Selected
                {
                    // The rival is a finding of its own, if the task was told of it.
                    source.standing = Standing::Contested(Vec::new());
                }
            }
            match destination {
                Some(destination) => Pair::Both { source, destination },
                None => Pair::SourceOnly(source),
            }
        }
    };
    judge.finding(pair).await
}

async fn find(store: &SharedStore, key: &Key) -> Result<Option<ObjectHead>> {
    match store.head(HeadRequest::of(key)).await {
        Ok(head) => Ok(Some(head)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.on_key(key.as_str())),
    }
}
