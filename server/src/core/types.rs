//! What the cores tell each other about: builders, packages, reports, rulings.
//!
//! Owns plain data only.

use std::fmt;
use std::net::IpAddr;

use moji_proto::message::{Backend, Exit, Phase, RejectedWhy, Verdict, Which};
use moji_proto::{Digest, FileName, LeaseId, Line, PublicKey};

use crate::rpmfile::{Facts, Nevra};

/// One authenticated connection; never used again within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl SessionId {
    /// The hub counts its connections from 1, so none ever has this bit.
    const INNER: u64 = 1 << 63;

    /// A session of the hub's own web actor: an operator's that only asks, without a connection.
    #[must_use]
    pub fn inner(number: u64) -> SessionId {
        SessionId(SessionId::INNER | number)
    }

    /// Whether it is such a one.
    #[must_use]
    pub fn is_inner(self) -> bool {
        self.0 & SessionId::INNER != 0
    }
}

/// SHA-256 of a file's bytes: what yum repositories name RPMs by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
impl Sha256 {
    /// That of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Sha256 {
        Sha256(<sha2::Sha256 as sha2::Digest>::digest(bytes).into())
    }
}

/// A builder is its static key.
pub type BuilderId = PublicKey;

/// What a builder said of itself in `Register`, and where it called from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderInfo {
    /// Its key.
    pub id: BuilderId,
    /// Host name.
    pub name: FileName,
    /// Random number of its process.
    pub instance: u64,
    /// rpm architecture it builds for.
    pub arch: FileName,
    /// Its moji version.
    pub version: FileName,
    /// mock configuration, as given there.
    pub cfg: Line,
    /// Digest of that configuration.
    pub cfg_digest: Digest,
    /// What builds.
    pub backend: Backend,
    /// Processors.
    pub cpus: u16,
    /// Memory, MiB.
    pub memory_mib: u32,
    /// Free space where it builds, MiB.
    pub disk_free_mib: u32,
    /// Its clock, unix seconds.
    pub clock_unix_s: u64,
    /// What is installed into its chroots first; empty if it cannot be given a repository of its own.
    pub setup: Line,
    /// Whether weak dependencies are installed there.
    pub weak: bool,
    /// Where it called from.
    pub peer: IpAddr,
}

/// A lease that a builder reports after a reconnect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLease {
    /// The lease.
    pub lease: LeaseId,
    /// File name of its SRPM.
    pub srpm: FileName,
    /// Digest of its SRPM.
    pub digest: Digest,
    /// Where the build is.
    pub phase: Phase,
}

/// What the hub read from a whole SRPM in `source/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srpm {
    /// Length, bytes.
    pub size: u64,
    /// Its header.
    pub facts: Facts,
}

/// One file of a result, as the hub found it in the stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedFile {
    /// The name it has or will have in `repo/<NVR>/`: the hub's own choice.
    pub name: FileName,
    /// Length, bytes.
    pub size: u64,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its header, if it is an RPM.
    pub rpm: Option<Facts>,
    /// SHA-256 of its bytes, if it is an RPM.
    pub sha256: Option<Sha256>,
}

/// A result that is whole in the stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The leased SRPM's own header, as the hub read it.
    pub source: Nevra,
    /// How mock ended.
    pub exit: Exit,
    /// The phase it ended in.
    pub phase: Phase,
    /// What built it.
    pub backend: Backend,
    /// From mock's start to its end, seconds.
    pub seconds: u32,
    /// By how much the builder's oom_kill counter grew.
    pub oom_kills: u32,
    /// For how long at most its logs did not grow, seconds; 0 if unknown.
    pub silence_s: u32,
    /// The most that it took.
    pub peak: Peak,
    /// Telling lines of its logs.
    pub evidence: Vec<(Which, Line)>,
    /// All files.
    pub files: Vec<StagedFile>,
    /// What is wrong with the files themselves (not a sound RPM, over a limit, two of a name), and in words.
    pub defect: Option<(RejectedWhy, String)>,
}

/// The most that a build took of its builder; 0 where that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    /// Memory of its largest process, MiB.
    pub memory_mib: u32,
    /// By how much the free space shrank meanwhile, MiB.
    pub disk_mib: u32,
}

/// What the queue rules about a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Into `repo/<NVR>/`, SRPM to `finished/`. Indexed unless `held` says why an operator must look first.
    Publish {
        /// Why it waits for the operator.
        held: Option<String>,
    },
    /// Logs into `repo/<NVR>/`, SRPM to `finished/`, nothing indexed, RPMs dropped.
    Keep {
        /// Failed or excluded.
        verdict: Verdict,
        /// In words.
        reason: String,
    },
    /// Logs into `attempts/<lease>/`, SRPM back to `source/`.
    Return {
        /// Infra, memory, deps or timeout.
        verdict: Verdict,
        /// In words.
        reason: String,
    },
    /// As `Keep` with verdict failed, and the builder hears `Rejected`.
    Reject {
        /// Why.
        why: RejectedWhy,
        /// In words.
        reason: String,
    },
}

/// What a commit made true on disk, for whoever comes after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In `repo/<folder>/`; the SRPM belongs into `finished/`.
    Committed {
        /// Name of the folder: `NVR`, `NVR@2`, …
        folder: String,
        /// What `result.json` says.
        verdict: Verdict,
    },
    /// Logs are in `attempts/<lease>/`; the SRPM belongs back into `source/`.
    Kept {
        /// The verdict.
        verdict: Verdict,
    },
}

/// How a lease ended, for the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The SRPM is in `finished/`.
    Finished {
        /// What was ruled.
        verdict: Verdict,
        /// Where its result is in `repo/`, if it has one.
        folder: Option<String>,
    },
    /// The SRPM is in `source/` again.
    Returned(Verdict),
    /// The operator cancelled it: the SRPM is in `finished/`.
    Cancelled,
    /// Somebody took the SRPM out of `working/`.
    Taken,
    /// The SRPM stays in `working/`: the package's other lease goes on, or is about to end otherwise.
    Beside(Fate),
}

/// How a lease ended beside another one of its package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// As it does when the SRPM goes back to `source/`.
    Returned(Verdict),
    /// The other one's result counts, or nobody's any more, in words: nobody's fault.
    Outdone(&'static str),
    /// It was the second one, and this result of it is no success and counts for nothing.
    InVain(Box<Report>),
}
