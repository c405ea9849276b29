//! The journal of leases, `working/.leases`.
//!
//! Owns its format and its durability: what [`Journal::append`] wrote is kept after
//! [`Journal::sync`], whatever happens. Never judges what a record means; [`fold`] only replays.
//!
//! One record a line, so that a person can read it and damage stays within a line:
//!
//! ```text
//! CHECK moji-leases 1 INCARNATION
//! CHECK grant LEASE KEY SRPM
//! CHECK beside LEASE KEY MAIN SRPM
//! CHECK end LEASE final|expired
//! ```
//!
//! `beside` grants a second lease of a package whose main one is MAIN. A hub that knows no such line takes it for a
//! damaged one: it then has the main lease only, which is no worse than a second one that expired.
//!
//! CHECK is the first eight hexadecimal digits of the BLAKE2s-256 of the rest of the line: a torn or
//! damaged line passes once in four billion times. A tail that does not pass was being written
//! when the power went: nobody was promised anything of it. A line before a good one that does not pass
//! is damage.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use moji_proto::{Digest, FileName, LeaseId};

use crate::core::leases::{Ended, Grant, Record};
use crate::disk::{Disk, File};

/// Its name in `working/`.
pub const FILE_NAME: &str = ".leases";
/// The name it is written under before it replaces the old one.
const NEW_NAME: &str = ".leases.new";
/// What the first line says, before the incarnation.
const MAGIC: &str = "moji-leases 1 ";
/// Hexadecimal digits of a line's check.
const CHECK_DIGITS: usize = 8;
/// Size over which the journal is written anew, bytes: some 8,000 records, a few milliseconds to read.
const REWRITE_BYTES: u64 = 1024 * 1024;

/// What a journal held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Incarnation of the run that wrote it; 0 if it does not say.
    pub incarnation: u64,
    /// Its records, oldest first.
    pub records: Vec<Record>,
    /// Bytes dropped at its end: they were being written when the hub was stopped.
    pub torn_bytes: u64,
    /// Numbers of unreadable lines before its end, from 1.
    pub damaged: Vec<usize>,
}

/// Reads the journal in `working`; none at all is an empty one.
///
/// # Errors
/// Those of reading a file.
pub fn load(disk: &dyn Disk, working: &Path) -> io::Result<Loaded> {
    match disk.open(&working.join(FILE_NAME)) {
        Ok(file) => Ok(parse(&read_all(&*file)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Loaded::default()),
        Err(error) => Err(error),
    }
}

/// All bytes of `file`.
fn read_all(file: &dyn File) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.len()?).map_err(|_| ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    let n = file.read_at(&mut bytes, 0)?;
    bytes.truncate(n);
    Ok(bytes)
}

enum Entry {
    Run(u64),
    Record(Record),
}

fn parse(bytes: &[u8]) -> Loaded {
    let mut loaded = Loaded::default();
    let mut good_bytes = 0;
    let mut suspect = Vec::new();
    let mut offset = 0;
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        offset += line.len();
        match parse_line(line) {
            Some(entry) => {
                loaded.damaged.append(&mut suspect);
                good_bytes = offset;
                match entry {
                    Entry::Run(incarnation) => loaded.incarnation = loaded.incarnation.max(incarnation),
                    Entry::Record(record) => loaded.records.push(record),
                }
            }
            None => suspect.push(number + 1),
        }
    }
    loaded.torn_bytes = (bytes.len() - good_bytes) as u64;
    loaded
}

fn parse_line(line: &[u8]) -> Option<Entry> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (check, text) = line.split_once(' ')?;
    if check != check_of(text) {
        return None;
    }
    if let Some(incarnation) = text.strip_prefix(MAGIC) {
        return Some(Entry::Run(incarnation.parse().ok()?));
    }
    let mut words = text.splitn(4, ' ');
    let (verb, lease) = (words.next()?, words.next()?.parse().ok()?);
    Some(Entry::Record(match verb {
        "grant" => {
            let (builder, srpm) = (words.next()?.parse().ok()?, FileName::new(words.next()?).ok()?);
            Record::Grant { lease, srpm, builder, beside: None }
        }
        "beside" => {
            let builder = words.next()?.parse().ok()?;
            let (main, srpm) = words.next()?.split_once(' ')?;
            let srpm = FileName::new(srpm).ok()?;
            Record::Grant { lease, srpm, builder, beside: Some(main.parse().ok()?) }
        }
        "end" => Record::End { lease, revivable: words.next()? == "expired" },
        _ => return None,
    }))
}

fn check_of(text: &str) -> String {
    let mut check = Digest::of(text.as_bytes()).to_string();
    check.truncate(CHECK_DIGITS);
    check
}

fn push_line(out: &mut String, text: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "{} {text}", check_of(text));
}

fn push_record(out: &mut String, record: &Record) {
    let text = match record {
        Record::Grant { lease, srpm, builder, beside: None } => format!("grant {lease} {builder} {srpm}"),
        Record::Grant { lease, srpm, builder, beside: Some(main) } => {
            format!("beside {lease} {builder} {main} {srpm}")
        }
        Record::End { lease, revivable: true } => format!("end {lease} expired"),
        Record::End { lease, revivable: false } => format!("end {lease} final"),
    };
    push_line(out, &text);
}

/// Replays records: what lives, and what is over. A grant of a package ends any earlier lease of it but the one that it
/// is beside. Of two that live at most one is beside the other.
#[must_use]
pub fn fold(records: Vec<Record>) -> (BTreeMap<LeaseId, Grant>, BTreeMap<LeaseId, Ended>) {
    let mut live: BTreeMap<LeaseId, Grant> = BTreeMap::new();
    let mut by_srpm: BTreeMap<FileName, Vec<LeaseId>> = BTreeMap::new();
    let mut ended = BTreeMap::new();
    for record in records {
        let (over, revivable) = match &record {
            Record::Grant { lease, srpm, beside, .. } => {
                let mut over = by_srpm.get(srpm).cloned().unwrap_or_default();
                over.retain(|earlier| earlier != lease && Some(*earlier) != *beside);
                (over, false)
            }
            Record::End { lease, revivable } => (vec![*lease], *revivable),
        };
        for (lease, Grant { srpm, builder, .. }) in over.iter().filter_map(|lease| live.remove_entry(lease)) {
            by_srpm.entry(srpm.clone()).or_default().retain(|one| *one != lease);
            ended.insert(lease, Ended { srpm, builder, revivable });
        }
        if let Record::Grant { lease, srpm, builder, beside } = record {
            ended.remove(&lease);
            let all = by_srpm.entry(srpm.clone()).or_default();
            all.retain(|one| *one != lease);
            all.push(lease);
            live.insert(lease, Grant { srpm, builder, beside });
        }
    }
    // Whatever it was beside is over: it is the only one, and the main one.
    let ids: BTreeSet<LeaseId> = live.keys().copied().collect();
    live.values_mut().for_each(|grant| grant.beside = grant.beside.filter(|main| ids.contains(main)));
    (live, ended)
}

/// Why the journal was not written anew.
#[derive(Debug)]
pub enum RewriteError {
    /// The old one is whole and in use.
    Kept(io::Error),
    /// Nothing may be promised until a restart.
    Lost(io::Error),
}

/// The journal, open for appending.
pub struct Journal {
    disk: Arc<dyn Disk>,
    working: PathBuf,
    incarnation: u64,
    file: Box<dyn File>,
    len: u64,
    /// Length after which it is written anew.
    rewrite_at: u64,
}

impl Journal {
    /// Replaces the journal in `working` by one that holds `records`, durably.
    ///
    /// # Errors
    /// Those of writing, syncing and renaming. The old journal or the new one is there then.
    pub fn create(
        disk: Arc<dyn Disk>,
        working: PathBuf,
        incarnation: u64,
        records: &[Record],
    ) -> io::Result<Journal> {
        let (file, len) = write_new(&*disk, &working, incarnation, records)?;
        replace(&*disk, &working)?;
        let rewrite_at = REWRITE_BYTES.max(2 * len);
        Ok(Journal { disk, working, incarnation, file, len, rewrite_at })
    }

    /// Appends records; they are durable after [`Journal::sync`].
    ///
    /// # Errors
    /// Those of writing; nothing is appended then, or a tail that readers drop.
    pub fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let mut text = String::new();
        records.iter().for_each(|record| push_record(&mut text, record));
        if let Err(error) = self.file.write_at(text.as_bytes(), self.len) {
            // The next record overwrites what is there; cutting it off keeps a shorter one readable.
            self.file.truncate(self.len)?;
            return Err(error);
        }
        self.len += text.len() as u64;
        Ok(())
    }

    /// Returns once all that was appended is durable.
    ///
    /// # Errors
    /// Those of fdatasync(2). After one nothing may be promised until a restart.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    /// Whether it is time for [`Journal::rewrite`].
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.len > self.rewrite_at
    }

    /// Replaces the journal by one that holds `records` only.
    ///
    /// # Errors
    /// Says whether the old one is still good.
    pub fn rewrite(&mut self, records: &[Record]) -> Result<(), RewriteError> {
        let written = write_new(&*self.disk, &self.working, self.incarnation, records);
        let (file, len) = written.map_err(|error| {
            // Tried again when it has doubled, not with every record.
            self.rewrite_at = 2 * self.len;
            RewriteError::Kept(error)
        })?;
        replace(&*self.disk, &self.working).map_err(RewriteError::Lost)?;
        (self.file, self.len, self.rewrite_at) = (file, len, REWRITE_BYTES.max(2 * len));
        Ok(())
    }
}

fn write_new(
    disk: &dyn Disk,
    working: &Path,
    incarnation: u64,
    records: &[Record],
) -> io::Result<(Box<dyn File>, u64)> {
    let mut text = String::new();
    push_line(&mut text, &format!("{MAGIC}{incarnation}"));
    records.iter().for_each(|record| push_record(&mut text, record));
    let path = working.join(NEW_NAME);
    match disk.remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&path)?;
    file.write_at(text.as_bytes(), 0)?;
    file.sync()?;
    Ok((file, text.len() as u64))
}

fn replace(disk: &dyn Disk, working: &Path) -> io::Result<()> {
    disk.rename(&working.join(NEW_NAME), &working.join(FILE_NAME))?;
    disk.sync_dir(working)
}

#[cfg(test)]
mod tests;
