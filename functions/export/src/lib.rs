//! Export jobs: the Import/Export API of 2010, and the station that writes the disk.
//!
//! [`Service`] holds jobs and answers questions about them; [`handle`] speaks the original's query protocol over it, so that unmodified AWS
//! clients drive it, on Lambda ([`lambda`]), in a server ([`router`]) and in tests alike.

mod api;
mod auth;
mod checking;
mod client;
mod http_server;
mod jobs;
pub mod lambda;
mod secrets;
mod service;
mod settings;
mod split;
mod station;

pub use api::{ApiError, ErrorCode, HttpRequest, HttpResponse, handle};
pub use auth::{Caller, Callers, sign};
pub use client::{Answered, Client};
pub use http_server::router;
pub use jobs::Jobs;
pub use secrets::{DirectorySecrets, MemorySecrets, ParameterSecrets, Secret, Secrets};
pub use service::{Created, Limits, Service, ServiceParts, StationPlace, Updated, Validity};
pub use settings::Settings;
pub use split::{Share, Split};
pub use station::{
    Consent, Finished, Leaving, Progress as StationProgress, ReleaseError, RunOptions, Station, StationError,
};
