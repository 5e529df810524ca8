//! Writes a manifest line by line.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Counts, Cut, Header, Named, RangeRecord, Ranges};
use crate::Entry;
use crate::etag::hex;

/// Writes a manifest. A difference comes before the line of the range it lies in.
#[derive(Debug)]
pub struct ManifestWriter<W> {
    out: W,
    written: Sha256,
    ranges: Ranges,
    totals: Totals,
}

/// The last line but one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Totals {
    ranges: u64,
    source_objects: u64,
    source_bytes: u64,
    destination_objects: u64,
    destination_bytes: u64,
    #[serde(flatten)]
    counts: Counts,
}

impl<W: Write> ManifestWriter<W> {
    /// Begins with the header.
    pub fn begin(out: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self {
            out,
            written: Sha256::default(),
            ranges: Ranges::new(Cut::ByName),
            totals: Totals::default(),
        };
        writer.line(header)?;
        Ok(writer)
    }

    /// Adds a name, behind all that were added; a difference with what it is, in words.
    pub fn add(&mut self, named: &Named<'_>, detail: Option<(&str, &str)>) -> io::Result<()> {
        if let Some((difference, detail)) = detail {
            self.line(&json!({
                "difference": difference,
                "name": named.name,
                "detail": detail,
                "source": named.source.map(described),
                "destination": named.destination.map(described),
            }))?;
        }
        for range in self.ranges.add(named) {
            self.range(&range)?;
        }
        Ok(())
    }

    /// Ends it; the counts of all ranges together.
    pub fn end(mut self, ended: OffsetDateTime) -> io::Result<Counts> {
        let ranges = std::mem::replace(&mut self.ranges, Ranges::new(Cut::ByName));
        for range in ranges.finish() {
            self.range(&range)?;
        }
        let ended = ended.format(&Rfc3339).unwrap_or_default();
        let totals = self.totals.clone();
        self.line(
            &json!({ "total": totals, "in_agreement": totals.counts.differences() == 0, "ended": ended }),
        )?;
        let sha256 = hex(&self.written.clone().finalize());
        self.line(&json!({ "sha256": sha256 }))?;
        self.out.flush()?;
        Ok(totals.counts)
    }

    fn range(&mut self, range: &RangeRecord) -> io::Result<()> {
        let totals = &mut self.totals;
        totals.ranges += 1;
        totals.source_objects += range.source.objects;
        totals.source_bytes += range.source.bytes;
        totals.destination_objects += range.destination.objects;
        totals.destination_bytes += range.destination.bytes;
        totals.counts = totals.counts.plus(range.counts);
        self.line(range)
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.written.update(&text);
        self.out.write_all(&text)
    }
}

fn described(entry: &Entry) -> serde_json::Value {
    json!({
        "size": entry.size_bytes,
        "etag": entry.etag,
        "last_modified": entry.last_modified.and_then(|time| time.format(&Rfc3339).ok()),
    })
}
