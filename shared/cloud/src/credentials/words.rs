//! Splitting a command into words the way a shell does, without a shell.
//!
//! Owns: white space, single and double quotes and the backslash. Does not own: variables, globs or pipes: a command that needs them is
//! `sh -c '…'`, which says so.

use ferry_transfer::{Error, ErrorKind, Result};

/// The words of a command.
///
/// # Errors
///
/// `InvalidInput` for a quote that is not closed, a backslash at the end, or nothing at all.
pub(super) fn split(command: &str) -> Result<Vec<String>> {
    let invalid = |what| Err(Error::new(ErrorKind::InvalidInput, format!("the credential command {what}")));
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = command.chars();
    while let Some(next) = rest.next() {
        match next {
            white if white.is_whitespace() => words.extend(word.take()),
            '\\' => match rest.next() {
                Some(escaped) => word.get_or_insert_default().push(escaped),
                None => return invalid("ends in a backslash"),
            },
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('\'') => break,
                        Some(quoted) => word.push(quoted),
                        None => return invalid("has a quote that is not closed"),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('"') => break,
                        Some('\\') => match rest.next() {
                            Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                            Some(other) => word.extend(['\\', other]),
                            None => return invalid("has a quote that is not closed"),
                        },
                        Some(quoted) => word.push(quoted),
                        None => return invalid("has a quote that is not closed"),
                    }
                }
            }
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word);
    if words.is_empty() {
        return invalid("is empty");
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_split_like_a_shell_splits_them() {
        assert_eq!(
            split("s3info keys --machine-output").expect("words"),
            ["s3info", "keys", "--machine-output"]
        );
        assert_eq!(
            split(r#"sh -c 'echo "$KEY" x' "a \"b\" \n" c\ d '' "#).expect("words"),
            ["sh", "-c", r#"echo "$KEY" x"#, r#"a "b" \n"#, "c d", ""]
        );
    }

    #[test]
    fn what_a_shell_would_wait_for_is_refused() {
        for wrong in ["", "  ", "a 'b", "a \"b", "a \"b\\", "a\\"] {
            assert_eq!(split(wrong).expect_err(wrong).kind(), ErrorKind::InvalidInput);
        }
    }

    proptest! {
        #[test]
        fn a_quoted_word_comes_out_as_it_went_in(word in "[^']{0,20}") {
            prop_assert_eq!(split(&format!("x '{word}'")).expect("words"), vec!["x".to_owned(), word]);
        }
    }
}
