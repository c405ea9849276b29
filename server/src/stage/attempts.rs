//! Logs of attempts that were not results: `attempts/<lease>/`, compressed, the newest few a package.
//!
//! Owns that folder. What is here is for people who ask why; losing some of it never costs a package.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;
use moji_proto::message::Which;
use moji_proto::{Digest, Hasher, LeaseId};

use super::commit::result_json;
use super::{READ_BYTES, Trouble, Worker, live_dir, synced, wrote};
use crate::core::transfers::{About, Done, Placed};
use crate::disk::{Disk, File};
use crate::result_json::{self as json_file, ResultFile, ResultJson};

/// Attempts that are kept of a package.
const KEPT_MAX: usize = 5;
/// What the verdict of an attempt reads that ended without a result: the reason says how.
const ENDED: &str = "ended";

/// Writes a file in order and hashes what it writes.
struct Sink {
    file: Box<dyn File>,
    at: u64,
    hasher: Hasher,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.at)?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Worker {
    fn attempts(&self) -> PathBuf {
        self.folders.state.join("attempts")
    }

    /// Keeps the logs of a result that goes back to the queue, and those that were only followed.
    pub(super) fn keep_attempt(
        &self,
        lease: LeaseId,
        mut json: ResultJson,
        placed: &[Placed],
    ) -> Result<(), Trouble> {
        let stage = self.stage(lease);
        let live = live_dir(&self.folders, lease);
        let logs = placed.iter().filter(|placed| placed.file.rpm.is_none());
        let mut logs: Vec<(String, PathBuf)> =
            logs.map(|log| (log.file.name.to_string(), stage.join(&log.from))).collect();
        for which in Which::ALL {
            let (name, path) = (which.file_name(), live.join(which.file_name()));
            let stat = self.disk.stat(&path).map_err(|e| wrote("look at", &path, &e))?;
            if stat.is_some_and(|stat| stat.len > 0) && !logs.iter().any(|(there, _)| there == name) {
                logs.push((name.to_owned(), path));
            }
        }
        json.committed_unix_s = self.clock.unix_s();
        json.leased_unix_s = self.leased_unix_s(lease);
        let attempts = self.attempts();
        let folder = attempts.join(lease.to_string());
        let making = attempts.join(format!(".making-{lease}"));
        // The first look clears away what an earlier run left half made: nobody may be making one by then.
        drop(self.kept());
        let made = self.pack(&making, &logs, &mut json);
        if let Err(trouble) = made {
            // Space may be what is missing.
            self.clear(&making);
            return Err(trouble);
        }
        // An earlier one is of the same lease, before it was taken up again.
        self.disk.remove_dir_all(&folder).map_err(|e| wrote("remove", &folder, &e))?;
        self.disk.rename(&making, &folder).map_err(|e| wrote("rename", &making, &e))?;
        self.disk.sync_dir(&attempts).map_err(|e| synced(&attempts, &e))?;
        self.prune(lease, key(&json));
        Ok(())
    }

    fn pack(&self, making: &Path, logs: &[(String, PathBuf)], json: &mut ResultJson) -> Result<(), Trouble> {
        let attempts = self.attempts();
        self.clear(making);
        self.in_folder(&[&attempts], || self.disk.create_dir(making))
            .map_err(|e| wrote("make", making, &e))?;
        for (name, from) in logs {
            // mock's compress_logs plugin has packed some already.
            let pack = name.ends_with(".log");
            let name = if pack { format!("{name}.gz") } else { name.clone() };
            let (size, digest) = pack_log(&*self.disk, from, &making.join(&name), pack)?;
            let digest = digest.to_string();
            json.files.push(ResultFile { name, size, digest, ..ResultFile::default() });
        }
        let json = self.write_json(making, json)?;
        self.sync_in(&mut [json], &[making])
    }

    fn clear(&self, folder: &Path) {
        if let Err(error) = self.disk.remove_dir_all(folder) {
            log::warn!("failed to remove {}: {error}", folder.display());
        }
    }

    /// The lease ended without a result: keeps what was followed of its logs, if anything, and drops the
    /// stage. Logs that there is no room for are lost: the stage makes room.
    pub(super) fn discard(&self, lease: LeaseId, about: &About, why: &str) -> Done {
        let live = live_dir(&self.folders, lease);
        let heard = |which: Which| self.disk.stat(&live.join(which.file_name())).ok().flatten();
        if Which::ALL.into_iter().any(|which| heard(which).is_some_and(|stat| stat.len > 0)) {
            let json = result_json(lease, about, None, ENDED, why);
            if let Err(Trouble::Later(why) | Trouble::Broken(why) | Trouble::Failed(why)) =
                self.keep_attempt(lease, json, &[])
            {
                log::warn!("lease={lease} its logs are lost: {why}");
            }
        }
        self.drop_stage(lease)
    }

    /// Drops all but the newest attempts of the package that `lease` was of.
    fn prune(&self, lease: LeaseId, package: String) {
        let mut kept = self.kept();
        let attempts = kept.get_or_insert_default().entry(package).or_default();
        attempts.insert(lease);
        while attempts.len() > KEPT_MAX
            && let Some(oldest) = attempts.pop_first()
        {
            self.clear(&self.attempts().join(oldest.to_string()));
        }
    }

    /// The attempts that are kept, looked for once.
    fn kept(&self) -> MutexGuard<'_, Option<BTreeMap<String, BTreeSet<LeaseId>>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert_with(|| self.scan());
        kept
    }

    /// Which attempts there are, by package. Clears away what is half made.
    fn scan(&self) -> BTreeMap<String, BTreeSet<LeaseId>> {
        let mut kept: BTreeMap<String, BTreeSet<LeaseId>> = BTreeMap::new();
        for name in self.names(&self.attempts()).unwrap_or_default() {
            let path = self.attempts().join(&name);
            if name.starts_with(".making-") {
                self.clear(&path);
            } else if let Ok(lease) = name.parse()
                && let Some(json) = self.read_json(&path)
            {
                kept.entry(key(&json)).or_default().insert(lease);
            }
        }
        kept
    }

    fn read_json(&self, folder: &Path) -> Option<ResultJson> {
        let file = self.disk.open(&folder.join(json_file::FILE_NAME)).ok()?;
        let mut bytes = vec![0; usize::try_from(file.len().ok()?).ok()?];
        let n = file.read_at(&mut bytes, 0).ok()?;
        serde_json::from_slice(&bytes[..n]).ok()
    }
}

/// What counts as one package: the source package's name, or the file's where that is unknown.
fn key(json: &ResultJson) -> String {
    if json.source.is_empty() { json.srpm.clone() } else { json.source.clone() }
}

/// Copies a log, compressed if it is not yet; gives size and digest of what was written.
fn pack_log(disk: &dyn Disk, from: &Path, to: &Path, pack: bool) -> Result<(u64, Digest), Trouble> {
    let source = disk.open(from).map_err(|e| wrote("open", from, &e))?;
    let file = disk.create(to).map_err(|e| wrote("create", to, &e))?;
    let sink = Sink { file, at: 0, hasher: Hasher::default() };
    let sink = if pack {
        let mut encoder = GzEncoder::new(sink, Compression::fast());
        pour(&*source, &mut encoder).and_then(|()| encoder.finish())
    } else {
        let mut sink = sink;
        pour(&*source, &mut sink).map(|()| sink)
    };
    let sink = sink.map_err(|e| wrote("write", to, &e))?;
    sink.file.sync().map_err(|e| synced(to, &e))?;
    Ok((sink.at, sink.hasher.finish()))
}

fn pour(from: &dyn File, to: &mut impl Write) -> io::Result<()> {
    let mut buf = vec![0; READ_BYTES];
    let mut at = 0;
    loop {
        let n = from.read_at(&mut buf, at)?;
        if n == 0 {
            return Ok(());
        }
        to.write_all(&buf[..n])?;
        at += n as u64;
    }
}
