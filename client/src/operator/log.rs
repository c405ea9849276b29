//! `log`: a build's log, to its end or as it grows.
//!
//! Owns from where it goes on after a lost connection: the same attempt, the next byte.

use std::io::Write;

use moji_proto::message::{FromOperator, ToOperator, Verdict, Which};
use moji_proto::{FileName, Line};

use super::ask::{Noes, Stop, line};
use super::code;
use super::link::Session;
use super::output::Out;
use super::print::{self, SafeLog};
use super::retry::Redial;
use super::settings::Access;
use crate::exit::Failure;

/// What the command line says.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) package: String,
    pub(super) which: Which,
    pub(super) attempt: u16,
    pub(super) follow: bool,
    pub(super) raw: bool,
}

struct Log {
    package: Line,
    which: Which,
    attempt: u16,
    follow: bool,
    offset: u64,
    /// Whose log it is, once the hub has said.
    srpm: Option<FileName>,
    safe: Option<SafeLog>,
}

/// `moji log`: the exit code says whether a followed build succeeded.
///
/// # Errors
/// A [`Failure`] if the hub cannot be reached, or goes away where nothing is followed.
pub(super) fn log(access: &Access, out: &mut Out, wanted: &Wanted) -> Result<u8, Failure> {
    let mut log = Log {
        package: line(&wanted.package)?,
        which: wanted.which,
        attempt: wanted.attempt,
        follow: wanted.follow,
        offset: 0,
        srpm: None,
        safe: (!wanted.raw).then(SafeLog::default),
    };
    let mut redial = Redial::new(access);
    let code = loop {
        let mut session = redial.open(None)?.expect("without an end it is tried until it is there");
        match log.once(&mut session, &mut redial, out) {
            Ok(code) => break code,
            Err(Stop::Lost(lost)) if log.follow => redial.lost(lost)?,
            Err(stop) => return Err(stop.into()),
        }
    };
    if let Some(safe) = &mut log.safe {
        out.say(&safe.finish())?;
    }
    Ok(code)
}

impl Log {
    fn request(&self) -> FromOperator {
        FromOperator::Log {
            // The same file, also if another version of the package came meanwhile.
            package: self.srpm.as_ref().map_or(self.package.clone(), |srpm| Line::lossy(srpm.as_str())),
            which: self.which,
            attempt: self.attempt,
            offset: self.offset,
            follow: self.follow,
        }
    }

    fn once(&mut self, session: &mut Session, redial: &mut Redial<'_>, out: &mut Out) -> Result<u8, Stop> {
        session.ask(&self.request(), &[])?;
        let mut noes = Noes::default();
        let mut ended = code::OK;
        while let Some(row) = session.row()? {
            let Some(row) = noes.take(row, out)? else { continue };
            redial.well();
            match row {
                ToOperator::LogOf { srpm, attempt, lease, live } => {
                    if self.srpm.is_none() && out.is_terminal {
                        let style = out.error_style();
                        let text = print::log_of(style, &srpm, self.which, attempt, lease, live);
                        out.complain(&text);
                    }
                    self.srpm = Some(srpm);
                    self.attempt = attempt;
                }
                ToOperator::Log { offset, bytes } => self.piece(offset, &bytes.0, out)?,
                ToOperator::LogEnd { verdict, reason } => {
                    if let Some(srpm) = &self.srpm {
                        let text = print::log_end(out.error_style(), srpm, verdict, &reason);
                        let _ = std::io::stdout().flush();
                        out.complain(&text);
                    }
                    ended = if verdict == Some(Verdict::Success) { code::OK } else { code::NO };
                }
                other => return Err(session.nonsense(&other).into()),
            }
        }
        Ok(noes.end(out)?.max(ended))
    }

    fn piece(&mut self, offset: u64, bytes: &[u8], out: &mut Out) -> Result<(), Failure> {
        // What was seen before is not shown again.
        let seen = self.offset.saturating_sub(offset);
        let new = usize::try_from(seen).ok().and_then(|seen| bytes.get(seen..)).unwrap_or_default();
        self.offset = self.offset.max(offset + bytes.len() as u64);
        match &mut self.safe {
            None => out.bytes(new),
            Some(safe) => out.say(&safe.push(new)),
        }
    }
}
