//! The file work of transfers: staging, checking, committing.
//!
//! Owns the inside of `working/.stage-<lease>/` and `attempts/`, and makes the folders of `repo/`.
//! Runs in worker threads, one operation of a lease at a time; has no memory of leases and decides
//! nothing about them: what an operation came to goes back to the core.
//!
//! | in a stage | is |
//! |---|---|
//! | `f0`, `f1`, … | files of the result as they arrive, in the order announced |
//! | `c3` | log `f3` with its middle cut |
//! | `s0`, `s1`, … | RPMs among them with the hub's signature |
//! | `.live/build.log`, … | logs as they grow on the builder |
//! | `.repodata` | what the repository will say of its RPMs, once they are checked |
//! | `.try-1`, `.try-2` | a check of its RPMs began in the start of the machine it names, and did not end |

mod arriving;
mod attempts;
mod commit;
mod hashing;
mod naming;
mod piece;
mod signed;
#[cfg(test)]
pub(crate) mod testdisk;
#[cfg(test)]
pub(crate) mod testrpm;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use moji_proto::message::Which;
use moji_proto::{Bytes, Digest, FileName, Hasher, LeaseId};

use arriving::Arriving;
use hashing::Hashing;
use naming::Naming;

use crate::clock::Clock;
use crate::core::transfers::{Done, Op, ThinDesk};
use crate::core::types::Srpm;
use crate::disk::{Disk, File, Folders, read_through};
use crate::repodata::Compression;
use crate::rpmfile::{self, RpmError};
use crate::signing::Signer;

/// What every RPM starts with.
const RPM_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// Bytes read at once where whole files are read: large enough that the calls do not show beside the
/// hashing, small enough for a few workers.
const READ_BYTES: usize = 256 * 1024;
/// Of a large file so many bytes are sent to the disk at a time while the rest arrives, so that its sync does not
/// have all of it before it: a tenth of a second of a slow disk.
const WRITE_OUT_BYTES: u64 = 8 << 20;

/// An open file and its path, to be synced.
type Written = (PathBuf, Box<dyn File>);

/// Why an operation came to nothing.
#[derive(Debug)]
enum Trouble {
    /// The system is short of something that comes back: space, quota, descriptors, memory.
    Later(String),
    /// A write or sync failed.
    Broken(String),
    /// What it was to work on cannot be used.
    Failed(String),
}

/// Sorts an error of a file that the hub writes.
fn wrote(what: &str, path: &Path, error: &io::Error) -> Trouble {
    let text = format!("failed to {what} {}: {error}", path.display());
    let later = |remedy| Trouble::Later(format!("{text}; {remedy}"));
    match error.kind() {
        io::ErrorKind::StorageFull => later("free some space"),
        io::ErrorKind::QuotaExceeded => later("free some space or raise the quota"),
        io::ErrorKind::OutOfMemory => later("free some memory"),
        _ => match error.raw_os_error() {
            Some(EMFILE) => later("raise the hub's limit of open files (prlimit --nofile)"),
            Some(ENFILE) => later("raise the machine's limit of open files (sysctl fs.file-max)"),
            _ => Trouble::Broken(text),
        },
    }
}

/// Too many open files in this process.
const EMFILE: i32 = nix::errno::Errno::EMFILE as i32;
/// Too many open files in the system.
const ENFILE: i32 = nix::errno::Errno::ENFILE as i32;

/// Sorts an error of a sync: after one, nothing about the file may be promised, whatever the code.
fn synced(path: &Path, error: &io::Error) -> Trouble {
    Trouble::Broken(format!("failed to sync {}: {error}", path.display()))
}

/// The folder in which a lease's result is gathered: `working/.stage-<lease>`.
#[must_use]
pub fn stage_dir(folders: &Folders, lease: LeaseId) -> PathBuf {
    folders.working.join(format!(".stage-{lease}"))
}

/// The folder of a lease's live logs, in its stage.
#[must_use]
pub fn live_dir(folders: &Folders, lease: LeaseId) -> PathBuf {
    stage_dir(folders, lease).join(".live")
}

/// Does the operations of transfers. Shared by all worker threads.
pub struct Worker {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    folders: Folders,
    /// How pieces are compressed.
    compression: Compression,
    /// Names of folders in `repo/` that leases hold.
    naming: Naming,
    /// Attempts that are kept, by source package; read from the folder when first needed.
    kept: Mutex<Option<BTreeMap<String, BTreeSet<LeaseId>>>>,
    /// Digests of what arrives.
    arriving: Arriving,
    /// When leases began, unix seconds, as far as that is known.
    leased: Mutex<BTreeMap<LeaseId, u64>>,
    /// Signs RPMs before they are published, if the operator has a key.
    signer: Option<Arc<Signer>>,
    /// Puts thin repositories together, if there are any.
    thin: Option<Arc<dyn ThinDesk>>,
}

impl Worker {
    /// A worker over these folders, which all exist.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, folders: Folders) -> Worker {
        let (compression, naming, kept, arriving, leased) = Default::default();
        let (signer, thin) = Default::default();
        Worker { disk, clock, folders, compression, naming, kept, arriving, leased, signer, thin }
    }

    /// It compresses so what the repository will say of RPMs.
    #[must_use]
    pub fn with_compression(self, compression: Compression) -> Worker {
        Worker { compression, ..self }
    }

    /// The same, signing what it publishes.
    #[must_use]
    pub fn signed_by(self, signer: Option<Arc<Signer>>) -> Worker {
        Worker { signer, ..self }
    }

    /// The same, with somebody who puts thin repositories together.
    #[must_use]
    pub fn with_thin(self, thin: Option<Arc<dyn ThinDesk>>) -> Worker {
        Worker { thin, ..self }
    }

    /// Nobody needs the thin repository of this lease any more.
    pub fn end_thin(&self, lease: LeaseId) {
        self.thin.iter().for_each(|thin| thin.end(lease));
    }

    /// It knows when leases of an earlier run of the hub began, unix seconds.
    #[must_use]
    pub fn with_leased(self, leased: BTreeMap<LeaseId, u64>) -> Worker {
        Worker { leased: Mutex::new(leased), ..self }
    }

    fn leased(&self) -> MutexGuard<'_, BTreeMap<LeaseId, u64>> {
        self.leased.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a lease began, unix seconds, if that is known.
    fn leased_unix_s(&self, lease: LeaseId) -> Option<u64> {
        self.leased().get(&lease).copied()
    }

    /// Does one operation; blocks until it is done.
    #[must_use]
    pub fn run(&self, lease: LeaseId, op: Op) -> Done {
        match self.attempt(lease, &op) {
            Ok(done) => done,
            Err(Trouble::Later(why)) => Done::Later { op: Box::new(op), why },
            Err(Trouble::Broken(why)) => Done::Broken(why),
            Err(Trouble::Failed(why)) => Done::Failed(why),
        }
    }

    fn attempt(&self, lease: LeaseId, op: &Op) -> Result<Done, Trouble> {
        match op {
            Op::Open { srpm, is_new } => {
                if *is_new {
                    self.leased().entry(lease).or_insert_with(|| self.clock.unix_s());
                }
                self.open(srpm)
            }
            Op::Offer(need) => Ok(Done::Offered(self.thin.as_ref().is_some_and(|thin| thin.offer(need)))),
            Op::Widen { names } => {
                Ok(Done::Widened(self.thin.as_ref().is_some_and(|thin| thin.widen(lease, names))))
            }
            Op::Survey => self.survey(lease),
            Op::Read { srpm, offset, length } => self.read(srpm, *offset, *length),
            Op::Log { which, offset, bytes } => self.log(lease, *which, *offset, bytes),
            Op::Write { file, offset, bytes } => self.write(lease, *file, *offset, bytes),
            Op::Finish { file, size, digest } => self.finish(lease, *file, *size, *digest),
            Op::Verify { nvr, files } => self.verify(lease, nvr, files),
            Op::Commit(sealed) => self.commit(lease, sealed).map(Done::Committed),
            Op::Discard { about, why } => Ok(self.discard(lease, about, why)),
            Op::Drop => Ok(self.drop_stage(lease)),
        }
    }

    fn stage(&self, lease: LeaseId) -> PathBuf {
        stage_dir(&self.folders, lease)
    }

    fn open(&self, srpm: &FileName) -> Result<Done, Trouble> {
        let failed =
            |error: &dyn std::fmt::Display| Trouble::Failed(format!("failed to read {srpm}: {error}"));
        let file =
            self.disk.open(&self.folders.working.join(srpm)).map_err(|e| read_error(&e, &failed(&e)))?;
        let size = file.len().map_err(|e| failed(&e))?;
        let hashing: Hashing<'_, (Hasher, sha2::Sha256)> = Hashing::new(&*file);
        let checked = rpmfile::verify_digests(&hashing).and_then(|()| rpmfile::read_facts(&AsRpm(&*file)));
        match checked {
            Ok(facts) => {
                let (digest, sha256) = hashing.finish().map_err(|e| failed(&e))?;
                Ok(Done::Opened { srpm: Srpm { size, facts }, digest, sha256 })
            }
            Err(RpmError::Io(error)) => Err(failed(&error)),
            // The bytes are there and wrong: no builder could build them, and no other try would help.
            Err(error) => Ok(Done::Damaged(error.to_string())),
        }
    }

    fn read(&self, srpm: &FileName, offset: u64, length: u32) -> Result<Done, Trouble> {
        let failed =
            |error: &dyn std::fmt::Display| Trouble::Failed(format!("failed to read {srpm}: {error}"));
        let file =
            self.disk.open(&self.folders.working.join(srpm)).map_err(|e| read_error(&e, &failed(&e)))?;
        let mut bytes = vec![0; length as usize];
        match file.read_at(&mut bytes, offset) {
            Ok(n) if n == bytes.len() => Ok(Done::Read { offset, bytes: Bytes(bytes) }),
            Ok(_) => Err(failed(&"it became shorter")),
            Err(error) => Err(failed(&error)),
        }
    }

    fn survey(&self, lease: LeaseId) -> Result<Done, Trouble> {
        let stage = self.stage(lease);
        let len = |path: &Path| match self.disk.stat(path) {
            Ok(Some(stat)) if !stat.is_dir => Ok(stat.len),
            Ok(_) => Ok(0),
            Err(error) => Err(wrote("look at", path, &error)),
        };
        let mut logs = [0; 4];
        for (have, which) in logs.iter_mut().zip(Which::ALL) {
            *have = len(&stage.join(".live").join(which.file_name()))?;
        }
        let mut files = Vec::new();
        for name in self.names(&stage)? {
            let number = name.strip_prefix('f').and_then(|number| number.parse::<u32>().ok());
            if let Some(number) = number.filter(|number| *name == format!("f{number}")) {
                files.push((number, len(&stage.join(&name))?));
            }
        }
        files.sort_unstable();
        Ok(Done::Surveyed { logs, files })
    }

    /// Names in a folder; none if it is not there.
    fn names(&self, folder: &Path) -> Result<Vec<String>, Trouble> {
        let paths = match self.disk.list(folder) {
            Ok(paths) => paths,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(wrote("list", folder, &error)),
        };
        let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        Ok(paths.iter().filter_map(name).collect())
    }

    fn log(&self, lease: LeaseId, which: Which, offset: u64, bytes: &Bytes) -> Result<Done, Trouble> {
        let live = live_dir(&self.folders, lease);
        let path = live.join(which.file_name());
        let file = self.in_folder(&[&self.stage(lease), &live], || self.disk.open_write(&path));
        file.and_then(|file| file.write_at(&bytes.0, offset)).map_err(|e| wrote("write", &path, &e))?;
        Ok(Done::Logged { which, bytes: offset + bytes.0.len() as u64 })
    }

    fn write(&self, lease: LeaseId, number: u32, offset: u64, bytes: &Bytes) -> Result<Done, Trouble> {
        let stage = self.stage(lease);
        let path = stage.join(format!("f{number}"));
        let file = if offset == 0 {
            // What a damaged or unfinished upload left gives way.
            self.remove(&path)?;
            self.in_folder(&[&stage], || self.disk.create(&path))
        } else {
            self.disk.open_write(&path)
        };
        let file = file.map_err(|e| wrote("write", &path, &e))?;
        let partial = self.arriving.take(lease, number, offset);
        file.write_at(&bytes.0, offset).map_err(|e| wrote("write", &path, &e))?;
        let end = offset + bytes.0.len() as u64;
        let begun = end / WRITE_OUT_BYTES * WRITE_OUT_BYTES;
        if begun > offset {
            file.begin_writing(begun - WRITE_OUT_BYTES, WRITE_OUT_BYTES);
        }
        if let Some(mut partial) = partial {
            partial.update(&bytes.0);
            self.arriving.keep(lease, partial);
        }
        Ok(Done::Written { file: number, offset: end })
    }

    fn finish(&self, lease: LeaseId, number: u32, size: u64, want: Digest) -> Result<Done, Trouble> {
        let stage = self.stage(lease);
        let path = stage.join(format!("f{number}"));
        let file = self.in_folder(&[&stage], || self.disk.open_write(&path));
        let file = file.map_err(|e| wrote("open", &path, &e))?;
        let len = file.len().map_err(|e| wrote("look at", &path, &e))?;
        if size == 0 && len > 0 {
            file.truncate(0).map_err(|e| wrote("cut", &path, &e))?;
        }
        // Of an upload that was taken up after a break the front is read again, with the rest, once.
        let (have, sha256) = match self.arriving.take(lease, number, size) {
            Some(partial) if size == 0 || len == size => partial.finish(),
            None if len == size => (digest(&*file).map_err(|e| wrote("read", &path, &e))?, None),
            _ => return Ok(Done::Finished { file: number, whole: false }),
        };
        let whole = have == want;
        if let Some(sha256) = sha256.filter(|_| whole) {
            self.arriving.keep_sha256(lease, number, sha256);
        }
        Ok(Done::Finished { file: number, whole })
    }

    /// Tries `make`; if a folder is missing, makes these folders and tries once more.
    fn in_folder<T>(&self, folders: &[&Path], make: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match make() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                for folder in folders {
                    match self.disk.create_dir(folder) {
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                        _ => {}
                    }
                }
                make()
            }
            made => made,
        }
    }

    /// Removes a file that may not be there.
    fn remove(&self, path: &Path) -> Result<(), Trouble> {
        match self.disk.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(wrote("remove", path, &error)),
            _ => Ok(()),
        }
    }

    /// Nothing more comes of this lease.
    fn forget(&self, lease: LeaseId) {
        self.arriving.forget(lease);
        self.leased().remove(&lease);
        self.naming.forget(lease);
    }

    /// Removes a stage. Failing costs space only.
    fn drop_stage(&self, lease: LeaseId) -> Done {
        self.forget(lease);
        let stage = self.stage(lease);
        match self.disk.remove_dir_all(&stage) {
            Ok(()) => Done::Gone,
            Err(error) => Done::Left(format!("failed to remove {}: {error}", stage.display())),
        }
    }
}

/// An SRPM that cannot be opened for want of descriptors is not at fault.
fn read_error(error: &io::Error, otherwise: &Trouble) -> Trouble {
    match (wrote("open", Path::new("the SRPM"), error), otherwise) {
        (Trouble::Later(why), _) => Trouble::Later(why),
        (_, Trouble::Failed(why) | Trouble::Broken(why) | Trouble::Later(why)) => {
            Trouble::Failed(why.clone())
        }
    }
}

/// The digest of a whole file.
pub(crate) fn digest(file: &dyn File) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    read_through(file, |bytes| hasher.update(bytes))?;
    Ok(hasher.finish())
}

/// A file of the disk, for the reader of RPMs.
pub(crate) struct AsRpm<'a>(pub(crate) &'a dyn File);

impl rpmfile::ReadAt for AsRpm<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn byte_len(&self) -> io::Result<u64> {
        self.0.len()
    }
}
