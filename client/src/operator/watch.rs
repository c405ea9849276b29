//! `status --watch`: the farm, drawn again each second.
//!
//! Owns when it is asked for and drawn. Never waits for the hub alone: a key ends it at any time but while
//! a connection is made, which takes 2 s at most.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use moji_proto::message::{FromOperator, ToOperator};
use nix::sys::signal::{Signal, raise};

use super::code;
use super::dial::{self, Patience};
use super::link::{Lost, Next, Session};
use super::look::Status;
use super::output::Out;
use super::print;
use super::settings::Access;
use super::terminal::{self, Screen, Woken};
use crate::exit::Failure;

/// From one screen to the next.
const EVERY: Duration = Duration::from_secs(1);
/// A record that began to come should be whole within this.
const RECORD: Duration = Duration::from_millis(20);
/// Rows of a terminal that does not say how many it has.
const ROWS_UNKNOWN: usize = 24;

/// How it ends.
enum Ended {
    Quit,
    Signal(Signal),
}

struct Watch<'a> {
    access: &'a Access,
    out: &'a mut Out,
    screen: Screen,
    session: Option<Session>,
    /// The last answer that was whole.
    shown: Option<Status>,
    /// Since when the hub is away, and why.
    away: Option<(Instant, String)>,
}

/// `moji status --watch`.
///
/// # Errors
/// A [`Failure`] if stdout is no terminal, the hub cannot be reached at first, or does not let us in.
pub(super) fn watch(access: &Access, out: &mut Out) -> Result<u8, Failure> {
    if !out.is_terminal {
        let text = "--watch needs a terminal: use 'moji events' in a pipe";
        return Err(Failure::new(code::USAGE, text));
    }
    // What is wrong with the hub's name or the secret is said on the usual screen.
    let session = dial::open(access, Patience::SCREEN)?;
    let screen = Screen::open()
        .map_err(|error| Failure::new(code::USAGE, format!("cannot use the terminal: {error}")))?;
    let mut watch = Watch { access, out, screen, session: Some(session), shown: None, away: None };
    let ended = watch.run();
    drop(watch);
    match ended? {
        Ended::Quit => Ok(code::OK),
        Ended::Signal(signal) => {
            // The terminal is as before, and whoever waits for us learns what ended us.
            let _ = raise(signal);
            Ok(code::OK)
        }
    }
}

impl Watch<'_> {
    fn run(&mut self) -> Result<Ended, Failure> {
        loop {
            let next = Instant::now() + EVERY;
            match self.look() {
                Ok(Some(ended)) => return Ok(ended),
                Ok(None) => {}
                Err(lost) => {
                    let why = lost.away()?;
                    self.session = None;
                    self.away.get_or_insert((Instant::now(), why));
                }
            }
            self.draw();
            if let Some(ended) = self.pause(next)? {
                return Ok(ended);
            }
        }
    }

    /// Asks once, and reads the answer.
    fn look(&mut self) -> Result<Option<Ended>, Lost> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => dial::open(self.access, Patience::SCREEN)?,
        };
        session.ask(&FromOperator::Status, &[])?;
        let mut status: Option<Status> = None;
        loop {
            match session.next(Instant::now() + RECORD)? {
                Next::End => break,
                Next::Row(ToOperator::Farm(farm)) => status = Some(Status::new(farm)),
                Next::Row(ToOperator::Package(package)) => {
                    status.iter_mut().for_each(|status| status.packages.push(package.clone()));
                }
                Next::Row(ToOperator::Builder(builder)) => {
                    status.iter_mut().for_each(|status| status.builders.push((*builder).clone()));
                }
                Next::Row(ToOperator::No { text, .. }) => return Err(Lost::Away(text.as_str().to_owned())),
                Next::Row(other) => return Err(session.nonsense(&other)),
                Next::Nothing => {
                    // Silence is the session's to notice.
                    let until = Instant::now() + EVERY;
                    match self.screen.wait(Some(session.as_fd()), until).map_err(broken)? {
                        Woken::Quit => return Ok(Some(Ended::Quit)),
                        Woken::Signal(signal) => return Ok(Some(Ended::Signal(signal))),
                        Woken::Resized => self.draw(),
                        Woken::Time | Woken::Ready => {}
                    }
                }
            }
        }
        self.shown = status;
        self.session = Some(session);
        self.away = None;
        Ok(None)
    }

    fn pause(&mut self, until: Instant) -> Result<Option<Ended>, Failure> {
        loop {
            match self.screen.wait(None, until).map_err(broken)? {
                Woken::Quit => return Ok(Some(Ended::Quit)),
                Woken::Signal(signal) => return Ok(Some(Ended::Signal(signal))),
                Woken::Resized => self.draw(),
                Woken::Time | Woken::Ready => return Ok(None),
            }
        }
    }

    fn draw(&mut self) {
        let size = terminal::size(std::io::stdout());
        if let Some((columns, _)) = size {
            self.out.resize(columns);
        }
        let rows = size.map_or(ROWS_UNKNOWN, |(_, rows)| rows);
        let mut text = String::new();
        if let Some((since, why)) = &self.away {
            let since = self.out.style().now_unix_s.saturating_sub(since.elapsed().as_secs());
            let since = print::local_time(self.out.style(), since);
            let line = format!("hub away since {since}, trying again ({})", print::safe(why));
            let width = self.out.style().width.unwrap_or(usize::MAX);
            text.extend(line.chars().take(width));
            text.push('\n');
        }
        if let Some(status) = &self.shown {
            text.push_str(&status.text(self.out));
        }
        self.screen.draw(&print::fit_height(&text, rows));
    }
}

fn broken(error: std::io::Error) -> Failure {
    Failure::new(code::NO, format!("cannot use the terminal: {error}"))
}
