//! What the scenarios of crashes, connections and stops have in common: packages of a wanted size
//! that need no real build, and the question whether anything was lost or doubled.
//!
//! Owns nothing of a farm; must never wait for anything but a build.

// Each test program uses some of it.
#![allow(dead_code)]

use std::fs;

use moji_tests::{Farm, Outcome, SOON, rpms_from_spec, srpm_from_spec};

/// A package whose outcome is planned.
pub(crate) struct Package {
    /// File name of its SRPM.
    pub(crate) srpm: String,
    /// Its NVR: the name of its result folder.
    pub(crate) nvr: String,
    /// Length of the SRPM, bytes.
    pub(crate) srpm_bytes: u64,
    /// Length of the RPMs that its build leaves, bytes.
    pub(crate) result_bytes: u64,
}

/// Plans a build of package `name` that succeeds without being done: its SRPM holds
/// `source_kib` KiB of noise, its binary RPM `binary_kib`. With a gate, mock waits there.
pub(crate) fn plan(farm: &Farm, name: &str, source_kib: u32, binary_kib: u32, gate: Option<&str>) -> Package {
    let folder = farm.path().join(format!("made-{name}"));
    fs::create_dir_all(&folder).expect("a folder can be made");
    let spec = format!(
        "%define noise %(mkdir -p %{{_sourcedir}}; [ -e %{{_sourcedir}}/noise ] || \
         head -c {} /dev/urandom > %{{_sourcedir}}/noise)\n%{{noise}}\n\
         Name: {name}\nVersion: 1.0\nRelease: 1\nSummary: made by a test\nLicense: MIT\nSource: noise\n\
         BuildArch: noarch\n%description\nMade by a test.\n%install\n\
         install -d %{{buildroot}}/usr/share/{name}\n\
         head -c {} /dev/urandom > %{{buildroot}}/usr/share/{name}/data\n%files\n/usr/share/{name}/data\n",
        source_kib * 1024,
        binary_kib * 1024
    );
    let srpm = srpm_from_spec(&folder, &spec);
    let file = srpm.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let mut outcome = Outcome::exit(0).log("build.log", "planned\n").log("state.log", "Finish: run\n");
    let mut result_bytes = 0;
    for rpm in rpms_from_spec(&folder, &spec).iter().chain([&srpm]) {
        outcome = outcome.file(&rpm.file_name().expect("a file has a name").to_string_lossy(), rpm);
        result_bytes += length(rpm);
    }
    if let Some(gate) = gate {
        outcome = outcome.gate(&farm.gate(gate));
    }
    farm.outcome(&file, outcome);
    Package { srpm: file, nvr: format!("{name}-1.0-1"), srpm_bytes: length(&srpm), result_bytes }
}

/// Drops a planned package into `source/`.
pub(crate) fn drop_planned(farm: &Farm, package: &Package) {
    farm.drop_file(&farm.path().join(format!("made-{}", name_of(package))).join(&package.srpm));
}

fn name_of(package: &Package) -> &str {
    package.nvr.strip_suffix("-1.0-1").expect("a planned package")
}

fn length(path: &std::path::Path) -> u64 {
    fs::metadata(path).expect("a file has a length").len()
}

/// The whole log of the hub, all its runs.
pub(crate) fn hub_log(farm: &Farm) -> String {
    fs::read_to_string(farm.path().join("hub.log")).unwrap_or_default()
}

/// The whole log of a builder, all its runs.
pub(crate) fn builder_log(farm: &Farm, number: usize) -> String {
    fs::read_to_string(farm.path().join(format!("builder{number}.log"))).unwrap_or_default()
}

/// How many lines of the hub's logs about this SRPM end with `end`.
pub(crate) fn hub_lines(farm: &Farm, srpm: &str, end: &str) -> usize {
    let about = format!("pkg={srpm} ");
    hub_log(farm).lines().filter(|line| line.contains(&about) && line.ends_with(end)).count()
}

/// How often the SRPM was leased.
pub(crate) fn leases(farm: &Farm, srpm: &str) -> usize {
    hub_lines(farm, srpm, " leased")
}

/// Waits until mock runs for one build; its pid.
pub(crate) fn mock_pid(farm: &Farm) -> i32 {
    farm.wait_until("one mock to run", SOON, |farm| farm.mocks().len() == 1);
    let mocks = farm.mocks();
    assert_eq!(mocks.len(), 1, "{mocks:?}");
    mocks[0].pid
}

/// Waits until mock waits at its gate: all it leaves is there.
pub(crate) fn at_gate(farm: &Farm, builder: usize, package: &Package) -> i32 {
    let pid = mock_pid(farm);
    let jobs = farm.builder_state(builder).join("jobs");
    farm.wait_until("mock to be at its gate", SOON, |_| {
        let folders = fs::read_dir(&jobs).into_iter().flatten().flatten();
        folders.map(|job| job.path().join("result").join(&package.srpm)).any(|srpm| srpm.exists())
    });
    pid
}

/// Waits until the package is finished, and demands that nothing of it was lost or doubled: one
/// place, one result folder that says success, and nothing left in `working/` or on the builder.
///
/// # Panics
/// When it is not so, with a diagnosis.
pub(crate) fn assert_done_once(farm: &Farm, builder: usize, package: &Package) {
    farm.wait_finished(&package.srpm);
    assert_eq!(farm.results(&package.nvr), std::slice::from_ref(&package.nvr), "{}", farm.diagnosis());
    assert_eq!(farm.result_json(&package.nvr)["verdict"], "success");
    let file = format!("{}.noarch.rpm", package.nvr);
    assert!(farm.files_of(&package.nvr).contains(&file), "{}", farm.diagnosis());
    assert_no_spool(farm, builder);
    farm.wait_until("working/ to be empty", SOON, |farm| {
        fs::read_dir(farm.working())
            .into_iter()
            .flatten()
            .flatten()
            .all(|entry| [".daemon", ".leases", ".lock"].iter().any(|own| entry.file_name() == *own))
    });
}

/// Waits until a builder has no job left on its disk.
pub(crate) fn assert_no_spool(farm: &Farm, builder: usize) {
    let jobs = farm.builder_state(builder).join("jobs");
    farm.wait_until("the builder's spool to be deleted", SOON, |_| {
        fs::read_dir(&jobs).is_ok_and(|mut entries| entries.next().is_none())
    });
}

/// Drops the package `slow` of this very source tree: its build ignores SIGTERM, forks away and takes five
/// minutes. Its SRPM's file name.
pub(crate) fn drop_slow(farm: &Farm) -> String {
    let spec = concat!(env!("CARGO_MANIFEST_DIR"), "/mini/specs/slow.spec");
    let spec = fs::read_to_string(spec).expect("the spec is in the source tree");
    farm.drop_file(&srpm_from_spec(farm.path(), &spec))
}
