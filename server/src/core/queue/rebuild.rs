//! What is built again since what it was built against changed (`--rebuild-dependents`).
//!
//! Owns when a change counts, whom it concerns, and that it ends. Repo says what a build provides otherwise than the one
//! before it and who needs something of that (BuildRequires, and what its binary packages require); nothing of that is
//! remembered here. In which order it is built again is [`super::wave`]'s. Without the option nothing here does anything.
//!
//! ```text
//!   published ─▶ fresh ── builders can see it ─▶ asked ── Compared ─▶ dependents: finished ── Retry ─▶ source/
//!                                                                      building ─▶ again, once it ends well
//! ```
//!
//! *Once*: a package that waits is built with what is new anyway; one that is built, or was built just now, is built again
//! only if its lease is older than what it concerns. *Direct dependents only*: whose own provides are other ones when it is
//! built again brings the next ring, and who has none ends it. *Bounded*: whose version is another one at each build (a time
//! stamp) could keep two packages at it for ever, so one has another built again [`TIMES_MAX`] times a day at most.
//!
//! What waits in `source/` survives anything. What a crash lost between a publication and that, and what was to be built
//! again after its build, is found again at the start: what was published within a day before it is compared once more, and
//! concerns what was built before it. Order and reasons do not survive.

use std::collections::{BTreeMap, BTreeSet};

use moji_proto::message::{EventKind, PackageState};
use moji_proto::{FileName, Time};

use super::messages::PastResult;
use super::package::{Leased, Package, State};
use super::wave::Wave;
use super::{Effect, Queue, events, log};
use crate::core::capabilities::{Capabilities, Requirement};
use crate::core::leases;
use crate::core::repo::{self, Changed, Compare, Compared};
use crate::core::view::Event;
use crate::rpmfile::Capability;

/// Who it is that orders this.
pub(super) const HUB: &str = "the hub";
/// How long what happened is looked back at, milliseconds: a day.
const DAY_MS: u64 = 24 * 3600 * 1000;
/// So often within a day a package is built again because of the same other one: a bootstrap in two or three steps needs
/// no more, and what changes at each build would never end.
const TIMES_MAX: usize = 3;
/// A package that went back to `source/` is seen there by the watch within this, milliseconds: as for operators.
const SEEN_MS: u64 = 60_000;
/// Publications that there were before this run.
const BEFORE: u64 = 1;

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cause {
    source: Box<str>,
    what: String,
}

/// When builders could see a build.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// What was leased at an earlier publication than this was built against the build before.
    published: u64,
    /// What ended before this, if it did in an earlier run; milliseconds of this run's clock, which may be before it.
    at_ms: i64,
}

/// A build of a source that had one published before.
#[derive(Debug)]
struct Fresh {
    srpm: FileName,
    source: Box<str>,
    binaries: Vec<String>,
    /// If that was in an earlier run.
    seen: Option<Seen>,
}

/// A build that repo was asked about.
#[derive(Debug)]
struct Asked {
    srpm: FileName,
    source: Box<str>,
    seen: Seen,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Rebuild {
    /// Folders of each source's published results, in order.
    results: BTreeMap<Box<str>, Vec<Box<str>>>,
    /// Those of them, at the start, that were not the first: source and binary packages.
    later: BTreeMap<Box<str>, (Box<str>, Vec<String>)>,
    /// Builds by folder, which builders cannot see yet.
    fresh: BTreeMap<Box<str>, Fresh>,
    asked: BTreeMap<String, Asked>,
    /// How many publications there were when the last good build of a package was leased; if that ended in this run.
    leased_at: BTreeMap<FileName, u64>,
    /// What is to be built again if its lease is older than this publication, once it is built.
    again: BTreeMap<FileName, (u64, Cause)>,
    /// Why a package is built again, until it is.
    causes: BTreeMap<FileName, Cause>,
    /// When a package was built again because of a source.
    times: BTreeMap<(FileName, Box<str>), Vec<Time>>,
    pub(super) wave: Wave,
}

impl Cause {
    fn words(&self) -> String {
        format!("built again: {} changed ({})", self.source, self.what)
    }
}

impl Rebuild {
    /// Why the package is built again, if it is.
    pub(super) fn words(&self, name: &FileName) -> Option<String> {
        self.causes.get(name).map(Cause::words)
    }

    /// That, and these words.
    pub(super) fn with_words(&self, name: &FileName, why: String) -> String {
        match self.words(name) {
            Some(words) if why.is_empty() => words,
            Some(words) => format!("{words}; {why}"),
            None => why,
        }
    }

    /// The package is not built again any more.
    pub(super) fn forget_cause(&mut self, name: &FileName) {
        self.causes.remove(name);
    }

    /// Whether its new build cannot be seen yet.
    pub(super) fn is_fresh(&self, name: &FileName) -> bool {
        self.fresh.values().any(|fresh| fresh.srpm == *name)
    }

    /// Whether one more time is within the limit; it counts.
    fn may(&mut self, now: Time, name: &FileName, source: &str) -> bool {
        let times = self.times.entry((name.clone(), source.into())).or_default();
        times.retain(|at| now.since_ms(*at) < DAY_MS);
        let may = times.len() < TIMES_MAX;
        times.extend(may.then_some(now));
        may
    }
}

impl Queue {
    // ---- what is published

    /// At the start: this is published.
    pub(super) fn was_published(&mut self, folder: &str, source: &str, binaries: &[String]) {
        if !self.config.rebuild_dependents {
            return;
        }
        let folders = self.rebuild.results.entry(source.into()).or_default();
        if !folders.is_empty() {
            self.rebuild.later.insert(folder.into(), (source.into(), binaries.to_vec()));
        }
        folders.push(folder.into());
    }

    /// At the start: this is a result, and was told of as published before, if it is.
    pub(super) fn was_built(&mut self, name: &FileName, result: &PastResult) {
        let Some((source, binaries)) = self.rebuild.later.remove(&*result.folder) else { return };
        let ago_ms = result.ago_s.saturating_mul(1_000);
        if ago_ms <= DAY_MS {
            let seen = Some(Seen { published: BEFORE, at_ms: before_ms(self.now, ago_ms) });
            let fresh = Fresh { srpm: name.clone(), source, binaries, seen };
            self.rebuild.fresh.insert(result.folder.as_str().into(), fresh);
        }
    }

    /// A result is published, and builders will see it.
    pub(super) fn is_published(
        &mut self,
        name: &FileName,
        folder: &str,
        source: &str,
        binaries: &[String],
        out: &mut Vec<Effect>,
    ) {
        if !self.config.rebuild_dependents {
            return;
        }
        let folders = self.rebuild.results.entry(source.into()).or_default();
        folders.retain(|there| **there != *folder);
        let is_first = folders.is_empty();
        folders.push(folder.into());
        if !is_first {
            let (srpm, source, binaries) = (name.clone(), source.into(), binaries.to_vec());
            self.rebuild.fresh.insert(folder.into(), Fresh { srpm, source, binaries, seen: None });
            // Word of the publication may have come first.
            self.look_at_fresh(out);
        }
    }

    /// A result is no longer published: no new build, and nobody follows it.
    pub(super) fn is_retracted(&mut self, folder: &str, source: &str) {
        if let Some(folders) = self.rebuild.results.get_mut(source) {
            folders.retain(|there| **there != *folder);
        }
        self.rebuild.asked.remove(folder);
        if let Some(fresh) = self.rebuild.fresh.remove(folder) {
            self.rebuild.wave.touch(&fresh.srpm);
        }
    }

    /// A build is over and its SRPM in `finished/`; `folder` is where, if it is published.
    pub(super) fn note_build(
        &mut self,
        name: &FileName,
        leased: &Leased,
        folder: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        if !self.config.rebuild_dependents {
            return;
        }
        self.rebuild.forget_cause(name);
        let again = self.rebuild.again.remove(name);
        let (Some(folder), Some(ruled)) = (folder, &leased.ruled) else { return };
        self.rebuild.leased_at.insert(name.clone(), leased.published);
        self.is_published(name, &folder, &ruled.source, &ruled.binaries, out);
        if let Some((_, cause)) = again.filter(|(published, _)| leased.published < *published)
            && self.is_done(name)
        {
            self.build_again(BTreeSet::from([name.clone()]), &cause, out);
        }
    }

    /// Asks repo about new builds that builders can see by now.
    pub(super) fn look_at_fresh(&mut self, out: &mut Vec<Effect>) {
        if self.rebuild.fresh.is_empty() || !self.scanned {
            return;
        }
        let there = &self.stock.there;
        let is_seen = |folder: &str, fresh: &Fresh| {
            let in_folder = |path: &&str| path.rsplit_once('/').is_some_and(|(of, _)| of == folder);
            fresh.binaries.iter().any(|binary| {
                let any = Capability { name: binary.clone(), flags: 0, evr: String::new() };
                there.who_provides(&Requirement::One(any)).iter().any(in_folder)
            })
        };
        let seen = self.rebuild.fresh.iter().filter(|(folder, fresh)| is_seen(folder, fresh));
        let seen: Vec<Box<str>> = seen.map(|(folder, _)| folder.clone()).collect();
        let mut builds = Vec::new();
        for folder in seen {
            let Some(Fresh { srpm, source, seen, .. }) = self.rebuild.fresh.remove(&folder) else { continue };
            self.rebuild.wave.touch(&srpm);
            let all = self.rebuild.results.get(&source).map_or(&[][..], |all| all);
            let earlier = all.iter().take_while(|one| **one != folder).map(|one| one.to_string()).collect();
            let now = Seen { published: self.published, at_ms: before_ms(self.now, 0) };
            let asked = Asked { srpm, source, seen: seen.unwrap_or(now) };
            builds.push(Compare { folder: folder.to_string(), earlier });
            self.rebuild.asked.insert(folder.into(), asked);
        }
        if !builds.is_empty() {
            out.push(Effect::Repo(repo::Msg::Compare(builds)));
        }
    }

    // ---- what follows

    /// What builds provide otherwise than those before.
    pub(super) fn on_compared(&mut self, now: Time, compared: Vec<Compared>, out: &mut Vec<Effect>) {
        for Compared { folder, change } in compared {
            let (Some(asked), Some(change)) = (self.rebuild.asked.remove(&folder), change) else { continue };
            self.on_change_of(now, asked, change, out);
        }
    }

    fn on_change_of(&mut self, now: Time, asked: Asked, change: Changed, out: &mut Vec<Effect>) {
        let Asked { srpm, source, seen } = asked;
        let Changed { what, offered, dependents } = change;
        let cause = Cause { source, what };
        let (mut at_once, mut later) = (BTreeSet::new(), 0);
        let mut names = self.dependents(&dependents, &offered, &cause.source);
        names.remove(&srpm);
        for name in names {
            let Some(package) = self.packages.get(&name) else { continue };
            match &package.state {
                State::Finished if self.is_done(&name) && self.is_older(&name, package, seen) => {
                    at_once.insert(name);
                }
                // A lease that counted as lost may be taken up again, so that goes for what waits, too.
                State::Leased(_) | State::Claimed { .. } | State::Waiting | State::Held(_) => {
                    let is_built =
                        matches!(&package.state, State::Leased(of) if of.published < seen.published);
                    later += usize::from(is_built);
                    self.rebuild.again.insert(name, (seen.published, cause.clone()));
                }
                _ => {}
            }
        }
        at_once.retain(|name| self.is_within_limit(now, name, &cause, out));
        let more = if later > 0 { format!(", {later} more when built") } else { String::new() };
        let count = match at_once.len() {
            1 => "1 package is".to_owned(),
            count => format!("{count} packages are"),
        };
        let text = format!("provides changed ({}): {count} built again{more}", cause.what);
        log(out, log::Level::Info, format!("pkg={srpm} {text}"));
        if !at_once.is_empty() || later > 0 {
            let event = self.event(EventKind::Ordered, &srpm, text);
            events::tell(out, Event { who: HUB.to_owned(), ..event });
        }
        self.start(at_once, &cause, out);
    }

    /// Packages that need something that is offered, but those of the source itself.
    fn dependents(&self, folders: &[String], offered: &Capabilities, source: &str) -> BTreeSet<FileName> {
        let folders: BTreeSet<&str> = folders.iter().map(String::as_str).collect();
        let is_published =
            |package: &Package| package.published.iter().any(|folder| folders.contains(&**folder));
        // What is built for the first time is in no index.
        let is_building = |package: &Package| {
            let facts = package.srpm.as_ref().map(|srpm| &srpm.facts);
            let needs = |one: &Capability| !offered.who_provides(&Requirement::of(one)).is_empty();
            matches!(package.state, State::Leased(_))
                && facts.is_some_and(|facts| facts.nevra.name != source && facts.requires.iter().any(needs))
        };
        let all = self.packages.iter().filter(|(_, package)| is_published(package) || is_building(package));
        all.map(|(name, _)| name.clone()).collect()
    }

    /// Whether it is finished and published, by a build or an operator.
    fn is_done(&self, name: &FileName) -> bool {
        let package = self.packages.get(name);
        package.is_some_and(|p| p.state == State::Finished && p.shown() == PackageState::Success)
    }

    /// Whether a package that is done was built against what was there before.
    fn is_older(&self, name: &FileName, package: &Package, seen: Seen) -> bool {
        match self.rebuild.leased_at.get(name) {
            Some(published) => *published < seen.published,
            None => {
                let (since, before_s) = package.since;
                before_ms(since, before_s.saturating_mul(1_000)) < seen.at_ms
            }
        }
    }

    fn is_within_limit(&mut self, now: Time, name: &FileName, cause: &Cause, out: &mut Vec<Effect>) -> bool {
        if self.rebuild.may(now, name, &cause.source) {
            return true;
        }
        let text = format!(
            "is not built again although {} changed ({}): it was {TIMES_MAX} times for that within a day",
            cause.source, cause.what
        );
        log(out, log::Level::Warn, format!("pkg={name} {text}"));
        let event = self.event(EventKind::Ordered, name, text);
        events::tell(out, Event { who: HUB.to_owned(), ..event });
        false
    }

    fn build_again(&mut self, mut names: BTreeSet<FileName>, cause: &Cause, out: &mut Vec<Effect>) {
        let now = self.now;
        names.retain(|name| self.is_within_limit(now, name, cause, out));
        self.start(names, cause, out);
    }

    /// Has these moved to `source/`, as an operator's `retry` does.
    fn start(&mut self, names: BTreeSet<FileName>, cause: &Cause, out: &mut Vec<Effect>) {
        // A sync failed: nothing is moved, and the next start finds what is to be.
        if self.stopped.is_some() {
            return;
        }
        for name in &names {
            let folders = self.packages.get(name).map(|package| &package.published[..]).unwrap_or_default();
            self.rebuild.wave.join(name, folders);
        }
        let until = self.now.plus_ms(SEEN_MS);
        for name in names {
            self.wakes.insert(until);
            self.rebuild.causes.insert(name.clone(), cause.clone());
            self.go(&name, State::Returning { until });
            out.push(Effect::Leases(leases::Msg::Retry { srpm: name }));
        }
    }
}

/// So long before a moment, milliseconds of this run's clock.
fn before_ms(at: Time, ago_ms: u64) -> i64 {
    let whole = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    whole(at.0).saturating_sub(whole(ago_ms))
}
