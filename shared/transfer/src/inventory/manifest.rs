//! `manifest.json`, and what the columns of the data files are.
//!
//! Owns: parsing both, and one row. Pure. Invariant: a manifest that parsed has a key column, and files Ferry can read.

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Row;
use crate::key_source::KeyRow;
use crate::{ETag, Entry, Key, StorageClass};

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The bucket that the inventory is of.
    pub source_bucket: String,
    /// What the columns are.
    pub schema: Schema,
    /// The data files, in the manifest's order.
    pub files: Vec<DataFile>,
}

/// One data file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DataFile {
    /// Its key in the bucket that the inventory was written to.
    pub key: String,
    /// The MD5 of the file as it lies there, in hexadecimal.
    #[serde(rename = "MD5checksum")]
    pub md5_hex: String,
}

/// Which column holds what, counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    key: usize,
    version_id: Option<usize>,
    is_latest: Option<usize>,
    is_delete_marker: Option<usize>,
    size: Option<usize>,
    last_modified: Option<usize>,
    etag: Option<usize>,
    storage_class: Option<usize>,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadManifest {
    /// It is none.
    #[error("not the manifest.json of an inventory")]
    NotAManifest(#[source] serde_json::Error),
    /// Its data files are of another format.
    #[error("its data files are {0}; Ferry reads CSV: set the inventory's output format to that")]
    Format(String),
    /// There is no column for what every row must have.
    #[error("its schema {0:?} has no column `Key`")]
    NoKey(String),
}

/// Why a row is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRow {
    /// A quote is not closed, or something stands between a field and the comma behind it.
    #[error("its quotes do not fit")]
    Quotes,
    /// Its key is missing, empty or not UTF-8.
    #[error("it has no key, or one that is not UTF-8")]
    Key,
    /// Its size is no number.
    #[error("its size is no number")]
    Size,
}

impl Manifest {
    /// Reads a manifest.
    pub fn parse(json: &[u8]) -> Result<Self, BadManifest> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            #[serde(default)]
            source_bucket: String,
            file_format: String,
            file_schema: String,
            files: Vec<DataFile>,
        }
        let wire: Wire = serde_json::from_slice(json).map_err(BadManifest::NotAManifest)?;
        if !wire.file_format.eq_ignore_ascii_case("CSV") {
            return Err(BadManifest::Format(wire.file_format));
        }
        let schema = Schema::parse(&wire.file_schema).ok_or(BadManifest::NoKey(wire.file_schema))?;
        Ok(Self { source_bucket: wire.source_bucket, schema, files: wire.files })
    }
}

impl Schema {
    /// Reads `Bucket, Key, Size, …`; `None` where there is no key. Columns that Ferry does not know are passed over.
    pub fn parse(text: &str) -> Option<Self> {
        let column = |name: &str| {
            text.split(',').position(|column| column.trim().trim_matches('"').eq_ignore_ascii_case(name))
        };
        Some(Self {
            key: column("Key")?,
            version_id: column("VersionId"),
            is_latest: column("IsLatest"),
            is_delete_marker: column("IsDeleteMarker"),
            size: column("Size"),
            last_modified: column("LastModifiedDate"),
            etag: column("ETag"),
            storage_class: column("StorageClass"),
        })
    }

    /// Reads one row; `None` where it is of an older version or of a delete marker, and so of no current object.
    pub fn row(&self, line: &str) -> Result<Option<Row>, BadRow> {
        let fields = fields(line)?;
        let field = |column: Option<usize>| {
            column.and_then(|column| fields.get(column)).map(String::as_str).filter(|text| !text.is_empty())
        };
        let says =
            |column, word: &str| field(column).is_some_and(|text: &str| text.eq_ignore_ascii_case(word));
        if says(self.is_latest, "false") || says(self.is_delete_marker, "true") {
            return Ok(None);
        }
        let key = field(Some(self.key)).and_then(decoded).and_then(|key| Key::new(key).ok());
        let key = key.ok_or(BadRow::Key)?;
        let etag = field(self.etag).and_then(ETag::parse);
        let Some(size) = field(self.size) else {
            let version_id = field(self.version_id).map(str::to_owned);
            return Ok(Some(Row::Key(KeyRow { etag, version_id, ..KeyRow::of(key) })));
        };
        Ok(Some(Row::Entry(Entry {
            key,
            size_bytes: size.parse().map_err(|_| BadRow::Size)?,
            etag,
            last_modified: field(self.last_modified).and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok()),
            storage_class: field(self.storage_class).and_then(StorageClass::parse),
        })))
    }
}

/// A key as inventories write it: form-encoded, as listings with `encoding-type=url` do, so that `+` is a space.
fn decoded(text: &str) -> Option<String> {
    percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// The fields of a line of CSV ([RFC 4180](https://www.rfc-editor.org/rfc/rfc4180)). No field has a line end in it, since keys are
/// encoded.
fn fields(line: &str) -> Result<Vec<String>, BadRow> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, behind) = match rest.strip_prefix('"') {
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
            Some(quoted) => {
                let mut field = String::new();
                let mut from = quoted;
                loop {
                    let quote = from.find('"').ok_or(BadRow::Quotes)?;
                    field.push_str(&from[..quote]);
                    from = &from[quote + 1..];
                    match from.strip_prefix('"') {
                        Some(more) => {
                            field.push('"');
                            from = more;
                        }
                        None => break (field, from),
                    }
                }
            }
        };
        fields.push(field);
        match behind.strip_prefix(',') {
            Some(more) => rest = more,
            None if behind.is_empty() => return Ok(fields),
            None => return Err(BadRow::Quotes),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const MANIFEST: &str = r#"{"sourceBucket":"photos","destinationBucket":"arn:aws:s3:::reports","version":"2016-11-30",
        "creationTimestamp":"1514944800000","fileFormat":"CSV",
        "fileSchema":"Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass",
        "files":[{"key":"photos/all/data/1.csv.gz","size":2147483647,"MD5checksum":"f11166069f1990abeb9c97ace9cdfabc"}]}"#;

    #[test]
    fn a_manifest_of_amazon_s3_is_read() {
        let manifest = Manifest::parse(MANIFEST.as_bytes()).expect("manifest");
        assert_eq!((manifest.source_bucket.as_str(), manifest.files.len()), ("photos", 1));
        let line = r#""photos","a+b%2Bc/%E6%BC%A2%22","v1","true","false","12","2018-01-02T03:04:05.000Z","9d1c","GLACIER""#;
        let Ok(Some(Row::Entry(entry))) = manifest.schema.row(line) else { panic!("an entry") };
        assert_eq!((entry.key.as_str(), entry.size_bytes), ("a b+c/漢\"", 12));
        assert_eq!(entry.last_modified, Some(datetime!(2018-01-02 03:04:05 UTC)));
        assert_eq!((entry.etag, entry.storage_class), (ETag::parse("9d1c"), StorageClass::parse("GLACIER")));
        for gone in [r#""photos","k","v0","false","false","1""#, r#""photos","k","v1","true","true","""#] {
            assert_eq!(manifest.schema.row(gone), Ok(None), "{gone}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let orc = MANIFEST.replace("\"CSV\"", "\"ORC\"");
        assert!(Manifest::parse(orc.as_bytes()).expect_err("ORC").to_string().contains("ORC"));
        let keyless = MANIFEST.replace("Bucket, Key,", "Bucket,");
        assert!(Manifest::parse(keyless.as_bytes()).expect_err("no key").to_string().contains("Key"));
        assert!(Manifest::parse(b"{}").is_err() && Manifest::parse(b"").is_err());
        let schema = Schema::parse("Bucket, Key, Size").expect("schema");
        for (line, bad) in [
            ("b,\"k", BadRow::Quotes),
            ("b,\"k\"x,1", BadRow::Quotes),
            ("b", BadRow::Key),
            ("b,,1", BadRow::Key),
            ("b,%FF,1", BadRow::Key),
            ("b,k,many", BadRow::Size),
        ] {
            assert_eq!(schema.row(line), Err(bad), "{line}");
        }
        assert!(matches!(schema.row("b,k,"), Ok(Some(Row::Key(_)))), "a row without a size is a key");
    }

    proptest! {
        #[test]
        fn fields_survive_quoting(values in prop::collection::vec("[a,\" é]{0,5}", 1..6)) {
            let line: Vec<String> = values.iter().map(|value| format!("\"{}\"", value.replace('"', "\"\""))).collect();
            prop_assert_eq!(fields(&line.join(",")), Ok(values));
        }
    }
}
