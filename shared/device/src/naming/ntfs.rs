//! What Windows accepts as a name, and which names it takes for one.
//!
//! Owns: characters, reserved names and case. Sources: "Naming Files, Paths, and Namespaces" of the Win32 documentation;
//! the NTFS `$UpCase` table, which maps single UTF-16 units. Invariant: [`fold`] may call two names equal that some version of
//! Windows keeps apart, never the other way round: a needless collision costs a place in the recovery directory, a missed one a
//! file.

/// The files that make up an NTFS volume; they live in its root.
pub(super) const SYSTEM_FILES: [&str; 12] = [
    "$MFT",
    "$MFTMirr",
    "$LogFile",
    "$Volume",
    "$AttrDef",
    "$Bitmap",
    "$Boot",
    "$BadClus",
    "$Secure",
    "$UpCase",
    "$Extend",
    "System Volume Information",
];

/// The component with everything replaced that Windows refuses.
pub(super) fn legal(component: &str) -> String {
    let mut name: String = component.chars().map(|c| if is_illegal(c) { '_' } else { c }).collect();
    let kept = name.trim_end_matches(['.', ' ']).len();
    let trailing = name.len() - kept;
    name.truncate(kept);
    name.extend(std::iter::repeat_n('_', trailing));
    let stem = name.find('.').unwrap_or(name.len());
    if is_reserved(name[..stem].trim_end_matches(' ')) {
        name.insert(stem, '_');
    }
    name
}

fn is_illegal(c: char) -> bool {
    matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*' | '\\' | '\0'..='\x1f')
}

/// Device names, with any extension. Windows also reads the superscript digits as digits here.
fn is_reserved(stem: &str) -> bool {
    let stem = stem.to_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    let Some(port) = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT")) else { return false };
    let mut digits = port.chars();
    matches!((digits.next(), digits.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
}

/// The same for all names that Windows takes for one.
pub(super) fn fold(component: &str) -> String {
    component
        .chars()
        .map(|c| only(only(c, c.to_uppercase()), only(c, c.to_uppercase()).to_lowercase()))
        .collect()
}

/// The mapping where it is one character, as in `$UpCase`; the character itself where it would become several.
fn only(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_folded_one_character_at_a_time() {
        for (a, b) in [("a", "A"), ("É", "é"), ("ǅ", "ǆ"), ("ᾀ", "ᾈ"), ("σ", "ς"), ("Я", "я")] {
            assert_eq!(fold(a), fold(b));
        }
        for (a, b) in [("ß", "SS"), ("e\u{301}", "\u{e9}"), ("a", "b"), ("ﬁ", "FI")] {
            assert_ne!(fold(a), fold(b));
        }
    }

    #[test]
    fn device_names_are_reserved_with_any_extension() {
        for name in ["CON", "con", "aux.c", "NUL.tar.gz", "COM1", "lpt9.x", "COM²", "con .txt"] {
            assert_ne!(legal(name), name);
        }
        for name in ["CONS", "COM", "COM12", "XNUL", "console.log"] {
            assert_eq!(legal(name), name);
        }
    }
}
