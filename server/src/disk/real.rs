//! The machine's own file system.
//!
//! Owns the flags with which files are opened. Never decides anything.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};

use super::{Disk, File, Stat, SyncError, Unsynced};

/// Mode of new folders before the umask: `repo/` is for any web server to read.
const FOLDER_MODE: u32 = 0o755;

/// A random word of the kernel, drawn when it started: see random(4).
const BOOT_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// Syncs under way at a time: enough that all of a usual result share one commit of the file system's journal, few
/// enough that one with thousands of files does not start as many threads.
const SYNCS_AT_ONCE: usize = 8;

/// How long the last sync took, microseconds: what the next is expected to take. A hint, shared by all threads.
static LAST_SYNC_US: AtomicU64 = AtomicU64::new(0);
/// From here on a sync is slow, microseconds: several times what it costs to start a thread.
const SLOW_SYNC_US: u64 = 500;

/// How long a folder that is to be synced waits for a descriptor: after that its sync has failed, and one that failed
/// stops the hub until a restart. Those that have many give some back sooner.
const DESCRIPTOR_MAX: Duration = Duration::from_secs(30);
/// How often it asks again.
const DESCRIPTOR_AGAIN: Duration = Duration::from_millis(50);
/// A descriptor that is kept for a folder's sync: what is renamed already must become durable when there is no other.
static SPARE: Mutex<Option<fs::File>> = Mutex::new(None);

/// The machine's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

/// One of its files: a type of its own, so that the names of [`File`] never mix with those of std.
struct Open(fs::File);

impl File for Open {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.0.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn begin_writing(&self, offset: u64, bytes: u64) {
        // Linux writes out what it is told that nobody needs; it forgets only what is on the disk already. A
        // failure is no news: the sync will tell.
        let (Ok(offset), Ok(bytes)) = (offset.try_into(), bytes.try_into()) else { return };
        let _ = posix_fadvise(&self.0, offset, bytes, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
}

impl Disk for Real {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        // O_NONBLOCK does nothing to a file, and keeps a pipe that somebody dropped from blocking us.
        let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
        Ok(Box::new(Open(OpenOptions::new().read(true).custom_flags(flags).open(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).custom_flags(OFlag::O_NOFOLLOW.bits());
        Ok(Box::new(Open(options.open(path)?)))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
        Ok(Box::new(Open(options.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match rename_noreplace(from, to) {
            Err(error) if is_unsupported(&error) => {}
            done => return done,
        }
        // A second name, then the first one away: a crash between leaves one file under two names,
        // which recovery resolves.
        match fs::hard_link(from, to) {
            Ok(()) => fs::remove_file(from),
            Err(error) if is_unsupported(&error) || error.kind() == ErrorKind::PermissionDenied => {
                if self.exists(to)? {
                    return Err(ErrorKind::AlreadyExists.into());
                }
                fs::rename(from, to)
            }
            Err(error) => Err(error),
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let folder = match fs::File::open(path) {
            Err(error) if is_short_of_descriptors(&error) => return sync_with_spare(path),
            opened => opened?,
        };
        folder.sync_all()?;
        drop(folder);
        keep_spare(&mut SPARE.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    fn boot(&self) -> String {
        fs::read_to_string(BOOT_FILE).map_or_else(|_| String::new(), |text| text.trim().to_owned())
    }

    fn sync_all(&self, all: Vec<Unsynced<'_>>) -> Result<(), SyncError> {
        // In turn, each waits for the disk; at once, all wait together. A disk faster than a thread is started
        // (memory, a drive with a battery) does not need that.
        let is_slow = LAST_SYNC_US.load(Ordering::Relaxed) >= SLOW_SYNC_US;
        let helpers = if is_slow { all.len().clamp(1, SYNCS_AT_ONCE) - 1 } else { 0 };
        let all = Mutex::new(all);
        let next = || all.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let work = || {
            let mut result = Ok(());
            while let Some(one) = next() {
                result = result.and(sync_one(one));
            }
            result
        };
        std::thread::scope(|scope| {
            // Without threads, what is left of them does it all.
            let spawn =
                |_| std::thread::Builder::new().name("sync".to_owned()).spawn_scoped(scope, work).ok();
            let helpers: Vec<_> = (0..helpers).filter_map(spawn).collect();
            helpers
                .into_iter()
                .fold(work(), |result, helper| result.and(helper.join().expect("a sync does not panic")))
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(FOLDER_MODE).create(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut names = fs::read_dir(path)?
            .map(|entry| Ok(PathBuf::from(entry?.file_name())))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let Some(meta) = found(fs::metadata(path))? else { return Ok(None) };
        let ns = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
        Ok(Some(Stat {
            len: meta.len(),
            is_dir: meta.is_dir(),
            modified_ns: u64::try_from(ns).unwrap_or(0),
            inode: meta.ino(),
        }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(found(fs::symlink_metadata(path))?.is_some())
    }

    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        let stat = nix::sys::statvfs::statvfs(path)?;
        // The widths differ between architectures.
        #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
        let (unit, free, total) =
            (stat.fragment_size() as u64, u64::from(stat.blocks_available()), u64::from(stat.blocks()));
        Ok((free.saturating_mul(unit), total.saturating_mul(unit)))
    }
}

/// Syncs, and remembers how long it took.
fn sync_one(one: Unsynced<'_>) -> Result<(), SyncError> {
    let (path, began) = (one.path().to_owned(), Instant::now());
    let synced = match one {
        Unsynced::File(_, file) => file.sync(),
        Unsynced::Folder(path) => Real.sync_dir(path),
    };
    let us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    LAST_SYNC_US.store(us, Ordering::Relaxed);
    synced.map_err(|error| SyncError { path, error })
}

/// Syncs a folder with the descriptor that is kept for it, or one that somebody gives back in time.
fn sync_with_spare(path: &Path) -> io::Result<()> {
    let until = Instant::now() + DESCRIPTOR_MAX;
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        // Another thread may be quicker to take what is given back here.
        *spare = None;
        match fs::File::open(path) {
            Err(error) if is_short_of_descriptors(&error) && Instant::now() < until => {
                std::thread::sleep(DESCRIPTOR_AGAIN);
            }
            opened => {
                opened?.sync_all()?;
                keep_spare(&mut spare);
                return Ok(());
            }
        }
    }
}

/// Takes a descriptor to keep, if there is one.
fn keep_spare(spare: &mut Option<fs::File>) {
    if spare.is_none() {
        *spare = fs::File::open("/dev/null").ok();
    }
}

/// Whether the process or the system has no descriptor left.
pub(crate) fn is_short_of_descriptors(error: &io::Error) -> bool {
    use nix::errno::Errno;
    [Errno::EMFILE, Errno::ENFILE].iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// None where nothing is.
fn found(meta: io::Result<fs::Metadata>) -> io::Result<Option<fs::Metadata>> {
    match meta {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the file system (or kernel) cannot do such a call at all.
fn is_unsupported(error: &io::Error) -> bool {
    use nix::errno::Errno;
    [Errno::EINVAL, Errno::ENOSYS, Errno::EOPNOTSUPP]
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

#[cfg(target_env = "gnu")]
fn rename_noreplace(from: &Path, to: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    Ok(renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE)?)
}

#[cfg(not(target_env = "gnu"))]
fn rename_noreplace(_: &Path, _: &Path) -> io::Result<()> {
    Err(nix::errno::Errno::ENOSYS.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_to_a_new_name_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        let error = Real.rename_new(&a, &b).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!((fs::read(&a).unwrap(), fs::read(&b).unwrap()), (b"a".to_vec(), b"b".to_vec()));
        fs::remove_file(&b).unwrap();
        Real.rename_new(&a, &b).unwrap();
        assert_eq!(Real.list(dir.path()).unwrap(), [PathBuf::from("b")]);
        assert_eq!(Real.rename_new(&a, &b).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn new_files_are_never_made_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("link"), dir.path().join("target"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert_eq!(Real.create(&link).err().unwrap().kind(), ErrorKind::AlreadyExists);
        assert!(Real.open_write(&link).is_err());
        assert!(!target.exists());
        assert!(Real.exists(&link).unwrap());
        assert_eq!(Real.stat(&link).unwrap(), None);
    }

    #[test]
    fn all_are_synced_and_one_that_cannot_be_is_named_on_fast_and_slow_disks() {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..20).map(|n| dir.path().join(n.to_string())).collect();
        let mut files: Vec<_> = paths.iter().map(|path| Real.create(path).unwrap()).collect();
        let gone = dir.path().join("gone");
        for last_us in [0, SLOW_SYNC_US] {
            for with_gone in [false, true] {
                LAST_SYNC_US.store(last_us, Ordering::Relaxed);
                let folder = Unsynced::Folder(if with_gone { &gone } else { dir.path() });
                let files =
                    paths.iter().zip(&mut files).map(|(path, file)| Unsynced::File(path, &mut **file));
                let synced = Real.sync_all(std::iter::once(folder).chain(files).collect());
                assert_eq!(synced.err().map(|failed| failed.path), with_gone.then(|| gone.clone()));
            }
        }
        Real.sync_all(Vec::new()).unwrap();
        assert_eq!(Real.boot(), Real.boot());
    }

    #[test]
    fn bytes_are_read_and_written_where_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = Real.create(&path).unwrap();
        file.write_at(b"moji", 2).unwrap();
        file.sync().unwrap();
        let mut buf = [9; 8];
        assert_eq!(file.read_at(&mut buf, 1).unwrap(), 5);
        assert_eq!(&buf[..5], b"\0moji");
        file.truncate(3).unwrap();
        assert_eq!(Real.stat(&path).unwrap().map(|stat| (stat.len, stat.is_dir)), Some((3, false)));
        let (free, total) = Real.space(dir.path()).unwrap();
        assert!(free <= total && total > 0);
        Real.remove_dir_all(&dir.path().join("nothing")).unwrap();
    }
}
