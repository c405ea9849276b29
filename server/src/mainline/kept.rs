//! What is known of one repository, in `STATE/mainline/<digest of where it is>/`.
//!
//! Owns that folder: `known.json` and the list of packages that it names, compressed as it came. `known.json` is replaced
//! last, so that a hub that is killed knows the old list or the new one. Everything in it may be deleted.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::fetch::{Seal, open};
use super::place::Place;
use super::repomd::IndexFile;
use crate::disk::Disk;

/// Longest compressed list of packages, bytes. The largest distributions have some 30 MB.
const PACKED_BYTES_MAX: u64 = 128 << 20;
/// Longest `known.json`, bytes.
const KNOWN_BYTES_MAX: u64 = 64 * 1024;
/// What is read at once, bytes.
const READ_BYTES: usize = 64 * 1024;

const KNOWN: &str = "known.json";
const COMING: &str = ".coming";

/// The index of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    /// What the server said of `repomd.xml`.
    pub(super) seal: Seal,
    /// The list of packages.
    pub(super) primary: IndexFile,
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
    /// It is longer than any.
    TooLarge,
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
            KeepError::TooLarge => write!(f, "it is larger than {} MiB", PACKED_BYTES_MAX >> 20),
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

/// The name of a list of packages.
fn file_name(primary: &IndexFile) -> String {
    format!("primary-{}", &primary.digest[..16])
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
        let file = self.packed(&index.primary).map_err(KeepError::Source)?;
        copy(file, &index.primary, |_, _| Ok(()))?;
        Ok(Some(index))
    }

    /// The list of packages of a repository that is known, compressed.
    pub(super) fn packed(&self, primary: &IndexFile) -> io::Result<impl Read + use<>> {
        open(&*self.disk, &self.folder.join(file_name(primary)))
    }

    /// Takes a new list of packages, beside the old one until [`Kept::commit`].
    pub(super) fn take(&self, body: impl Read, primary: &IndexFile) -> Result<(), KeepError> {
        let coming = self.folder.join(COMING);
        let at = |error| KeepError::Disk(coming.clone(), error);
        for folder in self.folder.ancestors().take(2).collect::<Vec<_>>().into_iter().rev() {
            absent_or_there(self.disk.create_dir(folder)).map_err(at)?;
        }
        let gone = self.disk.remove_file(&coming);
        gone.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
            .map_err(at)?;
        let file = self.disk.create(&coming).map_err(at)?;
        copy(body, primary, |bytes, offset| file.write_at(bytes, offset).map_err(at))?;
        file.sync().map_err(at)?;
        let name = self.folder.join(file_name(primary));
        self.disk.rename(&coming, &name).map_err(at)
    }

    /// From here on this is what is known. The old list goes.
    pub(super) fn commit(&mut self, index: Index) -> Result<(), KeepError> {
        let known = Known { place: self.place.clone(), index };
        let text = serde_json::to_vec_pretty(&known).expect("it is plain");
        let coming = self.folder.join(COMING);
        let at = |error| KeepError::Disk(coming.clone(), error);
        let _ = self.disk.remove_file(&coming);
        let file = self.disk.create(&coming).map_err(at)?;
        file.write_at(&text, 0).and_then(|()| file.sync()).map_err(at)?;
        self.disk.rename(&coming, &self.folder.join(KNOWN)).map_err(at)?;
        self.disk.sync_dir(&self.folder).map_err(at)?;
        let stays = [KNOWN.to_owned(), file_name(&known.index.primary)];
        self.known = Some(known.index);
        for name in self.disk.list(&self.folder).map_err(at)? {
            if !stays.iter().any(|stays| name == Path::new(stays)) {
                let _ = self.disk.remove_file(&self.folder.join(name));
            }
        }
        Ok(())
    }
}

fn absent_or_there(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Hands on the bytes of a list of packages while it checks that they are what is said.
fn copy(
    mut from: impl Read,
    primary: &IndexFile,
    mut to: impl FnMut(&[u8], u64) -> Result<(), KeepError>,
) -> Result<(), KeepError> {
    if primary.bytes.is_some_and(|bytes| bytes > PACKED_BYTES_MAX) {
        return Err(KeepError::TooLarge);
    }
    let mut hasher = primary.kind.hasher();
    let mut buf = vec![0; READ_BYTES];
    let mut at = 0;
    loop {
        let n = match from.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(KeepError::Source(error)),
        };
        let bytes = &buf[..n];
        hasher.update(bytes);
        to(bytes, at)?;
        at += n as u64;
        if primary.bytes.is_some_and(|bytes| at > bytes) {
            return Err(KeepError::Other("size"));
        }
        if at > PACKED_BYTES_MAX {
            return Err(KeepError::TooLarge);
        }
    }
    if primary.bytes.is_some_and(|bytes| at != bytes) {
        return Err(KeepError::Other("size"));
    }
    if hex(&hasher.finalize()) != primary.digest {
        return Err(KeepError::Other("digest"));
    }
    Ok(())
}
