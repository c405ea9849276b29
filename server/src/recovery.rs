//! What is put right before anything is promised: folders, journal and stages after a crash.
//!
//! Owns the reading of `repo/*/result.json`, what operators decided about them, and `working/` at the start, and the moves that a crash
//! left undone. The folders are the truth and the journal only explains them: a lease counts while
//! its SRPM is in `working/`. Never starts while another hub uses the folders (see
//! [`crate::folders`]).
//!
//! | found | becomes |
//! |---|---|
//! | SRPM in `working/`, its lease named by a `result.json` | moved to `finished/` |
//! | SRPM in `working/` with a lease, or with a second one beside it | stays leased for the grace |
//! | SRPM in `working/` without a lease | an orphan: back to `source/` after the grace |
//! | one file in `source/` and `working/` (a move without renameat2 was cut short) | one name goes |
//! | two files of that name there (dropped while leased) | both stay until the lease ends |
//! | lease whose SRPM is not in `working/` | over; its builder may take it up again |
//! | `.stage-LEASE` of a lease that does not live | removed |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use moji_proto::{FileName, LeaseId};

use crate::core::leases::{self, Ended, Grant, Past};
use crate::decision::{self, Decided};
use crate::disk::{Disk, Folders};
use crate::journal::{self, Journal};
use crate::result_json::{self, ResultJson};

mod results;

pub use self::results::{RepoResult, for_queue, in_order};

/// What the folder of a stage in `working/` is called before its lease.
pub const STAGE_PREFIX: &str = ".stage-";
/// Largest `result.json` that is read, bytes: 16,384 files of 1 KiB, twice.
const RESULT_JSON_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// How a source package's file name ends.
const SRPM_SUFFIX: &str = ".src.rpm";

/// What the hub starts with.
pub struct Recovered {
    /// For leases.
    pub past: Past,
    /// All results, by folder: for repo, queue and history.
    pub results: Vec<RepoResult>,
    /// The journal of this run; its incarnation is durable.
    pub journal: Journal,
}

/// Recovery could not read or write something.
#[derive(Debug)]
pub struct RecoveryError {
    /// What it did.
    doing: &'static str,
    /// To what.
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}': {}", self.doing, self.path.display(), self.source)
    }
}

impl std::error::Error for RecoveryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> RecoveryError + 'a {
    move |source| RecoveryError { doing, path: path.to_owned(), source }
}

/// Puts the folders right and opens the journal for a new run; `unix_s` is the wall clock.
///
/// Does it again after a crash in the middle with the same outcome.
///
/// # Errors
/// The first file or folder that cannot be read, moved or synced.
pub fn recover(disk: &Arc<dyn Disk>, folders: &Folders, unix_s: u64) -> Result<Recovered, RecoveryError> {
    let loaded = load_journal(&**disk, folders)?;
    let results = read_results(&**disk, &folders.repo)?;
    let committed: BTreeSet<LeaseId> =
        results.iter().filter_map(|found| found.result.lease.parse().ok()).collect();
    let newest = |ids: &mut dyn Iterator<Item = &LeaseId>| ids.map(|id| id.incarnation).max().unwrap_or(0);
    let stored = loaded.incarnation;
    let (mut live, mut ended) = journal::fold(loaded.records);
    let seen = stored
        .max(newest(&mut committed.iter()))
        .max(newest(&mut live.keys()))
        .max(newest(&mut ended.keys()));

    let found = look_into_working(&**disk, folders)?;
    let seen = seen.max(newest(&mut found.stages.iter()));
    let orphans = settle(&**disk, folders, &found.srpms, &mut live, &mut ended, &committed)?;
    for lease in found.stages.iter().filter(|lease| !live.contains_key(lease)) {
        let stage = folders.working.join(format!("{STAGE_PREFIX}{lease}"));
        disk.remove_dir_all(&stage).map_err(failed("remove the stage", &stage))?;
        log::info!("lease={lease} is over: its stage was removed");
    }

    let incarnation = unix_s.max(seen + 1);
    let records = leases::records(&ended, &live);
    let past = Past { incarnation, live, ended, committed, orphans };
    let journal = Journal::create(disk.clone(), folders.working.clone(), incarnation, &records)
        .map_err(failed("write the journal of leases in", &folders.working))?;
    Ok(Recovered { past, results, journal })
}

fn load_journal(disk: &dyn Disk, folders: &Folders) -> Result<journal::Loaded, RecoveryError> {
    let loaded = journal::load(disk, &folders.working)
        .map_err(failed("read the journal of leases in", &folders.working))?;
    if loaded.torn_bytes > 0 {
        log::info!("journal of leases: {} bytes at its end were never finished: dropped", loaded.torn_bytes);
    }
    if !loaded.damaged.is_empty() {
        log::error!(
            "journal of leases is damaged in lines {:?} of '{}': went on with the rest; packages whose lease is \
             lost go back to the source folder after the grace",
            loaded.damaged,
            folders.working.join(journal::FILE_NAME).display()
        );
    }
    Ok(loaded)
}

/// Reads `result.json` in each folder of `repo`, by name. Folders without a readable one are somebody
/// else's and are left alone.
fn read_results(disk: &dyn Disk, repo: &Path) -> Result<Vec<RepoResult>, RecoveryError> {
    let mut results = Vec::new();
    for name in disk.list(repo).map_err(failed("list", repo))? {
        let Some(folder) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let path = repo.join(folder).join(result_json::FILE_NAME);
        match read_result(disk, &path) {
            Ok(result) => {
                let decision = read_decision(disk, &repo.join(folder))?;
                results.push(RepoResult { folder: folder.to_owned(), result, decision });
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                log::warn!("'{}' is not readable, its folder is not indexed: {error}", path.display());
            }
            Err(error) => return Err(failed("read", &path)(error)),
        }
    }
    Ok(results)
}

/// What the state folder keeps of attempts that were no results. Unlike results they are for people only: what
/// cannot be read is left out.
#[must_use]
pub fn read_attempts(disk: &dyn Disk, state: &Path) -> Vec<ResultJson> {
    let attempts = state.join("attempts");
    let names = match disk.list(&attempts) {
        Ok(names) => names,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                log::warn!("failed to list '{}': {error}", attempts.display());
            }
            return Vec::new();
        }
    };
    let leases =
        names.iter().filter(|name| name.to_str().is_some_and(|name| name.parse::<LeaseId>().is_ok()));
    leases
        .filter_map(|name| {
            let path = attempts.join(name).join(result_json::FILE_NAME);
            read_result(disk, &path)
                .inspect_err(|error| log::warn!("'{}' is not readable: {error}", path.display()))
                .ok()
        })
        .collect()
}

/// What an operator decided about the result in this folder. What cannot be read decides nothing.
fn read_decision(disk: &dyn Disk, folder: &Path) -> Result<Option<Decided>, RecoveryError> {
    match decision::read(disk, folder) {
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            let path = folder.join(decision::FILE_NAME);
            log::warn!("'{}' is not readable and does not count: {error}", path.display());
            Ok(None)
        }
        read => read.map_err(failed("read the decision in", folder)),
    }
}

fn read_result(disk: &dyn Disk, path: &Path) -> io::Result<ResultJson> {
    let file = disk.open(path)?;
    let len = file.len()?;
    if len > RESULT_JSON_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, "it is too large"));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| ErrorKind::InvalidData)?];
    let n = file.read_at(&mut bytes, 0)?;
    serde_json::from_slice(&bytes[..n]).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

#[derive(Default)]
struct Working {
    srpms: Vec<FileName>,
    stages: Vec<LeaseId>,
}

fn look_into_working(disk: &dyn Disk, folders: &Folders) -> Result<Working, RecoveryError> {
    let mut found = Working::default();
    for name in disk.list(&folders.working).map_err(failed("list", &folders.working))? {
        let text = name.to_string_lossy();
        if let Some(lease) = text.strip_prefix(STAGE_PREFIX) {
            found.stages.extend(lease.parse::<LeaseId>());
        } else if text.starts_with('.') {
            // The journal, the lock, editors' files.
        } else {
            match name.to_str().map(FileName::new) {
                Some(Ok(srpm)) if text.ends_with(SRPM_SUFFIX) => found.srpms.push(srpm),
                _ => log::warn!("'{}' in the working folder is not moji's: left there", text.escape_debug()),
            }
        }
    }
    Ok(found)
}

/// Decides for each SRPM in `working/`; returns those without a lease. Afterwards `live` holds
/// leases with a file in `working/` only.
fn settle(
    disk: &dyn Disk,
    folders: &Folders,
    srpms: &[FileName],
    live: &mut BTreeMap<LeaseId, Grant>,
    ended: &mut BTreeMap<LeaseId, Ended>,
    committed: &BTreeSet<LeaseId>,
) -> Result<BTreeSet<FileName>, RecoveryError> {
    // The leases of each package that count: those that live, else the last that ended (ids grow).
    let mut last: BTreeMap<&FileName, Vec<LeaseId>> = BTreeMap::new();
    let live_now = live.clone();
    let ended_now = ended.clone();
    last.extend(ended_now.iter().map(|(id, ended)| (&ended.srpm, vec![*id])));
    for (id, grant) in &live_now {
        let of = last.entry(&grant.srpm).or_default();
        of.retain(|other| live_now.contains_key(other));
        of.push(*id);
    }

    let mut stay: BTreeSet<LeaseId> = BTreeSet::new();
    let mut orphans = BTreeSet::new();
    for srpm in srpms {
        let leases = last.get(srpm).map_or(&[][..], Vec::as_slice);
        let lives = leases.iter().any(|lease| live.contains_key(lease));
        if let Some(lease) = leases.iter().find(|lease| committed.contains(lease)) {
            finish(disk, folders, srpm)?;
            log::info!("pkg={srpm} lease={lease} was committed before the restart: finished");
        } else if one_file_twice(disk, folders, srpm, lives)? && !lives {
            log::info!("pkg={srpm} was on its way back before the restart: it is in the source folder");
        } else if lives {
            stay.extend(leases);
        } else {
            log::info!("pkg={srpm} is in the working folder without a lease: it goes back after the grace");
            orphans.insert(srpm.clone());
        }
    }
    for (id, Grant { srpm, builder, .. }) in live_now.iter().filter(|(id, _)| !stay.contains(id)) {
        live.remove(id);
        let over = Ended { srpm: srpm.clone(), builder: *builder, revivable: !committed.contains(id) };
        ended.insert(*id, over);
    }
    Ok(orphans)
}

fn finish(disk: &dyn Disk, folders: &Folders, srpm: &FileName) -> Result<(), RecoveryError> {
    let from = folders.working.join(srpm);
    disk.rename(&from, &folders.finished.join(srpm)).map_err(failed("move to the finished folder", &from))?;
    disk.sync_dir(&folders.finished).map_err(failed("sync", &folders.finished))?;
    disk.sync_dir(&folders.working).map_err(failed("sync", &folders.working))
}

/// Whether `source/` and `working/` have one and the same file; then one name goes, of the folder
/// where it does not belong.
fn one_file_twice(
    disk: &dyn Disk,
    folders: &Folders,
    srpm: &FileName,
    lives: bool,
) -> Result<bool, RecoveryError> {
    let (source, working) = (folders.source.join(srpm), folders.working.join(srpm));
    let in_source = disk.stat(&source).map_err(failed("look at", &source))?;
    let in_working = disk.stat(&working).map_err(failed("look at", &working))?;
    let (Some(in_source), Some(in_working)) = (in_source, in_working) else { return Ok(false) };
    if in_source.inode != in_working.inode {
        return Ok(false);
    }
    let (surplus, folder) = if lives { (&source, &folders.source) } else { (&working, &folders.working) };
    disk.remove_file(surplus).map_err(failed("remove the second name", surplus))?;
    disk.sync_dir(folder).map_err(failed("sync", folder))?;
    Ok(true)
}

#[cfg(test)]
pub(crate) mod tests;
