//! `wait --idle`: until the hub has nothing more to build by itself.
//!
//! Owns what idle means: no package waits to be leased and none is built. Packages that wait for
//! capabilities (`deps`), for review, or that cannot be built do not count: nothing but a success or an
//! operator moves them. One session hears what happens, another asks how many there are.

use std::time::{Duration, Instant};

use moji_proto::Line;
use moji_proto::message::{EventKind, EventRow, FromOperator, PackageState, ToOperator};

use super::ask::{Stop, ask};
use super::code;
use super::dial::{self, Patience};
use super::events::newest;
use super::link::{Lost, Next, Session};
use super::output::Out;
use super::retry::Redial;
use super::settings::Access;
use super::wait::Standing;
use crate::exit::Failure;

/// How soon after something happened the hub is asked.
const SOON: Duration = Duration::from_millis(500);
/// How often it is asked although nothing happened.
const SELDOM: Duration = Duration::from_secs(5);
/// How long what happened last may take to be told.
const LATE: Duration = Duration::from_secs(5);

struct Idle<'a> {
    access: &'a Access,
    out: &'a mut Out,
    until: Option<Instant>,
    standing: Standing,
    /// The last event that was told.
    seen: Option<u64>,
    /// Packages that wait or are built.
    left: u32,
}

/// `moji wait --idle`.
///
/// # Errors
/// A [`Failure`] if the hub cannot be reached at first, or nobody reads.
pub(super) fn wait(access: &Access, out: &mut Out, until: Option<Instant>) -> Result<u8, Failure> {
    let mut redial = Redial::new(access);
    let mut idle = Idle { access, out, until, standing: Standing::default(), seen: None, left: 0 };
    while let Some(mut session) = redial.open(until)? {
        match idle.once(&mut session, &mut redial) {
            Ok(true) => return Ok(idle.standing.code()),
            Ok(false) => break,
            Err(Stop::Lost(lost)) => redial.lost(lost)?,
            Err(Stop::Failed(failure)) => return Err(failure),
        }
    }
    let text = format!("the time is over and the hub is not idle: {} packages wait or are built", idle.left);
    Err(Failure::new(code::NO, text))
}

impl Idle<'_> {
    /// Over one connection; false if the time is over.
    fn once(&mut self, asking: &mut Session, redial: &mut Redial<'_>) -> Result<bool, Stop> {
        let after = match self.seen {
            Some(seen) => seen,
            None => newest(asking, self.out)?,
        };
        self.seen = Some(after);
        let mut hearing = dial::open(self.access, Patience::COMMAND)?;
        let request = FromOperator::Events { pattern: Line::default(), after, current: false };
        hearing.ask(&request, &[])?;
        redial.well();
        let mut check = Instant::now();
        loop {
            let now = Instant::now();
            if now >= check {
                check = now + SELDOM;
                self.left = left(asking, self.out)?;
                if self.left == 0 {
                    self.hear_the_rest(asking, &mut hearing)?;
                    return Ok(true);
                }
            }
            if self.until.is_some_and(|until| now >= until) {
                return Ok(false);
            }
            let wake = self.until.map_or(check, |until| until.min(check));
            if self.hear(&mut hearing, wake)?.is_some_and(|kind| kind != EventKind::Phase) {
                check = check.min(now + SOON);
            }
        }
    }

    /// Hears the next event, until then.
    fn hear(&mut self, hearing: &mut Session, until: Instant) -> Result<Option<EventKind>, Stop> {
        match hearing.next(until)? {
            Next::Nothing => Ok(None),
            Next::End => Err(Lost::Away("the hub ended the stream of events".to_owned()).into()),
            Next::Row(ToOperator::Event(event)) => self.event(&event).map(Some).map_err(Stop::from),
            Next::Row(other) => Err(hearing.nonsense(&other).into()),
        }
    }

    fn event(&mut self, event: &EventRow) -> Result<EventKind, Failure> {
        self.seen = self.seen.max(Some(event.seq));
        if let (Some(srpm), Some(state)) = (&event.srpm, event.state) {
            self.standing.show(self.out, srpm, Some(state), &event.text)?;
        }
        Ok(event.kind)
    }

    /// What ended last is told before the end.
    fn hear_the_rest(&mut self, asking: &mut Session, hearing: &mut Session) -> Result<(), Stop> {
        let last = newest(asking, self.out)?;
        let until = Instant::now() + LATE;
        while self.seen < Some(last) && Instant::now() < until {
            self.hear(hearing, until)?;
        }
        Ok(())
    }
}

/// Packages that wait or are built.
fn left(session: &mut Session, out: &mut Out) -> Result<u32, Stop> {
    let mut left = None;
    let code = ask(session, out, &FromOperator::Status, &[], |row, _| {
        match row {
            ToOperator::Farm(farm) => {
                let of =
                    |state| farm.packages[PackageState::ALL.iter().position(|s| *s == state).unwrap_or(0)];
                left = Some(of(PackageState::Waiting).saturating_add(of(PackageState::Building)));
            }
            ToOperator::Package(_) | ToOperator::Builder(_) => {}
            other => return Ok(Some(other)),
        }
        Ok(None)
    })?;
    match left {
        Some(left) if code == code::OK => Ok(left),
        _ => Err(Lost::Away("the hub does not say how it stands".to_owned()).into()),
    }
}
