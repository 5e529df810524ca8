//! The hash by which directories are indexed: "half MD4", over unsigned characters.
//!
//! Owns: one function. Its 32 steps are those of MD4 on eight words (RFC 1320 has the rounds), seeded per file system. What a kernel
//! looks a name up by must equal this bit for bit, so it is tested against `debugfs`.

/// The major hash, by which entries are sorted, and the minor one, which decides between equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NameHash {
    pub(super) major: u32,
    pub(super) minor: u32,
}

/// No name may hash to the mark of the index's end.
const END_OF_INDEX: u32 = 0x7fff_ffff << 1;
const ROUND_2: u32 = 0x5a82_7999;
const ROUND_3: u32 = 0x6ed9_eba1;

pub(super) fn hash(seed: &[u32; 4], name: &[u8]) -> NameHash {
    let mut state = *seed;
    let mut rest = name;
    loop {
        mix(&mut state, &words(rest));
        if rest.len() <= 32 {
            break;
        }
        rest = &rest[32..];
    }
    let major = state[1] & !1;
    NameHash { major: if major == END_OF_INDEX { END_OF_INDEX - 2 } else { major }, minor: state[2] }
}

/// Eight words of what is left of the name, padded with its length.
fn words(rest: &[u8]) -> [u32; 8] {
    // A name has at most 255 bytes.
    let pad = u32::from_le_bytes([u8::try_from(rest.len()).unwrap_or(u8::MAX); 4]);
    let mut words = [pad; 8];
    for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
        for byte in bytes {
            *word = (*word << 8).wrapping_add(u32::from(*byte));
        }
    }
    words
}

#[expect(clippy::many_single_char_names, reason = "the names of RFC 1320")]
fn mix(state: &mut [u32; 4], x: &[u32; 8]) {
    let [mut a, mut b, mut c, mut d] = *state;
    let mut round = |f: fn(u32, u32, u32) -> u32, order: [usize; 8], shifts: [u32; 4], k: u32| {
        for (step, word) in order.into_iter().enumerate() {
            let mixed = a
                .wrapping_add(f(b, c, d))
                .wrapping_add(x[word])
                .wrapping_add(k)
                .rotate_left(shifts[step % 4]);
            (a, b, c, d) = (d, mixed, b, c);
        }
    };
    round(|x, y, z| z ^ (x & (y ^ z)), [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19], 0);
    round(|x, y, z| (x & y).wrapping_add((x ^ y) & z), [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13], ROUND_2);
    round(|x, y, z| x ^ y ^ z, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15], ROUND_3);
    for (word, mixed) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(mixed);
    }
}
