//! What follows when an operation is over: the job, the survey, the seal, the promise.
//!
//! Must never promise the builder or the other actors anything before the operation that makes it
//! true has come back.

use moji_proto::limits::{CHUNK_BYTES_MAX, OPTIONS_MAX};
use moji_proto::message::{ToBuilder, Verdict, Which};
use moji_proto::{Bytes, Digest, FileName};

use super::lease::{Busy, Lease, State, Work, serves_connection};
use super::machine::Cx;
use super::{Defect, Done, Effect, Manifest, Op, Placed, Sealed};
use crate::core::types::{Outcome, Peak, Report, Ruling, Srpm};
use crate::core::{desk, leases, queue, repo};
use crate::rpmfile::Nevra;

/// Pause before something that found no space is tried again, milliseconds: a person who deletes files
/// sees it go on at once, and a full disk is not hammered.
const RETRY_MS: u64 = 5_000;

/// Pause before a stage that could not be removed is tried again, milliseconds: nobody waits for it, and an
/// error of a disk that stays is told once a minute.
const DROP_AGAIN_MS: u64 = 60_000;

/// A result as it was announced, without its files.
pub(super) fn report(source: Nevra, manifest: &Manifest) -> Report {
    Report {
        source,
        exit: manifest.exit,
        phase: manifest.phase,
        backend: manifest.backend,
        seconds: manifest.seconds,
        oom_kills: manifest.oom_kills,
        silence_s: manifest.silence_s,
        peak: Peak { memory_mib: manifest.peak_memory_mib, disk_mib: manifest.peak_disk_mib },
        evidence: manifest.evidence.clone(),
        files: Vec::new(),
        defect: None,
    }
}

impl Lease {
    /// What became of the operation that was with a worker.
    pub(super) fn done(&mut self, cx: &mut Cx<'_>, done: Done) {
        let Some(Busy { credit, is_stale }) = self.busy.take() else { return };
        if let Done::Later { op, why } = done {
            self.later(cx, Work { op: *op, credit }, is_stale, &why);
            return;
        }
        if let Some((session, bytes)) = credit {
            cx.out.push(Effect::Consumed(session, bytes));
        }
        self.recovered(cx, &done);
        match done {
            Done::Opened { srpm, digest, sha256 } => {
                self.about.sha256 = Some(sha256);
                self.opened(cx, srpm, digest);
            }
            // Of a connection that broke: the next one has a survey of its own, behind all that is still to be
            // written.
            Done::Surveyed { .. } if is_stale => {}
            Done::Surveyed { logs, files } => self.surveyed(cx, logs, files),
            Done::Read { offset, bytes } => {
                if matches!(self.state, State::Building(_)) && !is_stale {
                    let len = u32::try_from(bytes.0.len()).expect("at most FETCH_BYTES_MAX");
                    self.fetching = self.fetching.saturating_sub(len);
                    let lease = self.id();
                    for (number, piece) in bytes.0.chunks(CHUNK_BYTES_MAX).enumerate() {
                        let offset = offset + (number * CHUNK_BYTES_MAX) as u64;
                        self.send(cx, ToBuilder::Data { lease, offset, bytes: Bytes(piece.to_vec()) });
                    }
                }
            }
            Done::Offered(is_served) => self.was_offered(cx, is_served),
            Done::Widened(is_wider) => self.was_widened(cx, is_wider),
            Done::Written { file, offset } => self.written(cx, file, offset),
            Done::Finished { file, whole } => self.finished(cx, file, whole),
            Done::Verified { placed, dropped, defect } => self.verified(cx, placed, dropped, defect),
            Done::Committed(outcome) => self.committed(cx, outcome),
            Done::Gone => self.dropped(),
            Done::Left(why) => self.left(cx, &why),
            Done::Failed(why) => self.failed(cx, why),
            Done::Damaged(why) => self.unfit(cx, why, true),
            Done::Broken(why) => self.broken(cx, &why),
            Done::Logged { which, bytes } => self.tell_grown(cx, which, bytes),
            Done::Later { .. } => {}
        }
    }

    /// The system is short of something: keeps the operation, gives no credit, tries again.
    fn later(&mut self, cx: &mut Cx<'_>, work: Work, is_stale: bool, why: &str) {
        if !cx.shared.short {
            cx.shared.short = true;
            let what = format!("{why}: uploads and commits wait, everything is kept, trying again");
            self.log(cx, log::Level::Error, &what);
            cx.out.push(Effect::Queue(queue::Msg::Short { why: Some(why.to_owned()) }));
        }
        let is_moot = is_stale && serves_connection(&work.op);
        if is_moot || matches!(self.state, State::Closing(_) | State::Spoiled) {
            // Its stage is about to be dropped, or nobody waits for it.
            if let Some((session, bytes)) = work.credit {
                cx.out.push(Effect::Consumed(session, bytes));
            }
            return;
        }
        self.todo.push_front(work);
        self.retry_at = Some(cx.now.plus_ms(RETRY_MS));
    }

    fn recovered(&self, cx: &mut Cx<'_>, done: &Done) {
        let wrote = matches!(done, Done::Written { .. } | Done::Logged { .. } | Done::Committed(_));
        if cx.shared.short && wrote {
            self.log(cx, log::Level::Info, "the disk takes writes again");
            cx.shared.end_shortage(cx.out);
        }
    }

    /// Whether it may be what waits.
    pub(super) fn may_wait(&self) -> bool {
        self.busy.is_some() || self.retry_at.is_some()
    }

    fn tell_grown(&self, cx: &mut Cx<'_>, which: Which, bytes: u64) {
        if bytes > 0 {
            cx.out.push(Effect::Desk(desk::Msg::Grown { lease: self.id(), which, bytes }));
        }
    }

    fn opened(&mut self, cx: &mut Cx<'_>, srpm: Srpm, digest: Digest) {
        let Srpm { size, facts } = srpm;
        self.size = size;
        self.about.source = Some(facts.nevra);
        self.about.digest = Some(digest);
        match self.state {
            State::Opening(None) => {
                if !self.offer(cx, facts.requires) {
                    self.go(State::Building(None));
                    self.job(cx, digest);
                }
            }
            State::Opening(Some(theirs)) if theirs != digest => self.welcome_back(cx, theirs),
            // Its survey follows. What repository its build has, nobody knows any more: this one, if any is thin.
            State::Opening(Some(_)) => {
                self.offer(cx, facts.requires);
            }
            _ => {}
        }
    }

    pub(super) fn job(&mut self, cx: &mut Cx<'_>, digest: Digest) {
        let srpm = self.about.srpm.clone().expect("an opened lease has an SRPM");
        let words: Vec<_> = self.about.options.iter().take(OPTIONS_MAX.into()).cloned().collect();
        let options = u8::try_from(words.len()).expect("at most OPTIONS_MAX");
        let (lease, size, limits) = (self.id(), self.size, self.about.limits);
        let place = self.place();
        self.send(cx, ToBuilder::Job { lease, srpm, size, digest, limits, place, options });
        for word in words {
            self.send(cx, ToBuilder::JobOption { lease: self.id(), word });
        }
    }

    fn surveyed(&mut self, cx: &mut Cx<'_>, logs: [u64; 4], files: Vec<(u32, u64)>) {
        match self.state {
            State::Opening(Some(digest)) if self.about.digest.is_some() => {
                self.logs = logs;
                // A desk from after a restart knows none of it.
                Which::ALL.into_iter().zip(logs).for_each(|(which, bytes)| self.tell_grown(cx, which, bytes));
                self.go(State::Building(None));
                self.welcome_back(cx, digest);
            }
            State::Surveying(_) => {
                let State::Surveying(mut upload) = std::mem::replace(&mut self.state, State::Building(None))
                else {
                    unreachable!("it was just matched")
                };
                upload.inherit(files);
                self.state = State::Uploading(upload);
            }
            _ => {}
        }
    }

    /// Starts the check of the whole files; with a defect that is known already, of what there is.
    pub(super) fn verify(&mut self, manifest: Manifest, whole: &[bool], defect: Option<Defect>) {
        let numbered = (0..).zip(manifest.files.iter().cloned());
        let files = numbered.zip(whole).filter(|(_, whole)| **whole).map(|(file, _)| file).collect();
        let nvr = self.about.source.as_ref().expect("a result is taken of an SRPM that was read").nvr();
        self.push(Op::Verify { nvr, files }, None);
        self.state = State::Verifying(manifest, defect);
    }

    fn verified(
        &mut self,
        cx: &mut Cx<'_>,
        placed: Vec<Placed>,
        dropped: Vec<FileName>,
        found: Option<Defect>,
    ) {
        let (State::Verifying(manifest, preset), Some(source)) = (&mut self.state, &self.about.source) else {
            return;
        };
        let report = Report {
            files: placed.iter().map(|placed| placed.file.clone()).collect(),
            defect: preset.take().or(found),
            ..report(source.clone(), manifest)
        };
        let State::Verifying(manifest, _) = std::mem::replace(&mut self.state, State::Building(None)) else {
            unreachable!("it was just matched")
        };
        self.state = State::Sealed(Box::new((manifest, placed, dropped)));
        cx.out.push(Effect::Leases(leases::Msg::Sealing { lease: self.id(), report }));
    }

    /// The queue has ruled.
    pub(super) fn ruling(&mut self, cx: &mut Cx<'_>, ruling: Ruling) {
        let (State::Sealed(sealed), Some(source)) = (&mut self.state, &self.about.source) else {
            self.log(cx, log::Level::Warn, "a ruling for what is not sealed is ignored");
            return;
        };
        let none = Manifest { files: Vec::new(), evidence: Vec::new(), ..sealed.0 };
        let manifest = std::mem::replace(&mut sealed.0, none);
        let placed = std::mem::take(&mut sealed.1);
        let dropped = std::mem::take(&mut sealed.2);
        let rpms = placed.iter().filter(|placed| placed.file.rpm.is_some());
        let rpms = rpms.map(|placed| placed.file.name.clone()).collect();
        let op = Op::Commit(Box::new(Sealed {
            about: self.about.clone(),
            source: source.clone(),
            manifest,
            placed,
            dropped,
            ruling: ruling.clone(),
        }));
        self.push(op, None);
        self.go(State::Committing(ruling, rpms));
    }

    /// The ruling is durable: now it may be promised.
    fn committed(&mut self, cx: &mut Cx<'_>, outcome: Outcome) {
        let State::Committing(ruling, rpms) = &mut self.state else { return };
        let (ruling, rpms) = (ruling.clone(), std::mem::take(rpms));
        let lease = self.id();
        cx.out.push(Effect::Leases(leases::Msg::Settled { lease, outcome: outcome.clone() }));
        // What was ruled and why is the queue's to say.
        let what = match &outcome {
            Outcome::Committed { folder, .. } => format!("result is in repo/{folder}"),
            Outcome::Kept { .. } => format!("logs are in attempts/{lease}"),
        };
        self.log(cx, log::Level::Debug, &what);
        self.settled = Some(match &outcome {
            Outcome::Committed { .. } => ToBuilder::Done { lease },
            Outcome::Kept { .. } => ToBuilder::Gone { lease },
        });
        let kept = matches!(outcome, Outcome::Kept { .. });
        let answer = match ruling {
            Ruling::Publish { held } => {
                if let (None, Outcome::Committed { folder, .. }) = (held, outcome) {
                    let published = repo::Published { folder, rpms };
                    cx.out.push(Effect::Repo(repo::Msg::Published(published)));
                }
                ToBuilder::Accepted { lease, verdict: Verdict::Success }
            }
            Ruling::Keep { verdict, .. } => ToBuilder::Accepted { lease, verdict },
            Ruling::Return { verdict, .. } => ToBuilder::Returned { lease, verdict },
            Ruling::Reject { why, .. } => ToBuilder::Rejected { lease, why },
        };
        self.send(cx, answer);
        if kept {
            self.push(Op::Drop, None);
            self.go(State::Closing(None));
        } else {
            self.go(State::Over);
        }
    }

    /// The stage cannot be removed. It costs space only, so a builder that is back does not wait for it.
    fn left(&mut self, cx: &mut Cx<'_>, why: &str) {
        match self.state {
            State::Closing(None) => {
                let seconds = DROP_AGAIN_MS / 1_000;
                self.log(cx, log::Level::Warn, &format!("{why}; trying again every {seconds} s"));
                self.push(Op::Drop, None);
                self.retry_at = Some(cx.now.plus_ms(DROP_AGAIN_MS));
            }
            State::Closing(Some(_)) => self.dropped(),
            _ => self.log(cx, log::Level::Warn, &format!("{why}; the next start tries again")),
        }
    }

    /// The stage is gone.
    fn dropped(&mut self) {
        let State::Closing(again) = &mut self.state else { return };
        match again.take() {
            None => self.go(State::Over),
            Some(adoption) => {
                let (turn, timer) = (self.turn, self.timer);
                *self = Lease::adopted(self.id(), *adoption);
                (self.turn, self.timer) = (turn, timer);
            }
        }
    }

    /// The SRPM cannot be read, or a commit found its stage in disorder.
    fn failed(&mut self, cx: &mut Cx<'_>, why: String) {
        match self.state {
            State::Opening(_) | State::Building(_) => {
                if matches!(self.state, State::Building(_)) {
                    // It has the job and would wait for the rest of the SRPM for ever.
                    self.send(cx, ToBuilder::Cancel { lease: self.id() });
                }
                self.purge(cx);
                self.unfit(cx, why, false);
            }
            State::Committing(..) => self.broken(cx, &why),
            // A piece of the SRPM was asked for that nobody needs any more.
            _ => self.log(cx, log::Level::Warn, &why),
        }
    }
}
