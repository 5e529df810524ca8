//! One line of a queue's journal.
//!
//! Owns: what is written down of a message, and telling a whole line from a torn one. Invariant: a line is believed only with its
//! CRC-32C; what a crash left of a line is never taken for one.

use crc_fast::CrcAlgorithm;
use serde::{Deserialize, Serialize};

/// What happened to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// It was sent, or moved here from an older segment.
    Sent(Sent),
    /// It was received, for the `count`th time.
    Received {
        /// Which.
        id: u64,
        /// From 1.
        count: u32,
    },
    /// It is done with.
    Deleted {
        /// Which.
        id: u64,
    },
}

/// A message as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    /// Its number, ascending.
    pub(super) id: u64,
    pub(super) body: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) attributes: Vec<(String, String)>,
    /// Milliseconds of Unix time before which it is not to be received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) not_before_ms: Option<i64>,
    /// How often it had been received when it was moved.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) received: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// CRC in hex and a space.
const HEAD: usize = 9;

/// Adds a line.
pub(super) fn write(record: &Record, line: &mut Vec<u8>) -> serde_json::Result<()> {
    let begin = line.len();
    line.extend_from_slice(b"00000000 ");
    serde_json::to_writer(&mut *line, record)?;
    let crc = crc(&line[begin + HEAD..]);
    line[begin..begin + HEAD - 1].copy_from_slice(format!("{crc:08x}").as_bytes());
    line.push(b'\n');
    Ok(())
}

/// Reads a line, its end included; `None` where it is not whole.
pub(super) fn read(line: &[u8]) -> Option<Record> {
    let line = line.strip_suffix(b"\n")?;
    let (head, json) = line.split_at_checked(HEAD)?;
    let told = std::str::from_utf8(head.strip_suffix(b" ")?).ok()?;
    if u32::from_str_radix(told, 16).ok()? != crc(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}

fn crc(bytes: &[u8]) -> u32 {
    // A CRC-32 fits by its definition.
    u32::try_from(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_line_is_itself_again_and_no_part_of_it_is_one(
            body in ".*", name in ".*", id: u64, cut: prop::sample::Index, flip: prop::sample::Index, bit in 0..8u32,
        ) {
            let record = Record::Sent(Sent {
                id, body, attributes: vec![(name, String::new())], not_before_ms: Some(1), received: 2,
            });
            let mut line = Vec::new();
            write(&record, &mut line).expect("written");
            prop_assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
            prop_assert_eq!(read(&line), Some(record));
            prop_assert_eq!(read(&line[..cut.index(line.len())]), None);
            let at = flip.index(line.len());
            line[at] ^= 1 << bit;
            // The hex digits of a CRC may be upper-case or not.
            prop_assert!(read(&line).is_none() || at < HEAD);
        }
    }
}
