//! What an operator's command and the hub say to each other.
//!
//! Owns the shape of both directions and of the rows that answers are made of. One request at a time a
//! session; its answer is rows, closed by one [`ToOperator::End`]. The hub sends
//! [`crate::limits::OPERATOR_ROWS`] rows of a request and then as many as `More` grants, so that a long
//! list never fills its memory. Rows carry ages, not clocks, where the hub's own clock is what counts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Backend, Health, Phase, Verdict, Which};
use crate::bytes::Bytes;
use crate::ids::{Digest, LeaseId, PublicKey};
use crate::text::{FileName, Line};

/// Where a package is, as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PackageState {
    /// In `source/`, may be leased.
    Waiting,
    /// In `source/`, waits for capabilities.
    Deps,
    /// In `source/`, and another file holds the same package.
    Duplicate,
    /// In `source/`, no whole SRPM.
    Unusable,
    /// Leased.
    Building,
    /// Published.
    Success,
    /// Built in vain.
    Failed,
    /// Not for this architecture.
    Excluded,
    /// Built, and waits for `accept` or `refuse`.
    Review,
    /// Ended by an operator.
    Cancelled,
    /// In `finished/`, put there by somebody else.
    Finished,
}

impl PackageState {
    /// All of them, in wire order.
    pub const ALL: [PackageState; 11] = [
        PackageState::Waiting,
        PackageState::Deps,
        PackageState::Duplicate,
        PackageState::Unusable,
        PackageState::Building,
        PackageState::Success,
        PackageState::Failed,
        PackageState::Excluded,
        PackageState::Review,
        PackageState::Cancelled,
        PackageState::Finished,
    ];

    /// The word used on command lines and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PackageState::Waiting => "waiting",
            PackageState::Deps => "deps",
            PackageState::Duplicate => "duplicate",
            PackageState::Unusable => "unusable",
            PackageState::Building => "building",
            PackageState::Success => "success",
            PackageState::Failed => "failed",
            PackageState::Excluded => "excluded",
            PackageState::Review => "review",
            PackageState::Cancelled => "cancelled",
            PackageState::Finished => "finished",
        }
    }

    /// Whether nothing more happens to the package by itself.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            PackageState::Success
            | PackageState::Failed
            | PackageState::Excluded
            | PackageState::Review
            | PackageState::Cancelled
            | PackageState::Finished => true,
            PackageState::Waiting
            | PackageState::Deps
            | PackageState::Duplicate
            | PackageState::Unusable
            | PackageState::Building => false,
        }
    }
}

impl fmt::Display for PackageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a builder is, as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BuilderState {
    /// Waits for a package.
    Idle,
    /// Has one.
    Busy,
    /// Has one and gets no other: it drains, or an operator drained it.
    Draining,
    /// Has none and gets none.
    Drained,
    /// Gets nothing because of what it did to the last packages, or an operator said so.
    Quarantined,
    /// Takes nothing, as it says itself: its clock, its disk.
    Troubled,
    /// Builds for another architecture than the repository.
    Unfit,
    /// Not connected.
    Away,
    /// Turned away: not in the list of builders.
    Unlisted,
}

impl BuilderState {
    /// All of them, in wire order.
    pub const ALL: [BuilderState; 9] = [
        BuilderState::Idle,
        BuilderState::Busy,
        BuilderState::Draining,
        BuilderState::Drained,
        BuilderState::Quarantined,
        BuilderState::Troubled,
        BuilderState::Unfit,
        BuilderState::Away,
        BuilderState::Unlisted,
    ];

    /// The word shown and used in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            BuilderState::Idle => "idle",
            BuilderState::Busy => "busy",
            BuilderState::Draining => "draining",
            BuilderState::Drained => "drained",
            BuilderState::Quarantined => "quarantined",
            BuilderState::Troubled => "troubled",
            BuilderState::Unfit => "unfit",
            BuilderState::Away => "away",
            BuilderState::Unlisted => "unlisted",
        }
    }
}

impl fmt::Display for BuilderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// A package came into the queue, for the first time or again.
    Waiting,
    /// A package is held: the text says why.
    Held,
    /// A package was leased.
    Leased,
    /// A build came to another phase.
    Phase,
    /// A lease ended, with a verdict where there is one.
    Ended,
    /// A package left the queue without a build: cancelled, taken away, its attempts used up.
    Left,
    /// A new index is live.
    Published,
    /// A builder connected.
    BuilderUp,
    /// A builder's connection ended.
    BuilderDown,
    /// A builder's standing changed: quarantine, drain, trouble, and their ends.
    Builder,
    /// From now on nothing is leased, or only one package at a time: the text says why.
    Blocked,
    /// Leasing goes on.
    Unblocked,
    /// An operator changed something.
    Ordered,
    /// A build began again, under the same lease, since its thin repository was not enough.
    Again,
}

impl EventKind {
    /// All of them, in wire order.
    pub const ALL: [EventKind; 14] = [
        EventKind::Waiting,
        EventKind::Held,
        EventKind::Leased,
        EventKind::Phase,
        EventKind::Ended,
        EventKind::Left,
        EventKind::Published,
        EventKind::BuilderUp,
        EventKind::BuilderDown,
        EventKind::Builder,
        EventKind::Blocked,
        EventKind::Unblocked,
        EventKind::Ordered,
        EventKind::Again,
    ];

    /// The word shown and used in JSON and the history.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Waiting => "waiting",
            EventKind::Held => "held",
            EventKind::Leased => "leased",
            EventKind::Phase => "phase",
            EventKind::Ended => "ended",
            EventKind::Left => "left",
            EventKind::Published => "published",
            EventKind::BuilderUp => "builder-up",
            EventKind::BuilderDown => "builder-down",
            EventKind::Builder => "builder",
            EventKind::Blocked => "blocked",
            EventKind::Unblocked => "unblocked",
            EventKind::Ordered => "ordered",
            EventKind::Again => "again",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an operator wants changed. Packages are named by file name, NEVRA, NVR, plain name or glob of any
/// of these; builders by name, key, or glob of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Order {
    /// Packages start afresh: back from `finished/`, or no longer held. With a verdict, only those that
    /// ended with it or wait because of it.
    Retry {
        /// Which.
        verdict: Option<Verdict>,
    },
    /// Packages go to `finished/` until a retry; a build is stopped.
    Cancel,
    /// Packages go to the front of `priority.txt`.
    First,
    /// Packages go to the end of `priority.txt`.
    Last,
    /// Packages are taken out of `priority.txt`.
    Clear,
    /// Packages' mock options become the words; none means that the package's line is taken out. The target
    /// is written into `options.txt` as it is if it is a glob.
    Options,
    /// Results that wait for review are published.
    Accept,
    /// Results that wait for review are not.
    Refuse,
    /// Results (`NVR`, `NVR@2`) are taken out of the index; with `delete` their RPMs are deleted too.
    Retract {
        /// Whether.
        delete: bool,
    },
    /// Builders get nothing more; with `exit` they end once they are idle.
    Drain {
        /// Whether.
        exit: bool,
    },
    /// Builders get work again.
    Resume,
    /// Builders get nothing until they are released.
    Quarantine,
    /// Builders' quarantine ends.
    Release,
    /// A builder is written into the list of builders: the target is its name, the words are its key and
    /// its architectures.
    Approve,
}

/// What an operator's command says to the hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromOperator {
    /// Are you there? Every 20 s while a request runs.
    Ping,
    /// First message of a session.
    Hail {
        /// Who: the login name, for the history.
        user: Line,
        /// On which host.
        host: Line,
        /// moji's version.
        version: FileName,
    },
    /// So many rows more.
    More {
        /// How many.
        rows: u16,
    },
    /// The farm: `Farm`, a `Package` for each build, a `Builder` for each that needs attention.
    Status,
    /// Packages: a `Package` each.
    List {
        /// Which; empty means all.
        pattern: Line,
        /// In which state; None means any.
        state: Option<PackageState>,
    },
    /// One package: `Package`, its `Text`s, then each attempt, oldest first: `Attempt`, its `Text`s.
    Show {
        /// Which.
        package: Line,
    },
    /// Builders: a `Builder` each.
    Builders {
        /// Which; empty means all.
        pattern: Line,
    },
    /// What happened: an `Event` each, oldest first, no `Phase` among them.
    History {
        /// To which packages or builders; empty means all.
        pattern: Line,
        /// The newest so many.
        rows: u32,
    },
    /// A log: `LogOf`, then `Log` pieces, each a row. With `follow` until the build and its log are at an end.
    Log {
        /// Of which package.
        package: Line,
        /// Which log.
        which: Which,
        /// Of which attempt, counted from 1; 0 means the newest.
        attempt: u16,
        /// From where, bytes.
        offset: u64,
        /// Whether to go on while it grows.
        follow: bool,
    },
    /// What happens: an `Event` each, until the session ends.
    Events {
        /// To which packages or builders; empty means all.
        pattern: Line,
        /// First what happened after this event; 0 means only what happens from now on.
        after: u64,
        /// Before everything else, a `Package` for each of these packages as it is now.
        current: bool,
    },
    /// A source RPM is to come into `source/`. `options` `Word` follow. Answered with `Want`, or with `No`.
    Submit {
        /// Its file name.
        name: FileName,
        /// Its length, bytes.
        size: u64,
        /// Its digest.
        digest: Digest,
        /// Whether it goes to the front of `priority.txt`.
        first: bool,
        /// How many `Word` follow, each a word of mock's options.
        options: u8,
    },
    /// A piece of it, within the window that `Ack` moves.
    Data {
        /// Where it begins.
        offset: u64,
        /// The piece.
        bytes: Bytes,
    },
    /// A change. `words` `Word` follow.
    Change {
        /// What.
        order: Order,
        /// To what.
        target: Line,
        /// How many `Word` follow.
        words: u8,
    },
    /// A word of a `Submit` or `Change`.
    Word {
        /// The word.
        word: Line,
    },
    /// Names that begin so, a `Name` each, for completion.
    Names {
        /// The beginning.
        prefix: Line,
        /// Of what.
        of: NameOf,
    },
    /// Why a package is where it is: `Package`, `Text`s, a `Lack` for each capability that it waits for, then its
    /// attempts, oldest first, an `Attempt` each.
    Why {
        /// Which.
        package: Line,
    },
    /// What packages wait for that is not published: `Blocked`, then a `Lack` each, the longest chain first; then each
    /// cycle: `Cycle`, its `Text`s.
    Blocked {
        /// At most so many capabilities.
        rows: u32,
    },
}

/// What a name is asked for of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NameOf {
    /// Packages: NVRs.
    Package,
    /// Builders.
    Builder,
    /// Published results: `NVR`, `NVR@2`.
    Result,
}

/// The farm as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarmRow {
    /// The hub's clock, unix seconds.
    pub unix_s: u64,
    /// How long the hub runs, seconds.
    pub up_s: u32,
    /// Its version of moji.
    pub version: FileName,
    /// Architecture of the repository; empty while it is not known.
    pub target: Line,
    /// Packages in each state, in the order of [`PackageState::ALL`].
    pub packages: [u32; 11],
    /// Builders in each state, in the order of [`BuilderState::ALL`].
    pub builders: [u32; 9],
    /// Free space of the folders, bytes.
    pub free_bytes: u64,
    /// Below this nothing is leased, bytes.
    pub floor_bytes: u64,
    /// Why nothing is leased, or only little; empty if there is no reason.
    pub blocked: Line,
    /// Why idle builders get nothing; empty if none is idle.
    pub idle: Line,
    /// RPM files in the index.
    pub rpms: u32,
    /// Seconds until all is built that can be built, as earlier builds tell; 0 if unknown, or nothing is left.
    pub ends_in_s: u32,
    /// Of which packages builds began again since a thin repository was not enough, and how often; empty if of none.
    pub thin: Line,
}

/// One package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRow {
    /// File name of its SRPM.
    pub srpm: FileName,
    /// `name-epoch:version-release` of its header (epoch left out if there is none); empty if unknown.
    pub nevr: Line,
    /// Where it is.
    pub state: PackageState,
    /// Why it is there, in words; may be empty.
    pub why: Line,
    /// Since when, seconds ago.
    pub age_s: u32,
    /// Length of the SRPM, bytes; 0 if unknown.
    pub size: u64,
    /// Its line in `priority.txt`, from 1; 0 if it has none.
    pub priority: u32,
    /// Attempts that count against the hub's `--attempts`.
    pub charged: u16,
    /// The live lease.
    pub lease: Option<LeaseId>,
    /// Host name of who builds it, or built it last.
    pub builder: Option<FileName>,
    /// Where its build is.
    pub phase: Option<Phase>,
    /// Since when, seconds ago.
    pub phase_age_s: u32,
    /// The last line of its live log; may be empty.
    pub line: Line,
    /// Where its last result is, relative to the hub's REPO: `NVR`, `NVR@2`; empty if there is none.
    pub place: Line,
    /// How long its build is expected to take on that builder, seconds from its lease; 0 if unknown, or it is not built.
    pub expected_s: u32,
    /// How often its builds began again since a thin repository was not enough, since the hub's start.
    pub widened: u16,
}

/// One attempt to build a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRow {
    /// Its number, from 1.
    pub number: u16,
    /// The lease.
    pub lease: LeaseId,
    /// Host name of the builder; empty if unknown.
    pub builder: Line,
    /// When it began, unix seconds; 0 if unknown.
    pub began_unix_s: u64,
    /// When it ended, unix seconds; 0 if it has not.
    pub ended_unix_s: u64,
    /// From mock's start to its end, seconds; 0 if unknown.
    pub seconds: u32,
    /// What the hub ruled; None while it runs or if it ended without a ruling.
    pub verdict: Option<Verdict>,
    /// In words.
    pub reason: Line,
    /// Whether it used up one of the package's attempts.
    pub charged: bool,
    /// The folder of its logs on the hub; empty if none is kept.
    pub place: Line,
}

/// One builder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuilderRow {
    /// Host name; of one that was turned away, what is known: its address.
    pub name: Line,
    /// Its key.
    pub key: PublicKey,
    /// Where it called from last.
    pub peer: Line,
    /// How it is.
    pub state: BuilderState,
    /// Why, in words; may be empty.
    pub why: Line,
    /// When that ends by itself, seconds from now; 0 if it does not.
    pub until_s: u32,
    /// Since when it is connected, or away, seconds ago.
    pub age_s: u32,
    /// rpm architecture it builds for; empty if unknown, and so on.
    pub arch: Line,
    /// Its version of moji.
    pub version: Line,
    /// Its mock configuration.
    pub cfg: Line,
    /// What builds.
    pub backend: Backend,
    /// Processors.
    pub cpus: u16,
    /// Memory, MiB.
    pub memory_mib: u32,
    /// How its machine is, as of its last ping.
    pub health: Health,
    /// What it builds.
    pub srpm: Option<FileName>,
    /// Where that is.
    pub phase: Option<Phase>,
    /// Infra and lost in a row.
    pub faults: u16,
    /// Successes it has ever had here, as far as the history knows.
    pub built: u32,
    /// Failures.
    pub failed: u32,
    /// Which packages failed on it that others built, in words; empty if it does not stand out.
    pub suspect: Line,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// Its number: grows, also over restarts of the hub.
    pub seq: u64,
    /// When, unix milliseconds.
    pub unix_ms: u64,
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
    /// The state that the package is in from now on, if the event is about one.
    pub state: Option<PackageState>,
    /// Which operator: `user@host (address)`; empty if it was none.
    pub who: Line,
    /// In words.
    pub text: Line,
}

/// All that waits for capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedRow {
    /// Packages that wait for capabilities.
    pub packages: u32,
    /// Those of them of which no log names what they lack.
    pub unnamed: u32,
    /// Capabilities that are missing; fewer rows may follow.
    pub capabilities: u32,
    /// Cycles; fewer may follow.
    pub cycles: u32,
}

/// A capability that packages wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LackRow {
    /// Its name, with a version if there is one, as a log has it.
    pub capability: Line,
    /// Whether what is published provides it.
    pub there: bool,
    /// Whether one of several such would be enough.
    pub any: bool,
    /// Packages that wait for it.
    pub holds: u32,
    /// Those, and all that look as if they needed one of them, directly or not; 0 if only one package was asked about.
    pub holds_all: u32,
    /// Build time of the longest chain of packages behind it, seconds; 0 if no time is known.
    pub chain_s: u32,
    /// The SRPM that looks as if it would provide it.
    pub from: Option<FileName>,
    /// Where that is.
    pub state: Option<PackageState>,
    /// Who would provide it, in words.
    pub text: Line,
}

/// Packages that wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CycleRow {
    /// How many: a `Text` of `Member` each, but not more than the hub tells of one cycle.
    pub members: u32,
    /// How many must come from elsewhere to break it: a `Text` of `Import` each, as far as the hub tells.
    pub imports: u32,
    /// Whether no fewer would do; otherwise they are known to break it, and fewer may.
    pub exact: bool,
    /// Whether logs name all that they lack of each other; otherwise headers hint at it.
    pub sure: bool,
}

/// What a [`ToOperator::Text`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Topic {
    /// A line of a log that tells what went wrong, as `build.log: text`.
    Evidence,
    /// A mock option of the package.
    Option,
    /// A file of a result, relative to the hub's REPO.
    File,
    /// A capability that the package waits for.
    Wants,
    /// Who built with what: builder, key, configuration, memory.
    Provenance,
    /// Why a package is where it is.
    Why,
    /// Its place in the order, and the reason for it.
    Order,
    /// Builders that are not at work and did not get it, and why.
    Passed,
    /// What happens next, or what an operator may do.
    Next,
    /// A package of a cycle.
    Member,
    /// A package that, with the others of its cycle so marked, would break it if it came from elsewhere.
    Import,
    /// The SRPM of a package that looks as if it had to be built before this one.
    First,
    /// The SRPM of a package that looks as if it needed this one.
    Behind,
}

/// Why the answer is no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NoCode {
    /// There is nothing of that name. `Name`s that come near follow.
    NotFound,
    /// The name fits several where one is wanted: they follow as `Name`s.
    Ambiguous,
    /// It cannot be done as things are.
    Refused,
    /// What was sent is not what it should be: no SRPM, a bad option, a bad name.
    BadInput,
    /// The hub is short of something; try again later.
    Later,
    /// The hub failed.
    Failed,
}

/// What the hub says to an operator's command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToOperator {
    /// Answer to `Ping`.
    Pong,
    /// You broke the protocol; the session ends here.
    Reject {
        /// What was wrong.
        code: crate::refusal::RejectCode,
    },
    /// A row.
    Farm(FarmRow),
    /// A row.
    Package(PackageRow),
    /// A row.
    Attempt(AttemptRow),
    /// A row. Boxed, since it is the largest: a hub keeps room for a few messages to each peer.
    Builder(Box<BuilderRow>),
    /// A row.
    Event(EventRow),
    /// A row: a line that belongs to the row before it.
    Text {
        /// What it is about.
        topic: Topic,
        /// The line.
        line: Line,
    },
    /// A row: a name.
    Name {
        /// The name.
        name: Line,
    },
    /// A row: the log that follows.
    LogOf {
        /// The package.
        srpm: FileName,
        /// The attempt's number, from 1.
        attempt: u16,
        /// The lease.
        lease: LeaseId,
        /// Whether it may still grow.
        live: bool,
    },
    /// A row: a piece of the log.
    Log {
        /// Where it begins.
        offset: u64,
        /// The piece.
        bytes: Bytes,
    },
    /// The attempt that is followed ended: no more of its log comes. A row.
    LogEnd {
        /// What the hub ruled, if anything.
        verdict: Option<Verdict>,
        /// In words.
        reason: Line,
    },
    /// Send the file from here: what comes before is here already.
    Want {
        /// Where to begin.
        offset: u64,
    },
    /// The hub has the file up to here: the window moves on.
    Ack {
        /// Bytes of it that arrived.
        offset: u64,
    },
    /// A row: this was changed.
    Changed {
        /// What: a package's file name, a result, a builder.
        target: Line,
        /// How, in words.
        text: Line,
    },
    /// A row: no, and why.
    No {
        /// Of what kind.
        code: NoCode,
        /// What, if it is about one of several.
        target: Line,
        /// Why and what to do, in words.
        text: Line,
    },
    /// The answer is complete.
    End {
        /// How many rows it had.
        rows: u32,
    },
    /// A row.
    Lack(LackRow),
    /// A row.
    Blocked(BlockedRow),
    /// A row.
    Cycle(CycleRow),
}
