//! What operators are told of what happens.
//!
//! Owns the shape of the queue's events; each is told beside the log line of the same. What was there when the hub
//! started is no news, and what happens to many packages at once is told once.

use std::fmt;

use moji_proto::message::{EventKind, PackageState};
use moji_proto::{FileName, LeaseId};

use super::package::State;
use super::{Effect, Queue};
use crate::core::desk;
use crate::core::types::BuilderId;
use crate::core::view::Event;

/// So many packages that wait again for one reason are told one by one; more are told as a number, since a
/// publication may wake thousands, second by second.
const EACH_MAX: usize = 16;

/// Tells the desk.
pub(super) fn tell(out: &mut Vec<Effect>, event: Event) {
    out.push(Effect::Desk(desk::Msg::Event(event)));
}

impl Queue {
    /// An event about a package as it is now, with the state that an operator sees.
    pub(super) fn event(&self, kind: EventKind, name: &FileName, text: impl Into<String>) -> Event {
        let package = self.packages.get(name);
        let shown = package.filter(|package| package.state != State::Gone).map(|package| package.shown());
        Event { srpm: Some(name.clone()), state: shown, ..Event::new(kind, text) }
    }

    /// Tells of a package, unless it was found so at the start.
    pub(super) fn tell_of(
        &self,
        name: &FileName,
        kind: EventKind,
        text: impl Into<String>,
        out: &mut Vec<Effect>,
    ) {
        if self.scanned {
            tell(out, self.event(kind, name, text));
        }
    }

    /// An event about a package's lease.
    pub(super) fn lease_event(
        &self,
        kind: EventKind,
        name: &FileName,
        lease: LeaseId,
        builder: BuilderId,
        text: impl Into<String>,
    ) -> Event {
        let builder = self.standing.all.get(&builder).map(|builder| builder.info.name.clone());
        Event { lease: Some(lease), builder, ..self.event(kind, name, text) }
    }

    /// Tells of a builder.
    pub(super) fn tell_of_builder(
        &self,
        id: BuilderId,
        kind: EventKind,
        text: impl Into<String>,
        out: &mut Vec<Effect>,
    ) {
        let builder = self.standing.all.get(&id).map(|builder| builder.info.name.clone());
        tell(out, Event { builder, ..Event::new(kind, text) });
    }

    /// A build began again since its thin repository was not enough. Transfers logged it.
    pub(super) fn on_again(
        &mut self,
        name: &FileName,
        lease: LeaseId,
        builder: BuilderId,
        text: String,
        out: &mut Vec<Effect>,
    ) {
        let Some(package) = self.packages.get_mut(name) else { return };
        package.widened = package.widened.saturating_add(1);
        if let State::Leased(leased) = &mut package.state
            && leased.lease == lease
        {
            leased.again.clone_from(&text);
        }
        tell(out, self.lease_event(EventKind::Again, name, lease, builder, text));
    }

    /// Tells of packages that may be leased again.
    pub(super) fn tell_that_wait(&self, names: &[FileName], why: impl fmt::Display, out: &mut Vec<Effect>) {
        let waits = |name: &&FileName| {
            self.packages.get(*name).is_some_and(|package| package.shown() == PackageState::Waiting)
        };
        let waiting: Vec<&FileName> = names.iter().filter(waits).collect();
        if waiting.len() <= EACH_MAX {
            for name in waiting {
                self.tell_of(name, EventKind::Waiting, format!("waits again: {why}"), out);
            }
        } else if self.scanned {
            let text = format!("{} packages wait again: {why}", waiting.len());
            tell(out, Event { state: Some(PackageState::Waiting), ..Event::new(EventKind::Waiting, text) });
        }
    }
}
