//! A log's bytes as numbered lines of markup.
//!
//! Owns what a build's output may do to a page: nothing. Colours become classes, all other sequences for terminals go,
//! control characters and those that turn the direction of text are shown as what they are, bytes that are no UTF-8 as
//! U+FFFD, and of a line that does not end only the beginning is kept.

use std::fmt::Write as _;

/// Of a line so much is shown, bytes: longer ones are data that went astray, and would freeze a browser.
const LINE_MAX: usize = 4_096;

/// Takes bytes, gives lines.
pub(super) struct Lines {
    /// The path to a line, up to its number.
    link: String,
    /// Number of the line that is open, from 1.
    number: u64,
    /// Where it begins.
    offset: u64,
    /// Its beginning, and how many bytes it has in all.
    open: Vec<u8>,
    length: u64,
    ink: Ink,
}

impl Lines {
    /// From line `number`, which begins at `offset`.
    pub(super) fn new(link: String, offset: u64, number: u64) -> Lines {
        Lines { link, number, offset, open: Vec::new(), length: 0, ink: Ink::default() }
    }

    /// Number of the line that is open, and where it begins.
    pub(super) fn place(&self) -> (u64, u64) {
        (self.offset, self.number)
    }

    /// How links to lines begin from now on.
    pub(super) fn set_link(&mut self, link: String) {
        self.link = link;
    }

    /// Writes the lines that `bytes` complete.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut String) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let room = LINE_MAX.saturating_sub(self.open.len());
            self.open.extend_from_slice(&text[..text.len().min(room)]);
            self.length += text.len() as u64;
            if ends {
                let mut ink = self.ink;
                self.write(out, &mut ink);
                self.ink = ink;
                self.offset += self.length + 1;
                self.number += 1;
                self.length = 0;
                self.open.clear();
            }
        }
    }

    /// Writes the line that is open, if there is anything in it.
    pub(super) fn write_open(&self, out: &mut String) {
        if self.length > 0 {
            self.write(out, &mut { self.ink });
        }
    }

    fn write(&self, out: &mut String, ink: &mut Ink) {
        let (number, link) = (self.number, &self.link);
        let _ = write!(
            out,
            "<p id=\"L{number}\"><a tabindex=\"-1\" href=\"{link}{number}#L{number}\">{number}</a>"
        );
        let line = self.open.strip_suffix(b"\r").unwrap_or(&self.open);
        markup(&String::from_utf8_lossy(line), ink, out);
        let cut = self.length - self.open.len() as u64;
        if cut > 0 {
            let _ = write!(out, "<i>… {cut} more bytes: see the raw log</i>");
        }
        out.push_str("</p>\n");
    }
}

/// How text looks, as a terminal was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ink {
    bold: bool,
    underlined: bool,
    color: Option<u8>,
}

impl Ink {
    /// Takes the numbers of `ESC [ … m` (ECMA-48, 8.3.117). Colours beyond the sixteen are left as they are.
    fn set(&mut self, numbers: &str) {
        let mut numbers = numbers.split([';', ':']).map(|n| n.parse::<u16>().unwrap_or(0));
        while let Some(number) = numbers.next() {
            match number {
                0 => *self = Ink::default(),
                1 => self.bold = true,
                4 => self.underlined = true,
                22 => self.bold = false,
                24 => self.underlined = false,
                30..=37 => self.color = u8::try_from(number - 30).ok(),
                39 => self.color = None,
                90..=97 => self.color = u8::try_from(number - 82).ok(),
                38 | 48 | 58 => match numbers.next() {
                    Some(5) => {
                        let color = numbers.next().and_then(|n| u8::try_from(n).ok()).filter(|n| *n < 16);
                        if number == 38 {
                            self.color = color;
                        }
                    }
                    Some(2) => drop(numbers.nth(2)),
                    _ => {}
                },
                _ => {}
            }
        }
    }

    fn open(self, out: &mut String) {
        if self == Ink::default() {
            return;
        }
        out.push_str("<span class=\"");
        if self.bold {
            out.push_str("bold ");
        }
        if self.underlined {
            out.push_str("line ");
        }
        if let Some(color) = self.color {
            let _ = write!(out, "c{color}");
        }
        out.push_str("\">");
    }

    fn close(self, out: &mut String) {
        if self != Ink::default() {
            out.push_str("</span>");
        }
    }
}

/// A line's text.
fn markup(text: &str, ink: &mut Ink, out: &mut String) {
    ink.open(out);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((sequence, after)) = sequence(rest) {
            if let Some(numbers) = sequence.strip_prefix("\x1b[").and_then(|text| text.strip_suffix('m')) {
                let before = *ink;
                ink.set(numbers);
                if *ink != before {
                    before.close(out);
                    ink.open(out);
                }
            }
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        character(c, out);
    }
    ink.close(out);
}

/// A sequence for terminals at the beginning, and what follows it: `ESC [ … letter`, `ESC ] … BEL`, `ESC ( B`.
fn sequence(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix('\x1b')?;
    let length = match rest.chars().next()? {
        '[' => 1 + rest[1..].find(|c: char| ('@'..='~').contains(&c))? + 1,
        ']' => {
            let end = rest.find(['\x07', '\x1b'])?;
            end + if rest[end..].starts_with("\x1b\\") { 2 } else { 1 }
        }
        '(' | ')' => 1 + rest[1..].chars().next().filter(char::is_ascii)?.len_utf8(),
        _ => return None,
    };
    Some(text.split_at(1 + length))
}

fn character(c: char, out: &mut String) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        '\t' => out.push('\t'),
        // Control pictures have the same order.
        '\0'..='\x1f' => shown(char::from_u32(0x2400 + u32::from(c)).unwrap_or('?'), out),
        '\x7f' => shown('\u{2421}', out),
        '\u{80}'..='\u{9f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => {
            let _ = write!(out, "<i>U+{:04X}</i>", u32::from(c));
        }
        c => out.push(c),
    }
}

fn shown(c: char, out: &mut String) {
    let _ = write!(out, "<i>{c}</i>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(line: &str) -> String {
        let mut out = String::new();
        markup(line, &mut Ink::default(), &mut out);
        out
    }

    #[test]
    fn nothing_that_a_build_prints_becomes_markup() {
        for (line, want) in [
            (
                "<script>alert('1')</script> & \"x\"",
                "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot;",
            ),
            ("a\tb\x07c\x00d\x7f", "a\tb<i>\u{2407}</i>c<i>\u{2400}</i>d<i>\u{2421}</i>"),
            ("x\u{202e}y\u{85}", "x<i>U+202E</i>y<i>U+0085</i>"),
            ("\x1b[31merror:\x1b[0m no", "<span class=\"c1\">error:</span> no"),
            ("\x1b[1;91mx\x1b[22my\x1b[39mz", "<span class=\"bold c9\">x</span><span class=\"c9\">y</span>z"),
            (
                "\x1b[38;5;2mx\x1b[38;2;1;2;3my\x1b[4m\"",
                "<span class=\"c2\">xy</span><span class=\"line c2\">&quot;</span>",
            ),
            ("\x1b[2K\x1b]0;<b>\x07t\x1b]8;;http://x\x1b\\l\x1b(Bm", "tlm"),
            ("\x1b<b>\x1b[", "<i>\u{241b}</i>&lt;b&gt;<i>\u{241b}</i>["),
        ] {
            assert_eq!(text_of(line), want, "{line:?}");
        }
    }

    #[test]
    fn lines_are_numbered_and_placed_however_the_bytes_come() {
        let log = b"one\r\n\xff\x1b[32mtwo\nthr\x1b[0mee";
        let whole = |size: usize| {
            let (mut lines, mut out) = (Lines::new("?line=".into(), 100, 7), String::new());
            log.chunks(size).for_each(|part| lines.push(part, &mut out));
            assert_eq!(lines.place(), (100 + 15, 9), "by {size}");
            lines.write_open(&mut out);
            out
        };
        let want = "<p id=\"L7\"><a tabindex=\"-1\" href=\"?line=7#L7\">7</a>one</p>\n\
                    <p id=\"L8\"><a tabindex=\"-1\" href=\"?line=8#L8\">8</a>\u{fffd}<span class=\"c2\">two</span></p>\n\
                    <p id=\"L9\"><a tabindex=\"-1\" href=\"?line=9#L9\">9</a><span class=\"c2\">thr</span>ee</p>\n";
        for size in 1..=log.len() {
            assert_eq!(whole(size), want, "by {size}");
        }
    }

    #[test]
    fn a_line_without_end_is_cut_and_counted() {
        let (mut lines, mut out) = (Lines::new(String::new(), 0, 1), String::new());
        (0..100).for_each(|_| lines.push(&[b'x'; 1_000], &mut out));
        assert!(out.is_empty() && lines.open.len() == LINE_MAX);
        lines.push(b"\ny\n", &mut out);
        assert!(out.contains("… 95904 more bytes") && out.len() < LINE_MAX + 300, "{}", out.len());
        assert_eq!(lines.place(), (100_003, 3));
    }
}
