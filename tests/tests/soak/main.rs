//! A farm that builds without a pause while something fails all the time: nothing is lost, nothing grows, nothing is left.
//!
//! Owns the choice of faults and the looks at memory and descriptors. `MOJI_MINUTES` says how long (60 by hand),
//! `MOJI_SEED` repeats the choices. What a fault does at each moment is for the other suites.

#[path = "../chaos/load.rs"]
mod load;
mod machine;

use std::fs;
use std::time::{Duration, Instant};

use moji_tests::faults::Tally;
use moji_tests::varied::Chance;
use moji_tests::{Direction, Farm, Fate, Fault, SOON, Strike, poll_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use load::{Load, has_no_spool, is_refused, number, seed};
use machine::{Disk, Looks};

/// How long it takes in CI, minutes.
const MINUTES: f64 = 0.6;
/// The first half of them is killed now and then, the others live from the first to the last minute.
const BUILDERS: usize = 4;
/// Packages that wait, so that no builder idles.
const WAITING: usize = 8;
/// The longest that everything may take to be done after the last fault: the grace after a start is two minutes.
const QUIET: Duration = Duration::from_secs(300);
/// Packages that come in a minute at most. Each of them is a generation of the newest packages' index, which is kept for an
/// hour, on a disk that is small.
const PACE: f64 = 150.0;
/// By how much a builder may grow, and by how much a hub that is old may be larger than a new one that knows as much: what
/// builds leave in an allocator, bytes.
const GROWTH: u64 = 8 << 20;
/// How long a new hub may take to be as large as it gets, with nothing to do.
const AWAKE: Duration = Duration::from_secs(10);
/// Descriptors that may be open more than in the beginning.
const DESCRIPTORS: usize = 8;

/// What is done to the farm.
#[derive(Clone, Copy, Debug)]
enum Hurt {
    Hub,
    Builder,
    Shim,
    Line,
    Stall,
    Disk,
}

/// What hurts next. The hub is killed in the first quarter only: it shall grow old, too.
fn hurt(chance: &mut Chance, young: bool) -> Hurt {
    match chance.below(20) {
        0 | 1 if young => Hurt::Hub,
        0..5 => Hurt::Builder,
        5..7 => Hurt::Shim,
        7..9 => Hurt::Stall,
        9 => Hurt::Disk,
        _ => Hurt::Line,
    }
}

fn start(farm: &mut Farm, builder: usize) {
    farm.start_builder_as(builder, &["--name", &format!("b{builder}")]);
}

/// Does it to the farm; false where there was nothing to do it to.
fn apply(farm: &mut Farm, disk: &Disk, hurt: Hurt, chance: &mut Chance) -> bool {
    let moment = Duration::from_millis(300 + chance.below(2_000) as u64);
    match hurt {
        Hurt::Hub => {
            farm.hub().kill9();
            farm.start_hub();
        }
        Hurt::Builder => {
            let builder = chance.below(BUILDERS / 2);
            farm.builder(builder).kill9();
            start(farm, builder);
        }
        Hurt::Shim => {
            let mut shims = farm.processes();
            shims.retain(|process| process.command.contains(" --shim "));
            if shims.is_empty() {
                return false;
            }
            // It may have ended meanwhile.
            return kill(Pid::from_raw(shims[chance.below(shims.len())].pid), Signal::SIGKILL).is_ok();
        }
        Hurt::Line => {
            let open = farm.proxy().open();
            if open.is_empty() {
                return false;
            }
            let way = Direction::BOTH[chance.below(2)];
            let all = [
                Fault::Cut,
                Fault::Reset,
                Fault::Flip(chance.below(8) as u8),
                Fault::HalfOpen(Some(moment)),
                Fault::BlackHole(Some(moment)),
                Fault::Late(chance.below(400) as u64),
            ];
            let strike =
                Strike { way, after: chance.below(3_000) as u64, fault: all[chance.below(all.len())] };
            return farm.proxy().strike(open[chance.below(open.len())], strike);
        }
        Hurt::Stall => {
            farm.proxy().stall(true);
            std::thread::sleep(moment);
            farm.proxy().stall(false);
        }
        Hurt::Disk => {
            disk.fill();
            std::thread::sleep(moment);
            disk.empty();
        }
    }
    true
}

#[test]
fn a_farm_that_is_hurt_all_the_time_loses_nothing_and_does_not_grow() {
    let mut tally = Tally::new(
        9,
        "endurance",
        "builds without a pause while hub, builders and shims are killed, lines fail and the hub's disk fills up",
        "every package is finished once, byte for byte; memory and descriptors stay; no process, mount, chroot or spool is left",
        "MOJI_MINUTES=60 cargo test -p moji-tests --test soak",
    );
    let (minutes, seed) = (number("MOJI_MINUTES", MINUTES), seed("endurance"));
    let time = Duration::from_secs_f64(minutes * 60.0);
    let mut chance = Chance(seed);
    let disk = Disk::new(300 + 40 * minutes.ceil() as u64);
    let plan = Farm::plan().base(disk.path()).through_proxy().builders(0).builder_args(["--min-free", "0"]);
    let plan = plan.hub_args(["--min-free", "0", "--attempts", "50", "--retry-pause", "1"]).nothing_started();
    let mut farm = plan.start();
    disk.keep_off(&farm, BUILDERS);
    farm.start_hub();
    let jitter = Fate { jitter: Duration::from_millis(2), ..Fate::default() };
    farm.proxy().script(move |_| jitter);
    let mut load = Load::new(seed);
    (0..BUILDERS).for_each(|builder| start(&mut farm, builder));

    let (began, mut looks) = (Instant::now(), Vec::new());
    let mut next = began + Duration::from_secs(2);
    while began.elapsed() < time {
        let come = WAITING + (began.elapsed().as_secs_f64() / 60.0 * PACE) as usize;
        while load.made.len() < come && Load::waiting(&farm) < WAITING {
            load.drop_small(&farm, 2);
        }
        comfort(&mut farm);
        let young = began.elapsed() < time / 4;
        if Instant::now() >= next {
            let hurt = hurt(&mut chance, young);
            if apply(&mut farm, &disk, hurt, &mut chance) {
                tally.case();
            }
            next = Instant::now() + Duration::from_millis(300 + chance.below(1_200) as u64);
        }
        // The hub has warmed up by then.
        let due = [time / 2, time * 3 / 4];
        if due.get(looks.len()).is_some_and(|due| began.elapsed() >= *due) {
            looks.push(Looks::at(&mut farm, BUILDERS));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    farm.proxy().heal();
    let quiet = poll_until(QUIET, || {
        comfort(&mut farm);
        load.unfinished(&farm) == 0 && (0..BUILDERS).all(|builder| has_no_spool(&farm, builder))
    });
    tally.holds(quiet, || {
        format!("{} packages are not finished\n{}", load.unfinished(&farm), farm.diagnosis())
    });
    poll_until(SOON, || is_whole(&load, &farm));
    load.wrong(&farm, None).into_iter().for_each(|wrong| tally.violation(wrong));

    looks.push(Looks::at(&mut farm, BUILDERS));
    farm.hub().kill9();
    farm.start_hub();
    let back = poll_until(SOON, || is_whole(&load, &farm));
    tally.holds(back, || format!("the index after the last start: {:?}", load.wrong(&farm, None)));
    std::thread::sleep(AWAKE);
    looks.push(Looks::at(&mut farm, BUILDERS));
    grown(&looks).into_iter().for_each(|grown| tally.violation(grown));
    tell(&looks, &mut tally);
    tally.figure(format!("{} builds in {minutes} minutes", load.made.len()));
    end(farm, &mut tally);
    drop(disk);
    tally.end();
}

/// What a person would do now and then: whoever was refused would wait for a minute.
fn comfort(farm: &mut Farm) {
    for builder in 0..BUILDERS {
        if is_refused(farm, builder) {
            farm.builder(builder).kill9();
            let _ = fs::remove_file(farm.builder_state(builder).join("status"));
            start(farm, builder);
        }
    }
}

fn is_whole(load: &Load, farm: &Farm) -> bool {
    load.wrong(farm, None).is_empty()
}

/// What grew too much: a builder from the first look on, the hub beyond one that has just started and knows as much, which
/// is the last look.
fn grown(looks: &[Looks]) -> Vec<String> {
    let [first, .., old, new] = looks else { panic!("three looks at least") };
    let hub = ("the hub, beside a new one,".to_owned(), &new.hub, &old.hub);
    let builders = BUILDERS / 2..BUILDERS;
    let builders = builders.map(|n| (format!("builder {n}"), &first.builders[n], &old.builders[n]));
    let mut grown = Vec::new();
    for (who, less, more) in std::iter::once(hub).chain(builders) {
        if more.resident > less.resident + GROWTH {
            grown.push(format!("{who} has {} bytes, not {}", more.resident, less.resident));
        }
        if more.descriptors > less.descriptors + DESCRIPTORS {
            grown.push(format!("{who} has {} descriptors, not {}", more.descriptors, less.descriptors));
        }
    }
    grown
}

/// All looks for the table.
fn tell(looks: &[Looks], tally: &mut Tally) {
    let texts = |text: fn(&Looks) -> String| looks.iter().map(text).collect::<Vec<_>>().join(", ");
    tally.figure(format!("hub {} MB, the last one of a new hub", texts(|look| look.hub.megabytes())));
    tally.figure(format!("a builder {} MB", texts(|look| look.builders[BUILDERS - 1].megabytes())));
    tally.figure(format!(
        "descriptors: hub {}, a builder {}",
        texts(|look| look.hub.descriptors.to_string()),
        texts(|look| look.builders[BUILDERS - 1].descriptors.to_string())
    ));
}

/// Ends the farm as a person would: nothing of it is left.
fn end(mut farm: Farm, tally: &mut Tally) {
    for builder in 0..BUILDERS {
        let status = farm.builder(builder).term(SOON);
        tally.holds(status.success(), || format!("builder {builder} ended with {status}"));
    }
    let status = farm.hub().term(SOON);
    tally.holds(status.success(), || format!("the hub ended with {status}"));
    let none = poll_until(SOON, || farm.processes().is_empty());
    tally.holds(none, || format!("processes are left: {:?}", farm.processes()));
    let own: Vec<String> = (0..BUILDERS).map(|builder| format!("builder{builder}")).collect();
    let mut mounts = farm.mounts();
    mounts.retain(|at| !own.iter().any(|own| at.ends_with(own)));
    tally.holds(mounts.is_empty(), || format!("mounts are left: {mounts:?}"));
    let chroots = load::names(&farm, "mock");
    tally.holds(chroots.is_empty(), || format!("chroots are left: {chroots:?}"));
    let mut working = load::names(&farm, "working");
    working.retain(|name| ![".daemon", ".leases", ".lock"].contains(&name.as_str()));
    tally.holds(working.is_empty(), || format!("working/ holds {working:?}"));
}

#[test]
fn what_grows_would_be_found() {
    use machine::Look;
    let look = |resident, descriptors| Look { resident, descriptors };
    let looks = |resident, descriptors| Looks {
        hub: look(resident, descriptors),
        builders: (0..BUILDERS).map(|_| look(resident, descriptors)).collect(),
    };
    let (small, large) = (looks(1 << 20, 10), looks(10 << 20, 10));
    assert!(grown(&[small, looks(5 << 20, 18), looks(1 << 20, 10)]).is_empty());
    // The builders that are killed now and then are not looked at.
    let all = 1 + BUILDERS / 2;
    assert_eq!(grown(&[looks(1 << 20, 10), looks(5 << 20, 19), looks(1 << 20, 10)]).len(), all);
    assert_eq!(grown(&[looks(1 << 20, 10), large, looks(1 << 20, 10)]).len(), all);
    // A hub that knows much is not one that has grown.
    assert_eq!(grown(&[looks(1 << 20, 10), looks(10 << 20, 10), looks(10 << 20, 10)]).len(), BUILDERS / 2);
}
