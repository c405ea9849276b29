//! Peers that speak until some message and then say nothing more, all at once, at every point of a session.
//!
//! Owns what becomes of them: each is let go at its time and leaves its line, what it held is built by another, and
//! nobody waits for them meanwhile. The hub's times are DESIGN's (20 s, 30 s, a minute), so this takes a minute.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use moji_proto::message::{FromBuilder, FromOperator, Phase};
use moji_proto::{Digest, FileName, LeaseId, Line};
use moji_tests::faults::Tally;
use moji_tests::{Farm, SOON};

use crate::quick::{Quick, quick};
use crate::rogue::{Rogue, Upload, register, results, secret_key};
use crate::{descriptors, honest_builder_goes_on, scene};

/// The hub lets go after a minute at most; the rest is for a loaded machine.
const LET_GO: Duration = Duration::from_secs(120);

/// A peer that has said its last.
struct Stalled {
    what: &'static str,
    key: u8,
    rogue: Rogue,
    /// What it holds.
    package: Option<Quick>,
    /// It pings on, so that only its upload stands still.
    pings: bool,
}

/// Where a builder with a lease stops.
type Stop = (&'static str, bool, fn(&mut Rogue, LeaseId));

const WITH_A_LEASE: [Stop; 6] = [
    ("after its job", false, |_, _| {}),
    ("after a fetch", false, |rogue, lease| {
        rogue.send(&FromBuilder::Fetch { lease, offset: 0, length: 100 })
    }),
    ("before the files that it announced", false, |rogue, lease| rogue.send(&results(lease, 3))),
    ("before the data that is wanted", false, |rogue, lease| {
        rogue.announce(lease, &[Upload::new("build.log", vec![b'x'; 100])]);
    }),
    ("in the middle of a file, pinging on", true, |rogue, lease| {
        rogue.announce(lease, &[Upload::new("build.log", vec![b'x'; 100])]);
        rogue.until("the file to be wanted", Rogue::wants);
        let bytes = moji_proto::Bytes(vec![b'x'; 10]);
        rogue.send(&FromBuilder::Data { lease, file: 0, offset: 0, bytes });
    }),
    ("in the middle of a record of its lease", false, |rogue, lease| {
        rogue.send_part(&FromBuilder::Phase { lease, phase: Phase::Build }, 9);
    }),
];

fn builders(farm: &Farm, key: &mut u8) -> Vec<Stalled> {
    let mut next = || {
        *key += 1;
        *key
    };
    let mut all = Vec::new();
    let mut stalled = |what, key, rogue| {
        all.push(Stalled { what, key, rogue, package: None, pings: false });
    };
    let held = |lease| {
        let srpm = FileName::new("gone-1-1.src.rpm").expect("safe");
        FromBuilder::Held { lease, srpm, digest: Digest::of(b""), phase: Phase::Build }
    };
    let at = |number: usize, key: u8| {
        let mut rogue = Rogue::connect(farm, key);
        let greeting = register(key, if matches!(number, 1 | 2) { 2 } else { 0 });
        match number {
            0 => {}
            1 => rogue.send(&greeting),
            2 => {
                rogue.send(&greeting);
                rogue.send(&held(LeaseId { incarnation: 1, counter: 1 }));
            }
            3 => rogue.send_part(&greeting, 30),
            4 => rogue.send(&greeting),
            5 => {
                rogue.send(&greeting);
                rogue.send(&FromBuilder::Draining);
            }
            6 => {
                rogue.send(&greeting);
                rogue.send_part(&FromBuilder::Ready, 1);
            }
            _ => {
                rogue.send(&greeting);
                rogue.send_part(&FromBuilder::Ready, 10);
            }
        }
        rogue
    };
    for (number, what) in [
        "before Register",
        "before the leases that it announced",
        "between the leases that it announced",
        "in the middle of Register",
        "after Register",
        "after Draining",
        "in the middle of a record's length",
        "in the middle of a record",
    ]
    .into_iter()
    .enumerate()
    {
        let key = next();
        stalled(what, key, at(number, key));
    }
    for (number, (what, pings, stop)) in WITH_A_LEASE.into_iter().enumerate() {
        let package = quick(farm, &format!("stalled{number}"), "1");
        farm.drop_file(&package.srpm);
        let key = next();
        let mut rogue = Rogue::ready(farm, key);
        let lease = rogue.job();
        stop(&mut rogue, lease);
        all.push(Stalled { what, key, rogue, package: Some(package), pings });
    }
    all
}

fn operators(farm: &Farm, key: &mut u8) -> Vec<Stalled> {
    let line = |text: &str| Line::lossy(text);
    let hail = FromOperator::Hail {
        user: line("rogue"),
        host: line("here"),
        version: FileName::new("0").expect("safe"),
    };
    let name = FileName::new("y-1-1.src.rpm").expect("safe");
    let submit =
        FromOperator::Submit { name, size: 9_000, digest: Digest::of(b"y"), first: false, options: 1 };
    let says: [(&str, Vec<&FromOperator>); 3] = [
        ("an operator before Hail", vec![]),
        ("an operator after Hail", vec![&hail]),
        ("an operator before the words that it announced", vec![&hail, &submit]),
    ];
    says.into_iter()
        .map(|(what, says)| {
            *key += 1;
            let mut rogue = Rogue::operator(farm, *key);
            says.into_iter().for_each(|message| rogue.send(message));
            Stalled { what, key: *key, rogue, package: None, pings: false }
        })
        .collect()
}

/// Those that stop in the middle of the handshake, which needs no secret.
fn strangers(farm: &Farm) -> Vec<TcpStream> {
    let hello = b"moji\0\x01\0\x02\0\x02\0\0\0\0\0\0";
    [0, 1, 5, 9, 16]
        .into_iter()
        .map(|bytes| {
            let mut stream = TcpStream::connect(farm.hub_addr()).expect("the hub listens");
            stream.write_all(&hello[..bytes]).expect("a new connection takes bytes");
            stream
        })
        .collect()
}

#[test]
fn peers_that_stop_at_any_message_are_let_go_and_nobody_waits_for_them() {
    let mut tally = Tally::new(
        5,
        "hostile-stalls",
        "peers stop speaking after each message of the handshake, the greeting, a build, an upload, a request",
        "each is let go at its time and leaves one line, its package is built by another, nobody waits for it",
        "cargo test -p moji-tests --test hostile stop_at_any",
    );
    // A grace of nothing: what they hold is free the moment they are let go.
    let mut farm = Farm::plan().builders(0).hub_args(["--lease-grace", "0"]).start();
    let pid = farm.hub().pid();
    let before = descriptors(pid);
    let mut key = 0;
    let mut stalled = builders(&farm, &mut key);
    stalled.extend(operators(&farm, &mut key));
    let strangers = strangers(&farm);
    tally.cases((stalled.len() + strangers.len()) as u64);
    let begun = Instant::now();
    honest_builder_goes_on(&mut farm, pid);
    tally.figure(format!("an honest build beside them: {} ms", begun.elapsed().as_millis()));
    let mut longest = Duration::ZERO;
    while stalled.iter().any(|one| one.rogue.end().is_none()) && begun.elapsed() < LET_GO {
        for one in stalled.iter_mut().filter(|one| one.rogue.end().is_none()) {
            if one.pings && !one.rogue.heard(|_| true) {
                one.rogue.send(&FromBuilder::Ping { health: Default::default() });
            }
            one.rogue.clear();
            if one.rogue.end_now().is_some() {
                longest = begun.elapsed();
            }
        }
    }
    tally.figure(format!("the last one was let go after {} s", longest.as_secs()));
    let log = scene::log(&farm);
    for Stalled { what, key, rogue, package, .. } in &stalled {
        tally.holds(rogue.end().is_some(), || format!("{what}: it is still there"));
        let fingerprint = format!("key={} ", secret_key(*key).public().fingerprint());
        let lines: Vec<_> =
            log.iter().filter(|line| line.contains(" WARN ") && line.contains(&fingerprint)).collect();
        tally.holds(lines.len() == 1, || format!("{what}: it left {lines:#?}"));
        if let Some(package) = package {
            farm.wait_finished(&package.file);
            let nvr = package.file.trim_end_matches(".src.rpm");
            let verdict = farm.result_json(nvr)["verdict"].clone();
            tally.holds(verdict == "success", || format!("{what}: {nvr} came to {verdict}"));
        }
    }
    drop(stalled);
    let own = descriptors(pid);
    farm.wait_until("the hub to let go of strangers", SOON, |_| descriptors(pid) <= before + 8);
    assert!(own < before + 30, "the hub kept what it had let go: {own} descriptors");
    drop(strangers);
    tally.end();
}
