//! The desk's work on files and on the history: logs, submits, lists, decisions, the list of builders.
//!
//! Owns the dot files of submits in `source/`, changes of the two lists there, and `decision.json`. Runs in
//! worker threads; keeps what a request has open between two of its jobs, and no other memory. Decides nothing
//! about packages.

mod decisions;
mod logs;
mod submit;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use moji_proto::message::{AttemptRow, EventRow, NoCode, Order};
use moji_proto::{FileName, Line, PublicKey};

use crate::clock::Clock;
use crate::core::desk::{Done, Job, Run, event_filter};
use crate::core::view::Reply;
use crate::disk::{Disk, File, Folders};
use crate::history::Reader;
use crate::keys;
use crate::lists::{self, Place};

/// Events looked at, newest first, before all are: what a page or two of history needs.
const NEWEST_MAX: usize = 20_000;
/// Events read at once when all are looked at.
const SCAN_EVENTS: usize = 2_000;

/// What the history remembers.
pub trait Past: Send {
    /// Attempts of a package, oldest first; `place` is `repo/FOLDER`, `attempts/LEASE` or empty.
    ///
    /// # Errors
    /// In words.
    fn attempts(&self, srpm: &FileName) -> Result<Vec<AttemptRow>, String>;
    /// The first `limit` events after this one, oldest first.
    ///
    /// # Errors
    /// In words.
    fn events(&self, after: u64, limit: usize) -> Result<Vec<EventRow>, String>;
    /// The newest `limit` events, oldest first.
    ///
    /// # Errors
    /// In words.
    fn newest(&self, limit: usize) -> Result<Vec<EventRow>, String>;
    /// Successes and failures of each builder.
    ///
    /// # Errors
    /// In words.
    fn counts(&self) -> Result<BTreeMap<PublicKey, (u32, u32)>, String>;
}

impl Past for Reader {
    fn attempts(&self, srpm: &FileName) -> Result<Vec<AttemptRow>, String> {
        self.attempts(srpm).map_err(unreadable)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<EventRow>, String> {
        self.events(after, limit).map_err(unreadable)
    }

    fn newest(&self, limit: usize) -> Result<Vec<EventRow>, String> {
        self.newest_events(limit).map_err(unreadable)
    }

    fn counts(&self) -> Result<BTreeMap<PublicKey, (u32, u32)>, String> {
        let counts = self.counts_by_builder().map_err(unreadable)?;
        Ok(counts.into_iter().map(|(key, counts)| (key, (counts.built, counts.failed))).collect())
    }
}

fn unreadable(error: impl std::fmt::Display) -> String {
    format!("failed to read the history: {error}")
}

/// What a worker is set up with.
pub struct Setup {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The hub's folders.
    pub folders: Folders,
    /// `--min-free`: below this nothing is taken.
    pub min_free: Option<u64>,
    /// `--builders`.
    pub builders: Option<PathBuf>,
    /// Has the list of builders read again.
    pub reload: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// The history.
    pub past: Box<dyn Past>,
}

/// Does the desk's jobs. Shared by its threads.
pub struct Worker {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    folders: Folders,
    min_free: Option<u64>,
    builders: Option<PathBuf>,
    reload: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
    past: Mutex<Box<dyn Past>>,
    /// Held while a list is read and written.
    lists: Mutex<()>,
    logs: Mutex<BTreeMap<Run, logs::Open>>,
    parcels: Mutex<BTreeMap<Run, submit::Open>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What came of a job, or why it failed, in words.
type Outcome = Result<Done, String>;

fn failed<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> String + 'a {
    move |error| format!("failed to {what} {}: {error}", path.display())
}

fn no(code: NoCode, target: impl ToString, text: impl Into<String>) -> Reply {
    Reply::No { code, target: target.to_string(), text: text.into() }
}

impl Worker {
    /// A worker over these folders, which all exist.
    #[must_use]
    pub fn new(setup: Setup) -> Worker {
        let Setup { disk, clock, folders, min_free, builders, reload, past } = setup;
        Worker {
            disk,
            clock,
            folders,
            min_free,
            builders,
            reload,
            past: Mutex::new(past),
            lists: Mutex::new(()),
            logs: Mutex::default(),
            parcels: Mutex::default(),
        }
    }

    /// Does one job; blocks until it is done.
    #[must_use]
    pub fn run(&self, run: Run, job: Job) -> Done {
        self.attempt(run, job).unwrap_or_else(Done::Failed)
    }

    fn attempt(&self, run: Run, job: Job) -> Outcome {
        match job {
            Job::Tails(wanted) => Ok(Done::Tails(self.tails(&wanted))),
            Job::Counts => lock(&self.past).counts().map(Done::Counts),
            Job::Attempts(srpm) => lock(&self.past).attempts(&srpm).map(Done::Attempts),
            Job::Blocked(survey) => Ok(Done::Blocked(survey.rows())),
            Job::Details(place) => Ok(Done::Details(self.details(&place))),
            Job::ReadLog { of, offset, pieces } => self.read_log(run, of, offset, pieces),
            Job::Newest { pattern, rows, before } => self.newest(&pattern, rows, before).map(Done::Newest),
            Job::Replay { after, limit } => lock(&self.past).events(after, limit).map(Done::Events),
            Job::Open(parcel) => self.open(run, &parcel),
            Job::Write { offset, bytes } => self.write(run, offset, &bytes.0),
            Job::Deliver { parcel, first, options } => {
                self.deliver(run, &parcel, first, &options).map(|reply| Done::Changed(vec![reply]))
            }
            Job::Prioritise { order, names } => Ok(Done::Changed(self.prioritise(order, &names))),
            Job::SetOptions { glob, words } => Ok(Done::Changed(vec![self.set_options(&glob, &words)])),
            Job::Decide { results, decision, who } => Ok(self.decide(&results, decision, &who)),
            Job::Retract { target, delete, who } => self.retract(&target, delete, &who),
            Job::Delete { folder, rpms } => self.delete(&folder, &rpms),
            Job::Approve { name, key, archs } => Ok(Done::Changed(vec![self.approve(&name, key, &archs)])),
            Job::Close(run) => {
                lock(&self.logs).remove(&run);
                lock(&self.parcels).remove(&run);
                Ok(Done::Closed)
            }
            Job::Sweep => {
                self.sweep();
                Ok(Done::Closed)
            }
        }
    }

    /// After which event those begin that are the newest `rows` before `before` and that the pattern fits.
    fn newest(&self, pattern: &Line, rows: u32, before: u64) -> Result<u64, String> {
        let fits = event_filter(pattern);
        let wanted = rows as usize;
        let past = lock(&self.past);
        let few = past.newest(NEWEST_MAX.min(wanted.saturating_mul(4).max(SCAN_EVENTS)))?;
        let mut newest: VecDeque<u64> =
            few.iter().filter(|row| row.seq < before && fits(row)).map(|row| row.seq).collect();
        if newest.len() < wanted {
            // Not among the newest: all are looked at, and the last so many are kept.
            newest.clear();
            let mut after = 0;
            loop {
                let page = past.events(after, SCAN_EVENTS)?;
                let Some(last) = page.last() else { break };
                after = last.seq;
                newest.extend(page.iter().filter(|row| row.seq < before && fits(row)).map(|row| row.seq));
                newest.drain(..newest.len().saturating_sub(wanted));
            }
        }
        let at = newest.len().saturating_sub(wanted);
        Ok(newest.get(at).map_or(before, |seq| *seq).saturating_sub(1))
    }

    fn read_text(&self, path: &Path) -> Result<String, String> {
        let bytes = match self.disk.open(path) {
            Ok(file) => read_all(&*file, lists::LIST_BYTES_MAX).map_err(failed("read", path))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed("open", path)(error)),
        };
        String::from_utf8(bytes).map_err(|_| format!("{} is no UTF-8 text: mend it first", path.display()))
    }

    /// Changes one of the lists in `source/`, whole or not at all.
    fn edit(&self, name: &str, change: impl FnOnce(&str) -> String) -> Result<(), String> {
        let _lists = lock(&self.lists);
        let path = self.folders.source.join(name);
        let old = self.read_text(&path)?;
        let text = change(&old);
        if text == old {
            return Ok(());
        }
        if text.len() as u64 > lists::LIST_BYTES_MAX {
            return Err(format!("{} would become too long: take lines out", path.display()));
        }
        let new = self.folders.source.join(format!(".{name}.new"));
        let write = || {
            match self.disk.remove_file(&new) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let file = self.disk.create(&new)?;
            file.write_at(text.as_bytes(), 0)?;
            file.sync()?;
            self.disk.rename(&new, &path)?;
            self.disk.sync_dir(&self.folders.source)
        };
        write().map_err(failed("write", &path))
    }

    fn prioritise(&self, order: Order, names: &[FileName]) -> Vec<Reply> {
        let (place, text) = match order {
            Order::First => (Place::First, "goes first"),
            Order::Last => (Place::Last, "goes behind all others in priority.txt"),
            _ => (Place::Out, "has no priority any more"),
        };
        let done = self.edit(lists::PRIORITY, |text| lists::edit_priority(text, names, place));
        let reply = |name: &FileName| match &done {
            Ok(()) => Reply::Changed { target: name.to_string(), text: text.to_owned() },
            Err(why) => no(NoCode::Failed, name, why),
        };
        names.iter().map(reply).collect()
    }

    fn set_options(&self, glob: &str, words: &[Line]) -> Reply {
        match self.edit(lists::OPTIONS, |text| lists::edit_options(text, glob, words)) {
            Ok(()) if words.is_empty() => Reply::Changed {
                target: glob.to_owned(),
                text: "has no options of its own any more".to_owned(),
            },
            Ok(()) => {
                let words: Vec<&str> = words.iter().map(Line::as_str).collect();
                Reply::Changed { target: glob.to_owned(), text: format!("is built with {}", words.join(" ")) }
            }
            Err(why) => no(NoCode::Failed, glob, why),
        }
    }

    fn approve(&self, name: &str, key: PublicKey, archs: &[String]) -> Reply {
        let Some(path) = &self.builders else {
            let text = "this hub serves any builder with its secret: start it with --builders FILE to choose";
            return no(NoCode::Refused, name, text);
        };
        let _lists = lock(&self.lists);
        let done = keys::approve(path, name, key, archs).map_err(|error| error.to_string());
        match done.and_then(|new| (self.reload)().map(|()| new)) {
            Ok(true) => Reply::Changed {
                target: name.to_owned(),
                text: format!("{} may build from now on", key.fingerprint()),
            },
            Ok(false) => no(NoCode::Refused, name, format!("{} is in the list already", key.fingerprint())),
            Err(why) => no(NoCode::Failed, name, why),
        }
    }
}

/// All of a file of at most `max` bytes.
fn read_all(file: &dyn File, max: u64) -> io::Result<Vec<u8>> {
    let len = file.len()?;
    if len > max {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("it has more than {max} bytes")));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| ErrorKind::InvalidData)?];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
