//! The end game (`--duplicate-last`): what an idle board builds as well, and what two leases of one package mean.
//!
//! Owns the choice of what is copied: once nothing waits that an idle board could have, it gets the package that will take
//! longest on its present board, if it is faster and would be done clearly sooner. At most one copy a package, and one try
//! a board. A copy takes its board away from nobody: what comes meanwhile waits for the next board that is free, as it
//! does behind any build, and is kept for this one only where that is sooner. Which of both leases counts is for leases
//! to say; a copy that ends costs no attempt, and one that is cancelled is nobody's fault.

use moji_proto::message::{EventKind, Verdict};
use moji_proto::{FileName, LeaseId, Time};

use super::look::duration;
use super::matching::{CLEARLY, KEPT_AGAIN_MS, OVERDUE};
use super::package::{Leased, Package, State};
use super::settle::fits_wishes;
use super::{Effect, Note, Queue, events, log};
use crate::core::desk;
use crate::core::types::{BuilderId, Fate, Report, Ruling};
use crate::core::view::Event;

/// While more wait than this it is no end game, whoever may have them: looking at all of them costs more than it gains.
const WAITING_MAX: usize = 64;

/// A package that is being built, and what is left of that.
struct Build<'a> {
    name: &'a FileName,
    package: &'a Package,
    leased: &'a Leased,
    /// Until it should be done, seconds.
    left_s: f64,
    /// All of it, normalised, seconds.
    work_s: f64,
}

impl Queue {
    /// Gives idle builders copies of what others build, if nothing else is there for them.
    pub(super) fn give_copies(&mut self, now: Time, out: &mut Vec<Effect>) {
        let is_end = self.config.duplicate_last
            && self.times.has_speeds()
            && !self.standing.is_canary()
            && !self.standing.has_claims()
            && self.kept.is_empty();
        if !is_end {
            return;
        }
        let mut idle = self.fastest_first(self.idle_for_all(now));
        idle.retain(|id| !self.has_work_for(now, *id));
        let mut builds: Vec<Build<'_>> =
            if idle.is_empty() { Vec::new() } else { self.builds(now).collect() };
        builds.sort_by(|a, b| b.left_s.total_cmp(&a.left_s));
        let mut copies = Vec::new();
        let count = builds.len();
        for build in builds {
            if let Some(at) = idle.iter().position(|id| self.gains(&build, *id)) {
                let id = idle.remove(at);
                let time = |s: f64| duration((s * 1_000.0) as u64);
                let text = format!(
                    "takes about {} more on {}: {} gets it too, for about {}",
                    time(build.left_s),
                    self.standing.name(build.leased.builder),
                    self.standing.name(id),
                    time(build.work_s / self.times.speed(id))
                );
                copies.push((build.name.clone(), id, text));
            }
        }
        // What takes longer than it should may be worth a copy later.
        let again = now.plus_ms(KEPT_AGAIN_MS);
        if !idle.is_empty() && count > copies.len() && self.wakes.first().is_none_or(|first| *first > again) {
            self.wakes.insert(again);
        }
        for (name, id, text) in copies {
            log(out, log::Level::Info, format!("pkg={name} {text}"));
            if let State::Leased(leased) = &mut self.package(&name).state {
                leased.copied_to.insert(id);
            }
            self.ask_for(name, id, true, out);
        }
    }

    /// Whether something waits that the builder may have, now or after a pause.
    fn has_work_for(&self, now: Time, id: BuilderId) -> bool {
        let mut rooms = None;
        let may = |name: &FileName| {
            let all = (self.packages.get(name), self.standing.all.get(&id));
            let (Some(package), Some(builder)) = all else { return false };
            fits_wishes(package, builder) || self.may_have(now, package, id, &mut rooms, &mut None)
        };
        self.order.iter().nth(WAITING_MAX).is_some() || self.order.iter().any(may)
    }

    /// All that is being built and has no copy.
    fn builds(&self, now: Time) -> impl Iterator<Item = Build<'_>> {
        self.packages.iter().filter_map(move |(name, package)| {
            let State::Leased(leased @ Leased { copy: None, ruled: None, .. }) = &package.state else {
                return None;
            };
            if package.srpm.is_none() || self.asked.has(name) {
                return None;
            }
            let speed = self.times.speed(leased.builder);
            let taken_s = now.since_ms(leased.since) as f64 / 1_000.0;
            let left_s = self.chain.place(name).own_s as f64 / speed - taken_s;
            let left_s = if left_s > 0.0 { left_s } else { taken_s * OVERDUE };
            Some(Build { name, package, leased, left_s, work_s: (taken_s + left_s) * speed })
        })
    }

    /// Whether the builder would be done with it clearly sooner, and may have it.
    fn gains(&self, build: &Build<'_>, id: BuilderId) -> bool {
        let Build { package, leased, left_s, work_s, .. } = build;
        let speed = self.times.speed(id);
        let past = &package.past;
        speed > self.times.speed(leased.builder)
            && work_s / speed < left_s * CLEARLY
            && !leased.copied_to.contains(&id)
            && self.standing.all.get(&id).is_some_and(|builder| fits_wishes(package, builder))
            && !past.lost_on.contains(&id)
            && !past.not_on.contains_key(&id)
    }

    /// The package has a second lease, asked for or from before a restart.
    pub(super) fn on_copied(
        &mut self,
        now: Time,
        name: &FileName,
        lease: LeaseId,
        id: BuilderId,
        out: &mut Vec<Effect>,
    ) {
        if !matches!(self.package(name).state, State::Leased(_)) {
            return self.on_granted(now, name, lease, id, out);
        }
        let mut copy = self.taken_up(now, name, lease, id);
        if !copy.inherited {
            copy.published = self.published;
        }
        let is_news = !copy.inherited;
        if let State::Leased(leased) = &mut self.package(name).state {
            leased.copied_to.insert(id);
            leased.copy = Some(Box::new(copy));
        }
        out.push(Effect::History(Note::Began { srpm: name.clone(), lease, builder: id }));
        if is_news {
            let text = format!("leased to {} as well: the first result counts", self.standing.name(id));
            events::tell(out, self.lease_event(EventKind::Leased, name, lease, id, text));
        }
        self.granted_although_cancelled(name, out);
    }

    /// One of two leases is over, and the SRPM stays where it is: the other one is the package's from now on.
    pub(super) fn on_one_over(
        &mut self,
        now: Time,
        name: &FileName,
        lease: LeaseId,
        id: BuilderId,
        fate: Fate,
        out: &mut Vec<Effect>,
    ) {
        let State::Leased(leased) = &self.package(name).state else { return };
        let Some(over) = leased.both().find(|one| one.lease == lease).cloned() else { return };
        let is_copy = leased.lease != lease;
        let at = out.len();
        let (verdict, text) = match fate {
            Fate::Outdone(why) => {
                self.note(name, &over, Verdict::Released, why, false, None, true, out);
                (Verdict::Released, why.to_owned())
            }
            Fate::Returned(verdict) if is_copy => {
                let text = "it was a copy: the other builder goes on".to_owned();
                self.note(name, &over, verdict, &text, false, None, true, out);
                self.judged(now, name, id, verdict, out);
                (verdict, text)
            }
            Fate::Returned(verdict) => (verdict, self.account(now, name, &over, verdict, out).0),
            Fate::InVain(report) => self.on_vain(now, name, &over, &report, out),
        };
        if is_copy {
            if let State::Leased(leased) = &mut self.package(name).state {
                leased.copy = None;
            }
        } else {
            self.promote(name, over, out);
        }
        let event = self.lease_event(EventKind::Ended, name, lease, id, text);
        out.insert(at, Effect::Desk(desk::Msg::Event(Event { verdict: Some(verdict), ..event })));
    }

    /// A copy's result is no success: it is shown, and counts neither for the package nor, unless the board is at fault,
    /// for the board.
    fn on_vain(
        &mut self,
        now: Time,
        name: &FileName,
        over: &Leased,
        report: &Report,
        out: &mut Vec<Effect>,
    ) -> (Verdict, String) {
        let (verdict, reason) = match self.judgement(name, over.builder, report).ruling {
            Ruling::Keep { verdict, reason } | Ruling::Return { verdict, reason } => (verdict, reason),
            Ruling::Reject { reason, .. } => (Verdict::Failed, format!("rejected: {reason}")),
            Ruling::Publish { .. } => (Verdict::Released, String::new()),
        };
        let text = format!("it was a copy and counts for nothing: {verdict}: {reason}");
        let builder = self.standing.name(over.builder);
        log(out, log::Level::Info, format!("pkg={name} lease={} builder={builder} {text}", over.lease));
        // As released: no other verdict is without consequences after a restart.
        self.note(name, over, Verdict::Released, &text, false, None, true, out);
        if verdict == Verdict::Infra {
            self.judged(now, name, over.builder, verdict, out);
        }
        (verdict, text)
    }

    /// The main lease is over: its copy takes its place.
    fn promote(&mut self, name: &FileName, over: Leased, out: &mut Vec<Effect>) {
        let Some(copy) = over.copy else { return self.leave(name, out) };
        let host = self.standing.host(copy.builder);
        self.package(name).builder = host;
        self.go(name, State::Leased(Leased { copied_to: over.copied_to, ..*copy }));
    }
}
