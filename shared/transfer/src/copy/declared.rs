//! What the source declared of an object, against what arrived of it.
//!
//! Owns: which digests are computed for that, the cheapest that cover every byte, and the comparison. Does not own: digests over the
//! source's own parts, which only a reading in parts can check (`multipart`). Invariant: a contradiction is an error, whatever
//! else agrees.

use std::fmt;

use crate::checksum::{Algorithm, Checksum, Coverage, DeclaredChecksum, DigestSet, Digests};
use crate::receipt::ReadCheck;
use crate::route::Route;
use crate::{DeclaredChecksums, ETag, ETagCheck, ETagRule, Error, ErrorKind, ObjectHead, Support};

/// Whether the destination's own digest of what is written is an MD5 that can be held against ours, and nothing cheaper.
pub(super) fn writing_wants_md5(route: &Route) -> bool {
    route.destination.capabilities().crc64_nvme != Support::Yes && route.destination_etags.wants_md5()
}

/// Which digests to compute of an object read in one piece, so that all can be checked that its store declares of it, and its MD5 is known where the tag
/// may be one.
pub fn digests_of_reading(etags: &ETagRule, head: &ObjectHead) -> DigestSet {
    let other = needed(&head.checksums, false).filter(over_one_piece);
    DigestSet { md5: tag_may_be_md5(etags, head), other: other.map(|declared| declared.checksum.algorithm()) }
}

/// Whether the object's tag is worth an MD5.
fn tag_may_be_md5(etags: &ETagRule, head: &ObjectHead) -> bool {
    head.etag.as_ref().is_some_and(|etag| etag.as_md5().is_some() || etag.parts() == Some(1))
        && etags.wants_md5()
}

/// Which digests to compute of an object read in one piece, so that both ends can be checked.
pub(super) fn digests_of_whole(route: &Route, head: &ObjectHead) -> DigestSet {
    let source_tag_is_md5 = tag_may_be_md5(&route.source_etags, head);
    let md5_anyway = writing_wants_md5(route);
    let covered_by_md5 = md5_anyway && source_tag_is_md5 && route.source_etags.is_md5() == Support::Yes;
    let other = needed(&head.checksums, covered_by_md5)
        .filter(over_one_piece)
        .map(|declared| declared.checksum.algorithm());
    let declares_whole = head.checksums.crc64_nvme.is_some() || other.is_some();
    // Whether the tags of an unknown store are MD5s is worth finding out: the next comparison is exact if they are.
    let to_learn = route.source_etags.is_md5() == Support::Unknown;
    DigestSet { md5: md5_anyway || (source_tag_is_md5 && (to_learn || !declares_whole)), other }
}

/// The declared checksum that is worth computing: none where a cheaper proof covers the object.
pub(super) fn needed(checksums: &DeclaredChecksums, covered_by_md5: bool) -> Option<DeclaredChecksum> {
    let declared = checksums.other.filter(|_| checksums.crc64_nvme.is_none())?;
    (declared.checksum.algorithm().combines() || !covered_by_md5).then_some(declared)
}

/// Whether it can be checked without knowing where parts begin.
fn over_one_piece(declared: &DeclaredChecksum) -> bool {
    matches!(declared.coverage, Coverage::Whole | Coverage::Parts(1))
}

/// Checks the digests of a whole object against everything the source declared about it.
///
/// # Errors
/// `Corrupt` where anything contradicts.
pub fn check_read(etags: &ETagRule, head: &ObjectHead, digests: &Digests) -> Result<ReadCheck, Error> {
    let mut check = ReadCheck::Length;
    if let Some(declared) = head.checksums.crc64_nvme {
        let computed = digests.crc64_nvme;
        if declared != computed {
            let hex = |crc: u64| format!("{crc:016x}");
            return Err(contradiction("CRC64NVME", &hex(declared), &hex(computed)));
        }
        check = ReadCheck::Crc64;
    }
    if let (Some(declared), Some(computed)) = (head.checksums.other, digests.other)
        && declared.checksum.algorithm() == computed.algorithm()
        && over_one_piece(&declared)
    {
        let computed = match declared.coverage {
            Coverage::Whole => computed,
            Coverage::Parts(_) => Checksum::composite(computed.algorithm(), [&computed]),
        };
        check = same_checksum(&declared, &computed)?;
    }
    if let (Some(etag), Some(md5)) = (&head.etag, digests.md5) {
        match etags.check(etag, head.encryption, md5) {
            ETagCheck::Match => check = ReadCheck::Etag,
            ETagCheck::Mismatch => return Err(contradiction("the MD5", etag, &ETag::from_md5(md5))),
            ETagCheck::SaysNothing => {}
        }
    }
    Ok(check)
}

/// Compares a declared checksum with the one that was computed over the same.
pub(super) fn same_checksum(declared: &DeclaredChecksum, computed: &Checksum) -> Result<ReadCheck, Error> {
    if declared.checksum == *computed {
        return Ok(match computed.algorithm() {
            Algorithm::Crc64Xz => ReadCheck::Crc64,
            Algorithm::Crc32c => ReadCheck::Crc32c,
            Algorithm::Crc32 => ReadCheck::Crc32,
            Algorithm::Sha1 => ReadCheck::Sha1,
            Algorithm::Sha256 => ReadCheck::Sha256,
        });
    }
    let name = computed.algorithm().name();
    match declared.coverage {
        Coverage::Whole => Err(contradiction(name, &declared.checksum, computed)),
        Coverage::Parts(parts) => {
            let what = format!("{name} over {parts} parts");
            Err(contradiction(&what, &declared.checksum, computed))
        }
    }
}

fn contradiction(what: &str, declared: &impl fmt::Display, computed: &impl fmt::Display) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the source declared {what} {declared}, its bytes have {computed}"),
    )
}
