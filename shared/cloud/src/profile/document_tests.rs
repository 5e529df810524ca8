//! The table of `docs/providers.md` says what the files say.

use ferry_transfer::{Capabilities, Support};

use super::{Addressing, ListVersion, Profile, known_providers};

const BEGIN: &str = "<!-- The table below is checked against shared/cloud/profiles by a test. -->\n";
const END: &str = "<!-- End of the table. -->\n";

fn word(support: Support) -> &'static str {
    match support {
        Support::Yes => "yes",
        Support::No => "no",
        Support::Unknown => "?",
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 8] = [
        ("TiB", 1 << 40),
        ("TB", 1_000_000_000_000),
        ("GiB", 1 << 30),
        ("GB", 1_000_000_000),
        ("MiB", 1 << 20),
        ("MB", 1_000_000),
        ("KiB", 1 << 10),
        ("B", 1),
    ];
    let whole = UNITS.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match whole {
        Some((name, unit)) if bytes / unit < 10_000 => format!("{} {name}", bytes / unit),
        // Thousandths are as exact as the vendors' pages.
        _ => {
            let (name, unit) = if bytes >= 1 << 40 { ("TiB", 1_u64 << 40) } else { ("GiB", 1 << 30) };
            let thousandths = u128::from(bytes) * 1000 / u128::from(unit);
            format!("{}.{:03} {name}", thousandths / 1000, thousandths % 1000)
        }
    }
}

fn list(words: &[String]) -> String {
    if words.is_empty() { "–".to_owned() } else { words.join(", ") }
}

/// One line for each provider, of what decides most.
fn table() -> String {
    let mut text = String::from(
        "| provider | address | list | parts | equal | PUT, copy, object up to | ETag is MD5: whole, parts | conditional write, delete | \
         CRC64NVME, Content-MD5 | tags | versions | key | metadata | classes |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for provider in known_providers() {
        let profile = Profile::named(provider).expect("profile");
        let Capabilities { part_bytes_min, part_bytes_max, parts_max, .. } = profile.capabilities;
        let can = &profile.capabilities;
        let address = match profile.addressing {
            Addressing::Path => "path",
            Addressing::Virtual => "virtual",
            Addressing::BucketHost => "bucket-host",
        };
        let version = match profile.list_version {
            ListVersion::V1 => "v1",
            ListVersion::V2 => "v2",
        };
        let encoding = if profile.list_url_encoding { "" } else { ", not encoded" };
        let cells = [
            format!("`{provider}`"),
            address.to_owned(),
            format!("{version}{encoding}"),
            format!("{} to {}, {parts_max}", size(part_bytes_min), size(part_bytes_max)),
            if can.equal_parts { "yes" } else { "" }.to_owned(),
            format!(
                "{}, {}, {}",
                size(can.put_bytes_max),
                size(can.copy_bytes_max),
                size(can.object_bytes_max)
            ),
            format!("{}, {}", word(can.etag_is_md5), word(can.multipart_etag_is_md5_of_md5s)),
            format!("{}, {}", word(can.conditional_writes), word(can.conditional_deletes)),
            format!("{}, {}", word(can.crc64_nvme), word(can.content_md5)),
            word(can.tags).to_owned(),
            word(can.versions).to_owned(),
            format!("{} B", can.key_bytes_max),
            format!("{} B", can.user_metadata_bytes_max),
            list(&can.storage_classes),
        ];
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

#[test]
fn the_documented_table_is_that_of_the_files() {
    let document = include_str!("../../../../docs/providers.md");
    let (_, rest) = document.split_once(BEGIN).expect("the table's beginning is marked");
    let (documented, _) = rest.split_once(END).expect("the table's end is marked");
    let table = table();
    assert!(documented == table, "docs/providers.md is out of date; its table must read:\n{table}");
}

#[test]
fn every_field_of_a_profile_is_documented() {
    let document = include_str!("../../../../docs/providers.md");
    let profile = serde_json::to_value(Profile::named("other").expect("profile")).expect("json");
    let top = profile.as_object().expect("a mapping");
    let capabilities = top["capabilities"].as_object().expect("a mapping");
    for field in top.keys().chain(capabilities.keys()) {
        assert!(document.contains(&format!("`{field}`")), "docs/providers.md does not say what `{field}` is");
    }
}

#[test]
fn every_file_states_the_source_of_its_facts() {
    for (provider, file) in super::PROFILES {
        let comment: String = file.lines().take_while(|line| line.starts_with('#')).collect();
        assert!(comment.contains("Source"), "{provider}");
    }
}
