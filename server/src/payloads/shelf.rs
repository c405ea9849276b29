//! What is in the cache: `STATE/cache/<two digits>/<kind>-<checksum>`.
//!
//! Owns that folder, which of its files was used last, and which go when there is no room. A file has its name once its
//! bytes were checked and are on the disk; before that it has a name with a dot, and what has one when the hub starts is
//! gone. All of it may be deleted at any time, by anybody. Never opens a connection.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::name::Name;

/// A file's time is that of its last use, but for so many seconds: each use would be a write.
const TOUCH_EVERY_S: u64 = 3_600;

/// Whoever reads a file has a clone of its hold; one that is held stays.
pub(super) type Hold = Arc<()>;

/// A file.
#[derive(Debug)]
struct Kept {
    size: u64,
    /// When it was used: a larger number is later.
    turn: u64,
    /// The time that the file has, unix seconds.
    touched_s: u64,
    hold: Hold,
}

/// A file that is to be read.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) hold: Hold,
    /// Its time is an hour old: [`touch`] it.
    pub(super) is_stale: bool,
}

/// The files.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    kept: HashMap<Name, Kept>,
    by_turn: BTreeMap<u64, Name>,
    bytes: u64,
    turn: u64,
}

impl Shelf {
    /// What is in `folder`, which need not be there. Clears away what a hub left that was killed.
    pub(super) fn open(folder: PathBuf) -> Shelf {
        let mut shelf = Shelf { folder, kept: HashMap::new(), by_turn: BTreeMap::new(), bytes: 0, turn: 0 };
        let mut found = Vec::new();
        if let Err(error) = shelf.list(&mut found)
            && error.kind() != ErrorKind::NotFound
        {
            log::warn!("cache: failed to read '{}': {error}", shelf.folder.display());
        }
        found.sort_by_key(|(used_s, ..)| *used_s);
        for (used_s, name, size) in found {
            shelf.put(name, size, used_s, Hold::default());
        }
        shelf
    }

    /// Finds all files, with the time of their last use and their length.
    fn list(&self, found: &mut Vec<(u64, Name, u64)>) -> io::Result<()> {
        for folder in fs::read_dir(&self.folder)? {
            let folder = folder?.path();
            let digits = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_ours = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            if !is_ours || !folder.is_dir() {
                continue;
            }
            for file in fs::read_dir(&folder)? {
                let file = file?;
                let name = file.file_name().to_str().and_then(Name::of_file);
                let meta = file.metadata().ok().filter(fs::Metadata::is_file);
                match (name.filter(|name| name.folder() == digits), meta) {
                    (Some(name), Some(meta)) => {
                        let used_s = meta.modified().map_or(0, unix_s);
                        found.push((used_s, name, meta.len()));
                    }
                    _ => {
                        let _ = fs::remove_file(file.path());
                    }
                }
            }
        }
        Ok(())
    }

    /// Where the file of that name is.
    pub(super) fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(name.folder()).join(name.to_string())
    }

    /// Where it is while it comes.
    pub(super) fn path_coming(&self, name: &Name) -> PathBuf {
        self.folder.join(name.folder()).join(format!(".{name}"))
    }

    /// Adds a file, used just now.
    pub(super) fn put(&mut self, name: Name, size: u64, unix_s: u64, hold: Hold) {
        self.forget(&name);
        self.turn += 1;
        self.by_turn.insert(self.turn, name.clone());
        self.kept.insert(name, Kept { size, turn: self.turn, touched_s: unix_s, hold });
        self.bytes += size;
    }

    /// A file that is there, which is used just now.
    pub(super) fn take(&mut self, name: &Name, unix_s: u64) -> Option<Taken> {
        let path = self.path(name);
        let kept = self.kept.get_mut(name)?;
        self.by_turn.remove(&kept.turn);
        self.turn += 1;
        kept.turn = self.turn;
        self.by_turn.insert(self.turn, name.clone());
        // A clock that was put back: the file would stay for ever.
        let is_stale = unix_s.abs_diff(kept.touched_s) >= TOUCH_EVERY_S;
        if is_stale {
            kept.touched_s = unix_s;
        }
        Some(Taken { path, size: kept.size, hold: kept.hold.clone(), is_stale })
    }

    /// A file is not there any more.
    pub(super) fn forget(&mut self, name: &Name) {
        if let Some(kept) = self.kept.remove(name) {
            self.by_turn.remove(&kept.turn);
            self.bytes -= kept.size;
        }
    }

    /// Removes the file that was not used for the longest time and that nobody reads; says its length. None if there is
    /// none.
    pub(super) fn evict(&mut self) -> Option<u64> {
        let is_free = |name: &&Name| Arc::strong_count(&self.kept[*name].hold) == 1;
        let name = self.by_turn.values().find(is_free)?.clone();
        let path = self.path(&name);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            // It is not ours any more to count on.
            log::warn!("cache: failed to remove '{}': {error}", path.display());
        }
        let size = self.kept[&name].size;
        self.forget(&name);
        Some(size)
    }

    /// Length of all files, bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many there are.
    pub(super) fn files(&self) -> usize {
        self.kept.len()
    }
}

/// Gives a file the time of its use, for the order after a restart. A failure costs that order.
pub(super) fn touch(path: &Path, unix_s: u64) {
    let time = UNIX_EPOCH + Duration::from_secs(unix_s);
    let touched = fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_modified(time));
    if let Err(error) = touched {
        log::debug!("cache: failed to note the use of '{}': {error}", path.display());
    }
}

fn unix_s(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u8) -> Name {
        Name::new("sha1", &format!("{n:02x}").repeat(20)).unwrap()
    }

    /// A shelf with files of ten bytes, the first used longest ago.
    fn shelf(folder: &Path, files: u8) -> Shelf {
        let mut shelf = Shelf::open(folder.to_owned());
        for n in 0..files {
            let path = shelf.path(&name(n));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, [n; 10]).unwrap();
            touch(&path, 1_000 + u64::from(n));
            shelf.put(name(n), 10, 1_000 + u64::from(n), Hold::default());
        }
        shelf
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first_and_what_is_read_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = shelf(folder.path(), 4);
        let read = shelf.take(&name(0), 2_000).unwrap();
        let held = shelf.take(&name(1), 2_000).unwrap();
        drop(read);
        let mut left = Vec::new();
        while let Some(size) = shelf.evict() {
            assert_eq!(size, 10);
            left.push((0..4).filter(|n| shelf.path(&name(*n)).exists()).collect::<Vec<_>>());
        }
        assert_eq!(left, [vec![0, 1, 3], vec![0, 1], vec![1]], "{held:?}");
        assert_eq!((shelf.bytes(), shelf.files()), (10, 1));
        drop(held);
        assert_eq!(shelf.evict(), Some(10));
        assert_eq!((shelf.bytes(), shelf.files(), shelf.evict()), (0, 0, None));
    }

    #[test]
    fn a_restart_keeps_files_and_their_order_and_clears_away_what_was_coming() {
        let folder = tempfile::tempdir().unwrap();
        let mut before = shelf(folder.path(), 3);
        // Used within the hour: that is not written down, and later it is.
        assert!(!before.take(&name(1), 1_100).unwrap().is_stale);
        let taken = before.take(&name(0), 9_000).unwrap();
        assert!(taken.is_stale && !before.take(&name(0), 9_000).unwrap().is_stale);
        touch(&taken.path, 9_000);
        let coming = before.path_coming(&name(1));
        fs::write(&coming, "half").unwrap();
        fs::write(folder.path().join("01/core"), "").unwrap();
        fs::write(folder.path().join("README"), "a person's").unwrap();
        let wrong = folder.path().join("01").join(name(2).to_string());
        fs::write(&wrong, "in the wrong folder").unwrap();
        let mut after = Shelf::open(folder.path().to_owned());
        assert!(!coming.exists() && !wrong.exists() && !folder.path().join("01/core").exists());
        assert!(folder.path().join("README").exists());
        assert_eq!((after.bytes(), after.files()), (30, 3));
        let mut gone = Vec::new();
        while after.evict().is_some() {
            gone.extend(
                (0..3).filter(|n| !gone.contains(n) && !after.path(&name(*n)).exists()).collect::<Vec<_>>(),
            );
        }
        assert_eq!(gone, [1, 2, 0]);
    }
}
