//! Keys of the customer for SSE-C: where they come from, and their form on the wire.
//!
//! Owns: the references `env:`, `file:` and `command:`, and following them. Invariant: no key appears in a `Debug`, an error or a log.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferry_transfer::checksum::{DigestSet, digest};
use ferry_transfer::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::credentials::CredentialRef;

/// Length of an AES-256 key.
const KEY_BYTES: usize = 32;

/// Where a key comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CustomerKeyRef {
    /// A variable that holds it.
    Env(String),
    /// A file that holds it.
    File(PathBuf),
    /// A command that prints it.
    Command(String),
}

impl FromStr for CustomerKeyRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("command", command)) if !command.is_empty() => Ok(Self::Command(command.to_owned())),
            // The text is not repeated: a key pasted in the wrong place must not end in a log.
            _ => Err(Error::new(
                ErrorKind::InvalidInput,
                "a customer key is a reference: env:NAME, file:PATH or command:CMD",
            )),
        }
    }
}

impl TryFrom<String> for CustomerKeyRef {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<CustomerKeyRef> for String {
    fn from(reference: CustomerKeyRef) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for CustomerKeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Command(command) => write!(f, "command:{command}"),
        }
    }
}

/// A key, in the form in which headers carry it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CustomerKey {
    pub(crate) key_base64: String,
    pub(crate) md5_base64: String,
}

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKey(..)")
    }
}

impl CustomerKey {
    fn new(key: &[u8; KEY_BYTES]) -> Self {
        let md5 = digest(key, DigestSet::MD5).md5.unwrap_or_default();
        Self { key_base64: STANDARD.encode(key), md5_base64: STANDARD.encode(md5) }
    }

    /// Reads 32 bytes as they are, in base64, or as 64 hexadecimal digits.
    fn parse(held: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(held).unwrap_or_default().trim();
        let key = STANDARD
            .decode(text)
            .ok()
            .filter(|key| key.len() == KEY_BYTES)
            .or_else(|| from_hex(text))
            .unwrap_or_else(|| held.to_vec());
        Some(Self::new(key.as_slice().try_into().ok()?))
    }

    /// Follows a reference.
    pub(crate) async fn resolve(reference: &CustomerKeyRef) -> Result<Self> {
        let unusable =
            |why: &str| Error::new(ErrorKind::Configuration, format!("customer key {reference}: {why}"));
        let held = match reference {
            CustomerKeyRef::Env(name) => {
                std::env::var(name).map_err(|_| unusable("the environment variable is not set"))?.into_bytes()
            }
            CustomerKeyRef::File(path) => tokio::fs::read(path)
                .await
                .map_err(|error| unusable("the file cannot be read").caused_by(error))?,
            CustomerKeyRef::Command(command) => {
                CredentialRef::Command(command.clone()).run(command).await?.into_bytes()
            }
        };
        Self::parse(&held).ok_or_else(|| {
            unusable("it does not hold a key: wanted are 32 bytes, as they are, in base64 or as 64 hexadecimal digits")
        })
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 2 * KEY_BYTES || !text.is_ascii() {
        return None;
    }
    (0..KEY_BYTES).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_three_forms() {
        let key = [7; KEY_BYTES];
        let expected = Some(CustomerKey::new(&key));
        assert_eq!(CustomerKey::parse(&key), expected);
        assert_eq!(CustomerKey::parse(format!("{}\n", STANDARD.encode(key)).as_bytes()), expected);
        assert_eq!(CustomerKey::parse("07".repeat(KEY_BYTES).as_bytes()), expected);
        assert_eq!(CustomerKey::parse(b"too short"), None);
    }

    #[test]
    fn a_key_pasted_as_a_reference_is_not_repeated() {
        let pasted = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        let error = pasted.parse::<CustomerKeyRef>().expect_err("not a reference");
        assert!(!error.to_string().contains(pasted), "{error}");
    }
}
