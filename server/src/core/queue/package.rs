//! One package as the queue sees it.
//!
//! Owns the states a package can be in and which may follow which. Never decides when.
//!
//! ```text
//!              Appeared                 Claim             Granted
//!   Gone ────────────────▶ Waiting ───────────▶ Claimed ──────────▶ Leased
//!    ▲ ▲                   ▲  │  ▲                 │                 │ │ │
//!    │ │          Published│  │  └──ClaimFailed────┘                 │ │ │
//!    │ └──Vanished──── Held ◀─┴─────────── Ended(Returned) ──────────┘ │ │
//!    │                                                                 │ │
//!    │ Vanished    Retiring ◀──────── attempts used up ────────────────┘ │
//!    │                │                                                  │
//!    └──────────── Finished ◀──────── Ended(Finished) ───────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};

use moji_proto::message::Verdict;
use moji_proto::{FileName, LeaseId, Time};

use crate::core::types::{BuilderId, Srpm};

/// Where a package is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No file of it in `source/` that the queue knows of; remembered for its attempts.
    Gone,
    /// The file is no whole SRPM.
    Unusable {
        /// Why.
        why: String,
    },
    /// It can be leased.
    Waiting,
    /// It is not leased although its file is there.
    Held(Hold),
    /// leases was asked to lease it to this builder.
    Claimed {
        /// For whom.
        builder: BuilderId,
    },
    /// It is leased.
    Leased(Leased),
    /// Its attempts are used up; leases was asked to move it to `finished/`.
    Retiring,
    /// It is in `finished/`; what it ended as, if this run saw it.
    Finished(Option<Verdict>),
}

/// Why a package is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It waits for capabilities, named where the log named them, until something is published.
    Deps {
        /// Their names.
        names: Vec<String>,
        /// When it is tried again all the same.
        until: Time,
    },
    /// Another file holds the same package.
    Duplicate {
        /// Its name.
        of: FileName,
    },
}

/// What the queue remembers of a live lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leased {
    /// The lease.
    pub(super) lease: LeaseId,
    /// Who holds it.
    pub(super) builder: BuilderId,
    /// When it was granted, as far as this run knows.
    pub(super) since: Time,
    /// Whether it was granted in an earlier run of the hub.
    pub(super) inherited: bool,
    /// How many publications there were when it was granted.
    pub(super) published: u64,
    /// What was ruled about its result.
    pub(super) ruled: Option<Ruled>,
}

/// What is remembered of a ruling until the lease has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruled {
    /// What the result showed; where attempts were used up, that of the last one.
    pub(super) verdict: Verdict,
    /// In words; where attempts were used up, of all of them.
    pub(super) reason: String,
    /// Whether it uses up an attempt.
    pub(super) charged: bool,
    /// Build time, seconds.
    pub(super) seconds: u32,
    /// What it waits for.
    pub(super) wants: Vec<String>,
    /// What an unknown failure is recognised by.
    pub(super) signature: Option<String>,
    /// Name of the source package.
    pub(super) source: String,
    /// Names of its binary packages that will be in the repository.
    pub(super) binaries: Vec<String>,
}

/// One package: one file name.
#[derive(Clone, Debug)]
pub(super) struct Package {
    /// Where it is. Changed by `Queue::go` only.
    pub(super) state: State,
    /// What its file holds; None if it was leased before this run saw it.
    pub(super) srpm: Option<Srpm>,
    /// The watch's last word about `source/`: what the file of this name holds, if there is one. While a
    /// claim or a lease is young it may still speak of the file that was leased.
    pub(super) dropped: Option<Srpm>,
    /// Whether a file of this name is in `finished/`.
    pub(super) in_finished: bool,
    /// What was tried in vain.
    pub(super) past: Past,
    /// A released package's turn among the released; the next grant uses it up.
    pub(super) released: Option<u64>,
    /// Not leased before.
    pub(super) not_before: Option<Time>,
}

/// What was tried in vain; all of it is forgotten when a package starts afresh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Past {
    /// Attempts that count, oldest first.
    pub(super) charged: Vec<(Verdict, String)>,
    /// Builders that get it only after this.
    pub(super) not_on: BTreeMap<BuilderId, Time>,
    /// Builders that lost it: others first.
    pub(super) lost_on: BTreeSet<BuilderId>,
    /// The most memory that was not enough, MiB.
    pub(super) memory_mib: Option<u32>,
    /// Unknown failures, and who had them.
    pub(super) unknown: Vec<(String, BuilderId)>,
    /// How often a BuildRequires was missing.
    pub(super) deps: u32,
}

impl Package {
    /// A package of which nothing is known.
    pub(super) fn new() -> Package {
        Package {
            state: State::Gone,
            srpm: None,
            dropped: None,
            in_finished: false,
            past: Past::default(),
            released: None,
            not_before: None,
        }
    }

    /// Whether nothing would be lost if it were forgotten.
    pub(super) fn is_void(&self) -> bool {
        self.state == State::Gone
            && !self.in_finished
            && self.dropped.is_none()
            && self.past == Past::default()
    }
}

impl State {
    /// Whether a package in this state takes up its name, epoch, version and release.
    pub(super) fn is_live(&self) -> bool {
        match self {
            State::Waiting | State::Held(_) | State::Claimed { .. } | State::Leased(_) | State::Retiring => {
                true
            }
            State::Gone | State::Unusable { .. } | State::Finished(_) => false,
        }
    }

    /// Whether `next` may follow. What is not listed here is a bug of the queue.
    pub(super) fn may_become(&self, next: &State) -> bool {
        use State::*;
        match (self, next) {
            // A lease can come to any package: leases alone decide about it (adoption, a restart).
            (_, Leased(_)) => true,
            (
                Gone | Unusable { .. } | Finished(_),
                Gone | Unusable { .. } | Waiting | Held(_) | Finished(_),
            ) => true,
            (Gone | Unusable { .. }, Retiring) => true,
            (Gone | Unusable { .. }, Claimed { .. }) | (Finished(_), Retiring | Claimed { .. }) => false,
            (Waiting, Claimed { .. }) => true,
            (Waiting | Held(_), Gone | Unusable { .. } | Waiting | Held(_) | Retiring | Finished(_)) => true,
            (Held(_), Claimed { .. }) => false,
            (Claimed { .. }, Gone | Waiting | Held(_) | Retiring | Finished(_)) => true,
            (Claimed { .. }, Unusable { .. } | Claimed { .. }) => false,
            (Leased(_), Gone | Waiting | Held(_) | Retiring | Finished(_)) => true,
            (Leased(_), Unusable { .. } | Claimed { .. }) => false,
            (Retiring, Gone | Unusable { .. } | Waiting | Held(_) | Retiring | Finished(_)) => true,
            (Retiring, Claimed { .. }) => false,
        }
    }
}
