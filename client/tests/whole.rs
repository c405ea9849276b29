//! The whole builder against a scripted hub over loopback: jobs, broken connections, kills, adoption.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::{Bench, Hub, kill_9, lease, until};
use moji_proto::limits::UPLOAD_WINDOW_BYTES;
use moji_proto::message::{Exit, FromBuilder, Phase, RejectedWhy, ReleaseWhy, ToBuilder, Verdict, Which};
use moji_proto::{Digest, LeaseId};
use nix::sys::signal::Signal;

fn gone(lease: LeaseId) -> ToBuilder {
    ToBuilder::Gone { lease }
}

fn adopted(lease: LeaseId) -> ToBuilder {
    ToBuilder::Adopted { lease, logs: [0; 4] }
}

/// Asks for one file from `at` on and acknowledges each of its pieces.
fn take(session: &mut common::Session, lease: LeaseId, file: u32, mut at: u64, size: u64) -> Vec<u8> {
    let mut taken = Vec::new();
    if at < size {
        session.send(&ToBuilder::Want { lease, file, offset: at });
    }
    while at < size {
        match session.recv() {
            FromBuilder::Data { file: of, offset, bytes, .. } => {
                assert_eq!((of, offset), (file, at));
                at += bytes.0.len() as u64;
                taken.extend_from_slice(&bytes.0);
                session.send(&ToBuilder::Ack { lease, file, offset: at });
            }
            other => panic!("{other:?} instead of Data"),
        }
    }
    taken
}

#[test]
fn a_job_is_fetched_built_and_uploaded_through_a_broken_connection() {
    let bench = Bench::new(
        "echo building > $R/build.log; cp \"$S\" $R/a-1-1.x86_64.rpm; env > $R/env.log; ls -l /proc/self/fd > $R/fds.log",
    );
    let (hub, lease) = (Hub::new(), lease(1));
    let srpm: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let client = bench.start(&hub.address(), &[]);

    let (mut session, held) = hub.registered(gone);
    assert_eq!(held, []);
    session.give(lease, &srpm, &["--nocheck"]);
    let results = session.results();
    assert_eq!(results.exit, Exit::Code(0));
    let names: Vec<&str> = results.files.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["a-1-1.x86_64.rpm", "build.log", "env.log", "fds.log", "mock.log"]);
    assert_eq!((results.files[0].1, results.files[0].2), (1_000_000, Digest::of(&srpm)));
    let run = bench.read("runs");
    assert!(run.contains("--addrepo=http://127.0.0.1:6780/repo/ --nocheck --rebuild "), "{run}");

    // Without an acknowledgement the window ends the upload; then the connection breaks.
    session.send(&ToBuilder::Want { lease, file: 0, offset: 0 });
    let mut sent = 0;
    while sent + 32_512 <= UPLOAD_WINDOW_BYTES {
        let FromBuilder::Data { bytes, .. } = session.recv() else { panic!("no Data") };
        sent += bytes.0.len() as u64;
    }
    drop(session);

    let (mut session, held) = hub.registered(adopted);
    assert!(matches!(held[..], [FromBuilder::Held { phase: Phase::Upload, .. }]));
    assert_eq!(session.results(), results);
    assert_eq!(take(&mut session, lease, 0, 500_000, 1_000_000), &srpm[500_000..]);
    assert_eq!(take(&mut session, lease, 1, 0, results.files[1].1), b"building\n");
    let env = String::from_utf8(take(&mut session, lease, 2, 0, results.files[2].1)).unwrap();
    for name in ["PATH=", "HOME=", "LANG=C.UTF-8", "TERM="] {
        assert!(env.contains(name), "{env}");
    }
    assert!(!env.contains("CARGO"), "{env}");
    let fds = String::from_utf8(take(&mut session, lease, 3, 0, results.files[3].1)).unwrap();
    assert!(!fds.contains("socket:") && !fds.contains("identity"), "{fds}");

    // mock.log may be empty; the second file arrived damaged and goes again.
    take(&mut session, lease, 4, 0, results.files[4].1);
    assert_eq!(take(&mut session, lease, 1, 0, results.files[1].1), b"building\n");
    session.send(&ToBuilder::Accepted { lease, verdict: Verdict::Success });
    assert_eq!(session.recv(), FromBuilder::Ready);
    assert_eq!(bench.jobs(), [""; 0]);

    client.signal(Signal::SIGUSR1);
    assert_eq!(session.recv(), FromBuilder::Draining);
    assert!(matches!(session.next(), Some(FromBuilder::Ping { .. })));
    session.send(&ToBuilder::Pong);
    assert_eq!(session.next(), None);
    assert_eq!(client.code(), Some(0));
    assert!(!bench.path("state/drain").exists());
}

#[test]
fn the_memory_of_the_largest_process_of_a_build_is_told() {
    // tail keeps what may be the last of its input.
    let bench = Bench::new("head -c 150000000 /dev/zero | tail -c 70000000 > /dev/null");
    let (hub, lease) = (Hub::new(), lease(1));
    let _client = bench.start(&hub.address(), &[]);
    let (mut session, _) = hub.registered(gone);
    session.give(lease, b"x", &[]);
    let told = session.results().peak_memory_mib;
    // That and not what the machine has; the interpreter of the stand-in for mock is smaller.
    assert!((66..200).contains(&told), "{told} MiB");
}

#[test]
fn a_mock_without_addrepo_builds_with_what_its_configuration_names() {
    let bench = Bench::new("exit 1");
    let script = bench.read("mock").replacen(
        '\n',
        "\ncase \"$*\" in *--addrepo*) echo 'mock: error: no such option: --addrepo' >&2; exit 2;; esac\n",
        1,
    );
    std::fs::write(bench.path("mock"), script).unwrap();
    let (hub, lease) = (Hub::new(), lease(9));
    let client = bench.start(&hub.address(), &[]);
    let (mut session, _) = hub.registered(gone);
    session.give(lease, b"srpm", &[]);
    assert_eq!(session.results().exit, Exit::Code(1));
    let run = bench.read("runs");
    assert!(run.contains("--rebuild") && !run.contains("--addrepo"), "{run}");
    assert!(bench.read("log").contains("this mock has no --addrepo"), "{}", bench.read("log"));
    client.signal(Signal::SIGTERM);
}

#[test]
fn a_client_killed_in_the_build_finds_it_again() {
    let bench = Bench::new(
        "echo one > $R/build.log; until [ -e $B/go ]; do sleep 0.05; done; echo two >> $R/build.log; exit 1",
    );
    let (hub, lease) = (Hub::new(), lease(2));
    let mut client = bench.start(&hub.address(), &[]);
    let (mut session, _) = hub.registered(gone);
    session.give(lease, b"srpm", &[]);
    session.until_log(Which::Build, "one\n");
    client.0.kill().unwrap();
    client.0.wait().unwrap();
    drop(session);

    let client = bench.start(&hub.address(), &[]);
    let adopted = |lease| ToBuilder::Adopted { lease, logs: [4, 0, 0, 0] };
    let (mut session, held) = hub.registered(adopted);
    assert!(matches!(held[..], [FromBuilder::Held { .. }]), "{held:?}");
    session.logs[0] = b"one\n".to_vec();
    std::fs::write(bench.path("go"), "").unwrap();
    let results = session.results();
    assert_eq!(results.exit, Exit::Code(1));
    assert_eq!(results.files[0], ("build.log".to_owned(), 8, Digest::of(b"one\ntwo\n")));
    assert_eq!(results.evidence, ["one", "two"]);
    assert_eq!(bench.read("runs").lines().count(), 1, "the build ran once");
    session.send(&ToBuilder::Returned { lease, verdict: Verdict::Infra });
    assert_eq!(session.recv(), FromBuilder::Ready);
    assert_eq!(bench.jobs(), [""; 0]);
    drop(client);
}

#[test]
fn a_killed_shim_gives_the_lease_back_once_and_nothing_of_the_build_is_left() {
    let bench = Bench::new("echo up > $R/build.log; setsid sleep 1000 & sleep 1000");
    let (hub, lease) = (Hub::new(), lease(3));
    let client = bench.start(&hub.address(), &[]);
    let (mut session, _) = hub.registered(gone);
    session.give(lease, b"srpm", &[]);
    session.until_log(Which::Build, "up");
    let folder = moji_client::launch::JobFolder(bench.path("state/jobs").join(lease.to_string()));
    kill_9(folder.process("shim").unwrap().pid);
    assert_eq!(session.recv(), FromBuilder::Release { lease, why: ReleaseWhy::ShimDied });
    assert_eq!(session.recv(), FromBuilder::Ready);
    assert_eq!(bench.processes_of(lease), []);
    assert_eq!(bench.jobs(), [""; 0]);
    assert!(bench.read("runs").contains("--clean"));
    drop(client);
}

#[test]
fn a_stop_kills_what_ignores_sigterm_or_left_the_session_and_gives_the_lease_back() {
    let bench = Bench::new(
        "trap '' TERM; echo up > $R/build.log; (trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 1000; sleep 1000') & \
         env -i setsid sh -c 'trap \"\" TERM; sleep 1000; sleep 1000' & \
         while :; do sleep 1000; done",
    );
    let (hub, lease) = (Hub::new(), lease(4));
    let client = bench.start(&hub.address(), &[]);
    let (mut session, _) = hub.registered(gone);
    session.give(lease, b"srpm", &[]);
    session.until_log(Which::Build, "up");
    let folder = moji_client::launch::JobFolder(bench.path("state/jobs").join(lease.to_string()));
    let shim = folder.process("shim").unwrap();
    let began = Instant::now();
    client.signal(Signal::SIGTERM);
    assert_eq!(session.recv(), FromBuilder::Release { lease, why: ReleaseWhy::Stopped });
    assert!(matches!(session.next(), Some(FromBuilder::Ping { .. })));
    session.send(&ToBuilder::Pong);
    assert_eq!(session.next(), None);
    assert_eq!(client.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_eq!(bench.processes_of(lease), []);
    assert!(!shim.is_alive());

    // The next start cleans the chroot; the hub confirmed the release, so it hears nothing of it.
    let client = bench.start(&hub.address(), &[]);
    let (mut session, held) = hub.registered(gone);
    assert_eq!(held, []);
    assert_eq!(session.recv(), FromBuilder::Ready);
    assert!(bench.read("runs").contains("--clean"));
    assert_eq!(bench.jobs(), [""; 0]);
    drop(client);
}

#[test]
fn a_stop_while_the_hub_is_away_is_told_at_the_next_start() {
    let bench = Bench::new("echo up > $R/build.log; exec sleep 1000");
    let (hub, lease) = (Hub::new(), lease(5));
    let client = bench.start(&hub.address(), &[]);
    let (mut session, _) = hub.registered(gone);
    session.give(lease, b"srpm", &[]);
    session.until_log(Which::Build, "up");
    drop(session);
    let began = Instant::now();
    let output = bench.verb("stop");
    assert_eq!(output.status.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(8), "SIGTERM did not reach mock");
    assert_eq!(client.code(), Some(0));
    assert_eq!(bench.processes_of(lease), []);

    let client = bench.start(&hub.address(), &[]);
    let mut held = Vec::new();
    let mut session = None;
    // A connection that the first client began may still be in the queue.
    until("the second client registers", || {
        let mut next = hub.accept_raw();
        if !next.shake_hands() {
            return false;
        }
        let Some(FromBuilder::Register { held: count, .. }) = next.next() else { return false };
        held = (0..count).map(|_| next.recv()).collect();
        session = Some(next);
        true
    });
    let mut session = session.unwrap();
    assert!(matches!(held[..], [FromBuilder::Held { .. }]), "{held:?}");
    let time_unix_s = common::now_unix_s();
    session.send(&ToBuilder::Registered { time_unix_s, ping_s: 20, http_port: 0, repos: 0 });
    session.send(&adopted(lease));
    assert_eq!(session.recv(), FromBuilder::Release { lease, why: ReleaseWhy::Stopped });
    assert_eq!(session.recv(), FromBuilder::Ready);
    until("the release is confirmed", || !bench.path("state/released").exists());
    drop(client);
}

#[test]
fn a_build_goes_on_while_the_hub_is_away_and_a_stop_keeps_what_is_built() {
    let bench =
        Bench::new("echo up > $R/build.log; until [ -e $B/go ]; do sleep 0.05; done; echo x > $R/a.rpm");
    let (hub, lease) = (Hub::new(), lease(11));
    let client = bench.start(&hub.address(), &[]);
    let (mut session, _) = hub.registered(gone);
    session.give(lease, b"srpm", &[]);
    session.until_log(Which::Build, "up");
    drop(session);
    std::fs::write(bench.path("go"), "").unwrap();
    until("the build ended", || bench.path("state/jobs").join(lease.to_string()).join("status").exists());

    let (mut session, held) = hub.registered(adopted);
    assert!(matches!(held[..], [FromBuilder::Held { .. }]), "{held:?}");
    let results = session.results();
    client.signal(Signal::SIGTERM);
    assert_eq!(session.next(), None, "nothing is given back");
    assert_eq!(client.code(), Some(0));
    assert_eq!(bench.jobs(), [lease.to_string()]);

    let client = bench.start(&hub.address(), &[]);
    let (mut session, held) = hub.registered(adopted);
    assert!(matches!(held[..], [FromBuilder::Held { phase: Phase::Upload, .. }]), "{held:?}");
    assert_eq!(session.results(), results);
    session.send(&ToBuilder::Rejected { lease, why: RejectedWhy::Foreign });
    assert_eq!(session.recv(), FromBuilder::Ready);
    assert_eq!(bench.jobs(), [""; 0]);
    drop(client);
}

#[test]
fn a_cancelled_build_is_killed_cleaned_and_forgotten() {
    let bench = Bench::new("echo up > $R/build.log; exec sleep 1000");
    let (hub, lease) = (Hub::new(), lease(6));
    let client = bench.start(&hub.address(), &[]);
    let (mut session, _) = hub.registered(gone);
    session.give(lease, b"srpm", &[]);
    session.until_log(Which::Build, "up");
    session.send(&ToBuilder::Cancel { lease });
    assert_eq!(session.recv(), FromBuilder::Ready);
    assert_eq!(bench.processes_of(lease), []);
    assert_eq!(bench.jobs(), [""; 0]);
    drop(client);
}

#[test]
fn a_drained_client_finishes_its_build_first() {
    let bench =
        Bench::new("echo up > $R/build.log; until [ -e $B/go ]; do sleep 0.05; done; echo x > $R/a.rpm");
    let (hub, lease) = (Hub::new(), lease(7));
    let client = bench.start(&hub.address(), &[]);
    let (mut session, _) = hub.registered(gone);
    session.give(lease, b"srpm", &[]);
    session.until_log(Which::Build, "up");
    let output = bench.verb("disable");
    assert!(String::from_utf8_lossy(&output.stdout).contains("pkg=a-1-1.src.rpm"), "{output:?}");
    assert_eq!(session.recv(), FromBuilder::Draining);
    until("status says so", || {
        let status = bench.verb("status");
        String::from_utf8_lossy(&status.stdout).contains("draining: a-1-1.src.rpm, ")
    });
    std::fs::write(bench.path("go"), "").unwrap();
    assert_eq!(session.results().exit, Exit::Code(0));
    session.send(&ToBuilder::Accepted { lease, verdict: Verdict::Success });
    while session.next().is_some() {}
    assert_eq!(client.code(), Some(0));
    assert_eq!(bench.verb("status").status.code(), Some(8));
}

#[test]
fn once_builds_one_package_and_exits() {
    let bench = Bench::new("echo x > $R/a.rpm");
    let (hub, lease) = (Hub::new(), lease(8));
    // By name, which goes through the resolver and may first try an address that nobody listens on.
    let address = hub.address().replace("127.0.0.1", "localhost");
    let client = bench.start(&address, &["--once", "--verbose"]);
    let (mut session, _) = hub.registered(gone);
    session.give(lease, b"srpm", &[]);
    session.results();
    session.send(&ToBuilder::Accepted { lease, verdict: Verdict::Success });
    while session.next().is_some() {}
    assert_eq!(client.code(), Some(0));
    assert!(bench.read("log").contains("debug hub: Job"));
}

#[test]
fn a_daemon_restarts_a_killed_client_and_stop_ends_both() {
    let bench = Bench::new("exit 1");
    let hub = Hub::new();
    let log = std::fs::File::create(bench.path("log")).unwrap();
    let status = bench.command(&hub.address(), &["--daemon"]).stderr(log).status().unwrap();
    assert_eq!(status.code(), Some(0), "{}", bench.read("log"));
    let (session, _) = hub.registered(gone);
    let state = moji_client::state::StateFolder(bench.path("state"));
    let client = state.running(moji_client::state::CLIENT).unwrap();
    kill_9(client.pid);
    drop(session);
    let (mut session, _) = hub.registered(gone);
    assert_eq!(session.recv(), FromBuilder::Ready);
    let stop = bench.verb("stop");
    assert_eq!(stop.status.code(), Some(0), "{stop:?}");
    assert_eq!(state.running(moji_client::state::CLIENT), None);
    assert_eq!(state.running(moji_client::state::DAEMON), None);
}

#[test]
fn the_rpmbuild_backend_builds_on_the_host_and_ends_a_build_that_takes_too_long() {
    if std::process::Command::new("rpmbuild").arg("--version").output().is_err() {
        eprintln!("SKIPPED: rpmbuild is not installed");
        return;
    }
    let bench = Bench::new("exit 1");
    let spec = "Name: a\nVersion: 1\nRelease: 1\nSummary: a\nLicense: MIT\nBuildArch: noarch\n\
                %description\na\n%prep\n%build\nid -un\n%{?slow:sleep 1000}\n%install\n%files\n";
    std::fs::write(bench.path("a.spec"), spec).unwrap();
    let made = std::process::Command::new("rpmbuild")
        .arg("-bs")
        .arg("--define")
        .arg(format!("_srcrpmdir {}", bench.folder.path().display()))
        .arg(bench.path("a.spec"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let srpm = std::fs::read(bench.path("a-1-1.src.rpm")).unwrap();

    let hub = Hub::new();
    // As root it drops to an ordinary user, who must be able to write where it builds.
    let user = if nix::unistd::geteuid().is_root() { &["--mock-user", "nobody"][..] } else { &[] };
    let client = bench.start(&hub.address(), &[&["--backend", "rpmbuild"], user].concat());
    let (mut session, _) = hub.registered(gone);
    session.give(lease(9), &srpm, &[]);
    let results = session.results();
    let names: Vec<&str> = results.files.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(results.exit, Exit::Code(0), "{results:?}");
    assert_eq!(names, ["a-1-1.noarch.rpm", "a-1-1.src.rpm", "build.log", "state.log"]);
    let log = String::from_utf8(take(&mut session, lease(9), 2, 0, results.files[2].1)).unwrap();
    assert!(user.is_empty() || log.contains("\nnobody\n"), "{log}");
    session.send(&ToBuilder::Accepted { lease: lease(9), verdict: Verdict::Success });

    session.give(lease(10), &srpm, &["--define", "slow 1", "--rpmbuild_timeout", "1"]);
    let results = session.results();
    assert_eq!(results.exit, Exit::TooLong(1), "{results:?}");
    assert_eq!(bench.processes_of(lease(10)), []);
    drop(client);
}
