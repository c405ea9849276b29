//! Pages: packages by state, why one is where it is, a log, one long line, the keys.
//!
//! Owns their headings and how texts scroll. What `moji why` says is made by `moji`'s own code.

use std::ops::Range;

use moji_client::operator::print::{self, Paint, duration, nvr, package_paint};
use moji_proto::message::PackageRow;

use super::Look;
use super::canvas::Canvas;
use super::table::{self, Cell, Column};
use crate::ui::{Cursor, Log, Packages, Page, Why};

/// What the keys do.
const HELP: &str = "\
q, Ctrl-C        leave
Tab              the next pane: trouble, what is built, last results
up, down, j, k   one line; PgUp, PgDn a page; Home, End, g, G to the end
Enter            why the package is where it is; of trouble: all of the line
l                its log, which goes on while it grows; f follows it again
p                packages by state; left and right, Tab: the next state
/                only packages with these letters in their names
Esc              back; in the overview: no filter any more
space            the screen stands still, and goes on
Ctrl-L           draw all of it again

The bar has all packages: █ built, ▒ waits for review, ▓ being built,
░ waits, · waits for what is not published, x failed, - does not count.
OF is how long the build should take on that builder, as earlier builds
and the builder's speed tell. So is the end of all of it; there is none
while too little is known, or nothing is leased.
This screen changes nothing: moji's other commands do.
";

pub(super) fn draw(look: &Look, page: &mut Page, filter: &str, canvas: &mut Canvas<'_>, rows: Range<usize>) {
    if rows.is_empty() {
        return;
    }
    match page {
        Page::Packages(page) => packages(page, filter, canvas, rows),
        Page::Why(page) => why(look, page, canvas, rows),
        Page::Log(page) => log(page, canvas, rows),
        Page::Text(text, cursor) => {
            let lines = wrapped(text, canvas.width());
            titled(canvas, "TROUBLE", &lines, cursor, rows);
        }
        Page::Help(cursor) => {
            let lines: Vec<String> = HELP.lines().map(str::to_owned).collect();
            titled(canvas, "KEYS", &lines, cursor, rows);
        }
    }
}

/// A heading and lines below it that scroll.
fn titled(canvas: &mut Canvas<'_>, title: &str, lines: &[String], cursor: &mut Cursor, rows: Range<usize>) {
    canvas.put(0, rows.start, title, Paint::Bold);
    canvas.head(rows.start, true);
    cursor.settle(lines.len(), rows.len() - 1);
    for (line, row) in lines.iter().skip(cursor.top).zip(rows.start + 1..rows.end) {
        canvas.put(0, row, line, Paint::Plain);
    }
}

/// A text in lines that fit, broken at blanks where there are any.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in print::safe(text).split(' ') {
        let last = lines.last_mut().expect("there is one");
        let room = width.saturating_sub(print::columns(last) + 1);
        if last.is_empty() || print::columns(word) <= room {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

const PACKAGES: [Column; 5] = [
    Column::name("PACKAGE", 14),
    Column::text("STATE", 9).drops(1),
    Column::number("FOR").drops(2),
    Column::name("BUILDER", 8).drops(3),
    Column::text("WHY", 12).drops(4),
];

fn packages(page: &mut Packages, filter: &str, canvas: &mut Canvas<'_>, rows: Range<usize>) {
    let shown = page.shown(filter);
    let state = page.state.map_or("all packages", |state| state.as_str());
    let count = if page.is_known { shown.len().to_string() } else { "…".to_owned() };
    let paint = page.state.map_or(Paint::Bold, package_paint);
    let at = canvas.put(0, rows.start, "◀ ", Paint::Dim);
    let at = canvas.put(at, rows.start, &format!("{state}: {count}"), paint);
    canvas.put(at, rows.start, " ▶", Paint::Dim);
    let below = rows.start + 1;
    if below >= rows.end {
        return;
    }
    let height = (rows.end - below).saturating_sub(1);
    let mut cursor = page.cursor;
    cursor.settle(shown.len(), height);
    let cells: Vec<Vec<Cell>> =
        shown.iter().skip(cursor.top).take(height).map(|row| package_row(row)).collect();
    table::draw(canvas, below, &PACKAGES, "", &cells, true, Some(cursor.at - cursor.top));
    page.cursor = cursor;
}

fn package_row(row: &PackageRow) -> Vec<Cell> {
    vec![
        Cell(nvr(row.srpm.as_str()).to_owned(), Paint::Plain),
        Cell(row.state.as_str().to_owned(), package_paint(row.state)),
        Cell(duration(row.age_s.into()), Paint::Plain),
        Cell(row.builder.as_ref().map_or(String::new(), |name| name.as_str().to_owned()), Paint::Plain),
        Cell(row.why.to_string(), Paint::Dim),
    ]
}

fn why(look: &Look, page: &mut Why, canvas: &mut Canvas<'_>, rows: Range<usize>) {
    let text = match (&page.no, &page.package) {
        (Some(no), _) => no.clone(),
        (None, None) => "asks the hub …".to_owned(),
        (None, Some(package)) => {
            let style = look.text(canvas.width());
            print::why(&style, package, &page.texts, &page.lacks, &page.attempts)
        }
    };
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    titled(canvas, "WHY", &lines, &mut page.cursor, rows);
}

fn log(page: &mut Log, canvas: &mut Canvas<'_>, rows: Range<usize>) {
    let name = page.srpm.as_ref().map_or("", |srpm| nvr(srpm.as_str()));
    let mut title = format!("build.log of {name}");
    if let Some((attempt, live)) = page.of {
        let live = if live { ", grows" } else { "" };
        title.push_str(&format!(", attempt {attempt}{live}"));
    }
    let at = canvas.put(0, rows.start, &title, Paint::Bold);
    if let Some(end) = &page.end {
        canvas.put(at + 2, rows.start, end, Paint::Yellow);
    }
    canvas.head(rows.start, true);
    // A line that is not begun yet is none.
    let lines = page.lines.len() - usize::from(page.lines.back().is_some_and(String::is_empty));
    if page.is_followed {
        page.cursor.at = lines.saturating_sub(1);
    }
    page.cursor.settle(lines, rows.len() - 1);
    if lines == 0 && page.end.is_none() {
        canvas.put(0, rows.start + 1, "asks the hub …", Paint::Dim);
    }
    for (line, row) in page.lines.iter().take(lines).skip(page.cursor.top).zip(rows.start + 1..rows.end) {
        canvas.put(0, row, &line.replace('\t', "    "), Paint::Plain);
    }
}
