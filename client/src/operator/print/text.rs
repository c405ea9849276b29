//! What may reach a terminal, and how wide it is there.
//!
//! Owns the list of characters that are dangerous or invisible, and cutting text to columns. Knows nothing of
//! colours: what it is given is plain text.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

/// `text` with control characters made visible, for one line of a terminal: `^[`, `\u{9b}`, `\u{202e}`.
/// Characters that nobody sees are written out too, so that two names that differ look different.
#[must_use]
pub fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_invisible(c) { show(c, &mut out) } else { push(c, &mut out) }
    }
    out
}

/// Makes a log safe piece by piece: newlines, tabs and what only joins letters stay, control characters and
/// what turns the direction of text become visible, bytes that are no UTF-8 become `\x{..}`.
#[derive(Debug, Default)]
pub struct SafeLog {
    /// The beginning of a character whose rest has not come yet: 3 bytes at most.
    held: Vec<u8>,
}

impl SafeLog {
    /// Takes the next bytes; what can be printed by now.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.held);
        let mut out = String::with_capacity(bytes.len());
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            chunk.valid().chars().for_each(|c| push_log(c, &mut out));
            let bad = chunk.invalid();
            // Only the last chunk may be a beginning; one that can never become a character is shown at once.
            if chunks.peek().is_none() && is_beginning(bad) {
                self.held = bad.to_vec();
            } else {
                push_bytes(bad, &mut out);
            }
        }
        out
    }

    /// The log is at its end: what was held back, if anything.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        push_bytes(&std::mem::take(&mut self.held), &mut out);
        out
    }
}

/// Columns that `text` takes on a terminal.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// `text` in at most `width` columns: what is over is cut off, with `…` at the end.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    match width {
        0 => String::new(),
        _ => format!("{}…", beginning(text, width - 1).trim_end()),
    }
}

/// `name` in at most `width` columns: its middle is cut out, since names differ at both ends.
#[must_use]
pub fn cut_middle(name: &str, width: usize) -> String {
    if columns(name) <= width {
        return name.to_owned();
    }
    if width < 3 {
        return cut(name, width);
    }
    let first = (width - 1).div_ceil(2);
    format!("{}…{}", beginning(name, first), ending(name, width - 1 - first))
}

/// As much of `text` from its beginning as takes at most `width` columns.
pub(super) fn beginning(text: &str, width: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > width {
            return &text[..at];
        }
    }
    text
}

fn ending(text: &str, width: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices().rev() {
        used += c.width().unwrap_or(0);
        if used > width {
            return &text[at + c.len_utf8()..];
        }
    }
    text
}

/// Moves the cursor, or changes what stands elsewhere in the line.
pub(super) fn is_hazard(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' // direction marks
            | '\u{2028}'..='\u{202e}' // line and paragraph separators; embeddings and overrides
            | '\u{2066}'..='\u{206f}') // isolates, and forms of digits
}

/// A hazard, or takes no place although it is no accent.
fn is_invisible(c: char) -> bool {
    is_hazard(c)
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn push(c: char, out: &mut String) {
    if is_hazard(c) { show(c, out) } else { out.push(c) }
}

fn push_log(c: char, out: &mut String) {
    if matches!(c, '\n' | '\t') { out.push(c) } else { push(c, out) }
}

/// `^X` for ASCII, as `cat -v` and editors write it, `\u{..}` for the rest.
fn show(c: char, out: &mut String) {
    match c {
        '\0'..='\x1f' | '\x7f' => out.extend(['^', char::from(c as u8 ^ 0x40)]),
        c => out.extend(c.escape_unicode()),
    }
}

fn push_bytes(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        let _ = write!(out, "\\x{{{byte:02x}}}");
    }
}

/// Whether more bytes could make a character of these.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
