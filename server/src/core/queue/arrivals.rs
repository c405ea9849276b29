//! What the folders say: files that come, go, and come back.
//!
//! Owns when a package starts afresh. Believes the watch about `source/` and `finished/` only, never
//! about a lease.

use moji_proto::FileName;
use moji_proto::message::{EventKind, PackageState};

use super::package::{Ending, Hold, Past, State};
use super::{Effect, Note, Queue, log};
use crate::core::leases;
use crate::core::types::Srpm;

impl Queue {
    /// A whole SRPM is in `source/`. Said again about what is known already it changes nothing.
    pub(super) fn on_appeared(&mut self, name: &FileName, srpm: Srpm, out: &mut Vec<Effect>) {
        let package = self.package(name);
        package.dropped = Some(srpm.clone());
        let mut what = "is in source/";
        let is_new = package.srpm.as_ref() != Some(&srpm);
        match &package.state {
            State::Claimed { .. } | State::Leased(_) => return,
            State::Waiting | State::Held(_) if !is_new => return,
            // The move to `finished/` may have been lost in a crash of the folders' file system.
            State::Retiring if !is_new => return self.retire(name, out),
            State::Waiting | State::Held(_) | State::Retiring => {
                log(out, log::Level::Info, format!("pkg={name} was replaced"));
                what = "was replaced";
                self.replace(name, srpm, out);
            }
            State::Finished | State::Returning { .. } => self.replace_afresh(name, srpm, out),
            // What the history charged before this run saw the file is charged to this file.
            State::Gone | State::Unusable { .. } if package.srpm.is_none() => package.srpm = Some(srpm),
            State::Gone | State::Unusable { .. } => self.replace(name, srpm, out),
        }
        self.enqueue(name, out);
        if self.package(name).state == State::Waiting {
            self.tell_of(name, EventKind::Waiting, what, out);
        }
    }

    /// A file in `source/` is no whole SRPM.
    pub(super) fn on_unusable(&mut self, name: &FileName, why: String, out: &mut Vec<Effect>) {
        let package = self.package(name);
        package.dropped = None;
        match &package.state {
            State::Unusable { why: before } if *before == why => return,
            State::Claimed { .. } | State::Leased(_) => {}
            _ => {
                self.go(name, State::Unusable { why: why.clone() });
                self.tell_of(name, EventKind::Held, why.clone(), out);
                self.is_over(name, "it is no whole SRPM", out);
            }
        }
        log(out, log::Level::Warn, format!("pkg={name} is left in source/: {why}"));
    }

    /// A file left `source/`.
    pub(super) fn on_vanished(&mut self, name: &FileName, out: &mut Vec<Effect>) {
        let Some(package) = self.packages.get_mut(name) else { return };
        package.dropped = None;
        match package.state {
            // The lease took it away, or it was a second one that somebody thought better of.
            State::Claimed { .. }
            | State::Leased(_)
            | State::Gone
            | State::Finished
            // The watch has not seen it there yet: this is about an earlier file.
            | State::Returning { .. } => {}
            // leases say where it went.
            State::Retiring if self.asked.has(name) => {}
            State::Retiring => self.leave(name, out),
            State::Waiting | State::Held(_) | State::Unusable { .. } => {
                log(out, log::Level::Info, format!("pkg={name} was taken out of source/"));
                self.leave(name, out);
                self.tell_of(name, EventKind::Left, "was taken out of source/", out);
            }
        }
        self.tidy(name);
    }

    /// A file appeared in `finished/` or left it.
    pub(super) fn on_finished_changed(&mut self, name: &FileName, present: bool, out: &mut Vec<Effect>) {
        let package = self.package(name);
        package.in_finished = present;
        match package.state {
            State::Gone if present => self.leave(name, out),
            State::Finished if !present => self.go(name, State::Gone),
            _ => {}
        }
        self.tidy(name);
    }

    /// Where a package belongs that has a file in `source/` and no lease: waiting, behind another file of
    /// the same package, or, with its attempts used up, in `finished/`.
    pub(super) fn enqueue(&mut self, name: &FileName, out: &mut Vec<Effect>) {
        if self.package(name).past.charged.len() >= self.config.attempts {
            self.own(name);
            return self.retire(name, out);
        }
        let source = self.packages.get(name).and_then(|package| package.srpm.as_ref());
        let peak = source.map(|srpm| self.peaks.of(&srpm.facts.nevra.name)).unwrap_or_default();
        let package = self.package(name);
        (package.ending, package.peak) = (None, peak);
        let Some(of) = self.own(name) else {
            let turn = self.turn(name);
            return self.go(name, turn);
        };
        let hold = State::Held(Hold::Duplicate { of: of.clone() });
        if self.package(name).state != hold {
            log(out, log::Level::Warn, format!("pkg={name} is not leased: {of} is the same package"));
            self.go(name, hold);
            self.tell_of(name, EventKind::Held, format!("{of} is the same package"), out);
        }
    }

    /// The attempts are used up.
    pub(super) fn retire(&mut self, name: &FileName, out: &mut Vec<Effect>) {
        let cancelled = self.package(name).ending.clone().filter(|e| e.state == PackageState::Cancelled);
        // An operator's cancel is said again as such.
        if let (State::Retiring, Some(ending)) = (&self.package(name).state, cancelled) {
            let why = ending.text;
            return out.push(Effect::Leases(leases::Msg::Retire { srpm: name.clone(), why }));
        }
        let why = reasons(&self.package(name).past);
        if self.package(name).state != State::Retiring {
            log(out, log::Level::Warn, format!("pkg={name} failed: {why}"));
            self.package(name).ending = Some(Ending::used_up(why.clone()));
            self.go(name, State::Retiring);
            self.tell_of(name, EventKind::Left, why.clone(), out);
        }
        out.push(Effect::Leases(leases::Msg::Retire { srpm: name.clone(), why }));
    }

    /// Takes what the file holds now; if that is something else, the package starts afresh.
    pub(super) fn replace(&mut self, name: &FileName, srpm: Srpm, out: &mut Vec<Effect>) {
        if self.package(name).srpm.as_ref().is_some_and(|before| *before != srpm) {
            self.replace_afresh(name, srpm, out);
        } else {
            self.package(name).srpm = Some(srpm);
        }
    }

    /// Takes what the file holds now; the package starts afresh.
    pub(super) fn replace_afresh(&mut self, name: &FileName, srpm: Srpm, out: &mut Vec<Effect>) {
        if self.packages.get(name).and_then(|p| p.srpm.as_ref()).is_some_and(|before| *before != srpm) {
            self.suspects.forget(name);
        }
        self.disown(name);
        let free = self.chain.leave(name);
        self.put_in_order(free);
        self.forgive(name, out);
        self.package(name).srpm = Some(srpm);
    }

    /// Forgets what was tried in vain, and how it ended.
    pub(super) fn forgive(&mut self, name: &FileName, out: &mut Vec<Effect>) {
        let package = self.package(name);
        package.released = None;
        package.not_before = None;
        let had_ended = package.ending.take().is_some();
        if std::mem::take(&mut package.past) != Past::default() || had_ended {
            out.push(Effect::History(Note::Afresh { srpm: name.clone() }));
        }
    }

    /// No file of it is in `source/` or leased: it is in `finished/`, or gone.
    pub(super) fn leave(&mut self, name: &FileName, out: &mut Vec<Effect>) {
        if !self.package(name).in_finished {
            return self.go(name, State::Gone);
        }
        let mut ending = self.package(name).ending.take();
        self.forgive(name, out);
        if let Some(Ending { state, text, is_kept: is_kept @ false }) = &mut ending {
            *is_kept = true;
            let (srpm, state, text) = (name.clone(), *state, text.clone());
            out.push(Effect::History(Note::EndedAs { srpm, state, text }));
        }
        self.package(name).ending = ending;
        self.go(name, State::Finished);
    }
}

/// All reasons of all charged attempts, oldest first.
pub(super) fn reasons(past: &Past) -> String {
    let all: Vec<String> = past.charged.iter().map(|(verdict, why)| format!("{verdict}: {why}")).collect();
    format!("all {} attempts used up: {}", all.len(), all.join("; "))
}
