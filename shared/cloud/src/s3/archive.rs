//! Archived objects: asking for a restore.
//!
//! Owns: the request and what the three usual answers mean. Sources: AWS, API reference of `RestoreObject`; Alibaba answers the
//! same codes and ignores the number of days.

use aws_sdk_s3::types::{GlacierJobParameters, RestoreRequest as Asked, Tier};
use ferry_transfer::store::{RestoreAnswer, RestoreRequest, RestoreTier};
use ferry_transfer::{ErrorKind, Result};

use super::intercept::{AnswerStatus, Md5InsteadOfCrc32};
use super::{ANSWER_TIMEOUT, Posture, S3Bucket, answered};

impl S3Bucket {
    pub(super) async fn restore_object(&self, request: RestoreRequest) -> Result<RestoreAnswer> {
        let place = self.place("RestoreObject", Some(&request.key));
        let tier = match request.tier {
            RestoreTier::Standard => Tier::Standard,
            RestoreTier::Bulk => Tier::Bulk,
            RestoreTier::Expedited => Tier::Expedited,
        };
        let parameters = GlacierJobParameters::builder().tier(tier).build().map_err(|error| {
            place.error(ErrorKind::InvalidInput, "the restore cannot be asked for").caused_by(error)
        })?;
        let days = request
            .days
            .map(i32::try_from)
            .transpose()
            .map_err(|_| place.error(ErrorKind::InvalidInput, "nothing is restored for so many days"))?;
        let asked = Asked::builder().set_days(days).glacier_job_parameters(parameters).build();
        let status = AnswerStatus::default();
        let mut call = self
            .client()
            .restore_object()
            .bucket(&self.name.bucket)
            .key(request.key.as_str())
            .set_version_id(request.version_id)
            .restore_request(asked)
            .customize()
            .interceptor(status.clone());
        if self.posture() == Posture::Compatible {
            call = call.interceptor(Md5InsteadOfCrc32);
        }
        match answered(&place, ANSWER_TIMEOUT, call.send()).await {
            Ok(_) if status.seen() == Some(200) => Ok(RestoreAnswer::Readable),
            Ok(_) => Ok(RestoreAnswer::Begun),
            Err(error) if error.code() == Some("RestoreAlreadyInProgress") => Ok(RestoreAnswer::InProgress),
            Err(error) => Err(error),
        }
    }
}
