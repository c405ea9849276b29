//! Stopping on purpose: drain, stop, upgrade, and what `ps` and `/proc/mounts` show afterwards.
//!
//! Owns the scenarios in which a person or an init script ends a daemon of moji.

mod pieces;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use moji_tests::{Farm, Finished, Outcome, SOON, run_to_end};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pieces::{
    assert_done_once, assert_no_spool, at_gate, builder_log, drop_planned, drop_slow, hub_lines, hub_log,
    leases, mock_pid, plan,
};

/// How long a stop may take on a PC with a build running (issue: 15 s).
const STOP: Duration = Duration::from_secs(15);

/// Runs `moji-client VERB --state …` of builder 0.
fn say(farm: &Farm, verb: &str) -> Finished {
    let mut command = farm.client_command();
    command.arg(verb).arg("--state").arg(farm.builder_state(0));
    run_to_end(command, SOON)
}

fn slow_ticks(farm: &Farm) {
    farm.wait_until("the build to tick and to have forked away", SOON, |farm| {
        let all = farm.processes();
        let runs =
            |text: &str| all.iter().any(|process| process.in_chroot && process.command.starts_with(text));
        runs("sleep 301") && runs("sleep 1")
    });
}

/// Nothing of a build runs or is mounted.
fn assert_nothing_left(farm: &Farm) {
    let left: Vec<_> =
        farm.processes().into_iter().filter(|process| !process.command.contains("moji-server ")).collect();
    assert!(left.is_empty(), "{left:?}\n{}", farm.diagnosis());
    assert_eq!(farm.mounts(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_stop_ends_a_build_that_ignores_sigterm_and_forks_away_and_charges_no_attempt() {
    let mut farm = Farm::plan().hub_args(["--attempts", "1"]).start();
    let slow = drop_slow(&farm);
    slow_ticks(&farm);
    // Older than the released one will be; yet that goes first.
    let other = plan(&farm, "aaa", 1, 1, None);
    drop_planned(&farm, &other);
    let began = Instant::now();
    assert_eq!(farm.builder(0).term(STOP).code(), Some(0));
    eprintln!("stopped after {:?}", began.elapsed());
    assert_nothing_left(&farm);
    farm.wait_until("the package to be back", SOON, |farm| farm.places(&slow) == ["source"]);
    farm.wait_hub_says("released: the builder was told to stop");
    assert!(!hub_log(&farm).contains("used up"), "{}", farm.diagnosis());
    farm.outcome("slow", Outcome::exit(1).log("build.log", "error: Bad exit status from /x (%build)\n"));
    farm.start_builder(0);
    farm.wait_finished("slow");
    assert_done_once(&farm, 0, &other);
    assert_eq!(farm.result_json("slow-1.0-1")["verdict"], "failed");
    let log = hub_log(&farm);
    let leased = |srpm: &str| {
        log.rfind(&format!("pkg={srpm} ")).map(|_| {
            let lines = log.lines().enumerate();
            lines
                .filter(|(_, line)| line.contains(srpm) && line.ends_with(" leased"))
                .map(|(at, _)| at)
                .last()
        })
    };
    assert!(leased(&slow) < leased(&other.srpm), "the released package is not first\n{}", farm.diagnosis());
    assert_eq!(leases(&farm, &slow), 2);
    farm.wait_until("the chroots to be gone", SOON, |farm| {
        std::fs::read_dir(farm.path().join("mock")).map_or(0, Iterator::count) == 0
    });
}

#[test]
fn the_stop_command_waits_until_all_is_over_and_disable_and_status_speak_clearly() {
    let mut farm = Farm::plan().start();
    drop_slow(&farm);
    slow_ticks(&farm);
    // The client looks at its build twice a second.
    farm.wait_until("status to tell the phase", SOON, |farm| say(farm, "status").stdout.contains("rpmbuild"));
    let status = say(&farm, "status");
    assert_eq!(status.code, 0, "{status:?}");
    assert!(
        status.stdout.contains("pkg=slow-1.0-1.src.rpm") && status.stdout.contains("rpmbuild"),
        "{status:?}"
    );
    assert_eq!(status.stdout.lines().count(), 1);
    let disable = say(&farm, "disable");
    assert!(disable.code == 0 && disable.stdout.contains("slow-1.0-1.src.rpm"), "{disable:?}");
    farm.wait_until("status to say it", SOON, |farm| say(farm, "status").stdout.contains("draining"));
    let began = Instant::now();
    let stop = say(&farm, "stop");
    assert!(stop.code == 0 && began.elapsed() < STOP, "{stop:?} after {:?}", began.elapsed());
    assert_nothing_left(&farm);
    assert_eq!(farm.builder(0).wait_exit(SOON).code(), Some(0));
    farm.wait_until("the package to be back", SOON, |farm| farm.places("slow") == ["source"]);
    for verb in ["stop", "disable", "status"] {
        let ended = say(&farm, verb);
        assert_eq!(ended.code, 8, "{verb}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{verb}: {ended:?}");
        assert!(ended.stderr.contains("no client runs on "), "{verb}: {ended:?}");
    }
}

#[test]
fn a_drained_builder_finishes_uploads_ends_and_remembers_it_when_cut() {
    let mut farm = Farm::plan().through_proxy().start();
    let first = plan(&farm, "first", 1, 300, Some("go"));
    let next = plan(&farm, "next", 1, 1, None);
    drop_planned(&farm, &first);
    at_gate(&farm, 0, &first);
    farm.builder(0).signal(Signal::SIGUSR1);
    farm.wait_builder_says(0, "draining: finishes this");
    farm.proxy().cut();
    farm.wait_until("the builder to be back", SOON, |farm| {
        hub_lines(farm, &first.srpm, "adopted: its builder is back") == 1
    });
    drop_planned(&farm, &next);
    farm.open_gate("go");
    assert_eq!(farm.builder(0).wait_exit(SOON).code(), Some(0));
    assert_done_once(&farm, 0, &first);
    assert_eq!(
        (farm.places(&next.srpm), leases(&farm, &next.srpm)),
        (vec!["source"], 0),
        "{}",
        farm.diagnosis()
    );
    // A new start ends an old drain.
    farm.start_builder(0);
    assert_done_once(&farm, 0, &next);
}

#[test]
fn an_idle_builder_that_is_drained_ends_at_once() {
    let mut farm = Farm::plan().start();
    farm.wait_builder_says(0, "registered with the hub");
    let disable = say(&farm, "disable");
    assert!(disable.code == 0 && disable.stdout.contains("nothing to finish"), "{disable:?}");
    assert_eq!(farm.builder(0).wait_exit(STOP).code(), Some(0));
}

#[test]
fn a_stop_with_only_the_upload_left_keeps_the_result_for_the_next_client() {
    let mut farm = Farm::plan().through_proxy().start();
    let package = plan(&farm, "spool", 1, 300, Some("go"));
    drop_planned(&farm, &package);
    at_gate(&farm, 0, &package);
    farm.proxy().stall(true);
    farm.open_gate("go");
    farm.wait_builder_says(0, "ended after");
    assert_eq!(farm.builder(0).term(STOP).code(), Some(0));
    assert!(!builder_log(&farm, 0).contains("given back"), "{}", farm.diagnosis());
    assert_nothing_left(&farm);
    assert_eq!(farm.places(&package.srpm), ["working"]);
    farm.proxy().stall(false);
    farm.start_builder(0);
    assert_done_once(&farm, 0, &package);
    assert_eq!(leases(&farm, &package.srpm), 1, "{}", farm.diagnosis());
}

#[test]
fn a_stop_while_the_hub_is_away_gives_the_lease_back_at_the_next_start() {
    let mut farm = Farm::plan().hub_args(["--attempts", "1"]).start();
    let package = plan(&farm, "stored", 1, 1, Some("go"));
    drop_planned(&farm, &package);
    at_gate(&farm, 0, &package);
    farm.hub().kill9();
    assert_eq!(farm.builder(0).term(STOP).code(), Some(0));
    assert_nothing_left(&farm);
    farm.start_hub();
    assert_eq!(farm.places(&package.srpm), ["working"]);
    farm.open_gate("go");
    farm.start_builder(0);
    farm.wait_until("the release to be heard", SOON, |farm| {
        hub_lines(farm, &package.srpm, "released: the builder was told to stop") == 1
    });
    assert_done_once(&farm, 0, &package);
    assert_eq!(leases(&farm, &package.srpm), 2, "{}", farm.diagnosis());
}

#[test]
fn a_stop_in_the_download_gives_the_lease_back() {
    let mut farm = Farm::plan().through_proxy().hub_args(["--attempts", "1"]).start();
    farm.wait_builder_says(0, "registered with the hub");
    let package = plan(&farm, "early", 1500, 1, None);
    farm.proxy().delay(Duration::from_millis(20));
    drop_planned(&farm, &package);
    farm.wait_builder_says(0, &format!("pkg={}", package.srpm));
    assert_eq!(farm.builder(0).term(STOP).code(), Some(0));
    assert_nothing_left(&farm);
    farm.wait_until("the package to be back", SOON, |farm| farm.places(&package.srpm) == ["source"]);
    farm.proxy().delay(Duration::ZERO);
    farm.start_builder(0);
    assert_done_once(&farm, 0, &package);
}

#[test]
fn a_second_client_on_one_state_folder_refuses_and_the_first_goes_on() {
    let mut farm = Farm::plan().start();
    farm.wait_builder_says(0, "registered with the hub");
    let second = run_to_end(farm.builder_command(0), SOON);
    assert_eq!(second.code, 4, "{second:?}");
    assert!(second.stderr.contains("another client uses "), "{second:?}");
    assert!(farm.builder(0).is_running());
}

#[test]
fn a_stopped_hub_ends_cleanly_and_a_new_one_adopts_what_is_built() {
    let mut farm = Farm::plan().start();
    let package = plan(&farm, "adopt", 1, 1, Some("go"));
    drop_planned(&farm, &package);
    let mock = at_gate(&farm, 0, &package);
    let began = Instant::now();
    assert_eq!(farm.hub().term(STOP).code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "the hub took {:?} to stop", began.elapsed());
    farm.start_hub();
    farm.wait_hub_says("adopted: its builder is back");
    assert_eq!(mock_pid(&farm), mock);
    farm.open_gate("go");
    assert_done_once(&farm, 0, &package);
    assert_eq!(leases(&farm, &package.srpm), 1, "{}", farm.diagnosis());
}

/// The same command with another program.
fn with_program(command: &Command, program: &Path) -> Command {
    let mut other = Command::new(program);
    other.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        other.current_dir(folder);
    }
    other
}

#[test]
fn an_upgraded_client_takes_over_the_build_of_the_old_one() {
    let farm = Farm::plan().builders(0).start();
    let original = std::path::PathBuf::from(farm.client_command().get_program());
    let mut mocks = Vec::new();
    let package = plan(&farm, "upgrade", 1, 1, Some("go"));
    drop_planned(&farm, &package);
    for version in ["old", "new"] {
        let program = farm.path().join(format!("moji-client-{version}"));
        std::fs::copy(&original, &program).expect("the client can be copied");
        let command = with_program(&farm.builder_command(0), &program);
        let mut client = moji_tests::Daemon::spawn(version, command, &farm.path().join("builder0.log"));
        mocks.push(at_gate(&farm, 0, &package));
        if version == "old" {
            std::fs::remove_file(&program).expect("an upgrade removes the old program");
            client.kill9();
        } else {
            farm.wait_hub_says("adopted: its builder is back");
            farm.open_gate("go");
            assert_done_once(&farm, 0, &package);
        }
    }
    assert_eq!(mocks[0], mocks[1]);
    assert_eq!(leases(&farm, &package.srpm), 1, "{}", farm.diagnosis());
}

/// Processes of the farm whose words contain all of these.
fn pids(farm: &Farm, words: &[&str]) -> Vec<i32> {
    let all = farm.processes();
    let wanted = |command: &str| words.iter().all(|word| command.contains(word));
    all.iter().filter(|process| wanted(&process.command)).map(|process| process.pid).collect()
}

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("it runs");
}

#[test]
fn a_daemon_of_the_client_restarts_what_crashed_and_ends_with_its_parent() {
    let farm = Farm::plan().builders(0).start();
    let package = plan(&farm, "daemon", 1, 1, Some("go"));
    drop_planned(&farm, &package);
    let mut command = farm.builder_command(0);
    command.arg("--daemon");
    let started = run_to_end(command, SOON);
    assert_eq!(started.code, 0, "{started:?}");
    let mock = at_gate(&farm, 0, &package);
    let (parents, workers) = (pids(&farm, &["--supervise"]), pids(&farm, &["--worker"]));
    assert_eq!((parents.len(), workers.len()), (1, 1), "{}", farm.diagnosis());
    let second = run_to_end(farm.builder_command(0), SOON);
    assert_eq!(second.code, 4, "{second:?}");
    signal(workers[0], Signal::SIGKILL);
    farm.wait_until("another worker", SOON, |farm| {
        let now = pids(farm, &["--worker"]);
        now.len() == 1 && now != workers
    });
    farm.wait_hub_says("adopted: its builder is back");
    assert_eq!(mock_pid(&farm), mock);
    farm.open_gate("go");
    assert_done_once(&farm, 0, &package);
    signal(parents[0], Signal::SIGTERM);
    farm.wait_until("all to end", STOP, |farm| pids(farm, &["moji-client"]).is_empty());
    assert_eq!(say(&farm, "status").code, 8);
}

#[test]
fn the_stop_command_ends_a_daemon_too() {
    let farm = Farm::plan().builders(0).start();
    let mut command = farm.builder_command(0);
    command.arg("--daemon");
    assert_eq!(run_to_end(command, SOON).code, 0);
    farm.wait_until("the worker to run", SOON, |farm| say(farm, "status").stdout.contains("idle, connected"));
    let stop = say(&farm, "stop");
    assert_eq!((stop.code, &*stop.stdout), (0, "stopped\n"), "{stop:?}");
    assert_eq!(pids(&farm, &["moji-client"]), Vec::<i32>::new());
    assert_no_spool(&farm, 0);
}

/// The hub's command line with `--daemon`, run by `through` in an empty `/dev` with a syslog, or without one.
fn hub_daemon(farm: &Farm, dev: &Path) -> Command {
    for node in ["null", "zero", "random", "urandom", "full", "tty"] {
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(format!("/dev/{node}")).arg(dev);
        assert_eq!(run_to_end(copy, SOON).code, 0);
    }
    let hub = farm.hub_command();
    let mut command = with_program(&hub, Path::new("unshare"));
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /dev && exec \"$@\""]).arg(dev);
    command.arg(hub.get_program());
    command.args([farm.source(), farm.working(), farm.finished(), farm.repo()]);
    command
        .args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--daemon", "--state"])
        .arg(farm.state());
    command
}

#[test]
fn a_daemon_of_the_hub_restarts_what_crashed_and_ends_with_its_parent() {
    let farm = Farm::plan().nothing_started().start();
    let dev = tempfile::tempdir_in(farm.path()).expect("a folder");
    let syslog = UnixDatagram::bind(dev.path().join("log")).expect("a syslog of our own");
    syslog.set_nonblocking(true).expect("a socket's mode can be set");
    let mut said = String::new();
    let mut read = || {
        let mut line = [0; 2048];
        while let Ok(length) = syslog.recv(&mut line) {
            said += &String::from_utf8_lossy(&line[..length]);
            said.push('\n');
        }
        said.clone()
    };
    let started = run_to_end(hub_daemon(&farm, dev.path()), SOON);
    assert_eq!(started.code, 0, "{started:?}");
    let all = |farm: &Farm| pids(farm, &["moji-server"]);
    farm.wait_until("the hub to be ready", SOON, |_| read().contains("hub listening on "));
    let parent = pids(&farm, &["moji-server", "--supervise"])[0];
    let worker = |farm: &Farm| all(farm).into_iter().find(|pid| *pid != parent);
    let first = worker(&farm).expect("the hub runs");
    signal(first, Signal::SIGKILL);
    farm.wait_until("another hub", SOON, |_| read().matches("hub listening on ").count() == 2);
    assert!(worker(&farm).is_some_and(|pid| pid != first));
    assert!(read().contains("starting it again in 1 s"), "{}", read());
    signal(parent, Signal::SIGTERM);
    farm.wait_until("all to end", STOP, |farm| all(farm).is_empty());
}

#[test]
fn a_daemon_of_the_hub_without_syslog_says_so_and_does_not_start() {
    let farm = Farm::plan().nothing_started().start();
    let dev = tempfile::tempdir_in(farm.path()).expect("a folder");
    let ended = run_to_end(hub_daemon(&farm, dev.path()), SOON);
    assert_eq!((ended.code, ended.stderr.lines().count()), (7, 1), "{ended:?}");
    assert!(ended.stderr.contains("syslog"), "{ended:?}");
}
