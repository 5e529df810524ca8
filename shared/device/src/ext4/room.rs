//! Whether the next object still fits.
//!
//! Owns: an upper bound on what a plan takes of a medium, kept while its objects arrive, before anything is named. Does not own: the exact
//! positions ([`super::Layout`]). Invariant: what fits here is laid out later without fail, whatever the names turn out to be; when an object no longer
//! fits, nothing after it does either, so that its predecessor's key is where the next medium's manifest begins.

use super::geometry::Geometry;
use super::layout::content_blocks_bound;
use super::{BLOCK_BYTES, VOLUME_MAX_BYTES, blocks_of};
use crate::documents::{RESERVE_BYTES, RESERVE_BYTES_PER_NAME_BYTE, RESERVE_BYTES_PER_OBJECT};
use crate::error::Result;

/// Bytes of an entry besides its name, padding included.
const ENTRY_BYTES: u64 = 8 + 3;
/// The recovery directory's names, which a key may get instead of its own.
const RECOVERY_NAME_BYTES: u64 = 4;
/// Blocks of a directory that are not full of entries: its first and its last.
const DIRECTORY_BLOCKS: u64 = 2;
/// Entries of 255 bytes leave up to a sixteenth of each block empty; the index takes less than one in 500.
const ENTRY_BYTES_IN_BLOCK: u64 = 3800;
const OBJECTS_PER_RECOVERY_DIRECTORY: u64 = 10_000;
/// The root, `.export`, `lost+found`, the recovery directory and a bag's own.
const OWN_DIRECTORIES: u64 = 8;

/// Room on a medium.
#[derive(Debug, Clone)]
pub struct Room {
    geometry: Geometry,
    copies: u64,
    content_blocks: u64,
    entry_bytes: u64,
    directories: u64,
    objects: u64,
    name_bytes: u64,
    parents: String,
    is_full: bool,
}

impl Room {
    /// The room inside a container or on a bare medium of `bytes`.
    pub fn new(bytes: u64) -> Result<Self> {
        let geometry = Geometry::of(bytes.min(VOLUME_MAX_BYTES) / BLOCK_BYTES, 1)?;
        Ok(Self {
            geometry,
            copies: geometry.copies().len() as u64,
            content_blocks: 0,
            entry_bytes: 0,
            directories: OWN_DIRECTORIES,
            objects: 0,
            name_bytes: 0,
            parents: String::new(),
            is_full: false,
        })
    }

    /// Takes the room of the next object, below `base`; `false` once one does not fit, and from then on.
    ///
    /// # Errors
    /// When the object is larger than any file can be.
    pub fn take(&mut self, base: &str, key: &str, size_bytes: u64) -> Result<bool> {
        if self.is_full {
            return Ok(false);
        }
        let mut with = self.clone();
        with.content_blocks += content_blocks_bound(size_bytes)?;
        with.objects += 1;
        let path = format!("{base}/{key}");
        let name = path.rsplit('/').next().unwrap_or_default();
        with.entry_bytes += ENTRY_BYTES + (name.len() as u64).max(RECOVERY_NAME_BYTES);
        // Names may be mended for NTFS and are written to the documents with their directories.
        with.name_bytes += (key.len() + 2 * path.len()) as u64;
        let parents = &path[..path.len() - name.len()];
        let shared = with
            .parents
            .split_inclusive('/')
            .zip(parents.split_inclusive('/'))
            .take_while(|(before, now)| before == now)
            .count();
        for directory in parents.split_inclusive('/').skip(shared) {
            with.directories += 1;
            with.entry_bytes += ENTRY_BYTES + directory.len() as u64;
        }
        parents.clone_into(&mut with.parents);
        if with.blocks() > self.geometry.blocks {
            self.is_full = true;
            return Ok(false);
        }
        *self = with;
        Ok(true)
    }

    /// Bytes that are surely free.
    pub fn free_bytes(&self) -> u64 {
        self.geometry.blocks.saturating_sub(self.blocks()) * BLOCK_BYTES
    }

    fn blocks(&self) -> u64 {
        let directories = self.directories + self.objects / OBJECTS_PER_RECOVERY_DIRECTORY;
        // Some object may be a file and a directory: its bytes in the recovery directory.
        let inodes = 2 * directories + self.objects + OWN_DIRECTORIES;
        let documents = RESERVE_BYTES
            + self.objects * RESERVE_BYTES_PER_OBJECT
            + self.name_bytes * RESERVE_BYTES_PER_NAME_BYTE;
        self.content_blocks
            + directories * DIRECTORY_BLOCKS
            + self.entry_bytes.div_ceil(ENTRY_BYTES_IN_BLOCK)
            + blocks_of(documents)
            + self.geometry.overhead_blocks_for(inodes, self.copies)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ext4::{Identity, Layout, Size};
    use crate::naming::{FileSystem, NamingRules};
    use crate::plan::{Object, Planner};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn what_fits_is_laid_out(
            objects in prop::collection::vec(("[ab/]{1,40}", 0u64..200_000), 1..120),
            megabytes in 1u64..200,
        ) {
            let work = tempfile::tempdir().unwrap();
            let bytes = megabytes << 20;
            let mut room = Room::new(bytes).unwrap();
            let mut planner = Planner::new(work.path(), NamingRules::new(FileSystem::Ext4)).unwrap();
            for (key, size_bytes) in objects {
                if !room.take("bucket", &key, size_bytes).unwrap() {
                    break;
                }
                let object = Object {
                    operation: 0,
                    bucket: "bucket".into(),
                    key,
                    version_id: None,
                    etag: None,
                    size_bytes,
                    modified_unix_secs: 0,
                    storage_class: None,
                };
                planner.add("bucket", object).unwrap();
            }
            let plan = planner.seal().unwrap();
            let identity = Identity::of_job("ROOM1", "", 0).unwrap();
            let layout = Layout::new(&plan, &[], identity, Size::Exactly { bytes });
            prop_assert!(layout.is_ok(), "{:?}", layout);
        }
    }

    #[test]
    fn once_full_a_smaller_object_does_not_slip_in() {
        let mut room = Room::new(16 << 20).unwrap();
        assert!(room.take("b", "a", 4 << 20).unwrap());
        assert!(!room.take("b", "b", 64 << 20).unwrap());
        assert!(!room.take("b", "c", 1).unwrap());
        assert!(room.free_bytes() > 1 << 20);
    }
}
