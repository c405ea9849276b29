//! The history as others read it: attempts of a package, events, counts.
//!
//! Owns a read-only connection of its own, so that whoever asks never waits for who writes. Sees what the
//! history's thread has committed: a note that was told a moment ago may be missing still.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use moji_proto::message::{AttemptRow, EventRow};
use moji_proto::{FileName, LeaseId, Line, PublicKey};
use rusqlite::{Connection, OpenFlags, params};

use super::{FILE_NAME, events, verdict_of};
use crate::core::queue::glob;
use crate::disk::{Disk, Folders};

/// How long a read waits for a checkpoint that holds the file, milliseconds.
const BUSY_MS: u64 = 2_000;

/// What a builder did here, as far as the history knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Successes.
    pub built: u32,
    /// Failures.
    pub failed: u32,
}

/// Reads the history beside the thread that writes it.
pub struct Reader {
    pub(super) db: Connection,
    folders: Folders,
    disk: Arc<dyn Disk>,
}

impl Reader {
    /// Opens `history.db` of the state folder, which [`super::History::open`] has made.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn open(disk: Arc<dyn Disk>, folders: Folders) -> rusqlite::Result<Reader> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(folders.state.join(FILE_NAME), flags)?;
        db.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
        Ok(Reader { db, folders, disk })
    }

    /// All attempts to build the package of that file name, oldest first, numbered from 1. `place` is
    /// `repo/FOLDER` or `attempts/LEASE` where that folder is there, else empty.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn attempts(&self, srpm: &FileName) -> rusqlite::Result<Vec<AttemptRow>> {
        let mut query = self.db.prepare_cached(
            "SELECT a.lease, coalesce(nullif(a.name, ''), b.name, ''), coalesce(a.began_unix_s, 0),
                coalesce(a.ended_unix_s, 0), coalesce(a.seconds, 0), a.verdict, a.reason, a.charged, a.folder
                FROM attempts a LEFT JOIN builders b ON b.key = a.builder WHERE a.srpm = ?1",
        )?;
        let mut rows = query.query([srpm.as_str()])?;
        let mut found: BTreeMap<LeaseId, AttemptRow> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let lease: String = row.get(0)?;
            // Only what was written here is read here; a hand-made row is no reason to fail.
            let Ok(lease) = lease.parse::<LeaseId>() else { continue };
            let text = |at: usize| row.get_ref(at)?.as_str().map(Line::lossy).map_err(rusqlite::Error::from);
            let whole = |at: usize| row.get(at).map(|n: i64| u64::try_from(n).unwrap_or(0));
            let verdict: Option<String> = row.get(5)?;
            let attempt = AttemptRow {
                number: 0,
                lease,
                builder: text(1)?,
                began_unix_s: whole(2)?,
                ended_unix_s: whole(3)?,
                seconds: u32::try_from(whole(4)?).unwrap_or(u32::MAX),
                verdict: verdict.as_deref().and_then(verdict_of),
                reason: text(6)?,
                charged: row.get(7)?,
                place: self.place(lease, row.get_ref(8)?.as_str()?),
            };
            found.insert(lease, attempt);
        }
        let number = |(at, attempt): (usize, AttemptRow)| AttemptRow {
            number: u16::try_from(at + 1).unwrap_or(u16::MAX),
            ..attempt
        };
        Ok(found.into_values().enumerate().map(number).collect())
    }

    /// Where the logs of an attempt are, if they are kept.
    fn place(&self, lease: LeaseId, folder: &str) -> Line {
        let kept = self.folders.state.join("attempts").join(lease.to_string());
        let is_there = |path: &std::path::Path| self.disk.stat(path).is_ok_and(|stat| stat.is_some());
        if !folder.is_empty() && is_there(&self.folders.repo.join(folder)) {
            Line::lossy(&format!("repo/{folder}"))
        } else if is_there(&kept) {
            Line::lossy(&format!("attempts/{lease}"))
        } else {
            Line::default()
        }
    }

    /// The first `limit` events with a number above `after`, oldest first.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn events(&self, after: u64, limit: usize) -> rusqlite::Result<Vec<EventRow>> {
        let mut query = self.db.prepare_cached(&events::select("seq > ?1 ORDER BY seq LIMIT ?2"))?;
        let (after, limit) = (i64::try_from(after).unwrap_or(i64::MAX), clamp(limit));
        query.query_map(params![after, limit], events::row)?.collect()
    }

    /// The newest `limit` events, oldest first.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn newest_events(&self, limit: usize) -> rusqlite::Result<Vec<EventRow>> {
        let mut query = self.db.prepare_cached(&events::select("true ORDER BY seq DESC LIMIT ?1"))?;
        let mut rows: Vec<EventRow> =
            query.query_map([clamp(limit)], events::row)?.collect::<Result<_, _>>()?;
        rows.reverse();
        Ok(rows)
    }

    /// The newest `newest` events about any of these packages or of the builders whose names match any of
    /// these patterns (`* ? [..]`), oldest first.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn events_about(
        &self,
        packages: &[FileName],
        builders: &[String],
        newest: usize,
    ) -> rusqlite::Result<Vec<EventRow>> {
        let mut found: BTreeMap<u64, EventRow> = BTreeMap::new();
        let mut gather = |column: &str, key: &str| -> rusqlite::Result<()> {
            let text = events::select(&format!("{column} = ?1 AND seq > ?2 ORDER BY seq DESC LIMIT ?3"));
            let mut query = self.db.prepare_cached(&text)?;
            // What is older than the newest so many is not looked at again.
            let floor = if found.len() < newest { 0 } else { found.keys().next().copied().unwrap_or(0) };
            let floor = i64::try_from(floor).unwrap_or(i64::MAX);
            for row in query.query_map(params![key, floor, clamp(newest)], events::row)? {
                let row = row?;
                found.insert(row.seq, row);
            }
            while found.len() > newest {
                found.pop_first();
            }
            Ok(())
        };
        for package in packages {
            gather("srpm", package.as_str())?;
        }
        for name in self.builders_like(builders)? {
            gather("builder", &name)?;
        }
        Ok(found.into_values().collect())
    }

    /// Host names of builders that match any of these patterns.
    fn builders_like(&self, patterns: &[String]) -> rusqlite::Result<BTreeSet<String>> {
        if patterns.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut query = self.db.prepare_cached("SELECT DISTINCT name FROM builders")?;
        let names: Vec<String> = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let is_meant = |name: &String| patterns.iter().any(|pattern| glob::matches(pattern, name));
        Ok(names.into_iter().filter(is_meant).collect())
    }

    /// What each builder did here.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn counts_by_builder(&self) -> rusqlite::Result<BTreeMap<PublicKey, Counts>> {
        let mut query = self.db.prepare_cached(
            "SELECT builder, count(*) FILTER (WHERE verdict = 'success'),
                count(*) FILTER (WHERE verdict = 'failed') FROM attempts GROUP BY builder",
        )?;
        let mut rows = query.query([])?;
        let mut all = BTreeMap::new();
        while let Some(row) = rows.next()? {
            if let Ok(key) = row.get_ref(0)?.as_str()?.parse() {
                all.insert(key, Counts { built: row.get(1)?, failed: row.get(2)? });
            }
        }
        Ok(all)
    }
}

pub(super) fn clamp(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
