//! Looking at all mainline repositories.
//!
//! Owns when each is asked, what is done about one that is away or damaged, and making one [`Capabilities`] of all. Says
//! nothing before all are known: a package must not be held because one mirror has not answered yet.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use moji_proto::Time;

use super::fetch::{FetchError, Fetcher};
use super::kept::{Index, KeepError, Kept, folder_name};
use super::place::Place;
use super::primary::{self, PrimaryError};
use super::repomd::{self, RepomdError};
use super::unpack::{self, UnpackError};
use crate::clock::Clock;
use crate::core::capabilities::Capabilities;
use crate::disk::Disk;

/// How often a mirror is asked whether it changed, milliseconds: mirrors change once or twice a day, and a package that
/// came since is tried at the latest when a builder has nothing else.
pub(super) const LOOK_EVERY_MS: u64 = 3_600_000;
/// When one that failed is asked again, milliseconds; then after twice that, and so on …
const RETRY_MS: u64 = 60_000;
/// … up to this, milliseconds.
const RETRY_MS_MAX: u64 = 1_800_000;
/// Beyond so many doublings it stays there.
const DOUBLINGS_MAX: u32 = 16;
/// Longest `repomd.xml`, bytes. Real ones have some ten kilobytes.
const REPOMD_BYTES_MAX: u64 = 4 << 20;
/// Most that all that is known of mainline takes, bytes: ten times a large distribution.
const HEAP_BYTES_MAX: usize = 128 << 20;
/// How often that is looked at, bytes of XML's texts in between.
const WEIGH_EVERY_BYTES: usize = 4 << 20;
/// Longest time for reading one list, milliseconds: twenty times what a Raspberry Pi needs for a large one.
const READ_MS_MAX: u64 = 600_000;

/// Why a repository is not known, or not anew.
#[derive(Debug)]
struct Trouble {
    /// The file, or the repository.
    place: Place,
    why: Why,
}

#[derive(Debug)]
enum Why {
    /// The file does not come.
    Fetch(FetchError),
    /// It stops coming.
    Stopped(io::Error),
    /// `repomd.xml` is of no use.
    Repomd(RepomdError),
    /// The list of packages is not what it should be, or cannot be kept.
    Keep(KeepError),
    /// The list of packages makes no sense.
    Content(Unread),
    /// It is that one still.
    ContentStill,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match &self.why {
            Why::Fetch(error) => error.fmt(f),
            Why::Stopped(error) => error.fmt(f),
            Why::Repomd(error) => error.fmt(f),
            Why::Keep(error) => error.fmt(f),
            Why::Content(error) => write!(f, "its list of packages: {error}"),
            Why::ContentStill => f.write_str("its list of packages is the same one still"),
        }
    }
}

/// Why a list of packages cannot be read.
#[derive(Debug)]
enum Unread {
    Unpack(UnpackError),
    Primary(PrimaryError),
    TooMuch,
    TooSlow,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::Unpack(error) => error.fmt(f),
            Unread::Primary(error) => error.fmt(f),
            Unread::TooMuch => write!(f, "mainline would take more than {} MiB", HEAP_BYTES_MAX >> 20),
            Unread::TooSlow => write!(f, "it takes longer than {} minutes", READ_MS_MAX / 60_000),
        }
    }
}

impl From<PrimaryError> for Unread {
    fn from(error: PrimaryError) -> Unread {
        Unread::Primary(error)
    }
}

/// What the reader works with.
pub struct Setup {
    /// The repositories.
    pub places: Vec<Place>,
    /// The hub's state folder.
    pub state: PathBuf,
    /// The architecture that is built for, if that is known; otherwise packages of all are read.
    pub target: Option<String>,
    /// Where what is read is kept.
    pub disk: Arc<dyn Disk>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// One repository.
struct Mirror {
    place: Place,
    kept: Kept,
    /// A list that came and was not read yet.
    new: Option<Index>,
    /// Digest of a list that came whole and makes no sense: it is not fetched again.
    senseless: Option<String>,
    next: Time,
    failures: u32,
}

/// All of them.
pub(super) struct Mainline {
    mirrors: Vec<Mirror>,
    fetcher: Fetcher,
    target: Option<String>,
    clock: Arc<dyn Clock>,
    /// Whether what is kept has been made known.
    is_known: bool,
}

impl Mainline {
    /// Opens what is kept, and clears away what was kept of repositories that are no longer named.
    pub(super) fn open(setup: Setup, proxy: Option<ureq::Proxy>) -> Mainline {
        let Setup { mut places, state, target, disk, clock } = setup;
        let mut seen = BTreeSet::new();
        places.retain(|place| seen.insert(place.clone()));
        let folder = state.join("mainline");
        let names: Vec<PathBuf> = places.iter().map(|place| folder_name(place).into()).collect();
        for name in disk.list(&folder).unwrap_or_default() {
            if !names.contains(&name) {
                let _ = disk.remove_dir_all(&folder.join(name));
            }
        }
        let open = |place: Place| Mirror {
            kept: Kept::open(disk.clone(), &folder, &place),
            place,
            new: None,
            senseless: None,
            next: clock.now(),
            failures: 0,
        };
        let mirrors = places.into_iter().map(open).collect();
        Mainline { mirrors, fetcher: Fetcher::new(disk, proxy), target, clock, is_known: false }
    }

    /// When the next mirror is to be asked.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.mirrors.iter().map(|mirror| mirror.next).min()
    }

    /// What is kept, without asking anybody; None if something is missing.
    pub(super) fn remember(&mut self) -> Option<Capabilities> {
        self.build()
    }

    /// Asks the mirrors whose time has come, or all. Says what all of them have if any of it is new.
    pub(super) fn look(&mut self, all: bool) -> Option<Capabilities> {
        let now = self.clock.now();
        for at in 0..self.mirrors.len() {
            if !all && self.mirrors[at].next > now {
                continue;
            }
            match self.mirrors[at].ask(&self.fetcher) {
                Ok(()) => self.mirrors[at].answered(self.clock.now()),
                Err(trouble) => self.mirrors[at].failed(self.clock.now(), &trouble),
            }
        }
        self.build()
    }

    /// Reads all lists if one is new. One that makes no sense is put aside, and what was known before counts.
    fn build(&mut self) -> Option<Capabilities> {
        loop {
            let has_new = self.mirrors.iter().any(|mirror| mirror.new.is_some());
            let has_all = self.mirrors.iter().all(|mirror| mirror.current().is_some());
            if !has_all || (self.is_known && !has_new) {
                return None;
            }
            match self.read_all() {
                Ok(there) => {
                    let now = self.clock.now();
                    self.mirrors.iter_mut().for_each(|mirror| mirror.keep(now));
                    self.is_known = true;
                    return Some(there);
                }
                Err((at, error)) => {
                    let now = self.clock.now();
                    let mirror = &mut self.mirrors[at];
                    match mirror.new.take() {
                        Some(new) => mirror.senseless = Some(new.primary.digest),
                        None => mirror.kept.forget(),
                    }
                    mirror.failed(now, &Trouble { place: mirror.place.clone(), why: Why::Content(error) });
                }
            }
        }
    }

    /// Reads all lists; an error tells whose it is.
    fn read_all(&self) -> Result<Capabilities, (usize, Unread)> {
        let start = self.clock.now();
        let mut there = Capabilities::default();
        for (at, mirror) in self.mirrors.iter().enumerate() {
            self.read_one(at, mirror, &mut there).map_err(|error| (at, error))?;
        }
        let ms = self.clock.now().since_ms(start);
        log::info!(
            "mainline: {} {}, {} packages, read in {}.{} s, {} MB in memory",
            self.mirrors.len(),
            if self.mirrors.len() == 1 { "repository" } else { "repositories" },
            there.len(),
            ms / 1_000,
            ms % 1_000 / 100,
            there.heap_bytes() / 1_000_000,
        );
        Ok(there)
    }

    fn read_one(&self, at: usize, mirror: &Mirror, there: &mut Capabilities) -> Result<(), Unread> {
        let primary = &mirror.current().expect("all are there").primary;
        let until = self.clock.now().plus_ms(READ_MS_MAX);
        let file = mirror.kept.packed(primary).map_err(|error| Unread::Unpack(UnpackError::Io(error)))?;
        let text = unpack::open(file).map_err(Unread::Unpack)?;
        let mut not_weighed = 0;
        primary::read(text, self.target.as_deref(), |package, _| {
            if self.clock.now() > until {
                return Err(Unread::TooSlow);
            }
            let path = format!("{at}/{}", package.href);
            there.add(&path, &package.nevra, &package.provides, &package.files);
            not_weighed += package.bytes;
            if not_weighed > WEIGH_EVERY_BYTES {
                not_weighed = 0;
                if there.heap_bytes() > HEAP_BYTES_MAX {
                    return Err(Unread::TooMuch);
                }
            }
            Ok(())
        })
    }
}

impl Mirror {
    /// The list that counts.
    fn current(&self) -> Option<&Index> {
        self.new.as_ref().or_else(|| self.kept.known())
    }

    /// Fetches the list of packages if it is another one.
    fn ask(&mut self, fetcher: &Fetcher) -> Result<(), Trouble> {
        let place = self.place.repomd();
        let known = self.current();
        let wrong = |why| Trouble { place: place.clone(), why };
        let fetched = fetcher.fetch(&place, known.map(|known| &known.seal));
        let Some(fetched) = fetched.map_err(Why::Fetch).map_err(wrong)? else { return Ok(()) };
        let mut text = Vec::new();
        let read = fetched.body.take(REPOMD_BYTES_MAX).read_to_end(&mut text);
        read.map_err(Why::Stopped).map_err(wrong)?;
        let primary = repomd::files(&text).map_err(Why::Repomd).map_err(wrong)?.primary;
        if let Some(known) = known.filter(|known| known.primary.digest == primary.digest) {
            let index = Index { seal: fetched.seal, primary: known.primary.clone() };
            return self.reseal(index).map_err(Why::Keep).map_err(wrong);
        }
        if self.senseless.as_ref() == Some(&primary.digest) {
            return Err(wrong(Why::ContentStill));
        }
        // The whole index from the mirror that the first file came from: another one may be older.
        let base = fetched.moved.as_deref().and_then(Place::of_repomd);
        let place = base.as_ref().unwrap_or(&self.place).join(&primary.href);
        let wrong = |why| Trouble { place: place.clone(), why };
        let list = fetcher.fetch(&place, None).map_err(Why::Fetch).map_err(wrong)?;
        let body = list.expect("it was asked for without conditions").body;
        self.kept.take(body, &primary).map_err(Why::Keep).map_err(wrong)?;
        self.new = Some(Index { seal: fetched.seal, primary });
        Ok(())
    }

    /// The list is the same, but something else in `repomd.xml` is not: from now on it is asked whether that changed.
    fn reseal(&mut self, index: Index) -> Result<(), KeepError> {
        match &mut self.new {
            Some(new) => *new = index,
            None if self.kept.known() != Some(&index) => self.kept.commit(index)?,
            None => {}
        }
        Ok(())
    }

    /// What was read counts from here on, also after a restart.
    fn keep(&mut self, now: Time) {
        let Some(new) = self.new.take() else { return };
        self.senseless = None;
        match self.kept.commit(new) {
            Ok(()) => self.is_well(),
            Err(error) => {
                let why = Why::Keep(error);
                self.failed(now, &Trouble { place: self.place.clone(), why });
            }
        }
    }

    /// It answered. Whether it is well will be seen if its list is a new one.
    fn answered(&mut self, now: Time) {
        self.next = now.plus_ms(LOOK_EVERY_MS);
        if self.new.is_none() {
            self.is_well();
        }
    }

    fn is_well(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            log::info!("mainline: {} can be read again", self.place);
        }
    }

    /// Says so once, and asks again soon.
    fn failed(&mut self, now: Time, trouble: &Trouble) {
        let pause_ms = RETRY_MS.saturating_mul(1 << self.failures.min(DOUBLINGS_MAX)).min(RETRY_MS_MAX);
        self.next = now.plus_ms(pause_ms);
        self.failures += 1;
        let what = match self.kept.known() {
            Some(_) => "what was read before counts",
            None => "until it can be read, nothing is held for what mainline lacks",
        };
        let level = if self.failures == 1 { log::Level::Warn } else { log::Level::Debug };
        log::log!(level, "mainline: failed to read {trouble}; {what}");
    }
}
