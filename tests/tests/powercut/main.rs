//! The power goes, at any moment: what a builder was promised is on the disk, and nothing is lost or done twice.
//!
//! Owns the moments and how often. The hub's folders are on a file system of their own that is shut down without writing
//! anything out, so that what was never synced is really gone; a hub killed alone leaves the kernel's memory behind.
//!
//! | variable | is |
//! |---|---|
//! | `MOJI_CUTS` | how often the power goes (default 100; nights: 1,000 and more) |
//! | `MOJI_SEED` | which moments are drawn |
//! | `MOJI_FS` | `xfs` to cut XFS instead of ext4, which needs `mkfs.xfs` |

mod check;
mod world;

use std::time::{Duration, Instant};

use moji_tests::faults::{Cutter, Kind, LoopDisk, Tally};
use moji_tests::varied::Chance;
use world::World;

/// How often the power goes where nobody says it: half a second each.
const CUTS: usize = 100;
/// A hub whose syncs do nothing is found out within so many cuts, or this suite is worth nothing.
const CUTS_TO_FIND: usize = 8;
/// Files are gathered, committed and moved by these calls of the system.
const CALLS: [&str; 4] = [
    "fsync,fdatasync",
    "?rename,?renameat,renameat2",
    "fsync,fdatasync,?rename,?renameat,renameat2",
    "?unlink,unlinkat,?mkdir,mkdirat,pwrite64",
];
/// The hub dies at such a call of a thread, counted from 1 for each thread and each sort of call: a start makes a few,
/// and a grant three syncs.
const CALLS_MAX: usize = 7;
/// So many packages at most are new before each cut.
const FRESH_MAX: usize = 4;
/// No more are new while so many are not finished, so that each cut is among work and the end is near.
const OPEN_MAX: usize = 6;
/// Longest time from the hub's ready line to a cut that waits for nothing, milliseconds: a package takes about that.
const DELAY_MS: usize = 900;

/// When the power goes.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// Where a thread of the hub makes its so-manieth such call.
    Call(&'static str, u64),
    /// When a builder says that a result was accepted.
    Accepted,
    /// So long after the hub is ready.
    After(Duration),
}

impl Moment {
    fn draw(chance: &mut Chance) -> Moment {
        match chance.below(10) {
            0..=5 => Moment::Call(CALLS[chance.below(CALLS.len())], 1 + chance.below(CALLS_MAX) as u64),
            6 | 7 => Moment::Accepted,
            _ => Moment::After(Duration::from_millis(chance.below(DELAY_MS) as u64)),
        }
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    number("MOJI_SEED", now.as_nanos() as usize % 1_000_000) as u64
}

/// A disk that can be cut off; none where this machine has no such thing, which is said.
fn disk(kind: Kind) -> Option<LoopDisk> {
    let made = LoopDisk::new(kind, 128).and_then(|disk| {
        Cutter::start().cut(disk.path())?;
        disk.plug_in_again();
        Ok(disk)
    });
    made.inspect_err(|why| eprintln!("\n*** SKIPPED: no power can be cut on this machine: {why} ***\n")).ok()
}

#[test]
fn what_was_promised_survives_a_power_cut() {
    let is_xfs = std::env::var("MOJI_FS").is_ok_and(|name| name == "xfs");
    let (kind, name) = if is_xfs { (Kind::Xfs, "powercut-xfs") } else { (Kind::Ext4, "powercut-ext4") };
    let Some(disk) = disk(kind) else { return };
    let (cuts, seed) = (number("MOJI_CUTS", CUTS), seed());
    eprintln!("{name}: MOJI_SEED={seed} MOJI_CUTS={cuts}");
    let mut tally = Tally::new(
        3,
        name,
        "the file system under all of the hub's folders is shut down without writing out its journal: at a chosen \
         sync, rename, unlink or write of a start, a grant or a commit, when a builder hears that a result was accepted, \
         and at any moment",
        "every SRPM is in one folder; what a builder was told is accepted is in repo/ with all its bytes; no lease is \
         given twice; in the end everything is finished once and indexed",
        &format!("MOJI_CUTS={CUTS} cargo test -p moji-tests --test powercut"),
    );
    let mut chance = Chance(seed);
    let mut world = World::new(disk);
    let began = Instant::now();
    let mut moments = [0; 3];
    for cut in 0..cuts {
        let moment = Moment::draw(&mut chance);
        let fresh = (1 + chance.below(FRESH_MAX)).min(OPEN_MAX.saturating_sub(world.open()));
        let restart = chance.below(8) > 0;
        world.drop_packages(fresh, &mut chance);
        let was = world.run_until(moment, restart);
        let what = format!("seed {seed}, cut {cut} at {moment:?} ({was})");
        moments[match was {
            "died at the call" => 0,
            "accepted" => 1,
            _ => 2,
        }] += 1;
        tally.case();
        eprintln!("{what}");
        for wrong in world.cut() {
            tally.violation(format!("{what}: {wrong}"));
        }
    }
    let ms = began.elapsed().as_millis() as usize / cuts.max(1);
    for wrong in world.finish_all() {
        tally.violation(format!("seed {seed}, after {cuts} cuts: {wrong}"));
    }
    let [call, accepted, other] = moments;
    tally.figure(format!("{call} at a call, {accepted} at a promise, {other} in between; {ms} ms each"));
    tally.figure(format!("{} packages, {} promises", world.packages(), world.promises()));
    if tally.violations() > 0 {
        eprintln!("{}", world.story());
    }
    tally.end();
}

#[test]
fn planted_a_hub_that_does_not_sync_is_found_out() {
    let Some(disk) = disk(Kind::Ext4) else { return };
    let seed = seed();
    let mut tally = Tally::new(
        3,
        "powercut-planted",
        "the power goes as above, and the kernel is made to answer the hub's syncs without doing them",
        "a planted fault: the checks above must find lost results",
        "cargo test -p moji-tests --test powercut planted",
    );
    let mut chance = Chance(seed);
    let mut world = World::new(disk);
    world.never_sync();
    let mut found = Vec::new();
    for _ in 0..CUTS_TO_FIND {
        world.drop_packages(2, &mut chance);
        let was = world.run_until(Moment::Accepted, true);
        found = world.cut();
        eprintln!("planted: {was}: {found:?}");
        tally.case();
        if !found.is_empty() {
            break;
        }
    }
    let lost = found.iter().find(|wrong| wrong.contains(check::LOST));
    tally.figure(format!("found: {}", lost.or(found.first()).map_or("nothing", String::as_str)));
    tally.holds(lost.is_some(), || {
        format!(
            "nothing was found lost in {CUTS_TO_FIND} cuts of a hub that never syncs: {found:?}\n{}",
            world.story()
        )
    });
    tally.end();
}
