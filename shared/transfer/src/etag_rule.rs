//! Whether a store's ETags are MD5s, known or found out.
//!
//! Owns: one store's rule during one process. It starts from the profile and learns from objects whose bytes passed through us:
//! one match proves the rule (an accidental one has odds of 2⁻¹²⁸); while it is unproven, the same mismatch twice over, on
//! two independent reads or writes of the same bytes, proves the opposite: a bucket with SSE-KMS by default looks like that.
//! Does not own: what to do about corruption.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{ETag, Encryption, Support};

/// What is known of a store's ETags. See the module.
#[derive(Debug)]
pub struct ETagRule(Mutex<State>);

#[derive(Debug)]
struct State {
    is_md5: Support,
    /// Seen to hold, not only said to.
    proven: bool,
    /// The digest that last disagreed while nothing was proven.
    disagreed: Option<[u8; 16]>,
}

/// What an ETag says about bytes of a known MD5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ETagCheck {
    /// They are the object's bytes.
    Match,
    /// They are not, or may not be: try once more.
    Mismatch,
    /// Nothing: the tag is no MD5 of the bytes.
    SaysNothing,
}

impl ETagRule {
    /// Starts from what the store's profile says.
    pub fn new(is_md5: Support) -> Self {
        Self(Mutex::new(State { is_md5, proven: false, disagreed: None }))
    }

    /// What is known now.
    pub fn is_md5(&self) -> Support {
        self.state().is_md5
    }

    /// Whether MD5s are worth computing.
    pub fn wants_md5(&self) -> bool {
        self.is_md5().may()
    }

    /// Notes that the store's tags are no MD5s, whatever the profile says (a bucket with SSE-KMS by default, say).
    pub fn disprove(&self) {
        self.state().is_md5 = Support::No;
    }

    /// Checks the tag of an object put in one piece, or in parts of which it is the only one, against the MD5 of its bytes, and
    /// learns from it.
    pub fn check(&self, etag: &ETag, encryption: Encryption, md5: [u8; 16]) -> ETagCheck {
        match etag.parts() {
            Some(1) => self.check_parts(etag, encryption, &[md5]),
            _ => self.compare(etag.as_md5(), encryption, md5),
        }
    }

    /// Checks the tag of an object put in parts against the MD5s of those parts, and learns from it.
    pub fn check_parts(&self, etag: &ETag, encryption: Encryption, md5s: &[[u8; 16]]) -> ETagCheck {
        if etag.parts().map(u64::from) != Some(md5s.len() as u64) {
            return ETagCheck::SaysNothing;
        }
        match ETag::from_part_md5s(md5s).parts_digest() {
            Some(computed) => self.compare(etag.parts_digest(), encryption, computed),
            None => ETagCheck::SaysNothing,
        }
    }

    fn compare(&self, expected: Option<[u8; 16]>, encryption: Encryption, md5: [u8; 16]) -> ETagCheck {
        let (Some(expected), Encryption::StoreManaged) = (expected, encryption) else {
            return ETagCheck::SaysNothing;
        };
        let mut state = self.state();
        if state.is_md5 == Support::No {
            return ETagCheck::SaysNothing;
        }
        if expected == md5 {
            state.is_md5 = Support::Yes;
            state.proven = true;
            return ETagCheck::Match;
        }
        if !state.proven && state.disagreed == Some(md5) {
            state.is_md5 = Support::No;
            return ETagCheck::SaysNothing;
        }
        state.disagreed = Some(md5);
        ETagCheck::Mismatch
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 16] = [7; 16];
    const OTHER: [u8; 16] = [8; 16];

    #[test]
    fn one_match_proves_the_rule() {
        let rule = ETagRule::new(Support::Unknown);
        assert_eq!(rule.check(&ETag::from_md5(BYTES), Encryption::StoreManaged, BYTES), ETagCheck::Match);
        assert_eq!(rule.check(&ETag::from_md5(BYTES), Encryption::StoreManaged, OTHER), ETagCheck::Mismatch);
        assert_eq!(rule.check(&ETag::from_md5(BYTES), Encryption::StoreManaged, OTHER), ETagCheck::Mismatch);
    }

    #[test]
    fn the_same_disagreement_twice_disproves_what_was_only_said() {
        let rule = ETagRule::new(Support::Yes);
        assert_eq!(rule.check(&ETag::from_md5(OTHER), Encryption::StoreManaged, BYTES), ETagCheck::Mismatch);
        assert_eq!(
            rule.check(&ETag::from_md5(OTHER), Encryption::StoreManaged, BYTES),
            ETagCheck::SaysNothing
        );
        assert_eq!(rule.is_md5(), Support::No);
    }

    #[test]
    fn kms_and_multipart_tags_say_nothing() {
        let rule = ETagRule::new(Support::Yes);
        assert_eq!(rule.check(&ETag::from_md5(OTHER), Encryption::Kms, BYTES), ETagCheck::SaysNothing);
        let multipart = ETag::from_part_md5s(&[BYTES, OTHER]);
        assert_eq!(rule.check(&multipart, Encryption::StoreManaged, BYTES), ETagCheck::SaysNothing);
    }

    #[test]
    fn a_tag_of_parts_is_checked_against_its_parts() {
        let rule = ETagRule::new(Support::Unknown);
        let tag = ETag::from_part_md5s(&[BYTES, OTHER]);
        let check = |md5s: &[[u8; 16]]| rule.check_parts(&tag, Encryption::StoreManaged, md5s);
        assert_eq!(check(&[BYTES]), ETagCheck::SaysNothing, "of another number");
        assert_eq!(check(&[BYTES, OTHER]), ETagCheck::Match);
        assert_eq!(check(&[OTHER, BYTES]), ETagCheck::Mismatch);
        let only = ETag::from_part_md5s(&[BYTES]);
        assert_eq!(rule.check(&only, Encryption::StoreManaged, BYTES), ETagCheck::Match);
    }
}
