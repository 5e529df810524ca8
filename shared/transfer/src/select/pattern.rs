//! Globs and regular expressions over keys.
//!
//! Owns: the meaning of a glob, by its translation into a regular expression that is linear in the key whatever the pattern.
//! Does not own: what a match leads to ([`super::Rule`]). Invariant: a pattern that parsed matches whole characters, never
//! half of one, and any character a key may hold, line ends too.

use std::fmt;
use std::str::FromStr;

use regex::Regex;
use serde::{Deserialize, Serialize};

/// A glob over a key relative to the source's prefix.
///
/// `*` and `?` stop at `/`, `**` does not, and `**/` also stands for nothing; `[a-z]`, `[!a-z]`, `{jpg,png}`, and `\` before a
/// character that is meant as it is. A glob without `/` is matched against the last name of a key, wherever it lies, as in git and
/// rclone; one with `/` against the whole; one that ends in `/` means everything under it.
#[derive(Clone)]
pub struct Glob {
    text: String,
    regex: Regex,
}

/// A regular expression, in the syntax of the `regex` crate, found anywhere in a key relative to the source's prefix.
#[derive(Clone)]
pub struct KeyRegex(Regex);

/// Not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {form}: {problem}")]
pub struct BadPattern {
    text: String,
    form: &'static str,
    problem: String,
}

impl Glob {
    /// Whether the relative key matches.
    pub fn matches(&self, relative: &str) -> bool {
        self.regex.is_match(relative)
    }
}

impl KeyRegex {
    /// Whether the relative key has a match in it.
    pub fn matches(&self, relative: &str) -> bool {
        self.0.is_match(relative)
    }
}

impl FromStr for Glob {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let bad = |problem: String| BadPattern { text: text.to_owned(), form: "glob", problem };
        let regex = translated(text).map_err(|problem| bad(problem.to_owned()))?;
        Ok(Self { text: text.to_owned(), regex: compiled(&regex).map_err(bad)? })
    }
}

impl FromStr for KeyRegex {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let bad = |problem| BadPattern { text: text.to_owned(), form: "regular expression", problem };
        compiled(text).map(Self).map_err(bad)
    }
}

fn compiled(regex: &str) -> Result<Regex, String> {
    Regex::new(regex).map_err(|error| match error {
        // The crate draws the place with arrows over several lines; its last line says what is wrong.
        regex::Error::Syntax(drawn) => {
            drawn.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
        other => other.to_string(),
    })
}

/// The regular expression that means the same as a glob.
fn translated(glob: &str) -> Result<String, &'static str> {
    if glob.is_empty() {
        return Err("it is empty");
    }
    let mut regex = String::from(r"(?s)\A");
    if !glob.contains('/') {
        regex.push_str("(?:.*/)?");
    }
    let mut rest = glob.chars().peekable();
    let mut open_braces = 0_u32;
    let mut last = None;
    while let Some(char) = rest.next() {
        match char {
            '*' => {
                let begins_a_name = matches!(last, None | Some('/'));
                let mut stars = 1;
                while rest.next_if_eq(&'*').is_some() {
                    stars += 1;
                }
                if stars == 1 {
                    regex.push_str("[^/]*");
                } else if begins_a_name && rest.next_if_eq(&'/').is_some() {
                    regex.push_str("(?:.*/)?");
                    last = Some('/');
                    continue;
                } else {
                    regex.push_str(".*");
                }
            }
            '?' => regex.push_str("[^/]"),
            '[' => push_class(&mut rest, &mut regex)?,
            '{' => {
                open_braces += 1;
                regex.push_str("(?:");
            }
            '}' if open_braces > 0 => {
                open_braces -= 1;
                regex.push(')');
            }
            ',' if open_braces > 0 => regex.push('|'),
            '\\' => {
                let literal = rest.next().ok_or("a \\ at its end escapes nothing")?;
                push_literal(&mut regex, literal);
                last = Some(literal);
                continue;
            }
            other => push_literal(&mut regex, other),
        }
        last = Some(char);
    }
    if open_braces > 0 {
        return Err("a { has no }");
    }
    if last == Some('/') {
        regex.push_str(".*");
    }
    regex.push_str(r"\z");
    Ok(regex)
}

/// Reads `a-z]` after the `[`. A `]` that comes first is meant as it is; the class never matches `/`.
fn push_class(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    regex: &mut String,
) -> Result<(), &'static str> {
    const UNCLOSED: &str = "a [ has no ]";
    let negated = rest.next_if(|char| matches!(char, '!' | '^')).is_some();
    regex.push_str(if negated { "[^/" } else { "[" });
    let mut is_first = true;
    loop {
        let char = rest.next().ok_or(UNCLOSED)?;
        match char {
            ']' if !is_first => break,
            '-' if !is_first && rest.peek().is_some_and(|next| *next != ']') => regex.push('-'),
            '\\' => push_literal(regex, rest.next().ok_or(UNCLOSED)?),
            other => push_literal(regex, other),
        }
        is_first = false;
    }
    regex.push_str(if negated { "]" } else { "&&[^/]]" });
    Ok(())
}

fn push_literal(regex: &mut String, char: char) {
    regex.push_str(&regex::escape(char.encode_utf8(&mut [0; 4])));
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for KeyRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// What both kinds of pattern are as values: their text.
macro_rules! as_text {
    ($($pattern:ty),+) => { $(
        impl PartialEq for $pattern {
            fn eq(&self, other: &Self) -> bool {
                self.to_string() == other.to_string()
            }
        }

        impl Eq for $pattern {}

        impl fmt::Debug for $pattern {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.to_string())
            }
        }

        impl Serialize for $pattern {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $pattern {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+ };
}

as_text!(Glob, KeyRegex);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(text: &str) -> Glob {
        text.parse().expect(text)
    }

    #[test]
    fn globs_match_what_they_say() {
        for (text, yes, no) in [
            ("a/*.jpg", &["a/x.jpg", "a/.jpg", "a/é\n.jpg"][..], &["a/b/x.jpg", "b/a/x.jpg", "a/x.jpgx"][..]),
            ("*.jpg", &["x.jpg", "a/b/x.jpg", "/x.jpg", "a//x.jpg"], &["x.jpg/y", "x.JPG"]),
            ("a/**", &["a/", "a/b", "a/b/c", "a//"], &["a", "b/a/x", "aa/x"]),
            ("a/**/z", &["a/z", "a/b/z", "a/b/c/z"], &["a/bz", "az"]),
            ("**/tmp/**", &["tmp/x", "a/tmp/x", "a/b/tmp/"], &["a/tmpx/y", "tmp"]),
            ("a**z/", &["az/", "a/b/z/x"], &["az"]),
            ("a?c", &["abc", "aéc", "x/a🗻c"], &["a/c", "ac", "abbc"]),
            ("x/[a-cé]", &["x/a", "x/c", "x/é"], &["x/d", "x/-", "x//"]),
            ("x/[!a-c]", &["x/d", "x/é", "x/\n"], &["x/a", "x//", "x/"]),
            ("x/[]^-]", &["x/]", "x/^", "x/-"], &["x/a"]),
            ("x/[.-~]", &["x/.", "x/~", "x/a"], &["x//"]),
            ("x/[&&]", &["x/&"], &["x/[", "x/a"]),
            ("*.{jpg,p{n,pm}g}", &["a.jpg", "b/a.png", "a.ppmg"], &["a.jpg,png", "a.pg"]),
            (r"\*\[\{/x", &["*[{/x"], &["a[{/x"]),
            ("a+b(c)$/^.x", &["a+b(c)$/^.x"], &["aab(c)$/^.x"]),
            ("photos/", &["photos/", "photos/a/b"], &["photos", "x/photos/"]),
            ("a,b", &["a,b"], &["a", "b"]),
            ("**", &["a", "a/b", "/", "a/"], &[]),
        ] {
            for key in yes {
                assert!(glob(text).matches(key), "{text} must match {key:?}");
            }
            for key in no {
                assert!(!glob(text).matches(key), "{text} must not match {key:?}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        for (text, why) in
            [("", "empty"), ("[a", "no ]"), ("{a", "no }"), ("a\\", "escapes nothing"), ("[z-a]", "range")]
        {
            let error = text.parse::<Glob>().expect_err(text).to_string();
            assert!(error.contains(why) && error.contains(&format!("{text:?}")), "{error}");
        }
        let error = "a(".parse::<KeyRegex>().expect_err("unclosed").to_string();
        assert!(error.contains("regular expression") && error.contains("unclosed group"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn a_regular_expression_is_found_anywhere() {
        let regex: KeyRegex = r"\.te?mp(/|$)".parse().expect("regex");
        assert!(regex.matches("a.tmp/b") && regex.matches("a.temp") && !regex.matches("a.tmpx"));
    }

    proptest! {
        #[test]
        fn an_escaped_key_matches_itself_and_nothing_else(key in "[a/*?\\[\\]{},!é\\\\\n.-]{1,8}", other in "[a/*?\\[\\]{},!é.-]{1,8}") {
            let escaped: String = key.chars().flat_map(|char| ['\\', char]).collect();
            let glob = glob(&escaped);
            prop_assert!(glob.matches(&key));
            let is_name_of = !key.contains('/') && other.rsplit('/').next() == Some(key.as_str());
            let is_under = key.ends_with('/') && other.starts_with(&key);
            prop_assert_eq!(glob.matches(&other), key == other || is_name_of || is_under);
        }

        #[test]
        fn stars_agree_with_a_model(name in "[ab]{0,3}", path in "[ab/]{0,6}") {
            let single = glob("a/*b").matches(&path);
            let model = path.strip_prefix("a/").is_some_and(|rest| rest.ends_with('b') && !rest.contains('/'));
            prop_assert_eq!(single, model);
            let wanted = format!("x{name}");
            let anywhere = glob(&wanted).matches(&format!("{path}/{wanted}"));
            prop_assert!(anywhere);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,20}|[*?\\[\\]{}!^,\\\\/&~-]{0,10}") {
            if let Ok(glob) = text.parse::<Glob>() {
                glob.matches("a/b");
            }
        }
    }
}
