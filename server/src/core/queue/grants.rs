//! Answers of leases to what the queue asked for, and grants that it did not ask for.
//!
//! Owns when a claim is over. Leases alone decide who holds what: the queue follows.

use moji_proto::message::EventKind;
use moji_proto::{FileName, LeaseId, Time};

use super::package::{Leased, State};
use super::{ClaimFailure, Effect, Note, Queue, events, settle};
use crate::core::types::BuilderId;

impl Queue {
    /// The package is leased, asked for or not.
    pub(super) fn on_granted(
        &mut self,
        now: Time,
        srpm: &FileName,
        lease: LeaseId,
        id: BuilderId,
        out: &mut Vec<Effect>,
    ) {
        // What this run did not ask for was begun before something that is published now.
        let asked = self.package(srpm).state == State::Claimed { builder: id };
        let published = if asked { self.published } else { 0 };
        let leased = Leased { published, ..self.taken_up(now, srpm, lease, id) };
        let inherited = leased.inherited;
        self.package(srpm).released = None;
        self.own(srpm);
        self.go(srpm, State::Leased(leased));
        let name = self.standing.all.get(&id).map(|builder| builder.info.name.clone());
        self.package(srpm).builder = name;
        out.push(Effect::History(Note::Began { srpm: srpm.clone(), lease, builder: id }));
        if !inherited {
            let text = format!("leased to {}", self.standing.name(id));
            events::tell(out, self.lease_event(EventKind::Leased, srpm, lease, id, text));
        }
        self.granted_although_cancelled(srpm, out);
    }

    /// The builder has the package, under this lease.
    pub(super) fn taken_up(&mut self, now: Time, srpm: &FileName, lease: LeaseId, id: BuilderId) -> Leased {
        // Before any builder has registered, leases tell only of what they found at the start.
        let inherited = !self.standing.all.contains_key(&id);
        self.standing.answered(id, srpm);
        self.standing.busy(id);
        if let Some(builder) = self.standing.all.get_mut(&id) {
            builder.job = Some((srpm.clone(), now));
        }
        Leased { inherited, ..Leased::of(lease, id, now) }
    }

    /// A claim came to nothing; what becomes of package and builder depends on why.
    pub(super) fn on_claim_failed(
        &mut self,
        now: Time,
        srpm: &FileName,
        id: BuilderId,
        why: ClaimFailure,
        out: &mut Vec<Effect>,
    ) {
        self.standing.answered(id, srpm);
        if why == ClaimFailure::NoBuilder {
            self.standing.busy(id);
        }
        if let (State::Leased(leased), ClaimFailure::NoBuilder) = (&mut self.package(srpm).state, why) {
            // It was to be a copy.
            leased.copied_to.remove(&id);
        }
        if self.package(srpm).state != (State::Claimed { builder: id }) {
            return;
        }
        if self.standing.bird.as_ref() == Some(srpm) {
            self.standing.bird = None;
        }
        let gone = why == ClaimFailure::NoSuchFile && self.package(srpm).dropped.is_none();
        if gone {
            self.leave(srpm, out);
            self.is_over(srpm, "its file is gone from source/", out);
            return self.tidy(srpm);
        }
        // Either the watch is about to say that the file is gone, or a lease is about to end.
        if why != ClaimFailure::NoBuilder {
            let until = now.plus_ms(settle::CLAIM_AGAIN_MS);
            self.package(srpm).not_before = Some(until);
            self.wakes.insert(until);
        }
        if let Some(dropped) = self.package(srpm).dropped.clone() {
            self.replace(srpm, dropped, out);
        }
        if !self.cancel_now(srpm, out) {
            self.enqueue(srpm, out);
        }
    }
}
