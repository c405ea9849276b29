//! What headers name and nobody provides: held before it wastes a board's hour.
//!
//! Owns those holds. Only where mainline is known (`--mainline`): of a distribution that nobody told of, nothing is known
//! to be missing. A header is a hint and no proof, since BuildRequires may be made while it is built and depend on the
//! architecture: so each package is tried once all the same when a builder would otherwise idle, and after a day. What
//! its log says then counts, and the header no more.
//!
//! A package is looked at when its turn comes, a few dozen at most for a message: looking at all of them whenever
//! mainline changes would keep builders waiting.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use moji_proto::message::EventKind;
use moji_proto::{FileName, Time};

use super::deps::{AGAIN_MS, Wants};
use super::package::{Hold, Package, State};
use super::{Effect, Queue, events, log};
use crate::core::capabilities::{Answer, Capabilities, Requirement, answer_among};
use crate::core::view::Event;

/// So many packages at most are looked at in vain before somebody else's message is handled: a millisecond or two.
pub(super) const LOOKS_MAX: usize = 32;
/// More than so many packages that are held at once are one event.
const EACH_MAX: usize = 16;

/// What is known beside the hub's own repository, and who is held.
#[derive(Debug, Default)]
pub(super) struct Headers {
    mainline: Option<Arc<Capabilities>>,
    /// Who is held, with the chain behind it.
    held: BTreeMap<FileName, u64>,
    /// The same, the longest chain first.
    by_chain: BTreeSet<(Reverse<u64>, FileName)>,
}

impl Headers {
    /// A package is held since nobody provides what its header names, or is so no longer.
    pub(super) fn note(&mut self, name: &FileName, state: &State, chain_s: u64) {
        if matches!(state, State::Held(Hold::Deps { is_guess: true, .. })) {
            self.held.entry(name.clone()).or_insert(chain_s);
            self.moved(name, chain_s);
            self.by_chain.insert((Reverse(chain_s), name.clone()));
        } else if let Some(chain_s) = self.held.remove(name) {
            self.by_chain.remove(&(Reverse(chain_s), name.clone()));
        }
    }

    /// The chain behind a package, held or not, is another.
    pub(super) fn moved(&mut self, name: &FileName, chain_s: u64) {
        let Some(held) = self.held.get_mut(name).filter(|held| **held != chain_s) else { return };
        let before = std::mem::replace(held, chain_s);
        self.by_chain.remove(&(Reverse(before), name.clone()));
        self.by_chain.insert((Reverse(chain_s), name.clone()));
    }
}

impl Queue {
    /// What is known of mainline is this.
    pub(super) fn on_mainline(&mut self, there: Arc<Capabilities>, out: &mut Vec<Effect>) {
        self.headers.mainline = Some(there);
        let held: Vec<FileName> = self.headers.held.keys().cloned().collect();
        let is_over = |name: &&FileName| self.packages.get(*name).is_none_or(|p| self.lacks(p).is_empty());
        let over: Vec<FileName> = held.iter().filter(is_over).cloned().collect();
        over.iter().for_each(|name| self.enqueue(name, out));
        self.tell_that_wait(&over, "mainline has what it waited for", out);
    }

    /// The BuildRequires of a package that was never tried which neither mainline nor the hub provides.
    pub(super) fn lacks(&self, package: &Package) -> Vec<String> {
        let (Some(mainline), Some(srpm)) = (&self.headers.mainline, &package.srpm) else { return Vec::new() };
        if package.past.tried || !self.stock.is_known {
            return Vec::new();
        }
        let there = [&**mainline, &self.stock.there];
        let requires = srpm.facts.requires.iter().map(Requirement::of);
        let lacking = requires.filter(|one| answer_among(&there, one) == Answer::No);
        lacking.map(|one| one.to_string()).collect()
    }

    /// Nobody provides these, which the headers of packages name.
    pub(super) fn hold_for_headers(
        &mut self,
        now: Time,
        lacking: Vec<(FileName, Vec<String>)>,
        out: &mut Vec<Effect>,
    ) {
        let count = lacking.len();
        for (name, all) in lacking {
            let text =
                format!("neither mainline nor this hub provides {}, which its header names", all.join(", "));
            let (wants, until) = (Wants { all, any: Vec::new() }, now.plus_ms(AGAIN_MS));
            self.awaits.insert(name.clone(), Some(wants.clone()));
            self.wakes.insert(until);
            self.go(&name, State::Held(Hold::Deps { wants, until, is_guess: true }));
            log(out, log::Level::Info, format!("pkg={name} is held: {text}"));
            if count <= EACH_MAX {
                self.tell_of(&name, EventKind::Held, text, out);
            }
        }
        if count > EACH_MAX {
            let text = format!("{count} packages are held: nobody provides what their headers name");
            events::tell(out, Event::new(EventKind::Held, text));
        }
    }

    /// So many builders idle: as many of those that are held may be tried, the longest chain first. Says whether any.
    pub(super) fn try_held(&mut self, builders: usize, out: &mut Vec<Effect>) -> bool {
        let held = self.headers.by_chain.iter().take(builders);
        let names: Vec<FileName> = held.map(|(_, name)| name.clone()).collect();
        for name in &names {
            self.package(name).past.tried = true;
            self.enqueue(name, out);
        }
        self.tell_that_wait(&names, "a builder would idle, and a header may be wrong", out);
        !names.is_empty()
    }
}
