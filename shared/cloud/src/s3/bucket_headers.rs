//! Headers that every request of a kind carries, whatever it is about.
//!
//! Owns: which operation carries the customer's key (SSE-C), the encryption and the ACL to write, and who pays. Computed once for each
//! bucket, since nothing of it depends on an object. Invariant: what is not asked for is not sent.

use std::fmt;

use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferry_transfer::attribute_rules::{AttributeRules, WriteEncryption};

use super::attributes::HeaderList;
use crate::customer_key::CustomerKey;

const ENCRYPTION: &str = "x-amz-server-side-encryption";

/// Headers by the kind of operation.
#[derive(Default)]
pub(super) struct BucketHeaders {
    /// On every request.
    always: HeaderList,
    /// On reads and writes of bytes: the customer's key.
    bytes: HeaderList,
    /// Where an object begins: encryption and ACL.
    objects: HeaderList,
    /// On copies: the key of the object that is copied.
    copies: HeaderList,
}

/// Without the customer's key.
impl fmt::Debug for BucketHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BucketHeaders(..)")
    }
}

impl BucketHeaders {
    pub(super) fn new(
        payer: Payer,
        key: Option<&CustomerKey>,
        source_key: Option<&CustomerKey>,
        rules: &AttributeRules,
    ) -> Self {
        let mut headers = Self::default();
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        if payer == Payer::Requester {
            headers.always.push(text("x-amz-request-payer", "requester"));
        }
        if let Some(key) = key {
            headers.bytes = customer_key("x-amz-server-side-encryption-customer", key);
        } else if let Some(encryption) = &rules.encryption {
            headers.objects = encryption_headers(encryption);
        }
        if let Some(acl) = rules.acl {
            headers.objects.push(text("x-amz-acl", acl.as_str()));
        }
        if let Some(key) = source_key {
            headers.copies = customer_key("x-amz-copy-source-server-side-encryption-customer", key);
        }
        headers
    }

    /// Whether no request carries anything.
    pub(super) fn is_empty(&self) -> bool {
        [&self.always, &self.bytes, &self.objects, &self.copies].iter().all(|list| list.is_empty())
    }

    /// The headers of an operation, by the name AWS gives it.
    pub(super) fn of(&self, operation: &str) -> impl Iterator<Item = &(String, String)> {
        let (bytes, objects, copies) = match operation {
            "GetObject" | "HeadObject" | "UploadPart" | "CompleteMultipartUpload" => (true, false, false),
            "PutObject" | "CreateMultipartUpload" => (true, true, false),
            "CopyObject" => (true, true, true),
            "UploadPartCopy" => (true, false, true),
            _ => (false, false, false),
        };
        let when = |wanted: bool, list| if wanted { list } else { &[] as &[_] };
        self.always
            .iter()
            .chain(when(bytes, self.bytes.as_slice()))
            .chain(when(objects, self.objects.as_slice()))
            .chain(when(copies, self.copies.as_slice()))
    }
}

/// Who pays for requests and traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Payer {
    /// The bucket's owner.
    #[default]
    Owner,
    /// Whoever asks, as a bucket may demand.
    Requester,
}

fn customer_key(prefix: &str, key: &CustomerKey) -> HeaderList {
    vec![
        (format!("{prefix}-algorithm"), "AES256".to_owned()),
        (format!("{prefix}-key"), key.key_base64.clone()),
        (format!("{prefix}-key-md5"), key.md5_base64.clone()),
    ]
}

fn encryption_headers(encryption: &WriteEncryption) -> HeaderList {
    let (word, key_id, context) = match encryption {
        WriteEncryption::S3 {} => return vec![(ENCRYPTION.to_owned(), "AES256".to_owned())],
        WriteEncryption::Kms { key_id, context, .. } => ("aws:kms", key_id, context),
        WriteEncryption::KmsDsse { key_id, context } => ("aws:kms:dsse", key_id, context),
    };
    let mut headers = vec![(ENCRYPTION.to_owned(), word.to_owned())];
    if let Some(key_id) = key_id {
        headers.push((format!("{ENCRYPTION}-aws-kms-key-id"), key_id.clone()));
    }
    if !context.is_empty() {
        // Strings only: there is nothing in it that JSON cannot hold.
        let document = serde_json::to_string(context).unwrap_or_default();
        headers.push((format!("{ENCRYPTION}-context"), STANDARD.encode(document)));
    }
    if matches!(encryption, WriteEncryption::Kms { bucket_key: true, .. }) {
        headers.push((format!("{ENCRYPTION}-bucket-key-enabled"), "true".to_owned()));
    }
    headers
}

/// Puts them into every request of one bucket's client.
#[derive(Debug)]
pub(super) struct SendBucketHeaders(pub(super) BucketHeaders);

#[dyn_dispatch_hint]
impl Intercept for SendBucketHeaders {
    fn name(&self) -> &'static str {
        "SendBucketHeaders"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation =
            config.load::<Metadata>().map(|metadata| metadata.name().to_owned()).unwrap_or_default();
        let headers = context.request_mut().headers_mut();
        for (name, value) in self.0.of(&operation) {
            headers.try_insert(name.clone(), value.clone())?;
        }
        Ok(())
    }
}
