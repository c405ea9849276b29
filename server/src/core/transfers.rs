//! Transfers: staging, digests, checks of what arrives, the commit of a result.
//!
//! Owns `working/.stage-<lease>/`, `attempts/` and the making of `repo/<NVR>/`. A session's messages
//! about a lease come here; a lease that is not that session's gets [`RejectCode::NotYours`]. Never
//! knows the queue: what a result means is for the queue to rule.

use moji_proto::message::{FromBuilder, Phase, ToBuilder};
use moji_proto::refusal::RejectCode;
use moji_proto::{Bytes, Digest, FileName, LeaseId, Line};

use super::types::{BuilderInfo, Ruling, SessionId, Srpm, StagedFile};
use super::{leases, repo};

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
    },
    /// A builder is back with this lease: check the SRPM's digest, answer `Adopted`. (leases)
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

/// Work on files, done in order for each lease by a worker thread.
#[derive(Clone, Debug)]
pub enum Op {
    /// Read and hash `working/SRPM`, read its header.
    Open {
        /// The file.
        srpm: FileName,
    },
    /// Find what the stage already has of this lease (after a restart).
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
    /// Append to a live log (a piece that overlaps what is there is cut; a gap is an error).
    Log {
        /// File name of the log.
        name: FileName,
        /// Where.
        offset: u64,
        /// What.
        bytes: Bytes,
    },
    /// Write a piece of file `file`.
    Write {
        /// Its number.
        file: u32,
        /// Where.
        offset: u64,
        /// What.
        bytes: Bytes,
    },
    /// All of file `file` is written: sync it and compare its digest.
    Finish {
        /// Its number.
        file: u32,
        /// Its length.
        size: u64,
        /// Its digest.
        digest: Digest,
    },
    /// All files are whole: read and check the RPMs, choose names.
    Verify {
        /// Names as the builder said them, by number.
        names: Vec<FileName>,
    },
    /// Carry out a ruling: `result.json`, fsync, rename, fsync.
    Commit {
        /// What `result.json` says.
        result: Box<crate::core::types::Ruling>,
    },
    /// Keep the live logs as an attempt, drop the stage.
    Discard {
        /// In words.
        why: String,
    },
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
    },
    /// Of `Survey`: bytes of each live log.
    Surveyed {
        /// In the order of `Which::ALL`.
        logs: [u64; 4],
    },
    /// Of `Read`.
    Read {
        /// Where.
        offset: u64,
        /// What.
        bytes: Bytes,
    },
    /// Of `Log` and `Write`: so much is there.
    Written {
        /// Number of the file; None for a log.
        file: Option<u32>,
        /// Bytes of it that are written.
        offset: u64,
        /// Bytes that this operation took from the session's window.
        took: u32,
    },
    /// Of `Finish`.
    Finished {
        /// Its number.
        file: u32,
        /// Whether the digest is right.
        whole: bool,
    },
    /// Of `Verify`.
    Verified {
        /// What is there.
        files: Vec<StagedFile>,
        /// What is wrong with it.
        defect: Option<(moji_proto::message::RejectedWhy, String)>,
    },
    /// Of `Commit`.
    Committed(crate::core::types::Outcome),
    /// Of `Discard`.
    Discarded,
    /// No space: nothing was lost, try again later.
    NoSpace,
    /// The SRPM or the stage cannot be used.
    Failed(String),
    /// A sync failed: nothing may be promised any more until a restart.
    SyncFailed(String),
}

/// What transfers want done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Do this in a worker thread.
    Io {
        /// The lease.
        lease: LeaseId,
        /// What.
        op: Op,
    },
    /// Say this to a builder.
    Send(SessionId, ToBuilder),
    /// So many bytes of this session's messages are dealt with: the reactor may read on.
    Consumed(SessionId, u32),
    /// End a session.
    Close(SessionId, RejectCode),
    /// Tell leases.
    Leases(leases::Msg),
    /// Tell repo.
    Repo(repo::Msg),
}
