//! Marks of what is being read.
//!
//! Owns `STATE/index/reading/`: a file for each thread that names the RPM it reads, and `ended`, which counts how often
//! the hub ended meanwhile. A power cut is nobody's fault and does not count. Marks that cannot be written are no
//! reason not to read.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::core::repo::{Path, Stamp};
use crate::disk::{Disk, File};

/// So often an RPM may end the hub.
const ENDED_MAX: u32 = 2;
/// Largest file of marks that is read, bytes: a thousand paths.
const MARKS_BYTES_MAX: u64 = 1 << 20;
/// Counts of the hub's ends.
const ENDED: &str = "ended";

/// The marks.
pub(super) struct Marks {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    boot: String,
    slots: Vec<Option<Box<dyn File>>>,
    ended: BTreeMap<Path, (Stamp, u32)>,
}

/// `COUNT SIZE MODIFIED BOOT PATH`; a path may hold spaces.
fn line(count: u32, stamp: Stamp, boot: &str, path: &str) -> String {
    format!("{count} {} {} {boot} {path}\n", stamp.size, stamp.modified_unix_s)
}

fn parse(line: &str) -> Option<(u32, Stamp, &str, Path)> {
    let mut words = line.splitn(5, ' ');
    let count = words.next()?.parse().ok()?;
    let size = words.next()?.parse().ok()?;
    let modified_unix_s = words.next()?.parse().ok()?;
    Some((count, Stamp { size, modified_unix_s }, words.next()?, words.next()?.into()))
}

impl Marks {
    /// Counts what the last run was reading when it ended.
    pub(super) fn open(disk: Arc<dyn Disk>, folder: PathBuf, slots: usize) -> Marks {
        let boot = disk.boot().replace(char::is_whitespace, "");
        let slots = (0..slots).map(|_| None).collect();
        let mut marks = Marks { disk, folder, boot, slots, ended: BTreeMap::new() };
        if let Err(error) = marks.load() {
            log::warn!("failed to read the marks in '{}': {error}", marks.folder.display());
        }
        marks
    }

    fn load(&mut self) -> io::Result<()> {
        if !self.disk.exists(&self.folder)? {
            return Ok(());
        }
        for text in self.read(ENDED)?.lines() {
            if let Some((count, stamp, _, path)) = parse(text) {
                self.ended.insert(path, (stamp, count));
            }
        }
        let mut news = false;
        for name in self.disk.list(&self.folder)? {
            let Some(name) = name.to_str().filter(|name| name.parse::<usize>().is_ok()) else { continue };
            let text = self.read(name)?;
            if let Some((_, stamp, boot, path)) = parse(text.trim_end_matches('\n'))
                && text.ends_with('\n')
                && boot == self.boot
            {
                log::warn!("the hub ended while it read '{path}'");
                let known = self.ended.entry(path).or_insert((stamp, 0));
                *known = if known.0 == stamp { (stamp, known.1 + 1) } else { (stamp, 1) };
                news = true;
            }
        }
        if news {
            self.write_ended()?;
        }
        for name in self.disk.list(&self.folder)? {
            if name.to_str().is_some_and(|name| name.parse::<usize>().is_ok()) {
                self.disk.remove_file(&self.folder.join(name))?;
            }
        }
        Ok(())
    }

    fn read(&self, name: &str) -> io::Result<String> {
        let path = self.folder.join(name);
        if !self.disk.exists(&path)? {
            return Ok(String::new());
        }
        let file = self.disk.open(&path)?;
        let mut bytes = vec![0; usize::try_from(file.len()?.min(MARKS_BYTES_MAX)).unwrap_or_default()];
        let n = file.read_at(&mut bytes, 0)?;
        Ok(String::from_utf8_lossy(&bytes[..n]).into_owned())
    }

    fn write_ended(&self) -> io::Result<()> {
        let lines = self.ended.iter().map(|(path, (stamp, count))| line(*count, *stamp, "-", path));
        let text: String = lines.collect();
        let file = self.disk.open_write(&self.folder.join(ENDED))?;
        file.truncate(0)?;
        file.write_at(text.as_bytes(), 0)?;
        file.sync()
    }

    /// This thread reads an RPM from here on. False if that ended the hub too often.
    pub(super) fn begin(&mut self, slot: usize, path: &Path, stamp: Stamp) -> bool {
        if self.ended.get(path).is_some_and(|(known, count)| *known == stamp && *count >= ENDED_MAX) {
            return false;
        }
        if let Err(error) = self.mark(slot, &line(1, stamp, &self.boot, path)) {
            log::debug!("failed to mark what is read: {error}");
        }
        true
    }

    /// It is through with it.
    pub(super) fn end(&mut self, slot: usize, path: &Path) {
        let known = self.ended.remove(path).is_some();
        let told = if known { self.write_ended() } else { Ok(()) };
        if let Err(error) = told.and(self.mark(slot, "")) {
            log::debug!("failed to unmark what was read: {error}");
        }
    }

    fn mark(&mut self, slot: usize, text: &str) -> io::Result<()> {
        let file = match self.slots[slot].take() {
            Some(file) => file,
            None => {
                for folder in self.folder.ancestors().take(2).collect::<Vec<_>>().into_iter().rev() {
                    if !self.disk.exists(folder)? {
                        self.disk.create_dir(folder)?;
                    }
                }
                self.disk.open_write(&self.folder.join(slot.to_string()))?
            }
        };
        file.truncate(0)?;
        file.write_at(text.as_bytes(), 0)?;
        self.slots[slot] = Some(file);
        Ok(())
    }
}
