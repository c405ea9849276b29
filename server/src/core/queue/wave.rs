//! In which order packages are built again that are built against each other.
//!
//! Owns the packages that go back for a change until their new builds can be seen, and who of them waits for whom: one
//! whose BuildRequires are provided by another one of them is held until that is through, since it would be built against
//! what is about to be replaced, or find two libraries that cannot be installed beside each other. Whatever ends the other
//! one's turn (built, failed, held, taken away) ends the wait. Where nobody of them moves and some are held, they wait in a
//! circle: then the one with the longest chain goes first. Nobody waits for longer than a day.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use moji_proto::{FileName, Time};

use super::deps::AGAIN_MS;
use super::package::{Hold, State};
use super::{Effect, Queue, log};
use crate::core::capabilities::Requirement;

/// Packages that are built again.
#[derive(Debug, Default)]
pub(super) struct Wave {
    /// Each, and whether it waits for nobody.
    members: BTreeMap<FileName, bool>,
    /// Whose published results these folders are.
    folders: BTreeMap<Box<str>, FileName>,
    /// Who waits for whom.
    behind: BTreeMap<FileName, BTreeSet<FileName>>,
    /// Whose state changed since the last look.
    touched: Vec<FileName>,
}

impl Wave {
    /// The package goes back; these are the folders of its published results.
    pub(super) fn join(&mut self, name: &FileName, folders: &[String]) {
        self.members.insert(name.clone(), false);
        self.folders.extend(folders.iter().map(|folder| (folder.as_str().into(), name.clone())));
    }

    /// The package's state changed.
    pub(super) fn touch(&mut self, name: &FileName) {
        if self.members.contains_key(name) {
            self.touched.push(name.clone());
        }
    }

    /// The package waits for nobody any more.
    pub(super) fn free(&mut self, name: &FileName) {
        if let Some(is_free) = self.members.get_mut(name) {
            *is_free = true;
        }
    }

    /// It is through. Gives who waited for it.
    fn leave(&mut self, name: &FileName) -> BTreeSet<FileName> {
        self.members.remove(name);
        if self.members.is_empty() {
            self.folders.clear();
        }
        self.behind.remove(name).unwrap_or_default()
    }
}

impl Queue {
    /// What a package becomes that may be leased: it waits its turn, or for another one that is built again.
    pub(super) fn turn(&mut self, name: &FileName) -> State {
        if self.rebuild.wave.members.get(name) != Some(&false) {
            return State::Waiting;
        }
        let Some(first) = self.first_of(name) else { return State::Waiting };
        let until = self.now.plus_ms(AGAIN_MS);
        self.wakes.insert(until);
        self.rebuild.wave.behind.entry(first.clone()).or_default().insert(name.clone());
        State::Held(Hold::Behind { first, until })
    }

    /// Another one that is built again and provides what this one is built against.
    fn first_of(&self, name: &FileName) -> Option<FileName> {
        let wave = &self.rebuild.wave;
        let facts = &self.packages.get(name)?.srpm.as_ref()?.facts;
        let is_first = |path: &str| {
            let first = wave.folders.get(path.rsplit_once('/')?.0)?;
            // Who is through has left.
            let is_one = first != name && wave.members.contains_key(first);
            is_one.then(|| first.clone())
        };
        facts.requires.iter().find_map(|one| {
            let paths = self.stock.there.who_provides(&Requirement::of(one));
            paths.into_iter().find_map(is_first)
        })
    }

    /// Whether its new build is to come.
    fn is_pending(&self, name: &FileName) -> bool {
        self.moves(name) || self.packages.get(name).is_some_and(|package| is_behind(&package.state))
    }

    /// Whether it gets on with its new build.
    fn moves(&self, name: &FileName) -> bool {
        self.packages.get(name).is_some_and(|package| match package.state {
            State::Returning { .. } | State::Waiting | State::Claimed { .. } | State::Leased(_) => true,
            // Builders cannot see it yet.
            State::Finished => self.rebuild.is_fresh(name),
            _ => false,
        })
    }

    /// Ends the wait for those that are through.
    pub(super) fn follow(&mut self, out: &mut Vec<Effect>) {
        while !self.rebuild.wave.touched.is_empty() {
            for name in std::mem::take(&mut self.rebuild.wave.touched) {
                if !self.rebuild.wave.members.contains_key(&name) || self.is_pending(&name) {
                    continue;
                }
                if self.packages.get(&name).is_none_or(|package| !package.state.is_live()) {
                    self.rebuild.forget_cause(&name);
                }
                let mut freed: Vec<FileName> = self.rebuild.wave.leave(&name).into_iter().collect();
                freed.retain(|one| self.is_behind_of(one, &name));
                freed.iter().for_each(|one| self.enqueue(one, out));
                self.tell_that_wait(&freed, format_args!("{name} is through"), out);
            }
            if self.rebuild.wave.touched.is_empty() {
                self.break_circle(out);
            }
        }
    }

    fn is_behind_of(&self, name: &FileName, of: &FileName) -> bool {
        let state = self.packages.get(name).map(|package| &package.state);
        matches!(state, Some(State::Held(Hold::Behind { first, .. })) if first == of)
    }

    /// If nobody moves and some are held, lets one of them go first.
    fn break_circle(&mut self, out: &mut Vec<Effect>) {
        let members = &self.rebuild.wave.members;
        if members.keys().any(|name| self.moves(name)) {
            return;
        }
        let held = members.keys().filter(|name| self.is_pending(name));
        let longest = held.min_by_key(|name| Reverse(self.chain.place(name).chain_s));
        let Some(name) = longest.cloned() else { return };
        log(out, log::Level::Info, format!("pkg={name} goes first of packages that wait for each other"));
        self.rebuild.wave.free(&name);
        self.enqueue(&name, out);
    }

    /// Ends waits that took too long.
    pub(super) fn follow_no_longer(&mut self, now: Time, out: &mut Vec<Effect>) {
        let is_over = |name: &&FileName| {
            let state = self.packages.get(*name).map(|package| &package.state);
            matches!(state, Some(State::Held(Hold::Behind { until, .. })) if *until <= now)
        };
        let over: Vec<FileName> = self.rebuild.wave.members.keys().filter(is_over).cloned().collect();
        for name in &over {
            self.rebuild.wave.free(name);
            self.enqueue(name, out);
        }
        self.tell_that_wait(&over, "what is built again first takes too long", out);
    }
}

fn is_behind(state: &State) -> bool {
    matches!(state, State::Held(Hold::Behind { .. }))
}
