//! What follows from a verdict: attempts, holds, another builder, `finished/`.
//!
//! Owns which verdicts are charged and when attempts are used up. What a result means is ruled in
//! [`super::verdict`]; that a lease is over is for leases to say.

use moji_proto::message::{EventKind, Exit, NoCode, Verdict};
use moji_proto::{FileName, LeaseId, Time};

use super::arrivals::reasons;
use super::package::{Ending, Leased, Past, Ruled, State};
use super::standing::{Builder, Change};
use super::verdict::{Context, Judgement, judge};
use super::{Effect, Note, Queue, events, evidence, log, suspects};
use crate::core::types::{BuilderId, End, Report, Ruling};
use crate::core::view::Event;
use crate::core::{desk, transfers};
use crate::rpmfile::Kind;

/// The same unknown signature on so many builders is the package's own fault.
const UNKNOWN_BUILDERS: usize = 3;
/// A lease that ends within this of the hub's start is not charged as lost, milliseconds: the shortest
/// grace after a start.
const RESTART_MS: u64 = 120_000;
/// How the reason of a result that was not believed begins.
const REJECTED: &str = "rejected: ";

impl Queue {
    /// Rules about a sealed result. Said again about the same lease it rules again; what follows from it
    /// follows when the lease has ended.
    pub(super) fn on_judge(
        &mut self,
        name: &FileName,
        lease: LeaseId,
        id: BuilderId,
        report: &Report,
        out: &mut Vec<Effect>,
    ) {
        let judgement = self.judgement(name, id, report);
        let package = self.packages.get(name);
        let past = package.map(|p| p.past.clone()).unwrap_or_default();
        let (ruling, ruled) = self.escalate(name, id, &past, report, judgement, out);
        if let State::Leased(leased) = &mut self.package(name).state
            && leased.lease == lease
        {
            leased.ruled = Some(ruled);
        }
        // From here on leases do not cancel it.
        self.answer_no(name, NoCode::Refused, "its result has just arrived", out);
        out.push(Effect::Transfers(transfers::Msg::Ruling { lease, ruling }));
    }

    /// What a result means.
    pub(super) fn judgement(&self, name: &FileName, id: BuilderId, report: &Report) -> Judgement {
        let package = self.packages.get(name);
        let context = Context {
            target: self.target.as_deref(),
            builder_arch: self.standing.all.get(&id).map_or("", |b| b.info.arch.as_str()),
            srpm: package.and_then(|p| p.srpm.as_ref()).map(|srpm| &srpm.facts),
            owners: &self.owners,
        };
        judge(report, &context)
    }

    /// Turns what a result means into what is done: the last charged attempt, the third builder with the same unknown
    /// failure, and what took too long where nobody else may try it send the package to `finished/`; a failure may have to be confirmed.
    fn escalate(
        &mut self,
        name: &FileName,
        id: BuilderId,
        past: &Past,
        report: &Report,
        judgement: Judgement,
        out: &mut Vec<Effect>,
    ) -> (Ruling, Ruled) {
        let Judgement { mut ruling, wants, signature, arch } = judgement;
        let (verdict, reason) = match &ruling {
            Ruling::Publish { held } => (Verdict::Success, held.clone().unwrap_or_default()),
            Ruling::Keep { verdict, reason } | Ruling::Return { verdict, reason } => {
                (*verdict, reason.clone())
            }
            Ruling::Reject { reason, .. } => (Verdict::Failed, format!("{REJECTED}{reason}")),
        };
        let charged = matches!(verdict, Verdict::Memory | Verdict::Timeout);
        if charged && past.charged.len() + 1 >= self.config.attempts {
            let mut past = past.clone();
            past.charged.push((verdict, reason.clone()));
            ruling = Ruling::Keep { verdict: Verdict::Failed, reason: reasons(&past) };
        }
        if verdict == Verdict::Timeout
            && let Err(before) = self.may_be_tried_again(name, id, past, report.exit)
        {
            ruling = Ruling::Keep { verdict: Verdict::Failed, reason: format!("{reason}{before}") };
        }
        if let Some(signature) = &signature {
            let mut on: Vec<BuilderId> =
                past.unknown.iter().filter(|(seen, _)| seen == signature).map(|(_, on)| *on).collect();
            on.push(id);
            on.sort_unstable();
            on.dedup();
            if on.len() >= UNKNOWN_BUILDERS.max(self.config.confirm_failures) {
                let reason = format!("the same on {} builders: {reason}", on.len());
                ruling = Ruling::Keep { verdict: Verdict::Failed, reason };
            }
        }
        if let Ruling::Keep { verdict: Verdict::Failed, reason } = &ruling
            && verdict == Verdict::Failed
        {
            ruling = self.confirm(self.now, name, id, reason);
        }
        let mut binaries = Vec::new();
        if ruling == (Ruling::Publish { held: None }) {
            let rpms = report.files.iter().filter_map(|file| file.rpm.as_ref());
            binaries = rpms.filter(|f| f.kind == Kind::Binary).map(|f| f.nevra.name.clone()).collect();
            if let (None, Some(arch)) = (&self.target, arch) {
                log(out, log::Level::Info, format!("the repository is for {arch} from now on"));
                out.push(Effect::History(Note::Target { arch: arch.clone() }));
                self.target = Some(arch);
            }
        }
        // Whoever reads the log or the history must see why it is over, not only what happened last.
        let reason = match &ruling {
            Ruling::Keep { reason, .. } | Ruling::Return { reason, .. } => reason.clone(),
            _ => reason,
        };
        let (seconds, silent_s, source) = (report.seconds, report.silence_s, report.source.name.clone());
        let (peak, is_full) = (report.peak, evidence::full(report).is_some());
        let held = matches!(ruling, Ruling::Publish { held: Some(_) });
        let said = Ruled {
            verdict,
            reason,
            charged,
            seconds,
            silent_s,
            peak,
            is_full,
            held,
            wants,
            signature,
            source,
            binaries,
        };
        (ruling, said)
    }

    /// Whether somebody else may try once more what took this builder too long; if not since it was tried before, says
    /// what came of that.
    fn may_be_tried_again(
        &self,
        name: &FileName,
        id: BuilderId,
        past: &Past,
        exit: Exit,
    ) -> Result<(), String> {
        if let Some((_, why)) = past.charged.iter().find(|(verdict, _)| *verdict == Verdict::Timeout) {
            return Err(format!("; before that: {why}"));
        }
        let fits = |other: &BuilderId| match exit {
            // What hangs may hang for that board's own reasons.
            Exit::Silent(_) => *other != id,
            Exit::TooLong(_) => *other != id && !self.times.is_faster(id, *other),
            // The package's own time-out: an operator chose it.
            _ => self.times.is_faster(*other, id),
        };
        let package = self.packages.get(name);
        let may = package.is_some_and(|package| self.who_may(self.now, package).iter().any(fits));
        if may { Ok(()) } else { Err(String::new()) }
    }

    /// A lease is over.
    pub(super) fn on_ended(
        &mut self,
        now: Time,
        name: &FileName,
        lease: LeaseId,
        id: BuilderId,
        end: End,
        out: &mut Vec<Effect>,
    ) {
        let end = match end {
            End::Beside(fate) => return self.on_one_over(now, name, lease, id, fate, out),
            end => end,
        };
        if self.standing.bird.as_ref() == Some(name) {
            self.standing.bird = None;
        }
        let leased = match &self.package(name).state {
            State::Leased(leased) if leased.lease == lease => leased.clone(),
            // A later lease lives already or is asked for: this is old news.
            State::Leased(_) | State::Claimed { .. } => return,
            // Ended before it was told of, which leases do not do.
            _ => Leased { inherited: true, ..Leased::of(lease, id, now) },
        };
        // Before what follows from it, but with the state that follows.
        let at = out.len();
        let (verdict, text) = match end {
            End::Finished { verdict, folder } => {
                let reason = self.on_done(now, name, &leased, verdict, folder, out);
                (Some(verdict), reason)
            }
            End::Cancelled => {
                let who = self.asked.who(name);
                let by = who.map_or_else(|| "cancelled".to_owned(), |who| format!("cancelled by {who}"));
                self.note(name, &leased, Verdict::Released, &by, false, None, true, out);
                self.cancelled(name, out);
                (None, by)
            }
            End::Taken => {
                let text = "the SRPM was taken out of working/";
                self.note(name, &leased, Verdict::Released, text, false, None, true, out);
                self.after(name, out);
                self.is_over(name, text, out);
                (None, text.to_owned())
            }
            End::Returned(verdict) => {
                let reason = self.on_returned(now, name, &leased, verdict, out);
                (Some(verdict), reason)
            }
            End::Beside(_) => unreachable!("it was taken out above"),
        };
        let event = self.lease_event(EventKind::Ended, name, lease, id, text);
        out.insert(at, Effect::Desk(desk::Msg::Event(Event { verdict, ..event })));
        self.tidy(name);
    }

    /// The SRPM is in `finished/`. Says why.
    fn on_done(
        &mut self,
        now: Time,
        name: &FileName,
        leased: &Leased,
        verdict: Verdict,
        folder: Option<String>,
        out: &mut Vec<Effect>,
    ) -> String {
        let (shown, reason) = match &leased.ruled {
            Some(ruled) => (ruled.verdict, ruled.reason.clone()),
            None => (verdict, String::new()),
        };
        self.say_ruled(name, leased, verdict, &reason, out);
        self.note(name, leased, verdict, &reason, false, folder.clone(), true, out);
        self.judged(now, name, leased.builder, shown, out);
        let held = leased.ruled.as_ref().is_some_and(|ruled| ruled.held);
        if verdict == Verdict::Success
            && let (Some(ruled), Some(folder), false) = (&leased.ruled, &folder, held)
        {
            self.owners.add(folder, &ruled.source, ruled.binaries.clone());
        }
        if let (Verdict::Success, Some(ruled)) = (verdict, &leased.ruled) {
            self.times.built(&ruled.source, leased.builder, ruled.seconds, ruled.silent_s);
            if let Some(srpm) = self.packages.get(name).and_then(|package| package.srpm.as_ref()) {
                self.times.built_of_size(leased.builder, srpm.size, ruled.seconds);
            }
            self.peaks.built(&ruled.source, ruled.peak);
            self.chain.touch();
        }
        let package = self.package(name);
        package.past = Past::default();
        package.in_finished = true;
        package.ending = Some(Ending::of(verdict, &reason, held.then_some(reason.as_str())));
        if verdict == Verdict::Success && !held {
            package.published.extend(folder.clone());
        }
        package.place = folder.clone().or(package.place.take());
        self.after(name, out);
        self.is_over(name, "it is built", out);
        self.note_build(name, leased, folder.filter(|_| verdict == Verdict::Success && !held), out);
        reason
    }

    /// The SRPM is in `source/` again. Says why.
    fn on_returned(
        &mut self,
        now: Time,
        name: &FileName,
        leased: &Leased,
        verdict: Verdict,
        out: &mut Vec<Effect>,
    ) -> String {
        let (reason, ruled) = self.account(now, name, leased, verdict, out);
        if let Some(dropped) = self.package(name).dropped.clone() {
            self.replace(name, dropped, out);
        } else if self.package(name).srpm.is_none() {
            // Leased before this run saw it: the watch is about to say what it holds.
            if !self.cancel_now(name, out) {
                self.go(name, State::Gone);
            }
            return reason;
        }
        if self.cancel_now(name, out) {
            return reason;
        }
        if verdict == Verdict::Deps {
            let wants = ruled.map(|ruled| ruled.wants).unwrap_or_default();
            self.hold_for_deps(now, name, leased, wants);
        } else {
            self.enqueue(name, out);
        }
        reason
    }

    /// Notes a lease that ended without a result that counts, and charges what is to be. Says why it ended, and the ruling
    /// if there was one.
    pub(super) fn account(
        &mut self,
        now: Time,
        name: &FileName,
        leased: &Leased,
        verdict: Verdict,
        out: &mut Vec<Effect>,
    ) -> (String, Option<Ruled>) {
        // The ruling may be about a result that was never settled; then the end itself counts.
        let ruled = leased.ruled.clone().filter(|ruled| ruled.verdict == verdict);
        let charged = match verdict {
            Verdict::Lost => !self.is_excused(now, leased),
            Verdict::Memory | Verdict::Timeout => true,
            _ => false,
        };
        let builder = self.standing.name(leased.builder);
        let reason = match &ruled {
            Some(ruled) => ruled.reason.clone(),
            None => format!("on {builder}"),
        };
        // What ends without a ruling is said by leases.
        if ruled.is_some() {
            self.say_ruled(name, leased, verdict, &reason, out);
        }
        // A failure that came back is to be confirmed by another board.
        self.note(name, leased, verdict, &reason, charged, None, verdict != Verdict::Failed, out);
        self.judged(now, name, leased.builder, verdict, out);
        self.remember(now, name, leased, verdict, ruled.as_ref());
        let package = self.package(name);
        if charged {
            package.past.charged.push((verdict, reason.clone()));
            let (used, of) = (package.past.charged.len(), self.config.attempts);
            let text = format!("pkg={name} lease={} attempt {used} of {of} used up: {verdict}", leased.lease);
            log(out, log::Level::Info, text);
        }
        (reason, ruled)
    }

    /// Keeps what the next lease of this package depends on.
    fn remember(
        &mut self,
        now: Time,
        name: &FileName,
        leased: &Leased,
        verdict: Verdict,
        ruled: Option<&Ruled>,
    ) {
        let room = self.standing.all.get(&leased.builder).map(Builder::room);
        let until = now.plus_ms(self.config.retry_pause_ms);
        let turn = self.releases;
        let package = self.package(name);
        if verdict != Verdict::Released {
            package.past.last = Some(verdict);
        }
        match verdict {
            // A wish only: a lone builder gets it again at once, as often as there are attempts.
            Verdict::Lost => {
                package.past.lost_on.insert(leased.builder);
            }
            Verdict::Infra => {
                package.past.not_on.retain(|_, until| *until > now);
                package.past.not_on.insert(leased.builder, until);
                if let (Some(room), true) = (room, ruled.is_some_and(|ruled| ruled.is_full)) {
                    package.past.disk_mib = package.past.disk_mib.max(Some(room.disk_mib));
                }
                if let Some(signature) = ruled.and_then(|ruled| ruled.signature.clone()) {
                    package.past.unknown.push((signature, leased.builder));
                }
                self.wakes.insert(until);
            }
            Verdict::Timeout => package.past.slow_on = Some(leased.builder),
            Verdict::Memory => {
                let memory = room.map_or(0, |room| room.memory_mib);
                package.past.memory_mib = package.past.memory_mib.max(Some(memory));
            }
            // It waits for other boards to agree.
            Verdict::Failed => {
                package.past.failed_on.insert(leased.builder);
            }
            Verdict::Deps => package.past.deps += 1,
            Verdict::Released => {
                package.released = Some(turn);
                self.releases += 1;
            }
            Verdict::Success | Verdict::Excluded => {}
        }
    }

    /// Where a package goes that is not in `source/` any more, or again because another file was
    /// dropped meanwhile.
    pub(super) fn after(&mut self, name: &FileName, out: &mut Vec<Effect>) {
        match self.package(name).dropped.clone() {
            Some(dropped) => {
                self.replace_afresh(name, dropped, out);
                self.enqueue(name, out);
            }
            None => self.leave(name, out),
        }
    }

    /// Whether a lost lease is not the builder's own doing: the hub was away, or most builders vanished.
    fn is_excused(&self, now: Time, leased: &Leased) -> bool {
        leased.inherited
            || now.since_ms(self.config.started) <= RESTART_MS
            || self.standing.vanished_in_a_crowd(leased.builder, leased.since)
    }

    pub(super) fn judged(
        &mut self,
        now: Time,
        name: &FileName,
        id: BuilderId,
        verdict: Verdict,
        out: &mut Vec<Effect>,
    ) {
        let on_trial = self.standing.all.get(&id).is_some_and(Builder::is_on_trial);
        // On trial, what others build is no fault of the package.
        let is_own = on_trial && verdict == Verdict::Failed && self.is_known_to_build(name);
        let mut changes = Vec::new();
        self.standing.judged(now, id, if is_own { Verdict::Lost } else { verdict }, &mut changes);
        self.suspect(name, id, verdict, out);
        let builder = self.standing.name(id);
        for change in changes {
            match change {
                Change::Quarantined { for_ms, row } => {
                    self.wakes.insert(now.plus_ms(for_ms));
                    let minutes = for_ms / 60_000;
                    let text = format!("quarantined for {minutes} min: {row} times infra or lost in a row");
                    log(out, log::Level::Warn, format!("builder={builder} {text}"));
                    self.tell_of_builder(id, EventKind::Builder, text, out);
                }
                Change::Canary => {
                    let text = "infra on three builders with no success between: one lease at a time until one succeeds";
                    events::tell(out, Event::new(EventKind::Blocked, text));
                    log(out, log::Level::Error, text.to_owned());
                }
                Change::Trusted => {
                    let text = format!("built {name} after its quarantine: gets any package again");
                    log(out, log::Level::Info, format!("builder={builder} {text}"));
                    self.tell_of_builder(id, EventKind::Builder, text, out);
                }
                Change::Well => {
                    let text = format!("builder={builder} got through: leasing to all again");
                    events::tell(out, Event::new(EventKind::Unblocked, text.clone()));
                    log(out, log::Level::Info, text);
                }
            }
        }
    }

    /// Blames boards that fail what others pass.
    fn suspect(&mut self, name: &FileName, id: BuilderId, verdict: Verdict, out: &mut Vec<Effect>) {
        let changes = match verdict {
            Verdict::Success => self.suspects.built(name, id),
            Verdict::Failed => return self.suspects.failed(name, id),
            _ => return,
        };
        for change in changes {
            let (of, level, text) = match change {
                suspects::Change::Suspected(of) => (of, log::Level::Warn, self.suspects.words(of)),
                suspects::Change::Cleared(of) => {
                    (of, log::Level::Info, "builds well: is no longer suspected".to_owned())
                }
            };
            log(out, level, format!("builder={} {text}", self.standing.name(of)));
            self.tell_of_builder(of, EventKind::Builder, text, out);
        }
    }

    fn say_ruled(
        &self,
        name: &FileName,
        leased: &Leased,
        verdict: Verdict,
        reason: &str,
        out: &mut Vec<Effect>,
    ) {
        let builder = self.standing.name(leased.builder);
        let colon = if reason.is_empty() { "" } else { ": " };
        let text = format!("pkg={name} lease={} builder={builder} {verdict}{colon}{reason}", leased.lease);
        // What a builder was not believed is worth a look, and so is what waits for the operator.
        let doubted = reason.starts_with(REJECTED) || (verdict == Verdict::Success && !reason.is_empty());
        log(out, if doubted { log::Level::Warn } else { log::Level::Info }, text);
    }

    pub(super) fn note(
        &self,
        name: &FileName,
        leased: &Leased,
        verdict: Verdict,
        reason: &str,
        charged: bool,
        folder: Option<String>,
        is_last: bool,
        out: &mut Vec<Effect>,
    ) {
        out.push(Effect::History(Note::Ended {
            srpm: name.clone(),
            lease: leased.lease,
            verdict,
            reason: reason.to_owned(),
            charged,
            seconds: leased.ruled.as_ref().map(|ruled| ruled.seconds),
            silent_s: leased.ruled.as_ref().map(|ruled| ruled.silent_s),
            peak: leased.ruled.as_ref().map(|ruled| ruled.peak).unwrap_or_default(),
            is_last,
            folder,
        }));
    }
}
