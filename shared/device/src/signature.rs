//! SIGNATURE: the file in a device's root that says "this device is for this job, erase it".
//!
//! Owns: the message that is signed, the file's four lines, and comparing signatures. Does not own: the key, which is the service's or, in the
//! workflow of 2009, the customer's own. Invariants: line endings of the manifest do not matter (CRLF is signed as LF); signatures are
//! compared in constant time.
//!
//! Source: the AWS Import/Export guide of 2009-05-20, "Signature File Specification": the signature is
//! base64(HMAC-SHA1(secret key, job id, newline, manifest)). What version 2.0 signed was never published; the same message is used.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// The file's name in the root of the device.
pub const FILE_NAME: &str = "SIGNATURE";
/// The version written in the first line.
const VERSION: &str = "2.0";
/// More than any SIGNATURE has.
pub const FILE_BYTES_MAX: u64 = 4096;

/// How a signature is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SigningMethod {
    /// As the original.
    #[default]
    #[serde(rename = "HmacSHA1")]
    HmacSha1,
    /// An extension.
    #[serde(rename = "HmacSHA256")]
    HmacSha256,
}

impl SigningMethod {
    /// The word of the file's second line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha1 => "HmacSHA1",
            Self::HmacSha256 => "HmacSHA256",
        }
    }

    fn code(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::HmacSha1 => mac(Hmac::<Sha1>::new_from_slice(key), parts),
            Self::HmacSha256 => mac(Hmac::<Sha256>::new_from_slice(key), parts),
        }
    }
}

fn mac<M: Mac, E>(mac: Result<M, E>, parts: &[&[u8]]) -> Vec<u8> {
    let Ok(mut mac) = mac else { unreachable!("HMAC takes keys of any length (RFC 2104)") };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

impl fmt::Display for SigningMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A job's signature: what the file SIGNATURE says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// How it was made.
    pub method: SigningMethod,
    /// The job.
    pub job_id: String,
    /// The code in base64.
    pub signature: String,
}

/// Why a text is no SIGNATURE.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// A line is not there.
    #[error("the line {0}: is missing")]
    Missing(&'static str),
    /// The method is none of ours.
    #[error("the signing method {0:?} is unknown")]
    Method(String),
}

impl Signature {
    /// Signs a manifest's bytes for a job.
    pub fn sign(method: SigningMethod, key: &[u8], job_id: &str, manifest: &[u8]) -> Self {
        let normal = with_plain_newlines(manifest);
        let code = method.code(key, &[job_id.as_bytes(), b"\n", &normal]);
        Self { method, job_id: job_id.to_owned(), signature: STANDARD.encode(code) }
    }

    /// The file's contents.
    pub fn file_contents(&self) -> String {
        let Self { method, job_id, signature } = self;
        format!("version:{VERSION}\nsigningMethod:{method}\njobId:{job_id}\nsignature:{signature}\n")
    }

    /// Reads the file's contents; blanks around values and line endings do not matter.
    pub fn parse(contents: &str) -> Result<Self, BadSignature> {
        let value = |name: &'static str| {
            contents
                .lines()
                .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))
                .map(|value| value.trim().to_owned())
                .ok_or(BadSignature::Missing(name))
        };
        let method = match value("signingMethod")?.as_str() {
            "HmacSHA1" => SigningMethod::HmacSha1,
            "HmacSHA256" => SigningMethod::HmacSha256,
            other => return Err(BadSignature::Method(other.to_owned())),
        };
        Ok(Self { method, job_id: value("jobId")?, signature: value("signature")? })
    }

    /// Whether both are of one job and one manifest.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let is_same: bool = self.signature.as_bytes().ct_eq(other.signature.as_bytes()).into();
        self.method == other.method && self.job_id == other.job_id && is_same
    }
}

fn with_plain_newlines(manifest: &[u8]) -> Vec<u8> {
    let mut normal = Vec::with_capacity(manifest.len());
    for (at, byte) in manifest.iter().enumerate() {
        if *byte != b'\r' || manifest.get(at + 1) != Some(&b'\n') {
            normal.push(*byte);
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_the_job_id_a_newline_and_the_manifest() {
        // Computed with OpenSSL: printf 'TC44P\nmanifestVersion:2.0\n' | openssl dgst -sha1 -hmac secret -binary | base64
        let signature =
            Signature::sign(SigningMethod::HmacSha1, b"secret", "TC44P", b"manifestVersion:2.0\r\n");
        assert_eq!(signature.signature, "pa2tT/h/Pb9TXMU41VRncg5A17c=");
        assert_eq!(
            signature.file_contents(),
            "version:2.0\nsigningMethod:HmacSHA1\njobId:TC44P\nsignature:pa2tT/h/Pb9TXMU41VRncg5A17c=\n"
        );
        let signature =
            Signature::sign(SigningMethod::HmacSha256, b"secret", "TC44P", b"manifestVersion:2.0\n");
        assert_eq!(signature.signature, "t2h+NsL3zgLmVyO1vB11vKOVJ2Jfswpasl+oMTqb5yA=");
    }

    #[test]
    fn a_file_reads_back_whatever_its_line_endings() {
        let signature = Signature::sign(SigningMethod::HmacSha256, b"k", "TC44P", b"m");
        let contents = signature.file_contents();
        for text in [contents.clone(), contents.replace('\n', "\r\n"), contents.replace(':', ": ")] {
            let read = Signature::parse(&text).expect("signature");
            assert!(read.agrees_with(&signature), "{text}");
        }
    }

    #[test]
    fn another_job_another_manifest_and_another_method_do_not_agree() {
        let signature = Signature::sign(SigningMethod::HmacSha1, b"k", "TC44P", b"m");
        for other in [
            Signature::sign(SigningMethod::HmacSha1, b"k", "TC44Q", b"m"),
            Signature::sign(SigningMethod::HmacSha1, b"k", "TC44P", b"n"),
            Signature::sign(SigningMethod::HmacSha1, b"l", "TC44P", b"m"),
            Signature::sign(SigningMethod::HmacSha256, b"k", "TC44P", b"m"),
            Signature { job_id: "TC44Q".to_owned(), ..signature.clone() },
        ] {
            assert!(!signature.agrees_with(&other), "{other:?}");
        }
    }

    #[test]
    fn what_is_no_signature_is_said() {
        assert_eq!(Signature::parse(""), Err(BadSignature::Missing("signingMethod")));
        let unknown = Signature::parse("signingMethod:Rot13\njobId:A\nsignature:B");
        assert_eq!(unknown, Err(BadSignature::Method("Rot13".to_owned())));
    }
}
