//! Whether two listing entries are the same object.
//!
//! Owns: the decision, as a pure function of two entries and of what is known about the two stores' ETags. Does not own: finding
//! the pairs ([`crate::diff`]) or finding out about ETags ([`crate::ETagRule`]).

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{ETag, Entry, Support};

/// How to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompareMode {
    /// By ETag where the two stores' tags can be compared, else by size and by "source newer than destination".
    #[default]
    Auto,
    /// By size alone. A change that keeps the size goes unseen.
    Size,
    /// By size and ETag; a pair whose tags cannot be compared counts as different.
    Etag,
    /// By size and by "source newer than destination".
    Mtime,
    /// Every pair counts as different.
    Always,
}

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The same object, by this evidence.
    Same(Evidence),
    /// Not the same, for this reason.
    Different(Reason),
}

/// What two equal objects were judged by, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Equal ETags that are digests of the bytes.
    Etag,
    /// Equal sizes, and the destination is not older.
    SizeAndTime,
    /// Equal sizes.
    Size,
}

/// Why two objects differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Sizes differ.
    Size,
    /// ETags that are digests of the bytes differ.
    Etag,
    /// The source is newer.
    Newer,
    /// The mode asks for proof and there is none.
    Unproven,
    /// The mode says so.
    Always,
}

impl Reason {
    /// The word reports use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Etag => "ETag",
            Self::Newer => "newer at the source",
            Self::Unproven => "unproven",
            Self::Always => "always",
        }
    }
}

/// The ETag rules of the two sides, as far as known at the moment of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownETags {
    /// Whether the source's are MD5s.
    pub source_is_md5: Support,
    /// Whether the destination's are MD5s.
    pub destination_is_md5: Support,
}

/// Compares two entries for one key.
pub fn compare(mode: CompareMode, source: &Entry, destination: &Entry, known: KnownETags) -> Verdict {
    if mode == CompareMode::Always {
        return Verdict::Different(Reason::Always);
    }
    if source.size_bytes != destination.size_bytes {
        return Verdict::Different(Reason::Size);
    }
    match mode {
        CompareMode::Always | CompareMode::Size => Verdict::Same(Evidence::Size),
        CompareMode::Mtime => compare_times(source, destination),
        CompareMode::Etag => {
            compare_etags(source, destination, known).unwrap_or(Verdict::Different(Reason::Unproven))
        }
        CompareMode::Auto => {
            compare_etags(source, destination, known).unwrap_or_else(|| compare_times(source, destination))
        }
    }
}

/// `None` where the tags say nothing.
fn compare_etags(source: &Entry, destination: &Entry, known: KnownETags) -> Option<Verdict> {
    let (source, destination) = (source.etag.as_ref()?, destination.etag.as_ref()?);
    etags_tell(source, destination, known)
        .map(|same| if same { Verdict::Same(Evidence::Etag) } else { Verdict::Different(Reason::Etag) })
}

/// Whether two ETags tell that two objects are the same or that they are not; `None` where they say nothing.
pub fn etags_tell(source: &ETag, destination: &ETag, known: KnownETags) -> Option<bool> {
    if source.proves_same_bytes(destination) {
        return Some(true);
    }
    let both_md5 = source.as_md5().is_some()
        && destination.as_md5().is_some()
        && known.source_is_md5.may()
        && known.destination_is_md5.may();
    // Two multipart tags, or one of each form, differ for equal bytes when the part boundaries do.
    both_md5.then_some(false)
}

fn compare_times(source: &Entry, destination: &Entry) -> Verdict {
    match (source.last_modified, destination.last_modified) {
        (Some(source), Some(destination)) if may_be_newer(source, destination) => {
            Verdict::Different(Reason::Newer)
        }
        (Some(_), Some(_)) => Verdict::Same(Evidence::SizeAndTime),
        _ => Verdict::Different(Reason::Unproven),
    }
}

/// Most stores, Amazon S3 among them, tell whole seconds: a change within the second in which the copy was written looks as old
/// as the copy. It counts as newer then, which costs one more copy where nothing had changed and loses no change.
fn may_be_newer(source: OffsetDateTime, destination: OffsetDateTime) -> bool {
    let whole_seconds = source.nanosecond() == 0 || destination.nanosecond() == 0;
    source > destination || (whole_seconds && source.unix_timestamp() == destination.unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    const MD5_A: &str = "5d41402abc4b2a76b9719d911017c592";
    const MD5_B: &str = "7d793037a0760186574b0282f2f435e7";
    const MULTI: &str = "5d41402abc4b2a76b9719d911017c592-2";
    const UNKNOWN: KnownETags =
        KnownETags { source_is_md5: Support::Unknown, destination_is_md5: Support::Unknown };

    fn entry(size_bytes: u64, etag: &str, secs: i64) -> Entry {
        Entry {
            key: Key::new("k").expect("key"),
            size_bytes,
            etag: ETag::parse(etag),
            last_modified: OffsetDateTime::from_unix_timestamp(secs).ok(),
            storage_class: None,
        }
    }

    fn auto(source: &Entry, destination: &Entry) -> Verdict {
        compare(CompareMode::Auto, source, destination, UNKNOWN)
    }

    #[test]
    fn equal_digests_win_over_times() {
        assert_eq!(auto(&entry(1, MD5_A, 9), &entry(1, MD5_A, 1)), Verdict::Same(Evidence::Etag));
        assert_eq!(auto(&entry(1, MULTI, 9), &entry(1, MULTI, 1)), Verdict::Same(Evidence::Etag));
    }

    #[test]
    fn different_md5s_differ_though_the_destination_is_newer() {
        assert_eq!(auto(&entry(1, MD5_A, 1), &entry(1, MD5_B, 9)), Verdict::Different(Reason::Etag));
    }

    #[test]
    fn incomparable_tags_fall_back_to_time() {
        for (a, b) in
            [(MD5_A, MULTI), (MULTI, "7d793037a0760186574b0282f2f435e7-2"), ("opaque", "opaque"), ("", MD5_A)]
        {
            assert_eq!(
                auto(&entry(1, a, 1), &entry(1, b, 2)),
                Verdict::Same(Evidence::SizeAndTime),
                "{a} {b}"
            );
            assert_eq!(auto(&entry(1, a, 3), &entry(1, b, 2)), Verdict::Different(Reason::Newer), "{a} {b}");
        }
        let kms = KnownETags { destination_is_md5: Support::No, ..UNKNOWN };
        let verdict = compare(CompareMode::Auto, &entry(1, MD5_A, 1), &entry(1, MD5_B, 2), kms);
        assert_eq!(verdict, Verdict::Same(Evidence::SizeAndTime));
    }

    #[test]
    fn a_change_within_the_second_of_the_copy_is_not_passed_over() {
        let at_millis = |millis: i64| Entry {
            last_modified: Some(OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(millis)),
            ..entry(1, MULTI, 0)
        };
        let auto_at = |source, destination| {
            let mut destination = at_millis(destination);
            destination.etag = None;
            auto(&at_millis(source), &destination)
        };
        assert_eq!(auto_at(2000, 2000), Verdict::Different(Reason::Newer));
        assert_eq!(auto_at(2000, 2900), Verdict::Different(Reason::Newer));
        assert_eq!(auto_at(2800, 2900), Verdict::Same(Evidence::SizeAndTime));
        assert_eq!(auto_at(2900, 3000), Verdict::Same(Evidence::SizeAndTime));
    }

    #[test]
    fn each_mode_looks_at_what_it_says() {
        let (older, newer) = (entry(1, MD5_A, 1), entry(1, MD5_B, 2));
        let (multipart, longer) = (entry(1, MULTI, 2), entry(2, MD5_A, 1));
        let by = |mode, source, destination| compare(mode, source, destination, UNKNOWN);
        assert_eq!(by(CompareMode::Size, &newer, &older), Verdict::Same(Evidence::Size));
        assert_eq!(by(CompareMode::Mtime, &newer, &older), Verdict::Different(Reason::Newer));
        assert_eq!(by(CompareMode::Etag, &older, &multipart), Verdict::Different(Reason::Unproven));
        assert_eq!(by(CompareMode::Always, &older, &older), Verdict::Different(Reason::Always));
        assert_eq!(by(CompareMode::Size, &longer, &older), Verdict::Different(Reason::Size));
    }
}
