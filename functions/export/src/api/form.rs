//! Parameters of a request in the query protocol.
//!
//! Owns: decoding `application/x-www-form-urlencoded`, and the encoding that AWS signs. Does not own: what parameters mean.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{ApiError, ErrorCode};

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A text as AWS signs it.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Parameters by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    /// Of a query string and a body of the same form.
    pub(crate) fn parse(query: &str, body: &str) -> Self {
        let mut form = BTreeMap::new();
        for pair in query.split('&').chain(body.split('&')).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            form.insert(decode(name), decode(value));
        }
        Self(form)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter that must be there; an empty one is none.
    pub(crate) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            ApiError::new(ErrorCode::MissingParameter, format!("the parameter {name} is required. Send it"))
        })
    }

    pub(crate) fn truth(&self, name: &str) -> Result<bool, ApiError> {
        match self.required(name)? {
            value if value.eq_ignore_ascii_case("true") => Ok(true),
            value if value.eq_ignore_ascii_case("false") => Ok(false),
            value => Err(ApiError::new(
                ErrorCode::InvalidParameter,
                format!("the parameter {name} is {value:?}. Send true or false"),
            )),
        }
    }

    /// A list: `name.member.1`, `name.member.2` and on, or `name.1`.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        let of = |between: &str| -> Vec<&str> {
            (1..=1000).map_while(|number| self.get(&format!("{name}{between}{number}"))).collect()
        };
        let members = of(".member.");
        if members.is_empty() { of(".") } else { members }
    }

    /// As `name=value&…`, sorted by name, as version 2 signs it.
    pub(crate) fn canonical_without(&self, left_out: &str) -> String {
        let pairs: Vec<String> = self
            .0
            .iter()
            .filter(|(name, _)| *name != left_out)
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        pairs.join("&")
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_once() {
        let form = Form::parse("Action=ListJobs", "Manifest=a%3A+b%0A&jobIds.member.1=A&jobIds.member.2=B&x");
        assert_eq!(form.get("Manifest"), Some("a: b\n"));
        assert_eq!(form.list("jobIds"), ["A", "B"]);
        assert_eq!(form.get("x"), Some(""));
        assert!(form.required("x").is_err());
        assert_eq!(Form::parse("b=%20~&a=1", "").canonical_without("a"), "b=%20~");
    }
}
