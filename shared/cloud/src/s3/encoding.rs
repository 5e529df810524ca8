//! Keys, tags and cursors on the wire.
//!
//! Owns: undoing `encoding-type=url` exactly once, the form of the tagging header, and the text of a [`Cursor`]. Does not own:
//! the encoding of keys in request paths and queries, which the SDK does.

use std::borrow::Cow;

use ferry_transfer::store::Cursor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::profile::ListVersion;

/// What `application/x-www-form-urlencoded` leaves as it is, less `*`, which some stores decode differently.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// RFC 3986's unreserved characters and the slash.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A key or prefix out of a listing that says `EncodingType=url`: form-encoded, so `+` is a space. `None` where the bytes are
/// not UTF-8, which no engine key can hold.
pub(super) fn decode_form(encoded: &str) -> Option<String> {
    let spaced: Cow<'_, str> =
        if encoded.contains('+') { encoded.replace('+', " ").into() } else { encoded.into() };
    decode_percent(&spaced)
}

/// Percent-decoding alone, for tokens in which a `+` is a `+`.
pub(super) fn decode_percent(encoded: &str) -> Option<String> {
    if !encoded.contains('%') {
        return Some(encoded.to_owned());
    }
    percent_decode_str(encoded).decode_utf8().ok().map(Cow::into_owned)
}

/// A bucket or key as it stands in a header that holds a path: what RFC 3986 leaves unreserved, and the slashes between.
pub(super) fn path(text: &str) -> String {
    utf8_percent_encode(text, PATH).to_string()
}

/// Tags as the `x-amz-tagging` header wants them: `k=v&k=v`, both form-encoded.
pub(super) fn tagging(tags: &[(String, String)]) -> String {
    let pairs: Vec<String> = tags
        .iter()
        .map(|(name, value)| {
            format!("{}={}", utf8_percent_encode(name, FORM), utf8_percent_encode(value, FORM))
        })
        .collect();
    pairs.join("&")
}

/// A cursor that says which listing operation it belongs to, so that it is never used with the other.
pub(super) fn cursor(version: ListVersion, position: &str) -> Cursor {
    Cursor(format!("v{}:{position}", u8::from(version)))
}

/// The position in a cursor that [`cursor`] made for this operation.
pub(super) fn position(version: ListVersion, cursor: &Cursor) -> Option<&str> {
    let position = cursor.0.strip_prefix('v')?.strip_prefix(match version {
        ListVersion::V1 => '1',
        ListVersion::V2 => '2',
    })?;
    position.strip_prefix(':')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_listed_key_is_decoded_once() {
        assert_eq!(decode_form("a+b%2Bc%25").as_deref(), Some("a b+c%"));
        assert_eq!(decode_form("already%2520encoded").as_deref(), Some("already%20encoded"));
        assert_eq!(decode_form("%E5%A4%87").as_deref(), Some("备"));
        assert_eq!(decode_form("%FF"), None);
    }

    #[test]
    fn a_cursor_belongs_to_one_operation() {
        let made = cursor(ListVersion::V1, "a:b");
        assert_eq!(position(ListVersion::V1, &made), Some("a:b"));
        assert_eq!(position(ListVersion::V2, &made), None);
    }

    #[test]
    fn tags_are_form_encoded() {
        let tags = [("a b".to_owned(), "x&y=ü".to_owned()), ("k".to_owned(), String::new())];
        assert_eq!(tagging(&tags), "a%20b=x%26y%3D%C3%BC&k=");
    }

    proptest! {
        #[test]
        fn what_a_store_encodes_is_what_was_stored(key in ".{0,40}") {
            let plus = utf8_percent_encode(&key, FORM).to_string().replace("%20", "+");
            prop_assert_eq!(decode_form(&plus), Some(key.clone()));
            prop_assert_eq!(decode_form(&utf8_percent_encode(&key, FORM).to_string()), Some(key));
        }
    }
}
