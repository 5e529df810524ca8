//! From a tree of texts to a [`Manifest`].
//!
//! Owns: which options there are, which are required, and what their values may be. Does not own: whether buckets exist or who may read
//! them, which only the service can ask.

use crate::naming::{Candidate, FileSystem, NamingRules};
use crate::signature::SigningMethod;

use super::block::{Block, Problems, Text};
use super::node::Style;
use super::problem::{Code, Place};
use super::shipping::{address, customs};
use super::{
    Container, Extensions, Layout, Manifest, Operation, Password, Restore, ServiceLevel, Strictness,
};

/// Longest key of an object, in bytes.
const KEY_BYTES_MAX: usize = 1024;
/// Characters of a job's id, which ends the log's key.
const JOB_ID_CHARS: usize = 5;
/// Versions whose export options are those of 2.0.
const VERSIONS: [&str; 5] = ["1.0", "1.1", "1.2", "1.3", "2.0"];

/// Reads a manifest's options; `None` where any of the required is not there or cannot be meant.
pub(super) fn manifest(mut top: Block<'_>, strictness: Strictness, source: &str) -> Option<Manifest> {
    let problems = top.problems;
    let version = version(&mut top);
    refuse_imports(&mut top);
    let device_id =
        top.required("deviceId", "Write the serial number of the device, or the text of a sticker on it");
    let access_key_id = top.optional("accessKeyId").map(|text| text.value);
    let generator = top.optional("generator").map(|text| text.value);
    let log_bucket = top
        .required("logBucket", "Name a bucket for the log that the job's credentials may write to")
        .and_then(|text| bucket(problems, text));
    let log_prefix = top.optional("logPrefix").map(|text| log_prefix(problems, text));
    let notification_emails =
        top.optional("notificationEmail").map(|text| emails(problems, &text)).unwrap_or_default();
    let service_level = service_level(&mut top);
    let file_system = file_system(&mut top);
    let extensions = extensions(&mut top);
    let password = password(&mut top, source, extensions.as_ref());
    let rules = NamingRules::new(file_system.unwrap_or(FileSystem::Ext4));
    let (rules, recovery_directory) = recovery_directory(&mut top, rules);
    let target_directory = target_directory(&mut top, &rules);
    let substitutions = top.pairs("substitutions").into_iter().map(|(from, to)| (from, to.value)).collect();
    let operations = operations(&mut top, &rules);
    let return_address = top.block("returnAddress").map(|block| address(block, strictness));
    if return_address.is_none() {
        let action = "Add returnAddress with name, street1, city, postalCode, country and phoneNumber";
        let message = "there is no return address; nothing is shipped, so none is needed here";
        match strictness {
            Strictness::Strict => {
                problems.error(Code::MissingManifestField, "returnAddress", top.place, message, action);
            }
            Strictness::Forgiving => {
                let action = "Leave it so, or add returnAddress to say whose device it is";
                problems.warn("returnAddress", top.place, message, action);
            }
        }
    }
    let customs = top.block("customs").map(customs);
    top.finish();
    Some(Manifest {
        version: version?,
        device_id: device_id?.value,
        access_key_id,
        generator,
        log_bucket: log_bucket?,
        log_prefix: log_prefix.unwrap_or_default(),
        notification_emails,
        service_level,
        return_address,
        customs,
        file_system: file_system?,
        password,
        recovery_directory,
        target_directory,
        substitutions,
        operations,
        extensions: extensions?,
    })
}

fn version(top: &mut Block<'_>) -> Option<String> {
    let text = top.required("manifestVersion", "Begin the manifest with manifestVersion: 2.0")?;
    let version = text.value.trim_end_matches(';').trim_end().to_owned();
    let problems = top.problems;
    if version != text.value {
        problems.warn(&text.option, text.place, "the semicolon at the end was ignored", "Remove it");
    }
    match version.as_str() {
        "2.0" => Some(version),
        version if VERSIONS.contains(&version) => {
            let message = format!("version {version} is read as 2.0, whose options it shares");
            problems.warn(&text.option, text.place, message, "Write manifestVersion: 2.0");
            Some(version.to_owned())
        }
        other => {
            let message = match other {
                "3.0" => {
                    "version 3.0 describes imports into EBS and Glacier, and this service exports".to_owned()
                }
                _ => format!("there is no manifest version {other:?}"),
            };
            problems.error(
                Code::InvalidManifestField,
                &text.option,
                text.place,
                message,
                "Write manifestVersion: 2.0",
            );
            None
        }
    }
}

/// An import's manifest is told apart, not taken for an export's with holes.
fn refuse_imports(top: &mut Block<'_>) {
    for name in ["bucket", "eraseDevice"] {
        if !top.has("operations")
            && let Some(text) = top.optional(name)
        {
            let message = "this option belongs to an import, and this service exports";
            let action = "Describe what to export under operations, one exportBucket for each bucket";
            top.problems.error(Code::InvalidManifestField, &text.option, text.place, message, action);
        }
    }
}

fn bucket(problems: &Problems, text: Text) -> Option<String> {
    let name = &text.value;
    let is_name = (1..=255).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        && !matches!(name.as_str(), "." | "..");
    if is_name {
        return Some(text.value);
    }
    let message = format!("{name:?} is no bucket's name");
    let action =
        "Write the bucket's name alone, without s3://, host or path; what follows it belongs into prefix";
    problems.error(Code::InvalidManifestField, &text.option, text.place, message, action);
    None
}

fn log_prefix(problems: &Problems, text: Text) -> String {
    if text.value.len() + "export-log-".len() + JOB_ID_CHARS > KEY_BYTES_MAX {
        let message =
            format!("with the log's name behind it, the key would be longer than {KEY_BYTES_MAX} bytes");
        problems.error(
            Code::InvalidManifestField,
            &text.option,
            text.place,
            message,
            "Choose a shorter logPrefix",
        );
    }
    text.value
}

fn emails(problems: &Problems, text: &Text) -> Vec<String> {
    let addresses: Vec<String> = text
        .value
        .split(';')
        .map(str::trim)
        .filter(|address| !address.is_empty())
        .map(str::to_owned)
        .collect();
    for address in &addresses {
        if !address.contains('@') || address.contains(char::is_whitespace) {
            let message = format!("{address:?} is no e-mail address");
            let action = "Separate addresses by semicolons";
            problems.warn(&text.option, text.place, message, action);
        }
    }
    addresses
}

pub(super) fn choice<T>(problems: &Problems, code: Code, text: &Text, choices: &[(&str, T)]) -> Option<T>
where
    T: Copy,
{
    let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text.value));
    if found.is_none() {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let message = format!("{:?} is none of the values this option has", text.value);
        problems.error(
            code,
            &text.option,
            text.place,
            message,
            &format!("Write one of {}", words.join(", ")),
        );
    }
    found.map(|(_, value)| *value)
}

fn service_level(top: &mut Block<'_>) -> ServiceLevel {
    let words =
        [("standard", ServiceLevel::Standard), ("expeditedShipping", ServiceLevel::ExpeditedShipping)];
    top.optional("serviceLevel")
        .and_then(|text| choice(top.problems, Code::InvalidManifestField, &text, &words))
        .unwrap_or_default()
}

fn file_system(top: &mut Block<'_>) -> Option<FileSystem> {
    let text = top.required("fileSystem", "Write fileSystem: EXT4 (or NTFS)")?;
    choice(
        top.problems,
        Code::InvalidFileSystem,
        &text,
        &[("EXT4", FileSystem::Ext4), ("NTFS", FileSystem::Ntfs)],
    )
}

fn password(top: &mut Block<'_>, source: &str, extensions: Option<&Extensions>) -> Option<Password> {
    let container = extensions.map_or(Container::VeraCrypt, |extensions| extensions.container);
    let problems = top.problems;
    if container == Container::None {
        if let Some(text) = top.optional("trueCryptPassword") {
            let message = "x-container: none writes files in the clear; the password is not used";
            problems.warn(
                &text.option,
                text.place,
                message,
                "Remove x-container to encrypt, or remove the password",
            );
        }
        return None;
    }
    let text = top.required(
        "trueCryptPassword",
        "Write the password that will open the medium, or x-container: none for files in the clear",
    )?;
    if text.style == Style::Block || text.value.contains(['\n', '\r']) {
        // Whoever types it later ends it with a return, which is then no part of it.
        let message = "a password is one line";
        let action = "Write it behind the colon, in double quotes";
        problems.error(Code::InvalidManifestField, &text.option, text.place, message, action);
    }
    if text.style == Style::Plain && cuts_off(source, text.last_line) {
        let message = "YAML cuts an unquoted value off at a blank followed by #";
        problems.warn(
            &text.option,
            text.place,
            message,
            "Put the password in double quotes if the # belongs to it",
        );
    }
    let (most, format) = match container {
        Container::TrueCrypt => (64, "TrueCrypt"),
        Container::VeraCrypt => (128, "VeraCrypt"),
        Container::Luks2 | Container::None => (512, "LUKS2"),
    };
    if text.value.len() > most {
        let message = format!("{format} takes passwords of at most {most} bytes");
        problems.error(
            Code::InvalidManifestField,
            &text.option,
            text.place,
            message,
            "Choose a shorter password",
        );
    }
    Some(Password::new(text.value))
}

fn cuts_off(source: &str, line: u32) -> bool {
    let line = source.lines().nth(line.saturating_sub(1) as usize).unwrap_or_default();
    line.contains(" #") || line.contains("\t#")
}

fn recovery_directory(top: &mut Block<'_>, rules: NamingRules) -> (NamingRules, Option<String>) {
    let Some(text) = top.optional("recoveryDirectory") else { return (rules, None) };
    if let Ok(rules) = rules.clone().with_recovery_directory(&text.value) {
        return (rules, Some(text.value));
    }
    let message = format!("{:?} cannot be a directory in the root of the medium", text.value);
    let action = "Write one name without slashes that the file system takes and that nothing else has";
    top.problems.error(Code::InvalidManifestField, &text.option, text.place, message, action);
    (rules, None)
}

/// Where the objects go: any path whose components the file system takes.
fn target_directory(block: &mut Block<'_>, rules: &NamingRules) -> Option<String> {
    let text = block.optional("targetDirectory")?;
    if let Candidate::Unmappable(_) = rules.candidate(&text.value, "x", 1) {
        let message = format!("{:?} cannot be a directory of the medium", text.value);
        let action = "Write names joined by /, none of them . or .., the first not the recovery directory's";
        block.problems.error(Code::InvalidManifestField, &text.option, text.place, message, action);
    } else if text.value.contains('\\') {
        let message = "a backslash is a part of a name here";
        block.problems.warn(&text.option, text.place, message, "Join the names of directories by /");
    }
    Some(text.value)
}

fn operations(top: &mut Block<'_>, rules: &NamingRules) -> Vec<Operation> {
    let problems = top.problems;
    let action = "Add operations: with one item - exportBucket: NAME for each bucket";
    let Some((blocks, place)) = top.blocks("operations") else {
        let message = "the option is required and is not here";
        problems.error(Code::MissingManifestField, "operations", top.place, message, action);
        return Vec::new();
    };
    if blocks.is_empty() {
        let message = "the list of what to export is empty";
        problems.error(Code::MissingManifestField, "operations", place, message, action);
    }
    blocks.into_iter().filter_map(|block| operation(block, rules)).collect()
}

fn operation(mut block: Block<'_>, rules: &NamingRules) -> Option<Operation> {
    let problems = block.problems;
    let export_bucket = block
        .required("exportBucket", "Begin each item with - exportBucket: NAME")
        .and_then(|text| bucket(problems, text));
    let prefix = block.optional("prefix").map(|text| text.value).unwrap_or_default();
    let begin_marker = block.optional("beginMarker");
    let end_marker = block.optional("endMarker");
    let target_directory = target_directory(&mut block, rules);
    if let (Some(bucket), None) = (&export_bucket, &target_directory)
        && matches!(rules.candidate(bucket, "x", 1), Candidate::Unmappable(_))
    {
        let message =
            format!("the medium cannot have a directory {bucket:?} for it beside the recovery directory");
        let action = "Choose another recoveryDirectory, or a targetDirectory for this bucket";
        problems.error(
            Code::InvalidManifestField,
            &block.path_of("exportBucket"),
            block.place,
            message,
            action,
        );
    }
    let (path, place) = (block.path_of("prefix"), block.place);
    block.finish();
    let end = end_marker.as_ref().map(|text| text.value.as_str());
    let begin = begin_marker.as_ref().map(|text| text.value.as_str());
    if matches_nothing(&prefix, begin, end) {
        let message = "prefix, beginMarker and endMarker exclude each other: no key matches";
        problems.warn(
            &path,
            place,
            message,
            "Check the markers: keys sort after beginMarker, up to and with endMarker",
        );
    }
    Some(Operation {
        export_bucket: export_bucket?,
        prefix,
        begin_marker: begin_marker.map(|text| text.value),
        end_marker: end_marker.map(|text| text.value),
        target_directory,
    })
}

/// Whether no key begins with `prefix`, sorts after `begin` and up to `end`.
fn matches_nothing(prefix: &str, begin: Option<&str>, end: Option<&str>) -> bool {
    let ends_before = end.is_some_and(|end| end < prefix || begin.is_some_and(|begin| end <= begin));
    // Behind everything that begins so: greater, and not itself beginning so.
    let begins_behind = begin.is_some_and(|begin| begin > prefix && !begin.starts_with(prefix));
    ends_before || begins_behind
}

fn extensions(top: &mut Block<'_>) -> Option<Extensions> {
    let problems = top.problems;
    let code = Code::InvalidManifestField;
    let containers = [
        ("veracrypt", Container::VeraCrypt),
        ("truecrypt", Container::TrueCrypt),
        ("luks2", Container::Luks2),
        ("none", Container::None),
    ];
    let methods = [("HmacSHA1", SigningMethod::HmacSha1), ("HmacSHA256", SigningMethod::HmacSha256)];
    let restores = [
        ("skip", Restore::Skip),
        ("standard", Restore::Standard),
        ("bulk", Restore::Bulk),
        ("expedited", Restore::Expedited),
    ];
    let layouts = [("bagit", Layout::BagIt), ("plain", Layout::Plain)];
    let container = match top.optional("x-container") {
        Some(text) => choice(problems, code, &text, &containers)?,
        None => Container::default(),
    };
    let signing_method = match top.optional("x-signingMethod") {
        Some(text) => choice(problems, code, &text, &methods)?,
        None => SigningMethod::default(),
    };
    let restore = match top.optional("x-restore") {
        Some(text) => choice(problems, code, &text, &restores)?,
        None => Restore::default(),
    };
    let layout = match top.optional("x-layout") {
        Some(text) => choice(problems, code, &text, &layouts)?,
        None => Layout::default(),
    };
    let mut listed = |name: &str| top.texts(name).into_iter().map(|text| text.value).collect();
    Some(Extensions {
        include: listed("x-include"),
        exclude: listed("x-exclude"),
        container,
        signing_method,
        restore,
        layout,
        store: top.optional("x-store").map(|text| text.value),
        max_bytes: top.optional("x-maxBytes").and_then(|text| {
            let parsed = text.value.parse().ok();
            if parsed.is_none() {
                let message = format!("{:?} is no number of bytes", text.value);
                problems.error(code, &text.option, text.place, message, "Write digits alone");
            }
            parsed
        }),
    })
}

/// What a manifest that is no block at all is told.
pub(super) fn not_a_manifest(problems: &Problems) {
    let message = "there are no options here";
    let action = "Begin with manifestVersion: 2.0 and write one NAME: VALUE on each line";
    problems.error(Code::MalformedManifest, "", Place::START, message, action);
}
