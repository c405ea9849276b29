//! The stand-in for mock against MOCK.md's table: every row it covers gives mock's exit code,
//! files and texts, and planned outcomes give the others. If these fail, no verdict that an
//! end-to-end test sees means anything.

use std::process::Stdio;
use std::time::Duration;

use moji_tests::{Daemon, FakeMock, Outcome, Run, SOON, fake_mock, poll_until, run_to_end};
use nix::sys::signal::Signal;

/// Checks exit code and left files of a run, and that stdout stayed empty.
fn check(run: &Run, code: i32, logs: &[&str], rpms: &[&str]) {
    assert_eq!(run.ended.code, code, "{}{}", run.ended.stderr, run.log("root.log"));
    assert_eq!(run.logs(), logs, "{}", run.ended.stderr);
    assert_eq!(run.rpms(), rpms);
    assert_eq!(run.ended.stdout, "");
}

const ALL_LOGS: &[&str] = &["build.log", "hw_info.log", "installed_pkgs.log", "root.log", "state.log"];
const LOGS_BEFORE_BUILD: &[&str] = &["build.log", "hw_info.log", "root.log", "state.log"];

#[test]
fn success_leaves_logs_rpms_and_a_rebuilt_srpm() {
    let mock = FakeMock::default();
    let run = mock.rebuild("hello", &[]);
    let rpms = ["hello-1.0-1.mini1.noarch.rpm", "hello-1.0-1.mini1.src.rpm"];
    check(&run, 0, ALL_LOGS, &rpms);
    assert!(run.log("state.log").trim_end().ends_with("Finish: run"));
    let left = std::fs::read_dir(mock.folder().join("mock")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "a finished build leaves no chroot");
}

#[test]
fn a_compiler_is_installed_for_a_package_that_wants_one() {
    let run = FakeMock::default().rebuild("helloc", &[]);
    assert_eq!(run.ended.code, 0, "{}", run.ended.stderr);
    assert_eq!(run.rpms().len(), 3);
    assert!(run.log("installed_pkgs.log").contains("\ngcc-"));
}

#[test]
fn a_spec_without_files_builds_no_binary() {
    check(&FakeMock::default().rebuild("noresult", &[]), 0, ALL_LOGS, &["noresult-1.0-1.mini1.src.rpm"]);
}

#[test]
fn a_failing_build_gives_1_and_says_where() {
    let run = FakeMock::default().rebuild("failbuild", &[]);
    check(&run, 1, ALL_LOGS, &[]);
    let log = run.log("build.log");
    assert!(log.contains("error: Bad exit status from ") && log.contains("(%build)"), "{log}");
}

#[test]
fn a_spec_that_breaks_in_the_chroot_or_is_for_another_architecture_gives_1() {
    let mock = FakeMock::default();
    for name in ["badspec", "archonly"] {
        let run = mock.rebuild(name, &[]);
        assert_eq!((run.ended.code, run.rpms().len()), (1, 0), "{name}: {}", run.ended.stderr);
        assert!(run.log("build.log").contains("error: "), "{name}");
    }
}

#[test]
fn missing_build_requirements_give_30_and_their_names() {
    let mock = FakeMock::default();
    for (name, wanted) in [("pkgb", "pkga(api) >= 1"), ("badreq", "does-not-exist-devel >= 2.0")] {
        let run = mock.rebuild(name, &[]);
        check(&run, 30, LOGS_BEFORE_BUILD, &[]);
        let text = format!("No matching package to install: '{wanted}'");
        assert!(run.log("root.log").contains(&text), "{}", run.log("root.log"));
    }
}

#[test]
fn a_repository_that_does_not_answer_gives_30_even_without_requirements() {
    let run = FakeMock::default().rebuild("hello", &["--addrepo=file:///no/such/repo/"]);
    check(&run, 30, LOGS_BEFORE_BUILD, &[]);
    let text = "Failed to download metadata for repo '_no_such_repo_'";
    assert!(run.log("root.log").contains(text), "{}", run.log("root.log"));
}

#[test]
fn added_repositories_provide_what_a_build_requires() {
    let mock = FakeMock::default();
    assert_eq!(mock.rebuild("pkga", &[]).ended.code, 0);
    assert_eq!(mock.rebuild("hello", &[]).ended.code, 0);
    let mut urls = Vec::new();
    for folder in ["result0", "result1"] {
        let folder = mock.folder().join(folder);
        let mut index = std::process::Command::new("createrepo_c");
        index.arg("-q").arg(&folder);
        assert_eq!(run_to_end(index, SOON).code, 0);
        urls.push(format!("--addrepo=file://{}", folder.display()));
    }
    let run = mock.rebuild("pkgb", &[&urls[1], &urls[0]]);
    assert_eq!(run.ended.code, 0, "{}", run.ended.stderr);
    assert!(run.log("build.log").contains("a-data"));
}

#[test]
fn a_timeout_gives_11() {
    let run = FakeMock::default().rebuild("slow", &["--rpmbuild_timeout=2"]);
    check(&run, 11, ALL_LOGS, &[]);
    assert!(run.ended.stderr.contains("Timeout(2) expired for command"));
}

#[test]
fn a_bad_or_missing_srpm_gives_1_and_leaves_nothing() {
    let mock = FakeMock::default();
    let foreign = moji_tests::foreign(mock.folder(), "foreign-1-1.src.rpm").display().to_string();
    for srpm in [&*foreign, "/no/such.src.rpm"] {
        let run = mock.run(&["--rebuild", srpm]);
        check(&run, 1, &[], &[]);
        assert!(run.ended.stderr.contains("Cannot find/open srpm"));
    }
}

#[test]
fn errors_of_the_command_line_have_their_codes() {
    let mock = FakeMock::default();
    check(&mock.run(&["--rebuild"]), 50, &[], &[]);
    check(&mock.run(&["-r", "/no/such.cfg", "--rebuild", "x"]), 3, &[], &[]);
    check(&FakeMock::new("syntax error").rebuild("hello", &[]), 3, &[], &[]);
    check(&mock.rebuild("hello", &["--resultdir=/dev/null/x"]), 70, &[], &[]);
}

#[test]
fn a_chroot_in_use_gives_60_and_signals_end_with_mocks_codes() {
    let mock = FakeMock::default();
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGINT, 7)] {
        let srpm = moji_tests::cached_srpm("slow").display().to_string();
        let (mut command, result) = mock.command(&["--uniqueext=one", "--rebuild", &srpm]);
        command.stdout(Stdio::null());
        let mut first = Daemon::spawn("first", command, &mock.folder().join("first.log"));
        let built = result.join("build.log");
        let ticks = || std::fs::read_to_string(&built).is_ok_and(|log| log.contains("tick 1"));
        assert!(poll_until(SOON, ticks), "{}", first.log_text());
        let second = mock.rebuild("hello", &["--uniqueext=one"]);
        check(&second, 60, &[], &[]);
        assert!(second.ended.stderr.contains("Build root is locked by another process."));
        first.signal(signal);
        assert_eq!(first.wait_exit(Duration::from_secs(15)).code(), Some(code));
        let root = mock.folder().join("mock/mini-x86_64-one/root");
        assert!(root.exists(), "a signal leaves the chroot on disk");
        assert_eq!(mock.run(&["--uniqueext=one", "--clean"]).ended.code, 0);
        assert!(!root.exists(), "--clean removes it");
    }
}

#[test]
fn after_kill_9_the_build_runs_on_until_orphanskill_and_no_mount_is_left() {
    let mock = FakeMock::default();
    let srpm = moji_tests::cached_srpm("slow").display().to_string();
    let (command, result) = mock.command(&["--uniqueext=one", "--rebuild", &srpm]);
    let mut daemon = Daemon::spawn("mock", command, &mock.folder().join("mock.log"));
    let ticks = || std::fs::read_to_string(result.join("build.log")).is_ok_and(|l| l.contains("tick 1"));
    assert!(poll_until(SOON, ticks), "{}", daemon.log_text());
    daemon.kill9();
    let root = mock.folder().join("mock/mini-x86_64-one/root");
    let inside = || {
        let Ok(entries) = std::fs::read_dir("/proc") else {
            return 0;
        };
        let roots = entries.flatten().filter_map(|pid| std::fs::read_link(pid.path().join("root")).ok());
        roots.filter(|path| *path == root).count()
    };
    assert!(inside() > 0, "the build outlives mock");
    assert_eq!(mock.run(&["--uniqueext=one", "--orphanskill"]).ended.code, 0);
    assert!(poll_until(SOON, || inside() == 0));
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("readable");
    assert!(!mounts.contains(&mock.folder().display().to_string()), "{mounts}");
    assert_eq!(mock.run(&["--uniqueext=one", "--clean"]).ended.code, 0);
    assert!(!root.exists());
}

#[test]
fn the_root_path_is_printed_on_stdout() {
    let mock = FakeMock::default();
    let run = mock.run(&["--uniqueext=lease-7", "--print-root-path"]);
    let root = mock.folder().join("mock/mini-x86_64-lease-7/root");
    assert_eq!((run.ended.code, run.ended.stdout.trim_end()), (0, &*root.display().to_string()));
}

#[test]
fn what_is_installed_first_is_printed_as_python_and_the_client_reads_it() {
    let run = FakeMock::default().run(&["--debug-config-expanded"]);
    assert_eq!(run.ended.code, 0, "{}", run.ended.stderr);
    assert!(run.ended.stdout.contains("config_opts['use_bootstrap'] = False\n"), "{}", run.ended.stdout);
    let (setup, weak) = moji_client::setup::parse(&run.ended.stdout);
    assert!(setup.as_str().starts_with("install mini-filesystem bash "), "{setup}");
    assert!(!setup.as_str().contains("dnf") && !weak, "{setup}");
}

#[test]
fn a_planned_outcome_leaves_what_was_planned_once() {
    let mock = FakeMock::default();
    let rpm = moji_tests::rpms_from_spec(mock.folder(), &moji_tests::simple_spec("other", "1", ""));
    for code in [2, 3, 10, 20, 40, 70, 80, 90, 247] {
        let killed = "Child return code was: -9\n";
        let plan = Outcome::exit(code).log("root.log", killed).file("other.rpm", &rpm[0]).say("why").once();
        mock.outcome("hello", &plan);
        let run = mock.rebuild("hello", &[]);
        check(&run, code, &["build.log", "root.log", "state.log"], &["other.rpm"]);
        assert_eq!(run.log("root.log"), killed);
        assert!(run.ended.stderr.contains("ERROR: why"));
    }
    assert_eq!(mock.rebuild("hello", &[]).rpms().len(), 2, "the plan was for one build");
}

#[test]
fn a_planned_signal_kills_mock_itself() {
    let mock = FakeMock::default();
    mock.outcome("hello", &Outcome::exit(-9));
    check(&mock.rebuild("hello", &[]), -9, &[], &[]);
}

#[test]
fn a_gate_holds_a_real_build_before_rpmbuild() {
    let mock = FakeMock::default();
    let gate = mock.folder().join("gate");
    mock.outcome("hello", &Outcome::build_behind(&gate));
    let srpm = moji_tests::cached_srpm("hello").display().to_string();
    let (command, result) = mock.command(&["--rebuild", &srpm]);
    let mut daemon = Daemon::spawn("mock", command, &mock.folder().join("mock.log"));
    let state = || std::fs::read_to_string(result.join("state.log")).unwrap_or_default();
    assert!(poll_until(SOON, || state().contains("Start: rpmbuild")), "{}", daemon.log_text());
    assert!(daemon.is_running() && !state().contains("Finish: rpmbuild"));
    std::fs::write(&gate, "").expect("a file");
    assert!(daemon.wait_exit(SOON).success());
}

#[test]
fn the_version_is_told_without_a_cfg() {
    let mut command = std::process::Command::new(fake_mock());
    command.arg("--version");
    assert_eq!(run_to_end(command, SOON).code, 0);
}
