//! The proof that what was read is what the source holds.
//!
//! Owns: which of the source's own digests is checked, the cheapest that covers every byte, and what is done when it does not come
//! out. A declared CRC of the whole is combined from the parts, and costs next to nothing. Checksums over parts, and the ETag of an
//! object in parts, are checked by the digests of the same parts. What is left, a SHA or an MD5 of an object put in one piece, goes
//! from the first byte to the last, so its parts are read one after another (a store takes at most 5 GiB in one piece, and other
//! objects go on meanwhile). Invariant: bytes that contradict the source's digest become an object only if a second reading finds the
//! very same bytes and the digest is one of which nothing is certain.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ferry_md5::Turn;

use super::cut::{Boundaries, Cut};
use super::{Part, Upload};
use crate::checksum::{
    Algorithm, Checksum, Coverage, DeclaredChecksum, DigestSet, Digests, RunningChecksum, combine_crc64_nvme,
    md5_stream,
};
use crate::copy::declared::{check_read, needed, same_checksum, writing_wants_md5};
use crate::copy::{Copier, CopyError, same_generation};
use crate::receipt::ReadCheck;
use crate::route::Route;
use crate::store::HeadRequest;
use crate::{Body, ETagCheck, Encryption, Error, ErrorKind, ObjectHead, Support};

/// How often the source is read again before it is given up on.
const LOOKS_MAX: u32 = 2;

/// Which digest of the source's is checked.
pub(super) enum ReadProof {
    /// A CRC of the whole object, combined from its parts: CRC64NVME, which every part has, or this one.
    Combined(Option<Algorithm>),
    /// One over the digests of the parts, cut at these boundaries.
    OverParts(Boundaries, PartDigest),
    /// One from the first byte to the last.
    InOrder(Arc<Mutex<InOrder>>),
    /// None: the source declares nothing.
    Nothing,
}

/// The digest of a part that the source's digest is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartDigest {
    /// MD5: the source's ETag.
    Md5,
    /// A composite checksum's own.
    Checksum(DeclaredChecksum),
}

/// A digest over parts that come in order, each of which may take several attempts.
pub(super) struct InOrder {
    /// Of no bytes.
    empty: Running,
    /// Of every part that is settled.
    settled: Running,
    /// With the part that is being read.
    trial: Option<Trial>,
}

/// A digest as it stands.
#[derive(Clone)]
enum Running {
    Md5(ferry_md5::Md5),
    Checksum(Box<RunningChecksum>),
}

/// A digest while bytes pass.
enum Trial {
    Md5(ferry_md5::Stream),
    Checksum(Box<RunningChecksum>),
}

impl InOrder {
    fn from_first_byte(empty: Running) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { settled: empty.clone(), empty, trial: None }))
    }
}

impl Running {
    fn go_on(&self) -> Trial {
        match self {
            Self::Md5(md5) => Trial::Md5(md5_stream(md5.clone())),
            Self::Checksum(checksum) => Trial::Checksum(checksum.clone()),
        }
    }
}

impl Trial {
    fn push(&mut self, piece: &Bytes) -> Turn {
        match self {
            Self::Md5(md5) => md5.push(piece),
            Self::Checksum(checksum) => {
                checksum.update(piece);
                Turn::Keep
            }
        }
    }

    fn end(self) -> Running {
        match self {
            Self::Md5(md5) => Running::Md5(md5.into_md5()),
            Self::Checksum(checksum) => Running::Checksum(checksum),
        }
    }
}

impl ReadProof {
    pub(super) fn choose(route: &Route, head: &ObjectHead, cut: &Cut) -> Self {
        if head.checksums.crc64_nvme.is_some() {
            return Self::Combined(None);
        }
        let by_etag = Self::of_etag(route, head, cut.boundaries);
        let known = match &by_etag {
            Self::InOrder(_) => route.source_etags.is_md5(),
            _ => route.source_part_etags.is_md5(),
        };
        let covered_by_md5 =
            !matches!(by_etag, Self::Nothing) && known == Support::Yes && writing_wants_md5(route);
        let Some(declared) = needed(&head.checksums, covered_by_md5) else { return by_etag };
        let algorithm = declared.checksum.algorithm();
        match declared.coverage {
            Coverage::Whole if algorithm.combines() => Self::Combined(Some(algorithm)),
            Coverage::Whole => {
                let running = Running::Checksum(Box::new(RunningChecksum::new(algorithm)));
                Self::InOrder(InOrder::from_first_byte(running))
            }
            Coverage::Parts(parts) if cut.boundaries != Boundaries::Own && parts == cut.plan.len() => {
                Self::OverParts(cut.boundaries, PartDigest::Checksum(declared))
            }
            Coverage::Parts(_) => by_etag,
        }
    }

    /// The proof by the source's ETag.
    fn of_etag(route: &Route, head: &ObjectHead, boundaries: Boundaries) -> Self {
        let (Some(etag), Encryption::StoreManaged) = (&head.etag, head.encryption) else {
            return Self::Nothing;
        };
        if etag.as_md5().is_some() && route.source_etags.wants_md5() {
            Self::InOrder(InOrder::from_first_byte(Running::Md5(ferry_md5::Md5::new())))
        } else if boundaries != Boundaries::Own && route.source_part_etags.wants_md5() {
            Self::OverParts(boundaries, PartDigest::Md5)
        } else {
            Self::Nothing
        }
    }

    /// What is to be computed of each part.
    pub(super) fn digests_of_a_part(&self, writing_wants_md5: bool) -> DigestSet {
        let other = match self {
            Self::Combined(algorithm) => *algorithm,
            Self::OverParts(_, PartDigest::Checksum(declared)) => Some(declared.checksum.algorithm()),
            Self::OverParts(_, PartDigest::Md5) | Self::InOrder(_) | Self::Nothing => None,
        };
        DigestSet { md5: writing_wants_md5 || matches!(self, Self::OverParts(_, PartDigest::Md5)), other }
    }

    /// Whether parts have to be read one after another.
    pub(super) fn needs_order(&self) -> bool {
        matches!(self, Self::InOrder(_))
    }

    /// Lets a body that is being read pass through the digest of the whole.
    pub(super) fn watch(&self, body: Body) -> Body {
        let Self::InOrder(running) = self else { return body };
        {
            let mut running = lock(running);
            running.trial = Some(running.settled.go_on());
        }
        let running = Arc::clone(running);
        body.shown(move |chunk| lock(&running).trial.as_mut().map_or(Turn::Keep, |trial| trial.push(chunk)))
    }

    /// The part that was read last is settled.
    pub(super) fn settle(&self) {
        if let Self::InOrder(running) = self {
            let mut running = lock(running);
            if let Some(trial) = running.trial.take() {
                running.settled = trial.end();
            }
        }
    }

    fn begin_again(&self) {
        if let Self::InOrder(running) = self {
            let mut running = lock(running);
            running.settled = running.empty.clone();
            running.trial = None;
        }
    }

    /// What the digest from the first byte to the last has come to.
    fn in_order(&self) -> (Option<[u8; 16]>, Option<Checksum>) {
        let Self::InOrder(running) = self else { return (None, None) };
        match &lock(running).settled {
            Running::Md5(md5) => (Some(md5.finish()), None),
            Running::Checksum(checksum) => (None, Some(checksum.finish())),
        }
    }
}

fn lock(running: &Mutex<InOrder>) -> MutexGuard<'_, InOrder> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Whether our parts are those that the source's digest is made of, as far as its store can be asked. One question for
    /// each part: only for an object whose proof has failed.
    async fn boundaries_hold(&self) -> Result<bool, CopyError> {
        match self.proof {
            ReadProof::OverParts(Boundaries::Told, _) => {}
            ReadProof::OverParts(..) => return Ok(false),
            ReadProof::Combined(_) | ReadProof::InOrder(_) | ReadProof::Nothing => return Ok(true),
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
        let (md5, in_order) = self.proof.in_order();
        let mut whole = Digests { crc64_nvme: 0, md5, other: in_order, length_bytes: 0 };
        for Part { digests, .. } in parts {
            whole.crc64_nvme = combine_crc64_nvme(whole.crc64_nvme, digests.crc64_nvme, digests.length_bytes);
            whole.length_bytes += digests.length_bytes;
        }
        if let ReadProof::Combined(Some(algorithm)) = self.proof {
            let nothing = Checksum::of(algorithm, &[]);
            whole.other = parts.iter().try_fold(nothing, |before, Part { digests, .. }| {
                before.followed_by(digests.other.as_ref()?, digests.length_bytes)
            });
        }
        whole
    }

    /// The whole object's digests checked against what the source declared.
    fn check_read(&self, parts: &[Part]) -> Result<(u64, ReadCheck), Error> {
        let whole = self.combined(parts);
        let check = check_read(&self.route.source_etags, self.head, &whole)?;
        let check = match self.proof {
            ReadProof::OverParts(_, PartDigest::Md5) => self.check_part_md5s(parts)?,
            ReadProof::OverParts(_, PartDigest::Checksum(declared)) => {
                check_part_checksums(&declared, parts)?
            }
            _ => check,
        };
        Ok((whole.crc64_nvme, check))
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

fn check_part_checksums(declared: &DeclaredChecksum, parts: &[Part]) -> Result<ReadCheck, Error> {
    let checksums: Option<Vec<Checksum>> = parts.iter().map(|part| part.digests.other).collect();
    let Some(checksums) = checksums else { return Ok(ReadCheck::Length) };
    same_checksum(declared, &Checksum::composite(declared.checksum.algorithm(), &checksums))
}
