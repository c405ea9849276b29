//! `status`, `list`, `show`, `why`, `blocked`, `builders`, `history`: one request, shown once.
//!
//! Owns how rows become what [`super::print`] takes. As JSON each row is an object of its own, written as it
//! comes; as text they are collected, because columns are as wide as the widest row.

use moji_proto::message::{
    BlockedRow, BuilderRow, EventRow, FarmRow, FromOperator, LackRow, PackageRow, PackageState, ToOperator,
};

use super::ask::{Stop, ask, line};
use super::link::Session;
use super::output::Out;
use super::print::{self, Attempt, Cycle, Text};
use crate::exit::Failure;

/// What `status` shows.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) farm: FarmRow,
    pub(super) packages: Vec<PackageRow>,
    pub(super) builders: Vec<BuilderRow>,
}

impl Status {
    /// What of it comes first.
    pub(super) fn new(farm: FarmRow) -> Status {
        Status { farm, packages: Vec::new(), builders: Vec::new() }
    }

    /// As text.
    pub(super) fn text(&self, out: &mut Out) -> String {
        print::status(out.style(), &self.farm, &self.packages, &self.builders)
    }
}

/// `moji status`.
pub(super) fn status(session: &mut Session, out: &mut Out) -> Result<u8, Failure> {
    let mut status: Option<Status> = None;
    let code = ask(session, out, &FromOperator::Status, &[], |row, _| {
        match (row, &mut status) {
            (ToOperator::Farm(farm), None) => status = Some(Status::new(farm)),
            (ToOperator::Package(package), Some(status)) => status.packages.push(package),
            (ToOperator::Builder(builder), Some(status)) => status.builders.push(*builder),
            (other, _) => return Ok(Some(other)),
        }
        Ok(None)
    })?;
    if let Some(status) = status {
        let Status { farm, packages, builders } = &status;
        let text = if out.json { print::json::status(farm, packages, builders) } else { status.text(out) };
        out.say(&text)?;
    }
    Ok(code)
}

/// `moji list`.
pub(super) fn list(
    session: &mut Session,
    out: &mut Out,
    state: Option<PackageState>,
    pattern: &str,
) -> Result<u8, Failure> {
    let request = FromOperator::List { pattern: line(pattern)?, state };
    let mut packages = Vec::new();
    let code = ask(session, out, &request, &[], |row, out| {
        match row {
            ToOperator::Package(package) if out.json => out.say(&print::json::package(&package))?,
            ToOperator::Package(package) => packages.push(package),
            other => return Ok(Some(other)),
        }
        Ok(None)
    })?;
    let text = print::packages(out.style(), &packages);
    show_unless_empty(out, packages.is_empty(), &text)?;
    Ok(code)
}

/// JSON was written row by row, and nothing is to be seen of nothing.
fn show_unless_empty(out: &mut Out, is_empty: bool, text: &str) -> Result<(), Failure> {
    if out.json || is_empty { Ok(()) } else { out.say(text) }
}

/// All that the hub knows of one package.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) package: Option<PackageRow>,
    pub(super) texts: Vec<Text>,
    pub(super) attempts: Vec<Attempt>,
}

/// Asks for one package.
pub(super) fn ask_show(session: &mut Session, out: &mut Out, package: &str) -> Result<(u8, Shown), Stop> {
    let mut shown = Shown::default();
    let code = ask(session, out, &FromOperator::Show { package: line(package)? }, &[], |row, _| {
        match row {
            ToOperator::Package(package) if shown.package.is_none() => shown.package = Some(package),
            ToOperator::Attempt(row) => shown.attempts.push(Attempt { row, texts: Vec::new() }),
            ToOperator::Text { topic, line } => {
                let texts = shown.attempts.last_mut().map_or(&mut shown.texts, |attempt| &mut attempt.texts);
                texts.push(Text { topic, line });
            }
            other => return Ok(Some(other)),
        }
        Ok(None)
    })?;
    Ok((code, shown))
}

/// `moji show`.
pub(super) fn show(session: &mut Session, out: &mut Out, package: &str) -> Result<u8, Failure> {
    let (code, Shown { package, texts, attempts }) = ask_show(session, out, package)?;
    if let Some(package) = package {
        let text = if out.json {
            print::json::show(&package, &texts, &attempts)
        } else {
            print::show(out.style(), &package, &texts, &attempts)
        };
        out.say(&text)?;
    }
    Ok(code)
}

/// `moji why`.
pub(super) fn why(session: &mut Session, out: &mut Out, package: &str) -> Result<u8, Failure> {
    let (mut found, mut texts, mut lacks, mut attempts) = (None, Vec::new(), Vec::new(), Vec::new());
    let code = ask(session, out, &FromOperator::Why { package: line(package)? }, &[], |row, _| {
        match row {
            ToOperator::Package(row) if found.is_none() => found = Some(row),
            ToOperator::Text { topic, line } => texts.push(Text { topic, line }),
            ToOperator::Lack(row) => lacks.push(row),
            ToOperator::Attempt(row) => attempts.push(row),
            other => return Ok(Some(other)),
        }
        Ok(None)
    })?;
    if let Some(package) = found {
        let text = if out.json {
            print::json::why(&package, &texts, &lacks, &attempts)
        } else {
            print::why(out.style(), &package, &texts, &lacks, &attempts)
        };
        out.say(&text)?;
    }
    Ok(code)
}

/// `moji blocked`.
pub(super) fn blocked(session: &mut Session, out: &mut Out, rows: u32) -> Result<u8, Failure> {
    let mut head: Option<BlockedRow> = None;
    let (mut lacks, mut cycles): (Vec<LackRow>, Vec<Cycle>) = Default::default();
    let code = ask(session, out, &FromOperator::Blocked { rows }, &[], |row, _| {
        match (row, cycles.last_mut()) {
            (ToOperator::Blocked(row), _) if head.is_none() => head = Some(row),
            (ToOperator::Lack(row), None) => lacks.push(row),
            (ToOperator::Cycle(row), _) => cycles.push(Cycle { row, texts: Vec::new() }),
            (ToOperator::Text { topic, line }, Some(cycle)) => cycle.texts.push(Text { topic, line }),
            (other, _) => return Ok(Some(other)),
        }
        Ok(None)
    })?;
    let Some(head) = head else { return Ok(code) };
    if out.json {
        let rows = lacks.iter().map(print::json::lack).chain(cycles.iter().map(print::json::cycle));
        let text: String = std::iter::once(print::json::blocked(&head)).chain(rows).collect();
        out.say(&text)?;
    } else {
        let text = print::blocked(out.style(), &head, &lacks, &cycles);
        out.say(&text)?;
    }
    Ok(code)
}

/// `moji builders`: all of them in a table, one that is named in full.
pub(super) fn builders(session: &mut Session, out: &mut Out, pattern: &str) -> Result<u8, Failure> {
    let request = FromOperator::Builders { pattern: line(pattern)? };
    let mut builders: Vec<BuilderRow> = Vec::new();
    let code = ask(session, out, &request, &[], |row, out| {
        match row {
            ToOperator::Builder(builder) if out.json => out.say(&print::json::builder(&builder))?,
            ToOperator::Builder(builder) => builders.push(*builder),
            other => return Ok(Some(other)),
        }
        Ok(None)
    })?;
    let text = match &builders[..] {
        [builder] if !pattern.is_empty() && !pattern.contains(['*', '?', '[']) => {
            print::builder(out.style(), builder)
        }
        builders => print::builders(out.style(), builders),
    };
    show_unless_empty(out, builders.is_empty(), &text)?;
    Ok(code)
}

/// `moji history`.
pub(super) fn history(session: &mut Session, out: &mut Out, pattern: &str, rows: u32) -> Result<u8, Failure> {
    let request = FromOperator::History { pattern: line(pattern)?, rows };
    let mut events: Vec<EventRow> = Vec::new();
    let code = ask(session, out, &request, &[], |row, out| {
        match row {
            ToOperator::Event(event) if out.json => out.say(&print::json::event(&event))?,
            ToOperator::Event(event) => events.push(event),
            other => return Ok(Some(other)),
        }
        Ok(None)
    })?;
    let text = print::history(out.style(), &events);
    show_unless_empty(out, events.is_empty(), &text)?;
    Ok(code)
}
