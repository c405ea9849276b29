//! Packages of mainline for boards, fetched once however many boards ask.
//!
//! Owns `STATE/cache/`, the threads that fetch, and how little of a mirror is believed: what comes has the length and the
//! checksum that the index said, or nobody gets its last byte. Knows no lease and no path of the HTTP port: whoever asks
//! has found out that the package may be asked for.
//!
//! A file is asked for by its checksum, so a package that two repositories have is one file, and a mirror that changed
//! never mixes with what was there before. The first who asks starts the download; all others read what has come so
//! far and wait for the rest. What the cache cannot keep (it is larger than all of it, or the disk is full) is left to the
//! board, which is sent to the mirror itself.
//!
//! ```text
//! ask ──▶ kept ──────────────────────────────▶ Reading (whole)
//!     ──▶ coming ────────────────────────────▶ Reading (grows)
//!     ──▶ neither ──▶ queue ──▶ a thread fetches ──▶ checked ──▶ kept
//!                                    └─▶ Broken: readers are cut off
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `name.rs` | checksums as names |
//! | `shelf.rs` | the files that are there, and which goes first |
//! | `coming.rs` | a file while it comes |
//! | `work.rs` | the threads: fetching, trying again, checking, making room |

mod coming;
mod name;
mod shelf;
#[cfg(test)]
mod tests;
mod work;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Sender, bounded};
use moji_proto::Time;

use crate::actors;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::mainline::Place;
use crate::mainline::fetch::Fetcher;
use crate::mainline::place::is_inside;
use crate::thin::write::Payload;

use self::coming::Coming;
use self::name::Name;
use self::shelf::Shelf;

pub(crate) use self::coming::{Reading, Trouble};

/// Downloads at once: a mirror may refuse more, and an uplink is full with fewer.
const DOWNLOADS: usize = 8;
/// Packages that wait for one of them; a board asks for three at once.
const QUEUE_MAX: usize = 4_096;
/// How long it is remembered that a mirror failed, milliseconds: sixty boards ask it once.
const TROUBLE_MS: u64 = 5_000;
/// Most files and mirrors of which that is remembered.
const TROUBLES_MAX: usize = 4_096;

/// What the cache works with.
pub struct Setup {
    /// The repositories, in the order of `--mainline`; one that is given twice counts once, as it does for
    /// [`crate::mainline`].
    pub places: Vec<Place>,
    /// The hub's state folder.
    pub state: PathBuf,
    /// Most that the cache takes of the disk, bytes (`--cache-size`).
    pub bytes_max: u64,
    /// Nothing is kept, and boards are sent to the mirrors (`--no-cache`).
    pub is_off: bool,
    /// Free space of the state folder, and how much of it the hub wants to stay free, bytes.
    pub space: Box<dyn Fn() -> io::Result<(u64, u64)> + Send + Sync>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What stands between the hub and mirrors: as a rule what the environment says.
    pub proxy: Option<ureq::Proxy>,
}

/// What the cache did since the hub started, and what is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// How often a package was asked for that was there, or came already.
    pub hits: u64,
    /// How often one had to be fetched.
    pub misses: u64,
    /// How often a board was sent to the mirror.
    pub sent_away: u64,
    /// Downloads that failed.
    pub failures: u64,
    /// What came from mirrors, bytes.
    pub fetched_bytes: u64,
    /// What boards were given, bytes.
    pub given_bytes: u64,
    /// Files that went to make room.
    pub evictions: u64,
    /// Files that are there.
    pub files: u64,
    /// Their length, bytes.
    pub bytes: u64,
    /// Most that they may have, bytes; 0 if nothing is kept.
    pub bytes_max: u64,
}

/// Where a package is.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is here, or comes.
    Here(Reading),
    /// In a folder that is somebody else's, at the payload's path.
    Folder(PathBuf),
    /// At this URL.
    Elsewhere(String),
    /// Nowhere for now.
    No(Trouble),
}

/// The cache; clones are the same.
#[derive(Clone)]
pub struct Cache {
    shared: Arc<Shared>,
    /// Its threads end with the last clone.
    jobs: Sender<Arc<Coming>>,
}

/// What askers and threads share.
struct Shared {
    places: Vec<Place>,
    bytes_max: u64,
    is_off: bool,
    space: Box<dyn Fn() -> io::Result<(u64, u64)> + Send + Sync>,
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    given_bytes: AtomicU64,
}

/// What changes.
struct State {
    shelf: Shelf,
    /// What was asked for and is not there.
    coming: HashMap<Name, Arc<Coming>>,
    /// Of these, what has its room already, bytes: their whole lengths.
    reserved_bytes: u64,
    /// What failed a moment ago, until when that counts, and why.
    troubles: HashMap<Scope, (Time, Arc<str>)>,
    /// Mirrors of which the log says that they are away.
    away: Vec<bool>,
    stats: Stats,
}

/// What failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    /// All of a mirror.
    Mirror(usize),
    /// One file.
    File(Name),
}

impl Cache {
    /// Reads what is kept and starts the threads. They end after the last clone is gone; nobody waits for that, because
    /// they may hang on a mirror: whatever they are at can be broken off.
    #[must_use]
    pub fn start(setup: Setup) -> Cache {
        let Setup { mut places, state, bytes_max, is_off, space, disk, clock, proxy } = setup;
        let mut seen = BTreeSet::new();
        places.retain(|place| seen.insert(place.clone()));
        let is_used = !is_off && places.iter().any(|place| matches!(place, Place::Url(_)));
        let folder = state.join("cache");
        let stats = Stats { bytes_max: if is_used { bytes_max } else { 0 }, ..Stats::default() };
        let state = State {
            shelf: Shelf::open(folder),
            coming: HashMap::new(),
            reserved_bytes: 0,
            troubles: HashMap::new(),
            away: vec![false; places.len()],
            stats,
        };
        if is_used || state.shelf.files() > 0 {
            let (files, mib) = (state.shelf.files(), state.shelf.bytes() >> 20);
            let unused = if is_used { "" } else { ", which nobody uses now" };
            log::info!("cache: {files} packages, {mib} MiB{unused}");
        }
        let fetcher = Fetcher::of_many(disk, proxy, DOWNLOADS);
        let (given_bytes, state) = (AtomicU64::new(0), Mutex::new(state));
        let shared = Shared { places, bytes_max, is_off, space, fetcher, clock, state, given_bytes };
        let shared = Arc::new(shared);
        let (jobs, inbox) = bounded(QUEUE_MAX);
        for _ in 0..if is_used { DOWNLOADS } else { 0 } {
            let (shared, inbox) = (shared.clone(), inbox.clone());
            actors::spawn_behind("payloads", move || work::run(&shared, &inbox));
        }
        Cache { shared, jobs }
    }

    /// How many of the layers are repositories of `--mainline`.
    pub(crate) fn layers(&self) -> usize {
        self.shared.places.len()
    }

    /// Finds a package of mainline, and has it fetched if it is not there. Blocks on the disk for a moment, never on a
    /// mirror.
    pub(crate) fn find(&self, payload: &Payload) -> Found {
        let shared = &*self.shared;
        let Some(place) = shared.places.get(payload.layer).filter(|_| is_inside(&payload.href)) else {
            return Found::No(Trouble::Mirror("there is no such repository".into()));
        };
        let url = match place {
            Place::Folder(folder) => return Found::Folder(folder.clone()),
            Place::Url(_) => place.join(&payload.href).to_string(),
        };
        let (kind, hex) = &payload.checksum;
        match Name::new(kind, hex).filter(|_| !shared.is_off && payload.size <= shared.bytes_max) {
            Some(name) => self.find_kept(name, payload, url),
            None => self.send_away(url),
        }
    }

    fn find_kept(&self, name: Name, payload: &Payload, url: String) -> Found {
        let shared = &*self.shared;
        let unix_s = shared.clock.unix_s();
        let mut state = shared.lock();
        if let Some(taken) = state.shelf.take(&name, unix_s) {
            drop(state);
            // Held from here on. Whoever deletes files by hand is welcome: then it is fetched again.
            let file = File::open(&taken.path);
            let is_right = |file: &File| file.metadata().is_ok_and(|meta| meta.len() == taken.size);
            match file.ok().filter(is_right) {
                Some(_) if taken.size != payload.size => return disputed(&url),
                Some(file) => {
                    if taken.is_stale {
                        shelf::touch(&taken.path, unix_s);
                    }
                    shared.lock().stats.hits += 1;
                    return Found::Here(Reading::whole(&name, taken.size, file, taken.hold));
                }
                None => {
                    state = shared.lock();
                    state.shelf.forget(&name);
                }
            }
        }
        if let Some(coming) = state.coming.get(&name) {
            if coming.size != payload.size {
                return disputed(&url);
            }
            let reading = coming.reading();
            state.stats.hits += 1;
            return Found::Here(reading);
        }
        let now = shared.clock.now();
        state.troubles.retain(|_, (until, _)| *until > now);
        for scope in [Scope::Mirror(payload.layer), Scope::File(name.clone())] {
            if let Some((_, why)) = state.troubles.get(&scope) {
                return Found::No(Trouble::Mirror(why.clone()));
            }
        }
        let coming = Arc::new(Coming::new(name.clone(), payload.size, url, payload.layer));
        let reading = coming.reading();
        if self.jobs.try_send(coming.clone()).is_err() {
            return Found::No(Trouble::Busy);
        }
        state.stats.misses += 1;
        state.coming.insert(name, coming);
        Found::Here(reading)
    }

    /// Where a board that the cache cannot serve finds a package itself.
    pub(crate) fn elsewhere(&self, payload: &Payload) -> Found {
        match self.shared.places.get(payload.layer) {
            Some(place @ Place::Url(_)) if is_inside(&payload.href) => {
                self.send_away(place.join(&payload.href).to_string())
            }
            _ => Found::No(Trouble::NoRoom),
        }
    }

    fn send_away(&self, url: String) -> Found {
        self.shared.lock().stats.sent_away += 1;
        Found::Elsewhere(url)
    }

    /// Boards were given so many bytes more.
    pub(crate) fn gave(&self, bytes: u64) {
        self.shared.given_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What the cache did, and what is in it.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = self.shared.lock();
        Stats {
            given_bytes: self.shared.given_bytes.load(Ordering::Relaxed),
            files: state.shelf.files() as u64,
            bytes: state.shelf.bytes(),
            ..state.stats
        }
    }
}

/// Two repositories have one checksum for files of different lengths: one of them is wrong.
fn disputed(url: &str) -> Found {
    Found::No(Trouble::Mirror(
        format!("{url}: another repository has a file of another length with its checksum").into(),
    ))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
