//! The job manifest of AWS Import/Export: what to export, onto which device, how.
//!
//! Owns: reading a manifest as the original did ([`Manifest::parse`]), forgiving what it forgave, with every problem at once; writing one
//! ([`Manifest::to_text`]); and the text without its password ([`redacted`]). Does not own: whether buckets exist, nor the signature over a manifest's bytes
//! ([`crate::signature`]). Invariants: every value is the text that was written, never a YAML type; a password is in no `Debug`, no problem
//! and no redacted text.
//!
//! Source of the options: the archived AWS Import/Export Developer Guide (API 2010-06-03), "Manifest File Options". Names that begin with
//! `x-` are Ferry's own.

mod block;
mod lenient;
mod node;
mod problem;
mod read;
mod shipping;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::naming::FileSystem;
use crate::signature::SigningMethod;

use self::block::{Block, Problems};
use self::lenient::Repaired;

pub use self::problem::{Code, Place, Problem, Severity};
pub use self::write::redacted;

/// Stands where a password stood.
pub const REDACTED: &str = "********";

/// A manifest that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// `manifestVersion`: 1.0 to 2.0.
    pub version: String,
    /// `deviceId`: the serial number, or the text of a sticker.
    pub device_id: String,
    /// `accessKeyId`: must equal the caller's key where it is given.
    pub access_key_id: Option<String>,
    /// `generator`: the program that wrote the manifest.
    pub generator: Option<String>,
    /// `logBucket`.
    pub log_bucket: String,
    /// `logPrefix`: goes before `export-log-JOBID`, no slash added.
    pub log_prefix: String,
    /// `notificationEmail`, address by address.
    pub notification_emails: Vec<String>,
    /// `serviceLevel`.
    pub service_level: ServiceLevel,
    /// `returnAddress`, where there is one.
    pub return_address: Option<Address>,
    /// `customs`, where there is such a block.
    pub customs: Option<Customs>,
    /// `fileSystem`.
    pub file_system: FileSystem,
    /// `trueCryptPassword`; `None` only for files in the clear.
    pub password: Option<Password>,
    /// `recoveryDirectory`; `None` is the original's `EXPORT-RECOVERY`.
    pub recovery_directory: Option<String>,
    /// `targetDirectory` of the whole manifest.
    pub target_directory: Option<String>,
    /// `substitutions`: from, to.
    pub substitutions: Vec<(String, String)>,
    /// `operations`, in order.
    pub operations: Vec<Operation>,
    /// What Ferry adds.
    pub extensions: Extensions,
}

/// One bucket, or a stretch of its keys, to export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operation {
    /// `exportBucket`.
    pub export_bucket: String,
    /// `prefix`: only keys that begin so.
    pub prefix: String,
    /// `beginMarker`: only keys that sort *after* it.
    pub begin_marker: Option<String>,
    /// `endMarker`: only keys that sort up to it, and it itself. Keys that merely begin so are out.
    pub end_marker: Option<String>,
    /// `targetDirectory` of this operation.
    pub target_directory: Option<String>,
}

impl Operation {
    /// Whether a key is one that the operation asks for.
    pub fn selects(&self, key: &str) -> bool {
        key.starts_with(&self.prefix)
            && self.begin_marker.as_deref().is_none_or(|begin| key > begin)
            && self.end_marker.as_deref().is_none_or(|end| key <= end)
    }

    /// The directory on the device: `targetDirectory`, then the bucket.
    pub fn base(&self, manifest: &Manifest) -> String {
        let directory =
            self.target_directory.as_deref().or(manifest.target_directory.as_deref()).unwrap_or("");
        let directory = directory.trim_matches('/');
        if directory.is_empty() {
            self.export_bucket.clone()
        } else {
            format!("{directory}/{}", self.export_bucket)
        }
    }
}

/// How a device once travelled back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServiceLevel {
    /// The usual way.
    #[default]
    Standard,
    /// In two days, within the USA.
    ExpeditedShipping,
}

/// Where a device belongs. Nothing is shipped, so nothing is required.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// `name`.
    pub name: Option<String>,
    /// `company`.
    pub company: Option<String>,
    /// `street1`.
    pub street1: Option<String>,
    /// `street2`.
    pub street2: Option<String>,
    /// `street3`.
    pub street3: Option<String>,
    /// `city`.
    pub city: Option<String>,
    /// `stateOrProvince`.
    pub state_or_province: Option<String>,
    /// `postalCode`.
    pub postal_code: Option<String>,
    /// `country`.
    pub country: Option<String>,
    /// `phoneNumber`.
    pub phone_number: Option<String>,
}

impl Address {
    /// The options that make one up, in the order in which a letter has them. The API names its parameters the same.
    pub const OPTIONS: [&str; 10] = [
        "name",
        "company",
        "street1",
        "street2",
        "street3",
        "city",
        "stateOrProvince",
        "postalCode",
        "country",
        "phoneNumber",
    ];
}

/// What customs asked of a device that crossed a border.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Customs {
    /// `dataDescription`.
    pub data_description: Option<String>,
    /// `encryptedData`.
    pub encrypted_data: Option<bool>,
    /// `encryptionClassification`.
    pub encryption_classification: Option<String>,
    /// `exportCertifierName`.
    pub export_certifier_name: Option<String>,
    /// `requiresExportLicense`.
    pub requires_export_license: Option<bool>,
    /// `deviceValue`: US dollars, as written.
    pub device_value: Option<String>,
    /// `deviceCountryOfOrigin`.
    pub device_country_of_origin: Option<String>,
    /// `deviceType`.
    pub device_type: Option<String>,
    /// `typeOfExport`.
    pub type_of_export: Option<String>,
    /// `deviceHTS`.
    pub device_hts: Option<String>,
}

/// What Ferry adds to the original's options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// `x-container`: what the files lie in.
    pub container: Container,
    /// `x-signingMethod`.
    pub signing_method: SigningMethod,
    /// `x-restore`: what becomes of archived objects.
    pub restore: Restore,
    /// `x-layout`.
    pub layout: Layout,
    /// `x-store`: the store of `ferry.yaml` that holds the buckets.
    pub store: Option<String>,
    /// `x-include`: only keys that match one of these globs.
    pub include: Vec<String>,
    /// `x-exclude`: no key that matches one of these globs.
    pub exclude: Vec<String>,
    /// `x-maxBytes`: stop, in key order, before the job holds more.
    pub max_bytes: Option<u64>,
}

/// What the files lie in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// A `VeraCrypt` volume.
    #[default]
    VeraCrypt,
    /// A `TrueCrypt` volume, which today's `VeraCrypt` no longer opens.
    TrueCrypt,
    /// A LUKS2 volume.
    Luks2,
    /// Nothing: files in the clear.
    None,
}

/// What becomes of archived objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Restore {
    /// They are left out, and logged.
    #[default]
    Skip,
    /// They are asked for at the standard speed.
    Standard,
    /// They are asked for at the cheapest speed.
    Bulk,
    /// They are asked for at the highest speed.
    Expedited,
}

/// What lies on the medium beside the objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Tag files and checksum lists after `BagIt` (RFC 8493).
    #[default]
    BagIt,
    /// Ferry's own directory only.
    Plain,
}

/// Whether what the original demanded and nobody needs any more is demanded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strictness {
    /// It is missed with a warning.
    #[default]
    Forgiving,
    /// It is an error.
    Strict,
}

/// A password: shown nowhere, wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a password.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The password, for whoever derives a key from it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// What reading a manifest came to.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The manifest; `None` where there was an error.
    pub manifest: Option<Manifest>,
    /// Errors and warnings, in the order of the text.
    pub problems: Vec<Problem>,
}

impl Parsed {
    /// The errors.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error)
    }

    /// The warnings.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.severity == Severity::Warning)
    }
}

impl Manifest {
    /// Reads a manifest and finds everything that is wrong with it.
    pub fn parse(bytes: &[u8], strictness: Strictness) -> Parsed {
        let problems = Problems::default();
        let manifest = text_of(bytes, &problems).and_then(|text| {
            let repaired = Repaired::of(text);
            let mut found = Vec::new();
            let root = node::read(&repaired, &mut found);
            problems.add(found);
            match root?.value {
                node::Value::Options(options) if !options.is_empty() => {
                    let root = node::Node {
                        value: node::Value::Options(options),
                        place: Place::START,
                        last_line: 1,
                    };
                    read::manifest(Block::new(String::new(), root, &problems)?, strictness, text)
                }
                _ => {
                    read::not_a_manifest(&problems);
                    None
                }
            }
        });
        let problems = problems.into_sorted();
        let has_error = problems.iter().any(|problem| problem.severity == Severity::Error);
        let mut parsed = Parsed { manifest: manifest.filter(|_| !has_error), problems };
        if parsed.manifest.is_none() && !has_error {
            parsed.problems.push(Problem {
                severity: Severity::Error,
                code: Code::MalformedManifest,
                option: String::new(),
                place: Place::START,
                message: "the manifest is empty".to_owned(),
                action: "Begin with manifestVersion: 2.0".to_owned(),
            });
        }
        parsed
    }
}

/// The manifest's text without a byte order mark.
fn text_of<'a>(bytes: &'a [u8], problems: &Problems) -> Option<&'a str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let counted = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let place = Place {
                line: counted(before.matches('\n').count() + 1),
                column: counted(before.rsplit('\n').next().unwrap_or_default().chars().count() + 1),
            };
            let message = "a byte here is not UTF-8";
            problems.error(Code::MalformedManifest, "", place, message, "Save the manifest as UTF-8");
            None
        }
    }
}
