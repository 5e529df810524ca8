//! Listing a bucket's versions.
//!
//! Owns: one page, and whether the bucket keeps versions at all. Invariant: versions and delete markers come in the order of the store's
//! own text, newest first for each key; a page that is not whole, or goes on without saying where, is an error.

use aws_sdk_s3::types::{BucketVersioningStatus, DeleteMarkerEntry, EncodingType, ObjectVersion};
use ferry_transfer::store::{Cursor, ListVersionsRequest, Version, VersionKind, VersionPage, Versioning};
use ferry_transfer::{ETag, Entry, ErrorKind, Key, Result};

use super::error::Place;
use super::intercept::{History, Witness};
use super::list::{listed_class, text};
use super::{ANSWER_TIMEOUT, S3Bucket, answered, attributes};

impl S3Bucket {
    pub(super) async fn bucket_versioning(&self) -> Result<Versioning> {
        let place = self.place("GetBucketVersioning", None);
        let call = self.client().get_bucket_versioning().bucket(&self.name.bucket);
        let answer = answered(&place, ANSWER_TIMEOUT, call.send()).await?;
        Ok(match answer.status() {
            Some(BucketVersioningStatus::Enabled) => Versioning::Enabled,
            Some(BucketVersioningStatus::Suspended) => Versioning::Suspended,
            _ => Versioning::Never,
        })
    }

    pub(super) async fn versions_page(&self, request: ListVersionsRequest) -> Result<VersionPage> {
        let place = self.place("ListObjectVersions", None);
        let (key_marker, id_marker) = match &request.cursor {
            Some(cursor) => position(&place, cursor)?,
            None => (request.start_after.clone(), None),
        };
        let witness = Witness::<History>::default();
        let call = self
            .client()
            .list_object_versions()
            .bucket(&self.name.bucket)
            .set_prefix((!request.prefix.is_empty()).then(|| request.prefix.clone()))
            .set_key_marker(key_marker.clone())
            .set_version_id_marker(id_marker.clone())
            .set_max_keys(request.page_size.and_then(|size| i32::try_from(size).ok()))
            .set_encoding_type(self.profile().list_url_encoding.then_some(EncodingType::Url))
            .customize()
            .interceptor(witness.clone());
        let answer = answered(&place, ANSWER_TIMEOUT, call.send()).await?;
        let encoded = answer.encoding_type() == Some(&EncodingType::Url);
        let (mut objects, mut markers) = (answer.versions().iter(), answer.delete_markers().iter());
        let seen = witness.seen();
        if !seen.complete || seen.kinds.len() != objects.len() + markers.len() {
            return Err(place.error(ErrorKind::Transient, "the listing of versions cannot be read in full"));
        }
        let mut versions = Vec::with_capacity(seen.kinds.len());
        for kind in seen.kinds {
            let version = match kind {
                VersionKind::Object => objects.next().map(|object| of_object(&place, object, encoded)),
                VersionKind::DeleteMarker => markers.next().map(|marker| of_marker(&place, marker, encoded)),
            };
            versions.extend(version.transpose()?);
        }
        if answer.is_truncated() != Some(true) {
            return Ok(VersionPage { versions, next: None });
        }
        let present = |marker: Option<&str>| marker.filter(|marker| !marker.is_empty()).map(str::to_owned);
        let Some(next_key) = present(answer.next_key_marker()) else {
            let message = "the store says that the listing of versions goes on but not where";
            return Err(place.error(ErrorKind::Unsupported, message));
        };
        let next_key = text(&place, &next_key, encoded)?;
        let next = (Some(next_key), present(answer.next_version_id_marker()));
        if next == (key_marker, id_marker) {
            return Err(place.error(ErrorKind::Unsupported, "the listing of versions does not advance"));
        }
        Ok(VersionPage { versions, next: serde_json::to_string(&next).ok().map(Cursor) })
    }
}

fn position(place: &Place<'_>, cursor: &Cursor) -> Result<(Option<String>, Option<String>)> {
    serde_json::from_str(&cursor.0).map_err(|_| {
        place.error(
            ErrorKind::InvalidInput,
            "the listing to go on with was begun by another operation: start it over",
        )
    })
}

fn of_object(place: &Place<'_>, object: &ObjectVersion, encoded: bool) -> Result<Version> {
    let key = key(place, object.key(), encoded)?;
    let Some(size_bytes) = object.size().and_then(|size| u64::try_from(size).ok()) else {
        let sizeless = place.error(ErrorKind::Unsupported, "the store lists a version without a size");
        return Err(sizeless.on_key(key));
    };
    let entry = Entry {
        key,
        size_bytes,
        etag: object.e_tag().and_then(ETag::parse),
        last_modified: object.last_modified().and_then(attributes::to_time),
        storage_class: object.storage_class().and_then(|class| listed_class(class.as_str())),
    };
    Ok(Version { entry, version_id: id(place, object.version_id())?, kind: VersionKind::Object })
}

fn of_marker(place: &Place<'_>, marker: &DeleteMarkerEntry, encoded: bool) -> Result<Version> {
    let key = key(place, marker.key(), encoded)?;
    let entry = Entry::marker(key, marker.last_modified().and_then(attributes::to_time));
    Ok(Version { entry, version_id: id(place, marker.version_id())?, kind: VersionKind::DeleteMarker })
}

fn key(place: &Place<'_>, listed: Option<&str>, encoded: bool) -> Result<Key> {
    Key::new(text(place, listed.unwrap_or_default(), encoded)?).map_err(|empty| {
        place.error(ErrorKind::Unsupported, "the store lists a version without a key").caused_by(empty)
    })
}

fn id(place: &Place<'_>, listed: Option<&str>) -> Result<String> {
    listed
        .filter(|id| !id.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| place.error(ErrorKind::Unsupported, "the store lists a version without an id"))
}
