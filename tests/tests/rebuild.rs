//! `--rebuild-dependents` on a real farm: what was built against a library is built again once when its soname changes.
//!
//! Owns that sonames, BuildRequires and what binary packages require are found in real RPMs, and that it survives a restart.
//! Each rule is in the hub's own tests.

use std::fs;

use moji_tests::{Farm, Outcome, SOON, rpms_from_spec, simple_spec, srpm_from_spec};

/// Makes `NAME-VERSION-RELEASE` with these lines in its preamble, and plans that every builder's mock succeeds with it at
/// once, or fails; drops it. The SRPM's file name.
fn drop_with(farm: &Farm, [name, version, release]: [&str; 3], extra: &str, succeeds: bool) -> String {
    let folder = farm.path().join("made").join(format!("{name}-{version}-{release}"));
    fs::create_dir_all(&folder).expect("a folder");
    let spec = simple_spec(name, version, extra).replace("Release: 1\n", &format!("Release: {release}\n"));
    let srpm = srpm_from_spec(&folder, &spec);
    let rpm = rpms_from_spec(&folder, &spec).remove(0);
    let file = format!("{name}-{version}-{release}.src.rpm");
    let rpm_name = rpm.file_name().expect("a name").to_string_lossy().into_owned();
    let outcome = match succeeds {
        true => Outcome::exit(0).file(&file, &srpm).file(&rpm_name, &rpm).log("build.log", "quick\n"),
        false => {
            Outcome::exit(1).log("build.log", "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n")
        }
    };
    farm.outcome(&file, outcome);
    farm.drop_file(&srpm);
    file
}

fn foo(farm: &Farm, version: &str, release: &str, soname: &str) {
    let provides = format!("Provides: {soname}()(64bit)\nProvides: libfoo-devel = {version}\n");
    let file = drop_with(farm, ["libfoo", version, release], &provides, true);
    farm.wait_finished(&file);
}

fn ok(farm: &Farm, words: &[&str]) -> String {
    let ended = farm.moji(words);
    assert_eq!(ended.code, 0, "moji {words:?}: {}{}\n{}", ended.stdout, ended.stderr, farm.diagnosis());
    ended.stdout
}

fn wait_results(farm: &Farm, nvr: &str, count: usize) {
    farm.wait_until(&format!("{count} results of {nvr}"), SOON, |farm| {
        let name = format!("{nvr}.src.rpm");
        farm.results(nvr).len() == count && farm.is_in("finished", &name)
    });
}

/// The hub has said what it does about that version of libfoo.
fn wait_changed(farm: &Farm, nvr: &str, what: &str, then: &str) {
    farm.wait_hub_says(&format!("pkg={nvr}.src.rpm provides changed ({what}): {then} built again"));
}

#[test]
fn a_new_soname_has_what_was_built_against_the_old_one_built_again_once_and_a_new_release_has_nothing() {
    let mut farm = Farm::plan().hub_args(["--rebuild-dependents"]).start();
    foo(&farm, "1", "1", "libfoo.so.1");
    // By its header; by what it is linked to; by neither; by its header, but it never built.
    for (name, extra, succeeds) in [
        ("app", "BuildRequires: libfoo-devel\n", true),
        ("tool", "Requires: libfoo.so.1()(64bit)\n", true),
        ("other", "BuildRequires: other-devel\nProvides: other-devel\n", true),
        ("failing", "BuildRequires: libfoo-devel\n", false),
    ] {
        let file = drop_with(&farm, [name, "1", "1"], extra, succeeds);
        farm.wait_finished(&file);
    }

    foo(&farm, "2", "1", "libfoo.so.2");
    let what = "libfoo.so.1 -> libfoo.so.2; libfoo and 1 more 1 -> 2";
    wait_changed(&farm, "libfoo-2-1", what, "2 packages are");
    wait_results(&farm, "app-1-1", 2);
    wait_results(&farm, "tool-1-1", 2);
    let history = ok(&farm, &["history", "app"]);
    assert!(history.contains("the hub"), "{history}");

    // A release more, and a restart, which looks at all of it once more.
    foo(&farm, "2", "2", "libfoo.so.2");
    farm.hub().term(SOON);
    farm.start_hub();
    wait_changed(&farm, "libfoo-2-1", what, "0 packages are");
    // What comes next finds all of it as it was.
    foo(&farm, "3", "1", "libfoo.so.3");
    let what = "libfoo.so.2 -> libfoo.so.3; libfoo and 1 more 2 -> 3";
    wait_changed(&farm, "libfoo-3-1", what, "1 package is");
    wait_results(&farm, "app-1-1", 3);
    // It is linked to what is neither in this libfoo nor in the one before.
    assert_eq!(farm.results("tool-1-1").len(), 2);
    assert_eq!(farm.results("other-1-1").len(), 1);
    assert_eq!(farm.results("failing-1-1").len(), 1);
    assert_eq!(farm.results("libfoo-1-1").len(), 1);
}
