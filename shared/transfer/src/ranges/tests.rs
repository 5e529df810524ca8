//! Simulated listers over sets of keys: what they see, and how many pages it takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use proptest::prelude::*;

use super::*;

const PAGE: usize = 10;

/// What a simulated scan came to.
#[derive(Debug, Default)]
struct Outcome {
    /// How often each key of each side was seen.
    seen: [BTreeMap<String, u32>; 2],
    pages: usize,
    /// Rounds of pages, all listers at once.
    rounds: usize,
    ranges: usize,
}

/// One lister: pages of both sides in turn, as a merge would want them.
struct Lister {
    id: RangeId,
    position: [Option<String>; 2],
    done: [bool; 2],
    /// Answered and not yet compared.
    pages: [BTreeSet<String>; 2],
}

impl Lister {
    /// Takes what a merge would compare now: keys up to where the side that is behind has come.
    fn compare(&mut self, until: Option<&str>) -> [Vec<String>; 2] {
        let behind = self.position.iter().zip(self.done).filter(|(_, done)| !done).map(|(key, _)| key).min();
        let taken = |key: &String| behind.is_none_or(|behind| Some(key) <= behind.as_ref());
        self.pages.each_mut().map(|page| {
            let compared =
                page.extract_if(.., taken).filter(|key| until.is_none_or(|until| key.as_str() <= until));
            compared.collect()
        })
    }
}

fn simulate(sides: [&BTreeSet<String>; 2], todo: Vec<KeyRange>, listers: usize) -> Outcome {
    let mut book = Ranges::new(todo, listers);
    let mut outcome = Outcome::default();
    let mut active: Vec<Lister> = Vec::new();
    loop {
        while let Some(Assignment { id, range: KeyRange { after, .. }, empty }) = book.take() {
            active.push(Lister {
                id,
                position: [after.clone(), after],
                done: empty,
                pages: Default::default(),
            });
        }
        if active.is_empty() {
            break;
        }
        outcome.rounds += 1;
        for lister in &mut active {
            for side in [Side::Source, Side::Destination] {
                let at = side as usize;
                if lister.done[at] {
                    continue;
                }
                // A merge asks for a page of the side that is behind.
                let other = &lister.position[1 - at];
                if !lister.done[1 - at] && lister.position[at] > *other {
                    continue;
                }
                outcome.pages += 1;
                let from = lister.position[at].clone().map_or(Bound::Unbounded, Bound::Excluded);
                let mut rest = sides[at].range((from, Bound::Unbounded));
                let page: Vec<&String> = rest.by_ref().take(PAGE).collect();
                let ends = page.first().zip(page.last()).map(|(first, last)| (first.as_str(), last.as_str()));
                let last = rest.next().is_none();
                book.note_page(lister.id, side, PageSeen { ends, keys: page.len(), last });
                for key in &page {
                    if book.until(lister.id).is_some_and(|until| key.as_str() > until) {
                        let until = book.until(lister.id).map(ToOwned::to_owned);
                        assert!(book.close_side(lister.id, side, until.as_deref()));
                        lister.done[at] = true;
                        break;
                    }
                    lister.pages[at].insert((*key).clone());
                }
                lister.position[at] = page.last().map(|key| (*key).clone()).or(lister.position[at].take());
                lister.done[at] |= last;
            }
            for (seen, compared) in outcome.seen.iter_mut().zip(lister.compare(book.until(lister.id))) {
                for key in compared {
                    *seen.entry(key).or_default() += 1;
                }
            }
        }
        active.retain(|lister| {
            let done = lister.done == [true; 2];
            if done {
                book.finish(lister.id);
            }
            !done
        });
        // Every key once, all the time: neighbours meet without a gap.
        let mut bounds: Vec<&KeyRange> = book.iter().map(|(_, bounds)| bounds).collect();
        bounds.sort_by(|a, b| a.after.cmp(&b.after));
        assert!(bounds.windows(2).all(|pair| pair[0].until.is_some() && pair[0].until <= pair[1].after));
    }
    outcome.ranges = book.len();
    outcome
}

fn keys(layout: &str, count: usize) -> BTreeSet<String> {
    let scattered = |number: usize| (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..count)
        .map(|number| match layout {
            "flat" => format!("object-{number:010}"),
            "prefixed" => format!("tenants/0f5e1b/exports/of-one-very-long-name/2024/{number:08}.parquet"),
            "uuid" => format!("{:016x}-{:04x}", scattered(number), number % 65_536),
            "dates" => {
                format!("logs/2024/{:02}/{:02}/{number:07}.gz", 1 + number / 2800 % 12, 1 + number / 100 % 28)
            }
            "cjk" => {
                let chars: Vec<char> = "备份数据照片文件东京大阪".chars().collect();
                let pick = |at: u32| chars[(scattered(number) >> (at * 8)) % chars.len()];
                format!("备份/{}{}{}{number}", pick(0), pick(1), pick(2))
            }
            "control" => {
                let byte = |at: usize| char::from(scattered(number).to_le_bytes()[at] % 0x7f + 1);
                format!("{}{}{}{number:x}", byte(0), byte(1), byte(2))
            }
            "skewed" if number % 10 == 0 => format!("a/{number:09}"),
            "skewed" => format!("zz/deep/{:016x}", scattered(number)),
            other => panic!("no layout {other}"),
        })
        .collect()
}

const LAYOUTS: [&str; 7] = ["flat", "prefixed", "uuid", "dates", "cjk", "control", "skewed"];

#[test]
fn big_buckets_of_every_layout_are_listed_in_parallel_at_little_more_than_the_fewest_pages() {
    for layout in LAYOUTS {
        let keys = keys(layout, 1000 * PAGE);
        let outcome = simulate([&keys, &keys], vec![KeyRange::ALL], 16);
        for seen in &outcome.seen {
            assert!(seen.keys().eq(keys.iter()) && seen.values().all(|times| *times == 1), "{layout}");
        }
        assert!(outcome.pages <= 2 * 1000 * 115 / 100, "{layout}: {} pages", outcome.pages);
        assert!(outcome.rounds <= 1000 / 16 * 2, "{layout}: {} rounds", outcome.rounds);
    }
}

#[test]
fn small_buckets_are_listed_without_a_guess() {
    for pages in 0..=3 {
        let keys = keys("uuid", pages * PAGE);
        let outcome = simulate([&keys, &keys], vec![KeyRange::ALL], 16);
        assert_eq!((outcome.pages, outcome.ranges), (2 * pages.max(1), 1), "{pages}");
    }
}

#[test]
fn an_empty_destination_is_asked_once() {
    let (full, empty) = (keys("flat", 1000 * PAGE), BTreeSet::new());
    let outcome = simulate([&full, &empty], vec![KeyRange::ALL], 16);
    assert!(outcome.pages <= 1150, "{} pages", outcome.pages);
    assert!(outcome.rounds <= 125, "{} rounds", outcome.rounds);
}

#[test]
fn one_lister_keeps_the_order_and_never_cuts() {
    let keys = keys("uuid", 100 * PAGE);
    let outcome = simulate([&keys, &keys], vec![KeyRange::ALL], 1);
    assert_eq!((outcome.pages, outcome.ranges), (200, 1));
}

#[test]
fn a_range_that_cannot_begin_in_the_middle_goes_back_to_its_neighbour() {
    let mut book = Ranges::new([KeyRange::ALL], 4);
    let first = book.take().expect("the whole");
    for page in 0..4 {
        let (low, high) = (format!("0{page}0"), format!("0{page}9"));
        let seen = PageSeen { ends: Some((&low, &high)), keys: 10, last: false };
        book.note_page(first.id, Side::Source, seen);
        book.note_page(first.id, Side::Destination, seen);
    }
    let second = book.take().expect("a part");
    assert!(book.until(first.id).is_some());
    assert!(book.give_back(second.id));
    assert_eq!((book.until(first.id), book.len()), (None, 1));
    assert_eq!(book.take(), None);
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c/]{1,6}",
        "2024/[01][0-9]/[0-3][0-9]/[0-9]{1,3}",
        "[0-9a-f]{4}-[0-9a-f]{2}",
        "[一-三é\u{1}\u{7f}\u{D7FF}\u{E000}\u{10FFFF}]{1,4}",
        "the-same-long-prefix-before-every-key/[0-9]{1,4}",
    ]
}

proptest! {
    // A case is up to a thousand simulated requests.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_key_of_both_sides_is_seen_exactly_once(
        source in prop::collection::btree_set(key(), 0..250),
        destination in prop::collection::btree_set(key(), 0..250),
        shared in prop::collection::btree_set(key(), 0..250),
        listers in 1..12usize,
        bounds in prop::collection::btree_set(key(), 0..4),
    ) {
        let sides = [&source | &shared, &destination | &shared];
        // What is left of an interrupted scan: every second stretch between some keys.
        let bounds: Vec<Option<String>> =
            [None].into_iter().chain(bounds.into_iter().map(Some)).chain([None]).collect();
        let todo: Vec<KeyRange> = bounds
            .windows(2)
            .step_by(2)
            .map(|pair| KeyRange { after: pair[0].clone(), until: pair[1].clone() })
            .collect();
        let outcome = simulate([&sides[0], &sides[1]], todo.clone(), listers);
        for (side, seen) in sides.iter().zip(&outcome.seen) {
            let expected: Vec<&String> =
                side.iter().filter(|key| todo.iter().any(|range| range.contains(key))).collect();
            prop_assert_eq!(seen.keys().collect::<Vec<_>>(), expected);
            prop_assert!(seen.values().all(|times| *times == 1));
        }
    }
}
