//! Keys as senders encode them.
//!
//! Owns: the form encoding of S3 and of those who speak like it: a space is `+`, other bytes are `%XX`. Invariant: what no such
//! encoder could have written was not encoded, and is the key itself.

use serde_json::Value;

use super::field::raw_key;

/// A key in form encoding.
pub(super) fn form_key(value: &Value) -> Result<String, &'static str> {
    let text = raw_key(value)?;
    if !could_be_encoded(&text) {
        return Ok(text);
    }
    let spaced = text.replace('+', " ");
    match percent_encoding::percent_decode_str(&spaced).decode_utf8() {
        Ok(key) => Ok(key.into_owned()),
        Err(_not_utf8) => Err("has a key that is not UTF-8"),
    }
}

/// Encoders leave only printable ASCII without spaces, and every `%` of theirs is followed by two hexadecimal digits.
fn could_be_encoded(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => {
                [bytes.next(), bytes.next()]
                    .iter()
                    .flatten()
                    .filter(|digit| digit.is_ascii_hexdigit())
                    .count()
                    == 2
            }
            byte => byte.is_ascii_graphic(),
        };
        if !fits {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_once_and_only_if_they_were_encoded() {
        for (text, key) in [
            ("a+b%2Bc", "a b+c"),
            ("raw/already%2520encoded%2Bkey", "raw/already%20encoded+key"),
            ("100%25.pdf", "100%.pdf"),
            ("100%.pdf", "100%.pdf"),
            ("100%2", "100%2"),
            ("%", "%"),
            ("a b+c", "a b+c"),
            ("é%20", "é%20"),
            ("tab%09", "tab\t"),
        ] {
            assert_eq!(form_key(&text.into()), Ok(key.to_owned()), "{text}");
        }
        assert!(form_key(&"%FF".into()).is_err());
        assert!(form_key(&Value::Null).is_err());
        assert!(form_key(&7.into()).is_err());
    }
}
