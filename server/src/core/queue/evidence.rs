//! What the telling lines of a build's logs say, as one question a function.
//!
//! Owns the texts that mock, dnf, rpm, the compilers and the kernel are known by. Never rules:
//! what follows from a line, and which line goes before which, is in [`super::verdict`].

use std::collections::BTreeSet;

use moji_proto::message::{Backend, Which};

use super::deps::Wants;
use crate::core::types::Report;

/// Longest piece of a log line that goes into a reason, bytes: one line of a terminal.
const QUOTE_BYTES_MAX: usize = 240;
/// How many last lines of an unknown failure are shown (DESIGN, "Verdicts").
const LAST_LINES: usize = 20;

/// rpmbuild refuses the architecture (`build/parsePreamble.c`).
const EXCLUDED: [&str; 5] = [
    "Architecture is not included",
    "Architecture is excluded",
    "No compatible architectures found for build",
    "OS is not included",
    "OS is excluded",
];
/// The builder's disk, whatever else happened.
const DISK: [&str; 4] =
    ["No space left on device", "Input/output error", "Read-only file system", "Disk quota exceeded"];
/// Of these, and of what dnf says, those about a disk that is full.
const FULL: [&str; 3] = ["No space left on device", "Disk quota exceeded", "more space needed"];
/// dnf, dnf5, yum and librepo could not get at the repositories. Only together with exit 30: a
/// package's own tests may print such things too.
const DOWNLOAD: [&str; 14] = [
    "Failed to download",
    "Error downloading packages",
    "Cannot download",
    "more space needed",
    "Curl error",
    "Status code: ",
    "Failed to synchronize cache",
    "Cannot retrieve repository metadata",
    "No URLs in mirrorlist",
    "All mirrors were tried",
    "Usable URL not found",
    "Cannot prepare internal mirrorlist",
    "GPG check FAILED",
    "Unable to find a match",
];
/// mock lacks a plugin of dnf: the builder's fault, although the exit code is a build's.
const PLUGIN: [&str; 3] = ["builddep command missing", "No such command: builddep", "dnf-plugins-core"];
/// Something ran out of memory, in whatever log.
const MEMORY: [&str; 8] = [
    "Killed signal terminated program",
    "terminated with signal 9",
    "virtual memory exhausted",
    "Cannot allocate memory",
    "failed to map segment from shared object",
    "out of memory",
    "Out of memory",
    "] Killed",
];
/// mock on a child that SIGKILL ended; the kernel is the only one who does that to dnf.
const CHILD_KILLED: &str = "return code was: -9";
/// A BuildRequires that no package matches or that cannot be installed, and where its name stands.
const MISSING: [(&str, Stands); 6] = [
    ("No matching package to install:", Stands::Behind),
    ("No matching package", Stands::Behind),
    ("No match for argument:", Stands::Behind),
    ("No Package found for", Stands::Behind),
    (NOTHING_PROVIDES, Stands::BehindUntil(" needed by ")),
    ("none of the providers can be installed", Stands::Nowhere),
];
/// What dnf says of something that a package needs which it would install; of a BuildRequires itself it says the others.
const NOTHING_PROVIDES: &str = "nothing provides ";
/// rpmbuild without mock names missing BuildRequires so (`lib/rpmprob.c`).
const NEEDED: &str = " is needed by ";
/// dnf on arguments of its own `install`, all of them in one line.
const UNMATCHED: &str = "Unable to find a match: ";
/// Heads the list of them.
const FAILED_DEPENDENCIES: &str = "Failed build dependencies";
/// rpmbuild on an error of the package's own.
const BUILD_ERROR: [&str; 3] = [BAD_EXIT, "RPM build errors", "error:"];
/// rpmbuild on a script of the package that failed: behind it the script's file, whose name is never the same twice, and
/// in parentheses which one it was.
const BAD_EXIT: &str = "Bad exit status from";
/// What compilers, linkers and tests call an error, and then how make ends; the most telling kind first.
const CULPRIT: [&str; 2] = ["error:", ": *** "];
/// mock at the end of `--rpmbuild_timeout`.
const TIMEOUT: (&str, &str) = ("Timeout(", "expired for command");

/// Where the name of a missing capability stands in a line.
#[derive(Clone, Copy)]
enum Stands {
    /// From behind the text to the line's end.
    Behind,
    /// From behind the text to this one.
    BehindUntil(&'static str),
    /// It is not said.
    Nowhere,
}

/// The line that says that this architecture is ruled out.
pub(super) fn excluded(report: &Report) -> Option<&str> {
    line_with(report, &EXCLUDED)
}

/// The line that says that the disk or the file system gave out.
pub(super) fn disk(report: &Report) -> Option<&str> {
    line_with(report, &DISK)
}

/// The line that says that the disk is full.
pub(super) fn full(report: &Report) -> Option<&str> {
    line_with(report, &FULL)
}

/// The line that says that a repository could not be used.
pub(super) fn download(report: &Report) -> Option<&str> {
    line_with(report, &DOWNLOAD)
}

/// The line that says that mock lacks a plugin.
pub(super) fn plugin(report: &Report) -> Option<&str> {
    line_with(report, &PLUGIN)
}

/// The line that says that memory ran out.
pub(super) fn memory(report: &Report) -> Option<&str> {
    lines(report)
        .find(|(which, line)| {
            MEMORY.iter().any(|text| line.contains(text))
                || (*which == Which::Root && line.contains(CHILD_KILLED))
                || shell_says_killed(line)
        })
        .map(|(_, line)| line)
}

/// The line that says that the time was up.
pub(super) fn timeout(report: &Report) -> Option<&str> {
    lines(report).map(|(_, line)| line).find(|line| line.contains(TIMEOUT.0) && line.contains(TIMEOUT.1))
}

/// The line of the build's own log that says what rpmbuild did not like; the most telling kind first.
pub(super) fn build_error(report: &Report) -> Option<&str> {
    BUILD_ERROR.iter().find_map(|text| {
        let mut own = lines(report).filter(|(which, _)| is_own(report, *which));
        own.find(|(_, line)| line.contains(text)).map(|(_, line)| line)
    })
}

/// `%build failed: main.c:14:9: error: …` for an error of the package's own: which of its scripts failed, the same words for
/// all that fail so, and what it said. Where no script is named, how the build ended, and the line that [`build_error`]
/// finds.
pub(super) fn own_error(report: &Report) -> Option<String> {
    let line = build_error(report)?;
    let script = line.split_once(BAD_EXIT).and_then(|(_, rest)| {
        let (_, name) = rest.trim_end().strip_suffix(')')?.rsplit_once('(')?;
        name.starts_with('%').then_some(name)
    });
    let Some(script) = script else { return Some(format!("{}: {}", report.exit, quote(line))) };
    let said = CULPRIT.iter().find_map(|text| {
        let mut own = lines(report).filter(|(which, line)| is_own(report, *which) && line.contains(text));
        own.find(|(_, line)| !line.contains(BAD_EXIT)).map(|(_, line)| line)
    });
    Some(match said {
        Some(said) => format!("{script} failed: {}", quote(said)),
        None => format!("{script} failed"),
    })
}

/// Whether a log is what the build itself said.
fn is_own(report: &Report, which: Which) -> bool {
    which == Which::Build || (report.backend == Backend::Rpmbuild && which == Which::Mock)
}

/// The names of what is missing for the BuildRequires, sorted, each once; None if no line speaks of any.
/// Some and empty if one does without a name.
pub(super) fn missing(report: &Report) -> Option<Wants> {
    let (mut all, mut any) = (BTreeSet::new(), BTreeSet::new());
    let mut is_said = false;
    for (_, line) in lines(report) {
        let found = match report.backend {
            Backend::Mock => missing_for_dnf(line),
            Backend::Rpmbuild => missing_for_rpmbuild(line),
        };
        is_said |= found.is_some();
        let names = if line.contains(NOTHING_PROVIDES) { &mut any } else { &mut all };
        names.extend(found.filter(|name| !name.is_empty()).map(str::to_owned));
    }
    let any = any.into_iter().filter(|name| !all.contains(name)).collect();
    is_said.then(|| Wants { all: all.into_iter().collect(), any })
}

/// Arguments of an `install` that no package matched.
pub(super) fn unmatched(report: &Report) -> Vec<String> {
    let names = lines(report).filter_map(|(_, line)| line.split_once(UNMATCHED));
    names.flat_map(|(_, names)| names.split_whitespace()).map(str::to_owned).collect()
}

/// A quotation for a reason: trimmed, and cut at a character's end.
pub(super) fn quote(line: &str) -> &str {
    let line = line.trim();
    let mut end = line.len().min(QUOTE_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

/// The last line of evidence: mock ends with what went wrong.
pub(super) fn last_line(report: &Report) -> &str {
    lines(report).last().map_or("no log says why", |(_, line)| quote(line))
}

/// The last lines of evidence, in one line.
pub(super) fn last_lines(report: &Report) -> String {
    let skip = report.evidence.len().saturating_sub(LAST_LINES);
    let last: Vec<&str> = lines(report).skip(skip).map(|(_, line)| quote(line)).collect();
    if last.is_empty() { "no log says why".to_owned() } else { last.join(" | ") }
}

/// What is the same whenever the same unknown thing happens: the exit and the last line of what mock
/// itself said (else of any log), without numbers and without the folders of paths.
pub(super) fn signature(report: &Report) -> String {
    let of_mock = lines(report).filter(|(which, _)| *which == Which::Mock).last();
    let line = of_mock.or_else(|| lines(report).last()).map_or("", |(_, line)| line);
    let mut words = vec![report.exit.to_string()];
    for word in line.split_whitespace() {
        let word = word.rsplit('/').next().unwrap_or(word);
        let mut plain = String::new();
        for c in word.chars() {
            let c = if c.is_ascii_digit() { '#' } else { c };
            if c != '#' || !plain.ends_with('#') {
                plain.push(c);
            }
        }
        words.push(plain);
    }
    words.join(" ")
}

fn lines(report: &Report) -> impl Iterator<Item = (Which, &str)> {
    report.evidence.iter().map(|(which, line)| (*which, line.as_str()))
}

fn line_with<'a>(report: &'a Report, texts: &[&str]) -> Option<&'a str> {
    lines(report).map(|(_, line)| line).find(|line| texts.iter().any(|text| line.contains(text)))
}

/// `/var/tmp/rpm-tmp.X: line 40: 13088 Killed  sleep 30`: a shell on a command of its script.
fn shell_says_killed(line: &str) -> bool {
    line.split_once(": line ").is_some_and(|(_, rest)| rest.contains(" Killed"))
}

fn missing_for_dnf(line: &str) -> Option<&str> {
    MISSING.iter().find_map(|(text, stands)| {
        let (_, rest) = line.split_once(text)?;
        let name = match stands {
            Stands::Behind => rest,
            Stands::BehindUntil(end) => rest.split_once(end).map_or(rest, |(name, _)| name),
            Stands::Nowhere => "",
        };
        Some(name.trim_matches([' ', '\'', '"', ':', '.', ',']))
    })
}

fn missing_for_rpmbuild(line: &str) -> Option<&str> {
    match line.split_once(NEEDED) {
        Some((name, _)) => Some(name.trim().trim_start_matches("error: ")),
        None => line.contains(FAILED_DEPENDENCIES).then_some(""),
    }
}
