//! The desk: where operators ask, and are told what happens.
//!
//! Owns operators' sessions: the request that each of them runs, its rows and the credit for them. Keeps no
//! state of packages or builders: it asks the queue for a [`View`] and hands changes to whom they belong.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use moji_proto::message::{FromOperator, NoCode, Phase, ToOperator, Which};
use moji_proto::refusal::RejectCode;
use moji_proto::{LeaseId, Line, PublicKey, Time};

use super::types::SessionId;
use super::view::{Event, Reply, Ticket, View};
use super::{queue, repo};

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
    /// Answer to `Look`. (queue)
    View(Arc<View>),
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
    /// Tell the queue.
    Queue(queue::Msg),
    /// Tell repo.
    Repo(repo::Msg),
    /// A state change an operator reads about.
    Log(log::Level, String),
}

/// The desk core.
#[derive(Debug, Default)]
pub struct Desk {
    operators: BTreeMap<SessionId, IpAddr>,
}

impl super::Core for Desk {
    type Msg = Msg;
    type Effect = Effect;

    fn handle(&mut self, _now: Time, msg: Msg, out: &mut Vec<Effect>) {
        match msg {
            Msg::Connected { session, peer } => {
                self.operators.insert(session, peer);
            }
            Msg::Disconnected { session } => {
                self.operators.remove(&session);
            }
            Msg::FromOperator { msg: FromOperator::Hail { .. } | FromOperator::More { .. }, .. } => {}
            Msg::FromOperator { session, .. } => {
                let no = ToOperator::No {
                    code: NoCode::Refused,
                    target: Line::default(),
                    text: Line::lossy("this hub does not answer that"),
                };
                out.extend([no, ToOperator::End { rows: 1 }].map(|row| Effect::Send(session, row)));
            }
            Msg::Unlisted { .. }
            | Msg::Event(_)
            | Msg::View(_)
            | Msg::Replied { .. }
            | Msg::Phase { .. }
            | Msg::Grown { .. }
            | Msg::Tick => {}
        }
    }

    fn deadline(&self) -> Option<Time> {
        None
    }

    fn tick() -> Msg {
        Msg::Tick
    }
}
