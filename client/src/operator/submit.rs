//! `submit`: source RPMs to the hub, one after the other.
//!
//! Owns the window, what is shown of the way, and that a broken connection only costs what was on its way:
//! the hub knows the file by its digest and says from where it wants it.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use moji_proto::limits::{CHUNK_BYTES_MAX, UPLOAD_WINDOW_BYTES};
use moji_proto::message::{FromOperator, Order, ToOperator};
use moji_proto::{Bytes, FileName, Line};

use super::ask::{Noes, Stop, ask};
use super::link::Session;
use super::output::Out;
use super::retry::Redial;
use super::settings::Access;
use super::srpm::Srpm;
use super::{change, code, print};
use crate::exit::Failure;

/// From one look of the progress bar to the next: as often as an eye can follow.
const REDRAW: Duration = Duration::from_millis(100);
/// Over how long the speed is measured: long enough not to flicker.
const SPEED: Duration = Duration::from_secs(3);

/// What the command line says.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) files: Vec<PathBuf>,
    pub(super) first: bool,
    pub(super) options: Option<String>,
}

/// `moji submit`.
///
/// # Errors
/// A [`Failure`] if one of the files is no source RPM (then none is sent), or the hub cannot be reached.
pub(super) fn submit(
    access: impl FnOnce() -> Result<Access, Failure>,
    out: &mut Out,
    wanted: &Wanted,
) -> Result<u8, Failure> {
    let options = match &wanted.options {
        Some(text) => change::options(&split(text)?)?,
        None => Vec::new(),
    };
    // All are looked at before one is sent: a wrong name should not be found after an hour.
    for path in &wanted.files {
        Srpm::open(path)?;
    }
    let access = access()?;
    let mut redial = Redial::new(&access);
    let mut session = None;
    let (mut sent, mut refused, mut was_there) = (Vec::new(), 0, false);
    for path in &wanted.files {
        let mut upload = Upload::new(Srpm::open(path)?, wanted.first, &options)?;
        let code = upload.run(&mut redial, &mut session, out)?;
        if code == code::OK {
            was_there |= !upload.was_sent;
            sent.push(upload.srpm.name);
        } else {
            refused += 1;
        }
    }
    if wanted.first
        && (sent.len() > 1 || was_there)
        && let Some(session) = &mut session
    {
        put_in_order(session, out, &sent)?;
    }
    let sent = sent.len();
    if wanted.files.len() > 1 && !out.json {
        let text = match refused {
            0 => format!("{sent} submitted\n"),
            _ => format!("{sent} submitted, {refused} not\n"),
        };
        out.say(&text)?;
    }
    Ok(if refused == 0 { code::OK } else { code::NO })
}

/// Each of these went before all others when it came, the last one too, unless the hub had it already. Now the first
/// goes first.
fn put_in_order(session: &mut Session, out: &mut Out, names: &[FileName]) -> Result<(), Failure> {
    for name in names.iter().rev() {
        let target = Line::lossy(name.as_str());
        let request = FromOperator::Change { order: Order::First, target, words: 0 };
        ask(session, out, &request, &[], |row, _| match row {
            // It was said when it came.
            ToOperator::Changed { .. } => Ok(None),
            other => Ok(Some(other)),
        })?;
    }
    Ok(())
}

struct Upload<'a> {
    srpm: Srpm,
    request: FromOperator,
    options: &'a [Line],
    progress: Progress,
    /// The hub wanted it; otherwise it has it already.
    was_sent: bool,
}

impl<'a> Upload<'a> {
    fn new(mut srpm: Srpm, first: bool, options: &'a [Line]) -> Result<Upload<'a>, Failure> {
        let digest = srpm.digest()?;
        let (name, size) = (srpm.name.clone(), srpm.size);
        let request = FromOperator::Submit { name, size, digest, first, options: options.len() as u8 };
        Ok(Upload { srpm, request, options, progress: Progress::default(), was_sent: false })
    }

    /// Until the hub says yes or no, over as many connections as it takes.
    fn run(
        &mut self,
        redial: &mut Redial<'_>,
        session: &mut Option<Session>,
        out: &mut Out,
    ) -> Result<u8, Failure> {
        loop {
            let mut open = match session.take() {
                Some(open) => open,
                None => redial.open(None)?.expect("without an end it is tried until it is there"),
            };
            match self.once(&mut open, redial, out) {
                Ok(code) => {
                    *session = Some(open);
                    return Ok(code);
                }
                Err(stop) => {
                    self.progress.clear(out)?;
                    match stop {
                        Stop::Lost(lost) => redial.lost(lost)?,
                        Stop::Failed(failure) => return Err(failure),
                    }
                }
            }
        }
    }

    /// Over one connection.
    fn once(&mut self, session: &mut Session, redial: &mut Redial<'_>, out: &mut Out) -> Result<u8, Stop> {
        session.ask(&self.request, self.options)?;
        let mut noes = Noes::default();
        // What was sent, and what of it the hub has; None before it wants anything.
        let mut way: Option<(u64, u64)> = None;
        loop {
            if let Some((sent, acked)) = &mut way
                && *sent < self.srpm.size
                && *sent - *acked < UPLOAD_WINDOW_BYTES
            {
                *sent += self.piece(session, *sent, *acked)?;
                self.progress.show(out, self.srpm.name.as_str(), *acked, self.srpm.size)?;
                continue;
            }
            let Some(row) = session.row()? else { break };
            match (row, &mut way) {
                (ToOperator::Want { offset }, _) if offset <= self.srpm.size => {
                    way = Some((offset, offset));
                    self.was_sent = true;
                    self.progress.begin(offset);
                    redial.well();
                }
                (ToOperator::Ack { offset }, Some((sent, acked))) if offset <= *sent => {
                    *acked = offset.max(*acked);
                    self.progress.show(out, self.srpm.name.as_str(), *acked, self.srpm.size)?;
                }
                (ToOperator::Changed { target, text }, _) => {
                    self.progress.clear(out)?;
                    let text = if out.json {
                        print::json::changed(&target, &text)
                    } else {
                        print::changed(out.style(), &target, &text)
                    };
                    out.say(&text)?;
                }
                (row @ (ToOperator::No { .. } | ToOperator::Name { .. }), _) => {
                    self.progress.clear(out)?;
                    way = None;
                    if let Some(strange) = noes.take(row, out)? {
                        return Err(session.nonsense(&strange).into());
                    }
                }
                (other, _) => return Err(session.nonsense(&other).into()),
            }
        }
        self.progress.clear(out)?;
        Ok(noes.end(out)?)
    }

    /// Sends one piece within the window, and says how long it was.
    fn piece(&mut self, session: &mut Session, sent: u64, acked: u64) -> Result<u64, Stop> {
        let room = (UPLOAD_WINDOW_BYTES - (sent - acked)).min(self.srpm.size - sent);
        let mut piece = vec![0; CHUNK_BYTES_MAX.min(room as usize)];
        self.srpm.read(sent, &mut piece)?;
        let length = piece.len() as u64;
        session.say(&FromOperator::Data { offset: sent, bytes: Bytes(piece) })?;
        Ok(length)
    }
}

/// The bar on a terminal.
#[derive(Default)]
struct Progress {
    drawn: Option<Instant>,
    /// Moments and offsets of the last seconds.
    marks: std::collections::VecDeque<(Instant, u64)>,
}

impl Progress {
    fn begin(&mut self, offset: u64) {
        self.marks = [(Instant::now(), offset)].into();
    }

    fn show(&mut self, out: &mut Out, name: &str, done: u64, total: u64) -> Result<(), Failure> {
        let now = Instant::now();
        if out.json || !out.is_terminal || !std::io::stderr().is_terminal() {
            return Ok(());
        }
        if self.drawn.is_some_and(|drawn| now - drawn < REDRAW) {
            return Ok(());
        }
        self.drawn = Some(now);
        self.marks.push_back((now, done));
        while self.marks.len() > 2 && now - self.marks[0].0 > SPEED {
            self.marks.pop_front();
        }
        let (since, from) = self.marks[0];
        let elapsed_ms = u64::try_from((now - since).as_millis()).unwrap_or(u64::MAX).max(1);
        let speed = done.saturating_sub(from).saturating_mul(1_000) / elapsed_ms;
        let line = print::progress(out.style(), name, done, total, speed);
        out.say(&format!("\r{line}\x1b[K"))
    }

    fn clear(&mut self, out: &mut Out) -> Result<(), Failure> {
        match self.drawn.take() {
            Some(_) => out.say("\r\x1b[K"),
            None => Ok(()),
        }
    }
}

/// Words as a shell would see them: separated by spaces, those within quotes kept together.
///
/// # Errors
/// A [`Failure`] if a quote is not closed.
fn split(text: &str) -> Result<Vec<String>, Failure> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => word.extend(chars.next()),
                        Some(inner) => word.push(inner),
                        None => {
                            let text = format!("--options: the quote {c} is not closed");
                            return Err(Failure::new(code::USAGE, text));
                        }
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_as_a_shell_splits() {
        for (text, want) in [
            ("", &[][..]),
            (" --nocheck  --without x ", &["--nocheck", "--without", "x"]),
            (r#"--define "dist .moji" -D 'a  b'"#, &["--define", "dist .moji", "-D", "a  b"]),
            (r#"a\ b "c\"d" ''"#, &["a b", "c\"d", ""]),
        ] {
            assert_eq!(split(text).unwrap(), want, "{text}");
        }
        assert_eq!(split("'a").unwrap_err().code, code::USAGE);
    }
}
