//! One job: from the hub's offer to the folder's end.
//!
//! Owns the stages of a job and what moves it from one to the next. Never waits for the hub where a
//! build can go on without it.

use moji_proto::limits::{CHUNK_BYTES_MAX, FETCH_BYTES_MAX};
use moji_proto::message::{Exit, FromBuilder, Phase, ReleaseWhy, ToBuilder, Verdict, Which};
use moji_proto::{Bytes, Hasher, LeaseId, Line, Time};

use super::upload::Upload;
use super::{Builder, Effect, JobRecord, Level, Mode, Summary};
use crate::exit;

/// How often an SRPM that arrives damaged is fetched before its lease is given back.
const FETCH_TRIES_MAX: u8 = 3;
/// How much of an SRPM is asked for at a time, bytes. Two such pieces, all that the hub allows, are outstanding: while
/// one is taken in, the hub has the next one to send.
const FETCH_BYTES: u64 = 4 * CHUNK_BYTES_MAX as u64;
const _: () = assert!(2 * FETCH_BYTES <= FETCH_BYTES_MAX as u64);
/// Most of one log that is sent at a time, bytes: two chunks every half second are 128 KiB/s, more
/// than any build says for long, and leave the socket to others.
const LOG_BURST_BYTES: u64 = 2 * CHUNK_BYTES_MAX as u64;

/// A job that an earlier process left.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its record.
    pub record: JobRecord,
    /// How far it was.
    pub stage: FoundStage,
}

/// How far a found job was.
#[derive(Clone, Debug, PartialEq)]
pub enum FoundStage {
    /// The build was never started.
    Fetching,
    /// The shim is alive.
    Building,
    /// The exit status is there.
    Finished(Summary),
    /// The shim died without an exit status.
    Lost,
    /// It was over; only the cleaning is left.
    Leftover,
}

/// Options of a job that are still to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) left: u8,
}

/// How far a job is.
#[derive(Clone)]
pub(super) enum Stage {
    /// `Job` came, not all its options.
    Options(Options),
    /// The SRPM is on its way: `got` bytes are here, and pieces up to `asked` were asked for.
    Fetching { got: u64, asked: u64, hasher: Hasher, tries: u8 },
    /// The shim runs.
    Building { phase: Phase },
    /// The shim is done; the spool waits for the hub.
    Finished { summary: Box<Summary>, upload: Upload },
    /// It is over and being killed and cleaned.
    Ending,
}

impl Stage {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Stage::Options(_) | Stage::Fetching { .. } => "fetching",
            Stage::Building { phase } => match phase {
                Phase::Fetch | Phase::Init => "building: chroot",
                Phase::Setup => "building: setup",
                Phase::Build => "building: rpmbuild",
                Phase::Collect | Phase::Upload => "collecting",
            },
            Stage::Finished { .. } => "built, to upload",
            Stage::Ending => "ending",
        }
    }
}

/// A job.
pub(super) struct Job {
    pub(super) record: JobRecord,
    pub(super) stage: Stage,
    /// The hub of this session knows that we have it.
    pub(super) live: bool,
    /// How much of each log was sent, bytes, in the order of [`Which::ALL`].
    logs: [u64; 4],
    /// Free disk when the build began, and the least since, MiB; None if this process did not begin it.
    disk: Option<(u32, u32)>,
}

impl Job {
    pub(super) fn offered(record: JobRecord, options: Options) -> Job {
        Job { record, stage: Stage::Options(options), live: true, logs: [0; 4], disk: None }
    }

    /// What `Held` says; none for what is over.
    pub(super) fn phase(&self) -> Option<Phase> {
        match &self.stage {
            Stage::Options(_) | Stage::Ending => None,
            Stage::Fetching { .. } => Some(Phase::Fetch),
            Stage::Building { phase } => Some(*phase),
            Stage::Finished { .. } => Some(Phase::Upload),
        }
    }

    pub(super) fn lose_session(&mut self) {
        self.live = false;
        match &mut self.stage {
            Stage::Fetching { got, asked, .. } => *asked = *got,
            Stage::Finished { upload, .. } => *upload = Upload::default(),
            _ => {}
        }
    }

    /// Takes a look at the disk into account.
    pub(super) fn measured(&mut self, free_mib: u32) {
        if let (Stage::Building { .. }, Some((_, least))) = (&self.stage, &mut self.disk) {
            *least = free_mib.min(*least);
        }
    }

    fn fetching() -> Stage {
        Stage::Fetching { got: 0, asked: 0, hasher: Hasher::default(), tries: 0 }
    }
}

impl Builder {
    /// Takes up what an earlier process left.
    #[inline(never)]
    pub(super) fn take_up(&mut self, found: Found, out: &mut Vec<Effect>) {
        let lease = found.record.lease;
        let given_back = self.released.iter().any(|released| released.lease == lease);
        let lost = found.stage == FoundStage::Lost;
        let (stage, text) = match found.stage {
            FoundStage::Fetching => (Job::fetching(), "fetches it again"),
            FoundStage::Building => (Stage::Building { phase: Phase::Init }, "takes the build over"),
            FoundStage::Finished(summary) => {
                (Stage::Finished { summary: Box::new(summary), upload: Upload::default() }, "has it built")
            }
            FoundStage::Lost => (Stage::Building { phase: Phase::Init }, "the shim died"),
            FoundStage::Leftover => (Stage::Ending, "cleans up"),
        };
        out.push(Effect::Log(Level::Info, format!("pkg={} lease={lease} found: {text}", found.record.srpm)));
        let over = matches!(stage, Stage::Ending) || given_back;
        self.jobs.insert(lease, Job { record: found.record, stage, live: false, logs: [0; 4], disk: None });
        if over {
            self.end(lease, true, out);
        } else if lost {
            self.shim_died(lease, out);
        }
    }

    /// Messages about jobs; a lease that is not ours, or a wrong moment, ends the session.
    #[inline(never)]
    pub(super) fn job_message(&mut self, now: Time, message: ToBuilder, out: &mut Vec<Effect>) {
        let fine = match message {
            ToBuilder::Job { lease, srpm, size, digest, limits, place, options } => {
                let record = JobRecord { lease, srpm, size, digest, options: Vec::new(), limits, place };
                self.job_offered(now, record, options, out);
                true
            }
            ToBuilder::JobOption { lease, word } => self.job_option(lease, word, out),
            ToBuilder::Data { lease, offset, bytes } => self.srpm_piece(lease, offset, bytes, out),
            ToBuilder::Want { lease, file, offset } => self.wanted(lease, file, offset, out),
            ToBuilder::Ack { lease, file, offset } => self.acked(lease, file, offset, out),
            ToBuilder::Again { lease, place } => self.again(lease, place, out),
            ToBuilder::Cancel { lease } => self.over(lease, "cancelled", Some(exit::UNFINISHED), out),
            ToBuilder::Accepted { lease, verdict } => self.ruled(lease, verdict, "accepted", out),
            ToBuilder::Returned { lease, verdict } => self.ruled(lease, verdict, "returned", out),
            ToBuilder::Rejected { lease, why } => {
                self.over(lease, &format!("the result was rejected: {why:?}"), Some(exit::UNFINISHED), out)
            }
            _ => false,
        };
        if !fine {
            self.fault(now, "sent a message that fits nothing here", out);
        }
    }

    /// True for a lease that this process let go of, for which something may be under way still: a `Pong` overtakes
    /// what the hub reads from its disk.
    pub(super) fn is_past(&self, lease: LeaseId) -> bool {
        self.past.contains(&lease)
            || self.released.iter().any(|released| released.lease == lease)
            || self.jobs.get(lease).is_some_and(|job| matches!(job.stage, Stage::Ending))
    }

    fn job_option(&mut self, lease: LeaseId, word: Line, out: &mut Vec<Effect>) -> bool {
        match self.jobs.get_mut(lease) {
            Some(Job { record, stage: Stage::Options(options), .. }) if options.left > 0 => {
                record.options.push(word);
                options.left -= 1;
                self.job_complete(lease, out);
                true
            }
            _ => self.is_past(lease),
        }
    }

    /// Begins the job if nothing of it is missing.
    pub(super) fn job_complete(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(lease) else { return };
        if !matches!(job.stage, Stage::Options(Options { left: 0 })) {
            return;
        }
        if self.mode != Mode::Serving {
            self.release(lease, ReleaseWhy::Stopped, out);
            self.jobs.remove(lease);
        } else if self.trouble.is_some() {
            self.release(lease, ReleaseWhy::Disk, out);
            self.jobs.remove(lease);
        } else {
            job.stage = Job::fetching();
            out.push(Effect::StoreJob(job.record.clone()));
            self.fetch(lease, out);
        }
    }

    /// Asks for the next pieces of the SRPM, or goes on when there is none.
    fn fetch(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(lease) else { return };
        let Stage::Fetching { got, asked, .. } = &mut job.stage else { return };
        if !job.live {
            return;
        }
        if *got == job.record.size {
            self.fetched(lease, out);
            return;
        }
        while *asked < job.record.size && *asked - *got <= FETCH_BYTES {
            let (offset, length) = (*asked, (job.record.size - *asked).min(FETCH_BYTES));
            *asked += length;
            out.push(Effect::Send(FromBuilder::Fetch { lease, offset, length: length as u32 }));
        }
    }

    fn srpm_piece(&mut self, lease: LeaseId, offset: u64, bytes: Bytes, out: &mut Vec<Effect>) -> bool {
        let Some(job) = self.jobs.get_mut(lease) else { return self.is_past(lease) };
        let srpm = job.record.srpm.clone();
        let Stage::Fetching { got, asked, hasher, .. } = &mut job.stage else {
            return self.is_past(lease);
        };
        let end = offset.saturating_add(bytes.0.len() as u64);
        if offset != *got || bytes.0.is_empty() || end > *asked {
            return false;
        }
        hasher.update(&bytes.0);
        *got = end;
        out.push(Effect::WriteSrpm { lease, srpm, offset, bytes: bytes.0 });
        self.fetch(lease, out);
        true
    }

    /// The SRPM is whole: builds it if its digest is right.
    #[inline(never)]
    fn fetched(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(lease) else { return };
        let Stage::Fetching { hasher, tries, .. } = &job.stage else { return };
        let (right, tries) = (hasher.clone().finish() == job.record.digest, *tries + 1);
        if right {
            let record = job.record.clone();
            self.build(record, "builds", out);
        } else if tries < FETCH_TRIES_MAX {
            let text = format!("pkg={} lease={lease} the SRPM arrived damaged: again", job.record.srpm);
            out.push(Effect::Log(Level::Warn, text));
            job.stage = Stage::Fetching { got: 0, asked: 0, hasher: Hasher::default(), tries };
            self.fetch(lease, out);
        } else {
            self.release(lease, ReleaseWhy::BadSrpm, out);
            self.forget(lease, out);
        }
    }

    /// Starts the build of a job whose SRPM is here.
    fn build(&mut self, record: JobRecord, what: &str, out: &mut Vec<Effect>) {
        let (repos, free_mib) = (self.repos(&record.place), self.measured.disk_free_mib);
        let Some(job) = self.jobs.get_mut(record.lease) else { return };
        let lease = record.lease;
        job.stage = Stage::Building { phase: Phase::Init };
        job.disk = Some((free_mib, free_mib));
        let text = format!("pkg={} lease={lease} {what}", record.srpm);
        job.record = record.clone();
        out.push(Effect::Start { record, repos });
        out.push(Effect::Send(FromBuilder::Phase { lease, phase: Phase::Init }));
        out.push(Effect::Log(Level::Info, text));
    }

    /// The hub found that the build's repository was not enough: builds again with what it gives now.
    #[inline(never)]
    fn again(&mut self, lease: LeaseId, place: Line, out: &mut Vec<Effect>) -> bool {
        let Some(job) = self.jobs.get_mut(lease) else { return self.is_past(lease) };
        match &job.stage {
            // The hub says so before it asks for any file.
            Stage::Finished { upload, .. } if job.live && *upload == Upload::default() => {}
            _ => return self.is_past(lease),
        }
        job.logs = [0; 4];
        let record = JobRecord { place, ..job.record.clone() };
        if matches!(self.mode, Mode::Serving | Mode::Draining) {
            self.build(record, "builds again: the hub has a wider repository", out);
        } else {
            self.release(lease, ReleaseWhy::Stopped, out);
            self.forget(lease, out);
        }
        true
    }

    pub(super) fn job_failed(&mut self, lease: LeaseId, why: &str, out: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(lease) else { return };
        if matches!(job.stage, Stage::Ending) {
            // The effect after the one that failed failed too: it is given back already.
            return;
        }
        out.push(Effect::Log(Level::Error, format!("pkg={} lease={lease} failed to {why}", job.record.srpm)));
        self.release(lease, ReleaseWhy::Disk, out);
        self.end(lease, true, out);
    }

    /// The hub says that the lease is still ours.
    pub(super) fn adopted(&mut self, lease: LeaseId, logs: [u64; 4], out: &mut Vec<Effect>) {
        if self.released.iter().any(|released| released.lease == lease) {
            self.send_release(lease, out);
            return;
        }
        let Some(job) = self.jobs.get_mut(lease) else { return };
        job.live = true;
        job.logs = logs;
        match &job.stage {
            Stage::Options(_) | Stage::Ending => {}
            Stage::Fetching { .. } => self.fetch(lease, out),
            Stage::Building { phase } => {
                out.push(Effect::Send(FromBuilder::Phase { lease, phase: *phase }));
            }
            Stage::Finished { .. } => self.say_results(lease, out),
        }
    }

    pub(super) fn log_grown(&mut self, lease: LeaseId, which: Which, size: u64, out: &mut Vec<Effect>) {
        let registered = self.link.is_registered();
        let Some(job) = self.jobs.get_mut(lease) else { return };
        if !registered || !job.live || !matches!(job.stage, Stage::Building { .. }) {
            return;
        }
        let sent = &mut job.logs[which as usize];
        let end = size.min(*sent + LOG_BURST_BYTES);
        while *sent < end {
            let length = (end - *sent).min(CHUNK_BYTES_MAX as u64);
            out.push(Effect::SendLog { lease, which, offset: *sent, length: length as u32 });
            *sent += length;
        }
    }

    pub(super) fn phase_seen(&mut self, lease: LeaseId, seen: Phase, out: &mut Vec<Effect>) {
        let registered = self.link.is_registered();
        let Some(job) = self.jobs.get_mut(lease) else { return };
        if let Stage::Building { phase } = &mut job.stage
            && *phase != seen
        {
            *phase = seen;
            // What the last phase left may be gone before the next ping.
            out.push(Effect::Measure);
            if registered && job.live {
                out.push(Effect::Send(FromBuilder::Phase { lease, phase: seen }));
            }
        }
    }

    #[inline(never)]
    pub(super) fn ended(&mut self, lease: LeaseId, summary: Summary, out: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(lease) else { return };
        if !matches!(job.stage, Stage::Building { .. }) {
            return;
        }
        let text = format!(
            "pkg={} lease={lease} ended after {} s: {}, files left: {}",
            job.record.srpm,
            summary.seconds,
            summary.exit,
            summary.files.len()
        );
        out.push(Effect::Log(Level::Info, text));
        job.stage = Stage::Finished { summary: Box::new(summary), upload: Upload::default() };
        if job.live {
            self.say_results(lease, out);
        }
    }

    fn say_results(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        let Some(Job { stage: Stage::Finished { summary, .. }, disk, .. }) = self.jobs.get(lease) else {
            return;
        };
        out.push(Effect::Send(FromBuilder::Results {
            lease,
            exit: summary.exit,
            phase: summary.phase,
            backend: summary.backend,
            seconds: summary.seconds,
            oom_kills: summary.oom_kills,
            peak_memory_mib: summary.peak_memory_mib,
            silence_s: summary.silence_s,
            peak_disk_mib: disk.map_or(0, |(before, least)| before - least),
            files: summary.files.len() as u32,
            evidence: summary.evidence.len() as u16,
        }));
        for file in &summary.files {
            let (name, size, digest) = (file.name.clone(), file.size, file.digest);
            out.push(Effect::Send(FromBuilder::File { lease, name, size, digest }));
        }
        for (which, line) in &summary.evidence {
            let message = FromBuilder::Evidence { lease, which: *which, line: line.clone() };
            out.push(Effect::Send(message));
        }
    }

    fn wanted(&mut self, lease: LeaseId, file: u32, offset: u64, out: &mut Vec<Effect>) -> bool {
        match self.jobs.get_mut(lease) {
            Some(Job { stage: Stage::Finished { summary, upload }, live: true, .. }) => {
                if !upload.want(&summary.files, file, offset) {
                    return false;
                }
                self.pump(lease, out);
                true
            }
            _ => self.is_past(lease),
        }
    }

    fn acked(&mut self, lease: LeaseId, file: u32, offset: u64, out: &mut Vec<Effect>) -> bool {
        match self.jobs.get_mut(lease) {
            Some(Job { stage: Stage::Finished { upload, .. }, live: true, .. }) => {
                upload.ack(file, offset);
                self.pump(lease, out);
                true
            }
            _ => self.is_past(lease),
        }
    }

    /// Sends what the window has room for.
    fn pump(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        let Some(Job { stage: Stage::Finished { summary, upload }, .. }) = self.jobs.get_mut(lease) else {
            return;
        };
        while let Some(piece) = upload.next_piece(&summary.files) {
            let name = summary.files[piece.file as usize].name.clone();
            let (file, offset, length) = (piece.file, piece.offset, piece.length);
            out.push(Effect::SendPiece { lease, file, name, offset, length });
        }
    }

    fn ruled(&mut self, lease: LeaseId, verdict: Verdict, word: &str, out: &mut Vec<Effect>) -> bool {
        self.over(lease, &format!("{word}: {verdict}"), Some(exit::OK), out)
    }

    pub(super) fn shim_died(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        let building = |job: &Job| matches!(job.stage, Stage::Building { .. });
        if self.jobs.get(lease).is_some_and(building) {
            self.release(lease, ReleaseWhy::ShimDied, out);
            self.end(lease, true, out);
        }
    }

    pub(super) fn spool_broken(&mut self, lease: LeaseId, why: &str, out: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(lease) else { return };
        if matches!(job.stage, Stage::Finished { .. }) {
            let text = format!("pkg={} lease={lease} the spool is broken: {why}", job.record.srpm);
            out.push(Effect::Log(Level::Error, text));
            self.release(lease, ReleaseWhy::Disk, out);
            self.forget(lease, out);
        }
    }

    /// The hub is done with this lease. False if it is none of ours.
    pub(super) fn over(
        &mut self,
        lease: LeaseId,
        why: &str,
        code: Option<u8>,
        out: &mut Vec<Effect>,
    ) -> bool {
        let Some(job) = self.jobs.get(lease) else { return self.is_past(lease) || code.is_none() };
        if matches!(job.stage, Stage::Ending) {
            return true;
        }
        out.push(Effect::Log(Level::Info, format!("pkg={} lease={lease} {why}", job.record.srpm)));
        // What was built here counts as the one job, whatever became of it.
        let begun = matches!(job.stage, Stage::Building { .. } | Stage::Finished { .. });
        let code = code.or(begun.then_some(exit::UNFINISHED));
        if let (true, Some(code)) = (self.config.once, code) {
            self.once_over = true;
            self.once_code = code;
        }
        match job.stage {
            Stage::Options(_) => {
                self.jobs.remove(lease);
            }
            Stage::Building { .. } => self.end(lease, true, out),
            _ => self.forget(lease, out),
        }
        true
    }

    /// Kills what runs of the job.
    pub(super) fn end(&mut self, lease: LeaseId, clean: bool, out: &mut Vec<Effect>) {
        if let Some(job) = self.jobs.get_mut(lease) {
            job.stage = Stage::Ending;
            out.push(Effect::Kill { lease, clean });
        }
    }

    /// Deletes a job of which nothing runs, and first what mock had no time to clean up.
    pub(super) fn forget(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        if let Some(Job { stage: Stage::Finished { summary, .. }, .. }) = self.jobs.get(lease)
            && leaves_chroot(summary.exit)
        {
            return self.end(lease, true, out);
        }
        self.jobs.remove(lease);
        out.push(Effect::Forget { lease });
    }
}

/// Whether mock was ended, by whomever, and left its chroot on the disk: the shim at a limit, the kernel for want of
/// memory, a person. Its own codes for SIGINT, SIGHUP and SIGTERM tell that it came no further than to kill its children.
fn leaves_chroot(exit: Exit) -> bool {
    exit.is_limit() || matches!(exit, Exit::Signal(_) | Exit::Code(7 | 129 | 143))
}
