//! Reading credentials out of text.
//!
//! Owns: the JSON of Ferry's contract, the JSON that AWS credential processes print, and two words as a site's own helper prints them.
//! Invariant: says only whether it worked, since a parser's complaint would quote what it read.

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Credentials;

#[derive(Deserialize)]
struct Document {
    #[serde(alias = "AccessKeyId")]
    access_key_id: String,
    #[serde(alias = "SecretAccessKey")]
    secret_access_key: String,
    #[serde(default, alias = "SessionToken")]
    session_token: Option<String>,
    #[serde(default, alias = "Expiration")]
    expiration: Option<String>,
}

/// The credentials in a text; `None` where it holds none.
pub(super) fn credentials(text: &str) -> Option<Credentials> {
    let text = text.trim().trim_start_matches('\u{FEFF}');
    let found = if text.starts_with('{') {
        let document: Document = serde_json::from_str(text).ok()?;
        Credentials {
            access_key_id: document.access_key_id,
            secret_access_key: document.secret_access_key,
            session_token: document.session_token.filter(|token| !token.is_empty()),
            expires: match document.expiration {
                Some(when) => Some(OffsetDateTime::parse(&when, &Rfc3339).ok()?),
                None => None,
            },
        }
    } else {
        let mut words = text.split_whitespace();
        let found = Credentials {
            access_key_id: words.next()?.to_owned(),
            secret_access_key: words.next()?.to_owned(),
            session_token: None,
            expires: None,
        };
        if words.next().is_some() {
            return None;
        }
        found
    };
    (!found.access_key_id.is_empty() && !found.secret_access_key.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Option<(String, String, Option<String>)> {
        credentials(text).map(|c| (c.access_key_id, c.secret_access_key, c.session_token))
    }

    #[test]
    fn every_form_is_read() {
        let plain = Some(("A".to_owned(), "S".to_owned(), None));
        assert_eq!(keys(r#"{"access_key_id":"A","secret_access_key":"S"}"#), plain);
        assert_eq!(keys("A S\n"), plain);
        assert_eq!(keys("A\nS\n"), plain);
        assert_eq!(keys("A\tS"), plain);
        assert_eq!(
            keys(
                r#"{"Version":1,"AccessKeyId":"A","SecretAccessKey":"S","SessionToken":"T","Expiration":"2030-01-01T00:00:00Z"}"#
            ),
            Some(("A".to_owned(), "S".to_owned(), Some("T".to_owned())))
        );
    }

    #[test]
    fn anything_else_is_none() {
        for text in
            ["", "A", "A S extra", "{}", "{\"access_key_id\":\"\",\"secret_access_key\":\"S\"}", "[1]x"]
        {
            assert_eq!(keys(text), None, "{text}");
        }
    }
}
