//! The history from what the folders know, after `history.db` was lost.
//!
//! Owns what comes back and from where: results from `repo/*/result.json`, attempts that were no results from
//! `attempts/*/result.json` (the newest few of a package), builders and the events of leasing and ending from both.
//! What nobody wrote into a folder does not: all other events, what operators told builders, how packages ended
//! without a result (cancelled, taken away), attempts of which no log was heard, the verdict of an attempt that was
//! lost (its reason tells), and whether an attempt still counts against `--attempts` (all start afresh).

use moji_proto::message::{EventKind, EventRow, PackageState, Verdict};
use moji_proto::{FileName, Line};
use rusqlite::{Connection, params};

use super::{History, TARGET, events, verdict_of, whole};
use crate::recovery::RepoResult;
use crate::result_json::ResultJson;

impl History {
    /// Puts back what the results in `repo/` tell. Of what is known already only what is missing is added.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn rebuild(&mut self, results: &[RepoResult]) -> rusqlite::Result<()> {
        let change = self.db.transaction()?;
        for found in results {
            let result = &found.result;
            change
                .prepare_cached(
                    "INSERT INTO attempts
                        (lease, srpm, builder, name, began_unix_s, ended_unix_s, verdict, reason, open, seconds,
                            folder, peak_memory_mib, peak_disk_mib, silent_s)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, ?10, ?11, ?12, ?13)
                        ON CONFLICT (lease) DO UPDATE SET folder = ?10, began_unix_s = coalesce(began_unix_s, ?5),
                            ended_unix_s = coalesce(ended_unix_s, ?6),
                            reason = iif(verdict IS NULL, ?8, reason), verdict = coalesce(verdict, ?7), open = 0
                        WHERE folder != ?10 OR verdict IS NULL",
                )?
                .execute(params![
                    result.lease,
                    result.srpm,
                    result.builder_key,
                    result.builder,
                    result.leased_unix_s.map(whole),
                    whole(result.committed_unix_s),
                    result.verdict,
                    reason(result),
                    result.seconds,
                    found.folder,
                    result.peak_memory_mib,
                    result.peak_disk_mib,
                    result.silence_s
                ])?;
            if let Some(arch) = target_of(found) {
                change
                    .prepare_cached("INSERT OR IGNORE INTO facts VALUES (?1, ?2)")?
                    .execute(params![TARGET, arch])?;
            }
        }
        change.commit()
    }

    /// Puts the rest back into a history that was empty: attempts that were no results, builders, events.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn rebuild_rest(&mut self, results: &[RepoResult], attempts: &[ResultJson]) -> rusqlite::Result<()> {
        let change = self.db.transaction()?;
        for attempt in attempts {
            let verdict = verdict_of(&attempt.verdict);
            change
                .prepare_cached(
                    "INSERT OR IGNORE INTO attempts
                        (lease, srpm, builder, name, began_unix_s, ended_unix_s, verdict, reason, charged, open,
                            seconds, silent_s)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, nullif(?10, 0), ?11)",
                )?
                .execute(params![
                    attempt.lease,
                    attempt.srpm,
                    attempt.builder_key,
                    attempt.builder,
                    attempt.leased_unix_s.map(whole),
                    whole(attempt.committed_unix_s),
                    verdict.map(Verdict::as_str),
                    attempt.reason,
                    // Of what was reported, that is what is charged. Of what was lost it depends on more than is known.
                    matches!(verdict, Some(Verdict::Memory | Verdict::Timeout)),
                    attempt.seconds,
                    attempt.silence_s
                ])?;
        }
        let all = || results.iter().map(|found| &found.result).chain(attempts);
        all()
            .filter(|result| !result.builder_key.is_empty())
            .try_for_each(|result| rebuild_builder(&change, result))?;
        let mut told: Vec<EventRow> = all().flat_map(told).collect();
        // Numbered as the hub numbers them: by its clock, in microseconds.
        told.sort_by_key(|event| (event.unix_ms, event.lease));
        let mut seq = 0;
        for mut event in told {
            seq = (event.unix_ms * 1_000).max(seq + 1);
            event.seq = seq;
            events::write(&change, &event)?;
        }
        change.commit()
    }
}

/// Why it was ruled so, in words.
fn reason(result: &ResultJson) -> &str {
    result.held.as_deref().filter(|_| result.reason.is_empty()).unwrap_or(&result.reason)
}

/// What was told of the attempt while it went on: that it was leased, and how it ended.
fn told(result: &ResultJson) -> impl Iterator<Item = EventRow> {
    let event = |kind, unix_s: u64, state, text: String| EventRow {
        seq: 0,
        unix_ms: unix_s.saturating_mul(1_000),
        kind,
        srpm: FileName::new(result.srpm.clone()).ok(),
        lease: result.lease.parse().ok(),
        builder: FileName::new(result.builder.clone()).ok(),
        verdict: None,
        phase: None,
        state: Some(state),
        who: Line::default(),
        text: Line::lossy(&text),
    };
    let verdict = verdict_of(&result.verdict);
    let state = match verdict {
        Some(Verdict::Success) if result.held.is_some() => PackageState::Review,
        Some(Verdict::Success) => PackageState::Success,
        Some(Verdict::Failed) => PackageState::Failed,
        Some(Verdict::Excluded) => PackageState::Excluded,
        Some(Verdict::Deps) => PackageState::Deps,
        _ => PackageState::Waiting,
    };
    let leased = result.leased_unix_s.map(|unix_s| {
        event(EventKind::Leased, unix_s, PackageState::Building, format!("leased to {}", result.builder))
    });
    let ended = event(EventKind::Ended, result.committed_unix_s, state, reason(result).to_owned());
    leased.into_iter().chain([EventRow { verdict, ..ended }])
}

/// The builder of a result: as in the youngest of its results, known since the oldest.
fn rebuild_builder(db: &Connection, result: &ResultJson) -> rusqlite::Result<()> {
    let unix_s = whole(result.committed_unix_s);
    db.prepare_cached(
        "INSERT INTO builders
            (key, name, arch, version, cfg, backend, cpus, memory_mib, first_unix_s, last_unix_s)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
            ON CONFLICT (key) DO UPDATE SET first_unix_s = min(first_unix_s, ?9)",
    )?
    .execute(params![
        result.builder_key,
        result.builder,
        result.arch,
        result.builder_version,
        result.cfg,
        result.backend,
        result.builder_cpus,
        result.builder_memory_mib,
        result.leased_unix_s.map_or(unix_s, whole),
        unix_s
    ])?;
    db.prepare_cached(
        "UPDATE builders SET name = ?2, arch = ?3, version = ?4, cfg = ?5, backend = ?6, cpus = ?7,
            memory_mib = ?8, last_unix_s = ?9 WHERE key = ?1 AND last_unix_s < ?9",
    )?
    .execute(params![
        result.builder_key,
        result.builder,
        result.arch,
        result.builder_version,
        result.cfg,
        result.backend,
        result.builder_cpus,
        result.builder_memory_mib,
        unix_s
    ])?;
    Ok(())
}

/// The architecture that a published result was for: that of its first binary package with one.
pub(super) fn target_of(found: &RepoResult) -> Option<&str> {
    if !found.was_published() {
        return None;
    }
    let binaries = found.result.files.iter().filter(|file| file.package.is_some() && !file.is_source);
    let mut archs =
        binaries.filter_map(|file| file.name.strip_suffix(".rpm")?.rsplit_once('.').map(|(_, arch)| arch));
    archs.find(|arch| *arch != "noarch")
}
