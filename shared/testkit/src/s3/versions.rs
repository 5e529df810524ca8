//! The listing of versions, as S3 writes it.
//!
//! Owns: the document. The framework writes versions and delete markers in two lists, while S3 mixes them in the order of the history,
//! which says what was deleted before what was written; so the text is ours and takes the place of the framework's.

use bytes::Bytes;
use ferry_transfer::StorageClass;
use s3s::S3Result;
use s3s::dto::ListObjectVersionsInput;
use time::format_description::well_known::Rfc3339;

use super::backend::Backend;
use super::listings::{encoding, page_size};
use crate::bucket::StoredVersion;
use crate::error_document::escape;
use crate::key_encoding::KeyEncoding;

/// The text of an answer, in the place of the framework's own.
#[derive(Debug, Clone)]
pub(super) struct OwnDocument(pub(super) Bytes);

impl Backend {
    pub(super) fn list_versions(&self, input: &ListObjectVersionsInput) -> S3Result<OwnDocument> {
        let encoding = encoding(input.encoding_type.as_ref())?;
        let bucket = self.bucket(&input.bucket)?;
        let limit = page_size(input.max_keys, bucket.settings().page_keys)?.min(bucket.settings().page_keys);
        let present = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (key_marker, id_marker) = (present(&input.key_marker), present(&input.version_id_marker));
        let after = key_marker.as_deref().map(|key| (key, id_marker.as_deref()));
        let page = bucket.versions(input.prefix.as_deref().unwrap_or_default(), after, limit);

        let mut text = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListVersionsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
        );
        push(&mut text, "Name", &input.bucket);
        push(&mut text, "MaxKeys", &limit.to_string());
        push(&mut text, "IsTruncated", if page.next.is_some() { "true" } else { "false" });
        if encoding == KeyEncoding::Url {
            push(&mut text, "EncodingType", "url");
        }
        if let Some((key, id)) = &page.next {
            push(&mut text, "NextKeyMarker", &encoding.write(key));
            push(&mut text, "NextVersionIdMarker", id);
        }
        for (key, version, is_latest) in &page.versions {
            push_version(&mut text, &encoding.write(key), version, *is_latest);
        }
        text.push_str("</ListVersionsResult>");
        Ok(OwnDocument(text.into()))
    }
}

fn push_version(text: &mut String, key: &str, version: &StoredVersion, is_latest: bool) {
    let tag = if version.object.is_some() { "Version" } else { "DeleteMarker" };
    text.push_str(&format!("<{tag}>"));
    push(text, "Key", key);
    push(text, "VersionId", &version.id);
    push(text, "IsLatest", if is_latest { "true" } else { "false" });
    push(text, "LastModified", &version.last_modified.format(&Rfc3339).unwrap_or_default());
    if let Some(object) = &version.object {
        push(text, "ETag", &object.etag.quoted());
        push(text, "Size", &object.size_bytes().to_string());
        let class = object.attributes.storage_class.as_ref();
        push(text, "StorageClass", class.map_or("STANDARD", StorageClass::as_str));
    }
    text.push_str(&format!("</{tag}>"));
}

fn push(text: &mut String, name: &str, value: &str) {
    text.push_str(&format!("<{name}>{}</{name}>", escape(value)));
}
