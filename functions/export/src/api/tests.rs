use std::sync::{Arc, Mutex};
use std::time::Duration as StdDuration;

use async_trait::async_trait;
use ferry_cloud::Credentials;
use ferry_cloud::documents::Buckets;
use ferry_device::job::JobState;
use ferry_testkit::MemoryStore;
use ferry_transfer::state::MemoryState;
use ferry_transfer::task::Location as StoreLocation;
use ferry_transfer::{Clock, Error, ErrorKind, SharedStore, StateStore as _};
use time::Duration;

use super::*;
use crate::auth::{Callers, sign};
use crate::secrets::MemorySecrets;
use crate::service::{Limits, ServiceParts, StationPlace};

const MANIFEST: &str = "manifestVersion:2.0\ndeviceId:49382\nfileSystem:EXT4\nlogBucket:logs\n\
                        trueCryptPassword:hunter2\noperations:\n  - exportBucket:photos\n";

/// A clock that a test sets, and draws that never repeat.
#[derive(Debug)]
struct TestClock(Mutex<(OffsetDateTime, u32)>);

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> OffsetDateTime {
        self.0.lock().expect("clock").0
    }

    async fn sleep(&self, _delay: StdDuration) {}

    fn draw(&self) -> f64 {
        let mut held = self.0.lock().expect("clock");
        held.1 += 1;
        f64::from(held.1 % 1000) / 1000.0
    }
}

#[derive(Debug)]
struct TestBuckets;

#[async_trait]
impl Buckets for TestBuckets {
    async fn bucket(&self, location: &StoreLocation) -> ferry_transfer::Result<SharedStore> {
        match location.bucket.as_str() {
            "photos" | "logs" => Ok(Arc::new(MemoryStore::new(&location.store, &location.bucket))),
            "secret" => Err(Error::new(ErrorKind::PermissionDenied, "no")),
            _ => Err(Error::new(ErrorKind::NotFound, "no such bucket")),
        }
    }
}

struct World {
    service: Service,
    clock: Arc<TestClock>,
    state: Arc<MemoryState>,
}

fn keys(id: &str) -> Credentials {
    Credentials {
        access_key_id: id.to_owned(),
        secret_access_key: format!("{id}-secret"),
        session_token: None,
        expires: None,
    }
}

impl World {
    fn new(limits: Limits) -> Self {
        let clock = Arc::new(TestClock(Mutex::new((OffsetDateTime::UNIX_EPOCH, 0))));
        let state = Arc::new(MemoryState::default());
        let service = Service::new(ServiceParts {
            state: Arc::clone(&state) as _,
            secrets: Arc::new(MemorySecrets::default()),
            buckets: Arc::new(TestBuckets),
            default_store: "s3".into(),
            callers: Callers::from_iter([keys("ANNE"), keys("BOB")]),
            limits,
            shipping_address: vec!["Station".into()],
            station: StationPlace::Elsewhere,
            clock: Arc::clone(&clock) as _,
        });
        Self { service, clock, state }
    }

    fn pass(&self, time: Duration) {
        self.clock.0.lock().expect("clock").0 += time;
    }

    async fn ask_as(&self, caller: &str, parameters: &[(&str, &str)]) -> HttpResponse {
        let mut form = "Version=2010-06-01".to_owned();
        for (name, value) in parameters {
            form.push_str(&format!("&{name}={}", encode(value)));
        }
        let mut request = HttpRequest::post("/", &form);
        request.set_header("host", "localhost");
        sign(&mut request, &keys(caller), self.clock.now());
        handle(&self.service, &request).await
    }

    async fn ask(&self, parameters: &[(&str, &str)]) -> HttpResponse {
        self.ask_as("ANNE", parameters).await
    }

    async fn create(&self, manifest: &str) -> HttpResponse {
        let parameters = [
            ("Action", "CreateJob"),
            ("JobType", "Export"),
            ("ValidateOnly", "false"),
            ("Manifest", manifest),
        ];
        self.ask(&parameters).await
    }

    async fn created(&self) -> String {
        let answer = self.create(MANIFEST).await;
        element(&answer.body, "JobId").unwrap_or_else(|| panic!("{answer:?}"))
    }
}

fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
}

fn code(answer: &HttpResponse) -> String {
    element(&answer.body, "Code").unwrap_or_else(|| panic!("no error: {answer:?}"))
}

#[tokio::test]
async fn a_job_is_created_looked_at_updated_and_called_off() {
    let world = World::new(Limits::default());
    let answer = world.create(MANIFEST).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let id = element(&answer.body, "JobId").expect("id");
    let contents = element(&answer.body, "SignatureFileContents").expect("contents");
    assert!(contents.starts_with("version:2.0\nsigningMethod:HmacSHA1\njobId:") && contents.contains(&id));
    assert!(answer.body.contains(&format!("Station\nJOBID {id}")), "{answer:?}");

    let status = world.ask(&[("Action", "GetStatus"), ("JobId", &id.to_lowercase())]).await;
    for (name, value) in [
        ("JobId", id.as_str()),
        ("LocationCode", "NotReceived"),
        ("ProgressCode", "Pending"),
        ("ProgressMessage", "The specified job has not started."),
        ("CreationDate", "1970-01-01T00:00:00Z"),
        ("SignatureFileContents", &contents),
    ] {
        assert_eq!(element(&status.body, name).as_deref(), Some(value), "{status:?}");
    }
    assert!(!status.body.contains("hunter2") && status.body.contains("********"), "{status:?}");

    let changed = MANIFEST.replace("49382", "50000");
    let update = [
        ("Action", "UpdateJob"),
        ("JobId", &id),
        ("JobType", "Export"),
        ("ValidateOnly", "false"),
        ("Manifest", &changed),
    ];
    assert_eq!(element(&world.ask(&update).await.body, "Success").as_deref(), Some("true"));
    let status = world.ask(&[("Action", "GetStatus"), ("JobId", &id)]).await;
    assert!(status.body.contains("50000") && !status.body.contains(&contents), "{status:?}");

    let label =
        world.ask(&[("Action", "GetShippingLabel"), ("jobIds.member.1", &id), ("name", "Anne")]).await;
    assert!(label.body.contains("<ShippingLabelURL>data:text/plain"), "{label:?}");

    assert_eq!(world.ask(&[("Action", "CancelJob"), ("JobId", &id)]).await.status, 200);
    let status = world.ask(&[("Action", "GetStatus"), ("JobId", &id)]).await;
    assert_eq!(element(&status.body, "ProgressCode").as_deref(), Some("Canceled"));
    for action in [&update[..], &[("Action", "GetShippingLabel"), ("jobIds.member.1", &id)]] {
        assert_eq!(code(&world.ask(action).await), "CanceledJobIdException");
    }
}

#[tokio::test]
async fn no_password_is_in_what_is_stored_of_a_job() {
    let world = World::new(Limits::default());
    let id = world.created().await;
    let stored = world.state.list("").await.expect("names");
    assert_eq!(stored.len(), 2, "{stored:?}");
    for name in stored {
        let blob = world.state.read(&name).await.expect("read").expect("there");
        assert!(!String::from_utf8_lossy(&blob.bytes).contains("hunter2"), "{name}");
    }
    let id: JobId = id.parse().expect("id");
    let job = world.service.jobs().get(&id).await.expect("read").expect("there");
    let password = world.service.password(&job).await.expect("asked").expect("kept");
    assert_eq!(password.reveal(), "hunter2");
    world.ask(&[("Action", "CancelJob"), ("JobId", id.as_str())]).await;
    assert_eq!(world.service.password(&job).await.expect("asked"), None);
}

#[tokio::test]
async fn jobs_are_listed_newest_first_page_by_page() {
    let world = World::new(Limits::default());
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, world.created().await);
        world.pass(Duration::SECOND);
    }
    let page = world.ask(&[("Action", "ListJobs"), ("MaxJobs", "2")]).await;
    let listed = |answer: &HttpResponse| -> Vec<String> {
        answer.body.split("<JobId>").skip(1).map(|rest| rest[..5].to_owned()).collect()
    };
    assert_eq!(listed(&page), ids[..2]);
    assert_eq!(element(&page.body, "IsTruncated").as_deref(), Some("true"));
    let rest = world.ask(&[("Action", "ListJobs"), ("Marker", &ids[1])]).await;
    assert_eq!(listed(&rest), ids[2..]);
    assert_eq!(element(&rest.body, "IsTruncated").as_deref(), Some("false"));
    assert_eq!(listed(&world.ask_as("BOB", &[("Action", "ListJobs")]).await), [""; 0]);
    assert_eq!(
        code(&world.ask_as("BOB", &[("Action", "GetStatus"), ("JobId", &ids[0])]).await),
        "InvalidJobIdException"
    );
    assert_eq!(
        code(&world.ask_as("BOB", &[("Action", "CancelJob"), ("JobId", &ids[0])]).await),
        "InvalidJobIdException"
    );
}

#[tokio::test]
async fn whatever_is_wrong_has_the_originals_code() {
    let world = World::new(Limits::default());
    for (manifest, wanted) in [
        ("{".to_owned(), "MalformedManifestException"),
        (MANIFEST.replace("deviceId:49382\n", ""), "MissingManifestFieldException"),
        (MANIFEST.replace("49382", "[serial]"), "InvalidManifestFieldException"),
        (MANIFEST.replace("EXT4", "FAT32"), "InvalidFileSystemException"),
        (MANIFEST.replace("photos", "nowhere"), "NoSuchBucketException"),
        (MANIFEST.replace("photos", "secret"), "BucketPermissionException"),
        (format!("{MANIFEST}accessKeyId: BOB\n"), "InvalidAccessKeyIdException"),
        (format!("{MANIFEST}customs:\n  deviceValue: dear\n"), "InvalidCustomsException"),
    ] {
        let answer = world.create(&manifest).await;
        assert_eq!((answer.status, code(&answer).as_str()), (400, wanted), "{answer:?}");
        assert!(!answer.body.contains("hunter2"), "{answer:?}");
    }
    for (parameters, wanted) in [
        (vec![("Action", "CreateJob")], "MissingParameterException"),
        (vec![("Action", "CreateJob"), ("JobType", "Import")], "InvalidParameterException"),
        (vec![("Action", "GetStatus"), ("JobId", "nonsense")], "InvalidJobIdException"),
        (vec![("Action", "GetStatus"), ("JobId", "ZZZZZ")], "InvalidJobIdException"),
        (vec![("Action", "ListJobs"), ("MaxJobs", "1001")], "InvalidParameterException"),
        (vec![("Action", "ListJobs"), ("Version", "2099-01-01")], "InvalidVersionException"),
        (vec![("Action", "EatCake")], "InvalidAction"),
    ] {
        let answer = world.ask(&parameters).await;
        assert_eq!((answer.status, code(&answer).as_str()), (400, wanted), "{parameters:?}");
    }
    let answer = world.ask_as("MALLORY", &[("Action", "ListJobs")]).await;
    assert_eq!((answer.status, code(&answer).as_str()), (403, "InvalidClientTokenIdException"));
}

#[tokio::test]
async fn checking_only_leaves_nothing_behind() {
    let world = World::new(Limits::default());
    let parameters =
        [("Action", "CreateJob"), ("JobType", "Export"), ("ValidateOnly", "true"), ("Manifest", MANIFEST)];
    let answer = world.ask(&parameters).await;
    assert_eq!((answer.status, element(&answer.body, "JobId")), (200, None), "{answer:?}");
    assert!(element(&answer.body, "WarningMessage").expect("warning").contains("returnAddress"));
    assert!(world.state.list("").await.expect("names").is_empty());
}

#[tokio::test]
async fn the_fifty_first_job_of_a_day_is_refused() {
    let world = World::new(Limits { jobs_per_day: 3, ..Limits::default() });
    for _ in 0..3 {
        world.created().await;
    }
    assert_eq!(code(&world.create(MANIFEST).await), "CreateJobQuotaExceededException");
    world.pass(Duration::DAY + Duration::SECOND);
    world.created().await;
    assert_eq!(Limits::default().jobs_per_day, 50);
}

#[tokio::test]
async fn a_job_whose_device_never_came_has_expired() {
    let world = World::new(Limits::default());
    let id = world.created().await;
    world.pass(Duration::days(30));
    let status = world.ask(&[("Action", "GetStatus"), ("JobId", &id)]).await;
    assert_eq!(element(&status.body, "ProgressCode").as_deref(), Some("Expired"));
    assert_eq!(code(&world.ask(&[("Action", "CancelJob"), ("JobId", &id)]).await), "ExpiredJobIdException");
}

#[tokio::test]
async fn an_ended_job_cannot_be_called_off_and_a_running_one_takes_no_manifest() {
    let world = World::new(Limits::default());
    let id: JobId = world.created().await.parse().expect("id");
    let step = async |state| {
        let now = world.clock.now();
        let changed = world.service.jobs().change(&id, |job| job.step(state, now)).await.expect("stored");
        changed.expect("there").expect("step");
    };
    step(JobState::Validating).await;
    let update = [
        ("Action", "UpdateJob"),
        ("JobId", id.as_str()),
        ("JobType", "Export"),
        ("ValidateOnly", "false"),
        ("Manifest", MANIFEST),
    ];
    assert_eq!(code(&world.ask(&update).await), "UnableToUpdateJobIdException");
    for state in [JobState::Listing, JobState::Logging, JobState::Complete] {
        step(state).await;
    }
    assert_eq!(
        code(&world.ask(&[("Action", "CancelJob"), ("JobId", id.as_str())]).await),
        "UnableToCancelJobIdException"
    );
    let status = world.ask(&[("Action", "GetStatus"), ("JobId", id.as_str())]).await;
    assert_eq!(element(&status.body, "LogKey"), Some(format!("export-log-{id}")));
    assert_eq!(element(&status.body, "URL"), Some(format!("s3://logs/export-log-{id}")));
    assert_eq!(element(&status.body, "LocationCode").as_deref(), Some("AtAWS"));
    assert_eq!(element(&status.body, "Carrier"), None);
    let released = world.service.release(&Caller::Holder, &id, Validity::CheckAndDo).await;
    released.expect("known").expect("let go");
    let status = world.ask(&[("Action", "GetStatus"), ("JobId", id.as_str())]).await;
    assert_eq!(element(&status.body, "LocationCode").as_deref(), Some("Returned"));
    assert_eq!(element(&status.body, "Carrier").as_deref(), Some("local"));
}
