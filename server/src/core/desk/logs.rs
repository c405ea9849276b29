//! Reading and following a log.
//!
//! Owns which attempt's log is read and how far it is. A live log is read as it grows; when its lease ends
//! the rest is read from where the end put it. Offsets count uncompressed bytes, so that a client that
//! comes back goes on from its own.
//!
//! ```text
//! Choose ──no lease yet──▶ Await ──leased──┐
//!    └──────────────────────────────────▶ Read ──▶ Ended (LogEnd, End)
//! ```

use moji_proto::message::{AttemptRow, EventKind, EventRow, NoCode, PackageRow, ToOperator, Which};
use moji_proto::{Bytes, FileName, LeaseId, Line};

use super::names;
use super::session::{Answer, Session, Step};
use super::shared::Ending;
use super::{Cx, Job, LogOf};
use crate::core::view::View;

/// Pieces read at once: 256 KiB, so that a turn of a worker is worth it and a session keeps little.
const PIECES_MAX: u32 = 8;

#[derive(Debug)]
enum State {
    /// The history is asked for the attempts.
    Choose,
    /// It waits for its lease; its attempt will be this one.
    Await(u16),
    /// It is read.
    Read { attempt: u16, of: LogOf, end: Option<Ending>, told: bool, caught: bool },
    /// All of it is sent.
    Ended,
}

/// A log that is read.
#[derive(Debug)]
pub(super) struct Reading {
    srpm: FileName,
    is_final: bool,
    which: Which,
    attempt: u16,
    offset: u64,
    follow: bool,
    state: State,
    /// The package left the queue without a lease, for this reason.
    left: Option<Line>,
    leased: Option<LeaseId>,
}

/// What an operator wants to read.
pub(super) struct Wish {
    pub(super) which: Which,
    pub(super) attempt: u16,
    pub(super) offset: u64,
    pub(super) follow: bool,
}

impl Reading {
    pub(super) fn new(view: &View, text: &str, wish: Wish) -> Result<Reading, names::Miss> {
        let row: &PackageRow = &names::package(view, text)?.row;
        Ok(Reading {
            srpm: row.srpm.clone(),
            is_final: row.state.is_final(),
            which: wish.which,
            attempt: wish.attempt,
            offset: wish.offset,
            follow: wish.follow,
            state: State::Choose,
            left: None,
            leased: row.lease,
        })
    }

    /// Something happened.
    pub(super) fn happened(&mut self, row: &EventRow) {
        if let State::Read { of, end, caught, .. } = &mut self.state {
            if row.lease == Some(of.lease)
                && of.live
                && matches!(row.kind, EventKind::Ended | EventKind::Left)
            {
                (of.live, *caught) = (false, false);
                *end = Some(Ending { verdict: row.verdict, reason: row.text.clone() });
            }
            return;
        }
        if row.srpm.as_ref() != Some(&self.srpm) {
            return;
        }
        match row.kind {
            EventKind::Leased => (self.leased, self.left) = (row.lease, None),
            EventKind::Left => self.left = Some(row.text.clone()),
            _ => {}
        }
    }

    /// Pieces that were read.
    pub(super) fn read(&mut self, pieces: Vec<Bytes>, ends: bool) -> Vec<ToOperator> {
        let mut rows = Vec::new();
        for bytes in pieces {
            let offset = self.offset;
            self.offset += bytes.0.len() as u64;
            rows.push(ToOperator::Log { offset, bytes });
        }
        if let State::Read { caught, .. } = &mut self.state {
            *caught = ends;
        }
        rows
    }

    /// Begins with this attempt.
    fn open(&mut self, cx: &Cx<'_>, attempt: u16, lease: LeaseId, row: Option<&AttemptRow>) {
        let known = cx.shared.ending(lease).cloned();
        let over = row.filter(|row| row.ended_unix_s != 0);
        let over = over.map(|row| Ending { verdict: row.verdict, reason: row.reason.clone() });
        let live = known.is_none() && over.is_none();
        let place = row.map(|row| row.place.clone()).unwrap_or_default();
        let of = LogOf { srpm: self.srpm.clone(), lease, which: self.which, place, live };
        self.state = State::Read { attempt, of, end: known.or(over), told: false, caught: false };
    }

    pub(super) fn step(&mut self, cx: &Cx<'_>, credit: u32) -> Result<Step, Job> {
        match &mut self.state {
            State::Choose => return Err(Job::Attempts(self.srpm.clone())),
            State::Await(attempt) => {
                let attempt = *attempt;
                if let Some(lease) = self.leased {
                    self.open(cx, attempt, lease, None);
                    return Ok(Step::Again);
                }
                let Some(why) = self.left.take() else { return Ok(Step::Wait) };
                self.state = State::Ended;
                return Ok(Step::Row(ToOperator::LogEnd { verdict: None, reason: why }));
            }
            State::Read { attempt, of, end, told, caught } => {
                if !*told {
                    *told = true;
                    let (srpm, lease, live) = (self.srpm.clone(), of.lease, of.live);
                    return Ok(Step::Row(ToOperator::LogOf { srpm, attempt: *attempt, lease, live }));
                }
                let length = cx.shared.live.get(&of.lease).map_or(0, |live| live.logs[self.which as usize]);
                if !*caught || (of.live && length > self.offset) {
                    *caught = true;
                    let pieces = credit.clamp(1, PIECES_MAX) as usize;
                    return Err(Job::ReadLog { of: of.clone(), offset: self.offset, pieces });
                }
                if !self.follow {
                    return Ok(Step::End);
                }
                if of.live {
                    return Ok(Step::Wait);
                }
                let Ending { verdict, reason } =
                    end.take().unwrap_or(Ending { verdict: None, reason: Line::default() });
                self.state = State::Ended;
                return Ok(Step::Row(ToOperator::LogEnd { verdict, reason }));
            }
            State::Ended => {}
        }
        Ok(Step::End)
    }
}

impl Session {
    /// The history told the attempts: chooses one.
    pub(super) fn log_attempts(&mut self, cx: &mut Cx<'_>, rows: Vec<AttemptRow>) {
        let Answer::Log(reading) = &mut self.answer else { return };
        let last = rows.iter().map(|row| row.number).max().unwrap_or(0);
        let srpm = reading.srpm.to_string();
        if reading.attempt != 0 {
            let wanted = reading.attempt;
            match rows.iter().find(|row| row.number == wanted) {
                Some(row) => reading.open(cx, wanted, row.lease, Some(row)),
                None => self.no(
                    NoCode::NotFound,
                    &srpm,
                    format!("there is no attempt {wanted}: the last is {last}"),
                ),
            }
            return;
        }
        let running = reading.leased.filter(|lease| cx.shared.ending(*lease).is_none());
        if let Some(lease) = running.or_else(|| cx.shared.lease_of(&reading.srpm)) {
            // The history may not have heard of it yet.
            let row = rows.iter().find(|row| row.lease == lease).cloned();
            let number = row.as_ref().map_or(last.saturating_add(1), |row| row.number);
            let row = row.map(|row| AttemptRow { ended_unix_s: 0, ..row });
            return reading.open(cx, number, lease, row.as_ref());
        }
        if reading.follow && !reading.is_final {
            reading.leased = None;
            reading.state = State::Await(last.saturating_add(1));
            return;
        }
        match rows.iter().max_by_key(|row| row.number) {
            Some(row) => reading.open(cx, row.number, row.lease, Some(row)),
            None => {
                self.no(NoCode::NotFound, &srpm, "was not built yet: with -f its log is shown once it is")
            }
        }
    }
}
