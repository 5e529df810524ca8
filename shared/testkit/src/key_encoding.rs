//! How a listing writes keys.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What S3 leaves as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*')
    .remove(b'/')
    // Becomes `+` below.
    .remove(b' ');

/// How an answer writes keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyEncoding {
    /// As they are, which no XML can do for control characters.
    Plain,
    /// `encoding-type=url`.
    Url,
}

impl KeyEncoding {
    /// Reads `encoding-type`.
    pub(crate) fn asked(word: Option<&str>) -> Option<Self> {
        match word {
            None | Some("") => Some(Self::Plain),
            Some(word) if word.eq_ignore_ascii_case("url") => Some(Self::Url),
            Some(_) => None,
        }
    }

    pub(crate) fn write(self, key: &str) -> String {
        match self {
            Self::Plain => key.to_owned(),
            Self::Url => utf8_percent_encode(key, ENCODED).to_string().replace(' ', "+"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_encoding_is_that_of_s3() {
        for (key, encoded) in [
            ("a b+c/d", "a+b%2Bc/d"),
            ("100%", "100%25"),
            ("test_file(3).png", "test_file%283%29.png"),
            ("é\n\u{1}", "%C3%A9%0A%01"),
            ("~*", "%7E*"),
        ] {
            assert_eq!(KeyEncoding::Url.write(key), encoded);
        }
        assert_eq!(KeyEncoding::asked(Some("base64")), None);
    }
}
