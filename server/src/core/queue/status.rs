//! What the queue looks like from outside: counts by state, and why nothing is leased.
//!
//! Owns no state: a snapshot is made from the queue and changes nothing.

use moji_proto::message::EventKind;
use moji_proto::{FileName, Time};

use super::look::duration;
use super::package::{Hold, State};
use super::{Effect, Package, Queue, events};
use crate::core::view::Event;

/// How many packages are named beside a count: what fits into a line.
const EXAMPLES_MAX: usize = 3;

/// The queue at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Packages that wait their turn while all builders are busy.
    pub waiting: usize,
    /// Packages that wait although a builder is idle.
    pub passed_over: Group,
    /// Packages that wait for capabilities.
    pub deps: Group,
    /// Files that hold the same package as another.
    pub duplicates: Group,
    /// Files that are no whole SRPM.
    pub unusable: Group,
    /// Packages for which leases was asked.
    pub claimed: usize,
    /// Packages with a live lease.
    pub leased: usize,
    /// Packages on their way to `finished/`, their attempts used up.
    pub retiring: usize,
    /// Packages in `finished/`.
    pub finished: usize,
    /// Builders in quarantine.
    pub quarantined: usize,
    /// Why nothing at all is leased.
    pub blocked: Option<String>,
}

/// A count and the first few of what is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// How many.
    pub count: usize,
    /// The first few, each with what there is to say of it.
    pub examples: Vec<(FileName, String)>,
}

impl Group {
    fn add(&mut self, name: &FileName, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push((name.clone(), text()));
        }
    }

    fn say(&self, what: &str, parts: &mut Vec<String>) {
        if self.count == 0 {
            return;
        }
        let example = |(name, text): &(FileName, String)| {
            if text.is_empty() { name.to_string() } else { format!("{name}: {text}") }
        };
        let mut examples: Vec<String> = self.examples.iter().map(example).collect();
        if self.count > examples.len() {
            examples.push("…".to_owned());
        }
        parts.push(format!("{} {what} ({})", self.count, examples.join("; ")));
    }
}

impl Snapshot {
    /// Why an idle builder gets nothing, in one line.
    #[must_use]
    pub fn why_nothing(&self) -> String {
        if let Some(why) = &self.blocked {
            return why.clone();
        }
        let mut parts = Vec::new();
        self.deps.say("wait for dependencies", &mut parts);
        self.passed_over.say("wait for a builder", &mut parts);
        self.duplicates.say("are there twice", &mut parts);
        self.unusable.say("unusable", &mut parts);
        if parts.is_empty() { "no package waits".to_owned() } else { parts.join(", ") }
    }
}

impl Queue {
    /// Counts by state, and why nothing is leased.
    #[must_use]
    pub fn snapshot(&self, now: Time) -> Snapshot {
        let quarantined = self.standing.all.values().filter(|b| b.quarantined_until(now).is_some());
        Snapshot { quarantined: quarantined.count(), ..self.groups(now) }
    }

    /// As [`Queue::snapshot`], without what concerns all builders.
    pub(super) fn groups(&self, now: Time) -> Snapshot {
        let mut all = Snapshot { blocked: self.blocked(), ..Snapshot::default() };
        let nobody_is_idle = self.standing.idle(now).next().is_none();
        for (name, package) in &self.packages {
            match &package.state {
                State::Gone => {}
                State::Unusable { why } => all.unusable.add(name, || why.clone()),
                // With no builder idle they simply wait their turn.
                State::Waiting if nobody_is_idle => all.waiting += 1,
                State::Returning { .. } | State::Held(Hold::Behind { .. }) => all.waiting += 1,
                State::Waiting => all.passed_over.add(name, || self.why_not(now, name, package)),
                State::Held(Hold::Deps { wants, .. }) => all.deps.add(name, || wants.names().join(", ")),
                State::Held(Hold::Duplicate { of }) => all.duplicates.add(name, || of.to_string()),
                State::Claimed { .. } => all.claimed += 1,
                State::Leased(_) => all.leased += 1,
                State::Retiring => all.retiring += 1,
                State::Finished => all.finished += 1,
            }
        }
        all
    }

    pub(super) fn blocked(&self) -> Option<String> {
        let low = self.space.filter(|(free, floor)| free < floor);
        if let Some(why) = &self.stopped {
            Some(format!("{why}: when its cause is gone, restart the hub"))
        } else if let Some((free, floor)) = low {
            Some(format!("{} MiB free, {} are needed", free >> 20, floor >> 20))
        } else if self.standing.bird_is_out() {
            Some("a canary is out".to_owned())
        } else {
            None
        }
    }

    /// What an operator must know first: why nothing is leased, and why what is built does not arrive.
    pub(super) fn concern(&self, now: Time) -> Option<String> {
        let waits = self.short.as_ref().map(|(why, since)| {
            let long = duration(now.since_ms(*since));
            format!("uploads and commits wait for {long}, and go on by themselves: {why}")
        });
        let all: Vec<String> = self.blocked().into_iter().chain(waits).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Takes what transfers say of a shortage.
    pub(super) fn on_short(&mut self, now: Time, why: Option<String>, out: &mut Vec<Effect>) {
        let (kind, text) = match &why {
            Some(why) => (EventKind::Blocked, format!("uploads and commits wait: {why}")),
            None => (EventKind::Unblocked, "uploads and commits go on".to_owned()),
        };
        events::tell(out, Event::new(kind, text));
        self.short = why.map(|why| (why, now));
    }

    /// Why a package that waits is not with one of the idle builders.
    pub(super) fn why_not(&self, now: Time, srpm: &FileName, package: &Package) -> String {
        let name = |id| self.standing.name(id);
        if let Some(id) = self.kept.get(srpm) {
            return format!("kept for {}, where it is done sooner", name(*id));
        }
        let paused: Vec<String> =
            package.past.not_on.iter().filter(|(_, until)| **until > now).map(|(id, _)| name(*id)).collect();
        let may: Vec<String> = self.who_may(now, package).into_iter().map(name).collect();
        match (may.is_empty(), paused.is_empty()) {
            (false, _) => format!("goes to {} next", may.join(" or ")),
            (true, false) => format!("not again so soon on {}", paused.join(", ")),
            (true, true) => "no builder that can have it".to_owned(),
        }
    }
}
