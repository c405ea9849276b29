//! What a result means: DESIGN's table of verdicts and its "What the hub does not believe", as one
//! pure function of the report and of what the hub knows.
//!
//! Owns the order of the rules: the first that matches wins. Never counts attempts, never looks at
//! builders' standing: that is policy, in [`super::policy`].

use std::collections::BTreeSet;

use moji_proto::message::{Backend, Exit, RejectedWhy, Verdict};

use super::deps::Wants;
use super::owners::Owners;
use super::{evidence, limits};
use crate::core::types::{Report, Ruling};
use crate::rpmfile::{Facts, Kind};

/// Packages of this architecture go with every target.
pub(super) const NOARCH: &str = "noarch";

/// mock's exit codes that are the builder's or the world's fault (mock's `exception.py`): a
/// configuration that does not parse, no root, a chroot that cannot be made, one in use, a result
/// folder that cannot be made, and the like.
const INFRA_CODES: [u8; 7] = [3, 20, 40, 60, 70, 80, 90];
/// mock could not install what is needed: the text tells whose fault it is.
const CODE_INSTALL: u8 = 30;
/// mock after a time-out.
const CODE_TIMEOUT: u8 = 11;
/// rpmbuild itself (since 4.15) where BuildRequires are missing.
const CODE_RPMBUILD_MISSING: u8 = 11;
/// mock whose child was killed by signal 9 (-9 as a byte).
const CODE_KILLED: u8 = 247;
/// rpmbuild's own status, passed on by mock, and mock's for a build that failed.
const CODES_BUILD: [u8; 2] = [1, 10];
/// The signal that the OOM killer sends.
const SIGKILL: u8 = 9;

/// What the hub knows besides the report.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The one architecture that is published, once it is known.
    pub target: Option<&'a str>,
    /// What the builder builds for; empty if that is not known.
    pub builder_arch: &'a str,
    /// The leased SRPM's header, if the queue has seen it.
    pub srpm: Option<&'a Facts>,
    /// Which source package each binary package in the repository is built from.
    pub owners: &'a Owners,
}

/// A ruling, and what the queue wants to remember of why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What is to be done.
    pub ruling: Ruling,
    /// Capabilities that the build missed.
    pub wants: Wants,
    /// What an unknown failure can be recognised by on another builder.
    pub signature: Option<String>,
    /// The architecture of the result's binary packages, if one of them has any.
    pub arch: Option<String>,
}

impl From<Ruling> for Judgement {
    fn from(ruling: Ruling) -> Judgement {
        Judgement { ruling, wants: Wants::default(), signature: None, arch: None }
    }
}

/// Rules about a result.
#[must_use]
pub fn judge(report: &Report, context: &Context<'_>) -> Judgement {
    if report.exit == Exit::Code(0) {
        if let Some((why, reason)) = &report.defect {
            return Ruling::Reject { why: *why, reason: reason.clone() }.into();
        }
        if binaries(report).next().is_some() {
            return accept(report, context);
        }
    }
    if let Some(reason) = limits::reason(report) {
        return Ruling::Return { verdict: Verdict::Timeout, reason }.into();
    }
    if let Some(reason) = excluded(report, context) {
        return Ruling::Keep { verdict: Verdict::Excluded, reason }.into();
    }
    if let Some(reason) = infra(report) {
        return Ruling::Return { verdict: Verdict::Infra, reason }.into();
    }
    if let Some(reason) = memory(report) {
        return Ruling::Return { verdict: Verdict::Memory, reason }.into();
    }
    if let Some((wants, reason)) = deps(report) {
        let ruling = Ruling::Return { verdict: Verdict::Deps, reason };
        return Judgement { wants, ..ruling.into() };
    }
    if let Some(reason) = failed(report) {
        // Whether another builder may try it depends on who there is.
        let ruling = match report.exit {
            Exit::Code(CODE_TIMEOUT) => Ruling::Return { verdict: Verdict::Timeout, reason },
            _ => Ruling::Keep { verdict: Verdict::Failed, reason },
        };
        return ruling.into();
    }
    let exit = report.exit;
    let reason = format!("{exit}, cause unknown: {}", evidence::last_lines(report));
    let ruling = Ruling::Return { verdict: Verdict::Infra, reason };
    Judgement { signature: Some(evidence::signature(report)), ..ruling.into() }
}

/// What a build with a thin repository lacked of it, sorted, each once; empty if it lacked something that no log names, None
/// if its end is none of the repository's fault. Whatever mock could not install counts so, but where memory or disk gave
/// out: more to install from would not help there.
#[must_use]
pub fn lacked(report: &Report) -> Option<Vec<String>> {
    let is_install = report.backend == Backend::Mock && report.exit == Exit::Code(CODE_INSTALL);
    if !is_install
        || evidence::full(report).is_some()
        || evidence::disk(report).is_some()
        || memory(report).is_some()
    {
        return None;
    }
    let wants = evidence::missing(report).unwrap_or_default();
    let names: BTreeSet<String> = wants.names().into_iter().chain(evidence::unmatched(report)).collect();
    Some(names.into_iter().collect())
}

/// Whether the header lets a package be built for `arch`.
#[must_use]
pub fn header_allows(facts: &Facts, arch: &str) -> bool {
    let named = |list: &[String]| list.iter().any(|one| one == arch);
    (facts.exclusive_arch.is_empty() || named(&facts.exclusive_arch)) && !named(&facts.exclude_arch)
}

fn binaries(report: &Report) -> impl Iterator<Item = &Facts> {
    report.files.iter().filter_map(|file| file.rpm.as_ref()).filter(|facts| facts.kind == Kind::Binary)
}

/// The rules for a success; whoever breaks one is refused.
fn accept(report: &Report, context: &Context<'_>) -> Judgement {
    match belongs(report, context) {
        Err((why, reason)) => Ruling::Reject { why, reason }.into(),
        Ok(arch) => {
            let held = stranger(report, context);
            Judgement { arch, ..Ruling::Publish { held }.into() }
        }
    }
}

/// Checks that all packages are the leased one's; gives their architecture.
fn belongs(report: &Report, context: &Context<'_>) -> Result<Option<String>, (RejectedWhy, String)> {
    let mut sources = report.files.iter().filter_map(|file| file.rpm.as_ref());
    let mut sources = sources.by_ref().filter(|facts| facts.kind == Kind::Source);
    let leased = &report.source;
    let Some(source) = sources.next() else {
        return Err((RejectedWhy::Foreign, "no source package among its files".to_owned()));
    };
    let found = &source.nevra;
    if (&found.name, found.epoch, &found.version) != (&leased.name, leased.epoch, &leased.version) {
        return Err((RejectedWhy::Foreign, format!("its source package is {found}, leased was {leased}")));
    }
    if let Some(second) = sources.next() {
        return Err((RejectedWhy::Duplicate, format!("a second source package, {}", second.nevra)));
    }
    let source_file = found.file_name(Kind::Source);
    let mut seen = BTreeSet::new();
    let mut arch: Option<&str> = context.target;
    let mut own = None;
    for binary in binaries(report) {
        let nevra = &binary.nevra;
        if binary.source_rpm.as_deref() != Some(source_file.as_str()) {
            let from = binary.source_rpm.as_deref().unwrap_or("nothing");
            return Err((
                RejectedWhy::Foreign,
                format!("{nevra} is built from {from}, not from {source_file}"),
            ));
        }
        if nevra.arch != NOARCH {
            let want = *arch.get_or_insert(&nevra.arch);
            if nevra.arch != want {
                return Err((RejectedWhy::Arch, format!("{nevra} is not for {want}")));
            }
            own = Some(nevra.arch.clone());
        }
        if !seen.insert(nevra) {
            return Err((RejectedWhy::Duplicate, format!("{nevra} twice")));
        }
    }
    Ok(own)
}

/// A binary package that the repository has from another source package, in words.
fn stranger(report: &Report, context: &Context<'_>) -> Option<String> {
    let source = &report.source.name;
    binaries(report).find_map(|binary| {
        let name = &binary.nevra.name;
        let owner = context.owners.source_of(name).filter(|owner| owner != source)?;
        Some(format!("the repository has {name} from {owner}, this one is from {source}"))
    })
}

fn excluded(report: &Report, context: &Context<'_>) -> Option<String> {
    if report.exit == Exit::Code(0) {
        return None;
    }
    if let Some(line) = evidence::excluded(report) {
        return Some(evidence::quote(line).to_owned());
    }
    // Without the line, the header's word counts only where rpmbuild stopped before it built.
    let stopped = matches!(report.exit, Exit::Code(code) if CODES_BUILD.contains(&code))
        && evidence::build_error(report).is_none_or(|line| !line.contains("Bad exit status from"));
    let ruled_out = context
        .srpm
        .is_some_and(|facts| !context.builder_arch.is_empty() && !header_allows(facts, context.builder_arch));
    (stopped && ruled_out)
        .then(|| format!("its ExclusiveArch or ExcludeArch rules {} out", context.builder_arch))
}

fn infra(report: &Report) -> Option<String> {
    let exit = report.exit;
    if let Some(line) = evidence::disk(report) {
        return Some(format!("{exit}: {}", evidence::quote(line)));
    }
    let code = match report.exit {
        Exit::NotStarted => {
            return Some(format!("mock could not be started: {}", evidence::last_lines(report)));
        }
        Exit::Code(code) if report.backend == Backend::Mock && code != 0 => code,
        Exit::Code(_) | Exit::Signal(_) | Exit::Silent(_) | Exit::TooLong(_) => return None,
    };
    let line = match code {
        CODE_INSTALL => evidence::download(report).map(evidence::quote).map(str::to_owned),
        code if INFRA_CODES.contains(&code) => Some(evidence::last_line(report).to_owned()),
        _ => None,
    };
    let line = line.or_else(|| evidence::plugin(report).map(evidence::quote).map(str::to_owned))?;
    Some(format!("{exit}: {line}"))
}

fn memory(report: &Report) -> Option<String> {
    let exit = report.exit;
    let killed = match report.backend {
        Backend::Mock => report.exit == Exit::Code(CODE_KILLED),
        Backend::Rpmbuild => matches!(report.exit, Exit::Signal(SIGKILL) | Exit::Code(CODE_KILLED)),
    };
    if let Some(line) = evidence::memory(report) {
        Some(format!("{exit}: {}", evidence::quote(line)))
    } else if report.oom_kills > 0 {
        Some(format!("{exit}: the kernel killed {} for memory", report.oom_kills))
    } else {
        killed.then(|| format!("{exit}: killed"))
    }
}

fn deps(report: &Report) -> Option<(Wants, String)> {
    let may = match (report.backend, report.exit) {
        (Backend::Mock, Exit::Code(code)) => code == CODE_INSTALL,
        (Backend::Rpmbuild, Exit::Code(code)) => code != 0,
        (_, Exit::Signal(_) | Exit::NotStarted | Exit::Silent(_) | Exit::TooLong(_)) => false,
    };
    let said = if may { evidence::missing(report) } else { None };
    let by_code = report.backend == Backend::Rpmbuild && report.exit == Exit::Code(CODE_RPMBUILD_MISSING);
    let wants = said.or(by_code.then(Wants::default))?;
    let reason = if wants.is_empty() { "a BuildRequires".to_owned() } else { wants.names().join(", ") };
    Some((wants, format!("waits for {reason}")))
}

fn failed(report: &Report) -> Option<String> {
    match report.exit {
        Exit::Code(0) => Some("built no binary package".to_owned()),
        Exit::Code(CODE_TIMEOUT) => {
            let line = evidence::timeout(report).map_or("the time was up", evidence::quote);
            Some(format!("exit {CODE_TIMEOUT}: {line}"))
        }
        Exit::Code(code) if CODES_BUILD.contains(&code) => evidence::own_error(report),
        Exit::Code(_) | Exit::Signal(_) | Exit::NotStarted | Exit::Silent(_) | Exit::TooLong(_) => None,
    }
}

#[cfg(test)]
mod tests;
