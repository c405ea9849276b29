//! Where log lines go: stderr, or syslog.
//!
//! Owns the shape of a line on stderr: `2026-01-31T12:00:00Z info pkg=… lease=… …`. Never logs a
//! secret, because nobody hands it one.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use log::{LevelFilter, Log, Metadata, Record};

use crate::exit::{self, Failure};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let level = record.level().as_str().to_ascii_lowercase();
            let line = format!("{} {level} {}\n", iso_8601(unix_s), record.args());
            // One write, so that lines of several processes do not mix; without a stderr there is
            // nobody to tell.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

struct Syslog(syslog::BasicLogger);

impl Log for Syslog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Libraries have nothing to tell an operator.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("moji")
}

/// Sends log lines from `level` on to syslog or stderr.
///
/// # Errors
/// A [`Failure`] if there is no syslog.
pub fn start(syslog: bool, level: LevelFilter) -> Result<(), Failure> {
    let logger: Box<dyn Log> = if syslog {
        let formatter = syslog::Formatter3164 {
            facility: syslog::Facility::LOG_DAEMON,
            hostname: None,
            process: "moji-client".to_owned(),
            pid: std::process::id(),
        };
        let logger = syslog::unix(formatter).map_err(|error| {
            Failure::new(exit::CONFIG, format!("no syslog: {error}: start it, or leave --syslog out"))
        })?;
        Box::new(Syslog(syslog::BasicLogger::new(logger)))
    } else {
        Box::new(Stderr)
    };
    // Fails only if a logger was set before: then that one stays.
    let _ = log::set_boxed_logger(logger);
    log::set_max_level(level);
    Ok(())
}

/// `2026-01-31T12:00:00Z`. Days to a date by Howard Hinnant's `civil_from_days`.
fn iso_8601(unix_s: u64) -> String {
    let (days, seconds) = (unix_s / 86_400 + 719_468, unix_s % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_at_their_corners() {
        for (unix_s, want) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (2_147_483_648, "2038-01-19T03:14:08Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(iso_8601(unix_s), want);
        }
    }
}
