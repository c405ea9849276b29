//! After every message: packages that wait are matched with builders that are idle.
//!
//! Owns who may get what, and when nobody gets anything. Leads to nothing but claims, holds that end
//! and log lines.

use moji_proto::limits::OPTIONS_MAX;
use moji_proto::message::{EventKind, Limits, Verdict};
use moji_proto::{FileName, Line, Time};

use super::needs::Need;
use super::order::stem;
use super::package::{Hold, Package, State};
use super::standing::Builder;
use super::{Effect, Queue, SPACE_AGAIN_MS, events, glob, limits, log, verdict};
use crate::core::leases;
use crate::core::types::BuilderId;
use crate::core::view::Event;

/// A claim that failed because the watch or the queue was not up to date is made again after this,
/// milliseconds: two renames and an fsync, and the second within which the watch notices.
pub(super) const CLAIM_AGAIN_MS: u64 = 1_000;
/// Never less must stay free than this, bytes: 2 GiB (DESIGN, "Sizes").
const FLOOR_BYTES_MIN: u64 = 2 << 30;
/// On a large disk this share must stay free: 1 in 20 …
const FLOOR_SHARE: u64 = 20;
/// … but never more than this, bytes: 20 GiB.
const FLOOR_BYTES_MAX: u64 = 20 << 30;

/// What must stay free for a lease on a file system of this size, bytes.
#[must_use]
pub fn space_floor(total_bytes: u64) -> u64 {
    FLOOR_BYTES_MIN.max(FLOOR_BYTES_MAX.min(total_bytes / FLOOR_SHARE))
}

/// Whether a builder for `arch` can build for `target`. Boards of one family say their names in more
/// ways than one (`i386` builds `i686`), so only another family is ruled out.
pub(super) fn may_build(arch: &str, target: &str) -> bool {
    family(arch) == family(target)
}

fn family(arch: &str) -> &str {
    match arch {
        "i386" | "i486" | "i586" | "i686" | "athlon" | "geode" | "pentium3" | "pentium4" => "x86",
        "amd64" | "ia32e" => "x86_64",
        "arm64" => "aarch64",
        _ if arch.starts_with("x86_64") => "x86_64",
        _ if arch.starts_with("arm") => "arm",
        _ => arch,
    }
}

impl Queue {
    /// Restores what is derived: holds that are over, and no idle builder beside a package it could build.
    pub(super) fn settle(&mut self, now: Time, out: &mut Vec<Effect>) {
        debug_assert!(self.standing.is_consistent(), "what is derived follows every change");
        self.wake(now, out);
        self.heed_waits(now, out);
        while let Some(name) = self.promoted.pop() {
            let held = |p: &Package| matches!(p.state, State::Held(Hold::Duplicate { .. }));
            if self.packages.get(&name).is_some_and(held) {
                self.enqueue(&name, out);
                self.tell_that_wait(&[name], "the other file of that package is done", out);
            }
        }
        self.follow(out);
        self.chain.plan(now);
        if self.say_blocked(now, out) {
            return;
        }
        self.give_out(now, out);
        self.say_stuck(now, out);
    }

    /// Ends holds and quarantines whose time is over.
    fn wake(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.wakes.first().is_none_or(|first| *first > now) {
            return;
        }
        self.wakes = self.wakes.split_off(&now.plus_ms(1));
        let is_held = |name: &FileName| matches!(self.packages[name].state, State::Held(_));
        let (held, lost): (Vec<FileName>, Vec<FileName>) =
            self.holds.over(now).into_iter().partition(is_held);
        for name in &held {
            self.package(name).past.tried = true;
            self.enqueue(name, out);
        }
        self.tell_that_wait(&held, "tried again after a pause", out);
        self.follow_no_longer(now, out);
        lost.iter().for_each(|name| self.leave(name, out));
        for builder in self.standing.pardon(now) {
            self.tell_of_builder(
                builder,
                EventKind::Builder,
                "its quarantine is over: gets a small package first",
                out,
            );
        }
    }

    /// Whether nothing at all may be leased; the reason is logged once a change.
    fn say_blocked(&mut self, now: Time, out: &mut Vec<Effect>) -> bool {
        let low = self.space.filter(|(free, floor)| free < floor);
        let (blocked, text) = match (&self.stopped, low) {
            (Some(_), _) => (Some("stopped"), String::new()),
            (None, Some((free, floor))) => {
                let again = now.plus_ms(SPACE_AGAIN_MS);
                if self.wakes.first().is_none_or(|first| *first > again) {
                    self.wakes.insert(again);
                }
                let text = format!("nothing is leased: {} MiB free, {} are needed", free >> 20, floor >> 20);
                (Some("space"), text)
            }
            (None, None) => (None, "leasing again: there is space".to_owned()),
        };
        if self.said.blocked != blocked {
            self.said.blocked = blocked;
            match blocked {
                Some("space") => {
                    log(out, log::Level::Error, text.clone());
                    events::tell(out, Event::new(EventKind::Blocked, text));
                }
                Some(_) => {}
                None => {
                    log(out, log::Level::Info, text.clone());
                    events::tell(out, Event::new(EventKind::Unblocked, text));
                }
            }
        }
        blocked.is_some()
    }

    pub(super) fn is_for_target(&self, id: BuilderId) -> bool {
        let Some(arch) = self.standing.all.get(&id).map(|b| b.info.arch.as_str()) else { return true };
        let allowed = self.listed.get(&id).filter(|archs| !archs.is_empty());
        allowed.is_none_or(|archs| archs.iter().any(|allowed| allowed == arch))
            && self.target.as_ref().is_none_or(|target| may_build(arch, target))
    }

    /// Builders, idle or not, that the package may go to next. A header that rules architectures out, boards on which
    /// it failed and room for it are wishes: where no builder meets them, they do not count, or only as [`Need`] says.
    /// (A package ruled out everywhere is built once all the same, and rpmbuild says so itself.)
    pub(super) fn who_may(&self, now: Time, package: &Package) -> Vec<BuilderId> {
        let past = &package.past;
        let asks_others = self.can_ask_others(now, package);
        let willing = self.standing.all.iter().filter(|(id, b)| {
            let paused = past.not_on.get(*id).is_some_and(|until| *until > now);
            let asked = asks_others && past.failed_on.contains(*id);
            b.is_willing(now) && !paused && !asked && self.is_for_target(**id)
        });
        let mut may: Vec<(&BuilderId, &Builder)> = willing.collect();
        if let Some(srpm) = &package.srpm {
            prefer(&mut may, |b| verdict::header_allows(&srpm.facts, b.info.arch.as_str()));
        }
        prefer(&mut may, |b| !past.lost_on.contains(&b.info.id));
        if let Some(slow) = past.slow_on {
            prefer(&mut may, |b| b.info.id != slow);
            prefer(&mut may, |b| self.times.is_faster(b.info.id, slow));
        }
        let least = Need::of(package).least_of(may.iter().map(|(_, b)| b.room()));
        may.retain(|(_, b)| b.room().holds(least));
        may.into_iter().map(|(id, _)| *id).collect()
    }

    pub(super) fn claim(&mut self, srpm: FileName, builder: BuilderId, out: &mut Vec<Effect>) {
        if self.standing.is_canary() {
            log(out, log::Level::Info, format!("pkg={srpm} goes out as the canary"));
            self.standing.bird = Some(srpm.clone());
        }
        self.said.stuck = None;
        self.package(&srpm).not_before = None;
        self.go(&srpm, State::Claimed { builder });
        self.ask_for(srpm, builder, false, out);
    }

    /// Asks leases for a lease.
    pub(super) fn ask_for(
        &mut self,
        srpm: FileName,
        builder: BuilderId,
        beside: bool,
        out: &mut Vec<Effect>,
    ) {
        let (options, left_out) = self.options_for(&srpm);
        for glob in left_out {
            let text = format!("pkg={srpm} options.txt: more than {OPTIONS_MAX} words, {glob} left out");
            log(out, log::Level::Warn, text);
        }
        let limits = self.limits_for(&srpm, builder);
        self.standing.claim(builder, &srpm);
        out.push(Effect::Leases(leases::Msg::Claim { srpm, builder, options, limits, beside }));
    }

    /// When this builder is to end a build of the package.
    fn limits_for(&self, srpm: &FileName, builder: BuilderId) -> Limits {
        let package = self.packages.get(srpm);
        let source = package.and_then(|package| package.srpm.as_ref()).map(|srpm| &*srpm.facts.nevra.name);
        let earlier = source.map(|source| self.times.earlier(source, builder)).unwrap_or_default();
        let again = package.is_some_and(|package| {
            package.past.charged.iter().any(|(verdict, _)| *verdict == Verdict::Timeout)
        });
        limits::limits(self.config.limits, &earlier, again)
    }

    /// The words of all rules of `options.txt` that match, in their order, and the patterns of those for which
    /// there is no room.
    pub(super) fn options_for(&self, srpm: &FileName) -> (Vec<Line>, Vec<&str>) {
        let name = srpm.as_str();
        let (mut words, mut left_out): (Vec<Line>, Vec<&str>) = Default::default();
        for (literal, rule) in &self.options {
            let hits = || glob::matches(&rule.glob, name) || glob::matches(&rule.glob, stem(name));
            if !name.starts_with(&rule.glob[..*literal]) || !hits() {
                continue;
            }
            if words.len() + rule.words.len() > usize::from(OPTIONS_MAX) {
                left_out.push(&rule.glob);
                continue;
            }
            words.extend(rule.words.iter().cloned());
        }
        (words, left_out)
    }

    /// Says once a change why idle builders get nothing.
    fn say_stuck(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.standing.idle(now).next().is_none() {
            return;
        }
        let text = self.groups(now).why_nothing();
        if self.said.stuck.as_ref() != Some(&text) {
            log(out, log::Level::Info, format!("nothing to lease: {text}"));
            self.said.stuck = Some(text);
        }
    }
}

/// Whether the builder meets all wishes of [`Queue::who_may`] but that of not having lost it.
pub(super) fn fits_wishes(package: &Package, builder: &Builder) -> bool {
    let header = package.srpm.as_ref();
    header.is_none_or(|srpm| verdict::header_allows(&srpm.facts, builder.info.arch.as_str()))
        && !package.past.failed_on.contains(&builder.info.id)
        && package.past.slow_on.is_none()
        && Need::of(package).fits(builder.room())
}

/// Keeps only those that meet the wish, unless none does.
fn prefer(may: &mut Vec<(&BuilderId, &Builder)>, wish: impl Fn(&Builder) -> bool) {
    if may.iter().any(|(_, b)| wish(b)) {
        may.retain(|(_, b)| wish(b));
    }
}
