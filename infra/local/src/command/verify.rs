//! `ferry verify`: every difference between both sides.
//!
//! Owns: what counts as a difference, and reading objects where listings prove too little. Differences are printed as they are found,
//! so that any number of them fits in memory. Invariant: a listing that does not end cleanly is an error, never agreement.

use std::sync::Arc;

use anyhow::Result;
use ferry_transfer::checksum::{DigestSet, Digests};
use ferry_transfer::compare::Evidence;
use ferry_transfer::scan::Finding;
use ferry_transfer::sightings::Findings;
use ferry_transfer::store::GetRequest;
use ferry_transfer::{Attributes, Body, Entry, Route, SharedStore};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use indicatif::HumanCount;
use serde::Serialize;
use serde_json::json;

use crate::args::{OutputArgs, ReadWhich, VerifyArgs};
use crate::command::ls::shown;
use crate::ends::{Ends, Rules};
use crate::exit::{BrokenListing, Exit, print};

/// Objects read at once, on both sides each.
const READS_IN_FLIGHT: usize = 8;

/// One difference.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    #[serde(rename = "difference")]
    kind: &'static str,
    key: String,
    detail: String,
}

/// What a verification found.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Summary {
    source: String,
    destination: String,
    /// Objects at the source.
    found: u64,
    /// The same on both sides, by equal ETags.
    same_by_etag: u64,
    /// The same on both sides, read and compared.
    same_by_content: u64,
    /// The same on both sides, by size and time only.
    same_by_size_and_time: u64,
    /// The same on both sides, by size only.
    same_by_size: u64,
    missing: u64,
    different: u64,
    extra: u64,
    /// Left out by the task's selection.
    excluded: u64,
    /// Would share a name at the destination with others.
    contested: u64,
    /// Could not be read to be compared.
    unread: u64,
    in_agreement: bool,
}

/// What reading both copies of an object showed.
enum Content {
    Same,
    Different(String),
    Unread(String),
}

/// Compares both sides.
pub async fn run(args: VerifyArgs, output: &OutputArgs) -> Result<Exit> {
    let ends = Ends::connect(args.pair, Rules::default()).await?;
    let task = &ends.route.task;
    let mut summary = Summary {
        source: task.source.to_string(),
        destination: task.destination.to_string(),
        ..Summary::default()
    };
    let mut reads: FuturesUnordered<BoxFuture<'static, (Entry, Content)>> = FuturesUnordered::new();
    let mut findings = Findings::new(&ends.route, &ends.documents);
    while let Some(finding) = findings.next().await.map_err(BrokenListing::from)? {
        if let Finding::Same { source, destination, evidence } = &finding
            && (args.read == ReadWhich::All
                || (args.read == ReadWhich::Unproven && *evidence != Evidence::Etag))
        {
            summary.found += 1;
            let (route, source, destination) = (Arc::clone(&ends.route), source.clone(), destination.clone());
            reads.push(Box::pin(async move {
                let content = read_both(&route, &source, &destination).await;
                (source, content)
            }));
            if reads.len() >= READS_IN_FLIGHT
                && let Some((source, content)) = reads.next().await
            {
                tell(summary.take_content(source, content), output)?;
            }
            continue;
        }
        tell(summary.take(finding, args.ignore_extra), output)?;
    }
    while let Some((source, content)) = reads.next().await {
        tell(summary.take_content(source, content), output)?;
    }

    let different = summary.missing
        + summary.different
        + summary.contested
        + if args.ignore_extra { 0 } else { summary.extra };
    summary.in_agreement = different == 0 && summary.unread == 0;
    if output.json {
        print(&json!({ "summary": summary }).to_string());
    } else {
        print(summary.text().trim_end());
    }
    Ok(match () {
        () if different > 0 => Exit::Different,
        () if summary.unread > 0 => Exit::Failed,
        () => Exit::Done,
    })
}

fn tell(difference: Option<Difference>, output: &OutputArgs) -> Result<()> {
    if let Some(difference) = difference {
        if output.json {
            print(&serde_json::to_string(&difference)?);
        } else {
            print(&format!("{:<10} {}  {}", difference.kind, shown(&difference.key), difference.detail));
        }
    }
    Ok(())
}

impl Summary {
    fn take(&mut self, finding: Finding, ignore_extra: bool) -> Option<Difference> {
        let (kind, entry, detail) = match finding {
            Finding::Same { evidence, .. } => {
                self.found += 1;
                match evidence {
                    Evidence::Etag => self.same_by_etag += 1,
                    Evidence::SizeAndTime => self.same_by_size_and_time += 1,
                    Evidence::Size => self.same_by_size += 1,
                }
                return None;
            }
            Finding::Missing(source) => {
                self.found += 1;
                self.missing += 1;
                let detail = format!("{} bytes at the source only", source.size_bytes);
                ("missing", source, detail)
            }
            Finding::Different { source, destination, reason } => {
                self.found += 1;
                self.different += 1;
                let detail =
                    format!("{}: {} ≠ {}", reason.word(), described(&source), described(&destination));
                ("different", source, detail)
            }
            Finding::Extra(destination) => {
                self.extra += 1;
                if ignore_extra {
                    return None;
                }
                let detail = format!("{} bytes at the destination only", destination.size_bytes);
                ("extra", destination, detail)
            }
            Finding::Excluded(_) => {
                self.excluded += 1;
                return None;
            }
            Finding::Contested(sources) => {
                self.found += sources.len() as u64;
                self.contested += sources.len() as u64;
                let keys: Vec<String> = sources.iter().map(|source| shown(source.key.as_str())).collect();
                let first = sources.into_iter().next()?;
                let claimants = if keys.len() > 1 { keys.join(", ") } else { "it and another".to_owned() };
                ("contested", first, format!("one name at the destination for {claimants}"))
            }
            Finding::Nameless(entry) => {
                return Some(Difference {
                    kind: "left out",
                    key: entry.key.into(),
                    detail: "the other side has no name for it".to_owned(),
                });
            }
        };
        Some(Difference { kind, key: entry.key.into(), detail })
    }

    fn take_content(&mut self, source: Entry, content: Content) -> Option<Difference> {
        let (kind, detail) = match content {
            Content::Same => {
                self.same_by_content += 1;
                return None;
            }
            Content::Different(detail) => {
                self.different += 1;
                ("different", detail)
            }
            Content::Unread(error) => {
                self.unread += 1;
                ("unread", error)
            }
        };
        Some(Difference { kind, key: source.key.into(), detail })
    }

    fn text(&self) -> String {
        let mut text = format!("{} ↔ {}\n", self.source, self.destination);
        let mut row = |name: &str, count: u64, always: bool| {
            if always || count > 0 {
                text.push_str(&format!("  {name:<26}{}\n", HumanCount(count)));
            }
        };
        row("found", self.found, true);
        row("same by ETag", self.same_by_etag, true);
        row("same by content", self.same_by_content, false);
        row("same by size and time", self.same_by_size_and_time, false);
        row("same by size", self.same_by_size, false);
        row("missing", self.missing, true);
        row("different", self.different, true);
        row("extra", self.extra, true);
        row("contested", self.contested, false);
        row("excluded", self.excluded, false);
        row("unread", self.unread, false);
        text.push_str(if self.in_agreement { "In agreement.\n" } else { "Not in agreement.\n" });
        let weak = self.same_by_size_and_time + self.same_by_size;
        if weak > 0 {
            text.push_str(&format!(
                "{} objects have ETags that prove nothing; --read unproven reads and compares them.\n",
                HumanCount(weak)
            ));
        }
        text
    }
}

fn described(entry: &Entry) -> String {
    let etag = entry.etag.as_ref().map(|etag| format!(", ETag {etag}")).unwrap_or_default();
    let modified = entry.last_modified.map(|time| format!(", {time}")).unwrap_or_default();
    format!("{} bytes{etag}{modified}", entry.size_bytes)
}

/// Reads both copies as bytes pass by, holding neither.
async fn read_both(route: &Route, source: &Entry, destination: &Entry) -> Content {
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
    let (body, digests) =
        response.body.checked(DigestSet { md5: true, crc64_xz: false }, |_digests| Ok(()))?;
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
    use ferry_transfer::Key;

    use super::*;

    fn entry(key: &str) -> Entry {
        Entry {
            key: Key::new(key).expect("key"),
            size_bytes: 3,
            etag: None,
            last_modified: None,
            storage_class: None,
        }
    }

    #[test]
    fn extra_objects_are_differences_unless_ignored() {
        let mut summary = Summary::default();
        assert_eq!(summary.take(Finding::Extra(entry("a")), false).expect("difference").kind, "extra");
        assert_eq!(summary.take(Finding::Extra(entry("b")), true), None);
        assert_eq!(summary.extra, 2);
    }

    #[test]
    fn attributes_are_compared_by_name() {
        let with_type = Attributes { content_type: Some("text/plain".into()), ..Attributes::default() };
        assert_eq!(differing_attributes(&with_type, &Attributes::default()), ["Content-Type"]);
    }
}
