//! The operations that `s3s` dispatches, each handed on to the file that owns it.

use std::sync::Arc;

use ferry_transfer::store::{RestoreAnswer, Versioning};
use http::HeaderMap;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket as BucketEntry, BucketLocationConstraint,
    BucketVersioningStatus, CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CopyObjectInput,
    CopyObjectOutput, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectTaggingInput,
    DeleteObjectTaggingOutput, DeleteObjectsInput, DeleteObjectsOutput, GetBucketLocationInput,
    GetBucketLocationOutput, GetBucketNotificationConfigurationInput,
    GetBucketNotificationConfigurationOutput, GetBucketVersioningInput, GetBucketVersioningOutput,
    GetBucketWebsiteInput, GetBucketWebsiteOutput, GetObjectInput, GetObjectOutput, GetObjectTaggingInput,
    GetObjectTaggingOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    IndexDocument, ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput,
    ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput,
    PutBucketNotificationConfigurationInput, PutBucketNotificationConfigurationOutput, PutObjectInput,
    PutObjectOutput, PutObjectTaggingInput, PutObjectTaggingOutput, RestoreObjectInput, RestoreObjectOutput,
    Tag, Timestamp, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::buckets::Buckets;
use super::refused::refused;
use super::uploads::{checksum_headers, told_key};
use crate::bucket::{Bucket, Refusal, Website};

/// Marks an answer whose status is 202, which `s3s` knows no way to say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted;

/// What the operations work on.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    buckets: Arc<Buckets>,
    region: String,
}

impl Backend {
    pub(super) fn new(buckets: Arc<Buckets>, region: String) -> Self {
        Self { buckets, region }
    }

    pub(super) fn bucket(&self, name: &str) -> S3Result<Arc<Bucket>> {
        self.buckets.get(name).ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }
}

type Answer<T> = S3Result<S3Response<T>>;

/// An answer that is all headers.
fn described_by<T: Default>(headers: HeaderMap) -> S3Response<T> {
    S3Response::with_headers(T::default(), headers)
}

#[async_trait::async_trait]
impl S3 for Backend {
    async fn list_buckets(&self, _request: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
        let entry = |name| BucketEntry {
            bucket_region: Some(self.region.clone()),
            creation_date: Some(Timestamp::from(self.buckets.started())),
            name: Some(name),
        };
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(self.buckets.names().into_iter().map(entry).collect()),
            ..ListBucketsOutput::default()
        }))
    }

    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
        let name = request.input.bucket;
        if self.buckets.get(&name).is_some() {
            return Err(s3_error!(
                BucketAlreadyOwnedByYou,
                "Your previous request to create the named bucket succeeded and you already own it."
            ));
        }
        self.buckets.create(&name);
        Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{name}")) }))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.bucket(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region: Some(self.region.clone()),
            ..HeadBucketOutput::default()
        }))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> Answer<GetBucketLocationOutput> {
        self.bucket(&request.input.bucket)?;
        // S3's oldest region has no name here.
        let region = Some(self.region.clone()).filter(|region| region != "us-east-1");
        Ok(S3Response::new(GetBucketLocationOutput {
            location_constraint: region.map(BucketLocationConstraint::from),
        }))
    }

    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> Answer<GetBucketVersioningOutput> {
        let status = match self.bucket(&request.input.bucket)?.settings().versioning {
            Versioning::Never => None,
            Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
            Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
        };
        Ok(S3Response::new(GetBucketVersioningOutput {
            status: status.map(BucketVersioningStatus::from_static),
            ..GetBucketVersioningOutput::default()
        }))
    }

    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> Answer<ListObjectVersionsOutput> {
        let mut answer = S3Response::new(ListObjectVersionsOutput::default());
        answer.extensions.insert(self.list_versions(&request.input)?);
        Ok(answer)
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> Answer<ListObjectsOutput> {
        Ok(S3Response::new(self.list_v1(request.input)?))
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> Answer<ListObjectsV2Output> {
        Ok(S3Response::new(self.list_v2(request.input)?))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        self.get(&request)
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        self.head(&request)
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        let PutObjectInput { bucket, key, body, .. } = request.input;
        let trailers = request.trailing_headers.as_ref();
        Ok(described_by(self.put(&bucket, &key, &request.headers, body, trailers).await?))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        Ok(S3Response::new(self.delete(&request.input, &request.headers)?))
    }

    async fn delete_objects(&self, request: S3Request<DeleteObjectsInput>) -> Answer<DeleteObjectsOutput> {
        Ok(S3Response::new(self.delete_many(&request.input)?))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        Ok(S3Response::new(self.copy(&request)?))
    }

    async fn get_bucket_notification_configuration(
        &self,
        request: S3Request<GetBucketNotificationConfigurationInput>,
    ) -> Answer<GetBucketNotificationConfigurationOutput> {
        self.bucket(&request.input.bucket)?;
        let kept = self.buckets.notifications(&request.input.bucket).unwrap_or_default();
        Ok(S3Response::new(GetBucketNotificationConfigurationOutput {
            event_bridge_configuration: kept.event_bridge_configuration,
            lambda_function_configurations: kept.lambda_function_configurations,
            queue_configurations: kept.queue_configurations,
            topic_configurations: kept.topic_configurations,
        }))
    }

    async fn put_bucket_notification_configuration(
        &self,
        request: S3Request<PutBucketNotificationConfigurationInput>,
    ) -> Answer<PutBucketNotificationConfigurationOutput> {
        self.bucket(&request.input.bucket)?;
        self.buckets.set_notifications(&request.input.bucket, request.input.notification_configuration);
        Ok(S3Response::new(PutBucketNotificationConfigurationOutput {}))
    }

    async fn get_bucket_website(
        &self,
        request: S3Request<GetBucketWebsiteInput>,
    ) -> Answer<GetBucketWebsiteOutput> {
        match self.bucket(&request.input.bucket)?.settings().website {
            Website::Served => Ok(S3Response::new(GetBucketWebsiteOutput {
                index_document: Some(IndexDocument { suffix: "index.html".to_owned() }),
                ..GetBucketWebsiteOutput::default()
            })),
            Website::None => Err(refused(Refusal::NoSuchWebsite)),
        }
    }

    async fn restore_object(&self, request: S3Request<RestoreObjectInput>) -> Answer<RestoreObjectOutput> {
        let input = request.input;
        // Amazon keeps a copy for one day where a request does not say.
        let days = input.restore_request.and_then(|asked| asked.days).unwrap_or(1);
        let days = u32::try_from(days).map_err(|_| refused(Refusal::InvalidArgument("days are from 1")))?;
        let mut answer = S3Response::new(RestoreObjectOutput::default());
        match self.bucket(&input.bucket)?.request_restore(&input.key, days).map_err(refused)? {
            RestoreAnswer::Begun => drop(answer.extensions.insert(Accepted)),
            RestoreAnswer::Readable => {}
            RestoreAnswer::InProgress => return Err(refused(Refusal::RestoreInProgress)),
        }
        Ok(answer)
    }

    async fn get_object_tagging(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> Answer<GetObjectTaggingOutput> {
        let object = self
            .bucket(&request.input.bucket)?
            .version(&request.input.key, request.input.version_id.as_deref())
            .map_err(refused)?;
        let tag =
            |(key, value): &(String, String)| Tag { key: Some(key.clone()), value: Some(value.clone()) };
        Ok(S3Response::new(GetObjectTaggingOutput {
            tag_set: object.attributes.tags.iter().map(tag).collect(),
            version_id: object.version_id.clone(),
        }))
    }

    async fn put_object_tagging(
        &self,
        request: S3Request<PutObjectTaggingInput>,
    ) -> Answer<PutObjectTaggingOutput> {
        let input = request.input;
        let pair = |tag: Tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        let tags = input.tagging.tag_set.into_iter().map(pair).collect();
        self.bucket(&input.bucket)?
            .set_version_tags(&input.key, input.version_id.as_deref(), tags)
            .map_err(refused)?;
        Ok(S3Response::new(PutObjectTaggingOutput::default()))
    }

    async fn delete_object_tagging(
        &self,
        request: S3Request<DeleteObjectTaggingInput>,
    ) -> Answer<DeleteObjectTaggingOutput> {
        self.bucket(&request.input.bucket)?.set_tags(&request.input.key, Vec::new()).map_err(refused)?;
        Ok(S3Response::new(DeleteObjectTaggingOutput::default()))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        let input = request.input;
        let upload_id = self.create_upload(&input.bucket, &input.key, &request.headers)?;
        let output = CreateMultipartUploadOutput {
            key: told_key(&input.key),
            bucket: Some(input.bucket),
            upload_id: Some(upload_id),
            ..CreateMultipartUploadOutput::default()
        };
        Ok(S3Response::with_headers(output, checksum_headers(&request.headers)))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        Ok(described_by(self.take_part(request).await?))
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> Answer<UploadPartCopyOutput> {
        Ok(S3Response::new(self.copy_part(&request)?))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        Ok(S3Response::new(self.complete(&request)?))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        self.bucket(&request.input.bucket)?
            .abort_upload(&request.input.key, &request.input.upload_id)
            .map_err(refused)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        Ok(S3Response::new(Backend::list_parts(self, request.input)?))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        Ok(S3Response::new(self.list_uploads(request.input)?))
    }
}
