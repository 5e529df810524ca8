//! A user's changes to a profile.
//!
//! Owns: reading them from a document. Does not own: laying them over a profile, which [`Profile::overridden`] does. Invariant: what
//! was read names only fields that profiles have, with values that fit them; anything else is refused at the line and column
//! where it stands.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::Profile;

/// Some fields of a [`Profile`], to be laid over another.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ProfileOverrides(Map<String, Value>);

impl ProfileOverrides {
    /// Whether nothing is overridden.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields, as they stand in the document.
    pub(super) fn fields(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl fmt::Debug for ProfileOverrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

impl<'de> Deserialize<'de> for ProfileOverrides {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let other = Profile::named("other").map_err(D::Error::custom)?;
        let Value::Object(fields) = serde_json::to_value(&other).map_err(D::Error::custom)? else {
            return Err(D::Error::custom("a profile is a mapping"));
        };
        let mapping = Mapping { known: &fields, other: &other, path: &[] };
        deserializer.deserialize_map(mapping).map(Self)
    }
}

/// One level of a profile's fields, and where it lies in the profile.
#[derive(Clone, Copy)]
struct Mapping<'a> {
    known: &'a Map<String, Value>,
    /// The profile that values are tried on.
    other: &'a Profile,
    path: &'a [&'a str],
}

impl<'de> Visitor<'de> for Mapping<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fields of a provider's profile")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key_seed(KnownName(self))? {
            let path: Vec<&str> = self.path.iter().copied().chain([name.as_str()]).collect();
            let value = match &self.known[name.as_str()] {
                // An empty one is a map whose names are the user's own.
                Value::Object(inner) if !inner.is_empty() => {
                    Value::Object(map.next_value_seed(Mapping { known: inner, path: &path, ..self })?)
                }
                _ => map.next_value_seed(FittingValue { other: self.other, path: &path })?,
            };
            fields.insert(name, value);
        }
        Ok(fields)
    }
}

impl<'de> DeserializeSeed<'de> for Mapping<'_> {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// The name of a field. Refused while it is read, so that the reader knows where that is.
struct KnownName<'a>(Mapping<'a>);

impl<'de> DeserializeSeed<'de> for KnownName<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let name = String::deserialize(deserializer)?;
        if self.0.known.contains_key(&name) {
            return Ok(name);
        }
        let known: Vec<&str> = self.0.known.keys().map(String::as_str).collect();
        let place = match self.0.path {
            [] => "a profile".to_owned(),
            path => format!("{} of a profile", path.join(".")),
        };
        Err(D::Error::custom(format!("there is no field {name:?} in {place}; it has {}", known.join(", "))))
    }
}

/// A value, tried on a profile.
struct FittingValue<'a> {
    other: &'a Profile,
    path: &'a [&'a str],
}

impl<'de> DeserializeSeed<'de> for FittingValue<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let nested =
            self.path.iter().rev().fold(value.clone(), |inner, name| {
                Value::Object(Map::from_iter([((*name).to_owned(), inner)]))
            });
        if let Value::Object(fields) = nested {
            self.other
                .overridden(&ProfileOverrides(fields))
                .map_err(|error| D::Error::custom(format!("{}: {}", self.path.join("."), error.chain())))?;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_profile_has_is_refused_with_its_line_and_column() {
        for (wrong, reason, place) in [
            ("list_versoin: 1", "\"list_versoin\" in a profile", "line 1 column 1"),
            ("list_version: 1\ncapabilities:\n  tag: no\n", "\"tag\" in capabilities", "line 3 column 3"),
            ("list_version: 2\naddressing: sideways\n", "addressing: ", "line 2 column 13"),
            ("capabilities:\n  parts_max: many\n", "capabilities.parts_max: ", "line 2 column 14"),
            ("capabilities: none", "mapping", "line 1 column 15"),
        ] {
            let error = serde_saphyr::from_str::<ProfileOverrides>(wrong).expect_err(wrong).to_string();
            assert!(error.contains(reason) && error.contains(place), "{wrong:?}: {error}");
        }
    }

    #[test]
    fn every_field_of_a_profile_can_be_overridden() {
        for provider in super::super::known_providers() {
            let whole = Profile::named(provider).expect("profile");
            let text = serde_json::to_string(&whole).expect("json");
            let all: ProfileOverrides = serde_json::from_str(&text).expect("every field is known");
            let other = Profile::named("other").expect("profile");
            assert_eq!(other.overridden(&all).expect("fits"), whole, "{provider}");
        }
    }
}
