//! What is known of one repository, in `STATE/mainline/<digest of where it is>/`.
//!
//! Owns that folder: `known.json` and the lists of packages and groups that it names, compressed as they came; and
//! `files.json`, what was found in `filelists`, which itself is too large to keep. `known.json` is replaced last, so that a hub
//! that is killed knows the old lists or the new ones. Everything in it may be deleted.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::digest::DynDigest;
use sha2::{Digest as _, Sha256};

use super::fetch::{Seal, open};
use super::place::Place;
use super::repomd::IndexFile;
use crate::disk::Disk;

/// Longest compressed list of packages, bytes. The largest distributions have some 30 MB.
const PACKED_BYTES_MAX: u64 = 128 << 20;
/// Longest compressed list of groups, bytes. Fedora's has half a megabyte.
const GROUPS_BYTES_MAX: u64 = 8 << 20;
/// Longest compressed list of files, bytes. The largest distributions have some 70 MB.
const FILELISTS_BYTES_MAX: u64 = 512 << 20;
/// Longest `files.json`, bytes.
const FOUND_BYTES_MAX: u64 = 32 << 20;
/// Longest `known.json`, bytes.
const KNOWN_BYTES_MAX: u64 = 64 * 1024;
/// What is read at once, bytes.
const READ_BYTES: usize = 64 * 1024;

const KNOWN: &str = "known.json";
const FOUND: &str = "files.json";
/// The texts of packages, which have no name for longer than it takes to open them.
const TEXTS: &str = ".texts";
const COMING: &str = ".coming";

/// The index of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    /// What the server said of `repomd.xml`.
    pub(super) seal: Seal,
    /// The list of packages.
    pub(super) primary: IndexFile,
    /// What else there is. What an older hub kept has no such thing, and is read again.
    pub(super) more: More,
}

/// What else a repository has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct More {
    /// All files of all packages.
    pub(super) filelists: Option<IndexFile>,
    /// The groups, if they are kept.
    pub(super) group: Option<IndexFile>,
    /// The URL of the mirror that all came from, if it is not the repository's own.
    pub(super) moved: Option<String>,
}

/// A list that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Packages,
    Groups,
}

impl List {
    fn bytes_max(self) -> u64 {
        match self {
            List::Packages => PACKED_BYTES_MAX,
            List::Groups => GROUPS_BYTES_MAX,
        }
    }

    fn file_name(self, file: &IndexFile) -> String {
        let what = match self {
            List::Packages => "primary",
            List::Groups => "group",
        };
        format!("{what}-{}", &file.digest[..16])
    }
}

/// What was found in `filelists`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    /// Its digest.
    pub(super) digest: String,
    /// What was looked for.
    pub(super) paths: BTreeSet<String>,
    /// What it calls a package, and a path that one has.
    pub(super) files: Vec<(String, String)>,
}

/// What stands in `known.json`.
#[derive(Serialize, Deserialize)]
struct Known {
    /// Where the repository is, for people who look.
    place: String,
    index: Index,
}

/// Why a list of packages cannot be kept.
#[derive(Debug)]
pub(super) enum KeepError {
    /// It stops coming.
    Source(io::Error),
    /// It is not what `repomd.xml` says.
    Other(&'static str),
    /// It is longer than any, bytes.
    TooLarge(u64),
    /// The state folder does not take it.
    Disk(PathBuf, io::Error),
}

impl fmt::Display for KeepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeepError::Source(error) => error.fmt(f),
            KeepError::Other(what) => {
                write!(
                    f,
                    "it has another {what} than repomd.xml says: the mirror is being changed, or damaged"
                )
            }
            KeepError::TooLarge(bytes_max) => write!(f, "it is larger than {} MiB", bytes_max >> 20),
            KeepError::Disk(path, error) => write!(f, "cannot write '{}': {error}", path.display()),
        }
    }
}

/// The folder of one repository.
pub(super) struct Kept {
    disk: Arc<dyn Disk>,
    place: String,
    folder: PathBuf,
    known: Option<Index>,
}

/// The name of a repository's folder.
pub(super) fn folder_name(place: &Place) -> String {
    hex(&Sha256::digest(place.to_string()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Kept {
    /// What is kept below `mainline`, if it is what it was.
    pub(super) fn open(disk: Arc<dyn Disk>, mainline: &Path, place: &Place) -> Kept {
        let folder = mainline.join(folder_name(place));
        let mut kept = Kept { disk, place: place.to_string(), folder, known: None };
        match kept.read_known() {
            Ok(known) => kept.known = known,
            Err(error) => log::warn!("mainline: '{}' is read again: {error}", kept.place),
        }
        kept
    }

    /// What is known; its list of packages has been checked.
    pub(super) fn known(&self) -> Option<&Index> {
        self.known.as_ref()
    }

    /// Nothing is known any more.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    fn read_known(&self) -> Result<Option<Index>, KeepError> {
        let mut text = Vec::new();
        match open(&*self.disk, &self.folder.join(KNOWN)) {
            Ok(file) => file.take(KNOWN_BYTES_MAX).read_to_end(&mut text).map_err(KeepError::Source)?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(KeepError::Source(error)),
        };
        let known = serde_json::from_slice::<Known>(&text);
        let Known { index, .. } = known.map_err(|error| KeepError::Source(io::Error::other(error)))?;
        if !index.primary.is_sane() {
            return Err(KeepError::Other("digest"));
        }
        let groups = index.more.group.iter().map(|group| (List::Groups, group));
        for (list, file) in [(List::Packages, &index.primary)].into_iter().chain(groups) {
            let packed = self.packed(list, file).map_err(KeepError::Source)?;
            copy(packed, file, list.bytes_max(), |_, _| Ok(()))?;
        }
        Ok(Some(index))
    }

    /// A list of a repository that is known, compressed.
    pub(super) fn packed(&self, list: List, file: &IndexFile) -> io::Result<impl Read + use<>> {
        open(&*self.disk, &self.folder.join(list.file_name(file)))
    }

    /// Takes a new list, beside the old one until [`Kept::commit`].
    pub(super) fn take(&self, body: impl Read, list: List, index: &IndexFile) -> Result<(), KeepError> {
        let coming = self.folder.join(COMING);
        let at = |error| KeepError::Disk(coming.clone(), error);
        for folder in self.folder.ancestors().take(2).collect::<Vec<_>>().into_iter().rev() {
            absent_or_there(self.disk.create_dir(folder)).map_err(at)?;
        }
        let gone = self.disk.remove_file(&coming);
        gone.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
            .map_err(at)?;
        let file = self.disk.create(&coming).map_err(at)?;
        copy(body, index, list.bytes_max(), |bytes, offset| file.write_at(bytes, offset).map_err(at))?;
        file.sync().map_err(at)?;
        let name = self.folder.join(list.file_name(index));
        self.disk.rename(&coming, &name).map_err(at)
    }

    /// From here on this is what is known. The old list goes.
    pub(super) fn commit(&mut self, index: Index) -> Result<(), KeepError> {
        let known = Known { place: self.place.clone(), index };
        let text = serde_json::to_vec_pretty(&known).expect("it is plain");
        self.replace(KNOWN, &text)?;
        let mut stays =
            vec![KNOWN.to_owned(), FOUND.to_owned(), List::Packages.file_name(&known.index.primary)];
        stays.extend(known.index.more.group.iter().map(|group| List::Groups.file_name(group)));
        self.known = Some(known.index);
        let at = |error| KeepError::Disk(self.folder.clone(), error);
        for name in self.disk.list(&self.folder).map_err(at)? {
            if !stays.iter().any(|stays| name == Path::new(stays)) {
                let _ = self.disk.remove_file(&self.folder.join(name));
            }
        }
        Ok(())
    }
}

impl Kept {
    fn replace(&self, name: &str, text: &[u8]) -> Result<(), KeepError> {
        let coming = self.folder.join(COMING);
        let at = |error| KeepError::Disk(coming.clone(), error);
        let _ = self.disk.remove_file(&coming);
        let file = self.disk.create(&coming).map_err(at)?;
        file.write_at(text, 0).and_then(|()| file.sync()).map_err(at)?;
        self.disk.rename(&coming, &self.folder.join(name)).map_err(at)?;
        self.disk.sync_dir(&self.folder).map_err(at)
    }

    /// What was found in `filelists`, if that is known and can be read.
    pub(super) fn found(&self) -> Option<Found> {
        let mut text = Vec::new();
        let file = open(&*self.disk, &self.folder.join(FOUND)).ok()?;
        file.take(FOUND_BYTES_MAX).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps what was found.
    pub(super) fn keep_found(&self, found: &Found) -> Result<(), KeepError> {
        self.replace(FOUND, &serde_json::to_vec(found).expect("it is plain"))
    }

    /// A file for the texts of packages that goes when it is closed. Not of [`Disk`]: nothing in it is to last.
    pub(super) fn texts(&self) -> io::Result<std::fs::File> {
        let path = self.folder.join(TEXTS);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    }
}

fn absent_or_there(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Hands on the bytes of a list while it checks that they are what is said.
fn copy(
    from: impl Read,
    file: &IndexFile,
    bytes_max: u64,
    mut to: impl FnMut(&[u8], u64) -> Result<(), KeepError>,
) -> Result<(), KeepError> {
    let mut checked = Checked::new(from, file, bytes_max)?;
    let mut buf = vec![0; READ_BYTES];
    loop {
        let at = checked.at;
        match checked.read(&mut buf) {
            Ok(0) => return checked.finish(),
            Ok(n) => to(&buf[..n], at)?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(checked.wrong.take().unwrap_or(KeepError::Source(error))),
        }
    }
}

/// The bytes of a list, which are checked while they are read.
pub(super) struct Checked<R> {
    from: R,
    hasher: Box<dyn DynDigest>,
    at: u64,
    bytes: Option<u64>,
    bytes_max: u64,
    digest: String,
    /// What was found wrong.
    wrong: Option<KeepError>,
}

impl<R: Read> Checked<R> {
    /// Those of `filelists`.
    pub(super) fn filelists(from: R, file: &IndexFile) -> Result<Checked<R>, KeepError> {
        Checked::new(from, file, FILELISTS_BYTES_MAX)
    }

    fn new(from: R, file: &IndexFile, bytes_max: u64) -> Result<Checked<R>, KeepError> {
        let IndexFile { kind, bytes, digest, .. } = file;
        if bytes.is_some_and(|bytes| bytes > bytes_max) {
            return Err(KeepError::TooLarge(bytes_max));
        }
        let (hasher, digest) = (kind.hasher(), digest.clone());
        Ok(Checked { from, hasher, at: 0, bytes: *bytes, bytes_max, digest, wrong: None })
    }

    /// Reads what is left. Says whether all of it is what was said.
    pub(super) fn finish(mut self) -> Result<(), KeepError> {
        if let Err(error) = io::copy(&mut self, &mut io::sink()) {
            return Err(self.wrong.take().unwrap_or(KeepError::Source(error)));
        }
        if self.bytes.is_some_and(|bytes| self.at != bytes) {
            return Err(KeepError::Other("size"));
        }
        if hex(&self.hasher.finalize()) != self.digest {
            return Err(KeepError::Other("digest"));
        }
        Ok(())
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buf)?;
        self.hasher.update(&buf[..n]);
        self.at += n as u64;
        let wrong = if self.bytes.is_some_and(|bytes| self.at > bytes) {
            Some(KeepError::Other("size"))
        } else if self.at > self.bytes_max {
            Some(KeepError::TooLarge(self.bytes_max))
        } else {
            None
        };
        match wrong {
            None => Ok(n),
            Some(wrong) => {
                let error = io::Error::other(wrong.to_string());
                self.wrong = Some(wrong);
                Err(error)
            }
        }
    }
}
