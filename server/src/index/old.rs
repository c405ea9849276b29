//! The yum index over `repo/`: makes it with `createrepo_c` and publishes it atomically.
//!
//! Owns `REPO/repodata/` and `STATE/index/`. `createrepo_c` writes into a fresh folder under
//! `STATE/index/`, reusing what the live index says of unchanged packages. Then the data files, which
//! carry their digest in the name, are copied beside the old ones and synced, and `repomd.xml` is
//! replaced last, by a rename: whoever reads sees one whole index or the other. Superseded files stay
//! ten minutes for those who read the old `repomd.xml` just before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use moji_proto::Time;

use crate::clock::Clock;
use crate::disk::{Disk, File};
use crate::signing::{Signer, replace};

/// How long superseded files of the index stay, milliseconds: longer than any dnf takes from reading
/// `repomd.xml` to the last file it names.
pub const KEEP_OLD_MS: u64 = 600_000;
/// Bytes read at once when files are copied.
const COPY_BYTES: usize = 256 * 1024;
/// How much of a failed program's last words is told, bytes.
const WORDS_BYTES_MAX: usize = 300;
/// A new `repomd.xml` before it replaces the old one.
const REPOMD_NEW: &str = ".repomd.xml.new";
/// What everybody reads first.
const REPOMD: &str = "repomd.xml";

/// Why an index could not be made or published.
#[derive(Debug)]
pub enum IndexError {
    /// The program is not installed.
    Missing(PathBuf),
    /// The program failed; its last words.
    Failed(String),
    /// A file could not be read or written.
    Io(PathBuf, io::Error),
    /// What the program wrote is not an index.
    Malformed(&'static str),
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IndexError::Missing(program) => {
                write!(
                    f,
                    "no {} here: install the package 'createrepo_c' (Debian: 'createrepo-c')",
                    program.display()
                )
            }
            IndexError::Failed(words) => write!(f, "createrepo_c failed: {words}"),
            IndexError::Io(path, error) => write!(f, "{}: {error}", path.display()),
            IndexError::Malformed(what) => write!(f, "createrepo_c left {what}"),
        }
    }
}

impl std::error::Error for IndexError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            IndexError::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> IndexError + '_ {
    move |error| IndexError::Io(path.to_owned(), error)
}

/// Makes the metadata of a set of packages.
pub trait Program: Send {
    /// Writes `out/repodata/` for the packages of `repo` whose paths are the lines of `list`. May reuse
    /// what `repo/repodata/` says.
    ///
    /// # Errors
    /// [`IndexError::Missing`], [`IndexError::Failed`].
    fn make(&self, repo: &Path, out: &Path, list: &Path) -> Result<(), IndexError>;
}

/// The real `createrepo_c`.
#[derive(Clone, Debug)]
pub struct Createrepo(PathBuf);

impl Default for Createrepo {
    fn default() -> Createrepo {
        Createrepo(PathBuf::from("createrepo_c"))
    }
}

impl Createrepo {
    /// Another program with its command line.
    #[must_use]
    pub fn named(program: impl Into<PathBuf>) -> Createrepo {
        Createrepo(program.into())
    }
}

impl Program for Createrepo {
    fn make(&self, repo: &Path, out: &Path, list: &Path) -> Result<(), IndexError> {
        // gzip, because newer versions would take zstd, which dnf on an old board cannot read.
        let output = Command::new(&self.0)
            .args(["--update", "--no-database", "--general-compress-type=gz", "--update-md-path"])
            .args([repo, Path::new("--pkglist"), list, Path::new("--outputdir"), out, repo])
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output();
        let output = match output {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(IndexError::Missing(self.0.clone()));
            }
            Err(error) => return Err(IndexError::Io(self.0.clone(), error)),
        };
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let words = words.trim().lines().last().unwrap_or("it said nothing");
        let words: String = words.chars().filter(|c| !c.is_control()).take(WORDS_BYTES_MAX).collect();
        Err(IndexError::Failed(format!("{words} ({})", output.status)))
    }
}

/// Makes and publishes indexes. One at a time, by one thread.
pub struct Indexer {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    program: Box<dyn Program>,
    repo: PathBuf,
    work: PathBuf,
    runs: u64,
    /// Since when files of `repodata/` were seen that no `repomd.xml` names any more.
    superseded: BTreeMap<String, Time>,
    signer: Option<Arc<Signer>>,
}

impl Indexer {
    /// Indexes `repo`, working in `work`, which nobody else uses and which need not be there.
    #[must_use]
    pub fn new(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        program: Box<dyn Program>,
        repo: PathBuf,
        work: PathBuf,
    ) -> Indexer {
        Indexer { disk, clock, program, repo, work, runs: 0, superseded: BTreeMap::new(), signer: None }
    }

    /// The same, signing each `repomd.xml`.
    #[must_use]
    pub fn signed_by(self, signer: Option<Arc<Signer>>) -> Indexer {
        Indexer { signer, ..self }
    }

    /// Makes sure that there is an index, so that mock's `--addrepo` does not fail before the first
    /// build; an index that is there stays as it is. Empties the work folder of earlier runs.
    ///
    /// # Errors
    /// As [`Indexer::publish`].
    pub fn ensure_exists(&mut self) -> Result<(), IndexError> {
        self.disk.remove_dir_all(&self.work).map_err(io_error(&self.work))?;
        let repomd = self.repo.join("repodata").join(REPOMD);
        match self.disk.stat(&repomd).map_err(io_error(&repomd))? {
            Some(_) => Ok(()),
            None => self.publish(&[]),
        }
    }

    /// Makes an index over exactly these files (paths relative to the repository) and puts it in the
    /// place of the last one. When it returns, the index survives a power cut. On an error the last
    /// one stays.
    ///
    /// # Errors
    /// Any [`IndexError`].
    pub fn publish(&mut self, paths: &[String]) -> Result<(), IndexError> {
        self.runs += 1;
        let out = self.work.join(format!("run-{}", self.runs));
        let made = self.make(&out, paths).and_then(|()| self.install(&out.join("repodata")));
        if let Err(error) = self.disk.remove_dir_all(&out) {
            log::warn!("failed to remove {}: {error}", out.display());
        }
        made
    }

    fn make(&self, out: &Path, paths: &[String]) -> Result<(), IndexError> {
        self.disk.remove_dir_all(out).map_err(io_error(out))?;
        self.folder(&self.work)?;
        self.folder(out)?;
        let list = out.join("packages");
        let mut text = paths.join("\n");
        text.push('\n');
        self.write(&list, text.as_bytes())?;
        self.program.make(&self.repo, out, &list)
    }

    /// Makes a folder unless it is there.
    fn folder(&self, path: &Path) -> Result<(), IndexError> {
        match self.disk.create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_error(path)(error)),
            _ => Ok(()),
        }
    }

    /// Makes a new file of these bytes.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), IndexError> {
        let file = self.disk.create(path).map_err(io_error(path))?;
        file.write_at(bytes, 0).map_err(io_error(path))?;
        file.sync().map_err(io_error(path))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, IndexError> {
        let file = self.disk.open(path).map_err(io_error(path))?;
        let len = usize::try_from(file.len().map_err(io_error(path))?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        let n = file.read_at(&mut bytes, 0).map_err(io_error(path))?;
        bytes.truncate(n);
        Ok(bytes)
    }

    /// Puts a whole new `repodata` in the place of the live one.
    fn install(&mut self, new: &Path) -> Result<(), IndexError> {
        let repomd = self.read(&new.join(REPOMD))?;
        let named =
            locations(&repomd).ok_or(IndexError::Malformed("a repomd.xml that names foreign files"))?;
        if named.is_empty() {
            return Err(IndexError::Malformed("a repomd.xml that names nothing"));
        }
        let live = self.repo.join("repodata");
        self.folder(&live)?;
        self.disk.sync_dir(&self.repo).map_err(io_error(&self.repo))?;
        for name in &named {
            self.install_file(&new.join(name), &live, name)?;
        }
        self.disk.sync_dir(&live).map_err(io_error(&live))?;
        let next = live.join(REPOMD_NEW);
        self.remove(&next)?;
        self.write(&next, &repomd)?;
        if let Some(signer) = &self.signer {
            let signature = super::RepomdSigner::sign(&**signer, &repomd).map_err(IndexError::Failed)?;
            let path = live.join("repomd.xml.asc");
            replace(&*self.disk, &live, "repomd.xml.asc", &signature).map_err(io_error(&path))?;
        }
        let path = live.join(REPOMD);
        self.disk.rename(&next, &path).map_err(io_error(&path))?;
        self.disk.sync_dir(&live).map_err(io_error(&live))?;
        self.note_superseded(&named)
    }

    /// Copies one data file, unless it is there: its name holds the digest of its bytes.
    fn install_file(&self, from: &Path, live: &Path, name: &str) -> Result<(), IndexError> {
        let to = live.join(name);
        let source = self.disk.open(from).map_err(io_error(from))?;
        let len = source.len().map_err(io_error(from))?;
        if self.disk.stat(&to).map_err(io_error(&to))?.is_some_and(|stat| stat.len == len) {
            return Ok(());
        }
        let next = live.join(format!(".{name}.new"));
        self.remove(&next)?;
        let copy = self.disk.create(&next).map_err(io_error(&next))?;
        pour(&*source, &*copy).map_err(io_error(&next))?;
        copy.sync().map_err(io_error(&next))?;
        self.disk.rename(&next, &to).map_err(io_error(&to))
    }

    fn remove(&self, path: &Path) -> Result<(), IndexError> {
        match self.disk.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path)(error)),
            _ => Ok(()),
        }
    }

    /// Notes which files the live index does not name. Those of earlier runs of the hub count from
    /// when they are first seen.
    fn note_superseded(&mut self, named: &BTreeSet<String>) -> Result<(), IndexError> {
        let now = self.clock.now();
        let live = self.repo.join("repodata");
        let names = self.disk.list(&live).map_err(io_error(&live))?;
        let names = names.iter().filter_map(|path| path.file_name()?.to_str());
        let old = names.filter(|name| !named.contains(*name) && is_data_file(name));
        self.superseded =
            old.map(|name| (name.to_owned(), self.superseded.get(name).copied().unwrap_or(now))).collect();
        Ok(())
    }

    /// Deletes files that were superseded ten minutes ago.
    ///
    /// # Errors
    /// [`IndexError::Io`]; the next sweep tries again.
    pub fn sweep(&mut self) -> Result<(), IndexError> {
        let now = self.clock.now();
        let due = |(_, since): &(&String, &Time)| now.since_ms(**since) >= KEEP_OLD_MS;
        let due: Vec<String> = self.superseded.iter().filter(due).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.remove(&self.repo.join("repodata").join(&name))?;
            self.superseded.remove(&name);
        }
        Ok(())
    }
}

/// Whether a name is `DIGEST-anything`, as createrepo_c and yum's tools make them: nothing else in the
/// folder is ours to delete.
fn is_data_file(name: &str) -> bool {
    let name = name.strip_prefix('.').unwrap_or(name);
    let is_digest =
        |text: &str| matches!(text.len(), 32..=128) && text.bytes().all(|b| b.is_ascii_hexdigit());
    name.split_once('-').is_some_and(|(digest, _)| is_digest(digest))
}

/// Names of the data files in a `repomd.xml`; None if one lies elsewhere than in `repodata/`.
fn locations(repomd: &[u8]) -> Option<BTreeSet<String>> {
    let text = std::str::from_utf8(repomd).ok()?;
    let mut names = BTreeSet::new();
    for rest in text.split("<location ").skip(1) {
        let name = rest.split_once("href=\"repodata/")?.1.split_once('"')?.0;
        if !is_data_file(name) || name.contains('/') {
            return None;
        }
        names.insert(name.to_owned());
    }
    Some(names)
}

fn pour(from: &dyn File, to: &dyn File) -> io::Result<()> {
    let mut buf = vec![0; COPY_BYTES];
    let mut at = 0;
    loop {
        let n = from.read_at(&mut buf, at)?;
        if n == 0 {
            return Ok(());
        }
        to.write_at(&buf[..n], at)?;
        at += n as u64;
    }
}

#[cfg(test)]
mod tests;
