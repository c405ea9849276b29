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
//!                   │   ▲
//!             retry │   │ not moved
//!                   ▼   │        Appeared
//!                 Returning ───────────────▶ Waiting
//! ```
//!
//! An operator's `cancel` takes the ways of a lease that ended and of attempts used up: to `Finished`, by
//! `Leased` or by `Retiring`.

use std::collections::{BTreeMap, BTreeSet};

use moji_proto::message::{PackageState, Verdict};
use moji_proto::{FileName, LeaseId, Time};

use super::deps::Wants;
use super::messages::PastResult;

use crate::core::types::{BuilderId, Peak, Srpm};
use crate::core::view::Decision;

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
    /// Its attempts are used up, or it was cancelled; leases was asked to move it to `finished/`.
    Retiring,
    /// It is in `finished/`.
    Finished,
    /// It was in `finished/`, and leases was asked to move it to `source/`; the watch has not seen it there.
    Returning {
        /// When it is not waited for any longer.
        until: Time,
    },
}

/// How a package ended, from then until it starts afresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// What an operator sees.
    pub(super) state: PackageState,
    /// In words; may be empty.
    pub(super) text: String,
    /// Whether a `result.json` or the history tells it already.
    pub(super) is_kept: bool,
}

impl Ending {
    /// Of a package that has a result.
    pub(super) fn of(verdict: Verdict, reason: &str, held: Option<&str>) -> Ending {
        let (state, text) = match (verdict, held) {
            (Verdict::Success, Some(held)) => (PackageState::Review, held),
            (Verdict::Success, None) => (PackageState::Success, ""),
            (Verdict::Excluded, _) => (PackageState::Excluded, reason),
            _ => (PackageState::Failed, reason),
        };
        Ending { state, text: text.to_owned(), is_kept: true }
    }

    /// Of a package whose result an operator decided about.
    pub(super) fn decided(decision: Decision, who: &str) -> Ending {
        let (state, word) = match decision {
            Decision::Accepted => (PackageState::Success, "accepted"),
            Decision::Refused => (PackageState::Failed, "refused"),
            Decision::Retracted => (PackageState::Cancelled, "retracted"),
        };
        Ending { state, text: format!("{word} by {who}"), is_kept: true }
    }

    /// Of a package that an operator ended.
    pub(super) fn cancelled(who: &str) -> Ending {
        Ending { state: PackageState::Cancelled, text: format!("cancelled by {who}"), is_kept: false }
    }

    /// Of a package whose attempts are used up.
    pub(super) fn used_up(why: String) -> Ending {
        Ending { state: PackageState::Failed, text: why, is_kept: false }
    }
}

/// Why a package is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It waits for capabilities.
    Deps {
        /// Which, if a log named any.
        wants: Wants,
        /// When it is tried again all the same.
        until: Time,
        /// Whether its header says so, not a log.
        is_guess: bool,
    },
    /// Another file holds the same package.
    Duplicate {
        /// Its name.
        of: FileName,
    },
    /// It is built again, but what it is built against is built again first.
    Behind {
        /// What.
        first: FileName,
        /// When it waits for that no longer.
        until: Time,
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
    /// The second lease beside it.
    pub(super) copy: Option<Box<Leased>>,
    /// Who was given a copy beside it so far: nobody gets two.
    pub(super) copied_to: BTreeSet<BuilderId>,
    /// What the build began again for, last; empty if it did not.
    pub(super) again: String,
}

impl Leased {
    /// A lease that began now.
    pub(super) fn of(lease: LeaseId, builder: BuilderId, since: Time) -> Leased {
        let (published, ruled, copy, copied_to, again) = Default::default();
        Leased { lease, builder, since, inherited: false, published, ruled, copy, copied_to, again }
    }

    /// This lease, and the second one beside it.
    pub(super) fn both(&self) -> impl Iterator<Item = &Leased> {
        std::iter::once(self).chain(self.copy.as_deref())
    }
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
    /// For how long at most its logs did not grow, seconds; 0 if unknown.
    pub(super) silent_s: u32,
    /// The most that it took.
    pub(super) peak: Peak,
    /// Whether the builder's disk was full.
    pub(super) is_full: bool,
    /// Whether its RPMs wait for an operator.
    pub(super) held: bool,
    /// What it waits for.
    pub(super) wants: Wants,
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
    /// What the last build of its source package took; looked up whenever it begins to wait.
    pub(super) peak: Peak,
    /// A released package's turn among the released; the next grant uses it up.
    pub(super) released: Option<u64>,
    /// Not leased before.
    pub(super) not_before: Option<Time>,
    /// How it ended last, if it has not started afresh since.
    pub(super) ending: Option<Ending>,
    /// Since when it is what an operator sees, and how many seconds it was so before this run.
    pub(super) since: (Time, u64),
    /// Folder in `repo/` of its last result.
    pub(super) place: Option<String>,
    /// Folders of its results that are published, in order.
    pub(super) published: Vec<String>,
    /// Host name of who had it last.
    pub(super) builder: Option<FileName>,
    /// How often its builds began again since a thin repository was not enough.
    pub(super) widened: u16,
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
    /// Who was silent or at work for too long with it: others first, of these the faster ones.
    pub(super) slow_on: Option<BuilderId>,
    /// The most free disk that was not enough, MiB.
    pub(super) disk_mib: Option<u32>,
    /// Builders on which it failed by its own fault, while more of them must agree.
    pub(super) failed_on: BTreeSet<BuilderId>,
    /// Unknown failures, and who had them.
    pub(super) unknown: Vec<(String, BuilderId)>,
    /// How often a BuildRequires was missing, since repo had all that was.
    pub(super) deps: u32,
    /// All that it waited for until repo had it.
    pub(super) woken_for: BTreeSet<String>,
    /// How often in a row it missed nothing else than that.
    pub(super) vain: u32,
    /// Why it was tried in vain the last time.
    pub(super) last: Option<Verdict>,
    /// It was leased, or may be whatever its header names.
    pub(super) tried: bool,
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
            peak: Peak::default(),
            released: None,
            not_before: None,
            ending: None,
            since: (Time(0), 0),
            place: None,
            published: Vec::new(),
            builder: None,
            widened: 0,
        }
    }

    /// What an operator sees.
    pub(super) fn shown(&self) -> PackageState {
        match (&self.state, &self.ending) {
            // Nobody is shown one that is nowhere.
            (State::Gone | State::Waiting | State::Claimed { .. } | State::Returning { .. }, _) => {
                PackageState::Waiting
            }
            (State::Unusable { .. }, _) => PackageState::Unusable,
            (State::Held(Hold::Deps { .. }), _) => PackageState::Deps,
            (State::Held(Hold::Duplicate { .. }), _) => PackageState::Duplicate,
            (State::Held(Hold::Behind { .. }), _) => PackageState::Waiting,
            (State::Leased(_), _) => PackageState::Building,
            (State::Retiring | State::Finished, Some(ending)) => ending.state,
            (State::Retiring, None) => PackageState::Failed,
            (State::Finished, None) => PackageState::Finished,
        }
    }

    /// Takes a result that was in `repo/` at the start; they are told in order.
    pub(super) fn take(&mut self, result: PastResult, now: Time) {
        let PastResult { folder, builder, verdict, reason, held, decision, ago_s } = result;
        let published = match &decision {
            Some((decision, _)) => *decision == Decision::Accepted,
            None => verdict == Verdict::Success && held.is_none(),
        };
        self.ending = Some(match &decision {
            Some((decision, who)) => Ending::decided(*decision, who),
            None => Ending::of(verdict, &reason, held.as_deref()),
        });
        if published {
            self.published.push(folder.clone());
        }
        self.place = Some(folder);
        self.builder = builder;
        self.since = (now, ago_s);
        if decision.is_some_and(|(decision, _)| decision == Decision::Retracted) {
            self.fall_back();
        }
    }

    /// The last result is no longer published: an earlier one is what counts, if there is one.
    pub(super) fn fall_back(&mut self) {
        if let Some(folder) = self.published.last() {
            self.place = Some(folder.clone());
            self.ending = Some(Ending::of(Verdict::Success, "", None));
        }
    }

    /// Whether nothing would be lost if it were forgotten.
    pub(super) fn is_void(&self) -> bool {
        self.state == State::Gone
            && !self.in_finished
            && self.dropped.is_none()
            && self.past == Past::default()
            // What is in repo/ is remembered: its SRPM may come back.
            && self.ending.is_none()
            && self.place.is_none()
    }
}

impl State {
    /// Whether a package in this state takes up its name, epoch, version and release.
    pub(super) fn is_live(&self) -> bool {
        match self {
            State::Waiting | State::Held(_) | State::Claimed { .. } | State::Leased(_) | State::Retiring => {
                true
            }
            State::Gone | State::Unusable { .. } | State::Finished | State::Returning { .. } => false,
        }
    }

    /// Whether repo was told what it waits for.
    pub(super) fn awaits(&self) -> bool {
        matches!(self, State::Held(Hold::Deps { wants, .. }) if !wants.is_empty())
    }

    /// Whether `next` may follow. What is not listed here is a bug of the queue.
    pub(super) fn may_become(&self, next: &State) -> bool {
        use State::*;
        match (self, next) {
            // A lease can come to any package: leases alone decide about it (adoption, a restart).
            (_, Leased(_)) => true,
            (
                Gone | Unusable { .. } | Finished | Returning { .. },
                Gone | Unusable { .. } | Waiting | Held(_) | Finished,
            ) => true,
            (Gone | Unusable { .. } | Returning { .. }, Retiring) => true,
            (Finished, Retiring) => false,
            (Gone | Unusable { .. } | Finished | Returning { .. }, Claimed { .. }) => false,
            (Waiting, Claimed { .. }) => true,
            (Waiting | Held(_), Gone | Unusable { .. } | Waiting | Held(_) | Retiring | Finished) => true,
            (Held(_), Claimed { .. }) => false,
            (Claimed { .. }, Gone | Waiting | Held(_) | Retiring | Finished) => true,
            (Claimed { .. }, Unusable { .. } | Claimed { .. }) => false,
            (Leased(_), Gone | Waiting | Held(_) | Retiring | Finished) => true,
            (Leased(_), Unusable { .. } | Claimed { .. }) => false,
            (Retiring, Gone | Unusable { .. } | Waiting | Held(_) | Retiring | Finished) => true,
            (Retiring, Claimed { .. }) => false,
            (Finished, Returning { .. }) => true,
            (_, Returning { .. }) => false,
        }
    }
}
