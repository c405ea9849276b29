//! What a person can get wrong: each has its own line and exit code.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::net::TcpListener;

use common::{Bench, Hub};
use moji_proto::message::ToBuilder;
use moji_proto::secret::SecretKey;

/// Runs the client to its end and checks code and line.
fn check(bench: &Bench, hub: &str, options: &[&str], code: i32, line: &str) {
    let output = bench.run(hub, options);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(line), "{said}");
}

#[test]
fn what_is_wrong_on_this_machine_is_told_before_anything_is_connected() {
    let bench = Bench::new("exit 0");
    let hub = "127.0.0.1:1";
    check(&bench, hub, &["--mock", "/nowhere/mock"], 2, "cannot be used multiple times");
    fs::rename(bench.path("mock"), bench.path("hidden")).unwrap();
    check(&bench, hub, &[], 3, "is not installed: install it");
    fs::rename(bench.path("hidden"), bench.path("mock")).unwrap();
    check(&bench, "a b", &[], 2, "is no hub");
    check(&bench, hub, &["--hub-key", "12"], 2, "--hub-key is not 64 hexadecimal digits");
    check(&bench, hub, &["--mock-user", "nobody-of-this-name"], 3, "nobody-of-this-name");
    fs::remove_dir_all(bench.path("state")).unwrap();
    fs::write(bench.path("state"), "").unwrap();
    check(&bench, hub, &[], 4, "cannot use");
}

#[test]
fn an_unknown_mock_configuration_and_a_second_client_are_refused() {
    let bench = Bench::new("exit 0");
    let hub = Hub::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_moji-client"));
    command.args([&hub.address(), "unknown"]).arg("--mock").arg(bench.path("mock"));
    command.arg("--state").arg(bench.path("state"));
    if nix::unistd::geteuid().is_root() {
        command.args(["--mock-user", "root"]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("mock does not know the configuration 'unknown'"), "{said}");

    let client = bench.start(&hub.address(), &[]);
    let (_session, _) = hub.registered(|lease| ToBuilder::Gone { lease });
    check(&bench, &hub.address(), &[], 4, "another client uses");
    drop(client);
    assert_eq!(bench.verb("stop").status.code(), Some(8));
}

#[test]
fn a_daemon_returns_when_its_client_is_up_or_with_what_keeps_it_from_that() {
    let bench = Bench::new("exit 0");
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    fs::rename(bench.path("mock"), bench.path("hidden")).unwrap();
    check(&bench, &address, &["--daemon"], 3, "is not installed: install it");
    assert_eq!(bench.verb("status").status.code(), Some(8));
    fs::rename(bench.path("hidden"), bench.path("mock")).unwrap();
    // A hub that is away is nothing that keeps it. Its stderr stays: a file, so that nobody waits for its end.
    let start = || {
        let log = fs::File::create(bench.path("log")).unwrap();
        bench.command(&address, &["--daemon"]).stderr(log).status().unwrap().code()
    };
    assert_eq!(start(), Some(0));
    let status = || String::from_utf8(bench.verb("status").stdout).unwrap();
    common::until("the hub is missed", || status().contains(", hub unreachable since 20"));
    assert_eq!(start(), Some(4));
    assert!(bench.read("log").contains("another client uses"), "{}", bench.read("log"));
    assert_eq!(bench.verb("enable").stdout, b"takes work\n");
    let left = bench.verb("leave");
    assert_eq!((left.status.code(), &*left.stdout), (Some(0), &b"left: there is nothing to finish\n"[..]));
    for verb in ["status", "stop", "disable", "enable", "leave"] {
        assert_eq!(bench.verb(verb).status.code(), Some(8), "{verb}");
    }
}

#[test]
fn a_wrong_secret_ends_once_with_its_own_code() {
    let bench = Bench::new("exit 0");
    let mut hub = Hub::new();
    hub.psk = moji_proto::secret::Psk::NONE;
    let client = bench.start(&hub.address(), &["--once"]);
    assert!(!hub.accept_raw().shake_hands());
    assert_eq!(client.code(), Some(6));
    assert!(bench.read("log").contains("the secret is wrong"), "{}", bench.read("log"));
    assert!(!bench.path("state/known_hub").exists(), "a hub without the secret is not trusted");
}

#[test]
fn a_hub_whose_key_changed_is_refused_and_named() {
    let bench = Bench::new("exit 0");
    let mut hub = Hub::new();
    let client = bench.start(&hub.address(), &[]);
    let (session, _) = hub.registered(|lease| ToBuilder::Gone { lease });
    common::until("the hub is known", || bench.path("state/known_hub").exists());
    drop(client);
    drop(session);
    assert_eq!(bench.read("state/known_hub").trim(), hub.key.public().to_string());

    hub.key = SecretKey::generate();
    let client = bench.start(&hub.address(), &["--once"]);
    hub.accept_raw().shake_hands();
    assert_eq!(client.code(), Some(6));
    assert!(bench.read("log").contains("this is not the hub we know"), "{}", bench.read("log"));
    assert!(bench.read("log").contains("known_hub"));
}

#[test]
fn an_unreachable_hub_ends_once_with_its_own_code() {
    let bench = Bench::new("exit 0");
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    check(&bench, &address, &["--once"], 7, "failed to connect to");
}

#[test]
fn a_full_disk_takes_no_work_and_says_so() {
    let bench = Bench::new("exit 0");
    let hub = Hub::new();
    let mut command = bench.command(&hub.address(), &[]);
    let args: Vec<_> =
        command.get_args().map(|arg| if arg == "1" { "4294967295".into() } else { arg.to_owned() }).collect();
    let log = fs::File::create(bench.path("log")).unwrap();
    command = std::process::Command::new(env!("CARGO_BIN_EXE_moji-client"));
    let client = common::Client(command.args(args).stderr(log).spawn().unwrap());
    let (mut session, _) = hub.registered(|lease| ToBuilder::Gone { lease });
    let Some(moji_proto::message::FromBuilder::Ping { health }) = session.next() else { panic!("no Ping") };
    assert_eq!(health.trouble, Some(moji_proto::message::Trouble::Disk));
    assert!(bench.read("log").contains("takes no work"));
    drop(client);
}
