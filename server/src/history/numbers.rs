//! The history in numbers: what was built when, how long it took, why it failed.
//!
//! Owns these questions and their bounds: each reads the attempts at most once, and answers with lists of bounded length.

use moji_proto::message::{EventRow, Verdict};
use moji_proto::{Line, PublicKey};
use rusqlite::params;

use super::reader::{Reader, clamp};
use super::{events, verdict_of, whole};

/// Bounds of build times in plots and metrics, seconds: doubling from half a minute, as boards' builds take minutes to
/// days.
pub const BOUNDS_S: [u32; 12] = [30, 60, 120, 300, 600, 1_200, 2_400, 3_600, 7_200, 14_400, 43_200, 86_400];
/// Reasons that are told.
const REASONS_MAX: u32 = 50;
/// Builders that are told of.
const BUILDERS_MAX: usize = 200;
/// Newest attempts that are told.
const NEWEST_MAX: u32 = 100;
/// Events that are looked at for ends of builds, newest first: few of them are none.
const LOOKED_AT_MAX: usize = 4_000;

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Its SRPM.
    pub srpm: String,
    /// The lease.
    pub lease: String,
    /// Host name of the builder; empty if unknown.
    pub builder: String,
    /// When it began, unix seconds; 0 if unknown.
    pub began_unix_s: u64,
    /// When it ended, unix seconds; 0 if it has not.
    pub ended_unix_s: u64,
    /// From mock's start to its end, seconds; 0 if unknown.
    pub seconds: u32,
    /// What the hub ruled.
    pub verdict: Option<Verdict>,
    /// In words.
    pub reason: String,
}

/// Attempts of one verdict that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Of which day, `2026-11-22`, or which builder.
    pub of: String,
    /// The verdict.
    pub verdict: Verdict,
    /// How many.
    pub attempts: u32,
    /// Their build time together, seconds.
    pub build_s: u64,
}

/// Why attempts failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What the hub ruled.
    pub verdict: Verdict,
    /// In words.
    pub reason: String,
    /// How many attempts.
    pub attempts: u32,
    /// Of how many packages.
    pub packages: u32,
    /// When the newest ended, unix seconds.
    pub last_unix_s: u64,
}

/// A span of days in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// By day, oldest first, and verdict.
    pub days: Vec<Sum>,
    /// By builder and verdict; the builders with most builds, by name.
    pub builders: Vec<Sum>,
    /// The most frequent reasons.
    pub reasons: Vec<Reason>,
    /// Successful builds that took at most [`BOUNDS_S`] and longer than the bound before; those that took longer.
    pub durations: [u32; BOUNDS_S.len() + 1],
    /// The newest attempts that ended, newest first.
    pub newest: Vec<Tried>,
}

/// All there ever was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Attempts that ended, by verdict.
    pub verdicts: Vec<(Verdict, u64)>,
    /// Successful builds that took at most [`BOUNDS_S`] and longer than the bound before; those that took longer.
    pub durations: [u64; BOUNDS_S.len() + 1],
    /// Their time together, seconds.
    pub build_s: u64,
}

/// Alike are `%build failed` and what has a colon and the package's own words behind that, and both when two
/// boards agree: `failed on board1, board2: %build failed: main.c:…`.
const REASONS: &str =
    "SELECT verdict, CASE instr(own, ' failed: ') WHEN 0 THEN own ELSE substr(own, 1, instr(own, ' failed: ') + 6) END AS kind,
        count(*), count(DISTINCT srpm), max(ended_unix_s)
    FROM (SELECT verdict, srpm, ended_unix_s,
            CASE WHEN reason LIKE 'failed on %: %' THEN substr(reason, instr(reason, ': ') + 2) ELSE reason END AS own
        FROM attempts WHERE ended_unix_s >= ?1 AND verdict IS NOT NULL AND verdict <> 'success')
    GROUP BY verdict, kind ORDER BY 3 DESC, 2 LIMIT ?2";

const TRIED: &str =
    "SELECT a.srpm, a.lease, coalesce(nullif(a.name, ''), b.name, ''), coalesce(a.began_unix_s, 0),
    coalesce(a.ended_unix_s, 0), coalesce(a.seconds, 0), a.verdict, a.reason
    FROM attempts a LEFT JOIN builders b ON b.key = a.builder";

fn tried(row: &rusqlite::Row<'_>) -> rusqlite::Result<Tried> {
    let verdict: Option<String> = row.get(6)?;
    Ok(Tried {
        srpm: row.get(0)?,
        lease: row.get(1)?,
        builder: row.get(2)?,
        began_unix_s: unsigned(row, 3)?,
        ended_unix_s: unsigned(row, 4)?,
        seconds: u32::try_from(unsigned(row, 5)?).unwrap_or(u32::MAX),
        verdict: verdict.as_deref().and_then(verdict_of),
        reason: Line::lossy(row.get_ref(7)?.as_str()?).to_string(),
    })
}

fn unsigned(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get(at).map(|n: i64| u64::try_from(n).unwrap_or(0))
}

impl Reader {
    /// The newest ends of builds before this event, newest first.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn results_before(&self, seq: u64, limit: usize) -> rusqlite::Result<Vec<EventRow>> {
        let text = events::select("seq < ?1 ORDER BY seq DESC LIMIT ?2");
        let mut query = self.db.prepare_cached(&text)?;
        let before = i64::try_from(seq).unwrap_or(i64::MAX);
        let rows = query.query_map(params![before, clamp(LOOKED_AT_MAX)], events::row)?;
        let is_end = |row: &rusqlite::Result<EventRow>| {
            row.as_ref().map_or(true, |row| {
                row.kind == moji_proto::message::EventKind::Ended && row.verdict.is_some()
            })
        };
        rows.filter(is_end).take(limit).collect()
    }

    /// The newest attempts of a builder, newest first.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn tries_of(&self, builder: &PublicKey, limit: u32) -> rusqlite::Result<Vec<Tried>> {
        let text = format!("{TRIED} WHERE a.builder = ?1 ORDER BY a.rowid DESC LIMIT ?2");
        let mut query = self.db.prepare_cached(&text)?;
        query.query_map(params![builder.to_string(), limit], tried)?.collect()
    }

    /// What ended from this moment on, unix seconds.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn numbers(&self, since_unix_s: u64) -> rusqlite::Result<Numbers> {
        let since = whole(since_unix_s);
        let sums = |of: &str| {
            self.sums(
                &format!(
                    "SELECT {of}, a.verdict, count(*), sum(coalesce(a.seconds, 0))
                        FROM attempts a LEFT JOIN builders b ON b.key = a.builder
                        WHERE a.ended_unix_s >= ?1 AND a.verdict IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
                ),
                since,
            )
        };
        let days = sums("date(a.ended_unix_s, 'unixepoch')")?;
        let builders = most(sums("coalesce(nullif(a.name, ''), b.name, a.builder)")?);
        let text =
            format!("{TRIED} WHERE a.ended_unix_s >= ?1 ORDER BY a.ended_unix_s DESC, a.rowid DESC LIMIT ?2");
        let newest = self
            .db
            .prepare_cached(&text)?
            .query_map(params![since, NEWEST_MAX], tried)?
            .collect::<Result<_, _>>()?;
        let mut durations = [0; BOUNDS_S.len() + 1];
        for (at, builds, _) in self.durations(since)? {
            durations[at] = u32::try_from(builds).unwrap_or(u32::MAX);
        }
        Ok(Numbers { days, builders, reasons: self.reasons(since)?, durations, newest })
    }

    fn sums(&self, text: &str, since: i64) -> rusqlite::Result<Vec<Sum>> {
        let mut query = self.db.prepare_cached(text)?;
        let mut rows = query.query([since])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let Some(verdict) = verdict_of(row.get_ref(1)?.as_str()?) else { continue };
            let attempts = u32::try_from(unsigned(row, 2)?).unwrap_or(u32::MAX);
            all.push(Sum { of: row.get(0)?, verdict, attempts, build_s: unsigned(row, 3)? });
        }
        Ok(all)
    }

    fn reasons(&self, since: i64) -> rusqlite::Result<Vec<Reason>> {
        let mut query = self.db.prepare_cached(REASONS)?;
        let mut rows = query.query(params![since, REASONS_MAX])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let Some(verdict) = verdict_of(row.get_ref(0)?.as_str()?) else { continue };
            let count = |at| unsigned(row, at).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
            let reason = Line::lossy(row.get_ref(1)?.as_str()?).to_string();
            let (attempts, packages) = (count(2)?, count(3)?);
            all.push(Reason { verdict, reason, attempts, packages, last_unix_s: unsigned(row, 4)? });
        }
        Ok(all)
    }

    /// For each bound: its place, how many successes, their time together.
    fn durations(&self, since: i64) -> rusqlite::Result<Vec<(usize, u64, u64)>> {
        let cases: Vec<String> = BOUNDS_S
            .iter()
            .enumerate()
            .map(|(at, bound)| format!("WHEN seconds <= {bound} THEN {at}"))
            .collect();
        let mut query = self.db.prepare_cached(&format!(
            "SELECT CASE {} ELSE {} END, count(*), sum(seconds) FROM attempts
                WHERE verdict = 'success' AND seconds IS NOT NULL AND ended_unix_s >= ?1 GROUP BY 1",
            cases.join(" "),
            BOUNDS_S.len()
        ))?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok((usize::from(row.get::<_, u8>(0)?), unsigned(row, 1)?, unsigned(row, 2)?))
        };
        query.query_map([since], read)?.collect()
    }

    /// All there ever was.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn totals(&self) -> rusqlite::Result<Totals> {
        let mut totals = Totals::default();
        let mut query = self.db.prepare_cached(
            "SELECT verdict, count(*) FROM attempts WHERE verdict IS NOT NULL GROUP BY verdict",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(verdict) = verdict_of(row.get_ref(0)?.as_str()?) {
                totals.verdicts.push((verdict, unsigned(row, 1)?));
            }
        }
        for (at, builds, build_s) in self.durations(i64::MIN)? {
            totals.durations[at] = builds;
            totals.build_s += build_s;
        }
        Ok(totals)
    }
}

/// Those of the builders with most attempts, by name.
fn most(sums: Vec<Sum>) -> Vec<Sum> {
    let mut counts = std::collections::BTreeMap::<&str, u64>::new();
    sums.iter().for_each(|sum| *counts.entry(&sum.of).or_default() += u64::from(sum.attempts));
    let mut order: Vec<(u64, &str)> = counts.into_iter().map(|(of, count)| (count, of)).collect();
    order.sort_by(|a, b| b.cmp(a));
    let kept: std::collections::BTreeSet<String> =
        order.into_iter().take(BUILDERS_MAX).map(|(_, of)| of.to_owned()).collect();
    sums.into_iter().filter(|sum| kept.contains(&sum.of)).collect()
}
