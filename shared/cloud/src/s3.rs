//! S3-compatible stores, over the AWS SDK and beside it.
//!
//! Owns: one store's client ([`S3Account`]) and its buckets as the engine sees them ([`S3Bucket`]). The requests that every
//! object costs have a path of their own (`lean`); all others are the SDK's. Does not own: retries, which are the engine's alone
//! (the SDK's are off), nor endpoints and credentials ([`crate::store_config`]). Invariants: the SDK's types do
//! not leave this module; every failure passes through one mapping; no request waits without a limit.

mod archive;
mod attributes;
mod bucket_headers;
mod client;
mod copying;
mod encoded_word;
mod encoding;
mod endpoint;
mod error;
mod greet;
mod intercept;
mod lean;
mod list;
mod list_choice;
mod notifications;
mod read;
mod upload_body;
mod uploads;
mod versions;
mod write;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use ferry_transfer::attribute_rules::{AttributeRules, WriteEncryption};
use ferry_transfer::store::renewing::Renewable;
use ferry_transfer::store::{
    CompleteUploadRequest, CopyObjectRequest, CopyPartRequest, CreateUploadRequest, DeleteRequest,
    DeleteResponse, GetRequest, GetResponse, HeadRequest, ListPage, ListPartsRequest, ListRequest,
    ListUploadsRequest, ListVersionsRequest, PartsPage, PutRequest, PutResponse, RestoreAnswer,
    RestoreRequest, UploadId, UploadPartRequest, UploadedPart, UploadsPage, VersionPage, Versioning,
};
use ferry_transfer::{
    Capabilities, Error, ErrorKind, Key, ObjectHead, ObjectStore, Result, StoreName, Support,
};
use time::OffsetDateTime;
use tokio::sync::OnceCell;

pub(crate) use self::bucket_headers::Payer;
use self::bucket_headers::{BucketHeaders, SendBucketHeaders};
pub(crate) use self::client::AccountSetup;
use self::error::Place;
pub use self::greet::Greeting;
use self::lean::{Lean, LeanAccount};
use self::list_choice::ListChoice;
pub use self::notifications::{Rehearsal, Subscribed, SubscribedDeletes, Subscription};
use crate::credentials::Keyring;
use crate::profile::{ListVersion, Posture, Profile};

/// Longest wait for the answer to a request without a body worth mentioning.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// The slowest upload that is still believed to be alive.
const UPLOAD_FLOOR_BYTES_PER_SEC: u64 = 64 * 1024;
/// Longest validity of a presigned URL (AWS, "Sharing objects with presigned URLs").
const PRESIGNED_MAX_SECS: u64 = 7 * 24 * 3600;

/// One store: an endpoint, credentials and a profile. Cheap to clone.
#[derive(Debug, Clone)]
pub struct S3Account(Arc<Account>);

#[derive(Debug)]
struct Account {
    name: String,
    /// As messages name it.
    endpoint: String,
    client: aws_sdk_s3::Client,
    setup: AccountSetup,
    /// `None` where everything is to go by the SDK.
    lean: Option<LeanAccount>,
    list_choice: ListChoice,
    /// What signs; `None` for anonymous.
    keyring: Option<Arc<Keyring>>,
}

/// A bucket of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketEntry {
    /// Its name.
    pub name: String,
    /// When it was made, where the store says.
    pub created: Option<OffsetDateTime>,
}

impl S3Account {
    /// The store's name in `ferry.yaml`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The endpoint, as messages name it.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// How the store is talked to, overrides included.
    pub fn profile(&self) -> &Profile {
        &self.0.setup.profile
    }

    /// The region that signs.
    pub fn region(&self) -> &str {
        &self.0.setup.region
    }

    /// The same store talked to in another way, and in no other. Asks nothing of it.
    #[must_use]
    pub fn under(&self, profile: Profile) -> Self {
        AccountSetup { profile, ..self.0.setup.clone() }.build_listing(ListChoice::fixed())
    }

    /// Whether this is the same store as another, reached with the same rights: by what their descriptions say.
    pub fn is_same_store(&self, other: &Self) -> bool {
        self.0.endpoint == other.0.endpoint && self.0.setup.reference == other.0.setup.reference
    }

    /// Its credentials, where requests are signed.
    pub fn credentials(&self) -> Option<Arc<dyn Renewable>> {
        self.0.keyring.clone().map(|keyring| keyring as Arc<dyn Renewable>)
    }

    /// A bucket of this store. Asks nothing of the store.
    pub fn bucket(&self, bucket: &str) -> S3Bucket {
        S3Bucket::new(self, bucket, &AttributeRules::default(), None)
    }

    /// Every bucket the credentials may list.
    pub async fn list_buckets(&self) -> Result<Vec<BucketEntry>> {
        let everywhere = self.bucket("");
        let place = everywhere.place("ListBuckets", None);
        let answer = answered(&place, ANSWER_TIMEOUT, self.0.client.list_buckets().send()).await?;
        Ok(answer
            .buckets()
            .iter()
            .filter_map(|bucket| {
                Some(BucketEntry {
                    name: bucket.name()?.to_owned(),
                    created: bucket.creation_date().and_then(attributes::to_time),
                })
            })
            .collect())
    }

    /// A URL that reads an object without credentials for `expires_secs` seconds, or as long as session credentials live.
    pub async fn presign_get(&self, bucket: &str, key: &Key, expires_secs: u64) -> Result<String> {
        let in_bucket = self.bucket(bucket);
        let place = in_bucket.place("GetObject", Some(key));
        let request = self.0.client.get_object().bucket(bucket).key(key.as_str());
        let signed = request
            .presigned(validity(&place, expires_secs)?)
            .await
            .map_err(|error| error::from_sdk(&place, error))?;
        Ok(signed.uri().to_owned())
    }

    /// A URL that writes an object without credentials for `expires_secs` seconds, or as long as session credentials live.
    pub async fn presign_put(&self, bucket: &str, key: &Key, expires_secs: u64) -> Result<String> {
        let in_bucket = self.bucket(bucket);
        let place = in_bucket.place("PutObject", Some(key));
        let request = self.0.client.put_object().bucket(bucket).key(key.as_str());
        let signed = request
            .presigned(validity(&place, expires_secs)?)
            .await
            .map_err(|error| error::from_sdk(&place, error))?;
        Ok(signed.uri().to_owned())
    }
}

fn validity(place: &Place<'_>, expires_secs: u64) -> Result<PresigningConfig> {
    let refused = || {
        place.error(
            ErrorKind::InvalidInput,
            format!("a presigned URL is valid for 1 to {PRESIGNED_MAX_SECS} s (7 days), not {expires_secs}"),
        )
    };
    if !(1..=PRESIGNED_MAX_SECS).contains(&expires_secs) {
        return Err(refused());
    }
    PresigningConfig::expires_in(Duration::from_secs(expires_secs))
        .map_err(|error| refused().caused_by(error))
}

/// One bucket of one store.
#[derive(Debug, Clone)]
pub struct S3Bucket {
    account: S3Account,
    name: StoreName,
    /// Found at the first request: finding it may ask the SDK's endpoint rules.
    lean: Arc<OnceCell<Option<Lean>>>,
    client: aws_sdk_s3::Client,
    capabilities: Capabilities,
}

impl S3Bucket {
    fn new(account: &S3Account, bucket: &str, rules: &AttributeRules, source: Option<&S3Account>) -> Self {
        let key = account.0.setup.customer_key.as_ref();
        let source_key = source.and_then(|source| source.0.setup.customer_key.as_ref());
        let headers = BucketHeaders::new(account.0.setup.payer, key, source_key, rules);
        let mut capabilities = account.0.setup.profile.capabilities.clone();
        if key.is_some() || rules.encryption.as_ref().is_some_and(WriteEncryption::hides_md5) {
            (capabilities.etag_is_md5, capabilities.multipart_etag_is_md5_of_md5s) =
                (Support::No, Support::No);
        }
        let mut lean = Arc::default();
        let client = if headers.is_empty() {
            account.0.client.clone()
        } else {
            // The lean path knows nothing of these headers: it stands back.
            lean = Arc::new(OnceCell::new_with(Some(None)));
            let sending = SendBucketHeaders(headers);
            aws_sdk_s3::Client::from_conf(account.0.client.config().to_builder().interceptor(sending).build())
        };
        let name = StoreName { store: account.0.name.clone(), bucket: bucket.to_owned() };
        Self { account: account.clone(), name, lean, client, capabilities }
    }

    /// The bucket as a task's destination: what is written to it obeys these rules, and copies within the store read what was
    /// encrypted with the source's key.
    #[must_use]
    pub fn as_destination(self, rules: &AttributeRules, source: &S3Account) -> Self {
        Self::new(&self.account, &self.name.bucket, rules, Some(source))
    }

    /// The store this bucket belongs to.
    pub fn account(&self) -> &S3Account {
        &self.account
    }

    /// The path of the requests that every object costs, where this bucket has one.
    async fn lean(&self) -> Option<&Lean> {
        let account = self.account.0.lean.as_ref()?;
        self.lean.get_or_init(|| Lean::of(account, &self.name.bucket)).await.as_ref()
    }

    fn client(&self) -> &aws_sdk_s3::Client {
        &self.client
    }

    fn profile(&self) -> &Profile {
        &self.account.0.setup.profile
    }

    fn posture(&self) -> Posture {
        self.profile().posture
    }

    fn place<'a>(&'a self, operation: &'static str, key: Option<&'a Key>) -> Place<'a> {
        Place {
            operation,
            name: &self.name,
            endpoint: &self.account.0.endpoint,
            key,
            throttle_codes: &self.profile().throttle_codes,
            customer_key: self.account.0.setup.customer_key.is_some(),
        }
    }
}

/// Sends a request and waits for its answer, but not for ever.
async fn answered<T, E>(
    place: &Place<'_>,
    limit: Duration,
    call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|error| error::from_sdk(place, error)),
        Err(_) => Err(no_answer(place, limit)),
    }
}

fn no_answer(place: &Place<'_>, limit: Duration) -> Error {
    let message = format!("no answer from {} within {} s", place.endpoint, limit.as_secs());
    place.error(ErrorKind::Transient, message)
}

/// How long an upload of this size may take.
fn upload_limit(length_bytes: u64) -> Duration {
    ANSWER_TIMEOUT + Duration::from_secs(length_bytes / UPLOAD_FLOOR_BYTES_PER_SEC)
}

#[async_trait]
impl ObjectStore for S3Bucket {
    fn name(&self) -> &StoreName {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn list(&self, request: ListRequest) -> Result<ListPage> {
        self.list_known(request).await
    }

    async fn head(&self, request: HeadRequest) -> Result<ObjectHead> {
        match self.lean().await {
            Some(lean) => self.lean_head(lean, request).await,
            None => self.head_object(request).await,
        }
    }

    async fn get(&self, request: GetRequest) -> Result<GetResponse> {
        match self.lean().await {
            Some(lean) => self.lean_get(lean, request).await,
            None => self.get_object(request).await,
        }
    }

    async fn get_tags(&self, key: &Key, version_id: Option<&str>) -> Result<Vec<(String, String)>> {
        self.get_object_tagging(key, version_id).await
    }

    async fn put_tags(&self, key: &Key, version_id: Option<&str>, tags: &[(String, String)]) -> Result<()> {
        self.put_object_tagging(key, version_id, tags).await
    }

    async fn put(&self, request: PutRequest) -> Result<PutResponse> {
        match self.lean().await {
            Some(lean) => self.lean_put(lean, request).await,
            None => self.put_object(request).await,
        }
    }

    async fn create_upload(&self, request: CreateUploadRequest) -> Result<UploadId> {
        self.create_multipart_upload(request).await
    }

    async fn upload_part(&self, request: UploadPartRequest) -> Result<UploadedPart> {
        match self.lean().await {
            Some(lean) => self.lean_part(lean, request).await,
            None => self.put_part(request).await,
        }
    }

    async fn complete_upload(&self, request: CompleteUploadRequest) -> Result<PutResponse> {
        self.complete_multipart_upload(request).await
    }

    async fn list_parts(&self, request: ListPartsRequest) -> Result<PartsPage> {
        match self.lean().await {
            Some(lean) => self.lean_parts(lean, request).await,
            None => self.parts_page(request).await,
        }
    }

    async fn versioning(&self) -> Result<Versioning> {
        self.bucket_versioning().await
    }

    async fn list_versions(&self, request: ListVersionsRequest) -> Result<VersionPage> {
        self.versions_page(request).await
    }

    async fn list_uploads(&self, request: ListUploadsRequest) -> Result<UploadsPage> {
        self.uploads_page(request).await
    }

    async fn copy_object(&self, request: CopyObjectRequest) -> Result<PutResponse> {
        self.copy_one(request).await
    }

    async fn copy_part(&self, request: CopyPartRequest) -> Result<UploadedPart> {
        self.copy_one_part(request).await
    }

    async fn restore(&self, request: RestoreRequest) -> Result<RestoreAnswer> {
        self.restore_object(request).await
    }

    async fn abort_upload(&self, key: &Key, upload_id: &UploadId) -> Result<()> {
        self.abort_multipart_upload(key, upload_id).await
    }

    async fn delete(&self, request: DeleteRequest) -> Result<DeleteResponse> {
        self.delete_object(request).await
    }
}

#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
mod wire_tests;
