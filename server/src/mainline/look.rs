//! Looking at all mainline repositories.
//!
//! Owns when each is asked, what is done about one that is away or damaged, making one [`Capabilities`] of all and a
//! [`Layer`] of each, and which paths are looked for in `filelists`. Says nothing before all are known: a package must not be
//! held because one mirror has not answered yet.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use moji_proto::Time;

use super::fetch::{FetchError, Fetcher, Seal};
use super::kept::{Checked, Found, Index, KeepError, Kept, List, More, folder_name};
use super::place::Place;
use super::primary::{self, PrimaryError};
use super::repomd::{self, IndexFile, RepomdError};
use super::unpack::{self, UnpackError};
use crate::clock::Clock;
use crate::core::capabilities::Capabilities;
use crate::disk::Disk;
use crate::thin::{self, Builder, Layer, ReadError};

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
/// Most that the capabilities of mainline take, bytes: ten times a large distribution.
const HEAP_BYTES_MAX: usize = 128 << 20;
/// Most that all layers take, bytes: three times a large distribution. Where they would take more there are none, and
/// no thin repositories.
const LAYERS_BYTES_MAX: usize = 256 << 20;
/// When `filelists` that could not be read are asked for again, milliseconds: they are large.
const FILES_RETRY_MS: u64 = 1_800_000;
/// Most paths that others look for.
const TOLD_PATHS_MAX: usize = 1_000;
/// Longest of them, bytes.
const TOLD_BYTES_MAX: usize = 4_096;
/// Most of a list of groups that is read, bytes, compressed.
const GROUPS_BYTES_MAX: u64 = 8 << 20;
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
    /// The list of files is of no use.
    Files(String),
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
            Why::Files(error) => f.write_str(error),
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

/// What all repositories have.
#[derive(Clone, Debug)]
pub struct Deliver {
    /// As one.
    pub capabilities: Arc<Capabilities>,
    /// Each by itself, in the order in which they were named; none at all if one of them could not be held.
    pub layers: Vec<(Place, Arc<Layer>)>,
}

/// What was read of all lists.
struct All {
    there: Capabilities,
    /// Missing where one could not be held.
    layers: Vec<Option<Made>>,
}

/// A layer that was made.
struct Made {
    /// Of these lists.
    primary: String,
    group: Option<String>,
    /// Without what was found in `filelists`.
    layer: Arc<Layer>,
}

/// One repository.
struct Mirror {
    place: Place,
    kept: Kept,
    /// A list that came and was not read yet.
    new: Option<Index>,
    /// Digest of a list that came whole and makes no sense: it is not fetched again.
    senseless: Option<String>,
    /// What was made of the list that counts.
    made: Option<Made>,
    /// What was found in `filelists`, as far as that was read.
    found: Option<Found>,
    /// Digest of `filelists` that came whole and make no sense.
    senseless_files: Option<String>,
    /// Before that, `filelists` are not asked for again.
    files_next: Time,
    next: Time,
    failures: u32,
}

/// All of them.
pub(super) struct Mainline {
    mirrors: Vec<Mirror>,
    fetcher: Fetcher,
    target: Option<String>,
    clock: Arc<dyn Clock>,
    /// What has been made known.
    capabilities: Option<Arc<Capabilities>>,
    /// Paths that others look for.
    told: BTreeSet<String>,
    /// When `filelists` are to be read that were not, if some are.
    files_next: Option<Time>,
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
        let open = |place: Place| {
            let kept = Kept::open(disk.clone(), &folder, &place);
            Mirror {
                found: kept.found(),
                kept,
                place,
                new: None,
                senseless: None,
                made: None,
                senseless_files: None,
                files_next: clock.now(),
                next: clock.now(),
                failures: 0,
            }
        };
        let mirrors = places.into_iter().map(open).collect();
        let (capabilities, told, files_next) = (None, BTreeSet::new(), None);
        Mainline {
            mirrors,
            fetcher: Fetcher::new(disk, proxy),
            target,
            clock,
            capabilities,
            told,
            files_next,
        }
    }

    /// When the next mirror is to be asked.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.mirrors.iter().map(|mirror| mirror.next).chain(self.files_next).min()
    }

    /// Somebody looks for these paths: packages that have them are told of from now on, as soon as [`Mainline::look`] found
    /// them in `filelists`.
    pub(super) fn look_for(&mut self, paths: BTreeSet<String>) {
        for path in paths {
            let is_path = path.starts_with('/') && path.len() <= TOLD_BYTES_MAX;
            if is_path && self.told.len() < TOLD_PATHS_MAX && self.told.insert(path) {
                self.files_next = Some(self.clock.now());
            }
        }
    }

    /// What is kept, without asking anybody; None if something is missing.
    pub(super) fn remember(&mut self) -> Option<Deliver> {
        self.build().then(|| self.deliver())
    }

    /// Asks the mirrors whose time has come, or all. Says what all of them have if any of it is new.
    pub(super) fn look(&mut self, all: bool) -> Option<Deliver> {
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
        let is_new = self.build();
        let has_files = self.find_files();
        (is_new || has_files).then(|| self.deliver())
    }

    /// What is known, with what was found in `filelists`.
    fn deliver(&self) -> Deliver {
        let layer = |mirror: &Mirror| Some((mirror.place.clone(), mirror.layer()?));
        let layers: Option<Vec<(Place, Arc<Layer>)>> = self.mirrors.iter().map(layer).collect();
        let capabilities = self.capabilities.clone().unwrap_or_default();
        Deliver { capabilities, layers: layers.unwrap_or_default() }
    }

    /// Looks in `filelists` for paths that are wanted and that no `primary` lists. Says whether any were read.
    fn find_files(&mut self) -> bool {
        self.files_next = None;
        let made = self.mirrors.iter().map(|mirror| Some(mirror.made.as_ref()?.layer.clone()));
        let Some(layers) = made.collect::<Option<Vec<_>>>() else { return false };
        let mut paths = thin::lacking_paths(&layers);
        paths.extend(self.told.iter().cloned());
        let mut is_new = false;
        for mirror in &mut self.mirrors {
            let Some((digest, filelists)) = mirror.files_to_read(&paths) else { continue };
            let now = self.clock.now();
            if mirror.files_next > now {
                self.files_next = [self.files_next, Some(mirror.files_next)].into_iter().flatten().min();
                continue;
            }
            match mirror.read_files(&self.fetcher, &filelists, &paths) {
                Ok(()) => is_new = true,
                Err((is_senseless, trouble)) => {
                    log::warn!(
                        "mainline: failed to read {trouble}; files that only it lists are not in thin repositories"
                    );
                    if is_senseless {
                        mirror.senseless_files = Some(digest);
                    } else {
                        mirror.files_next = now.plus_ms(FILES_RETRY_MS);
                        self.files_next =
                            [self.files_next, Some(mirror.files_next)].into_iter().flatten().min();
                    }
                }
            }
        }
        is_new
    }

    /// Reads all lists if one is new; says whether it did. One that makes no sense is put aside, and what was known before
    /// counts.
    fn build(&mut self) -> bool {
        loop {
            let has_new = self.mirrors.iter().any(|mirror| mirror.new.is_some());
            let has_all = self.mirrors.iter().all(|mirror| mirror.current().is_some());
            if !has_all || (self.capabilities.is_some() && !has_new) {
                return false;
            }
            match self.read_all() {
                Ok(All { there, layers }) => {
                    let now = self.clock.now();
                    for (mirror, made) in self.mirrors.iter_mut().zip(layers) {
                        mirror.made = made;
                        mirror.keep(now);
                    }
                    self.capabilities = Some(Arc::new(there));
                    return true;
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

    /// Reads all lists; an error tells whose it is. Layers that could not be held are missing.
    fn read_all(&self) -> Result<All, (usize, Unread)> {
        let start = self.clock.now();
        let mut there = Capabilities::default();
        let (mut all, mut layers_bytes) = (Vec::new(), 0);
        for (at, mirror) in self.mirrors.iter().enumerate() {
            let made = self.read_one(at, mirror, &mut there).map_err(|error| (at, error))?;
            layers_bytes += made.as_ref().map_or(0, |made| made.layer.heap_bytes());
            if layers_bytes > LAYERS_BYTES_MAX {
                no_layer(mirror, &ReadError::TooMuch);
                all.push(None);
            } else {
                all.push(made);
            }
        }
        let ms = self.clock.now().since_ms(start);
        log::info!(
            "mainline: {} {}, {} packages, read in {}.{} s, {} MB in memory",
            self.mirrors.len(),
            if self.mirrors.len() == 1 { "repository" } else { "repositories" },
            there.len(),
            ms / 1_000,
            ms % 1_000 / 100,
            (there.heap_bytes() + layers_bytes) / 1_000_000,
        );
        Ok(All { there, layers: all })
    }

    /// Adds what one has, and makes its layer unless the one that is there is of the same lists.
    fn read_one(&self, at: usize, mirror: &Mirror, there: &mut Capabilities) -> Result<Option<Made>, Unread> {
        let Index { primary, more, .. } = mirror.current().expect("all are there");
        let group = more.group.as_ref().map(|group| group.digest.clone());
        let is_same = |made: &&Made| made.primary == primary.digest && made.group == group;
        let same = mirror.made.as_ref().filter(is_same).map(|made| made.layer.clone());
        let mut builder = match same {
            Some(_) => None,
            None => hold(mirror, mirror.kept.texts().map(Builder::new).map_err(ReadError::Texts)),
        };
        let until = self.clock.now().plus_ms(READ_MS_MAX);
        let file = mirror.kept.packed(List::Packages, primary);
        let file = file.map_err(|error| Unread::Unpack(UnpackError::Io(error)))?;
        let text = unpack::open(file).map_err(Unread::Unpack)?;
        let mut not_weighed = 0;
        primary::read(text, self.target.as_deref(), |package, element| {
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
            if let Some(mut held) = builder.take() {
                builder = hold(mirror, held.add(package, element).map(|()| held));
            }
            Ok(())
        })?;
        let layer = same.or_else(|| {
            let groups = mirror.groups(more.group.as_ref());
            hold(mirror, builder?.finish(groups.as_deref())).map(Arc::new)
        });
        Ok(layer.map(|layer| Made { primary: primary.digest.clone(), group, layer }))
    }
}

/// What there is, unless that failed: then there is no layer, but all else.
fn hold<T>(mirror: &Mirror, held: Result<T, ReadError>) -> Option<T> {
    held.map_err(|error| no_layer(mirror, &error)).ok()
}

fn no_layer(mirror: &Mirror, error: &ReadError) {
    log::warn!("mainline: {}: {error}; there are no thin repositories", mirror.place);
}

impl Mirror {
    /// The list that counts.
    fn current(&self) -> Option<&Index> {
        self.new.as_ref().or_else(|| self.kept.known())
    }

    /// What was made of it, with what was found in its `filelists`.
    fn layer(&self) -> Option<Arc<Layer>> {
        let made = self.made.as_ref()?;
        // Of whichever list: packages are named by their digests.
        let found = self.found.as_ref().filter(|found| !found.files.is_empty());
        let Some(found) = found else { return Some(made.layer.clone()) };
        let mut layer = Layer::clone(&made.layer);
        layer.add_found(&found.files);
        Some(Arc::new(layer))
    }

    /// The list of groups, if it is there and makes sense.
    fn groups(&self, group: Option<&IndexFile>) -> Option<Vec<u8>> {
        let mut packed = Vec::new();
        let file = self.kept.packed(List::Groups, group?).ok()?;
        file.take(GROUPS_BYTES_MAX).read_to_end(&mut packed).ok()?;
        match thin::check_groups(&packed) {
            Ok(()) => Some(packed),
            Err(error) => {
                log::warn!("mainline: {}: {error}; it counts as without groups", self.place);
                None
            }
        }
    }

    /// The `filelists` that must be read to know who has these paths, if they must be, and their digest.
    fn files_to_read(&self, paths: &BTreeSet<String>) -> Option<(String, IndexFile)> {
        let filelists = self.kept.known()?.more.filelists.as_ref()?;
        let found = self.found.as_ref().filter(|found| found.digest == filelists.digest);
        let is_read = match found {
            Some(found) => paths.is_subset(&found.paths),
            None => paths.is_empty(),
        };
        let is_senseless = self.senseless_files.as_ref() == Some(&filelists.digest);
        (!is_read && !is_senseless).then(|| (filelists.digest.clone(), filelists.clone()))
    }

    /// Reads `filelists` from the mirror. An error tells whether they make no sense, however often they are asked for.
    fn read_files(
        &mut self,
        fetcher: &Fetcher,
        filelists: &IndexFile,
        paths: &BTreeSet<String>,
    ) -> Result<(), (bool, Trouble)> {
        let moved = self.kept.known().and_then(|known| known.more.moved.clone()).map(Place::Url);
        let place = moved.as_ref().unwrap_or(&self.place).join(&filelists.href);
        let wrong = |is_senseless, why| (is_senseless, Trouble { place: place.clone(), why });
        let fetched = fetcher.fetch(&place, None).map_err(|error| wrong(false, Why::Fetch(error)))?;
        let body = fetched.expect("it was asked for without conditions").body;
        let keep = |error| wrong(false, Why::Keep(error));
        let mut body = Checked::filelists(body, filelists).map_err(keep)?;
        let files = match unpack::open_filelists(&mut body) {
            Ok(text) => thin::find_files(text, paths).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        // What is cut makes no sense either: first whether all of it came.
        body.finish().map_err(keep)?;
        let files = files.map_err(|error| wrong(true, Why::Files(error)))?;
        let found = Found { digest: filelists.digest.clone(), paths: paths.clone(), files };
        log::info!("mainline: {}: {} of {} paths in filelists", self.place, found.files.len(), paths.len());
        if let Err(error) = self.kept.keep_found(&found) {
            log::warn!("mainline: {}: {error}; its list of files is read again after a restart", self.place);
        }
        self.found = Some(found);
        Ok(())
    }

    /// Fetches the lists of packages and groups if they are other ones.
    fn ask(&mut self, fetcher: &Fetcher) -> Result<(), Trouble> {
        let place = self.place.repomd();
        let known = self.current();
        let wrong = |why| Trouble { place: place.clone(), why };
        let fetched = fetcher.fetch(&place, known.map(|known| &known.seal));
        let Some(fetched) = fetched.map_err(Why::Fetch).map_err(wrong)? else { return Ok(()) };
        let mut text = Vec::new();
        let read = fetched.body.take(REPOMD_BYTES_MAX).read_to_end(&mut text);
        read.map_err(Why::Stopped).map_err(wrong)?;
        let files = repomd::files(&text).map_err(Why::Repomd).map_err(wrong)?;
        let primary = files.primary;
        let is_known = known.is_some_and(|known| known.primary.digest == primary.digest);
        if !is_known && self.senseless.as_ref() == Some(&primary.digest) {
            return Err(wrong(Why::ContentStill));
        }
        // The whole index from the mirror that the first file came from: another one may be older.
        let base = fetched.moved.as_deref().and_then(Place::of_repomd);
        let from = base.as_ref().unwrap_or(&self.place);
        let had = known.and_then(|known| known.more.group.as_ref()).map(|group| &group.digest);
        let has_group = files.group.as_ref().map(|group| &group.digest) == had;
        let mut seal = fetched.seal;
        let mut group = files.group;
        if !has_group
            && let Some(file) = &group
            && let Err(trouble) = self.take(fetcher, from, List::Groups, file)
        {
            // Without groups there is still all else. It is asked again as if for the first time.
            log::warn!("mainline: failed to read {trouble}; it counts as without groups");
            (group, seal) = (None, Seal::default());
        }
        if !is_known {
            self.take(fetcher, from, List::Packages, &primary)?;
        }
        let moved = base.as_ref().map(Place::to_string);
        let is_other_group = group.as_ref().map(|group| &group.digest) != had;
        let primary = known.filter(|_| is_known).map_or(primary, |known| known.primary.clone());
        let index = Index { seal, primary, more: More { filelists: files.filelists, group, moved } };
        if is_known && !is_other_group {
            return self.reseal(index).map_err(Why::Keep).map_err(wrong);
        }
        self.new = Some(index);
        Ok(())
    }

    /// Fetches a list.
    fn take(&self, fetcher: &Fetcher, from: &Place, list: List, file: &IndexFile) -> Result<(), Trouble> {
        let place = from.join(&file.href);
        let wrong = |why| Trouble { place: place.clone(), why };
        let fetched = fetcher.fetch(&place, None).map_err(Why::Fetch).map_err(wrong)?;
        let body = fetched.expect("it was asked for without conditions").body;
        self.kept.take(body, list, file).map_err(Why::Keep).map_err(wrong)
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
