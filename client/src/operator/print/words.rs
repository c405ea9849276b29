//! States and verdicts in words and colours.
//!
//! Owns which of them is good, bad or waits for somebody: the same colour on every screen.

use moji_proto::message::{
    Backend, BuilderRow, BuilderState, EventKind, PackageState, Phase, Trouble, Verdict,
};

use super::page::Paint;

/// The colour of a package's state.
#[must_use]
pub fn package_paint(state: PackageState) -> Paint {
    match state {
        PackageState::Building => Paint::Cyan,
        PackageState::Success => Paint::Green,
        PackageState::Failed | PackageState::Unusable => Paint::Red,
        PackageState::Review | PackageState::Duplicate => Paint::Yellow,
        PackageState::Waiting | PackageState::Deps => Paint::Plain,
        PackageState::Excluded | PackageState::Cancelled | PackageState::Finished => Paint::Dim,
    }
}

pub(super) fn package_words(state: PackageState) -> &'static str {
    match state {
        PackageState::Waiting => "waits for a builder",
        PackageState::Deps => "waits for what no repository has yet",
        PackageState::Duplicate => "not built: another file holds the same package",
        PackageState::Unusable => "not built: no whole source RPM",
        PackageState::Building => "being built",
        PackageState::Success => "built and published",
        PackageState::Failed => "failed",
        PackageState::Excluded => "not for this architecture",
        PackageState::Review => "built, waits for accept or refuse",
        PackageState::Cancelled => "cancelled by an operator",
        PackageState::Finished => "in finished/, put there by somebody else",
    }
}

/// The colour of a builder's state.
#[must_use]
pub fn builder_paint(state: BuilderState) -> Paint {
    match state {
        BuilderState::Idle => Paint::Plain,
        BuilderState::Busy => Paint::Cyan,
        BuilderState::Draining | BuilderState::Drained => Paint::Dim,
        BuilderState::Quarantined | BuilderState::Troubled => Paint::Red,
        BuilderState::Unfit | BuilderState::Away | BuilderState::Unlisted => Paint::Yellow,
    }
}

pub(super) fn builder_words(state: BuilderState) -> &'static str {
    match state {
        BuilderState::Idle => "idle, waits for a package",
        BuilderState::Busy => "busy",
        BuilderState::Draining => "draining: finishes its build and gets no other",
        BuilderState::Drained => "drained: gets nothing",
        BuilderState::Quarantined => "quarantined: gets nothing",
        BuilderState::Troubled => "takes nothing, as it says itself",
        BuilderState::Unfit => "builds for another architecture than the repository",
        BuilderState::Away => "not connected",
        BuilderState::Unlisted => "turned away: not in the list of builders",
    }
}

/// The colour of a verdict.
#[must_use]
pub fn verdict_paint(verdict: Verdict) -> Paint {
    match verdict {
        Verdict::Success => Paint::Green,
        Verdict::Failed => Paint::Red,
        Verdict::Infra | Verdict::Memory | Verdict::Lost | Verdict::Timeout => Paint::Yellow,
        Verdict::Deps | Verdict::Released => Paint::Plain,
        Verdict::Excluded => Paint::Dim,
    }
}

pub(super) fn event_paint(kind: EventKind) -> Paint {
    match kind {
        EventKind::Blocked => Paint::Red,
        EventKind::Held | EventKind::BuilderDown | EventKind::Builder | EventKind::Again => Paint::Yellow,
        EventKind::Unblocked | EventKind::Published => Paint::Green,
        EventKind::Leased => Paint::Cyan,
        EventKind::Ordered => Paint::Bold,
        EventKind::Phase => Paint::Dim,
        EventKind::Waiting | EventKind::Ended | EventKind::Left | EventKind::BuilderUp => Paint::Plain,
    }
}

/// The word for a phase.
#[must_use]
pub fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Fetch => "fetch",
        Phase::Init => "init",
        Phase::Setup => "setup",
        Phase::Build => "build",
        Phase::Collect => "collect",
        Phase::Upload => "upload",
    }
}

pub(super) fn backend_word(backend: Backend) -> &'static str {
    match backend {
        Backend::Mock => "mock",
        Backend::Rpmbuild => "rpmbuild",
    }
}

pub(super) fn trouble_word(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Clock => "clock",
        Trouble::Disk => "disk",
    }
}

pub(super) fn trouble_words(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Clock => "its clock is minutes off the hub's",
        Trouble::Disk => "its disk is too full for a build",
    }
}

/// Why a builder is as it is. Of one that was turned away the key comes first: `moji approve` wants it.
#[must_use]
pub fn builder_why(builder: &BuilderRow) -> String {
    let why = builder.why.as_str();
    let suspect = builder.suspect.as_str();
    if !suspect.is_empty() {
        let and = if why.is_empty() { "" } else { "; " };
        return format!("{why}{and}{suspect}");
    }
    match (builder.state, builder.health.trouble) {
        (BuilderState::Unlisted, _) if why.is_empty() => format!("key {}", builder.key.fingerprint()),
        (BuilderState::Unlisted, _) => format!("key {}, {why}", builder.key.fingerprint()),
        (_, Some(trouble)) if why.is_empty() => trouble_words(trouble).to_owned(),
        _ => why.to_owned(),
    }
}

/// What people call a package: its file name without what all of them end in.
#[must_use]
pub fn nvr(srpm: &str) -> &str {
    srpm.strip_suffix(".src.rpm").unwrap_or(srpm)
}
