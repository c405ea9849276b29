//! Reading RPMs that nobody has described yet: results of older hubs, what people put into `repo/`, all of it when
//! the shelves are lost.
//!
//! Owns `STATE/index/reading/`: marks of what is being read. An RPM that ended the hub twice while it was read is set
//! aside and named, so that none can crash every start. Reads pieces of results too. Never writes an index and never
//! decides what is read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::bounded;
use moji_proto::Time;
use sha2::{Digest as _, Sha256};

use super::{IndexError, Layout, at};
use crate::clock::Clock;
use crate::core::repo::{Path, Read, Skipped, Source, Stamp};
use crate::disk::{self, Disk, File};
use crate::repodata::{
    About, Compression, DescribeError, Described, GROUP_PACKAGES_MAX, Group, PIECE_NAME, decode_piece,
    describe,
};
use crate::result_json;
use crate::rpmfile::{self, RpmError};
use crate::stage::AsRpm;

mod marks;

use marks::Marks;

/// Largest piece that is read, bytes: 16,384 packages of a result with 16 KiB each.
const PIECE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Largest `result.json` that is read, bytes: as at the start of the hub.
const RESULT_JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How often it is told how far reading has come, milliseconds.
const PROGRESS_EVERY_MS: u64 = 10_000;
/// So many RPMs are not read in a moment: it is told at once that they are read.
const MANY: usize = 1_000;
/// Threads that read many RPMs: most time goes into their digests, and hubs have at least two cores.
pub const THREADS: usize = 2;

/// How RPMs are read.
#[derive(Clone, Copy, Debug)]
pub struct ReadConfig {
    /// How groups are compressed.
    pub compression: Compression,
    /// How many threads read: with one, everything happens on the caller's.
    pub threads: usize,
}

/// Reads RPMs and pieces. Shared by its threads.
pub struct Reader {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    layout: Layout,
    config: ReadConfig,
    marks: Mutex<Marks>,
    stopping: AtomicBool,
}

/// Why an RPM has no place in the index.
enum Fault {
    /// The RPM's own.
    Skip(Skipped),
    /// Somebody else's: it may be tried again.
    Again(IndexError),
}

/// Why an RPM was not described.
enum Unread {
    Io(io::Error),
    Bad(String),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        Unread::Io(error)
    }
}

impl From<RpmError> for Unread {
    fn from(error: RpmError) -> Unread {
        match error {
            RpmError::Io(error) => Unread::Io(error),
            error => Unread::Bad(error.to_string()),
        }
    }
}

/// What came of reading for a merge.
#[derive(Debug, Default)]
pub struct Tally {
    /// What was read.
    pub added: Vec<(Path, Stamp)>,
    /// What could not be.
    pub skipped: Vec<Skipped>,
}

impl Reader {
    /// Reads below `layout.repo`. What the marks of the last run say counts from here on.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, layout: Layout, config: ReadConfig) -> Reader {
        let marks = Mutex::new(Marks::open(disk.clone(), layout.index.join("reading"), config.threads));
        Reader { disk, clock, layout, config, marks, stopping: AtomicBool::new(false) }
    }

    /// Ends what is being read soon, with an error.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads these RPMs, for recent.
    pub fn read(&self, paths: Vec<Path>) -> Read {
        let tally = Mutex::new(Tally::default());
        let gather = |groups: &mut dyn Iterator<Item = Result<Group, IndexError>>| {
            let mut done = Vec::new();
            for group in groups {
                match group {
                    Ok(group) => done.push(Arc::new(group)),
                    Err(error) => return (done, Some(error.to_string())),
                }
            }
            (done, None)
        };
        let (groups, failed) = self.stream(vec![Source::Files(paths)], &tally, gather);
        let skipped = tally.into_inner().unwrap_or_else(PoisonError::into_inner).skipped;
        Read { groups, skipped, failed }
    }

    /// Has `body` take the groups of all sources one by one; `tally` tells what was read.
    pub fn stream<R>(
        &self,
        sources: Vec<Source>,
        tally: &Mutex<Tally>,
        body: impl FnOnce(&mut dyn Iterator<Item = Result<Group, IndexError>>) -> R,
    ) -> R {
        let units: Vec<Source> = sources.into_iter().flat_map(divide).collect();
        let mut progress = Progress::new(&self.clock, &units);
        let unit = |slot: usize, unit: &Source| {
            let groups = self.unit(slot, unit, tally);
            (packages_of(unit), groups)
        };
        if self.config.threads <= 1 || units.len() <= 1 {
            let mut groups = units.iter().flat_map(|source| {
                let (packages, groups) = unit(0, source);
                progress.went_on(&self.clock, packages);
                flat(groups)
            });
            return body(&mut groups);
        }
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let (done, made) = bounded(self.config.threads);
            for slot in 0..self.config.threads {
                let (done, next, units, unit) = (done.clone(), &next, &units, &unit);
                scope.spawn(move || {
                    while let Some(source) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if done.send(unit(slot, source)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(done);
            // It goes with its receiver when `body` is through, which ends the threads.
            let mut groups = made.into_iter().flat_map(|(packages, groups)| {
                progress.went_on(&self.clock, packages);
                flat(groups)
            });
            body(&mut groups)
        })
    }

    /// The groups of one source.
    fn unit(&self, slot: usize, source: &Source, tally: &Mutex<Tally>) -> Result<Vec<Group>, IndexError> {
        let paths = match source {
            Source::Groups(groups) => return Ok(groups.iter().map(|group| (**group).clone()).collect()),
            Source::Result { folder, rpms } => match self.piece(folder, rpms)? {
                Some(groups) => {
                    note(tally, &groups);
                    return Ok(groups);
                }
                None => rpms,
            },
            Source::Files(paths) => paths,
        };
        let mut described = Vec::with_capacity(paths.len());
        let mut known = Known::default();
        for path in paths {
            if self.stopping.load(Ordering::Relaxed) {
                let error = io::Error::new(ErrorKind::Interrupted, "the hub is stopping");
                return Err(at(&self.layout.repo.join(&**path))(error));
            }
            match self.one(slot, path, &mut known) {
                Ok(package) => described.push(package),
                Err(Fault::Again(error)) => return Err(error),
                Err(Fault::Skip(skipped)) => lock(tally).skipped.push(skipped),
            }
        }
        let groups = Group::seal_all(self.config.compression, described);
        note(tally, &groups);
        Ok(groups)
    }

    /// These RPMs of a result as its piece has them; None if there is none that fits.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn piece(&self, folder: &str, rpms: &[Path]) -> Result<Option<Vec<Group>>, IndexError> {
        let path = self.layout.repo.join(folder).join(PIECE_NAME);
        let Some(bytes) = self.read_file(&path, PIECE_BYTES_MAX)? else { return Ok(None) };
        let Ok(mut groups) = decode_piece(&bytes) else {
            log::warn!("'{}' is damaged or of another version: reading the RPMs instead", path.display());
            return Ok(None);
        };
        let wanted: BTreeSet<&str> = rpms.iter().map(|path| &**path).collect();
        let there: Vec<Path> =
            groups.iter().flat_map(|group| &group.packages).map(|listed| listed.path.clone()).collect();
        let gone: BTreeSet<&str> =
            there.iter().map(|path| &**path).filter(|path| !wanted.contains(path)).collect();
        if there.len() - gone.len() != wanted.len() {
            return Ok(None);
        }
        if !gone.is_empty() {
            let rest: Result<Vec<_>, _> = groups.iter().map(|group| group.without(&gone)).collect();
            let Ok(rest) = rest else { return Ok(None) };
            groups = rest.into_iter().flatten().collect();
        }
        if groups.iter().all(|group| group.compression == self.config.compression) {
            return Ok(Some(groups));
        }
        // The hub was told to compress otherwise since.
        let packages: Result<Vec<_>, _> = groups.iter().map(Group::unseal).collect();
        let packages = packages.map(|packages| packages.into_iter().flatten().collect());
        Ok(packages.ok().map(|packages| Group::seal_all(self.config.compression, packages)))
    }

    /// Describes one RPM.
    fn one(&self, slot: usize, path: &Path, known: &mut Known) -> Result<Described, Fault> {
        let full = self.layout.repo.join(&**path);
        let again = |error: io::Error| Fault::Again(at(&full)(error));
        let skip = |stamp, why: &dyn fmt::Display| {
            log::warn!("'{}' is not indexed: {why}", full.display());
            Fault::Skip(Skipped { path: path.clone(), stamp })
        };
        let file = match self.disk.open(&full) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Err(skip(None, &"it is gone")),
            Err(error) => return Err(again(error)),
        };
        let stat = self.disk.stat(&full).map_err(again)?;
        let Some(stat) = stat.filter(|stat| !stat.is_dir) else { return Err(skip(None, &"it is no file")) };
        let stamp = Stamp { size: stat.len, modified_unix_s: stat.modified_ns / 1_000_000_000 };
        if !self.marks().begin(slot, path, stamp) {
            let why = "the hub ended twice while it read it; 'touch' it to have it read again";
            return Err(skip(Some(stamp), &why));
        }
        let done = self.describe(path, &*file, stamp, known);
        self.marks().end(slot, path);
        done.map_err(|error| match error {
            Unread::Io(error) => again(error),
            Unread::Bad(why) => skip(Some(stamp), &why),
        })
    }

    fn describe(
        &self,
        path: &Path,
        file: &dyn File,
        stamp: Stamp,
        known: &mut Known,
    ) -> Result<Described, Unread> {
        let rpm = AsRpm(file);
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let sha256 = match self.known(folder, known).get(name) {
            Some((sha256, size)) if *size == stamp.size => *sha256,
            _ => {
                rpmfile::verify_digests(&rpm)?;
                sha256(file)?
            }
        };
        let about = About { href: path, sha256, size: stamp.size, modified_unix_s: stamp.modified_unix_s };
        describe(&rpm, &about).map_err(|error| match error {
            DescribeError::Rpm(error) => error.into(),
            error => Unread::Bad(error.to_string()),
        })
    }

    /// What `result.json` says of the RPMs beside it, which were checked when they came.
    fn known<'a>(&self, folder: &str, known: &'a mut Known) -> &'a BTreeMap<String, ([u8; 32], u64)> {
        if known.folder.as_deref() != Some(folder) {
            let path = self.layout.repo.join(folder).join(result_json::FILE_NAME);
            let bytes = if folder.is_empty() {
                None
            } else {
                self.read_file(&path, RESULT_JSON_BYTES_MAX).ok().flatten()
            };
            known.files = bytes.as_deref().map(checked_files).unwrap_or_default();
            known.folder = Some(folder.to_owned());
        }
        &known.files
    }

    /// A whole file; None if there is none, or a larger one.
    fn read_file(&self, path: &std::path::Path, bytes_max: u64) -> Result<Option<Vec<u8>>, IndexError> {
        let file = match self.disk.open(path) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(at(path)(error)),
        };
        let len = file.len().map_err(at(path))?;
        if len > bytes_max {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
        let n = file.read_at(&mut bytes, 0).map_err(at(path))?;
        bytes.truncate(n);
        Ok(Some(bytes))
    }
}

/// SHA-256 and length of the RPMs of one folder.
#[derive(Default)]
struct Known {
    folder: Option<String>,
    files: BTreeMap<String, ([u8; 32], u64)>,
}

/// The RPMs of a `result.json` that tells their SHA-256.
fn checked_files(json: &[u8]) -> BTreeMap<String, ([u8; 32], u64)> {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(json) else { return BTreeMap::new() };
    let files = json["files"].as_array().into_iter().flatten();
    let known = files.filter_map(|file| {
        let sha256 = bytes_of(file["sha256"].as_str()?)?;
        Some((file["name"].as_str()?.to_owned(), (sha256, file["size"].as_u64()?)))
    });
    known.collect()
}

/// 32 bytes from 64 hexadecimal digits.
fn bytes_of(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

pub(super) fn sha256(file: &dyn File) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    disk::read_through(file, |bytes| hasher.update(bytes))?;
    Ok(hasher.finalize().into())
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes what was read.
fn note(tally: &Mutex<Tally>, groups: &[Group]) {
    let packages = groups.iter().flat_map(|group| &group.packages);
    lock(tally).added.extend(packages.map(|listed| (listed.path.clone(), Stamp::of(listed))));
}

/// Cuts a source into what one thread does at a time.
fn divide(source: Source) -> Vec<Source> {
    match source {
        Source::Files(paths) => {
            paths.chunks(GROUP_PACKAGES_MAX).map(|paths| Source::Files(paths.to_vec())).collect()
        }
        whole => vec![whole],
    }
}

fn packages_of(source: &Source) -> usize {
    match source {
        Source::Groups(_) => 0,
        Source::Result { rpms, .. } => rpms.len(),
        Source::Files(paths) => paths.len(),
    }
}

/// Groups, or one error.
fn flat(groups: Result<Vec<Group>, IndexError>) -> Vec<Result<Group, IndexError>> {
    groups.map_or_else(|error| vec![Err(error)], |groups| groups.into_iter().map(Ok).collect())
}

/// How far reading has come.
struct Progress {
    total: usize,
    done: usize,
    began: Time,
    told: Time,
}

impl Progress {
    fn new(clock: &Arc<dyn Clock>, units: &[Source]) -> Progress {
        let total = units.iter().map(packages_of).sum();
        if total >= MANY {
            log::info!("reading {total} RPMs that no index has: what is indexed already is served meanwhile");
        }
        let began = clock.now();
        Progress { total, done: 0, began, told: began }
    }

    fn went_on(&mut self, clock: &Arc<dyn Clock>, packages: usize) {
        self.done += packages;
        let now = clock.now();
        if self.total == 0 || now.since_ms(self.told) < PROGRESS_EVERY_MS {
            return;
        }
        self.told = now;
        let (done, total) = (self.done.max(1) as u64, self.total as u64);
        let left_s = now.since_ms(self.began) * total.saturating_sub(done) / done / 1_000;
        log::info!(
            "reading RPMs for the index: {} of {total} ({} %), about {left_s} s left",
            self.done,
            done * 100 / total
        );
    }
}

#[cfg(test)]
mod tests;
