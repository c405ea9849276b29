//! The machine's own file system.
//!
//! Owns the flags with which files are opened. Never decides anything.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::{Disk, File, Stat};

/// Mode of new folders before the umask: `repo/` is for any web server to read.
const FOLDER_MODE: u32 = 0o755;

/// A random word of the kernel, drawn when it started: see random(4).
const BOOT_FILE: &str = "/proc/sys/kernel/random/boot_id";

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
        fs::File::open(path)?.sync_all()
    }

    fn boot(&self) -> String {
        fs::read_to_string(BOOT_FILE).map_or_else(|_| String::new(), |text| text.trim().to_owned())
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
