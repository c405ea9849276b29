//! The yum indexes over `repo/`: publishes each new result in milliseconds, at any size of the repository.
//!
//! Owns `STATE/index/` (but for the marks in `reading`) and `REPO/repodata/`. Never parses an RPM and never decides
//! when something is due: [`crate::core::repo`] does, and its actor gives [`Recent`] a fast thread and [`Shelves`] a
//! slow one, which share nothing. What the texts say is [`crate::repodata`]'s.
//!
//! # How it works
//!
//! Compressed members stand one behind another, so a file of the index is put together from members that are there
//! already: a header, the members of the groups, a footer. Only header and footer are ever compressed anew.
//!
//! A new result goes into *recent*, whose groups are in memory: a publication writes three files of some hundred
//! kilobytes. When recent is full, its groups are merged into the *shelves* in the background, and out of the shelves
//! and recent comes the *complete* index, by copying.
//!
//! | folder | holds | read by |
//! |---|---|---|
//! | `STATE/index/recent/repodata/` | the index of recent: packages of [`Class::Main`] that are on no shelf, and those that *linger* | builders |
//! | `STATE/index/base/repodata/` | the index of the shelf of [`Class::Main`] | builders |
//! | `STATE/index/extra/` | bodies only: the shelf of [`Class::Extra`], and what the first shelf's packages provide | the hub |
//! | `STATE/index/catalog` | which package is in which group of which shelf, and where | the hub |
//! | `REPO/repodata/` | the index of everything | everybody |
//!
//! A package that was merged lingers in recent for a while: a builder reads the `repomd.xml` of recent and base one
//! after the other, and would miss it if it read base's before the merge and recent's after it.
//!
//! # Crashes and errors
//!
//! Files are named after their digest and are never changed, so readers see what `repomd.xml` names, and that is
//! replaced last, by a rename, when all it names survives a power cut. A merge has one commit point more, before that:
//! the rename of the catalog. If base's `repomd.xml` names other files than the catalog does, [`Shelves::open`] makes it anew.
//! When a call fails, memory is as it was before, and the same call may be made again.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
#[cfg(doc)]
use crate::repodata::Class;
use crate::repodata::{Compression, DamagedMember};

mod catalog;
mod complete;
mod dependents;
mod generation;
mod merge;
pub mod reading;
mod recent;
mod shelf;
pub mod work;

pub use recent::{Recent, RecentChange};
pub use shelf::Shelves;

/// Where the indexes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The repository: the complete index is in its `repodata`.
    pub repo: PathBuf,
    /// `STATE/index`; made if it is not there.
    pub index: PathBuf,
}

/// How indexes are made.
#[derive(Clone)]
pub struct Config {
    /// How members are compressed.
    pub compression: Compression,
    /// Whether builders read recent and base. If not, recent is not written.
    pub tiers: bool,
    /// From how many packages on recent is full; so many may linger, too.
    pub recent_packages_max: usize,
    /// Who signs each `repomd.xml`.
    pub signer: Option<Arc<dyn RepomdSigner>>,
}

impl Default for Config {
    fn default() -> Config {
        let compression = Compression::default();
        Config { compression, tiers: true, recent_packages_max: RECENT_PACKAGES_MAX, signer: None }
    }
}

/// Packages in recent that make it full: dnf loads these anew after each publication.
pub const RECENT_PACKAGES_MAX: usize = 256;

/// How long superseded files of recent and base stay, milliseconds: a board's cached `repomd.xml` may be as old.
const TIER_KEEP_MS: u64 = 3_600_000;
/// How long superseded files of the complete index stay, milliseconds: longer than any dnf takes from reading
/// `repomd.xml` to the last file it names.
const COMPLETE_KEEP_MS: u64 = 600_000;

/// Signs what everybody reads first.
pub trait RepomdSigner: Send + Sync {
    /// What is to stand in `repomd.xml.asc` beside these bytes. It is there shortly before they are.
    ///
    /// # Errors
    /// Why it cannot; nothing is published then.
    fn sign(&self, repomd: &[u8]) -> Result<Vec<u8>, String>;
}

/// What could not be read or written, and why.
#[derive(Debug)]
pub struct IndexError {
    /// The file or folder.
    pub path: PathBuf,
    /// What the system says.
    pub error: io::Error,
}

impl IndexError {
    /// Whether a file is not what it was when it was written.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        self.error.get_ref().is_some_and(|inner| inner.is::<DamagedMember>())
    }
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl std::error::Error for IndexError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Names the path of an error.
fn at(path: &Path) -> impl FnOnce(io::Error) -> IndexError + '_ {
    move |error| IndexError { path: path.to_owned(), error }
}

/// Makes a folder whose parent is there, unless it is there itself; its name survives a power cut then.
fn make_folder(disk: &dyn Disk, path: &Path) -> Result<(), IndexError> {
    match disk.create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(path)(error)),
        _ => {}
    }
    let parent = path.parent().expect("a folder of the hub's is in another one");
    disk.sync_dir(parent).map_err(at(parent))
}

/// Removes a file, if there is one.
fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<(), IndexError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// A whole file; None if there is none.
fn read_if_there(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, IndexError> {
    let file = match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(at(path))?,
    };
    let len = file.len().map_err(at(path))?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    let n = file.read_at(&mut bytes, 0).map_err(at(path))?;
    bytes.truncate(n);
    Ok(Some(bytes))
}

/// What a member that does not expand is as an error of its file.
fn damaged(damage: DamagedMember) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, damage)
}

#[cfg(test)]
mod tests;
