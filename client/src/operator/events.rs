//! `events`: what happens, a line each, until it is interrupted.
//!
//! Owns the number of the last event that was shown, from which it goes on after a lost connection. Before
//! the first one it takes the newest of the hub's history, so that nothing is missed either.

use moji_proto::Line;
use moji_proto::message::{FromOperator, ToOperator};

use super::ask::{Noes, Stop, ask, line};
use super::code;
use super::link::Session;
use super::output::Out;
use super::print;
use super::retry::Redial;
use super::settings::Access;
use crate::exit::Failure;

/// Before all events: the hub's first is larger.
pub(super) const BEFORE_ALL: u64 = 1;

/// The number of the newest event that the hub's history has.
pub(super) fn newest(session: &mut Session, out: &mut Out) -> Result<u64, Stop> {
    let mut newest = BEFORE_ALL;
    let request = FromOperator::History { pattern: Line::default(), rows: 1 };
    ask(session, out, &request, &[], |row, _| match row {
        ToOperator::Event(event) => {
            newest = newest.max(event.seq);
            Ok(None)
        }
        other => Ok(Some(other)),
    })?;
    Ok(newest)
}

/// `moji events`.
///
/// # Errors
/// A [`Failure`] if the hub cannot be reached at first, or nobody reads.
pub(super) fn events(
    access: &Access,
    out: &mut Out,
    pattern: &str,
    after: Option<u64>,
) -> Result<u8, Failure> {
    let pattern = line(pattern)?;
    let mut redial = Redial::new(access);
    let mut seen = after;
    loop {
        let mut session = redial.open(None)?.expect("without an end it is tried until it is there");
        match once(&mut session, &mut redial, out, &pattern, &mut seen) {
            Ok(code::OK) => {
                // The stream has no end of its own.
                redial.lost(super::link::Lost::Away("the hub ended the stream of events".to_owned()))?;
            }
            Ok(code) => return Ok(code),
            Err(Stop::Lost(lost)) => redial.lost(lost)?,
            Err(Stop::Failed(failure)) => return Err(failure),
        }
    }
}

fn once(
    session: &mut Session,
    redial: &mut Redial<'_>,
    out: &mut Out,
    pattern: &Line,
    seen: &mut Option<u64>,
) -> Result<u8, Stop> {
    let after = match *seen {
        Some(seen) => seen,
        None => newest(session, out)?,
    };
    *seen = Some(after);
    session.ask(&FromOperator::Events { pattern: pattern.clone(), after, current: false }, &[])?;
    let mut noes = Noes::default();
    while let Some(row) = session.row()? {
        match noes.take(row, out)? {
            None => {}
            Some(ToOperator::Event(event)) => {
                redial.well();
                *seen = Some(event.seq.max(after));
                let text =
                    if out.json { print::json::event(&event) } else { print::event(out.style(), &event) };
                out.say(&text)?;
            }
            Some(other) => return Err(session.nonsense(&other).into()),
        }
    }
    Ok(noes.end(out)?)
}
