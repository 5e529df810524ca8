//! Whether two buckets are of one store.
//!
//! Owns: the comparison of two configurations, and the one question whose answer decides how copies within a store are made. Does not
//! own: the task's rule, which may forbid them ([`ferry_transfer::server_side`]).

use ferry_transfer::Support;
use ferry_transfer::server_side::Ends;

use crate::s3::S3Bucket;

/// What is known of the two ends of a task. Asks the store one thing, and only where the two are one.
pub async fn ends(source: &S3Bucket, destination: &S3Bucket) -> Ends {
    let capabilities = &destination.account().profile().capabilities;
    if !source.account().is_same_store(destination.account()) || !capabilities.server_copies.may() {
        return Ends::Apart;
    }
    if capabilities.website_redirects.may() && source.serves_website().await != Support::No {
        Ends::OneStoreWithRedirects
    } else {
        Ends::OneStore
    }
}
