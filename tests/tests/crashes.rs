//! Hub, client and shim killed with SIGKILL at every stage of a job: nothing is lost, nothing doubled.
//!
//! Owns the scenarios in which a process of moji dies, and those of leases that expire meanwhile.

mod pieces;

use std::process::{Command, Stdio};
use std::time::Duration;

use moji_tests::{Daemon, Direction, Farm, Outcome, SOON, poll_until};
use pieces::{
    assert_done_once, assert_no_spool, at_gate, builder_log, drop_planned, drop_slow, hub_lines, hub_log,
    leases, mock_pid, plan,
};

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Hub,
    Client,
    Both,
}

const ALL: [Who; 3] = [Who::Hub, Who::Client, Who::Both];

/// Kills without mercy and starts again at once.
fn crash(farm: &mut Farm, who: Who) {
    if who != Who::Client {
        farm.hub().kill9();
    }
    if who != Who::Hub {
        farm.builder(0).kill9();
    }
    if who != Who::Client {
        farm.start_hub();
    }
    if who != Who::Hub {
        farm.start_builder(0);
    }
}

/// Waits until so many more bytes than `from` went through the proxy.
fn wait_bytes(farm: &Farm, way: Direction, from: u64, more: u64) {
    farm.wait_until("bytes to pass", SOON, |farm| farm.proxy().bytes(way) >= from + more);
}

fn registered(farm: &Farm) {
    farm.wait_builder_says(0, "registered with the hub");
}

#[test]
fn a_real_build_goes_on_in_the_same_mock_whoever_is_killed_and_its_result_is_accepted() {
    let mut farm = Farm::plan().start();
    farm.outcome("hello", Outcome::build_behind(&farm.gate("go")));
    farm.drop_srpm("hello");
    let mock = mock_pid(&farm);
    for who in ALL {
        crash(&mut farm, who);
        farm.wait_until("the lease to be adopted", SOON, |farm| {
            hub_lines(farm, "hello-1.0-1.src.rpm", "adopted: its builder is back") > who as usize
        });
        let mocks: Vec<i32> = farm.mocks().iter().map(|mock| mock.pid).collect();
        assert_eq!(mocks, [mock], "after the end of {who:?}");
        assert_eq!(farm.places("hello"), ["working"]);
    }
    farm.open_gate("go");
    farm.wait_finished("hello");
    assert_eq!(farm.result_json("hello-1.0-1")["verdict"], "success");
    assert_eq!(farm.results("hello-1.0-1"), ["hello-1.0-1"]);
    assert_eq!(leases(&farm, "hello-1.0-1.src.rpm"), 1);
    assert_no_spool(&farm, 0);
}

#[test]
fn a_crash_in_the_download_lets_the_same_lease_fetch_on() {
    let mut farm = Farm::plan().through_proxy().start();
    registered(&farm);
    farm.proxy().delay(Duration::from_millis(10));
    for (number, (who, kib)) in
        [(Who::Hub, 1), (Who::Hub, 700), (Who::Client, 1), (Who::Client, 700), (Who::Both, 400)]
            .iter()
            .enumerate()
    {
        let package = plan(&farm, &format!("down{number}"), 1500, 1, None);
        let before = farm.proxy().bytes(Direction::ToBuilder);
        drop_planned(&farm, &package);
        wait_bytes(&farm, Direction::ToBuilder, before, kib * 1024);
        assert_eq!(farm.places(&package.srpm), ["working"], "{who:?} at {kib} KiB");
        crash(&mut farm, *who);
        assert_done_once(&farm, 0, &package);
        assert_eq!(leases(&farm, &package.srpm), 1, "{who:?} at {kib} KiB\n{}", farm.diagnosis());
    }
}

#[test]
fn a_crash_in_the_upload_resumes_it_where_it_was() {
    let mut farm = Farm::plan().through_proxy().start();
    registered(&farm);
    farm.proxy().delay(Duration::from_millis(10));
    for (number, (who, kib)) in
        [(Who::Hub, 1), (Who::Hub, 3000), (Who::Client, 1), (Who::Client, 3000), (Who::Both, 2000)]
            .iter()
            .enumerate()
    {
        let gate = format!("go{number}");
        let package = plan(&farm, &format!("up{number}"), 1, 4000, Some(&gate));
        drop_planned(&farm, &package);
        at_gate(&farm, 0, &package);
        let before = farm.proxy().bytes(Direction::ToHub);
        farm.open_gate(&gate);
        wait_bytes(&farm, Direction::ToHub, before, kib * 1024);
        crash(&mut farm, *who);
        assert_done_once(&farm, 0, &package);
        assert_eq!(leases(&farm, &package.srpm), 1, "{who:?} at {kib} KiB\n{}", farm.diagnosis());
        // A window is on its way when somebody dies; the rest is for what surrounds the data.
        let sent = farm.proxy().bytes(Direction::ToHub) - before;
        let most = package.result_bytes * 105 / 100 + 512 * 1024;
        assert!(
            sent <= most,
            "{who:?} at {kib} KiB: {sent} bytes, at most {most} expected\n{}",
            farm.diagnosis()
        );
    }
}

/// A number in `0..below`, from a seed: xorshift64.
fn random(seed: &mut u64, below: u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed % below
}

#[test]
fn crashes_at_random_moments_around_the_result_lose_and_double_nothing() {
    const ROUNDS: u32 = 12;
    let mut seed = std::env::var("MOJI_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_122);
    eprintln!("MOJI_SEED={seed}");
    let mut farm = Farm::plan().through_proxy().start();
    registered(&farm);
    for round in 0..ROUNDS {
        let gate = format!("go{round}");
        let package = plan(&farm, &format!("round{round}"), 1, 20, Some(&gate));
        drop_planned(&farm, &package);
        at_gate(&farm, 0, &package);
        let who = ALL[random(&mut seed, 3) as usize];
        // The shim collects, the client looks every half second, the hub verifies and commits.
        let ms = random(&mut seed, 900);
        let before = farm.proxy().bytes(Direction::ToHub);
        farm.open_gate(&gate);
        let moment = std::time::Instant::now() + Duration::from_millis(ms);
        if round % 2 == 0 {
            // Counted from the first byte of the result, where most can go wrong.
            wait_bytes(&farm, Direction::ToHub, before, random(&mut seed, 4096));
        } else {
            poll_until(SOON, || std::time::Instant::now() >= moment);
        }
        crash(&mut farm, who);
        assert_done_once(&farm, 0, &package);
        assert_eq!(leases(&farm, &package.srpm), 1, "{who:?} after {ms} ms\n{}", farm.diagnosis());
    }
}

/// Attaches strace to the hub, which kills it with SIGKILL at the `number`th of these system calls of one of
/// its threads.
fn kill_at(farm: &mut Farm, calls: &str, number: usize) -> Daemon {
    let pid = farm.hub().pid();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-q", "-p", &pid.to_string(), "-e", &format!("trace={calls}")]);
    strace.args(["-e", &format!("inject={calls}:signal=KILL:when={number}")]);
    strace.args(["-o", "/dev/null"]).stdin(Stdio::null());
    let strace = Daemon::spawn("strace", strace, &farm.path().join("strace.txt"));
    let traced = || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        tasks.map(|task| task.path().join("status")).all(|status| {
            let text = std::fs::read_to_string(status).unwrap_or_default();
            text.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
        })
    };
    assert!(poll_until(SOON, traced), "strace traces the hub: {}", strace.log_text());
    strace
}

/// The hub dies at the first, second, … of these calls after a build's end, until it survives the commit.
fn die_at_every(calls: &str) {
    const MOST: usize = 60;
    let mut farm = Farm::plan().start();
    for number in 1..=MOST {
        let gate = format!("go{number}");
        let package = plan(&farm, &format!("call{number}"), 1, 1, Some(&gate));
        drop_planned(&farm, &package);
        at_gate(&farm, 0, &package);
        let strace = kill_at(&mut farm, calls, number);
        farm.open_gate(&gate);
        let mut died = false;
        let ended = poll_until(SOON, || {
            died = !farm.hub().is_running();
            died || farm.places(&package.srpm) == ["finished"]
        });
        assert!(ended, "the {number}th of {calls}\n{}", farm.diagnosis());
        if died {
            farm.start_hub();
        }
        assert_done_once(&farm, 0, &package);
        assert_eq!(leases(&farm, &package.srpm), 1, "the {number}th of {calls}\n{}", farm.diagnosis());
        drop(strace);
        if !died {
            eprintln!("survived the {number}th of {calls}");
            assert!(number > 2, "the hub never died at {calls}: {number}");
            return;
        }
    }
    panic!("more than {MOST} of {calls} in one commit");
}

#[test]
fn the_hub_killed_at_each_rename_of_a_commit_loses_and_doubles_nothing() {
    die_at_every("rename,renameat,renameat2");
}

#[test]
fn the_hub_killed_at_each_sync_of_a_commit_loses_and_doubles_nothing() {
    die_at_every("fsync,fdatasync");
}

#[test]
fn a_killed_shim_gives_one_new_lease_and_leaves_nothing() {
    let farm = Farm::plan().hub_args(["--retry-pause", "1"]).start();
    let srpm = drop_slow(&farm);
    farm.wait_until("the build to tick", SOON, |farm| {
        farm.processes().iter().any(|process| process.in_chroot && process.command.starts_with("sleep 301"))
    });
    let first: Vec<i32> =
        farm.processes().iter().filter(|process| process.in_chroot).map(|process| process.pid).collect();
    let mock = mock_pid(&farm);
    farm.outcome("slow", Outcome::exit(1).log("build.log", "error: Bad exit status from /x (%build)\n"));
    let shims: Vec<i32> = farm
        .processes()
        .iter()
        .filter(|process| process.command.contains(" --shim "))
        .map(|process| process.pid)
        .collect();
    assert_eq!(shims.len(), 1, "{}", farm.diagnosis());
    let shim = nix::unistd::Pid::from_raw(shims[0]);
    nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGKILL).expect("the shim lives");
    farm.wait_finished("slow");
    assert_eq!(leases(&farm, &srpm), 2, "{}", farm.diagnosis());
    assert_eq!(
        hub_lines(&farm, &srpm, "lost: the shim died without an exit status"),
        1,
        "{}",
        farm.diagnosis()
    );
    farm.wait_until("the first build to be gone", SOON, |farm| {
        let left = farm.processes();
        left.iter().all(|process| process.pid != mock && !first.contains(&process.pid) && !process.in_chroot)
    });
    assert_eq!(farm.mounts(), Vec::<std::path::PathBuf>::new());
    assert_eq!(farm.results("slow-1.0-1"), ["slow-1.0-1"]);
    assert_no_spool(&farm, 0);
    let chroots = std::fs::read_dir(farm.path().join("mock")).map_or(0, Iterator::count);
    assert_eq!(chroots, 0, "chroots are left\n{}", farm.diagnosis());
}

#[test]
fn without_grace_a_killed_client_loses_its_lease_at_once_and_its_late_result_is_not_published() {
    let mut farm = Farm::plan().hub_args(["--lease-grace", "0"]).start();
    let package = plan(&farm, "late", 1, 1, Some("go"));
    drop_planned(&farm, &package);
    at_gate(&farm, 0, &package);
    farm.builder(0).kill9();
    farm.wait_until("the package to be back", SOON, |farm| farm.places(&package.srpm) == ["source"]);
    let other = farm.add_builder();
    farm.wait_until("the second lease", SOON, |farm| leases(farm, &package.srpm) == 2);
    farm.wait_until("two mocks", SOON, |farm| farm.mocks().len() == 2);
    farm.open_gate("go");
    farm.wait_finished(&package.srpm);
    let lease = farm.result_json(&package.nvr)["lease"].clone();
    // The first build's end is in its spool: nobody wants it any more.
    farm.wait_until("both mocks to end", SOON, |farm| farm.mocks().is_empty());
    farm.start_builder(0);
    farm.wait_builder_says(0, "the lease is over");
    assert_done_once(&farm, 0, &package);
    assert_no_spool(&farm, other);
    assert_eq!(farm.result_json(&package.nvr)["lease"], lease);
    assert_eq!(leases(&farm, &package.srpm), 2);
}

#[test]
fn a_build_whose_lease_went_to_another_builder_is_killed_when_its_client_comes_back() {
    let mut farm = Farm::plan().hub_args(["--lease-grace", "1"]).start();
    let package = plan(&farm, "moved", 1, 1, Some("go"));
    drop_planned(&farm, &package);
    let mock = at_gate(&farm, 0, &package);
    farm.builder(0).kill9();
    farm.wait_until("the package to be back", SOON, |farm| farm.places(&package.srpm) == ["source"]);
    let other = farm.add_builder();
    farm.wait_until("two mocks", SOON, |farm| farm.mocks().len() == 2);
    farm.start_builder(0);
    farm.wait_until("the first mock to be killed", SOON, |farm| {
        farm.mocks().iter().all(|seen| seen.pid != mock)
    });
    assert_no_spool(&farm, 0);
    farm.open_gate("go");
    assert_done_once(&farm, other, &package);
    assert_eq!(leases(&farm, &package.srpm), 2, "{}", farm.diagnosis());
}

#[test]
fn an_expired_lease_whose_package_still_waits_is_taken_up_again() {
    let mut farm = Farm::plan().hub_args(["--lease-grace", "1"]).start();
    let package = plan(&farm, "waits", 1, 1, Some("go"));
    drop_planned(&farm, &package);
    let mock = at_gate(&farm, 0, &package);
    farm.builder(0).kill9();
    farm.wait_until("the package to be back", SOON, |farm| farm.places(&package.srpm) == ["source"]);
    farm.start_builder(0);
    farm.wait_hub_says("adopted: its builder is back");
    assert_eq!(farm.mocks().iter().map(|seen| seen.pid).collect::<Vec<_>>(), [mock]);
    assert_eq!(farm.places(&package.srpm), ["working"]);
    farm.open_gate("go");
    assert_done_once(&farm, 0, &package);
    assert_eq!(leases(&farm, &package.srpm), 1, "{}", farm.diagnosis());
    assert!(!builder_log(&farm, 0).contains("the lease is over"));
    assert!(!hub_log(&farm).contains("panicked"));
}
