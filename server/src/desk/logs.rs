//! Reading logs: live ones in the stage, finished ones plain or compressed, and what `result.json` tells.
//!
//! Owns where a log is looked for. A reader that goes on where it was is kept open for its request, so that a
//! long compressed log is unpacked once.

use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use moji_proto::limits::CHUNK_BYTES_MAX;
use moji_proto::message::{ToOperator, Topic, Which};
use moji_proto::{Bytes, FileName, LeaseId, Line};

use super::{Outcome, Worker, failed, lock, read_all};
use crate::core::desk::{Done, LogOf, Run};
use crate::disk::File;
use crate::result_json::{self, ResultJson};
use crate::stage::live_dir;

/// What is read of a live log for its last line, bytes: longer lines are cut at their beginning.
const TAIL_BYTES: u64 = 2_048;
/// Largest `result.json` that is read, bytes: 16,384 files take 4 MiB.
const JSON_BYTES_MAX: u64 = 32 << 20;
/// Folders `NVR@N` that are looked at for a lease.
const REBUILDS_MAX: u32 = 10_000;

/// A log that is read on.
pub(super) struct Open {
    of: LogOf,
    at: u64,
    from: Source,
}

enum Source {
    Plain(Box<dyn File>),
    Packed(Box<MultiGzDecoder<Stream>>),
}

/// A file as a stream.
pub(super) struct Stream {
    pub(super) file: Box<dyn File>,
    pub(super) at: u64,
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Open {
    /// Fills `buf` from where it is; says how much.
    fn fill(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = match &mut self.from {
            Source::Plain(file) => file.read_at(buf, self.at)?,
            Source::Packed(stream) => {
                let mut n = 0;
                while n < buf.len() {
                    match stream.read(&mut buf[n..]) {
                        Ok(0) => break,
                        Ok(more) => n += more,
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                n
            }
        };
        self.at += n as u64;
        Ok(n)
    }
}

impl Worker {
    pub(super) fn read_log(&self, run: Run, of: LogOf, offset: u64, pieces: usize) -> Outcome {
        let kept = lock(&self.logs).remove(&run);
        let kept =
            kept.filter(|open| open.of == of && (open.at == offset || matches!(open.from, Source::Plain(_))));
        let open = match kept {
            Some(open) => Some(open),
            None => self.open_log(of)?,
        };
        let Some(mut open) = open else { return Ok(Done::LogRead { pieces: Vec::new(), end: true }) };
        let name = format!("{} of {}", open.of.which.file_name(), open.of.srpm);
        let wrong = |error: io::Error| format!("failed to read {name}: {error}");
        if matches!(open.from, Source::Plain(_)) {
            open.at = offset;
        }
        let mut buf = vec![0; CHUNK_BYTES_MAX];
        while open.at < offset {
            let step = usize::try_from(offset - open.at).unwrap_or(usize::MAX).min(buf.len());
            if open.fill(&mut buf[..step]).map_err(wrong)? == 0 {
                return Ok(Done::LogRead { pieces: Vec::new(), end: true });
            }
        }
        let mut read = Vec::new();
        let mut end = false;
        while read.len() < pieces && !end {
            let n = open.fill(&mut buf).map_err(wrong)?;
            end = n < buf.len();
            if n > 0 {
                read.push(Bytes(buf[..n].to_vec()));
            }
        }
        if open.of.live || !end {
            lock(&self.logs).insert(run, open);
        }
        Ok(Done::LogRead { pieces: read, end })
    }

    fn open_log(&self, of: LogOf) -> Result<Option<Open>, String> {
        let live = live_dir(&self.folders, of.lease);
        let mut folders = Vec::new();
        if !of.live {
            folders.extend(self.resolve(&of.place));
            folders.push(self.attempt_dir(of.lease));
            folders.extend(self.result_dir(&of.srpm, of.lease));
        }
        // The last word on a lease that just ended may not have been filed yet.
        folders.push(live);
        folders.push(self.attempt_dir(of.lease));
        for folder in folders {
            for packed in [false, true] {
                let name = of.which.file_name();
                let path = folder.join(if packed { format!("{name}.gz") } else { name.to_owned() });
                let file = match self.disk.open(&path) {
                    Ok(file) => file,
                    Err(error) if is_absent(&error) => continue,
                    Err(error) => return Err(failed("open", &path)(error)),
                };
                let from = if packed {
                    Source::Packed(Box::new(MultiGzDecoder::new(Stream { file, at: 0 })))
                } else {
                    Source::Plain(file)
                };
                return Ok(Some(Open { of, at: 0, from }));
            }
        }
        Ok(None)
    }

    /// The folder that the history or the queue calls so.
    pub(super) fn resolve(&self, place: &Line) -> Option<PathBuf> {
        let text = place.as_str();
        let (root, name) = match (text.strip_prefix("attempts/"), text.strip_prefix("repo/")) {
            (Some(name), _) => (self.folders.state.join("attempts"), name),
            (None, Some(name)) => (self.folders.repo.clone(), name),
            (None, None) => (self.folders.repo.clone(), text),
        };
        FileName::new(name).ok().map(|name| root.join(name))
    }

    fn attempt_dir(&self, lease: LeaseId) -> PathBuf {
        self.folders.state.join("attempts").join(lease.to_string())
    }

    /// The folder in `repo/` with this lease's result.
    fn result_dir(&self, srpm: &FileName, lease: LeaseId) -> Option<PathBuf> {
        let nvr = srpm.as_str();
        let nvr = nvr.strip_suffix(".src.rpm").or_else(|| nvr.strip_suffix(".nosrc.rpm"))?;
        for number in 1..=REBUILDS_MAX {
            let name = if number == 1 { nvr.to_owned() } else { format!("{nvr}@{number}") };
            let path = self.folders.repo.join(name);
            if !self.disk.exists(&path).unwrap_or(false) {
                return None;
            }
            if self.read_json(&path).is_ok_and(|json| json.lease == lease.to_string()) {
                return Some(path);
            }
        }
        None
    }

    pub(super) fn read_json(&self, folder: &Path) -> Result<ResultJson, String> {
        let path = folder.join(result_json::FILE_NAME);
        let file = self.disk.open(&path).map_err(failed("open", &path))?;
        let bytes = read_all(&*file, JSON_BYTES_MAX).map_err(failed("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|error| format!("failed to read {}: {error}", path.display()))
    }

    /// Lines and files of an attempt; none if nothing was kept.
    pub(super) fn details(&self, place: &Line) -> Vec<ToOperator> {
        let Some(folder) = self.resolve(place) else { return Vec::new() };
        let Ok(json) = self.read_json(&folder) else { return Vec::new() };
        let text = |topic, line: &str| ToOperator::Text { topic, line: Line::lossy(line) };
        let provenance = provenance(&json).map(|line| text(Topic::Provenance, &line));
        let mut rows: Vec<ToOperator> = provenance.into_iter().collect();
        rows.extend(json.evidence.iter().map(|line| text(Topic::Evidence, line)));
        // Paths are told relative to REPO, which has no attempts.
        if folder.starts_with(&self.folders.repo)
            && let Some(name) = folder.file_name().and_then(|name| name.to_str())
        {
            let files = json.files.iter().map(|file| format!("{name}/{}", file.name));
            rows.extend(files.map(|path| text(Topic::File, &path)));
        }
        rows
    }

    /// The last lines of live logs.
    pub(super) fn tails(&self, wanted: &[(LeaseId, Which)]) -> Vec<(LeaseId, Line)> {
        let line = |(lease, which): &(LeaseId, Which)| {
            let path = live_dir(&self.folders, *lease).join(which.file_name());
            let file = self.disk.open(&path).ok()?;
            let len = file.len().ok()?;
            let mut buf = vec![0; usize::try_from(len.min(TAIL_BYTES)).ok()?];
            let n = file.read_at(&mut buf, len.saturating_sub(TAIL_BYTES)).ok()?;
            let text = String::from_utf8_lossy(&buf[..n]);
            let last = text.split(['\n', '\r']).map(str::trim).rfind(|line| !line.is_empty())?;
            Some((*lease, Line::lossy(last)))
        };
        wanted.iter().filter_map(line).collect()
    }
}

/// Whether nothing is there.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Who built it with what, for a person; None of a result of an older hub.
fn provenance(json: &ResultJson) -> Option<String> {
    if json.builder_fingerprint.is_empty() {
        return None;
    }
    let mut line = format!("{} ({})", json.builder, json.builder_fingerprint);
    if json.cfg.is_empty() {
        line.push_str(&format!(", {}", json.backend));
    } else {
        line.push_str(&format!(", {} {}", json.backend, json.cfg));
    }
    if let Some(mib) = json.peak_memory_mib {
        line.push_str(&format!(", largest process {mib} MiB"));
    }
    if let Some(mib) = json.peak_disk_mib {
        line.push_str(&format!(", {mib} MiB of disk"));
    }
    Some(line)
}
