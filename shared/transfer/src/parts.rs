//! How an object is cut into parts.
//!
//! Owns: part sizes and boundaries, as pure functions of the object's size and the destination's limits. Invariants, held to by
//! property tests: parts are contiguous, cover the object exactly, respect the destination's smallest, largest and most, and
//! are all of one size but the last (which every store accepts and R2 demands).

use crate::{ByteRange, Capabilities, ETag};

const MIB: u64 = 1 << 20;

/// The boundaries of an object's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartPlan {
    size_bytes: u64,
    part_bytes: u64,
}

/// Why an object cannot be cut into parts a store accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartPlanError {
    /// Nothing to cut.
    #[error("an empty object has no parts")]
    Empty,
    /// Larger than parts of the largest size can hold.
    #[error("{size_bytes} bytes are more than the destination's {limit_bytes}")]
    TooLarge {
        /// The object's size.
        size_bytes: u64,
        /// The largest object the destination takes.
        limit_bytes: u64,
    },
}

impl PartPlan {
    /// Parts of `preferred_bytes`, made larger in whole MiB where the object would otherwise need too many.
    pub fn new(size_bytes: u64, preferred_bytes: u64, limits: &Capabilities) -> Result<Self, PartPlanError> {
        if size_bytes == 0 {
            return Err(PartPlanError::Empty);
        }
        let limit_bytes =
            limits.object_bytes_max.min(limits.part_bytes_max.saturating_mul(u64::from(limits.parts_max)));
        if size_bytes > limit_bytes {
            return Err(PartPlanError::TooLarge { size_bytes, limit_bytes });
        }
        let least_bytes = size_bytes.div_ceil(u64::from(limits.parts_max));
        let wanted_bytes =
            if preferred_bytes >= least_bytes { preferred_bytes } else { least_bytes.div_ceil(MIB) * MIB };
        let part_bytes = wanted_bytes.clamp(limits.part_bytes_min, limits.part_bytes_max);
        Ok(Self { size_bytes, part_bytes })
    }

    /// The boundaries the source object was probably written with: the first usual part size that makes as many parts as its
    /// ETag says. With the right guess the copy's ETag equals the source's; a wrong one costs nothing.
    pub fn guess(size_bytes: u64, source: &ETag, limits: &Capabilities) -> Option<Self> {
        // What the common writers use, most common first: the AWS CLI and SDKs (8 MiB), boto's and rclone's 5 MiB, the Java
        // and Go transfer managers, MinIO's 16 and 64 MiB, Ferry's own 32 MiB, and round numbers people configure.
        const USUAL_MIB: [u64; 16] = [8, 5, 16, 32, 64, 10, 15, 20, 25, 50, 100, 128, 250, 256, 512, 1024];
        let parts = source.parts()?;
        USUAL_MIB
            .into_iter()
            .map(|mib| mib * MIB)
            .find(|part_bytes| size_bytes.div_ceil(*part_bytes) == u64::from(parts))
            .and_then(|part_bytes| Self::of_source(size_bytes, part_bytes, parts, limits))
    }

    /// The boundaries the source object was written with, from the size of its first part and their number; `None` where its parts
    /// are not all of one size but the last, or the destination takes no such parts.
    pub fn of_source(
        size_bytes: u64,
        first_part_bytes: u64,
        parts: u32,
        limits: &Capabilities,
    ) -> Option<Self> {
        let fits = first_part_bytes > 0
            && size_bytes.div_ceil(first_part_bytes) == u64::from(parts)
            && (limits.part_bytes_min..=limits.part_bytes_max).contains(&first_part_bytes)
            && parts <= limits.parts_max;
        fits.then_some(Self { size_bytes, part_bytes: first_part_bytes })
    }

    /// A cut that was made before, by its part size.
    pub fn of_parts(size_bytes: u64, part_bytes: u64) -> Option<Self> {
        (size_bytes > 0 && part_bytes > 0).then_some(Self { size_bytes, part_bytes })
    }

    /// Size of every part but the last, in bytes.
    pub fn part_bytes(self) -> u64 {
        self.part_bytes
    }

    /// How many parts there are.
    pub fn len(self) -> u32 {
        u32::try_from(self.size_bytes.div_ceil(self.part_bytes)).unwrap_or(u32::MAX)
    }

    /// Never: an empty object has no plan.
    pub fn is_empty(self) -> bool {
        false
    }

    /// Part numbers from 1 and the bytes of each, ascending.
    pub fn parts(self) -> impl Iterator<Item = (u32, ByteRange)> + Send {
        (1..=self.len()).filter_map(move |number| {
            let first = u64::from(number - 1) * self.part_bytes;
            let length = self.part_bytes.min(self.size_bytes - first);
            Some((number, ByteRange::new(first, length)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_object_of_48_tebibytes_still_fits() {
        let limits = Capabilities::default();
        let plan = PartPlan::new(limits.object_bytes_max, 32 * MIB, &limits).expect("plan");
        assert_eq!((plan.len(), plan.part_bytes()), (10_000, limits.part_bytes_max));
        assert!(matches!(
            PartPlan::new(limits.object_bytes_max + 1, 32 * MIB, &limits),
            Err(PartPlanError::TooLarge { .. })
        ));
    }

    #[test]
    fn boundaries_are_guessed_from_size_and_number_of_parts() {
        let etag = ETag::parse("5d41402abc4b2a76b9719d911017c592-13").expect("tag");
        let plan = PartPlan::guess(100 * MIB, &etag, &Capabilities::default()).expect("plan");
        assert_eq!(plan.part_bytes(), 8 * MIB);
        let odd = ETag::parse("5d41402abc4b2a76b9719d911017c592-99").expect("tag");
        assert_eq!(PartPlan::guess(100 * MIB, &odd, &Capabilities::default()), None);
    }

    #[test]
    fn the_preferred_size_is_kept_while_it_makes_few_enough_parts() {
        let limits = Capabilities { part_bytes_min: 16, ..Capabilities::default() };
        assert_eq!(PartPlan::new(100, 32, &limits).expect("plan").len(), 4);
        assert_eq!(PartPlan::new(10_000 * 32, 32, &limits).expect("plan").part_bytes(), 32);
        assert_eq!(PartPlan::new(10_000 * 32 + 1, 32, &limits).expect("plan").part_bytes(), MIB);
    }

    proptest! {
        #[test]
        fn parts_cover_the_object_within_the_limits(size in 1u64..=53_687_091_200_000, preferred in 1u64..(6 << 30)) {
            let limits = Capabilities::default();
            let plan = PartPlan::new(size, preferred, &limits).expect("plan");
            prop_assert!(plan.len() <= limits.parts_max);
            let mut next = 0;
            for (index, (number, range)) in plan.parts().enumerate() {
                prop_assert_eq!(number as usize, index + 1);
                prop_assert_eq!(range.first(), next);
                next = range.last() + 1;
                prop_assert!(range.length_bytes() <= limits.part_bytes_max);
                prop_assert!(next == size || range.length_bytes() >= limits.part_bytes_min);
                prop_assert!(next == size || range.length_bytes() == plan.part_bytes());
            }
            prop_assert_eq!(next, size);
        }
    }
}
