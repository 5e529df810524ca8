//! The deployment on Function Compute, as far as it can be judged without an account.
//!
//! Facts of the component's schema: devsapp/fc3, `src/schema.json` and `src/interface/base.ts`.

use std::collections::BTreeMap;

use ferry_transfer::event;
use serde::Deserialize;
use serde_json::json;

use super::*;

/// Every event that a trigger of OSS may name.
const TRIGGER_EVENTS: [&str; 14] = [
    "oss:ObjectCreated:*",
    "oss:ObjectCreated:AppendObject",
    "oss:ObjectCreated:CompleteMultipartUpload",
    "oss:ObjectCreated:CopyObject",
    "oss:ObjectCreated:InitiateMultipartUpload",
    "oss:ObjectCreated:PostObject",
    "oss:ObjectCreated:PutObject",
    "oss:ObjectCreated:PutSymlink",
    "oss:ObjectCreated:UploadPart",
    "oss:ObjectCreated:UploadPartCopy",
    "oss:ObjectModified:UpdateObjectMeta",
    "oss:ObjectRemoved:AbortMultipartUpload",
    "oss:ObjectRemoved:DeleteObject",
    "oss:ObjectRemoved:DeleteObjects",
];

/// What of the schema the document uses, and nothing that the schema does not have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    edition: String,
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "access")]
    _access: String,
    #[serde(rename = "vars")]
    _vars: BTreeMap<String, String>,
    resources: BTreeMap<String, Resource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    component: String,
    props: Props,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Props {
    #[serde(rename = "region")]
    _region: String,
    #[serde(rename = "functionName")]
    _function_name: String,
    #[serde(rename = "description")]
    _description: String,
    runtime: String,
    code: String,
    #[serde(rename = "handler")]
    _handler: String,
    custom_runtime_config: CustomRuntime,
    cpu: f64,
    memory_size: u32,
    disk_size: u32,
    instance_concurrency: u32,
    timeout: u32,
    internet_access: bool,
    #[serde(rename = "logConfig")]
    _log_config: String,
    environment_variables: BTreeMap<String, String>,
    async_invoke_config: AsyncInvoke,
    triggers: Vec<Trigger>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CustomRuntime {
    command: Vec<String>,
    port: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AsyncInvoke {
    max_async_retry_attempts: u32,
    max_async_event_age_in_seconds: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Trigger {
    #[serde(rename = "triggerName")]
    _trigger_name: String,
    #[serde(rename = "triggerType")]
    kind: String,
    qualifier: String,
    invocation_role: String,
    source_arn: String,
    #[serde(rename = "triggerConfig")]
    config: TriggerConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TriggerConfig {
    events: Vec<String>,
    filter: Filter,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    key: FilterKey,
}

/// Both are demanded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilterKey {
    #[serde(rename = "prefix")]
    _prefix: String,
    suffix: String,
}

fn props() -> Props {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/aliyun/s.yaml");
    let text = std::fs::read_to_string(path).expect("the document");
    let document: Document = serde_saphyr::from_str(&text).expect("a document of the schema");
    let (_, resource) = document.resources.into_iter().next().expect("a resource");
    assert_eq!((document.edition.as_str(), resource.component.as_str()), ("3.0.0", "fc3"));
    resource.props
}

#[test]
fn the_function_is_one_that_function_compute_takes() {
    let props = props();
    assert!(
        ["custom", "custom.debian10", "custom.debian11", "custom.debian12"].contains(&props.runtime.as_str())
    );
    assert_eq!((props.code.as_str(), props.internet_access), ("./code", true));
    assert_eq!(props.custom_runtime_config.command, ["/code/bootstrap"]);
    assert_eq!(props.custom_runtime_config.port, 9000, "the port that the program takes unless told");
    // A step of 0.05 vCPU and of 64 MB, and 1 to 4 GB for each vCPU.
    let (cpu, memory_gb) = (props.cpu, f64::from(props.memory_size) / 1024.0);
    assert!((cpu * 20.0).fract() == 0.0 && props.memory_size.is_multiple_of(64));
    assert!((1.0..=4.0).contains(&(memory_gb / cpu)), "{memory_gb} GB at {cpu} vCPU");
    assert!([512, 10_240].contains(&props.disk_size) && (1..=200).contains(&props.instance_concurrency));
    assert!(props.async_invoke_config.max_async_retry_attempts <= 8);
    assert!((1..=2_592_000).contains(&props.async_invoke_config.max_async_event_age_in_seconds));
    let send_secs: u32 = props.environment_variables["FERRY_SEND_SECS"].parse().expect("seconds");
    assert!(send_secs < props.timeout, "a failure would be cut off before it is reported");
}

#[tokio::test]
async fn the_program_takes_the_variables_as_they_are_named() {
    let harbour = Harbour::start().await;
    let mut program = Program::new(EVENTS, harbour.home.path());
    for (name, value) in props().environment_variables {
        // What the deployment's own environment is to hold.
        let value = match name.as_str() {
            "QUEUE_URL" => harbour.sqs.queue_url("jobs"),
            "REGION_NAME" => "us-east-1".to_owned(),
            "ACCESS_KEY" | "SECRET_KEY" | "FERRY_TASK_NAME" => "x".to_owned(),
            "FERRY_DELETES" => "yes".to_owned(),
            _ => value,
        };
        program = program.env(&name, &value);
    }
    let listener = Listener::on_function_compute(program).await;
    assert_eq!(listener.post("/invoke", &[], &sample("oss-fc-delete-object.json")).await.status, 200);
    assert_eq!(harbour.jobs().await[0].task.as_deref(), Some("x"));
}

#[test]
fn the_trigger_names_events_that_both_sides_know_and_each_of_them_is_about_an_object() {
    let triggers = props().triggers;
    let [trigger] = triggers.as_slice() else { panic!("{} triggers", triggers.len()) };
    assert_eq!((trigger.kind.as_str(), trigger.qualifier.as_str()), ("oss", "LATEST"));
    assert!(trigger.invocation_role.starts_with("acs:ram::") && trigger.source_arn.starts_with("acs:oss:"));
    assert_eq!(trigger.config.filter.key.suffix, "");
    let wanted = &trigger.config.events;
    for name in wanted {
        assert!(TRIGGER_EVENTS.contains(&name.as_str()), "{name} is none that a trigger takes");
    }
    let is_of_object = |name: &str| {
        let name = name.trim_start_matches("oss:");
        let record = json!({ "events": [{ "eventName": name, "eventSource": "acs:oss",
            "oss": { "bucket": { "name": "b" }, "object": { "key": "k" } } }] });
        event::parse(&record.to_string()).expect("read").events.len() == 1
    };
    // All of them, and none of parts and beginnings.
    for name in TRIGGER_EVENTS.into_iter().filter(|name| !name.ends_with('*')) {
        assert_eq!(is_of_object(name), wanted.iter().any(|wanted| wanted == name), "{name}");
    }
}
