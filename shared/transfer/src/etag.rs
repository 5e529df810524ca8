//! Entity tags: the name of one generation of an object's bytes.
//!
//! Owns: reading a tag as stores write it (quoted or not, `W/` or not, upper case on Alibaba OSS) and what its *form* says.
//! Does not own: whether two stores' tags may be compared, which is [`crate::compare`]'s.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// An entity tag without its quotes, in the letter case the store used.
///
/// Equality and hashing ignore ASCII case: OSS writes the same MD5 in upper case that others write in lower case.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    /// Reads a header or listing value: quotes, white space and a weak marker are dropped. `None` when nothing is left
    /// (Ceph 16 answers `CompleteMultipartUpload` with an empty tag).
    pub fn parse(raw: &str) -> Option<Self> {
        let bare = raw.trim();
        let bare = bare.strip_prefix("W/").unwrap_or(bare).trim_matches('"');
        (!bare.is_empty()).then(|| Self(bare.to_owned()))
    }

    /// The tag that `digest` makes for an object put in one piece by the usual rule.
    pub fn from_md5(digest: [u8; 16]) -> Self {
        Self(hex(&digest))
    }

    /// The tag that the usual multipart rule makes: the MD5 of the parts' MD5s, a dash, and the number of parts.
    pub fn from_part_md5s(digests: &[[u8; 16]]) -> Self {
        use md5::Digest;
        let mut all = md5::Md5::new();
        for digest in digests {
            all.update(digest);
        }
        Self(format!("{}-{}", hex(&all.finalize()), digests.len()))
    }

    /// Without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In double quotes, as `If-Match` wants it.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// The MD5 it spells, if it has that form. Only the store's ETag rule says whether it *is* the MD5 of the bytes.
    pub fn as_md5(&self) -> Option<[u8; 16]> {
        unhex(&self.0)
    }

    /// The number of parts, for a tag of the form `HEX-N`.
    pub fn parts(&self) -> Option<u32> {
        let (digest, parts) = self.0.split_once('-')?;
        unhex::<16>(digest)?;
        parts.parse().ok().filter(|parts| (1..=10_000).contains(parts))
    }

    /// The digest in front of the number of parts, for a tag of the form `HEX-N`.
    pub fn parts_digest(&self) -> Option<[u8; 16]> {
        self.parts()?;
        unhex(self.0.split_once('-')?.0)
    }

    /// Whether two objects with these tags have the same bytes, by the tags alone and whatever the stores' rules: equal digests in
    /// a usual form, or the MD5 of an object and the tag of an upload of which that object is the only part. `false` proves
    /// nothing.
    pub fn proves_same_bytes(&self, other: &Self) -> bool {
        let is_only_part = |object: &Self, upload: &Self| {
            upload.parts() == Some(1)
                && object.as_md5().is_some_and(|md5| Self::from_part_md5s(&[md5]) == *upload)
        };
        if self == other {
            // Equal opaque tags are no evidence.
            self.as_md5().is_some() || self.parts().is_some()
        } else {
            is_only_part(self, other) || is_only_part(other, self)
        }
    }
}

impl PartialEq for ETag {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for ETag {}

impl Hash for ETag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.0.bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| DIGITS[usize::from(nibble)] as char)
        .collect()
}

pub(crate) fn unhex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let text = text.as_bytes();
    if text.len() != 2 * BYTES {
        return None;
    }
    let mut digest = [0; BYTES];
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(raw: &str) -> ETag {
        ETag::parse(raw).expect("a tag")
    }

    #[test]
    fn quotes_case_and_weakness_do_not_matter() {
        assert_eq!(
            tag("\"5D41402ABC4B2A76B9719D911017C592\""),
            tag("W/\"5d41402abc4b2a76b9719d911017c592\"")
        );
        assert_eq!(ETag::parse("\"\""), None);
    }

    #[test]
    fn the_form_tells_md5_from_multipart() {
        assert!(tag("5d41402abc4b2a76b9719d911017c592").as_md5().is_some());
        assert_eq!(tag("5d41402abc4b2a76b9719d911017c592-12").parts(), Some(12));
        assert_eq!(tag("5d41402abc4b2a76b9719d911017c592-0").parts(), None);
        assert_eq!(tag("opaque-2").parts(), None);
    }

    #[test]
    fn an_upload_of_one_part_has_the_bytes_of_that_part() {
        let object = tag("5d41402abc4b2a76b9719d911017c592");
        let upload = ETag::from_part_md5s(&[object.as_md5().expect("an MD5")]);
        assert!(object.proves_same_bytes(&upload) && upload.proves_same_bytes(&object));
        assert!(upload.proves_same_bytes(&upload.clone()));
        let other = tag("7d793037a0760186574b0282f2f435e7");
        assert!(!other.proves_same_bytes(&upload) && !other.proves_same_bytes(&object));
        assert!(!tag("opaque").proves_same_bytes(&tag("opaque")));
    }

    #[test]
    fn the_usual_rules_make_the_known_tags() {
        use md5::{Digest, Md5};
        let digest: [u8; 16] = Md5::digest(b"hello").into();
        assert_eq!(ETag::from_md5(digest).as_str(), "5d41402abc4b2a76b9719d911017c592");
        // Computed by hand: printf hello | md5sum | xxd -r -p | md5sum
        assert_eq!(ETag::from_part_md5s(&[digest]).parts(), Some(1));
    }
}
