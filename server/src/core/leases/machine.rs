//! The state machine of leases.
//!
//! Owns every lease from its claim until its SRPM lies durably in the folder where it belongs.
//! Knows nothing of how files move: it says where to, and goes on when it hears that it is so.
//!
//! What is different for a second lease beside another one of its package is in `second.rs`.
//!
//! ```text
//!              Claim, or Held of an expired lease
//!                   │ Journal(Grant), Move
//!                   ▼
//!               Arriving ──not moved──▶ (gone: ClaimFailed or Gone)
//!                   │ Moved
//!                   ▼           Disconnected: a deadline    Connected with it: none
//!    ┌──────────── Live ◀── Unsealed ──┐
//!    │              │ Sealing          │
//!    │              ▼                  │
//!    │            Sealed ──────────────┘     neither expires nor can be cancelled
//!    │              │ Settled
//!    │ expired,     ▼
//!    └─────────▶ Leaving ── Moved, or somebody took the file ──▶ (over: End, Ended)
//!      released,
//!      cancelled, unfit
//!
//!   second leases: Live ── Sealing while the main one is sealed ──▶ Parked ──▶ Sealed, as the main one
//!                    └─ not moved: the file stays ──▶ (over: End, Ended) ◀──┘
//! ```

use std::collections::{BTreeMap, BTreeSet};

use log::Level;
use moji_proto::message::{Limits, ToBuilder, Verdict};
use moji_proto::{FileName, LeaseId, Line, Time};

use super::{Effect, Msg, Place, Record};
use crate::core::queue::{self, ClaimFailure};
use crate::core::transfers;
use crate::core::types::{BuilderId, BuilderInfo, End, HeldLease, Outcome, Report, SessionId};

mod builders;
mod moves;
mod past;
mod second;

use self::past::mains_first;
pub use self::past::{Ended, Grant, Past, records};

/// How long leases and orphans wait at least after a start of the hub, milliseconds: builders come
/// back within 60 s (their longest back-off), and a rack's switch may have lost power too.
const RESTART_GRACE_MS_MIN: u64 = 120_000;
/// How many ended leases are remembered: with each its builder and SRPM, so that it is not taken up
/// again by somebody else, or after a ruling. A week of a busy farm; 400 KiB in the journal.
const ENDED_MAX: usize = 2_048;

/// What the operator chose.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How long a lease outlives its connection, milliseconds; 0 ends it at once.
    pub grace_ms: u64,
}

/// A builder that is connected.
struct Peer {
    info: BuilderInfo,
    /// Whether it said `Ready` since its last job, and not `Draining` after that.
    takes_job: bool,
}

struct Lease {
    srpm: FileName,
    builder: BuilderId,
    /// mock options, if they were given in this run.
    options: Vec<Line>,
    /// When the builder ends the build; said with the job only.
    limits: Limits,
    /// Its builder is known to have the job: it asked for the SRPM, or reported the lease.
    taken: bool,
    state: State,
}

enum State {
    /// The SRPM is on its way into `working/`; nobody was told anything.
    Arriving {
        /// For whom, while it is connected.
        session: Option<SessionId>,
        /// What the builder reported, if it takes an expired lease up again.
        held: Option<HeldLease>,
        /// What to do instead of going on, if something came between.
        instead: Option<(Place, End)>,
    },
    /// The builder works on it.
    Live { holder: Holder, adopted: bool },
    /// A whole result is being ruled on and committed.
    Sealed { session: Option<SessionId> },
    /// The whole result of a second lease waits for what becomes of the main one's.
    Parked { session: Option<SessionId>, report: Box<Report> },
    /// The SRPM is on its way out of `working/`.
    Leaving {
        end: End,
        revivable: bool,
        /// Its builder came back meanwhile and wants it again.
        again: Option<(SessionId, HeldLease)>,
        /// This builder never got the job and is still idle.
        idle: Option<SessionId>,
    },
}

#[derive(Clone, Copy)]
enum Holder {
    Here(SessionId),
    /// Not connected; the lease expires then.
    Away(Time),
}

impl State {
    /// The connection of whoever builds or built it, while there is one.
    fn session(&self) -> Option<SessionId> {
        match self {
            State::Live { holder: Holder::Here(session), .. } => Some(*session),
            State::Sealed { session } | State::Parked { session, .. } => *session,
            State::Live { .. } | State::Arriving { .. } | State::Leaving { .. } => None,
        }
    }
}

/// The only authority over leases.
pub struct Leases {
    config: Config,
    incarnation: u64,
    counter: u32,
    leases: BTreeMap<LeaseId, Lease>,
    /// The main lease of each package that has one, which owns the file: the proof that it has only one.
    by_srpm: BTreeMap<FileName, LeaseId>,
    /// Second leases. But for one that is only arriving, each is beside a main one that is live or sealed.
    seconds: BTreeMap<FileName, LeaseId>,
    sessions: BTreeMap<SessionId, Peer>,
    builders: BTreeMap<BuilderId, SessionId>,
    /// SRPMs in `working/` without a lease, and when they go back.
    orphans: BTreeMap<FileName, Time>,
    ended: BTreeMap<LeaseId, Ended>,
    committed: BTreeSet<LeaseId>,
    /// Moves of packages without a lease, under ids that nobody ever holds: what and where to.
    errands: BTreeMap<LeaseId, (FileName, Place)>,
    broken: bool,
}

impl crate::core::Core for Leases {
    type Msg = Msg;
    type Effect = Effect;

    fn handle(&mut self, now: Time, msg: Msg, out: &mut Vec<Effect>) {
        Leases::handle(self, now, msg, out);
    }

    fn deadline(&self) -> Option<Time> {
        Leases::deadline(self)
    }

    fn tick() -> Msg {
        Msg::Tick
    }
}

impl Leases {
    /// Takes up what recovery found, at `now`. Effects tell the queue about leases that live on.
    #[must_use]
    pub fn new(config: Config, past: Past, now: Time, out: &mut Vec<Effect>) -> Leases {
        let until = now.plus_ms(config.grace_ms.max(RESTART_GRACE_MS_MIN));
        let mut this = Leases {
            config,
            incarnation: past.incarnation,
            counter: 0,
            leases: BTreeMap::new(),
            by_srpm: BTreeMap::new(),
            seconds: BTreeMap::new(),
            sessions: BTreeMap::new(),
            builders: BTreeMap::new(),
            orphans: past.orphans.into_iter().map(|srpm| (srpm, until)).collect(),
            ended: past.ended,
            committed: past.committed,
            errands: BTreeMap::new(),
            broken: false,
        };
        for (lease, Grant { srpm, builder, beside }) in mains_first(&past.live) {
            let (srpm, builder, beside) = (srpm.clone(), *builder, beside.is_some());
            out.push(Effect::Queue(queue::Msg::Granted { srpm: srpm.clone(), lease, builder, beside }));
            let state = State::Live { holder: Holder::Away(until), adopted: true };
            let (options, limits) = Default::default();
            this.insert(lease, Lease { srpm, builder, options, limits, taken: true, state }, beside);
        }
        this
    }

    /// Takes one message at `now` and says what is to be done.
    ///
    /// # Panics
    /// If transfers, shell or reactor broke a rule of theirs: a result committed without a seal, a
    /// file moved without being asked to, a session registered twice.
    pub fn handle(&mut self, now: Time, msg: Msg, out: &mut Vec<Effect>) {
        match msg {
            Msg::Connected { session, info, held } => self.connected(now, session, info, held, out),
            Msg::Disconnected { session } => self.disconnected(now, session, out),
            Msg::Ready { session } => self.ready(session, out),
            Msg::Draining { session } => self.draining(session, out),
            Msg::Health { session, health } => self.health(session, health, out),
            Msg::Release { session, lease, why } => self.release(session, lease, why, out),
            Msg::Claim { srpm, builder, options, limits, beside } => {
                self.claim(srpm, builder, options, limits, beside, out);
            }
            Msg::Cancel { srpm } => self.cancel(&srpm, out),
            // The queue says why, in its log.
            Msg::Retire { srpm, why: _ } => self.run_errand(srpm, Place::Source, Place::Finished, out),
            Msg::Retry { srpm } => self.run_errand(srpm, Place::Finished, Place::Source, out),
            Msg::Taken { lease } => {
                if let Some(lease) = self.leases.get_mut(&lease) {
                    lease.taken = true;
                }
            }
            Msg::Unfit { lease, has_job, why, damaged } => self.unfit(lease, has_job, why, damaged, out),
            Msg::Sealing { lease, report } => self.sealing(lease, report, out),
            Msg::Unsealed { lease } => self.unsealed(now, lease, out),
            Msg::Settled { lease, outcome } => self.settled(lease, outcome, out),
            Msg::Vanished { srpm } => self.vanished(srpm, out),
            Msg::Moved { lease, moved } => self.moved(now, lease, moved, out),
            Msg::Inspected { srpm, present } => self.inspected(&srpm, present, out),
            Msg::Broken { why } => self.broke(why, out),
            Msg::Tick => self.expire(now, out),
        }
    }

    /// When the next lease or orphan expires.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let leases = self.leases.values().filter_map(|lease| match lease.state {
            State::Live { holder: Holder::Away(until), .. } => Some(until),
            _ => None,
        });
        leases.chain(self.orphans.values().copied()).min()
    }

    /// All that the journal must say, for a journal written anew.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let grant = |(id, lease): (&LeaseId, &Lease)| {
            let beside = if self.is_second(*id) { self.by_srpm.get(&lease.srpm).copied() } else { None };
            (*id, Grant { srpm: lease.srpm.clone(), builder: lease.builder, beside })
        };
        records(&self.ended, &self.leases.iter().map(grant).collect())
    }

    /// The package of each lease that lives or is on its way.
    #[cfg(test)]
    pub(crate) fn leased(&self) -> BTreeMap<LeaseId, FileName> {
        self.leases.iter().map(|(id, lease)| (*id, lease.srpm.clone())).collect()
    }

    /// The main lease of each package, without second ones.
    #[cfg(test)]
    pub(crate) fn mains(&self) -> BTreeMap<LeaseId, FileName> {
        self.by_srpm.iter().map(|(srpm, id)| (*id, srpm.clone())).collect()
    }

    /// Leases whose SRPM is on its way out.
    #[cfg(test)]
    pub(crate) fn leaving(&self) -> BTreeSet<LeaseId> {
        let is = |lease: &Lease| matches!(lease.state, State::Leaving { .. });
        self.leases.iter().filter(|(_, lease)| is(lease)).map(|(id, _)| *id).collect()
    }

    // ---- what the queue wants

    fn claim(
        &mut self,
        srpm: FileName,
        builder: BuilderId,
        options: Vec<Line>,
        limits: Limits,
        beside: bool,
        out: &mut Vec<Effect>,
    ) {
        let idle = self.builders.get(&builder).copied();
        let idle = idle.filter(|session| self.sessions[session].takes_job && !self.broken);
        let failure = match idle {
            _ if beside && !self.may_have_second(&srpm, builder) => Some(ClaimFailure::Leased),
            _ if !beside && self.by_srpm.contains_key(&srpm) => Some(ClaimFailure::Leased),
            None => Some(ClaimFailure::NoBuilder),
            Some(_) => None,
        };
        let (None, Some(session)) = (failure, idle) else {
            let why = failure.unwrap_or(ClaimFailure::NoBuilder);
            out.push(Effect::Queue(queue::Msg::ClaimFailed { srpm, builder, why }));
            return;
        };
        if self.orphans.remove(&srpm).is_some() {
            // Somebody dropped the same name into source/: that one is meant.
            self.send_back(srpm.clone(), out);
        }
        self.sessions.get_mut(&session).expect("it is connected").takes_job = false;
        let lease = self.next_id();
        let state = State::Arriving { session: Some(session), held: None, instead: None };
        let main = self.by_srpm.get(&srpm).copied().filter(|_| beside);
        let it = Lease { srpm: srpm.clone(), builder, options, limits, taken: false, state };
        self.insert(lease, it, beside);
        out.push(Effect::Journal(Record::Grant { lease, srpm: srpm.clone(), builder, beside: main }));
        let from = if beside { Place::Working } else { Place::Source };
        out.push(Effect::Move { lease, srpm, from, to: Place::Working });
    }

    fn cancel(&mut self, srpm: &FileName, out: &mut Vec<Effect>) {
        let Some(id) = self.by_srpm.get(srpm).copied() else { return };
        match &mut self.leases.get_mut(&id).expect("an index of leases").state {
            State::Arriving { instead, .. } => *instead = Some((Place::Finished, End::Cancelled)),
            State::Live { .. } => {
                self.log(out, Level::Info, id, "cancelled by the operator");
                self.drop_second(srpm, "cancelled by the operator", out);
                self.stop_builder(id, out);
                self.close(id, "cancelled by the operator", out);
                self.leave(id, Place::Finished, End::Cancelled, false, None, out);
            }
            State::Sealed { .. } | State::Leaving { .. } => {}
            State::Parked { .. } => unreachable!("only a second lease is parked"),
        }
    }

    /// Moves a package without a lease, under an id that nobody ever holds.
    fn run_errand(&mut self, srpm: FileName, from: Place, to: Place, out: &mut Vec<Effect>) {
        if self.by_srpm.contains_key(&srpm) {
            out.push(Effect::Queue(queue::Msg::Placed { srpm, to, moved: false }));
            return;
        }
        let lease = self.next_id();
        self.errands.insert(lease, (srpm.clone(), to));
        out.push(Effect::Move { lease, srpm, from, to });
    }

    // ---- what transfers say

    fn unfit(&mut self, id: LeaseId, has_job: bool, why: String, damaged: bool, out: &mut Vec<Effect>) {
        let Some(Lease { state: State::Live { holder, adopted }, .. }) = self.leases.get(&id) else { return };
        let (holder, adopted) = (*holder, *adopted);
        self.log(out, Level::Warn, id, &format!("cannot be served: {why}"));
        out.push(Effect::Transfers(transfers::Msg::Close { lease: id, why }));
        if let (Holder::Here(session), true, false, false) = (holder, damaged, adopted, self.is_second(id)) {
            // It would be damaged for the next builder too.
            let srpm = self.leases[&id].srpm.clone();
            self.drop_second(&srpm, "the SRPM is damaged", out);
            return self.leave(
                id,
                Place::Finished,
                End::Finished { verdict: Verdict::Failed, folder: None },
                false,
                (!has_job).then_some(session),
                out,
            );
        }
        let (verdict, idle) = match holder {
            // It is not the SRPM that the builder works on: nobody's fault.
            _ if adopted => (Verdict::Released, None),
            // Its builder never got the job.
            Holder::Here(session) if !has_job => (Verdict::Infra, Some(session)),
            Holder::Here(_) | Holder::Away(_) => (Verdict::Infra, None),
        };
        self.go_back(id, verdict, false, idle, out);
    }

    fn sealing(&mut self, id: LeaseId, report: Report, out: &mut Vec<Effect>) {
        match self.leases.get(&id).map(|lease| &lease.state) {
            Some(State::Live { .. }) if self.is_second(id) => self.second_is_whole(id, report, out),
            Some(State::Live { .. }) => self.seal(id, report, out),
            // The ruling is on its way already, or that of the main lease is.
            Some(State::Sealed { .. } | State::Parked { .. }) => {}
            _ => out.push(Effect::Transfers(transfers::Msg::Stale { lease: id })),
        }
    }

    /// Asks for a ruling about the whole result of a main lease.
    fn seal(&mut self, id: LeaseId, report: Report, out: &mut Vec<Effect>) {
        let lease = self.leases.get_mut(&id).expect("callers know the lease");
        let session = lease.state.session();
        lease.state = State::Sealed { session };
        let (srpm, builder) = (lease.srpm.clone(), lease.builder);
        out.push(Effect::Queue(queue::Msg::Judge { srpm, lease: id, builder, report }));
    }

    fn unsealed(&mut self, now: Time, id: LeaseId, out: &mut Vec<Effect>) {
        let until = now.plus_ms(self.config.grace_ms);
        // A second one that waits beside it is unsealed next.
        if let Some(Lease { state, .. }) = self.leases.get_mut(&id)
            && let State::Sealed { session } | State::Parked { session, .. } = state
        {
            let holder = session.map_or(Holder::Away(until), Holder::Here);
            *state = State::Live { holder, adopted: true };
            self.expire(now, out);
        }
    }

    fn settled(&mut self, id: LeaseId, outcome: Outcome, out: &mut Vec<Effect>) {
        let sealed = matches!(self.leases.get(&id), Some(Lease { state: State::Sealed { .. }, .. }));
        assert!(sealed, "lease {id} was settled without a seal");
        match outcome {
            Outcome::Committed { verdict, folder } => {
                self.committed.insert(id);
                let end = End::Finished { verdict, folder: Some(folder) };
                let srpm = self.leases[&id].srpm.clone();
                self.drop_second(&srpm, "another builder built it first", out);
                self.leave(id, Place::Finished, end, false, None, out);
            }
            Outcome::Kept { verdict } => self.go_back(id, verdict, false, None, out),
        }
    }

    // ---- steps that several of them take

    fn is_live(&self, id: &LeaseId) -> bool {
        matches!(self.leases[id].state, State::Live { .. })
    }

    fn next_id(&mut self) -> LeaseId {
        self.counter = self.counter.checked_add(1).expect("four billion leases in one run");
        LeaseId { incarnation: self.incarnation, counter: self.counter }
    }

    fn insert(&mut self, id: LeaseId, lease: Lease, beside: bool) {
        let index = if beside { &mut self.seconds } else { &mut self.by_srpm };
        let other = index.insert(lease.srpm.clone(), id);
        assert!(other.is_none(), "{} has one such lease only", lease.srpm);
        self.leases.insert(id, lease);
    }

    fn remove(&mut self, id: LeaseId) -> Lease {
        let is_second = self.is_second(id);
        let lease = self.leases.remove(&id).expect("callers know the lease");
        let index = if is_second { &mut self.seconds } else { &mut self.by_srpm };
        index.remove(&lease.srpm);
        lease
    }

    /// Lets the SRPM go out of `working/`; the lease is over when it is there.
    fn leave(
        &mut self,
        id: LeaseId,
        to: Place,
        end: End,
        revivable: bool,
        idle: Option<SessionId>,
        out: &mut Vec<Effect>,
    ) {
        let lease = self.leases.get_mut(&id).expect("callers know the lease");
        lease.state = State::Leaving { end, revivable, again: None, idle };
        out.push(Effect::Move { lease: id, srpm: lease.srpm.clone(), from: Place::Working, to });
    }

    /// Moves a file without a lease back to `source/`, under an id that nobody ever holds.
    fn send_back(&mut self, srpm: FileName, out: &mut Vec<Effect>) {
        let lease = self.next_id();
        out.push(Effect::Move { lease, srpm, from: Place::Working, to: Place::Source });
    }

    fn end(&mut self, id: LeaseId, end: End, revivable: bool, out: &mut Vec<Effect>) {
        let Lease { srpm, builder, .. } = self.remove(id);
        out.push(Effect::JournalLater(Record::End { lease: id, revivable }));
        out.push(Effect::Queue(queue::Msg::Ended { srpm: srpm.clone(), lease: id, builder, end }));
        self.remember(id, Ended { srpm, builder, revivable });
    }

    fn remember(&mut self, id: LeaseId, ended: Ended) {
        self.ended.insert(id, ended);
        while self.ended.len() > ENDED_MAX {
            self.ended.pop_first();
        }
    }

    fn close(&self, lease: LeaseId, why: &str, out: &mut Vec<Effect>) {
        out.push(Effect::Transfers(transfers::Msg::Close { lease, why: why.to_owned() }));
    }

    fn stop_builder(&self, lease: LeaseId, out: &mut Vec<Effect>) {
        if let Some(session) = self.leases[&lease].state.session() {
            out.push(Effect::Send(session, ToBuilder::Cancel { lease }));
        }
    }

    fn log(&self, out: &mut Vec<Effect>, level: Level, id: LeaseId, text: &str) {
        let Lease { srpm, builder, .. } = &self.leases[&id];
        let name = match self.builders.get(builder).and_then(|session| self.sessions.get(session)) {
            Some(peer) => peer.info.name.to_string(),
            None => builder.fingerprint(),
        };
        out.push(Effect::Log(level, format!("pkg={srpm} lease={id} builder={name} {text}")));
    }
}
