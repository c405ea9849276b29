//! A disk for tests: the machine's own, with faults that a test can switch on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use moji_proto::message::Backend;
use moji_proto::{Digest, FileName, Line, PublicKey};

use crate::core::types::BuilderInfo;
use crate::disk::{Disk, File, Folders, Real, Stat};

/// What fails at the moment.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Writing and creating fail with ENOSPC.
    pub(crate) full: AtomicBool,
    /// Writing fails with EIO.
    pub(crate) write: AtomicBool,
    /// Syncing fails with EIO.
    pub(crate) sync: AtomicBool,
    /// Removing stages fails with EIO.
    pub(crate) remove: AtomicBool,
    /// So many calls that change something succeed, then all fail with ENOSPC; `u64::MAX` for never.
    pub(crate) full_after: AtomicU64,
    /// A file called `root.log.gz` is created only when this can be locked.
    pub(crate) gate: Mutex<()>,
    /// Power cuts so far.
    pub(crate) power_cuts: AtomicU64,
}

impl Faults {
    pub(crate) fn none() -> Arc<Faults> {
        Arc::new(Faults { full_after: AtomicU64::new(u64::MAX), ..Faults::default() })
    }

    fn write(&self) -> io::Result<()> {
        let left = self.full_after.load(Ordering::Relaxed);
        if left != u64::MAX && left > 0 {
            self.full_after.store(left - 1, Ordering::Relaxed);
        }
        if self.full.load(Ordering::Relaxed) || left == 0 {
            return Err(io::Error::from_raw_os_error(nix::errno::Errno::ENOSPC as i32));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.sync.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(nix::errno::Errno::EIO as i32));
        }
        Ok(())
    }
}

/// The machine's disk with faults: [`Real`] does the work.
pub(crate) struct TestDisk(pub(crate) Arc<Faults>);

struct TestFile(Box<dyn File>, Arc<Faults>);

impl File for TestFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.1.write()?;
        if self.1.write.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(nix::errno::Errno::EIO as i32));
        }
        self.0.write_at(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.1.sync()?;
        self.0.sync()
    }
}

impl TestDisk {
    fn file(&self, opened: io::Result<Box<dyn File>>) -> io::Result<Box<dyn File>> {
        Ok(Box::new(TestFile(opened?, self.0.clone())))
    }
}

impl Disk for TestDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.file(Real.open(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.0.write()?;
        if path.ends_with("root.log.gz") {
            drop(self.0.gate.lock());
        }
        self.file(Real.create(path))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.file(Real.open_write(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.write()?;
        Real.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.write()?;
        Real.rename_new(from, to)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Real.exists(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync()?;
        Real.sync_dir(path)
    }

    fn boot(&self) -> String {
        self.0.power_cuts.load(Ordering::Relaxed).to_string()
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.write()?;
        Real.create_dir(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        Real.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let is_stage = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".stage-"));
        if is_stage && self.0.remove.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(nix::errno::Errno::EIO as i32));
        }
        Real.remove_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        Real.list(path)
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        Real.stat(path)
    }

    fn space(&self, _: &Path) -> io::Result<(u64, u64)> {
        Ok((1 << 40, 1 << 41))
    }
}

/// All folders of a hub, in `dir`.
pub(crate) fn folders(dir: &Path) -> Folders {
    let make = |name: &str| {
        let path = dir.join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    Folders {
        source: make("source"),
        working: make("working"),
        finished: make("finished"),
        repo: make("repo"),
        state: make("finished/.moji"),
    }
}

/// A board.
pub(crate) fn info() -> BuilderInfo {
    let name = |text: &str| FileName::new(text).unwrap();
    BuilderInfo {
        id: PublicKey([7; 32]),
        name: name("board1"),
        instance: 1,
        arch: name("armv5tel"),
        version: name("0.1.0"),
        cfg: Line::lossy("fedora-arm"),
        cfg_digest: Digest::of(b"config_opts = {}"),
        backend: Backend::Mock,
        cpus: 1,
        memory_mib: 128,
        disk_free_mib: 4096,
        clock_unix_s: 1_764_000_000,
        setup: Line::default(),
        weak: false,
        peer: std::net::IpAddr::from([127, 0, 0, 1]),
    }
}
