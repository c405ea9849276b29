//! The desk: where operators ask, and are told what happens.
//!
//! Owns operators' sessions: the request that each of them runs, its rows and the credit for them; the
//! numbers of events and the newest of them. Keeps no state of packages or builders: it asks the queue for a
//! [`View`] and hands changes to whom they belong. Never touches a file: [`Job`]s do.
//!
//! | file | owns |
//! |---|---|
//! | `names.rs` | which name means which package or builder |
//! | `shared.rs` | what all sessions share: the view, live logs, the ring of events |
//! | `session.rs` | one session: its request, credit, rows |
//! | `ask.rs` | what a request needs before it can be answered, and its first step |
//! | `rows.rs` | answers that are rows of a view |
//! | `why.rs` | reasons, which the queue and the history tell |
//! | `logs.rs` | reading and following a log |
//! | `events.rs` | following events, reading old ones |
//! | `glance.rs` | all of the farm at once, for the web |
//! | `submit.rs` | taking a source RPM |
//! | `change.rs` | carrying out an operator's change |
//! | `jobs.rs` | what workers are asked to do |

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use moji_proto::message::{BuilderRow, EventKind, EventRow, FromOperator, NoCode, Phase, ToOperator, Which};
use moji_proto::refusal::RejectCode;
use moji_proto::{FileName, LeaseId, PublicKey, Time};

pub use glance::{Build, Glance, RESULTS_MAX};
pub use jobs::{Decided, Done, Job, LogOf, Parcel, Run, Verdictable};
pub use names::Miss;

use self::session::{Answer, Session};
use self::shared::Shared;
use super::types::SessionId;
use super::view::{Decision, Event, PackageView, Reply, Ticket, View};
use super::{queue, repo};

mod ask;
mod change;
mod events;
mod glance;
mod jobs;
mod logs;
mod names;
mod rows;
mod session;
mod shared;
mod submit;
#[cfg(test)]
mod tests;
mod why;

/// Operators that are answered at once: more than a team has, few enough for the hub's memory. Sessions of the hub's own
/// web actor are not among them: it has a limit of its own.
pub const OPERATORS_MAX: usize = 64;
/// Rows of an answer that a session of the web actor gets unasked: there may be hundreds, and what a slow browser does not
/// take waits in memory. Pieces of logs make that 512 KiB at most.
pub const INNER_ROWS: u16 = 16;
/// When what was sent in part is looked at for removal, milliseconds: hourly is enough for what stays a day.
const SWEEP_EVERY_MS: u64 = 3_600_000;

/// What the desk is set up with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Version of the hub.
    pub version: FileName,
    /// When the hub started.
    pub started: Time,
    /// Number of the first event: larger than that of any earlier run.
    pub first_seq: u64,
    /// Whether events go to a program.
    pub hook: bool,
    /// RPMs of results that were retracted in an earlier run, to be deleted when no index names them, by folder.
    pub deletions: Vec<(String, Vec<FileName>)>,
}

impl Default for Setup {
    fn default() -> Setup {
        let version = FileName::new(env!("CARGO_PKG_VERSION")).expect("a version is a file name");
        Setup { version, started: Time(0), first_seq: 1, hook: false, deletions: Vec::new() }
    }
}

/// What the desk is told.
#[derive(Clone, Debug)]
pub enum Msg {
    /// An operator's session is open. (reactor)
    Connected {
        /// Its session.
        session: SessionId,
        /// Where it called from.
        peer: IpAddr,
    },
    /// A session ended, for whatever reason. (reactor)
    Disconnected {
        /// Its session.
        session: SessionId,
    },
    /// What an operator said, in an order that may be. (reactor)
    FromOperator {
        /// Its session.
        session: SessionId,
        /// What.
        msg: FromOperator,
    },
    /// A builder was turned away because it is not listed. (reactor)
    Unlisted {
        /// Its key.
        key: PublicKey,
        /// Where it called from.
        peer: IpAddr,
    },
    /// Something happened. (queue, repo)
    Event(Event),
    /// The live index has so many RPM files. (repo)
    Indexed {
        /// How many.
        rpms: u32,
    },
    /// No live index names anything of this withdrawn result any more. (repo)
    Withdrawn {
        /// Its folder.
        folder: String,
    },
    /// Answer to `Look`. (queue)
    View(Arc<View>),
    /// Why a package is where it is: rows. (queue)
    Explained {
        /// Which question.
        ticket: Ticket,
        /// The rows.
        rows: Vec<ToOperator>,
    },
    /// What packages wait for that is not there. (queue)
    Surveyed {
        /// Which question.
        ticket: Ticket,
        /// All of it.
        survey: Box<queue::Survey>,
    },
    /// What came of a change. (queue)
    Replied {
        /// Which change.
        ticket: Ticket,
        /// For each thing that it was about.
        replies: Vec<Reply>,
    },
    /// A build came to another phase. (transfers)
    Phase {
        /// The lease.
        lease: LeaseId,
        /// The phase.
        phase: Phase,
    },
    /// A live log has this length on disk now. (transfers)
    Grown {
        /// The lease.
        lease: LeaseId,
        /// Which log.
        which: Which,
        /// Its length, bytes.
        bytes: u64,
    },
    /// What does all look like, with what only the desk knows? Answered with [`Effect::Glance`], once for all who asked
    /// since the last one. (web)
    Glance,
    /// What came of a job. (shell)
    Done {
        /// For which request.
        run: Run,
        /// What.
        done: Done,
    },
    /// Time passed. (shell)
    Tick,
}

/// What the desk wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Say this to an operator.
    Send(SessionId, ToOperator),
    /// So many bytes of an operator's `Data` are dealt with.
    Consumed(SessionId, u32),
    /// End a session.
    Close(SessionId, RejectCode),
    /// Show this to the web.
    Glance(Arc<Glance>),
    /// Tell the queue.
    Queue(queue::Msg),
    /// Tell repo.
    Repo(repo::Msg),
    /// Have a worker do this, then say [`Msg::Done`].
    Work {
        /// For which request.
        run: Run,
        /// What.
        job: Job,
    },
    /// Remember this event; never waited for.
    History(EventRow),
    /// Tell the operators' program of this event.
    Hook(EventRow),
    /// A state change an operator reads about.
    Log(log::Level, String),
}

/// What a handler is given.
struct Cx<'a> {
    now: Time,
    shared: &'a mut Shared,
    out: &'a mut Vec<Effect>,
}

/// The desk core.
#[derive(Debug)]
pub struct Desk {
    shared: Shared,
    sessions: BTreeMap<SessionId, Session>,
    /// Which session runs which request.
    runs: BTreeMap<Run, SessionId>,
    /// A glance was asked for, first then.
    glance: Option<Time>,
    sweep_at: Time,
}

impl Default for Desk {
    fn default() -> Desk {
        Desk::new(Setup::default())
    }
}

impl super::Core for Desk {
    type Msg = Msg;
    type Effect = Effect;

    fn handle(&mut self, now: Time, msg: Msg, out: &mut Vec<Effect>) {
        self.handle(now, msg, out);
    }

    fn deadline(&self) -> Option<Time> {
        self.deadline_at()
    }

    fn tick() -> Msg {
        Msg::Tick
    }
}

impl Desk {
    /// No operator yet.
    #[must_use]
    pub fn new(setup: Setup) -> Desk {
        let sweep_at = setup.started;
        let (sessions, runs) = (BTreeMap::new(), BTreeMap::new());
        Desk { shared: Shared::new(setup), sessions, runs, glance: None, sweep_at }
    }

    /// When it wants a `Tick`.
    #[must_use]
    pub fn deadline_at(&self) -> Option<Time> {
        Some(self.sweep_at)
    }

    /// The wall clock as it is at the next message, unix milliseconds.
    pub fn set_clock(&mut self, unix_ms: u64) {
        self.shared.unix_ms = unix_ms;
    }

    /// Takes one message.
    pub fn handle(&mut self, now: Time, msg: Msg, out: &mut Vec<Effect>) {
        match msg {
            Msg::Connected { session, peer } => {
                self.sessions.insert(session, Session::new(session, peer));
            }
            Msg::Disconnected { session } => self.disconnected(now, session, out),
            Msg::FromOperator { session, msg } => self.hear(now, session, msg, out),
            Msg::Unlisted { key, peer } => self.shared.turned_away(now, key, peer),
            Msg::Event(event) => self.event(now, event, out),
            Msg::Indexed { rpms } => self.shared.rpms = rpms,
            Msg::Withdrawn { folder } => {
                if let Some(rpms) = self.shared.take_deletion(&folder) {
                    out.push(Effect::Work { run: Run::default(), job: Job::Delete { folder, rpms } });
                }
            }
            Msg::View(view) => self.shared.viewed(now, view),
            Msg::Explained { ticket, rows } => {
                let run = self.shared.tickets.remove(&ticket).unwrap_or_default();
                self.with(now, run, out, |session, _| session.explained(rows));
            }
            Msg::Surveyed { ticket, survey } => {
                let run = self.shared.tickets.remove(&ticket).unwrap_or_default();
                self.with(now, run, out, |session, cx| session.surveyed(cx, survey));
            }
            Msg::Replied { ticket, replies } => {
                self.shared.stale_view();
                let run = self.shared.tickets.remove(&ticket).unwrap_or_default();
                self.with(now, run, out, |session, _| session.replied(replies));
            }
            Msg::Phase { lease, phase } => {
                if let Some(event) = self.shared.phase(now, lease, phase) {
                    self.event(now, event, out);
                }
            }
            Msg::Glance => self.glance = self.glance.or(Some(now)),
            Msg::Grown { lease, which, bytes } => self.shared.grown(lease, which, bytes),
            Msg::Done { run, done } => self.done(now, run, done, out),
            Msg::Tick => {
                if self.sweep_at <= now {
                    self.sweep_at = now.plus_ms(SWEEP_EVERY_MS);
                    out.push(Effect::Work { run: Run::default(), job: Job::Sweep });
                }
            }
        }
        self.settle(now, out);
    }

    /// Runs `body` for the session that runs this request, if it does so still.
    fn with(
        &mut self,
        now: Time,
        run: Run,
        out: &mut Vec<Effect>,
        body: impl FnOnce(&mut Session, &mut Cx<'_>),
    ) {
        if let Some(session) = self.runs.get(&run).and_then(|id| self.sessions.get_mut(id)) {
            body(session, &mut Cx { now, shared: &mut self.shared, out });
        }
    }

    fn disconnected(&mut self, now: Time, id: SessionId, out: &mut Vec<Effect>) {
        let Some(mut session) = self.sessions.remove(&id) else { return };
        self.runs.remove(&session.run);
        session.leave(&mut Cx { now, shared: &mut self.shared, out });
    }

    fn hear(&mut self, now: Time, id: SessionId, msg: FromOperator, out: &mut Vec<Effect>) {
        let taken = self.sessions.iter().filter(|(id, session)| session.seated && !id.is_inner()).count();
        let is_full = taken >= OPERATORS_MAX && !id.is_inner();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let mut cx = Cx { now, shared: &mut self.shared, out };
        match msg {
            FromOperator::Ping => {}
            FromOperator::Hail { user, host, .. } => session.hail(&user, &host),
            FromOperator::More { rows } => session.grant(rows),
            FromOperator::Word { word } => session.word(&mut cx, word),
            FromOperator::Data { offset, bytes } => session.data(&mut cx, offset, bytes),
            request => {
                let run = cx.shared.next_run();
                self.runs.remove(&session.run);
                self.runs.insert(run, id);
                session.begin(run);
                if !session.seated && is_full {
                    let text = format!("{OPERATORS_MAX} operators are connected already: try again later");
                    session.no(NoCode::Later, "", text);
                } else {
                    session.seated = true;
                    session.ask(&mut cx, request);
                }
            }
        }
    }

    fn done(&mut self, now: Time, run: Run, done: Done, out: &mut Vec<Effect>) {
        let cx = &mut Cx { now, shared: &mut self.shared, out };
        match done {
            Done::Tails(lines) => cx.shared.tailed(now, lines),
            Done::Counts(counts) => cx.shared.counted(now, Some(counts)),
            Done::Deleted => {}
            Done::Decided(decided, mut replies) => {
                // True whether or not who asked for it is still there.
                for decided in decided {
                    replies.push(change::carry_out(cx, decided));
                }
                self.with(now, run, out, |session, _| session.replied(replies));
            }
            Done::Failed(_) | Done::Replies(_) if run != Run::default() => {
                cx.shared.orders.remove(&run);
                self.with(now, run, out, |session, cx| session.done(cx, done));
            }
            Done::Failed(why) => {
                cx.shared.counted(now, None);
                cx.shared.tailed(now, Vec::new());
                cx.out.push(Effect::Log(log::Level::Warn, why));
            }
            Done::LogRead { .. } | Done::Opened(_) | Done::Written(_) if !self.runs.contains_key(&run) => {
                cx.shared.orders.remove(&run);
                cx.out.push(Effect::Work { run: Run::default(), job: Job::Close(run) });
            }
            Done::Changed(replies) => {
                cx.shared.ordered(run, &replies);
                self.with(now, run, out, |session, cx| session.done(cx, Done::Changed(replies)));
            }
            done => self.with(now, run, out, |session, cx| session.done(cx, done)),
        }
    }

    /// Numbers an event and tells it to all who want to know.
    fn event(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) {
        let row = self.shared.remember(now, event);
        if row.kind != EventKind::Phase {
            out.push(Effect::History(row.clone()));
            if self.shared.setup.hook {
                out.push(Effect::Hook(row.clone()));
            }
        }
        for session in self.sessions.values_mut() {
            session.happened(&row);
        }
    }

    /// Brings every session as far as it can go.
    fn settle(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.give_glance(now, out);
        for session in self.sessions.values_mut() {
            let mut cx = Cx { now, shared: &mut self.shared, out };
            session.pump(&mut cx);
            if matches!(session.answer, Answer::Idle) && session.run != Run::default() {
                self.runs.remove(&session.run);
                session.run = Run::default();
            }
        }
        // What sessions themselves made happen.
        while let Some(event) = self.shared.events.pop() {
            self.event(now, event, out);
            self.settle(now, out);
        }
    }
}

/// A package as the queue shows it, for tests.
#[cfg(test)]
pub(crate) fn sample_package(srpm: &str) -> super::view::PackageView {
    tests::package(srpm, "")
}

/// Which events a pattern means; an empty one means all.
pub fn event_filter(pattern: &moji_proto::Line) -> impl Fn(&EventRow) -> bool {
    let pattern = names::Pattern::new(pattern);
    move |row| pattern.as_ref().is_none_or(|pattern| pattern.fits_event(row))
}

/// The one package that a name means.
///
/// # Errors
/// That there is none or several, and which come near.
pub fn package_named<'v>(view: &'v View, text: &str) -> Result<&'v PackageView, Miss> {
    names::package(view, text)
}

/// The one builder that a name or a key means.
///
/// # Errors
/// That there is none or several, and which come near.
pub fn builder_named<'v>(builders: &'v [BuilderRow], text: &str) -> Result<&'v BuilderRow, Miss> {
    names::builder(builders, text)
}

/// What is said of a decision.
fn decided_word(decision: Decision) -> &'static str {
    match decision {
        Decision::Accepted => "accepted",
        Decision::Refused => "refused",
        Decision::Retracted => "retracted",
    }
}
