//! Where log lines go: stderr, or syslog.
//!
//! Owns the shape of a line on stderr: `2026-01-31T12:00:00Z info pkg=… lease=… …`. Never logs a
//! secret, because nobody hands it one.

use std::fmt;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::time::{SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::exit::{self, Failure};

/// Where every syslogd and journald listens for datagrams.
const SYSLOG_SOCKET: &str = "/dev/log";

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_ascii_lowercase();
            let line = format!("{} {level} {}\n", now(), record.args());
            // One write, so that lines of several processes do not mix; without a stderr there is
            // nobody to tell.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Lines as RFC 3164 wants them, over the datagram socket of every syslogd. Not the `syslog` crate
/// (75 kB on ARM with `time` below it), nor syslog(3) (28 kB: musl's printf).
struct Syslog(UnixDatagram);

impl Log for Syslog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = rfc_3164(record.level(), now_s(), std::process::id(), record.args());
            if self.0.send(line.as_bytes()).is_err() {
                // A syslogd that was restarted has a new socket. Without one there is nobody to tell.
                let _ = self.0.connect(SYSLOG_SOCKET).and_then(|()| self.0.send(line.as_bytes()));
            }
        }
    }

    fn flush(&self) {}
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
        let socket = UnixDatagram::unbound()
            .and_then(|socket| socket.connect(SYSLOG_SOCKET).map(|()| socket))
            .map_err(|error| {
                Failure::new(exit::CONFIG, format!("no syslog: {error}: start it, or leave --syslog out"))
            })?;
        Box::new(Syslog(socket))
    } else {
        Box::new(Stderr)
    };
    // Fails only if a logger was set before: then that one stays.
    let _ = log::set_boxed_logger(logger);
    log::set_max_level(level);
    Ok(())
}

/// This moment, as log lines show it.
#[must_use]
pub fn now() -> String {
    iso_8601(now_s())
}

/// Seconds since 1970.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// `<30>Jan 31 12:00:00 moji-client[17]: text`: RFC 3164, 4.1, facility daemon, in UTC; syslogd
/// itself adds the host.
fn rfc_3164(level: Level, unix_s: u64, pid: u32, text: &fmt::Arguments<'_>) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const DAEMON: u8 = 3 << 3;
    let severity = match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    let (_, month, day) = date(unix_s);
    let month = &MONTHS[month * 3 - 3..month * 3];
    format!("<{}>{month} {day:2} {} moji-client[{pid}]: {text}", DAEMON | severity, time_of_day(unix_s))
}

/// `2026-01-31T12:00:00Z`.
pub(crate) fn iso_8601(unix_s: u64) -> String {
    let (year, month, day) = date(unix_s);
    format!("{year:04}-{month:02}-{day:02}T{}Z", time_of_day(unix_s))
}

/// `12:00:00`.
fn time_of_day(unix_s: u64) -> String {
    let seconds = (unix_s % 86_400) as u32;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Year, month and day, counted from 1, by Howard Hinnant's `civil_from_days`.
fn date(unix_s: u64) -> (usize, usize, usize) {
    let days = (unix_s / 86_400) as usize + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + usize::from(month <= 2), month, day)
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
    #[test]
    fn a_line_for_syslog_has_priority_date_and_process() {
        for (level, unix_s, want) in [
            (Level::Error, 0, "<27>Jan  1 00:00:00 moji-client[17]: it went"),
            (Level::Warn, 951_782_400, "<28>Feb 29 00:00:00 moji-client[17]: it went"),
            (Level::Info, 4_102_444_799, "<30>Dec 31 23:59:59 moji-client[17]: it went"),
            (Level::Debug, 86_399, "<31>Jan  1 23:59:59 moji-client[17]: it went"),
        ] {
            assert_eq!(rfc_3164(level, unix_s, 17, &format_args!("it {}", "went")), want);
        }
    }
}
