//! Single lines: events, what was changed, what was not, how far a file is.
//!
//! Owns their shape. An event is `TIME  KIND  WHAT: WHY (WHO)`, cut at the terminal's width.

use moji_proto::message::{EventKind, EventRow, NoCode, Verdict, Which};
use moji_proto::{FileName, LeaseId, Line};

use super::page::{Page, Paint, Span, paint, plain};
use super::words::{event_paint, nvr, package_paint, phase_word, verdict_paint};
use super::{Style, columns, duration, local_time, safe, size};

/// Columns of the longest kind of event, `builder-down`.
const KIND_COLUMNS: usize = 12;

/// Names that a NotFound or Ambiguous shows, on one line each.
const NAMES_MAX: usize = 20;

/// A bar of fewer columns tells nothing: it is left out.
const BAR_COLUMNS_MIN: usize = 8;

/// `moji events`: one line.
#[must_use]
pub fn event(style: &Style, event: &EventRow) -> String {
    let mut page = Page::new(style);
    let kind = event.kind.as_str();
    let mut line = vec![
        paint(local_time(style, event.unix_ms / 1_000), Paint::Dim),
        plain("  "),
        paint(kind, event_paint(event.kind)),
        plain(" ".repeat(KIND_COLUMNS.saturating_sub(kind.len()) + 2)),
    ];
    let first = line.len();
    let mut subject = Vec::new();
    subject.extend(event.srpm.as_ref().map(|srpm| nvr(srpm.as_str()).to_owned()));
    subject.extend(event.builder.as_ref().map(|builder| match &event.srpm {
        Some(_) => format!("on {builder}"),
        None => builder.to_string(),
    }));
    if !subject.is_empty() {
        line.push(plain(subject.join(" ")));
    }
    if let Some(verdict) = event.verdict {
        part(&mut line, first, paint(verdict.as_str(), verdict_paint(verdict)));
    }
    if let Some(phase) = event.phase {
        part(&mut line, first, plain(phase_word(phase)));
    }
    if !event.text.as_str().is_empty() {
        part(&mut line, first, plain(&event.text));
    }
    // "ended failed" needs no "now failed".
    let said = [Some(event.kind.as_str()), event.verdict.map(Verdict::as_str)];
    if let Some(state) =
        event.state.filter(|s| event.kind != EventKind::Leased && !said.contains(&Some(s.as_str())))
    {
        line.push(plain(if line.len() > first { ", now " } else { "now " }));
        line.push(paint(state.as_str(), package_paint(state)));
    }
    if !event.who.as_str().is_empty() {
        line.push(paint(format!(" ({})", event.who), Paint::Dim));
    }
    page.line(&line);
    page.finish()
}

fn part(line: &mut Vec<Span>, first: usize, span: Span) {
    if line.len() > first {
        line.push(plain(": "));
    }
    line.push(span);
}

/// `moji history`: a line an event.
#[must_use]
pub fn history(style: &Style, events: &[EventRow]) -> String {
    events.iter().map(|row| event(style, row)).collect()
}

/// Something was changed: one line.
#[must_use]
pub fn changed(style: &Style, target: &Line, text: &Line) -> String {
    let mut page = Page::new(style);
    page.words(plain(""), 0, plain(join(nvr(target.as_str()), text.as_str())));
    page.finish()
}

fn join(target: &str, text: &str) -> String {
    match (target, text) {
        ("", text) => text.to_owned(),
        (target, "") => target.to_owned(),
        (target, text) => format!("{target}: {text}"),
    }
}

/// The answer is no, for stderr: `moji: …`, and below it the names that it could be or that come near.
#[must_use]
pub fn no(style: &Style, code: NoCode, target: &Line, text: &Line, names: &[Line]) -> String {
    let mut page = Page::new(style);
    let text = match (text.as_str(), code) {
        ("", NoCode::NotFound) => "there is nothing of that name",
        ("", NoCode::Ambiguous) => "fits several",
        ("", NoCode::Refused) => "cannot be done as things are",
        ("", NoCode::BadInput) => "is not what it should be",
        ("", NoCode::Later) => "the hub is short of something: try again later",
        ("", NoCode::Failed) => "the hub failed: its log says why",
        (text, _) => text,
    };
    page.words(paint("moji: ", Paint::Red), 6, plain(join(nvr(target.as_str()), text)));
    if !names.is_empty() {
        page.line(&[plain(match code {
            NoCode::NotFound => "  did you mean:",
            _ => "  it could be:",
        })]);
    }
    let shown = style.width.map_or(names.len(), |_| names.len().min(NAMES_MAX));
    for name in &names[..shown] {
        page.words(plain("    "), 4, plain(name));
    }
    if names.len() > shown {
        page.line(&[paint(format!("    … {} more", names.len() - shown), Paint::Dim)]);
    }
    page.finish()
}

/// A file on its way: one line as wide as the terminal, without a newline and without a return.
#[must_use]
pub fn progress(style: &Style, name: &str, done: u64, total: u64, bytes_per_s: u64) -> String {
    let done = done.min(total);
    let percent = if total == 0 { 100 } else { u128::from(done) * 100 / u128::from(total) };
    let mut numbers = format!("{percent:3} %  {} of {}", size(done), size(total));
    if bytes_per_s > 0 {
        numbers.push_str(&format!("  {}/s", size(bytes_per_s)));
        if done < total {
            numbers.push_str(&format!("  {} left", duration((total - done).div_ceil(bytes_per_s))));
        }
    }
    let name = safe(nvr(name));
    let used = columns(&name) + columns(&numbers) + 2 + 3;
    let room = style.width.map_or(0, |width| width.saturating_sub(used));
    let mut page = Page::new(style);
    let mut line = vec![plain(name), plain("  ")];
    if room >= BAR_COLUMNS_MIN {
        // At most `room`, so it is a small number.
        let full =
            if total == 0 { room } else { (u128::from(done) * room as u128 / u128::from(total)) as usize };
        let rest = plain("-".repeat(room - full));
        line.extend([plain("["), paint("#".repeat(full), Paint::Green), rest, plain("] ")]);
    }
    line.push(plain(numbers));
    page.unfinished(&line);
    page.finish()
}

/// Which log follows, for stderr: one line.
#[must_use]
pub fn log_of(
    style: &Style,
    srpm: &FileName,
    which: Which,
    attempt: u16,
    lease: LeaseId,
    live: bool,
) -> String {
    let live = if live { ", still growing" } else { "" };
    let text =
        format!("{} of {}, attempt {attempt}, lease {lease}{live}", which.file_name(), nvr(srpm.as_str()));
    let mut page = Page::new(style);
    page.line(&[paint(text, Paint::Dim)]);
    page.finish()
}

/// How the followed attempt ended, for stderr: one line.
#[must_use]
pub fn log_end(style: &Style, srpm: &FileName, verdict: Option<Verdict>, reason: &Line) -> String {
    let (word, colour) = verdict.map_or(("ended", Paint::Plain), |v| (v.as_str(), verdict_paint(v)));
    let reason = if reason.as_str().is_empty() { String::new() } else { format!(": {reason}") };
    let mut page = Page::new(style);
    page.line(&[plain(format!("{}: ", nvr(srpm.as_str()))), paint(word, colour), plain(reason)]);
    page.finish()
}
