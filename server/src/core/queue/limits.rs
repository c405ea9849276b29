//! When a builder ends a build by itself: once none of its logs has grown for too long, or once it has taken too long.
//!
//! Owns the formula, for each grant anew, and the words for what came of it. Never decides what follows:
//! that is policy, in [`super::policy`].
//!
//! Both limits come of the same formula. With `o` the option (`--max-silence`, `--max-build`), `f` its floor below and
//! `t` the longest that any remembered build of the source package was silent, or took, on the builder that gets it
//! (measured time × speed of who measured it ÷ speed of who gets it, see [`super::times`]):
//!
//! | what is known | limit |
//! |---|---|
//! | `o` is 0 | none |
//! | no build of the package | `o` |
//! | builds, and how this builder compares with one that built it | `max(min(f, o), 6 t)` |
//! | builds, but not how fast this builder is | `max(o, 6 t)`, `t` at least what was measured |
//! | it was ended at a limit just before | as above |
//!
//! So history narrows a limit only where it tells of this very board, and always widens it, above the option too. Only
//! successes count. A board that swaps takes up to four times what it takes otherwise, a new version may be half as long
//! again as the last: together six.

use moji_proto::message::{Exit, Limits};

use super::evidence;
use crate::core::types::Report;

/// So many times what it was is allowed: see above.
const FACTOR: f64 = 6.0;
/// Never less silence than this is allowed for what was learned, seconds: a package that was never silent may get one
/// large file to compress, or one test that waits.
const SILENCE_FLOOR_S: u32 = 2 * 3_600;
/// Never less time than this is allowed for what was learned, seconds: half a day of one board is all that it can cost.
const BUILD_FLOOR_S: u32 = 12 * 3_600;

/// What an earlier build of the package tells of the next one on the builder that gets it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Earlier {
    /// How long it would take there, seconds.
    pub(super) took_s: f64,
    /// For how long it would be silent there, seconds; 0 if that was not measured.
    pub(super) silent_s: f64,
    /// Whether it is known how fast the two builders are.
    pub(super) is_sure: bool,
}

/// The limits of the next build, `again` if the last one was ended at a limit.
#[must_use]
pub(super) fn limits(options: Limits, earlier: &[Earlier], again: bool) -> Limits {
    let limit = |option_s: u32, floor_s: u32, of: fn(&Earlier) -> f64| {
        let measured = earlier.iter().filter(|one| of(one) > 0.0);
        let is_sure = !again && measured.clone().any(|one| one.is_sure);
        let least_s = if is_sure { floor_s.min(option_s) } else { option_s };
        // A conversion from floating point stays within bounds by itself.
        let widened_s = measured.map(|one| (of(one) * FACTOR) as u32).max().unwrap_or(0);
        if option_s == 0 { 0 } else { least_s.max(widened_s) }
    };
    Limits {
        silence_s: limit(options.silence_s, SILENCE_FLOOR_S, |one| one.silent_s),
        build_s: limit(options.build_s, BUILD_FLOOR_S, |one| one.took_s),
    }
}

/// Why a build was ended by its builder, in words, if it was.
#[must_use]
pub(super) fn reason(report: &Report) -> Option<String> {
    let last = evidence::last_line(report);
    match report.exit {
        Exit::Silent(limit_s) => {
            // What was begun of a second counts as whole there.
            let silent = duration(report.silence_s.saturating_sub(1).max(limit_s));
            Some(format!("silent for {silent} (limit {}), last line: {last}", duration(limit_s)))
        }
        Exit::TooLong(limit_s) => Some(format!("took longer than {}, last line: {last}", duration(limit_s))),
        Exit::Code(_) | Exit::Signal(_) | Exit::NotStarted => None,
    }
}

/// Whole units, the largest of which there are two; of days and hours also one that comes out even.
fn duration(s: u32) -> String {
    match s {
        _ if s >= 172_800 => format!("{} d", s / 86_400),
        _ if s >= 7_200 => format!("{} h", s / 3_600),
        _ if s >= 120 => format!("{} min", s / 60),
        _ => format!("{s} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: u32 = 86_400;
    const OPTIONS: Limits = Limits { silence_s: DAY_S, build_s: 14 * DAY_S };

    fn earlier(took_s: u32, silent_s: u32, is_sure: bool) -> Earlier {
        Earlier { took_s: took_s.into(), silent_s: silent_s.into(), is_sure }
    }

    #[test]
    fn limits_follow_the_table() {
        let (sure, unsure) = (|took, silent| earlier(took, silent, true), |t, s| earlier(t, s, false));
        for (what, earlier, again, want) in [
            ("nothing known", vec![], false, (DAY_S, 14 * DAY_S)),
            ("short", vec![sure(600, 20)], false, (7_200, 43_200)),
            ("an hour of linking", vec![sure(DAY_S, 3_600)], false, (6 * 3_600, 6 * DAY_S)),
            ("eight days", vec![sure(8 * DAY_S, 5 * 3_600)], false, (30 * 3_600, 48 * DAY_S)),
            ("unknown board", vec![unsure(600, 20)], false, (DAY_S, 14 * DAY_S)),
            ("unknown board, eight days", vec![unsure(8 * DAY_S, DAY_S)], false, (6 * DAY_S, 48 * DAY_S)),
            ("the longest counts", vec![sure(600, 20), unsure(DAY_S, 9_000)], false, (54_000, 6 * DAY_S)),
            ("silence not measured", vec![sure(600, 0)], false, (DAY_S, 43_200)),
            ("never narrower again", vec![sure(600, 20)], true, (DAY_S, 14 * DAY_S)),
            ("widened again", vec![sure(8 * DAY_S, DAY_S)], true, (6 * DAY_S, 48 * DAY_S)),
            ("no overflow", vec![sure(u32::MAX, u32::MAX)], false, (u32::MAX, u32::MAX)),
        ] {
            let Limits { silence_s, build_s } = limits(OPTIONS, &earlier, again);
            assert_eq!((silence_s, build_s), want, "{what}");
        }
    }

    #[test]
    fn options_below_the_floors_hold_until_history_widens_them_and_0_is_none() {
        let options = Limits { silence_s: 3, build_s: 5 };
        let limits = |options, earlier| limits(options, &[earlier], false);
        assert_eq!(limits(options, earlier(0, 0, true)), options);
        assert_eq!(limits(options, earlier(2, 1, true)), Limits { silence_s: 6, build_s: 12 });
        assert_eq!(limits(Limits::default(), earlier(9 * DAY_S, DAY_S, true)), Limits::default());
        let only_build = Limits { silence_s: 0, build_s: DAY_S };
        assert_eq!(limits(only_build, earlier(60, 60, true)), Limits { silence_s: 0, build_s: 43_200 });
    }

    #[test]
    fn durations_are_told_in_units_that_people_count_in() {
        for (s, want) in [
            (3, "3 s"),
            (119, "119 s"),
            (3_600, "60 min"),
            (7_200, "2 h"),
            (DAY_S + 11, "24 h"),
            (7 * DAY_S, "7 d"),
        ] {
            assert_eq!(duration(s), want);
        }
    }
}
