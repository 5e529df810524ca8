//! Reads both copies of an object and compares them.
//!
//! Owns: bytes by their digests, and the attributes that no listing shows. Invariant: no body is held in memory.

use ferry_transfer::checksum::{DigestSet, Digests};
use ferry_transfer::store::GetRequest;
use ferry_transfer::{Attributes, Body, Entry, Route, SharedStore};
use futures::StreamExt as _;

/// What reading both copies of an object showed.
#[derive(Debug)]
pub(super) enum Content {
    /// Equal bytes and attributes.
    Same,
    /// They differ in this.
    Different(String),
    /// One could not be read, for this reason.
    Unread(String),
}

/// Reads both copies as bytes pass by, holding neither.
pub(super) async fn read_both(route: &Route, source: &Entry, destination: &Entry) -> Content {
    let (at_source, at_destination) =
        futures::join!(read(&route.source, source), read(&route.destination, destination));
    let ((source_attributes, source_digests), (destination_attributes, destination_digests)) =
        match (at_source, at_destination) {
            (Ok(source), Ok(destination)) => (source, destination),
            (Err(error), _) | (_, Err(error)) => return Content::Unread(error.chain()),
        };
    if source_digests != destination_digests {
        return Content::Different("the bytes differ".to_owned());
    }
    let differing = differing_attributes(&source_attributes, &destination_attributes);
    if differing.is_empty() {
        Content::Same
    } else {
        Content::Different(format!("{} differ", differing.join(", ")))
    }
}

async fn read(store: &SharedStore, entry: &Entry) -> ferry_transfer::Result<(Attributes, Digests)> {
    let get =
        GetRequest { key: entry.key.clone(), if_match: entry.etag.clone(), version_id: None, range: None };
    let response = store.get(get).await?;
    let mut attributes = response.head.attributes;
    if response.head.tag_count > 0 {
        attributes.tags = store.get_tags(&entry.key, None).await?;
        attributes.tags.sort();
    }
    let (body, digests) = response.body.checked(DigestSet::MD5, |_digests| Ok(()))?;
    drain(body).await?;
    let digests = digests.get().ok_or_else(|| {
        ferry_transfer::Error::new(
            ferry_transfer::ErrorKind::Transient,
            "the body ended before its last byte",
        )
    })?;
    Ok((attributes, digests))
}

async fn drain(body: Body) -> ferry_transfer::Result<()> {
    if let Body::Stream(mut stream) = body {
        while let Some(chunk) = stream.next().await {
            chunk?;
        }
    }
    Ok(())
}

/// The names of attributes that differ. Storage classes may: they follow the task's rule.
fn differing_attributes(source: &Attributes, destination: &Attributes) -> Vec<&'static str> {
    let pairs = [
        ("Content-Type", source.content_type == destination.content_type),
        ("Content-Encoding", source.content_encoding == destination.content_encoding),
        ("Content-Language", source.content_language == destination.content_language),
        ("Content-Disposition", source.content_disposition == destination.content_disposition),
        ("Cache-Control", source.cache_control == destination.cache_control),
        ("Expires", source.expires == destination.expires),
        ("website redirect", source.website_redirect == destination.website_redirect),
        ("user metadata", source.user_metadata == destination.user_metadata),
        ("tags", source.tags == destination.tags),
    ];
    pairs.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_compared_by_name() {
        let with_type = Attributes { content_type: Some("text/plain".into()), ..Attributes::default() };
        assert_eq!(differing_attributes(&with_type, &Attributes::default()), ["Content-Type"]);
    }
}
