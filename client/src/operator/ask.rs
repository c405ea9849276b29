//! A request from its first row to its end, with every no in it.
//!
//! Owns what a no is made of on the wire (a `No` and the `Name`s after it) and where it is shown. Rows that
//! are none are the caller's.

use moji_proto::Line;
use moji_proto::message::{FromOperator, NoCode, ToOperator};

use super::link::{Lost, Session};
use super::output::Out;
use super::{code, print};
use crate::exit::Failure;

/// Why an answer did not come to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The hub's side.
    Lost(Lost),
    /// Ours.
    Failed(Failure),
}

impl From<Lost> for Stop {
    fn from(lost: Lost) -> Stop {
        Stop::Lost(lost)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Failure {
        match stop {
            Stop::Lost(lost) => lost.into(),
            Stop::Failed(failure) => failure,
        }
    }
}

/// A no, as far as it came.
#[derive(Debug)]
struct No {
    code: NoCode,
    target: Line,
    text: Line,
    names: Vec<Line>,
}

/// The noes of one answer.
#[derive(Debug, Default)]
pub(super) struct Noes {
    open: Option<No>,
    any: bool,
}

impl Noes {
    /// Takes a row; gives it back if it does not belong to a no.
    ///
    /// # Errors
    /// A [`Failure`] if nobody reads what is shown.
    pub(super) fn take(&mut self, row: ToOperator, out: &mut Out) -> Result<Option<ToOperator>, Failure> {
        match (row, &mut self.open) {
            (ToOperator::Name { name }, Some(no)) => no.names.push(name),
            (ToOperator::No { code, target, text }, _) => {
                self.show(out)?;
                self.any = true;
                self.open = Some(No { code, target, text, names: Vec::new() });
            }
            (row, _) => {
                self.show(out)?;
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The answer is at its end: the exit code that it is worth.
    ///
    /// # Errors
    /// A [`Failure`] if nobody reads what is shown.
    pub(super) fn end(&mut self, out: &mut Out) -> Result<u8, Failure> {
        self.show(out)?;
        Ok(if self.any { code::NO } else { code::OK })
    }

    fn show(&mut self, out: &mut Out) -> Result<(), Failure> {
        let Some(No { code, target, text, names }) = self.open.take() else { return Ok(()) };
        if out.json {
            out.say(&print::json::no(code, &target, &text, &names))
        } else {
            let text = print::no(out.error_style(), code, &target, &text, &names);
            out.complain(&text);
            Ok(())
        }
    }
}

/// Asks, hands each row on, shows each no, and says which exit code the answer is worth.
///
/// # Errors
/// [`Stop`] if the hub went away, or `row` failed.
pub(super) fn ask(
    session: &mut Session,
    out: &mut Out,
    request: &FromOperator,
    words: &[Line],
    mut row: impl FnMut(ToOperator, &mut Out) -> Result<Option<ToOperator>, Failure>,
) -> Result<u8, Stop> {
    session.ask(request, words)?;
    let mut noes = Noes::default();
    while let Some(next) = session.row()? {
        if let Some(next) = noes.take(next, out)?
            && let Some(strange) = row(next, out)?
        {
            return Err(session.nonsense(&strange).into());
        }
    }
    Ok(noes.end(out)?)
}

/// `text` as a line of a request.
///
/// # Errors
/// A [`Failure`] that says what is wrong with it.
pub(super) fn line(text: &str) -> Result<Line, Failure> {
    Line::new(text).map_err(|error| {
        let shown: String = print::safe(text).chars().take(40).collect();
        Failure::new(code::USAGE, format!("'{shown}' {error}"))
    })
}
