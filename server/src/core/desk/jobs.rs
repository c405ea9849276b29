//! What the desk has done outside: work on files and on the history, by its worker threads.
//!
//! Owns the shape of tasks and of what comes of them. Of each request at most one job is under way, so a
//! worker needs no order of its own.

use std::collections::BTreeMap;

use moji_proto::message::{AttemptRow, EventRow, Order, ToOperator, Which};
use moji_proto::{Bytes, Digest, FileName, LeaseId, Line, PublicKey};

use crate::core::queue::Survey;
use crate::core::view::{Decision, Reply};

/// Names one request of a session, for what comes back late; 0 is the desk itself. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Run(pub u64);

/// Where a log is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOf {
    /// The package.
    pub srpm: FileName,
    /// The lease.
    pub lease: LeaseId,
    /// Which log.
    pub which: Which,
    /// Where the history says that it is; may be empty.
    pub place: Line,
    /// Whether the lease lives: then it is in the stage and nowhere else.
    pub live: bool,
}

/// A source RPM that an operator sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Its file name.
    pub name: FileName,
    /// Length, bytes.
    pub size: u64,
    /// Digest of its bytes.
    pub digest: Digest,
}

/// A result that an operator decides about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdictable {
    /// What the operator called it.
    pub target: String,
    /// Its folder in `repo/`.
    pub folder: String,
}

/// One thing to be done by a worker.
#[derive(Clone, Debug)]
pub enum Job {
    /// Read the last lines of these live logs.
    Tails(Vec<(LeaseId, Which)>),
    /// Count successes and failures of each builder.
    Counts,
    /// Find the attempts of a package, oldest first.
    Attempts(FileName),
    /// Make the rows of what packages wait for, as the queue took it down.
    Blocked(Box<Survey>),
    /// Read what `result.json` tells about an attempt in this folder.
    Details(Line),
    /// Read a log.
    ReadLog {
        /// Which.
        of: LogOf,
        /// From where.
        offset: u64,
        /// At most so many pieces.
        pieces: usize,
    },
    /// Find where the newest `rows` events begin of those before `before` that the pattern fits.
    Newest {
        /// Of which packages or builders; empty means all.
        pattern: Line,
        /// How many.
        rows: u32,
        /// Before this one.
        before: u64,
    },
    /// Read so many events after this one from the history.
    Replay {
        /// After which.
        after: u64,
        /// How many at most.
        limit: usize,
    },
    /// Make ready for a source RPM.
    Open(Parcel),
    /// Write a piece of it.
    Write {
        /// Where.
        offset: u64,
        /// What.
        bytes: Bytes,
    },
    /// All of it is written: check it and put it into `source/`.
    Deliver {
        /// What it is to be.
        parcel: Parcel,
        /// Whether it goes to the front of `priority.txt`.
        first: bool,
        /// Its mock options.
        options: Vec<Line>,
    },
    /// Change lines of `priority.txt`.
    Prioritise {
        /// First, last or clear.
        order: Order,
        /// Which packages.
        names: Vec<FileName>,
    },
    /// Change a line of `options.txt`.
    SetOptions {
        /// Its file name or glob.
        glob: String,
        /// Its words; none takes the line out.
        words: Vec<Line>,
    },
    /// Write what an operator decided about these results.
    Decide {
        /// Which.
        results: Vec<Verdictable>,
        /// What.
        decision: Decision,
        /// Which operator.
        who: String,
    },
    /// Take results out whose folders this name or glob means.
    Retract {
        /// Which.
        target: String,
        /// Whether their RPMs are deleted.
        delete: bool,
        /// Which operator.
        who: String,
    },
    /// Delete the RPMs of a folder if the live index has none of them.
    Delete {
        /// The folder in `repo/`.
        folder: String,
        /// Its RPM files.
        rpms: Vec<FileName>,
    },
    /// Write a builder into the list.
    Approve {
        /// What people call it.
        name: String,
        /// Its key.
        key: PublicKey,
        /// Its architectures.
        archs: Vec<String>,
    },
    /// Forget what is kept open for a request.
    Close(Run),
    /// Remove what was sent in part and never completed.
    Sweep,
}

/// A result about which a decision is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The result's SRPM.
    pub srpm: FileName,
    /// Its folder.
    pub folder: String,
    /// What was decided.
    pub decision: Decision,
    /// Name of the source package.
    pub source: String,
    /// Names of its binary packages.
    pub binaries: Vec<String>,
    /// Its RPM files.
    pub rpms: Vec<FileName>,
    /// Whether they are to be deleted.
    pub delete: bool,
    /// Which operator.
    pub who: String,
}

/// What came of a [`Job`].
#[derive(Clone, Debug)]
pub enum Done {
    /// Of `Tails`.
    Tails(Vec<(LeaseId, Line)>),
    /// Of `Counts`: successes and failures.
    Counts(BTreeMap<PublicKey, (u32, u32)>),
    /// Of `Attempts`.
    Attempts(Vec<AttemptRow>),
    /// Of `Details`: rows.
    Details(Vec<ToOperator>),
    /// Of `Blocked`: rows.
    Blocked(Vec<ToOperator>),
    /// Of `ReadLog`: pieces one after the other.
    LogRead {
        /// The pieces.
        pieces: Vec<Bytes>,
        /// Whether the log ends here, for now.
        end: bool,
    },
    /// Of `Newest`: the events come after this one.
    Newest(u64),
    /// Of `Replay`.
    Events(Vec<EventRow>),
    /// Of `Open`: so much of it is there.
    Opened(u64),
    /// Of `Write`: it is written up to here.
    Written(u64),
    /// Of `Open`: it is there already, or cannot be taken.
    Replies(Vec<Reply>),
    /// Of `Deliver`, `Prioritise`, `SetOptions` and `Approve`: what came of it, for each thing.
    Changed(Vec<Reply>),
    /// Of `Decide` and `Retract`: what is durable, and what could not be done.
    Decided(Vec<Decided>, Vec<Reply>),
    /// Of `Delete`: whether they are gone; otherwise the index has them still.
    Deleted,
    /// Of `Close` and `Sweep`.
    Closed,
    /// It failed.
    Failed(String),
}
