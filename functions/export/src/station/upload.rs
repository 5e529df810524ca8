//! A file of the station as an object.
//!
//! Owns: one request for a small file, parts for a large one. Does not own: retries, which are the store's. Invariants: one part is in memory at a time;
//! an upload that fails is dropped, and so is one that was killed, when its file comes again.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use ferry_device::Error;
use ferry_transfer::store::{
    BodyChecksum, CompleteUploadRequest, CreateUploadRequest, ListUploadsRequest, PutRequest, UploadId,
    UploadPartRequest, UploadedPart, WriteCondition,
};
use ferry_transfer::{Attributes, Body, Key, SharedStore};

use super::StationError;

/// The size of a part, and of the largest file that goes in one request.
const PART_BYTES: u64 = 16 << 20;
/// Parts of an upload (Amazon S3, "multipart upload limits").
const PARTS_MAX: u64 = 10_000;

/// Puts a file into a bucket.
pub(super) async fn file(
    store: &SharedStore,
    key: &Key,
    path: &Path,
    content_type: &str,
) -> Result<(), StationError> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let size_bytes = file.metadata().map_err(Error::io("measure", path))?.len();
    let part_bytes = PART_BYTES.max(size_bytes.div_ceil(PARTS_MAX));
    let source = Source { file, path, size_bytes, part_bytes };
    let attributes = Attributes { content_type: Some(content_type.to_owned()), ..Attributes::default() };
    let (condition, checksum) = (WriteCondition::None, BodyChecksum::default());
    if size_bytes <= part_bytes {
        let body = source.part(0)?;
        store.put(PutRequest { key: key.clone(), attributes, body, condition, checksum }).await?;
        return Ok(());
    }
    if let Err(error) = drop_earlier(store, key).await {
        tracing::warn!(%key, error = error.chain(), "parts of an earlier upload may stay where they are");
    }
    let upload_id = store.create_upload(CreateUploadRequest { key: key.clone(), attributes }).await?;
    let sent = in_parts(store, key, &upload_id, &source).await;
    let ended = match sent {
        Ok(parts) => {
            let upload_id = upload_id.clone();
            let crc64_nvme = None;
            let request = CompleteUploadRequest {
                key: key.clone(),
                upload_id,
                parts,
                condition,
                size_bytes,
                crc64_nvme,
            };
            store.complete_upload(request).await.map(drop).map_err(StationError::from)
        }
        Err(error) => Err(error),
    };
    if ended.is_err()
        && let Err(error) = store.abort_upload(key, &upload_id).await
    {
        tracing::warn!(%key, error = error.chain(), "the parts of a failed upload stay where they are");
    }
    ended
}

/// Drops what a station that was killed left of this upload: nobody else writes to a name of the job's.
async fn drop_earlier(store: &SharedStore, key: &Key) -> ferry_transfer::Result<()> {
    let request = ListUploadsRequest { prefix: key.as_str().to_owned(), ..ListUploadsRequest::default() };
    let page = store.list_uploads(request).await?;
    for upload in page.uploads.iter().filter(|upload| upload.key == *key) {
        store.abort_upload(key, &upload.upload_id).await?;
    }
    Ok(())
}

async fn in_parts(
    store: &SharedStore,
    key: &Key,
    upload_id: &UploadId,
    source: &Source<'_>,
) -> Result<Vec<UploadedPart>, StationError> {
    let mut parts = Vec::new();
    for part_number in 1..=u32::try_from(source.parts()).unwrap_or(u32::MAX) {
        let body = source.part(u64::from(part_number) - 1)?;
        let (key, upload_id, checksum) = (key.clone(), upload_id.clone(), BodyChecksum::default());
        parts.push(
            store.upload_part(UploadPartRequest { key, upload_id, part_number, body, checksum }).await?,
        );
    }
    Ok(parts)
}

/// The file, by parts.
struct Source<'a> {
    file: File,
    path: &'a Path,
    size_bytes: u64,
    part_bytes: u64,
}

impl Source<'_> {
    fn parts(&self) -> u64 {
        self.size_bytes.div_ceil(self.part_bytes)
    }

    /// A part's bytes; parts count from zero here.
    fn part(&self, number: u64) -> Result<Body, Error> {
        let offset = number * self.part_bytes;
        let length = self.part_bytes.min(self.size_bytes - offset);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, offset).map_err(Error::io("read", self.path))?;
        Ok(Body::Bytes(Bytes::from(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ferry_testkit::MemoryStore;
    use ferry_transfer::store::GetRequest;

    use super::*;

    #[tokio::test]
    async fn a_file_arrives_whole_whatever_its_size() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("log");
        let store: SharedStore = Arc::new(MemoryStore::new("s3", "logs"));
        let key = Key::new("log").expect("key");
        let attributes = Attributes::default();
        store.create_upload(CreateUploadRequest { key: key.clone(), attributes }).await.expect("left behind");
        for size in [0, 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES] {
            let bytes: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).expect("a byte")).collect();
            std::fs::write(&path, &bytes).expect("written");
            file(&store, &key, &path, "text/csv").await.expect("put");
            let get = GetRequest { key: key.clone(), if_match: None, version_id: None, range: None };
            let got = store.get(get).await.expect("there");
            assert_eq!(got.head.attributes.content_type.as_deref(), Some("text/csv"));
            assert!(got.body.collect().await.expect("read") == bytes, "{size} bytes");
        }
        let left = store.list_uploads(ListUploadsRequest::default()).await.expect("listed");
        assert!(left.uploads.is_empty(), "{left:?}");
    }
}
