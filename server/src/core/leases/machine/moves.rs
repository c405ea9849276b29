//! SRPMs arrive in `working/`, leave it, vanish from it, or stay too long.
//!
//! Owns what is said when a move is done: a grant is told after it, an end too.

use log::Level;
use moji_proto::message::{ToBuilder, Verdict};
use moji_proto::refusal::RejectCode;
use moji_proto::{FileName, LeaseId, Time};

use super::{Ended, Holder, Lease, Leases, State};
use crate::core::leases::{Effect, Place, Record};
use crate::core::queue::{self, ClaimFailure};
use crate::core::transfers;
use crate::core::types::{End, HeldLease, SessionId};

impl Leases {
    pub(super) fn vanished(&mut self, srpm: FileName, out: &mut Vec<Effect>) {
        let live = self.by_srpm.get(&srpm).is_some_and(|id| self.is_live(id));
        if live || self.orphans.contains_key(&srpm) {
            out.push(Effect::Inspect { srpm });
        }
    }

    pub(super) fn inspected(&mut self, srpm: &FileName, present: bool, out: &mut Vec<Effect>) {
        if present {
            return;
        }
        self.orphans.remove(srpm);
        let Some(id) = self.by_srpm.get(srpm).copied().filter(|id| self.is_live(id)) else { return };
        self.log(out, Level::Info, id, "cancelled: somebody took the SRPM out of the working folder");
        self.drop_second(srpm, "the SRPM was taken out of the working folder", out);
        self.stop_builder(id, out);
        self.close(id, "the SRPM was taken out of the working folder", out);
        self.end(id, End::Taken, false, out);
    }

    pub(super) fn moved(&mut self, now: Time, id: LeaseId, moved: bool, out: &mut Vec<Effect>) {
        if let Some((srpm, to)) = self.errands.remove(&id) {
            out.push(Effect::Queue(queue::Msg::Placed { srpm, to, moved }));
            return;
        }
        if self.is_second(id) {
            return self.second_arrived(id, moved, out);
        }
        // An orphan that went back has no lease.
        let Some(lease) = self.leases.get_mut(&id) else { return };
        match &mut lease.state {
            State::Arriving { session, held, instead } => {
                let (session, held, instead) = (*session, held.take(), instead.take());
                if moved {
                    self.arrived(now, id, session, held, instead, out);
                } else {
                    self.not_arrived(id, session, held, out);
                }
            }
            State::Leaving { end, revivable, again, idle } => {
                let (end, revivable, again, idle) = (end.clone(), *revivable, again.take(), *idle);
                self.left(id, if moved { end } else { End::Taken }, revivable && moved, again, out);
                if let Some(peer) = idle.and_then(|session| self.sessions.get_mut(&session)) {
                    peer.takes_job = true;
                    out.push(Effect::Queue(queue::Msg::Ready { builder: peer.info.id }));
                }
            }
            State::Live { .. } | State::Sealed { .. } | State::Parked { .. } => {
                panic!("lease {id} was moved unasked")
            }
        }
    }

    /// The SRPM is in `working/`: now the grant counts.
    fn arrived(
        &mut self,
        now: Time,
        id: LeaseId,
        session: Option<SessionId>,
        held: Option<HeldLease>,
        instead: Option<(Place, End)>,
        out: &mut Vec<Effect>,
    ) {
        let lease = self.leases.get_mut(&id).expect("callers know the lease");
        let (srpm, builder) = (lease.srpm.clone(), lease.builder);
        let holder = session.map_or(Holder::Away(now.plus_ms(self.config.grace_ms)), Holder::Here);
        lease.state = State::Live { holder, adopted: held.is_some() };
        out.push(Effect::Queue(queue::Msg::Granted {
            srpm: srpm.clone(),
            lease: id,
            builder,
            beside: false,
        }));
        match (instead, session, held) {
            (Some((to, end)), Some(session), Some(_)) => {
                out.push(Effect::Send(session, ToBuilder::Gone { lease: id }));
                self.leave(id, to, end, false, None, out);
            }
            (Some((to, end)), session, None) => self.leave(id, to, end, false, session, out),
            (Some((to, end)), None, Some(_)) => self.leave(id, to, end, false, None, out),
            (None, Some(session), Some(held)) => self.adopt(id, session, held, out),
            // It has a build to come back with.
            (None, None, Some(_)) => {}
            (None, Some(session), None) => {
                self.log(out, Level::Info, id, "leased");
                self.open(id, session, out);
            }
            // It left before it was told.
            (None, None, None) => {
                self.leave(id, Place::Source, End::Returned(Verdict::Released), false, None, out);
            }
        }
    }

    /// Has the SRPM given to its builder.
    pub(super) fn open(&self, id: LeaseId, session: SessionId, out: &mut Vec<Effect>) {
        let Lease { srpm, options, limits, .. } = &self.leases[&id];
        out.push(Effect::Transfers(transfers::Msg::Open {
            lease: id,
            session,
            builder: self.sessions[&session].info.clone(),
            srpm: srpm.clone(),
            options: options.clone(),
            limits: *limits,
        }));
    }

    fn not_arrived(
        &mut self,
        id: LeaseId,
        session: Option<SessionId>,
        held: Option<HeldLease>,
        out: &mut Vec<Effect>,
    ) {
        let Lease { srpm, builder, .. } = self.remove(id);
        let revivable = held.is_some();
        out.push(Effect::JournalLater(Record::End { lease: id, revivable }));
        match (held, session) {
            (None, session) => {
                if let Some(peer) = session.and_then(|session| self.sessions.get_mut(&session)) {
                    peer.takes_job = true;
                }
                let why = if self.broken { ClaimFailure::NoBuilder } else { ClaimFailure::NoSuchFile };
                out.push(Effect::Queue(queue::Msg::ClaimFailed { srpm, builder, why }));
            }
            (Some(_), session) => {
                self.remember(id, Ended { srpm, builder, revivable });
                match session {
                    Some(session) if self.broken => {
                        out.push(Effect::Close(session, RejectCode::ShuttingDown));
                    }
                    Some(session) => out.push(Effect::Send(session, ToBuilder::Gone { lease: id })),
                    None => {}
                }
            }
        }
    }

    /// The SRPM is out of `working/`: now the lease is over, unless its builder is back for it.
    fn left(
        &mut self,
        id: LeaseId,
        end: End,
        revivable: bool,
        again: Option<(SessionId, HeldLease)>,
        out: &mut Vec<Effect>,
    ) {
        match again {
            Some((session, held)) if revivable && !self.broken => {
                // Its grant stands in the journal: only the queue hears that it was over.
                let Lease { srpm, builder, .. } = self.remove(id);
                out.push(Effect::Queue(queue::Msg::Ended { srpm, lease: id, builder, end }));
                self.revive(builder, session, held, out);
            }
            again => {
                self.end(id, end, revivable, out);
                match again {
                    Some((session, _)) if self.broken => {
                        out.push(Effect::Close(session, RejectCode::ShuttingDown));
                    }
                    Some((session, _)) => out.push(Effect::Send(session, ToBuilder::Gone { lease: id })),
                    None => {}
                }
            }
        }
    }

    pub(super) fn broke(&mut self, why: String, out: &mut Vec<Effect>) {
        if !self.broken {
            self.broken = true;
            out.push(Effect::Queue(queue::Msg::StopLeasing { why }));
        }
    }

    pub(super) fn expire(&mut self, now: Time, out: &mut Vec<Effect>) {
        let expired: Vec<LeaseId> = self
            .leases
            .iter()
            .filter(|(_, lease)| {
                matches!(lease.state, State::Live { holder: Holder::Away(until), .. } if until <= now)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in expired {
            let verdict = self.missed(id, "did not come back within the grace", out);
            self.close(id, "the builder did not come back within the grace", out);
            self.go_back(id, verdict, true, None, out);
        }
        let orphans: Vec<FileName> =
            self.orphans.iter().filter(|(_, until)| **until <= now).map(|(srpm, _)| srpm.clone()).collect();
        for srpm in orphans {
            self.orphans.remove(&srpm);
            out.push(Effect::Log(Level::Info, format!("pkg={srpm} had no lease: back to the source folder")));
            self.send_back(srpm, out);
        }
    }
}
