//! Keys of every kind, and whether listings show them.

use bytes::Bytes;
use ferry_transfer::store::ListRequest;
use ferry_transfer::{ErrorKind, Result, SharedStore};

use super::Flow;
use crate::probe::Role;
use crate::probe::finding::{Outcome, says_nothing, why};
use crate::probe::trial::{Details, Trial};
use crate::profile::{ListVersion, Profile};

/// Where awkward keys lie.
const KEYS: &str = "keys/";
/// Small enough that the keys of the trial take several pages.
const PAGE_KEYS: u32 = 5;
/// Most pages of one listing.
const PAGES_MAX: usize = 4;

/// Keys that stores are known to lose, by what is odd about them.
const AWKWARD: [(&str, &str); 11] = [
    ("double slash", "a//b"),
    ("a dot between slashes", "a/./b"),
    ("two dots between slashes", "a/../c"),
    ("a slash at its end", "folder/"),
    ("space, plus, percent", "a b+c%20d%"),
    ("reserved characters", "a?b&c=d#e;f"),
    ("quotes and brackets", "'<a>\"&amp;\"'"),
    ("a control character", "tab\tand\u{1}"),
    ("composed letters", "\u{fc}ber"),
    ("decomposed letters", "u\u{308}ber"),
    ("letters beyond the basic plane", "\u{1f5fb} Fuji"),
];

/// Writes the awkward keys, and one as long as the profile allows.
pub(super) async fn keys(trial: &Trial) -> Flow {
    let store = trial.store();
    let mut refused = Vec::new();
    for (what, name) in AWKWARD {
        if let Err(error) =
            trial.put(&store, &format!("{KEYS}{name}"), Bytes::new(), Details::default()).await
        {
            refused.push(format!("{what} ({})", why(&error)));
        }
    }
    if refused.is_empty() {
        trial.tell("keys", Outcome::Yes, format!("{} awkward ones are taken", AWKWARD.len()));
    } else {
        trial.tell("keys", Outcome::No, format!("refused: {}", refused.join(", ")));
    }
    let longest = trial.profile().capabilities.key_bytes_max as usize;
    let room = longest.saturating_sub(trial.own_prefix().len() + "long/".len());
    let name = format!("long/{}", long_name(room));
    match trial.put(&store, &name, Bytes::new(), Details::default()).await {
        Ok(_) => trial.tell("key length", Outcome::Yes, format!("{longest} bytes")),
        Err(error) if says_nothing(&error) => trial.tell("key length", Outcome::Untried, error.chain()),
        Err(error) => {
            trial.tell("key length", Outcome::No, format!("{longest} bytes are refused: {}", why(&error)));
        }
    }
    Flow::Continue
}

/// A name of so many bytes with a slash now and then: that one stretch is too long is another matter.
fn long_name(length: usize) -> String {
    (0..length).map(|at| if at % 100 == 99 { '/' } else { 'k' }).collect()
}

/// Every key under a prefix, in the order in which they are listed.
async fn names(store: &SharedStore, prefix: &str, start_after: Option<&str>) -> Result<Vec<String>> {
    let mut request = ListRequest {
        prefix: prefix.to_owned(),
        start_after: start_after.map(str::to_owned),
        page_size: Some(PAGE_KEYS),
        ..ListRequest::default()
    };
    let mut names = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = store.list(request.clone()).await?;
        names.extend(page.entries.into_iter().map(|entry| entry.key.as_str().to_owned()));
        match page.next {
            Some(next) => request.cursor = Some(next),
            None => break,
        }
    }
    Ok(names)
}

/// What listings must show: the keys written, or where nothing may be written, what the configured listing shows.
async fn expected(trial: &Trial) -> Result<(String, Vec<String>)> {
    match trial.role() {
        Role::Source => {
            let names = names(&trial.store(), trial.prefix(), None).await?;
            Ok((trial.prefix().to_owned(), names))
        }
        Role::Destination => {
            let prefix = format!("{}{KEYS}", trial.own_prefix());
            let mut names: Vec<String> = AWKWARD.iter().map(|(_, name)| format!("{prefix}{name}")).collect();
            names.sort();
            Ok((prefix, names))
        }
    }
}

pub(super) async fn listings(trial: &Trial) -> Flow {
    let (prefix, expected) = match expected(trial).await {
        Ok(expected) => expected,
        Err(error) => {
            trial.tell("listing", Outcome::Broken, error.chain());
            return Flow::Continue;
        }
    };
    let configured = (trial.profile().list_version, trial.profile().list_url_encoding);
    let other = match configured.0 {
        ListVersion::V1 => ListVersion::V2,
        ListVersion::V2 => ListVersion::V1,
    };
    let mut told = Vec::new();
    let mut working = None;
    for way in [configured, (other, configured.1), (configured.0, !configured.1)] {
        // The opposite encoding is only of interest where nothing else works.
        if working.is_some() && way.1 != configured.1 {
            break;
        }
        let store =
            trial.under(|profile: &mut Profile| (profile.list_version, profile.list_url_encoding) = way);
        let words = format!("v{}{}", u8::from(way.0), if way.1 { "" } else { " without encoding" });
        match names(&store, &prefix, None).await {
            Ok(names) if names == expected => {
                working.get_or_insert(way);
                told.push(format!("{words} works"));
            }
            Ok(names) => told.push(format!("{words}: {}", difference(&names, &expected))),
            Err(error) => told.push(format!("{words}: {}", why(&error))),
        }
    }
    let told = told.join("; ");
    match working {
        Some(way) if way == configured => trial.tell("listing", Outcome::Yes, told),
        Some((version, encoding)) => {
            trial.tell_fact("listing", Outcome::Broken, told.clone(), "list_version", u8::from(version));
            trial.tell_fact("listing", Outcome::Broken, told, "list_url_encoding", encoding);
        }
        None => trial.tell("listing", Outcome::Broken, told),
    }
    start_after(trial, &prefix, &expected).await;
    Flow::Continue
}

async fn start_after(trial: &Trial, prefix: &str, expected: &[String]) {
    let [first, rest @ ..] = expected else {
        trial.tell("start after", Outcome::Untried, "there are too few keys");
        return;
    };
    match names(&trial.store(), prefix, Some(first)).await {
        // A source may hold more than was looked at.
        Ok(names) if names.first() == rest.first() => {
            trial.tell("start after", Outcome::Yes, "a listing begins where it is asked to");
        }
        Ok(_) => {
            trial.tell("start after", Outcome::No, "ignored: the bucket is listed in one chain of pages");
        }
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            trial.tell("start after", Outcome::No, why(&error));
        }
        Err(error) => trial.tell("start after", Outcome::Untried, error.chain()),
    }
}

/// What is wrong with a listing.
fn difference(names: &[String], expected: &[String]) -> String {
    let mut sorted = names.to_vec();
    sorted.sort();
    if sorted == expected {
        return "out of order".to_owned();
    }
    let missing: Vec<&String> = expected.iter().filter(|name| !names.contains(name)).collect();
    match missing.as_slice() {
        [] => format!("{} keys too many", names.len().saturating_sub(expected.len())),
        [first, ..] => format!("{} keys missing or altered, {first:?} first", missing.len()),
    }
}
