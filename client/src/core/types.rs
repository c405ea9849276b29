//! What goes into the core and what comes out, and the records that both sides share.
//!
//! Owns shapes only.

use moji_proto::message::{Backend, Exit, FromBuilder, Limits, Phase, ToBuilder, Which};
use moji_proto::{Digest, FileName, LeaseId, Line};
use serde::{Deserialize, Serialize};

use super::{Found, Released};

/// What a core needs to know from the start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name it registers with.
    pub name: FileName,
    /// Random number of this process.
    pub instance: u64,
    /// rpm architecture it builds for.
    pub arch: FileName,
    /// moji's version.
    pub version: FileName,
    /// mock configuration, as given.
    pub cfg: Line,
    /// Digest of the configuration file.
    pub cfg_digest: Digest,
    /// What builds.
    pub backend: Backend,
    /// Processors online.
    pub cpus: u16,
    /// Memory, MiB.
    pub memory_mib: u32,
    /// What is installed into a chroot first, as `Register` says it.
    pub setup: Line,
    /// Whether weak dependencies are installed there.
    pub weak: bool,
    /// Host that is dialled, as it stands in a URL.
    pub hub_host: String,
    /// Build one package, then exit.
    pub once: bool,
    /// Take no job below this much free disk, MiB.
    pub disk_free_min_mib: u32,
    /// Seed of the jitter.
    pub seed: u64,
}

/// What must survive a restart about a job: stored before it is begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The lease.
    pub lease: LeaseId,
    /// File name of the SRPM.
    pub srpm: FileName,
    /// Its length, bytes.
    pub size: u64,
    /// Its digest.
    pub digest: Digest,
    /// Arguments for mock that the hub asked for.
    pub options: Vec<Line>,
    /// When to end the build.
    pub limits: Limits,
    /// A repository to use instead of all others, as the hub named it; empty for those of the session. The last, for
    /// records from before there was one ([`crate::launch::JobFolder::read`]).
    pub place: Line,
}

/// Repositories of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repos {
    /// URLs for `--addrepo`.
    pub urls: Vec<String>,
    /// Whether the configuration's own are switched off.
    pub alone: bool,
}

/// One file of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultFile {
    /// Its name in the result folder.
    pub name: FileName,
    /// Length, bytes.
    pub size: u64,
    /// Digest of its bytes.
    pub digest: Digest,
}

/// How a build ended and what it left; the shim writes it, the core tells the hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How mock ended.
    pub exit: Exit,
    /// The phase it ended in.
    pub phase: Phase,
    /// What built it.
    pub backend: Backend,
    /// From mock's start to its end, seconds.
    pub seconds: u32,
    /// By how much the kernel's oom_kill counter grew.
    pub oom_kills: u32,
    /// What is in the result folder.
    pub files: Vec<ResultFile>,
    /// Lines that tell what went wrong.
    pub evidence: Vec<(Which, Line)>,
    /// Most memory that one process of the build had, MiB; 0 if unknown. This and what follows comes last, so that a
    /// client that was upgraded meanwhile still reads what a shim from before wrote ([`crate::launch::JobFolder::read`]).
    pub peak_memory_mib: u32,
    /// For how long at most no log grew, seconds, begun ones counted whole; 0 if unknown.
    pub silence_s: u32,
}

/// A look at the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Free space where it builds, MiB.
    pub disk_free_mib: u32,
    /// Available memory, MiB.
    pub memory_free_mib: u32,
    /// One-minute load average times 100.
    pub load_centi: u32,
    /// The hottest of its sensors, °C.
    pub celsius: Option<u8>,
    /// The wall clock, unix seconds.
    pub unix_s: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The process runs; these jobs and releases were found in the state folder.
    Begin {
        /// Jobs of an earlier process.
        jobs: Vec<Found>,
        /// Releases that the hub has not confirmed.
        released: Vec<Released>,
        /// A drain that an earlier process did not finish.
        draining: bool,
    },
    /// The moment of [`super::Builder::deadline`] has come.
    Timer,
    /// The secure channel is established.
    Connected,
    /// The connection failed or ended; the text says why.
    Disconnected(String),
    /// The hub refused us, or it is not the hub we know: comes with `--once`'s exit code.
    Refused {
        /// One line for the log.
        why: String,
        /// Exit code for `--once`.
        code: u8,
    },
    /// A message came.
    Message(ToBuilder),
    /// Answer to [`Effect::Measure`].
    Measured(Measured),
    /// The job or its SRPM could not be stored, or the shim not be started.
    JobFailed {
        /// The lease.
        lease: LeaseId,
        /// One line for the log.
        why: String,
    },
    /// A log of the running build has this length now.
    LogGrown {
        /// The lease.
        lease: LeaseId,
        /// Which log.
        which: Which,
        /// Its length, bytes.
        size: u64,
    },
    /// The running build came to this phase.
    PhaseSeen {
        /// The lease.
        lease: LeaseId,
        /// The phase.
        phase: Phase,
    },
    /// The shim wrote the exit status.
    Ended {
        /// The lease.
        lease: LeaseId,
        /// What it wrote.
        summary: Summary,
    },
    /// The shim is gone and left no exit status.
    ShimDied {
        /// The lease.
        lease: LeaseId,
    },
    /// A file of the spool cannot be read.
    SpoolBroken {
        /// The lease.
        lease: LeaseId,
        /// One line for the log.
        why: String,
    },
    /// Nothing of the job is left running, as [`Effect::Kill`] asked.
    Killed {
        /// The lease.
        lease: LeaseId,
    },
    /// Finish what there is and end.
    Drain,
    /// Take jobs again after [`Event::Drain`].
    Enable,
    /// Stop now.
    Stop,
}

/// How loud a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What an operator reads.
    Info,
    /// Act soon.
    Warn,
    /// Act now.
    Error,
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Resolve, connect and shake hands; answered by `Connected`, `Disconnected` or `Refused`.
    Connect,
    /// Close the connection; not answered.
    Disconnect,
    /// Send a message.
    Send(FromBuilder),
    /// Send a piece of a result file as `Data`, when the socket has room.
    SendPiece {
        /// The lease.
        lease: LeaseId,
        /// Number of the file.
        file: u32,
        /// Its name.
        name: FileName,
        /// Where the piece begins.
        offset: u64,
        /// Its length, bytes.
        length: u32,
    },
    /// Send a piece of a growing log, now.
    SendLog {
        /// The lease.
        lease: LeaseId,
        /// Which log.
        which: Which,
        /// Where the piece begins.
        offset: u64,
        /// Its length, bytes.
        length: u32,
    },
    /// Look at the machine; answered by `Measured`.
    Measure,
    /// Make the job's folder with its record in it, durably.
    StoreJob(JobRecord),
    /// Write a piece of the SRPM; offset 0 truncates.
    WriteSrpm {
        /// The lease.
        lease: LeaseId,
        /// File name of the SRPM.
        srpm: FileName,
        /// Where the piece begins.
        offset: u64,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// Store the releases that the hub has not confirmed, durably.
    StoreReleases(Vec<Released>),
    /// Remember, or forget, that this builder drains.
    StoreDrain(bool),
    /// Start the shim; a failure is answered by `JobFailed`. What the same job built before is thrown away, so that a
    /// client that is killed meanwhile finds the former result, or a job that was not begun.
    Start {
        /// What to build.
        record: JobRecord,
        /// With which repositories.
        repos: Repos,
    },
    /// Kill what runs of the job; with `clean` the chroot and the job's folder go too, otherwise the
    /// next start does that. Answered by `Killed`.
    Kill {
        /// The lease.
        lease: LeaseId,
        /// Remove chroot and folder too.
        clean: bool,
    },
    /// Delete the job's folder.
    Forget {
        /// The lease.
        lease: LeaseId,
    },
    /// Write a log line.
    Log(Level, String),
    /// End the process with this code.
    Exit(u8),
}
