//! Processes that get too little: no space, a file system that became read-only, no descriptors, no memory.
//!
//! Owns what the cases share. Each lets a farm run into the shortage at a moment that is known, demands that the daemon
//! waits without keeping a processor busy and that `moji status` says why, ends the shortage, and demands that everything
//! is finished once. `disk_full.rs` has full disks under uploads and builds.

mod descriptors;
mod disk;
mod memory;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use moji_tests::faults::Tally;
use moji_tests::sim::rpm;
use moji_tests::{Farm, Outcome, SOON, poll_until, read_index};

/// For how long a process that waits is looked at.
const LOOK: Duration = Duration::from_secs(3);

/// A package that is built in no time, and how many RPMs come of it.
pub(crate) struct Package {
    pub(crate) srpm: String,
    pub(crate) nvr: String,
    rpms: Vec<String>,
}

/// Plans a package of so many binary RPMs of so many bytes; its build waits for a gate of its name.
pub(crate) fn plan(farm: &Farm, name: &str, rpms: usize, bytes: usize) -> Package {
    let made = farm.path().join("made");
    fs::create_dir_all(&made).expect("a folder");
    let put = |file: &str, bytes: Vec<u8>| {
        fs::write(made.join(file), bytes).expect("an RPM");
        made.join(file)
    };
    let srpm = format!("{name}-1-1.src.rpm");
    let source = put(&srpm, rpm::source(name, 1, 1_000));
    let mut built = Outcome::exit(0).log("build.log", "built\n").file(&srpm, &source).gate(&farm.gate(name));
    let rpms: Vec<String> = (0..rpms).map(|number| format!("{name}-{number}-1-1.noarch.rpm")).collect();
    for (number, file) in rpms.iter().enumerate() {
        let path = put(file, rpm::binary(&format!("{name}-{number}"), name, 1, bytes));
        built = built.file(file, &path);
    }
    farm.outcome(&srpm, built);
    Package { srpm, nvr: format!("{name}-1-1"), rpms }
}

/// Drops a planned package.
pub(crate) fn drop_in(farm: &Farm, package: &Package) {
    farm.drop_file(&farm.path().join("made").join(&package.srpm));
}

/// Waits until mock waits at the gate of a package.
pub(crate) fn at_gate(farm: &Farm, builder: usize, package: &Package) {
    let jobs = farm.builder_state(builder).join("jobs");
    farm.wait_until("mock to be at its gate", SOON, |_| {
        let folders = fs::read_dir(&jobs).into_iter().flatten().flatten();
        folders.map(|job| job.path().join("result").join(&package.srpm)).any(|srpm| srpm.exists())
    });
}

/// In the end it is finished, once, whole and indexed.
pub(crate) fn finished(farm: &Farm, package: &Package, what: &str, tally: &mut Tally) {
    let is_finished = poll_until(SOON * 2, || farm.places(&package.srpm) == ["finished"]);
    let in_place = farm.places(&package.srpm);
    tally.holds(is_finished, || format!("{what}: {} is in {in_place:?}\n{}", package.srpm, farm.diagnosis()));
    if !is_finished {
        return;
    }
    let results = farm.results(&package.nvr);
    tally.holds(results == [package.nvr.as_str()], || {
        format!("{what}: results {results:?}\n{}", farm.diagnosis())
    });
    let files = farm.files_of(&package.nvr);
    tally.holds(package.rpms.iter().all(|rpm| files.contains(rpm)), || format!("{what}: it has {files:?}"));
    let verdict = farm.result_json(&package.nvr)["verdict"].clone();
    tally.holds(verdict == "success", || format!("{what}: its verdict is {verdict}"));
    let is_indexed = poll_until(SOON, || {
        read_index(&farm.repo().join("repodata"))
            .is_ok_and(|all| package.rpms.iter().all(|rpm| all.keys().any(|place| place.ends_with(rpm))))
    });
    tally.holds(is_indexed, || format!("{what}: it is not indexed\n{}", farm.diagnosis()));
}

/// Looks at a process for a while: it may use less than half of a processor.
pub(crate) fn is_calm(pid: u32, what: &str, tally: &mut Tally) {
    let (began, before) = (Instant::now(), cpu(pid));
    let is_gone = poll_until(LOOK, || cpu(pid).is_none());
    let (elapsed, after) = (began.elapsed(), cpu(pid));
    if let (false, Some(before), Some(after)) = (is_gone, before, after) {
        let used = after.saturating_sub(before);
        let percent = used.as_millis() * 100 / elapsed.as_millis().max(1);
        if percent > 0 {
            tally.figure(format!("{what}: {percent} % of a processor while it waits"));
        }
        tally.holds(used * 2 < elapsed, || format!("{what}: it used {used:?} of {elapsed:?}"));
    }
}

/// Processor time of a process; None when it is gone.
fn cpu(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if fields.first() == Some(&"Z") {
        return None;
    }
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    // USER_HZ is 100 on everything that Linux runs on today.
    Some(Duration::from_millis(ticks * 10))
}

/// What `moji status` says, once it says `text`.
pub(crate) fn status_says(farm: &Farm, text: &str, what: &str, tally: &mut Tally) {
    let mut said = String::new();
    let says = poll_until(SOON, || {
        said = words(&farm.moji(&["status"]).stdout);
        said.contains(text)
    });
    tally.holds(says, || format!("{what}: 'moji status' never said '{text}': {said}\n{}", farm.diagnosis()));
}

/// What it said when asked now must not say `text`.
pub(crate) fn status_ends(farm: &Farm, text: &str, what: &str, tally: &mut Tally) {
    let mut said = String::new();
    let ends = poll_until(SOON, || {
        said = words(&farm.moji(&["status"]).stdout);
        !said.contains(text)
    });
    tally.holds(ends, || format!("{what}: 'moji status' still says '{text}': {said}"));
}

/// A text without its line breaks.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Sets a limit of a process that runs, as prlimit(1) does.
pub(crate) fn limit(pid: u32, what: &str) {
    let status = Command::new("prlimit").arg("--pid").arg(pid.to_string()).arg(what).status();
    assert!(status.expect("prlimit starts").success(), "prlimit --pid {pid} {what}");
}

/// A log, of all its daemon's runs.
pub(crate) fn log_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
