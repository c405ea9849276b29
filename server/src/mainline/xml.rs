//! Reading XML that nobody vouches for, piece by piece.
//!
//! Owns the limits: a piece (tag, text, comment) is at most [`PIECE_BYTES_MAX`] long, elements nest at most
//! [`DEPTH_MAX`] deep, a tag has at most [`ATTRIBUTES_MAX`] attributes, and no entity stands for anything but one character.
//! Knows no tag.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::escape::{resolve_predefined_entity, unescape};
use quick_xml::events::{BytesRef, BytesStart, Event};

/// Longest tag, text or comment, bytes: descriptions of packages have some kilobytes.
const PIECE_BYTES_MAX: usize = 1 << 20;
/// How deep elements nest. An index has five levels.
const DEPTH_MAX: usize = 32;
/// Most attributes that are looked at. A dependency has six.
const ATTRIBUTES_MAX: usize = 16;
/// How much of a text an error shows, characters.
const SHOWN_CHARS: usize = 80;

/// Why a file cannot be read as XML.
#[derive(Debug)]
pub(crate) enum XmlError {
    /// It cannot be read or expanded.
    Io(Arc<io::Error>),
    /// It is no XML.
    Malformed(String),
    /// It ends in the middle.
    Cut,
    /// Elements nest too deep.
    TooDeep,
}

impl fmt::Display for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            XmlError::Io(error) => error.fmt(f),
            XmlError::Malformed(why) => write!(f, "it is no XML: {why}"),
            XmlError::Cut => f.write_str("it ends in the middle"),
            XmlError::TooDeep => write!(f, "its elements nest more than {DEPTH_MAX} deep"),
        }
    }
}

impl From<quick_xml::Error> for XmlError {
    fn from(error: quick_xml::Error) -> XmlError {
        match error {
            quick_xml::Error::Io(error) => XmlError::Io(error),
            error => XmlError::Malformed(short(&error.to_string())),
        }
    }
}

/// A piece of XML.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    /// An element begins; after `<a/>` an [`Piece::End`] follows.
    Start(Tag<'a>),
    /// The innermost open element ends.
    End,
    /// A part of a text: one may come in several.
    Text(Cow<'a, str>),
    /// A character that was written as `&lt;` or `&#10;`.
    Character(char),
    /// A comment, a declaration, a processing instruction.
    Other,
}

/// Reads XML.
pub(crate) struct Xml<R: BufRead> {
    reader: Reader<Rationed<R>>,
    buf: Vec<u8>,
    depth: usize,
    keeps: bool,
}

impl<R: BufRead> Xml<R> {
    pub(crate) fn new(from: R) -> Xml<R> {
        let mut reader = Reader::from_reader(Rationed { from, left: 0, passed: Vec::new() });
        reader.config_mut().expand_empty_elements = true;
        Xml { reader, buf: Vec::new(), depth: 0, keeps: false }
    }

    /// From the piece that came last on, what comes stays as [`Xml::kept`]; or no longer.
    pub(crate) fn keep(&mut self, keeps: bool) {
        self.keeps = keeps;
    }

    /// The bytes that are kept, or those of the last piece. Whoever keeps them limits how many.
    pub(crate) fn kept(&self) -> &[u8] {
        &self.reader.get_ref().passed
    }

    /// How many elements are open.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// The next piece; None at the end of a file that is whole.
    pub(crate) fn next(&mut self) -> Result<Option<Piece<'_>>, XmlError> {
        self.buf.clear();
        let source = self.reader.get_mut();
        source.left = PIECE_BYTES_MAX;
        if !self.keeps {
            source.passed.clear();
        }
        Ok(Some(match self.reader.read_event_into(&mut self.buf)? {
            Event::Start(_) if self.depth == DEPTH_MAX => return Err(XmlError::TooDeep),
            Event::Start(start) => {
                self.depth += 1;
                Piece::Start(Tag(start))
            }
            Event::End(_) => {
                self.depth = self.depth.checked_sub(1).ok_or(XmlError::Cut)?;
                Piece::End
            }
            Event::Text(text) => Piece::Text(text.into_inner()),
            Event::CData(text) => Piece::Text(text.into_inner()),
            Event::GeneralRef(reference) => Piece::Character(character(&reference)?),
            Event::Eof if self.depth > 0 => return Err(XmlError::Cut),
            Event::Eof => return Ok(None),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {
                Piece::Other
            }
        }))
    }
}

/// What `&reference;` stands for.
fn character(reference: &BytesRef<'_>) -> Result<char, XmlError> {
    let known = match reference.resolve_char_ref()? {
        Some(character) => Some(character),
        None => resolve_predefined_entity(reference).and_then(|text| text.chars().next()),
    };
    known.ok_or_else(|| XmlError::Malformed(format!("unknown entity '&{};'", short(reference))))
}

/// The start of a text, for an error.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).flat_map(char::escape_default).collect()
}

/// The start of an element.
#[derive(Debug)]
pub(crate) struct Tag<'a>(BytesStart<'a>);

impl Tag<'_> {
    /// Its name, without the prefix of a namespace.
    pub(crate) fn name(&self) -> &str {
        self.0.local_name().into_inner()
    }

    /// Calls `each` with the name and value of every attribute.
    pub(crate) fn attributes(&self, mut each: impl FnMut(&str, Cow<'_, str>)) -> Result<(), XmlError> {
        // Without looking for one that stands there twice, which takes the square of their number.
        for attribute in self.0.attributes().with_checks(false).take(ATTRIBUTES_MAX) {
            let attribute = attribute.map_err(|error| XmlError::Malformed(error.to_string()))?;
            let value = unescape(&attribute.value);
            let value = value.map_err(|error| XmlError::Malformed(short(&error.to_string())))?;
            each(attribute.key.into_inner(), value);
        }
        Ok(())
    }

    /// The value of one attribute.
    pub(crate) fn attribute(&self, name: &str) -> Result<Option<String>, XmlError> {
        let mut found = None;
        self.attributes(|key, value| {
            if key == name {
                found = Some(value.into_owned());
            }
        })?;
        Ok(found)
    }
}

/// Gives out so many bytes and no more, and keeps them. The reader above takes each piece's bytes and none of the next.
struct Rationed<R> {
    from: R,
    left: usize,
    passed: Vec<u8>,
}

impl<R: BufRead> Read for Rationed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let n = available.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Rationed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::Error::other(format!("a piece of it is longer than {PIECE_BYTES_MAX} bytes")));
        }
        let available = self.from.fill_buf()?;
        Ok(&available[..available.len().min(self.left)])
    }

    fn consume(&mut self, n: usize) {
        self.left -= n.min(self.left);
        // What was given out is in the buffer still: this reads nothing.
        if let Ok(available) = self.from.fill_buf() {
            self.passed.extend_from_slice(&available[..n.min(available.len())]);
        }
        self.from.consume(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<String, String> {
        let mut xml = Xml::new(text);
        let mut seen = String::new();
        while let Some(piece) = xml.next().map_err(|error| error.to_string())? {
            match piece {
                Piece::Start(tag) => {
                    seen += &format!("<{}", tag.name());
                    tag.attributes(|name, value| seen += &format!(" {name}={value}"))
                        .map_err(|error| error.to_string())?;
                    seen.push('>');
                }
                Piece::End => seen += "</>",
                Piece::Text(text) => seen += &text,
                Piece::Character(character) => seen.push(character),
                Piece::Other => seen.push('-'),
            }
        }
        Ok(seen)
    }

    #[test]
    fn elements_texts_and_characters_come_in_order() {
        let text = "\u{feff}<?xml version='1.0'?><!-- x --><a><r:b c='1&amp;2' r:d=\"\"/>x&lt;y&#233;<![CDATA[<z>]]></a>";
        assert_eq!(read(text.as_bytes()).unwrap(), "--<a><b c=1&2 r:d=></>x<yé<z></>");
        assert_eq!(read(b"").unwrap(), "");
    }

    #[test]
    fn the_bytes_of_what_is_kept_are_those_that_came() {
        let text = "\u{feff}<?xml version='1.0'?> <a>x<b  c = 'd'/>&lt;y<!-- z --><![CDATA[w]]></a >\n<e/>";
        for capacity in [1, 2, 7, 100] {
            let mut xml = Xml::new(io::BufReader::with_capacity(capacity, text.as_bytes()));
            let mut kept = Vec::new();
            while let Some(piece) = xml.next().unwrap() {
                let starts = matches!(&piece, Piece::Start(tag) if matches!(tag.name(), "a" | "e"));
                let ends = matches!(piece, Piece::End) && xml.depth() == 0;
                if starts {
                    xml.keep(true);
                }
                if ends {
                    kept.push(String::from_utf8(xml.kept().to_vec()).unwrap());
                    xml.keep(false);
                }
            }
            let want = ["<a>x<b  c = 'd'/>&lt;y<!-- z --><![CDATA[w]]></a >", "<e/>"];
            assert_eq!(kept, want, "{capacity}");
        }
    }

    #[test]
    fn what_is_malformed_cut_or_made_to_cost_memory_is_an_error() {
        let check = |text: &[u8], word: &str| {
            let error = read(text).unwrap_err();
            assert!(error.contains(word) && error.len() < 300 && !error.contains('\n'), "{error}");
        };
        check(b"<a>", "in the middle");
        check(b"<a></b>", "no XML");
        check(b"<a", "no XML");
        check(b"</a>", "no XML");
        check(b"<a>&nbsp;</a>", "unknown entity");
        check(b"<a b='&nbsp;'/>", "no XML");
        check(b"<a>\xff</a>", "no XML");
        check(&b"<a>".repeat(33), "more than 32 deep");
        check(&[&b"<a>"[..], &vec![b'x'; 2 << 20], b"</a>"].concat(), "longer than 1048576 bytes");
        check(&[&b"<!--"[..], &vec![b'x'; 2 << 20], b"-->"].concat(), "longer than 1048576 bytes");
        // Billions of laughs: what a DTD declares stands for nothing.
        check(b"<!DOCTYPE a [<!ENTITY b 'ccc'>]><a>&b;</a>", "unknown entity");
        let many = format!("<a {}/>", "b='' ".repeat(200_000));
        assert_eq!(read(many.as_bytes()).unwrap().matches("b=").count(), ATTRIBUTES_MAX);
    }
}
