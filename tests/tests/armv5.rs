//! Whole builds by the static ARMv5 builder under qemu-user, as an ARM926 without floating point, against a native hub.
//!
//! Owns what only a run on that processor shows. Skipped, and said so, where this machine lacks what it takes; with
//! MOJI_TESTS_ARMV5 set, as `tests/run` does where it has built the programs, only for want of a kernel's binfmt_misc.

mod pieces;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use moji_tests::{Armv5, Daemon, Farm, Outcome, Process, SOON, run_to_end};
use pieces::{assert_done_once, at_gate, builder_log, drop_planned, drop_slow, leases, mock_pid, plan};

/// How long a stop may take with a build running (as natively).
const STOP: Duration = Duration::from_secs(15);

/// The programs; none, and a line that no test harness swallows, where they cannot be run.
fn programs(test: &str) -> Option<Armv5> {
    match Armv5::new() {
        Ok(armv5) => Some(armv5),
        Err(why) => {
            let must = std::env::var_os("MOJI_TESTS_ARMV5").is_some() && !why.contains("binfmt_misc");
            assert!(!must, "{why}");
            let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
            None
        }
    }
}

/// The processes of the farm that are shims.
fn shims(farm: &Farm) -> Vec<Process> {
    farm.processes().into_iter().filter(|process| process.command.contains(" --shim ")).collect()
}

/// Demands that builder 0 and the shim of the one build that runs are ARM programs.
fn assert_arm(armv5: &Armv5, farm: &mut Farm) {
    let client = i32::try_from(farm.builder(0).pid()).expect("a pid fits");
    let shims = shims(farm);
    assert_eq!(shims.len(), 1, "{}", farm.diagnosis());
    for pid in [client, shims[0].pid] {
        assert!(armv5.runs(pid), "{pid} is no ARM program\n{}", farm.diagnosis());
    }
}

/// The command of a builder that is told the hub's name instead of its address, which it looks up in a process of
/// its own.
fn told_a_name(farm: &Farm) -> Command {
    let by_address = farm.builder_command(0);
    let mut command = farm.client_command();
    let mut args = by_address.get_args();
    args.next();
    command.arg(format!("localhost:{}", farm.hub_addr().port())).args(args);
    command
}

#[test]
fn an_armv5_builder_builds_one_package_fails_another_and_dnf_installs_what_it_built() {
    let Some(armv5) = programs("an ARMv5 builder's packages") else { return };
    let farm = Farm::plan().armv5(&armv5).builders(0).start();
    let _builder = Daemon::spawn("builder0", told_a_name(&farm), &farm.path().join("builder0.log"));
    farm.outcome("hello", Outcome::build_behind(&farm.gate("go")));
    farm.drop_srpm("hello");
    mock_pid(&farm);
    let shims = shims(&farm);
    assert!(shims.len() == 1 && armv5.runs(shims[0].pid), "{}", farm.diagnosis());
    // The operator's command, an ARM program as well, sees the build.
    let status = farm.moji(&["status", "--json"]);
    assert_eq!(status.code, 0, "{status:?}");
    let seen: serde_json::Value = serde_json::from_str(&status.stdout).expect("one JSON object");
    assert_eq!(seen["packages"][0]["srpm"], "hello-1.0-1.src.rpm", "{seen}");
    assert_eq!(seen["farm"]["builders"]["busy"], 1, "{seen}");
    farm.drop_srpm("failbuild");
    farm.open_gate("go");
    farm.wait_finished("hello");
    farm.wait_finished("failbuild");
    assert_eq!(farm.result_json("hello-1.0-1")["verdict"], "success");
    let failed = farm.result_json("failbuild-1.0-1");
    assert_eq!(failed["verdict"], "failed");
    assert!(failed["reason"].as_str().is_some_and(|why| why.contains("%build failed")), "{failed}");
    for name in ["hello", "failbuild"] {
        farm.assert_one_place(name);
        assert_eq!(leases(&farm, &format!("{name}-1.0-1.src.rpm")), 1, "{}", farm.diagnosis());
    }
    farm.wait_until("hello to be published", SOON, |farm| farm.install(&["hello"]).is_ok());
    assert!(farm.install(&["hello"]).expect("dnf installs").has("/usr/bin/hello"));
}

#[test]
fn an_armv5_builder_killed_in_a_build_is_followed_by_one_that_adopts_the_build() {
    let Some(armv5) = programs("an ARMv5 builder that is killed") else { return };
    let mut farm = Farm::plan().armv5(&armv5).start();
    let package = plan(&farm, "kept", 40, 300, Some("go"));
    drop_planned(&farm, &package);
    let mock = at_gate(&farm, 0, &package);
    assert_arm(&armv5, &mut farm);
    farm.builder(0).kill9();
    farm.start_builder(0);
    farm.wait_hub_says("adopted: its builder is back");
    assert_eq!(farm.mocks().iter().map(|seen| seen.pid).collect::<Vec<_>>(), [mock]);
    assert_arm(&armv5, &mut farm);
    farm.open_gate("go");
    assert_done_once(&farm, 0, &package);
    assert_eq!(leases(&farm, &package.srpm), 1, "{}", farm.diagnosis());
    assert!(!builder_log(&farm, 0).contains("panicked"), "{}", farm.diagnosis());
}

#[test]
fn an_armv5_builder_stopped_in_a_build_leaves_no_process_and_no_mount() {
    let Some(armv5) = programs("an ARMv5 builder that is stopped") else { return };
    let mut farm = Farm::plan().armv5(&armv5).start();
    let slow = drop_slow(&farm);
    farm.wait_until("the build to have forked away", SOON, |farm| {
        farm.processes().iter().any(|process| process.in_chroot && process.command.starts_with("sleep 301"))
    });
    assert_arm(&armv5, &mut farm);
    // What an init script says, by the same program.
    let mut stop = farm.client_command();
    stop.arg("stop").arg("--state").arg(farm.builder_state(0));
    let stop = run_to_end(stop, SOON);
    assert_eq!(stop.code, 0, "{stop:?}\n{}", farm.diagnosis());
    assert_eq!(farm.builder(0).wait_exit(STOP).code(), Some(0));
    let left: Vec<_> =
        farm.processes().into_iter().filter(|process| !process.command.contains("moji-server ")).collect();
    assert!(left.is_empty(), "{left:?}\n{}", farm.diagnosis());
    assert_eq!(farm.mounts(), Vec::<PathBuf>::new());
    farm.wait_until("the package to be back", SOON, |farm| farm.places(&slow) == ["source"]);
    farm.wait_hub_says("released: the builder was told to stop");
}
