//! What waits for BuildRequires: what a log named, and what ends the wait.
//!
//! Owns the holds for them. [`super::stock`] knows what is published, and says when what a package waits for is there;
//! builders can see it by then, so the package is leased at once. What no log names goes on a pause after the next publication,
//! and everything is tried once a day, since the distribution's own repositories change too.
//!
//! What a build misses although repo has it (a conflict, a board with an old index) would come back at once, again and
//! again: each time that nothing new is missed it pauses for longer.

use std::collections::BTreeSet;

use moji_proto::{FileName, Time};

use super::messages::News;
use super::package::{Hold, Leased, State};
use super::{Effect, Queue};

/// What waits for a BuildRequires is tried again after this although nothing it waits for was published,
/// milliseconds: a day.
pub(super) const AGAIN_MS: u64 = 24 * 3600 * 1000;

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
    pub(super) fn hold_for_deps(&mut self, now: Time, name: &FileName, leased: &Leased, wants: Wants) {
        let is_news = leased.published != self.published;
        let mut until = now.plus_ms(AGAIN_MS);
        if wants.is_empty() && is_news {
            until = now.plus_ms(self.config.retry_pause_ms);
        }
        let past = &mut self.package(name).past;
        let is_vain = !wants.is_empty() && wants.names().iter().all(|name| past.woken_for.contains(name));
        past.vain = if is_vain { past.vain + 1 } else { 0 };
        if !wants.is_empty() {
            self.awaits.insert(name.clone(), Some(wants.clone()));
        }
        self.wakes.insert(until);
        self.go(name, State::Held(Hold::Deps { wants, until, is_guess: false }));
    }

    /// Builders can see all that the package waits for. Says whether it may be leased.
    fn on_provided(&mut self, now: Time, name: &FileName, out: &mut Vec<Effect>) -> bool {
        let Some(package) = self.packages.get_mut(name) else { return false };
        let State::Held(Hold::Deps { wants, until, is_guess }) = &package.state else { return false };
        if *is_guess {
            self.enqueue(name, out);
            return true;
        }
        if wants.is_empty() {
            return false;
        }
        let (wants, until) = (wants.clone(), *until);
        package.past.woken_for.extend(wants.names());
        if let Some(doublings) = package.past.vain.checked_sub(1) {
            let pause_ms = self.config.retry_pause_ms.max(1).saturating_mul(1 << doublings.min(32));
            let until = until.min(now.plus_ms(pause_ms));
            self.wakes.insert(until);
            self.go(name, State::Held(Hold::Deps { wants, until, is_guess: false }));
            return false;
        }
        // It is no worse a guess than what was never tried.
        package.past.deps = 0;
        self.enqueue(name, out);
        true
    }

    /// Builders can see all that these wait for.
    pub(super) fn all_provided(&mut self, now: Time, over: Vec<FileName>, out: &mut Vec<Effect>) {
        let mut woken = over;
        woken.retain(|name| self.on_provided(now, name, out));
        if !woken.is_empty() {
            self.tell_that_wait(&woken, "what they waited for is there", out);
        }
    }

    /// Builders can see something new.
    pub(super) fn on_published(&mut self, now: Time, news: News, out: &mut Vec<Effect>) {
        self.published += 1;
        let over = self.stock_up(news);
        self.look_at_fresh(out);
        self.all_provided(now, over, out);
        let soon = now.plus_ms(self.config.retry_pause_ms);
        let is_later = |name: &&FileName| {
            let state = self.packages.get(*name).map(|package| &package.state);
            matches!(state, Some(State::Held(Hold::Deps { until, .. })) if *until > soon)
        };
        let names: Vec<FileName> = self.holds.unnamed().filter(is_later).cloned().collect();
        for name in names {
            self.wakes.insert(soon);
            let wants = Wants::default();
            self.go(&name, State::Held(Hold::Deps { wants, until: soon, is_guess: false }));
        }
    }

    /// Notes who waits for what from now on; who waits for what is there already goes on at once.
    pub(super) fn heed_waits(&mut self, now: Time, out: &mut Vec<Effect>) {
        loop {
            let over = self.note_waits(out);
            if over.is_empty() {
                return;
            }
            self.all_provided(now, over, out);
        }
    }
}
