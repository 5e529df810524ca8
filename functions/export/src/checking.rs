//! Whether a manifest can be meant, as far as only the service can ask.
//!
//! Owns: who may send it, its patterns, the programs that its medium takes, and the buckets that it names. Does not own: the manifest's own rules (`ferry_device::manifest`). Invariant: what
//! cannot be found out is a warning, what is wrong is an error before any job is made.

use ferry_device::manifest::{Container, Manifest, Parsed};
use ferry_device::naming::FileSystem;
use ferry_device::ntfs::Programs;
use ferry_transfer::ErrorKind;
use ferry_transfer::select::Glob;
use ferry_transfer::store::ListRequest;

use crate::api::{ApiError, ErrorCode};
use crate::auth::Caller;
use crate::service::{Service, StationPlace};

/// A manifest that passed every check.
pub(crate) struct Checked {
    pub(crate) manifest: Manifest,
    pub(crate) warnings: Vec<String>,
}

impl Service {
    /// Checks a manifest against everything but the day's limit.
    pub(crate) async fn checked(&self, caller: &Caller, bytes: &[u8]) -> Result<Checked, ApiError> {
        let parsed = Manifest::parse(bytes, self.parts().limits.strictness);
        let warnings: Vec<String> = parsed.warnings().map(ToString::to_string).collect();
        let manifest = accepted(parsed)?;
        if let (Caller::Key(key), Some(id)) = (caller, &manifest.access_key_id)
            && key != id
        {
            return Err(ApiError::new(
                ErrorCode::InvalidAccessKeyId,
                "accessKeyId of the manifest is not the key that the request is signed with. Make them one, or remove it",
            ));
        }
        check_globs(&manifest)?;
        let mut checked = Checked { manifest, warnings };
        checked.warnings.extend(self.check_programs(&checked.manifest)?);
        // What will be listed, with the prefix that credentials may be limited to.
        let listed =
            checked.manifest.operations.iter().map(|o| (o.export_bucket.as_str(), o.prefix.as_str()));
        let mut listed: Vec<(&str, &str)> = listed.collect();
        listed.sort_unstable();
        listed.dedup();
        let mut unchecked = Vec::new();
        for (bucket, prefix) in listed {
            unchecked.extend(self.check_bucket(&checked.manifest, bucket, prefix).await?);
        }
        let log = self.check_bucket(&checked.manifest, &checked.manifest.log_bucket, "").await;
        match log {
            // The log is written there and nothing is read.
            Err(error) if error.code == ErrorCode::BucketPermission => unchecked.push(format!(
                "the log's bucket {} may not be listed, so that nobody can say whether it is there",
                checked.manifest.log_bucket
            )),
            log => unchecked.extend(log?),
        }
        checked.warnings.extend(unchecked);
        Ok(checked)
    }

    /// Whether the station has the programs that the medium takes; a warning where nobody could say.
    fn check_programs(&self, manifest: &Manifest) -> Result<Option<String>, ApiError> {
        if manifest.file_system == FileSystem::Ext4 {
            return Ok(None);
        }
        let has_container = manifest.extensions.container != Container::None;
        match self.parts().station {
            // Files in a directory need no program, an image in the clear does: the target is not known yet.
            StationPlace::Here if !has_container => Ok(Programs::of_this_machine().err().map(|missing| {
                format!("fileSystem: NTFS onto image: or block:: {missing}; plain: needs nothing")
            })),
            StationPlace::Here => Programs::of_this_machine().map(|_| None).map_err(|missing| {
                let code = ErrorCode::Manifest(ferry_device::manifest::Code::InvalidFileSystem);
                ApiError::new(code, format!("{missing}. Install it, or write fileSystem: EXT4"))
            }),
            StationPlace::Elsewhere => {
                let warning =
                    "fileSystem: NTFS in a container: the station needs the package ntfs-3g and FUSE";
                Ok(Some(warning.to_owned()))
            }
        }
    }

    /// Whether a bucket is there and may be listed below a prefix; a warning where nobody could say.
    async fn check_bucket(
        &self,
        manifest: &Manifest,
        bucket: &str,
        prefix: &str,
    ) -> Result<Option<String>, ApiError> {
        let location = self.location(manifest, bucket);
        let listed = match self.parts().buckets.bucket(&location).await {
            Ok(store) => {
                let first =
                    ListRequest { prefix: prefix.to_owned(), page_size: Some(1), ..ListRequest::default() };
                store.list(first).await.map(drop)
            }
            Err(error) => Err(error),
        };
        let Err(error) = listed else { return Ok(None) };
        // A store's client calls a missing bucket a mistake of the configuration.
        let is_missing = error.kind() == ErrorKind::NotFound || error.code() == Some("NoSuchBucket");
        match error.kind() {
            _ if is_missing => {
                let message = format!("the bucket {location} does not exist. Check its name and the store");
                Err(ApiError::new(ErrorCode::NoSuchBucket, message))
            }
            ErrorKind::PermissionDenied => {
                let message =
                    format!("the bucket {location} may not be listed. Allow ListBucket and GetObject");
                Err(ApiError::new(ErrorCode::BucketPermission, message))
            }
            ErrorKind::Configuration | ErrorKind::InvalidInput => {
                let message = format!(
                    "the store of the bucket {location} cannot be used: {}. Check ferry.yaml",
                    error.chain()
                );
                Err(ApiError::new(ErrorCode::BucketPermission, message))
            }
            _ => Ok(Some(format!("the bucket {location} could not be checked: {}", error.chain()))),
        }
    }
}

/// Whether `x-include` and `x-exclude` are patterns.
pub(crate) fn check_globs(manifest: &Manifest) -> Result<(), ApiError> {
    for glob in manifest.extensions.include.iter().chain(&manifest.extensions.exclude) {
        if let Err(bad) = glob.parse::<Glob>() {
            let code = ErrorCode::Manifest(ferry_device::manifest::Code::InvalidManifestField);
            return Err(ApiError::new(
                code,
                format!("x-include and x-exclude: {glob:?}: {bad}. Correct the pattern"),
            ));
        }
    }
    Ok(())
}

/// The manifest, or every error of it in one.
fn accepted(parsed: Parsed) -> Result<Manifest, ApiError> {
    let told: Vec<String> = parsed.errors().map(ToString::to_string).collect();
    let code = parsed.errors().next().map(|problem| problem.code);
    match (parsed.manifest, code) {
        (Some(manifest), _) => Ok(manifest),
        (None, code) => {
            let code = code.unwrap_or(ferry_device::manifest::Code::MalformedManifest);
            Err(ApiError::new(ErrorCode::Manifest(code), told.join("\n")))
        }
    }
}
