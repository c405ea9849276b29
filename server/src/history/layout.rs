//! The tables of `history.db`, and how an older file comes to have them.
//!
//! Owns the layout and its number, which the file itself keeps. A file of a later moji is damage to this one.

use rusqlite::Connection;

/// Number of the tables' layout.
pub(super) const LAYOUT: i64 = 3;

/// The first layout. `open` is 1 while the attempt may count against `--attempts`.
const FIRST: &str = "
    CREATE TABLE attempts (
        lease TEXT PRIMARY KEY,
        srpm TEXT NOT NULL,
        builder TEXT NOT NULL,
        began_unix_s INTEGER,
        ended_unix_s INTEGER,
        verdict TEXT,
        reason TEXT NOT NULL DEFAULT '',
        charged INTEGER NOT NULL DEFAULT 0,
        open INTEGER NOT NULL DEFAULT 1,
        seconds INTEGER
    ) STRICT;
    CREATE INDEX attempts_srpm ON attempts (srpm);
    CREATE TABLE builders (
        key TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        arch TEXT NOT NULL,
        version TEXT NOT NULL,
        cfg TEXT NOT NULL,
        backend TEXT NOT NULL,
        cpus INTEGER NOT NULL,
        memory_mib INTEGER NOT NULL,
        first_unix_s INTEGER NOT NULL,
        last_unix_s INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
";
/// What the second has besides: host name of the builder and folder in `repo/` of an attempt, what operators
/// told builders (`exit` is the number of the process that is to end), how packages ended without a result,
/// and events.
const SECOND: &str = "
    ALTER TABLE attempts ADD COLUMN name TEXT NOT NULL DEFAULT '';
    ALTER TABLE attempts ADD COLUMN folder TEXT NOT NULL DEFAULT '';
    CREATE INDEX attempts_builder ON attempts (builder, verdict);
    ALTER TABLE builders ADD COLUMN drained INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE builders ADD COLUMN exit INTEGER;
    ALTER TABLE builders ADD COLUMN quarantined INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE endings (
        srpm TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        text TEXT NOT NULL,
        unix_s INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        unix_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        srpm TEXT,
        lease TEXT,
        builder TEXT,
        verdict TEXT,
        state TEXT,
        who TEXT NOT NULL,
        text TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_srpm ON events (srpm, seq) WHERE srpm IS NOT NULL;
    CREATE INDEX events_builder ON events (builder, seq) WHERE builder IS NOT NULL;
";

/// What the third has besides: the most that an attempt took of its builder, MiB, and for how long at most it was
/// silent, seconds.
const THIRD: &str = "
    ALTER TABLE attempts ADD COLUMN peak_memory_mib INTEGER;
    ALTER TABLE attempts ADD COLUMN peak_disk_mib INTEGER;
    ALTER TABLE attempts ADD COLUMN silent_s INTEGER;
";

/// Brings the file to this layout, in one transaction. False if it is of a later one.
pub(super) fn bring_up(db: &mut Connection) -> rusqlite::Result<bool> {
    let layout: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let steps: &[&str] = match layout {
        0 => &[FIRST, SECOND, THIRD],
        1 => &[SECOND, THIRD],
        2 => &[THIRD],
        LAYOUT => return Ok(true),
        _ => return Ok(false),
    };
    let change = db.transaction()?;
    steps.iter().try_for_each(|step| change.execute_batch(step))?;
    change.pragma_update(None, "user_version", LAYOUT)?;
    change.commit()?;
    Ok(true)
}

/// Makes a file of the first layout.
#[cfg(test)]
pub(super) fn first(db: &Connection) {
    db.execute_batch(FIRST).unwrap();
    db.pragma_update(None, "user_version", 1).unwrap();
}
