//! A mock that somebody else ended: the kernel for want of memory, a person. What it left goes before the next job.
//!
//! Owns this scenario alone.

use std::fs;

use moji_tests::{Farm, Outcome, SOON};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::pieces::{assert_no_spool, at_gate, drop_planned, drop_slow, mock_pid, plan};

/// Names in the folder of all chroots.
fn chroots(farm: &Farm) -> Vec<String> {
    let entries = fs::read_dir(farm.path().join("mock")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_chroot_of_a_mock_that_was_killed_is_gone_before_the_next_job() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let farm = Farm::plan().start();
        let slow = drop_slow(&farm);
        let mock = mock_pid(&farm);
        farm.wait_until("a build in the chroot", SOON, |farm| {
            farm.processes().iter().any(|process| process.in_chroot && process.command.contains("sleep 301"))
        });
        let old = chroots(&farm);
        assert!(!old.is_empty(), "{}", farm.diagnosis());
        // What comes next, whichever it is, is held at its gate.
        let next = plan(&farm, "next", 1, 1, Some("go"));
        let failed = Outcome::exit(1).log("build.log", "error: Bad exit status from /x (%build)\n");
        farm.outcome(&slow, failed.gate(&farm.gate("go")));
        drop_planned(&farm, &next);
        kill(Pid::from_raw(mock), signal).expect("mock lives");
        farm.wait_until("another mock", SOON, |farm| {
            let mocks = farm.mocks();
            mocks.len() == 1 && mocks[0].pid != mock
        });
        let left: Vec<String> = chroots(&farm).into_iter().filter(|name| old.contains(name)).collect();
        assert_eq!(left, Vec::<String>::new(), "{signal}: chroots are left\n{}", farm.diagnosis());
        assert!(!farm.processes().iter().any(|process| process.in_chroot), "{}", farm.diagnosis());
        if farm.places(&next.srpm) == ["working"] {
            at_gate(&farm, 0, &next);
        }
        farm.open_gate("go");
        farm.wait_finished(&next.srpm);
        assert_no_spool(&farm, 0);
        farm.wait_until("no chroot at all", SOON, |farm| chroots(farm).is_empty());
        assert_eq!(farm.mounts(), Vec::<std::path::PathBuf>::new());
    }
}
