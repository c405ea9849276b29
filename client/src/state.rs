//! The state folder: who this builder is, which hub it knows, what it holds.
//!
//! Owns the layout of the folder and its lock. Two clients never share one.
//!
//! | entry | is |
//! |---|---|
//! | `identity.key` | this builder's secret key (0600) |
//! | `known_hub` | public key of the hub, trusted on first use |
//! | `psk` | the stretched passphrase (0600), so that a slow board stretches it once |
//! | `pid`, `daemon` | the running client and the parent that restarts it, locked while it runs, empty once it ended |
//! | `status` | one line for `moji-client status` |
//! | `drain` | this client finishes what it has and ends |
//! | `released` | leases given back that the hub has not confirmed |
//! | `jobs/LEASE/` | one job, see [`crate::launch`] |

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use moji_proto::secret::{Psk, Secret, SecretKey};
use moji_proto::{Digest, LeaseId, PublicKey};

use crate::core::{Found, FoundStage, Released};
use crate::exit::{self, Failure};
use crate::files;
use crate::launch::JobFolder;
use crate::proc::Process;

/// How often and with what pause a taken lock is tried again: 300 ms, for a `status` that looks just then.
const LOCK_TRIES: u32 = 30;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The file that a running client locks.
pub const CLIENT: &str = "pid";
/// The file that the parent of `--daemon` locks.
pub const DAEMON: &str = "daemon";

/// A state folder.
#[derive(Clone, Debug)]
pub struct StateFolder(pub PathBuf);

/// The lock of a running client; the folder is free again when it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    /// A name that is left tells of a process that was killed.
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}

impl StateFolder {
    /// The folder that is used where none is named: `/var/lib/moji` as root, the XDG state folder
    /// otherwise.
    ///
    /// # Errors
    /// A [`Failure`] where neither `XDG_STATE_HOME` nor `HOME` is set.
    pub fn default_path() -> Result<PathBuf, Failure> {
        if nix::unistd::geteuid().is_root() {
            return Ok("/var/lib/moji".into());
        }
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .map(|folder| folder.join("moji"))
            .ok_or_else(|| {
                Failure::new(exit::STATE, "no state folder: HOME is not set: name one with --state")
            })
    }

    /// Makes the folder and what must be in it.
    ///
    /// # Errors
    /// A [`Failure`] that names the folder.
    pub fn create(path: &Path) -> Result<StateFolder, Failure> {
        let path = std::path::absolute(path).map_err(|error| unusable(path, &error))?;
        let make = |folder: &Path| fs::DirBuilder::new().recursive(true).mode(0o755).create(folder);
        make(&path).and_then(|()| make(&path.join("jobs"))).map_err(|error| unusable(&path, &error))?;
        Ok(StateFolder(path))
    }

    fn entry(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn unusable(&self, error: &io::Error) -> Failure {
        unusable(&self.0, error)
    }

    /// Takes the folder for this process: as [`CLIENT`], or as the [`DAEMON`] that restarts one.
    ///
    /// # Errors
    /// A [`Failure`] if it cannot be written or another client has it.
    pub fn lock(&self, name: &str) -> Result<Lock, Failure> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(self.entry(name))
            .map_err(|error| self.unusable(&error))?;
        match patiently(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!(
                    "another client uses {}: stop it ('moji-client stop'), or name another folder with --state",
                    self.0.display()
                );
                return Err(Failure::new(exit::STATE, text));
            }
            Err(TryLockError::Error(error)) => return Err(self.unusable(&error)),
        }
        let this =
            Process::current().ok_or_else(|| Failure::new(exit::STATE, "/proc is not mounted: mount it"))?;
        let text = format!("{} {} {}\n", this.pid, this.start, this.boot);
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(|error| self.unusable(&error))?;
        Ok(Lock { file })
    }

    /// The [`CLIENT`] or [`DAEMON`] that runs on this folder, if one does.
    #[must_use]
    pub fn running(&self, name: &str) -> Option<Process> {
        let mut file = File::open(self.entry(name)).ok()?;
        if file.try_lock_shared().is_ok() {
            return None;
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        let mut words = text.split_ascii_whitespace();
        let process = Process {
            pid: words.next()?.parse().ok()?,
            start: words.next()?.parse().ok()?,
            boot: words.next()?.to_owned(),
        };
        process.is_alive().then_some(process)
    }

    /// This builder's key, made at first use.
    ///
    /// # Errors
    /// A [`Failure`] if it cannot be read or written, or is damaged.
    pub fn identity(&self) -> Result<SecretKey, Failure> {
        let path = self.entry("identity.key");
        match fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse::<Digest>() {
                Ok(bytes) => Ok(SecretKey::from_bytes(bytes.0)),
                Err(_) => Err(Failure::new(
                    exit::STATE,
                    format!("{} is damaged: delete it, and this builder gets a new key", path.display()),
                )),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = SecretKey::generate();
                let text = format!("{}\n", Digest(*key.as_bytes()));
                files::replace(&path, text.as_bytes(), 0o600).map_err(|error| self.unusable(&error))?;
                Ok(key)
            }
            Err(error) => Err(unusable(&path, &error)),
        }
    }

    /// The hub that was trusted on first use.
    ///
    /// # Errors
    /// A [`Failure`] if the file is there and cannot be read or is damaged: a damaged file must not
    /// make us trust anybody anew.
    pub fn known_hub(&self) -> Result<Option<PublicKey>, Failure> {
        let path = self.entry("known_hub");
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Some).map_err(|_| {
                Failure::new(
                    exit::STATE,
                    format!("{} is damaged: delete it to trust the hub anew", path.display()),
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(&path, &error)),
        }
    }

    /// Keeps the hub's key.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn keep_known_hub(&self, key: &PublicKey) -> io::Result<()> {
        files::replace(&self.entry("known_hub"), format!("{key}\n").as_bytes(), 0o644)
    }

    /// Where the hub's key is kept, for a message.
    #[must_use]
    pub fn known_hub_path(&self) -> PathBuf {
        self.entry("known_hub")
    }

    /// What is shared with the hub; a passphrase is stretched once and the result kept.
    ///
    /// The kept file holds a fast digest of the passphrase beside what it became. Whoever can read
    /// the file has the secret itself already.
    #[must_use]
    pub fn psk(&self, secret: &Secret) -> Psk {
        let Secret::Passphrase(text) = secret else { return secret.psk() };
        let path = self.entry("psk");
        let tag = Digest::of(format!("moji passphrase {text}").as_bytes());
        if let Ok(kept) = fs::read_to_string(&path)
            && let Some((kept_tag, kept_psk)) = kept.trim().split_once(' ')
            && kept_tag.parse() == Ok(tag)
            && let Ok(bytes) = kept_psk.parse::<Digest>()
        {
            return Psk::from_bytes(bytes.0);
        }
        let psk = secret.psk();
        let kept = format!("{tag} {}\n", Digest(*psk.as_bytes()));
        if let Err(error) = files::replace(&path, kept.as_bytes(), 0o600) {
            log::warn!("failed to keep the stretched passphrase: {error}");
        }
        psk
    }

    /// Replaces the line that `moji-client status` prints.
    pub fn say_status(&self, line: &str) {
        let new = self.entry("status.new");
        // Only somebody's look; a failure shows in what matters soon enough.
        let _ = fs::write(&new, format!("{line}\n")).and_then(|()| fs::rename(&new, self.entry("status")));
    }

    /// The line that `moji-client status` prints.
    #[must_use]
    pub fn status(&self) -> Option<String> {
        fs::read_to_string(self.entry("status")).ok().map(|line| line.trim_end().to_owned())
    }

    /// Whether this builder drains.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.entry("drain").exists()
    }

    /// Remembers or forgets that this builder drains.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn keep_draining(&self, draining: bool) -> io::Result<()> {
        if draining {
            files::replace(&self.entry("drain"), b"", 0o644)
        } else {
            files::remove(&self.entry("drain"))
        }
    }

    /// The releases that the hub has not confirmed.
    ///
    /// # Errors
    /// A [`Failure`] if the file is there and cannot be read; a damaged one counts as none, and the
    /// hub's own clock ends those leases.
    pub fn released(&self) -> Result<Vec<Released>, Failure> {
        match fs::read(self.entry("released")) {
            Ok(bytes) => Ok(postcard::from_bytes(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.unusable(&error)),
        }
    }

    /// Replaces the list of releases.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn keep_released(&self, released: &[Released]) -> io::Result<()> {
        let path = self.entry("released");
        if released.is_empty() {
            return files::remove(&path);
        }
        let bytes = postcard::to_stdvec(released).map_err(io::Error::other)?;
        files::replace(&path, &bytes, 0o644)
    }

    /// A job's folder.
    #[must_use]
    pub fn job(&self, lease: LeaseId) -> JobFolder {
        JobFolder(self.0.join("jobs").join(lease.to_string()))
    }

    /// What earlier processes left in `jobs/`.
    ///
    /// # Errors
    /// A [`Failure`] if the folder cannot be read.
    pub fn found(&self) -> Result<Vec<Found>, Failure> {
        let entries = fs::read_dir(self.0.join("jobs")).map_err(|error| self.unusable(&error))?;
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let Some(lease) = entry.file_name().to_str().and_then(|name| name.parse::<LeaseId>().ok()) else {
                continue;
            };
            let folder = self.job(lease);
            let Ok(record) = folder.record() else {
                // The record is stored first: without one, nothing was ever begun.
                let _ = files::remove_folder(&folder.0);
                continue;
            };
            let stage = found_stage(&folder).map_err(|error| self.unusable(&error))?;
            found.push(Found { record, stage });
        }
        found.sort_by_key(|found| found.record.lease);
        Ok(found)
    }
}

fn found_stage(folder: &JobFolder) -> io::Result<FoundStage> {
    if folder.entry("over").exists() {
        return Ok(FoundStage::Leftover);
    }
    if !folder.entry("launch").exists() {
        return Ok(FoundStage::Fetching);
    }
    let shim = match folder.process("shim") {
        Some(shim) => shim,
        None => {
            // A shim may be about to claim the job; whoever is first has it.
            let nobody = Process { pid: 0, start: 0, boot: String::new() };
            folder.claim(&nobody)?;
            folder.process("shim").unwrap_or(nobody)
        }
    };
    if shim.is_alive() {
        return Ok(FoundStage::Building);
    }
    Ok(match folder.summary() {
        Ok(summary) => FoundStage::Finished(summary),
        Err(_) => FoundStage::Lost,
    })
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    let text =
        format!("cannot use {}: {error}: repair it, or name another folder with --state", path.display());
    Failure::new(exit::STATE, text)
}

/// Takes the lock. Who asks whether a client runs holds it for an instant: that is waited out.
fn patiently(file: &File) -> Result<(), TryLockError> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            other => return other,
        }
    }
    file.try_lock()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::JobRecord;
    use moji_proto::FileName;

    fn state() -> (tempfile::TempDir, StateFolder) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::create(&folder.path().join("state")).unwrap();
        (folder, state)
    }

    #[test]
    fn a_second_client_on_the_same_folder_is_refused() {
        let (_folder, state) = state();
        let lock = state.lock(CLIENT).unwrap();
        assert_eq!(state.lock(CLIENT).unwrap_err().code, exit::STATE);
        assert_eq!(state.running(CLIENT), Process::current());
        drop(lock);
        assert_eq!(state.running(CLIENT), None);
        state.lock(CLIENT).unwrap();
    }

    #[test]
    fn the_identity_stays_and_a_damaged_one_is_not_replaced() {
        let (_folder, state) = state();
        let key = state.identity().unwrap().public();
        assert_eq!(state.identity().unwrap().public(), key);
        fs::write(state.entry("identity.key"), "x").unwrap();
        assert!(state.identity().unwrap_err().text.contains("is damaged"));
    }

    #[test]
    fn a_passphrase_is_stretched_once_and_again_when_it_changes() {
        let (_folder, state) = state();
        let one = Secret::parse("one passphrase that is long").unwrap();
        let psk = state.psk(&one);
        assert!(psk == one.psk() && state.psk(&one) == psk);
        let two = Secret::parse("another passphrase").unwrap();
        assert!(state.psk(&two) == two.psk());
    }

    #[test]
    fn found_jobs_are_told_by_what_lies_in_their_folders() {
        let (_folder, state) = state();
        let lease = |counter| LeaseId { incarnation: 17, counter };
        let make = |counter, entries: &[&str]| {
            let folder = state.job(lease(counter));
            fs::create_dir_all(&folder.0).unwrap();
            let srpm = FileName::new("a.src.rpm").unwrap();
            let record = JobRecord {
                lease: lease(counter),
                srpm,
                size: 0,
                digest: Digest::of(b""),
                options: vec![],
                limits: Default::default(),
                place: Default::default(),
            };
            folder.write("job", &record).unwrap();
            for entry in entries {
                fs::write(folder.entry(entry), "").unwrap();
            }
            folder
        };
        make(1, &[]);
        make(2, &["launch"]);
        make(3, &["launch"]).claim(&Process::current().unwrap()).unwrap();
        make(4, &["launch", "over"]);
        fs::create_dir(state.0.join("jobs/17-5")).unwrap();
        let stages: Vec<_> = state.found().unwrap().into_iter().map(|found| found.stage).collect();
        let want = [FoundStage::Fetching, FoundStage::Lost, FoundStage::Building, FoundStage::Leftover];
        assert_eq!(stages, want);
        assert!(!state.0.join("jobs/17-5").exists());
    }
}
