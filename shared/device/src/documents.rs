//! What Ferry itself writes onto the medium: digests, metadata and how to check them.
//!
//! Owns: the names and formats of the documents. Does not own: the files. Invariants: a document follows from the plan and the journal alone; the
//! list of digests can be checked with `sha256sum`, a bag with any BagIt tool, without Ferry and without the source.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::journal::{Attributes, Journal, Outcome};
use crate::plan::{Plan, PlanEntry};
use crate::sink::Sink;

/// How the documents and the objects stand to one another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrangement {
    /// `bucket/key` at the root as the original had it, the documents in `.export`.
    #[default]
    Plain,
    /// A bag (RFC 8493): the objects below `data`, the digests at the root.
    BagIt,
}

const README: &str = ".export/README.txt";
const OBJECTS: &str = ".export/objects.jsonl";
const PLAIN_MANIFEST: &str = ".export/manifest-sha256.txt";
const PLAIN_DOCUMENTS: &str = ".export/documents-sha256.txt";
const BAG_MANIFEST: &str = "manifest-sha256.txt";
const BAG_DECLARATION: &str = "bagit.txt";
const BAG_INFO: &str = "bag-info.txt";
const BAG_TAG_MANIFEST: &str = "tagmanifest-sha256.txt";

/// The documents that do not grow.
pub(crate) const RESERVE_BYTES: u64 = 65_536;
/// A line of each list without its names and attributes: digests, dates, tags of versions.
const LINE_BYTES: u64 = 1280;
/// What an object may have in headers, metadata and tags, and leave to those that have more: 2 KiB of user metadata is Amazon's limit, OSS takes 8 KiB.
const ATTRIBUTES_BYTES: u64 = 3072;
/// Both.
pub(crate) const RESERVE_BYTES_PER_OBJECT: u64 = LINE_BYTES + ATTRIBUTES_BYTES;
/// A path stands in both lists, escaped otherwise in each.
pub(crate) const RESERVE_BYTES_PER_NAME_BYTE: u64 = 4;

/// Bytes of a name once it is escaped, as JSON does: the control characters become six.
pub(crate) fn escaped_bytes(name: &str) -> u64 {
    let escaped = |byte: u8| match byte {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    name.bytes().map(escaped).sum()
}

/// The room for attributes that is left: what they come to is known only when everything has its place.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    bytes: u64,
}

impl Allowance {
    /// Takes the room for the next object's attributes; false where they have none, so that their place in the sidecar stays empty.
    pub(crate) fn take(&mut self, attributes: &Attributes) -> bool {
        self.bytes += ATTRIBUTES_BYTES;
        // A map of texts cannot fail to become one.
        let wanted_bytes = serde_json::to_string(attributes).map_or(0, |text| text.len() as u64);
        let has_room = wanted_bytes <= self.bytes;
        if has_room {
            self.bytes -= wanted_bytes;
        }
        has_room
    }
}

impl Arrangement {
    /// The paths of the documents, in the order in which they are written.
    pub fn documents(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &[PLAIN_MANIFEST, OBJECTS, README, PLAIN_DOCUMENTS],
            Self::BagIt => &[BAG_MANIFEST, OBJECTS, README, BAG_DECLARATION, BAG_INFO, BAG_TAG_MANIFEST],
        }
    }

    /// The directory that all objects are below.
    pub fn payload_directory(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::BagIt => Some("data"),
        }
    }

    /// The list of digests.
    pub fn manifest(self) -> &'static str {
        match self {
            Self::Plain => PLAIN_MANIFEST,
            Self::BagIt => BAG_MANIFEST,
        }
    }

    /// The list of the other documents' digests, written last. A bag's is RFC 8493's own.
    pub fn documents_manifest(self) -> &'static str {
        match self {
            Self::Plain => PLAIN_DOCUMENTS,
            Self::BagIt => BAG_TAG_MANIFEST,
        }
    }

    /// One line of the list of digests.
    fn manifest_line(self, sha256: &str, path: &str) -> String {
        match self {
            // As `sha256sum` writes it: a backslash first where the name is escaped.
            Self::Plain if path.contains(['\\', '\n', '\r']) => {
                let path = path.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
                format!("\\{sha256}  {path}\n")
            }
            Self::Plain => format!("{sha256}  {path}\n"),
            // RFC 8493, 2.1.3: only these three are encoded.
            Self::BagIt => {
                let path = path.replace('%', "%25").replace('\n', "%0A").replace('\r', "%0D");
                format!("{sha256}  {path}\n")
            }
        }
    }

    /// The digest and path of a line of the list.
    pub fn parse_manifest_line(self, line: &str) -> Result<(String, String)> {
        let malformed = || Error::corrupt("the list of digests has a malformed line");
        let (is_escaped, line) = match line.strip_prefix('\\') {
            Some(rest) if self == Self::Plain => (true, rest),
            _ => (false, line),
        };
        let (sha256, path) = line.split_once("  ").ok_or_else(malformed)?;
        if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(malformed());
        }
        let path = match self {
            Self::BagIt => path.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%"),
            Self::Plain if is_escaped => unescape(path).ok_or_else(malformed)?,
            Self::Plain => path.to_owned(),
        };
        Ok((sha256.to_owned(), path))
    }
}

fn unescape(path: &str) -> Option<String> {
    let mut plain = String::with_capacity(path.len());
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

/// What a bag says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BagInfo {
    /// The job, as `External-Identifier`.
    pub job: String,
    /// The day the plan was made, as `YYYY-MM-DD`.
    pub date: String,
}

/// One line of `objects.jsonl`: all that the source said of an object, so that importing it again loses nothing.
#[derive(Debug, Serialize, Deserialize)]
pub struct ObjectLine {
    /// The plan's line.
    #[serde(flatten)]
    pub entry: PlanEntry,
    /// SHA-256 of the file; a directory has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// How the copy ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Headers, metadata and tags; absent where the medium had no room for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Attributes>,
}

/// Bytes that the documents of a plan take at most.
pub fn reserve_bytes(plan: &Plan) -> u64 {
    let summary = plan.summary();
    RESERVE_BYTES
        + summary.objects * RESERVE_BYTES_PER_OBJECT
        + summary.name_bytes * RESERVE_BYTES_PER_NAME_BYTE
}

/// Writes all documents.
pub(crate) fn write(
    sink: &mut impl Sink,
    plan: &Plan,
    arrangement: Arrangement,
    bag: &BagInfo,
) -> Result<()> {
    let mut tags = String::new();
    for path in arrangement.documents() {
        sink.begin_document(path)?;
        let mut document = Document { sink, sha256: Sha256::new(), buffer: String::new() };
        match *path {
            PLAIN_MANIFEST | BAG_MANIFEST => digests(&mut document, plan, arrangement)?,
            OBJECTS => objects(&mut document, plan)?,
            README => document.push(&readme(arrangement))?,
            BAG_DECLARATION => {
                document.push("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")?;
            }
            BAG_INFO => document.push(&bag_info(plan, bag)?)?,
            _ => document.push(&tags)?,
        }
        let sha256 = document.end()?;
        tags.push_str(&Arrangement::BagIt.manifest_line(&sha256, path));
    }
    Ok(())
}

/// A document being written.
struct Document<'a, S> {
    sink: &'a mut S,
    sha256: Sha256,
    buffer: String,
}

impl<S: Sink> Document<'_, S> {
    fn push(&mut self, text: &str) -> Result<()> {
        self.buffer.push_str(text);
        if self.buffer.len() >= 65_536 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.sha256.update(self.buffer.as_bytes());
        self.sink.write(self.buffer.as_bytes())?;
        self.buffer.clear();
        Ok(())
    }

    fn end(mut self) -> Result<String> {
        self.flush()?;
        self.sink.end()?;
        Ok(hex(&self.sha256.finalize()))
    }
}

fn digests<S: Sink>(document: &mut Document<'_, S>, plan: &Plan, arrangement: Arrangement) -> Result<()> {
    for line in lines(plan)? {
        let line = line?;
        if let Some(sha256) = &line.sha256 {
            document.push(&arrangement.manifest_line(sha256, line.entry.place.path().as_str()))?;
        }
    }
    Ok(())
}

fn objects<S: Sink>(document: &mut Document<'_, S>, plan: &Plan) -> Result<()> {
    for line in lines(plan)? {
        let text = serde_json::to_string(&line?)
            .map_err(|e| Error::invalid("an object cannot be described").caused_by(e))?;
        document.push(&text)?;
        document.push("\n")?;
    }
    Ok(())
}

/// The plan and the journal, line by line side by side.
pub(crate) fn lines(plan: &Plan) -> Result<impl Iterator<Item = Result<ObjectLine>>> {
    let mut records = Journal::records(plan.directory())?;
    let mut allowance = Allowance::default();
    Ok(plan.entries()?.map(move |entry| {
        let entry = entry?;
        if !entry.place.is_file() {
            let attributes = Some(Attributes::default());
            return Ok(ObjectLine { entry, sha256: None, outcome: None, attributes });
        }
        let record = records.next().transpose()?.filter(|record| record.sequence == entry.sequence);
        let record =
            record.ok_or_else(|| Error::corrupt(format!("the journal has no file {}", entry.sequence)))?;
        Ok(ObjectLine {
            entry,
            sha256: Some(record.sha256),
            outcome: Some(record.outcome),
            attributes: allowance.take(&record.attributes).then_some(record.attributes),
        })
    }))
}

fn bag_info(plan: &Plan, bag: &BagInfo) -> Result<String> {
    let (mut files, mut bytes) = (0u64, 0);
    for entry in plan.entries()? {
        let entry = entry?;
        if entry.place.is_file() {
            files += 1;
            bytes += entry.object.size_bytes;
        }
    }
    Ok(format!(
        "Bag-Software-Agent: Ferry\nBagging-Date: {}\nExternal-Identifier: {}\nPayload-Oxum: {bytes}.{files}\n",
        bag.date, bag.job
    ))
}

fn readme(arrangement: Arrangement) -> String {
    let list = arrangement.manifest();
    let mut text = format!(
        "This medium was written by Ferry.\n\n\
         {list} has the SHA-256 of each file. To check them without Ferry, from the root of the medium:\n\n    \
         sha256sum --check --quiet {list}\n\n\
         {OBJECTS} has one line for each object: bucket, key, version, headers, metadata, tags and where its file is.\n\
         Objects whose key cannot be a file name are in the recovery directory; their lines say why.\n"
    );
    if arrangement == Arrangement::BagIt {
        text.push_str(
            "The medium is a bag (RFC 8493); any BagIt tool checks it as a whole. A bag writes %, line feeds and carriage returns of a name as %25, %0A\n\
             and %0D: sha256sum does not find such a file, `ferry export verify` does.\n",
        );
    }
    text
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    bytes.iter().flat_map(digits).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_path_survives_its_line(path in "[a%\\\\\n\r 0ADn]{1,12}") {
            let sha256 = "ab".repeat(32);
            for arrangement in [Arrangement::Plain, Arrangement::BagIt] {
                let line = arrangement.manifest_line(&sha256, &path);
                let line = line.strip_suffix('\n').unwrap();
                prop_assert!(!line.contains('\n'));
                prop_assert_eq!(
                    arrangement.parse_manifest_line(line).unwrap(),
                    (sha256.clone(), path.clone())
                );
            }
        }
    }

    #[test]
    fn attributes_take_what_others_leave_and_no_more() {
        let of_bytes = |bytes: usize| {
            let mut attributes = Attributes::default();
            attributes.metadata.insert("m".into(), "x".repeat(bytes));
            attributes
        };
        let mut allowance = Allowance::default();
        assert!(!allowance.take(&of_bytes(7000)), "there is no room for it yet");
        assert!(!allowance.take(&of_bytes(7000)));
        assert!(allowance.take(&of_bytes(7000)), "three objects' share");
        assert!(!allowance.take(&of_bytes(7000)));
        assert!(allowance.take(&Attributes::default()));
    }

    #[test]
    fn an_escaped_name_is_as_long_as_json_has_it() {
        for name in ["plain", "a\u{1}b", "\"\\\n", "grüße", "\u{7f}"] {
            assert!(escaped_bytes(name) + 2 >= serde_json::to_string(name).unwrap().len() as u64, "{name:?}");
        }
    }

    #[test]
    fn a_line_that_is_none_is_refused() {
        for line in ["", "abc  x", &"g".repeat(70), &format!("{}x", "0".repeat(64))] {
            assert!(Arrangement::Plain.parse_manifest_line(line).is_err());
        }
    }
}
