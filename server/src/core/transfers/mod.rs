//! Transfers: staging, digests, checks of what arrives, the commit of a result.
//!
//! Owns `working/.stage-<lease>/`, `attempts/` and the making of `repo/<NVR>/`. A session's messages
//! about a lease come here; a lease that is not that session's gets [`RejectCode::NotYours`]. Never
//! knows the queue: what a result means is for the queue to rule.
//!
//! Of each lease at most one [`Op`] is with a worker; the others wait in the lease, in order. So a
//! worker needs no memory of its own, an operation that found no space is simply tried again, and what
//! comes back late from a lease that ended meanwhile is told by the lease's state.
//!
//! Of each session at most one lease uploads at a time: what a full disk keeps in memory is then one
//! window of a session, less than what makes the reactor stop reading its pings.

mod hear;
mod lease;
mod machine;
mod outcome;
#[cfg(test)]
mod tests;
mod thin;
mod upload;

use moji_proto::message::{self, Backend, Exit, FromBuilder, Phase, RejectedWhy, ToBuilder, Which};
use moji_proto::refusal::RejectCode;
use moji_proto::{Bytes, Digest, FileName, LeaseId, Line};

pub use machine::Transfers;
pub use thin::{Need, ThinDesk, WIDENINGS_MAX, place};

use super::types::{BuilderInfo, Outcome, Ruling, SessionId, Sha256, Srpm, StagedFile};
use super::{desk, leases, queue, repo};
use crate::rpmfile::Nevra;

/// What the hub takes of one build; options of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files. At most [`moji_proto::limits::FILES_MAX`], which the wire allows.
    pub files_max: u32,
    /// Bytes of one file.
    pub file_bytes_max: u64,
    /// Bytes of all files.
    pub build_bytes_max: u64,
}

impl Default for Limits {
    /// What the largest packages of large distributions need, doubled.
    fn default() -> Limits {
        Limits {
            files_max: moji_proto::limits::FILES_MAX,
            file_bytes_max: 8 << 30,
            build_bytes_max: 32 << 30,
        }
    }
}

/// What transfers are told.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A new lease: its SRPM is in `working/`. Hash it, read its header, send `Job`. (leases)
    Open {
        /// The lease.
        lease: LeaseId,
        /// Who builds it.
        session: SessionId,
        /// Who that is.
        builder: BuilderInfo,
        /// The file in `working/`.
        srpm: FileName,
        /// mock options.
        options: Vec<Line>,
        /// When the builder ends the build.
        limits: message::Limits,
    },
    /// A builder is back with this lease: check the SRPM's digest, answer `Adopted`; or `Gone`, if the lease ends
    /// before that. (leases)
    Adopt {
        /// The lease.
        lease: LeaseId,
        /// Its session now.
        session: SessionId,
        /// Who that is.
        builder: BuilderInfo,
        /// The file in `working/`.
        srpm: FileName,
        /// Digest of the SRPM that the builder works on.
        digest: Digest,
        /// Where its build is.
        phase: Phase,
        /// mock options, if they are known.
        options: Vec<Line>,
    },
    /// The connection broke; what has arrived stays. (leases)
    Detach {
        /// The lease.
        lease: LeaseId,
    },
    /// The lease ended without a result: keep its live logs as an attempt, drop the stage. (leases)
    Close {
        /// The lease.
        lease: LeaseId,
        /// In words, for the attempt's `result.json`.
        why: String,
    },
    /// The lease was not live: drop the result. (leases)
    Stale {
        /// The lease.
        lease: LeaseId,
    },
    /// Fetch, Phase, Log, Results, File, Evidence or Data. (reactor)
    FromBuilder {
        /// Its session.
        session: SessionId,
        /// What it said.
        msg: FromBuilder,
    },
    /// What the queue rules about a sealed result. (queue)
    Ruling {
        /// The lease.
        lease: LeaseId,
        /// The ruling.
        ruling: Ruling,
    },
    /// What became of an [`Effect::Io`]. (shell)
    Done {
        /// The lease.
        lease: LeaseId,
        /// What became of it.
        done: Done,
    },
    /// Time passed. (shell)
    Tick,
}

/// One file as the builder announced it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name there: a hint.
    pub name: FileName,
    /// Length, bytes.
    pub size: u64,
    /// Digest of its bytes.
    pub digest: Digest,
}

/// A result as the builder announced it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// How mock ended.
    pub exit: Exit,
    /// The phase it ended in.
    pub phase: Phase,
    /// What built it.
    pub backend: Backend,
    /// Build time, seconds.
    pub seconds: u32,
    /// By how much the oom_kill counter grew.
    pub oom_kills: u32,
    /// Most memory that one process of the build had, MiB; 0 if unknown.
    pub peak_memory_mib: u32,
    /// For how long at most its logs did not grow, seconds; 0 if unknown.
    pub silence_s: u32,
    /// By how much the builder's free disk shrank meanwhile, MiB; 0 if unknown.
    pub peak_disk_mib: u32,
    /// Its files, in the order said.
    pub files: Vec<Entry>,
    /// Telling lines.
    pub evidence: Vec<(Which, Line)>,
}

/// What `result.json` says of a lease, whatever becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct About {
    /// File name of the SRPM; None of a lease from before a restart that nobody took up again.
    pub srpm: Option<FileName>,
    /// Digest of the SRPM.
    pub digest: Option<Digest>,
    /// SHA-256 of the SRPM.
    pub sha256: Option<Sha256>,
    /// The SRPM's own header.
    pub source: Option<Nevra>,
    /// Who builds it.
    pub builder: Option<BuilderInfo>,
    /// mock options.
    pub options: Vec<Line>,
    /// When the builder ends the build; not known of what was leased before a restart.
    pub limits: message::Limits,
    /// Where the build was when it was heard of last.
    pub phase: Option<Phase>,
    /// In words, each time that it was built again since its repository was not enough; since the hub's start.
    pub again: Vec<Line>,
}

/// A verified file: where it is in the stage, and what it will be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its name in the stage.
    pub from: String,
    /// What it is.
    pub file: StagedFile,
}

/// Why a result is refused, and in words.
pub type Defect = (RejectedWhy, String);

/// All that a commit needs.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The lease's side.
    pub about: About,
    /// The SRPM's own header: names the folder.
    pub source: Nevra,
    /// The builder's side.
    pub manifest: Manifest,
    /// The files.
    pub placed: Vec<Placed>,
    /// Names of files that were neither RPMs nor logs.
    pub dropped: Vec<FileName>,
    /// What becomes of it.
    pub ruling: Ruling,
}

/// Work on files, done by a worker thread; of each lease one at a time.
#[derive(Clone, Debug)]
pub enum Op {
    /// Read and hash `working/SRPM`, read its header.
    Open {
        /// The file.
        srpm: FileName,
        /// Whether the lease begins now.
        is_new: bool,
    },
    /// Have a thin repository put together.
    Offer(Box<Need>),
    /// Have it widened.
    Widen {
        /// What was missing; none if that is not known.
        names: Vec<String>,
    },
    /// Find what the stage has of this lease.
    Survey,
    /// Read a piece of the SRPM, at most 32,512 bytes.
    Read {
        /// The file.
        srpm: FileName,
        /// Where.
        offset: u64,
        /// How much.
        length: u32,
    },
    /// Write a piece of a live log.
    Log {
        /// Which.
        which: Which,
        /// Where.
        offset: u64,
        /// What.
        bytes: Bytes,
    },
    /// Write a piece of a file; at offset 0 the file is made afresh.
    Write {
        /// Its number.
        file: u32,
        /// Where.
        offset: u64,
        /// What.
        bytes: Bytes,
    },
    /// All of a file is written: compare its digest. The commit syncs it.
    Finish {
        /// Its number.
        file: u32,
        /// Its length.
        size: u64,
        /// Its digest.
        digest: Digest,
    },
    /// Read and check these files (by number), choose their names, describe the RPMs for the repository.
    Verify {
        /// Name-version-release of the SRPM: names the folder that the result will have.
        nvr: String,
        /// Whole files.
        files: Vec<(u32, Entry)>,
    },
    /// Carry out a ruling: `result.json`, fsync, rename, fsync.
    Commit(Box<Sealed>),
    /// Keep the live logs as an attempt, drop the stage.
    Discard {
        /// What is known of the lease.
        about: Box<About>,
        /// In words.
        why: String,
    },
    /// Drop the stage.
    Drop,
}

/// What became of an [`Op`].
#[derive(Clone, Debug)]
pub enum Done {
    /// Of `Open`.
    Opened {
        /// What it holds.
        srpm: Srpm,
        /// Its digest.
        digest: Digest,
        /// Its SHA-256.
        sha256: Sha256,
    },
    /// Of `Offer`: whether it is served.
    Offered(bool),
    /// Of `Widen`: whether it is wider now.
    Widened(bool),
    /// Of `Survey`.
    Surveyed {
        /// Bytes of each live log, in the order of `Which::ALL`.
        logs: [u64; 4],
        /// Number and bytes of each staged file.
        files: Vec<(u32, u64)>,
    },
    /// Of `Read`.
    Read {
        /// Where.
        offset: u64,
        /// What.
        bytes: Bytes,
    },
    /// Of `Log`: it is there up to here.
    Logged {
        /// Which.
        which: Which,
        /// Its length, bytes.
        bytes: u64,
    },
    /// Of `Write`: file `file` is there up to `offset`.
    Written {
        /// Its number.
        file: u32,
        /// Bytes of it that are written.
        offset: u64,
    },
    /// Of `Finish`.
    Finished {
        /// Its number.
        file: u32,
        /// Whether length and digest are right.
        whole: bool,
    },
    /// Of `Verify`.
    Verified {
        /// What is there.
        placed: Vec<Placed>,
        /// What will not be kept.
        dropped: Vec<FileName>,
        /// What is wrong with it.
        defect: Option<Defect>,
    },
    /// Of `Commit`.
    Committed(Outcome),
    /// Of `Discard` and `Drop`.
    Gone,
    /// Of `Discard` and `Drop`: the stage cannot be removed now.
    Left(String),
    /// The system is short of something (space, descriptors): nothing was lost, try this again later.
    Later {
        /// What was to be done.
        op: Box<Op>,
        /// What is missing.
        why: String,
    },
    /// The SRPM or the live log cannot be used.
    Failed(String),
    /// Of `Open`: the SRPM's bytes are not what its own digests say.
    Damaged(String),
    /// A write or sync failed: nothing may be promised any more until a restart.
    Broken(String),
}

/// What transfers want done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Do this in a worker thread, then say [`Msg::Done`].
    Io {
        /// The lease.
        lease: LeaseId,
        /// What.
        op: Op,
    },
    /// Say this to a builder.
    Send(SessionId, ToBuilder),
    /// So many bytes of pieces ([`Bytes`] in `Log` and `Data`) from this session are dealt with.
    Consumed(SessionId, u32),
    /// End a session.
    Close(SessionId, RejectCode),
    /// Nobody needs the thin repository of this lease any more.
    EndThin(LeaseId),
    /// Tell leases.
    Leases(leases::Msg),
    /// Tell the queue.
    Queue(queue::Msg),
    /// Tell the desk: a phase, a log that grew.
    Desk(desk::Msg),
    /// Tell repo.
    Repo(repo::Msg),
    /// A state change an operator reads about.
    Log(log::Level, String),
}
