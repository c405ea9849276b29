//! Events in the history: written, read, and bounded in number.
//!
//! Owns the `events` table. No `Phase` is kept: they are many, and a log tells them better.

use std::str::FromStr;

use moji_proto::message::{EventKind, EventRow, PackageState};
use moji_proto::{FileName, Line};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use super::verdict_of;

/// Events that are kept: years of a small farm, 250 MB of the largest.
pub(super) const KEPT_MAX: i64 = 1_000_000;
/// Old ones are deleted after so many new ones: finding the oldest that stays costs a look at all.
pub(super) const PRUNE_EVERY: u32 = 10_000;

/// A query of all columns, in the order of [`row`].
pub(super) fn select(condition: &str) -> String {
    format!(
        "SELECT seq, unix_ms, kind, srpm, lease, builder, verdict, state, who, text FROM events WHERE {condition}"
    )
}

/// Writes one. Says how many it wrote.
pub(super) fn write(db: &Connection, event: &EventRow) -> rusqlite::Result<usize> {
    if event.kind == EventKind::Phase {
        return Ok(0);
    }
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    db.prepare_cached("INSERT OR REPLACE INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
        .execute(params![
            whole(event.seq),
            whole(event.unix_ms),
            event.kind.as_str(),
            event.srpm.as_ref().map(FileName::as_str),
            event.lease.map(|lease| lease.to_string()),
            event.builder.as_ref().map(FileName::as_str),
            event.verdict.map(|verdict| verdict.as_str()),
            event.state.map(PackageState::as_str),
            event.who.as_str(),
            event.text.as_str()
        ])
}

/// Deletes all but the newest `keep`.
pub(super) fn prune(db: &Connection, keep: i64) -> rusqlite::Result<usize> {
    db.execute(
        "DELETE FROM events WHERE seq <= (SELECT seq FROM events ORDER BY seq DESC LIMIT 1 OFFSET ?1)",
        [keep],
    )
}

/// Reads one.
pub(super) fn row(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    let whole = |at: usize| row.get(at).map(|n: i64| u64::try_from(n).unwrap_or(0));
    let word: String = row.get(2)?;
    let kind = EventKind::ALL.into_iter().find(|kind| kind.as_str() == word);
    let kind = kind.ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(2, Type::Text, format!("no event is {word:?}").into())
    })?;
    let state: Option<String> = row.get(7)?;
    let verdict: Option<String> = row.get(6)?;
    Ok(EventRow {
        seq: whole(0)?,
        unix_ms: whole(1)?,
        kind,
        srpm: parsed(row, 3, |text| FileName::new(text).ok())?,
        lease: parsed(row, 4, |text| FromStr::from_str(&text).ok())?,
        builder: parsed(row, 5, |text| FileName::new(text).ok())?,
        verdict: verdict.as_deref().and_then(verdict_of),
        phase: None,
        state: state.and_then(|word| PackageState::ALL.into_iter().find(|state| state.as_str() == word)),
        who: Line::lossy(row.get_ref(8)?.as_str()?),
        text: Line::lossy(row.get_ref(9)?.as_str()?),
    })
}

fn parsed<T>(row: &Row<'_>, at: usize, parse: impl Fn(String) -> Option<T>) -> rusqlite::Result<Option<T>> {
    Ok(row.get::<_, Option<String>>(at)?.and_then(parse))
}
