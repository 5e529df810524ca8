//! What the original forgave and YAML does not.
//!
//! Owns: two repairs, made line by line before YAML sees the text: the blank that is missing behind a known option's colon
//! (`manifestVersion:2.0`), and quotes around a template's placeholder (`deviceId: [serial number]`), so that it is read as a text and can
//! be named. Does not own: YAML. Invariant: every place in the repaired text leads back to the place in the text that was given.

use super::Address;
use super::problem::Place;

/// Options that hold one text each, beside those of an address; only these are repaired, so a `a:b` inside a value survives.
const TEXT_OPTIONS: [&str; 33] = [
    "manifestVersion",
    "deviceId",
    "accessKeyId",
    "generator",
    "logBucket",
    "logPrefix",
    "notificationEmail",
    "serviceLevel",
    "fileSystem",
    "trueCryptPassword",
    "pinCode",
    "recoveryDirectory",
    "targetDirectory",
    "exportBucket",
    "prefix",
    "beginMarker",
    "endMarker",
    "dataDescription",
    "encryptedData",
    "encryptionClassification",
    "exportCertifierName",
    "requiresExportLicense",
    "deviceValue",
    "deviceCountryOfOrigin",
    "deviceType",
    "typeOfExport",
    "deviceHTS",
    "bucket",
    "eraseDevice",
    "x-container",
    "x-store",
    "x-endpoint",
    "x-signingMethod",
];

/// A manifest's text after the repairs.
#[derive(Debug)]
pub(super) struct Repaired {
    /// For YAML.
    pub(super) text: String,
    /// By line: behind which character something was put in.
    inserted_at: Vec<Option<usize>>,
    /// Lines whose value is a placeholder, from one.
    placeholders: Vec<usize>,
}

impl Repaired {
    pub(super) fn of(text: &str) -> Self {
        let mut repaired = Self {
            text: String::with_capacity(text.len() + 64),
            inserted_at: Vec::new(),
            placeholders: Vec::new(),
        };
        for line in text.split_inclusive('\n') {
            repaired.take(line);
        }
        repaired
    }

    fn take(&mut self, line: &str) {
        let end = line.trim_end_matches(['\n', '\r']).len();
        let (content, ending) = line.split_at(end);
        let option_from = option_start(content);
        let found = content[option_from..]
            .split_once(':')
            .filter(|(name, _)| TEXT_OPTIONS.contains(name) || Address::OPTIONS.contains(name));
        let Some((name, value)) = found else {
            self.text.push_str(line);
            self.inserted_at.push(None);
            return;
        };
        let colon = option_from + name.len() + 1;
        let is_tight = !value.is_empty() && !value.starts_with([' ', '\t']);
        self.text.push_str(&content[..colon]);
        if is_tight {
            self.text.push(' ');
        }
        let trimmed = value.trim_start();
        if trimmed.starts_with('[') {
            let (placeholder, comment) =
                trimmed.split_once(" #").map_or((trimmed, None), |(p, c)| (p, Some(c)));
            if placeholder.contains(']') {
                self.placeholders.push(self.inserted_at.len() + 1);
            }
            self.text.push_str(&value[..value.len() - trimmed.len()]);
            self.text.push_str(&format!("'{}'", placeholder.trim_end().replace('\'', "''")));
            if let Some(comment) = comment {
                self.text.push_str(&format!(" #{comment}"));
            }
        } else {
            self.text.push_str(value);
        }
        self.text.push_str(ending);
        self.inserted_at.push(is_tight.then(|| content[..colon].chars().count()));
    }

    /// Whether the value of this line (from one) is a placeholder.
    pub(super) fn is_placeholder(&self, line: usize) -> bool {
        self.placeholders.binary_search(&line).is_ok()
    }

    /// The place in the given text of a line (from one) and a column (from zero) in the repaired one.
    pub(super) fn place(&self, line: usize, column: usize) -> Place {
        let line = line.max(1);
        let inserted = self.inserted_at.get(line - 1).copied().flatten();
        let shift = usize::from(inserted.is_some_and(|at| column > at));
        let counted = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place { line: counted(line), column: counted(column - shift + 1) }
    }
}

/// Where an option's name begins: behind the indentation and any dashes of list items.
fn option_start(line: &str) -> usize {
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches(' ');
        match rest.strip_prefix("- ") {
            Some(item) => rest = item,
            None => return line.len() - rest.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_blank_behind_a_known_options_colon_is_added() {
        for (given, wanted) in [
            ("manifestVersion:2.0\n", "manifestVersion: 2.0\n"),
            ("  - exportBucket:a:b\r\n", "  - exportBucket: a:b\r\n"),
            ("deviceId: 1:2", "deviceId: 1:2"),
            ("someName:2.0\n", "someName:2.0\n"),
            ("operations:\n", "operations:\n"),
            ("# manifestVersion:2.0", "# manifestVersion:2.0"),
        ] {
            assert_eq!(Repaired::of(given).text, wanted);
        }
    }

    #[test]
    fn a_placeholder_becomes_a_text() {
        let repaired = Repaired::of("deviceId:[your device's number] # a\n").text;
        assert_eq!(repaired, "deviceId: '[your device''s number]' # a\n");
    }

    #[test]
    fn places_lead_back() {
        let repaired = Repaired::of("a: 1\nprefix:x\n");
        assert_eq!(repaired.place(2, 0), Place { line: 2, column: 1 });
        assert_eq!(repaired.place(2, 8), Place { line: 2, column: 8 });
        assert_eq!(repaired.place(1, 3), Place { line: 1, column: 4 });
    }
}
