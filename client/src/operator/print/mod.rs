//! What an operator sees: rows in, text out.
//!
//! Owns every screen, line and JSON object that `moji` prints. Has no I/O and no clock: what it needs to know
//! is in [`Style`]. Every text that came from a hub is made [`safe`] here and nowhere else (in `page`, by the
//! only way to make a span), so that a file name or a line of a log never moves a terminal's cursor. Each
//! function's text ends with a newline unless it says otherwise.
//!
//! | module | owns |
//! |---|---|
//! | `text` | what may reach a terminal, and how wide it is |
//! | `units` | durations, sizes, times |
//! | `page` | lines that fit: colour, columns, wrapping |
//! | `words` | states in words and colours |
//! | `status`, `packages`, `builders`, `why`, `lines` | the screens |
//! | [`json`] | the same for programs |

use moji_proto::Line;
use moji_proto::message::{AttemptRow, Topic};

mod builders;
pub mod json;
mod lines;
mod packages;
mod page;
mod status;
#[cfg(test)]
mod tests;
mod text;
mod units;
mod why;
mod words;

pub use builders::{builder, builders};
pub use lines::{changed, event, history, log_end, log_of, no, progress};
pub use packages::{packages, show};
pub use page::{Paint, fit_height};
pub use status::status;
pub use text::{SafeLog, columns, cut, cut_middle, safe};
pub use units::{Zone, duration, ends, iso, local_time, size};
pub use why::{Cycle, blocked, why};
pub use words::{builder_paint, builder_why, nvr, package_paint, phase_word, verdict_paint};

/// How to print.
#[derive(Clone, Debug)]
pub struct Style {
    /// Columns of the terminal; None if it is none: nothing is cut or wrapped then.
    pub width: Option<usize>,
    /// Whether to colour.
    pub colour: bool,
    /// What time it is here, unix seconds.
    pub now_unix_s: u64,
    /// The machine's time zone.
    pub zone: Zone,
}

/// A line that belongs to a row ([`moji_proto::message::ToOperator::Text`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What it is about.
    pub topic: Topic,
    /// The line.
    pub line: Line,
}

/// An attempt and the lines that belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The attempt.
    pub row: AttemptRow,
    /// Its lines.
    pub texts: Vec<Text>,
}
