//! `moji why` and `moji blocked`.
//!
//! Owns their shape. Reasons are the hub's words; here they get their order, and names beside them.

use moji_proto::message::{AttemptRow, BlockedRow, CycleRow, LackRow, PackageRow, Topic};

use super::packages::state_words;
use super::page::{Column, Page, Paint, Span, paint, plain};
use super::units::count;
use super::words::{nvr, package_paint, verdict_paint};
use super::{Style, Text, duration};

/// Where the text after a label begins, columns.
const INDENT: usize = 12;
/// Members of a cycle that a terminal shows.
const MEMBERS_MAX: usize = 30;

/// A cycle and the lines that belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// The cycle.
    pub row: CycleRow,
    /// Its members, and what to import.
    pub texts: Vec<Text>,
}

impl Cycle {
    /// Its names of this kind.
    pub(super) fn names(&self, topic: Topic) -> impl Iterator<Item = &str> {
        self.texts.iter().filter(move |text| text.topic == topic).map(|text| text.line.as_str())
    }
}

/// `moji why`: what holds a package up, and what became of it.
#[must_use]
pub fn why(
    style: &Style,
    package: &PackageRow,
    texts: &[Text],
    lacks: &[LackRow],
    attempts: &[AttemptRow],
) -> String {
    let mut page = Page::new(style);
    let short = nvr(package.srpm.as_str());
    page.words(plain(""), 0, paint(short, Paint::Bold));
    let state = format!("{}, for {}", state_words(package), duration(package.age_s.into()));
    page.words(label("state"), INDENT, paint(state, package_paint(package.state)));
    let several = |page: &mut Page<'_>, name: &str, topic: Topic| {
        let of_topic = texts.iter().filter(|text| text.topic == topic);
        below(page, name, of_topic.map(|text| plain(&text.line)));
    };
    several(&mut page, "why", Topic::Why);
    below(&mut page, "lacks", lacks.iter().map(lack));
    several(&mut page, "order", Topic::Order);
    several(&mut page, "builders", Topic::Passed);
    below(&mut page, "attempts", attempts.iter().map(attempt));
    if let Some(before) = attempts.first().and_then(|first| first.number.checked_sub(2)) {
        let before = count(u64::from(before) + 1, "attempt");
        below(&mut page, "", [paint(format!("{before} before: moji show {short}"), Paint::Dim)].into_iter());
    }
    several(&mut page, "next", Topic::Next);
    page.finish()
}

fn label(name: &str) -> Span {
    paint(format!("  {name}"), Paint::Dim)
}

/// Lines below each other, with a name before the first.
fn below(page: &mut Page<'_>, name: &str, lines: impl Iterator<Item = Span>) {
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    for (line, name) in lines.zip(names) {
        page.words(label(name), INDENT, line);
    }
}

fn lack(lack: &LackRow) -> Span {
    let or = if lack.any { "or " } else { "" };
    let others = match lack.holds.saturating_sub(1) {
        0 => String::new(),
        more => format!(
            "; {} for it, too",
            if more == 1 { "1 other waits".to_owned() } else { format!("{more} others wait") }
        ),
    };
    let text = format!("{or}{}: {}{others}", lack.capability, lack.text);
    paint(text, if lack.there { Paint::Green } else { Paint::Plain })
}

/// `2: failed on board7 after 12 m: exit 1`.
fn attempt(row: &AttemptRow) -> Span {
    let (word, colour) = match row.verdict {
        Some(verdict) => (verdict.as_str(), verdict_paint(verdict)),
        None if row.ended_unix_s == 0 => ("runs", Paint::Cyan),
        None => ("ended", Paint::Dim),
    };
    let mut text = format!("{}: {word}", row.number);
    if !row.builder.as_str().is_empty() {
        text.push_str(&format!(" on {}", row.builder));
    }
    if row.ended_unix_s > row.began_unix_s && row.began_unix_s > 0 {
        text.push_str(&format!(" after {}", duration(row.ended_unix_s - row.began_unix_s)));
    }
    if !row.reason.as_str().is_empty() {
        text.push_str(&format!(": {}", row.reason));
    }
    if !row.place.as_str().is_empty() {
        text.push_str(&format!(" (logs in {})", row.place));
    }
    paint(text, colour)
}

/// `moji blocked`: what is missing, the longest chain first, and cycles.
#[must_use]
pub fn blocked(style: &Style, blocked: &BlockedRow, lacks: &[LackRow], cycles: &[Cycle]) -> String {
    let mut page = Page::new(style);
    if blocked.packages == 0 {
        page.line(&[plain("no package waits for a capability")]);
    } else {
        let waits = if blocked.packages == 1 { "package waits" } else { "packages wait" };
        let capabilities = match blocked.capabilities {
            1 => "1 capability".to_owned(),
            n => format!("{n} capabilities"),
        };
        let unnamed = match blocked.unnamed {
            0 => String::new(),
            n => format!("; of {n} no log names what is missing"),
        };
        page.words(plain(""), 0, plain(format!("{} {waits} for {capabilities}{unnamed}", blocked.packages)));
    }
    missing(&mut page, blocked, lacks);
    cycles.iter().for_each(|cycle| self::cycle(&mut page, cycle));
    let left = (blocked.cycles as usize).saturating_sub(cycles.len());
    if left > 0 {
        page.gap();
        page.line(&[paint(format!("and {}", count(left as u64, "more cycle")), Paint::Dim)]);
    }
    page.finish()
}

fn missing(page: &mut Page<'_>, blocked: &BlockedRow, lacks: &[LackRow]) {
    if lacks.is_empty() {
        return;
    }
    page.gap();
    let columns = [
        Column::name("CAPABILITY"),
        Column::number("HOLDS"),
        Column::number("IN ALL"),
        Column::number("CHAIN"),
        Column::name("PERHAPS FROM"),
        Column::text("WHICH IS"),
    ];
    let rows: Vec<Vec<Span>> = lacks
        .iter()
        .map(|lack| {
            vec![
                plain(&lack.capability),
                plain(lack.holds),
                plain(lack.holds_all),
                plain(if lack.chain_s > 0 { duration(lack.chain_s.into()) } else { String::new() }),
                match &lack.from {
                    Some(from) => plain(nvr(from.as_str())),
                    None => paint("nothing known", Paint::Yellow),
                },
                lack.state.map_or_else(|| plain(""), |state| paint(state.as_str(), package_paint(state))),
            ]
        })
        .collect();
    page.table(&columns, &rows);
    let left = (blocked.capabilities as usize).saturating_sub(lacks.len());
    if left > 0 {
        page.line(&[paint(format!("and {left} more: moji blocked -n {}", blocked.capabilities), Paint::Dim)]);
    }
}

fn cycle(page: &mut Page<'_>, cycle: &Cycle) {
    let CycleRow { members, imports, exact, sure } = cycle.row;
    page.gap();
    let how = match (sure, members) {
        (true, 1) => "it lacks what it builds itself, as its log says",
        (true, _) => "each lacks another, as their logs say",
        (false, _) => "their headers look as if each needed another; not all were tried",
    };
    page.line(&[
        paint(format!("cycle of {}", count(members.into(), "package")), Paint::Bold),
        plain(format!(": {how}")),
    ]);
    items(page, "members", cycle.names(Topic::Member).collect(), members as usize);
    items(page, "import", cycle.names(Topic::Import).collect(), imports as usize);
    let text = match exact {
        true => "builds of these from elsewhere, put into repo/, break it; no fewer would",
        false => "builds of these from elsewhere, put into repo/, break it; fewer may do",
    };
    page.words(label(""), INDENT, paint(text, Paint::Dim));
}

fn items(page: &mut Page<'_>, name: &str, names: Vec<&str>, all: usize) {
    let shown = &names[..page.width().map_or(names.len(), |_| names.len().min(MEMBERS_MAX))];
    let mut spans: Vec<Span> = shown.iter().map(plain).collect();
    if all > shown.len() {
        spans.push(paint(format!("and {} more", all - shown.len()), Paint::Dim));
    }
    page.items(label(name), INDENT, spans);
}
