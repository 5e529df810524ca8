//! One data file: gzip outside, CSV inside.
//!
//! Owns: unpacking as chunks pass, cutting into rows, and the MD5 over the file as it lies in the store. Invariant: a file that is not
//! the one that the manifest names ends in an error, however many of its rows came before.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures::{Stream, StreamExt, stream};
use md5::{Digest as _, Md5};

use super::{DataFile, Row, Schema};
use crate::key_source::Document;
use crate::{ETag, Error, ErrorKind, Result};

/// Unpacked at a time: gzip makes at most a thousand bytes of one, so no step takes more than 16 MiB.
const STEP_BYTES: usize = 16 << 10;
/// Longer than any row: a key of 1,024 bytes is 3,072 when every one is encoded.
const ROW_BYTES_MAX: usize = 64 << 10;
/// How every gzip file begins.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

struct Rows {
    document: Document,
    schema: Arc<Schema>,
    md5_hex: String,
    md5: Md5,
    packing: Packing,
    /// Of the chunk at hand, what is not unpacked yet.
    chunk: Bytes,
    /// Unpacked and not given out, from `taken` on.
    text: Vec<u8>,
    taken: usize,
    number: u64,
    ended: bool,
}

enum Packing {
    Unseen,
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

/// Reads the current objects of a data file.
pub(super) fn rows(
    document: Document,
    schema: Arc<Schema>,
    file: &DataFile,
) -> impl Stream<Item = Result<Row>> + Send + use<> {
    let rows = Rows {
        document,
        schema,
        md5_hex: file.md5_hex.clone(),
        md5: Md5::new(),
        packing: Packing::Unseen,
        chunk: Bytes::new(),
        text: Vec::new(),
        taken: 0,
        number: 0,
        ended: false,
    };
    stream::try_unfold(rows, |mut rows| async move { Ok(rows.next().await?.map(|row| (row, rows))) })
}

impl Rows {
    async fn next(&mut self) -> Result<Option<Row>> {
        loop {
            let Some(line) = self.next_line().await? else { return Ok(None) };
            let bad = |problem: String| {
                Error::new(ErrorKind::InvalidInput, format!("row {} cannot be read: {problem}", self.number))
            };
            let line = std::str::from_utf8(&line).map_err(|_| bad("it is not UTF-8".to_owned()))?;
            if line.is_empty() {
                continue;
            }
            if let Some(row) = self.schema.row(line).map_err(|error| bad(error.to_string()))? {
                return Ok(Some(row));
            }
        }
    }

    async fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            let rest = &self.text[self.taken..];
            let end = rest[searched..].iter().position(|byte| *byte == b'\n').map(|at| at + searched);
            let (length, skip) = match end {
                Some(end) => (end, 1),
                None if self.ended && rest.is_empty() => return Ok(None),
                None if self.ended => (rest.len(), 0),
                None if rest.len() > ROW_BYTES_MAX => {
                    return Err(Error::new(ErrorKind::InvalidInput, "a row does not end"));
                }
                None => {
                    searched = rest.len();
                    self.unpack().await?;
                    continue;
                }
            };
            let line = rest[..length].strip_suffix(b"\r").unwrap_or(&rest[..length]).to_vec();
            self.taken += length + skip;
            self.number += 1;
            return Ok(Some(line));
        }
    }

    /// Brings in a little more text, or the end.
    async fn unpack(&mut self) -> Result<()> {
        self.text.drain(..self.taken);
        self.taken = 0;
        if self.chunk.is_empty() {
            match self.document.next().await.transpose()? {
                None => return self.end(),
                Some(chunk) => {
                    self.md5.update(&chunk);
                    self.chunk = chunk;
                }
            }
        }
        if matches!(self.packing, Packing::Unseen) {
            // One byte of a file is no file of either kind, so two are waited for.
            while self.chunk.len() < GZIP_MAGIC.len() {
                match self.document.next().await.transpose()? {
                    None => break,
                    Some(more) => {
                        self.md5.update(&more);
                        self.chunk = [&self.chunk[..], &more[..]].concat().into();
                    }
                }
            }
            self.packing = if self.chunk.starts_with(&GZIP_MAGIC) {
                Packing::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))
            } else {
                Packing::Plain
            };
        }
        let step = self.chunk.split_to(self.chunk.len().min(STEP_BYTES));
        match &mut self.packing {
            Packing::Unseen | Packing::Plain => self.text.extend_from_slice(&step),
            Packing::Gzip(decoder) => {
                decoder.write_all(&step).map_err(damaged)?;
                self.text.append(decoder.get_mut());
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.ended = true;
        if let Packing::Gzip(decoder) = &mut self.packing {
            decoder.try_finish().map_err(damaged)?;
            self.text.append(decoder.get_mut());
        }
        let found = ETag::from_md5(std::mem::take(&mut self.md5).finalize().into());
        if found.as_str().eq_ignore_ascii_case(&self.md5_hex) {
            Ok(())
        } else {
            let message = format!(
                "its MD5 is {found}, the manifest says {}: it is damaged, or another file",
                self.md5_hex
            );
            Err(Error::new(ErrorKind::Corrupt, message))
        }
    }
}

fn damaged(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Corrupt, "it is no whole gzip file").caused_by(error)
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn md5_hex(bytes: &[u8]) -> String {
        ETag::from_md5(Md5::digest(bytes).into()).as_str().to_owned()
    }

    fn read(bytes: &[u8], md5_hex: &str, chunk_bytes: usize) -> Result<Vec<String>> {
        let schema = Arc::new(Schema::parse("Bucket, Key").expect("schema"));
        let file = DataFile { key: "f".into(), md5_hex: md5_hex.into() };
        let chunks: Vec<_> =
            bytes.chunks(chunk_bytes).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let rows = rows(stream::iter(chunks).boxed(), schema, &file);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        let rows: Vec<Result<Row>> = runtime.block_on(rows.collect());
        rows.into_iter().map(|row| row.map(|row| row.key().to_owned())).collect()
    }

    #[test]
    fn plain_and_packed_files_are_read_whatever_the_chunks() {
        let text = "\"b\",\"a\"\n\"b\",\"%C3%A9\"\r\n\nb,last";
        let several = [gzip("b,1\nb,"), gzip("2\n")].concat();
        for chunk_bytes in [1, 2, 3, 1000] {
            for bytes in [text.as_bytes().to_vec(), gzip(text)] {
                let keys = read(&bytes, &md5_hex(&bytes), chunk_bytes).expect("rows");
                assert_eq!(keys, ["a", "é", "last"]);
            }
            assert_eq!(read(&several, &md5_hex(&several), chunk_bytes).expect("rows"), ["1", "2"]);
        }
        assert_eq!(read(b"", &md5_hex(b""), 1).expect("empty"), Vec::<String>::new());
    }

    #[test]
    fn another_file_than_the_manifest_names_is_an_error() {
        let bytes = gzip("b,k\n");
        let error = read(&bytes, &"0".repeat(32), 1000).expect_err("another MD5");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let cut = &bytes[..bytes.len() - 4];
        assert!(read(cut, &md5_hex(cut), 1000).is_err(), "half a gzip file");
        assert!(read(b"b,\"k\n", &md5_hex(b"b,\"k\n"), 1000).expect_err("quotes").chain().contains("row 1"));
    }
}
