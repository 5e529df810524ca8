//! Keys and bodies that have broken other tools.
//!
//! Owns: the list of awkward keys that every store, copy and event must carry byte for byte. Invariants: the keys are valid
//! on Amazon S3 (1 to 1,024 bytes of UTF-8), distinct, and free of NUL, which no HTTP path carries reliably.

use bytes::Bytes;

/// Longest key on S3 in UTF-8 bytes (AWS, "Naming Amazon S3 objects").
const KEY_BYTES_MAX: usize = 1024;

/// Keys that tools lose, merge, reorder or mangle. All fit into one bucket side by side.
pub fn awkward_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        // What URL encodings treat specially, and what looks encoded but is text.
        "a b",
        " leading and trailing ",
        "a+b",
        "a%20b",
        "a%2Fb",
        "100%",
        "%",
        "%zz",
        "a&b=c?d#e",
        "a;b:c@d,e$f",
        "!*'()",
        "{}|^`[]~",
        // What XML and shells treat specially.
        "<tag>&amp;</tag>",
        "]]>",
        "quote\"s and 'apostrophes'",
        "back\\slash",
        // White space and control characters; the first three are what XML parsers normalise.
        "tab\tkey",
        "line\nbreak",
        "carriage\rreturn",
        "control\u{1}\u{8}\u{1b}\u{1f}",
        "delete\u{7f}",
        "next\u{85}line",
        // Segments that paths treat specially.
        "/",
        "//",
        "/leading",
        "a//b",
        "a/./b",
        "a/../b",
        ".",
        "..",
        "./a",
        "../a",
        "a/.",
        "a/..",
        // One name as object, placeholder and folder.
        "dir",
        "dir/",
        "dir/file",
        "data-with-slash/",
        // Beyond ASCII: CJK, emoji, right to left, NFC and NFD twins, no characters in XML, beyond the basic plane.
        "漢字/かな/한글.txt",
        "😀/👩‍👩‍👧.png",
        "\u{202e}gnp.exe",
        "caf\u{e9}",
        "cafe\u{301}",
        "\u{fffd}\u{ffff}",
        "\u{e000}private",
        "\u{10ffff}",
        // Letter case twins.
        "README",
        "readme",
    ]
    .map(str::to_owned)
    .into();
    keys.push(format!("long/{}", "x".repeat(KEY_BYTES_MAX - "long/".len())));
    // 341 characters of three bytes each, and one of one.
    keys.push(format!("{}x", "字".repeat(341)));
    keys
}

/// Bytes that differ from key to key. A key that ends in `/` is a placeholder without data, save one that has some.
pub fn body_of(key: &str) -> Bytes {
    if key.ends_with('/') && key != "data-with-slash/" {
        Bytes::new()
    } else {
        Bytes::from(format!("the bytes of {key:?}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn awkward_keys_are_distinct_and_valid_on_s3() {
        let keys = awkward_keys();
        let distinct: BTreeSet<&String> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        for key in &keys {
            assert!((1..=KEY_BYTES_MAX).contains(&key.len()), "{key:?}");
            assert!(!key.contains('\0'), "{key:?}");
        }
        assert_eq!(keys.iter().filter(|key| key.len() == KEY_BYTES_MAX).count(), 2);
    }
}
