//! What the farm looks like from outside, and what happens in it.
//!
//! Owns plain data: what the queue shows, what actors report, what comes of an operator's change. Decides
//! nothing. The queue makes a [`View`] whenever the desk asks for one; nobody else keeps a copy of its state.

use moji_proto::message::{BuilderRow, EventKind, NoCode, Order, PackageRow, PackageState, Phase, Verdict};
use moji_proto::{FileName, LeaseId, Line, Time};

use super::types::BuilderId;

/// The queue at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// All packages, by file name. Phase and last line are the desk's to fill in.
    pub packages: Vec<PackageView>,
    /// All builders that ever registered in this run, by name. Phase, and the counts of the history, are
    /// the desk's to fill in.
    pub builders: Vec<BuilderRow>,
    /// Why nothing at all is leased, or one package at a time; why uploads and commits wait.
    pub blocked: Option<String>,
    /// Why idle builders get nothing; None if no builder is idle.
    pub idle: Option<String>,
    /// Free space of the folders' file system, and what must stay free, bytes.
    pub space: Option<(u64, u64)>,
    /// Seconds until all is built that can be built, as learned times tell; 0 if unknown, or nothing is left.
    pub ends_in_s: u32,
    /// Architecture of the repository.
    pub target: Option<String>,
}

/// One package in a [`View`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageView {
    /// What an operator sees of it.
    pub row: PackageRow,
    /// Since when it is so, and how many seconds it was so before this run: the row's age, which a view that is kept for
    /// a while would make wrong.
    pub since: (Time, u64),
    /// The second lease beside the one in the row.
    pub copy: Option<CopyView>,
    /// Capabilities that it waits for.
    pub wants: Vec<String>,
    /// mock options that it gets.
    pub options: Vec<Line>,
}

/// A second lease of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyView {
    /// The lease.
    pub lease: LeaseId,
    /// Who holds it.
    pub key: BuilderId,
    /// Its host name.
    pub builder: Option<FileName>,
}

/// Something that happened, as an actor reports it; the desk adds number and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// The package's SRPM.
    pub srpm: Option<FileName>,
    /// The lease.
    pub lease: Option<LeaseId>,
    /// Host name of the builder.
    pub builder: Option<FileName>,
    /// The verdict.
    pub verdict: Option<Verdict>,
    /// The phase.
    pub phase: Option<Phase>,
    /// The state that the package is in from now on.
    pub state: Option<PackageState>,
    /// Which operator, if one did it.
    pub who: String,
    /// In words.
    pub text: String,
}

impl Event {
    /// An event of which only this is known.
    #[must_use]
    pub fn new(kind: EventKind, text: impl Into<String>) -> Event {
        Event {
            kind,
            srpm: None,
            lease: None,
            builder: None,
            verdict: None,
            phase: None,
            state: None,
            who: String::new(),
            text: text.into(),
        }
    }
}

/// Names one change of an operator's, for its answer; never used again within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A change for the queue to make: names are resolved already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// For its answer.
    pub ticket: Ticket,
    /// Which operator: `user@host (address)`.
    pub who: String,
    /// What.
    pub order: Order,
    /// To which packages.
    pub packages: Vec<FileName>,
    /// To which builders.
    pub builders: Vec<BuilderId>,
}

/// What an operator decided about a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It waited for review and is published.
    Accepted,
    /// It waited for review and never will be.
    Refused,
    /// It was published and is no longer.
    Retracted,
}

/// What operators told a builder, until they take it back; survives restarts of hub and builder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// It gets nothing more.
    pub drained: bool,
    /// The process (its `instance`) that is to end once it is idle. A later one of that builder was started
    /// by somebody who wants it to run.
    pub exit: Option<u64>,
    /// It gets nothing until it is released.
    pub quarantined: bool,
}

/// What came of a change, for one thing that it was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was changed.
    Changed {
        /// What.
        target: String,
        /// How.
        text: String,
    },
    /// It was not.
    No {
        /// Of what kind.
        code: NoCode,
        /// What.
        target: String,
        /// Why and what to do.
        text: String,
    },
}
