//! How an object is encrypted at rest.
//!
//! Owns: what is kept of that and what a read must bring. Bytes are never encrypted here: what a reader sees of encryption is who is
//! let in, what is echoed, and that ETags are no MD5s. Source: AWS, "Protecting data with encryption".

use ferry_transfer::{Attributes, Encryption};

use super::Refusal;

/// How an object is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StoredEncryption {
    /// Nobody asked.
    #[default]
    Unasked,
    /// With keys the store manages: SSE-S3.
    S3,
    /// With a key of the key service: SSE-KMS, or DSSE-KMS.
    Kms {
        /// The word on the wire.
        kind: String,
        /// Which key, where one was named.
        key_id: Option<String>,
    },
    /// With the writer's own key, of which the store keeps the MD5 and no more: SSE-C.
    Customer {
        /// In base64.
        key_md5: String,
    },
}

impl StoredEncryption {
    /// As a reader is told.
    pub fn kind(&self) -> Encryption {
        match self {
            Self::Unasked | Self::S3 => Encryption::StoreManaged,
            Self::Kms { .. } => Encryption::Kms,
            Self::Customer { .. } => Encryption::CustomerKey,
        }
    }

    /// Whether somebody with this key is let in; `None` is somebody without.
    pub(crate) fn admits(&self, key_md5: Option<&str>) -> Result<(), Refusal> {
        match (self, key_md5) {
            (Self::Customer { key_md5 }, Some(presented)) if key_md5 == presented => Ok(()),
            (Self::Customer { .. }, Some(_)) => Err(Refusal::WrongCustomerKey),
            (Self::Customer { .. }, None) => Err(Refusal::CustomerKeyMissing),
            (_, Some(_)) => Err(Refusal::CustomerKeyUnfit),
            (_, None) => Ok(()),
        }
    }
}

/// What is kept of an object beside its bytes.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// What travels with the bytes.
    pub attributes: Attributes,
    /// How they are encrypted.
    pub encryption: StoredEncryption,
}

impl From<Attributes> for Written {
    fn from(attributes: Attributes) -> Self {
        Self { attributes, encryption: StoredEncryption::Unasked }
    }
}
