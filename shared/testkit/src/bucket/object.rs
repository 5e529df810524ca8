//! One generation of one object, as a bucket keeps it.
//!
//! Owns: what a store knows of an object, in the form it keeps it. Invariant: the storage class is never spelled `STANDARD`,
//! since stores leave that out of their answers.

use std::collections::BTreeSet;

use ferry_transfer::checksum::{Checksum, Coverage, DeclaredChecksum, RunningChecksum};
use ferry_transfer::store::RestoreState;
use ferry_transfer::{Attributes, DeclaredChecksums, ETag, ObjectHead};
use time::OffsetDateTime;

use super::{Declares, Payload, Refusal, Restore, StoredEncryption, Written};

/// An object. Shared; a change makes a new one.
#[derive(Debug, Clone)]
pub struct StoredObject {
    /// The bytes.
    pub payload: Payload,
    /// What travels with the bytes, tags included.
    pub attributes: Attributes,
    /// How it is encrypted.
    pub encryption: StoredEncryption,
    /// The generation.
    pub etag: ETag,
    /// When the bucket took it in, in whole seconds.
    pub last_modified: OffsetDateTime,
    /// What is declared of the bytes.
    pub checksums: DeclaredChecksums,
    /// Sizes of the parts it was made of; empty for an object put in one piece.
    pub part_sizes_bytes: Vec<u64>,
    /// The restore that was asked for, if it is an archived object.
    pub restore: Option<Restore>,
    /// Its version, where the bucket keeps them.
    pub version_id: Option<String>,
}

impl StoredObject {
    /// Size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.payload.size_bytes()
    }

    /// Where part `number` (from 1) lies. An object put in one piece is its own part 1.
    pub fn part_range(&self, number: u32) -> Result<std::ops::Range<u64>, Refusal> {
        let index = number.checked_sub(1).ok_or(Refusal::InvalidPartNumber)?;
        if self.part_sizes_bytes.is_empty() {
            return if index == 0 { Ok(0..self.size_bytes()) } else { Err(Refusal::InvalidPartNumber) };
        }
        let index = usize::try_from(index).map_err(|_| Refusal::InvalidPartNumber)?;
        let size = *self.part_sizes_bytes.get(index).ok_or(Refusal::InvalidPartNumber)?;
        let start: u64 = self.part_sizes_bytes[..index].iter().sum();
        Ok(start..start + size)
    }

    /// What a HEAD says, but where a restore stands, which the clock decides ([`super::Bucket::restore_state`]).
    pub fn head(&self) -> ObjectHead {
        let mut attributes = self.attributes.clone();
        let tags = std::mem::take(&mut attributes.tags);
        ObjectHead {
            size_bytes: self.size_bytes(),
            etag: Some(self.etag.clone()),
            version_id: self.version_id.clone(),
            last_modified: Some(self.last_modified),
            attributes,
            // At most ten.
            tag_count: u32::try_from(tags.len()).unwrap_or(u32::MAX),
            encryption: self.encryption.kind(),
            restore: RestoreState::None,
            checksums: self.checksums,
            part: None,
        }
    }
}

/// What a bucket declares of an object made of parts of these sizes; of none, where it was put in one piece.
pub(super) fn declared(rule: Declares, payload: &Payload, part_sizes_bytes: &[u64]) -> DeclaredChecksums {
    let of = |algorithm, range| {
        let mut running = RunningChecksum::new(algorithm);
        for chunk in payload.slice(range) {
            running.update(&chunk);
        }
        running.finish()
    };
    let whole = |algorithm| DeclaredChecksum {
        checksum: of(algorithm, 0..payload.size_bytes()),
        coverage: Coverage::Whole,
    };
    let other = match rule {
        Declares::Crc64Nvme => {
            return DeclaredChecksums { crc64_nvme: Some(payload.crc64_nvme()), other: None };
        }
        Declares::Nothing => None,
        Declares::Whole(algorithm) => Some(whole(algorithm)),
        Declares::Composite(algorithm) if part_sizes_bytes.is_empty() => Some(whole(algorithm)),
        Declares::Composite(algorithm) => {
            let mut offset = 0;
            let parts: Vec<Checksum> = part_sizes_bytes
                .iter()
                .map(|size| {
                    offset += size;
                    of(algorithm, offset - size..offset)
                })
                .collect();
            let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
            let checksum = Checksum::composite(algorithm, &parts);
            Some(DeclaredChecksum { checksum, coverage: Coverage::Parts(count) })
        }
    };
    DeclaredChecksums { crc64_nvme: None, other }
}

/// Attributes as a bucket keeps them.
pub(super) fn normalised(mut written: Written) -> Result<Written, Refusal> {
    let attributes = &mut written.attributes;
    check_tags(&attributes.tags)?;
    attributes.storage_class.take_if(|class| class.is_standard());
    Ok(written)
}

/// At most ten tags of distinct keys; 128 characters to a key, 256 to a value (AWS, "Object tagging").
pub(super) fn check_tags(tags: &[(String, String)]) -> Result<(), Refusal> {
    let keys: BTreeSet<&str> = tags.iter().map(|(key, _)| key.as_str()).collect();
    let fits = |(key, value): &(String, String)| {
        (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256
    };
    if tags.len() <= 10 && keys.len() == tags.len() && tags.iter().all(fits) {
        Ok(())
    } else {
        Err(Refusal::InvalidTag)
    }
}
