//! The XML that stores write, piece by piece.
//!
//! Owns: telling elements from text, and undoing references. Does not own: what elements mean. Invariant: what is not understood is
//! an error: a raw control character, an unknown reference, an end that fits no beginning, a document that is cut off. A
//! reader that went on would end a listing early.
//!
//! Stricter and smaller than XML: no document types, names are not looked up in namespaces. A page of 1,000 keys is a
//! quarter of a megabyte, and almost all of its text is passed on without being copied.

use std::borrow::Cow;

/// Why a document cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unreadable XML at byte {at}: {what}")]
pub(super) struct XmlError {
    at: usize,
    what: &'static str,
}

/// One piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// The beginning of an element, by its name without any prefix.
    Open(&'a str),
    /// The end of the element that was opened last.
    Close,
    /// Text between tags, references undone.
    Text(Cow<'a, str>),
    /// The end of the document: its one root has been closed.
    End,
}

/// Reads a document from its beginning.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    document: &'a str,
    at: usize,
    open: Vec<&'a str>,
    /// An element that was opened and closed in one tag.
    empty: bool,
    rooted: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(document: &'a str) -> Self {
        // Some servers begin with a byte order mark.
        let document = document.strip_prefix('\u{FEFF}').unwrap_or(document);
        Self { document, at: 0, open: Vec::with_capacity(8), empty: false, rooted: false }
    }

    /// The next piece.
    pub(super) fn next(&mut self) -> Result<Piece<'a>, XmlError> {
        if self.empty {
            self.empty = false;
            self.open.pop();
            return Ok(Piece::Close);
        }
        loop {
            let rest = &self.document[self.at..];
            if rest.is_empty() {
                return if self.open.is_empty() && self.rooted {
                    Ok(Piece::End)
                } else {
                    Err(self.error("it is cut off"))
                };
            }
            let Some(tag) = rest.strip_prefix('<') else {
                let length = rest.find('<').unwrap_or(rest.len());
                let text = &rest[..length];
                if self.open.is_empty() {
                    if !text.trim_ascii().is_empty() {
                        return Err(self.error("text outside of the root"));
                    }
                    self.at += length;
                    continue;
                }
                let text = undo_references(text).map_err(|what| self.error(what))?;
                self.at += length;
                return Ok(Piece::Text(text));
            };
            if let Some(data) = tag.strip_prefix("![CDATA[") {
                let length = data.find("]]>").ok_or(self.error("it is cut off"))?;
                if self.open.is_empty() {
                    return Err(self.error("text outside of the root"));
                }
                self.at += "<![CDATA[".len() + length + "]]>".len();
                return Ok(Piece::Text(Cow::Borrowed(&data[..length])));
            }
            if tag.starts_with("!--") {
                self.skip_past("-->")?;
            } else if tag.starts_with('?') {
                self.skip_past("?>")?;
            } else if tag.starts_with('!') {
                return Err(self.error("a document type"));
            } else {
                return self.tag(tag);
            }
        }
    }

    /// The text of the element that was just opened, up to its end; `Err` where it holds elements.
    pub(super) fn text(&mut self) -> Result<Cow<'a, str>, XmlError> {
        let mut all = Cow::Borrowed("");
        loop {
            match self.next()? {
                Piece::Text(text) if all.is_empty() => all = text,
                Piece::Text(text) => all.to_mut().push_str(&text),
                Piece::Close => return Ok(all),
                Piece::Open(_) | Piece::End => return Err(self.error("an element where text was expected")),
            }
        }
    }

    /// The element that was just opened, as true or false.
    pub(super) fn flag(&mut self) -> Result<bool, XmlError> {
        match &*self.text()? {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.error("neither true nor false")),
        }
    }

    /// Passes over the element that was just opened.
    pub(super) fn skip(&mut self) -> Result<(), XmlError> {
        let depth = self.open.len();
        while self.open.len() >= depth {
            self.next()?;
        }
        Ok(())
    }

    /// An error at this place.
    pub(super) fn error(&self, what: &'static str) -> XmlError {
        XmlError { at: self.at, what }
    }

    /// `tag` begins behind the `<`.
    fn tag(&mut self, tag: &'a str) -> Result<Piece<'a>, XmlError> {
        let length = tag_length(tag).ok_or(self.error("it is cut off"))?;
        let inside = &tag[..length];
        if let Some(name) = inside.strip_prefix('/') {
            if self.open.pop() != Some(name.trim_ascii_end()) {
                return Err(self.error("an end that fits no beginning"));
            }
            self.at += length + 2;
            return Ok(Piece::Close);
        }
        if self.open.is_empty() && self.rooted {
            return Err(self.error("a second root"));
        }
        let (inside, empty) = match inside.strip_suffix('/') {
            Some(inside) => (inside, true),
            None => (inside, false),
        };
        let (name, attributes) =
            inside.split_at(inside.find(|c: char| c.is_ascii_whitespace()).unwrap_or(inside.len()));
        if name.is_empty() || name.contains(['<', '&', '"', '\'', '=']) {
            return Err(self.error("no name"));
        }
        // Nothing is wanted of them; but a reference that nobody knows shows that the document is not what it seems.
        if attributes.contains('<') {
            return Err(self.error("a tag within a tag"));
        }
        undo_references(attributes).map_err(|what| self.error(what))?;
        self.rooted = true;
        self.empty = empty;
        self.open.push(name);
        self.at += length + 2;
        Ok(Piece::Open(name.rsplit_once(':').map_or(name, |(_, local)| local)))
    }

    fn skip_past(&mut self, end: &str) -> Result<(), XmlError> {
        let rest = &self.document[self.at..];
        self.at += rest.find(end).ok_or(self.error("it is cut off"))? + end.len();
        Ok(())
    }
}

/// Up to the `>` that ends the tag; one in a quoted attribute does not.
fn tag_length(tag: &str) -> Option<usize> {
    let mut quote = None;
    tag.bytes().position(|byte| {
        match quote {
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if byte == b'"' || byte == b'\'' => quote = Some(byte),
            None => return byte == b'>',
        }
        false
    })
}

fn undo_references(text: &str) -> Result<Cow<'_, str>, &'static str> {
    // Tab and line ends are all that XML 1.0 allows below the space.
    let is_plain = |byte: &u8| *byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r');
    if !text.as_bytes().iter().all(is_plain) {
        return Err("a raw control character");
    }
    if !text.contains('&') {
        return Ok(Cow::Borrowed(text));
    }
    let mut undone = String::with_capacity(text.len());
    let mut pieces = text.split('&');
    undone.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, after) = piece.split_once(';').ok_or("a reference without its end")?;
        undone.push(referred(name).ok_or("an unknown reference")?);
        undone.push_str(after);
    }
    Ok(Cow::Owned(undone))
}

/// The character a reference stands for. Control characters are let in this way: XML 1.0 has no place for them, stores that hold
/// them write them so all the same, and nothing else can be meant.
fn referred(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => digits.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(document: &str) -> Result<Vec<Piece<'_>>, XmlError> {
        let mut reader = Reader::new(document);
        let mut pieces = Vec::new();
        loop {
            match reader.next()? {
                Piece::End => return Ok(pieces),
                piece => pieces.push(piece),
            }
        }
    }

    #[test]
    fn elements_text_and_references_come_out() {
        let text = |text: &'static str| Piece::Text(text.into());
        assert_eq!(
            pieces(
                "<?xml version=\"1.0\"?>\n<a xmlns=\"u>v\"><!-- > --><n:b>x&amp;&#121;&#x7a;</n:b><c/><![CDATA[<&]]></a>\n"
            ),
            Ok(vec![
                Piece::Open("a"),
                Piece::Open("b"),
                text("x&yz"),
                Piece::Close,
                Piece::Open("c"),
                Piece::Close,
                text("<&"),
                Piece::Close,
            ])
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for document in [
            "",
            "text",
            "<a>",
            "<a",
            "<a></b>",
            "<a>\u{1}</a>",
            "<a>&nope;</a>",
            "<a>&amp</a>",
            "<a b=\"&nope;\"/>",
            "<a/><b/>",
            "<a/>x",
            "<!DOCTYPE a><a/>",
            "<a><b></a></b>",
            "<a>&#xD800;</a>",
            "< a/>",
            "<a <b></a>",
            "<a><![CDATA[x</a>",
            "</a>",
        ] {
            assert!(pieces(document).is_err(), "{document}");
        }
    }

    proptest! {
        #[test]
        fn no_beginning_of_a_document_is_a_document(text in "[a-z&<>\"' é]{0,12}", cut in 0.0..1.0f64) {
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
            let document = format!("<r><k a=\"{escaped}\">{escaped}</k></r>");
            prop_assert!(pieces(&document).is_ok_and(|pieces| text.is_empty() || pieces.contains(&Piece::Text(text.into()))));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
                     reason = "a share of a short text's length")]
            let cut = (document.len() as f64 * cut) as usize;
            if let Some(beginning) = document.get(..cut) {
                prop_assert!(pieces(beginning).is_err());
            }
        }
    }
}
