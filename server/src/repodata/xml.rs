//! Writing XML as libxml2 does for createrepo_c.
//!
//! Owns escaping, cleaning of what XML cannot hold, and the limit of a text. Knows no tag.
//!
//! libxml2 leaves quotes alone in text, and writes everything beyond ASCII in an attribute by number (`xmlsave.c`:
//! `xmlEscapeContent`, `xmlBufAttrSerializeTxtContent` for a node without a document). createrepo_c takes what is no
//! UTF-8 for Latin-1 and leaves control characters out of it (`cr_latin1_to_utf8`). Where a control character is in valid
//! UTF-8 it refuses the package; here it is left out as well, so that every package is in the index.

use std::borrow::Cow;
use std::io::Write;

/// Longest text of a package, bytes. Some 240,000 files, which is what a header of 32 MiB holds, take a fifth of
/// it. Without it a few directories of megabytes and a million files in them would make terabytes.
pub(super) const TEXT_BYTES_MAX: usize = 128 << 20;

/// Most bytes of markup with numbers in it.
const NUMBERS_BYTES_MAX: usize = 256;

/// A text that is being written.
#[derive(Debug, Default)]
pub(super) struct Xml {
    out: Vec<u8>,
    full: bool,
}

/// `bytes` as XML can hold them.
pub(super) fn clean(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(|&b| may_stand(b) && b != 0xef) => Cow::Borrowed(text),
        Ok(text) => Cow::Owned(text.chars().filter(|&c| is_char(c)).collect()),
        Err(_) => Cow::Owned(bytes.iter().filter_map(|&b| latin1(b)).collect()),
    }
}

/// Whether a byte of valid UTF-8 is fine where it stands.
fn may_stand(byte: u8) -> bool {
    byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r')
}

/// Whether XML 1.0 has the character (its production 2).
fn is_char(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        c => c >= ' ',
    }
}

/// A character of Latin-1, unless it is a control character.
fn latin1(byte: u8) -> Option<char> {
    let is_control = !may_stand(byte) || (0x80..0xc0).contains(&byte);
    (!is_control).then_some(char::from(byte))
}

impl Xml {
    /// Markup, as it is.
    pub(super) fn raw(&mut self, markup: &str) {
        self.put(markup.as_bytes());
    }

    /// Markup with numbers in it.
    pub(super) fn raw_fmt(&mut self, markup: std::fmt::Arguments<'_>) {
        if self.takes(NUMBERS_BYTES_MAX) {
            self.out.write_fmt(markup).expect("memory takes all");
        }
    }

    /// Content of an element.
    pub(super) fn text(&mut self, bytes: &[u8]) {
        self.escaped(bytes, |byte| match byte {
            b'<' => Some("&lt;"),
            b'>' => Some("&gt;"),
            b'&' => Some("&amp;"),
            b'\r' => Some("&#13;"),
            _ => None,
        });
    }

    /// Value of an attribute, without the quotes.
    pub(super) fn value(&mut self, bytes: &[u8]) {
        if bytes.is_ascii() {
            return self.ascii_value(bytes);
        }
        let text = if self.takes(bytes.len()) { clean(bytes) } else { return };
        for c in text.chars() {
            if c.is_ascii() {
                self.ascii_value(&[c as u8]);
            } else {
                self.raw_fmt(format_args!("&#x{:X};", u32::from(c)));
            }
        }
    }

    fn ascii_value(&mut self, bytes: &[u8]) {
        self.escaped(bytes, |byte| match byte {
            b'<' => Some("&lt;"),
            b'>' => Some("&gt;"),
            b'&' => Some("&amp;"),
            b'"' => Some("&quot;"),
            b'\r' => Some("&#13;"),
            b'\n' => Some("&#10;"),
            b'\t' => Some("&#9;"),
            _ => None,
        });
    }

    fn escaped(&mut self, bytes: &[u8], escape: impl Fn(u8) -> Option<&'static str>) {
        let text = if self.takes(bytes.len()) { clean(bytes) } else { return };
        let mut rest = text.as_bytes();
        while let Some((at, with)) = rest.iter().enumerate().find_map(|(at, &byte)| Some((at, escape(byte)?)))
        {
            self.put(&rest[..at]);
            self.put(with.as_bytes());
            rest = &rest[at + 1..];
        }
        self.put(rest);
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.takes(bytes.len()) {
            self.out.extend_from_slice(bytes);
        }
    }

    /// Whether so many bytes more fit. Once some did not, nothing does.
    fn takes(&mut self, bytes: usize) -> bool {
        self.full |= bytes > TEXT_BYTES_MAX - self.out.len().min(TEXT_BYTES_MAX);
        !self.full
    }

    /// Whether something did not fit: what follows is for nothing.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// The text, unless it is too long.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        (!self.full).then_some(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_values_are_escaped_as_libxml2_does_it() {
        let check = |bytes: &[u8], text: &str, value: &str| {
            let (mut a, mut b) = (Xml::default(), Xml::default());
            a.text(bytes);
            b.value(bytes);
            assert_eq!(String::from_utf8(a.finish().unwrap()).unwrap(), text);
            assert_eq!(String::from_utf8(b.finish().unwrap()).unwrap(), value);
        };
        check(b"", "", "");
        check(b"a\"b'c", "a\"b'c", "a&quot;b'c");
        check(b"<&>\r\n\t", "&lt;&amp;&gt;&#13;\n\t", "&lt;&amp;&gt;&#13;&#10;&#9;");
        check("üx€😀".as_bytes(), "üx€😀", "&#xFC;x&#x20AC;&#x1F600;");
        // Latin-1 where it is no UTF-8; its control characters go.
        check(b"M\xfcller\x01\x85<", "Müller&lt;", "M&#xFC;ller&lt;");
        check(b"a\x1bb\x00\x7f", "ab\x7f", "ab\x7f");
        check("\u{fffe}ü\u{1}\u{ffff}\u{f000}".as_bytes(), "ü\u{f000}", "&#xFC;&#xF000;");
    }

    #[test]
    fn a_text_that_grows_too_long_takes_no_more() {
        let mut xml = Xml::default();
        let part = vec![b'x'; TEXT_BYTES_MAX / 4];
        (0..4).for_each(|_| xml.text(&part));
        assert!(!xml.is_full());
        xml.text(b"x");
        assert!(xml.is_full());
        assert_eq!(xml.finish(), None);
    }
}
