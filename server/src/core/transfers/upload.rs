//! The upload of a result: what is announced, which piece may come next, how far it may run ahead.
//!
//! Owns the window and the floor. A file is asked for only when the one before it is whole; the hub
//! hears nothing that it did not ask for.

use std::collections::BTreeMap;

use moji_proto::limits::{EVIDENCE_MAX, FILES_MAX, UPLOAD_WINDOW_BYTES};
use moji_proto::message::{FromBuilder, RejectedWhy, ToBuilder, Which};
use moji_proto::refusal::RejectCode;
use moji_proto::{Bytes, Digest, FileName, Line, Time};

use super::lease::{Lease, State};
use super::machine::Cx;
use super::{Defect, Entry, Limits, Manifest, Op};

/// Over how long the floor of an upload is measured, milliseconds.
const FLOOR_MS: u64 = 60_000;
/// What must arrive in that time, bytes: 1 KiB/s.
const FLOOR_BYTES: u64 = 60 * 1024;
/// How often a file may arrive damaged before the result is refused.
const DAMAGED_MAX: u8 = 3;

/// What was announced on an earlier connection, and which files are whole since.
#[derive(Debug)]
pub(super) struct Known {
    manifest: Manifest,
    whole: Vec<bool>,
}

/// A result that is being announced.
#[derive(Debug)]
pub(super) struct Gathering {
    manifest: Manifest,
    /// `File` still to come.
    files: u32,
    /// `Evidence` still to come.
    evidence: u16,
    known: Option<Known>,
}

/// A result whose files arrive.
#[derive(Debug)]
pub(super) struct Upload {
    manifest: Manifest,
    whole: Vec<bool>,
    /// Bytes of files that were in the stage when the upload began.
    staged: BTreeMap<u32, u64>,
    /// The file that is asked for.
    current: usize,
    incoming: Option<Incoming>,
    /// How often the current file arrived damaged.
    damaged: u8,
}

/// The file that is asked for.
#[derive(Debug)]
struct Incoming {
    /// Bytes that arrived.
    arrived: u64,
    /// Bytes that are written.
    written: u64,
    /// Bytes that the builder heard of.
    acked: u64,
    /// It began with bytes that the stage had already, whose damage is not this connection's fault.
    inherited: bool,
    /// Since when the builder may send, and bytes that came since then.
    meter: Option<(Time, u64)>,
}

impl Incoming {
    /// Runs the meter while the builder may send, and only then.
    fn measure(&mut self, now: Time, size: u64) {
        let may_send = self.arrived < size.min(self.acked + UPLOAD_WINDOW_BYTES);
        self.meter = if may_send { self.meter.or(Some((now, 0))) } else { None };
    }
}

impl Upload {
    /// What outlives the connection.
    pub(super) fn into_known(self) -> Known {
        Known { manifest: self.manifest, whole: self.whole }
    }

    /// Takes what the stage has.
    pub(super) fn inherit(&mut self, files: Vec<(u32, u64)>) {
        self.staged = files.into_iter().collect();
    }

    /// When the floor is looked at.
    pub(super) fn floor_at(&self) -> Option<Time> {
        let (since, _) = self.incoming.as_ref()?.meter?;
        Some(since.plus_ms(FLOOR_MS))
    }

    /// The hub itself was the slow one.
    pub(super) fn measure_afresh(&mut self, now: Time) {
        if let Some(meter) = self.incoming.as_mut().and_then(|incoming| incoming.meter.as_mut()) {
            *meter = (now, 0);
        }
    }

    /// Whether less than the floor came in the last minute; begins the next one.
    pub(super) fn is_too_slow(&mut self, now: Time) -> bool {
        let Some(meter) = self.incoming.as_mut().and_then(|incoming| incoming.meter.as_mut()) else {
            return false;
        };
        let (since, bytes) = *meter;
        if now.since_ms(since) < FLOOR_MS {
            return false;
        }
        *meter = (now, 0);
        bytes < FLOOR_BYTES
    }
}

/// What is too large about a result, if anything.
fn too_large(manifest: &Manifest, limits: &Limits) -> Option<Defect> {
    let defect = |text: String| Some((RejectedWhy::TooLarge, text));
    let count = manifest.files.len();
    if count > limits.files_max as usize {
        return defect(format!("{count} files, at most {} are taken", limits.files_max));
    }
    let max = limits.file_bytes_max;
    if let Some(file) = manifest.files.iter().find(|file| file.size > max) {
        return defect(format!("{} has {} bytes, at most {max} are taken", file.name, file.size));
    }
    let sum = manifest.files.iter().fold(0u64, |sum, file| sum.saturating_add(file.size));
    let max = limits.build_bytes_max;
    if sum > max {
        return defect(format!("{sum} bytes in all files, at most {max} are taken"));
    }
    None
}

impl Lease {
    /// The build ended; its files follow.
    pub(super) fn results(&mut self, cx: &mut Cx<'_>, msg: &FromBuilder) -> Result<(), RejectCode> {
        let &FromBuilder::Results {
            exit,
            phase,
            backend,
            seconds,
            oom_kills,
            peak_memory_mib,
            silence_s,
            peak_disk_mib,
            files,
            evidence,
            ..
        } = msg
        else {
            return Err(RejectCode::Order);
        };
        let State::Building(known) = &mut self.state else { return Err(RejectCode::Order) };
        if self.about.digest.is_none() {
            return Err(RejectCode::Order);
        }
        if files > FILES_MAX || evidence > EVIDENCE_MAX {
            return Err(RejectCode::Limit);
        }
        let known = known.take();
        let manifest = Manifest {
            exit,
            phase,
            backend,
            seconds,
            oom_kills,
            peak_memory_mib,
            silence_s,
            peak_disk_mib,
            files: Vec::new(),
            evidence: Vec::new(),
        };
        self.go(State::Gathering(Gathering { manifest, files, evidence, known }));
        self.gathered(cx);
        Ok(())
    }

    /// One file of the result is announced.
    pub(super) fn file(
        &mut self,
        cx: &mut Cx<'_>,
        name: FileName,
        size: u64,
        digest: Digest,
    ) -> Result<(), RejectCode> {
        match &mut self.state {
            State::Gathering(gathering) if gathering.files > 0 => {
                gathering.files -= 1;
                gathering.manifest.files.push(Entry { name, size, digest });
            }
            _ => return Err(RejectCode::Order),
        }
        self.gathered(cx);
        Ok(())
    }

    /// One telling line of a log.
    pub(super) fn evidence(&mut self, cx: &mut Cx<'_>, which: Which, line: Line) -> Result<(), RejectCode> {
        match &mut self.state {
            State::Gathering(gathering) if gathering.files == 0 && gathering.evidence > 0 => {
                gathering.evidence -= 1;
                gathering.manifest.evidence.push((which, line));
            }
            _ => return Err(RejectCode::Order),
        }
        self.gathered(cx);
        Ok(())
    }

    /// If all is announced: looks up what the stage has of it.
    fn gathered(&mut self, cx: &mut Cx<'_>) {
        let State::Gathering(gathering) = &mut self.state else { return };
        if gathering.files > 0 || gathering.evidence > 0 {
            return;
        }
        if cx.shared.broken {
            self.go(State::Spoiled);
            return;
        }
        let none = Manifest { files: Vec::new(), evidence: Vec::new(), ..gathering.manifest };
        let manifest = std::mem::replace(&mut gathering.manifest, none);
        let known = gathering.known.take().filter(|known| known.manifest == manifest);
        let Some(manifest) = self.lacks(cx, manifest) else { return };
        let count = manifest.files.len();
        if let Some(defect) = too_large(&manifest, &cx.shared.limits) {
            self.verify(manifest, &vec![false; count], Some(defect));
            return;
        }
        let bytes: u64 = manifest.files.iter().map(|file| file.size).sum();
        self.log(cx, log::Level::Debug, &format!("result announced: {count} files, {bytes} bytes"));
        let whole = known.map_or_else(|| vec![false; count], |known| known.whole);
        let staged = BTreeMap::new();
        self.push(Op::Survey, None);
        self.go(State::Surveying(Upload { manifest, whole, staged, current: 0, incoming: None, damaged: 0 }));
    }

    /// Asks for the first file that is not whole, or for the check of all when all are.
    pub(super) fn ask(&mut self, cx: &mut Cx<'_>) {
        if cx.shared.broken {
            return;
        }
        let State::Uploading(upload) = &mut self.state else { return };
        while upload.whole.get(upload.current) == Some(&true) {
            upload.current += 1;
        }
        let Some(entry) = upload.manifest.files.get(upload.current) else {
            let none = Manifest { files: Vec::new(), evidence: Vec::new(), ..upload.manifest };
            let manifest = std::mem::replace(&mut upload.manifest, none);
            let whole = std::mem::take(&mut upload.whole);
            self.verify(manifest, &whole, None);
            return;
        };
        let file = u32::try_from(upload.current).expect("at most FILES_MAX files");
        let (size, digest) = (entry.size, entry.digest);
        upload.damaged = 0;
        let have = upload.staged.remove(&file).filter(|have| *have <= size).unwrap_or(0);
        let mut incoming =
            Incoming { arrived: have, written: have, acked: have, inherited: have > 0, meter: None };
        incoming.measure(cx.now, size);
        upload.incoming = Some(incoming);
        if have == size {
            self.push(Op::Finish { file, size, digest }, None);
        } else {
            self.send(cx, ToBuilder::Want { lease: self.id(), file, offset: have });
        }
    }

    /// A piece of the file that is asked for.
    pub(super) fn data(
        &mut self,
        cx: &mut Cx<'_>,
        file: u32,
        offset: u64,
        bytes: Bytes,
    ) -> Result<(), RejectCode> {
        let session = self.session();
        let State::Uploading(upload) = &mut self.state else { return Err(RejectCode::Order) };
        let Some(incoming) = &mut upload.incoming else { return Err(RejectCode::Order) };
        if file as usize != upload.current || offset != incoming.arrived || bytes.0.is_empty() {
            return Err(RejectCode::Order);
        }
        let Entry { size, digest, .. } = upload.manifest.files[upload.current];
        let len = bytes.0.len() as u64;
        let end = offset + len;
        if end > size || end > incoming.acked + UPLOAD_WINDOW_BYTES {
            return Err(RejectCode::Limit);
        }
        incoming.arrived = end;
        if let Some((_, bytes)) = &mut incoming.meter {
            *bytes += len;
        }
        incoming.measure(cx.now, size);
        let credit = session.map(|session| (session, u32::try_from(len).expect("a piece")));
        self.push(Op::Write { file, offset, bytes }, credit);
        if end == size {
            self.push(Op::Finish { file, size, digest }, None);
        }
        Ok(())
    }

    /// The file that is asked for is written up to `offset`.
    pub(super) fn written(&mut self, cx: &mut Cx<'_>, file: u32, offset: u64) {
        let State::Uploading(upload) = &mut self.state else { return };
        let size = upload.manifest.files.get(upload.current).map_or(0, |entry| entry.size);
        let Some(incoming) = &mut upload.incoming else { return };
        if file as usize != upload.current || offset <= incoming.written {
            return;
        }
        incoming.written = offset;
        if offset < size && offset - incoming.acked >= UPLOAD_WINDOW_BYTES / 2 {
            incoming.acked = offset;
            incoming.measure(cx.now, size);
            self.send(cx, ToBuilder::Ack { lease: self.id(), file, offset });
        }
    }

    /// The file that is asked for is all there.
    pub(super) fn finished(&mut self, cx: &mut Cx<'_>, file: u32, whole: bool) {
        let State::Uploading(upload) = &mut self.state else { return };
        let Some(incoming) = &upload.incoming else { return };
        if file as usize != upload.current {
            return;
        }
        let entry = &upload.manifest.files[upload.current];
        let (size, name) = (entry.size, entry.name.clone());
        if whole {
            let was_sent = incoming.acked < size;
            upload.whole[upload.current] = true;
            upload.incoming = None;
            if was_sent {
                self.send(cx, ToBuilder::Ack { lease: self.id(), file, offset: size });
            }
            self.ask(cx);
            return;
        }
        upload.damaged += u8::from(!incoming.inherited);
        // A file without bytes cannot get better by being sent again.
        if upload.damaged >= DAMAGED_MAX || size == 0 {
            let none = Manifest { files: Vec::new(), evidence: Vec::new(), ..upload.manifest };
            let manifest = std::mem::replace(&mut upload.manifest, none);
            let whole = std::mem::take(&mut upload.whole);
            let defect = (RejectedWhy::Damaged, format!("{name} arrived damaged {DAMAGED_MAX} times"));
            self.verify(manifest, &whole, Some(defect));
            return;
        }
        let mut incoming = Incoming { arrived: 0, written: 0, acked: 0, inherited: false, meter: None };
        incoming.measure(cx.now, size);
        upload.incoming = Some(incoming);
        self.log(cx, log::Level::Info, &format!("{name} arrived damaged, asking for it again"));
        self.send(cx, ToBuilder::Want { lease: self.id(), file, offset: 0 });
    }
}
