//! The messages, one enum a direction.
//!
//! Owns their shape; how they are encoded is in `message/codec.rs`. No message holds a list: where
//! many follow, the first says how many. From release 1.0 variants are
//! only appended and no field ever changes; until then a change bumps the version in
//! [`crate::hello`] and renews the golden bytes in `message/golden.txt`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::ids::{Digest, LeaseId};
use crate::text::{FileName, Line};

pub use codec::{DecodeError, Message};
pub use operator::{
    AttemptRow, BlockedRow, BuilderRow, BuilderState, CycleRow, EventKind, EventRow, FarmRow, FromOperator,
    LackRow, NameOf, NoCode, Order, PackageRow, PackageState, ToOperator, Topic,
};

mod codec;
mod operator;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

/// Where a build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// The SRPM is on its way to the builder.
    Fetch,
    /// mock makes the chroot.
    Init,
    /// mock installs BuildRequires.
    Setup,
    /// rpmbuild runs.
    Build,
    /// mock is done; the shim hashes and syncs what it left.
    Collect,
    /// The result is on its way to the hub.
    Upload,
}

/// Which log a piece or a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Which {
    /// mock's `build.log`: rpmbuild's output.
    Build,
    /// mock's `root.log`: dnf's output.
    Root,
    /// mock's `state.log`: phases.
    State,
    /// What mock itself wrote to stdout and stderr, kept as `mock.log`.
    Mock,
}

impl Which {
    /// All of them, in wire order.
    pub const ALL: [Which; 4] = [Which::Build, Which::Root, Which::State, Which::Mock];

    /// The file's name in a result folder.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Which::Build => "build.log",
            Which::Root => "root.log",
            Which::State => "state.log",
            Which::Mock => "mock.log",
        }
    }
}

/// How mock ended, or was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this status.
    Code(u8),
    /// It was killed by this signal.
    Signal(u8),
    /// It could not be started at all; `mock.log` says why.
    NotStarted,
    /// It was ended since no log had grown for this long, its limit, seconds.
    Silent(u32),
    /// It was ended since it had taken this long, its limit, seconds.
    TooLong(u32),
}

impl Exit {
    /// Whether the builder ended it at a limit of [`Limits`].
    #[must_use]
    pub fn is_limit(self) -> bool {
        matches!(self, Exit::Silent(_) | Exit::TooLong(_))
    }
}

/// As `result.json`, reasons and logs say it.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, number, unit) = match *self {
            Exit::Code(code) => ("exit", code.into(), ""),
            Exit::Signal(signal) => ("signal", signal.into(), ""),
            Exit::NotStarted => return f.write_str("not started"),
            Exit::Silent(seconds) => ("silent for", seconds, " s"),
            Exit::TooLong(seconds) => ("longer than", seconds, " s"),
        };
        write!(f, "{text} {number}{unit}")
    }
}

/// When the builder ends a build by itself. 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Once none of its logs has grown for so long, seconds.
    pub silence_s: u32,
    /// Once it has taken so long, seconds.
    pub build_s: u32,
}

/// What builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Backend {
    /// mock, in a chroot.
    Mock,
    /// `rpmbuild -ra` on the builder itself, for boards too small for dnf.
    Rpmbuild,
}

/// What became of a build, as the hub rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// Built and published.
    Success,
    /// ExclusiveArch or ExcludeArch rules the builder's architecture out.
    Excluded,
    /// The builder's or the world's fault.
    Infra,
    /// Ran out of memory.
    Memory,
    /// A BuildRequires is not there yet.
    Deps,
    /// The package's own fault.
    Failed,
    /// The builder vanished, or its shim died.
    Lost,
    /// The builder gave it back.
    Released,
    /// The builder ended it: silent, or at work, for too long.
    Timeout,
}

impl Verdict {
    /// The word used in `result.json`, logs and the history.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Success => "success",
            Verdict::Excluded => "excluded",
            Verdict::Infra => "infra",
            Verdict::Memory => "memory",
            Verdict::Deps => "deps",
            Verdict::Failed => "failed",
            Verdict::Lost => "lost",
            Verdict::Released => "released",
            Verdict::Timeout => "timeout",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a builder takes no work although it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Trouble {
    /// Its clock is more than [`crate::limits::CLOCK_SKEW_MAX_S`] off the hub's.
    Clock,
    /// Its disk is too full for a build.
    Disk,
}

/// How a builder is, with every `Ping`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Free space where it builds, MiB.
    pub disk_free_mib: u32,
    /// Available memory, MiB.
    pub memory_free_mib: u32,
    /// One-minute load average times 100.
    pub load_centi: u32,
    /// The hottest of its sensors, °C; None if it has none, or it is below zero there.
    pub celsius: Option<u8>,
    /// By how much its clock is ahead of the hub's, seconds; negative if it is behind, 0 if that is not known.
    pub clock_off_s: i32,
    /// What keeps it from taking work.
    pub trouble: Option<Trouble>,
}

/// Why a builder gives a lease back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReleaseWhy {
    /// It was told to stop: no attempt is charged.
    Stopped,
    /// The shim died without an exit status: the build is lost.
    ShimDied,
    /// The SRPM could not be fetched whole: its digest was wrong after several tries.
    BadSrpm,
    /// Its own disk failed or filled up before the build began.
    Disk,
}

/// Why a result was refused for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RejectedWhy {
    /// A file is over a limit of the hub.
    TooLarge,
    /// A file is not a sound RPM, or its own digests are wrong.
    BadRpm,
    /// An RPM belongs to another source package.
    Foreign,
    /// An RPM is of another architecture than the hub's target.
    Arch,
    /// Two files are the same package, or have the same name.
    Duplicate,
    /// A file arrived damaged too often.
    Damaged,
}

/// What a builder says to the hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromBuilder {
    /// First message of a session. `held` [`FromBuilder::Held`] follow.
    Register {
        /// Host name.
        name: FileName,
        /// Random number of this process: tells a restart from a cloned board.
        instance: u64,
        /// rpm architecture it builds for.
        arch: FileName,
        /// moji's version.
        version: FileName,
        /// mock configuration, as given.
        cfg: Line,
        /// Digest of the configuration file's bytes; of nothing where there is none.
        cfg_digest: Digest,
        /// What builds.
        backend: Backend,
        /// Processors online.
        cpus: u16,
        /// Memory, MiB.
        memory_mib: u32,
        /// Free space where it builds, MiB.
        disk_free_mib: u32,
        /// Its clock, unix seconds.
        clock_unix_s: u64,
        /// What is installed into a chroot before BuildRequires: the command as mock has it (`install @buildsys-build`)
        /// and, with a bootstrap chroot, the packages of that. Empty if it is not known or builds cannot be given a
        /// repository of their own: then `Job` names none.
        setup: Line,
        /// Whether weak dependencies are installed there too.
        weak: bool,
        /// How many `Held` follow.
        held: u8,
    },
    /// A lease that the builder still has a build or a spool for.
    Held {
        /// The lease.
        lease: LeaseId,
        /// File name of its SRPM.
        srpm: FileName,
        /// Digest of its SRPM.
        digest: Digest,
        /// Where the build is.
        phase: Phase,
    },
    /// It is idle and takes a job when there is one. Said once.
    Ready,
    /// Asks for a piece of the SRPM.
    Fetch {
        /// The lease.
        lease: LeaseId,
        /// Where the piece begins.
        offset: u64,
        /// Its length, 1 to 256 KiB.
        length: u32,
    },
    /// The build has come to this phase.
    Phase {
        /// The lease.
        lease: LeaseId,
        /// The phase.
        phase: Phase,
    },
    /// The log has grown.
    Log {
        /// The lease.
        lease: LeaseId,
        /// Which log.
        which: Which,
        /// Where the piece begins.
        offset: u64,
        /// The piece.
        bytes: Bytes,
    },
    /// Every 20 s, whatever else goes on.
    Ping {
        /// How the builder is.
        health: Health,
    },
    /// The build ended. `files` `File`, then `evidence` `Evidence` follow. Said again after a reconnect.
    Results {
        /// The lease.
        lease: LeaseId,
        /// How mock ended.
        exit: Exit,
        /// The phase it ended in.
        phase: Phase,
        /// What built it.
        backend: Backend,
        /// From mock's start to its end, seconds.
        seconds: u32,
        /// By how much the kernel's oom_kill counter grew meanwhile.
        oom_kills: u32,
        /// Most memory that one process of the build had, MiB; 0 if unknown.
        peak_memory_mib: u32,
        /// For how long at most none of its logs grew, seconds, begun ones counted whole; 0 if unknown.
        silence_s: u32,
        /// By how much the free space where it builds shrank meanwhile, MiB; 0 if unknown.
        peak_disk_mib: u32,
        /// How many `File` follow.
        files: u32,
        /// How many `Evidence` follow after them.
        evidence: u16,
    },
    /// One file of the result; files are counted from 0 in the order said.
    File {
        /// The lease.
        lease: LeaseId,
        /// Its name in mock's result folder: a hint, the hub names files itself.
        name: FileName,
        /// Length, bytes.
        size: u64,
        /// Digest of its bytes.
        digest: Digest,
    },
    /// A line of a log that tells what went wrong.
    Evidence {
        /// The lease.
        lease: LeaseId,
        /// Which log.
        which: Which,
        /// The line.
        line: Line,
    },
    /// A piece of a file that the hub wants.
    Data {
        /// The lease.
        lease: LeaseId,
        /// Number of the file.
        file: u32,
        /// Where the piece begins.
        offset: u64,
        /// The piece.
        bytes: Bytes,
    },
    /// It takes no new job; what it has it finishes.
    Draining,
    /// It gives the lease back.
    Release {
        /// The lease.
        lease: LeaseId,
        /// Why.
        why: ReleaseWhy,
    },
}

/// What the hub says to a builder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToBuilder {
    /// Answer to `Register`. `repos` [`ToBuilder::Repo`] follow, then an answer for each `Held`.
    Registered {
        /// The hub's clock, unix seconds.
        time_unix_s: u64,
        /// How often to ping, seconds.
        ping_s: u16,
        /// Port of the hub's HTTP service on the host that was dialled; 0 if there is none.
        http_port: u16,
        /// How many `Repo` follow.
        repos: u8,
    },
    /// A repository for mock's `--addrepo`: a path on the HTTP port, or a whole URL.
    Repo {
        /// Path (begins with `/`) or URL.
        place: Line,
    },
    /// The lease is still the builder's: go on. Logs go on from these offsets; a finished build says
    /// `Results` again.
    Adopted {
        /// The lease.
        lease: LeaseId,
        /// How much of each log the hub has, bytes, in the order of [`Which::ALL`].
        logs: [u64; 4],
    },
    /// The result was committed already: delete the spool.
    Done {
        /// The lease.
        lease: LeaseId,
    },
    /// The lease is over: kill the build, delete the spool.
    Gone {
        /// The lease.
        lease: LeaseId,
    },
    /// Build this. `options` [`ToBuilder::JobOption`] follow.
    Job {
        /// The lease.
        lease: LeaseId,
        /// File name of the SRPM.
        srpm: FileName,
        /// Its length, bytes.
        size: u64,
        /// Its digest.
        digest: Digest,
        /// When to end it.
        limits: Limits,
        /// A repository to use instead of all others: a path on the HTTP port, or a whole URL. Empty: those of the
        /// session, beside the configuration's own.
        place: Line,
        /// How many `JobOption` follow.
        options: u8,
    },
    /// One argument for mock.
    JobOption {
        /// The lease.
        lease: LeaseId,
        /// The argument, as one word of the command line.
        word: Line,
    },
    /// A piece of the SRPM.
    Data {
        /// The lease.
        lease: LeaseId,
        /// Where the piece begins.
        offset: u64,
        /// The piece.
        bytes: Bytes,
    },
    /// Answer to `Ping`.
    Pong,
    /// Stop this build and delete what is left of it.
    Cancel {
        /// The lease.
        lease: LeaseId,
    },
    /// Take no new job until `Undrain`; the hub leases nothing either.
    Drain,
    /// Take jobs again.
    Undrain,
    /// Finish what you have and exit.
    Exit,
    /// Send this file from this offset. Also says that it arrived damaged and is wanted again.
    Want {
        /// The lease.
        lease: LeaseId,
        /// Number of the file.
        file: u32,
        /// Where to begin.
        offset: u64,
    },
    /// The hub has this file up to here: the window moves on.
    Ack {
        /// The lease.
        lease: LeaseId,
        /// Number of the file.
        file: u32,
        /// Bytes of it that arrived.
        offset: u64,
    },
    /// Answer to `Results`, before any `Want`: the repository was not enough. Throw the result away and build again at
    /// once, in a new chroot; logs begin again at 0.
    Again {
        /// The lease.
        lease: LeaseId,
        /// As in `Job`.
        place: Line,
    },
    /// The result is in `repo/`: delete the spool.
    Accepted {
        /// The lease.
        lease: LeaseId,
        /// What the hub ruled.
        verdict: Verdict,
    },
    /// No result of the package: its logs are kept, it goes back to the queue. Delete the spool.
    Returned {
        /// The lease.
        lease: LeaseId,
        /// What the hub ruled.
        verdict: Verdict,
    },
    /// The hub's policy refuses the result for good: delete the spool.
    Rejected {
        /// The lease.
        lease: LeaseId,
        /// Why.
        why: RejectedWhy,
    },
    /// You broke the protocol, or this hub does not want you; the session ends here.
    Reject {
        /// What was wrong.
        code: crate::refusal::RejectCode,
    },
}
