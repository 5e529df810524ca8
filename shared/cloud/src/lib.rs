//! The AWS side of the engine: S3-compatible stores, SQS, credentials and provider profiles.
//!
//! Everything that knows an AWS SDK type lives here, behind [`ferry_transfer::ObjectStore`] and [`ferry_transfer::Queue`].
//! [`connect`] turns one entry of `stores:` in `ferry.yaml` into an [`S3Account`], which hands out buckets.

mod aws_api;
pub mod credentials;
mod customer_key;
pub mod deployment;
pub mod documents;
pub mod emf;
pub mod exchange;
mod http_client;
pub mod lambda;
mod layers;
pub mod one_store;
pub mod parameters;
pub mod probe;
pub mod profile;
pub mod s3;
pub mod schedules;
pub mod sqs;
pub mod store_config;
pub mod topic;
mod wire;

pub use credentials::{CredentialRef, Credentials};
pub use customer_key::CustomerKeyRef;
pub use profile::Profile;
pub use s3::{S3Account, S3Bucket};
pub use store_config::{StoreConfig, connect, connect_with};
