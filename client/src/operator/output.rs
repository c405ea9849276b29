//! stdout and stderr.
//!
//! Owns whether there is colour and how wide a line may be, and what happens if nobody reads. Each text is
//! written and flushed at once, so that a pipe sees a line as soon as it is there.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::print::{Style, Zone};
use super::{code, terminal};
use crate::exit::Failure;

/// Columns of a terminal that does not say how wide it is.
const WIDTH_UNKNOWN: usize = 80;

/// Where a command's text goes.
pub(super) struct Out {
    /// Whether it is to be JSON.
    pub(super) json: bool,
    /// Whether stdout is a terminal.
    pub(super) is_terminal: bool,
    /// Whether there may be colours.
    pub(super) colour: bool,
    style: Style,
    error_style: Style,
}

impl Out {
    /// What the command line, the environment and the machine make of it.
    pub(super) fn new(json: bool, no_colour: bool) -> Out {
        let colour = !no_colour && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let zone = Zone::of_machine(std::env::var("TZ").ok().as_deref());
        let style = |is_terminal: bool, size: Option<(usize, usize)>| Style {
            width: is_terminal.then(|| size.map_or(WIDTH_UNKNOWN, |(columns, _)| columns)),
            colour: colour && is_terminal,
            now_unix_s: now_unix_s(),
            zone: zone.clone(),
        };
        let (stdout, stderr) = (io::stdout(), io::stderr());
        Out {
            json,
            is_terminal: stdout.is_terminal(),
            colour,
            style: style(stdout.is_terminal(), terminal::size(&stdout)),
            error_style: style(stderr.is_terminal(), terminal::size(&stderr)),
        }
    }

    /// How to print on stdout, now.
    pub(super) fn style(&mut self) -> &Style {
        self.style.now_unix_s = now_unix_s();
        &self.style
    }

    /// How to print on stderr.
    pub(super) fn error_style(&self) -> &Style {
        &self.error_style
    }

    /// The terminal has another size.
    pub(super) fn resize(&mut self, columns: usize) {
        self.style.width = Some(columns);
    }

    /// Writes text to stdout as it is.
    ///
    /// # Errors
    /// A [`Failure`] if it cannot be written; one without text if nobody reads it any more.
    pub(super) fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// As [`Out::say`], any bytes.
    ///
    /// # Errors
    /// As [`Out::say`].
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::new(code::PIPE, ""),
            _ => Failure::new(code::NO, format!("cannot write to stdout: {error}")),
        })
    }

    /// Writes text to stderr; without one there is nobody to tell.
    pub(super) fn complain(&self, text: &str) {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
