//! Staging what operators send: `source/.submit-<digest>` until it is whole and sound.
//!
//! Owns those files. What a broken connection left is gone on from within a day, then removed. Nothing gets a
//! name that anybody else sees before length, digest and headers were checked, and nothing is replaced.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use moji_proto::message::{NoCode, Order};
use moji_proto::{Digest, Hasher, Line};

use super::{Outcome, Worker, failed, lock, no};
use crate::core::desk::{Done, Parcel, Run};
use crate::core::queue::space_floor;
use crate::core::view::Reply;
use crate::disk::File;
use crate::rpmfile::{self, Kind, RpmError};
use crate::stage::{AsRpm, digest};

/// What the names of staged files begin with.
const PREFIX: &str = ".submit-";
/// How long a part of a file waits for the rest, seconds: a night and a morning.
const KEPT_S: u64 = 86_400;
/// Bytes read at once of what is there already.
const READ_BYTES: usize = 256 * 1024;

/// A file that is being sent.
pub(super) struct Open {
    file: Box<dyn File>,
    path: PathBuf,
    hasher: Hasher,
    at: u64,
}

impl Worker {
    fn staged(&self, digest: Digest) -> PathBuf {
        self.folders.source.join(format!("{PREFIX}{digest}"))
    }

    /// Makes ready for a file, or says why it is not taken.
    pub(super) fn open(&self, run: Run, parcel: &Parcel) -> Outcome {
        if let Some(reply) = self.is_there(parcel)? {
            return Ok(Done::Replies(vec![reply]));
        }
        let path = self.staged(parcel.digest);
        let have = self.disk.stat(&path).map_err(failed("look at", &path))?.map_or(0, |stat| stat.len);
        if parcel.size == 0 {
            return Ok(Done::Replies(vec![no(NoCode::BadInput, &parcel.name, "is empty")]));
        }
        let source = &self.folders.source;
        let (free, total) = self.disk.space(source).map_err(failed("look at", source))?;
        let floor = self.min_free.unwrap_or_else(|| space_floor(total));
        if free.saturating_sub(parcel.size.saturating_sub(have)) < floor {
            let text =
                format!("the hub has {} MiB free and keeps {} MiB: make room there", free >> 20, floor >> 20);
            return Ok(Done::Replies(vec![no(NoCode::Later, &parcel.name, text)]));
        }
        let file = self.disk.open_write(&path).map_err(failed("create", &path))?;
        if have > parcel.size {
            file.truncate(0).map_err(failed("cut", &path))?;
        }
        let mut open = Open { file, path, hasher: Hasher::default(), at: 0 };
        let mut buf = vec![0; READ_BYTES];
        loop {
            let n = open.file.read_at(&mut buf, open.at).map_err(failed("read", &open.path))?;
            if n == 0 {
                break;
            }
            open.hasher.update(&buf[..n]);
            open.at += n as u64;
        }
        let at = open.at;
        lock(&self.parcels).insert(run, open);
        Ok(Done::Opened(at))
    }

    /// What is to be said if a file of that name is there.
    fn is_there(&self, parcel: &Parcel) -> Result<Option<Reply>, String> {
        let places = [
            (&self.folders.source, "is there already", "move it away first"),
            (&self.folders.working, "is being built already", "cancel that first"),
        ];
        for (folder, same, advice) in places {
            let path = folder.join(&parcel.name);
            match self.disk.open(&path) {
                Ok(file) if self.is_same(&*file, &path, parcel)? => {
                    let (target, text) = (parcel.name.to_string(), same.to_owned());
                    return Ok(Some(Reply::Changed { target, text }));
                }
                Ok(_) => {
                    let text = format!("the hub has another file of that name: {advice}");
                    return Ok(Some(no(NoCode::Refused, &parcel.name, text)));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed("open", &path)(error)),
            }
        }
        Ok(None)
    }

    fn is_same(&self, file: &dyn File, path: &Path, parcel: &Parcel) -> Result<bool, String> {
        let len = file.len().map_err(failed("look at", path))?;
        Ok(len == parcel.size && digest(file).map_err(failed("read", path))? == parcel.digest)
    }

    /// Writes a piece.
    pub(super) fn write(&self, run: Run, offset: u64, bytes: &[u8]) -> Outcome {
        let open = lock(&self.parcels).remove(&run);
        let mut open = open.ok_or("the hub has forgotten what is being sent: send it again")?;
        if offset != open.at {
            return Err("a piece is missing: send it again".to_owned());
        }
        open.file.write_at(bytes, offset).map_err(failed("write", &open.path))?;
        open.hasher.update(bytes);
        open.at += bytes.len() as u64;
        let at = open.at;
        lock(&self.parcels).insert(run, open);
        Ok(Done::Written(at))
    }

    /// Checks a file that is whole, and puts it into `source/`.
    pub(super) fn deliver(
        &self,
        run: Run,
        parcel: &Parcel,
        first: bool,
        options: &[Line],
    ) -> Result<Reply, String> {
        let open = lock(&self.parcels).remove(&run);
        let Open { file, path, hasher, at } =
            open.ok_or("the hub has forgotten what was sent: send it again")?;
        if at != parcel.size || hasher.finish() != parcel.digest {
            self.drop_staged(&path);
            let text = "did not arrive as it was announced: send it again";
            return Ok(no(NoCode::BadInput, &parcel.name, text));
        }
        if let Err(why) = check(&*file, parcel) {
            self.drop_staged(&path);
            return Ok(no(NoCode::BadInput, &parcel.name, why));
        }
        file.sync().map_err(failed("sync", &path))?;
        if !options.is_empty()
            && let no @ Reply::No { .. } = self.set_options(parcel.name.as_str(), options)
        {
            return Ok(no);
        }
        if first {
            let replies = self.prioritise(Order::First, std::slice::from_ref(&parcel.name));
            if let Some(no @ Reply::No { .. }) = replies.into_iter().next() {
                return Ok(no);
            }
        }
        let source = &self.folders.source;
        match self.disk.rename_new(&path, &source.join(&parcel.name)) {
            Ok(()) => {
                self.disk.sync_dir(source).map_err(failed("sync", source))?;
                let text = if first { "waits, and goes first" } else { "waits" };
                Ok(Reply::Changed { target: parcel.name.to_string(), text: text.to_owned() })
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.drop_staged(&path);
                let other = || no(NoCode::Refused, &parcel.name, "another file of that name came meanwhile");
                Ok(self.is_there(parcel)?.unwrap_or_else(other))
            }
            Err(error) => Err(failed("rename", &path)(error)),
        }
    }

    fn drop_staged(&self, path: &Path) {
        match self.disk.remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                log::warn!("failed to remove {}: {error}", path.display());
            }
            _ => {}
        }
    }

    /// Removes what nobody sent the rest of.
    pub(super) fn sweep(&self) {
        let source = &self.folders.source;
        let names = match self.disk.list(source) {
            Ok(names) => names,
            Err(error) => return log::warn!("failed to list {}: {error}", source.display()),
        };
        let now_s = self.clock.unix_s();
        for name in names.iter().filter(|name| name.to_string_lossy().starts_with(PREFIX)) {
            let path = source.join(name);
            let Ok(Some(stat)) = self.disk.stat(&path) else { continue };
            if now_s.saturating_sub(stat.modified_ns / 1_000_000_000) >= KEPT_S {
                self.drop_staged(&path);
            }
        }
    }
}

/// Whether it is a sound SRPM of that name.
fn check(file: &dyn File, parcel: &Parcel) -> Result<(), String> {
    let rpm = AsRpm(file);
    let sound = rpmfile::verify_digests(&rpm).and_then(|()| rpmfile::read_facts(&rpm));
    let facts = sound.map_err(|error: RpmError| format!("is no sound source RPM: {error}"))?;
    if facts.kind != Kind::Source {
        return Err("is a binary RPM: send its source RPM".to_owned());
    }
    let name = parcel.name.as_str();
    let stem = name.strip_suffix(".src.rpm").or_else(|| name.strip_suffix(".nosrc.rpm"));
    if stem != Some(&facts.nevra.nvr()) {
        return Err(format!("holds {0}: call it {0}", facts.nevra.file_name(facts.kind)));
    }
    Ok(())
}
