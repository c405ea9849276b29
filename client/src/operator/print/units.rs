//! Durations, sizes and times as people read them.
//!
//! Owns their formats but those that the hub shares: they are the same on every screen. [`Zone::of_machine`] reads the zone's file once at the
//! start; nothing else here touches the world.

pub use moji_proto::human::{duration, size};

use super::Style;
use crate::logger::iso_8601;

/// The last second of the year 9999: later times are shown as this one, so that columns stay columns.
const UNIX_S_MAX: u64 = 253_402_300_799;

/// A time zone. The default is UTC.
#[derive(Clone, Debug, Default)]
pub struct Zone(Option<tz::TimeZone>);

impl Zone {
    /// The machine's: `$TZ` if it is set (`tz`), else `/etc/localtime`; UTC if that cannot be read.
    #[must_use]
    pub fn of_machine(tz: Option<&str>) -> Zone {
        // An empty TZ means UTC, as it does to libc.
        match tz {
            Some("") => Zone(None),
            Some(tz) => Zone(tz::TimeZone::from_posix_tz(tz).ok()),
            None => Zone(tz::TimeZone::local().ok()),
        }
    }

    /// Seconds east of Greenwich at a time.
    fn offset_s(&self, unix_s: u64) -> i32 {
        let unix_s = i64::try_from(unix_s).unwrap_or(i64::MAX);
        let found =
            self.0.as_ref().and_then(|zone| Some(zone.find_local_time_type(unix_s).ok()?.ut_offset()));
        found.unwrap_or(0)
    }
}

/// `2026-11-22T19:31:05Z`.
#[must_use]
pub fn iso(unix_s: u64) -> String {
    iso_8601(unix_s.min(UNIX_S_MAX))
}

/// `2026-11-22 20:31:05`, in the style's zone.
#[must_use]
pub fn local_time(style: &Style, unix_s: u64) -> String {
    let unix_s = unix_s.min(UNIX_S_MAX);
    let shifted = unix_s.saturating_add_signed(style.zone.offset_s(unix_s).into());
    iso(shifted).replace('T', " ").replace('Z', "")
}

/// `in about 3 h 20 m, at 14:05`, with the date if that is not within a day; None if it is unknown.
#[must_use]
pub fn ends(style: &Style, in_s: u32) -> Option<String> {
    const DAY_S: u32 = 86_400;
    let at = local_time(style, style.now_unix_s.saturating_add(in_s.into()));
    let at = if in_s < DAY_S { &at[11..16] } else { &at[..16] };
    (in_s > 0).then(|| format!("in about {}, at {at}", duration(in_s.into())))
}

/// `1 attempt`, `2 attempts`.
pub(super) fn count(n: u64, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}
