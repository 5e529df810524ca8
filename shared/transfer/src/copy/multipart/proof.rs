//! The proof that what was read is what the source holds.
//!
//! Owns: which of the source's own digests is checked, the cheapest that covers every byte, and what is done when it does not come
//! out. A declared CRC is combined from the parts, and costs next to nothing. Without one, the ETag is all there is: of an object
//! in parts it is checked by the MD5s of the same parts; of an object put in one piece it is one MD5 from the first byte to the
//! last, so its parts are read one after another (a store takes at most 5 GiB in one piece, and other objects go on meanwhile).
//! Invariant: bytes that contradict the source's digest become an object only if a second reading finds the very same bytes and the
//! digest is one of which nothing is certain.

use std::sync::{Arc, Mutex, PoisonError};

use md5::{Digest as _, Md5};

use super::cut::Boundaries;
use super::{Part, Upload};
use crate::checksum::{Digests, combine_crc64_nvme, combine_crc64_xz};
use crate::copy::{Copier, CopyError, check_read, same_generation};
use crate::receipt::ReadCheck;
use crate::route::Route;
use crate::store::HeadRequest;
use crate::{Body, ETagCheck, Encryption, Error, ErrorKind, ObjectHead};

/// How often the source is read again before it is given up on.
const LOOKS_MAX: u32 = 2;

/// Which digest of the source's is checked.
pub(super) enum ReadProof {
    /// A CRC of the whole object, combined from its parts; or none, where the source declares nothing.
    Declared,
    /// The ETag of an object in parts, cut at these boundaries.
    PartMd5s(Boundaries),
    /// The ETag of an object put in one piece.
    WholeMd5(Arc<Mutex<RunningMd5>>),
}

/// An MD5 over parts that come in order, each of which may take several attempts.
#[derive(Default)]
pub(super) struct RunningMd5 {
    /// Of every part that is settled.
    settled: Md5,
    /// With the part that is being read.
    trial: Md5,
}

impl ReadProof {
    pub(super) fn choose(route: &Route, head: &ObjectHead, boundaries: Boundaries) -> Self {
        let checksums = head.checksums;
        let declares_crc = checksums.crc64_nvme.is_some() || checksums.crc64_xz.is_some();
        let (Some(etag), Encryption::StoreManaged, false) = (&head.etag, head.encryption, declares_crc)
        else {
            return Self::Declared;
        };
        if etag.as_md5().is_some() && route.source_etags.wants_md5() {
            Self::WholeMd5(Arc::default())
        } else if boundaries != Boundaries::Own && route.source_part_etags.wants_md5() {
            Self::PartMd5s(boundaries)
        } else {
            Self::Declared
        }
    }

    /// Whether parts have to be read one after another.
    pub(super) fn needs_order(&self) -> bool {
        matches!(self, Self::WholeMd5(_))
    }

    /// Lets a body that is being read pass through the digest of the whole.
    pub(super) fn watch(&self, body: Body) -> Body {
        let Self::WholeMd5(running) = self else { return body };
        {
            let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
            running.trial = running.settled.clone();
        }
        let running = Arc::clone(running);
        body.shown(move |chunk| running.lock().unwrap_or_else(PoisonError::into_inner).trial.update(chunk))
    }

    /// The part that was read last is settled.
    pub(super) fn settle(&self) {
        if let Self::WholeMd5(running) = self {
            let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
            running.settled = running.trial.clone();
        }
    }

    fn begin_again(&self) {
        if let Self::WholeMd5(running) = self {
            *running.lock().unwrap_or_else(PoisonError::into_inner) = RunningMd5::default();
        }
    }

    fn whole_md5(&self) -> Option<[u8; 16]> {
        let Self::WholeMd5(running) = self else { return None };
        let running = running.lock().unwrap_or_else(PoisonError::into_inner);
        Some(running.settled.clone().finalize().into())
    }
}

impl Copier {
    /// The whole object's CRC64NVME, and what the reading of it was checked against. Where the source's digest contradicts what was
    /// sent, the source is read once more, and parts that turn out otherwise are sent again.
    pub(super) async fn prove_read(
        &self,
        upload: &Upload<'_>,
        parts: &mut [Part],
    ) -> Result<(u64, ReadCheck), CopyError> {
        let mut looks = 0;
        loop {
            let mismatch = match upload.check_read(parts) {
                Ok(proven) => return Ok(proven),
                Err(mismatch) => mismatch.on_key(upload.request.key.as_str()),
            };
            if looks == LOOKS_MAX {
                return Err(CopyError::Failed(mismatch));
            }
            looks += 1;
            tracing::warn!(error = %mismatch.chain(), "reading the source again");
            let replaced = self.look_again(upload, parts).await?;
            if replaced == 0 && !upload.boundaries_hold().await? {
                // Read twice, the same both times, and the tag is over other parts than ours.
                return Ok((upload.combined(parts).crc64_nvme, ReadCheck::Length));
            }
        }
    }

    /// Reads every part once more, and sends those again that differ from what was sent. How many did.
    async fn look_again(&self, upload: &Upload<'_>, parts: &mut [Part]) -> Result<usize, CopyError> {
        upload.proof.begin_again();
        let mut replaced = 0;
        for (part, (number, range)) in parts.iter_mut().zip(upload.plan.parts()) {
            let (_, digests) = self.repeat(|| upload.look(range)).await?;
            if digests.crc64_nvme == part.digests.crc64_nvme {
                upload.proof.settle();
            } else {
                *part = self.send_part(upload, number, range).await?;
                replaced += 1;
            }
        }
        Ok(replaced)
    }
}

impl Upload<'_> {
    /// Whether the MD5s of our parts are those that the source's ETag is made of, as far as its store can be asked. One question for
    /// each part: only for an object whose proof has failed.
    async fn boundaries_hold(&self) -> Result<bool, CopyError> {
        match self.proof {
            ReadProof::PartMd5s(Boundaries::Told) => {}
            ReadProof::PartMd5s(_) => return Ok(false),
            ReadProof::Declared | ReadProof::WholeMd5(_) => return Ok(true),
        }
        let key = &self.request.key;
        for (number, range) in self.plan.parts() {
            let request = HeadRequest {
                key: key.clone(),
                version_id: self.head.version_id.clone(),
                part_number: Some(number),
            };
            let head =
                self.route.source.head(request).await.map_err(|error| CopyError::at_source(error, key))?;
            same_generation(Some(self.generation), &head)?;
            if head.part.is_none_or(|part| part.size_bytes != range.length_bytes()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The whole object's digests, combined from the parts.
    fn combined(&self, parts: &[Part]) -> Digests {
        let mut whole = Digests {
            crc64_nvme: 0,
            crc64_xz: self.digests.crc64_xz.then_some(0),
            md5: self.proof.whole_md5(),
            length_bytes: 0,
        };
        for Part { digests, .. } in parts {
            whole.crc64_nvme = combine_crc64_nvme(whole.crc64_nvme, digests.crc64_nvme, digests.length_bytes);
            whole.crc64_xz = whole
                .crc64_xz
                .zip(digests.crc64_xz)
                .map(|(before, part)| combine_crc64_xz(before, part, digests.length_bytes));
            whole.length_bytes += digests.length_bytes;
        }
        whole
    }

    /// The whole object's digests checked against what the source declared.
    fn check_read(&self, parts: &[Part]) -> Result<(u64, ReadCheck), Error> {
        let whole = self.combined(parts);
        let check = check_read(self.route, self.head, &whole)?;
        let by_parts = match self.proof {
            ReadProof::PartMd5s(_) => self.check_part_md5s(parts)?,
            _ => check,
        };
        Ok((whole.crc64_nvme, by_parts))
    }

    fn check_part_md5s(&self, parts: &[Part]) -> Result<ReadCheck, Error> {
        let md5s: Option<Vec<[u8; 16]>> = parts.iter().map(|part| part.digests.md5).collect();
        let Some(md5s) = md5s else { return Ok(ReadCheck::Length) };
        match self.route.source_part_etags.check_parts(self.generation, self.head.encryption, &md5s) {
            ETagCheck::Match => Ok(ReadCheck::Etag),
            ETagCheck::SaysNothing => Ok(ReadCheck::Length),
            ETagCheck::Mismatch => Err(Error::new(
                ErrorKind::Corrupt,
                format!("the source's ETag is {}, the MD5s of its parts make another", self.generation),
            )),
        }
    }
}
