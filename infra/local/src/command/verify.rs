//! `ferry verify`: every difference between both sides.
//!
//! Owns: what counts as a difference, and which objects are read because listings prove too little. Differences are printed in order of
//! names as they are found, so that any number of them fits in memory. Invariant: a listing that does not end cleanly is an error, never agreement.

mod certificate;
mod reading;

use std::borrow::Cow;
use std::sync::Arc;

use anyhow::Result;
use ferry_transfer::compare::Evidence;
use ferry_transfer::manifest::{Found, Named, Proof};
use ferry_transfer::scan::Finding;
use ferry_transfer::sightings::Findings;
use ferry_transfer::{Entry, Route};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use indicatif::HumanCount;
use serde::Serialize;
use serde_json::json;

use crate::args::{OutputArgs, ReadWhich, VerifyArgs};
use crate::command::ls::shown;
use crate::ends::{Ends, Rules};
use crate::exit::{BrokenListing, Exit, print};

use certificate::{Certificate, Rechecked};
use reading::{Content, read_both};

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
    /// What became of the ranges of an earlier manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    rechecked: Option<Rechecked>,
}

/// A finding, and what reading both copies showed where they were read.
struct Judged {
    finding: Finding,
    content: Option<Content>,
}

/// Compares both sides.
pub async fn run(args: VerifyArgs, output: &OutputArgs) -> Result<Exit> {
    let ends = Ends::connect(args.pair, Rules::default()).await?;
    let task = &ends.route.task;
    let mut verification = Verification {
        summary: Summary {
            source: task.source.to_string(),
            destination: task.destination.to_string(),
            ..Summary::default()
        },
        certificate: Certificate::begin(&args.certificate, task, output)?,
        route: &ends.route,
        ignore_extra: args.ignore_extra,
        output,
    };
    let is_to_be_read = |finding: &Finding| match finding {
        Finding::Same { evidence, .. } => match args.read {
            ReadWhich::None => false,
            ReadWhich::Unproven => *evidence != Evidence::Etag,
            ReadWhich::All => true,
        },
        _ => false,
    };
    // In the order of names, whatever is read first.
    let mut waiting: FuturesOrdered<BoxFuture<'static, Judged>> = FuturesOrdered::new();
    let mut findings = Findings::in_order(&ends.route, &ends.documents);
    let mut has_begun = false;
    loop {
        let finding = match findings.next().await {
            Ok(Some(finding)) => finding,
            Ok(None) => break,
            // Once something was printed or certified, it cannot be taken back.
            Err(_) if findings.may_start_over() && !has_begun => {
                findings = Findings::in_order(&ends.route, &ends.documents);
                continue;
            }
            Err(error) => return Err(BrokenListing::from(error).into()),
        };
        has_begun = true;
        if is_to_be_read(&finding) {
            waiting.push_back(Box::pin(read(Arc::clone(&ends.route), finding)));
        } else if waiting.is_empty() {
            verification.conclude(&Judged { finding, content: None })?;
        } else {
            waiting.push_back(Box::pin(std::future::ready(Judged { finding, content: None })));
        }
        if waiting.len() >= READS_IN_FLIGHT
            && let Some(judged) = waiting.next().await
        {
            verification.conclude(&judged)?;
        }
    }
    while let Some(judged) = waiting.next().await {
        verification.conclude(&judged)?;
    }
    verification.end()
}

async fn read(route: Arc<Route>, finding: Finding) -> Judged {
    let content = match &finding {
        Finding::Same { source, destination, .. } => Some(read_both(&route, source, destination).await),
        _ => None,
    };
    Judged { finding, content }
}

/// One verification under way.
struct Verification<'a> {
    summary: Summary,
    certificate: Certificate<'a>,
    route: &'a Route,
    ignore_extra: bool,
    output: &'a OutputArgs,
}

impl Verification<'_> {
    fn conclude(&mut self, judged: &Judged) -> Result<()> {
        let name = name(self.route, &judged.finding);
        let difference = self.summary.take(judged, self.ignore_extra);
        // A manifest has every difference, also those that nobody asks about today.
        let words = difference.as_ref().map(|difference| (difference.kind, difference.detail.as_str()));
        let left_out = match (&judged.finding, words) {
            (Finding::Extra(_), None) => Some(("extra", "at the destination only")),
            (_, words) => words,
        };
        if let Some(name) = &name {
            for named in named(name, judged) {
                self.certificate.add(&named, left_out)?;
            }
        }
        tell(difference, self.output)
    }

    fn end(self) -> Result<Exit> {
        let Self { mut summary, certificate, ignore_extra, output, .. } = self;
        summary.rechecked = certificate.end()?;
        let different = summary.missing
            + summary.different
            + summary.contested
            + if ignore_extra { 0 } else { summary.extra };
        summary.in_agreement = different == 0 && summary.unread == 0;
        if output.json {
            print(&json!({ "summary": summary }).to_string());
        } else {
            print(summary.text().trim_end());
        }
        let has_changed = summary.rechecked.as_ref().is_some_and(Rechecked::has_changed);
        Ok(match () {
            () if different > 0 || has_changed => Exit::Different,
            () if summary.unread > 0 => Exit::Failed,
            () => Exit::Done,
        })
    }
}

/// What both sides call it; `None` where the task is not about it, or one side has no name for it.
fn name<'a>(route: &Route, finding: &'a Finding) -> Option<Cow<'a, str>> {
    match finding {
        Finding::Missing(source) | Finding::Different { source, .. } | Finding::Same { source, .. } => {
            route.name(&source.key).ok()
        }
        Finding::Contested(sources) => route.name(&sources.first()?.key).ok(),
        Finding::Extra(destination) => {
            destination.key.strip_prefix(&route.task.destination.prefix).map(Cow::Borrowed)
        }
        Finding::Excluded(_) | Finding::Nameless(_) => None,
    }
}

/// The finding as a manifest has it: of several objects of one name, each.
fn named<'a>(name: &'a str, judged: &'a Judged) -> Vec<Named<'a>> {
    let one = |source, destination, found| vec![Named { name, source, destination, found }];
    match &judged.finding {
        Finding::Missing(source) => one(Some(source), None, Found::Missing),
        Finding::Different { source, destination, .. } => {
            one(Some(source), Some(destination), Found::Different)
        }
        Finding::Same { source, destination, evidence } => {
            let found = match judged.content {
                None => Found::Same((*evidence).into()),
                Some(Content::Same) => Found::Same(Proof::Content),
                Some(Content::Different(_)) => Found::Different,
                Some(Content::Unread(_)) => Found::Unread,
            };
            one(Some(source), Some(destination), found)
        }
        Finding::Extra(destination) => one(None, Some(destination), Found::Extra),
        Finding::Contested(sources) => {
            sources.iter().flat_map(|source| one(Some(source), None, Found::Contested)).collect()
        }
        Finding::Excluded(_) | Finding::Nameless(_) => Vec::new(),
    }
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
    fn take(&mut self, judged: &Judged, ignore_extra: bool) -> Option<Difference> {
        let (kind, entry, detail) = match &judged.finding {
            Finding::Same { source, evidence, .. } => {
                self.found += 1;
                match &judged.content {
                    None => {
                        match evidence {
                            Evidence::Etag => self.same_by_etag += 1,
                            Evidence::SizeAndTime => self.same_by_size_and_time += 1,
                            Evidence::Size => self.same_by_size += 1,
                        }
                        return None;
                    }
                    Some(Content::Same) => {
                        self.same_by_content += 1;
                        return None;
                    }
                    Some(Content::Different(detail)) => {
                        self.different += 1;
                        ("different", source, detail.clone())
                    }
                    Some(Content::Unread(error)) => {
                        self.unread += 1;
                        ("unread", source, error.clone())
                    }
                }
            }
            Finding::Missing(source) => {
                self.found += 1;
                self.missing += 1;
                ("missing", source, format!("{} bytes at the source only", source.size_bytes))
            }
            Finding::Different { source, destination, reason } => {
                self.found += 1;
                self.different += 1;
                let detail = format!("{}: {} ≠ {}", reason.word(), described(source), described(destination));
                ("different", source, detail)
            }
            Finding::Extra(destination) => {
                self.extra += 1;
                if ignore_extra {
                    return None;
                }
                ("extra", destination, format!("{} bytes at the destination only", destination.size_bytes))
            }
            Finding::Excluded(_) => {
                self.excluded += 1;
                return None;
            }
            Finding::Contested(sources) => {
                self.found += sources.len() as u64;
                self.contested += sources.len() as u64;
                let keys: Vec<String> = sources.iter().map(|source| shown(source.key.as_str())).collect();
                let claimants = if keys.len() > 1 { keys.join(", ") } else { "it and another".to_owned() };
                ("contested", sources.first()?, format!("one name at the destination for {claimants}"))
            }
            Finding::Nameless(entry) => ("left out", entry, "the other side has no name for it".to_owned()),
        };
        Some(Difference { kind, key: entry.key.as_str().to_owned(), detail })
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
        text.push_str(&self.rechecked.as_ref().map(Rechecked::text).unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use ferry_transfer::Key;

    use super::*;

    fn extra(key: &str) -> Judged {
        let entry = Entry {
            key: Key::new(key).expect("key"),
            size_bytes: 3,
            etag: None,
            last_modified: None,
            storage_class: None,
        };
        Judged { finding: Finding::Extra(entry), content: None }
    }

    #[test]
    fn extra_objects_are_differences_unless_ignored() {
        let mut summary = Summary::default();
        assert_eq!(summary.take(&extra("a"), false).expect("difference").kind, "extra");
        assert_eq!(summary.take(&extra("b"), true), None);
        assert_eq!(summary.extra, 2);
    }
}
