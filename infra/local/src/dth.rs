//! A Data Transfer Hub task as one of Ferry's.
//!
//! Owns: which setting of `config.yaml`, or which variable of its workers' environment, becomes which field, and what is said of those that
//! have none. Does not own: its queue messages, which the workers understand as they are, nor its secrets, whose format is
//! Ferry's own. Pure. Source: data-transfer-hub-cli 1.4, `config.go`. Invariant: a setting that changes what is copied is taken over or remarked
//! upon, never dropped in silence.

use std::collections::BTreeMap;

use ferry_cloud::{CredentialRef, StoreConfig};
use ferry_transfer::CompareMode;
use ferry_transfer::attribute_rules::{AttributeRules, CannedAcl, WriteEncryption};
use ferry_transfer::key_source::{KeySource, PrefixSet};
use ferry_transfer::task::{Location, StorageClassRule, Task};

use crate::exit::UsageError;

/// Each setting as the file has it, and as the environment has it.
const SETTINGS: [(&str, &str); 32] = [
    ("srcType", "SOURCE_TYPE"),
    ("srcBucket", "SRC_BUCKET"),
    ("srcRegion", "SRC_REGION"),
    ("srcPrefix", "SRC_PREFIX"),
    ("srcPrefixList", "SRC_PREFIX_LIST"),
    ("srcPrefixListBucket", "SRC_PREFIX_LIST_BUCKET"),
    ("srcEndpoint", "SRC_ENDPOINT"),
    ("srcCredential", "SRC_CREDENTIALS"),
    ("srcInCurrentAccount", "SRC_IN_CURRENT_ACCOUNT"),
    ("skipCompare", "SKIP_COMPARE"),
    ("payerRequest", "PAYER_REQUEST"),
    ("destBucket", "DEST_BUCKET"),
    ("destRegion", "DEST_REGION"),
    ("destPrefix", "DEST_PREFIX"),
    ("destCredential", "DEST_CREDENTIALS"),
    ("destInCurrentAccount", "DEST_IN_CURRENT_ACCOUNT"),
    ("destStorageClass", "DEST_STORAGE_CLASS"),
    ("destAcl", "DEST_ACL"),
    ("destSSEType", "DEST_SSE_TYPE"),
    ("destSSEKMSKeyId", "DEST_SSE_KMS_KEY_ID"),
    ("includeMetadata", "INCLUDE_METADATA"),
    // How its own machinery is built and tuned: nothing of a task.
    ("jobTableName", "JOB_TABLE_NAME"),
    ("jobQueueName", "JOB_QUEUE_NAME"),
    ("singlePartTableName", "SINGLE_PART_TABLE_NAME"),
    ("sfnArn", "SFN_ARN"),
    ("chunkSize", "CHUNK_SIZE"),
    ("multipartThreshold", "MULTIPART_THRESHOLD"),
    ("giantFileThreshold", "GIANT_FILE_THRESHOLD"),
    ("maxKeys", "MAX_KEYS"),
    ("messageBatchSize", "MESSAGE_BATCH_SIZE"),
    ("finderDepth", "FINDER_DEPTH"),
    ("finderNumber", "FINDER_NUMBER"),
];

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The task.
    pub task: Task,
    /// The stores it names.
    pub stores: BTreeMap<String, StoreConfig>,
    /// What somebody should know or do.
    pub remarks: Vec<String>,
}

/// Reads settings from either form, by the names of the environment.
pub fn settings(text: &str) -> Result<BTreeMap<String, String>, UsageError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let mut settings = BTreeMap::new();
    match serde_saphyr::from_str_with_options::<BTreeMap<String, serde_json::Value>>(text, options) {
        Ok(fields) => {
            let nested =
                fields.get("options").and_then(serde_json::Value::as_object).cloned().unwrap_or_default();
            let of_task = fields.into_iter().filter(|(name, _)| name != "options");
            for (name, value) in of_task.chain(nested) {
                let value = match value {
                    serde_json::Value::String(text) => text,
                    serde_json::Value::Null => String::new(),
                    other => other.to_string(),
                };
                settings.insert(name, value);
            }
        }
        Err(_no_mapping) => {
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
            {
                let line = line.strip_prefix("export ").unwrap_or(line);
                let (name, value) = line.split_once('=').ok_or_else(|| {
                    UsageError(
                        "this is neither a config.yaml of Data Transfer Hub nor lines of NAME=value"
                            .to_owned(),
                    )
                })?;
                settings.insert(name.trim().to_owned(), value.trim().trim_matches(['"', '\'']).to_owned());
            }
        }
    }
    let by_name = |name: String| {
        let known =
            SETTINGS.iter().find(|(yaml, variable)| yaml.eq_ignore_ascii_case(&name) || *variable == name);
        known.map_or(name, |(_, variable)| (*variable).to_owned())
    };
    Ok(settings.into_iter().map(|(name, value)| (by_name(name), value)).collect())
}

/// Longest task that fits a parameter, where a deployment keeps it (AWS Systems Manager, "Managing parameter tiers": 8 KiB).
const TASK_BYTES_MAX: usize = 8 << 10;

/// Makes a task of settings, and of the text of its list of prefixes.
pub fn import(
    name: &str,
    settings: &BTreeMap<String, String>,
    prefix_list: Option<&str>,
) -> Result<Imported, UsageError> {
    let mut remarks = Vec::new();
    let get = |name: &str| settings.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let is = |name: &str| {
        get(name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("yes"))
    };
    let need = |name: &str| get(name).ok_or_else(|| UsageError(format!("{} is not set", spelled(name))));

    let mut stores = BTreeMap::new();
    let source_store = source_store(&get, is("SRC_IN_CURRENT_ACCOUNT"), is("PAYER_REQUEST"), &mut remarks)?;
    stores.insert("source".to_owned(), source_store);
    let destination_store = StoreConfig {
        provider: Some("aws".to_owned()),
        region: get("DEST_REGION").map(str::to_owned),
        credentials: credentials(get("DEST_CREDENTIALS"), CredentialRef::Ambient, &mut remarks),
        ..StoreConfig::default()
    };
    stores.insert("destination".to_owned(), destination_store);

    // It puts the prefix before the whole key, and a slash between.
    let inserted =
        get("DEST_PREFIX").map(|prefix| format!("{}/", prefix.trim_matches('/'))).unwrap_or_default();
    let keys = keys(&get, prefix_list, &mut remarks)?;
    let prefix = match keys {
        // Its finder lists either the one or the others.
        KeySource::Prefixes(_) => "",
        _ => get("SRC_PREFIX").unwrap_or_default(),
    };
    let end = |store: &str, bucket: &str, prefix: String| Location {
        store: store.to_owned(),
        bucket: bucket.to_owned(),
        prefix,
    };
    let mut task = Task::new(
        name,
        end("source", need("SRC_BUCKET")?, prefix.to_owned()),
        end("destination", need("DEST_BUCKET")?, format!("{inserted}{prefix}")),
    );
    task.keys = keys;
    task.attributes = attributes(&get, &mut remarks)?;
    task.compare = if is("SKIP_COMPARE") { CompareMode::Always } else { CompareMode::Auto };
    if task.compare == CompareMode::Auto {
        remarks.push(
            "compared by ETag, size and time, where Data Transfer Hub compared by size alone".to_owned(),
        );
    }
    if let Some(class) = get("DEST_STORAGE_CLASS") {
        task.storage_class = StorageClassRule::Fixed(class.to_owned());
    }
    if get("INCLUDE_METADATA").is_some() && !is("INCLUDE_METADATA") {
        remarks.push("attributes travel with every object; Data Transfer Hub left them out".to_owned());
    }
    let known = |name: &str| {
        SETTINGS.iter().any(|(_, variable)| *variable == name)
            || name == "WORKER_NUMBER"
            || name == "workerNumber"
    };
    for name in settings.keys().filter(|name| !known(name)) {
        remarks.push(format!("{name} is no setting that is known here, and was left out"));
    }
    let task_bytes = serde_saphyr::to_string(&task).map_or(0, |text| text.len());
    if task_bytes > TASK_BYTES_MAX {
        remarks.push(format!(
            "with its prefixes the task has {task_bytes} bytes, and a deployment's parameter takes {TASK_BYTES_MAX}: divide the list over several \
             tasks, or run it with ferry sync --prefixes-from"
        ));
    }
    Ok(Imported { task, stores, remarks })
}

/// Where the keys come from: a listing, of everything or under the prefixes of a list.
fn keys<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    prefix_list: Option<&str>,
    remarks: &mut Vec<String>,
) -> Result<KeySource, UsageError> {
    let (named, text) = match (get("SRC_PREFIX_LIST"), prefix_list) {
        (None, None) => return Ok(KeySource::Listing),
        (None, Some(_)) => {
            let message = format!("--prefix-list is there, and {} is not set", spelled("SRC_PREFIX_LIST"));
            return Err(UsageError(message));
        }
        (Some(named), text) => (named, text),
    };
    let Some(text) = text else {
        let from = get("SRC_PREFIX_LIST_BUCKET").or_else(|| get("SRC_BUCKET")).unwrap_or_default();
        remarks.push(format!(
            "the prefixes stand in {named} of bucket {from}: fetch it and import again with --prefix-list FILE; as it is, the task lists everything"
        ));
        return Ok(KeySource::Listing);
    };
    // Its own reader stumbles over blank lines and keeps the CR of CRLF; nobody means either.
    let lines = text.lines().filter(|line| !line.is_empty()).map(str::to_owned);
    let prefixes: Vec<String> = lines.collect();
    if prefixes.is_empty() {
        return Err(UsageError(
            "--prefix-list: there is no prefix in it, so nothing would be copied".to_owned(),
        ));
    }
    let count = prefixes.len();
    let prefixes = PrefixSet::from(prefixes);
    let within = count - prefixes.iter().count();
    if within > 0 {
        remarks.push(format!("{within} of {count} prefixes lie within others, which list them already"));
    }
    if let Some(prefix) = get("SRC_PREFIX") {
        remarks.push(format!("the prefix {prefix} counts for nothing beside a list of prefixes, as before"));
    }
    Ok(KeySource::Prefixes(prefixes))
}

fn source_store<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    is_own: bool,
    requester_pays: bool,
    remarks: &mut Vec<String>,
) -> Result<StoreConfig, UsageError> {
    let region = get("SRC_REGION");
    let need_region = || region.ok_or_else(|| UsageError(format!("{} is not set", spelled("SRC_REGION"))));
    let https = |endpoint: &str| {
        if endpoint.contains("://") { endpoint.to_owned() } else { format!("https://{endpoint}") }
    };
    let told = get("SRC_ENDPOINT").map(https);
    let (provider, endpoint) = match get("SOURCE_TYPE").unwrap_or("Amazon_S3") {
        "Amazon_S3" => match told {
            // Its "S3-compatible" is Amazon S3 with an endpoint.
            Some(endpoint) => ("other", Some(endpoint)),
            None => ("aws", None),
        },
        "Aliyun_OSS" => (
            "aliyun-oss",
            Some(told.map_or_else(|| Ok(format!("https://oss-{}.aliyuncs.com", need_region()?)), Ok)?),
        ),
        "Tencent_COS" => (
            "tencent-cos",
            Some(told.map_or_else(|| Ok(format!("https://cos.{}.myqcloud.com", need_region()?)), Ok)?),
        ),
        "Qiniu_Kodo" => (
            "qiniu-kodo",
            Some(told.map_or_else(|| Ok(format!("https://s3-{}.qiniucs.com", need_region()?)), Ok)?),
        ),
        "Google_GCS" => ("gcs", Some(told.unwrap_or_else(|| "https://storage.googleapis.com".to_owned()))),
        other => {
            return Err(UsageError(format!(
                "{} is {other:?}: known are Amazon_S3, Aliyun_OSS, Tencent_COS, Qiniu_Kodo and Google_GCS",
                spelled("SOURCE_TYPE")
            )));
        }
    };
    let nobody = if is_own { CredentialRef::Ambient } else { CredentialRef::Anonymous };
    let store = StoreConfig {
        provider: Some(provider.to_owned()),
        endpoint,
        region: region.map(str::to_owned),
        credentials: credentials(get("SRC_CREDENTIALS"), nobody, remarks),
        requester_pays,
        ..StoreConfig::default()
    };
    store.validate().map_err(|error| UsageError(format!("the source: {}", error.chain())))?;
    Ok(store)
}

fn credentials(secret: Option<&str>, without: CredentialRef, remarks: &mut Vec<String>) -> CredentialRef {
    let Some(secret) = secret else { return without };
    let parameter = format!("/ferry/credentials/{}", secret.trim_start_matches('/'));
    remarks.push(format!(
        "the secret {secret} of Secrets Manager keeps its form; copy it into the SecureString parameter {parameter}"
    ));
    CredentialRef::Ssm(parameter)
}

fn attributes<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    remarks: &mut Vec<String>,
) -> Result<AttributeRules, UsageError> {
    let encryption = match get("DEST_SSE_TYPE").unwrap_or("None") {
        "None" => None,
        "AES256" => Some(WriteEncryption::S3 {}),
        "AWS_KMS" | "aws:kms" => Some(WriteEncryption::Kms {
            key_id: get("DEST_SSE_KMS_KEY_ID").map(str::to_owned),
            context: BTreeMap::new(),
            bucket_key: false,
        }),
        other => {
            return Err(UsageError(format!(
                "{} is {other:?}: known are None, AES256 and AWS_KMS",
                spelled("DEST_SSE_TYPE")
            )));
        }
    };
    let acl = match get("DEST_ACL") {
        None => None,
        Some(acl) => {
            let known: Result<CannedAcl, _> = serde_json::from_value(serde_json::json!(acl));
            Some(known.map_err(|_| {
                UsageError(format!("{} is {acl:?}, which is no canned ACL", spelled("DEST_ACL")))
            })?)
        }
    };
    if acl == Some(CannedAcl::BucketOwnerFullControl) {
        remarks.push(
            "acl: leave it out of the task if the destination bucket has ACLs disabled, as new buckets do"
                .to_owned(),
        );
    }
    Ok(AttributeRules { encryption, acl, ..AttributeRules::default() })
}

/// A setting under both of its names.
fn spelled(variable: &str) -> String {
    let known = SETTINGS.iter().find(|(_, name)| *name == variable);
    known.map_or_else(|| variable.to_owned(), |(yaml, _)| format!("{yaml} ({variable})"))
}

#[cfg(test)]
mod tests {
    use ferry_transfer::job::{Incoming, Message};

    use super::*;

    const YAML: &str = "srcType: Aliyun_OSS\nsrcBucket: photos\nsrcPrefix: raw/\nsrcRegion: cn-hangzhou\n\
        srcCredential: oss-key\ndestBucket: archive\ndestPrefix: hz\ndestRegion: us-west-2\ndestInCurrentAccount: true\n\
        destStorageClass: STANDARD_IA\ndestAcl: bucket-owner-full-control\ndestSSEType: AWS_KMS\ndestSSEKMSKeyId: k-1\n\
        jobTableName: t\noptions:\n  finderDepth: 2\n  workerNumber: 4\n  includeMetadata: true\n";

    const ENVIRONMENT: &str = "SOURCE_TYPE=Aliyun_OSS\nSRC_BUCKET=photos\nexport SRC_PREFIX=\"raw/\"\nSRC_REGION=cn-hangzhou\n\
        SRC_CREDENTIALS=oss-key\nDEST_BUCKET=archive\nDEST_PREFIX=hz\nDEST_REGION=us-west-2\nDEST_IN_CURRENT_ACCOUNT=true\n\
        DEST_STORAGE_CLASS=STANDARD_IA\nDEST_ACL=bucket-owner-full-control\nDEST_SSE_TYPE=AWS_KMS\nDEST_SSE_KMS_KEY_ID=k-1\n\
        FINDER_DEPTH=2\nINCLUDE_METADATA=true\n";

    #[test]
    fn the_file_and_the_environment_become_the_same_task() {
        let [file, environment] = [YAML, ENVIRONMENT]
            .map(|text| import("hz", &settings(text).expect("settings"), None).expect("a task"));
        assert_eq!(file, environment);
        let task = &file.task;
        assert_eq!(task.source.to_string(), "source://photos/raw/");
        assert_eq!(task.destination.to_string(), "destination://archive/hz/raw/");
        assert_eq!(task.storage_class, StorageClassRule::Fixed("STANDARD_IA".into()));
        assert!(
            matches!(&task.attributes.encryption, Some(WriteEncryption::Kms { key_id: Some(key), .. }) if key == "k-1")
        );
        let source = &file.stores["source"];
        assert_eq!(source.endpoint.as_deref(), Some("https://oss-cn-hangzhou.aliyuncs.com"));
        assert_eq!(source.credentials, CredentialRef::Ssm("/ferry/credentials/oss-key".into()));
        assert_eq!(file.stores["destination"].credentials, CredentialRef::Ambient);
        assert!(file.remarks.iter().any(|remark| remark.contains("oss-key")), "{:?}", file.remarks);
        let again: Task = serde_json::from_str(&serde_json::to_string(task).expect("JSON")).expect("a task");
        assert_eq!(again, *task);
    }

    #[test]
    fn every_kind_of_source_makes_a_store() {
        for kind in ["Amazon_S3", "Aliyun_OSS", "Tencent_COS", "Qiniu_Kodo", "Google_GCS"] {
            let text = format!("SOURCE_TYPE={kind}\nSRC_BUCKET=a\nSRC_REGION=r-1\nDEST_BUCKET=b\n");
            let imported = import("t", &settings(&text).expect("settings"), None).expect(kind);
            assert_eq!(imported.stores["source"].credentials, CredentialRef::Anonymous, "{kind}");
        }
        let wrong = import(
            "t",
            &settings("SOURCE_TYPE=Azure\nSRC_BUCKET=a\nDEST_BUCKET=b\n").expect("settings"),
            None,
        );
        assert!(wrong.expect_err("unknown").0.contains("srcType (SOURCE_TYPE)"));
        let missing =
            import("t", &settings("DEST_BUCKET=b\n").expect("settings"), None).expect_err("no source").0;
        assert!(missing.contains("srcBucket"), "{missing}");
    }

    #[test]
    fn what_is_not_known_is_said() {
        let imported = import(
            "t",
            &settings("SRC_BUCKET=a\nDEST_BUCKET=b\nSRC_SKY=blue\nSRC_PREFIX_LIST=list.txt\n")
                .expect("settings"),
            None,
        );
        let remarks = imported.expect("a task").remarks.join("\n");
        assert!(remarks.contains("SRC_SKY") && remarks.contains("list.txt"), "{remarks}");
    }

    #[test]
    fn a_list_of_prefixes_is_taken_over() {
        let told =
            settings("SRC_BUCKET=a\nDEST_BUCKET=b\nDEST_PREFIX=hz\nSRC_PREFIX=raw/\nSRC_PREFIX_LIST=l.txt\n");
        let told = told.expect("settings");
        let list = |text: &str| import("t", &told, Some(text));
        let imported = list("2010/b/\r\n\r\n2010/a \n2010/b/c\n").expect("a task");
        let KeySource::Prefixes(prefixes) = &imported.task.keys else { panic!("{imported:?}") };
        assert_eq!(prefixes.iter().collect::<Vec<_>>(), ["2010/a ", "2010/b/"]);
        let ends = [&imported.task.source, &imported.task.destination].map(ToString::to_string);
        assert_eq!(ends, ["source://a/", "destination://b/hz/"]);
        let remarks = imported.remarks.join("\n");
        assert!(
            remarks.contains("1 of 3") && remarks.contains("raw/") && !remarks.contains("l.txt"),
            "{remarks}"
        );
        let many = (0..1_000).map(|number| format!("{number:08}/")).collect::<Vec<_>>().join("\n");
        let remarks = list(&many).expect("a task").remarks.join("\n");
        assert!(remarks.contains("--prefixes-from"), "{remarks}");
        assert!(list("\n\n").expect_err("nothing").0.contains("no prefix"));
        let unnamed = settings("SRC_BUCKET=a\nDEST_BUCKET=b\n").expect("settings");
        assert!(import("t", &unnamed, Some("x")).expect_err("no list").0.contains("srcPrefixList"));
    }

    /// What its finder, its event rules and its tutorial for OSS put on the queue.
    #[test]
    fn its_queue_messages_are_understood_as_they_are() {
        for body in [
            r#"{"key":"raw/a b.jpg","size":12}"#,
            r#"{"key":"raw/a b.jpg","size":12,"sequencer":"0055AED6DCD90281E5"}"#,
        ] {
            let Ok(Incoming::Message(Message::Object(job))) = Incoming::parse(body) else { panic!("{body}") };
            assert_eq!((job.key.as_str(), job.size), ("raw/a b.jpg", Some(12)));
        }
        let event = r#"{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","eventTime":"2026-01-01T00:00:00Z",
            "s3":{"bucket":{"name":"photos"},"object":{"key":"raw/a+b.jpg","size":12,"sequencer":"0A"}}}]}"#;
        let Ok(Incoming::Notification(notification)) = Incoming::parse(event) else { panic!("{event}") };
        assert_eq!(notification.jobs()[0].key.as_str(), "raw/a b.jpg");
        let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"photos"}"#;
        assert!(matches!(Incoming::parse(test), Ok(Incoming::Notification(none)) if none.jobs().is_empty()));
        // A part of one of its giant objects belongs to an upload that only its own workers know.
        let part =
            r#"{"objectKey":"a","partNumber":1,"totalPartsCount":2,"uploadID":"u","bodyRange":"bytes=0-9"}"#;
        assert!(Incoming::parse(part).is_err());
    }
}
