//! What a copy from one store to another loses.
//!
//! Owns: the comparison of two profiles, as a pure function. Does not own: finding out what the stores are like.

use ferry_transfer::storage_tier::counterpart;
use ferry_transfer::{Capabilities, StorageClass, Support};

/// What cannot be carried over, in sentences. Empty where everything the source holds fits.
pub fn losses(source: &Capabilities, destination: &Capabilities) -> Vec<String> {
    let mut losses = Vec::new();
    let mut lose = |sentence: String| losses.push(sentence);
    if source.tags.may() && destination.tags == Support::No {
        lose("tags: the destination has none (--unsupported drop copies objects without)".to_owned());
    }
    if destination.tags_max < source.tags_max && destination.tags.may() && source.tags.may() {
        lose(format!("tags: at most {} of an object's {}", destination.tags_max, source.tags_max));
    }
    let (from, to) = (source.user_metadata_bytes_max, destination.user_metadata_bytes_max);
    if from > to {
        lose(format!("metadata: objects with more than {to} bytes of it (the source takes {from})"));
    }
    if destination.user_metadata_underscores == Support::No && source.user_metadata_underscores.may() {
        lose("metadata: names with underscores".to_owned());
    }
    if destination.user_metadata_unicode == Support::No && source.user_metadata_unicode.may() {
        lose("metadata: values beyond ASCII".to_owned());
    }
    if destination.key_bytes_max < source.key_bytes_max {
        lose(format!("keys of more than {} bytes", destination.key_bytes_max));
    }
    if destination.key_segment_bytes_max < source.key_segment_bytes_max.min(source.key_bytes_max) {
        lose(format!("keys with more than {} bytes between two slashes", destination.key_segment_bytes_max));
    }
    for beginning in &destination.key_beginnings_refused {
        if !source.key_beginnings_refused.contains(beginning) {
            lose(format!("keys that begin with {beginning:?}"));
        }
    }
    let largest = |store: &Capabilities| {
        store.object_bytes_max.min(store.part_bytes_max.saturating_mul(u64::from(store.parts_max)))
    };
    if largest(destination) < largest(source) {
        lose(format!("objects of more than {} bytes", largest(destination)));
    }
    let foreign: Vec<String> = source
        .storage_classes
        .iter()
        .filter_map(|word| StorageClass::parse(word))
        .map(|class| counterpart(class, source, destination))
        .filter(|class| !destination.can_ask_for(class))
        .map(|class| class.to_string())
        .collect();
    if !foreign.is_empty() {
        lose(format!("storage classes {}: choose one with --storage-class", foreign.join(", ")));
    }
    if source.versions == Support::Yes && destination.versions == Support::No {
        lose("versions: the destination keeps the latest only".to_owned());
    }
    let comparable = |store: &Capabilities| store.etag_is_md5.may();
    if !comparable(source) || !comparable(destination) {
        lose("comparison by ETag: objects are compared by size and time".to_owned());
    } else if source.multipart_etag_is_md5_of_md5s == Support::No
        || destination.multipart_etag_is_md5_of_md5s == Support::No
    {
        lose("comparison by ETag of objects in parts: those are compared by size and time".to_owned());
    }
    if destination.equal_parts {
        lose("part boundaries that are not all of one size".to_owned());
    }
    losses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    fn of(source: &str, destination: &str) -> String {
        let capabilities = |name| Profile::named(name).expect("profile").capabilities;
        losses(&capabilities(source), &capabilities(destination)).join("\n")
    }

    #[test]
    fn a_pair_says_what_it_loses() {
        assert_eq!(of("aws", "aws"), "");
        let to_oss = of("aws", "aliyun-oss");
        for word in
            ["tags", "1023 bytes", "begin with \"/\"", "INTELLIGENT_TIERING", "versions", "underscores"]
        {
            assert!(to_oss.contains(word), "{word}: {to_oss}");
        }
        let from_oss = of("aliyun-oss", "aws");
        assert!(from_oss.contains("more than 2048 bytes") && !from_oss.contains("tags"), "{from_oss}");
        assert!(of("aws", "r2").contains("part boundaries"));
    }
}
