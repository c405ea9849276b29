//! What the queue is told, and what it wants done.
//!
//! Owns the messages' shape only; what follows from them is decided beside it.

use std::sync::Arc;

use moji_proto::message::{EventRow, Health, PackageState, ToBuilder, Verdict};
use moji_proto::{FileName, LeaseId, Line};

use crate::core::capabilities::Capabilities;
use crate::core::types::{BuilderId, BuilderInfo, End, Peak, Report, SessionId, Srpm};
use crate::core::view::{Change, Decision, Ticket, Told};
use crate::core::{desk, leases, repo, transfers};
use crate::repodata::{Holder, Provided};

/// What builders can see since they were told of last. Of one path at most one thing is said.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// All there was before the rest, in place of what was told: at the start, and where much came at once.
    pub stock: Option<Box<Capabilities>>,
    /// Binary packages that came, or are others now.
    pub came: Vec<(repo::Path, Provided)>,
    /// What is there no longer.
    pub gone: Vec<repo::Path>,
}

/// What the queue is told.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A whole SRPM is in `source/` (also: it was there at the start, or was replaced). (watch)
    Appeared {
        /// Its file name.
        srpm: FileName,
        /// What it holds.
        facts: Srpm,
    },
    /// A file that looked like an SRPM is not one, or is truncated: named once. (watch)
    Unusable {
        /// Its file name.
        srpm: FileName,
        /// Why.
        why: String,
    },
    /// A file left `source/` otherwise than by a lease. (watch)
    Vanished {
        /// Its file name.
        srpm: FileName,
    },
    /// A file appeared in `finished/` or left it (somebody moved it). (watch)
    FinishedChanged {
        /// Its file name.
        srpm: FileName,
        /// Whether it is there.
        present: bool,
    },
    /// The first look at the folders is over: what comes from now on is news. (watch)
    Scanned,
    /// `priority.txt` as it is now, first line first. (watch)
    Priority(Vec<String>),
    /// `options.txt` as it is now. (watch)
    Options(Vec<OptionRule>),
    /// Free space of the folders' file system, bytes, and what must stay free. (shell)
    Space {
        /// Free.
        free_bytes: u64,
        /// Below this nothing is leased.
        floor_bytes: u64,
    },
    /// A builder registered. (leases)
    BuilderUp {
        /// Its session.
        session: SessionId,
        /// Who it is.
        info: BuilderInfo,
    },
    /// A builder's connection ended. (leases)
    BuilderDown {
        /// Who.
        builder: BuilderId,
    },
    /// It is idle. (leases)
    Ready {
        /// Who.
        builder: BuilderId,
    },
    /// It takes no new job. (leases)
    Draining {
        /// Who.
        builder: BuilderId,
    },
    /// How it is. (leases)
    Health {
        /// Who.
        builder: BuilderId,
        /// How.
        health: Health,
    },
    /// The package is leased: by a `Claim`, by adoption of an expired lease, or since before the restart. (leases)
    Granted {
        /// The package.
        srpm: FileName,
        /// The lease.
        lease: LeaseId,
        /// Who holds it.
        builder: BuilderId,
        /// Whether as a second lease beside another one, which lives.
        beside: bool,
    },
    /// A `Claim` came to nothing. (leases)
    ClaimFailed {
        /// The package.
        srpm: FileName,
        /// For whom it was.
        builder: BuilderId,
        /// Why.
        why: ClaimFailure,
    },
    /// What is to become of this sealed result? Answered with a ruling to transfers. (leases)
    Judge {
        /// The package.
        srpm: FileName,
        /// The lease.
        lease: LeaseId,
        /// Who built it.
        builder: BuilderId,
        /// The result.
        report: Report,
    },
    /// The lease is over and the SRPM lies where `end` says. A second lease takes the place of a main one that ended beside
    /// it. (leases)
    Ended {
        /// The package.
        srpm: FileName,
        /// The lease.
        lease: LeaseId,
        /// Who held it.
        builder: BuilderId,
        /// How it ended.
        end: End,
    },
    /// What came of a `Retire` or `Retry`, and it is durable. (leases)
    Placed {
        /// The package.
        srpm: FileName,
        /// Where its file was to go.
        to: leases::Place,
        /// Whether it is there now.
        moved: bool,
    },
    /// Builders can see something new in the repository. (repo)
    Published(News),
    /// What the distribution's own repositories provide, all of them together. (mainline)
    Mainline(Arc<Capabilities>),
    /// Answer to [`repo::Msg::FindFiles`]: what is published has these files. (repo)
    FilesFound(Vec<Holder>),
    /// Answer to [`repo::Msg::Compare`]. (repo)
    Compared(Vec<repo::Compared>),
    /// What a source package has published, from `repo/` at the start, in the order in which it was. (recovery)
    Known {
        /// The result's folder in `repo/`.
        folder: String,
        /// Name of the source package.
        source: String,
        /// Names of its binary packages.
        binaries: Vec<String>,
    },
    /// How long a source package took to build before the restart, oldest first. (history)
    Took {
        /// Name of the source package.
        source: String,
        /// Who built it.
        builder: BuilderId,
        /// How long, seconds.
        seconds: u32,
        /// For how long at most its logs did not grow, seconds; 0 if unknown.
        silent_s: u32,
    },
    /// What a build took before the restart, oldest first. (history)
    Needed {
        /// Name of the source package.
        source: String,
        /// What.
        peak: Peak,
    },
    /// What became of a package on a builder before the restart, oldest first. (history)
    Tried {
        /// The package.
        srpm: FileName,
        /// The builder.
        builder: BuilderId,
        /// What was ruled: success, failed or memory.
        verdict: Verdict,
        /// Whether the package still waits for what follows from it.
        is_open: bool,
        /// The builder's memory, MiB; 0 if that is not known.
        memory_mib: u32,
    },
    /// A result that is in `repo/` at the start, in the order in which they came there. (recovery)
    Past {
        /// Its SRPM.
        srpm: FileName,
        /// What it is.
        result: PastResult,
    },
    /// How a package ended without a result before the restart, if nothing happened to it since. (history)
    EndedAs {
        /// The package.
        srpm: FileName,
        /// Cancelled or failed.
        state: PackageState,
        /// In words.
        text: String,
        /// When, seconds ago.
        ago_s: u64,
    },
    /// What operators told a builder before the restart. (history)
    Told {
        /// Who.
        builder: BuilderId,
        /// Its host name then.
        name: FileName,
        /// What.
        told: Told,
    },
    /// Attempts already charged to a package before the restart, with their reasons. (history)
    Charged {
        /// The package.
        srpm: FileName,
        /// Verdict and reason of each.
        attempts: Vec<(Verdict, String)>,
    },
    /// The architecture of what is in the repository, remembered from an earlier run. (history)
    Target {
        /// rpm's name of it.
        arch: String,
    },
    /// Which architectures each listed builder may build for; none named means any. (main)
    Listed(Vec<(BuilderId, Vec<String>)>),
    /// What does all look like? Answered with a [`crate::core::view::View`] to the desk. (desk)
    Look,
    /// An operator asks for reasons. Answered to the desk, once: [`desk::Msg::Explained`], [`desk::Msg::Surveyed`]. (desk)
    Ask {
        /// For the answer.
        ticket: Ticket,
        /// About what.
        about: About,
    },
    /// An operator changes something. Answered to the desk, once. (desk)
    Change(Change),
    /// The operator's decision about a result is durable: what waited for review is published or never will
    /// be, or what was published is no more. (desk)
    Decided {
        /// The result's SRPM.
        srpm: FileName,
        /// Its folder in `repo/`.
        folder: String,
        /// What.
        decision: Decision,
        /// Name of the source package.
        source: String,
        /// Names of its binary packages in that folder.
        binaries: Vec<String>,
        /// Which operator.
        who: String,
    },
    /// A sync failed: nothing is leased until a restart. (shells)
    StopLeasing {
        /// Why.
        why: String,
    },
    /// A build's thin repository was not enough: the same builder builds it again at once, under the same lease. (transfers)
    Again {
        /// The package.
        srpm: FileName,
        /// The lease.
        lease: LeaseId,
        /// Who builds it.
        builder: BuilderId,
        /// In words: what was missing, and how often that was so.
        text: String,
    },
    /// The system is short of something: uploads and commits wait and are tried again. (transfers)
    Short {
        /// Of what, and what to do; None when nothing waits any more.
        why: Option<String>,
    },
    /// Time passed. (shell)
    Tick,
}

/// What reasons are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Why a package is where it is.
    Package(FileName),
    /// What packages wait for that is not there.
    Blocked {
        /// So many capabilities, the longest chain first.
        rows: u32,
    },
}

/// A result in `repo/`, as the queue learns of it at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastResult {
    /// Its folder.
    pub folder: String,
    /// Host name of who built it.
    pub builder: Option<FileName>,
    /// What was ruled.
    pub verdict: Verdict,
    /// In words.
    pub reason: String,
    /// Why it waited for review, if it did.
    pub held: Option<String>,
    /// What an operator decided, and who.
    pub decision: Option<(Decision, String)>,
    /// When it was committed or decided about, seconds ago.
    pub ago_s: u64,
}

/// Why a claim came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimFailure {
    /// The file was no longer in `source/`.
    NoSuchFile,
    /// A lease for it lives already.
    Leased,
    /// The builder is no longer connected or no longer idle.
    NoBuilder,
}

/// One line of `options.txt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionRule {
    /// Matches SRPM file names (`*`, `?`, `[…]`), with or without `.src.rpm`.
    pub glob: String,
    /// mock options, checked against the allow-list.
    pub words: Vec<Line>,
}

/// What the queue wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Tell leases (`Claim`, `Cancel`, `Retire`, `Retry`).
    Leases(leases::Msg),
    /// Tell transfers (`Ruling`).
    Transfers(transfers::Msg),
    /// Tell repo (`FindFiles`, `Compare`).
    Repo(repo::Msg),
    /// Say this to a builder (`Drain`, `Undrain`, `Exit`).
    Send(SessionId, ToBuilder),
    /// Tell the desk: a view, an event, an answer.
    Desk(desk::Msg),
    /// Remember this; never waited for.
    History(Note),
    /// A state change an operator reads about.
    Log(log::Level, String),
}

/// What the history is told.
#[derive(Clone, Debug)]
pub enum Note {
    /// An attempt began.
    Began {
        /// The package.
        srpm: FileName,
        /// The lease.
        lease: LeaseId,
        /// Who builds it.
        builder: BuilderId,
    },
    /// An attempt ended.
    Ended {
        /// The package.
        srpm: FileName,
        /// The lease.
        lease: LeaseId,
        /// What the hub ruled.
        verdict: Verdict,
        /// In words.
        reason: String,
        /// Whether it used up one of the package's attempts.
        charged: bool,
        /// Build time, seconds, if the builder told.
        seconds: Option<u32>,
        /// For how long at most its logs did not grow, seconds, if the builder told.
        silent_s: Option<u32>,
        /// The most that it took.
        peak: Peak,
        /// Of a failure: whether the package is done with it, and waits for no other board to agree.
        is_last: bool,
        /// Where its result is in `repo/`.
        folder: Option<String>,
    },
    /// A package ended without a result and is in `finished/`.
    EndedAs {
        /// The package.
        srpm: FileName,
        /// Cancelled or failed.
        state: PackageState,
        /// In words.
        text: String,
    },
    /// What operators have told a builder by now.
    Told {
        /// Who.
        builder: BuilderId,
        /// What.
        told: Told,
    },
    /// Something happened. (desk)
    Event(EventRow),
    /// A builder registered.
    Builder(BuilderInfo),
    /// The package starts afresh: what was charged before no longer counts.
    Afresh {
        /// The package.
        srpm: FileName,
    },
    /// The first accepted build fixed the architecture of the repository.
    Target {
        /// rpm's name of it.
        arch: String,
    },
}
