//! The framing `aws-chunked`, taken off.
//!
//! Owns: telling an object's bytes from chunk heads and trailers. Does not own: signatures and checksums, which are skipped.
//! Source: AWS, "Signature calculations for the authorization header: transferring payload in multiple chunks".

/// Longest chunk head: 16 hexadecimal digits and a signature extension fit many times over.
const HEAD_BYTES_MAX: usize = 1024;

/// What has been read so far.
#[derive(Debug)]
pub(super) enum Unframer {
    /// Not framed: every byte is the object's.
    Plain,
    /// Collecting a chunk head.
    Head(Vec<u8>),
    /// So many bytes of data, and then a line end, are still to come.
    Data(u64),
    /// So many bytes of the line end behind the data are still to come.
    LineEnd(u8),
    /// Behind the last chunk: trailers, not looked at.
    Trailers,
}

/// The framing is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadFraming;

impl Unframer {
    pub(super) fn framed() -> Self {
        Self::Head(Vec::new())
    }

    /// Calls `out` with each stretch of object bytes in `bytes`.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut out: impl FnMut(&[u8])) -> Result<(), BadFraming> {
        while !bytes.is_empty() {
            match self {
                Self::Plain => {
                    out(bytes);
                    return Ok(());
                }
                Self::Trailers => return Ok(()),
                Self::Head(head) => {
                    let line_end = bytes.iter().position(|byte| *byte == b'\n');
                    let taken = line_end.map_or(bytes.len(), |at| at + 1);
                    head.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    if line_end.is_some() {
                        *self = match chunk_size(head).ok_or(BadFraming)? {
                            0 => Self::Trailers,
                            size => Self::Data(size),
                        };
                    } else if head.len() > HEAD_BYTES_MAX {
                        return Err(BadFraming);
                    }
                }
                Self::Data(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    out(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    *left -= taken as u64;
                    if *left == 0 {
                        *self = Self::LineEnd(2);
                    }
                }
                Self::LineEnd(left) => {
                    bytes = &bytes[1..];
                    *left -= 1;
                    if *left == 0 {
                        *self = Self::framed();
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the body may end here.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self, Self::Plain | Self::Trailers)
    }
}

/// Reads `SIZE[;extension]\r\n`.
fn chunk_size(head: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(head).ok()?.trim_end();
    let size = line.split(';').next()?;
    u64::from_str_radix(size, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unframe(framed: &[u8], step: usize) -> Result<(Vec<u8>, bool), BadFraming> {
        let mut unframer = Unframer::framed();
        let mut found = Vec::new();
        for piece in framed.chunks(step) {
            unframer.feed(piece, |bytes| found.extend_from_slice(bytes))?;
        }
        Ok((found, unframer.is_complete()))
    }

    #[test]
    fn the_objects_bytes_are_found_however_the_body_is_cut() {
        let framed =
            b"5;chunk-signature=ab\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:aa==\r\n\r\n";
        for step in 1..=framed.len() {
            assert_eq!(unframe(framed, step), Ok((b"hello world".to_vec(), true)), "{step}");
        }
        assert_eq!(unframe(&framed[..40], 7).map(|(_, complete)| complete), Ok(false));
        assert_eq!(unframe(b"nonsense\r\n", 3), Err(BadFraming));
    }
}
