//! Pages of a sorted map of keys, as S3 lists them.
//!
//! Owns: prefix, delimiter, starting point and page size. Does not own: what is listed, nor how keys are written on a wire.
//! Invariants: pages laid end to end hold every key exactly once, in UTF-8 byte order; a rolled-up prefix is skipped by one
//! seek, however many keys it stands for.

use std::collections::BTreeMap;
use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ferry_transfer::successor;

/// Most keys in a page (AWS, `ListObjectsV2`, `max-keys`).
pub const PAGE_MAX: usize = 1000;

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Only keys that begin so.
    pub prefix: String,
    /// Roll keys up to the next occurrence of this after the prefix; never empty.
    pub delimiter: Option<String>,
    /// Where to begin.
    pub from: Start,
    /// Most keys and rolled-up prefixes together; more than [`PAGE_MAX`] counts as that many.
    pub page_size: usize,
}

/// Where a page begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Start {
    /// At the first key.
    #[default]
    Beginning,
    /// Behind this key.
    AfterKey(String),
    /// Behind every key that begins so.
    AfterPrefix(String),
}

/// One page.
#[derive(Debug)]
pub struct Page<V> {
    /// Keys and what they name.
    pub entries: Vec<(String, V)>,
    /// Rolled-up prefixes.
    pub common_prefixes: Vec<String>,
    /// Where the next page begins; `None` when this was the last.
    pub next: Option<Start>,
}

impl Start {
    /// As an opaque continuation token.
    pub fn to_token(&self) -> String {
        let text = match self {
            Self::Beginning => "b".to_owned(),
            Self::AfterKey(key) => format!("k{key}"),
            Self::AfterPrefix(prefix) => format!("p{prefix}"),
        };
        URL_SAFE_NO_PAD.encode(text)
    }

    /// Reads what [`Self::to_token`] writes; `None` for anything else.
    pub fn from_token(token: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let mut chars = text.chars();
        match chars.next()? {
            'b' => Some(Self::Beginning),
            'k' => Some(Self::AfterKey(chars.as_str().to_owned())),
            'p' => Some(Self::AfterPrefix(chars.as_str().to_owned())),
            _ => None,
        }
    }
}

/// One page of `map`.
pub(super) fn list<V: Clone>(map: &BTreeMap<String, V>, query: &ListQuery) -> Page<V> {
    let limit = query.page_size.min(PAGE_MAX);
    let mut page = Page { entries: Vec::new(), common_prefixes: Vec::new(), next: None };
    let Some(mut lower) = first_bound(query) else {
        return page;
    };
    if limit == 0 {
        return page;
    }
    let mut last = None;
    loop {
        let range = (borrow(&lower), Bound::Unbounded);
        let mut rolled = None;
        for (key, value) in map.range::<str, _>(range) {
            let Some(rest) = key.strip_prefix(&query.prefix) else {
                return page;
            };
            if page.entries.len() + page.common_prefixes.len() == limit {
                page.next = last;
                return page;
            }
            if let Some(common) = roll_up(rest, query.delimiter.as_deref()) {
                rolled = Some(format!("{}{common}", query.prefix));
                break;
            }
            last = Some(Start::AfterKey(key.clone()));
            page.entries.push((key.clone(), value.clone()));
        }
        let Some(common) = rolled else { return page };
        let next = successor(&common);
        last = Some(Start::AfterPrefix(common.clone()));
        page.common_prefixes.push(common);
        match next {
            Some(next) => lower = Bound::Included(next),
            None => return page,
        }
    }
}

/// The part of `rest` up to and including the first delimiter.
pub(crate) fn roll_up<'a>(rest: &'a str, delimiter: Option<&str>) -> Option<&'a str> {
    let delimiter = delimiter?;
    rest.find(delimiter).map(|at| &rest[..at + delimiter.len()])
}

/// The first key that can be in the page; `None` where there can be none.
pub(crate) fn first_bound(query: &ListQuery) -> Option<Bound<String>> {
    let from = match &query.from {
        Start::Beginning => Bound::Included(String::new()),
        Start::AfterKey(key) => Bound::Excluded(key.clone()),
        Start::AfterPrefix(prefix) => Bound::Included(successor(prefix)?),
    };
    let (Bound::Included(text) | Bound::Excluded(text)) = &from else {
        return Some(from);
    };
    if text.as_str() < query.prefix.as_str() {
        Some(Bound::Included(query.prefix.clone()))
    } else {
        Some(from)
    }
}

pub(crate) fn borrow(bound: &Bound<String>) -> Bound<&str> {
    bound.as_ref().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn map<'a>(keys: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, u8> {
        keys.into_iter().map(|key| (key.to_owned(), 0)).collect()
    }

    fn walk(map: &BTreeMap<String, u8>, mut query: ListQuery) -> (Vec<String>, Vec<String>) {
        let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
        for _ in 0..1000 {
            let page = list(map, &query);
            keys.extend(page.entries.into_iter().map(|(key, _)| key));
            prefixes.extend(page.common_prefixes);
            match page.next {
                None => return (keys, prefixes),
                Some(next) => {
                    query.from = Start::from_token(&next.to_token()).expect("own token");
                }
            }
        }
        panic!("the listing does not end");
    }

    #[test]
    fn a_page_of_zero_keys_is_empty_and_the_last() {
        let page = list(&map(["a"]), &ListQuery { page_size: 0, ..ListQuery::default() });
        assert!(page.entries.is_empty() && page.next.is_none());
    }

    #[test]
    fn the_successor_of_a_prefix_skips_all_that_begin_with_it() {
        assert_eq!(successor("a/").as_deref(), Some("a0"));
        assert_eq!(successor("a\u{D7FF}").as_deref(), Some("a\u{E000}"));
        assert_eq!(successor("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(successor("\u{10FFFF}"), None);
    }

    proptest! {
        #[test]
        fn pages_hold_every_key_once_and_roll_up_as_one_page_would(
            keys in prop::collection::btree_set("[ab/é]{1,5}", 0..30),
            prefix in "[ab/]{0,2}",
            after in prop::option::of("[ab/é]{0,3}"),
            delimited in any::<bool>(),
            page_size in 1..5usize,
        ) {
            let map = map(keys.iter().map(String::as_str));
            let (mut expected, mut expected_prefixes) = (Vec::new(), BTreeSet::new());
            for key in &keys {
                let Some(rest) = key.strip_prefix(&prefix) else { continue };
                if after.as_ref().is_some_and(|after| key <= after) {
                    continue;
                }
                match rest.find('/').filter(|_| delimited) {
                    Some(at) => {
                        expected_prefixes.insert(format!("{prefix}{}", &rest[..=at]));
                    }
                    None => expected.push(key.clone()),
                }
            }
            let query = ListQuery {
                prefix,
                delimiter: delimited.then(|| "/".to_owned()),
                from: after.map_or(Start::Beginning, Start::AfterKey),
                page_size,
            };
            let (keys, prefixes) = walk(&map, query);
            prop_assert_eq!(keys, expected);
            prop_assert_eq!(prefixes, expected_prefixes.into_iter().collect::<Vec<_>>());
        }
    }
}
