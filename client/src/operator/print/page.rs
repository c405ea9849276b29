//! Lines that fit a terminal.
//!
//! Owns colour, columns, wrapping and cutting. A [`Span`] is the only thing that becomes a part of a line, and is
//! always [`safe`]; escape codes are written here and nowhere else, around spans, never around blanks.

use std::fmt::Display;

use super::Style;
use super::text::{beginning, columns, cut, cut_middle, safe};

/// Blanks between two columns of a table.
const GAP: usize = 2;

/// What a wrapped text gets at least, columns: on a terminal narrower than its indentation, lines are cut.
const WRAP_COLUMNS_MIN: usize = 10;

/// How a span looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// As all text.
    Plain,
    /// What to look at first.
    Bold,
    /// What to look at last.
    Dim,
    /// Wrong: somebody must act.
    Red,
    /// Soon wrong, or waits for somebody.
    Yellow,
    /// Done.
    Green,
    /// Under way.
    Cyan,
}

impl Paint {
    fn code(self) -> Option<&'static str> {
        Some(match self {
            Paint::Plain => return None,
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Red => "31",
            Paint::Yellow => "33",
            Paint::Green => "32",
            Paint::Cyan => "36",
        })
    }
}

/// A piece of a line.
#[derive(Clone, Debug)]
pub(super) struct Span {
    text: String,
    paint: Paint,
}

/// A plain span.
pub(super) fn plain(text: impl Display) -> Span {
    paint(text, Paint::Plain)
}

/// A span that looks so.
pub(super) fn paint(text: impl Display, paint: Paint) -> Span {
    Span { text: safe(&text.to_string()), paint }
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    title: &'static str,
    /// It is not made narrower than this unless the whole line is.
    min: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Name,
    Text,
    Number,
}

impl Column {
    /// Of names: cut in the middle.
    pub(super) const fn name(title: &'static str) -> Column {
        Column { title, min: 12, kind: Kind::Name }
    }

    /// Of words: cut at the end.
    pub(super) const fn text(title: &'static str) -> Column {
        Column { title, min: 12, kind: Kind::Text }
    }

    /// Not narrower than so many columns.
    pub(super) const fn at_least(self, min: usize) -> Column {
        Column { min, ..self }
    }

    /// Of numbers: right-aligned.
    pub(super) const fn number(title: &'static str) -> Column {
        Column { title, min: 12, kind: Kind::Number }
    }
}

/// Lines so far.
pub(super) struct Page<'a> {
    style: &'a Style,
    out: String,
}

impl<'a> Page<'a> {
    pub(super) fn new(style: &'a Style) -> Page<'a> {
        Page { style, out: String::new() }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    /// Columns of the terminal, if it is one.
    pub(super) fn width(&self) -> Option<usize> {
        self.style.width
    }

    /// An empty line, unless the page is empty.
    pub(super) fn gap(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    /// A line, cut to the terminal's width.
    pub(super) fn line(&mut self, spans: &[Span]) {
        self.unfinished(spans);
        self.out.push('\n');
    }

    /// A line without its newline.
    pub(super) fn unfinished(&mut self, spans: &[Span]) {
        let spans =
            &spans[..spans.iter().rposition(|s| !s.text.trim_end().is_empty()).map_or(0, |at| at + 1)];
        let text_of = |at: usize| {
            if at + 1 == spans.len() { spans[at].text.trim_end() } else { spans[at].text.as_str() }
        };
        let mut left = self.style.width.map_or(usize::MAX, |width| width.max(1));
        let mut rest: usize = (0..spans.len()).map(|at| columns(text_of(at))).sum();
        for (at, span) in spans.iter().enumerate() {
            let text = text_of(at);
            let wide = columns(text);
            // `…` stands for this span's end and all that follow.
            if rest > left && wide >= left {
                let text = if wide > left {
                    cut(text, left)
                } else {
                    format!("{}…", beginning(text, left - 1).trim_end())
                };
                return self.put(&text, span.paint);
            }
            self.put(text, span.paint);
            left -= wide;
            rest -= wide;
        }
    }

    fn put(&mut self, text: &str, paint: Paint) {
        match paint.code().filter(|_| self.style.colour && !text.trim().is_empty()) {
            Some(code) => self.out.extend(["\x1b[", code, "m", text, "\x1b[0m"]),
            None => self.out.push_str(text),
        }
    }

    /// Two spans at both ends of a line; the second is left out if there is no room.
    pub(super) fn ends(&mut self, mut first: Vec<Span>, last: Span) {
        let used: usize = first.iter().map(|span| columns(&span.text)).sum();
        let wide = columns(&last.text);
        let blanks = self.style.width.map_or(Some(GAP), |w| w.checked_sub(used + wide).filter(|b| *b >= GAP));
        if let Some(blanks) = blanks {
            first.extend([plain(" ".repeat(blanks)), last]);
        }
        self.line(&first);
    }

    /// `label  a, b, c`, broken between items.
    pub(super) fn items(&mut self, label: Span, indent: usize, items: Vec<Span>) {
        let room = self.room(indent);
        let mut line = self.labelled(label, indent);
        let (mut used, n) = (0, items.len());
        for (at, item) in items.into_iter().enumerate() {
            let comma = if at + 1 < n { "," } else { "" };
            let wide = columns(&item.text) + comma.len();
            if used > 0 && used + 1 + wide > room {
                self.line(&line);
                line = vec![plain(" ".repeat(indent))];
                used = 0;
            }
            if used > 0 {
                line.push(plain(" "));
                used += 1;
            }
            line.extend([item, plain(comma)]);
            used += wide;
        }
        self.line(&line);
    }

    /// `label  text`, wrapped between words, all lines of the text below each other.
    pub(super) fn words(&mut self, label: Span, indent: usize, text: Span) {
        let room = self.room(indent);
        let mut line = self.labelled(label, indent);
        for piece in wrap(&text.text, room) {
            line.push(Span { text: piece, paint: text.paint });
            self.line(&line);
            line = vec![plain(" ".repeat(indent))];
        }
    }

    fn room(&self, indent: usize) -> usize {
        self.style.width.map_or(usize::MAX, |width| width.saturating_sub(indent).max(WRAP_COLUMNS_MIN))
    }

    fn labelled(&self, label: Span, indent: usize) -> Vec<Span> {
        let blanks = indent.saturating_sub(columns(&label.text));
        vec![label, plain(" ".repeat(blanks))]
    }

    /// A table. Columns without any text are left out; the widest ones shrink until all fit.
    pub(super) fn table(&mut self, all: &[Column], rows: &[Vec<Span>]) {
        let natural = |at: usize| rows.iter().map(|row| columns(&row[at].text)).max().unwrap_or(0);
        let used: Vec<(usize, Column)> =
            all.iter().copied().enumerate().filter(|(at, _)| natural(*at) > 0).collect();
        let mut widths: Vec<usize> =
            used.iter().map(|(at, column)| natural(*at).max(column.title.len())).collect();
        if let Some(width) = self.style.width {
            shrink(&mut widths, &used, width);
        }
        let titles: Vec<Span> = used.iter().map(|(_, column)| paint(column.title, Paint::Dim)).collect();
        self.row(&used, &widths, titles.iter());
        for row in rows {
            self.row(&used, &widths, used.iter().map(|(at, _)| &row[*at]));
        }
    }

    fn row<'s>(&mut self, used: &[(usize, Column)], widths: &[usize], cells: impl Iterator<Item = &'s Span>) {
        let mut line = Vec::new();
        for ((cell, width), (_, column)) in cells.zip(widths).zip(used) {
            let text = match column.kind {
                Kind::Name => cut_middle(&cell.text, *width),
                Kind::Text | Kind::Number => cut(&cell.text, *width),
            };
            let blanks = plain(" ".repeat(width - columns(&text)));
            let cell = Span { text, paint: cell.paint };
            if !line.is_empty() {
                line.push(plain(" ".repeat(GAP)));
            }
            line.extend(if column.kind == Kind::Number { [blanks, cell] } else { [cell, blanks] });
        }
        self.line(&line);
    }
}

fn shrink(widths: &mut [usize], used: &[(usize, Column)], width: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let shrinkable = widths.iter_mut().zip(used).filter(|(w, (_, column))| **w > column.min);
        // Of equally wide ones the last: what stands at the end of a line is the least missed.
        match shrinkable.max_by_key(|(w, _)| **w) {
            Some((w, _)) => *w -= 1,
            None => return,
        }
    }
}

/// Lines of at most `room` columns: broken between words, and within those that are longer.
fn wrap(text: &str, room: usize) -> Vec<String> {
    if columns(text) <= room {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    let mut used = 0;
    for mut word in text.split(' ').filter(|word| !word.is_empty()) {
        if used > 0 && used + 1 + columns(word) > room {
            lines.push(String::new());
            used = 0;
        }
        while used == 0 && columns(word) > room {
            let (piece, rest) = word.split_at(beginning(word, room).len());
            if piece.is_empty() {
                break;
            }
            word = rest;
            lines.last_mut().expect("there is a first line").push_str(piece);
            lines.push(String::new());
        }
        let line = lines.last_mut().expect("there is a first line");
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += columns(word);
    }
    if lines.len() > 1 && lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// The first `rows` lines of `screen`; if there are more, the last of them says how many are left out.
#[must_use]
pub fn fit_height(screen: &str, rows: usize) -> String {
    let n = screen.lines().count();
    if n <= rows {
        return screen.to_owned();
    }
    let shown = rows.saturating_sub(1);
    let mut out: String = screen.split_inclusive('\n').take(shown).collect();
    if rows > 0 {
        out.push_str(&format!("… {} more lines\n", n - shown));
    }
    out
}
