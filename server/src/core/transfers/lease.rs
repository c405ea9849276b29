//! One lease, from its SRPM's first hash to the durable end of its result.
//!
//! ```text
//!   Opening ──▶ Building ──Results──▶ Gathering ──▶ Surveying ──▶ Uploading ──▶ Verifying
//!      │           ▲ ◀──── Widening ◀─────┤             │             │  │          │
//!      ▼           └────────── the connection broke ────┴─────────────┘  │       Sealing
//!    Unfit                                                               │          ▼
//!                      too large, or damaged three times: Verifying ◀────┘       Sealed
//!                                                                                   │ Ruling
//!   any ──Close, Stale──▶ Closing ──▶ Over ◀─────────────────published────── Committing
//!                            ▲ └─┘ the stage cannot be removed yet             │
//!                            └──────────────────kept as an attempt─────────────┘
//!   a write or sync failed ──▶ Spoiled (until the restart)
//! ```
//!
//! Owns the order of a lease's operations. Must never promise the builder anything that an operation
//! has not confirmed, and gives back every byte of every piece exactly once.

use std::collections::VecDeque;

use moji_proto::limits::UPLOAD_WINDOW_BYTES;
use moji_proto::message::ToBuilder;
use moji_proto::refusal::RejectCode;
use moji_proto::{Digest, FileName, LeaseId, Time};

use super::machine::Cx;
use super::thin::{Lacking, Repos};
use super::upload::{Gathering, Known, Upload};
use super::{About, Defect, Effect, Manifest, Op, Placed};
use crate::core::leases;
use crate::core::types::{Ruling, SessionId};

/// A builder that is back with a lease.
#[derive(Debug)]
pub(super) struct Adoption {
    pub(super) session: SessionId,
    pub(super) about: About,
    pub(super) digest: Digest,
}

/// Bytes to give back to a session when an operation is over.
pub(super) type Credit = (SessionId, u32);

/// An operation that waits.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) op: Op,
    pub(super) credit: Option<Credit>,
}

/// An operation that is with a worker.
#[derive(Debug)]
pub(super) struct Busy {
    pub(super) credit: Option<Credit>,
    /// The connection for which it was broke meanwhile.
    pub(super) is_stale: bool,
}

/// Whether the builder may say again what the hub has: after a reconnect it always does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    No,
    May,
    /// So many `File` and `Evidence` are still to come.
    Rest(u32, u16),
}

/// Where a lease is.
#[derive(Debug)]
pub(super) enum State {
    /// The SRPM is hashed; with a digest, for a builder that is back with the lease.
    Opening(Option<Digest>),
    /// The SRPM cannot be served; leases know and will close.
    Unfit,
    /// The builder has the job. Known is what it announced on an earlier connection.
    Building(Option<Known>),
    /// The result is being announced.
    Gathering(Gathering),
    /// The result lacked something: its thin repository is widened.
    Widening(Box<Lacking>),
    /// It is looked up what the stage has of the result.
    Surveying(Upload),
    /// Files arrive.
    Uploading(Upload),
    /// All is whole and being read; or it was refused already, for this reason.
    Verifying(Manifest, Option<Defect>),
    /// Leases know; the queue rules.
    Sealed(Box<(Manifest, Vec<Placed>, Vec<FileName>)>),
    /// The ruling is being carried out.
    Committing(Ruling, Vec<FileName>),
    /// Nothing is accepted until a restart.
    Spoiled,
    /// The stage is being dropped; then perhaps the builder is back.
    Closing(Option<Box<Adoption>>),
    /// To be taken out of the table.
    Over,
}

/// One lease.
#[derive(Debug)]
pub(super) struct Lease {
    id: LeaseId,
    session: Option<SessionId>,
    /// The last session it had, for what is still under way when it ends.
    last: Option<SessionId>,
    /// What a builder hears that comes back after the result was settled.
    pub(super) settled: Option<ToBuilder>,
    /// Its builder is back and waits to hear whether the lease is still its own.
    asks: bool,
    pub(super) about: About,
    /// Length of the SRPM, bytes.
    pub(super) size: u64,
    /// How much of each live log is there or waits to be written, bytes.
    pub(super) logs: [u64; 4],
    /// Where in each the logs of the build that runs begin, bytes.
    pub(super) log_bases: [u64; 4],
    /// Which repositories its build has.
    pub(super) repos: Repos,
    /// A thin repository was asked for.
    pub(super) offered: bool,
    /// The last result that was thrown away, and to whom that was said last.
    pub(super) lacked: Option<(Option<SessionId>, Manifest)>,
    pub(super) state: State,
    pub(super) repeat: Repeat,
    /// Bytes of the SRPM that the builder asked for and that were not sent yet.
    pub(super) fetching: u32,
    pub(super) todo: VecDeque<Work>,
    /// The operation that is with a worker.
    pub(super) busy: Option<Busy>,
    pub(super) retry_at: Option<Time>,
    /// The timer that the table holds for it.
    pub(super) timer: Option<Time>,
    /// The session whose turn to upload it holds.
    pub(super) turn: Option<SessionId>,
}

impl Lease {
    fn new(id: LeaseId, session: Option<SessionId>, about: About, state: State) -> Lease {
        Lease {
            id,
            session,
            last: session,
            settled: None,
            asks: false,
            about,
            size: 0,
            logs: [0; 4],
            log_bases: [0; 4],
            repos: Repos::All,
            offered: false,
            lacked: None,
            state,
            repeat: Repeat::No,
            fetching: 0,
            todo: VecDeque::new(),
            busy: None,
            retry_at: None,
            timer: None,
            turn: None,
        }
    }

    /// A new lease: opens its SRPM.
    pub(super) fn open(id: LeaseId, session: SessionId, about: About) -> Lease {
        let mut lease = Lease::new(id, Some(session), about, State::Opening(None));
        lease.push_open(true);
        lease
    }

    /// A lease from before a restart: opens its SRPM and looks into its stage.
    pub(super) fn adopted(id: LeaseId, adoption: Adoption) -> Lease {
        let Adoption { session, about, digest } = adoption;
        let mut lease = Lease::new(id, Some(session), about, State::Opening(Some(digest)));
        lease.asks = true;
        lease.push_open(false);
        lease.push(Op::Survey, None);
        lease
    }

    /// A lease of which only the id is known, to be closed.
    pub(super) fn unknown(id: LeaseId) -> Lease {
        Lease::new(id, None, About::default(), State::Building(None))
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        self.session
    }

    pub(super) fn last_session(&self) -> Option<SessionId> {
        self.last
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The session whose turn to upload it wants or has.
    pub(super) fn wants_turn(&self) -> Option<SessionId> {
        self.session.filter(|_| matches!(self.state, State::Uploading(_)))
    }

    /// When it wants a tick.
    pub(super) fn timeout(&self) -> Option<Time> {
        let floor = match &self.state {
            State::Uploading(upload) if self.retry_at.is_none() => upload.floor_at(),
            _ => None,
        };
        [self.retry_at, floor].into_iter().flatten().min()
    }

    /// Goes to `next`, which the diagram above must have.
    pub(super) fn go(&mut self, next: State) {
        use State as S;
        let fits = match (&self.state, &next) {
            (S::Over, _) => false,
            (S::Opening(_), S::Building(_) | S::Unfit | S::Opening(_)) => true,
            (S::Building(_), S::Gathering(_) | S::Unfit | S::Opening(_)) => true,
            (S::Gathering(_), S::Surveying(_) | S::Verifying(..) | S::Building(_) | S::Widening(_)) => true,
            (S::Surveying(_), S::Uploading(_) | S::Building(_)) => true,
            (S::Uploading(_), S::Verifying(..) | S::Building(_)) => true,
            (S::Verifying(..), S::Sealed(_)) => true,
            (S::Sealed(_), S::Committing(..)) => true,
            (S::Committing(..), S::Over) => true,
            (S::Closing(_), S::Over | S::Opening(_) | S::Closing(_)) => true,
            (S::Closing(_), _) => false,
            (_, S::Spoiled | S::Closing(_)) => true,
            _ => false,
        };
        assert!(fits, "lease {}: {:?} cannot become {next:?}", self.id, self.state);
        self.state = next;
    }

    pub(super) fn push(&mut self, op: Op, credit: Option<Credit>) {
        self.todo.push_back(Work { op, credit });
    }

    pub(super) fn push_open(&mut self, is_new: bool) {
        let srpm = self.about.srpm.clone().expect("an opened lease has an SRPM");
        self.push(Op::Open { srpm, is_new }, None);
    }

    /// Hands the next operation to a worker, if none is there.
    pub(super) fn pump(&mut self, out: &mut Vec<Effect>) {
        if self.busy.is_none()
            && self.retry_at.is_none()
            && let Some(Work { mut op, mut credit }) = self.todo.pop_front()
        {
            // What came while a worker was busy with the file goes as one: a worker's turn costs more than
            // the writing of a message's piece.
            while let Some(next) = self.todo.front()
                && continues(&op, credit, next)
                && let Some(next) = self.todo.pop_front()
            {
                join(&mut op, &mut credit, next);
            }
            self.busy = Some(Busy { credit, is_stale: false });
            out.push(Effect::Io { lease: self.id, op });
        }
    }

    /// Forgets all operations that wait.
    pub(super) fn purge(&mut self, cx: &mut Cx<'_>) {
        self.retry_at = None;
        let credits = self.todo.drain(..).filter_map(|work| work.credit);
        cx.out.extend(credits.map(|(session, bytes)| Effect::Consumed(session, bytes)));
    }

    pub(super) fn send(&self, cx: &mut Cx<'_>, msg: ToBuilder) {
        if let Some(session) = self.session {
            cx.out.push(Effect::Send(session, msg));
        }
    }

    pub(super) fn log(&self, cx: &mut Cx<'_>, level: log::Level, what: &str) {
        let pkg = self.about.srpm.as_ref().map_or("?", FileName::as_str);
        let builder = self.about.builder.as_ref().map_or("?", |builder| builder.name.as_str());
        let text = format!("pkg={pkg} lease={} builder={builder} {what}", self.id);
        cx.out.push(Effect::Log(level, text));
    }

    pub(super) fn id(&self) -> LeaseId {
        self.id
    }

    /// The builder is back with the lease. What arrived on its last connection stays.
    pub(super) fn adopt(&mut self, cx: &mut Cx<'_>, adoption: Adoption) {
        if let State::Closing(again) = &mut self.state {
            *again = Some(Box::new(adoption));
            // It does not wait for a stage that could not be removed.
            self.retry_at = None;
            return;
        }
        self.detach();
        let Adoption { session, about, digest } = adoption;
        self.session = Some(session);
        self.last = Some(session);
        self.asks = true;
        self.about.builder = about.builder;
        self.about.phase = about.phase;
        if !about.options.is_empty() {
            self.about.options = about.options;
        }
        match &self.state {
            State::Unfit => self.unfit(cx, "it was found unfit before".to_owned(), false),
            State::Opening(_) => {
                // The stage may hold logs of an earlier run of the hub.
                self.go(State::Opening(Some(digest)));
                self.push(Op::Survey, None);
            }
            _ if self.about.digest.is_none() => {
                self.go(State::Opening(Some(digest)));
                self.push_open(false);
                self.push(Op::Survey, None);
            }
            _ => self.welcome_back(cx, digest),
        }
    }

    /// The builder is back with a lease whose result was settled; only its stage is still to go.
    pub(super) fn settled_again(&mut self, session: SessionId) {
        self.session = Some(session);
        self.last = Some(session);
    }

    /// Nothing comes of the lease. A builder that was not answered yet says and gets nothing until it is.
    fn refuse(&mut self, cx: &mut Cx<'_>) {
        if std::mem::take(&mut self.asks) {
            self.send(cx, ToBuilder::Gone { lease: self.id });
        }
    }

    /// Says `Adopted`, if the builder works on the SRPM that is there.
    pub(super) fn welcome_back(&mut self, cx: &mut Cx<'_>, digest: Digest) {
        if self.about.digest == Some(digest) {
            self.repeat = Repeat::May;
            self.asks = false;
            let mut logs = self.logs;
            logs.iter_mut().zip(self.log_bases).for_each(|(log, base)| *log -= base);
            self.send(cx, ToBuilder::Adopted { lease: self.id, logs });
        } else if matches!(self.state, State::Opening(_) | State::Building(_)) {
            self.unfit(cx, "the builder works on other bytes than the file in working has".to_owned(), false);
        } else {
            // It announced and uploaded this very lease before: the key is right, the story is not.
            self.close_session(cx, RejectCode::NotYours);
        }
    }

    pub(super) fn close_session(&self, cx: &mut Cx<'_>, code: RejectCode) {
        if let Some(session) = self.session {
            cx.out.push(Effect::Close(session, code));
        }
    }

    pub(super) fn unfit(&mut self, cx: &mut Cx<'_>, why: String, damaged: bool) {
        let has_job = matches!(self.state, State::Building(_));
        if !matches!(self.state, State::Unfit) {
            self.go(State::Unfit);
        }
        self.refuse(cx);
        self.log(cx, log::Level::Warn, &format!("unfit: {why}"));
        cx.out.push(Effect::Leases(leases::Msg::Unfit { lease: self.id, has_job, why, damaged }));
    }

    /// The connection broke.
    pub(super) fn detach(&mut self) {
        self.session = None;
        self.asks = false;
        self.repeat = Repeat::No;
        // What was fetched on that connection is not sent on the next one, and what was looked up for it is old
        // by then: pieces that still wait to be written are not in it.
        self.fetching = 0;
        self.todo.retain(|work| !serves_connection(&work.op));
        if let Some(busy) = &mut self.busy {
            busy.is_stale = true;
        }
        let known = match std::mem::replace(&mut self.state, State::Building(None)) {
            State::Gathering(_) | State::Widening(_) => None,
            State::Surveying(upload) | State::Uploading(upload) => Some(upload.into_known()),
            State::Closing(_) => {
                self.state = State::Closing(None);
                return;
            }
            other => {
                self.state = other;
                return;
            }
        };
        self.state = State::Building(known);
    }

    /// The lease ended without a result.
    pub(super) fn close(&mut self, cx: &mut Cx<'_>, why: String) {
        match &mut self.state {
            State::Committing(..) => {
                // A sealed lease does not end but by its commit, which may be past its point already.
                self.log(cx, log::Level::Error, "close of a lease that is being committed is ignored");
                return;
            }
            State::Closing(again) => {
                if let Some(adoption) = again.take() {
                    cx.out.push(Effect::Send(adoption.session, ToBuilder::Gone { lease: self.id }));
                }
                return;
            }
            _ => {}
        }
        self.refuse(cx);
        self.purge(cx);
        let about = Box::new(self.about.clone());
        self.push(Op::Discard { about, why }, None);
        self.go(State::Closing(None));
    }

    /// The lease was not live: the result is dropped.
    pub(super) fn stale(&mut self, cx: &mut Cx<'_>) {
        if matches!(self.state, State::Committing(..) | State::Closing(_)) {
            return;
        }
        self.send(cx, ToBuilder::Gone { lease: self.id });
        self.purge(cx);
        self.push(Op::Drop, None);
        self.go(State::Closing(None));
    }

    /// A write or sync failed somewhere.
    pub(super) fn spoil(&mut self, cx: &mut Cx<'_>) {
        match self.state {
            State::Gathering(_) | State::Surveying(_) | State::Uploading(_) | State::Verifying(..) => {}
            State::Sealed(_) => {
                cx.out.push(Effect::Leases(leases::Msg::Unsealed { lease: self.id }));
            }
            // A commit under way makes its own syncs and believes only those.
            _ => return,
        }
        self.purge(cx);
        self.go(State::Spoiled);
    }

    /// The disk failed under this lease: its stage may not be what it seems.
    pub(super) fn broken(&mut self, cx: &mut Cx<'_>, why: &str) {
        self.log(cx, log::Level::Error, &format!("{why}; nothing is accepted until the hub is restarted"));
        cx.shared.broken = true;
        match self.state {
            State::Sealed(_) => cx.out.push(Effect::Leases(leases::Msg::Unsealed { lease: self.id })),
            // It may be in repo/ for good: only the restart can tell. Until then the seal stays, so that the
            // lease does not expire and the SRPM is not built again beside its own result.
            State::Committing(..) => {}
            State::Closing(_) | State::Over => return,
            _ => {}
        }
        self.purge(cx);
        self.go(State::Spoiled);
        self.push(Op::Drop, None);
    }

    /// Time passed.
    pub(super) fn tick(&mut self, cx: &mut Cx<'_>) {
        if self.retry_at.is_some_and(|at| at <= cx.now) {
            self.retry_at = None;
            if let State::Uploading(upload) = &mut self.state {
                upload.measure_afresh(cx.now);
            }
        }
        if let State::Uploading(upload) = &mut self.state
            && self.retry_at.is_none()
            && upload.is_too_slow(cx.now)
        {
            self.close_session(cx, RejectCode::TooSlow);
        }
    }
}

/// Whether what comes of `op` is for one connection only.
pub(super) fn serves_connection(op: &Op) -> bool {
    matches!(op, Op::Read { .. } | Op::Survey)
}

/// Whether `next` writes on where `op` ends, for the same session.
fn continues(op: &Op, credit: Option<Credit>, next: &Work) -> bool {
    match (op, &next.op) {
        (Op::Write { file, offset, bytes }, Op::Write { file: file_2, offset: offset_2, bytes: bytes_2 }) => {
            file == file_2
                && offset + bytes.0.len() as u64 == *offset_2
                && (bytes.0.len() + bytes_2.0.len()) as u64 <= UPLOAD_WINDOW_BYTES
                && credit.map(|(session, _)| session) == next.credit.map(|(session, _)| session)
        }
        _ => false,
    }
}

/// Makes one write of two, which [`continues`] allowed.
fn join(op: &mut Op, credit: &mut Option<Credit>, next: Work) {
    if let (Op::Write { bytes, .. }, Op::Write { bytes: more, .. }) = (op, next.op) {
        bytes.0.extend_from_slice(&more.0);
    }
    if let (Some((_, sum)), Some((_, more))) = (credit, next.credit) {
        *sum += more;
    }
}
