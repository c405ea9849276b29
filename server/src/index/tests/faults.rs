//! One fault, and one crash, at every disk call of everything that writes.

use super::*;

/// What is done when the fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Publish,
    Merge,
    /// Takes out of one class only.
    MergeExtra,
    Complete,
    SweepRecent,
    SweepShelves,
}

const STEPS: [Step; 6] =
    [Step::Publish, Step::Merge, Step::MergeExtra, Step::Complete, Step::SweepRecent, Step::SweepShelves];

/// A hub that has something everywhere, so that each step has something to do.
fn hub() -> Hub {
    let mut hub = Hub::new(Config { recent_packages_max: 6, ..Config::default() });
    hub.add(result("old", 3));
    let old: Vec<Group> = ["p", "q", "r"].iter().flat_map(|name| result(name, 40)).collect();
    hub.merge(old, &set(&[])).unwrap();
    for name in ["a", "b", "c"] {
        hub.add(result(name, 4));
    }
    let merged = set(&["a/a-1.rpm", "a/a-2.rpm", "a/a-3.rpm"]);
    hub.recent.publish(RecentChange { merged, ..RecentChange::default() }).unwrap();
    let groups = hub.recent.groups();
    hub.shelves.complete(&groups).unwrap();
    hub.clock.pass_ms(3_600_000);
    hub
}

fn carry_out(hub: &mut Hub, step: Step) -> Result<(), IndexError> {
    match step {
        Step::Publish => hub.recent.publish(RecentChange {
            add: result("new", 5),
            gone: set(&["b/b-1.rpm", "old/old-1.rpm"]),
            merged: set(&["c/c-1.rpm", "c/c-2.rpm", "c/c-3.rpm", "c/c.src.rpm"]),
        }),
        Step::Merge => {
            let add = [result("b", 4), result("s", 100)].concat();
            hub.merge(add, &set(&["p/p-7.rpm", "q/q-39.rpm", "q/q.src.rpm", "nobody"]))
        }
        Step::MergeExtra => hub.merge(Vec::new(), &set(&["q/q.src.rpm"])),
        Step::Complete => {
            let add = result("d", 3);
            let groups: Vec<_> =
                hub.recent.groups().into_iter().chain(add.into_iter().map(Arc::new)).collect();
            hub.shelves.complete(&groups)
        }
        Step::SweepRecent => hub.recent.sweep(),
        Step::SweepShelves => hub.shelves.sweep(),
    }
}

/// What readers see before and after a step that nothing disturbs, and what is on the shelves.
fn before_and_after(step: Step) -> [(Seen, BTreeSet<Box<str>>); 2] {
    let mut hub = hub();
    let before = (hub.seen(), hub.listed());
    carry_out(&mut hub, step).unwrap();
    let after = (hub.seen(), hub.listed());
    if step != Step::SweepShelves {
        assert_ne!(before, after, "{step:?} does nothing");
    }
    [before, after]
}

fn check_one_of(step: Step, at: u64, seen: &Seen, states: &[(Seen, BTreeSet<Box<str>>); 2]) {
    let [(before, _), (after, _)] = states;
    for (what, seen, before, after) in [
        ("recent", &seen.recent, &before.recent, &after.recent),
        ("base", &seen.base, &before.base, &after.base),
        ("complete", &seen.complete, &before.complete, &after.complete),
    ] {
        assert!(
            seen == before || seen == after,
            "{step:?}, call {at}: {what} is neither old nor new: {seen:?}"
        );
    }
}

#[test]
fn whatever_call_fails_readers_see_the_old_or_the_new_and_the_next_try_succeeds() {
    for step in STEPS {
        let states = before_and_after(step);
        for at in 0.. {
            let mut hub = hub();
            hub.disk.fail_one(at);
            let done = carry_out(&mut hub, step);
            if !hub.disk.has_failed() {
                assert!(at > 2 && done.is_ok(), "{step:?} ended after {at} calls: {done:?}");
                break;
            }
            hub.disk.heal();
            check_one_of(step, at, &hub.seen(), &states);
            // Files that were deleted for nothing would be found missing now.
            if done.is_err() {
                assert_eq!(hub.listed(), states[0].1, "{step:?}, call {at}: memory changed");
                carry_out(&mut hub, step).unwrap_or_else(|error| panic!("{step:?}, call {at}: {error}"));
            }
            assert_eq!((hub.seen(), hub.listed()), states[1], "{step:?}, call {at}");
            // Whatever the fault left is swept once a publication has come after it, and nothing else is.
            carry_out(&mut hub, Step::Complete).unwrap();
            for _ in 0..2 {
                hub.clock.pass_ms(3_600_000);
                hub.recent.sweep().unwrap();
                hub.shelves.sweep().unwrap();
                hub.seen();
            }
            for folder in ["state/index/recent/repodata", "state/index/base/repodata", "repo/repodata"] {
                assert_eq!(hub.names(folder).len(), 4, "{step:?}, call {at}: {:?}", hub.names(folder));
            }
            let extra = hub.names("state/index/extra");
            assert!((5..=9).contains(&extra.len()), "{step:?}, call {at}: {extra:?}");
            let listed = hub.listed();
            assert_eq!(hub.again().listed(), listed, "{step:?}, call {at}");
        }
    }
}

#[test]
fn two_faults_in_a_row_leave_readers_the_old_or_the_new() {
    for step in [Step::Publish, Step::Merge, Step::Complete] {
        let states = before_and_after(step);
        let mut dice = dice(7);
        'first: for first in 0.. {
            for _ in 0..4 {
                let mut hub = hub();
                hub.disk.fail_one(first);
                let done = carry_out(&mut hub, step);
                if !hub.disk.has_failed() {
                    break 'first;
                }
                if done.is_ok() {
                    continue 'first;
                }
                hub.disk.fail_one(dice(first + 1));
                let done = carry_out(&mut hub, step);
                hub.disk.heal();
                check_one_of(step, first, &hub.seen(), &states);
                if done.is_err() {
                    carry_out(&mut hub, step).unwrap();
                }
                assert_eq!((hub.seen(), hub.listed()), states[1], "{step:?}, call {first}");
                let hub = hub.again();
                assert_eq!(hub.listed(), states[1].1, "{step:?}, call {first}");
            }
        }
    }
}

fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

/// The power goes at call `at` of a step: what readers see, what the next start sees, and what the same step then gives.
fn crash(step: Step, at: u64, seed: u64, states: &[(Seen, BTreeSet<Box<str>>); 2]) -> bool {
    let mut hub = hub();
    hub.disk.fail_after(at);
    let done = carry_out(&mut hub, step);
    let was_met = hub.disk.has_failed();
    hub.disk.crash(dice(seed));
    check_one_of(step, at, &hub.seen(), states);
    if done.is_ok() && !was_met {
        assert_eq!(hub.seen(), states[1].0, "{step:?}: what was promised is gone");
        return false;
    }
    let Hub { disk, clock, config, recent, .. } = hub;
    let groups = recent.groups();
    let mut hub = Hub::on(disk, clock, config);
    let (listed, seen) = (hub.listed(), hub.seen());
    check_one_of(step, at, &seen, states);
    assert!(listed == states[0].1 || listed == states[1].1, "{step:?}, call {at}: {listed:?}");
    let base: BTreeSet<_> = listed.iter().filter(|path| !path.ends_with(".src.rpm")).cloned().collect();
    assert_eq!(seen.base, base, "{step:?}, call {at}: base is not what the catalog says");
    // The core publishes what is on no shelf, and does what was under way.
    hub.add(groups.iter().map(|group| (**group).clone()).collect());
    if matches!(step, Step::Merge | Step::MergeExtra) {
        carry_out(&mut hub, step).unwrap();
        assert_eq!(hub.listed(), states[1].1, "{step:?}, call {at}");
    }
    hub.shelves.complete(&hub.recent.groups()).unwrap();
    let want: BTreeSet<_> =
        hub.listed().into_iter().chain(groups.iter().flat_map(|group| paths(&[(**group).clone()]))).collect();
    assert_eq!(hub.seen().complete, want, "{step:?}, call {at}");
    true
}

#[test]
fn wherever_the_power_goes_readers_see_the_old_or_the_new_and_the_next_start_repairs_the_rest() {
    for step in STEPS {
        let states = before_and_after(step);
        for at in 0.. {
            if !(0..3).any(|seed| crash(step, at, at * 3 + seed, &states)) {
                break;
            }
        }
    }
}

#[test]
fn whatever_call_of_a_start_fails_or_crashes_the_next_start_succeeds() {
    // A merge whose catalog is live and whose base is not.
    let states = before_and_after(Step::Merge);
    let crash_at = |at: u64| {
        let mut hub = hub();
        hub.disk.fail_after(at);
        carry_out(&mut hub, Step::Merge).unwrap_err();
        hub.disk.crash(|below| below - 1);
        hub
    };
    let is_half = |at: &u64| {
        let hub = crash_at(*at);
        let catalog = catalog::Catalog::decode(&hub.disk.bytes("state/index/catalog").unwrap()).unwrap();
        catalog.main.packages() == states[1].0.base.len() && hub.seen().base == states[0].0.base
    };
    let half = (0..).find(is_half).unwrap();
    for is_crash in [false, true] {
        for at in 0.. {
            let hub = crash_at(half);
            let disk = hub.disk;
            if is_crash {
                disk.fail_after(at)
            } else {
                disk.fail_one(at)
            }
            let opened = open_shelves(&disk, &hub.clock, &hub.config);
            let was_met = disk.has_failed();
            if is_crash {
                disk.crash(dice(at))
            } else {
                disk.heal()
            }
            check_one_of(Step::Merge, at, &seen(&disk), &states);
            let shelves = open_shelves(&disk, &hub.clock, &hub.config).unwrap();
            assert_eq!(shelves.listed().count(), states[1].1.len());
            assert_eq!(seen(&disk).base, states[1].0.base, "call {at}");
            if !was_met {
                assert!(opened.is_ok() && at > 20);
                break;
            }
        }
    }
    // A first start ever.
    for at in 0.. {
        let (disk, _) = Memory::with_folders();
        let clock = Arc::new(Hand::default());
        disk.fail_one(at);
        let mut recent = Recent::new(Arc::new(disk.clone()), clock.clone(), layout(), Config::default());
        let opened = open_shelves(&disk, &clock, &Config::default()).and_then(|_| recent.ensure_exists());
        let was_met = disk.has_failed();
        disk.heal();
        if opened.is_err() {
            assert!(was_met);
            open_shelves(&disk, &clock, &Config::default()).unwrap();
            recent.ensure_exists().unwrap();
        }
        for folder in ["state/index/recent/repodata", "state/index/base/repodata", "repo/repodata"] {
            assert_eq!(read_index(&|path| disk.bytes(path), Path::new(folder)), Some(set(&[])), "call {at}");
        }
        if !was_met {
            break;
        }
    }
}
