//! Reading: whole objects, ranges, conditions.

use bytes::Bytes;
use ferry_transfer::checksum::{DigestSet, digest};
use ferry_transfer::store::{GetRequest, GetResponse, ListRequest};
use ferry_transfer::{ByteRange, ETag, ErrorKind, Result};

use super::Flow;
use crate::probe::Role;
use crate::probe::finding::{Outcome, says_nothing, why};
use crate::probe::trial::{Details, Specimen, Trial};

/// Larger than one packet, smaller than any part.
const SPECIMEN_BYTES: usize = 4096;
/// Whole objects of a source are read up to this size.
const WHOLE_BYTES_MAX: u64 = 1 << 20;

/// Finds or makes the object that the reading steps read.
pub(super) async fn specimen(trial: &Trial) -> Flow {
    match trial.role() {
        Role::Source => found(trial).await,
        Role::Destination => made(trial).await,
    }
}

async fn found(trial: &Trial) -> Flow {
    let request =
        ListRequest { prefix: trial.prefix().to_owned(), page_size: Some(100), ..ListRequest::default() };
    let page = match trial.store().list(request).await {
        Ok(page) => page,
        Err(error) => {
            trial.tell("list", Outcome::Broken, error.chain());
            return Flow::Stop;
        }
    };
    let can = &trial.profile().capabilities;
    let readable = page.entries.into_iter().filter(|entry| {
        entry.size_bytes >= 16
            && !entry.storage_class.as_ref().is_some_and(|class| can.must_be_restored(class))
    });
    match readable.min_by_key(|entry| entry.size_bytes) {
        Some(entry) => trial.set_specimen(Specimen {
            key: entry.key,
            size_bytes: entry.size_bytes,
            etag: entry.etag,
            bytes: None,
        }),
        None => {
            trial.tell(
                "read",
                Outcome::Untried,
                "none of the first 100 objects has 16 bytes or more to read",
            );
        }
    }
    Flow::Continue
}

async fn made(trial: &Trial) -> Flow {
    let bytes: Bytes = (0..SPECIMEN_BYTES).map(|at| b"0123456789abcde\n"[at % 16]).collect();
    let written = match trial.put(&trial.store(), "specimen", bytes.clone(), Details::default()).await {
        Ok(written) => written,
        Err(error) => {
            trial.tell("write", Outcome::Broken, error.chain());
            return Flow::Stop;
        }
    };
    trial.tell("write", Outcome::Yes, format!("{SPECIMEN_BYTES} bytes in one piece"));
    let md5 = digest(&bytes, DigestSet::MD5).md5;
    match &written.etag {
        None => trial.tell("etag", Outcome::No, "a write answers no ETag"),
        Some(etag) => {
            let is_md5 = etag.as_md5().is_some() && etag.as_md5() == md5;
            let detail = if is_md5 { "the MD5 of the bytes" } else { "not the MD5 of the bytes" };
            trial.tell_support("etag", is_md5, detail, "capabilities.etag_is_md5");
        }
    }
    match &written.version_id {
        Some(_) => trial.tell_support("versions", true, "the bucket keeps versions", "capabilities.versions"),
        None => trial.tell("versions", Outcome::Untried, "the bucket keeps none, or does not say so"),
    }
    let key = match trial.key("specimen") {
        Ok(key) => key,
        Err(_empty) => return Flow::Stop,
    };
    trial.set_specimen(Specimen {
        key,
        size_bytes: SPECIMEN_BYTES as u64,
        etag: written.etag,
        bytes: Some(bytes),
    });
    Flow::Continue
}

async fn get(
    trial: &Trial,
    specimen: &Specimen,
    range: Option<ByteRange>,
    if_match: Option<ETag>,
) -> Result<GetResponse> {
    let request = GetRequest { key: specimen.key.clone(), if_match, version_id: None, range };
    trial.store().get(request).await
}

pub(super) async fn whole(trial: &Trial) -> Flow {
    let Some(mut specimen) = trial.specimen() else {
        return Flow::Continue;
    };
    match trial.head(&trial.store(), &specimen.key).await {
        Ok(head) if head.size_bytes == specimen.size_bytes => {
            specimen.etag = head.etag.or(specimen.etag);
            trial.set_specimen(specimen.clone());
        }
        Ok(head) => trial.tell(
            "read",
            Outcome::No,
            format!("HEAD says {} bytes, the listing said {}", head.size_bytes, specimen.size_bytes),
        ),
        Err(error) => {
            trial.tell("read", Outcome::Broken, error.chain());
            return Flow::Continue;
        }
    }
    if specimen.size_bytes > WHOLE_BYTES_MAX {
        trial.tell("read", Outcome::Yes, "HEAD works; every object is too large to be read whole here");
        return Flow::Continue;
    }
    let read = match get(trial, &specimen, None, None).await {
        Ok(response) => response.body.collect().await,
        Err(error) => Err(error),
    };
    match read {
        Ok(bytes) if specimen.bytes.as_ref().is_none_or(|written| *written == bytes) => {
            trial.tell("read", Outcome::Yes, format!("HEAD, and GET of {} bytes", bytes.len()));
        }
        Ok(_) => trial.tell("read", Outcome::Broken, "other bytes came back than were written"),
        Err(error) => trial.tell("read", Outcome::Broken, error.chain()),
    }
    Flow::Continue
}

pub(super) async fn ranges(trial: &Trial) -> Flow {
    let Some(specimen) = trial.specimen() else {
        return Flow::Continue;
    };
    let (Some(inside), Some(outside)) = (ByteRange::new(5, 7), ByteRange::new(specimen.size_bytes + 10, 7))
    else {
        return Flow::Continue;
    };
    let read = match get(trial, &specimen, Some(inside), None).await {
        Ok(response) => response.body.collect().await,
        Err(error) => Err(error),
    };
    match read {
        Ok(bytes) if specimen.bytes.as_ref().is_none_or(|written| written[5..12] == bytes[..]) => {
            trial.tell("range", Outcome::Yes, "seven bytes from the middle");
        }
        Ok(_) => trial.tell("range", Outcome::Broken, "other bytes came than were asked for"),
        Err(error) => {
            trial.tell("range", Outcome::Broken, format!("no object can go in parts: {}", why(&error)));
        }
    }
    match get(trial, &specimen, Some(outside), None).await {
        Err(error) if error.status() == Some(416) => {
            trial.tell_support("range beyond", true, "refused (416)", "capabilities.range_strict");
        }
        Err(error) if says_nothing(&error) => {
            trial.tell("range beyond", Outcome::Untried, error.chain());
        }
        Err(error) => {
            let detail = format!("not refused with 416: {}", why(&error));
            trial.tell_support("range beyond", false, detail, "capabilities.range_strict");
        }
        Ok(_) => {
            trial.tell("range beyond", Outcome::Broken, "bytes that do not exist were answered");
        }
    }
    Flow::Continue
}

pub(super) async fn conditions(trial: &Trial) -> Flow {
    let Some(specimen) = trial.specimen() else {
        return Flow::Continue;
    };
    let Some(etag) = specimen.etag.clone() else {
        trial.tell(
            "read if",
            Outcome::Broken,
            "without ETags nothing shows that an object changed while it was read",
        );
        return Flow::Continue;
    };
    let range = ByteRange::new(0, 8);
    if let Err(error) = get(trial, &specimen, range, Some(etag)).await {
        trial.tell("read if", Outcome::Broken, format!("If-Match with the right ETag: {}", why(&error)));
        return Flow::Continue;
    }
    match get(trial, &specimen, range, Some(ETag::from_md5([7; 16]))).await {
        Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
            trial.tell("read if", Outcome::Yes, "If-Match guards reads");
        }
        Err(error) => trial.tell("read if", Outcome::Untried, error.chain()),
        Ok(_) => {
            trial.tell(
                "read if",
                Outcome::No,
                "If-Match is ignored; Ferry compares the ETag of every answer",
            );
        }
    }
    Flow::Continue
}
