//! Who gets what.
//!
//! Owns the match of packages that wait with builders that are idle. Each package in order goes to the fastest idle
//! builder that may have it, of equals to the one that has been idle longest. Builders on trial choose first (`trial.rs`).
//!
//! Where speeds are known, a package may also be kept for a faster builder that is busy now, if it would be done there
//! clearly sooner although it waits: slow boards then take from the small end while the fast ones take the giants. What
//! is kept counts as that builder's work, so a slow board is never left idle for more than the fast ones can take. How long
//! something takes that was never built is guessed from its size here, though for the order it counts as the longest.

use std::collections::BTreeMap;

use moji_proto::{FileName, Time};

use super::headers::LOOKS_MAX;
use super::needs::{Need, Room, biggest};
use super::order::Rank;
use super::package::Package;
use super::settle::fits_wishes;
use super::standing::Builder;
use super::{Effect, Queue};
use crate::core::types::BuilderId;

/// A package is kept for a builder where it is done in this share of the time: what is known of times is rough.
pub(super) const CLEARLY: f64 = 0.8;
/// So many are kept at most: looking further costs more than it gains.
const KEPT_MAX: usize = 256;
/// Whom a slow build keeps waiting looks again after this, milliseconds.
pub(super) const KEPT_AGAIN_MS: u64 = 60_000;
/// A build that should be over is taken to need this share of the time that it has taken so far.
pub(super) const OVERDUE: f64 = 0.5;

/// A builder that is busy, and what it has to do, seconds from now.
struct Busy {
    id: BuilderId,
    speed: f64,
    free_s: f64,
}

/// What comes of a look.
#[derive(Debug, Default)]
struct Matched {
    claims: Vec<(FileName, BuilderId)>,
    /// What nobody provides all of that their headers name, and that.
    lacking: Vec<(FileName, Vec<String>)>,
    kept: BTreeMap<FileName, BuilderId>,
}

impl Queue {
    /// Gives idle builders what they are to have.
    pub(super) fn give_out(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.standing.idle(now).next().is_none() {
            return self.kept.clear();
        }
        if self.chain.is_small() {
            self.look_at_chains(now);
        }
        let Matched { mut claims, lacking, mut kept } = self.matches(now);
        if lacking.len() >= LOOKS_MAX {
            self.wakes.insert(now.plus_ms(1));
        }
        let is_all = lacking.len() < LOOKS_MAX;
        self.hold_for_headers(now, lacking, out);
        self.heed_waits(now, out);
        // Whoever would idle tries what is held.
        let idle = self.standing.idle(now).filter(|id| self.is_for_target(*id)).count();
        let is_free = is_all && kept.is_empty() && !self.standing.is_canary();
        if is_free && idle > claims.len() && self.try_held(idle - claims.len(), out) {
            Matched { claims, kept, .. } = self.matches(now);
        }
        if !kept.is_empty() {
            let again = now.plus_ms(KEPT_AGAIN_MS);
            if self.wakes.first().is_none_or(|first| *first > again) {
                self.wakes.insert(again);
            }
        }
        self.kept = kept;
        if claims.is_empty() {
            self.give_copies(now, out);
        }
        for (srpm, builder) in claims {
            self.claim(srpm, builder, out);
        }
    }

    /// Looks at all chains, if that is due.
    pub(super) fn look_at_chains(&mut self, now: Time) {
        if self.chain.is_due(now) {
            self.times.guess_anew();
        }
        let moved = self.chain.look(now, &self.times);
        self.put_in_order(moved);
    }

    /// Does a piece of a look at all chains, if it is time for one; a small look is done whole, also while nobody is idle.
    /// Says whether there are more.
    pub(super) fn look_on(&mut self, now: Time) -> bool {
        if self.chain.is_small() {
            self.look_at_chains(now);
            return false;
        }
        if self.chain.again().is_none_or(|at| at > now) {
            return false;
        }
        if self.chain.is_due(now) {
            self.times.guess_anew();
        }
        let moved = self.chain.piece(now, &self.times);
        self.put_in_order(moved);
        self.chain.plan(now);
        self.chain.is_under_way()
    }

    /// Brings the places of packages up to date.
    pub(super) fn put_in_order(&mut self, names: Vec<FileName>) {
        for name in names {
            let place = self.chain.place(&name);
            self.headers.moved(&name, place.chain_s);
            if self.order.has(&name)
                && let Some(package) = self.packages.get(&name)
            {
                self.order.insert(&name, package, place);
            }
        }
    }

    fn matches(&self, now: Time) -> Matched {
        let mut matched = Matched::default();
        let mut rooms = None;
        if !self.standing.is_canary() {
            for id in self.standing.idle(now).filter(|id| self.is_for_target(*id) && self.is_on_trial(*id)) {
                let name = self.trial_for(now, id, &matched.claims, &mut rooms);
                matched.claims.extend(name.map(|name| (name, id)));
            }
        }
        let trials = matched.claims.len();
        let has_speeds = self.times.has_speeds();
        let willing = self.idle_for_all(now);
        let mut busy = if has_speeds { self.busy(now) } else { Vec::new() };
        let sorted: Vec<BuilderId> = if has_speeds { self.fastest_first(willing) } else { Vec::new() };
        // Without speeds, idle builders are looked at only as far as somebody has to be found.
        let lazy = (!has_speeds).then(|| self.idle_for_all(now));
        let mut idle = sorted.into_iter().chain(lazy.into_iter().flatten());
        let mut passed: Vec<BuilderId> = Vec::new();
        let mut bird_is_out = self.standing.bird_is_out();
        for (rank, name) in self.order.ranked() {
            passed.extend(if passed.is_empty() { idle.next() } else { None });
            let is_enough = matched.kept.len() >= KEPT_MAX || matched.lacking.len() >= LOOKS_MAX;
            if passed.is_empty() || bird_is_out || is_enough {
                break;
            }
            let Some(package) = self.packages.get(name) else { continue };
            // A claim may be on its way still, if an adoption came between.
            if package.not_before.is_some_and(|at| at > now)
                || self.standing.is_claimed(name)
                || matched.claims[..trials].iter().any(|(taken, _)| taken == name)
            {
                continue;
            }
            let mut all = None;
            let mut may = |id: &BuilderId| self.may_have(now, package, *id, &mut rooms, &mut all);
            let at = passed.iter().position(&mut may).or_else(|| {
                let fitting = idle.by_ref().position(|id| {
                    passed.push(id);
                    may(&id)
                });
                fitting.map(|_| passed.len() - 1)
            });
            let Some(at) = at else { continue };
            let lacks = self.lacks(package);
            if !lacks.is_empty() {
                matched.lacking.push((name.clone(), lacks));
                continue;
            }
            let is_free = matches!(rank, Rank::Plain(_) | Rank::Behind(_)) && !self.standing.is_canary();
            let likely_s = self.chain.place(name).likely_s as f64;
            let past = &package.past;
            let may_keep = |id: BuilderId| {
                let is_fresh = !past.lost_on.contains(&id) && !past.not_on.contains_key(&id);
                is_fresh && self.may_have(now, package, id, &mut rooms, &mut all)
            };
            if is_free && let Some(keeper) = self.keeper(likely_s, passed[at], may_keep, &mut busy) {
                matched.kept.insert(name.clone(), keeper);
                continue;
            }
            matched.claims.push((name.clone(), passed.remove(at)));
            bird_is_out = self.standing.is_canary();
        }
        matched
    }

    /// Idle builders that may get any package. While one package is out at a time, whoever gets it is on trial.
    pub(super) fn idle_for_all(&self, now: Time) -> impl Iterator<Item = BuilderId> {
        let is_canary = self.standing.is_canary();
        let may = move |id: &BuilderId| self.is_for_target(*id) && (is_canary || !self.is_on_trial(*id));
        self.standing.idle(now).filter(may)
    }

    fn is_on_trial(&self, id: BuilderId) -> bool {
        self.standing.all.get(&id).is_some_and(Builder::is_on_trial)
    }

    /// The busy builder that would be done with the package clearly sooner than the idle one, which then has it to do.
    fn keeper(
        &self,
        own_s: f64,
        idle: BuilderId,
        mut may: impl FnMut(BuilderId) -> bool,
        busy: &mut [Busy],
    ) -> Option<BuilderId> {
        let speed = self.times.speed(idle);
        let limit_s = own_s / speed * CLEARLY;
        let done_s = |one: &Busy| one.free_s + own_s / one.speed;
        let sooner = |one: &&mut Busy| one.speed > speed && done_s(one) < limit_s && may(one.id);
        let best = busy.iter_mut().filter(sooner).min_by(|a, b| done_s(a).total_cmp(&done_s(b)))?;
        best.free_s += own_s / best.speed;
        Some(best.id)
    }

    /// All builders that are at work and would take more.
    fn busy(&self, now: Time) -> Vec<Busy> {
        let mut all = Vec::new();
        for (id, builder) in &self.standing.all {
            let Some((srpm, since)) = &builder.job else { continue };
            if builder.idle_since().is_some() || !builder.is_willing(now) || !self.is_for_target(*id) {
                continue;
            }
            let speed = self.times.speed(*id);
            let taken_s = now.since_ms(*since) as f64 / 1_000.0;
            let left_s = self.chain.place(srpm).likely_s as f64 / speed - taken_s;
            let free_s = if left_s > 0.0 { left_s } else { taken_s * OVERDUE };
            all.push(Busy { id: *id, speed, free_s });
        }
        all
    }

    pub(super) fn fastest_first(&self, idle: impl Iterator<Item = BuilderId>) -> Vec<BuilderId> {
        let mut all: Vec<(f64, BuilderId)> = idle.map(|id| (self.times.speed(id), id)).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        all.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether an idle builder may have the package. Whom all wishes fit may, whatever others are like. For
    /// somebody else, of a package that has no wish but for room, the biggest boards must be looked at, once for all
    /// packages: `rooms` keeps them. Else everybody must be, once a package: `all` keeps what came out.
    pub(super) fn may_have(
        &self,
        now: Time,
        package: &Package,
        id: BuilderId,
        rooms: &mut Option<Vec<Room>>,
        all: &mut Option<Vec<BuilderId>>,
    ) -> bool {
        let Some(builder) = self.standing.all.get(&id) else { return false };
        if fits_wishes(package, builder) {
            return package.past.not_on.get(&id).is_none_or(|until| *until <= now);
        }
        let past = &package.past;
        let facts = package.srpm.as_ref().map(|srpm| &srpm.facts);
        if past.not_on.is_empty()
            && past.lost_on.is_empty()
            && past.failed_on.is_empty()
            && past.slow_on.is_none()
            && facts.is_none_or(|facts| facts.exclusive_arch.is_empty() && facts.exclude_arch.is_empty())
        {
            let rooms = rooms.get_or_insert_with(|| {
                let may = |(id, builder): &(&BuilderId, &Builder)| {
                    builder.is_willing(now) && self.is_for_target(**id)
                };
                biggest(self.standing.all.iter().filter(may).map(|(_, builder)| builder.room()))
            });
            return builder.room().holds(Need::of(package).least_of(rooms.iter().copied()));
        }
        all.get_or_insert_with(|| self.who_may(now, package)).contains(&id)
    }
}
