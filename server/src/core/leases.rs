//! Leases: who holds what and until when.
//!
//! Owns the only authority over leases: it refuses a second one for a package, and a result counts
//! only with a live lease of the builder that holds it. Owns which of the three source folders an
//! SRPM is in, as far as the hub moves it. Never chooses packages.
//!
//! One thing goes beyond "a package has at most one live lease": at the end of a run the queue may ask for one *second*
//! lease beside the *main* one (`--duplicate-last`); the main one alone owns the file, only one of both is ever sealed,
//! and the second takes the main one's place when it builds the package first or the main one ends (`second.rs`).

use moji_proto::message::{Health, Limits, ReleaseWhy, ToBuilder};
use moji_proto::refusal::RejectCode;
use moji_proto::{FileName, LeaseId, Line};

use super::types::{BuilderId, BuilderInfo, HeldLease, Outcome, Report, SessionId};
use super::{queue, transfers};

mod machine;
#[cfg(test)]
pub(crate) mod tests;

pub use machine::{Config, Ended, Grant, Leases, Past, records};

/// A source folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Waiting.
    Source,
    /// Leased.
    Working,
    /// Built.
    Finished,
}

/// One entry of `working/.leases`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The lease lives from here on.
    Grant {
        /// The lease.
        lease: LeaseId,
        /// Its SRPM.
        srpm: FileName,
        /// Who holds it.
        builder: BuilderId,
        /// The lease that it is the second one beside; a grant without one ends all others of its SRPM.
        beside: Option<LeaseId>,
    },
    /// The lease is over.
    End {
        /// The lease.
        lease: LeaseId,
        /// Whether its builder may take it up again: it only expired, and nothing was ruled.
        revivable: bool,
    },
}

/// What leases are told.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A builder registered and reported all it holds. (reactor)
    Connected {
        /// Its session.
        session: SessionId,
        /// Who it is.
        info: BuilderInfo,
        /// What it holds.
        held: Vec<HeldLease>,
    },
    /// A session ended, for whatever reason. (reactor)
    Disconnected {
        /// Its session.
        session: SessionId,
    },
    /// The builder is idle. (reactor)
    Ready {
        /// Its session.
        session: SessionId,
    },
    /// The builder takes no new job. (reactor)
    Draining {
        /// Its session.
        session: SessionId,
    },
    /// How the builder is. (reactor)
    Health {
        /// Its session.
        session: SessionId,
        /// How.
        health: Health,
    },
    /// The builder gives a lease back. (reactor)
    Release {
        /// Its session.
        session: SessionId,
        /// The lease.
        lease: LeaseId,
        /// Why.
        why: ReleaseWhy,
    },
    /// Lease this package to this idle builder. (queue)
    Claim {
        /// The package.
        srpm: FileName,
        /// The builder.
        builder: BuilderId,
        /// mock options for it.
        options: Vec<Line>,
        /// When the builder ends the build.
        limits: Limits,
        /// Whether as a second lease beside the live one.
        beside: bool,
    },
    /// The operator wants this package's leases ended. (queue)
    Cancel {
        /// The package.
        srpm: FileName,
    },
    /// The package used up its attempts and is in `source/`, without a lease: move it to `finished/`.
    /// Or an operator cancelled it. Said again while the file stays in `source/`. A package that has a lease
    /// meanwhile is left alone. Answered with `Placed`. (queue)
    Retire {
        /// The package.
        srpm: FileName,
        /// All its reasons, for whoever asks why it is in `finished/`.
        why: String,
    },
    /// The operator wants this package, which is in `finished/`, built again: move it to `source/`, never over a
    /// file that is there. A package that has a lease is left alone. Answered with `Placed`. (queue)
    Retry {
        /// The package.
        srpm: FileName,
    },
    /// The builder asked for the SRPM: it has the job. May be said again. (transfers)
    Taken {
        /// The lease.
        lease: LeaseId,
    },
    /// The SRPM of an opened or adopted lease cannot be served, or is not the one that the builder
    /// works on. A builder that has the job already was told `Cancel`, one that is back with it `Gone`. (transfers)
    Unfit {
        /// The lease.
        lease: LeaseId,
        /// Whether its builder got the job: then it says `Ready` itself once it has dropped it.
        has_job: bool,
        /// In words.
        why: String,
        /// Whether its bytes are not what its own digests say: then it goes to `finished/`.
        damaged: bool,
    },
    /// The result is whole: is the lease alive? From here on it cannot expire. (transfers)
    Sealing {
        /// The lease.
        lease: LeaseId,
        /// The result.
        report: Report,
    },
    /// The sealed result could not be committed: the seal is off, the lease lives on. (transfers)
    Unsealed {
        /// The lease.
        lease: LeaseId,
    },
    /// The ruling was carried out. (transfers)
    Settled {
        /// The lease.
        lease: LeaseId,
        /// What is true on disk now.
        outcome: Outcome,
    },
    /// A file seems to be gone from `working/`. (watch)
    Vanished {
        /// Its name.
        srpm: FileName,
    },
    /// What became of an [`Effect::Move`]. (shell)
    Moved {
        /// The lease it was for.
        lease: LeaseId,
        /// Whether the file is where it was to go, durably.
        moved: bool,
    },
    /// A journal or a folder could not be synced: nothing is granted until a restart. (shell)
    Broken {
        /// Why.
        why: String,
    },
    /// Answer to [`Effect::Inspect`]. (shell)
    Inspected {
        /// The name.
        srpm: FileName,
        /// Whether it is in `working/`.
        present: bool,
    },
    /// Time passed. (shell)
    Tick,
}

/// What leases want done.
///
/// The shell gathers the effects of all messages that wait, then runs them in this order: all
/// `Journal` and one sync; all `Move` and one fsync of each folder touched; all `JournalLater`; all
/// `Moved` and `Inspected` back in, and the same again with what comes of them; then everything
/// else in the order given.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Append this before anything else happens.
    Journal(Record),
    /// Append this after the moves; losing it in a crash does no harm.
    JournalLater(Record),
    /// Rename the SRPM, durably, and say [`Msg::Moved`]. What is in `finished/` is replaced. What
    /// somebody dropped into `source/` meanwhile stays, and the file in `working/` is removed; one in
    /// `finished/` stays where it is. From `working/` to `working/`: only look whether it is there.
    Move {
        /// The lease it is for.
        lease: LeaseId,
        /// The file.
        srpm: FileName,
        /// Where it is.
        from: Place,
        /// Where it goes.
        to: Place,
    },
    /// Look whether the file is in `working/`, and say [`Msg::Inspected`].
    Inspect {
        /// The file.
        srpm: FileName,
    },
    /// Say `Registered` and the repositories to a builder; the shell knows the time.
    Welcome(SessionId),
    /// A state change an operator reads about.
    Log(log::Level, String),
    /// Say this to a builder.
    Send(SessionId, ToBuilder),
    /// End a session.
    Close(SessionId, RejectCode),
    /// Tell the queue.
    Queue(queue::Msg),
    /// Tell transfers.
    Transfers(transfers::Msg),
}
