//! Two stores on loopback with keys of their own, and a `ferry.yaml` that names them.
//!
//! Owns: the servers, the directory the program runs in, and comparing both buckets from behind. The source is `harbour://docks`, the
//! destination `island://beach`: different names, so that a mix-up of sides cannot pass.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferry_testkit::bucket::{Bucket, BucketSettings, StoredObject};
use ferry_testkit::faults::{Action, Rule};
use ferry_testkit::operation::Operation;
use ferry_testkit::quirks::{Make, QuirkProxy};
use ferry_testkit::s3::{S3Server, S3ServerConfig};
use ferry_transfer::Attributes;
use tempfile::TempDir;

use crate::Program;

/// One of the two stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `harbour://docks`.
    Source,
    /// `island://beach`.
    Destination,
}

/// How one store of a pair is set up.
#[derive(Debug, Clone, Default)]
pub struct StoreSetup {
    /// The rules of its bucket.
    pub settings: BucketSettings,
    /// Lines of its entry in `ferry.yaml` beside the endpoint and the credentials.
    pub yaml: &'static [&'static str],
    /// The make that a proxy in front of it plays.
    pub make: Option<Make>,
}

/// Smallest part of a store that [`StoreSetup::with_small_parts`] sets up.
pub const SMALL_PART_BYTES: u64 = 1024;

impl StoreSetup {
    /// A store that takes parts of [`SMALL_PART_BYTES`] and more, and whose entry in `ferry.yaml` says so: large objects in
    /// miniature.
    pub fn with_small_parts() -> Self {
        Self {
            settings: BucketSettings { part_bytes_min: SMALL_PART_BYTES, ..BucketSettings::default() },
            yaml: &["profile: {capabilities: {part_bytes_min: 1024}}"],
            make: None,
        }
    }

    /// A store of this make: a server that follows its rules behind a proxy that plays it, and an entry in `ferry.yaml` that names
    /// the make. All but R2, whose parts are its oddity, take parts of Alibaba's smallest size, to keep objects small.
    pub fn of(make: Make) -> Self {
        let yaml: &[&str] = match make {
            Make::AliyunOss => &["provider: aliyun-oss"],
            Make::AliyunOssSince2025 => {
                &["provider: aliyun-oss", "addressing: bucket-host", "region: cn-hangzhou"]
            }
            Make::CloudflareR2 => &["provider: r2"],
            Make::GoogleStorage => &["provider: gcs", "profile: {capabilities: {part_bytes_min: 102400}}"],
            Make::BackblazeB2 => {
                &["provider: b2", "region: us-west-004", "profile: {capabilities: {part_bytes_min: 102400}}"]
            }
            Make::Ceph => &["provider: ceph", "profile: {capabilities: {part_bytes_min: 102400}}"],
        };
        let mut settings = make.settings();
        if make != Make::CloudflareR2 {
            settings.part_bytes_min = 102_400;
        }
        Self { settings, yaml, make: Some(make) }
    }
}

impl Side {
    /// The store's name in `ferry.yaml`.
    pub fn store(self) -> &'static str {
        match self {
            Self::Source => "harbour",
            Self::Destination => "island",
        }
    }

    /// The bucket's name.
    pub fn bucket(self) -> &'static str {
        match self {
            Self::Source => "docks",
            Self::Destination => "beach",
        }
    }

    /// The prefix of the variables that hold its keys.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Source => "HARBOUR",
            Self::Destination => "ISLAND",
        }
    }

    /// `NAME://BUCKET`, and under it a prefix where one is given.
    pub fn location(self, prefix: &str) -> String {
        format!("{}://{}/{prefix}", self.store(), self.bucket())
    }
}

/// Two running stores, and a place to run programs in. Everything goes when it is dropped.
#[derive(Debug)]
pub struct Pair {
    /// The source's server.
    pub source: S3Server,
    /// The destination's server.
    pub destination: S3Server,
    /// What plays another make in front of the source.
    pub source_proxy: Option<QuirkProxy>,
    /// What plays another make in front of the destination.
    pub destination_proxy: Option<QuirkProxy>,
    home: TempDir,
}

impl Pair {
    /// Two empty stores of which `ferry.yaml` says no more than it must.
    pub async fn start() -> Self {
        Self::with(StoreSetup::default(), StoreSetup::default()).await
    }

    /// Two empty stores.
    pub async fn with(source: StoreSetup, destination: StoreSetup) -> Self {
        let mut yaml = "stores:\n".to_owned();
        let (mut servers, mut proxies) = (Vec::new(), Vec::new());
        for (side, setup) in [(Side::Source, source), (Side::Destination, destination)] {
            let server = S3Server::start(S3ServerConfig {
                access_key_id: format!("{}-key-id", side.store()),
                secret_access_key: format!("{}-secret-key", side.store()),
                settings: setup.settings,
                hosts: setup.make.map(|make| make.hosts(side.bucket())).unwrap_or_default(),
                requests_kept: 10_000,
                ..S3ServerConfig::with_buckets([side.bucket()])
            })
            .await
            .expect("server");
            let proxy = match setup.make {
                Some(make) => Some(QuirkProxy::start(make, &server).await.expect("proxy")),
                None => None,
            };
            let endpoint = match (&proxy, setup.make) {
                (Some(_), Some(make)) if make.wants_its_hosts() => make.endpoint().to_owned(),
                (Some(proxy), _) => proxy.url(),
                (None, _) => server.endpoint(),
            };
            yaml.push_str(&format!(
                "  {}:\n    endpoint: {endpoint}\n    credentials: env:{}\n",
                side.store(),
                side.prefix()
            ));
            for line in setup.yaml {
                yaml.push_str(&format!("    {line}\n"));
            }
            servers.push(server);
            proxies.push(proxy);
        }
        let (Some(destination), Some(source)) = (servers.pop(), servers.pop()) else {
            unreachable!("two servers were started")
        };
        let (Some(destination_proxy), Some(source_proxy)) = (proxies.pop(), proxies.pop()) else {
            unreachable!("two servers were started")
        };
        let home = tempfile::tempdir().expect("directory");
        std::fs::write(home.path().join("ferry.yaml"), yaml).expect("ferry.yaml");
        Self { source, destination, source_proxy, destination_proxy, home }
    }

    /// One of the two servers.
    pub fn server(&self, side: Side) -> &S3Server {
        match side {
            Side::Source => &self.source,
            Side::Destination => &self.destination,
        }
    }

    /// The bucket objects come from.
    pub fn from(&self) -> Arc<Bucket> {
        self.source.bucket(Side::Source.bucket())
    }

    /// The bucket they go to.
    pub fn to(&self) -> Arc<Bucket> {
        self.destination.bucket(Side::Destination.bucket())
    }

    /// Where programs run: `ferry.yaml` is here.
    pub fn directory(&self) -> &Path {
        self.home.path()
    }

    /// A binary that runs here and may use both stores.
    pub fn program(&self, path: &str) -> Program {
        let mut program = Program::new(path, self.directory());
        for proxy in [&self.source_proxy, &self.destination_proxy].into_iter().flatten() {
            if proxy.make().wants_its_hosts() {
                program = program.env("HTTP_PROXY", &proxy.url()).env("NO_PROXY", "127.0.0.1");
            }
        }
        [Side::Source, Side::Destination].into_iter().fold(program, |program, side| {
            let server = self.server(side);
            program.credentials(side.prefix(), server.access_key_id(), server.secret_access_key())
        })
    }

    /// Forgets the requests both servers have seen.
    pub fn reset_logs(&self) {
        self.source.log().reset();
        self.destination.log().reset();
    }

    /// Fails the requests of an operation from the `nth` on, so many in a row.
    pub fn fail_from(&self, side: Side, operation: Operation, nth: u64, count: usize, action: &Action) {
        // A request that met one rule is not counted by those behind it, so each rule takes the next one.
        for _ in 0..count {
            self.server(side).faults().add(Rule::on(operation, action.clone()).nth(nth));
        }
    }

    /// Insists that the destination holds what the source holds, byte for byte and with every attribute, and no more.
    pub fn assert_same(&self) {
        self.assert_same_under("", "");
    }

    /// The same for what lies under a prefix of each side.
    pub fn assert_same_under(&self, source_prefix: &str, destination_prefix: &str) {
        let (from, to) = (self.from(), self.to());
        let under = |bucket: &Bucket, prefix: &str| -> Vec<String> {
            bucket.keys().iter().filter_map(|key| key.strip_prefix(prefix).map(str::to_owned)).collect()
        };
        let keys = under(&from, source_prefix);
        assert_eq!(keys, under(&to, destination_prefix), "the two sides hold other keys");
        for key in keys {
            let (original, copy) =
                (from.get(&format!("{source_prefix}{key}")), to.get(&format!("{destination_prefix}{key}")));
            let (original, copy) = (original.expect("original"), copy.expect("copy"));
            assert_same_object(&key, &original, &copy);
        }
        assert!(to.open_uploads().is_empty(), "uploads were left open: {:?}", to.open_uploads());
    }
}

/// Insists that a copy is one.
pub fn assert_same_object(key: &str, original: &StoredObject, copy: &StoredObject) {
    assert!(original.payload.to_bytes() == copy.payload.to_bytes(), "{key:?} has other bytes");
    assert_eq!(shown_attributes(original), shown_attributes(copy), "{key:?} has other attributes");
}

/// The attributes as a reader sees them: S3 makes up a type for an object that was written without one, and shows user metadata
/// beyond ASCII as an encoded word (RFC 2047). Tags are a set.
fn shown_attributes(object: &StoredObject) -> Attributes {
    let mut attributes = object.attributes.clone();
    attributes.tags.sort();
    attributes.content_type.get_or_insert_with(|| "binary/octet-stream".to_owned());
    for value in attributes.user_metadata.values_mut().filter(|value| !value.is_ascii()) {
        *value = format!("=?UTF-8?B?{}?=", STANDARD.encode(value.as_bytes()));
    }
    attributes
}
