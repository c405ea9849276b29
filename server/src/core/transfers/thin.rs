//! Builds with a thin repository, and what follows when it was not enough.
//!
//! ```text
//!   Opening ──Offer──▶ Building ◀──────────── Again ─────────────┐
//!                         │ Results that lack something          │
//!                         ▼                                      │
//!                     Gathering ──▶ Widening (twice at most) ────┤
//!                         └──────── then with all repositories ──┘
//! ```
//!
//! Owns how often a build's repository is widened and when all repositories are used instead. Nothing of a result that
//! lacked something is taken, and nobody is charged for it; what a build lacks with all repositories is the queue's to
//! rule on. Who puts the repositories together is behind [`ThinDesk`].

use moji_proto::message::{Backend, ToBuilder, Which};
use moji_proto::{Bytes, LeaseId, Line};

use super::hear::LIVE_LOG_BYTES_MAX;
use super::lease::{Lease, State};
use super::machine::Cx;
use super::outcome::report;
use super::{Effect, Manifest, Op};
use crate::core::queue::{self, verdict};
use crate::core::types::BuilderId;
use crate::rpmfile::Capability;

/// How often a build's repository is widened: a closure that missed a name misses another one behind it, seldom a third,
/// and each time costs the builder a chroot.
pub const WIDENINGS_MAX: u8 = 2;
/// Hexadecimal digits of a builder's key in the place of its repository: one in 2^64 is another's.
const KEY_DIGITS: usize = 16;
/// Most names of missing capabilities that a log line lists.
const NAMES_SHOWN_MAX: usize = 8;

/// What a build needs to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The lease.
    pub lease: LeaseId,
    /// Who builds.
    pub builder: BuilderId,
    /// rpm architecture it builds for.
    pub arch: String,
    /// BuildRequires of its SRPM's header.
    pub requires: Vec<Capability>,
    /// What is installed into the chroot before them, as `Register` said it.
    pub setup: Line,
    /// Whether weak dependencies are installed too.
    pub weak: bool,
}

/// Puts thin repositories together, one for each builder, served at its [`place`]. Called by transfers' workers, which may
/// wait for it.
pub trait ThinDesk: Send + Sync {
    /// From now on the builder's place has what this lease needs and what that needs itself, in place of what it had for an
    /// earlier lease. Also said, after a restart of the hub, of a lease whose build is under way. False if it cannot be: the
    /// build gets all repositories.
    fn offer(&self, need: &Need) -> bool;
    /// Adds what provides these names, none if it is not known what was missing, and what that needs itself. True once it is
    /// served at the same place; false if the lease is not known or it cannot be.
    fn widen(&self, lease: LeaseId, names: &[String]) -> bool;
    /// The lease is over. Nothing happens if its builder was offered another one since.
    fn end(&self, lease: LeaseId);
}

/// Where a builder's thin repository is on the hub's HTTP port: always the same, so that what dnf keeps of it stays of use.
#[must_use]
pub fn place(builder: &BuilderId) -> String {
    format!("/thin/{}/", &builder.to_string()[..KEY_DIGITS])
}

/// Which repositories a build has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Repos {
    /// All there are.
    #[default]
    All,
    /// A thin one alone, widened so often.
    Thin { widened: u8 },
}

/// A result that lacked something.
#[derive(Debug)]
pub(super) struct Lacking {
    manifest: Manifest,
    names: Vec<String>,
}

impl Lease {
    /// Asks for a thin repository, if the builder can be given one. False if it cannot.
    pub(super) fn offer(&mut self, cx: &Cx<'_>, requires: Vec<Capability>) -> bool {
        let Some(builder) = self.about.builder.as_ref().filter(|_| cx.shared.thin) else { return false };
        if builder.backend != Backend::Mock || builder.setup.as_str().is_empty() {
            return false;
        }
        let need = Need {
            lease: self.id(),
            builder: builder.id,
            arch: builder.arch.to_string(),
            requires,
            setup: builder.setup.clone(),
            weak: builder.weak,
        };
        self.repos = Repos::Thin { widened: 0 };
        self.offered = true;
        self.push(Op::Offer(Box::new(need)), None);
        true
    }

    /// The thin repository is there, or cannot be.
    pub(super) fn was_offered(&mut self, cx: &mut Cx<'_>, is_served: bool) {
        // A build that is under way has what it had: whether it lacks anything its result will tell.
        let (State::Opening(None), Some(digest)) = (&self.state, self.about.digest) else { return };
        if !is_served {
            self.repos = Repos::All;
        }
        self.go(State::Building(None));
        self.job(cx, digest);
    }

    /// What the builder is told of its repository.
    pub(super) fn place(&self) -> Line {
        match (self.repos, &self.about.builder) {
            (Repos::Thin { .. }, Some(builder)) => Line::lossy(&place(&builder.id)),
            (Repos::Thin { .. } | Repos::All, _) => Line::default(),
        }
    }

    /// Takes a result that is announced whole if its repository was not enough; gives it back if it was, or none was thin.
    pub(super) fn lacks(&mut self, cx: &mut Cx<'_>, manifest: Manifest) -> Option<Manifest> {
        let session = self.session();
        if let Some((told, lacked)) = &mut self.lacked
            && *told != session
            && *lacked == manifest
        {
            // The connection broke before the builder heard the answer.
            *told = session;
            self.go(State::Building(None));
            self.send(cx, ToBuilder::Again { lease: self.id(), place: self.place() });
            return None;
        }
        let (Repos::Thin { widened }, Some(source)) = (self.repos, self.about.source.clone()) else {
            return Some(manifest);
        };
        let Some(names) = verdict::lacked(&report(source, &manifest)) else { return Some(manifest) };
        let lacking = Box::new(Lacking { manifest, names: names.clone() });
        self.go(State::Widening(lacking));
        if widened < WIDENINGS_MAX {
            self.push(Op::Widen { names }, None);
        } else {
            self.was_widened(cx, false);
        }
        None
    }

    /// The thin repository is wider, or cannot be: the same builder builds again.
    pub(super) fn was_widened(&mut self, cx: &mut Cx<'_>, is_wider: bool) {
        // Where the connection broke, the builder says its result again.
        if !matches!(self.state, State::Widening(_)) {
            return;
        }
        let State::Widening(lacking) = std::mem::replace(&mut self.state, State::Building(None)) else {
            unreachable!("it was just matched")
        };
        let Lacking { manifest, names } = *lacking;
        let what = said(&names, &manifest);
        let text = match self.repos {
            Repos::Thin { widened } if is_wider => {
                self.repos = Repos::Thin { widened: widened + 1 };
                format!("built again: {what} ({} of {WIDENINGS_MAX})", widened + 1)
            }
            Repos::Thin { .. } | Repos::All => {
                self.repos = Repos::All;
                format!("built again with all repositories: {what}")
            }
        };
        self.log(cx, log::Level::Info, &text);
        self.lacked = Some((self.session(), manifest));
        self.about.again.push(Line::lossy(&text));
        self.begin_logs_again(&text);
        let lease = self.id();
        self.send(cx, ToBuilder::Again { lease, place: self.place() });
        if let (Some(srpm), Some(builder)) = (self.about.srpm.clone(), &self.about.builder) {
            let builder = builder.id;
            cx.out.push(Effect::Queue(queue::Msg::Again { srpm, lease, builder, text }));
        }
    }

    /// The builder's logs begin at 0 again: here they go on behind a line that says so, so that who follows them misses
    /// nothing.
    fn begin_logs_again(&mut self, text: &str) {
        let line = format!("--- {text}\n");
        for which in Which::ALL {
            let offset = self.logs[which as usize];
            let end = offset + line.len() as u64;
            if end <= LIVE_LOG_BYTES_MAX {
                self.push(Op::Log { which, offset, bytes: Bytes(line.clone().into_bytes()) }, None);
                self.logs[which as usize] = end;
            }
        }
        self.log_bases = self.logs;
    }
}

/// What a result lacked, in words.
fn said(names: &[String], manifest: &Manifest) -> String {
    if names.is_empty() {
        return format!("its thin repository was not enough, {}", manifest.exit);
    }
    let shown: Vec<&str> = names.iter().take(NAMES_SHOWN_MAX).map(String::as_str).collect();
    let more = match names.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let verb = if names.len() == 1 { "was" } else { "were" };
    format!("{}{more} {verb} not in its thin repository", shown.join(", "))
}
