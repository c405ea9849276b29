//! Builders come, report what they hold, and go.
//!
//! Owns what a reported lease is to its builder. Never touches a lease of another builder.

use log::Level;
use moji_proto::message::{Health, ReleaseWhy, ToBuilder, Verdict};
use moji_proto::refusal::RejectCode;
use moji_proto::{LeaseId, Time};

use super::{Holder, Lease, Leases, Peer, State};
use crate::core::leases::{Effect, Place, Record};
use crate::core::types::{BuilderId, BuilderInfo, End, HeldLease, SessionId};
use crate::core::{queue, transfers};

/// Only such names are ever moved on a builder's word.
const SRPM_SUFFIX: &str = ".src.rpm";

/// What a reported lease is to its builder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Live,
    /// On its way somewhere; the builder is answered when it is there.
    Moving,
    Done,
    Revivable,
    Gone,
}

impl Leases {
    pub(super) fn connected(
        &mut self,
        now: Time,
        session: SessionId,
        info: BuilderInfo,
        mut held: Vec<HeldLease>,
        out: &mut Vec<Effect>,
    ) {
        assert!(!self.sessions.contains_key(&session), "a session registers once");
        let builder = info.id;
        held.sort_by_key(|held| held.lease);
        held.dedup_by_key(|held| held.lease);
        if self.broken && held.iter().any(|held| self.standing(builder, held) == Standing::Revivable) {
            // Its build may be saved by a restart of the hub: no answer is better than Gone.
            out.push(Effect::Close(session, RejectCode::ShuttingDown));
            return;
        }
        if let Some(old) = self.builders.get(&builder).copied() {
            self.leave_session(now, old, out);
        }
        self.builders.insert(builder, session);
        self.sessions.insert(session, Peer { info: info.clone(), takes_job: false });
        out.push(Effect::Welcome(session));
        out.push(Effect::Queue(queue::Msg::BuilderUp { session, info }));
        self.end_unreported(builder, &held, out);
        for held in held {
            self.answer(builder, session, held, out);
        }
        // Without grace, what was detached above and not taken up again ends now.
        self.expire(now, out);
    }

    /// What the hub believes this builder to build and the builder knows nothing of is lost, if the builder ever knew.
    fn end_unreported(&mut self, builder: BuilderId, held: &[HeldLease], out: &mut Vec<Effect>) {
        let lost: Vec<LeaseId> = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.builder == builder && matches!(lease.state, State::Live { .. }))
            .map(|(id, _)| *id)
            .filter(|id| held.iter().all(|held| held.lease != *id))
            .collect();
        for lease in lost {
            let verdict = self.missed(lease, "came back without it", out);
            self.close(lease, "the builder came back without it", out);
            self.go_back(lease, verdict, true, None, out);
        }
    }

    /// What it means that a builder does not build what it holds.
    pub(super) fn missed(&self, lease: LeaseId, what: &str, out: &mut Vec<Effect>) -> Verdict {
        if self.leases[&lease].taken {
            self.log(out, Level::Warn, lease, &format!("lost: its builder {what}"));
            Verdict::Lost
        } else {
            // The connection died under `Job`: nobody's fault, and no attempt.
            self.log(out, Level::Info, lease, "released: its builder never got the job");
            Verdict::Released
        }
    }

    fn standing(&self, builder: BuilderId, held: &HeldLease) -> Standing {
        if self.committed.contains(&held.lease) {
            return Standing::Done;
        }
        if let Some(lease) = self.leases.get(&held.lease) {
            if lease.builder != builder || lease.srpm != held.srpm {
                return Standing::Gone;
            }
            return match &lease.state {
                State::Live { .. } | State::Sealed { .. } | State::Parked { .. } => Standing::Live,
                State::Arriving { held: Some(_), .. } | State::Leaving { revivable: true, .. } => {
                    Standing::Moving
                }
                State::Arriving { held: None, .. } | State::Leaving { .. } => Standing::Gone,
            };
        }
        let known = match self.ended.get(&held.lease) {
            Some(ended) => ended.revivable && ended.builder == builder && ended.srpm == held.srpm,
            // Its record is lost. Ids of this run are all known, those of later ones are made up.
            None => held.lease.incarnation < self.incarnation,
        };
        let may =
            known && held.srpm.as_str().ends_with(SRPM_SUFFIX) && !self.by_srpm.contains_key(&held.srpm);
        if may { Standing::Revivable } else { Standing::Gone }
    }

    fn answer(&mut self, builder: BuilderId, session: SessionId, held: HeldLease, out: &mut Vec<Effect>) {
        let id = held.lease;
        match self.standing(builder, &held) {
            Standing::Done => out.push(Effect::Send(session, ToBuilder::Done { lease: id })),
            Standing::Gone => out.push(Effect::Send(session, ToBuilder::Gone { lease: id })),
            Standing::Revivable => {
                self.ended.remove(&id);
                let grant = Record::Grant { lease: id, srpm: held.srpm.clone(), builder, beside: None };
                out.push(Effect::Journal(grant));
                self.revive(builder, session, held, out);
            }
            Standing::Live => {
                let lease = self.leases.get_mut(&id).expect("it stands");
                lease.taken = true;
                match &mut lease.state {
                    State::Live { holder, adopted } => {
                        *holder = Holder::Here(session);
                        *adopted = true;
                    }
                    State::Sealed { session: holder } | State::Parked { session: holder, .. } => {
                        *holder = Some(session);
                    }
                    State::Arriving { .. } | State::Leaving { .. } => unreachable!("it stands as live"),
                }
                self.adopt(id, session, held, out);
            }
            Standing::Moving => {
                let lease = self.leases.get_mut(&id).expect("it stands");
                match &mut lease.state {
                    State::Arriving { session: holder, .. } => *holder = Some(session),
                    State::Leaving { again, .. } => *again = Some((session, held)),
                    State::Live { .. } | State::Sealed { .. } | State::Parked { .. } => {
                        unreachable!("it stands as moving")
                    }
                }
            }
        }
    }

    /// Takes an expired lease up again; its grant is in the journal.
    pub(super) fn revive(
        &mut self,
        builder: BuilderId,
        session: SessionId,
        held: HeldLease,
        out: &mut Vec<Effect>,
    ) {
        let (id, srpm) = (held.lease, held.srpm.clone());
        let orphan = self.orphans.remove(&srpm).is_some();
        let from = if orphan { Place::Working } else { Place::Source };
        let state = State::Arriving { session: Some(session), held: Some(held), instead: None };
        let (options, limits) = Default::default();
        let it = Lease { srpm: srpm.clone(), builder, options, limits, taken: true, state };
        self.insert(id, it, false);
        out.push(Effect::Move { lease: id, srpm, from, to: Place::Working });
    }

    pub(super) fn adopt(&mut self, id: LeaseId, session: SessionId, held: HeldLease, out: &mut Vec<Effect>) {
        self.log(out, Level::Info, id, "adopted: its builder is back");
        let lease = &self.leases[&id];
        out.push(Effect::Transfers(transfers::Msg::Adopt {
            lease: id,
            session,
            builder: self.sessions[&session].info.clone(),
            srpm: lease.srpm.clone(),
            digest: held.digest,
            phase: held.phase,
            options: lease.options.clone(),
        }));
    }

    pub(super) fn disconnected(&mut self, now: Time, session: SessionId, out: &mut Vec<Effect>) {
        // A session that was replaced, or never registered, is not known any more.
        if self.sessions.contains_key(&session) {
            self.leave_session(now, session, out);
            self.expire(now, out);
        }
    }

    /// Forgets a session and starts the grace of what it held.
    fn leave_session(&mut self, now: Time, gone: SessionId, out: &mut Vec<Effect>) {
        let until = now.plus_ms(self.config.grace_ms);
        let mut detached = Vec::new();
        for (id, lease) in &mut self.leases {
            match &mut lease.state {
                State::Arriving { session, .. } => {
                    session.take_if(|session| *session == gone);
                }
                State::Live { holder, .. } => {
                    if matches!(holder, Holder::Here(session) if *session == gone) {
                        *holder = Holder::Away(until);
                        detached.push(*id);
                    }
                }
                State::Sealed { session } | State::Parked { session, .. } => {
                    if session.take_if(|session| *session == gone).is_some() {
                        detached.push(*id);
                    }
                }
                State::Leaving { again, idle, .. } => {
                    again.take_if(|(session, _)| *session == gone);
                    idle.take_if(|session| *session == gone);
                }
            }
        }
        for lease in detached {
            self.log(out, Level::Info, lease, "its builder is gone: the grace begins");
            out.push(Effect::Transfers(transfers::Msg::Detach { lease }));
        }
        let peer = self.sessions.remove(&gone).expect("callers know the session");
        self.builders.remove(&peer.info.id);
        out.push(Effect::Queue(queue::Msg::BuilderDown { builder: peer.info.id }));
    }

    pub(super) fn ready(&mut self, session: SessionId, out: &mut Vec<Effect>) {
        if let Some(peer) = self.sessions.get_mut(&session) {
            peer.takes_job = true;
            out.push(Effect::Queue(queue::Msg::Ready { builder: peer.info.id }));
        }
    }

    pub(super) fn draining(&mut self, session: SessionId, out: &mut Vec<Effect>) {
        if let Some(peer) = self.sessions.get_mut(&session) {
            peer.takes_job = false;
            out.push(Effect::Queue(queue::Msg::Draining { builder: peer.info.id }));
        }
    }

    pub(super) fn health(&mut self, session: SessionId, health: Health, out: &mut Vec<Effect>) {
        if let Some(peer) = self.sessions.get(&session) {
            out.push(Effect::Queue(queue::Msg::Health { builder: peer.info.id, health }));
        }
    }

    pub(super) fn release(
        &mut self,
        session: SessionId,
        id: LeaseId,
        why: ReleaseWhy,
        out: &mut Vec<Effect>,
    ) {
        let Some(peer) = self.sessions.get(&session) else { return };
        let builder = peer.info.id;
        let holder = match (self.leases.get(&id), self.ended.get(&id)) {
            (Some(lease), _) => lease.builder,
            (None, Some(ended)) => ended.builder,
            // Over for so long that it is forgotten.
            (None, None) => return,
        };
        if holder != builder {
            out.push(Effect::Close(session, RejectCode::NotYours));
            return;
        }
        let (verdict, why) = match why {
            ReleaseWhy::Stopped => (Verdict::Released, "the builder was told to stop"),
            ReleaseWhy::ShimDied => (Verdict::Lost, "the shim died without an exit status"),
            ReleaseWhy::BadSrpm => (Verdict::Infra, "the SRPM did not arrive whole"),
            ReleaseWhy::Disk => (Verdict::Infra, "the builder's disk failed or is full"),
        };
        match self.leases.get_mut(&id).map(|lease| &mut lease.state) {
            Some(State::Live { .. }) => {
                self.log(out, Level::Info, id, &format!("{verdict}: {why}"));
                self.close(id, why, out);
                self.go_back(id, verdict, false, None, out);
            }
            Some(State::Arriving { instead, .. }) => *instead = Some((Place::Source, End::Returned(verdict))),
            Some(State::Leaving { again, .. }) => *again = None,
            // Sealed: the result is whole, the builder has nothing left to give back.
            Some(State::Sealed { .. } | State::Parked { .. }) | None => {}
        }
    }
}
