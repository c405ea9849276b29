//! The hub's publication without the hub: RPMs described, committed and indexed in a folder.
//!
//! Owns the folder's layout (`repo/`, `index/`, `stage/`) and the same steps, in the same order, that the hub's transfers and
//! repo take. Must never hold anything back that the hub pays for: all is synced as there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use moji_server::clock::{Clock, Real as RealClock};
use moji_server::disk::{Disk, Real as RealDisk, Unsynced};
use moji_server::index::{Config, IndexError, Layout, Recent, RecentChange, Shelves};
use moji_server::repodata::{About, Described, Group, PIECE_NAME, decode_piece, describe, encode_piece};
use sha2::{Digest, Sha256};

use crate::http::FileServer;
use crate::synthetic::MadeResult;

/// A repository and its indexes in one folder.
#[derive(Clone)]
pub struct Publisher {
    folder: PathBuf,
    config: Config,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
}

/// What a hub works with.
pub struct Started {
    /// For the thread that publishes.
    pub recent: Recent,
    /// For the thread that merges.
    pub shelves: Shelves,
}

/// A result whose RPMs arrived and were verified: they are in a stage, and their SHA-256 is known.
#[derive(Debug)]
pub struct Verified {
    nvr: String,
    stage: PathBuf,
    rpms: Vec<(String, [u8; 32])>,
}

impl Publisher {
    /// One in `folder`, whose own folders are made if they are not there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(folder: &Path) -> io::Result<Publisher> {
        for name in ["repo", "index", "stage"] {
            fs::create_dir_all(folder.join(name))?;
        }
        Ok(Publisher {
            folder: folder.to_owned(),
            config: Config::default(),
            disk: Arc::new(RealDisk),
            clock: Arc::new(RealClock::default()),
        })
    }

    /// The repository.
    pub fn repo(&self) -> PathBuf {
        self.folder.join("repo")
    }

    fn layout(&self) -> Layout {
        Layout { repo: self.repo(), index: self.folder.join("index") }
    }

    /// The index of what is new, its files there.
    ///
    /// # Errors
    /// What cannot be read or written.
    pub fn recent(&self) -> Result<Recent, IndexError> {
        let (disk, clock) = (Arc::clone(&self.disk), Arc::clone(&self.clock));
        let mut recent = Recent::new(disk, clock, self.layout(), self.config.clone());
        recent.ensure_exists()?;
        Ok(recent)
    }

    /// What is older, as it is on disk.
    ///
    /// # Errors
    /// What cannot be read or written.
    pub fn shelves(&self) -> Result<Shelves, IndexError> {
        let (disk, clock) = (Arc::clone(&self.disk), Arc::clone(&self.clock));
        Shelves::open(disk, clock, self.layout(), self.config.clone())
    }

    /// What a hub starts with: what a crash left is put right, and every result with a piece that is on no shelf is in
    /// recent.
    ///
    /// # Errors
    /// What cannot be read or written.
    pub fn start(&self) -> Result<Started, IndexError> {
        let (shelves, mut recent) = (self.shelves()?, self.recent()?);
        let there: BTreeSet<&str> = shelves.listed().map(|(listed, _)| &*listed.path).collect();
        let failed = |error: io::Error| IndexError { path: self.repo(), error };
        let mut add = Vec::new();
        for nvr in self.results().map_err(failed)? {
            for group in self.piece(&nvr).map_err(failed)? {
                add.extend(group.without(&there).map_err(|why| failed(io::Error::other(why)))?);
            }
        }
        recent.publish(RecentChange { add, ..RecentChange::default() })?;
        Ok(Started { recent, shelves })
    }

    /// What the piece of a committed result holds; nothing if it has none.
    ///
    /// # Errors
    /// Those of the file system, and a damaged piece.
    pub fn piece(&self, nvr: &str) -> io::Result<Vec<Group>> {
        match fs::read(self.repo().join(nvr).join(PIECE_NAME)) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            piece => decode_piece(&piece?).map_err(io::Error::other),
        }
    }

    /// The folders of all results, sorted.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn results(&self) -> io::Result<Vec<String>> {
        let names =
            fs::read_dir(self.repo())?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names: Vec<String> = names.collect::<io::Result<_>>()?;
        names.retain(|name| name != "repodata");
        names.sort();
        Ok(names)
    }

    /// A result that was staged by an earlier run.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn staged(&self, nvr: &str) -> io::Result<Verified> {
        let stage = self.folder.join("stage").join(nvr);
        let mut rpms = Vec::new();
        for entry in fs::read_dir(&stage)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".rpm") {
                rpms.push((name, Sha256::digest(fs::read(entry.path())?).into()));
            }
        }
        rpms.sort();
        Ok(Verified { nvr: nvr.to_owned(), stage, rpms })
    }

    /// Serves it as the hub does: `/repo/`, `/tier/recent/` and `/tier/base/`.
    pub fn serve(&self) -> FileServer {
        let (repo, index) = (self.repo(), self.folder.join("index"));
        let (recent, base) = (index.join("recent/repodata"), index.join("base/repodata"));
        FileServer::start([
            ("/tier/recent/repodata/", &*recent),
            ("/tier/base/repodata/", &*base),
            ("/tier/recent/", &*repo),
            ("/tier/base/", &*repo),
            ("/repo/", &*repo),
        ])
    }

    /// Puts a result where uploads are, and takes its SHA-256, as it is done while bytes arrive.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn stage(&self, made: &MadeResult) -> io::Result<Verified> {
        made.write(&self.folder.join("stage"))?;
        let rpms = made.rpms.iter().map(|rpm| (rpm.name.clone(), Sha256::digest(&rpm.bytes).into()));
        let stage = self.folder.join("stage").join(&made.nvr);
        for rpm in &made.rpms {
            File::open(stage.join(&rpm.name))?.sync_all()?;
        }
        Ok(Verified { nvr: made.nvr.clone(), stage, rpms: rpms.collect() })
    }

    /// Describes a result and commits it: afterwards it is in `repo/` with its piece, and survives a power cut.
    ///
    /// # Errors
    /// Those of the file system, and an RPM that cannot be described.
    pub fn commit(&self, result: &Verified) -> io::Result<Vec<Group>> {
        let described = |(name, sha256): &(String, [u8; 32])| {
            describe_file(&result.stage.join(name), &format!("{}/{name}", result.nvr), *sha256)
        };
        let all: io::Result<Vec<Described>> = result.rpms.iter().map(described).collect();
        let groups = Group::seal_all(self.config.compression, all?);
        let path = result.stage.join(PIECE_NAME);
        let mut piece = self.disk.create(&path)?;
        piece.write_at(&encode_piece(&groups), 0)?;
        let unsynced = vec![Unsynced::File(&path, &mut *piece), Unsynced::Folder(&result.stage)];
        self.disk.sync_all(unsynced).map_err(|failed| failed.error)?;
        self.disk.rename_new(&result.stage, &self.repo().join(&result.nvr))?;
        self.disk.sync_dir(&self.repo())?;
        Ok(groups)
    }

    /// Describes all RPMs of a result that is in `repo/` already and has no piece: what a hub does with what it never saw.
    ///
    /// # Errors
    /// Those of the file system, and an RPM that cannot be described.
    pub fn read(&self, nvr: &str) -> io::Result<Vec<Group>> {
        let folder = self.repo().join(nvr);
        let mut names: Vec<String> = fs::read_dir(&folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()?;
        names.retain(|name| name.ends_with(".rpm"));
        names.sort();
        let described = |name: &String| {
            let path = folder.join(name);
            describe_file(&path, &format!("{nvr}/{name}"), Sha256::digest(fs::read(&path)?).into())
        };
        let all: io::Result<Vec<Described>> = names.iter().map(described).collect();
        Ok(Group::seal_all(self.config.compression, all?))
    }
}

fn describe_file(path: &Path, href: &str, sha256: [u8; 32]) -> io::Result<Described> {
    let file = File::open(path)?;
    let stat = file.metadata()?;
    let modified = stat.modified()?.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let about = About { href, sha256, size: stat.len(), modified_unix_s: modified };
    describe(&file, &about).map_err(|why| io::Error::other(format!("{}: {why}", path.display())))
}

/// The paths of all packages in these groups.
pub fn paths<'a>(groups: impl IntoIterator<Item = &'a Group>) -> BTreeSet<Box<str>> {
    groups.into_iter().flat_map(|group| group.packages.iter().map(|package| package.path.clone())).collect()
}
