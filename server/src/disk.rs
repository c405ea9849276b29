//! Every touch of the file system, behind one trait.
//!
//! Owns what "durable" means here: a file's bytes after [`File::sync`], a name after
//! [`Disk::sync_dir`] of its folder. Never decides anything. The real implementation is [`Real`];
//! a simulated one keeps a volatile and a durable view and may fail or crash at any call.
//!
//! Calls block; only worker threads and the leases actor make them, never the reactor.

use std::io;
use std::path::{Path, PathBuf};

#[cfg(test)]
pub(crate) mod memory;
mod real;

pub use real::Real;
pub(crate) use real::is_short_of_descriptors;

/// What [`Disk::stat`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Length, bytes.
    pub len: u64,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Last change of its bytes, nanoseconds since 1970.
    pub modified_ns: u64,
    /// File serial number: with `modified_ns` and `len` it tells a replaced file.
    pub inode: u64,
}

/// An open file.
pub trait File: Send {
    /// Reads at `offset` until `buf` is full or the file ends; says how much.
    ///
    /// # Errors
    /// Those of pread(2).
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `buf` at `offset`.
    ///
    /// # Errors
    /// Those of pwrite(2), ENOSPC among them.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Length, bytes.
    ///
    /// # Errors
    /// Those of fstat(2).
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds nothing.
    ///
    /// # Errors
    /// Those of fstat(2).
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    /// Those of ftruncate(2).
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Returns once the file's bytes survive a power cut (fdatasync(2)).
    ///
    /// # Errors
    /// Those of fdatasync(2). After one, nothing about the file may be promised.
    fn sync(&self) -> io::Result<()>;

    /// Has the system begin to write these bytes out, so that a later [`File::sync`] waits for less. Promises
    /// nothing and never waits.
    fn begin_writing(&self, _offset: u64, _bytes: u64) {}
}

/// Bytes read at once where whole files are read: large enough that the calls do not show beside the hashing, small
/// enough for a few threads.
const READ_BYTES: usize = 256 * 1024;

/// Reads a whole file, piece by piece.
///
/// # Errors
/// Those of pread(2).
pub fn read_through(file: &dyn File, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buf = vec![0; READ_BYTES];
    let mut at = 0;
    loop {
        let n = file.read_at(&mut buf, at)?;
        each(&buf[..n]);
        at += n as u64;
        if n < buf.len() {
            return Ok(());
        }
    }
}

/// What is to survive a power cut.
pub enum Unsynced<'a> {
    /// The bytes of a file, whose path is for the error only.
    File(&'a Path, &'a mut dyn File),
    /// The names in a folder.
    Folder(&'a Path),
}

impl Unsynced<'_> {
    fn path(&self) -> &Path {
        match self {
            Unsynced::File(path, _) | Unsynced::Folder(path) => path,
        }
    }
}

/// What could not be synced, and why.
#[derive(Debug)]
pub struct SyncError {
    /// The file or folder.
    pub path: PathBuf,
    /// What the system says.
    pub error: io::Error,
}

/// A file system.
pub trait Disk: Send + Sync {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// Those of open(2).
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Makes a new file (O_EXCL, O_NOFOLLOW) for reading and writing.
    ///
    /// # Errors
    /// Those of open(2), EEXIST among them.
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Opens a file for reading and writing, making it if it is not there (O_NOFOLLOW).
    ///
    /// # Errors
    /// Those of open(2).
    fn open_write(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Renames, replacing what is at `to`.
    ///
    /// # Errors
    /// Those of rename(2).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames, and fails with `AlreadyExists` if something is at `to`. A file system that cannot do
    /// that in one step may leave one file under both names after a crash, never under none.
    ///
    /// # Errors
    /// Those of renameat2(2), EEXIST among them.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.exists(to)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.rename(from, to)
    }

    /// Returns once all names in the folder survive a power cut.
    ///
    /// # Errors
    /// Those of fsync(2) on a folder.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Which start of the machine this is: a word that is another one after a power cut, and the same after the end
    /// of a process. Empty where that cannot be told.
    fn boot(&self) -> String {
        String::new()
    }

    /// Returns once all of these survive a power cut, whichever comes first: [`File::sync`] of each file and
    /// [`Disk::sync_dir`] of each folder. A disk that can do several at a time does.
    ///
    /// # Errors
    /// One that failed, after all were tried. Nothing about any of them may be promised then.
    fn sync_all(&self, all: Vec<Unsynced<'_>>) -> Result<(), SyncError> {
        let mut result = Ok(());
        for one in all {
            let path = one.path().to_owned();
            let synced = match one {
                Unsynced::File(_, file) => file.sync(),
                Unsynced::Folder(path) => self.sync_dir(path),
            };
            result = result.and(synced.map_err(|error| SyncError { path, error }));
        }
        result
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// Those of mkdir(2), EEXIST among them.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Those of unlink(2).
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder and all in it; nothing there is fine.
    ///
    /// # Errors
    /// Those of unlink(2) and rmdir(2).
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Names in the folder, sorted, without the folder's own path.
    ///
    /// # Errors
    /// Those of readdir(3).
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// What is there, links followed; None if nothing is.
    ///
    /// # Errors
    /// Those of stat(2) but ENOENT.
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>>;

    /// Whether the name is taken, be it by a link that leads nowhere.
    ///
    /// # Errors
    /// Those of lstat(2) but ENOENT.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.stat(path)?.is_some())
    }

    /// Free and total space, bytes, of the file system that holds `path`.
    ///
    /// # Errors
    /// Those of statvfs(3).
    fn space(&self, path: &Path) -> io::Result<(u64, u64)>;
}

/// Where the hub's folders are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// SRPMs that wait.
    pub source: PathBuf,
    /// SRPMs that are leased; stages.
    pub working: PathBuf,
    /// SRPMs that are built.
    pub finished: PathBuf,
    /// Results and the index.
    pub repo: PathBuf,
    /// Keys, secrets, history, attempts.
    pub state: PathBuf,
}
