//! `moji list` and `moji show`.
//!
//! Owns a line a package, and everything of one. What is unknown or empty is left out.

use moji_proto::message::{AttemptRow, PackageRow, PackageState, Phase, Topic};

use super::page::{Column, Page, Paint, Span, paint, plain};
use super::units::count;
use super::words::{nvr, package_paint, package_words, phase_word, verdict_paint};
use super::{Attempt, Style, Text, duration, local_time, size};

/// Where the text after a label begins, columns.
const INDENT: usize = 13;

/// `moji list`: a line a package; nothing of none.
#[must_use]
pub fn packages(style: &Style, packages: &[PackageRow]) -> String {
    let mut page = Page::new(style);
    if packages.is_empty() {
        return page.finish();
    }
    let columns = [
        Column::name("PACKAGE"),
        Column::text("STATE"),
        Column::number("FOR"),
        Column::number("PRIO"),
        Column::name("BUILDER"),
        Column::text("WHY"),
    ];
    let rows: Vec<Vec<Span>> = packages.iter().map(row).collect();
    page.table(&columns, &rows);
    page.finish()
}

fn row(package: &PackageRow) -> Vec<Span> {
    let why = match package.phase {
        Some(phase) if package.why.as_str().is_empty() => phase_for(phase, package.phase_age_s),
        _ => package.why.to_string(),
    };
    vec![
        plain(nvr(package.srpm.as_str())),
        paint(package.state.as_str(), package_paint(package.state)),
        plain(duration(package.age_s.into())),
        plain(if package.priority > 0 { package.priority.to_string() } else { String::new() }),
        plain(package.builder.as_ref().map_or("", |name| name.as_str())),
        plain(why),
    ]
}

fn phase_for(phase: Phase, age_s: u32) -> String {
    format!("{} for {}", phase_word(phase), duration(age_s.into()))
}

/// `moji show`: everything of one package.
#[must_use]
pub fn show(style: &Style, package: &PackageRow, texts: &[Text], attempts: &[Attempt]) -> String {
    let mut page = Page::new(style);
    let name = package.srpm.as_str();
    page.words(plain(""), 0, paint(nvr(name), Paint::Bold));
    state(&mut page, style, package);
    let size = if package.size > 0 { format!("{name}, {}", size(package.size)) } else { name.to_owned() };
    field(&mut page, "srpm", &size);
    field(&mut page, "nevra", package.nevr.as_str());
    if package.priority > 0 {
        field(&mut page, "priority", &format!("line {} of priority.txt", package.priority));
    }
    if package.charged > 0 {
        field(&mut page, "charged", &count(package.charged.into(), "attempt"));
    }
    if package.widened > 0 {
        let times = count(package.widened.into(), "time");
        field(&mut page, "thin", &format!("its repository was not enough, {times}"));
    }
    several(&mut page, "options", Topic::Option, texts);
    several(&mut page, "waits for", Topic::Wants, texts);
    if !package.place.as_str().is_empty() {
        field(&mut page, "result", &format!("repo/{}", package.place));
    }
    several(&mut page, "files", Topic::File, texts);
    several(&mut page, "evidence", Topic::Evidence, texts);
    if !package.line.as_str().is_empty() {
        field(&mut page, "last line", package.line.as_str());
    }
    for attempt in attempts {
        self::attempt(&mut page, style, attempt);
    }
    page.finish()
}

fn field(page: &mut Page<'_>, name: &str, text: &str) {
    if !text.is_empty() {
        page.words(label(name), INDENT, plain(text));
    }
}

fn label(name: &str) -> Span {
    paint(format!("  {name}"), Paint::Dim)
}

fn several(page: &mut Page<'_>, name: &str, topic: Topic, texts: &[Text]) {
    // The name stands before the first one only.
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    for (text, name) in texts.iter().filter(|text| text.topic == topic).zip(names) {
        page.words(label(name), INDENT, plain(&text.line));
    }
}

/// Where it is, and of a build how far it is.
pub(super) fn state_words(package: &PackageRow) -> String {
    let mut words = package_words(package.state).to_owned();
    if package.state == PackageState::Building {
        if let Some(builder) = &package.builder {
            words.push_str(&format!(" on {builder}"));
        }
        if let Some(phase) = package.phase {
            words.push_str(&format!(", {}", phase_for(phase, package.phase_age_s)));
        }
        if package.expected_s > 0 {
            let (age, all) = (duration(package.age_s.into()), duration(package.expected_s.into()));
            words.push_str(&format!(", {age} of about {all}"));
        }
    }
    words
}

fn state(page: &mut Page<'_>, style: &Style, package: &PackageRow) {
    page.words(label("state"), INDENT, paint(state_words(package), package_paint(package.state)));
    let since = style.now_unix_s.saturating_sub(package.age_s.into());
    let since = format!("{}, {} ago", local_time(style, since), duration(package.age_s.into()));
    field(page, "since", &since);
    field(page, "why", package.why.as_str());
}

fn attempt(page: &mut Page<'_>, style: &Style, Attempt { row, texts }: &Attempt) {
    page.gap();
    let (word, colour) = match row.verdict {
        Some(verdict) => (verdict.as_str(), verdict_paint(verdict)),
        None if row.ended_unix_s == 0 => ("running", Paint::Cyan),
        None => ("ended", Paint::Dim),
    };
    let head = format!("attempt {}: ", row.number);
    let mut rest = String::new();
    if !row.builder.as_str().is_empty() {
        rest.push_str(&format!(" on {}", row.builder));
    }
    if row.verdict.is_some() && !row.charged {
        rest.push_str(", not charged");
    }
    page.line(&[paint(head, Paint::Bold), paint(word, colour), plain(rest)]);
    field(page, "began", &began(style, row));
    field(page, "why", row.reason.as_str());
    for (name, topic) in [
        ("built by", Topic::Provenance),
        ("evidence", Topic::Evidence),
        ("waits for", Topic::Wants),
        ("options", Topic::Option),
        ("files", Topic::File),
    ] {
        several(page, name, topic, texts);
    }
    field(page, "logs", row.place.as_str());
    field(page, "lease", &row.lease.to_string());
}

/// `2026-11-22 20:31:05, took 12 m, mock 11 m of it`.
fn began(style: &Style, row: &AttemptRow) -> String {
    let mut parts = Vec::new();
    if row.began_unix_s > 0 {
        parts.push(local_time(style, row.began_unix_s));
        let until = if row.ended_unix_s > 0 { row.ended_unix_s } else { style.now_unix_s };
        let word = if row.ended_unix_s > 0 { "took" } else { "runs for" };
        parts.push(format!("{word} {}", duration(until.saturating_sub(row.began_unix_s))));
    }
    if row.seconds > 0 {
        parts.push(format!("mock {}", duration(row.seconds.into())));
    }
    parts.join(", ")
}
