//! Whether the next object still fits.
//!
//! Owns: an upper bound on what a plan takes of a medium, kept while its objects arrive, before anything is named. Does not own: the exact
//! positions ([`crate::ext4::Layout`]). Invariant: what fits here is written later without fail, whatever the names turn out to be; when an object no
//! longer fits, nothing after it does either, so that its predecessor's key is where the next medium's manifest begins.

use crate::documents::{RESERVE_BYTES, RESERVE_BYTES_PER_NAME_BYTE, RESERVE_BYTES_PER_OBJECT, escaped_bytes};
use crate::error::Result;
use crate::ext4::{BLOCK_BYTES, Geometry, VOLUME_MAX_BYTES, blocks_of, content_blocks_bound};
use crate::plan::Plan;

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

/// Inodes of a foreign file system in a block: NTFS, the most generous of those met, has records of 1 KiB.
const FOREIGN_INODES_IN_BLOCK: u64 = 4;
/// The same of the bytes of an entry: NTFS writes UTF-16 behind 82 bytes, twice, into blocks that may be half full.
const FOREIGN_ENTRY_BYTES_IN_BLOCK: u64 = 256;

/// Who writes the file system, and so how its own share of the medium is reckoned.
#[derive(Debug, Clone, Copy)]
enum Ground {
    /// An ext4 of our own.
    Ext4 { geometry: Geometry, copies: u64 },
    /// Somebody else's: NTFS, or whatever is mounted.
    Foreign { blocks: u64 },
}

/// What the objects so far ask for.
#[derive(Debug, Clone, Default)]
struct Demand {
    content_blocks: u64,
    entry_bytes: u64,
    directories: u64,
    objects: u64,
    name_bytes: u64,
    parents: String,
}

/// Room on a medium.
#[derive(Debug, Clone)]
pub struct Room {
    ground: Ground,
    demand: Demand,
    is_full: bool,
}

impl Room {
    /// The room of an ext4 inside a container, or on a bare medium, of `bytes`.
    pub fn of_ext4(bytes: u64) -> Result<Self> {
        let geometry = Geometry::of(bytes.min(VOLUME_MAX_BYTES) / BLOCK_BYTES, 1)?;
        let copies = geometry.copy_count();
        Ok(Self::on(Ground::Ext4 { geometry, copies }))
    }

    /// The room of a file system that somebody else writes and that has `bytes` free.
    pub fn of_foreign(bytes: u64) -> Self {
        Self::on(Ground::Foreign { blocks: bytes / BLOCK_BYTES })
    }

    fn on(ground: Ground) -> Self {
        let demand = Demand { directories: OWN_DIRECTORIES, ..Demand::default() };
        Self { ground, demand, is_full: false }
    }

    /// Bytes that surely hold a plan on a file system somebody else writes.
    pub fn foreign_bytes_for(plan: &Plan) -> Result<u64> {
        let mut room = Self::of_foreign(u64::MAX);
        for entry in plan.entries()? {
            let entry = entry?;
            room.take("", entry.place.path().as_str(), entry.object.size_bytes)?;
        }
        Ok(room.demand.blocks(&room.ground) * BLOCK_BYTES)
    }

    /// Takes the room of the next object, below `base`; `false` once one does not fit, and from then on.
    ///
    /// # Errors
    /// When the object is larger than any file can be.
    pub fn take(&mut self, base: &str, key: &str, size_bytes: u64) -> Result<bool> {
        if self.is_full {
            return Ok(false);
        }
        let with = self.demand.with(base, key, size_bytes)?;
        self.is_full = with.blocks(&self.ground) > self.ground.blocks();
        if !self.is_full {
            self.demand = with;
        }
        Ok(!self.is_full)
    }

    /// Bytes that are surely free.
    pub fn free_bytes(&self) -> u64 {
        self.ground.blocks().saturating_sub(self.demand.blocks(&self.ground)) * BLOCK_BYTES
    }
}

impl Ground {
    fn blocks(&self) -> u64 {
        match self {
            Self::Ext4 { geometry, .. } => geometry.blocks,
            Self::Foreign { blocks } => *blocks,
        }
    }
}

impl Demand {
    fn with(&self, base: &str, key: &str, size_bytes: u64) -> Result<Self> {
        let mut with = self.clone();
        with.content_blocks += content_blocks_bound(size_bytes)?;
        with.objects += 1;
        let path = format!("{base}/{key}");
        let name = path.rsplit('/').next().unwrap_or_default();
        with.entry_bytes += ENTRY_BYTES + (name.len() as u64).max(RECOVERY_NAME_BYTES);
        // Names may be mended for NTFS and are written to the documents with their directories.
        with.name_bytes += escaped_bytes(key) + 2 * escaped_bytes(&path);
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
        Ok(with)
    }

    fn blocks(&self, ground: &Ground) -> u64 {
        let directories = self.directories + self.objects / OBJECTS_PER_RECOVERY_DIRECTORY;
        // Some object may be a file and a directory: its bytes in the recovery directory.
        let inodes = 2 * directories + self.objects + OWN_DIRECTORIES;
        let documents = RESERVE_BYTES
            + self.objects * RESERVE_BYTES_PER_OBJECT
            + self.name_bytes * RESERVE_BYTES_PER_NAME_BYTE;
        let own = match ground {
            Ground::Ext4 { geometry, copies } => {
                self.entry_bytes.div_ceil(ENTRY_BYTES_IN_BLOCK)
                    + geometry.overhead_blocks_for(inodes, *copies)
            }
            Ground::Foreign { .. } => {
                self.entry_bytes.div_ceil(FOREIGN_ENTRY_BYTES_IN_BLOCK)
                    + inodes.div_ceil(FOREIGN_INODES_IN_BLOCK)
            }
        };
        self.content_blocks + directories * DIRECTORY_BLOCKS + blocks_of(documents) + own
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
            let mut room = Room::of_ext4(bytes).unwrap();
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
        let mut room = Room::of_ext4(16 << 20).unwrap();
        assert!(room.take("b", "a", 4 << 20).unwrap());
        assert!(!room.take("b", "b", 64 << 20).unwrap());
        assert!(!room.take("b", "c", 1).unwrap());
        assert!(room.free_bytes() > 1 << 20);
    }
}
