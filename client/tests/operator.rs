//! `moji` against a scripted hub over loopback: what each command asks, prints and exits with.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};

use common::lease;
use common::operator::{Desk, Moji, Said, Session, changed, event, farm, line, name, named, no, package};
use moji_proto::limits::UPLOAD_WINDOW_BYTES;
use moji_proto::message::{
    AttemptRow, Backend, BlockedRow, BuilderRow, BuilderState, CycleRow, EventKind, FromOperator, Health,
    LackRow, NameOf, NoCode, Order, PackageState, ToOperator, Topic, Verdict, Which,
};
use moji_proto::refusal::{Refusal, RejectCode};
use moji_proto::secret::Psk;
use moji_proto::{Bytes, Digest, Line, PublicKey};

fn builder(text: &str, state: BuilderState) -> ToOperator {
    ToOperator::Builder(Box::new(BuilderRow {
        name: line(text),
        key: PublicKey([7; 32]),
        peer: line("10.0.0.7"),
        state,
        why: line(""),
        until_s: 0,
        age_s: 4_000,
        arch: line("armv5tel"),
        version: line("0.1.0"),
        cfg: line("mini"),
        backend: Backend::Mock,
        cpus: 1,
        memory_mib: 128,
        health: Health::default(),
        srpm: None,
        phase: None,
        faults: 0,
        built: 70,
        failed: 3,
        suspect: line(""),
    }))
}

fn attempt(number: u16) -> ToOperator {
    ToOperator::Attempt(AttemptRow {
        number,
        lease: lease(u32::from(number)),
        builder: line("board7"),
        began_unix_s: 1_764_000_000,
        ended_unix_s: 1_764_000_900,
        seconds: 890,
        verdict: Some(Verdict::Failed),
        reason: line("rpmbuild failed"),
        charged: true,
        place: line(""),
    })
}

fn text(topic: Topic, text: &str) -> ToOperator {
    ToOperator::Text { topic, line: line(text) }
}

/// What a command asked, for a hub that answers with `rows`.
fn asks(words: &[&str], want: &FromOperator, rows: Vec<ToOperator>) -> Said {
    Desk::new().run(words, |session| {
        assert_eq!(session.request(), *want, "{words:?}");
        session.answer(rows);
        session.closed();
    })
}

#[test]
fn what_looks_asks_for_what_it_shows() {
    let status = || vec![farm(3, 1), package("a-1-1.src.rpm", PackageState::Building)];
    asks(&["status"], &FromOperator::Status, status()).tells(0, &["a-1-1"]);
    let said = asks(&["status", "--json"], &FromOperator::Status, status());
    said.tells(0, &["\"packages\":[{", "a-1-1.src.rpm"]);
    assert_eq!(said.out.lines().count(), 1);

    let list = |pattern: &str, state| FromOperator::List { pattern: line(pattern), state };
    let two = || ["a-1-1.src.rpm", "b-1-1.src.rpm"].map(|srpm| package(srpm, PackageState::Failed)).to_vec();
    asks(&["list"], &list("", None), two()).tells(0, &["a-1-1", "b-1-1"]);
    asks(&["list", "failed"], &list("", Some(PackageState::Failed)), two()).tells(0, &["a-1-1"]);
    asks(&["list", "z*"], &list("z*", None), Vec::new()).tells(0, &[]);
    let said =
        asks(&["list", "failed", "[ab]*", "--json"], &list("[ab]*", Some(PackageState::Failed)), two());
    said.tells(0, &["{\"srpm\":\"a-1-1.src.rpm\""]);
    assert_eq!(said.out.lines().count(), 2);

    let show = FromOperator::Show { package: line("a") };
    let rows = || {
        vec![
            package("a-1-1.src.rpm", PackageState::Failed),
            text(Topic::Option, "--nocheck"),
            attempt(1),
            text(Topic::Evidence, "build.log: error: x"),
        ]
    };
    asks(&["show", "a"], &show, rows()).tells(0, &["a-1-1", "board7", "rpmbuild failed", "error: x"]);
    asks(&["show", "a", "--json"], &show, rows()).tells(0, &["\"options\":[\"--nocheck\"]"]);
    asks(&["options", "a"], &show, rows()).tells(0, &[]);
    assert_eq!(asks(&["options", "a"], &show, rows()).out, "--nocheck\n");

    let why = FromOperator::Why { package: line("a") };
    let lack = |capability: &str| {
        ToOperator::Lack(LackRow {
            capability: line(capability),
            there: false,
            any: false,
            holds: 2,
            holds_all: 3,
            chain_s: 60,
            from: Some(name("x-1-1.src.rpm")),
            state: Some(PackageState::Failed),
            text: line("perhaps from x-1-1"),
        })
    };
    let rows = || {
        let (said, next) = (text(Topic::Why, "waits for x"), text(Topic::Next, "moji retry a"));
        vec![package("a-1-1.src.rpm", PackageState::Deps), lack("x(y)"), said, next, attempt(1)]
    };
    let said = asks(&["why", "a"], &why, rows());
    said.tells(
        0,
        &["a-1-1", "waits for x", "x(y): perhaps from x-1-1", "1: failed on board7", "moji retry a"],
    );
    let said = asks(&["why", "a", "--json"], &why, rows());
    said.tells(0, &["\"why\":[\"waits for x\"]", "\"from\":\"x-1-1.src.rpm\""]);
    assert_eq!(said.out.lines().count(), 1);
    let rows = vec![no(NoCode::NotFound, "zlob", "there is no package zlob"), named("zlib-1.3-1")];
    let said = asks(&["why", "zlob"], &FromOperator::Why { package: line("zlob") }, rows);
    assert!(said.code == Some(1) && said.err.contains("zlib-1.3-1"), "{said:?}");

    let rows = || {
        let head = ToOperator::Blocked(BlockedRow { packages: 7, unnamed: 0, capabilities: 1, cycles: 1 });
        let cycle = ToOperator::Cycle(CycleRow { members: 1, imports: 1, exact: true, sure: true });
        vec![head, lack("x(y)"), cycle, text(Topic::Member, "m-1-1"), text(Topic::Import, "m-1-1")]
    };
    let said = asks(&["blocked"], &FromOperator::Blocked { rows: 20 }, rows());
    said.tells(0, &["7 packages", "x(y)", "x-1-1", "cycle of 1 package", "m-1-1"]);
    let said = asks(&["blocked", "-n", "5", "--json"], &FromOperator::Blocked { rows: 5 }, rows());
    said.tells(0, &["{\"packages\":7,", "{\"capability\":\"x(y)\",", "{\"cycle\":[\"m-1-1\"],"]);
    assert_eq!(said.out.lines().count(), 3);

    let builders = |pattern: &str| FromOperator::Builders { pattern: line(pattern) };
    let rows = || vec![builder("board7", BuilderState::Idle)];
    asks(&["builders"], &builders(""), rows()).tells(0, &["board7", "idle"]);
    asks(&["builders", "board7"], &builders("board7"), rows()).tells(0, &["board7", "10.0.0.7"]);
    asks(&["builders", "--json"], &builders(""), rows()).tells(0, &["\"name\":\"board7\""]);

    let history = |pattern: &str, rows| FromOperator::History { pattern: line(pattern), rows };
    let rows = || vec![event(7, EventKind::Ended, "a-1-1.src.rpm", Some(PackageState::Failed))];
    asks(&["history"], &history("", 100), rows()).tells(0, &["2025-11-24 16:00:00", "ended", "a-1-1"]);
    asks(&["history", "a", "-n", "5", "--json"], &history("a", 5), rows()).tells(0, &["\"seq\":7"]);
}

#[test]
fn a_long_list_comes_within_what_is_granted() {
    let said = Desk::new().run(&["list"], |session| {
        session.request();
        let rows = (0..1_000).map(|i| package(&format!("p{i}-1-1.src.rpm"), PackageState::Waiting)).collect();
        session.answer(rows);
        session.closed();
    });
    assert_eq!(said.out.lines().filter(|line| line.contains("-1-1")).count(), 1_000);
}

#[test]
fn each_target_of_a_change_is_tried_and_one_no_makes_the_code_1() {
    let said = Desk::new().run(&["retry", "a", "zlob", "b*"], |session| {
        let request = |target: &str| FromOperator::Change {
            order: Order::Retry { verdict: None },
            target: line(target),
            words: 0,
        };
        assert_eq!(session.request(), request("a"));
        session.answer(vec![changed("a-1-1.src.rpm")]);
        assert_eq!(session.request(), request("zlob"));
        let text = "no package is called zlob";
        session.answer(vec![no(NoCode::NotFound, "zlob", text), named("zlib-1.3-1"), named("zlog-1-1")]);
        assert_eq!(session.request(), request("b*"));
        session.answer(vec![changed("b-1-1.src.rpm"), changed("b-2-1.src.rpm")]);
        session.closed();
    });
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(said.out.lines().count(), 3, "{said:?}");
    assert!(said.out.contains("b-2-1") && said.out.contains("starts afresh"), "{said:?}");
    for text in ["moji: ", "no package is called zlob", "zlib-1.3-1", "zlog-1-1"] {
        assert!(said.err.contains(text), "{said:?}");
    }
}

#[test]
fn the_words_of_a_change_follow_it() {
    let said = Desk::new().run(&["options", "zlib", "--without", "tests"], |session| {
        let want = FromOperator::Change { order: Order::Options, target: line("zlib"), words: 2 };
        assert_eq!(session.request(), want);
        assert_eq!(session.words(2), ["--without", "tests"]);
        session.answer(vec![changed("zlib")]);
        session.closed();
    });
    said.tells(0, &["zlib"]);
    let want = FromOperator::Change { order: Order::Drain { exit: true }, target: line("*"), words: 0 };
    let said = asks(&["drain", "--all", "--exit", "--json"], &want, vec![changed("board7")]);
    said.tells(0, &["{\"changed\":\"board7\",\"text\":\"starts afresh\"}\n"]);
    let said =
        asks(&["drain", "--all", "--exit", "--json"], &want, vec![no(NoCode::Refused, "b", "why not")]);
    assert_eq!((said.code, said.err.as_str()), (Some(1), ""), "{said:?}");
    assert!(said.out.contains("\"no\":\"refused\""), "{said:?}");
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line_and_nobody_is_called() {
    let desk = Desk::new();
    let run = |words: &[&str]| Said::of(desk.command(words).output().unwrap());
    for (words, texts) in [
        (&["stauts"][..], &["no command 'stauts'", "did you mean 'status'?", "moji help"][..]),
        (&["show"], &["<PKG>", "moji show"]),
        (&["why"], &["<PKG>", "moji why"]),
        (&["blocked", "-n", "few"], &["few", "invalid"]),
        (&["list", "faild", "x"], &["'faild' is no state", "failed"]),
        (&["retry", "--verdict", "bad"], &["'bad'", "infra"]),
        (&["status", "--wacth"], &["--wacth"]),
        (&["wait", "a", "--timeout", "soon"], &["soon", "15m"]),
        (&["status", "--watch"], &["terminal", "moji events"]),
        (&["options", "a", "--clear", "b"], &["--clear"]),
        (&["submit", "/nowhere.src.rpm"], &["/nowhere.src.rpm", "No such file"]),
        (&["submit", "a", "--options", "'x"], &["quote"]),
    ] {
        run(words).complains(2, texts);
    }
}

#[test]
fn help_is_there_for_all_commands() {
    let desk = Desk::new();
    let run = |words: &[&str]| Said::of(desk.bare(words).output().unwrap());
    run(&["--help"]).tells(0, &["Exit codes", "submit FILE"]);
    run(&["help"]).tells(0, &["Exit codes"]);
    run(&["--version"]).tells(0, &["moji 0."]);
    let said = run(&[]);
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
    run(&["help", "wait"]).tells(0, &["--idle", "--timeout", "Examples", "deps"]);
    run(&["log", "--help"]).tells(0, &["--follow", "exit code is 1"]);
    for shell in ["bash", "zsh", "fish"] {
        run(&["completion", shell]).tells(0, &["__complete"]);
    }
}

#[test]
fn a_hub_that_is_not_there_or_says_no_gives_one_line_and_the_code_3() {
    let mut desk = Desk::new();
    let run = |desk: &Desk, words: &[&str]| Said::of(desk.command(words).output().unwrap());
    for words in [&["status"][..], &["log", "-f", "a"], &["events"], &["wait", "a"], &["wait", "--idle"]] {
        desk.hub.close();
        run(&desk, words).complains(3, &["cannot connect", "127.", "moji-server"]);
    }
    run(&desk, &["--hub", "nowhere.invalid", "status"]).complains(3, &["nowhere.invalid"]);
    run(&desk, &["--hub", "a b", "status"]).complains(2, &["'a b' is no hub"]);
    desk.hub.open();
    for (refusal, text) in [
        (Refusal::Full, "too many connections"),
        (Refusal::Address, "its own machine only"),
        (Refusal::Version, "upgrade"),
        (Refusal::Role, "role"),
    ] {
        let moji = desk.start(&["status"]);
        let mut session = desk.hub.accept_raw();
        session.stream.write_all(&refusal.to_bytes()).unwrap();
        drop(session);
        moji.end().complains(3, &[text]);
    }
    let moji = desk.start(&["status"]);
    drop(desk.hub.accept_raw());
    moji.end().complains(3, &["closed the connection"]);
}

#[test]
fn a_wrong_secret_names_the_file_and_a_missing_one_the_option() {
    let mut desk = Desk::new();
    desk.hub.psk = Psk::from_bytes([1; 32]);
    let moji = desk.start(&["status"]);
    desk.hub.accept_raw().refuse();
    let file = desk.path("secret");
    moji.end().complains(3, &["does not take the secret", file.to_str().unwrap()]);
    let hub = desk.hub.address.to_string();
    let moji = desk.bare(&["--hub", &hub, "status"]).spawn().unwrap();
    desk.hub.accept_raw().refuse();
    Said::of(moji.wait_with_output().unwrap()).complains(3, &["wants a secret", "--password-file"]);
    let said = Said::of(desk.bare(&["--hub", "elsewhere.invalid", "status"]).output().unwrap());
    said.complains(3, &["no secret for elsewhere.invalid", "--password-file"]);
}

#[test]
fn the_key_of_a_hub_is_kept_and_another_one_is_refused() {
    let mut desk = Desk::new();
    desk.hub.psk = Psk::from_passphrase("a passphrase of some length");
    std::fs::write(desk.path("secret"), "a passphrase of some length\n").unwrap();
    let status = |session: &mut Session| {
        session.request();
        session.answer(vec![farm(0, 0)]);
        session.closed();
    };
    desk.run(&["status"], status).tells(0, &[]);
    let known = desk.path(".local/state/moji/known_hubs");
    let want = format!("{} {}\n", desk.hub.address, desk.hub.key.public());
    assert_eq!(std::fs::read_to_string(&known).unwrap(), want);
    desk.run(&["status"], status).tells(0, &[]);
    desk.hub.key = moji_proto::secret::SecretKey::generate();
    let moji = desk.start(&["status"]);
    desk.hub.accept_raw().refuse();
    moji.end().complains(3, &["is not the hub we know", known.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&known).unwrap(), want);
}

#[test]
fn a_token_names_the_hub_and_nothing_is_kept() {
    let mut desk = Desk::new();
    desk.run(&["list"], |session| {
        session.request();
        session.answer(Vec::new());
        session.closed();
    })
    .tells(0, &[]);
    assert!(!desk.path(".local/state/moji/known_hubs").exists());
    desk.hub.key = moji_proto::secret::SecretKey::generate();
    let moji = desk.start(&["status"]);
    desk.hub.accept_raw().refuse();
    let file = desk.path("secret");
    moji.end().complains(3, &["is not the hub we know", file.to_str().unwrap()]);
}

#[test]
fn a_hub_that_breaks_the_protocol_or_ends_the_session_is_code_3() {
    Desk::new()
        .run(&["status"], |session| {
            session.request();
            session.say(&ToOperator::End { rows: 5 });
            session.closed();
        })
        .complains(3, &["0 rows", "5"]);
    Desk::new()
        .run(&["list"], |session| {
            session.request();
            session.row(farm(0, 0));
            session.closed();
        })
        .complains(3, &["Farm", "upgrade"]);
    Desk::new()
        .run(&["status"], |session| {
            session.request();
            session.say(&ToOperator::Reject { code: RejectCode::ShuttingDown });
        })
        .complains(3, &["shuts down"]);
}

fn log(offset: u64, attempt: u16, package: &str, follow: bool) -> FromOperator {
    FromOperator::Log { package: line(package), which: Which::Build, attempt, offset, follow }
}

fn log_of(attempt: u16, live: bool) -> ToOperator {
    ToOperator::LogOf { srpm: name("a-1-1.src.rpm"), attempt, lease: lease(1), live }
}

fn piece(offset: u64, bytes: &[u8]) -> ToOperator {
    ToOperator::Log { offset, bytes: Bytes(bytes.to_vec()) }
}

#[test]
fn a_log_is_safe_unless_it_is_raw() {
    let rows = || vec![log_of(2, false), piece(0, b"one\ttwo\n\x1b[31m\xc3"), piece(14, b"\xa9\n")];
    let said = asks(&["log", "a"], &log(0, 0, "a", false), rows());
    assert_eq!((said.code, said.out.as_str()), (Some(0), "one\ttwo\n^[[31mé\n"), "{said:?}");
    let said = asks(&["log", "a", "--raw", "--attempt", "2"], &log(0, 2, "a", false), rows());
    assert_eq!(said.out, "one\ttwo\n\x1b[31mé\n");
}

#[test]
fn a_followed_log_goes_on_after_a_restart_of_the_hub_and_its_end_is_the_code() {
    for (verdict, code) in [(Some(Verdict::Success), 0), (Some(Verdict::Failed), 1), (None, 1)] {
        let mut desk = Desk::new();
        let moji = desk.start(&["log", "-f", "a"]);
        let mut session = desk.hub.accept();
        assert_eq!(session.request(), log(0, 0, "a", true));
        session.row(log_of(3, true));
        session.row(piece(0, b"one\n"));
        session.say(&ToOperator::Reject { code: RejectCode::ShuttingDown });
        desk.hub.close();
        drop(session);
        desk.hub.open();
        let mut session = desk.hub.accept();
        assert_eq!(session.request(), log(4, 3, "a-1-1.src.rpm", true));
        session.answer(vec![
            log_of(3, true),
            piece(2, b"e\ntwo\n"),
            ToOperator::LogEnd { verdict, reason: line("so it is") },
        ]);
        session.closed();
        let said = moji.end();
        assert_eq!((said.code, said.out.as_str()), (Some(code), "one\ntwo\n"), "{said:?}");
        for text in ["trying again", "the hub is back", "so it is"] {
            assert!(said.err.contains(text), "{text}: {said:?}");
        }
    }
}

#[test]
fn events_go_on_from_the_last_one_that_was_seen() {
    let mut desk = Desk::new();
    let mut moji = desk.start(&["events", "a*"]);
    let mut session = desk.hub.accept();
    assert_eq!(session.request(), FromOperator::History { pattern: Line::default(), rows: 1 });
    session.answer(vec![event(41, EventKind::Leased, "b-1-1.src.rpm", None)]);
    let events = |after| FromOperator::Events { pattern: line("a*"), after, current: false };
    assert_eq!(session.request(), events(41));
    desk.hub.close();
    drop(session);
    desk.hub.open();
    let mut session = desk.hub.accept();
    assert_eq!(session.request(), events(41));
    session.row(event(57, EventKind::Leased, "a-1-1.src.rpm", Some(PackageState::Building)));
    let line = moji.line();
    assert!(line.contains("leased") && line.contains("a-1-1") && line.contains("board7"), "{line}");
    drop(session);
    let mut session = desk.hub.accept();
    assert_eq!(session.request(), events(57));
    session.row(event(58, EventKind::Ended, "a-1-1.src.rpm", Some(PackageState::Failed)));
    assert!(moji.line().contains("ended"));
}

#[test]
fn events_after_a_number_need_no_history_and_json_is_an_object_a_line() {
    let desk = Desk::new();
    let mut moji = desk.start(&["events", "--after", "12", "--json"]);
    let mut session = desk.hub.accept();
    let want = FromOperator::Events { pattern: Line::default(), after: 12, current: false };
    assert_eq!(session.request(), want);
    session.row(event(13, EventKind::Leased, "a-1-1.src.rpm", None));
    assert!(moji.line().starts_with("{\"seq\":13,"));
}

#[test]
fn nobody_who_reads_ends_events_quietly() {
    let desk = Desk::new();
    let mut moji = desk.start(&["events", "--after", "1"]);
    let mut session = desk.hub.accept();
    session.request();
    drop(moji.0.as_mut().unwrap().stdout.take());
    session.row(event(13, EventKind::Leased, "a-1-1.src.rpm", None));
    session.closed();
    let said = moji.end();
    assert_eq!((said.code, said.err.as_str()), (Some(141), ""), "{said:?}");
}

fn list(pattern: &str) -> FromOperator {
    FromOperator::List { pattern: line(pattern), state: None }
}

fn current(pattern: &str) -> FromOperator {
    FromOperator::Events { pattern: line(pattern), after: 0, current: true }
}

#[test]
fn wait_ends_when_all_have_ended_also_over_a_restart_of_the_hub() {
    let (a, b) = ("a-1-1.src.rpm", "b-1-1.src.rpm");
    let mut desk = Desk::new();
    let moji = desk.start(&["wait", "a", "b"]);
    let mut session = desk.hub.accept();
    assert_eq!(session.request(), list("a"));
    session.answer(vec![package(a, PackageState::Building)]);
    assert_eq!(session.request(), list("b"));
    session.answer(vec![package(b, PackageState::Waiting)]);
    assert_eq!(session.request(), current(""));
    session.row(package(a, PackageState::Building));
    session.row(package("c-1-1.src.rpm", PackageState::Failed));
    session.row(event(7, EventKind::Ended, a, Some(PackageState::Success)));
    session.row(event(8, EventKind::Ended, "c-1-1.src.rpm", Some(PackageState::Failed)));
    session.row(event(9, EventKind::Leased, b, Some(PackageState::Building)));
    desk.hub.close();
    drop(session);
    desk.hub.open();
    let mut session = desk.hub.accept();
    assert_eq!(session.request(), list(b));
    session.answer(vec![package(b, PackageState::Building)]);
    assert_eq!(session.request(), current(""));
    session.row(package(a, PackageState::Success));
    session.row(package(b, PackageState::Success));
    session.closed();
    let said = moji.end();
    assert_eq!(said.code, Some(0), "{said:?}");
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines, ["a-1-1: success: exit 1", "b-1-1: success"]);
}

#[test]
fn wait_is_1_for_what_failed_is_gone_is_not_there_or_takes_too_long() {
    let a = "a-1-1.src.rpm";
    let wait = |words: &[&str], state: PackageState, then: &dyn Fn(&mut Session)| {
        Desk::new().run(words, |session| {
            assert_eq!(session.request(), list("a"));
            session.answer(vec![package(a, state)]);
            if !state.is_final() {
                assert_eq!(session.request(), current("a"));
                session.row(package(a, state));
            }
            then(session);
            session.closed();
        })
    };
    wait(&["wait", "a"], PackageState::Excluded, &|_| {}).tells(1, &["a-1-1: excluded"]);
    wait(&["wait", "a"], PackageState::Success, &|_| {}).tells(0, &["a-1-1: success"]);
    wait(&["wait", "a", "--json"], PackageState::Waiting, &|session| {
        session.row(event(7, EventKind::Ended, a, Some(PackageState::Failed)));
    })
    .tells(1, &["{\"srpm\":\"a-1-1.src.rpm\",\"state\":\"failed\",\"why\":\"exit 1\"}\n"]);
    wait(&["wait", "a"], PackageState::Waiting, &|session| {
        session.row(event(7, EventKind::Left, a, None));
    })
    .tells(1, &["a-1-1: gone"]);
    wait(&["wait", "a", "--timeout", "0s"], PackageState::Deps, &|_| {})
        .complains(1, &["the time is over", "a-1-1"]);
    let text = "no package is called a";
    let said = asks(&["wait", "a"], &list("a"), vec![no(NoCode::NotFound, "a", text), named("b-1-1")]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    assert!(said.err.contains(text) && said.err.contains("b-1-1"), "{said:?}");
}

/// A hub with so many packages left says so and what happened last.
fn idle(asking: &mut Session, left: u32, newest: u64) {
    loop {
        match asking.request() {
            FromOperator::Status => asking.answer(vec![farm(left, 0)]),
            FromOperator::History { rows: 1, .. } => {
                asking.answer(vec![event(newest, EventKind::Ended, "a-1-1.src.rpm", None)]);
                return;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn wait_idle_ends_when_nothing_waits_and_tells_what_ended_meanwhile() {
    for (state, code) in [(PackageState::Success, 0), (PackageState::Failed, 1)] {
        let desk = Desk::new();
        let moji = desk.start(&["wait", "--idle"]);
        let mut asking = desk.hub.accept();
        idle(&mut asking, 1, 40);
        let mut hearing = desk.hub.accept();
        let want = FromOperator::Events { pattern: Line::default(), after: 40, current: false };
        assert_eq!(hearing.request(), want);
        assert_eq!(asking.request(), FromOperator::Status);
        asking.answer(vec![farm(0, 1)]);
        hearing.row(event(41, EventKind::Leased, "a-1-1.src.rpm", Some(PackageState::Building)));
        assert_eq!(asking.request(), FromOperator::Status);
        asking.answer(vec![farm(0, 0)]);
        // The last event comes after the hub was seen idle.
        idle(&mut asking, 0, 42);
        hearing.row(event(42, EventKind::Ended, "a-1-1.src.rpm", Some(state)));
        asking.closed();
        let said = moji.end();
        said.tells(code, &["a-1-1: "]);
        assert_eq!(said.out.lines().count(), 1, "{said:?}");
    }
}

/// The beginning of a source RPM, and `length` bytes in all.
fn srpm(length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
    bytes[..8].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0, 0, 1]);
    bytes[96..100].copy_from_slice(&[0x8e, 0xad, 0xe8, 0x01]);
    bytes
}

fn submit(file: &str, bytes: &[u8], first: bool, options: u8) -> FromOperator {
    let (size, digest) = (bytes.len() as u64, Digest::of(bytes));
    FromOperator::Submit { name: name(file), size, digest, first, options }
}

/// Takes the file from `at` to `end`, and says so after each piece.
fn take(session: &mut Session, at: u64, end: u64, all: u64) -> Vec<u8> {
    let mut taken = Vec::new();
    let mut next = at;
    while next < end {
        let (offset, bytes) = loop {
            match session.next().unwrap() {
                FromOperator::Ping => session.say(&ToOperator::Pong),
                FromOperator::Data { offset, bytes } => break (offset, bytes),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(offset, next);
        assert!(offset + bytes.0.len() as u64 <= (at + UPLOAD_WINDOW_BYTES + (next - at)).min(all));
        next += bytes.0.len() as u64;
        taken.extend(bytes.0);
        session.say(&ToOperator::Ack { offset: next });
    }
    taken
}

#[test]
fn submit_sends_within_the_window_and_goes_on_after_a_restart_of_the_hub() {
    let mut desk = Desk::new();
    let bytes = srpm(1_000_000);
    std::fs::write(desk.path("a-1-1.src.rpm"), &bytes).unwrap();
    let path = desk.path("a-1-1.src.rpm");
    let moji = desk.start(&["submit", path.to_str().unwrap(), "--first", "--options", "--without 'a b'"]);
    let want = submit("a-1-1.src.rpm", &bytes, true, 2);
    let mut session = desk.hub.accept();
    assert_eq!(session.request(), want);
    assert_eq!(session.words(2), ["--without", "a b"]);
    session.say(&ToOperator::Want { offset: 0 });
    let mut got = take(&mut session, 0, 300_000, 1_000_000);
    desk.hub.close();
    drop(session);
    desk.hub.open();
    let mut session = desk.hub.accept();
    assert_eq!(session.request(), want);
    session.words(2);
    let at = got.len() as u64;
    session.say(&ToOperator::Want { offset: at });
    got.extend(take(&mut session, at, 1_000_000, 1_000_000));
    assert!(got == bytes, "the file arrived damaged");
    session.answer(vec![ToOperator::Changed { target: line("a-1-1.src.rpm"), text: line("waits") }]);
    session.closed();
    let said = moji.end();
    assert_eq!((said.code, said.out.lines().count()), (Some(0), 1), "{said:?}");
    assert!(said.out.contains("a-1-1") && said.err.contains("the hub is back"), "{said:?}");
}

#[test]
fn several_files_are_sent_one_after_the_other_with_a_summary_and_one_no_makes_the_code_1() {
    let desk = Desk::new();
    let bytes = srpm(500_000);
    let files = ["a-1-1.src.rpm", "b-1-1.src.rpm", "c-1-1.src.rpm"];
    let paths = files.map(|file| desk.path(file).to_str().unwrap().to_owned());
    paths.iter().for_each(|path| std::fs::write(path, &bytes).unwrap());
    let words: Vec<&str> = std::iter::once("submit").chain(paths.iter().map(String::as_str)).collect();
    let said = desk.run(&words, |session| {
        assert_eq!(session.request(), submit(files[0], &bytes, false, 0));
        session.say(&ToOperator::Want { offset: 0 });
        // In the middle the hub gives up: what is on its way does not matter.
        take(session, 0, 100_000, 500_000);
        session.answer(vec![no(NoCode::Later, files[0], "the disk is full")]);
        let next = loop {
            match session.request() {
                FromOperator::Data { .. } => {}
                other => break other,
            }
        };
        assert_eq!(next, submit(files[1], &bytes, false, 0));
        session.answer(vec![ToOperator::Changed { target: line(files[1]), text: line("is there already") }]);
        assert_eq!(session.request(), submit(files[2], &bytes, false, 0));
        session.say(&ToOperator::Want { offset: 0 });
        take(session, 0, 500_000, 500_000);
        session.answer(vec![ToOperator::Changed { target: line(files[2]), text: line("waits") }]);
        session.closed();
    });
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("the disk is full"), "{said:?}");
    assert_eq!(said.out.lines().last(), Some("2 submitted, 1 not"), "{said:?}");
}

#[test]
fn a_file_that_is_no_source_rpm_is_refused_before_anything_is_sent() {
    let desk = Desk::new();
    let good = desk.path("a-1-1.src.rpm");
    std::fs::write(&good, srpm(200)).unwrap();
    let mut binary = srpm(200);
    binary[7] = 0;
    for (file, bytes, text) in [
        ("b-1-1.noarch.rpm", binary, "binary RPM"),
        ("c-1-1.src.rpm", vec![0; 200], "no RPM"),
        ("d-1-1.src.rpm", Vec::new(), "not whole"),
    ] {
        let path = desk.path(file);
        std::fs::write(&path, bytes).unwrap();
        let words = ["submit", good.to_str().unwrap(), path.to_str().unwrap()];
        Said::of(desk.command(&words).output().unwrap()).complains(2, &[file, text]);
    }
}

#[test]
fn completion_asks_the_hub_for_names_and_is_silent_without_one() {
    let mut desk = Desk::new();
    let hub = desk.hub.address.to_string();
    let secret = desk.path("secret").to_str().unwrap().to_owned();
    let words = ["__complete", "--hub", &hub, "--password-file", &secret, "retry", "zl"];
    let moji = desk.bare(&words).spawn().unwrap();
    let mut session = desk.hub.accept();
    assert_eq!(session.request(), FromOperator::Names { prefix: line("zl"), of: NameOf::Package });
    session.answer(vec![named("zlib-1.3-1"), named("zlog-1-1")]);
    session.closed();
    let said = Said::of(moji.wait_with_output().unwrap());
    assert_eq!((said.code, said.out.as_str()), (Some(0), "zlib-1.3-1\nzlog-1-1\n"), "{said:?}");
    desk.hub.close();
    let said = Said::of(desk.bare(&words).output().unwrap());
    assert_eq!(said, Said { code: Some(0), out: String::new(), err: String::new() });
    let said = Said::of(desk.bare(&["__complete", "st"]).output().unwrap());
    assert_eq!(said.out, "status\n");
}

/// A terminal, and `moji` on it.
struct Terminal {
    master: std::fs::File,
    slave: std::os::fd::OwnedFd,
    seen: String,
}

impl Terminal {
    fn new() -> Terminal {
        let size = nix::pty::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = nix::pty::openpty(Some(&size), None).unwrap();
        Terminal { master: pair.master.into(), slave: pair.slave, seen: String::new() }
    }

    fn start(&self, desk: &Desk, words: &[&str]) -> Moji {
        let end = || self.slave.try_clone().unwrap();
        let mut command = desk.command(words);
        Moji(Some(command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap()))
    }

    /// Reads until the screen has shown `text` after what was asked for before.
    fn until(&mut self, text: &str) {
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            let mut piece = [0; 4_096];
            let count = match self.master.read(&mut piece) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.unwrap(),
            };
            self.seen.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    }

    fn is_raw(&self) -> bool {
        let now = nix::sys::termios::tcgetattr(&self.slave).unwrap();
        !now.local_flags.contains(nix::sys::termios::LocalFlags::ECHO)
    }
}

/// Answers one look at the farm.
fn look(session: &mut Session, srpm: &str) {
    assert_eq!(session.request(), FromOperator::Status);
    session.answer(vec![farm(0, 1), package(srpm, PackageState::Building)]);
}

#[test]
fn a_watched_status_is_drawn_again_over_a_restart_of_the_hub_and_q_or_a_signal_ends_it() {
    for signal in [None, Some(nix::sys::signal::Signal::SIGINT), Some(nix::sys::signal::Signal::SIGTERM)] {
        let mut desk = Desk::new();
        let mut terminal = Terminal::new();
        let mut moji = terminal.start(&desk, &["status", "--watch"]);
        let mut session = desk.hub.accept();
        look(&mut session, "a-1-1.src.rpm");
        terminal.until("\x1b[?1049h");
        terminal.until("a-1-1");
        assert!(terminal.is_raw());
        desk.hub.close();
        drop(session);
        terminal.until("hub away since ");
        terminal.until("a-1-1");
        desk.hub.open();
        let mut session = desk.hub.accept();
        look(&mut session, "b-1-1.src.rpm");
        terminal.until("b-1-1");
        let child = moji.0.as_mut().unwrap();
        match signal {
            None => terminal.master.write_all(b"q").unwrap(),
            Some(signal) => {
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
            }
        }
        terminal.until("\x1b[?1049l");
        let status = child.wait().unwrap();
        let by = std::os::unix::process::ExitStatusExt::signal(&status);
        let killed = signal.filter(|signal| *signal == nix::sys::signal::Signal::SIGTERM);
        assert_eq!((status.code(), by), (killed.is_none().then_some(0), killed.map(|signal| signal as i32)));
        assert!(!terminal.is_raw());
    }
}

#[test]
fn on_a_terminal_a_file_on_its_way_has_a_bar_that_is_gone_at_the_end() {
    let desk = Desk::new();
    let bytes = srpm(300_000);
    std::fs::write(desk.path("a-1-1.src.rpm"), &bytes).unwrap();
    let path = desk.path("a-1-1.src.rpm");
    let mut terminal = Terminal::new();
    let mut moji = terminal.start(&desk, &["submit", path.to_str().unwrap()]);
    let mut session = desk.hub.accept();
    session.request();
    session.say(&ToOperator::Want { offset: 0 });
    terminal.until("\ra-1-1");
    terminal.until("%");
    take(&mut session, 0, 300_000, 300_000);
    session.answer(vec![ToOperator::Changed { target: line("a-1-1.src.rpm"), text: line("waits") }]);
    terminal.until("\r\x1b[K");
    terminal.until("waits");
    assert_eq!(moji.0.as_mut().unwrap().wait().unwrap().code(), Some(0));
}
