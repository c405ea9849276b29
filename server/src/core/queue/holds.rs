//! Who is held, by what ends it: found without asking every package.
//!
//! Owns two indexes, which follow every change of a state: when holds end by themselves, and who waits for something
//! that no log named.

use std::collections::BTreeSet;

use moji_proto::{FileName, Time};

use super::package::{Hold, State};

/// The indexes.
#[derive(Debug, Default)]
pub(super) struct Holds {
    ends: BTreeSet<(Time, FileName)>,
    unnamed: BTreeSet<FileName>,
}

impl Holds {
    /// A package goes from one state to another.
    pub(super) fn note(&mut self, name: &FileName, before: &State, next: &State) {
        if let Some(until) = end(before) {
            self.ends.remove(&(until, name.clone()));
        }
        if let Some(until) = end(next) {
            self.ends.insert((until, name.clone()));
        }
        if is_unnamed(next) {
            self.unnamed.insert(name.clone());
        } else if is_unnamed(before) {
            self.unnamed.remove(name);
        }
    }

    /// Those whose hold is over, by name.
    pub(super) fn over(&self, now: Time) -> Vec<FileName> {
        let over = self.ends.iter().take_while(|(until, _)| *until <= now);
        let mut names: Vec<FileName> = over.map(|(_, name)| name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// Those that wait for something that no log named.
    pub(super) fn unnamed(&self) -> impl Iterator<Item = &FileName> {
        self.unnamed.iter()
    }
}

/// When a state ends by itself.
fn end(state: &State) -> Option<Time> {
    match state {
        State::Held(Hold::Deps { until, .. }) | State::Returning { until } => Some(*until),
        _ => None,
    }
}

fn is_unnamed(state: &State) -> bool {
    matches!(state, State::Held(Hold::Deps { wants, .. }) if wants.is_empty())
}
