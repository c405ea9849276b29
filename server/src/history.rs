//! The history: attempts, builders and events in SQLite.
//!
//! | file | owns |
//! |---|---|
//! | `layout.rs` | the tables, and how an older file comes to have them |
//! | `events.rs` | what happened, bounded in number |
//! | `rebuild.rs` | what comes back from results and kept attempts after the file is lost |
//! | `reader.rs` | what others read, beside the thread that writes |
//! | `numbers.rs` | the same in numbers: days, reasons, durations |
//!
//! Owns `history.db` in the state folder. Is memory, never on the path of a grant or a commit: the queue
//! tells it and goes on. It may be deleted while the hub is down; what the folders and `result.json` know
//! is put back at the next start (`rebuild.rs`). One that is damaged is set aside and made anew.
//!
//! An attempt is *open* until its package is done or starts afresh; only open attempts that were
//! charged count against `--attempts`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, never, select};
use moji_proto::message::{PackageState, Verdict};
use moji_proto::{FileName, LeaseId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::actors::spawn_behind;
use crate::clock::Clock;
use crate::core::queue::{Msg, Note};
use crate::core::types::{BuilderInfo, Peak};
use crate::core::view::Told;

mod events;
mod layout;
mod numbers;
mod reader;
mod rebuild;

pub use self::numbers::{BOUNDS_S, Numbers, Reason, Sum, Totals, Tried};
pub use self::reader::{Counts, Reader};

/// The file's name in the state folder.
pub const FILE_NAME: &str = "history.db";
/// Most notes that go into one transaction: a burst costs one write, and memory stays small.
const BATCH_MAX: usize = 1_000;
/// How long a note waits for others that share its write: a commit alone writes a page of each table and index that it touches.
const GATHER: Duration = Duration::from_millis(10);

/// Name of the fact that holds the architecture of the repository.
const TARGET: &str = "target";

/// The open history.
pub struct History {
    db: Connection,
    /// Events written since old ones were deleted.
    unpruned: u32,
}

impl History {
    /// Opens `history.db` in the folder, making it if it is not there. A damaged one, or one of another
    /// layout, is renamed to `history.db.damaged` (replacing the last such) with a warning.
    ///
    /// # Errors
    /// If not even a new one can be made: the folder is not writable or the disk is full.
    pub fn open(state: &Path) -> rusqlite::Result<History> {
        let path = state.join(FILE_NAME);
        let error = match attempt(&path) {
            Ok(history) => return Ok(history),
            Err(error) => error,
        };
        // A full disk or a locked file is no damage, and setting it aside would not help.
        if !is_damage(&error) {
            return Err(error);
        }
        log::warn!("{} is set aside and made anew: {error}", path.display());
        set_aside(&path);
        attempt(&path)
    }

    /// Whether it knows of no attempt: then [`History::rebuild`] it.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn is_empty(&self) -> rusqlite::Result<bool> {
        self.db.query_row("SELECT NOT EXISTS (SELECT 1 FROM attempts)", [], |row| row.get(0))
    }

    /// What the queue must know at the start, at `unix_s`: the target, open charged attempts, oldest first, what
    /// ended without a result, what builders were told, what builds took, and what failed on whom.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn recall(&self, unix_s: u64) -> rusqlite::Result<Vec<Msg>> {
        let mut msgs: Vec<Msg> = Vec::new();
        let target = "SELECT value FROM facts WHERE name = ?1";
        let arch: Option<String> = self.db.query_row(target, [TARGET], |row| row.get(0)).optional()?;
        msgs.extend(arch.map(|arch| Msg::Target { arch }));
        let mut query = self.db.prepare(
            "SELECT srpm, verdict, reason FROM attempts WHERE charged AND open
                ORDER BY srpm, ended_unix_s, rowid",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (srpm, verdict, reason): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            // Only what was written here is read here; a hand-made row is no reason to fail.
            let (Ok(srpm), Some(verdict)) = (FileName::new(srpm), verdict_of(&verdict)) else { continue };
            match msgs.last_mut() {
                Some(Msg::Charged { srpm: last, attempts }) if *last == srpm => {
                    attempts.push((verdict, reason));
                }
                _ => msgs.push(Msg::Charged { srpm, attempts: vec![(verdict, reason)] }),
            }
        }
        drop(rows);
        self.recall_endings(unix_s, &mut msgs)?;
        self.recall_builders(&mut msgs)?;
        self.recall_times(&mut msgs)?;
        self.recall_tries(&mut msgs)?;
        Ok(msgs)
    }

    fn recall_endings(&self, unix_s: u64, msgs: &mut Vec<Msg>) -> rusqlite::Result<()> {
        let mut query = self.db.prepare("SELECT srpm, state, text, unix_s FROM endings ORDER BY srpm")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (srpm, word, text, at): (String, String, String, i64) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            let state = PackageState::ALL.into_iter().find(|state| state.as_str() == word);
            let (Ok(srpm), Some(state)) = (FileName::new(srpm), state) else { continue };
            let ago_s = unix_s.saturating_sub(u64::try_from(at).unwrap_or(0));
            msgs.push(Msg::EndedAs { srpm, state, text, ago_s });
        }
        Ok(())
    }

    fn recall_builders(&self, msgs: &mut Vec<Msg>) -> rusqlite::Result<()> {
        let mut query = self.db.prepare(
            "SELECT key, name, drained, exit, quarantined FROM builders
                WHERE drained OR quarantined OR exit IS NOT NULL ORDER BY key",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (key, name): (String, String) = (row.get(0)?, row.get(1)?);
            let (Ok(builder), Ok(name)) = (key.parse(), FileName::new(name)) else { continue };
            let exit: Option<i64> = row.get(3)?;
            let told =
                Told { drained: row.get(2)?, exit: exit.map(i64::cast_unsigned), quarantined: row.get(4)? };
            msgs.push(Msg::Told { builder, name, told });
        }
        Ok(())
    }

    /// When leases that have not ended began, unix seconds.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn began(&self) -> rusqlite::Result<BTreeMap<LeaseId, u64>> {
        let mut query = self.db.prepare(
            "SELECT lease, began_unix_s FROM attempts WHERE began_unix_s IS NOT NULL AND ended_unix_s IS NULL",
        )?;
        let mut rows = query.query([])?;
        let mut began = BTreeMap::new();
        while let Some(row) = rows.next()? {
            if let (Ok(lease), Ok(unix_s)) =
                (row.get_ref(0)?.as_str()?.parse(), row.get::<_, i64>(1)?.try_into())
            {
                began.insert(lease, unix_s);
            }
        }
        Ok(began)
    }

    fn recall_times(&self, msgs: &mut Vec<Msg>) -> rusqlite::Result<()> {
        let mut query = self.db.prepare(
            "SELECT srpm, builder, coalesce(seconds, 0), coalesce(peak_memory_mib, 0), coalesce(peak_disk_mib, 0),
                    coalesce(silent_s, 0)
                FROM attempts WHERE verdict = 'success' ORDER BY ended_unix_s, rowid",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (srpm, key, seconds): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let silent_s = u32::try_from(row.get::<_, i64>(5)?).unwrap_or(0);
            // `NAME-VERSION-RELEASE.src.rpm`; one whose file was called otherwise is built as if for the first time.
            let source = srpm.rsplitn(3, '-').nth(2);
            let Some(source) = source.map(str::to_owned) else { continue };
            let peak = Peak { memory_mib: row.get(3)?, disk_mib: row.get(4)? };
            if peak != Peak::default() {
                msgs.push(Msg::Needed { source: source.clone(), peak });
            }
            if let (Ok(builder), Ok(seconds @ 1..)) = (key.parse(), u32::try_from(seconds)) {
                msgs.push(Msg::Took { source, builder, seconds, silent_s });
            }
        }
        Ok(())
    }

    /// What failed and what was built later, and what waits for a board with more memory or for one to agree.
    fn recall_tries(&self, msgs: &mut Vec<Msg>) -> rusqlite::Result<()> {
        let mut query = self.db.prepare(
            "SELECT a.srpm, a.builder, a.verdict, a.open, coalesce(b.memory_mib, 0)
                FROM attempts a LEFT JOIN builders b ON b.key = a.builder
                WHERE a.verdict = 'failed' OR (a.verdict = 'memory' AND a.open) OR (a.verdict = 'success'
                    AND (a.builder IN (SELECT builder FROM attempts WHERE verdict = 'failed')
                        OR a.srpm IN (SELECT srpm FROM attempts WHERE verdict = 'failed')))
                ORDER BY a.ended_unix_s, a.rowid",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (srpm, key, verdict): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (is_open, memory_mib) = (row.get(3)?, row.get(4)?);
            if let (Ok(srpm), Ok(builder), Some(verdict)) =
                (FileName::new(srpm), key.parse(), verdict_of(&verdict))
            {
                msgs.push(Msg::Tried { srpm, builder, verdict, is_open, memory_mib });
            }
        }
        Ok(())
    }

    /// Starts the thread. It ends when all senders of `inbox` are gone, or once `stop`'s are and what
    /// was said until then is written.
    ///
    /// # Panics
    /// If the system has no thread left.
    #[must_use]
    pub fn start(
        mut self,
        inbox: Receiver<Note>,
        stop: Receiver<()>,
        clock: impl Clock + 'static,
    ) -> JoinHandle<()> {
        spawn_behind("history", move || self.run(&inbox, &stop, &clock))
    }

    fn run(&mut self, inbox: &Receiver<Note>, stop: &Receiver<()>, clock: &dyn Clock) {
        let mut stop = stop.clone();
        let mut ends = false;
        let mut failing = false;
        loop {
            let first = select! {
                recv(inbox) -> note => match note {
                    Ok(note) => note,
                    Err(_) => return,
                },
                recv(stop) -> _ => {
                    (stop, ends) = (never(), true);
                    match inbox.try_recv() {
                        Ok(note) => note,
                        Err(_) => return,
                    }
                }
            };
            thread::sleep(GATHER);
            let notes: Vec<Note> = std::iter::once(first).chain(inbox.try_iter()).take(BATCH_MAX).collect();
            match self.write(&notes, clock.unix_s()) {
                Ok(()) => failing = false,
                // The hub works without; it is said once and the notes are lost.
                Err(error) if !failing => {
                    failing = true;
                    log::warn!("failed to write the history: {error}");
                }
                Err(_) => {}
            }
            if ends && inbox.is_empty() {
                return;
            }
        }
    }

    /// Writes all notes in one transaction.
    fn write(&mut self, notes: &[Note], unix_s: u64) -> rusqlite::Result<()> {
        let change = self.db.transaction()?;
        for note in notes {
            write_one(&change, note, whole(unix_s))?;
            self.unpruned += u32::from(matches!(note, Note::Event(_)));
        }
        if self.unpruned >= events::PRUNE_EVERY {
            self.unpruned = 0;
            events::prune(&change, events::KEPT_MAX)?;
        }
        change.commit()
    }
}

/// Runs a statement that is parsed once.
fn run(db: &Connection, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<usize> {
    db.prepare_cached(sql)?.execute(params)
}

fn write_one(db: &Connection, note: &Note, unix_s: i64) -> rusqlite::Result<()> {
    match note {
        Note::Began { srpm, lease, builder } => {
            forget_ending(db, srpm)?;
            run(
                db,
                "INSERT OR IGNORE INTO attempts (lease, srpm, builder, began_unix_s) VALUES (?1, ?2, ?3, ?4)",
                params![lease.to_string(), srpm.as_str(), builder.to_string(), unix_s],
            )
        }
        Note::Ended { srpm, lease, verdict, reason, charged, seconds, silent_s, peak, is_last, folder } => {
            let folder = folder.as_deref().unwrap_or_default();
            run(
                db,
                "INSERT INTO attempts
                    (lease, srpm, builder, ended_unix_s, verdict, reason, charged, seconds, folder,
                        peak_memory_mib, peak_disk_mib, silent_s)
                    VALUES (?1, ?2, '', ?3, ?4, ?5, ?6, ?7, ?8, nullif(?9, 0), nullif(?10, 0), ?11)
                    ON CONFLICT (lease) DO UPDATE SET ended_unix_s = ?3, verdict = ?4, reason = ?5,
                        charged = ?6, seconds = ?7, folder = ?8, peak_memory_mib = nullif(?9, 0),
                        peak_disk_mib = nullif(?10, 0), silent_s = ?11",
                params![
                    lease.to_string(),
                    srpm.as_str(),
                    unix_s,
                    verdict.as_str(),
                    reason,
                    charged,
                    seconds,
                    folder,
                    peak.memory_mib,
                    peak.disk_mib,
                    silent_s
                ],
            )?;
            match verdict {
                Verdict::Failed if !is_last => Ok(0),
                Verdict::Success | Verdict::Failed | Verdict::Excluded => close(db, srpm),
                Verdict::Infra
                | Verdict::Memory
                | Verdict::Deps
                | Verdict::Lost
                | Verdict::Released
                | Verdict::Timeout => Ok(0),
            }
        }
        Note::EndedAs { srpm, state, text } => run(
            db,
            "INSERT OR REPLACE INTO endings VALUES (?1, ?2, ?3, ?4)",
            params![srpm.as_str(), state.as_str(), text, unix_s],
        ),
        Note::Told { builder, told: Told { drained, exit, quarantined } } => run(
            db,
            "UPDATE builders SET drained = ?2, exit = ?3, quarantined = ?4 WHERE key = ?1",
            params![builder.to_string(), drained, exit.map(u64::cast_signed), quarantined],
        ),
        Note::Event(event) => events::write(db, event),
        Note::Builder(info) => write_builder(db, info, unix_s),
        Note::Afresh { srpm } => {
            forget_ending(db, srpm)?;
            close(db, srpm)
        }
        Note::Target { arch } => {
            run(db, "INSERT OR REPLACE INTO facts VALUES (?1, ?2)", params![TARGET, arch])
        }
    }
    .map(|_| ())
}

/// What was charged to the package so far no longer counts.
fn close(db: &Connection, srpm: &FileName) -> rusqlite::Result<usize> {
    run(db, "UPDATE attempts SET open = 0 WHERE srpm = ?1 AND open", [srpm.as_str()])
}

fn forget_ending(db: &Connection, srpm: &FileName) -> rusqlite::Result<usize> {
    db.prepare_cached("DELETE FROM endings WHERE srpm = ?1")?.execute([srpm.as_str()])
}

fn write_builder(db: &Connection, info: &BuilderInfo, unix_s: i64) -> rusqlite::Result<usize> {
    run(
        db,
        "INSERT INTO builders
            (key, name, arch, version, cfg, backend, cpus, memory_mib, first_unix_s, last_unix_s)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)
            ON CONFLICT (key) DO UPDATE SET name = ?2, arch = ?3, version = ?4, cfg = ?5, backend = ?6,
                cpus = ?7, memory_mib = ?8, last_unix_s = ?9",
        params![
            info.id.to_string(),
            info.name.as_str(),
            info.arch.as_str(),
            info.version.as_str(),
            info.cfg.as_str(),
            format!("{:?}", info.backend).to_lowercase(),
            info.cpus,
            info.memory_mib,
            unix_s
        ],
    )
}

/// Opens or makes the file, and reads all of it once: a damaged page is better found now.
fn attempt(path: &Path) -> rusqlite::Result<History> {
    let mut db = Connection::open(path)?;
    // Journal in a file beside it, and no fsync but at checkpoints: a power cut may cost the last notes,
    // never the file.
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    let damaged = |why: &str| {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        rusqlite::Error::SqliteFailure(code, Some(why.to_owned()))
    };
    let sound: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(damaged(&sound));
    }
    if !layout::bring_up(&mut db)? {
        return Err(damaged("of another version of moji"));
    }
    Ok(History { db, unpruned: events::PRUNE_EVERY })
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, Unknown};
    // Unknown is SQLITE_ERROR: tables that are not as they were made.
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase | Unknown))
}

/// Renames the file out of the way; what SQLite keeps beside it belongs to it and goes.
fn set_aside(path: &Path) {
    let with = |suffix: &str| {
        let mut name = OsString::from(path);
        name.push(suffix);
        PathBuf::from(name)
    };
    let steps =
        [fs::rename(path, with(".damaged")), fs::remove_file(with("-wal")), fs::remove_file(with("-shm"))];
    for error in steps.into_iter().filter_map(Result::err) {
        if error.kind() != std::io::ErrorKind::NotFound {
            log::warn!("failed to set {} aside: {error}", path.display());
        }
    }
}

/// The verdict that this word is for.
#[must_use]
pub fn verdict_of(word: &str) -> Option<Verdict> {
    use Verdict::*;
    [Success, Excluded, Infra, Memory, Deps, Failed, Lost, Released, Timeout]
        .into_iter()
        .find(|v| v.as_str() == word)
}

/// SQLite's integers have a sign.
fn whole(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
