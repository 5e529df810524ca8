//! One manifest's data over several disks.
//!
//! Owns: which stretch of keys goes onto which disk, in key order, as CREATE EXPORT PLAN of 2009 did. Does not own: writing the manifests down.
//! Invariants: the disks' manifests together select what the manifest selects, each object once; no disk gets more than it holds.

use std::sync::Arc;

use ferry_device::manifest::{Container, Manifest, Operation};
use ferry_device::room::Room;
use ferry_transfer::listing::{FixedEnd, list_within};
use futures::TryStreamExt as _;

use crate::checking::check_globs;
use crate::service::Service;
use crate::station::{StationError, room_of, selection};

/// One disk's share.
#[derive(Debug, Clone)]
pub struct Share {
    /// Which of the disks, from one.
    pub disk: usize,
    /// The disk's manifest.
    pub manifest: Manifest,
    /// Its objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A data set split over disks.
#[derive(Debug, Clone, Default)]
pub struct Split {
    /// A share for each disk that is needed.
    pub shares: Vec<Share>,
    /// Objects that fit on none.
    pub left_objects: u64,
    /// Their bytes.
    pub left_bytes: u64,
    /// Archived objects, which are left out.
    pub archived_objects: u64,
}

/// A disk being filled.
struct Filling {
    number: usize,
    room: Room,
    operations: Vec<Operation>,
    objects: u64,
    bytes: u64,
}

impl Service {
    /// Splits what a manifest selects over disks of these sizes, filled in this order.
    pub async fn split(&self, manifest: &Manifest, device_bytes: &[u64]) -> Result<Split, StationError> {
        check_globs(manifest).map_err(|error| StationError::Job(error.message))?;
        let mut habits = selection::Habits::default();
        loop {
            let ended = self.split_once(manifest, device_bytes, &mut habits).await;
            if !habits.begins_again(&ended) {
                return ended;
            }
        }
    }

    async fn split_once(
        &self,
        manifest: &Manifest,
        device_bytes: &[u64],
        habits: &mut selection::Habits,
    ) -> Result<Split, StationError> {
        let is_plain = manifest.extensions.container == Container::None;
        let leaves_archived_out = selection::leaves_archived_out(manifest);
        let most = manifest.extensions.max_bytes.unwrap_or(u64::MAX);
        let mut rooms = (1..).zip(device_bytes).map(|(number, bytes)| {
            room_of(manifest, is_plain, most.min(*bytes)).map(|room| filling(number, room))
        });
        let mut split = Split::default();
        let mut disk = match rooms.next() {
            Some(disk) => Some(disk?),
            None => None,
        };
        for operation in &manifest.operations {
            let Some((after, until)) = selection::range(operation) else { continue };
            let location = self.location(manifest, &operation.export_bucket);
            let store = self.parts().buckets.bucket(&location).await?;
            let globs = selection::Globs::of(manifest);
            let base = operation.base(manifest);
            let bounds = Arc::new(FixedEnd(until));
            let habits = habits.of(&operation.export_bucket);
            let mut entries = list_within(store, &operation.prefix, after, bounds, habits);
            if let Some(disk) = &mut disk {
                disk.operations.push(operation.clone());
            }
            let mut last: Option<String> = None;
            while let Some(entry) = entries.try_next().await? {
                let key = entry.key.as_str();
                if !operation.selects(key) || !globs.select(key) {
                    continue;
                }
                let class = entry.storage_class.as_ref();
                if leaves_archived_out && class.is_some_and(ferry_transfer::StorageClass::is_archive) {
                    split.archived_objects += 1;
                    continue;
                }
                loop {
                    let Some(filled) = &mut disk else {
                        split.left_objects += 1;
                        split.left_bytes += entry.size_bytes;
                        break;
                    };
                    if filled.room.take(&base, key, entry.size_bytes)? {
                        filled.objects += 1;
                        filled.bytes += entry.size_bytes;
                        last = Some(key.to_owned());
                        break;
                    }
                    // This disk ends with the last key; the next begins behind it.
                    let rest = Operation {
                        begin_marker: last.clone().or(operation.begin_marker.clone()),
                        ..operation.clone()
                    };
                    match (filled.operations.pop(), &last) {
                        (Some(own), Some(last)) if own.begin_marker.as_ref() != Some(last) => {
                            filled.operations.push(Operation { end_marker: Some(last.clone()), ..own });
                        }
                        _ => {}
                    }
                    let full = disk.take();
                    split.shares.extend(full.and_then(|full| share(manifest, full)));
                    disk = match rooms.next() {
                        Some(disk) => Some(Filling { operations: vec![rest], ..disk? }),
                        None => None,
                    };
                }
            }
        }
        split.shares.extend(disk.and_then(|last| share(manifest, last)));
        Ok(split)
    }
}

fn filling(number: usize, room: Room) -> Filling {
    Filling { number, room, operations: Vec::new(), objects: 0, bytes: 0 }
}

fn share(manifest: &Manifest, disk: Filling) -> Option<Share> {
    let Filling { number, operations, objects, bytes, .. } = disk;
    (objects > 0).then(|| Share {
        disk: number,
        manifest: Manifest { operations, ..manifest.clone() },
        objects,
        bytes,
    })
}
