//! Has credentials looked up again when a store refuses them.
//!
//! Owns: telling a refusal that new credentials may mend from one they cannot, and letting such a request be repeated, which its
//! owner does ([`crate::store::retrying`], [`crate::copy`]). Sits under the retries. Does not own: where credentials come from.
//! Invariant: a refusal of the newest credentials is final; a whole run's requests that fail together look them up once.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::store::{
    CompleteUploadRequest, CopyObjectRequest, CopyPartRequest, CreateUploadRequest, DeleteRequest,
    DeleteResponse, GetRequest, GetResponse, HeadRequest, ListPage, ListPartsRequest, ListRequest,
    ListUploadsRequest, ListVersionsRequest, ObjectStore, PartsPage, PutRequest, PutResponse, RestoreAnswer,
    RestoreRequest, SharedStore, StoreName, UploadId, UploadPartRequest, UploadedPart, UploadsPage,
    VersionPage, Versioning,
};
use crate::{Capabilities, Error, ErrorKind, Key, ObjectHead, Result};

/// Which lookup credentials come from: the first is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Lookup(pub u64);

/// Credentials that can be looked up again.
#[async_trait]
pub trait Renewable: Send + Sync + fmt::Debug {
    /// The lookup whose result signs requests now.
    fn lookup(&self) -> Lookup;

    /// Looks up again, unless that has been done since `used`. Whether requests are signed differently now.
    async fn renew(&self, used: Lookup, refusal: Refusal) -> bool;
}

/// What a store refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The keys: expired, withdrawn or rotated.
    Keys,
    /// Perhaps the keys: a HEAD is refused without a word, and mostly for lack of a right.
    PerhapsKeys,
    /// The time of the signature: a request that waited too long to be sent, or a wrong clock.
    Time,
}

impl Refusal {
    /// What new credentials, or a new signature, may mend. Codes: the S3 error list, Alibaba's OSS and Tencent's COS error pages.
    pub fn of(error: &Error) -> Option<Self> {
        match error.code() {
            Some(
                "ExpiredToken"
                | "ExpiredTokenException"
                | "TokenRefreshRequired"
                | "InvalidToken"
                | "SecurityTokenExpired"
                | "InvalidSecurityToken"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch",
            ) => Some(Self::Keys),
            Some("RequestTimeTooSkewed" | "RequestExpired") => Some(Self::Time),
            // No document follows the answer to a HEAD; some clients make a code of the status line.
            None | Some("Forbidden" | "Unauthorized") if matches!(error.status(), Some(401 | 403)) => {
                Some(Self::PerhapsKeys)
            }
            _ => None,
        }
    }
}

/// A store whose credentials are renewed. See the module.
pub struct RenewingStore {
    inner: SharedStore,
    credentials: Arc<dyn Renewable>,
}

impl RenewingStore {
    /// Wraps a store that signs with these credentials.
    pub fn new(inner: SharedStore, credentials: Arc<dyn Renewable>) -> Self {
        Self { inner, credentials }
    }

    async fn watch<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        let used = self.credentials.lookup();
        let error = match request.await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        match Refusal::of(&error) {
            Some(refusal) if self.credentials.renew(used, refusal).await => {
                tracing::info!(error = %error.chain(), "credentials were looked up again");
                Err(error.as_kind(ErrorKind::Transient))
            }
            _ => Err(error),
        }
    }
}

impl fmt::Debug for RenewingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RenewingStore").field(&self.inner).finish()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a defaulted method would silently go without renewal")]
impl ObjectStore for RenewingStore {
    fn name(&self) -> &StoreName {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn list(&self, request: ListRequest) -> Result<ListPage> {
        self.watch(self.inner.list(request)).await
    }

    async fn head(&self, request: HeadRequest) -> Result<ObjectHead> {
        self.watch(self.inner.head(request)).await
    }

    async fn get(&self, request: GetRequest) -> Result<GetResponse> {
        self.watch(self.inner.get(request)).await
    }

    async fn get_tags(&self, key: &Key, version_id: Option<&str>) -> Result<Vec<(String, String)>> {
        self.watch(self.inner.get_tags(key, version_id)).await
    }

    async fn put_tags(&self, key: &Key, version_id: Option<&str>, tags: &[(String, String)]) -> Result<()> {
        self.watch(self.inner.put_tags(key, version_id, tags)).await
    }

    async fn put(&self, request: PutRequest) -> Result<PutResponse> {
        self.watch(self.inner.put(request)).await
    }

    async fn create_upload(&self, request: CreateUploadRequest) -> Result<UploadId> {
        self.watch(self.inner.create_upload(request)).await
    }

    async fn upload_part(&self, request: UploadPartRequest) -> Result<UploadedPart> {
        self.watch(self.inner.upload_part(request)).await
    }

    async fn complete_upload(&self, request: CompleteUploadRequest) -> Result<PutResponse> {
        self.watch(self.inner.complete_upload(request)).await
    }

    async fn list_parts(&self, request: ListPartsRequest) -> Result<PartsPage> {
        self.watch(self.inner.list_parts(request)).await
    }

    async fn list_uploads(&self, request: ListUploadsRequest) -> Result<UploadsPage> {
        self.watch(self.inner.list_uploads(request)).await
    }

    async fn copy_object(&self, request: CopyObjectRequest) -> Result<PutResponse> {
        self.watch(self.inner.copy_object(request)).await
    }

    async fn copy_part(&self, request: CopyPartRequest) -> Result<UploadedPart> {
        self.watch(self.inner.copy_part(request)).await
    }

    async fn versioning(&self) -> Result<Versioning> {
        self.watch(self.inner.versioning()).await
    }

    async fn list_versions(&self, request: ListVersionsRequest) -> Result<VersionPage> {
        self.watch(self.inner.list_versions(request)).await
    }

    async fn restore(&self, request: RestoreRequest) -> Result<RestoreAnswer> {
        self.watch(self.inner.restore(request)).await
    }

    async fn abort_upload(&self, key: &Key, upload_id: &UploadId) -> Result<()> {
        self.watch(self.inner.abort_upload(key, upload_id)).await
    }

    async fn delete(&self, request: DeleteRequest) -> Result<DeleteResponse> {
        self.watch(self.inner.delete(request)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_new_credentials_may_mend_is_a_refusal_of_them() {
        let refused = |status, code: &str| {
            let error = Error::new(ErrorKind::Other, "x").with_status(status);
            Refusal::of(&if code.is_empty() { error } else { error.with_code(code) })
        };
        assert_eq!(refused(400, "ExpiredToken"), Some(Refusal::Keys));
        assert_eq!(refused(403, "InvalidAccessKeyId"), Some(Refusal::Keys));
        assert_eq!(refused(403, "RequestTimeTooSkewed"), Some(Refusal::Time));
        assert_eq!(refused(403, ""), Some(Refusal::PerhapsKeys));
        assert_eq!(refused(403, "AccessDenied"), None);
        assert_eq!(refused(404, ""), None);
    }
}
