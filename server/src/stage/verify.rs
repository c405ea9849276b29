//! Reading what arrived: which files are RPMs, whether they are sound, what everything is called.
//!
//! Owns the names that reach `repo/`. An RPM is known by its content and named after its own header; a
//! log keeps its name if that ends like a log's, with every unusual character replaced; everything
//! else is dropped and listed in `result.json`. The builder's word for a name is never a path here.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use moji_proto::message::RejectedWhy;
use moji_proto::{FileName, LeaseId};

use super::hashing::Hashing;
use super::{AsRpm, READ_BYTES, RPM_MAGIC, Trouble, Worker, digest, wrote};
use crate::core::transfers::{Defect, Done, Entry, Placed};
use crate::core::types::{Sha256, StagedFile};
use crate::disk::File;
use crate::rpmfile::{self, Facts, RpmError};

/// Longest log that is kept whole, bytes: more is a runaway loop, and nobody reads it.
const LOG_BYTES_MAX: u64 = 64 << 20;
/// What is kept at each end of a longer one, bytes: the first error and the last words.
const LOG_END_BYTES: u64 = LOG_BYTES_MAX / 2;
/// Longest name of a log, bytes: leaves room for `.gz` and is more than mock's plugins use.
const LOG_NAME_BYTES_MAX: usize = 100;
/// How a log's name ends; mock's compress_logs plugin leaves the others.
const LOG_ENDINGS: [&str; 5] = [".log", ".log.gz", ".log.bz2", ".log.xz", ".log.zst"];
/// Marks of checks that began. With both there, two checks ended the hub itself. Each holds the start of the machine in
/// which it was made: a mark of another start is what a power cut left, also of a check that came to its end, since
/// marks are not synced, and says nothing about the RPMs.
const TRIES: [&str; 2] = [".try-1", ".try-2"];

/// What the checks have found so far.
#[derive(Default)]
struct Found {
    placed: Vec<Placed>,
    dropped: Vec<FileName>,
    defect: Option<Defect>,
    names: BTreeSet<String>,
}

impl Found {
    /// The first defect is the one that is told.
    fn defect(&mut self, why: RejectedWhy, text: String) {
        self.defect.get_or_insert((why, text));
    }

    /// Keeps a file under the hub's own name for it.
    fn place(&mut self, from: String, entry: &Entry, name: String, rpm: Option<(Facts, Sha256)>) {
        if !self.names.insert(name.clone()) {
            self.defect(RejectedWhy::Duplicate, format!("{name} is there twice"));
            return;
        }
        let name = FileName::new(name).expect("names are chosen safe");
        let (rpm, sha256) = rpm.unzip();
        let file = StagedFile { name, size: entry.size, digest: entry.digest, rpm, sha256 };
        self.placed.push(Placed { from, file });
    }
}

impl Worker {
    /// Reads and checks whole files of a stage; signs and describes its RPMs if they are all sound.
    pub(super) fn verify(&self, lease: LeaseId, nvr: &str, files: &[(u32, Entry)]) -> Result<Done, Trouble> {
        let stage = self.stage(lease);
        let checked = self.check_all(lease, &stage, files);
        let described = checked.and_then(|mut found| {
            if found.defect.is_none() {
                found.defect = self.sign_all(&stage, &mut found.placed)?;
            }
            self.describe_all(lease, nvr, &mut found)?;
            let Found { placed, dropped, defect, .. } = found;
            Ok(Done::Verified { placed, dropped, defect })
        });
        // An error is no crash: only a check that ended the hub itself leaves its mark.
        let unmarked = TRIES.iter().try_for_each(|mark| self.remove(&stage.join(mark)));
        described.and_then(|done| unmarked.map(|()| done))
    }

    fn check_all(&self, lease: LeaseId, stage: &Path, files: &[(u32, Entry)]) -> Result<Found, Trouble> {
        let mut found = Found::default();
        let parse = files.is_empty() || self.begin_try(stage)?;
        for (number, entry) in files {
            let path = stage.join(format!("f{number}"));
            let file = self.disk.open(&path).map_err(|e| wrote("open", &path, &e))?;
            let mut magic = [0; RPM_MAGIC.len()];
            let n = file.read_at(&mut magic, 0).map_err(|e| wrote("read", &path, &e))?;
            if n == magic.len() && magic == RPM_MAGIC {
                if parse {
                    let known = self.arriving.sha256(lease, *number);
                    check_rpm(&mut found, *number, entry, &path, &*file, known)?;
                } else {
                    let text = format!("{}: reading it ended the hub twice", entry.name);
                    found.defect(RejectedWhy::BadRpm, text);
                }
            } else if entry.name.as_str().ends_with(".rpm") {
                found.defect(RejectedWhy::BadRpm, format!("{}: {}", entry.name, RpmError::NotRpm));
            } else if let Some(name) = log_name(entry.name.as_str()) {
                self.place_log(&mut found, stage, *number, entry, name, &*file)?;
            } else {
                found.dropped.push(entry.name.clone());
            }
        }
        Ok(found)
    }

    fn describe_all(&self, lease: LeaseId, nvr: &str, found: &mut Found) -> Result<(), Trouble> {
        let mut rpms = found.placed.iter().filter(|placed| placed.file.rpm.is_some()).peekable();
        if found.defect.is_some() || rpms.peek().is_none() {
            return Ok(());
        }
        let folder = self.reserve(lease, nvr)?;
        let rpms = rpms.map(|placed| (placed.from.as_str(), &placed.file));
        if let Err((why, text)) = self.make_piece(lease, &folder, rpms)? {
            found.defect(why, text);
        }
        Ok(())
    }

    /// Marks that a check begins. False if two began since the machine started and did not end.
    fn begin_try(&self, stage: &Path) -> Result<bool, Trouble> {
        let boot = self.disk.boot();
        for mark in TRIES {
            let path = stage.join(mark);
            if self.is_mark(&path, &boot)? {
                continue;
            }
            self.remove(&path)?;
            let file = self.in_folder(&[stage], || self.disk.create(&path));
            file.and_then(|file| file.write_at(boot.as_bytes(), 0)).map_err(|e| wrote("write", &path, &e))?;
            return Ok(true);
        }
        log::error!("{}: checking it ended the hub twice; it is set aside", stage.display());
        Ok(false)
    }

    /// Whether a check began there in this start of the machine, and did not end.
    fn is_mark(&self, path: &Path, boot: &str) -> Result<bool, Trouble> {
        let file = match self.disk.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(wrote("open", path, &error)),
        };
        // One byte more than wanted: a longer one is another word.
        let mut bytes = vec![0; boot.len() + 1];
        let n = file.read_at(&mut bytes, 0).map_err(|e| wrote("read", path, &e))?;
        Ok(&bytes[..n] == boot.as_bytes())
    }

    /// Keeps a log, with its middle cut if it is too long.
    fn place_log(
        &self,
        found: &mut Found,
        stage: &Path,
        number: u32,
        entry: &Entry,
        name: String,
        file: &dyn File,
    ) -> Result<(), Trouble> {
        if entry.size <= LOG_BYTES_MAX {
            found.place(format!("f{number}"), entry, name, None);
            return Ok(());
        }
        let from = format!("c{number}");
        let path = stage.join(&from);
        self.remove(&path)?;
        let cut = self.disk.create(&path).map_err(|e| wrote("create", &path, &e))?;
        let removed = entry.size - 2 * LOG_END_BYTES;
        let mark = format!("\n\n[moji: {removed} bytes were cut here]\n\n");
        let copied = copy(file, 0, &*cut, 0, LOG_END_BYTES)
            .and_then(|()| cut.write_at(mark.as_bytes(), LOG_END_BYTES))
            .and_then(|()| {
                let to = LOG_END_BYTES + mark.len() as u64;
                copy(file, entry.size - LOG_END_BYTES, &*cut, to, LOG_END_BYTES)
            });
        copied.map_err(|e| wrote("write", &path, &e))?;
        let size = cut.len().map_err(|e| wrote("look at", &path, &e))?;
        let digest = digest(&*cut).map_err(|e| wrote("read", &path, &e))?;
        let entry = Entry { name: entry.name.clone(), size, digest };
        found.place(from, &entry, name, None);
        Ok(())
    }
}

/// Keeps an RPM if it is sound. Its SHA-256, if it is not `known`, is taken from the same pass.
fn check_rpm(
    found: &mut Found,
    number: u32,
    entry: &Entry,
    path: &Path,
    file: &dyn File,
    known: Option<Sha256>,
) -> Result<(), Trouble> {
    let checked = match known {
        Some(sha256) => rpmfile::verify_digests(&AsRpm(file)).map(|()| sha256),
        None => {
            let hashing: Hashing<'_, sha2::Sha256> = Hashing::new(file);
            rpmfile::verify_digests(&hashing).and_then(|()| Ok(hashing.finish()?))
        }
    };
    match checked.and_then(|sha256| Ok((rpmfile::read_facts(&AsRpm(file))?, sha256))) {
        Ok((facts, sha256)) => {
            let name = facts.nevra.file_name(facts.kind);
            found.place(format!("f{number}"), entry, name, Some((facts, sha256)));
            Ok(())
        }
        Err(RpmError::Io(error)) => Err(wrote("read", path, &error)),
        Err(error) => {
            found.defect(RejectedWhy::BadRpm, format!("{}: {error}", entry.name));
            Ok(())
        }
    }
}

/// The name under which a log is kept; None if it is not a log's name.
pub(super) fn log_name(said: &str) -> Option<String> {
    let ending = LOG_ENDINGS.iter().find(|ending| said.ends_with(*ending))?;
    let stem = &said[..said.len() - ending.len()];
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '_' };
    let stem: String = stem.chars().map(safe).take(LOG_NAME_BYTES_MAX - ending.len()).collect();
    if stem.is_empty() || stem.starts_with('.') { None } else { Some(stem + ending) }
}

/// Copies `len` bytes of one file into another.
pub(super) fn copy(from: &dyn File, mut at: u64, to: &dyn File, mut to_at: u64, len: u64) -> io::Result<()> {
    let end = at + len;
    let mut buf = vec![0; READ_BYTES];
    while at < end {
        let want = buf.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        let n = from.read_at(&mut buf[..want], at)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_at(&buf[..n], to_at)?;
        at += n as u64;
        to_at += n as u64;
    }
    Ok(())
}
