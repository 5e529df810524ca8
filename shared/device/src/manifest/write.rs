//! Manifests written by Ferry, and manifests shown without their password.
//!
//! Owns: the text of a [`Manifest`], which reads back as the same one, and finding a password in a text. Does not own: reading.

use crate::naming::FileSystem;
use crate::signature::SigningMethod;

use super::block::Problems;
use super::lenient::Repaired;
use super::node::{self, Node, Value};
use super::{
    Container, Customs, Layout, Manifest, Operation, Password, REDACTED, Restore, ServiceLevel, Strictness,
    text_of,
};

/// Whether a value is nobody else's business: `trueCryptPassword`, `pinCode`, and whatever somebody spells like them.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("password") || name.contains("pincode")
}

impl Manifest {
    /// The manifest as a text, with its password or with what stands for it.
    pub fn to_text(&self, password: Option<&str>) -> String {
        let mut out = Out::default();
        out.option("manifestVersion", "2.0");
        out.optional("generator", self.generator.as_deref());
        out.option("deviceId", &self.device_id);
        out.optional("accessKeyId", self.access_key_id.as_deref());
        out.option("logBucket", &self.log_bucket);
        out.optional("logPrefix", Some(self.log_prefix.as_str()).filter(|prefix| !prefix.is_empty()));
        let emails = self.notification_emails.join(";");
        out.optional("notificationEmail", Some(emails.as_str()).filter(|emails| !emails.is_empty()));
        if self.service_level == ServiceLevel::ExpeditedShipping {
            out.option("serviceLevel", "expeditedShipping");
        }
        out.option(
            "fileSystem",
            match self.file_system {
                FileSystem::Ext4 => "EXT4",
                FileSystem::Ntfs => "NTFS",
            },
        );
        out.optional("trueCryptPassword", password);
        out.optional("recoveryDirectory", self.recovery_directory.as_deref());
        out.optional("targetDirectory", self.target_directory.as_deref());
        if !self.substitutions.is_empty() {
            out.line(0, "substitutions:");
            for (from, to) in &self.substitutions {
                out.line(1, &format!("{}: {}", quoted(from), quoted(to)));
            }
        }
        self.write_extensions(&mut out);
        out.line(0, "operations:");
        for operation in &self.operations {
            operation.write(&mut out);
        }
        if let Some(address) = &self.return_address {
            out.block(
                "returnAddress",
                &[
                    ("name", address.name.as_deref()),
                    ("company", address.company.as_deref()),
                    ("street1", address.street1.as_deref()),
                    ("street2", address.street2.as_deref()),
                    ("street3", address.street3.as_deref()),
                    ("city", address.city.as_deref()),
                    ("stateOrProvince", address.state_or_province.as_deref()),
                    ("postalCode", address.postal_code.as_deref()),
                    ("country", address.country.as_deref()),
                    ("phoneNumber", address.phone_number.as_deref()),
                ],
            );
        }
        if let Some(customs) = &self.customs {
            customs.write(&mut out);
        }
        out.0
    }

    fn write_extensions(&self, out: &mut Out) {
        let extensions = &self.extensions;
        out.optional(
            "x-container",
            match extensions.container {
                Container::VeraCrypt => None,
                Container::TrueCrypt => Some("truecrypt"),
                Container::Luks2 => Some("luks2"),
                Container::None => Some("none"),
            },
        );
        out.optional(
            "x-signingMethod",
            match extensions.signing_method {
                SigningMethod::HmacSha1 => None,
                SigningMethod::HmacSha256 => Some("HmacSHA256"),
            },
        );
        out.optional(
            "x-restore",
            match extensions.restore {
                Restore::Skip => None,
                Restore::Standard => Some("standard"),
                Restore::Bulk => Some("bulk"),
                Restore::Expedited => Some("expedited"),
            },
        );
        out.optional(
            "x-layout",
            match extensions.layout {
                Layout::BagIt => None,
                Layout::Plain => Some("plain"),
            },
        );
        out.optional("x-store", extensions.store.as_deref());
        for (name, globs) in [("x-include", &extensions.include), ("x-exclude", &extensions.exclude)] {
            if !globs.is_empty() {
                out.line(0, &format!("{name}:"));
                for glob in globs {
                    out.line(1, &format!("- {}", quoted(glob)));
                }
            }
        }
        out.optional("x-maxBytes", extensions.max_bytes.map(|bytes| bytes.to_string()).as_deref());
    }
}

impl Operation {
    fn write(&self, out: &mut Out) {
        out.line(1, &format!("- exportBucket: {}", quoted(&self.export_bucket)));
        for (name, value) in [
            ("prefix", Some(self.prefix.as_str()).filter(|prefix| !prefix.is_empty())),
            ("beginMarker", self.begin_marker.as_deref()),
            ("endMarker", self.end_marker.as_deref()),
            ("targetDirectory", self.target_directory.as_deref()),
        ] {
            if let Some(value) = value {
                out.line(1, &format!("  {name}: {}", quoted(value)));
            }
        }
    }
}

impl Customs {
    fn write(&self, out: &mut Out) {
        let word = |truth: Option<bool>| truth.map(|truth| if truth { "yes" } else { "no" });
        out.block(
            "customs",
            &[
                ("dataDescription", self.data_description.as_deref()),
                ("encryptedData", word(self.encrypted_data)),
                ("encryptionClassification", self.encryption_classification.as_deref()),
                ("exportCertifierName", self.export_certifier_name.as_deref()),
                ("requiresExportLicense", word(self.requires_export_license)),
                ("deviceValue", self.device_value.as_deref()),
                ("deviceCountryOfOrigin", self.device_country_of_origin.as_deref()),
                ("deviceType", self.device_type.as_deref()),
                ("typeOfExport", self.type_of_export.as_deref()),
                ("deviceHTS", self.device_hts.as_deref()),
            ],
        );
    }
}

#[derive(Debug, Default)]
struct Out(String);

impl Out {
    fn line(&mut self, depth: usize, text: &str) {
        self.0.push_str(&"    ".repeat(depth));
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn option(&mut self, name: &str, value: &str) {
        self.line(0, &format!("{name}: {}", quoted(value)));
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.option(name, value);
        }
    }

    fn block(&mut self, name: &str, options: &[(&str, Option<&str>)]) {
        let given: Vec<_> =
            options.iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect();
        if !given.is_empty() {
            self.line(0, &format!("{name}:"));
        }
        for (name, value) in given {
            self.line(1, &format!("{name}: {}", quoted(value)));
        }
    }
}

/// A text as YAML reads it back unchanged: as it is where it is plain, else in double quotes with escapes.
fn quoted(text: &str) -> String {
    let is_plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'/' | b'@' | b';' | b'-'))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if is_plain {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(c),
            c if u32::from(c) <= 0xFFFF => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// A manifest's text with stars in place of every password; it reads back as the same manifest with that password. Where the text cannot be kept so, it is written
/// anew from what was read. What cannot be read at all is not shown.
pub fn redacted(bytes: &[u8]) -> String {
    let shown = with_stars(bytes);
    let Some(manifest) = Manifest::parse(bytes, Strictness::Forgiving).manifest else { return shown };
    let stars = manifest.password.as_ref().map(|_| REDACTED);
    let wanted = Manifest { password: stars.map(|stars| Password::new(stars.to_owned())), ..manifest };
    if Manifest::parse(shown.as_bytes(), Strictness::Forgiving).manifest.as_ref() == Some(&wanted) {
        return shown;
    }
    wanted.to_text(stars)
}

/// The text, with stars from a password's colon to its last line.
fn with_stars(bytes: &[u8]) -> String {
    let Some(text) = text_of(bytes, &Problems::default()) else { return String::new() };
    let repaired = Repaired::of(text);
    let mut problems = Vec::new();
    let Some(root) = node::read(&repaired, &mut problems) else { return String::new() };
    // A second option of the same name is in no tree.
    if problems.iter().any(|problem| is_secret(&problem.option)) {
        return String::new();
    }
    let mut secrets = Vec::new();
    find_secrets(&root, &mut secrets);
    let mut shown = String::with_capacity(text.len());
    for (number, line) in (1u32..).zip(text.split_inclusive('\n')) {
        // A comment may be the password of yesterday.
        let is_named = line.split_once(':').is_some_and(|(name, _)| is_secret(name));
        let begins = is_named || secrets.iter().any(|(first, _)| *first == number);
        if begins {
            let name = line.split(':').next().unwrap_or_default();
            shown.push_str(&format!("{name}: \"{REDACTED}\""));
            shown.push_str(if line.ends_with('\n') { "\n" } else { "" });
        } else if !secrets.iter().any(|(first, last)| (*first..=*last).contains(&number)) {
            shown.push_str(line);
        }
    }
    shown
}

/// The first and last lines of all that is secret, wherever it stands.
fn find_secrets(node: &Node, lines: &mut Vec<(u32, u32)>) {
    match &node.value {
        Value::Text { .. } => {}
        Value::List(items) => items.iter().for_each(|item| find_secrets(item, lines)),
        Value::Options(options) => {
            for (name, value) in options {
                if is_secret(&name.text) {
                    // What ends a block of lines is where the next option begins.
                    let last = value.last_line.max(value.place.line);
                    lines.push((name.place.line, last));
                } else {
                    find_secrets(value, lines);
                }
            }
        }
    }
}
