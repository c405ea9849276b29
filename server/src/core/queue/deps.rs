//! What waits for BuildRequires: what a log named, and what ends the wait.
//!
//! Owns the holds for them. Repo knows what is published, and says when what a package waits for is there; builders
//! can see it by then, so the package is leased at once. What no log names goes on a pause after the next publication,
//! and everything is tried once a day, since the distribution's own repositories change too.
//!
//! What a build misses although repo has it (a conflict, a board with an old index) would come back at once, again and
//! again: each time that nothing new is missed it pauses for longer.

use std::collections::BTreeSet;

use moji_proto::{FileName, Time};

use super::package::{Hold, Leased, Package, State};
use super::{Effect, Queue};
use crate::core::capabilities::Requirement;

/// What waits for a BuildRequires is tried again after this although nothing it waits for was published,
/// milliseconds: a day.
const AGAIN_MS: u64 = 24 * 3600 * 1000;

/// Capabilities that a build missed, as its log names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// No package matched these: all of them are needed.
    pub all: Vec<String>,
    /// Nothing provided these when something else was to be installed: with one of them there may be a way.
    pub any: Vec<String>,
}

impl Wants {
    /// Whether nothing is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.any.is_empty()
    }

    /// All names, sorted, each once.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.all.iter().chain(&self.any).collect();
        names.into_iter().cloned().collect()
    }
}

impl Queue {
    /// A build missed these.
    pub(super) fn hold_for_deps(
        &mut self,
        now: Time,
        name: &FileName,
        leased: &Leased,
        wants: Wants,
        out: &mut Vec<Effect>,
    ) {
        let is_news = leased.published != self.published;
        if !self.config.capabilities && is_news {
            // What was published while it was built may be what it missed.
            return self.enqueue(name, out);
        }
        let mut until = now.plus_ms(AGAIN_MS);
        if wants.is_empty() && is_news {
            until = now.plus_ms(self.config.retry_pause_ms);
        }
        let past = &mut self.package(name).past;
        let is_vain = !wants.is_empty() && wants.names().iter().all(|name| past.woken_for.contains(name));
        past.vain = if is_vain { past.vain + 1 } else { 0 };
        if self.config.capabilities && !wants.is_empty() {
            self.awaits.insert(name.clone(), Some(wants.clone()));
        }
        self.wakes.insert(until);
        self.go(name, State::Held(Hold::Deps { wants, until }));
    }

    /// Builders can see all that the package waits for.
    pub(super) fn on_provided(&mut self, now: Time, name: &FileName, out: &mut Vec<Effect>) {
        let Some(package) = self.packages.get_mut(name) else { return };
        let State::Held(Hold::Deps { wants, until }) = &package.state else { return };
        if wants.is_empty() {
            return;
        }
        let (wants, until) = (wants.clone(), *until);
        package.past.woken_for.extend(wants.names());
        if let Some(doublings) = package.past.vain.checked_sub(1) {
            let pause_ms = self.config.retry_pause_ms.max(1).saturating_mul(1 << doublings.min(32));
            let until = until.min(now.plus_ms(pause_ms));
            self.wakes.insert(until);
            return self.go(name, State::Held(Hold::Deps { wants, until }));
        }
        // It is no worse a guess than what was never tried.
        package.past.deps = 0;
        self.enqueue(name, out);
        self.tell_that_wait(std::slice::from_ref(name), "what it waited for is there", out);
    }

    /// Builders can see something new.
    pub(super) fn on_published(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.published += 1;
        if !self.config.capabilities {
            let waits = |p: &Package| matches!(p.state, State::Held(Hold::Deps { .. }));
            return self.unhold(waits, "something was published", out);
        }
        let soon = now.plus_ms(self.config.retry_pause_ms);
        let later = |p: &Package| match &p.state {
            State::Held(Hold::Deps { wants, until }) => wants.is_empty() && *until > soon,
            _ => false,
        };
        let names: Vec<FileName> =
            self.packages.iter().filter(|(_, p)| later(p)).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.wakes.insert(soon);
            self.go(&name, State::Held(Hold::Deps { wants: Wants::default(), until: soon }));
        }
    }

    /// Tells repo who waits for what from now on, and who no longer.
    pub(super) fn say_awaits(&mut self, out: &mut Vec<Effect>) {
        let requirements = |names: &[String]| names.iter().map(|name| Requirement::parse(name)).collect();
        for (srpm, wants) in std::mem::take(&mut self.awaits) {
            out.push(match wants {
                Some(Wants { all, any }) => {
                    Effect::Await { srpm, all: requirements(&all), any: requirements(&any) }
                }
                None => Effect::Forget { srpm },
            });
        }
    }
}
