//! Uploads of parts: whether they may differ in size, and what the object is called in the end.

use bytes::Bytes;
use ferry_transfer::checksum::{DigestSet, digest};
use ferry_transfer::store::{
    BodyChecksum, CompleteUploadRequest, HeadRequest, UploadId, UploadPartRequest, UploadedPart,
    WriteCondition,
};
use ferry_transfer::{Body, ETag, Key, Result, SharedStore};

use super::Flow;
use crate::probe::finding::{Outcome, says_nothing, why};
use crate::probe::trial::Trial;

/// The largest part that a trial sends; a store that wants larger ones is not tried.
const PART_BYTES_MAX: u64 = 16 << 20;
/// How much longer the second part is than the first.
const LONGER_BYTES: usize = 1024;
/// The last part.
const LAST: &[u8] = b"the end\n";

/// An upload and its parts.
struct Upload {
    store: SharedStore,
    key: Key,
    id: UploadId,
}

impl Upload {
    async fn part(&self, part_number: u32, bytes: Bytes) -> Result<UploadedPart> {
        let request = UploadPartRequest {
            key: self.key.clone(),
            upload_id: self.id.clone(),
            part_number,
            body: Body::Bytes(bytes),
            checksum: BodyChecksum::default(),
        };
        self.store.upload_part(request).await
    }

    async fn complete(&self, trial: &Trial, sent: &[(UploadedPart, Bytes)]) -> Result<Option<ETag>> {
        let whole: Vec<u8> = sent.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let request = CompleteUploadRequest {
            key: self.key.clone(),
            upload_id: self.id.clone(),
            parts: sent
                .iter()
                .map(|(part, bytes)| UploadedPart {
                    crc64_nvme: Some(digest(bytes, DigestSet::default()).crc64_nvme),
                    ..part.clone()
                })
                .collect(),
            condition: WriteCondition::None,
            size_bytes: whole.len() as u64,
            crc64_nvme: Some(digest(&whole, DigestSet::default()).crc64_nvme),
        };
        Ok(trial.complete_upload(&self.store, request).await?.etag)
    }
}

pub(super) async fn upload(trial: &Trial) -> Flow {
    let smallest = trial.profile().capabilities.part_bytes_min;
    let Some(smallest) = usize::try_from(smallest).ok().filter(|_| smallest <= PART_BYTES_MAX) else {
        trial.tell("parts", Outcome::Untried, format!("the smallest part has {smallest} bytes"));
        return Flow::Continue;
    };
    let store = trial.store();
    let (key, id) = match trial.create_upload(&store, "parts").await {
        Ok(begun) => begun,
        Err(error) => {
            trial.tell("parts", Outcome::Broken, format!("no upload can be begun: {}", error.chain()));
            return Flow::Continue;
        }
    };
    let upload = Upload { store, key, id };
    if let Err(error) = unequal(trial, &upload, smallest.max(1)).await {
        let outcome = if says_nothing(&error) { Outcome::Untried } else { Outcome::Broken };
        trial.tell("parts", outcome, error.chain());
    }
    Flow::Continue
}

/// Three parts, the second longer than the first; where that is refused, as long as the first.
async fn unequal(trial: &Trial, upload: &Upload, smallest: usize) -> Result<()> {
    const FIELD: &str = "capabilities.equal_parts";
    let bytes = [
        Bytes::from(vec![b'1'; smallest]),
        Bytes::from(vec![b'2'; smallest + LONGER_BYTES]),
        Bytes::from_static(LAST),
    ];
    let mut sent = Vec::new();
    for (number, bytes) in (1..).zip(bytes) {
        sent.push((upload.part(number, bytes.clone()).await?, bytes));
    }
    let etag = match upload.complete(trial, &sent).await {
        Ok(etag) => {
            trial.tell_fact(
                "parts",
                Outcome::Yes,
                format!("of {smallest} bytes and more, of any size"),
                FIELD,
                false,
            );
            etag
        }
        Err(error) if says_nothing(&error) => return Err(error),
        Err(refusal) => {
            let shorter = Bytes::from(vec![b'2'; smallest]);
            if let [_, second, _] = sent.as_mut_slice() {
                *second = (upload.part(2, shorter.clone()).await?, shorter);
            }
            let etag = upload.complete(trial, &sent).await?;
            let detail =
                format!("of {smallest} bytes and more, all but the last of one size ({})", why(&refusal));
            trial.tell_fact("parts", Outcome::Yes, detail, FIELD, true);
            etag
        }
    };
    etag_rule(trial, upload, etag, &sent).await;
    part_number(trial, upload, smallest).await;
    Ok(())
}

async fn etag_rule(trial: &Trial, upload: &Upload, etag: Option<ETag>, sent: &[(UploadedPart, Bytes)]) {
    const FIELD: &str = "capabilities.multipart_etag_is_md5_of_md5s";
    // Ceph 16 answers a completion without one.
    let etag = match etag {
        Some(etag) => Some(etag),
        None => trial.head(&upload.store, &upload.key).await.ok().and_then(|head| head.etag),
    };
    let set = DigestSet::MD5;
    let md5s: Vec<[u8; 16]> = sent.iter().filter_map(|(_, bytes)| digest(bytes, set).md5).collect();
    let Some(etag) = etag else {
        trial.tell("etag of parts", Outcome::No, "the object has none");
        return;
    };
    let follows = etag == ETag::from_part_md5s(&md5s);
    let detail = if follows { "the MD5 of the parts' MD5s" } else { "does not follow from the parts' MD5s" };
    trial.tell_support("etag of parts", follows, detail, FIELD);
}

async fn part_number(trial: &Trial, upload: &Upload, smallest: usize) {
    const FIELD: &str = "capabilities.part_numbers";
    let request = HeadRequest { part_number: Some(1), ..HeadRequest::of(&upload.key) };
    match upload.store.head(request).await {
        Ok(head) => {
            let tells = head.part.is_some_and(|part| part.size_bytes == smallest as u64);
            let detail =
                if tells { "HEAD says where parts lie" } else { "HEAD does not say where parts lie" };
            trial.tell_support("part numbers", tells, detail, FIELD);
        }
        Err(error) if says_nothing(&error) => trial.tell("part numbers", Outcome::Untried, error.chain()),
        Err(error) => trial.tell_support("part numbers", false, why(&error), FIELD),
    }
}
