//! Every message in every state of a session, for both roles, and each role's messages said by the other.
//!
//! Owns a table of its own of what may be said when: DESIGN's "default deny". Must not ask the hub's table.

use moji_proto::message::{
    Backend, Exit, FromBuilder, FromOperator, Health, Message, NameOf, Order, Phase, ReleaseWhy, ToOperator,
    Which,
};
use moji_proto::refusal::RejectCode;
use moji_proto::{Bytes, Digest, FileName, LeaseId, Line};
use moji_tests::faults::Tally;

use crate::quick::quick;
use crate::rogue::{End, Rogue, register, results};
use crate::scene::{Lines, Scene};

fn name(text: &str) -> FileName {
    FileName::new(text).expect("a safe name")
}

/// Whether a message may be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum May {
    No,
    Yes,
    /// Yes; but it is about a lease that is another's.
    NotYours,
}

const NO: May = May::No;
const YES: May = May::Yes;

/// States of a builder's session, the columns of the table.
const BUILDER_STATES: [&str; 9] = [
    "Greeting",
    "Reporting",
    "Serving with a lease",
    "Ready",
    "Draining",
    "a list's files",
    "a list's evidence",
    "another list's files",
    "another list's evidence",
];

/// Each message about `lease`, and in which states it may be said. `Data` is in order only once it is asked for, which
/// it is in none of these; before its list is through it may not even be looked at.
fn builder_rows(lease: LeaseId) -> Vec<(FromBuilder, [May; 9])> {
    let bytes = || Bytes(vec![b'x'; 5]);
    let serving = [NO, NO, YES, YES, YES, NO, NO, YES, YES];
    let digest = Digest::of(b"");
    vec![
        (register(1, 0), [YES, NO, NO, NO, NO, NO, NO, NO, NO]),
        (
            FromBuilder::Held { lease, srpm: name("prey-1-1.src.rpm"), digest, phase: Phase::Build },
            [NO, YES, NO, NO, NO, NO, NO, NO, NO],
        ),
        (FromBuilder::Ready, [NO, NO, YES, NO, NO, YES, YES, YES, YES]),
        (FromBuilder::Fetch { lease, offset: 0, length: 16 }, serving),
        (FromBuilder::Phase { lease, phase: Phase::Build }, serving),
        (FromBuilder::Log { lease, which: Which::Build, offset: 0, bytes: bytes() }, serving),
        (FromBuilder::Ping { health: Health::default() }, [NO, YES, YES, YES, YES, YES, YES, YES, YES]),
        (results(lease, 1), serving),
        (
            FromBuilder::File { lease, name: name("a.log"), size: 5, digest },
            [NO, NO, NO, NO, NO, YES, NO, NO, NO],
        ),
        (
            FromBuilder::Evidence { lease, which: Which::Build, line: Line::lossy("x") },
            [NO, NO, NO, NO, NO, NO, YES, NO, NO],
        ),
        // The hub has not asked for it.
        (
            FromBuilder::Data { lease, file: 0, offset: 0, bytes: bytes() },
            [NO, NO, NO, YES, YES, NO, NO, NO, NO],
        ),
        (FromBuilder::Draining, [NO, NO, YES, YES, NO, YES, YES, YES, YES]),
        (FromBuilder::Release { lease, why: ReleaseWhy::Stopped }, serving),
    ]
}

/// A success with one file and one line of evidence.
fn list(lease: LeaseId) -> FromBuilder {
    let (exit, phase, backend) = (Exit::Code(1), Phase::Collect, Backend::Mock);
    FromBuilder::Results {
        lease,
        exit,
        phase,
        backend,
        seconds: 1,
        oom_kills: 0,
        peak_memory_mib: 0,
        silence_s: 0,
        peak_disk_mib: 0,
        files: 1,
        evidence: 1,
    }
}

/// Brings a session into a state; the lease that its messages are about.
fn builder_in(scene: &Scene, state: usize, key: u8) -> (Rogue, LeaseId) {
    let file =
        |lease| FromBuilder::File { lease, name: name("a.log"), size: 5, digest: Digest::of(b"xxxxx") };
    if (2..9).contains(&state) && state != 3 && state != 4 {
        let mut rogue = Rogue::ready(&scene.farm, key);
        let lease = rogue.job();
        if state > 6 {
            rogue.send(&FromBuilder::Ready);
            let second = rogue.job();
            rogue.send(&list(second));
            if state == 8 {
                rogue.send(&file(second));
            }
        } else if state > 4 {
            rogue.send(&list(lease));
            if state == 6 {
                rogue.send(&file(lease));
            }
        }
        return (rogue, lease);
    }
    let mut rogue = Rogue::connect(&scene.farm, key);
    match state {
        0 => {}
        1 => rogue.send(&register(key, 2)),
        _ => {
            rogue.send(&register(key, 0));
            rogue.send(if state == 3 { &FromBuilder::Ready } else { &FromBuilder::Draining });
        }
    }
    (rogue, scene.other)
}

/// How a session took what it was told.
fn told(rogue: &mut Rogue, want: May) -> Result<(), String> {
    // A `Pong` proves little: what a lease has to say comes from another actor, and may come after it.
    let end = if want == May::Yes && rogue.is_alive() { None } else { Some(rogue.ended()) };
    match (want, end) {
        (May::No, Some(End::Rejected(RejectCode::Order))) => Ok(()),
        (May::NotYours, Some(End::Rejected(RejectCode::NotYours))) => Ok(()),
        (May::Yes, None) => Ok(()),
        (want, end) => Err(format!("may it be said? {want:?}; but the session: {end:?}")),
    }
}

#[test]
fn every_message_in_every_state_of_a_session() {
    let mut tally = Tally::new(
        5,
        "hostile-order",
        "every message of both roles in every state of a session of both roles",
        "what may not be said ends that session with that reason and one line in the log; nobody else is disturbed",
        "cargo test -p moji-tests --test hostile order",
    );
    for leases in [false, true] {
        let mut scene = Scene::start(&[]);
        let second = quick(&scene.farm, "second", "1");
        for state in 0..BUILDER_STATES.len() {
            if matches!(state, 0 | 1 | 3 | 4) == leases {
                continue;
            }
            for number in 0..builder_rows(scene.other).len() {
                builder_cell(&mut scene, &mut tally, state, number, &second.file, &second.srpm);
            }
        }
        if leases {
            scene.bait();
        } else {
            operators(&mut scene, &mut tally);
            crossed(&mut scene, &mut tally);
        }
        scene.end();
    }
    tally.end();
}

fn builder_cell(
    scene: &mut Scene,
    tally: &mut Tally,
    state: usize,
    number: usize,
    second: &str,
    srpm: &std::path::Path,
) {
    let (sample, row) = builder_rows(scene.other).swap_remove(number);
    let word = format!("{sample:?}");
    let word = word.split([' ', '{']).next().unwrap_or_default();
    let what = format!("{word} in {}", BUILDER_STATES[state]);
    if matches!(state, 0 | 1 | 3 | 4) {
        scene.no_bait();
    } else {
        scene.bait();
        if state > 6 {
            if !["source", "working", "finished"].iter().any(|folder| scene.farm.is_in(folder, second)) {
                scene.farm.drop_file(srpm);
            }
            let (from, to) = (scene.farm.finished().join(second), scene.farm.source().join(second));
            scene.farm.wait_until("the second to be free", moji_tests::SOON, |_| {
                let _ = std::fs::rename(&from, &to);
                to.exists()
            });
        }
    }
    // What is about the neighbour's lease and may be said is not this builder's to say.
    let is_foreign = matches!(state, 3 | 4)
        && row[state] == YES
        && !matches!(sample, FromBuilder::Ping { .. } | FromBuilder::Ready | FromBuilder::Draining);
    let want = if is_foreign { May::NotYours } else { row[state] };
    let lines = if want == YES { Lines::None } else { Lines::One };
    scene.case(tally, &what, lines, |scene, key| {
        let (mut rogue, lease) = builder_in(scene, state, key);
        let (message, _) = builder_rows(lease).swap_remove(number);
        rogue.send(&message);
        if matches!((&message, state), (FromBuilder::Register { .. }, 0)) {
            // A `Ping` may follow.
            rogue.until("Registered", |rogue| {
                rogue.heard(|said| matches!(said, moji_proto::message::ToBuilder::Registered { .. }))
            });
        }
        told(&mut rogue, want)
    });
}

/// States of an operator's session.
const OPERATOR_STATES: [&str; 5] = ["Greeting", "Idle", "Words", "Answering", "Answering a submit"];

fn operator_rows() -> Vec<(FromOperator, [May; 5])> {
    let line = |text: &str| Line::lossy(text);
    let request = [NO, YES, NO, NO, NO];
    let hail = FromOperator::Hail { user: line("rogue"), host: line("here"), version: name("0") };
    vec![
        (hail, [YES, NO, NO, NO, NO]),
        (FromOperator::Ping, [NO, YES, YES, YES, YES]),
        (FromOperator::More { rows: 1 }, [NO, YES, YES, YES, YES]),
        (FromOperator::Word { word: line("x") }, [NO, NO, YES, NO, NO]),
        (FromOperator::Data { offset: 0, bytes: Bytes(vec![b'x'; 5]) }, [NO, NO, NO, NO, YES]),
        (FromOperator::Status, request),
        (FromOperator::List { pattern: line(""), state: None }, request),
        (FromOperator::Show { package: line("base") }, request),
        (FromOperator::Builders { pattern: line("") }, request),
        (FromOperator::History { pattern: line(""), rows: 5 }, request),
        (
            FromOperator::Log {
                package: line("base"),
                which: Which::Build,
                attempt: 0,
                offset: 0,
                follow: false,
            },
            request,
        ),
        (FromOperator::Events { pattern: line(""), after: 0, current: false }, request),
        (
            FromOperator::Submit {
                name: name("z-1-1.src.rpm"),
                size: 9_000,
                digest: Digest::of(b""),
                first: false,
                options: 0,
            },
            request,
        ),
        (FromOperator::Change { order: Order::Resume, target: line("nobody"), words: 0 }, request),
        (FromOperator::Names { prefix: line("b"), of: NameOf::Package }, request),
        (FromOperator::Why { package: line("base") }, request),
        (FromOperator::Blocked { rows: 5 }, request),
    ]
}

fn operator_in(scene: &Scene, state: usize, key: u8) -> Rogue {
    let mut rogue = Rogue::operator(&scene.farm, key);
    let line = |text: &str| Line::lossy(text);
    if state > 0 {
        rogue.send(&FromOperator::Hail { user: line("rogue"), host: line("here"), version: name("0") });
    }
    match state {
        2 => rogue.send(&FromOperator::Change { order: Order::Resume, target: line("nobody"), words: 2 }),
        // Its answer lasts as long as the session.
        3 => rogue.send(&FromOperator::Events { pattern: line(""), after: 0, current: false }),
        4 => {
            let (name, digest) = (name("y-1-1.src.rpm"), Digest::of(b"y"));
            rogue.send(&FromOperator::Submit { name, size: 9_000, digest, first: false, options: 0 });
            rogue.until("the file to be wanted", |rogue| {
                rogue.answered(|answer| matches!(answer, ToOperator::Want { .. }))
            });
        }
        _ => {}
    }
    rogue
}

fn operators(scene: &mut Scene, tally: &mut Tally) {
    for (state, state_name) in OPERATOR_STATES.iter().enumerate() {
        for (message, row) in operator_rows() {
            let word = format!("{message:?}");
            let word = word.split([' ', '{']).next().unwrap_or_default();
            let lines = if row[state] == NO { Lines::One } else { Lines::None };
            scene.case(tally, &format!("{word} of an operator in {state_name}"), lines, |scene, key| {
                let mut rogue = operator_in(scene, state, key);
                rogue.send(&message);
                told(&mut rogue, row[state])
            });
        }
    }
}

/// Each role's messages on a session of the other: they are read as the other's, and judged as those.
fn crossed(scene: &mut Scene, tally: &mut Tally) {
    let encoded = |message: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        message(&mut bytes);
        bytes
    };
    for (message, _) in operator_rows() {
        let bytes = encoded(&|out| message.encode(out));
        let want = match FromBuilder::decode(&bytes) {
            Err(error) => RejectCode::from(error),
            Ok(_) => RejectCode::Order,
        };
        scene.case(tally, &format!("{message:?} on a builder's session"), Lines::One, |scene, key| {
            let mut rogue = Rogue::connect(&scene.farm, key);
            rogue.send_raw(&bytes);
            let end = rogue.ended();
            if end == End::Rejected(want) { Ok(()) } else { Err(format!("{end:?} and not {want:?}")) }
        });
    }
    for (message, _) in builder_rows(scene.other) {
        let bytes = encoded(&|out| message.encode(out));
        let want = match FromOperator::decode(&bytes) {
            Err(error) => RejectCode::from(error),
            Ok(_) => RejectCode::Order,
        };
        scene.case(tally, &format!("{message:?} on an operator's session"), Lines::One, |scene, key| {
            let mut rogue = Rogue::operator(&scene.farm, key);
            rogue.send_raw(&bytes);
            let end = rogue.ended();
            if end == End::Rejected(want) { Ok(()) } else { Err(format!("{end:?} and not {want:?}")) }
        });
    }
}
