//! Hundreds of sessions, each with a fault of its own, while packages are built.
//!
//! Owns the choice of faults by chance. `MOJI_SESSIONS` says how many, `MOJI_SEED` repeats a run.

use std::fs;
use std::time::{Duration, Instant};

use moji_tests::faults::Tally;
use moji_tests::varied::Chance;
use moji_tests::{Direction, Farm, Fate, Fault, SOON, Strike, poll_until};

use crate::load::{Load, has_no_spool, is_refused, number, seed};

/// Sessions in CI.
const SESSIONS: usize = 500;
/// A builder comes back after a second: so many have enough sessions in a minute or two.
const BUILDERS: usize = 14;
/// Packages that wait, so that no builder idles: an idle session has nothing that a fault could strike.
const WAITING: usize = 16;
/// How long nothing may come of a session before the test gives up.
const STUCK: Duration = Duration::from_secs(150);

/// What becomes of a connection, as chance will have it.
fn fate(chance: &mut Chance) -> Fate {
    let ms = |chance: &mut Chance, most| Duration::from_millis(chance.below(most) as u64);
    let way = Direction::BOTH[chance.below(2)];
    let mut fate = Fate::default();
    match chance.below(12) {
        0..3 => (fate.delay, fate.jitter) = (ms(chance, 30), ms(chance, 50)),
        3 => fate.piece = 1,
        4 => fate.after_next = Some(300),
        _ => {}
    }
    let soon = Some(ms(chance, 1_500));
    let fault = match chance.below(8) {
        0 | 1 => Fault::Cut,
        2 | 3 => Fault::Reset,
        4 => Fault::HalfOpen(soon),
        5 => Fault::BlackHole(soon),
        6 => Fault::Late(chance.below(400) as u64),
        _ => Fault::Flip(chance.below(8) as u8),
    };
    let after = match (chance.below(100), way) {
        // Everything up to the answers to `Register`. A flipped bit there would have the two refuse each other for a
        // minute: the faults one at a time have them all, here a few are enough.
        (0, _) => chance.below(240),
        (1..10, _) if !matches!(fault, Fault::Flip(_)) => chance.below(600),
        (_, Direction::ToHub) => 600 + chance.below(12_000),
        (_, Direction::ToBuilder) => 500 + chance.below(2_000),
    };
    fate.strike = Some(Strike { way, after: after as u64, fault });
    fate
}

#[test]
fn sessions_with_a_fault_each_lose_double_and_change_nothing() {
    let mut tally = Tally::new(
        4,
        "chaos-sessions",
        "each session of fourteen builders gets a fault by chance: cut, reset, flipped bit, one or both directions dead, \
         late bytes of an old connection, trickle, jitter, connections out of order",
        "every package is finished once, byte for byte, with one lease, nothing is left, nobody panics",
        "MOJI_SESSIONS=20000 cargo test -p moji-tests --test chaos sessions",
    );
    let (sessions, seed) = (number("MOJI_SESSIONS", SESSIONS), seed("chaos-sessions"));
    let mut farm = Farm::plan().through_proxy().builders(0).start();
    let hub = farm.hub().pid();
    let mut chance = Chance(seed);
    farm.proxy().script(move |_| fate(&mut chance));
    let mut load = Load::new(seed);
    for _ in 0..6 {
        load.drop_big(&farm, 500);
    }
    for number in 0..BUILDERS {
        farm.start_builder_as(number, &["--name", &format!("b{number}")]);
    }
    let (mut restarts, mut most, mut moved) = (0, 0, Instant::now());
    while farm.proxy().connections() < sessions {
        while Load::waiting(&farm) < WAITING {
            load.drop_small(&farm, 5);
        }
        restarts += restart_refused(&mut farm);
        if farm.proxy().connections() > most {
            (most, moved) = (farm.proxy().connections(), Instant::now());
        }
        assert!(moved.elapsed() < STUCK, "no session for {STUCK:?}\n{}", farm.diagnosis());
        std::thread::sleep(Duration::from_millis(50));
    }
    farm.proxy().heal();
    tally.cases(farm.proxy().struck().values().sum());
    let healed = poll_until(SOON * 3, || {
        restarts += restart_refused(&mut farm);
        load.unfinished(&farm) == 0 && (0..BUILDERS).all(|number| has_no_spool(&farm, number))
    });
    tally.holds(healed, || {
        format!("{} packages are not finished\n{}", load.unfinished(&farm), farm.diagnosis())
    });
    // The index follows within a second.
    poll_until(SOON, || load.wrong(&farm, Some(&[])).is_empty());
    for wrong in load.wrong(&farm, Some(&[])) {
        tally.violation(wrong);
    }
    tally.holds(farm.hub().pid() == hub && farm.hub().is_running(), || "the hub died".to_owned());
    for number in 0..BUILDERS {
        tally.holds(farm.builder(number).is_running(), || format!("builder {number} died"));
    }
    let adopted = fs::read_to_string(farm.path().join("hub.log")).unwrap_or_default();
    let adopted = adopted.matches("adopted: its builder is back").count();
    let struck = farm.proxy().struck();
    let each: Vec<String> = struck.iter().map(|(name, count)| format!("{count} {name}")).collect();
    tally.figure(format!("{} connections: {}", farm.proxy().connections(), each.join(", ")));
    tally.figure(format!("{} packages, {adopted} adoptions, {restarts} builders restarted", load.made.len()));
    tally.end();
}

/// Kills and starts again who would wait for a minute.
fn restart_refused(farm: &mut Farm) -> usize {
    let refused: Vec<usize> = (0..BUILDERS).filter(|number| is_refused(farm, *number)).collect();
    for number in &refused {
        farm.builder(*number).kill9();
        let _ = fs::remove_file(farm.builder_state(*number).join("status"));
        farm.start_builder_as(*number, &["--name", &format!("b{number}")]);
    }
    refused.len()
}

#[test]
fn what_went_wrong_would_be_found() {
    let farm = Farm::plan().start();
    let mut load = Load::new(7);
    load.drop_small(&farm, 5);
    load.drop_small(&farm, 5);
    farm.wait_until("both to be done", SOON, |farm| load.wrong(farm, Some(&[])).is_empty());
    let (one, two) = (&load.made[0], &load.made[1]);
    let finds = |what: &str| {
        let wrong = load.wrong(&farm, Some(&[]));
        assert!(wrong.iter().any(|line| line.contains(what)), "{what}: {wrong:?}");
    };
    // A doubled package, a doubled result, a doubled lease, a changed byte, a panic.
    fs::copy(farm.finished().join(&one.srpm), farm.path().join("source").join(&one.srpm)).expect("a copy");
    finds("is in [");
    fs::create_dir(farm.repo().join("double@2")).expect("a folder");
    finds("results of");
    let log = farm.path().join("hub.log");
    let text = fs::read_to_string(&log).expect("a log");
    let lease = text.lines().find(|line| line.contains(&two.srpm) && line.ends_with(" leased"));
    let twice = format!("{text}{}\nthread 'x' panicked at y\n", lease.expect("a lease"));
    fs::write(&log, twice).expect("a log");
    finds("was leased 2 times");
    finds("has a panic");
    let folder = farm.repo().join(one.srpm.trim_end_matches(".src.rpm"));
    let rpm = fs::read_dir(folder).expect("a result").flatten().map(|entry| entry.path());
    let rpm = rpm.into_iter().find(|path| path.extension().is_some_and(|end| end == "rpm")).expect("an RPM");
    let mut bytes = fs::read(&rpm).expect("an RPM");
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::remove_file(&rpm).expect("it can go");
    fs::write(&rpm, bytes).expect("it can be changed");
    finds("is not what was built");
}
