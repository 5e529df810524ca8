//! Where an object is cut into parts.
//!
//! Owns: finding the boundaries that the source object was written with. With the same boundaries the copy has the same ETag, and the
//! MD5s of its parts prove the reading. A store that tells them is asked (`HeadObject` with `partNumber`); else they are guessed.

use crate::checksum::Coverage;
use crate::copy::{Copier, CopyError, is_in_parts};
use crate::route::Route;
use crate::store::HeadRequest;
use crate::{ETag, Error, ErrorKind, Key, ObjectHead, PartOfObject, PartPlan};

/// How an object is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) plan: PartPlan,
    pub(super) boundaries: Boundaries,
}

/// Whose boundaries a cut has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Boundaries {
    /// The source object's, if all its parts but the last are of the size that its store tells of the first.
    Told,
    /// The source object's, if the guess that fits their number is right.
    Guessed,
    /// Our own.
    Own,
}

impl Copier {
    /// How to cut an object; `None` where it is better left whole.
    pub(super) async fn cut(
        &self,
        route: &Route,
        key: &Key,
        head: &ObjectHead,
        generation: &ETag,
    ) -> Result<Option<Cut>, CopyError> {
        let limits = route.destination.capabilities();
        let (plan, boundaries) = match source_part(route, key, head, generation).await? {
            Some(PartOfObject { size_bytes, parts }) => {
                (PartPlan::of_source(head.size_bytes, size_bytes, parts, limits), Boundaries::Told)
            }
            None => (PartPlan::guess(head.size_bytes, generation, limits), Boundaries::Guessed),
        };
        if let Some(plan) = plan.filter(|plan| plan.len() > 1) {
            return Ok(Some(Cut { plan, boundaries }));
        }
        match self.settings.parts(head.size_bytes, None, limits) {
            None => Ok(None),
            Some(Ok(plan)) => Ok(Some(Cut { plan, boundaries: Boundaries::Own })),
            Some(Err(error)) => {
                let error = Error::new(ErrorKind::InvalidInput, error.to_string());
                Err(CopyError::Failed(error.on_key(key.as_str())))
            }
        }
    }
}

/// The object's first part, where its store tells of parts.
async fn source_part(
    route: &Route,
    key: &Key,
    head: &ObjectHead,
    generation: &ETag,
) -> Result<Option<PartOfObject>, CopyError> {
    let checksums_over_parts =
        head.checksums.other.is_some_and(|declared| declared.coverage != Coverage::Whole);
    let means_something =
        route.source.capabilities().multipart_etag_is_md5_of_md5s.may() || checksums_over_parts;
    if !is_in_parts(generation) || !means_something {
        return Ok(None);
    }
    let request = HeadRequest { key: key.clone(), version_id: head.version_id.clone(), part_number: Some(1) };
    match route.source.head(request).await {
        // The ETag in this answer is not asked about: moto gives the part's own. Should the object have changed, every read
        // of a part says so, since it carries the generation.
        Ok(first) => Ok(first.part.filter(|part| generation.parts() == Some(part.parts))),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(CopyError::SourceGone),
        // A store that does not know the question: the answer to the plain one is enough.
        Err(error) if error.is_permanent() => Ok(None),
        Err(error) => Err(CopyError::at_source(error, key)),
    }
}
