//! Writing: conditions, checksums, attributes, copies and deletes.

use bytes::Bytes;
use ferry_transfer::attribute_rules::ObjectLock;
use ferry_transfer::checksum::{DigestSet, digest};
use ferry_transfer::store::{
    BodyChecksum, CarriedAttributes, CopyObjectRequest, CopySource, DeleteRequest, WriteCondition,
};
use ferry_transfer::{Attributes, Body, ETag, Error, ErrorKind, StorageClass, Support};

use super::Flow;
use crate::probe::finding::{Outcome, says_nothing, why};
use crate::probe::trial::{Details, Trial};
use crate::profile::Posture;

/// What the small objects of these steps hold.
const BODY: &[u8] = b"ferry was here\n";
/// Sizes of user metadata that stores draw their limit at.
const METADATA_BYTES: [u32; 3] = [2048, 7000, 8192];
/// Most classes that are tried: each costs three requests, and some a month of storage.
const CLASSES_MAX: usize = 9;

fn body() -> Body {
    Body::Bytes(Bytes::from_static(BODY))
}

fn with_attributes(attributes: Attributes) -> Details {
    Details { attributes, ..Details::default() }
}

fn if_absent(condition: WriteCondition) -> Details {
    Details { condition, ..Details::default() }
}

pub(super) async fn conditions(trial: &Trial) -> Flow {
    const FIELD: &str = "capabilities.conditional_writes";
    let store = trial.store();
    let name = "conditions";
    let tell = |does, detail: String| trial.tell_support("write if", does, detail, FIELD);
    let first = match trial.put(&store, name, body(), if_absent(WriteCondition::Absent)).await {
        Ok(first) => first,
        Err(error) if says_nothing(&error) => {
            trial.tell("write if", Outcome::Untried, error.chain());
            return Flow::Continue;
        }
        Err(error) => {
            tell(false, format!("If-None-Match: * on a new key: {}", why(&error)));
            return Flow::Continue;
        }
    };
    match trial.put(&store, name, body(), if_absent(WriteCondition::Absent)).await {
        Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
        Err(error) => {
            tell(false, format!("If-None-Match: * on a key that is there: {}", why(&error)));
            return Flow::Continue;
        }
        Ok(_) => {
            tell(false, "If-None-Match: * is ignored".to_owned());
            return Flow::Continue;
        }
    }
    let wrong = WriteCondition::Matches(ETag::from_md5([7; 16]));
    if trial.put(&store, name, body(), if_absent(wrong)).await.is_ok() {
        tell(false, "If-Match is ignored".to_owned());
        return Flow::Continue;
    }
    let Some(etag) = first.etag else {
        tell(false, "writes answer no ETag to match".to_owned());
        return Flow::Continue;
    };
    match trial.put(&store, name, body(), if_absent(WriteCondition::Matches(etag))).await {
        Ok(_) => tell(true, "If-None-Match: * and If-Match guard writes".to_owned()),
        Err(error) => tell(false, format!("If-Match with the right ETag: {}", why(&error))),
    }
    Flow::Continue
}

pub(super) async fn conditional_delete(trial: &Trial) -> Flow {
    const FIELD: &str = "capabilities.conditional_deletes";
    let store = trial.store();
    if let Err(error) = trial.put(&store, "delete-if", body(), Details::default()).await {
        trial.tell("delete if", Outcome::Untried, error.chain());
        return Flow::Continue;
    }
    let Ok(key) = trial.key("delete-if") else { return Flow::Continue };
    let request = DeleteRequest { if_match: Some(ETag::from_md5([7; 16])), ..DeleteRequest::of(&key) };
    match trial.delete(&store, request).await {
        Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
            trial.tell_support("delete if", true, "If-Match guards deletes", FIELD);
        }
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            trial.tell_support("delete if", false, format!("If-Match: {}", why(&error)), FIELD);
        }
        Err(error) => trial.tell("delete if", Outcome::Untried, error.chain()),
        Ok(()) => trial.tell_support("delete if", false, "If-Match is ignored", FIELD),
    }
    Flow::Continue
}

fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::InvalidInput)
}

pub(super) async fn checksums(trial: &Trial) -> Flow {
    content_md5(trial).await;
    crc64_nvme(trial).await;
    trailer(trial).await;
    Flow::Continue
}

async fn content_md5(trial: &Trial) {
    const FIELD: &str = "capabilities.content_md5";
    let store = trial.under(|profile| {
        profile.posture = Posture::Compatible;
        profile.capabilities.content_md5 = Support::Yes;
        profile.capabilities.crc64_nvme = Support::No;
    });
    let wrong = BodyChecksum { md5: Some([7; 16]), crc64_nvme: None };
    match trial.put(&store, "md5", body(), Details { checksum: wrong, ..Details::default() }).await {
        Err(error) if is_refusal(&error) => {
            trial.tell_support("Content-MD5", true, "a wrong one is refused", FIELD);
        }
        Err(error) => trial.tell("Content-MD5", Outcome::Untried, error.chain()),
        Ok(_) => trial.tell_support("Content-MD5", false, "a wrong one is overlooked", FIELD),
    }
}

async fn crc64_nvme(trial: &Trial) {
    const FIELD: &str = "capabilities.crc64_nvme";
    let store = trial.under(|profile| {
        profile.posture = Posture::Compatible;
        profile.capabilities.crc64_nvme = Support::Yes;
    });
    let right = digest(BODY, DigestSet::default()).crc64_nvme;
    let put = async |crc| {
        let checksum = BodyChecksum { crc64_nvme: Some(crc), md5: None };
        trial.put(&store, "crc64", body(), Details { checksum, ..Details::default() }).await
    };
    match put(right).await {
        Err(error) if says_nothing(&error) => {
            trial.tell("CRC64NVME", Outcome::Untried, error.chain());
            return;
        }
        Err(error) => {
            trial.tell_support("CRC64NVME", false, format!("refused: {}", why(&error)), FIELD);
            return;
        }
        Ok(_) => {}
    }
    match put(right ^ 1).await {
        Err(error) if is_refusal(&error) => {
            trial.tell_support("CRC64NVME", true, "a wrong one is refused", FIELD);
        }
        Err(error) => trial.tell("CRC64NVME", Outcome::Untried, error.chain()),
        Ok(_) => trial.tell_support("CRC64NVME", false, "a wrong one is overlooked", FIELD),
    }
}

/// A checksum behind a streamed body, as Amazon's newest clients send it.
async fn trailer(trial: &Trial) {
    let store = trial.under(|profile| profile.posture = Posture::Aws);
    let stream = futures::stream::iter([Ok(Bytes::from_static(BODY))]);
    let streamed = Body::stream(BODY.len() as u64, stream);
    match (trial.put(&store, "trailer", streamed, Details::default()).await, trial.profile().posture) {
        (Ok(_), _) => trial.tell("trailers", Outcome::Yes, "a checksum behind the body is taken"),
        (Err(error), _) if says_nothing(&error) => trial.tell("trailers", Outcome::Untried, error.chain()),
        (Err(error), Posture::Compatible) => trial.tell("trailers", Outcome::No, why(&error)),
        (Err(error), Posture::Aws) => {
            trial.tell_fact("trailers", Outcome::Broken, why(&error), "posture", "compatible");
        }
    }
}

pub(super) async fn tags(trial: &Trial) -> Flow {
    const FIELD: &str = "capabilities.tags";
    let store = trial.store();
    let tags = vec![("team".to_owned(), "harbour & island".to_owned())];
    let attributes = Attributes { tags: tags.clone(), ..Attributes::default() };
    let Ok(key) = trial.key("tags") else { return Flow::Continue };
    if let Err(error) = trial.put(&store, "tags", body(), with_attributes(attributes)).await {
        if says_nothing(&error) || error.kind() == ErrorKind::PermissionDenied {
            trial.tell("tags", Outcome::Untried, error.chain());
        } else {
            trial.tell_support("tags", false, format!("refused: {}", why(&error)), FIELD);
        }
        return Flow::Continue;
    }
    match store.get_tags(&key, None).await {
        Ok(held) if held == tags => trial.tell_support("tags", true, "written and read back", FIELD),
        Ok(_) => trial.tell_support("tags", false, "accepted and lost", FIELD),
        Err(error) if says_nothing(&error) || error.kind() == ErrorKind::PermissionDenied => {
            trial.tell("tags", Outcome::Untried, error.chain());
        }
        Err(error) => trial.tell_support("tags", false, format!("not read back: {}", why(&error)), FIELD),
    }
    Flow::Continue
}

pub(super) async fn metadata(trial: &Trial) -> Flow {
    for (check, name, value, field) in [
        ("metadata names", "with_underscore", "v", "capabilities.user_metadata_underscores"),
        ("metadata values", "beyond-ascii", "Łukasz 漢字", "capabilities.user_metadata_unicode"),
    ] {
        match kept(trial, name, value).await {
            Ok(true) => trial.tell_support(check, true, format!("`{name}` comes back as it was"), field),
            Ok(false) => trial.tell_support(check, false, format!("`{name}` comes back altered"), field),
            Err(error) if says_nothing(&error) => trial.tell(check, Outcome::Untried, error.chain()),
            Err(error) => {
                trial.tell_support(check, false, format!("`{name}` is refused: {}", why(&error)), field);
            }
        }
    }
    let believed = trial.profile().capabilities.user_metadata_bytes_max;
    let mut largest = None;
    let mut told = Vec::new();
    let mut sizes = METADATA_BYTES.to_vec();
    sizes.push(believed);
    sizes.sort_unstable();
    sizes.dedup();
    for size in sizes {
        let value = "m".repeat((size as usize).saturating_sub("size".len()));
        match kept(trial, "size", &value).await {
            Ok(true) => largest = Some(size),
            Ok(false) => told.push(format!("{size} B come back altered")),
            Err(error) => {
                told.push(format!("{size} B: {}", why(&error)));
                break;
            }
        }
    }
    let Some(largest) = largest else {
        trial.tell("metadata size", Outcome::No, told.join("; "));
        return Flow::Continue;
    };
    told.insert(0, format!("{largest} B are kept"));
    trial.tell_fact(
        "metadata size",
        Outcome::Yes,
        told.join("; "),
        "capabilities.user_metadata_bytes_max",
        largest,
    );
    Flow::Continue
}

/// Whether user metadata comes back as it was written.
async fn kept(trial: &Trial, name: &str, value: &str) -> Result<bool, Error> {
    let store = trial.store();
    let user_metadata = [(name.to_owned(), value.to_owned())].into();
    let attributes = Attributes { user_metadata, ..Attributes::default() };
    trial.put(&store, "metadata", body(), with_attributes(attributes)).await?;
    let head = trial.head(&store, &trial.key("metadata")?).await?;
    Ok(head.attributes.user_metadata.get(name).is_some_and(|held| held == value))
}

pub(super) async fn classes(trial: &Trial) -> Flow {
    let store = trial.store();
    let believed = &trial.profile().capabilities.storage_classes;
    let tried: Vec<String> =
        if believed.is_empty() { vec!["STANDARD_IA".to_owned()] } else { believed.clone() };
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for word in tried.iter().take(CLASSES_MAX) {
        let Some(class) = StorageClass::parse(word) else { continue };
        if class.is_standard() {
            accepted.push(word.clone());
            continue;
        }
        let name = format!("class/{word}");
        let attributes = Attributes { storage_class: Some(class.clone()), ..Attributes::default() };
        let written = trial.put(&store, &name, body(), with_attributes(attributes)).await;
        let Ok(key) = trial.key(&name) else { continue };
        match written {
            Err(error) => refused.push(format!("{word}: {}", why(&error))),
            Ok(_) => match trial.head(&store, &key).await {
                Ok(head) if head.attributes.storage_class.as_ref() == Some(&class) => {
                    accepted.push(word.clone());
                }
                Ok(_) => refused.push(format!("{word}: accepted and not kept")),
                Err(error) => refused.push(format!("{word}: {}", why(&error))),
            },
        }
    }
    let mut told = Vec::new();
    if !accepted.is_empty() {
        told.push(format!("kept: {}", accepted.join(", ")));
    }
    told.extend(refused.iter().cloned());
    let outcome = if refused.is_empty() { Outcome::Yes } else { Outcome::No };
    if believed.is_empty() {
        trial.tell("classes", outcome, told.join("; "));
    } else {
        trial.tell_fact("classes", outcome, told.join("; "), "capabilities.storage_classes", accepted);
    }
    Flow::Continue
}

pub(super) async fn server_copy(trial: &Trial) -> Flow {
    const FIELD: &str = "capabilities.server_copies";
    let store = trial.store();
    let (Some(specimen), Ok(key)) = (trial.specimen(), trial.key("copy")) else {
        return Flow::Continue;
    };
    trial.note_key(&key);
    let request = CopyObjectRequest {
        source: CopySource {
            bucket: trial.subject().name().bucket.clone(),
            key: specimen.key,
            if_match: None,
            version_id: None,
        },
        key: key.clone(),
        attributes: CarriedAttributes::Kept { storage_class: None, lock: ObjectLock::default() },
        condition: WriteCondition::None,
        size_hint_bytes: Some(specimen.size_bytes),
    };
    match store.copy_object(request).await {
        Ok(written) => {
            trial.note_version(key, written.version_id.as_deref());
            trial.tell_support("copy within", true, "CopyObject works", FIELD);
        }
        Err(error) if says_nothing(&error) || error.kind() == ErrorKind::PermissionDenied => {
            trial.tell("copy within", Outcome::Untried, error.chain());
        }
        Err(error) => trial.tell_support("copy within", false, why(&error), FIELD),
    }
    Flow::Continue
}

pub(super) async fn delete(trial: &Trial) -> Flow {
    let store = trial.store();
    let Ok(key) = trial.key("delete") else { return Flow::Continue };
    if let Err(error) = trial.put(&store, "delete", body(), Details::default()).await {
        trial.tell("delete", Outcome::Untried, error.chain());
        return Flow::Continue;
    }
    if let Err(error) = trial.delete(&store, DeleteRequest::of(&key)).await {
        let detail =
            format!("a sync with --delete needs it, and the probe cannot clean up: {}", error.chain());
        trial.tell("delete", Outcome::No, detail);
        return Flow::Continue;
    }
    match trial.head(&store, &key).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            trial.tell("delete", Outcome::Yes, "what was deleted is answered with 404");
        }
        Err(error) => trial.tell(
            "delete",
            Outcome::No,
            format!(
                "a missing object is not answered with 404 ({}): grant the right to list the bucket",
                why(&error)
            ),
        ),
        Ok(_) => trial.tell("delete", Outcome::No, "the object is still there"),
    }
    Flow::Continue
}
