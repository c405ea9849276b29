//! The commit of a result.
//!
//! Owns the order of steps that makes a result durable before anybody hears of it. Each step can be
//! done again after a crash or a full disk: before the rename the stage is still a stage, after it
//! `result.json` in `repo/` names the lease.

use std::io;
use std::path::Path;

use moji_proto::message::{Backend, Verdict, Which};
use moji_proto::{Digest, FileName, LeaseId};

use super::{Trouble, Worker, Written, digest, synced, wrote};
use crate::core::transfers::{About, Manifest, Placed, Sealed};
use crate::core::types::{Outcome, Ruling, StagedFile};
use crate::disk::{SyncError, Unsynced};
use crate::repodata::PIECE_NAME;
use crate::result_json::{self, ResultFile, ResultJson};
use crate::rpmfile::Kind;

/// Files of a result that are opened to be synced together: more gain nothing, and descriptors are for builders.
const SYNC_FILES_MAX: usize = 64;

/// What a ruling says in `result.json`: verdict, reason, held.
fn words(ruling: &Ruling) -> (Verdict, &str, Option<&String>) {
    match ruling {
        Ruling::Publish { held } => (Verdict::Success, "", held.as_ref()),
        Ruling::Keep { verdict, reason } | Ruling::Return { verdict, reason } => (*verdict, reason, None),
        Ruling::Reject { reason, .. } => (Verdict::Failed, reason, None),
    }
}

impl Worker {
    /// Carries out a ruling. `Committed` and `Kept` are true after a power cut too; the stage of what was
    /// kept is still there.
    pub(super) fn commit(&self, lease: LeaseId, sealed: &Sealed) -> Result<Outcome, Trouble> {
        let (verdict, reason, held) = words(&sealed.ruling);
        let mut json = result_json(lease, &sealed.about, Some(&sealed.manifest), verdict.as_str(), reason);
        json.nvr = sealed.source.nvr();
        json.source.clone_from(&sealed.source.name);
        json.held = held.cloned();
        json.committed_unix_s = self.clock.unix_s();
        json.leased_unix_s = self.leased_unix_s(lease);
        let dropped = sealed.dropped.iter().map(|name| format!("{name}: neither RPM nor log, dropped"));
        json.evidence.extend(dropped);
        if matches!(sealed.ruling, Ruling::Return { .. }) {
            self.keep_attempt(lease, json, &sealed.placed)?;
            return Ok(Outcome::Kept { verdict });
        }
        let stage = self.stage(lease);
        let kept = self.gather(lease, sealed, &mut json)?;
        let mut files = vec![self.write_json(&stage, &json)?];
        for name in kept {
            if files.len() == SYNC_FILES_MAX {
                self.sync_in(&mut files, &[])?;
                files.clear();
            }
            let path = stage.join(name);
            let file = self.disk.open_write(&path).map_err(|e| wrote("open", &path, &e))?;
            files.push((path, file));
        }
        self.sync_in(&mut files, &[&stage])?;
        let folder = self.take_folder(lease, sealed, &json.nvr)?;
        // Only now is it there for good; the name in working/ goes with it.
        self.sync_in(&mut [], &[&self.folders.repo, &self.folders.working])?;
        self.forget(lease);
        Ok(Outcome::Committed { folder, verdict })
    }

    /// The commit point: the stage becomes the folder that the lease holds. If something appeared there, it is the
    /// next one, and what the repository will say must say so.
    fn take_folder(&self, lease: LeaseId, sealed: &Sealed, nvr: &str) -> Result<String, Trouble> {
        let stage = self.stage(lease);
        let rpms = || published(sealed).map(|placed| (placed.file.name.as_str(), &placed.file));
        loop {
            let folder = self.reserve(lease, nvr)?;
            if rpms().next().is_some() && !self.naming.is_described(lease) {
                let piece = self.make_piece(lease, &folder, rpms())?;
                let piece =
                    piece.map_err(|(_, why)| Trouble::Failed(format!("{why}, which it was before")))?;
                self.sync_in(&mut [piece], &[&stage])?;
            }
            match self.disk.rename_new(&stage, &self.folders.repo.join(&folder)) {
                Ok(()) => return Ok(folder),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(wrote("rename", &stage, &error)),
            }
        }
    }

    /// Makes files and folders durable.
    pub(super) fn sync_in(&self, files: &mut [Written], folders: &[&Path]) -> Result<(), Trouble> {
        let files = files.iter_mut().map(|(path, file)| Unsynced::File(path, &mut **file));
        let all = files.chain(folders.iter().map(|folder| Unsynced::Folder(folder)));
        self.disk.sync_all(all.collect()).map_err(|SyncError { path, error }| synced(&path, &error))
    }

    /// Gives every file that is kept its name, removes everything else, lists what is there. Says what is kept.
    fn gather(&self, lease: LeaseId, sealed: &Sealed, json: &mut ResultJson) -> Result<Vec<String>, Trouble> {
        let stage = self.stage(lease);
        let publish = matches!(sealed.ruling, Ruling::Publish { .. });
        let mut keep = Vec::new();
        for placed in &sealed.placed {
            if !publish && placed.file.rpm.is_some() {
                continue;
            }
            let to = stage.join(&placed.file.name);
            self.rename_once(&stage.join(&placed.from), &to)?;
            keep.push(placed.file.name.as_str().to_owned());
            json.files.push(listed(&placed.file));
        }
        if published(sealed).next().is_some() && self.naming.is_described(lease) {
            keep.push(PIECE_NAME.to_owned());
        }
        for which in Which::ALL {
            let name = which.file_name();
            if !keep.iter().any(|kept| kept == name)
                && let Some(file) = self.take_live_log(&stage, which)?
            {
                keep.push(name.to_owned());
                json.files.push(listed(&file));
            }
        }
        for name in self.names(&stage)?.into_iter().filter(|name| !keep.contains(name)) {
            let path = stage.join(&name);
            let stat = self.disk.stat(&path).map_err(|e| wrote("look at", &path, &e))?;
            if stat.is_some_and(|stat| stat.is_dir) {
                self.disk.remove_dir_all(&path).map_err(|e| wrote("remove", &path, &e))?;
            } else {
                self.remove(&path)?;
            }
        }
        Ok(keep)
    }

    /// Renames, unless an earlier try did already.
    fn rename_once(&self, from: &Path, to: &Path) -> Result<(), Trouble> {
        let there = |path: &Path| match self.disk.stat(path) {
            Ok(stat) => Ok(stat.is_some()),
            Err(error) => Err(wrote("look at", path, &error)),
        };
        if there(from)? {
            self.disk.rename(from, to).map_err(|e| wrote("rename", from, &e))
        } else if there(to)? {
            Ok(())
        } else {
            Err(Trouble::Failed(format!("{} is gone from the stage", from.display())))
        }
    }

    /// A log that was followed and that the result lacks becomes part of it.
    fn take_live_log(&self, stage: &Path, which: Which) -> Result<Option<StagedFile>, Trouble> {
        let live = stage.join(".live").join(which.file_name());
        let path = stage.join(which.file_name());
        let live_stat = self.disk.stat(&live).map_err(|e| wrote("look at", &live, &e))?;
        if live_stat.is_some_and(|stat| stat.len > 0) {
            self.disk.rename(&live, &path).map_err(|e| wrote("rename", &live, &e))?;
        } else if self.disk.stat(&path).map_err(|e| wrote("look at", &path, &e))?.is_none() {
            return Ok(None);
        }
        let file = self.disk.open_write(&path).map_err(|e| wrote("open", &path, &e))?;
        let size = file.len().map_err(|e| wrote("look at", &path, &e))?;
        let digest = digest(&*file).map_err(|e| wrote("read", &path, &e))?;
        let name = FileName::new(which.file_name()).expect("log names are safe");
        Ok(Some(StagedFile { name, size, digest, rpm: None, sha256: None }))
    }

    /// Writes `result.json` into a folder; it is still to be synced.
    pub(super) fn write_json(&self, folder: &Path, json: &ResultJson) -> Result<Written, Trouble> {
        let path = folder.join(result_json::FILE_NAME);
        let mut text = serde_json::to_vec_pretty(json).expect("text and numbers always encode");
        text.push(b'\n');
        self.remove(&path)?;
        let file = self.in_folder(&[folder], || self.disk.create(&path));
        let file = file.map_err(|e| wrote("create", &path, &e))?;
        file.write_at(&text, 0).map_err(|e| wrote("write", &path, &e))?;
        Ok((path, file))
    }
}

/// The RPMs that are kept.
fn published(sealed: &Sealed) -> impl Iterator<Item = &Placed> {
    let publish = matches!(sealed.ruling, Ruling::Publish { .. });
    sealed.placed.iter().filter(move |placed| publish && placed.file.rpm.is_some())
}

/// A file in `result.json`.
fn listed(file: &StagedFile) -> ResultFile {
    ResultFile {
        name: file.name.as_str().to_owned(),
        size: file.size,
        digest: file.digest.to_string(),
        sha256: file.sha256.as_ref().map(ToString::to_string),
        nevra: file.rpm.as_ref().map(|rpm| rpm.nevra.to_string()),
        package: file.rpm.as_ref().map(|rpm| rpm.nevra.name.clone()),
        is_source: file.rpm.as_ref().is_some_and(|rpm| rpm.kind == Kind::Source),
    }
}

/// What is known of an attempt, without its files. Unknown texts are empty.
pub(super) fn result_json(
    lease: LeaseId,
    about: &About,
    manifest: Option<&Manifest>,
    verdict: &str,
    reason: &str,
) -> ResultJson {
    let builder = about.builder.as_ref();
    let exit = match (manifest, about.phase) {
        (Some(manifest), _) => manifest.exit.to_string(),
        (None, Some(phase)) => format!("no result, last heard of in phase {phase:?}").to_lowercase(),
        (None, None) => "no result".to_owned(),
    };
    let backend = manifest.map(|manifest| manifest.backend).or(builder.map(|builder| builder.backend));
    let evidence = manifest.map_or(&[][..], |manifest| &manifest.evidence);
    ResultJson {
        lease: lease.to_string(),
        srpm: text(about.srpm.as_ref()),
        srpm_digest: text(about.digest.as_ref()),
        srpm_sha256: text(about.sha256.as_ref()),
        source: about.source.as_ref().map(|source| source.name.clone()).unwrap_or_default(),
        nvr: about.source.as_ref().map(|source| source.nvr()).unwrap_or_default(),
        verdict: verdict.to_owned(),
        reason: reason.to_owned(),
        held: None,
        builder: text(builder.map(|builder| &builder.name)),
        builder_key: text(builder.map(|builder| builder.id)),
        builder_fingerprint: text(builder.map(|builder| builder.id.fingerprint())),
        builder_version: text(builder.map(|builder| &builder.version)),
        builder_cpus: builder.map_or(0, |builder| builder.cpus),
        builder_memory_mib: builder.map_or(0, |builder| builder.memory_mib),
        hub_version: env!("CARGO_PKG_VERSION").to_owned(),
        arch: text(builder.map(|builder| &builder.arch)),
        backend: backend
            .map_or("", |backend| match backend {
                Backend::Mock => "mock",
                Backend::Rpmbuild => "rpmbuild",
            })
            .to_owned(),
        cfg: text(builder.map(|builder| &builder.cfg)),
        // A builder without such a file says the digest of nothing.
        cfg_digest: text(builder.map(|builder| builder.cfg_digest).filter(|said| *said != Digest::of(b""))),
        options: about.options.iter().map(ToString::to_string).collect(),
        again: about.again.iter().map(ToString::to_string).collect(),
        exit,
        seconds: manifest.map_or(0, |manifest| manifest.seconds),
        peak_memory_mib: manifest.map(|manifest| manifest.peak_memory_mib).filter(|mib| *mib > 0),
        silence_s: manifest.map(|manifest| manifest.silence_s).filter(|seconds| *seconds > 0),
        peak_disk_mib: manifest.map(|manifest| manifest.peak_disk_mib).filter(|mib| *mib > 0),
        leased_unix_s: None,
        committed_unix_s: 0,
        files: Vec::new(),
        evidence: evidence.iter().map(|(which, line)| format!("{}: {line}", which.file_name())).collect(),
    }
}

/// Empty if it is not known.
fn text(known: Option<impl ToString>) -> String {
    known.map(|known| known.to_string()).unwrap_or_default()
}
