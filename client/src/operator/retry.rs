//! What to do while the hub is away.
//!
//! Owns the pauses between attempts, and the two lines on stderr with which a person learns that the hub
//! went away and came back. The first connection is not tried twice: a wrong name should be said at once.

use std::time::{Duration, Instant};

use super::dial::{self, Patience};
use super::link::{Lost, Session};
use super::print;
use super::settings::Access;
use crate::exit::Failure;

/// The first pause; each is twice the one before.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// The longest pause: a hub that is back should be seen soon.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A hub that is called again and again.
pub(super) struct Redial<'a> {
    access: &'a Access,
    patience: Patience,
    pause: Duration,
    was_there: bool,
    is_away: bool,
}

impl<'a> Redial<'a> {
    /// For this hub.
    pub(super) fn new(access: &'a Access) -> Redial<'a> {
        Redial { access, patience: Patience::COMMAND, pause: PAUSE_FIRST, was_there: false, is_away: false }
    }

    /// A session; tries again and again if there was one before, until `until` if it is named. None if
    /// the time ran out.
    ///
    /// # Errors
    /// A [`Failure`] if trying again does not help, or there was no session before.
    pub(super) fn open(&mut self, until: Option<Instant>) -> Result<Option<Session>, Failure> {
        loop {
            if self.is_away {
                let left = until.map(|until| until.saturating_duration_since(Instant::now()));
                if left == Some(Duration::ZERO) {
                    return Ok(None);
                }
                std::thread::sleep(self.pause.min(left.unwrap_or(self.pause)));
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
            match dial::open(self.access, self.patience) {
                Ok(session) => {
                    if std::mem::take(&mut self.is_away) {
                        eprintln!("moji: the hub is back");
                    }
                    self.was_there = true;
                    return Ok(Some(session));
                }
                Err(lost) if self.was_there => self.lost(lost)?,
                Err(lost) => return Err(lost.into()),
            }
        }
    }

    /// The session was lost: says so, once.
    ///
    /// # Errors
    /// A [`Failure`] if trying again does not help.
    pub(super) fn lost(&mut self, lost: Lost) -> Result<(), Failure> {
        let why = lost.away()?;
        if !std::mem::replace(&mut self.is_away, true) {
            // Two lines: together they are wider than a terminal.
            eprintln!("moji: {}\nmoji: trying again", print::safe(&why));
        }
        Ok(())
    }

    /// The session is of use: the next pause is short again.
    pub(super) fn well(&mut self) {
        self.pause = PAUSE_FIRST;
    }
}
