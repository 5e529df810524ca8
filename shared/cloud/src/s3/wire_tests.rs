//! What goes over the wire, byte for byte, and what is made of odd answers: against a server that records requests and answers
//! what each test says.

mod access;
mod account;
mod copies;
mod listings;
mod reads;
mod server;
mod writes;

use ferry_transfer::Key;

use self::server::Server;
use super::S3Bucket;
use crate::credentials::CredentialRef;
use crate::store_config::{StoreConfig, connect};

/// A bucket of a store at `server`, described by YAML lines besides the endpoint.
async fn bucket(server: &Server, yaml: &str) -> S3Bucket {
    let mut config: StoreConfig =
        serde_saphyr::from_str(&format!("region: r1\n{yaml}")).expect("configuration");
    config.endpoint = Some(server.url());
    config.credentials = CredentialRef::Command("echo AKID SECRET".into());
    connect("lab", &config).await.expect("account").bucket("b")
}

async fn compatible(server: &Server) -> S3Bucket {
    bucket(server, "provider: other").await
}

async fn aws(server: &Server) -> S3Bucket {
    bucket(server, "provider: aws\naddressing: path").await
}

fn key(key: &str) -> Key {
    Key::new(key).expect("key")
}
