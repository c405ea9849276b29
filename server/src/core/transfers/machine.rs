//! The table of leases: hands each message to its lease, keeps timers, turns and the memory of
//! leases that just ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use moji_proto::message::{FromBuilder, ToBuilder};
use moji_proto::refusal::RejectCode;
use moji_proto::{LeaseId, Time};

use super::lease::{Adoption, Lease};
use super::{About, Done, Effect, Limits, Msg};
use crate::core::types::SessionId;
use crate::core::{desk, queue};

/// How many leases that ended are remembered, so that what their builder said before it heard of the
/// end is not held against it: more than builders that can all end a lease within one round trip.
const ENDED_MAX: usize = 16_384;

/// What all leases share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// What one build may hold.
    pub(super) limits: Limits,
    /// Whether builds may have a thin repository.
    pub(super) thin: bool,
    /// A write or sync failed: nothing is accepted until a restart.
    pub(super) broken: bool,
    /// Something was short when it was tried last, and that was logged.
    pub(super) short: bool,
}

impl Shared {
    /// Nothing is short any more, as far as anybody knows.
    pub(super) fn end_shortage(&mut self, out: &mut Vec<Effect>) {
        self.short = false;
        out.push(Effect::Queue(queue::Msg::Short { why: None }));
    }
}

/// What a lease is handed with every message.
pub(super) struct Cx<'a> {
    pub(super) now: Time,
    pub(super) shared: &'a mut Shared,
    pub(super) out: &'a mut Vec<Effect>,
}

/// A lease that is over.
#[derive(Debug)]
struct Ended {
    /// Who had it.
    session: SessionId,
    /// What a builder that comes back for it hears, if its result was settled: leases may have asked for its
    /// adoption before they heard of that.
    answer: Option<ToBuilder>,
}

/// The transfers core.
#[derive(Debug, Default)]
pub struct Transfers {
    leases: BTreeMap<LeaseId, Lease>,
    shared: Shared,
    /// When which lease wants a tick; the same as each lease's own `timer`.
    timers: BTreeSet<(Time, LeaseId)>,
    /// Which lease of a session may ask for files.
    turns: BTreeMap<SessionId, LeaseId>,
    ended: BTreeMap<LeaseId, Ended>,
    ended_order: VecDeque<LeaseId>,
}

impl crate::core::Core for Transfers {
    type Msg = Msg;
    type Effect = Effect;

    fn handle(&mut self, now: Time, msg: Msg, out: &mut Vec<Effect>) {
        self.handle(now, msg, out);
    }

    fn deadline(&self) -> Option<Time> {
        self.deadline()
    }

    fn tick() -> Msg {
        Msg::Tick
    }
}

impl Transfers {
    /// No lease yet; those from before a restart come with `Adopt` or `Close`.
    #[must_use]
    pub fn new(limits: Limits) -> Transfers {
        Transfers { shared: Shared { limits, ..Shared::default() }, ..Transfers::default() }
    }

    /// Builds get thin repositories where their builder can be given one.
    #[must_use]
    pub fn with_thin(mut self, thin: bool) -> Transfers {
        self.shared.thin = thin;
        self
    }

    /// When it wants a `Tick`.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Takes one message.
    pub fn handle(&mut self, now: Time, msg: Msg, out: &mut Vec<Effect>) {
        match msg {
            Msg::Open { lease, session, builder, srpm, options, limits } => {
                let about =
                    About { srpm: Some(srpm), builder: Some(builder), options, limits, ..About::default() };
                assert!(!self.leases.contains_key(&lease), "lease {lease} is opened twice");
                self.leases.insert(lease, Lease::open(lease, session, about));
                self.settle(now, lease, out);
            }
            Msg::Adopt { lease, session, builder, srpm, digest, phase, options } => {
                if let Some(Ended { session: last, answer: Some(answer) }) = self.ended.get_mut(&lease) {
                    *last = session;
                    out.push(Effect::Send(session, answer.clone()));
                    return;
                }
                if let Some(known) = self.leases.get_mut(&lease)
                    && let Some(answer) = known.settled.clone()
                {
                    known.settled_again(session);
                    out.push(Effect::Send(session, answer));
                    return;
                }
                let about = About {
                    srpm: Some(srpm),
                    builder: Some(builder),
                    options,
                    phase: Some(phase),
                    ..About::default()
                };
                self.forget_end(lease);
                out.push(Effect::Desk(desk::Msg::Phase { lease, phase }));
                let adoption = Adoption { session, about, digest };
                if let Some(known) = self.leases.get_mut(&lease) {
                    known.adopt(&mut Cx { now, shared: &mut self.shared, out }, adoption);
                } else {
                    self.leases.insert(lease, Lease::adopted(lease, adoption));
                }
                self.settle(now, lease, out);
            }
            Msg::Detach { lease } => self.with(now, lease, out, |lease, _| lease.detach()),
            Msg::Close { lease, why } => {
                self.leases.entry(lease).or_insert_with(|| Lease::unknown(lease));
                self.with(now, lease, out, |lease, cx| lease.close(cx, why));
            }
            Msg::Stale { lease } => self.with(now, lease, out, Lease::stale),
            Msg::FromBuilder { session, msg } => self.hear(now, session, msg, out),
            Msg::Ruling { lease, ruling } => {
                self.with(now, lease, out, |lease, cx| lease.ruling(cx, ruling));
            }
            Msg::Done { lease, done } => self.done(now, lease, done, out),
            Msg::Tick => self.tick(now, out),
        }
    }

    /// Lets a lease that is known handle something, then brings what is derived from it up to date.
    fn with(
        &mut self,
        now: Time,
        id: LeaseId,
        out: &mut Vec<Effect>,
        body: impl FnOnce(&mut Lease, &mut Cx<'_>),
    ) {
        if let Some(lease) = self.leases.get_mut(&id) {
            body(lease, &mut Cx { now, shared: &mut self.shared, out });
            self.settle(now, id, out);
        }
    }

    fn hear(&mut self, now: Time, session: SessionId, msg: FromBuilder, out: &mut Vec<Effect>) {
        let (Some(id), bytes) = subject(&msg) else {
            // The reactor sends such messages elsewhere.
            out.push(Effect::Close(session, RejectCode::Order));
            return;
        };
        let taken = match self.leases.get_mut(&id) {
            Some(lease) if lease.session() == Some(session) => {
                lease.hear(&mut Cx { now, shared: &mut self.shared, out }, msg)
            }
            // Said before it heard of the end.
            _ if self.ended.get(&id).is_some_and(|ended| ended.session == session) => Ok(false),
            _ => Err(RejectCode::NotYours),
        };
        if taken != Ok(true) && bytes > 0 {
            out.push(Effect::Consumed(session, bytes));
        }
        if let Err(code) = taken {
            out.push(Effect::Close(session, code));
        }
        self.settle(now, id, out);
    }

    fn done(&mut self, now: Time, id: LeaseId, done: Done, out: &mut Vec<Effect>) {
        let was_broken = self.shared.broken;
        self.with(now, id, out, |lease, cx| lease.done(cx, done));
        // What waited may have ended another way, or have waited for something else than to write.
        if self.shared.short && !self.leases.values().any(Lease::may_wait) {
            self.shared.end_shortage(out);
        }
        if !was_broken && self.shared.broken {
            self.spoil_all(now, out);
        }
    }

    /// A write or sync failed somewhere: what is not yet past its commit waits for the restart.
    fn spoil_all(&mut self, now: Time, out: &mut Vec<Effect>) {
        let why = "a write or sync of the hub's folders failed".to_owned();
        out.push(Effect::Queue(queue::Msg::StopLeasing { why }));
        let ids: Vec<LeaseId> = self.leases.keys().copied().collect();
        for id in ids {
            self.with(now, id, out, Lease::spoil);
        }
    }

    fn tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        let due: Vec<LeaseId> =
            self.timers.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        for id in due {
            self.with(now, id, out, Lease::tick);
        }
    }

    /// Restores what is derived from a lease's state: its next operation, its turn, its timer, its place
    /// in the table.
    fn settle(&mut self, now: Time, id: LeaseId, out: &mut Vec<Effect>) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        lease.pump(out);
        if lease.is_over() {
            let lease = self.leases.remove(&id).expect("it was just there");
            if lease.offered {
                out.push(Effect::EndThin(id));
            }
            if let Some(at) = lease.timer {
                self.timers.remove(&(at, id));
            }
            if let Some(session) = lease.last_session() {
                self.remember_end(id, Ended { session, answer: lease.settled });
            }
            self.end_turn(now, id, lease.turn, out);
            return;
        }
        let (held, wanted) = (lease.turn, lease.wants_turn());
        if held.is_some() && held != wanted {
            lease.turn = None;
            self.end_turn(now, id, held, out);
        }
        if let Some(session) = wanted
            && held != wanted
            && !self.turns.contains_key(&session)
        {
            self.give_turn(now, id, session, out);
        }
        self.set_timer(id);
    }

    fn set_timer(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        let timer = lease.timeout();
        if timer != lease.timer {
            if let Some(at) = lease.timer {
                self.timers.remove(&(at, id));
            }
            if let Some(at) = timer {
                self.timers.insert((at, id));
            }
            lease.timer = timer;
        }
    }

    fn give_turn(&mut self, now: Time, id: LeaseId, session: SessionId, out: &mut Vec<Effect>) {
        self.turns.insert(session, id);
        let lease = self.leases.get_mut(&id).expect("only a lease in the table wants a turn");
        lease.turn = Some(session);
        lease.ask(&mut Cx { now, shared: &mut self.shared, out });
        lease.pump(out);
        // A result without files leaves its turn at once.
        if lease.wants_turn() != Some(session) {
            self.settle(now, id, out);
        } else {
            self.set_timer(id);
        }
    }

    fn end_turn(&mut self, now: Time, id: LeaseId, held: Option<SessionId>, out: &mut Vec<Effect>) {
        let Some(session) = held else { return };
        if self.turns.get(&session) != Some(&id) {
            return;
        }
        self.turns.remove(&session);
        let next = self.leases.iter().find(|(_, lease)| lease.wants_turn() == Some(session));
        if let Some(next) = next.map(|(next, _)| *next) {
            self.give_turn(now, next, session, out);
        }
    }

    fn remember_end(&mut self, id: LeaseId, ended: Ended) {
        self.ended.insert(id, ended);
        self.ended_order.push_back(id);
        while self.ended_order.len() > ENDED_MAX {
            if let Some(old) = self.ended_order.pop_front() {
                self.ended.remove(&old);
            }
        }
    }

    fn forget_end(&mut self, id: LeaseId) {
        if self.ended.remove(&id).is_some() {
            self.ended_order.retain(|old| *old != id);
        }
    }
}

/// Which lease a message is about, and how many bytes of a piece it carries.
fn subject(msg: &FromBuilder) -> (Option<LeaseId>, u32) {
    let len = |bytes: &moji_proto::Bytes| u32::try_from(bytes.0.len()).expect("a piece fits a record");
    match msg {
        FromBuilder::Log { lease, bytes, .. } | FromBuilder::Data { lease, bytes, .. } => {
            (Some(*lease), len(bytes))
        }
        FromBuilder::Fetch { lease, .. }
        | FromBuilder::Phase { lease, .. }
        | FromBuilder::Results { lease, .. }
        | FromBuilder::File { lease, .. }
        | FromBuilder::Evidence { lease, .. } => (Some(*lease), 0),
        FromBuilder::Register { .. }
        | FromBuilder::Held { .. }
        | FromBuilder::Ready
        | FromBuilder::Ping { .. }
        | FromBuilder::Draining
        | FromBuilder::Release { .. } => (None, 0),
    }
}
