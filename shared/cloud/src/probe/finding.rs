//! What a trial found out.
//!
//! Owns: one finding, whether it contradicts the profile, and the lines of `ferry.yaml` that set the profile right.

use ferry_transfer::{Error, ErrorKind};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::profile::ProfileOverrides;

/// What became of one thing that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The store does it.
    Yes,
    /// It does not, and Ferry does without.
    No,
    /// It does not, and a sync cannot do without.
    Broken,
    /// Not tried, or without a result; the detail says why.
    Untried,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What was tried.
    pub check: &'static str,
    /// What became of it.
    pub outcome: Outcome,
    /// In words.
    pub detail: String,
    /// The field of the profile that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fact: Option<Fact>,
}

/// A field of the profile, as it is believed and as it was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fact {
    /// The field, with dots between levels.
    pub field: &'static str,
    /// What the profile says.
    pub believed: Value,
    /// What the trial showed.
    pub found: Value,
}

impl Fact {
    /// Whether the profile does not say what was found.
    pub fn is_difference(&self) -> bool {
        self.believed != self.found
    }
}

impl Finding {
    pub(super) fn new(check: &'static str, outcome: Outcome, detail: impl Into<String>) -> Self {
        Self { check, outcome, detail: detail.into(), fact: None }
    }
}

/// A refusal in few words: the status and the code, or the message where there are none.
pub(super) fn why(error: &Error) -> String {
    match (error.status(), error.code()) {
        (Some(status), Some(code)) => format!("HTTP {status} {code}"),
        _ => error.to_string(),
    }
}

/// Whether a failure says nothing of what the store can do.
pub(super) fn says_nothing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Throttled | ErrorKind::Transient)
}

/// The differences as overrides. `None` where they do not fit a profile, which no step brings about.
pub(super) fn overrides(differences: &[Fact]) -> Option<ProfileOverrides> {
    serde_json::from_value(Value::Object(nested(differences))).ok()
}

/// The differences as a `profile:` mapping of a store of `ferry.yaml`.
pub(super) fn overrides_yaml(differences: &[Fact]) -> String {
    let fields = nested(differences);
    if fields.is_empty() {
        return String::new();
    }
    let mut yaml = "profile:\n".to_owned();
    write(&mut yaml, &fields, 1);
    yaml
}

fn nested(differences: &[Fact]) -> Map<String, Value> {
    let mut fields = Map::new();
    for fact in differences {
        match fact.field.split_once('.') {
            None => {
                fields.insert(fact.field.to_owned(), fact.found.clone());
            }
            Some((outer, inner)) => {
                let level = fields.entry(outer).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(level) = level {
                    level.insert(inner.to_owned(), fact.found.clone());
                }
            }
        }
    }
    fields
}

fn write(yaml: &mut String, fields: &Map<String, Value>, depth: usize) {
    let indent = "  ".repeat(depth);
    for (name, value) in fields {
        match value {
            Value::Object(inner) => {
                yaml.push_str(&format!("{indent}{name}:\n"));
                write(yaml, inner, depth + 1);
            }
            Value::String(word) => yaml.push_str(&format!("{indent}{name}: {word}\n")),
            // Numbers, booleans and lists of words are written alike in JSON.
            other => yaml.push_str(&format!("{indent}{name}: {other}\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_lines_that_a_store_reads_back() {
        let fact = |field, found: Value| Fact { field, believed: Value::Null, found };
        let differences = [
            fact("list_version", 1.into()),
            fact("capabilities.tags", "no".into()),
            fact("capabilities.equal_parts", true.into()),
            fact("capabilities.storage_classes", vec!["STANDARD", "WARM"].into()),
        ];
        let yaml = overrides_yaml(&differences);
        let pasted = format!("endpoint: http://h\n{yaml}");
        let store: crate::StoreConfig = serde_saphyr::from_str(&pasted).expect("a store's entry");
        let other = crate::Profile::named("other").expect("profile");
        let found = other.overridden(&overrides(&differences).expect("overrides")).expect("a profile");
        assert_eq!(store.profile().expect("a profile"), found, "{yaml}");
        assert_eq!(
            (found.capabilities.tags, found.capabilities.equal_parts),
            (ferry_transfer::Support::No, true)
        );
        assert_eq!(overrides_yaml(&[]), "");
    }
}
